//! The answers of the API server, taken apart only as far as objects: a list page by page,
//! a watch line by line. Nothing here recurses into an object, however deep it is.

use bytes::{Buf as _, Bytes, BytesMut};
use kube::core::Status;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::failure::{Failure, FailureKind};
use super::object::{Malformed, Object};

/// Ends the synthetic events of a watch that shows the whole set first.
const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";

/// Characters that are kept of an answer that is no `Status`.
const WORDS: usize = 300;

/// A page of a list.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) objects: Vec<Object>,
    pub(super) malformed: Vec<Malformed>,
    pub(super) version: String,
    /// For the next page; absent: this was the last.
    pub(super) more: Option<String>,
}

/// An event of a watch.
#[derive(Debug)]
pub(super) enum RawEvent {
    /// Added or modified.
    Applied(Object),
    Deleted(Object),
    /// One of both, of an object whose metadata cannot be read.
    Malformed(Malformed),
    Bookmark {
        version: String,
        /// Whether it ends the synthetic events.
        initial_events_end: bool,
    },
    Error(Box<Status>),
}

#[derive(Deserialize)]
struct List<'a> {
    metadata: ListMetadata,
    // Go writes an empty list as null.
    #[serde(borrow)]
    items: Option<Vec<&'a RawValue>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListMetadata {
    resource_version: Option<String>,
    #[serde(rename = "continue")]
    more: Option<String>,
}

#[derive(Deserialize)]
struct Line<'a> {
    r#type: String,
    #[serde(borrow)]
    object: &'a RawValue,
}

#[derive(Deserialize)]
struct Bookmark {
    metadata: BookmarkMetadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BookmarkMetadata {
    resource_version: String,
    annotations: Option<std::collections::BTreeMap<String, String>>,
}

/// Reads a page of a list.
pub(super) fn page(bytes: &[u8]) -> Result<Page, Failure> {
    let List { metadata, items } =
        serde_json::from_slice(bytes).map_err(|error| unreadable(&format!("the list cannot be read: {error}")))?;
    let version = metadata.resource_version.filter(|version| !version.is_empty());
    let version = version.ok_or_else(|| unreadable("the list has no resourceVersion"))?;
    let more = metadata.more.filter(|more| !more.is_empty());
    let mut page = Page { objects: Vec::new(), malformed: Vec::new(), version, more };
    for raw in items.into_iter().flatten() {
        match Object::read(raw) {
            Ok(object) => page.objects.push(object),
            Err(malformed) => page.malformed.push(malformed),
        }
    }
    Ok(page)
}

/// Reads an object that is an answer of its own.
pub(super) fn object(bytes: &[u8]) -> Result<Result<Object, Malformed>, Failure> {
    let raw: &RawValue =
        serde_json::from_slice(bytes).map_err(|error| unreadable(&format!("the object cannot be read: {error}")))?;
    Ok(Object::read(raw))
}

/// Reads a line of a watch.
pub(super) fn event(line: &[u8]) -> Result<RawEvent, Failure> {
    let Line { r#type, object } =
        serde_json::from_slice(line).map_err(|error| unreadable(&format!("an event cannot be read: {error}")))?;
    let read = |event: fn(Object) -> RawEvent| Object::read(object).map_or_else(RawEvent::Malformed, event);
    match &*r#type {
        "ADDED" | "MODIFIED" => Ok(read(RawEvent::Applied)),
        "DELETED" => Ok(read(RawEvent::Deleted)),
        "BOOKMARK" => {
            let Bookmark { metadata } = serde_json::from_str(object.get())
                .map_err(|error| unreadable(&format!("a bookmark cannot be read: {error}")))?;
            let ends = metadata.annotations.and_then(|mut all| all.remove(INITIAL_EVENTS_END));
            let initial_events_end = ends.is_some_and(|value| value == "true");
            Ok(RawEvent::Bookmark { version: metadata.resource_version, initial_events_end })
        }
        "ERROR" => {
            let status = serde_json::from_str(object.get())
                .map_err(|error| unreadable(&format!("an error event cannot be read: {error}")))?;
            Ok(RawEvent::Error(Box::new(status)))
        }
        other => Err(unreadable(&format!("an event has the unknown type {other:?}"))),
    }
}

/// What an answer with an error status says. Not each is a `Status`: proxies and an overloaded
/// server answer plain text.
pub(super) fn status(code: u16, bytes: &[u8]) -> Status {
    let status: Option<Status> = serde_json::from_slice(bytes).ok();
    let mut status = status.filter(|status| *status != Status::default()).unwrap_or_else(|| {
        let text: String = String::from_utf8_lossy(bytes).trim().chars().take(WORDS).collect();
        Status::failure(&text, "")
    });
    if status.code == 0 {
        status.code = code;
    }
    status
}

fn unreadable(message: &str) -> Failure {
    Failure::new(FailureKind::Malformed, message)
}

/// Bytes that arrive in pieces, as lines.
#[derive(Debug, Default)]
pub(super) struct Lines {
    bytes: BytesMut,
    /// How many of them are known to hold no end of a line.
    seen: usize,
}

impl Lines {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole line, without its end; empty ones are left out.
    pub(super) fn next(&mut self) -> Option<Bytes> {
        loop {
            let Some(at) = self.bytes[self.seen..].iter().position(|byte| *byte == b'\n') else {
                self.seen = self.bytes.len();
                return None;
            };
            let line = self.bytes.split_to(self.seen + at).freeze();
            self.bytes.advance(1);
            self.seen = 0;
            if !line.trim_ascii().is_empty() {
                return Some(line);
            }
        }
    }

