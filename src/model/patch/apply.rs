//! A JSON Patch (RFC 6902) applied to a document: what [`between`](super::between) writes, and every other one.
//!
//! Strict: what is not found, or is no pointer, is an error that names the operation. Numbers are the same where they are
//! spelt the same, as everywhere in a document. Bounded: by the bounds of a document at the end, and by
//! [`PATCH_TAKEN`] before. What no operation touches is shared with the old document.

use super::super::document::text_of;
use super::super::invalid::Path;
use super::super::selection::{Pointer, unescaped};
use super::super::tree::Node;
use super::super::{Document, Invalid, json};
use super::editing::Value;
use super::invalid::{InvalidOperation, InvalidPatch, shown};
use crate::bounds::{DOCUMENT_BYTES, DOCUMENT_DEPTH, DOCUMENT_NODES, PATCH_TAKEN};

/// The document after all operations of the patch in `bytes`.
pub fn apply(document: &Document, bytes: &[u8]) -> Result<Document, InvalidPatch> {
    if bytes.len() > DOCUMENT_BYTES {
        return Err(InvalidPatch::TooLong { bytes: bytes.len() });
    }
    // An operation of its 30 bytes and more is three values beside its own, in an array.
    let limits = Path::new(DOCUMENT_DEPTH + 2, 2 * DOCUMENT_NODES);
    let read = text_of(bytes).and_then(|text| json::read(text, limits)).map_err(unread)?;
    let Node::Array(operations) = &read else { return Err(InvalidPatch::NoArray) };
    let mut work = Work { root: Value::Kept(document.root.clone()), taken: 0 };
    for (index, operation) in operations.children.iter().enumerate() {
        work.operation(operation).map_err(|why| {
            let path = shown(&string(operation, "path").unwrap_or_default());
            InvalidPatch::Operation { index, path, why }
        })?;
    }
    let root = work.root.finish();
    if root.len() > DOCUMENT_BYTES {
        return Err(InvalidPatch::ResultTooLong { bytes: root.len() });
    }
    Document::of(root).and_then(Document::within_bounds).map_err(InvalidPatch::Result)
}

/// A patch is told from no patch, not from no model.
fn unread(invalid: Invalid) -> InvalidPatch {
    if invalid == Invalid::Empty { InvalidPatch::NoArray } else { InvalidPatch::Json(invalid) }
}

/// A document under operations.
struct Work {
    root: Value,
    /// Values that moves, copies and tests took.
    taken: usize,
}

type Done<T = ()> = Result<T, InvalidOperation>;

impl Work {
    fn operation(&mut self, operation: &Node) -> Done {
        let Node::Object(_) = operation else { return Err(InvalidOperation::NoObject) };
        let op = string(operation, "op").ok_or(InvalidOperation::Member("op"))?;
        let path = tokens(operation, "path")?;
        match &*op {
            "add" => self.add(&path, value(operation)?.clone()),
            "remove" => self.root.remove(&path, "path").map(drop),
            "replace" => {
                let value = value(operation)?.clone();
                fits(&path, &value)?;
                *self.root.find(&path, "path")? = Value::Kept(value);
                Ok(())
            }
            "move" => {
                let from = tokens(operation, "from")?;
                if path.len() > from.len() && path.starts_with(&from) {
                    return Err(InvalidOperation::IntoItself);
                }
                let value = self.take(&from)?;
                if path == from {
                    return Ok(());
                }
                self.root.remove(&from, "from")?;
                self.add(&path, value)
            }
            "copy" => {
                let value = self.take(&tokens(operation, "from")?)?;
                self.add(&path, value)
            }
            "test" => {
                let expected = value(operation)?;
                let found = self.root.find(&path, "path")?.node();
                self.count(found.nodes() as usize)?;
                if found.same(expected) { Ok(()) } else { Err(InvalidOperation::Differs) }
            }
            _ => Err(InvalidOperation::Unknown(shown(&op))),
        }
    }

    fn add(&mut self, path: &[String], value: Node) -> Done {
        fits(path, &value)?;
        self.root.add(path, value)
    }

    /// The value that a `from` leads to.
    fn take(&mut self, from: &[String]) -> Done<Node> {
        let value = self.root.find(from, "from")?.node();
        self.count(value.nodes() as usize)?;
        Ok(value)
    }

    fn count(&mut self, nodes: usize) -> Done {
        self.taken = self.taken.saturating_add(nodes);
        if self.taken > PATCH_TAKEN { Err(InvalidOperation::TooMany) } else { Ok(()) }
    }
}

/// Whether a value may stand at a path without being nested too deeply.
fn fits(path: &[String], value: &Node) -> Done {
    if path.len() + height(value) > DOCUMENT_DEPTH { Err(InvalidOperation::TooDeep) } else { Ok(()) }
}

/// Levels of containers.
fn height(node: &Node) -> usize {
    let below = match node {
        Node::Scalar(_) => return 0,
        Node::Array(array) => array.children.iter().map(height).max(),
        Node::Object(object) => object.children.iter().map(|(_, value)| height(value)).max(),
    };
    1 + below.unwrap_or(0)
}

fn member<'a>(operation: &'a Node, name: &str) -> Option<&'a Node> {
    operation.members()?.get(name)
}

fn value(operation: &Node) -> Done<&Node> {
    member(operation, "value").ok_or(InvalidOperation::Member("value"))
}

fn string(operation: &Node, name: &str) -> Option<String> {
    match member(operation, name)? {
        Node::Scalar(text) => serde_json::from_str(text).ok(),
        Node::Array(_) | Node::Object(_) => None,
    }
}

/// The tokens of a JSON Pointer, unescaped.
fn tokens(operation: &Node, member: &'static str) -> Done<Vec<String>> {
    let text = string(operation, member).ok_or(InvalidOperation::Member(member))?;
    Pointer::parse(&text).map_err(|why| InvalidOperation::NoPointer { member, why: why.to_string() })?;
    if text.matches('/').count() > DOCUMENT_DEPTH {
        return Err(InvalidOperation::TooDeep);
    }
    Ok(text.split('/').skip(1).map(|token| unescaped(token).into_owned()).collect())
}

#[cfg(test)]
mod tests;
