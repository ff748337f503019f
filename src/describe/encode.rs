//! What is made once for a state and shared by all its answers: field values and encoded bytes.

use std::io::Write as _;
use std::ops::Range;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{HeaderMap, HeaderValue, header};

use super::weights::weighted;
use crate::model::snapshot::Body;
use crate::model::{Snapshot, StateId};
pub use crate::protocol::Coding;
use crate::protocol::media_type::JSON;
use crate::protocol::query::SINCE;

/// Where the id begins in `Link`.
const ID: usize = "<?".len() + SINCE.len() + "=".len();
const LINK_ENDS: &str = ">; rel=\"next\"";
/// Bytes of both at most: the id in `Link` is of 16, 20 and 32 characters, the `ETag` of 16 and 32.
const LINK_AND_ETAG: usize = ID + (16 + 1 + 20 + 1 + 32) + LINK_ENDS.len() + (1 + 16 + 1 + 32 + 1);
const OURS: &str = "ids, digests and percent-encoded text are field values";
/// The media type of what says no usable one.
const OCTET_STREAM: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// The field values of a state. There may be as many states as clients, so they are slices of one text: `Link`, `ETag`,
/// and `Content-Type` where it is another than JSON.
#[derive(Debug)]
pub struct ResponseFields {
    text: Bytes,
    /// Where `ETag` begins.
    etag: u8,
    /// Where it ends.
    end: u8,
}

impl Coding {
    /// The coding to use for a request: the one with the highest quality, of equal ones the
    /// smallest result; identity when nothing that we have is acceptable.
    #[must_use]
    pub fn negotiate(fields: &HeaderMap) -> Self {
        // Qualities in thousandths; identity is acceptable unless it is excluded.
        let (mut gzip, mut zstd, mut identity, mut rest) = (None, None, None, None);
        for (name, quality) in weighted(fields, &header::ACCEPT_ENCODING) {
            match Self::named(&name) {
                Some(Self::Gzip) => gzip = Some(quality),
                Some(Self::Zstd) => zstd = Some(quality),
                Some(Self::Identity) => identity = Some(quality),
                None if name == "*" => rest = Some(quality),
                None => {}
            }
        }
        let gzip = gzip.or(rest).unwrap_or(0);
        let zstd = zstd.or(rest).unwrap_or(0);
        // Unlisted, identity is the last choice.
        let identity = identity.unwrap_or(u16::from(rest != Some(0)));
        [(Self::Zstd, zstd), (Self::Gzip, gzip), (Self::Identity, identity)]
            .into_iter()
            .filter(|(_, quality)| *quality > 0)
            .rev()
            .max_by_key(|(_, quality)| *quality)
            .map_or(Self::Identity, |(coding, _)| coding)
    }

    /// `Content-Encoding`; absent for the bytes as they are.
    #[must_use]
    pub fn content_encoding(self) -> Option<HeaderValue> {
        (self != Self::Identity).then(|| HeaderValue::from_static(self.name()))
    }

    /// The bytes in this coding; absent when that would not make them smaller.
    #[must_use]
    pub fn encode(self, bytes: &[u8]) -> Option<Vec<u8>> {
        let encoded = match self {
            Self::Identity => return None,
            Self::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
                encoder.write_all(bytes).and_then(|()| encoder.finish())
            }
            Self::Zstd => zstd::encode_all(bytes, zstd::DEFAULT_COMPRESSION_LEVEL),
        };
        // Both write to memory; if one fails all the same, the bytes as they are serve as well.
        encoded.ok().filter(|encoded| encoded.len() < bytes.len())
    }
}

impl ResponseFields {
    /// The field values of a snapshot.
    #[must_use]
    pub fn of(snapshot: &Snapshot) -> Self {
        let StateId { epoch, digest, .. } = snapshot.id;
        let media_type = Some(snapshot.content.media_type()).filter(|media_type| *media_type != JSON);
        let media_type = media_type.map(|media_type| HeaderValue::try_from(media_type).unwrap_or(OCTET_STREAM));
        let media_type = media_type.as_ref().map_or(&b""[..], HeaderValue::as_bytes);
        let mut text = Vec::with_capacity(LINK_AND_ETAG + media_type.len());
        // Writing to memory does not fail.
        let _ = write!(text, "<?{SINCE}={}{LINK_ENDS}", snapshot.id);
        let etag = offset(&text);
        let _ = write!(text, "\"{epoch}.{digest}\"");
        let end = offset(&text);
        text.extend_from_slice(media_type);
        Self { text: text.into(), etag, end }
    }

    /// `State-Id`.
    #[must_use]
    pub fn state_id(&self) -> HeaderValue {
        self.value(ID..usize::from(self.etag) - LINK_ENDS.len())
    }

