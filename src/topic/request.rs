//! PURE. What a client asks of a topic.
//!
//! | client sends | read as |
//! |---|---|
//! | `Last-Event-ID` of a stream, else `since` | the message that it has read last |
//! | `from`, `tail` | where it begins without that |
//! | `wait`, else `Prefer: wait` | how long a poll is parked |
//! | `limit`, `max-bytes` | how much a poll is given |
//! | `on-gap=close` | it does not go on where it has missed messages |
//! | `Accept`, `life`, `ping`, `Prefer: status` | a stream, as one of a describe operation |
//! | `envelope=1` | events carry whole objects |
//! | `presence=1` | a stream is told who reads |

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method, header};

use super::core::{Digest, Start};
use super::event::Shape;
use super::message::{By, Data, Draft};
use crate::bounds::{TOPIC_KEY_BYTES, TOPIC_LIMIT, TOPIC_PAGE_BYTES, TOPIC_TAIL, TOPIC_WAIT};
use crate::describe::Problem;
use crate::describe::problem::Kind;
use crate::describe::request::{envoy_timeout, preferred};
use crate::describe::stream::{Form, StreamRequest, chosen, last_event};
use crate::model::{Document, Invalid};
use crate::protocol::fields::IDEMPOTENCY_KEY;
use crate::protocol::query::{self, ENVELOPE, FROM, LIMIT, MAX_BYTES, ON_GAP, PRESENCE, SINCE, TAIL, WAIT};

/// What a reader asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadRequest {
    /// Where it begins.
    pub start: Start,
    /// Whether it does not go on where it has missed messages.
    pub closes_on_gap: bool,
    /// Whether the body is left out.
    pub head: bool,
    /// Whether it is told, as a stream, who reads.
    pub asks_who_reads: bool,
    /// How others are told that it reads; none: without a name.
    pub name: Option<Arc<str>>,
    /// How it reads.
    pub how: How,
}

/// How a reader reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum How {
    /// It is answered once.
    Poll(Poll),
    /// It is told of each message.
    Stream {
        /// Its form, and its life.
        asked: StreamRequest,
        /// How it is given messages.
        shape: Shape,
    },
}

/// A poll.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Poll {
    /// For how long it is parked; zero: it is answered at once.
    pub wait: Duration,
    /// The seconds of a `Prefer: wait` that was followed.
    pub preferred: Option<u64>,
    /// How many messages it is given at most.
    pub limit: usize,
    /// How many bytes of them, though one at least.
    pub max_bytes: usize,
}

impl ReadRequest {
    /// Reads a GET or HEAD. `may_stream`: whether it comes by a connection that streams are served on.
    pub fn parse(method: &Method, query: Option<&str>, fields: &HeaderMap, may_stream: bool) -> Result<Self, Problem> {
        let text = query.unwrap_or("");
        let head = *method == Method::HEAD;
        let closes_on_gap = chosen(text, ON_GAP, &[("close", true)])?;
        let envelope = chosen(text, ENVELOPE, &[("1", true), ("0", false)])?;
        let asks_who_reads = chosen(text, PRESENCE, &[("1", true), ("0", false)])?;
        let since = query::id_of(text, SINCE)?;
        let stream = if may_stream { StreamRequest::parse(fields, text)? } else { None };
        let read = match &stream {
            Some(_) => last_event(fields).map(String::from).or(since),
            None => since,
        };
        let start = match read {
            Some(read) => Start::Since(read.into()),
            None => start(text)?,
        };
        let how = match stream {
            Some((asked, _)) => How::Stream { shape: Shape { form: asked.form, envelope }, asked },
            None => How::Poll(poll(text, fields, head || !matches!(start, Start::Since(_)))?),
        };
        Ok(Self { start, closes_on_gap, head, asks_who_reads, name: None, how })
    }
}

impl ReadRequest {
    /// The form of the stream; none: it is a poll.
    #[must_use]
    pub fn form(&self) -> Option<Form> {
        match &self.how {
            How::Stream { shape, .. } => Some(shape.form),
            How::Poll(_) => None,
        }
    }

