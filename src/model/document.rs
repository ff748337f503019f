//! A model in memory: an immutable JSON tree with a content digest at each container (a Merkle
//! tree), or opaque bytes. States share the parts in which they agree.
//!
//! Canonical form: object keys sorted by their UTF-8 bytes, no white space, strings with the
//! shortest escapes, numbers as their source spelt them (so 1.0 is not 1). Equal canonical
//! bytes and equal digests are the same thing.

use bytes::Bytes;
use smol_str::SmolStr;

use super::id::Digest;
use super::invalid::{Invalid, Path};
use super::members::Members;
use super::tree::Node;
use super::{json, sharing, yaml};
use crate::bounds::{DOCUMENT_DEPTH, DOCUMENT_NODES};
use crate::protocol::media_type::JSON;
use crate::protocol::state_digest;

/// What a state says.
#[derive(Debug, Clone)]
pub enum Content {
    /// A JSON document.
    Json(Document),
    /// Any body, served as it is.
    Opaque {
        /// Its media type (RFC 9110, section 8.3.1).
        media_type: String,
        /// Its bytes.
        body: Bytes,
    },
}

/// A JSON document.
#[derive(Debug, Clone)]
pub struct Document {
    pub(super) root: Node,
}

/// What a document is made of.
#[derive(Debug, Clone)]
pub enum Value<'d> {
    /// null, a boolean, a number or a string, in canonical text.
    Scalar(&'d str),
    /// The items of an array.
    Array(Vec<Document>),
    /// The members of an object, sorted by key.
    Object(Vec<(SmolStr, Document)>),
}

impl Content {
    /// The media type of its bytes.
    #[must_use]
    pub fn media_type(&self) -> &str {
        match self {
            Self::Json(_) => JSON,
            Self::Opaque { media_type, .. } => media_type,
        }
    }

    /// Names what it says: media type and content.
    #[must_use]
    pub fn digest(&self) -> Digest {
        match self {
            Self::Json(document) => document.digest(),
            Self::Opaque { media_type, body } => Digest::of(media_type, &blake3::hash(body)),
        }
    }

    /// The same content, in memory made of the parts of `old` wherever both agree.
    #[must_use]
    pub fn sharing(&self, old: &Self) -> Self {
        match (self, old) {
            (Self::Json(new), Self::Json(old)) => Self::Json(new.sharing(old)),
            _ => self.clone(),
        }
    }

    /// How many bytes [`Content::bytes`] has; known without writing them.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Json(document) => document.canonical_len(),
            Self::Opaque { body, .. } => body.len(),
        }
    }

    /// Whether it has none: only an opaque body may be empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes that a client gets without an encoding.
    #[must_use]
    pub fn bytes(&self) -> Bytes {
        match self {
            Self::Json(document) => document.canonical(),
            Self::Opaque { body, .. } => body.clone(),
        }
    }
}

impl Document {
    /// Reads JSON (RFC 8259); refuses duplicate keys, null and what is nested too deeply.
    pub fn from_json(text: &[u8]) -> Result<Self, Invalid> {
        Self::from_json_within(text, DOCUMENT_DEPTH)
    }

    /// The same, nested at most so many levels: one less than [`DOCUMENT_DEPTH`] for what becomes a member.
    pub fn from_json_within(text: &[u8], levels: usize) -> Result<Self, Invalid> {
        json::read(text_of(text)?, Path::new(levels, DOCUMENT_NODES)).and_then(Self::of)
    }

    /// Reads one YAML document whose keys are strings and whose numbers JSON can express.
    pub fn from_yaml(text: &[u8]) -> Result<Self, Invalid> {
        yaml::read(text_of(text)?, DOCUMENT_NODES).and_then(Self::of)
    }

    /// The object with these members, in any order; of members with the same key the last one counts.
    #[must_use]
    pub fn object(members: impl IntoIterator<Item = (String, Self)>) -> Self {
        let sorted: std::collections::BTreeMap<_, _> = members.into_iter().collect();
        let members = sorted.into_iter().map(|(key, value)| (key.into(), value.root));
        Self { root: Node::object(members.collect()) }
    }

