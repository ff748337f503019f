//! PURE. A describe operation as a stream: what a client asks for, and the bytes that it is sent. When it is sent something is
//! decided as for a poll, of which a stream is one after the other.
//!
//! | client sends | read as |
//! |---|---|
//! | `Accept` naming `text/event-stream` or `application/x-ndjson` above JSON | the form: [`Form`] |
//! | `Last-Event-ID` (WHATWG HTML, section 9.2.4), else `since` | the state that the client has |
//! | `life` | the longest life of the stream in seconds |
//! | `delta=json-patch` | patches where there are any |
//! | `ping=1` | `event: ping` in place of comments |
//! | `Upgrade: websocket` (RFC 6455; RFC 8441 in HTTP/2) | messages on a connection of WebSocket |
//! | `Prefer: status` | a refusal for the moment is a status, also where a browser would not come back |

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::accept::above_json;
use super::problem::Problem;
use super::request::{envoy_timeout, preferences};
use crate::bounds::{ID_BYTES, STREAM_LIFE, STREAM_LIFE_MAX};
use crate::model::Since;
use crate::protocol::fields::{INCREMENTAL, LAST_EVENT_ID, X_ACCEL_BUFFERING};
use crate::protocol::media_type::{EVENT_STREAM, NDJSON};
use crate::protocol::query::{self, DELTA, LIFE, PING};

pub mod event;
pub mod frame;

/// How the parts of a stream are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    /// Server-sent events (WHATWG HTML, section 9.2).
    Events,
    /// One JSON object a line.
    Lines,
    /// One JSON object a text message (RFC 6455).
    WebSocket,
}

/// What a client asks for that wants a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamRequest {
    /// How it is written.
    pub form: Form,
    /// For how long at most, before jitter.
    pub life: Duration,
    /// Whether silence is broken by events, which pages can see, and not by comments.
    pub pings: bool,
    /// Whether a refusal for the moment is a status.
    pub wants_status: bool,
}

impl Form {
    /// The form that is named above JSON, or the one that the connection is to have; none: it is a poll.
    #[must_use]
    pub fn asked(fields: &HeaderMap) -> Option<Self> {
        if is_websocket(fields) {
            return Some(Self::WebSocket);
        }
        let forms = [(Self::Lines, NDJSON), (Self::Events, EVENT_STREAM)];
        let asked = forms.iter().filter_map(|(form, name)| Some((above_json(fields, name)?, *form)));
        asked.max_by_key(|(quality, _)| *quality).map(|(_, form)| form)
    }

    /// Its name in metrics and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Events => "sse",
            Self::Lines => "ndjson",
            Self::WebSocket => "websocket",
        }
    }

    /// The fields of the head.
    pub(super) fn fields(self) -> Vec<(HeaderName, HeaderValue)> {
        let media_type = match self {
            Self::Events => EVENT_STREAM,
            Self::Lines => NDJSON,
            Self::WebSocket => return Vec::new(),
        };
        vec![
            (header::CONTENT_TYPE, media_type),
            (header::CACHE_CONTROL, "no-store, no-transform"),
            (X_ACCEL_BUFFERING, "no"),
            (INCREMENTAL, "?1"),
            (header::VARY, "Accept, Accept-Encoding, Last-Event-ID, Prefer"),
        ]
        .into_iter()
        .map(|(name, value)| (name, HeaderValue::from_static(value)))
        .collect()
    }
}

/// A life is shortened by up to this share of it, so that clients that came together do not come back together.
const LIFE_JITTER: f64 = 0.1;

impl StreamRequest {
    /// Its life, shortened at random. `chance` is in 0..1.
    #[must_use]
    pub fn shortened(&self, chance: f64) -> Duration {
        self.life.mul_f64(1.0 - LIFE_JITTER * chance)
    }

    /// Whether a client that asks with these fields is told of a refusal for the moment by an event, in this form: a browser
    /// that is answered 503, 429 or 204 never comes back.
    #[must_use]
    pub fn refused_by_event(fields: &HeaderMap) -> Option<Form> {
        Form::asked(fields).filter(|form| *form == Form::Events && !wants_status(fields))
    }

    /// What is asked for; none: it is a poll. Also whether patches are wanted.
    pub(crate) fn parse(fields: &HeaderMap, query: &str) -> Result<Option<(Self, bool)>, Problem> {
        let Some(form) = Form::asked(fields) else { return Ok(None) };
        let mut life = query::seconds_of(query, LIFE)?.unwrap_or(STREAM_LIFE).min(STREAM_LIFE_MAX);
        if let Some(expected) = envoy_timeout(fields) {
            life = life.min(expected);
        }
        let pings = chosen(query, PING, &[("1", true), ("0", false)])?;
        let delta = chosen(query, DELTA, &[("json-patch", true)])?;
        Ok(Some((Self { form, life, pings, wants_status: wants_status(fields) }, delta)))
    }
}