    /// The form in which it is told that it is refused for the moment; none: by a status.
    #[must_use]
    pub fn refused_by_event(&self) -> Option<Form> {
        match &self.how {
            How::Stream { asked, .. } if !self.head && !asked.wants_status => {
                Some(asked.form).filter(|form| *form == Form::Events)
            }
            How::Stream { .. } | How::Poll(_) => None,
        }
    }
}

/// Where a reader begins that has read nothing.
fn start(query: &str) -> Result<Start, Problem> {
    let from = query::value_of(query, FROM)?;
    let tail = number(query, TAIL, (0, TOPIC_TAIL.0, TOPIC_TAIL.1))?;
    match from.as_deref() {
        None => Ok(Start::Tail(tail)),
        Some("earliest") => Ok(Start::Earliest),
        Some("latest") => Ok(Start::Latest),
        Some(other) => Err(Problem::parameter(FROM, other, "give from=earliest or from=latest, or leave it out")),
    }
}

fn poll(query: &str, fields: &HeaderMap, at_once: bool) -> Result<Poll, Problem> {
    let given = query::seconds_of(query, WAIT)?;
    let preferred = if given.is_none() { preferred(fields) } else { None };
    let wait = given.or(preferred.map(Duration::from_secs)).unwrap_or(TOPIC_WAIT.0).min(TOPIC_WAIT.1);
    let wait = envoy_timeout(fields).map_or(wait, |expected| wait.min(expected));
    Ok(Poll {
        wait: if at_once { Duration::ZERO } else { wait },
        preferred: preferred.map(|seconds| seconds.min(TOPIC_WAIT.1.as_secs())),
        limit: number(query, LIMIT, (1, TOPIC_LIMIT.0, TOPIC_LIMIT.1))?,
        max_bytes: number(query, MAX_BYTES, TOPIC_PAGE_BYTES)?,
    })
}

/// A whole number; one that is too small or too large is the least or the most.
fn number(query: &str, name: &'static str, (least, default, most): (usize, usize, usize)) -> Result<usize, Problem> {
    let Some(value) = query::value_of(query, name)? else { return Ok(default) };
    let is_number = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number {
        return Err(Problem::parameter(name, &value, &format!("give a whole number, as {name}={default}")));
    }
    // More than a number holds is more than the most.
    Ok(value.parse().unwrap_or(usize::MAX).clamp(least, most))
}

/// What kind of message the fields of a publication say it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaType {
    /// Without parameters, in lower case.
    essence: Box<str>,
    is_json: bool,
}

impl MediaType {
    /// Reads `Content-Type`: JSON, or a text in UTF-8.
    pub fn of(fields: &HeaderMap) -> Result<Self, Problem> {
        let such = "send Content-Type: text/plain, or application/json";
        let refuse = |why: String| Problem::new(Kind::UnsupportedMediaType, why);
        if let Some(coding) = fields.get(header::CONTENT_ENCODING) {
            let coding = String::from_utf8_lossy(coding.as_bytes()).into_owned();
            return Err(refuse(format!("Content-Encoding is {coding:?}: send the message without a coding")));
        }
        let Some(value) = fields.get(header::CONTENT_TYPE) else {
            return Err(refuse(format!("Content-Type is missing: {such}")));
        };
        let value = String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase();
        let (essence, parameters) = value.split_once(';').unwrap_or((&value, ""));
        let essence = essence.trim();
        let is_json = essence == "application/json" || essence.ends_with("+json");
        if !is_json && !essence.starts_with("text/") {
            return Err(refuse(format!("Content-Type is {essence:?}, which is no text and no JSON: {such}")));
        }
        let charset = parameters.split(';').find_map(|parameter| parameter.trim().strip_prefix("charset="));
        if let Some(charset) = charset.map(|charset| charset.trim_matches('"'))
            && !["utf-8", "utf8", "us-ascii"].contains(&charset)
        {
            return Err(refuse(format!("charset is {charset:?}: send the message in UTF-8")));
        }
        Ok(Self { essence: essence.into(), is_json })
    }

