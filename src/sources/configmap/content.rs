//! PURE. A `ConfigMap` becomes content.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::ConfigMap;

use super::ConfigMapSource;
use crate::bounds::DOCUMENT_BYTES;
use crate::config::Format;
use crate::model::{Content, Document};
use crate::sources::{Unusable, UnusableKind, format};

/// Keys that a message names at most.
const NAMED_KEYS: usize = 8;

/// What the JSON of an object says, as the source reads it.
pub fn read(body: &[u8], source: &ConfigMapSource) -> Result<Content, Unusable> {
    match serde_json::from_slice(body) {
        Ok(map) => of(&map, source),
        Err(error) => Err(source.invalid(&format!("it is no ConfigMap: {error}"))),
    }
}

/// What the map says, as the source reads it.
pub fn of(map: &ConfigMap, source: &ConfigMapSource) -> Result<Content, Unusable> {
    let what = format!("ConfigMap {}/{}", source.namespace, source.name);
    match &source.key {
        Some(key) => one_key(map, key, &source.format, &what),
        None => all_keys(map, &what).map(Content::Json),
    }
}

fn one_key(map: &ConfigMap, key: &str, format: &Format, what: &str) -> Result<Content, Unusable> {
    let text = map.data.as_ref().and_then(|data| data.get(key)).map(String::as_bytes);
    let binary = || map.binary_data.as_ref().and_then(|data| data.get(key)).map(|bytes| bytes.0.as_slice());
    match text.or_else(binary) {
        Some(bytes) => format::read(&Bytes::copy_from_slice(bytes), format, &format!("{what}, key {key:?}")),
        None => Err(Unusable {
            kind: UnusableKind::Missing,
            detail: format!("{what} has no key {key:?}, {}: write that key, or name another", keys(map)),
        }),
    }
}

fn all_keys(map: &ConfigMap, what: &str) -> Result<Document, Unusable> {
    let texts = map.data.iter().flatten().map(|(key, text)| (key, member(key, text, what)));
    // Whatever the name says: JSON has no other form for bytes.
    let binary = |bytes: &ByteString| Ok(Document::string(&STANDARD.encode(&bytes.0)));
    let binaries = map.binary_data.iter().flatten().map(|(key, bytes)| (key, binary(bytes)));
    let (mut members, mut length) = (Vec::new(), 0);
    for (key, document) in texts.chain(binaries) {
        let document = document?;
        // Each may be as large as a model through what its aliases stand for.
        length += document.canonical_len();
        if length > DOCUMENT_BYTES {
            return Err(format::too_large(length as u64, &format!("{what}, keys up to {key:?}")));
        }
        members.push((key.clone(), document));
    }
    if members.is_empty() {
        let detail = format!("{what} has no keys: write one");
        return Err(Unusable { kind: UnusableKind::Empty, detail });
    }
    Document::object(members).within_bounds().map_err(|error| format::unusable(&error, what))
}

fn member(key: &str, text: &str, what: &str) -> Result<Document, Unusable> {
    let format = Format::of_name(key);
    if let Format::Opaque(_) = format {
        return Ok(Document::string(text));
    }
    match format::read(&Bytes::copy_from_slice(text.as_bytes()), &format, &format!("{what}, key {key:?}")) {
        Ok(Content::Json(document)) => Ok(document),
        Ok(Content::Opaque { .. }) => Ok(Document::string(text)),
        // One empty key does not make the map empty.
        Err(Unusable { detail, .. }) => Err(Unusable { kind: UnusableKind::Invalid, detail }),
    }
}