    /// The string `text`.
    #[must_use]
    pub fn string(text: &str) -> Self {
        Self { root: Node::string(text) }
    }

    pub(super) fn of(root: Node) -> Result<Self, Invalid> {
        match &root {
            Node::Scalar(text) if text == "null" => Err(Invalid::Empty),
            Node::Scalar(_) | Node::Array(_) | Node::Object(_) => Ok(Self { root }),
        }
    }

    /// This document with the member `key` set to `value`. All else is shared; what it costs is one
    /// run of members and a pass over the members' digests, whatever is below them. A document
    /// that is no object has no members: then the result has this one alone.
    #[must_use]
    pub fn with_member(&self, key: &str, value: Self) -> Self {
        self.edited(key, Some(value.root))
    }

    /// This document without the member `key`, at the cost of [`Document::with_member`].
    #[must_use]
    pub fn without_member(&self, key: &str) -> Self {
        match self.root.members().and_then(|members| members.get(key)) {
            Some(_) => self.edited(key, None),
            None => self.clone(),
        }
    }

    fn edited(&self, key: &str, value: Option<Node>) -> Self {
        let none = Members::default();
        let members = self.root.members().unwrap_or(&none);
        Self { root: Node::of_members(members.edited([(key.into(), value)])) }
    }

    /// The same document, in memory made of the parts of `old` wherever both agree.
    #[must_use]
    pub fn sharing(&self, old: &Self) -> Self {
        Self { root: sharing::shared(&self.root, &old.root) }
    }

    /// Names what it says: media type and content.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(JSON, &self.root.hash())
    }

    /// The same document, refused where it has more than [`DOCUMENT_NODES`] values: for what is put together of others,
    /// each of which is within the bound.
    pub fn within_bounds(self) -> Result<Self, Invalid> {
        if self.root.nodes() as usize > DOCUMENT_NODES {
            return Err(Invalid::TooManyNodes { most: DOCUMENT_NODES });
        }
        Ok(self)
    }

    /// How many bytes [`Document::canonical`] has; known without writing them.
    #[must_use]
    pub fn canonical_len(&self) -> usize {
        self.root.len()
    }

    /// The canonical bytes.
    #[must_use]
    pub fn canonical(&self) -> Bytes {
        let mut out = String::with_capacity(self.root.len());
        self.write(&mut out);
        Bytes::from(out)
    }

    /// Appends the canonical text.
    pub(super) fn write(&self, out: &mut String) {
        self.root.write(out);
    }

    /// `State-Digest` of the canonical bytes: what a client compares after it has applied a delta.
    #[must_use]
    pub fn state_digest(&self) -> String {
        state_digest(&self.canonical())
    }

    /// What it is made of; its parts are shared.
    #[must_use]
    pub fn value(&self) -> Value<'_> {
        match &self.root {
            Node::Scalar(text) => Value::Scalar(text),
            Node::Array(array) => Value::Array(array.children.iter().map(|item| Self { root: item.clone() }).collect()),
            Node::Object(object) => {
                let member = |(key, value): &(SmolStr, Node)| (key.clone(), Self { root: value.clone() });
                Value::Object(object.children.iter().map(member).collect())
            }
        }
    }

    /// The canonical text of the value at a JSON Pointer (RFC 6901), if it is a scalar.
    #[must_use]
    pub fn scalar_at(&self, pointer: &str) -> Option<&str> {
        let mut node = &self.root;
        for token in pointer.split('/').skip(1) {
            let token = token.replace("~1", "/").replace("~0", "~");
            node = match node {
                Node::Scalar(_) => return None,
                Node::Array(array) => array.children.get(token.parse::<usize>().ok()?)?,
                Node::Object(object) => object.children.get(&token)?,
            };
        }
        match node {
            Node::Scalar(text) => Some(text),
            Node::Array(_) | Node::Object(_) => None,
        }
    }
}

