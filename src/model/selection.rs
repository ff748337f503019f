//! Which part of a model a client asked for: a set of JSON Pointers (RFC 6901), and the model
//! pruned to it.
//!
//! A pointer leads through objects and may end at any value. An array or a scalar on its way means
//! "not found", as in a model that is no object: of it the empty pointer selects the whole, and
//! every other one nothing.

use std::borrow::{Borrow, Cow};
use std::fmt;
use std::sync::Arc;

use super::Document;
use super::members::{Member, Members};
use super::tree::Node;

/// A set of pointers: sorted as they are written, none twice, none below another, at least one. The same set given in
/// another order is the same selection. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Selection {
    pointers: Arc<[Pointer]>,
}

/// A JSON Pointer; written by [`fmt::Display`] with `~0` for `~`, `~1` for `/`. In their order, one
/// is followed by those that it covers.
///
/// Held with each token's `/` behind it (`/a/b` as `a/b/`): so what begins with one is what it
/// covers.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pointer(Arc<str>);

/// Why pointers are not a selection. The text names the place and the remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSelection {
    /// More than are allowed.
    #[error("{count} pointers: give at most {most}, or one to what they have in common")]
    TooMany {
        /// How many were given.
        count: usize,
        /// How many may be.
        most: usize,
    },
    /// Neither empty nor beginning with `/` (RFC 6901, section 3).
    #[error("it does not begin with /: write it as /a/b, or leave it empty for the whole model")]
    NoSlash {
        /// The pointer.
        pointer: String,
    },
    /// `~` with neither 0 nor 1 behind it (RFC 6901, section 3).
    #[error("~ at byte {at} has neither 0 nor 1 behind it: write ~0 for ~ and ~1 for /")]
    Escape {
        /// The pointer.
        pointer: String,
        /// Where the `~` is, in bytes from 0.
        at: usize,
    },
}

impl Selection {
    /// The whole model.
    #[must_use]
    pub fn whole() -> Self {
        Self { pointers: Arc::from([Pointer(Arc::from(""))]) }
    }

    /// Reads the pointers of a request, in any order and at most so many. None at all select the whole model.
    pub fn parse(pointers: &[impl AsRef<str>], most: usize) -> Result<Self, InvalidSelection> {
        if pointers.len() > most {
            return Err(InvalidSelection::TooMany { count: pointers.len(), most });
        }
        if pointers.is_empty() {
            return Ok(Self::whole());
        }
        let mut sorted = pointers.iter().map(|text| Pointer::parse(text.as_ref())).collect::<Result<Vec<_>, _>>()?;
        sorted.sort();
        sorted.dedup_by(|pointer, before| before.covers(pointer));
        sorted.sort_by(|one, other| one.tokens().cmp(&other.tokens()));
        Ok(Self { pointers: sorted.into() })
    }

    /// Whether it is the whole model.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.pointers.first().is_some_and(|pointer| pointer.0.is_empty())
    }

    /// Whether all that `other` selects is selected by this one too.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        other.pointers.iter().all(|pointer| self.pointers.iter().any(|own| own.covers(pointer)))
    }

    /// Its pointers, sorted; as `Link` repeats them.
    #[must_use]
    pub fn pointers(&self) -> &[Pointer] {
        &self.pointers
    }

    /// The document pruned to this selection: ancestors only of what was found, `{}` if nothing
    /// was. What was found is shared with `document`.
    #[must_use]
    pub fn prune(&self, document: &Document) -> Document {
        let found = if let [pointer] = &*self.pointers {
            only(&document.root, &pointer.0)
        } else {
            let pointers: Vec<&str> = self.pointers.iter().map(|pointer| &*pointer.0).collect();
            prune(&document.root, &pointers)
        };
        Document { root: found.unwrap_or_else(|| Node::object(Vec::new())) }
    }
}

/// What `pointers` find at or below `node`.
fn prune(node: &Node, pointers: &[&str]) -> Option<Node> {
    if let [pointer] = pointers {
        return only(node, pointer);
    }
    let members: &Members = node.members()?;
    let mut found = Vec::new();
    for same_token in pointers.chunk_by(|one, other| head(one) == head(other)) {
        let token = head(same_token.first()?);
        let Some((key, value)) = members.member(&unescaped(token)) else { continue };
        let below: Vec<&str> = same_token.iter().map(|pointer| &pointer[token.len() + 1..]).collect();
        if let Some(value) = prune(value, &below) {
            found.push((key.clone(), value));
        }
    }
    // Pointers are sorted as they are written, keys as they are.
    found.sort_by(|(one, _): &Member, (other, _)| one.cmp(other));
    if found.is_empty() { None } else { Some(Node::object(found)) }
}

/// What one pointer finds at or below `node`. One change may touch thousands of selections of one pointer each.
fn only(node: &Node, pointer: &str) -> Option<Node> {
    let Some((token, below)) = pointer.split_once('/') else { return Some(node.clone()) };
    let (key, value) = node.members()?.member(&unescaped(token))?;
    Some(Node::of_member((key.clone(), only(value, below)?)))
}

