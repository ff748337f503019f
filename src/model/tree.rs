//! The nodes of a document: an immutable tree whose containers know the digest and the length of
//! what is below them, so that two states are compared only where they differ. Parts that did not
//! change are the same parts in memory.

use std::sync::{Arc, LazyLock};

use smol_str::SmolStr;

use super::members::{Member, Members};
use super::runs::Runs;

/// A value in a document. Small, since a document has many: what a container knows is beside its children, and a short
/// text is in the node itself.
#[derive(Debug, Clone)]
pub(super) enum Node {
    /// null, a boolean, a number or a string, in canonical text.
    Scalar(SmolStr),
    /// An array.
    Array(Arc<Container<Runs<Node>>>),
    /// An object.
    Object(Arc<Container<Members>>),
}

/// An array's items or an object's members, and what is known of all that is below them.
#[derive(Debug)]
pub(super) struct Container<C> {
    pub(super) children: C,
    pub(super) sum: Sum,
}

/// What a container knows of itself and all that is below it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sum {
    hash: blake3::Hash,
    /// Bytes of its canonical text.
    len: usize,
    /// Values, itself among them.
    nodes: u32,
    /// Scalars and empty containers.
    leaves: u32,
}

/// Sums up a container. What its digest is of is hashed in large pieces: a hash takes a short text for the price of a
/// long one.
struct Feed {
    waiting: Vec<u8>,
    hasher: Option<Box<blake3::Hasher>>,
    len: usize,
    nodes: u32,
    leaves: u32,
}

/// Bytes of [`Feed`] that wait to be hashed together.
const PIECE: usize = 64 * 1024;

/// Bytes of [`Feed`] that most members take: the length of a key, a short key, a container's digest.
const CHILD: usize = 64;

impl Node {
    pub(super) fn string(text: &str) -> Self {
        let mut out = String::with_capacity(text.len() + 2);
        write_string(text, &mut out);
        Self::Scalar(out.into())
    }

    pub(super) fn array(items: Vec<Self>) -> Self {
        Self::of_items(Runs::new(items))
    }

    pub(super) fn of_items(items: Runs<Self>) -> Self {
        // Held once for all: a document may have very many.
        static EMPTY: LazyLock<Arc<Container<Runs<Node>>>> =
            LazyLock::new(|| Container::of(Runs::default(), Feed::new(b'a', 0)));
        if items.is_empty() {
            return Self::Array(Arc::clone(&EMPTY));
        }
        let mut feed = Feed::new(b'a', items.len());
        for (index, item) in items.iter().enumerate() {
            feed.node(item);
            feed.len += usize::from(index > 0);
        }
        Self::Array(Container::of(items, feed))
    }

    /// The object with this member alone.
    pub(super) fn of_member(member: Member) -> Self {
        Self::of_members(Members::one(member))
    }

    /// `members` are sorted by key and distinct.
    pub(super) fn object(members: Vec<Member>) -> Self {
        Self::of_members(Members::new(members))
    }

    pub(super) fn of_members(members: Members) -> Self {
        static EMPTY: LazyLock<Arc<Container<Members>>> =
            LazyLock::new(|| Container::of(Members::default(), Feed::new(b'o', 0)));
        if members.is_empty() {
            return Self::Object(Arc::clone(&EMPTY));
        }
        let mut feed = Feed::new(b'o', members.len());
        for (index, (key, value)) in members.iter().enumerate() {
            feed.text(key);
            feed.node(value);
            feed.len += usize::from(index > 0) + string_len(key) + 1;
        }
        Self::Object(Container::of(members, feed))
    }

    /// Whether both say the same.
    pub(super) fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Scalar(one), Self::Scalar(other)) => one == other,
            (Self::Array(_), Self::Array(_)) | (Self::Object(_), Self::Object(_)) => {
                self.hash().as_bytes() == other.hash().as_bytes()
            }
            (Self::Scalar(_) | Self::Array(_) | Self::Object(_), _) => false,
        }
    }

    fn sum(&self) -> Option<&Sum> {
        match self {
            Self::Scalar(_) => None,
            Self::Array(array) => Some(&array.sum),
            Self::Object(object) => Some(&object.sum),
        }
    }

    pub(super) fn hash(&self) -> blake3::Hash {
        match self {
            Self::Scalar(text) => blake3::hash(text.as_bytes()),
            Self::Array(array) => array.sum.hash,
            Self::Object(object) => object.sum.hash,
        }
    }

    /// Bytes of its canonical text.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Scalar(text) => text.len(),
            Self::Array(array) => array.sum.len,
            Self::Object(object) => object.sum.len,
        }
    }

    /// How many values it is of, itself among them.
    pub(super) fn nodes(&self) -> u32 {
        self.sum().map_or(1, |sum| sum.nodes)
    }

    /// How many scalars and empty containers it is of.
    pub(super) fn leaves(&self) -> u32 {
        self.sum().map_or(1, |sum| sum.leaves)
    }

    /// An object's members.
    pub(super) fn members(&self) -> Option<&Members> {
        match self {
            Self::Object(object) => Some(&object.children),
            Self::Scalar(_) | Self::Array(_) => None,
        }
    }

    /// Writes its canonical text.
    pub(super) fn write(&self, out: &mut String) {
        match self {
            Self::Scalar(text) => out.push_str(text),
            Self::Array(array) => {
                out.push('[');
                for (index, item) in array.children.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    item.write(out);
                }
                out.push(']');
            }
            Self::Object(object) => {
                out.push('{');
                for (index, (key, value)) in object.children.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    write_string(key, out);
                    out.push(':');
                    value.write(out);
                }
                out.push('}');
            }
        }
    }
}

