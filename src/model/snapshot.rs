//! A state with its id, ready to be served; immutable. Its bytes are made on demand.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use bytes::Bytes;

use super::{Content, Document, Epoch, Selection, StateId};
use crate::protocol::media_type::JSON;
use crate::protocol::{STATE_DIGEST_BYTES, state_digest};

/// A state with its id. Cheap to clone; clones share the bytes, whichever of them makes them.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Names the state.
    pub id: StateId,
    /// What it says.
    pub content: Content,
    /// What every id of the same state shares.
    body: Arc<OnceLock<Body>>,
}

/// The bytes of a state.
#[derive(Debug, PartialEq, Eq)]
pub struct Body {
    /// The bytes without an encoding.
    pub identity: Bytes,
    /// `State-Digest`: SHA-256 of them in the syntax of RFC 9530, `sha-256=:...:`.
    pub sha256: Bytes,
}

impl Snapshot {
    /// The snapshot of content.
    #[must_use]
    pub fn of(epoch: Epoch, version: u64, content: &Content) -> Self {
        let id = StateId { epoch, version, digest: content.digest() };
        Self { id, content: content.clone(), body: Arc::default() }
    }

    /// A snapshot whose id is known already, as one read back from disk; none: the id is not that of
    /// these bytes.
    #[must_use]
    pub fn from_parts(id: StateId, media_type: &str, identity: &Bytes) -> Option<Self> {
        // An opaque model may look like JSON, and even say that it is: its digest is another, but for a lone string,
        // number, true or false, which is JSON then.
        let json = (media_type == JSON).then(|| Document::from_json(identity).ok().map(Content::Json)).flatten();
        let is_it = |content: &Content| {
            content.digest() == id.digest && content.media_type() == media_type && content.bytes() == *identity
        };
        let opaque = || Content::Opaque { media_type: media_type.to_owned(), body: identity.clone() };
        let content = json.filter(is_it).or_else(|| Some(opaque()).filter(is_it))?;
        Some(Self { id, content, body: Arc::default() })
    }

    /// The same state at another version.
    #[must_use]
    pub fn at_version(&self, version: u64) -> Self {
        Self { id: StateId { version, ..self.id }, ..self.clone() }
    }

    /// The part of it that a selection names, as a state of its own; none: it has no parts, since it is opaque.
    #[must_use]
    pub fn select(&self, selection: &Selection) -> Option<Self> {
        match &self.content {
            _ if selection.is_whole() => Some(self.clone()),
            Content::Json(document) => {
                let StateId { epoch, version, .. } = self.id;
                Some(Self::of(epoch, version, &Content::Json(selection.prune(document))))
            }
            Content::Opaque { .. } => None,
        }
    }

    /// Its bytes. The first call pays for canonical text and one SHA-256; calls meanwhile wait for it.
    #[must_use]
    pub fn body(&self) -> &Body {
        self.body.get_or_init(|| Body::of(&self.content))
    }

    /// Whether [`Snapshot::body`] costs nothing any more.
    #[must_use]
    pub fn has_body(&self) -> bool {
        self.body.get().is_some()
    }
}

impl Body {
    fn of(content: &Content) -> Self {
        match content {
            // One piece of memory for both: there may be as many bodies as clients.
            Content::Json(document) => {
                let mut text = String::with_capacity(document.canonical_len() + STATE_DIGEST_BYTES);
                document.write(&mut text);
                let len = text.len();
                let digest = state_digest(text.as_bytes());
                text.push_str(&digest);
                let mut identity = Bytes::from(text);
                Self { sha256: identity.split_off(len), identity }
            }
            Content::Opaque { body, .. } => Self { sha256: Bytes::from(state_digest(body)), identity: body.clone() },
        }
    }
}

/// When a state was superseded: shared by all who hold the state, so that a change has none of them to visit.
#[derive(Debug, Default)]
pub struct SupersededAt(OnceLock<Instant>);

impl SupersededAt {
    /// Another state takes its place at `now`. Only the first time counts.
    pub fn set(&self, now: Instant) {
        let _ = self.0.set(now);
    }

    /// When it was superseded; absent: it is the current state.
    #[must_use]
    pub fn get(&self) -> Option<Instant> {
        self.0.get().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_read_back_as_what_they_were_and_nothing_else() {
        let json = || Content::Json(Document::from_json(br#"{"b":1.0,"a":[]}"#).expect("a document"));
        let opaque = |media_type: &str, text: &'static str| Content::Opaque {
            media_type: media_type.to_owned(),
            body: Bytes::from_static(text.as_bytes()),
        };
        let scalar = |text: &str| Content::Json(Document::from_json(text.as_bytes()).expect("a document"));
        for content in [
            json(),
            scalar("3"),
            scalar("\"a\""),
            scalar("false"),
            opaque("text/plain", "hello"),
            opaque("application/json", r#"{"a":[],"b":1.0}"#),
            opaque("a/b", "1"),
            opaque("application/json", "{"),
        ] {
            let Snapshot { id, .. } = Snapshot::of(Epoch::of(&["test"]), 3, &content);
            let back = Snapshot::from_parts(id, content.media_type(), &content.bytes()).expect("it is what it was");
            assert_eq!(std::mem::discriminant(&back.content), std::mem::discriminant(&content), "{content:?}");
            assert_eq!((back.content.digest(), &back.body().identity), (content.digest(), &content.bytes()));
            assert!(Snapshot::from_parts(id, "x/y", &content.bytes()).is_none(), "another media type: {content:?}");
            let other = [&content.bytes()[..], b" "].concat();
            assert!(
                Snapshot::from_parts(id, content.media_type(), &other.into()).is_none(),
                "other bytes: {content:?}"
            );
        }
    }

    #[test]
    fn what_is_selected_is_a_state_of_its_own_at_the_same_version() {
        let content = |json: &str| Content::Json(Document::from_json(json.as_bytes()).expect("a document"));
        let whole = Snapshot::of(Epoch::of(&["test"]), 3, &content(r#"{"a":1,"b":2}"#));
        let part = whole.select(&Selection::parse(&["/a"], 64).expect("a selection")).expect("JSON has parts");
        assert_eq!(part.id, Snapshot::of(Epoch::of(&["test"]), 3, &content(r#"{"a":1}"#)).id);
        assert_eq!(whole.select(&Selection::whole()).map(|part| part.id), Some(whole.id));
        let opaque = Content::Opaque { media_type: "text/plain".to_owned(), body: Bytes::new() };
        let opaque = Snapshot::of(Epoch::of(&["test"]), 3, &opaque);
        assert!(opaque.select(&Selection::parse(&["/a"], 64).expect("a selection")).is_none());
    }

    #[test]
    fn bytes_are_made_once_for_all_versions() {
        let content = Content::Json(Document::from_json(b"{}").expect("a document"));
        let snapshot = Snapshot::of(Epoch::of(&["test"]), 3, &content);
        assert!(!snapshot.has_body());
        let later = snapshot.at_version(4);
        assert_eq!(later.body().sha256, "sha-256=:RBNvo1WzZ4oRRq0W9+hknpT7T8If536DEMBg9hyq/4o=:");
        assert!(std::ptr::eq(snapshot.body(), later.body()));
    }
}