/// The first token of a pointer as [`Pointer`] holds it.
fn head(pointer: &str) -> &str {
    pointer.split('/').next().unwrap_or_default()
}

/// Appends a key of an object to the text of a [`Pointer`].
pub(super) fn push_token(key: &str, text: &mut String) {
    text.push_str(&escaped(key));
    text.push('/');
}

/// A key as a token of a pointer.
pub(super) fn escaped(key: &str) -> Cow<'_, str> {
    if key.contains(['~', '/']) { key.replace('~', "~0").replace('/', "~1").into() } else { key.into() }
}

/// The key that is written as such a token.
pub(super) fn unescaped(token: &str) -> Cow<'_, str> {
    if token.contains('~') { token.replace("~1", "/").replace("~0", "~").into() } else { token.into() }
}

impl Pointer {
    /// Reads one pointer.
    pub fn parse(text: &str) -> Result<Self, InvalidSelection> {
        if text.is_empty() {
            return Ok(Self(Arc::from("")));
        }
        let Some(tokens) = text.strip_prefix('/') else {
            return Err(InvalidSelection::NoSlash { pointer: text.to_owned() });
        };
        let bytes = text.as_bytes();
        let wrong = text.match_indices('~').find(|(at, _)| !matches!(bytes.get(at + 1), Some(b'0' | b'1')));
        if let Some((at, _)) = wrong {
            return Err(InvalidSelection::Escape { pointer: text.to_owned(), at });
        }
        Ok(Self(Arc::from(format!("{tokens}/"))))
    }

    /// Its tokens as they are written, after the first `/`; `None`: it has none.
    fn tokens(&self) -> Option<&str> {
        self.0.strip_suffix('/')
    }

    /// The value that it leads to.
    #[must_use]
    pub fn find(&self, document: &Document) -> Option<Document> {
        let mut node = &document.root;
        for token in self.tokens().into_iter().flat_map(|tokens| tokens.split('/')) {
            node = node.members()?.get(&unescaped(token))?;
        }
        Some(Document { root: node.clone() })
    }

    /// Whether `other` is this one or leads further.
    fn covers(&self, other: &Self) -> bool {
        other.begins_with(&self.0)
    }

    /// Whether it is at the path that [`push_token`] made of keys, or leads further.
    pub(super) fn begins_with(&self, path: &str) -> bool {
        self.0.starts_with(path)
    }

    /// Whether it is at the path that [`push_token`] made of keys.
    pub(super) fn is(&self, path: &str) -> bool {
        *self.0 == *path
    }
}

