//! PURE. What the head of the app's answer says of the model, before its body is read.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::reading::{Reading, essence};
use crate::bounds::MEDIA_TYPE_BYTES;
use crate::config::Format;
use crate::sources::{Unusable, UnusableKind};

/// Characters of the app's words that a message repeats.
const QUOTED: usize = 100;

/// What a head without a model says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Without {
    /// The model still has the validator of the request.
    NotModified,
    /// The app has no model that can be served.
    Unusable(Unusable),
    /// It contains no model.
    Lost {
        /// What it contains instead, or why it has no content.
        reason: String,
        /// The pause that the app asked for (`Retry-After`).
        retry_after: Option<Duration>,
    },
}

/// A head with a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    /// How the body is read.
    pub(super) format: Format,
    /// The validator for the next request.
    pub(super) validator: Option<Validator>,
}

/// The validator of this model (RFC 9110, section 8.8).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Validator {
    /// Its `ETag`.
    Tag(HeaderValue),
    /// Its `Last-Modified`.
    Time(HeaderValue),
}

/// Reads a head. `asked_about`: the request had a condition. `what` names the request in messages.
pub(super) fn read(
    status: StatusCode,
    fields: &HeaderMap,
    asked_about: bool,
    reading: &Reading,
    what: &str,
) -> Result<Head, Without> {
    let unusable = |kind, problem: String| Without::Unusable(Unusable { kind, detail: format!("{what}: {problem}") });
    let lost = |problem: String| Without::Lost {
        reason: format!("{what}: {problem}"),
        retry_after: text(fields, &header::RETRY_AFTER).and_then(|text| text.parse().ok()).map(Duration::from_secs),
    };
    match status {
        StatusCode::OK => {}
        StatusCode::NOT_MODIFIED if asked_about => return Err(Without::NotModified),
        StatusCode::NOT_FOUND | StatusCode::GONE => {
            let problem = format!("the app answers {status}: serve the model there, or name another path");
            return Err(unusable(UnusableKind::Missing, problem));
        }
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            let problem = format!("the app answers {status}: let it give the model to whoever asks from its own host");
            return Err(unusable(UnusableKind::Forbidden, problem));
        }
        _ if status.is_redirection() && fields.contains_key(header::LOCATION) => {
            let place = quoted(fields, &header::LOCATION);
            let problem =
                format!("the app answers {status} to {place}, and redirects are not followed: name that path");
            return Err(lost(problem));
        }
        _ => return Err(lost(format!("the app answers {status}, and only 200 holds a model"))),
    }
    if fields.get_all(header::CONTENT_ENCODING).iter().any(|value| !is_identity(value)) {
        let coding = quoted(fields, &header::CONTENT_ENCODING);
        let problem = format!(
            "the app answers with Content-Encoding {coding} although only identity was asked for: \
             turn that off for this path"
        );
        return Err(unusable(UnusableKind::Invalid, problem));
    }
    let invalid = |problem| unusable(UnusableKind::Invalid, problem);
    let content_type = content_type(fields).ok_or_else(|| {
        let media_type = quoted(fields, &header::CONTENT_TYPE);
        invalid(format!(
            "Content-Type {media_type} is no media type of at most {MEDIA_TYPE_BYTES} bytes: \
             serve it as application/json, application/yaml or what else it is"
        ))
    })?;
    let format = reading.of(content_type).map_err(invalid)?;
    Ok(Head { format, validator: validator(fields) })
}

fn is_identity(value: &HeaderValue) -> bool {
    value.is_empty() || value.as_bytes().eq_ignore_ascii_case(b"identity")
}

/// The one media type that the app gives; none: what it gives is none.
fn content_type(fields: &HeaderMap) -> Option<&str> {
    let mut given = fields.get_all(header::CONTENT_TYPE).iter();
    let Some(value) = given.next() else { return Some("application/octet-stream") };
    let text = value.to_str().ok().filter(|text| text.len() <= MEDIA_TYPE_BYTES && given.next().is_none())?;
    let essence = essence(text);
    let (kind, subtype) = essence.split_once('/')?;
    (is_token(kind) && is_token(subtype)).then_some(text)
}

/// RFC 9110, section 5.6.2.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|c| c.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&c))
}

/// The validator for the next request; none: fetch the whole. A model that was modified in the
/// second in which it was served may change once more within it, and then has the same time and
/// (as nginx makes them, from time and length) the same tag.
fn validator(fields: &HeaderMap) -> Option<Validator> {
    let modified = fields.get(header::LAST_MODIFIED);
    let date = fields.get(header::DATE);
    if modified.is_some() && modified == date {
        return None;
    }
    let tag = fields.get(header::ETAG).cloned().map(Validator::Tag);
    tag.or_else(|| modified.filter(|_| date.is_some()).cloned().map(Validator::Time))
}

fn text<'a>(fields: &'a HeaderMap, name: &header::HeaderName) -> Option<&'a str> {
    fields.get(name).and_then(|value| value.to_str().ok())
}

