//! What two states have in common in memory: made to share, and counted.

use super::members::{Member, Pairs};
use super::runs::Splice;
use super::tree::Node;
use super::{diff, script};

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
            Node::Object(before.edited(edits), *sum)
        }
        (Node::Array(after, sum), Node::Array(before, _)) => {
            let script = script::between(before, after);
            let splices = script.hunks().map(|hunk| {
                let others = hunk.old.iter().map(Some).chain(std::iter::repeat(None));
                let items = hunk.new.iter().zip(others);
                let new = items.map(|(new, old)| old.map_or_else(|| (*new).clone(), |old| shared(new, old)));
                Splice { old: hunk.old_at..hunk.old_at + hunk.old.len(), new: new.collect() }
            });
            Node::Array(before.spliced(splices), *sum)
        }
        (Node::Scalar(_) | Node::Array(..) | Node::Object(..), _) => new.clone(),
    }
}

/// The bytes of memory that `node` holds and `other` does not, near enough: without what an
/// allocation costs besides.
pub(super) fn alone(node: &Node, other: Option<&Node>) -> usize {
    match (node, other) {
        (Node::Scalar(text), _) => text.len(),
        (Node::Array(items, _), Some(Node::Array(others, _))) => {
            let script = script::between(items, others);
            script.beside().map(|(item, other)| size_of::<Node>() + alone(item, other)).sum()
        }
        (Node::Array(items, _), _) => items.iter().map(|item| size_of::<Node>() + alone(item, None)).sum(),
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