impl<C> Container<C> {
    fn of(children: C, feed: Feed) -> Arc<Self> {
        Arc::new(Self { children, sum: feed.sum() })
    }
}

impl Feed {
    fn new(tag: u8, children: usize) -> Self {
        let mut waiting = Vec::with_capacity(1 + (children * CHILD).min(PIECE));
        waiting.push(tag);
        Self { waiting, hasher: None, len: "[]".len(), nodes: 1, leaves: 0 }
    }

    /// What a container's digest takes of one child: a scalar's text (hashing each one alone
    /// would cost more than the text), a container's digest. Lengths and tags keep it prefix-free.
    fn node(&mut self, node: &Node) {
        match node {
            Node::Scalar(text) => {
                self.waiting.push(b's');
                self.text(text);
            }
            Node::Array(_) | Node::Object(_) => {
                self.waiting.push(b'n');
                self.waiting.extend_from_slice(node.hash().as_bytes());
            }
        }
        if self.waiting.len() >= PIECE {
            self.hasher.get_or_insert_default().update(&self.waiting);
            self.waiting.clear();
        }
        self.len += node.len();
        self.nodes = self.nodes.saturating_add(node.nodes());
        self.leaves = self.leaves.saturating_add(node.leaves());
    }

    fn text(&mut self, text: &str) {
        self.waiting.extend_from_slice(&(text.len() as u64).to_le_bytes());
        self.waiting.extend_from_slice(text.as_bytes());
    }

    fn sum(self) -> Sum {
        let hash = match self.hasher {
            Some(mut hasher) => hasher.update(&self.waiting).finalize(),
            None => blake3::hash(&self.waiting),
        };
        // An empty container has nothing below it: it is a leaf itself.
        Sum { hash, len: self.len, nodes: self.nodes, leaves: self.leaves.max(1) }
    }
}

/// Whether a string is written as it is between its quotes.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\')
}

/// Writes a string in canonical form: the shortest escapes.
pub(super) fn write_string(text: &str, out: &mut String) {
    if is_plain(text) {
        out.push('"');
        out.push_str(text);
        out.push('"');
    } else {
        out.push_str(&serde_json::Value::from(text).to_string());
    }
}

/// Bytes that [`write_string`] writes.
fn string_len(text: &str) -> usize {
    if is_plain(text) { text.len() + 2 } else { serde_json::Value::from(text).to_string().len() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a container's digest is of, in one piece.
    fn fed(node: &Node) -> Vec<u8> {
        let text = |text: &str| [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat();
        let child = |node: &Node| match node {
            Node::Scalar(scalar) => [b"s".to_vec(), text(scalar)].concat(),
            Node::Array(_) | Node::Object(_) => [&b"n"[..], node.hash().as_bytes()].concat(),
        };
        match node {
            Node::Scalar(scalar) => scalar.as_bytes().to_vec(),
            Node::Array(array) => [b"a".to_vec(), array.children.iter().flat_map(child).collect()].concat(),
            Node::Object(object) => {
                let members = object.children.iter().flat_map(|(key, value)| [text(key), child(value)].concat());
                [b"o".to_vec(), members.collect()].concat()
            }
        }
    }

    #[test]
    fn a_digest_does_not_depend_on_pieces() {
        let inner = || Node::array(vec![Node::string("x")]);
        let members = |count: usize| (0..count).map(|at| (format!("{at:07}").into(), inner())).collect();
        for node in [
            Node::string("x"),
            inner(),
            Node::object(Vec::new()),
            Node::array((0..5_000).map(|_| inner()).collect()),
            Node::array(vec![Node::string(&"y".repeat(PIECE)), Node::string(&"z".repeat(3 * PIECE)), inner()]),
            Node::object(members(5_000)),
        ] {
            assert_eq!(node.hash(), blake3::hash(&fed(&node)));
        }
    }

    #[test]
    fn nodes_are_small() {
        assert_eq!(size_of::<Node>(), 24);
        assert_eq!(size_of::<Member>(), 48);
        assert_eq!(size_of::<Container<Runs<Node>>>(), 64);
        assert_eq!(size_of::<Container<Members>>(), 64);
    }
}
