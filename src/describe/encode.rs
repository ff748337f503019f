//! What is made once for a state and shared by all its answers: field values and encoded bytes.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use http::{HeaderMap, HeaderValue, header};

use super::weights::weighted;
use crate::model::Snapshot;
use crate::model::snapshot::Body;
pub use crate::protocol::Coding;
use crate::protocol::query::SINCE;

/// The field values of a state.
#[derive(Debug)]
pub struct ResponseFields {
    /// `State-Id`.
    pub state_id: HeaderValue,
    /// `ETag` of the bytes as they are.
    pub etag: HeaderValue,
    /// `ETag` of the gzip coding.
    pub etag_gzip: HeaderValue,
    /// `ETag` of the zstd coding.
    pub etag_zstd: HeaderValue,
    /// `Link` to the next poll of a client that sent no other parameter.
    pub link: HeaderValue,
    /// `Content-Type`.
    pub content_type: HeaderValue,
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
        let id = &snapshot.id;
        let ours = |text: String| HeaderValue::try_from(text).expect("ids and digests are field values");
        let etag = |suffix: &str| ours(format!("\"{}.{}{suffix}\"", id.epoch, id.digest));
        Self {
            state_id: ours(id.to_string()),
            etag: etag(""),
            etag_gzip: etag(&format!("~{}", Coding::Gzip.name())),
            etag_zstd: etag(&format!("~{}", Coding::Zstd.name())),
            link: ours(link(snapshot, "")),
            content_type: HeaderValue::try_from(snapshot.content.media_type())
                .unwrap_or(HeaderValue::from_static("application/octet-stream")),
        }
    }

    /// `ETag` in a coding.
    #[must_use]
    pub fn etag(&self, coding: Coding) -> HeaderValue {
        match coding {
            Coding::Identity => self.etag.clone(),
            Coding::Gzip => self.etag_gzip.clone(),
            Coding::Zstd => self.etag_zstd.clone(),
        }
    }

    /// `Link` to the next poll of a client that sent `tail` beside its `since`.
    #[must_use]
    pub fn link(&self, snapshot: &Snapshot, tail: &str) -> HeaderValue {
        if tail.is_empty() {
            return self.link.clone();
        }
        HeaderValue::try_from(link(snapshot, tail)).expect("percent-encoded text is a field value")
    }
}

/// `State-Digest` of these bytes.
#[must_use]
pub fn state_digest(body: &Body) -> HeaderValue {
    HeaderValue::try_from(&body.sha256).expect("base64 is a field value")
}

fn link(snapshot: &Snapshot, tail: &str) -> String {
    format!("<?{SINCE}={}{tail}>; rel=\"next\"", snapshot.id)
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
        assert_eq!(face.state_id, format!("{epoch}.7.{digest}"));
        assert_eq!(face.etag(Coding::Identity), format!("\"{epoch}.{digest}\""));
        assert_eq!(face.etag(Coding::Gzip), format!("\"{epoch}.{digest}~gzip\""));
        assert_eq!(face.link(&snapshot, "&wait=30"), format!("<?since={epoch}.7.{digest}&wait=30>; rel=\"next\""));
        assert_eq!(state_digest(snapshot.body()), "sha-256=:RBNvo1WzZ4oRRq0W9+hknpT7T8If536DEMBg9hyq/4o=:");
    }
}
