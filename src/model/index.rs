//! Which selections a change touches: selections that someone waits for, found by the paths of
//! their pointers.
//!
//! A change is walked down from the root, only where digests differ and only while a selection is
//! at or below the path. Where a pointer ends and the digests differ, its selections have changed,
//! for certain: a pruned document differs exactly when what one of the pointers finds does. So
//! nothing is pruned to know it, and no other selection is looked at.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Included, Unbounded};

use super::selection::{Pointer, Selection, push_token};
use super::tree::Node;
use super::{Document, diff};

/// Selections, each with what belongs to it, by path.
#[derive(Debug)]
pub struct Index<T> {
    values: BTreeMap<Selection, T>,
    /// The selections of each pointer. A pointer is followed by those below it.
    paths: BTreeMap<Pointer, Selections>,
}

/// The selections of a pointer, at least one. Most have one, since each client asks for its own part: a set of one would
/// take more memory than all else that is held of it.
#[expect(clippy::box_collection, reason = "most have one, and each would have the room of a set")]
#[derive(Debug)]
enum Selections {
    One(Selection),
    Many(Box<BTreeSet<Selection>>),
}

/// What a change touched.
#[derive(Debug)]
pub struct Touched<'a, T> {
    /// The selections whose pruned document changed, no others, in order.
    pub changed: Vec<(&'a Selection, &'a T)>,
    /// How many changed paths were looked up to find them.
    pub visited: usize,
}

impl<T> Default for Index<T> {
    fn default() -> Self {
        Self { values: BTreeMap::new(), paths: BTreeMap::new() }
    }
}

impl<T> Index<T> {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many selections it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// What belongs to `selection`.
    #[must_use]
    pub fn get(&self, selection: &Selection) -> Option<&T> {
        self.values.get(selection)
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, selection: &Selection) -> Option<&mut T> {
        self.values.get_mut(selection)
    }

    /// All of them.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.values.values()
    }

    /// Takes `value` for `selection`, and returns what it replaces.
    pub fn insert(&mut self, selection: Selection, value: T) -> Option<T> {
        if let Some(held) = self.values.get_mut(&selection) {
            return Some(std::mem::replace(held, value));
        }
        for pointer in selection.pointers() {
            match self.paths.entry(pointer.clone()) {
                Entry::Vacant(path) => drop(path.insert(Selections::One(selection.clone()))),
                Entry::Occupied(path) => path.into_mut().insert(selection.clone()),
            }
        }
        self.values.insert(selection, value)
    }

    /// Forgets `selection`, and returns what belonged to it.
    pub fn remove(&mut self, selection: &Selection) -> Option<T> {
        let value = self.values.remove(selection)?;
        for pointer in selection.pointers() {
            if let Some(selections) = self.paths.get_mut(pointer)
                && !selections.remove(selection)
            {
                self.paths.remove(pointer);
            }
        }
        Some(value)
    }

    /// The selections whose content differs between `old` and `new`.
    #[must_use]
    pub fn touched(&self, old: &Document, new: &Document) -> Touched<'_, T> {
        let mut walk = Walk { paths: &self.paths, path: String::new(), changed: Vec::new(), visited: 0 };
        if !old.root.same(&new.root) {
            walk.visit(Some(&old.root), Some(&new.root));
        }
        // One of several pointers may be found by each. They are nearly in order, as the paths are.
        walk.changed.sort();
        walk.changed.dedup();
        let changed = walk.changed.into_iter().filter_map(|selection| self.values.get_key_value(selection));
        Touched { changed: changed.collect(), visited: walk.visited }
    }
}

impl Selections {
    fn insert(&mut self, selection: Selection) {
        match self {
            Self::One(one) if *one == selection => {}
            Self::One(one) => *self = Self::Many(Box::new([one.clone(), selection].into())),
            Self::Many(many) => drop(many.insert(selection)),
        }
    }

    /// Whether another one is left.
    fn remove(&mut self, selection: &Selection) -> bool {
        let Self::Many(many) = self else { return false };
        many.remove(selection);
        if let (Some(one), 1) = (many.first(), many.len()) {
            *self = Self::One(one.clone());
        }
        true
    }

    fn iter(&self) -> impl Iterator<Item = &Selection> {
        let (one, many) = match self {
            Self::One(one) => (Some(one), None),
            Self::Many(many) => (None, Some(many.iter())),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }
}

/// A walk along the changed paths.
struct Walk<'a> {
    paths: &'a BTreeMap<Pointer, Selections>,
    /// Where it is, as [`Pointer`] holds it.
    path: String,
    changed: Vec<&'a Selection>,
    visited: usize,
}

