//! What two states have in common in memory: made to share, and counted.

use std::sync::Arc;

use super::diff;
use super::members::{Member, Pairs};
use super::tree::Node;

/// `new`, made of the parts of `old` wherever both agree.
pub(super) fn shared(new: &Node, old: &Node) -> Node {
    if new.same(old) {
        return old.clone();
    }
    match (new, old) {
        (Node::Object(_, sum), Node::Object(before, _)) => {
            let edits = diff::changed(Some(old), Some(new)).map(|pair| {
                let value = pair.new.map(|new| pair.old.map_or_else(|| new.clone(), |old| shared(new, old)));
                (pair.key.into(), value)
            });
            Node::Object(before.edited(edits.collect()), *sum)
        }
        (Node::Array(after, sum), Node::Array(before, _)) => {
            let items = beside(after, before).map(|(new, old)| old.map_or_else(|| new.clone(), |old| shared(new, old)));
            Node::Array(items.collect(), *sum)
        }
        (Node::Scalar(_) | Node::Array(..) | Node::Object(..), _) => new.clone(),
    }
}

/// The bytes of memory that `node` holds and `other` does not, near enough: without what an
/// allocation costs besides, and with items that an insertion moved far.
pub(super) fn alone(node: &Node, other: Option<&Node>) -> usize {
    match (node, other) {
        (Node::Scalar(text), _) => text.len(),
        (Node::Array(items, _), Some(Node::Array(others, _))) if Arc::ptr_eq(items, others) => 0,
        (Node::Array(items, _), other) => {
            let others = if let Some(Node::Array(others, _)) = other { &**others } else { &[] };
            let below: usize = beside(items, others).map(|(item, other)| alone(item, other)).sum();
            size_of_val(&**items) + below
        }
        (Node::Object(members, _), other) => {
            let others = other.and_then(Node::members);
            let below = Pairs::of(Some(members), others).filter_map(|pair| {
                let value = pair.old?;
                Some(size_of::<Member>() + pair.key.len() + alone(value, pair.new))
            });
            below.sum()
        }
    }
}

/// The items of an array, each with the item of another array that it may share parts with: what
/// both have in common at their ends, else the item at the same place.
fn beside<'a>(items: &'a [Node], others: &'a [Node]) -> impl Iterator<Item = (&'a Node, Option<&'a Node>)> {
    let (begin, end) = diff::ends(items, others);
    items.iter().enumerate().map(move |(at, item)| {
        let from_end = items.len() - at;
        let other = if at >= begin && from_end <= end { others.len() - from_end } else { at };
        (item, others.get(other))
    })
}
