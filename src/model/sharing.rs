//! What two states have in common in memory: made to share, and counted.

use std::sync::Arc;

use smol_str::SmolStr;

use super::members::{Member, Pairs};
use super::runs::Splice;
use super::tree::{Container, Node};
use super::{diff, script};

/// `new`, made of the parts of `old` wherever both agree.
pub(super) fn shared(new: &Node, old: &Node) -> Node {
    if new.same(old) {
        return old.clone();
    }
    match (new, old) {
        (Node::Object(after), Node::Object(before)) => {
            let edits = diff::changed(Some(old), Some(new)).map(|pair| {
                let value = pair.new.map(|new| pair.old.map_or_else(|| new.clone(), |old| shared(new, old)));
                (pair.key.clone(), value)
            });
            Node::Object(Arc::new(Container { children: before.children.edited(edits), sum: after.sum }))
        }
        (Node::Array(after), Node::Array(before)) => {
            let script = script::between(&before.children, &after.children);
            let splices = script.hunks().map(|hunk| {
                let others = hunk.old.iter().map(Some).chain(std::iter::repeat(None));
                let items = hunk.new.iter().zip(others);
                let new = items.map(|(new, old)| old.map_or_else(|| (*new).clone(), |old| shared(new, old)));
                Splice { old: hunk.old_at..hunk.old_at + hunk.old.len(), new: new.collect() }
            });
            Node::Array(Arc::new(Container { children: before.children.spliced(splices), sum: after.sum }))
        }
        (Node::Scalar(_) | Node::Array(_) | Node::Object(_), _) => new.clone(),
    }
}

/// The bytes of memory that `node` holds and `other` does not, near enough: without what an
/// allocation costs besides.
pub(super) fn alone(node: &Node, other: Option<&Node>) -> usize {
    let item = |(item, other)| size_of::<Node>() + alone(item, other);
    match (node, other) {
        (Node::Scalar(text), Some(Node::Scalar(other))) if text.as_ptr() == other.as_ptr() => 0,
        (Node::Scalar(text), _) => text.len(),
        // Held once for all.
        (Node::Array(array), _) if array.children.is_empty() => 0,
        (Node::Object(object), _) if object.children.is_empty() => 0,
        (Node::Array(array), Some(Node::Array(other))) if Arc::ptr_eq(array, other) => 0,
        // Place by place: to look for what moved among so few costs more than it tells.
        (Node::Array(array), Some(Node::Array(other))) if array.children.is_like(&other.children) => {
            let pairs = array.children.iter().zip(other.children.iter());
            size_of_val(&**array) + pairs.map(|(node, other)| item((node, Some(other)))).sum::<usize>()
        }
        (Node::Array(array), Some(Node::Array(other))) => {
            let script = script::between(&array.children, &other.children);
            size_of_val(&**array) + script.beside().map(item).sum::<usize>()
        }
        (Node::Array(array), _) => {
            size_of_val(&**array) + array.children.iter().map(|node| item((node, None))).sum::<usize>()
        }
        (Node::Object(object), Some(Node::Object(other))) if Arc::ptr_eq(object, other) => 0,
        (Node::Object(object), other) => {
            let below = Pairs::of(Some(&object.children), other.and_then(Node::members)).filter_map(|pair| {
                let value = pair.old?;
                Some(size_of::<Member>() + heap(pair.key) + alone(value, pair.new))
            });
            size_of_val(&**object) + below.sum::<usize>()
        }
    }
}

/// The bytes of memory of a text beside the place where it is held.
fn heap(text: &SmolStr) -> usize {
    if text.is_heap_allocated() { text.len() } else { 0 }
}
