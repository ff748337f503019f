//! Answers that are right, and each way in which one can be wrong, with what people are told of it.

use http::HeaderValue;

use super::*;
use crate::model::{Document, Epoch, Snapshot};
use crate::protocol::Coding;
use crate::protocol::fields::{DELTA_BASE, STATE_AGE, STATE_DIGEST, STATE_ID};
use crate::protocol::media_type::JSON_PATCH;

fn snapshot(json: &str, version: u64) -> Snapshot {
    let document = Document::from_json(json.as_bytes()).expect("JSON");
    Snapshot::of(Epoch::of(&["test"]), version, &Content::Json(document))
}

fn held(json: &str, version: u64) -> State {
    let snapshot = snapshot(json, version);
    State::kept(&snapshot.id.to_string(), JSON, snapshot.body().identity.clone()).expect("its bytes")
}

/// The fields of a good answer with this state.
fn fields(snapshot: &Snapshot) -> HeaderMap {
    let digest = String::from_utf8(snapshot.body().sha256.to_vec()).expect("ASCII");
    let values = [
        (STATE_ID, snapshot.id.to_string()),
        (STATE_AGE, "3".to_owned()),
        (STATE_DIGEST, digest),
        (header::CONTENT_TYPE, JSON.to_owned()),
    ];
    values.map(|(name, value)| (name, HeaderValue::try_from(value).expect("ASCII"))).into_iter().collect()
}

/// Reads a whole answer without a coding.
fn read(status: u16, fields: &HeaderMap, body: &[u8], base: Option<&State>) -> Result<Option<State>, Failure> {
    let status = StatusCode::from_u16(status).expect("a status");
    match head(status, fields)? {
        Head::State(named, about) => {
            assert_eq!(about.coding, Coding::Identity);
            state(&named, &about, Bytes::copy_from_slice(body), base).map(Some)
        }
        Head::Same(_) => Ok(None),
        Head::Refused(status, after) => {
            let media_type = fields.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
            Err(refusal(status, after, media_type, body))
        }
    }
}

