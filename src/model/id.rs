//! What names a state: `epoch.version.digest`, opaque to clients.
//!
//! Two ids name the same state when epoch and digest are equal; the version only orders states
//! of one epoch. Ids hold nothing of this process, so they survive restarts and are the same on
//! every replica.

use std::fmt;
use std::sync::LazyLock;

/// Which history a state belongs to: a hash of the kind of source, its identity and its key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Epoch([u8; 8]);

/// What a state says: a hash of media type and content.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 16]);

/// Names a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StateId {
    /// Which history.
    pub epoch: Epoch,
    /// How far in it; 0: no order.
    pub version: u64,
    /// What it says.
    pub digest: Digest,
}

/// The state that a client says it has: an id, or an `ETag`, which has no version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Since {
    /// Which history.
    pub epoch: Epoch,
    /// How far in it; absent in an `ETag`, and with 0 nothing is promised.
    pub version: Option<u64>,
    /// What it says.
    pub digest: Digest,
}

impl Epoch {
    /// The epoch of the source that `parts` name: its kind, identity, and key or field.
    #[must_use]
    pub fn of(parts: &[&str]) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("tidewait.dev v1 epoch");
        for part in parts {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
        Self(head(&hasher.finalize()))
    }
}

impl Digest {
    /// Reads a digest as it stands in an id.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        unhex(text).map(Self)
    }

    /// The digest of content of a media type, whose own hash is given.
    #[must_use]
    pub(super) fn of(media_type: &str, content: &blake3::Hash) -> Self {
        // Each selection that a change touches has a digest, and deriving the key is half of its price.
        static STATE: LazyLock<blake3::Hasher> =
            LazyLock::new(|| blake3::Hasher::new_derive_key("tidewait.dev v1 state"));
        let mut hasher = STATE.clone();
        hasher.update(&(media_type.len() as u64).to_le_bytes());
        hasher.update(media_type.as_bytes());
        hasher.update(content.as_bytes());
        Self(head(&hasher.finalize()))
    }
}

/// The first `N` bytes of a hash.
fn head<const N: usize>(hash: &blake3::Hash) -> [u8; N] {
    *hash.as_bytes().first_chunk().expect("a hash has 32 bytes")
}

impl StateId {
    /// Reads an id as [`fmt::Display`] writes it, and nothing else: for what this program wrote
    /// itself, as the state on disk. Clients' text is for [`Since::parse`].
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let Since { epoch, version, digest } = Since::parse(text)?;
        let id = Self { epoch, version: version?, digest };
        (id.to_string() == text).then_some(id)
    }

    /// Whether both name the same state, whatever their versions.
    #[must_use]
    pub fn is_same_state(&self, since: &Since) -> bool {
        self.epoch == since.epoch && self.digest == since.digest
    }

    /// Whether this is an older state of the client's own history: one that it must not be given.
    /// Without an order (version 0, or an `ETag`) nothing is older.
    #[must_use]
    pub fn is_before(&self, since: &Since) -> bool {
        self.epoch == since.epoch && self.version != 0 && since.version.is_some_and(|version| self.version < version)
    }
}

impl From<StateId> for Since {
    fn from(id: StateId) -> Self {
        Self { epoch: id.epoch, version: Some(id.version), digest: id.digest }
    }
}

impl Since {
    /// Reads an id or an `ETag` as people paste it: `epoch.version.digest`, `epoch.digest`,
    /// `"..."`, `W/"..."`, each with a suffix that an encoding or a proxy added after the digest
    /// (`~gzip`, `-gzip`). Anything else cannot be one of our ids.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let text = text.strip_prefix("W/").unwrap_or(text);
        let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
        let (epoch, rest) = text.split_once('.')?;
        let (version, digest) = match rest.split_once('.') {
            Some((version, digest)) => (Some(decimal(version)?), digest),
            None => (None, rest),
        };
        let (digest, suffix) = digest.split_at_checked(32)?;
        if !suffix.is_empty() && !suffix.starts_with(['~', '-']) {
            return None;
        }
        Some(Self { epoch: Epoch(unhex(epoch)?), version, digest: Digest(unhex(digest)?) })
    }
}

/// A version as we write it: no sign, no leading zero.
fn decimal(text: &str) -> Option<u64> {
    let version: u64 = text.parse().ok()?;
    (version.to_string() == text).then_some(version)
}

fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if text.len() != 2 * N {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        let digit = |c: u8| match c {
            b'0'..=b'9' => Some(c - b'0'),
            b'a'..=b'f' => Some(c - b'a' + 10),
            _ => None,
        };
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

/// Writes `bytes` as `N` characters. There is an id in several fields of each answer.
fn hex<const N: usize>(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut text = [b'0'; N];
    for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
        pair.copy_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
    f.write_str(str::from_utf8(&text).map_err(|_| fmt::Error)?)
}

const DIGITS: &[u8; 16] = b"0123456789abcdef";

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex::<16>(&self.0, f)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex::<32>(&self.0, f)
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for StateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.epoch, self.version, self.digest)
    }
}

impl fmt::Display for Since {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.version {
            Some(version) => write!(f, "{}.{version}.{}", self.epoch, self.digest),
            None => write!(f, "{}.{}", self.epoch, self.digest),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::model::{Content, Document};

    fn id_of(epoch: &[&str], version: u64, content: &Content) -> String {
        StateId { epoch: Epoch::of(epoch), version, digest: content.digest() }.to_string()
    }

    /// Golden ids: a change here makes every client fetch its model anew, so a release says so.
    #[test]
    fn ids_of_a_few_models_never_change() {
        let json = |text: &str| Content::Json(Document::from_json(text.as_bytes()).expect("a document"));
        let opaque = Content::Opaque { media_type: "text/plain".to_owned(), body: Bytes::from_static(b"hello") };
        let lines = [
            id_of(&["file", "describe"], 0, &json("{}")),
            id_of(&["file", "describe"], 0, &json(r#"{"zones":["a","b"],"mtu":1500,"ratio":1.0}"#)),
            id_of(&["ConfigMap", "7f3c", "network.json"], 902, &json("[1,[2,{}],null]")),
            id_of(&["file", "describe"], 7, &opaque),
        ];
        assert_eq!(lines.join("\n") + "\n", include_str!("golden_ids.txt"));
    }

    #[test]
    fn since_is_read_as_people_paste_it() {
        let id = StateId { epoch: Epoch::of(&["x"]), version: 42, digest: Digest([7; 16]) };
        let (epoch, digest) = (id.epoch, id.digest);
        let whole = Since::from(id);
        let unversioned = Since { version: None, ..whole };
        for (text, expected) in [
            (format!("{id}"), Some(whole)),
            (format!("\"{id}\""), Some(whole)),
            (format!("{id}~gzip"), Some(whole)),
            (format!("\"{epoch}.{digest}\""), Some(unversioned)),
            (format!("W/\"{epoch}.{digest}-gzip\""), Some(unversioned)),
            (format!("{epoch}.{digest}~zstd"), Some(unversioned)),
            (format!(" {id} "), Some(whole)),
            (format!("{epoch}.042.{digest}"), None),
            (format!("{epoch}.+4.{digest}"), None),
            (format!("{epoch}.18446744073709551616.{digest}"), None),
            (format!("{epoch}.1.{digest}x"), None),
            (format!("{epoch}.1.{digest}").to_uppercase(), None),
            (format!("{epoch}.1.é{digest}"), None),
            ("-1".to_owned(), None),
            ("..".to_owned(), None),
            ("\"".to_owned(), None),
        ] {
            assert_eq!(Since::parse(&text), expected, "of {text}");
        }
    }

    #[test]
    fn only_ordered_versions_of_one_epoch_are_before() {
        let id = |epoch: &str, version| StateId { epoch: Epoch::of(&[epoch]), version, digest: Digest([0; 16]) };
        assert!(id("a", 4).is_before(&id("a", 5).into()));
        assert!(!id("a", 5).is_before(&id("a", 5).into()));
        assert!(!id("a", 4).is_before(&id("b", 5).into()), "another history");
        assert!(!id("a", 0).is_before(&id("a", 5).into()), "a source without order");
        let etag = Since { version: None, ..Since::from(id("a", 5)) };
        assert!(!id("a", 4).is_before(&etag), "an ETag has no version");
    }

    proptest! {
        #[test]
        fn every_id_reads_back(epoch: [u8; 8], version: u64, digest: [u8; 16]) {
            let id = StateId { epoch: Epoch(epoch), version, digest: Digest(digest) };
            let text = id.to_string();
            prop_assert!(text.len() <= 128 && text.bytes().all(|c| c.is_ascii_alphanumeric() || b"._~-".contains(&c)));
            prop_assert_eq!(Since::parse(&text), Some(id.into()));
            prop_assert_eq!(Since::from(id).to_string(), text.as_str());
            prop_assert_eq!(StateId::parse(&text), Some(id));
            prop_assert_eq!(StateId::parse(&format!("\"{text}\"")), None);
        }

        #[test]
        fn nothing_makes_parsing_panic(text in ".{0,300}") {
            let _ = Since::parse(&text);
        }
    }
}