/// A field's value for a message: the app's words, cut and escaped.
fn quoted(fields: &HeaderMap, name: &header::HeaderName) -> String {
    let value = fields.get(name).map(HeaderValue::as_bytes).unwrap_or_default();
    let text: String = String::from_utf8_lossy(value).chars().take(QUOTED).collect();
    format!("{text:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(given: &[(&'static str, &str)]) -> HeaderMap {
        let mut fields = HeaderMap::new();
        for (name, value) in given {
            fields.append(*name, HeaderValue::from_bytes(value.as_bytes()).expect("a value"));
        }
        fields
    }

    const BY_MEDIA_TYPE: Reading = Reading { asked: None, was_json: false };

    #[test]
    fn one_sound_media_type_is_what_the_app_may_give() {
        let long = format!("text/plain; a={}", "x".repeat(MEDIA_TYPE_BYTES));
        for (given, expected) in [
            (vec!["Application/JSON ; charset=utf-8"], Some("Application/JSON ; charset=utf-8")),
            (vec![], Some("application/octet-stream")),
            (vec![""], None),
            (vec!["json"], None),
            (vec!["text /plain"], None),
            (vec!["text/"], None),
            (vec!["text/plain; a=\u{e9}"], None),
            (vec![&long], None),
            (vec!["text/plain", "text/html"], None),
        ] {
            let given: Vec<_> = given.into_iter().map(|value| ("content-type", value)).collect();
            assert_eq!(content_type(&fields(&given)), expected, "{given:?}");
        }
    }

    #[test]
    fn a_model_served_in_the_second_it_was_modified_is_fetched_whole_again() {
        let (then, now) = ("Sat, 21 Nov 2026 10:00:00 GMT", "Sat, 21 Nov 2026 10:00:01 GMT");
        let tag = Some(Validator::Tag(HeaderValue::from_static("W/\"1\"")));
        let time = Some(Validator::Time(HeaderValue::from_static("Sat, 21 Nov 2026 10:00:00 GMT")));
        for (given, expected) in [
            (vec![("etag", "W/\"1\"")], tag.clone()),
            (vec![("etag", "W/\"1\""), ("last-modified", then), ("date", now)], tag.clone()),
            (vec![("etag", "W/\"1\""), ("last-modified", then)], tag),
            (vec![("etag", "W/\"1\""), ("last-modified", then), ("date", then)], None),
            (vec![("last-modified", then), ("date", now)], time),
            (vec![("last-modified", then), ("date", then)], None),
            (vec![("last-modified", then)], None),
            (vec![], None),
        ] {
            assert_eq!(validator(&fields(&given)), expected, "{given:?}");
        }
    }

    #[test]
    fn what_is_no_model_says_so_and_what_to_do() {
        use UnusableKind::{Forbidden, Invalid, Missing};
        for (status, given, expected) in [
            (
                404,
                vec![],
                Err((Missing, "GET a/m: the app answers 404 Not Found: serve the model there, or name another path")),
            ),
            (410, vec![], Err((Missing, "GET a/m: the app answers 410 Gone: serve"))),
            (401, vec![], Err((Forbidden, "GET a/m: the app answers 401 Unauthorized: let it give"))),
            (403, vec![], Err((Forbidden, "GET a/m: the app answers 403 Forbidden: let it give"))),
            (
                200,
                vec![("content-encoding", "gzip")],
                Err((Invalid, "GET a/m: the app answers with Content-Encoding \"gzip\"")),
            ),
            (
                200,
                vec![("content-encoding", "identity"), ("content-encoding", "br")],
                Err((Invalid, "GET a/m: the app answers with")),
            ),
            (200, vec![("content-type", "text/html")], Err((Invalid, "GET a/m: Content-Type \"text/html\" is a page"))),
            (200, vec![("content-type", "x\"")], Err((Invalid, "GET a/m: Content-Type \"x\\\"\" is no media type"))),
            (503, vec![], Ok((None, "GET a/m: the app answers 503 Service Unavailable, and only 200 holds a model"))),
            (503, vec![("retry-after", "7")], Ok((Some(7), "GET a/m: the app answers 503"))),
            (503, vec![("retry-after", "Sat, 21 Nov 2026 10:00:00 GMT")], Ok((None, "GET a/m: the app answers 503"))),
            (204, vec![], Ok((None, "GET a/m: the app answers 204 No Content, and only 200"))),
            (206, vec![("content-type", "application/json")], Ok((None, "GET a/m: the app answers 206"))),
            (304, vec![], Ok((None, "GET a/m: the app answers 304"))),
            (
                302,
                vec![("location", "/n\u{e9}w")],
                Ok((
                    None,
                    "GET a/m: the app answers 302 Found to \"/n\u{e9}w\", and redirects are not followed: name that path",
                )),
            ),
        ] {
            let status = StatusCode::from_u16(status).expect("a status");
            match (read(status, &fields(&given), false, &BY_MEDIA_TYPE, "GET a/m"), expected) {
                (Err(Without::Unusable(unusable)), Err((kind, detail))) => {
                    assert!(unusable.detail.starts_with(detail), "{}", unusable.detail);
                    assert_eq!(unusable.kind, kind, "{}", unusable.detail);
                }
                (Err(Without::Lost { reason, retry_after }), Ok((seconds, expected))) => {
                    assert!(reason.starts_with(expected), "{reason}");
                    assert_eq!(retry_after, seconds.map(Duration::from_secs), "{reason}");
                }
                (head, expected) => panic!("{status}: {head:?} is not {expected:?}"),
            }
        }
        assert_eq!(
            read(StatusCode::NOT_MODIFIED, &HeaderMap::new(), true, &BY_MEDIA_TYPE, ""),
            Err(Without::NotModified)
        );
        let json = fields(&[("content-type", "application/json"), ("content-encoding", "Identity")]);
        assert_eq!(
            read(StatusCode::OK, &json, true, &BY_MEDIA_TYPE, ""),
            Ok(Head { format: Format::Json, validator: None })
        );
    }
}
