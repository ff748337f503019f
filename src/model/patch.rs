//! The way from one document to another as a JSON Patch (RFC 6902), made here and followed by [`apply()`]: `add`,
//! `remove` and `replace`, in an order in which applying one after the other gives exactly the new document.
//!
//! What is the same in both never appears: a container is entered while anything in it stayed, and
//! replaced only when nothing did. Items of an array are added and removed by index, as
//! [`script`] says; where that may not be the shortest way, the array is replaced if that is shorter.
//! Values are written as the document writes them.

mod apply;
mod editing;
mod invalid;

use bytes::Bytes;

use super::members::Members;
use super::script::{self, Script};
use super::selection::escaped;
use super::tree::{Node, write_string};
use super::{Document, diff};
pub use apply::apply;
pub use invalid::{InvalidOperation, InvalidPatch};

/// The patch from `old` to `new`, if it is shorter than `new`. Only a patch that is gets written.
#[must_use]
pub fn between(old: &Document, new: &Document) -> Option<Bytes> {
    let mut draft = Draft::default();
    if !old.root.same(&new.root) {
        draft.edit(&old.root, &new.root, None);
    }
    let len = draft.len();
    (len < new.canonical_len()).then(|| Bytes::from(draft.write(len)))
}

/// A patch that is not written yet: a long path is held once, however many operations are below it.
#[derive(Debug, Default)]
struct Draft<'a> {
    steps: Vec<Step>,
    operations: Vec<Operation<'a>>,
    /// Bytes of the operations.
    len: usize,
}

/// A path: one step from another.
#[derive(Debug)]
struct Step {
    /// Place among the steps; `None`: from the root.
    from: Option<usize>,
    /// The token with its `/`, as it stands in JSON text.
    text: Box<str>,
    /// Bytes of the whole path.
    len: usize,
}

#[derive(Debug)]
struct Operation<'a> {
    /// Place among the steps; `None`: the root.
    at: Option<usize>,
    act: Act<'a>,
}

#[derive(Debug, Clone, Copy)]
enum Act<'a> {
    Add(&'a Node),
    Remove,
    Replace(&'a Node),
}

/// Where the operations below a container begin.
#[derive(Debug, Clone, Copy)]
struct Mark {
    operations: usize,
    len: usize,
}

impl<'a> Act<'a> {
    /// What stands before the path.
    fn head(self) -> &'static str {
        match self {
            Self::Add(_) => r#"{"op":"add","path":""#,
            Self::Remove => r#"{"op":"remove","path":""#,
            Self::Replace(_) => r#"{"op":"replace","path":""#,
        }
    }

    /// What stands between the path and the value.
    const VALUE: &'static str = r#"","value":"#;

    fn value(self) -> Option<&'a Node> {
        match self {
            Self::Add(value) | Self::Replace(value) => Some(value),
            Self::Remove => None,
        }
    }

    /// Bytes of the operation at a path of so many bytes.
    fn len(self, path: usize) -> usize {
        let rest = self.value().map_or(r#""}"#.len(), |value| Self::VALUE.len() + value.len() + "}".len());
        self.head().len() + path + rest
    }
}

impl<'a> Draft<'a> {
    /// From `old` to `new`, which differ. Tells whether anything in them stayed.
    fn edit(&mut self, old: &'a Node, new: &'a Node, at: Option<usize>) -> bool {
        let mark = Mark { operations: self.operations.len(), len: self.len };
        match (old, new) {
            (Node::Object(_), Node::Object(object)) => {
                let stayed = self.edit_members(old, new, &object.children, at);
                if !stayed {
                    self.replace_if_shorter(mark, new, at);
                }
                stayed
            }
            (Node::Array(before), Node::Array(after)) => {
                let script = script::between(&before.children, &after.children);
                let stayed = self.edit_items(before.children.len(), &script, at);
                if !stayed || !script.is_shortest {
                    self.replace_if_shorter(mark, new, at);
                }
                stayed
            }
            (Node::Scalar(_) | Node::Array(_) | Node::Object(_), _) => {
                self.push(at, Act::Replace(new));
                false
            }
        }
    }

