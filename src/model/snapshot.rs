//! A state with its id and its bytes, ready to be served; immutable.

use std::sync::Arc;

use base64::Engine as _;
use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::{Content, Document, Epoch, StateId};

/// A state with its id and its bytes.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Names the state.
    pub id: StateId,
    /// What every id of the same state shares.
    pub body: Arc<Body>,
}

/// The bytes of a state.
#[derive(Debug, PartialEq, Eq)]
pub struct Body {
    /// The media type (RFC 9110, section 8.3.1).
    pub media_type: String,
    /// The bytes without an encoding.
    pub identity: Bytes,
    /// `State-Digest`: SHA-256 of them in the syntax of RFC 9530, `sha-256=:...:`.
    pub sha256: String,
}

impl Snapshot {
    /// The snapshot of content; costs its canonical bytes and one SHA-256.
    #[must_use]
    pub fn of(epoch: Epoch, version: u64, content: &Content) -> Self {
        let id = StateId { epoch, version, digest: content.digest() };
        Self::from_parts(id, content.media_type().to_owned(), content.bytes())
    }

    /// A snapshot whose id is known already, as one read back from disk.
    #[must_use]
    pub fn from_parts(id: StateId, media_type: String, identity: Bytes) -> Self {
        let sha256 = base64::engine::general_purpose::STANDARD.encode(Sha256::digest(&identity));
        let body = Body { media_type, identity, sha256: format!("sha-256=:{sha256}:") };
        Self { id, body: Arc::new(body) }
    }

    /// What it says, read back from its bytes.
    #[must_use]
    pub fn content(&self) -> Content {
        let Body { media_type, identity, .. } = &*self.body;
        let read = Document::from_json(identity).ok().map(Content::Json);
        // An opaque model may look like JSON, and even say that it is: its digest is another.
        read.filter(|content| content.digest() == self.id.digest)
            .unwrap_or_else(|| Content::Opaque { media_type: media_type.clone(), body: identity.clone() })
    }

    /// The same state at another version.
    #[must_use]
    pub fn at_version(&self, version: u64) -> Self {
        Self { id: StateId { version, ..self.id }, body: Arc::clone(&self.body) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_reads_back_as_what_it_was() {
        let json = || Content::Json(Document::from_json(br#"{"b":1.0,"a":[]}"#).expect("a document"));
        let opaque = |media_type: &str, text: &'static str| Content::Opaque {
            media_type: media_type.to_owned(),
            body: Bytes::from_static(text.as_bytes()),
        };
        for content in [
            json(),
            opaque("text/plain", "hello"),
            opaque("application/json", r#"{"a":[],"b":1.0}"#),
            opaque("a/b", "1"),
        ] {
            let back = Snapshot::of(Epoch::of(&["test"]), 3, &content).content();
            assert_eq!(std::mem::discriminant(&back), std::mem::discriminant(&content), "{content:?}");
            assert_eq!((back.digest(), back.bytes()), (content.digest(), content.bytes()), "{content:?}");
        }
    }
}