/// The keys that there are, for a message.
fn keys(map: &ConfigMap) -> String {
    let mut keys =
        map.data.iter().flatten().map(|(key, _)| key).chain(map.binary_data.iter().flatten().map(|(key, _)| key));
    let Some(first) = keys.next() else {
        return "and no other".to_owned();
    };
    let mut text = format!("only {first:?}");
    for key in keys.by_ref().take(NAMED_KEYS - 1) {
        write!(text, ", {key:?}").expect("a String takes all");
    }
    match keys.count() {
        0 => text,
        more => format!("{text} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn source(key: Option<&str>, format: Format) -> ConfigMapSource {
        ConfigMapSource {
            namespace: "apps".to_owned(),
            name: "model".to_owned(),
            key: key.map(str::to_owned),
            format,
            watch_timeout: Duration::from_secs(200),
        }
    }

    fn map(data: &[(&str, &str)], binary: &[(&str, &[u8])]) -> ConfigMap {
        let data = data.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect();
        let binary = binary.iter().map(|(key, bytes)| ((*key).to_owned(), ByteString(bytes.to_vec()))).collect();
        ConfigMap { data: Some(data), binary_data: Some(binary), ..ConfigMap::default() }
    }

    /// The bytes, or kind and message.
    fn read(map: &ConfigMap, source: &ConfigMapSource) -> Result<String, (UnusableKind, String)> {
        let content = of(map, source).map_err(|unusable| (unusable.kind, unusable.detail))?;
        Ok(String::from_utf8(content.bytes().to_vec()).expect("text"))
    }

    #[test]
    fn one_key_is_read_by_its_format_from_text_or_binary_data() {
        let map = map(&[("a.json", " {} "), ("b.txt", "hello")], &[("c.yaml", b"x: [1]"), ("d", &[0, 255])]);
        for (key, format, expected) in [
            ("a.json", Format::Json, "{}"),
            ("b.txt", Format::of_name("b.txt"), "hello"),
            ("c.yaml", Format::Yaml, r#"{"x":[1]}"#),
        ] {
            assert_eq!(read(&map, &source(Some(key), format)), Ok(expected.to_owned()), "{key}");
        }
        let content = of(&map, &source(Some("d"), Format::of_name("d"))).expect("any bytes can be served");
        assert_eq!((content.media_type(), &content.bytes()[..]), ("application/octet-stream", &[0, 255][..]));
    }

    /// Row (b) 39: empty, non-UTF-8 binaryData, duplicate keys.
    #[test]
    fn what_cannot_be_served_names_object_key_place_and_remedy() {
        let many: Vec<_> = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"].map(|key| (key, "")).to_vec();
        let json = || source(Some("m.json"), Format::Json);
        let opaque = || source(Some("m.json"), Format::Opaque("text/plain".to_owned()));
        let place = "ConfigMap apps/model";
        for (map, source, kind, message) in [
            (
                map(&[("x", "1")], &[]),
                json(),
                UnusableKind::Missing,
                "no key \"m.json\", only \"x\": write that key, or name another",
            ),
            (map(&[], &[]), json(), UnusableKind::Missing, "no key \"m.json\", and no other: write"),
            (ConfigMap::default(), json(), UnusableKind::Missing, "no key \"m.json\", and no other: write"),
            (map(&many, &[]), json(), UnusableKind::Missing, "\"g\", \"h\" and 2 more: write"),
            (map(&[("m.json", "")], &[]), json(), UnusableKind::Empty, "key \"m.json\""),
            (map(&[("m.json", "null")], &[]), json(), UnusableKind::Empty, "key \"m.json\""),
            (map(&[("m.json", "")], &[]), opaque(), UnusableKind::Empty, "key \"m.json\""),
            (map(&[], &[("m.json", b"{\"a\":\"\xff\"}")]), json(), UnusableKind::Invalid, "byte 6 is not UTF-8"),
            (
                map(&[("m.json", r#"{"a":{"k":1,"k":2}}"#)], &[]),
                json(),
                UnusableKind::Invalid,
                "\"k\" stands twice in /a",
            ),
        ] {
            let (found, text) = read(&map, &source).expect_err("not served");
            assert_eq!(found, kind, "{text}");
            assert!(text.starts_with(place) && text.contains(message), "{text}");
        }
    }

    #[test]
    fn all_keys_are_one_object() {
        let all = source(None, Format::Json);
        let map =
            map(&[("z.yml", "on: yes"), ("a.JSON", "[1.0]"), ("note", "{"), ("empty", "")], &[("b.json", &[255, 0])]);
        let expected = r#"{"a.JSON":[1.0],"b.json":"/wA=","empty":"","note":"{","z.yml":{"on":"yes"}}"#;
        assert_eq!(read(&map, &all), Ok(expected.to_owned()));
        assert_eq!(read(&self::map(&[], &[("b", &[])]), &all), Ok(r#"{"b":""}"#.to_owned()));
    }

    #[test]
    fn keys_that_grow_are_counted_together() {
        let grown = format!("a: &a \"{}\"\nb: [{}]\n", "x".repeat(60_000), "*a,".repeat(700));
        let keys = [("a.yaml", &*grown), ("b.yaml", &*grown)];
        let all = source(None, Format::Json);
        assert!(read(&map(&keys[..1], &[]), &all).is_ok(), "42 MB are a model");
        let (kind, text) = read(&map(&keys, &[]), &all).expect_err("84 MB are too much");
        assert_eq!(kind, UnusableKind::Invalid, "{text}");
        assert!(text.starts_with("ConfigMap apps/model, keys up to \"b.yaml\": it is 84"), "{text}");
    }

    #[test]
    fn in_all_keys_one_wrong_key_makes_the_whole_invalid() {
        let all = source(None, Format::Json);
        for (wrong, message) in [("{", "does not parse"), ("", "it is empty"), ("null", "it is empty")] {
            let (kind, text) =
                read(&map(&[("good.json", "1"), ("bad.json", wrong)], &[]), &all).expect_err("not served");
            assert_eq!(kind, UnusableKind::Invalid, "{text}");
            assert!(text.starts_with("ConfigMap apps/model, key \"bad.json\"") && text.contains(message), "{text}");
        }
        for empty in [ConfigMap::default(), map(&[], &[])] {
            let expected = (UnusableKind::Empty, "ConfigMap apps/model has no keys: write one".to_owned());
            assert_eq!(read(&empty, &all), Err(expected));
        }
    }
}
