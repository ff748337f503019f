//! The nodes of a document: an immutable tree whose containers know the digest and the length of
//! what is below them, so that two states are compared only where they differ. Parts that did not
//! change are the same parts in memory.

use super::members::{Member, Members};
use super::runs::Runs;

/// A value in a document.
#[derive(Debug, Clone)]
pub(super) enum Node {
    /// null, a boolean, a number or a string, in canonical text.
    Scalar(Box<str>),
    /// An array.
    Array(Runs<Node>, Sum),
    /// An object.
    Object(Members, Sum),
}

/// What a container knows of all that is below it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sum {
    hash: blake3::Hash,
    /// Bytes of its canonical text.
    len: usize,
}

/// What a container's digest is of. It is hashed in large pieces: a hash takes a short text for
/// the price of a long one.
struct Feed {
    waiting: Vec<u8>,
    hasher: Option<Box<blake3::Hasher>>,
}

/// Bytes of [`Feed`] that wait to be hashed together.
const PIECE: usize = 64 * 1024;

impl Node {
    pub(super) fn string(text: &str) -> Self {
        let mut out = String::with_capacity(text.len() + 2);
        write_string(text, &mut out);
        Self::Scalar(out.into_boxed_str())
    }

    pub(super) fn array(items: Vec<Self>) -> Self {
        let mut feed = Feed::new(*b"a");
        let mut len = 2 + items.len().saturating_sub(1);
        for item in &items {
            feed.node(item);
            len += item.len();
        }
        Self::Array(Runs::new(items), Sum { hash: feed.hash(), len })
    }

    /// `members` are sorted by key and distinct.
    pub(super) fn object(members: Vec<Member>) -> Self {
        Self::of_members(Members::new(members))
    }

    pub(super) fn of_members(members: Members) -> Self {
        let mut feed = Feed::new(*b"o");
        let mut len = 2;
        for (index, (key, value)) in members.iter().enumerate() {
            feed.text(key);
            feed.node(value);
            len += usize::from(index > 0) + string_len(key) + 1 + value.len();
        }
        Self::Object(members, Sum { hash: feed.hash(), len })
    }

    /// Whether both say the same.
    pub(super) fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Scalar(one), Self::Scalar(other)) => one == other,
            (Self::Array(_, one), Self::Array(_, other)) | (Self::Object(_, one), Self::Object(_, other)) => {
                one.hash.as_bytes() == other.hash.as_bytes()
            }
            (Self::Scalar(_) | Self::Array(..) | Self::Object(..), _) => false,
        }
    }

    pub(super) fn hash(&self) -> blake3::Hash {
        match self {
            Self::Scalar(text) => blake3::hash(text.as_bytes()),
            Self::Array(_, sum) | Self::Object(_, sum) => sum.hash,
        }
    }

    /// Bytes of its canonical text.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Scalar(text) => text.len(),
            Self::Array(_, sum) | Self::Object(_, sum) => sum.len,
        }
    }

    /// An object's members.
    pub(super) fn members(&self) -> Option<&Members> {
        match self {
            Self::Object(members, _) => Some(members),
            Self::Scalar(_) | Self::Array(..) => None,
        }
    }

    /// Writes its canonical text.
    pub(super) fn write(&self, out: &mut String) {
        match self {
            Self::Scalar(text) => out.push_str(text),
            Self::Array(items, _) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    item.write(out);
                }
                out.push(']');
            }
            Self::Object(members, _) => {
                out.push('{');
                for (index, (key, value)) in members.iter().enumerate() {
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

impl Feed {
    fn new(tag: [u8; 1]) -> Self {
        Self { waiting: tag.to_vec(), hasher: None }
    }

    /// What a container's digest takes of one child: a scalar's text (hashing each one alone
    /// would cost more than the text), a container's digest. Lengths and tags keep it prefix-free.
    fn node(&mut self, node: &Node) {
        match node {
            Node::Scalar(text) => {
                self.waiting.push(b's');
                self.text(text);
            }
            Node::Array(_, sum) | Node::Object(_, sum) => {
                self.waiting.push(b'n');
                self.waiting.extend_from_slice(sum.hash.as_bytes());
            }
        }
        if self.waiting.len() >= PIECE {
            self.hasher.get_or_insert_default().update(&self.waiting);
            self.waiting.clear();
        }
    }

    fn text(&mut self, text: &str) {
        self.waiting.extend_from_slice(&(text.len() as u64).to_le_bytes());
        self.waiting.extend_from_slice(text.as_bytes());
    }

    fn hash(self) -> blake3::Hash {
        match self.hasher {
            Some(mut hasher) => hasher.update(&self.waiting).finalize(),
            None => blake3::hash(&self.waiting),
        }
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
            Node::Array(..) | Node::Object(..) => [&b"n"[..], node.hash().as_bytes()].concat(),
        };
        match node {
            Node::Scalar(scalar) => scalar.as_bytes().to_vec(),
            Node::Array(items, _) => [b"a".to_vec(), items.iter().flat_map(child).collect()].concat(),
            Node::Object(members, _) => {
                let members = members.iter().flat_map(|(key, value)| [text(key), child(value)].concat());
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
    fn a_node_fits_a_cache_line() {
        assert_eq!(size_of::<Node>(), 64);
    }
}