/// The state that the client has: that of `Last-Event-ID`, where there is such a field, else `since`. What cannot be one of our
/// ids is the null state.
pub(super) fn begins_at(fields: &HeaderMap, since: Option<Since>) -> Option<Since> {
    match last_event(fields) {
        Some(text) => Since::parse(&text),
        None => since,
    }
}

/// `Last-Event-ID`; one that is empty, or too long to be ours, counts as none.
pub(crate) fn last_event(fields: &HeaderMap) -> Option<std::borrow::Cow<'_, str>> {
    let value = fields.get(LAST_EVENT_ID).filter(|value| !value.is_empty() && value.len() <= ID_BYTES)?;
    Some(String::from_utf8_lossy(value.as_bytes()))
}

/// One of the values that a parameter may have; absent: false.
pub(crate) fn chosen(query: &str, name: &'static str, values: &[(&str, bool)]) -> Result<bool, Problem> {
    let Some(value) = query::value_of(query, name)? else { return Ok(false) };
    let found = values.iter().find(|(text, _)| *text == value);
    found.map(|(_, is)| *is).ok_or_else(|| {
        let allowed: Vec<_> = values.iter().map(|(text, _)| format!("{name}={text}")).collect();
        Problem::parameter(name, &value, &format!("give {}, or leave it out", allowed.join(" or ")))
    })
}

/// Whether the connection is asked to become one of WebSocket.
#[must_use]
pub fn is_websocket(fields: &HeaderMap) -> bool {
    let values = fields.get_all(header::UPGRADE).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|protocol| protocol.trim().eq_ignore_ascii_case("websocket"))
}

fn wants_status(fields: &HeaderMap) -> bool {
    preferences(fields).any(|preference| preference.trim().eq_ignore_ascii_case("status"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Content, Document, Epoch, Snapshot};

    fn fields(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pairs = pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value)));
        pairs.map(|(name, value)| (name, value.expect("a field value"))).collect()
    }

    #[test]
    fn a_form_is_named_and_above_json() {
        for (accept, expected) in [
            ("text/event-stream", Some(Form::Events)),
            ("text/event-stream, */*;q=0.5", Some(Form::Events)),
            ("text/event-stream;q=0.5, application/json;q=0.4", Some(Form::Events)),
            ("text/event-stream, application/json", None),
            ("text/event-stream, */*", None),
            ("*/*", None),
            ("text/*", None),
            ("application/x-ndjson", Some(Form::Lines)),
            ("application/x-ndjson, text/event-stream", Some(Form::Events)),
            ("application/x-ndjson, text/event-stream;q=0.9", Some(Form::Lines)),
            ("application/json", None),
        ] {
            assert_eq!(Form::asked(&fields(&[("accept", accept)])), expected, "{accept}");
        }
        assert_eq!(Form::asked(&HeaderMap::new()), None);
    }

    #[test]
    fn what_a_stream_may_be_asked_for() {
        let read = |query: &str, more: &[(&'static str, &str)]| {
            let accept = [("accept", "text/event-stream")];
            StreamRequest::parse(&fields(&[&accept, more].concat()), query)
                .map(|asked| asked.map(|(asked, delta)| (asked.life.as_secs(), asked.pings, asked.wants_status, delta)))
        };
        assert_eq!(read("", &[]), Ok(Some((600, false, false, false))));
        assert_eq!(
            read("life=5&ping=1&delta=json-patch", &[("prefer", "wait=3, status")]),
            Ok(Some((5, true, true, true)))
        );
        assert_eq!(read("life=100000&ping=0&wait=1", &[]), Ok(Some((3600, false, false, false))));
        assert_eq!(read("", &[("x-envoy-expected-rq-timeout-ms", "15000")]), Ok(Some((14, false, false, false))));
        for (query, named) in [
            ("life=x", "life is \"x\""),
            ("ping=2", "give ping=1 or ping=0"),
            ("delta=merge", "delta=json-patch"),
            ("life=1&life=2", "life"),
        ] {
            let problem = read(query, &[]).expect_err(query);
            assert!(problem.detail.contains(named), "{query}: {}", problem.detail);
        }
        assert_eq!(StreamRequest::parse(&HeaderMap::new(), "life=x"), Ok(None), "it is no parameter of a poll");
    }

    #[test]
    fn the_last_event_counts_where_it_is_named() {
        let content = Content::Json(Document::from_json(b"{}").expect("a document"));
        let id = Snapshot::of(Epoch::of(&["test"]), 3, &content).id;
        let (text, long) = (id.to_string(), "x".repeat(ID_BYTES + 1));
        let since = Since { version: Some(2), ..Since::from(id) };
        for (value, expected) in
            [(&*text, Some(Since::from(id))), ("no id of ours", None), (&long, Some(since)), ("", Some(since))]
        {
            assert_eq!(begins_at(&fields(&[("last-event-id", value)]), Some(since)), expected, "{value}");
        }
        assert_eq!(begins_at(&HeaderMap::new(), Some(since)), Some(since));
    }
}