    /// Bytes of the line that is not whole yet.
    pub(super) fn waiting(&self) -> usize {
        self.bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn item(name: &str, spec: &str) -> String {
        format!(r#"{{"metadata":{{"name":"{name}","uid":"u","resourceVersion":"5"}},"spec":{spec}}}"#)
    }

    fn nested(depth: usize) -> String {
        format!("{}{}", r#"{"a":"#.repeat(depth) + "1", "}".repeat(depth))
    }

    /// One that is malformed or as deep as the API server stores marks itself only.
    #[test]
    fn neighbours_of_a_strange_object_are_read() {
        let items = [item("a", "1"), item("deep", &nested(9_990)), r#"{"metadata":{"name":"bad"}}"#.into(), "7".into()];
        let text = format!(
            r#"{{"kind":"List","apiVersion":"v1","metadata":{{"resourceVersion":"9","continue":"c"}},"items":[{},{}]}}"#,
            items.join(","),
            item("z", "null")
        );
        let page = page(text.as_bytes()).expect("a page");
        let names: Vec<_> = page.objects.iter().map(|object| &*object.name).collect();
        assert_eq!(names, ["a", "deep", "z"]);
        let malformed: Vec<_> = page.malformed.iter().map(|malformed| malformed.name.as_deref()).collect();
        assert_eq!(malformed, [Some("bad"), None]);
        assert_eq!((&*page.version, page.more.as_deref()), ("9", Some("c")));
        let line = format!(r#"{{"type":"ADDED","object":{}}}"#, item("deep", &nested(9_990)));
        assert!(matches!(event(line.as_bytes()), Ok(RawEvent::Applied(object)) if object.name == "deep"));
    }

    #[test]
    fn lists_without_items_or_a_version() {
        for text in [r#"{"metadata":{"resourceVersion":"9"},"items":null}"#, r#"{"metadata":{"resourceVersion":"9"}}"#]
        {
            let page = page(text.as_bytes()).expect(text);
            assert!(page.objects.is_empty() && page.more.is_none());
        }
        for text in [r#"{"metadata":{},"items":[]}"#, r#"{"metadata":{"resourceVersion":""}}"#, "[", ""] {
            assert_eq!(page(text.as_bytes()).expect_err(text).kind, FailureKind::Malformed);
        }
    }

    #[test]
    fn events_by_their_type() {
        let of = |kind: &str, object: &str| event(format!(r#"{{"type":"{kind}","object":{object}}}"#).as_bytes());
        assert!(matches!(of("MODIFIED", &item("a", "1")), Ok(RawEvent::Applied(object)) if object.version == 5));
        assert!(matches!(of("DELETED", &item("a", "1")), Ok(RawEvent::Deleted(_))));
        assert!(matches!(of("ADDED", "[]"), Ok(RawEvent::Malformed(_))));
        let end = r#"{"metadata":{"resourceVersion":"7","annotations":{"k8s.io/initial-events-end":"true"}}}"#;
        assert!(matches!(of("BOOKMARK", end), Ok(RawEvent::Bookmark { initial_events_end: true, .. })));
        let plain = r#"{"metadata":{"resourceVersion":"7"}}"#;
        let bookmark = of("BOOKMARK", plain);
        assert!(matches!(bookmark, Ok(RawEvent::Bookmark { initial_events_end: false, version }) if version == "7"));
        assert!(matches!(of("ERROR", r#"{"code":410}"#), Ok(RawEvent::Error(status)) if status.code == 410));
        for (kind, object) in [("NEW", "{}"), ("BOOKMARK", "{}"), ("ERROR", "7")] {
            assert_eq!(of(kind, object).expect_err(kind).kind, FailureKind::Malformed);
        }
        assert!(event(b"{").is_err() && event(br#"{"type":"ADDED"}"#).is_err());
    }

    #[test]
    fn an_answer_that_is_no_status_is_quoted_in_part() {
        assert_eq!(status(503, b" no backend \n").message, "no backend");
        assert_eq!(status(502, "x".repeat(1000).as_bytes()).message.len(), WORDS);
        assert_eq!(status(404, b"{}").code, 404, "an object of some kind, no Status");
        assert_eq!(status(500, br#"{"code":504,"message":"m"}"#).code, 504);
    }

    proptest! {
        #[test]
        fn pieces_make_the_same_lines(text in "[ab\n ]{0,60}", cuts in prop::collection::vec(0_usize..8, 0..40)) {
            let (mut lines, mut found, mut rest) = (Lines::default(), Vec::new(), text.as_bytes());
            for cut in cuts {
                let (piece, after) = rest.split_at(cut.min(rest.len()));
                rest = after;
                lines.push(piece);
                while let Some(line) = lines.next() {
                    found.push(String::from_utf8(line.to_vec()).expect("text"));
                }
            }
            lines.push(rest);
            while let Some(line) = lines.next() {
                found.push(String::from_utf8(line.to_vec()).expect("text"));
            }
            let (whole, last) = text.rsplit_once('\n').unwrap_or(("", &text));
            let expected: Vec<_> = whole.split('\n').filter(|line| !line.trim().is_empty()).collect();
            prop_assert_eq!(found, expected);
            prop_assert_eq!(lines.waiting(), last.len());
        }
    }
}