#[test]
fn a_whole_state_is_given_with_its_age() {
    let snapshot = snapshot(r#"{"a":1}"#, 4);
    let given = read(200, &fields(&snapshot), br#"{"a":1}"#, None).expect("right").expect("a state");
    assert_eq!(
        (given.id(), given.age(), &given.bytes()[..]),
        (&*snapshot.id.to_string(), Duration::from_secs(3), &br#"{"a":1}"#[..])
    );
    assert!(given.document().is_some() && given.patch().is_none());
    for status in [204, 304] {
        assert!(read(status, &fields(&snapshot), b"", None).expect("right").is_none());
    }
}

#[test]
fn an_opaque_state_is_its_media_type_and_its_bytes() {
    let media_type = "text/plain; charset=utf-8";
    let content = Content::Opaque { media_type: media_type.to_owned(), body: Bytes::from_static(b"hello") };
    let snapshot = Snapshot::of(Epoch::of(&["test"]), 1, &content);
    let mut fields = fields(&snapshot);
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    let given = read(200, &fields, b"hello", None).expect("right").expect("a state");
    assert_eq!((given.media_type(), &given.bytes()[..]), (media_type, &b"hello"[..]));
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    assert_eq!(read(200, &fields, b"hello", None).expect_err("another type").kind, FailureKind::Untrue);
}

#[test]
fn a_patch_leads_from_what_is_held_to_the_state_or_is_not_taken() {
    let (old, new) = (r#"{"a":1,"b":2}"#, snapshot(r#"{"a":7,"b":2}"#, 5));
    let base = held(old, 4);
    let patch = br#"[{"op":"replace","path":"/a","value":7}]"#;
    let delta = |base: &str| {
        let mut fields = fields(&new);
        fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(JSON_PATCH));
        fields.insert(DELTA_BASE, HeaderValue::try_from(base).expect("ASCII"));
        fields
    };
    let given = read(200, &delta(base.id()), patch, Some(&base)).expect("right").expect("a state");
    assert_eq!((given.id(), given.bytes()), (&*new.id.to_string(), &new.body().identity));
    assert_eq!(given.patch(), Some(&Patch { base: base.id().to_owned(), bytes: Bytes::from_static(patch) }));
    // Whatever the version of what is held.
    assert!(read(200, &delta(base.id()), patch, Some(&held(old, 9))).is_ok());

    let opaque = State::kept("x", "text/plain", Bytes::new()).expect("nothing is known of it");
    let other_id = |fields: &mut HeaderMap| {
        let other = snapshot("{}", 1).id.to_string();
        fields.insert(STATE_ID, HeaderValue::try_from(other).expect("ASCII"));
    };
    let mut of_another = delta(base.id());
    other_id(&mut of_another);
    for (fields, patch, base, expected) in [
        (delta(base.id()), &patch[..], None, "which is not what is held"),
        (delta(base.id()), patch, Some(&held("{}", 4)), "which is not what is held"),
        (delta("x"), patch, Some(&opaque), "begins at an opaque model"),
        (delta(base.id()), b"[{]", Some(&base), "cannot be applied ("),
        (delta(base.id()), br#"[{"op":"remove","path":"/none"}]"#, Some(&base), "cannot be applied ("),
        (delta(base.id()), b"[]", Some(&base), "leads to other bytes than State-Digest says"),
        (of_another, patch, Some(&base), "leads to a state of another id"),
    ] {
        let failure = read(200, &fields, patch, base).expect_err(expected);
        assert_eq!(failure.kind, FailureKind::Patch, "{}", failure.text);
        assert!(failure.text.contains(expected), "{}", failure.text);
        assert!(failure.text.ends_with(": the whole state is asked for next"), "{}", failure.text);
    }
}

#[test]
fn what_cannot_be_true_is_said_with_its_remedy() {
    let snapshot = snapshot(r#"{"a":1}"#, 4);
    let right = fields(&snapshot);
    let with = |name: http::HeaderName, value: &str| {
        let mut fields = right.clone();
        fields.insert(name, HeaderValue::try_from(value).expect("ASCII"));
        fields
    };
    let other = self::snapshot("{}", 4).id.to_string();
    let without_id = || {
        let mut fields = with(header::CONTENT_TYPE, "text/html; charset=utf-8");
        fields.remove(STATE_ID);
        fields
    };
    for (status, fields, body, expected) in [
        (200, right.clone(), &br#"{"a":2}"#[..], "the 7 bytes of the body have the digest sha-256=:"),
        (200, with(STATE_ID, &other), br#"{"a":1}"#, "the 7 bytes of application/json are not the state "),
        (200, with(header::CONTENT_TYPE, "text/html"), br#"{"a":1}"#, "the 7 bytes of text/html are not the state "),
        (
            200,
            without_id(),
            b"<html>",
            "200 OK: the answer has no state-id: it is not from a describe endpoint (a page of HTML came instead: a proxy or a login may stand in between): name the URL of an operation",
        ),
        (204, without_id(), b"", "204 No Content: the answer has no state-id"),
        (
            200,
            with(STATE_AGE, "soon"),
            b"",
            "200 OK: state-age of the answer is \"soon\": whole seconds is what it should be",
        ),
        (206, right.clone(), b"", "206 Partial Content is no answer of a describe endpoint: name the URL of one"),
        (
            302,
            with(header::LOCATION, "https://login.example/"),
            b"",
            "302 Found leads to https://login.example/, and redirects are not followed: name that URL as the endpoint",
        ),
        (307, right.clone(), b"", "307 Temporary Redirect leads to a place that it does not name, and"),
    ] {
        let failure = read(status, &fields, body, None).expect_err(expected);
        assert_eq!(failure.kind, FailureKind::Untrue, "{}", failure.text);
        assert!(failure.text.starts_with(expected), "{}", failure.text);
    }
}

#[test]
fn a_refusal_says_what_the_problem_says_and_when_it_is_asked_again() {
    use FailureKind::{Busy, Denied, Gone, Refused};
    let seconds = |seconds| Some(Duration::from_secs(seconds));
    let problem = br#"{"type":"x","title":"The title","detail":"wait is \"x\": give seconds"}"#;
    for (status, after, body, kind, expected) in [
        (400, None, &problem[..], Refused, "400 Bad Request: wait is \"x\": give seconds"),
        (
            404,
            None,
            br#"{"title":"Nothing is here"}"#,
            Gone,
            "404 Not Found: Nothing is here: the operation is not there: correct its path",
        ),
        (405, None, b"", Refused, "405 Method Not Allowed: correct the endpoint, the operation or what is asked of it"),
        (410, None, b"<html>", Gone, "410 Gone: the operation is not there: correct its path, or bring it back"),
        (431, None, b"", Refused, "431 Request Header Fields Too Large: correct"),
        (401, None, problem, Denied, "401 Unauthorized: wait is"),
        (403, None, b"", Denied, "403 Forbidden: give this client a credential that may poll"),
        (
            429,
            seconds(7),
            problem,
            Busy(seconds(7)),
            "429 Too Many Requests, wait is \"x\": give seconds: asked again after 7 s",
        ),
        (
            503,
            seconds(86_400),
            b"",
            Busy(seconds(86_400)),
            "503 Service Unavailable, no reason given: asked again after 300 s",
        ),
        (408, None, b"", Busy(None), "408 Request Timeout: asked again after a pause"),
        (425, None, b"", Busy(None), "425 Too Early: asked again after a pause"),
        (500, None, b"", Busy(None), "500 Internal Server Error: asked again after a pause"),
        (502, None, br#"{"detail":7}"#, Busy(None), "502 Bad Gateway: asked again after a pause"),
    ] {
        let status = StatusCode::from_u16(status).expect("a status");
        let failure = refusal(status, after, Some(PROBLEM), body);
        assert_eq!(failure.kind, kind, "{status}");
        assert!(failure.text.starts_with(expected), "{}", failure.text);
    }
    let page = refusal(StatusCode::NOT_FOUND, None, Some("text/html"), br#"{"detail":"xyz"}"#);
    assert!(!page.text.contains("xyz"), "{}", page.text);
    let long = refusal(
        StatusCode::NOT_FOUND,
        None,
        Some(PROBLEM),
        format!("{{\"detail\":\"\\n{}\"}}", "é".repeat(9999)).as_bytes(),
    );
    assert!(long.text.starts_with("404 Not Found: \\n") && long.text.chars().count() == 603, "{}", long.text);
}
