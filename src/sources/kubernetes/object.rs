//! PURE. An object of the API server, of whatever kind: its metadata, read alone, and its bytes.
//! What else it holds is for the source to read, so that an object that cannot be read affects no other.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::driver::number;

/// An object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// `metadata.name`
    pub name: String,
    /// `metadata.namespace`; absent in what belongs to the cluster.
    pub namespace: Option<String>,
    /// `metadata.uid`
    pub uid: String,
    /// `metadata.resourceVersion`; 0: one without order.
    pub version: u64,
    /// `metadata.generation`; absent in kinds without one, as `ConfigMap`.
    pub generation: Option<i64>,
    /// All of it, in JSON.
    pub body: Bytes,
}

/// An object whose metadata cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    /// Its name, if at least that can be read.
    pub name: Option<String>,
    /// What is wrong.
    pub why: String,
}

#[derive(Deserialize)]
struct Head {
    metadata: Metadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    name: String,
    namespace: Option<String>,
    uid: String,
    resource_version: String,
    generation: Option<i64>,
}

#[derive(Deserialize)]
struct NameOnly {
    metadata: Name,
}

#[derive(Deserialize)]
struct Name {
    name: String,
}

#[derive(Deserialize)]
struct Described {
    metadata: Descriptions,
}

#[derive(Deserialize)]
struct Descriptions {
    labels: Option<BTreeMap<String, String>>,
    annotations: Option<BTreeMap<String, String>>,
}

impl Object {
    /// Reads the metadata. The bytes are copied: a page of a list or the buffer of a watch lives
    /// no longer for one object's sake.
    pub fn read(raw: &RawValue) -> Result<Self, Malformed> {
        let text = raw.get();
        match serde_json::from_str::<Head>(text) {
            Ok(Head { metadata: Metadata { name, namespace, uid, resource_version, generation } }) => Ok(Self {
                name,
                namespace,
                uid,
                version: number(&resource_version).unwrap_or(0),
                generation,
                body: Bytes::copy_from_slice(text.as_bytes()),
            }),
            Err(error) => Err(Malformed {
                name: serde_json::from_str(text).ok().map(|NameOnly { metadata: Name { name } }| name),
                why: format!("its metadata cannot be read: {error}"),
            }),
        }
    }

    /// `metadata.annotations`, read now; empty if they are not strings.
    #[must_use]
    pub fn annotations(&self) -> BTreeMap<String, String> {
        self.described().and_then(|described| described.annotations).unwrap_or_default()
    }

    /// `metadata.labels`, read now; empty if they are not strings.
    #[must_use]
    pub fn labels(&self) -> BTreeMap<String, String> {
        self.described().and_then(|described| described.labels).unwrap_or_default()
    }

    fn described(&self) -> Option<Descriptions> {
        serde_json::from_slice(&self.body).ok().map(|Described { metadata }| metadata)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Object, Malformed> {
        Object::read(serde_json::from_str(text).expect("JSON"))
    }

    /// What the API server stores at most is 10,000 deep.
    #[test]
    fn depth_is_nothing_to_the_metadata() {
        let deep = format!("{}1{}", "[".repeat(9_990), "]".repeat(9_990));
        let text = format!(
            r#"{{"spec":{{"x":{deep}}},"metadata":{{"name":"a","namespace":"n","uid":"u","resourceVersion":"12","generation":3,
               "labels":{{"k":"v"}},"annotations":{{"a":"b"}}}}}}"#
        );
        let object = read(&text).expect("an object");
        assert_eq!((&*object.name, object.version, object.generation), ("a", 12, Some(3)));
        assert_eq!((object.namespace.as_deref(), &*object.uid), (Some("n"), "u"));
        assert_eq!(object.body, text, "all of it");
        assert_eq!(object.labels(), BTreeMap::from([("k".to_owned(), "v".to_owned())]));
        assert_eq!(object.annotations(), BTreeMap::from([("a".to_owned(), "b".to_owned())]));
    }

    #[test]
    fn what_cannot_be_read_is_named_where_that_can_be() {
        for (text, name, why) in [
            (r#"{"metadata":{"name":"a","uid":"u"}}"#, Some("a"), "resourceVersion"),
            (r#"{"metadata":{"name":"a","uid":7,"resourceVersion":"1"}}"#, Some("a"), "invalid type"),
            (r#"{"metadata":[]}"#, None, "metadata"),
            (r#"{"spec":1}"#, None, "missing field `metadata`"),
            ("7", None, "invalid type"),
        ] {
            let malformed = read(text).expect_err(text);
            assert_eq!(malformed.name.as_deref(), name, "{text}");
            assert!(malformed.why.contains(why), "{text}: {}", malformed.why);
        }
        let odd = read(r#"{"metadata":{"name":"a","uid":"u","resourceVersion":"x","labels":{"k":1}}}"#).expect("ok");
        assert_eq!((odd.version, odd.labels().len(), odd.annotations().len()), (0, 0, 0));
    }
}
