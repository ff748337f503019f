//! Bytes to a model, the same way for each source that holds bytes: a file, a key of a `ConfigMap`.
//!
//! What is configured as JSON or YAML and does not parse is an error, never served as it is.

use bytes::Bytes;

use super::{Unusable, UnusableKind};
use crate::bounds::DOCUMENT_BYTES;
use crate::config::Format;
use crate::model::{Content, Document, Invalid};

/// Reads `bytes` as `format`. `what` names the object in messages, as `file models/net.json`.
pub fn read(bytes: &Bytes, format: &Format, what: &str) -> Result<Content, Unusable> {
    if bytes.len() > DOCUMENT_BYTES {
        return Err(too_large(bytes.len() as u64, what));
    }
    let document = match format {
        Format::Json => Document::from_json(bytes),
        Format::Yaml => Document::from_yaml(bytes),
        Format::Opaque(_) if bytes.is_empty() => {
            let detail = format!("{what}: it is empty: write its content, or remove it");
            return Err(Unusable { kind: UnusableKind::Empty, detail });
        }
        Format::Opaque(media_type) => {
            return Ok(Content::Opaque { media_type: media_type.clone(), body: bytes.clone() });
        }
    };
    let document = document.map_err(|error| unusable(&error, what))?;
    match document.canonical_len() {
        length if length > DOCUMENT_BYTES => Err(too_large(length as u64, what)),
        _ => Ok(Content::Json(document)),
    }
}

/// Why `what` is no document.
#[must_use]
pub fn unusable(error: &Invalid, what: &str) -> Unusable {
    Unusable { kind: kind(error), detail: format!("{what}: {error}") }
}

/// The refusal of content over [`DOCUMENT_BYTES`], for callers that know the length before they have the bytes.
#[must_use]
pub fn too_large(length: u64, what: &str) -> Unusable {
    let detail =
        format!("{what}: it is {length} bytes, over the limit of {DOCUMENT_BYTES}: make it smaller or split it");
    Unusable { kind: UnusableKind::Invalid, detail }
}

fn kind(error: &Invalid) -> UnusableKind {
    match error {
        Invalid::Empty => UnusableKind::Empty,
        Invalid::NotUtf8(_)
        | Invalid::Syntax { .. }
        | Invalid::DuplicateKey { .. }
        | Invalid::TooDeep { .. }
        | Invalid::TooManyNodes { .. }
        | Invalid::Yaml(_) => UnusableKind::Invalid,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::bounds::DOCUMENT_NODES;

    fn opaque() -> Format {
        Format::Opaque("text/plain".to_owned())
    }

    #[test]
    fn each_format_reads_its_own() {
        for (bytes, format, media_type, canonical) in [
            (r#"{ "a": 1.0 }"#, Format::Json, "application/json", r#"{"a":1.0}"#),
            ("a: [1, x]\n", Format::Yaml, "application/json", r#"{"a":[1,"x"]}"#),
            ("not { JSON", opaque(), "text/plain", "not { JSON"),
            (" \n", opaque(), "text/plain", " \n"),
        ] {
            let content = read(&Bytes::from(bytes), &format, "file m").expect(bytes);
            assert_eq!((content.media_type(), &*content.bytes()), (media_type, canonical.as_bytes()), "of {bytes}");
        }
    }

    #[test]
    fn refusals_name_object_place_and_remedy() {
        use UnusableKind::{Empty, Invalid};
        let too_large = " ".repeat(DOCUMENT_BYTES + 1);
        let too_many = format!("[0{}]", ",0".repeat(DOCUMENT_NODES - 1));
        for (bytes, format, kind, detail) in [
            ("", Format::Json, Empty, "file m: it is empty: write a model, {} for an empty one"),
            ("\n", Format::Yaml, Empty, "file m: it is empty: write a model, {} for an empty one"),
            ("null", Format::Json, Empty, "file m: it is empty: write a model, {} for an empty one"),
            ("~", Format::Yaml, Empty, "file m: it is empty: write a model, {} for an empty one"),
            ("", opaque(), Empty, "file m: it is empty: write its content, or remove it"),
            (
                "{\"a\":",
                Format::Json,
                Invalid,
                "file m: JSON does not parse: EOF while parsing a value at line 1 column 5",
            ),
            ("a: [1,", Format::Yaml, Invalid, "file m: YAML does not parse: unclosed bracket '[' at line 1 column 4"),
            (
                &too_large,
                opaque(),
                Invalid,
                "file m: it is 67108865 bytes, over the limit of 67108864: make it smaller or split it",
            ),
            (
                &too_many,
                Format::Json,
                Invalid,
                "file m: it has more than 8388608 values, each object, array, string, number, boolean and null counted: make",
            ),
        ] {
            let unusable = read(&Bytes::from(bytes.to_owned()), &format, "file m").expect_err(detail);
            assert_eq!(unusable.kind, kind, "{}", unusable.detail);
            assert!(unusable.detail.starts_with(detail), "{}", unusable.detail);
        }
    }

    proptest! {
        #[test]
        fn nothing_makes_reading_panic(bytes in prop::collection::vec(any::<u8>(), 0..256), text in r#"[\[\]{}:,"'&*!|>#?%@a0\- \n\\]{0,64}"#) {
            for input in [Bytes::from(bytes), Bytes::from(text)] {
                for format in [Format::Json, Format::Yaml, opaque()] {
                    if let Err(unusable) = read(&input, &format, "file m") {
                        prop_assert!(unusable.detail.starts_with("file m: "), "{}", unusable.detail);
                    }
                }
            }
        }
    }
}