    /// `ETag` in a coding.
    #[must_use]
    pub fn etag(&self, coding: Coding) -> HeaderValue {
        let etag = usize::from(self.etag)..usize::from(self.end);
        if coding == Coding::Identity {
            return self.value(etag);
        }
        let mut text = Vec::with_capacity(etag.len() + "~gzip".len());
        text.extend_from_slice(&self.text[etag.start..etag.end - 1]);
        let _ = write!(text, "~{}\"", coding.name());
        HeaderValue::from_maybe_shared(Bytes::from(text)).expect(OURS)
    }

    /// `Link` to the next poll of a client that sent `tail` beside its `since`.
    #[must_use]
    pub fn link(&self, tail: &str) -> HeaderValue {
        let link = usize::from(self.etag);
        if tail.is_empty() {
            return self.value(0..link);
        }
        let id = link - LINK_ENDS.len();
        let text = [&self.text[..id], tail.as_bytes(), &self.text[id..link]].concat();
        HeaderValue::from_maybe_shared(Bytes::from(text)).expect(OURS)
    }

    /// `Content-Type`.
    #[must_use]
    pub fn content_type(&self) -> HeaderValue {
        let end = usize::from(self.end);
        if end == self.text.len() { HeaderValue::from_static(JSON) } else { self.value(end..self.text.len()) }
    }

    fn value(&self, range: Range<usize>) -> HeaderValue {
        HeaderValue::from_maybe_shared(self.text.slice(range)).expect(OURS)
    }
}

/// `State-Digest` of these bytes.
#[must_use]
pub fn state_digest(body: &Body) -> HeaderValue {
    HeaderValue::from_maybe_shared(body.sha256.clone()).expect(OURS)
}

fn offset(text: &[u8]) -> u8 {
    u8::try_from(text.len()).expect("LINK_AND_ETAG bytes at most")
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;
    use crate::model::{Content, Document, Epoch};

    #[test]
    fn the_coding_with_the_highest_quality_wins() {
        for (accept, expected) in [
            (None, Coding::Identity),
            (Some(""), Coding::Identity),
            (Some("gzip"), Coding::Gzip),
            (Some("gzip, zstd, br"), Coding::Zstd),
            (Some("gzip;q=1.0, zstd;q=0.5"), Coding::Gzip),
            (Some("GZIP;Q=0.2, identity;q=0.1"), Coding::Gzip),
            (Some("gzip;q=0"), Coding::Identity),
            (Some("*"), Coding::Zstd),
            (Some("*;q=0, gzip"), Coding::Gzip),
            (Some("identity, gzip;q=0.5"), Coding::Identity),
            (Some("identity;q=0, *;q=0"), Coding::Identity),
            (Some("gzip;q=nonsense"), Coding::Identity),
            (Some("br"), Coding::Identity),
        ] {
            let mut fields = HeaderMap::new();
            if let Some(accept) = accept {
                fields.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(accept));
            }
            assert_eq!(Coding::negotiate(&fields), expected, "{accept:?}");
        }
    }

    #[test]
    fn encodings_decode_to_the_same_bytes_and_are_left_out_when_larger() {
        let bytes = br#"{"zone":"a"}"#.repeat(100);
        let mut back = Vec::new();
        let gzip = Coding::Gzip.encode(&bytes).expect("smaller");
        flate2::read::GzDecoder::new(&*gzip).read_to_end(&mut back).expect("gzip");
        assert_eq!(back, bytes);
        let zstd = Coding::Zstd.encode(&bytes).expect("smaller");
        assert_eq!(zstd::decode_all(&*zstd).expect("zstd"), bytes);
        assert_eq!(Coding::Gzip.encode(b"{}"), None);
        assert_eq!(Coding::Identity.encode(&bytes), None);
    }

    #[test]
    fn the_face_of_a_state() {
        let content = Content::Json(Document::from_json(b"{}").expect("a document"));
        let snapshot = Snapshot::of(Epoch::of(&["test"]), 7, &content);
        let (epoch, digest) = (snapshot.id.epoch, snapshot.id.digest);
        let face = ResponseFields::of(&snapshot);
        assert_eq!(face.state_id(), format!("{epoch}.7.{digest}"));
        assert_eq!(face.etag(Coding::Identity), format!("\"{epoch}.{digest}\""));
        assert_eq!(face.etag(Coding::Gzip), format!("\"{epoch}.{digest}~gzip\""));
        assert_eq!(face.etag(Coding::Zstd), format!("\"{epoch}.{digest}~zstd\""));
        assert_eq!(face.content_type(), "application/json");
        assert_eq!(face.link(""), format!("<?since={epoch}.7.{digest}>; rel=\"next\""));
        assert_eq!(face.link("&wait=30"), format!("<?since={epoch}.7.{digest}&wait=30>; rel=\"next\""));
        assert_eq!(state_digest(snapshot.body()), "sha-256=:RBNvo1WzZ4oRRq0W9+hknpT7T8If536DEMBg9hyq/4o=:");
    }
}
