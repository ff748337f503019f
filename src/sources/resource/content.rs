//! PURE. An object becomes content: one field of it, as JSON.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::value::RawValue;

use super::ResourceSource;
use crate::bounds::DOCUMENT_DEPTH;
use crate::config::Objects;
use crate::model::{Document, RevisionHash, SourceRevision};
use crate::sources::kubernetes::Object;
use crate::sources::{Unusable, UnusableKind, format};

/// What of an object's status is kept: conditions and an id. A longer one was not written by this program.
const STATUS_BYTES: usize = 64 * 1024;

/// What is held of an object.
#[derive(Debug, Clone, PartialEq)]
pub struct LastGood {
    /// Its last good content.
    pub good: Option<Good>,
    /// Why it cannot be served as it is now.
    pub wrong: Option<String>,
    /// Which kind of wrong that is.
    pub kind: UnusableKind,
    /// Its status, in JSON.
    pub status: Option<Arc<str>>,
}

/// Content that can be served.
#[derive(Debug, Clone)]
pub struct Good {
    /// The generation that it is of, or the resourceVersion of a kind without generations.
    pub revision: u64,
    /// Which object it is of, at which revision.
    pub input: RevisionHash,
    /// Its content.
    pub document: Document,
}

impl PartialEq for Good {
    fn eq(&self, other: &Self) -> bool {
        self.input == other.input && self.document.digest() == other.document.digest()
    }
}

/// Reads the field; what is wrong with it leaves the last good content, `before`, in place.
#[must_use]
pub fn read(object: &Object, revision: u64, before: Option<Good>, source: &ResourceSource) -> LastGood {
    let what = format!("{} {}/{}", source.kind, source.namespace, object.name);
    let fields = fields(object);
    let status = fields.as_ref().ok().and_then(|fields| fields.get("status"));
    let status = status.filter(|text| text.get().len() <= STATUS_BYTES).map(|text| text.get().into());
    // A write of the status alone: the content is the same.
    if let Some(before) = before.as_ref().filter(|before| object.generation.is_some() && before.revision == revision) {
        return LastGood { good: Some(before.clone()), wrong: None, kind: UnusableKind::Invalid, status };
    }
    match fields.and_then(|fields| document(fields.get(&source.field).copied(), &what, source)) {
        Ok(document) => {
            let input = SourceRevision { uid: &object.uid, revision }.hash();
            LastGood {
                good: Some(Good { revision, input, document }),
                wrong: None,
                kind: UnusableKind::Invalid,
                status,
            }
        }
        Err(Unusable { kind, detail }) => LastGood { good: before, wrong: Some(detail), kind, status },
    }
}

/// The top-level fields, unread: none of them is deeper than the others may bear.
fn fields(object: &Object) -> Result<BTreeMap<String, &RawValue>, Unusable> {
    serde_json::from_slice(&object.body).map_err(|error| {
        let detail = format!("{} cannot be read: {error}", object.name);
        Unusable { kind: UnusableKind::Invalid, detail }
    })
}

fn document(text: Option<&RawValue>, what: &str, source: &ResourceSource) -> Result<Document, Unusable> {
    let field = &source.field;
    let Some(text) = text else {
        let detail = format!("{what} has no field {field:?}: write it, or name another");
        return Err(Unusable { kind: UnusableKind::Missing, detail });
    };
    // As a member of the whole it is a level further down.
    let levels = match source.objects {
        Objects::Named(_) => DOCUMENT_DEPTH,
        Objects::Labelled(_) => DOCUMENT_DEPTH - 1,
    };
    let read = Document::from_json_within(text.get().as_bytes(), levels);
    read.map_err(|error| format::unusable(&error, &format!("{what}, field {field:?}")))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;

    fn source() -> ResourceSource {
        ResourceSource {
            namespace: "apps".to_owned(),
            api_version: "tidewait.dev/v1alpha1".to_owned(),
            kind: "NetworkModel".to_owned(),
            objects: Objects::Named("zone-a".to_owned()),
            field: "spec".to_owned(),
            watch_timeout: Duration::from_secs(200),
        }
    }

    fn object(generation: i64, rest: &str) -> Object {
        Object {
            name: "zone-a".to_owned(),
            namespace: Some("apps".to_owned()),
            uid: "u".to_owned(),
            version: 7,
            generation: Some(generation),
            body: Bytes::from(format!("{{\"metadata\":{{}}{rest}}}")),
        }
    }

    fn text(held: &LastGood) -> Option<String> {
        held.good.as_ref().map(|good| String::from_utf8_lossy(&good.document.canonical()).into_owned())
    }

    #[test]
    fn the_field_is_the_model_with_numbers_and_nulls_as_they_are() {
        let held = read(&object(1, r#","spec":{"b":1.50,"a":null},"status":{"x":1}"#), 1, None, &source());
        assert_eq!(text(&held).as_deref(), Some(r#"{"a":null,"b":1.50}"#));
        assert_eq!((held.wrong, held.status.as_deref()), (None, Some(r#"{"x":1}"#)));
    }

    #[test]
    fn what_is_wrong_is_named_and_leaves_the_last_good_content() {
        let good = read(&object(1, r#","spec":{"a":1}"#), 1, None, &source()).good;
        let deep = format!(r#","spec":{{"x":{}1{}}}"#, "[".repeat(9_990), "]".repeat(9_990));
        for (body, kind, message) in [
            ("", UnusableKind::Missing, "NetworkModel apps/zone-a has no field \"spec\": write it"),
            (r#","spec":null"#, UnusableKind::Empty, "NetworkModel apps/zone-a, field \"spec\": it is empty"),
            (&*deep, UnusableKind::Invalid, "NetworkModel apps/zone-a, field \"spec\": nested deeper than 128"),
        ] {
            let held = read(&object(2, body), 2, good.clone(), &source());
            let wrong = held.wrong.as_deref().unwrap_or_default();
            assert!(wrong.starts_with(message), "{wrong}");
            assert_eq!((held.kind, text(&held).as_deref()), (kind, Some(r#"{"a":1}"#)));
            assert_eq!(held.good.map(|good| good.revision), Some(1), "of the generation that it is of");
            assert_eq!(read(&object(2, body), 2, None, &source()).good, None);
        }
    }

    #[test]
    fn a_write_of_the_status_alone_reads_nothing_anew() {
        let good = read(&object(3, r#","spec":{"a":1}"#), 3, None, &source()).good;
        let held = read(&object(3, r#","spec":7,"status":{"y":2}"#), 3, good.clone(), &source());
        assert_eq!((held.good, held.status.as_deref()), (good, Some(r#"{"y":2}"#)));
    }
}
