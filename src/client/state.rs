//! PURE. A state as the user of the library gets it: its bytes are those of its id.

use std::time::Duration;

use bytes::Bytes;

use crate::model::{Content, Document, Since, Snapshot, StateId};
use crate::protocol::media_type::JSON;

/// A state whose bytes were verified. Clones share their memory.
#[derive(Debug, Clone)]
pub struct State {
    pub(super) id: String,
    pub(super) content: Content,
    pub(super) bytes: Bytes,
    pub(super) age: Duration,
    pub(super) patch: Option<Patch>,
    pub(super) is_older: bool,
}

/// What led to a state from another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patch {
    /// The id of the state that the patch begins at.
    pub base: String,
    /// The patch (RFC 6902).
    pub bytes: Bytes,
}

/// Bytes that are not those of the id that came with them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the {len} bytes of {media_type} are not the state {id}: {remedy}")]
pub struct NotTheState {
    /// The id.
    pub id: String,
    /// The media type that came with them.
    pub media_type: String,
    /// How many bytes.
    pub len: usize,
    /// What to do about it.
    pub remedy: &'static str,
}

impl State {
    /// The state of an id, as it was kept: refused where the bytes are not those that the id names. Of an id that is not in
    /// the form of this version nothing can be said, and it is taken as it is.
    pub fn kept(id: &str, media_type: &str, bytes: Bytes) -> Result<Self, NotTheState> {
        let remedy = "begin without it";
        let wrong = |len| NotTheState { id: id.to_owned(), media_type: media_type.to_owned(), len, remedy };
        let len = bytes.len();
        Self::named(id, media_type, bytes).ok_or_else(|| wrong(len))
    }

    /// The state of an id; none: the bytes are not those that it names.
    pub(super) fn named(id: &str, media_type: &str, bytes: Bytes) -> Option<Self> {
        let content = match StateId::parse(id) {
            Some(parsed) => Snapshot::from_parts(parsed, media_type, &bytes)?.content,
            None if media_type == JSON => Content::Json(Document::from_json(&bytes).ok()?),
            None => Content::Opaque { media_type: media_type.to_owned(), body: bytes.clone() },
        };
        Some(Self { id: id.to_owned(), content, bytes, age: Duration::ZERO, patch: None, is_older: false })
    }

    /// The same state by another id of it, of a version that only orders it anew.
    #[cfg(feature = "server")]
    pub(crate) fn at(&self, id: &str) -> Self {
        debug_assert!(is_same(&self.id, id), "another state has other bytes");
        Self { id: id.to_owned(), ..self.clone() }
    }

    /// What it says.
    #[cfg(feature = "server")]
    pub(crate) fn content(&self) -> &Content {
        &self.content
    }

    /// Names the state: opaque, but for `Client` alone.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The bytes without a coding, exactly as every client gets them.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Their media type (RFC 9110, section 8.3.1).
    #[must_use]
    pub fn media_type(&self) -> &str {
        self.content.media_type()
    }

    /// The document; none: the model is opaque.
    #[must_use]
    pub fn document(&self) -> Option<&Document> {
        match &self.content {
            Content::Json(document) => Some(document),
            Content::Opaque { .. } => None,
        }
    }

    /// How long before the answer the source had last confirmed it, in whole seconds.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.age
    }

    /// The patch that led here from the state that was held, where that is how it came.
    #[must_use]
    pub fn patch(&self) -> Option<&Patch> {
        self.patch.as_ref()
    }

    /// It is an older one than was given before, and the truth: the source was restored from a backup.
    #[must_use]
    pub fn is_older(&self) -> bool {
        self.is_older
    }
}

/// Whether two ids name the same state, whatever their versions.
pub(crate) fn is_same(one: &str, other: &str) -> bool {
    match (StateId::parse(one), Since::parse(other)) {
        (Some(one), Some(other)) => one.is_same_state(&other),
        _ => one == other,
    }
}

/// Whether the first id names an older state of the same history than the second.
pub(super) fn is_before(one: &str, other: &str) -> bool {
    StateId::parse(one).zip(Since::parse(other)).is_some_and(|(one, other)| one.is_before(&other))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Epoch;

    #[test]
    fn what_was_kept_is_taken_if_it_is_what_its_id_names() {
        let document = Document::from_json(br#"{"a":1}"#).expect("JSON");
        let snapshot = Snapshot::of(Epoch::of(&["x"]), 7, &Content::Json(document));
        let (id, bytes) = (snapshot.id.to_string(), snapshot.body().identity.clone());
        let kept = State::kept(&id, JSON, bytes.clone()).expect("it is");
        assert_eq!((kept.id(), kept.bytes(), kept.media_type()), (&*id, &bytes, JSON));
        assert!(kept.document().is_some());
        let other = State::kept(&id, JSON, Bytes::from_static(br#"{"a":2}"#)).expect_err("it is not");
        assert_eq!(
            other.to_string(),
            format!("the 7 bytes of application/json are not the state {id}: begin without it")
        );
        assert!(State::kept(&id, "text/plain", bytes).is_err());
        let foreign = State::kept("v9-abc", "text/plain", Bytes::from_static(b"x")).expect("nothing is known of it");
        assert!(foreign.document().is_none());
    }

    #[test]
    fn ids_are_compared_by_what_they_name() {
        let content = Content::Json(Document::from_json(b"{}").expect("JSON"));
        let [old, new] = [3, 4].map(|version| Snapshot::of(Epoch::of(&["x"]), version, &content).id.to_string());
        assert!(is_same(&old, &new) && is_before(&old, &new) && !is_before(&new, &old));
        assert!(is_same("foreign", "foreign") && !is_same("foreign", &old) && !is_before("foreign", &old));
    }
}