impl Borrow<str> for Pointer {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.tokens() {
            Some(tokens) => write!(f, "/{tokens}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

impl InvalidSelection {
    /// The pointer that is wrong; `None` if it is their number.
    #[must_use]
    pub fn pointer(&self) -> Option<&str> {
        match self {
            Self::TooMany { .. } => None,
            Self::NoSlash { pointer } | Self::Escape { pointer, .. } => Some(pointer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::tests::{document, text};

    #[track_caller]
    fn pruned(json: &str, pointers: &[&str]) -> String {
        text(&Selection::parse(pointers, 64).expect("a selection").prune(&document(json)))
    }

    #[test]
    fn a_pointer_finds_what_a_selection_of_it_has() {
        let model = document(r#"{"a":{"b/c":[1],"":{"~":null}},"s":"t"}"#);
        let found = |pointer| Pointer::parse(pointer).expect("a pointer").find(&model).map(|found| text(&found));
        assert_eq!(found("").as_deref(), Some(&*text(&model)));
        assert_eq!(found("/a/b~1c").as_deref(), Some("[1]"));
        assert_eq!(found("/a//~0").as_deref(), Some("null"));
        for absent in ["/a/b~1c/0", "/s/t", "/x", "/", "/a//~0/"] {
            assert_eq!(found(absent), None, "of {absent}");
        }
    }

    /// The document of RFC 6901, section 5.
    const PUBLISHED: &str =
        r#"{"foo":["bar","baz"],"":0,"a/b":1,"c%d":2,"e^f":3,"g|h":4,"i\\j":5,"k\"l":6," ":7,"m~n":8}"#;

    #[test]
    fn the_published_examples_are_found_as_far_as_they_lead_through_objects() {
        assert_eq!(pruned(PUBLISHED, &[""]), text(&document(PUBLISHED)));
        for (pointer, expected) in [
            ("/foo", r#"{"foo":["bar","baz"]}"#),
            ("/foo/0", "{}"),
            ("/", r#"{"":0}"#),
            ("/a~1b", r#"{"a/b":1}"#),
            ("/c%d", r#"{"c%d":2}"#),
            ("/e^f", r#"{"e^f":3}"#),
            ("/g|h", r#"{"g|h":4}"#),
            ("/i\\j", r#"{"i\\j":5}"#),
            ("/k\"l", r#"{"k\"l":6}"#),
            ("/ ", r#"{" ":7}"#),
            ("/m~0n", r#"{"m~n":8}"#),
        ] {
            assert_eq!(pruned(PUBLISHED, &[pointer]), expected, "of {pointer}");
        }
    }

    #[test]
    fn pruned_documents_have_the_models_own_shape() {
        let model = r#"{"a":{"b":{"c":1,"d":[2]},"e":3},"f":null,"~1":{"/":4},"g":{}}"#;
        for (pointers, expected) in [
            (&["/a/b/c"][..], r#"{"a":{"b":{"c":1}}}"#),
            (&["/a/b/d", "/a/e"], r#"{"a":{"b":{"d":[2]},"e":3}}"#),
            (&["/f"], r#"{"f":null}"#),
            (&["/g"], r#"{"g":{}}"#),
            // Nothing found: no ancestors.
            (&["/a/b/x", "/a/x/c", "/x"], "{}"),
            (&["/a/b/x", "/f"], r#"{"f":null}"#),
            // Through a scalar, an array, null.
            (&["/a/e/x", "/a/b/d/0", "/f/x", "/g/x"], "{}"),
            // ~01 is ~1, not /.
            (&["/~01/~1"], r#"{"~1":{"/":4}}"#),
            (&["/~1"], "{}"),
            // Keys are sorted as they are, not as pointers write them.
            (&["/~01", "/a/e", "/g"], r#"{"a":{"e":3},"g":{},"~1":{"/":4}}"#),
        ] {
            assert_eq!(pruned(model, pointers), expected, "of {pointers:?}");
        }
        for model in ["7", "[{}]", "\"x\""] {
            assert_eq!((pruned(model, &[""]), pruned(model, &["/0"])), (model.to_owned(), "{}".to_owned()));
        }
        let deep = pruned(model, &[&"/a".repeat(100_000)]);
        assert_eq!(deep, "{}", "no deeper than the model");
    }

    #[test]
    fn the_same_set_is_the_same_selection() {
        for (given, expected) in [
            (&["/b", "/a", "/b"][..], "/a /b"),
            (&["/a/b/c", "/a", "/a/x"], "/a"),
            (&["/a/b", "/a-b", "/a/c", "/a"], "/a /a-b"),
            (&["/ab", "/a"], "/a /ab"),
            (&["/a/", "/a"], "/a"),
            (&["/", "//", "/a"], "/ /a"),
            (&["/x", "", "/y"], ""),
        ] {
            let selection = Selection::parse(given, 64).expect("a selection");
            let pointers: Vec<_> = selection.pointers().iter().map(ToString::to_string).collect();
            assert_eq!(pointers.join(" "), expected, "of {given:?}");
            assert_eq!(selection.is_whole(), expected.is_empty());
            let reversed: Vec<_> = given.iter().rev().collect();
            assert_eq!(Selection::parse(&reversed, 64), Ok(selection));
        }
        assert_eq!(Selection::parse(&[""; 0], 64), Ok(Selection::whole()));
    }

    #[test]
    fn refusals_name_pointer_place_and_remedy() {
        for (pointer, expected) in [
            ("a/b", "it does not begin with /: write it as /a/b, or leave it empty for the whole model"),
            ("#/a", "it does not begin with /: write it as /a/b, or leave it empty for the whole model"),
            (" /a", "it does not begin with /: write it as /a/b, or leave it empty for the whole model"),
            ("/a~2", "~ at byte 2 has neither 0 nor 1 behind it: write ~0 for ~ and ~1 for /"),
            ("/é~0~", "~ at byte 5 has neither 0 nor 1 behind it: write ~0 for ~ and ~1 for /"),
            ("/~/a", "~ at byte 1 has neither 0 nor 1 behind it: write ~0 for ~ and ~1 for /"),
            ("/~~0", "~ at byte 1 has neither 0 nor 1 behind it: write ~0 for ~ and ~1 for /"),
        ] {
            let error = Selection::parse(&["/fine", pointer], 64).expect_err(pointer);
            assert_eq!((error.pointer(), error.to_string().as_str()), (Some(pointer), expected));
        }
        let many = vec!["/a"; 10_000];
        assert!(Selection::parse(&many[..64], 64).is_ok());
        let error = Selection::parse(&many, 64).expect_err("too many");
        assert_eq!(error.to_string(), "10000 pointers: give at most 64, or one to what they have in common");
    }

    #[test]
    fn what_is_selected_is_shared_with_the_model() {
        let model = document(r#"{"a":{"b":{"c":[1,2,3]}},"d":{"e":"f"}}"#);
        let pruned = Selection::parse(&["/a/b", "/d"], 64).expect("a selection").prune(&model);
        let alone = crate::model::sharing::alone(&pruned.root, Some(&model.root));
        let shell = document(r#"{"a":{"b":{}},"d":{}}"#);
        assert_eq!(alone, crate::model::sharing::alone(&shell.root, None), "only the ancestors are new");
    }
}