    fn edit_members(&mut self, old: &'a Node, new: &'a Node, after: &Members, at: Option<usize>) -> bool {
        let mut untouched = after.len();
        let mut stayed = false;
        for pair in diff::changed(Some(old), Some(new)) {
            let step = Some(self.step(at, pair.key));
            match (pair.old, pair.new) {
                (Some(old), Some(new)) => stayed |= self.edit(old, new, step),
                (None, Some(new)) => self.push(step, Act::Add(new)),
                (_, None) => self.push(step, Act::Remove),
            }
            untouched -= usize::from(pair.new.is_some());
        }
        stayed || untouched > 0
    }

    /// From left to right: what is left of an edit is as in `new` already, so the index in `new` is
    /// the one to write.
    fn edit_items(&mut self, before: usize, script: &Script<'a>, at: Option<usize>) -> bool {
        let mut untouched = before;
        let mut stayed = false;
        for hunk in script.hunks() {
            untouched -= hunk.old.len();
            let both = hunk.old.len().min(hunk.new.len());
            for (index, (old, new)) in (hunk.new_at..).zip(hunk.old.iter().zip(hunk.new)) {
                let step = Some(self.step(at, &index.to_string()));
                stayed |= self.edit(old, new, step);
            }
            if hunk.old.len() > both {
                let step = Some(self.step(at, &(hunk.new_at + both).to_string()));
                for _ in both..hunk.old.len() {
                    self.push(step, Act::Remove);
                }
            }
            for (index, new) in (hunk.new_at..).zip(hunk.new).skip(both) {
                let step = Some(self.step(at, &index.to_string()));
                self.push(step, Act::Add(new));
            }
        }
        stayed || untouched > 0
    }

    fn replace_if_shorter(&mut self, mark: Mark, new: &'a Node, at: Option<usize>) {
        let replace = Act::Replace(new);
        if replace.len(self.path_len(at)) < self.len - mark.len {
            self.operations.truncate(mark.operations);
            self.len = mark.len;
            self.push(at, replace);
        }
    }

    fn push(&mut self, at: Option<usize>, act: Act<'a>) {
        self.len += act.len(self.path_len(at));
        self.operations.push(Operation { at, act });
    }

    fn step(&mut self, from: Option<usize>, token: &str) -> usize {
        let mut quoted = String::with_capacity(token.len() + 2);
        write_string(&escaped(token), &mut quoted);
        let text = format!("/{}", &quoted[1..quoted.len() - 1]).into_boxed_str();
        let len = self.path_len(from) + text.len();
        self.steps.push(Step { from, text, len });
        self.steps.len() - 1
    }

    fn path_len(&self, at: Option<usize>) -> usize {
        at.map_or(0, |at| self.steps[at].len)
    }

    /// Bytes of the patch.
    fn len(&self) -> usize {
        "[]".len() + self.len + self.operations.len().saturating_sub(1)
    }

    fn write(&self, len: usize) -> String {
        let mut out = String::with_capacity(len);
        out.push('[');
        for (index, operation) in self.operations.iter().enumerate() {
            if index > 0 {
                out.push(',');
            }
            out.push_str(operation.act.head());
            self.write_path(operation.at, &mut out);
            match operation.act.value() {
                Some(value) => {
                    out.push_str(Act::VALUE);
                    value.write(&mut out);
                }
                None => out.push('"'),
            }
            out.push('}');
        }
        out.push(']');
        out
    }

    fn write_path(&self, at: Option<usize>, out: &mut String) {
        if let Some(step) = at.map(|at| &self.steps[at]) {
            self.write_path(step.from, out);
            out.push_str(&step.text);
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