    /// A message of this kind, of this body.
    pub fn draft(self, body: &[u8], by: Option<By>) -> Result<Draft, Problem> {
        let data = if self.is_json {
            match Document::from_json(body) {
                Ok(document) => Data::Json(document.canonical()),
                // No model is null, and a message may be.
                Err(Invalid::Empty) if body.trim_ascii() == b"null" => Data::Json(b"null".as_slice().into()),
                Err(Invalid::Empty) => {
                    let detail =
                        "the body is not JSON: it is empty: send a JSON value, or Content-Type: text/plain for a text";
                    return Err(Problem::new(Kind::MalformedRequest, detail));
                }
                Err(invalid) => {
                    return Err(Problem::new(Kind::MalformedRequest, format!("the body is not JSON: {invalid}")));
                }
            }
        } else {
            let text = std::str::from_utf8(body).map_err(|error| {
                let why = format!("byte {} of the body is not UTF-8: send the message in UTF-8", error.valid_up_to());
                Problem::new(Kind::UnsupportedMediaType, why)
            })?;
            Data::Text(text.to_owned())
        };
        Ok(Draft { media_type: self.essence, by, data })
    }
}

/// The `Idempotency-Key` of a publication, without the quotes of a string (draft-ietf-httpapi-idempotency-key-header).
pub fn key(fields: &HeaderMap) -> Result<Option<Box<str>>, Problem> {
    let mut values = fields.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let text = String::from_utf8_lossy(value.as_bytes());
    if values.next().is_some() {
        return Err(Problem::parameter("Idempotency-Key", &text, "it stands twice or more: give it once"));
    }
    let key = text.trim();
    let key = key.strip_prefix('"').and_then(|key| key.strip_suffix('"')).unwrap_or(key);
    checked_key("Idempotency-Key", key).map(Some)
}

/// A key that was given as `name`.
pub fn checked_key(name: &str, key: &str) -> Result<Box<str>, Problem> {
    if key.is_empty() || key.len() > TOPIC_KEY_BYTES {
        return Err(Problem::parameter(name, key, &format!("give 1 to {TOPIC_KEY_BYTES} characters")));
    }
    Ok(key.into())
}

