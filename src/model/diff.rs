//! Where two nodes differ, one level at a time. A caller that goes deeper follows the pairs that this returns,
//! so that it looks only where digests differ. Objects are compared by key; what is below an
//! array belongs to the array.

use super::members::{Pair, Pairs};
use super::tree::Node;

/// The members that differ, by key. What is no object, or absent, has none.
pub(super) fn changed<'a>(old: Option<&'a Node>, new: Option<&'a Node>) -> impl Iterator<Item = Pair<'a>> {
    Pairs::of(old.and_then(Node::members), new.and_then(Node::members)).filter(|pair| !same(pair.old, pair.new))
}

/// Whether both are equal, or both are absent.
pub(super) fn same(old: Option<&Node>, new: Option<&Node>) -> bool {
    match (old, new) {
        (Some(old), Some(new)) => old.same(new),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}