impl Walk<'_> {
    /// `old` and `new`, which are at the path, differ.
    fn visit(&mut self, old: Option<&Node>, new: Option<&Node>) {
        self.visited += 1;
        let from_here = self.paths.range::<str, _>((Included(&*self.path), Unbounded));
        let mut ours = from_here.take_while(|(pointer, _)| pointer.begins_with(&self.path)).peekable();
        if let Some((_, selections)) = ours.next_if(|(pointer, _)| pointer.is(&self.path)) {
            self.changed.extend(selections.iter());
        }
        if ours.peek().is_none() {
            return;
        }
        for pair in diff::changed(old, new) {
            let len = self.path.len();
            push_token(pair.key, &mut self.path);
            self.visit(pair.old, pair.new);
            self.path.truncate(len);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::tests::document;

    fn select(pointers: &[&str]) -> Selection {
        Selection::parse(pointers, 64).expect("a selection")
    }

    fn touched(index: &Index<&'static str>, old: &str, new: &str) -> (Vec<&'static str>, usize) {
        let touched = index.touched(&document(old), &document(new));
        (touched.changed.iter().map(|(_, name)| **name).collect(), touched.visited)
    }

    #[test]
    fn a_change_touches_what_is_at_above_and_below_it() {
        let mut index = Index::new();
        for (pointers, name) in [
            (&[""][..], "whole"),
            (&["/a"], "a"),
            (&["/a/b"], "a/b"),
            (&["/a/b/c"], "a/b/c"),
            (&["/a/x", "/z"], "a/x or z"),
            (&["/a-b"], "a-b"),
            (&["/l/0"], "through an array"),
            (&["/no"], "absent"),
        ] {
            assert_eq!(index.insert(select(pointers), name), None);
        }
        let old = r#"{"a":{"b":{"c":1,"d":1},"x":1},"a-b":1,"l":[1],"z":1}"#;
        for (new, expected) in [
            (old, &[][..]),
            (r#"{"a":{"b":{"c":2,"d":1},"x":1},"a-b":1,"l":[1],"z":1}"#, &["whole", "a", "a/b", "a/b/c"]),
            (r#"{"a":{"b":{"c":1,"d":2},"x":1},"a-b":1,"l":[1],"z":1}"#, &["whole", "a", "a/b"]),
            (r#"{"a":{"x":1},"a-b":1,"l":[1],"z":1}"#, &["whole", "a", "a/b", "a/b/c"]),
            (r#"{"a":[],"a-b":1,"l":[1],"z":1}"#, &["whole", "a", "a/b", "a/b/c", "a/x or z"]),
            (r#"{"a":{"b":{"c":1,"d":1},"x":1},"a-b":1,"l":[2],"z":1}"#, &["whole"]),
            (r#"{"a":{"b":{"c":1,"d":1},"x":2},"a-b":2,"l":[1],"z":2}"#, &["whole", "a-b", "a", "a/x or z"]),
            (r#"{"a":{"b":{"c":1,"d":1},"x":1},"a-b":1,"l":[1],"z":1,"no":null}"#, &["whole", "absent"]),
            ("7", &["whole", "a-b", "a", "a/b", "a/b/c", "a/x or z"]),
        ] {
            let (mut changed, _) = touched(&index, old, new);
            let mut expected = expected.to_vec();
            changed.sort_unstable();
            expected.sort_unstable();
            assert_eq!(changed, expected, "of {new}");
        }
    }

    #[test]
    fn only_changed_paths_with_selections_are_visited() {
        let mut index = Index::new();
        for at in 0..10_000 {
            let pointers = [format!("/nodes/n{at}"), format!("/zones/z{}", at % 10)];
            index.insert(Selection::parse(&pointers, 64).expect("a selection"), at);
        }
        let nodes = (0..10_000).map(|at| (format!("n{at}"), document(&format!(r#"{{"v":{{"w":{at}}}}}"#))));
        let nodes = Document::object(nodes);
        let old = Document::object([("nodes".to_owned(), nodes.clone()), ("zones".to_owned(), document("{}"))]);
        let new = old.with_member("nodes", nodes.with_member("n77", document("1")));
        let touched = index.touched(&old, &new);
        assert_eq!(touched.changed.iter().map(|(_, at)| **at).collect::<Vec<_>>(), [77]);
        assert_eq!(touched.visited, 3, "the root, /nodes, /nodes/n77");
        let unselected = old.with_member("other", document("[1]")).with_member("zones", document(r#"{"y":{"x":1}}"#));
        let touched = index.touched(&old, &unselected);
        assert_eq!((touched.changed.len(), touched.visited), (0, 4), "and nothing below /other or /zones/y");
    }

    #[test]
    fn a_selection_is_held_once_and_removed_wholly() {
        let mut index = Index::new();
        assert_eq!(index.insert(select(&["/a", "/b"]), "first"), None);
        assert_eq!(index.insert(select(&["/b", "/a"]), "second"), Some("first"));
        assert_eq!(index.insert(select(&["/a"]), "other"), None);
        assert_eq!((index.len(), index.get(&select(&["/b", "/a"]))), (2, Some(&"second")));
        assert_eq!(index.remove(&select(&["/a", "/b"])), Some("second"));
        assert_eq!(index.remove(&select(&["/a", "/b"])), None);
        assert_eq!(touched(&index, "{}", r#"{"a":1,"b":1}"#).0, ["other"]);
        assert_eq!(index.remove(&select(&["/a"])), Some("other"));
        assert!(index.is_empty() && index.paths.is_empty(), "no path stays behind");
    }
}