/// The text, without the byte order mark that some editors put first (RFC 8259, section 8.1).
pub(super) fn text_of(bytes: &[u8]) -> Result<&str, Invalid> {
    let text = std::str::from_utf8(bytes).map_err(|error| Invalid::NotUtf8(error.valid_up_to()))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.trim().is_empty() { Err(Invalid::Empty) } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn canonical(json: &str) -> String {
        let bytes = Document::from_json(json.as_bytes()).expect("a document").canonical();
        String::from_utf8(bytes.to_vec()).expect("JSON is UTF-8")
    }

    #[test]
    fn canonical_form_sorts_keys_and_keeps_numbers_as_spelt() {
        for (from, to) in [
            (r#" { "b" : [ 1 , 2.50, -0, 1E+05 ] , "a" : { } } "#, r#"{"a":{},"b":[1,2.50,-0,1E+05]}"#),
            ("\u{feff}{}", "{}"),
            (r#"{"\u0061":"\u00e9\/\n\u001f"}"#, "{\"a\":\"\u{e9}/\\n\\u001f\"}"),
            (r#"{"é":1,"z":2,"a b":3}"#, r#"{"a b":3,"z":2,"é":1}"#),
            ("123456789012345678901234567890.0", "123456789012345678901234567890.0"),
            ("true", "true"),
        ] {
            assert_eq!(canonical(from), to, "of {from}");
        }
    }

    #[test]
    fn digests_tell_contents_and_media_types_apart() {
        let texts = [
            "1",
            "1.0",
            "\"1\"",
            "[]",
            "{}",
            "[1]",
            "[[1]]",
            r#"{"a":1}"#,
            r#"{"a":"1"}"#,
            r#"["a",1]"#,
            r#"[["a",1]]"#,
        ];
        let mut digests: Vec<_> = texts
            .iter()
            .map(|text| Content::Json(Document::from_json(text.as_bytes()).expect("a document")).digest().to_string())
            .collect();
        for media_type in ["text/plain", "application/json"] {
            let body = Bytes::from_static(b"[]");
            digests.push(Content::Opaque { media_type: media_type.to_owned(), body }.digest().to_string());
        }
        let distinct: std::collections::BTreeSet<_> = digests.iter().collect();
        assert_eq!(distinct.len(), digests.len(), "{digests:?}");
    }

    #[test]
    fn refusals_name_place_and_remedy() {
        let deep = "[".repeat(200_000) + &"]".repeat(200_000);
        for (json, expected) in [
            (" \n", "it is empty: write a model, {} for an empty one"),
            ("null", "it is empty: write a model, {} for an empty one"),
            (r#"{"a":[{"k":1,"k":2}]}"#, r#"key "k" stands twice in /a/0: keep one"#),
            (r#"{"a":1,"\u0061":2}"#, r#"key "a" stands twice in the top level: keep one"#),
            ("{\"a\":1,\n  \"b\":}", "JSON does not parse: expected value at line 2 column 7: repair it there"),
            (
                r#"{"a":"\ud800"}"#,
                "JSON does not parse: at /a: unexpected end of hex escape at line 1 column 8: repair it there",
            ),
            ("{} {}", "JSON does not parse: trailing characters at line 1 column 4: repair it there"),
        ] {
            let error = Document::from_json(json.as_bytes()).expect_err("refused");
            assert_eq!(error.to_string(), expected, "of {json}");
        }
        let too_deep = Document::from_json(deep.as_bytes()).expect_err("refused").to_string();
        assert!(too_deep.starts_with("nested deeper than 128 levels at /0/0/"), "{too_deep}");
        assert_eq!(Document::from_json(b"\"\xff\"").expect_err("refused"), Invalid::NotUtf8(1));
        let allowed = "[".repeat(128) + &"]".repeat(128);
        assert!(Document::from_json(allowed.as_bytes()).is_ok(), "128 levels are allowed");
        let member = Document::from_json_within(allowed.as_bytes(), 127).expect_err("a level too deep");
        assert!(member.to_string().starts_with("nested deeper than 127 levels at /0/0/"), "{member}");
        for (levels, is_ok) in [(127, true), (128, true), (129, false)] {
            let json = "{\"a\":".repeat(levels - 1) + "[]" + &"}".repeat(levels - 1);
            assert_eq!(Document::from_json(json.as_bytes()).is_ok(), is_ok, "{levels} levels of JSON");
            assert_eq!(Document::from_yaml(json.as_bytes()).is_ok(), is_ok, "{levels} levels of YAML");
        }
    }

    #[test]
    fn what_is_put_together_is_within_the_bound_too() {
        let mut document = Document::from_json(b"1").expect("a document");
        let mut nodes: usize = 1;
        for _ in 0..40 {
            document = Document::object([("a".to_owned(), document.clone()), ("b".to_owned(), document)]);
            nodes = 2 * nodes + 1;
            let refused = document.clone().within_bounds().err();
            let expected = Invalid::TooManyNodes { most: DOCUMENT_NODES };
            assert_eq!(refused, (nodes > DOCUMENT_NODES).then_some(expected), "{nodes} values");
        }
    }

    #[test]
    fn yaml_becomes_the_same_document_as_json() {
        let yaml = "b: [1, 1.10, no, 017]\na: {x: ~, t: true}\n";
        let document = Document::from_yaml(yaml.as_bytes()).expect("a document");
        let json = r#"{"b": [1, 1.10, "no", "017"], "a": {"x": null, "t": true}}"#;
        assert_eq!(document.canonical(), canonical(json));
        assert_eq!(document.digest(), Document::from_json(json.as_bytes()).expect("a document").digest());
    }

    #[test]
    fn yaml_refuses_what_json_cannot_express() {
        for (yaml, expected) in [
            ("a: [.nan]", ".nan at /a/0 has no JSON form"),
            ("a: -.inf", "-.inf at /a has no JSON form"),
            ("a: {1: x}", "key 1 at /a has no JSON form"),
            ("a: 1\na: 2", "YAML does not parse: duplicate"),
            ("a: 1\n---\nb: 2", "YAML does not parse: a second document begins, and one is wanted at line 2 column 1"),
            ("a: !secret x", "tag !secret at /a has no JSON form"),
            ("a: [", "YAML does not parse:"),
            ("# nothing", "it is empty"),
        ] {
            let error = Document::from_yaml(yaml.as_bytes()).expect_err(yaml).to_string();
            assert!(error.starts_with(expected), "{yaml}: {error}");
        }
    }

    #[test]
    fn pointers_find_scalars() {
        let document = Document::from_json(br#"{"a/b":{"~":[7,"x"]},"v":12}"#).expect("a document");
        assert_eq!(document.scalar_at("/a~1b/~0/0"), Some("7"));
        assert_eq!(document.scalar_at("/v"), Some("12"));
        for nowhere in ["/nothing", "/a~1b", "/v/0", "/a~1b/~0/2"] {
            assert_eq!(document.scalar_at(nowhere), None, "{nowhere}");
        }
    }

    fn any_json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(serde_json::Value::from),
            any::<i64>().prop_map(serde_json::Value::from),
            ".{0,8}".prop_map(serde_json::Value::from),
        ];
        leaf.prop_recursive(4, 48, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(serde_json::Value::from),
                prop::collection::btree_map(".{0,6}", inner, 0..6)
                    .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn canonical_bytes_say_the_same_and_name_the_state(a in any_json(), b in any_json()) {
            let read = |value: &serde_json::Value| {
                Document::from_json(serde_json::to_string_pretty(value).expect("JSON").as_bytes()).expect("a document")
            };
            let (one, other) = (read(&a), read(&b));
            let back: serde_json::Value = serde_json::from_slice(&one.canonical()).expect("JSON");
            prop_assert_eq!(&back, &a);
            let same = Content::Json(one.clone()).digest() == Content::Json(other.clone()).digest();
            prop_assert_eq!(same, one.canonical() == other.canonical());
            let again = Document::from_json(&one.canonical()).expect("canonical JSON is JSON");
            prop_assert_eq!(Content::Json(again).digest(), Content::Json(one).digest());
        }
    }
}