/// Names what is published: its media type, as it is written, and its body.
#[must_use]
pub fn digest(fields: &HeaderMap, body: &[u8]) -> Digest {
    let media_type = fields.get(header::CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
    let mut digest = blake3::Hasher::new();
    digest.update(&(media_type.len() as u64).to_be_bytes()).update(media_type).update(body);
    *digest.finalize().as_bytes()
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn fields(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pairs = pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value)));
        pairs.map(|(name, value)| (name, value.expect("a field value"))).collect()
    }

    fn read(query: &str, pairs: &[(&'static str, &str)]) -> Result<ReadRequest, Problem> {
        ReadRequest::parse(&Method::GET, Some(query), &fields(pairs), true)
    }

    fn polled(query: &str, pairs: &[(&'static str, &str)]) -> (Start, Poll) {
        match read(query, pairs).expect(query) {
            ReadRequest { start, how: How::Poll(poll), .. } => (start, poll),
            other => panic!("{query}: {other:?}"),
        }
    }

    #[test]
    fn a_poll_waits_where_it_has_read_something() {
        let (start, poll) = polled("", &[]);
        assert_eq!((start, poll.wait, poll.limit, poll.max_bytes), (Start::Tail(50), Duration::ZERO, 100, 1 << 20));
        let (start, poll) = polled("since=a.1&from=earliest&tail=7", &[]);
        assert_eq!((start, poll.wait.as_secs()), (Start::Since("a.1".into()), 25));
        assert_eq!(polled("since=a&wait=1000&limit=0&max-bytes=1", &[]).1.wait.as_secs(), 55);
        assert_eq!(polled("since=a&limit=0&max-bytes=1", &[]).1.limit, 1);
        assert_eq!(polled("max-bytes=99999999999999999999", &[]).1.max_bytes, 4 << 20);
        let (_, poll) = polled("since=a", &[("prefer", "wait=3")]);
        assert_eq!((poll.wait.as_secs(), poll.preferred), (3, Some(3)));
        assert_eq!(polled("since=a", &[("x-envoy-expected-rq-timeout-ms", "15000")]).1.wait.as_secs(), 14);
        assert_eq!(polled("from=latest", &[]).0, Start::Latest);
        assert_eq!(polled("tail=0&since=", &[]).0, Start::Tail(0));
        assert_eq!(polled("since=a", &[("last-event-id", "b")]).0, Start::Since("a".into()), "that is for streams");
        let head = ReadRequest::parse(&Method::HEAD, Some("since=a"), &HeaderMap::new(), true).expect("good");
        assert!(head.head && matches!(head.how, How::Poll(poll) if poll.wait.is_zero()));
    }

    #[test]
    fn a_stream_begins_at_the_last_event() {
        let events = ("accept", "text/event-stream");
        let stream = read("since=a&life=5&envelope=1&on-gap=close", &[events, ("last-event-id", "b")]).expect("good");
        assert_eq!((stream.start, stream.closes_on_gap), (Start::Since("b".into()), true));
        let How::Stream { asked, shape } = stream.how else { panic!("a stream") };
        assert_eq!((asked.life.as_secs(), shape), (5, Shape { form: Form::Events, envelope: true }));
        let poll = ReadRequest::parse(&Method::GET, None, &fields(&[events]), false).expect("good");
        assert!(matches!(poll.how, How::Poll(_)), "where none can be served");
    }

    #[test]
    fn what_is_wrong_is_named_with_its_remedy() {
        for (query, expected) in [
            ("from=begin", "from is \"begin\": give from=earliest or from=latest, or leave it out"),
            ("limit=x", "limit is \"x\": give a whole number, as limit=100"),
            ("tail=-1", "tail is \"-1\": give a whole number, as tail=50"),
            ("on-gap=stop", "on-gap is \"stop\": give on-gap=close, or leave it out"),
            ("envelope=yes", "envelope is \"yes\": give envelope=1 or envelope=0, or leave it out"),
            ("wait=x", "wait is \"x\": give seconds"),
        ] {
            let problem = read(query, &[]).expect_err(query);
            assert!(problem.detail.starts_with(expected), "{query}: {}", problem.detail);
        }
        let long = format!("since={}", "x".repeat(300));
        assert!(read(&long, &[]).is_err());
    }

    #[test]
    fn a_message_is_json_or_a_text_in_utf_8() {
        for (media_type, body, expected) in [
            ("text/plain", "hello", Ok(Data::Text("hello".to_owned()))),
            ("Text/Plain; Charset=\"UTF-8\"", "", Ok(Data::Text(String::new()))),
            ("application/json", "{\"b\": 1, \"a\": [true]}", Ok(Data::Json("{\"a\":[true],\"b\":1}".into()))),
            ("application/json", " null ", Ok(Data::Json("null".into()))),
            ("application/x+json", "7", Ok(Data::Json("7".into()))),
            ("application/json", "{", Err("the body is not JSON")),
            ("application/json", "", Err("the body is not JSON")),
            ("text/plain; charset=latin1", "x", Err("charset is \"latin1\": send the message in UTF-8")),
            (
                "application/x-www-form-urlencoded",
                "a",
                Err("Content-Type is \"application/x-www-form-urlencoded\", which is no"),
            ),
        ] {
            let draft = MediaType::of(&fields(&[("content-type", media_type)]))
                .and_then(|kind| kind.draft(body.as_bytes(), None).map(|draft| draft.data));
            match (draft, expected) {
                (Ok(data), Ok(expected)) => assert_eq!(data, expected, "{media_type}"),
                (Err(problem), Err(expected)) => assert!(problem.detail.starts_with(expected), "{}", problem.detail),
                (found, expected) => panic!("{media_type}: {found:?}, not {expected:?}"),
            }
        }
        let text = MediaType::of(&fields(&[("content-type", "text/plain")])).expect("a text");
        let problem = text.draft(b"ab\xff", None).expect_err("no UTF-8");
        assert_eq!(
            (problem.kind, &*problem.detail),
            (Kind::UnsupportedMediaType, "byte 2 of the body is not UTF-8: send the message in UTF-8")
        );
        assert!(MediaType::of(&HeaderMap::new()).is_err());
    }

    #[test]
    fn a_key_is_a_string_or_a_word() {
        let read = |value: &str| key(&fields(&[("idempotency-key", value)])).map(|key| key.map(String::from));
        assert_eq!(read("\"8e03978e\""), Ok(Some("8e03978e".to_owned())));
        assert_eq!(read("word"), Ok(Some("word".to_owned())));
        assert!(read("\"\"").is_err() && read(&"x".repeat(256)).is_err());
        assert_eq!(key(&HeaderMap::new()), Ok(None));
    }
}
