//! A document that is being changed: only what an operation goes through is taken apart, and put together once at the
//! end, however many operations there were. The rest is shared with the document that it was.

use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;

use smol_str::SmolStr;

use super::super::members::Members;
use super::super::runs::{RUN, Run, Runs};
use super::super::tree::Node;
use super::invalid::{InvalidOperation, shown};

/// A value.
pub(super) enum Value {
    /// As it is in a document.
    Kept(Node),
    /// An array of which an item was gone to.
    Array(Items),
    /// An object of which a member was gone to.
    Object(Object),
}

/// The items of an array, in pieces, so that one comes and goes at the cost of its piece.
pub(super) struct Items(Vec<Piece>);

/// Neighbours in an array.
struct Piece {
    run: Run<Node>,
    /// The items instead, once one of them was gone to.
    open: Option<Vec<Value>>,
}

/// The members that an object had, and what has become of those that were gone to.
pub(super) struct Object {
    had: Members,
    changed: BTreeMap<SmolStr, Option<Value>>,
}

type Found<T = ()> = Result<T, InvalidOperation>;

impl Value {
    /// The value at a path, which the operation's `member` names.
    pub(super) fn find(&mut self, path: &[String], member: &'static str) -> Found<&mut Self> {
        let mut found = self;
        for token in path {
            found.open();
            found = match found {
                Self::Array(items) => {
                    let at = index(token)?;
                    items.get(at).ok_or_else(|| no_index(token))?
                }
                Self::Object(object) => object.get(token).ok_or(InvalidOperation::Nothing(member))?,
                Self::Kept(_) => return Err(InvalidOperation::Nothing(member)),
            };
        }
        Ok(found)
    }

    /// Adds by the rules of RFC 6902, section 4.1: an item is inserted, a member is set.
    pub(super) fn add(&mut self, path: &[String], value: Node) -> Found {
        let value = Self::Kept(value);
        let Some((last, parent)) = path.split_last() else {
            *self = value;
            return Ok(());
        };
        let parent = self.find(parent, "path")?;
        parent.open();
        match parent {
            Self::Array(items) => {
                let at = if last == "-" { items.len() } else { index(last)? };
                if items.insert(at, value) { Ok(()) } else { Err(no_index(last)) }
            }
            Self::Object(object) => {
                object.changed.insert(last.into(), Some(value));
                Ok(())
            }
            Self::Kept(_) => Err(InvalidOperation::Nothing("path")),
        }
    }

    /// Removes what is at a path, which the operation's `member` names.
    pub(super) fn remove(&mut self, path: &[String], member: &'static str) -> Found {
        let (last, parent) = path.split_last().ok_or(InvalidOperation::Whole)?;
        let parent = self.find(parent, member)?;
        parent.open();
        match parent {
            Self::Array(items) => {
                if items.remove(index(last)?) {
                    Ok(())
                } else {
                    Err(no_index(last))
                }
            }
            Self::Object(object) => {
                object.get(last).ok_or(InvalidOperation::Nothing(member))?;
                object.changed.insert(last.into(), None);
                Ok(())
            }
            Self::Kept(_) => Err(InvalidOperation::Nothing(member)),
        }
    }

    /// The value as a node, which it then is.
    pub(super) fn node(&mut self) -> Node {
        let node = mem::replace(self, Self::Kept(Node::array(Vec::new()))).finish();
        *self = Self::Kept(node.clone());
        node
    }

    /// The value as a node.
    pub(super) fn finish(self) -> Node {
        match self {
            Self::Kept(node) => node,
            Self::Array(items) => Node::of_items(items.finish()),
            Self::Object(Object { had, changed }) => {
                let edits = changed.into_iter().map(|(key, value)| (key, value.map(Self::finish)));
                Node::of_members(had.edited(edits))
            }
        }
    }

    /// Takes a container apart; a scalar stays.
    fn open(&mut self) {
        let opened = match self {
            Self::Kept(Node::Array(array)) => {
                let pieces = array.children.runs().iter().map(|run| Piece { run: Arc::clone(run), open: None });
                Self::Array(Items(pieces.collect()))
            }
            Self::Kept(Node::Object(object)) => {
                Self::Object(Object { had: object.children.clone(), changed: BTreeMap::new() })
            }
            Self::Kept(Node::Scalar(_)) | Self::Array(_) | Self::Object(_) => return,
        };
        *self = opened;
    }
}

/// A place in an array: digits without a leading zero (RFC 6901, section 4).
fn index(token: &str) -> Found<usize> {
    let is_one = token.bytes().all(|c| c.is_ascii_digit()) && (token == "0" || !token.starts_with('0'));
    token.parse().ok().filter(|_| is_one).ok_or_else(|| no_index(token))
}

fn no_index(token: &str) -> InvalidOperation {
    InvalidOperation::NoIndex(shown(token))
}

impl Object {
    fn get(&mut self, key: &str) -> Option<&mut Value> {
        if !self.changed.contains_key(key) {
            let value = self.had.get(key)?.clone();
            self.changed.insert(key.into(), Some(Value::Kept(value)));
        }
        self.changed.get_mut(key)?.as_mut()
    }
}

impl Items {
    fn len(&self) -> usize {
        self.0.iter().map(Piece::len).sum()
    }

    fn get(&mut self, at: usize) -> Option<&mut Value> {
        let (piece, at) = self.place(at)?;
        self.0[piece].open().get_mut(at)
    }

    /// Whether `at` was a place, or the end.
    fn insert(&mut self, at: usize, item: Value) -> bool {
        let (piece, at) = match self.place(at) {
            Some(place) => place,
            None if at == self.len() => {
                if self.0.is_empty() {
                    self.0.push(Piece::of(Vec::new()));
                }
                let last = self.0.len() - 1;
                (last, self.0[last].len())
            }
            None => return false,
        };
        let items = self.0[piece].open();
        items.insert(at, item);
        if items.len() > 2 * RUN {
            let second = items.split_off(RUN);
            self.0.insert(piece + 1, Piece::of(second));
        }
        true
    }

    /// Whether `at` was a place.
    fn remove(&mut self, at: usize) -> bool {
        let Some((piece, at)) = self.place(at) else { return false };
        let items = self.0[piece].open();
        items.remove(at);
        if items.is_empty() {
            self.0.remove(piece);
        }
        true
    }

    /// In which piece, and where in it, an item is.
    fn place(&self, at: usize) -> Option<(usize, usize)> {
        let mut at = at;
        for (index, piece) in self.0.iter().enumerate() {
            if at < piece.len() {
                return Some((index, at));
            }
            at -= piece.len();
        }
        None
    }

    fn finish(self) -> Runs<Node> {
        Runs::of_pieces(self.0.into_iter().map(Piece::finish).collect())
    }
}

impl Piece {
    fn of(items: Vec<Value>) -> Self {
        Self { run: Run::default(), open: Some(items) }
    }

    fn len(&self) -> usize {
        self.open.as_ref().map_or(self.run.len(), Vec::len)
    }

    fn open(&mut self) -> &mut Vec<Value> {
        self.open.get_or_insert_with(|| self.run.iter().cloned().map(Value::Kept).collect())
    }

    fn finish(self) -> Run<Node> {
        self.open.map_or(self.run, |items| items.into_iter().map(Value::finish).collect())
    }
}
