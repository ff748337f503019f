//! What a describe request asks for: its query and header fields, read once.
//!
//! | client sends | read as |
//! |---|---|
//! | `since` | a state; empty, or nothing that could be one of our ids: the null state |
//! | `wait`, else `Prefer: wait` (RFC 7240, section 4.3) | the longest hold in seconds |
//! | `x-envoy-expected-rq-timeout-ms` | the hold ends [`ENVOY_MARGIN`] before it |
//! | `If-None-Match` (RFC 9110, section 13.1.2) | states for which no body is wanted |
//! | `Accept-Encoding` (RFC 9110, section 12.5.3) | the coding of the body |
//! | `Agent-Id` | who asks |
//! | `rejected`, spelt as `since` is | the state that the client was given and could not apply |
//! | `applying`, spelt as `since` is | the newest state that the client was given and is busy with |
//! | `Rejected-Reason` | why: cut to [`REJECTED_REASON_CHARACTERS`], what is not printable shown as `?` |
//! | `Relay` | the instance of the relay that asks |
//! | `select`, any number of times: JSON Pointers (RFC 6901) | the part of the model that is asked for |
//! | `Accept` naming a JSON Patch above JSON | deltas where there are any: [`super::accept`] |
//! | `Accept` naming a stream above JSON | a stream: [`super::stream`] |
//! | anything else in the query | kept for `Link` |

use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, header};

use super::accept::prefers_deltas;
use super::encode::Coding;
use super::problem::{Kind, Problem};
use super::stream::{self, StreamRequest};
use crate::bounds::{AGENT_ID_BYTES, REJECTED_REASON_CHARACTERS};
use crate::config::Wait;
use crate::model::{InvalidSelection, Selection, Since, StateId};
use crate::protocol::Instance;
use crate::protocol::fields::{AGENT_ID, ENVOY_TIMEOUT, PREFER, REJECTED_REASON, RELAY};
use crate::protocol::query::{Query, SELECT, link_tail};

/// Envoy announces its timeout; the hold ends this much before, so that the answer arrives.
pub const ENVOY_MARGIN: Duration = Duration::from_secs(1);

/// What a describe request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PollRequest {
    /// The state that the client has; absent: the null state.
    pub since: Option<Since>,
    /// What the client could not apply; absent: nothing. Boxed, since few send it and all who are parked have the room.
    pub rejected: Option<Box<Rejected>>,
    /// What the client is busy with; absent: nothing. Boxed as well.
    pub applying: Option<Box<Since>>,
    /// Longest hold, after the limits and before jitter; zero: never parks.
    pub hold: Duration,
    /// The seconds of a `Prefer: wait` that was followed.
    pub preferred_wait: Option<u64>,
    /// States for which no body is wanted.
    pub if_none_match: Option<IfNoneMatch>,
    /// The part of the model that is asked for; absent: the whole.
    pub select: Option<Selection>,
    /// Whether a delta from `since` is preferred to the full state.
    pub delta: bool,
    /// The coding of the body.
    pub coding: Coding,
    /// Who asks.
    pub agent: Option<String>,
    /// What follows the id in `Link`: the other parameters, each with its `&`.
    pub link_tail: String,
    /// Whether the body is left out.
    pub head: bool,
    /// The relay that asks, for itself or for a client that may be ahead of it; absent: no relay. Boxed as well.
    pub relay: Option<Box<Instance>>,
    /// What is asked for beside that by who wants a stream; absent: it is a poll. Boxed as well.
    pub stream: Option<Box<StreamRequest>>,
}

/// A state that a client was given and could not apply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// The state.
    pub state: Since,
    /// Why, printable; absent: it did not say.
    pub reason: Option<String>,
}

/// `If-None-Match`: states for which no body is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IfNoneMatch {
    /// `*`
    Any,
    /// Those of the entity tags that could be ours.
    States(Vec<Since>),
}

/// What a request reports of its sender, beside what it asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// Who asks.
    pub agent: Option<String>,
    /// Why it could not apply a state.
    pub reason: Option<String>,
}

impl PollRequest {
    /// Takes the report out: a parked request has no use for it.
    #[must_use]
    pub fn take_report(&mut self) -> Report {
        let reason = self.rejected.as_mut().and_then(|rejected| rejected.reason.take());
        Report { agent: self.agent.take(), reason }
    }

    /// Reads a request with method GET or HEAD, that may select by at most so many `pointers`.
    pub fn parse(
        method: &Method,
        query: Option<&str>,
        fields: &HeaderMap,
        limits: Wait,
        pointers: usize,
    ) -> Result<Self, Problem> {
        let text = query.unwrap_or("");
        let query = Query::parse(text)?;
        let since = query.since.as_deref().and_then(Since::parse);
        let rejected = query.rejected.as_deref().and_then(Since::parse);
        let rejected = rejected.map(|state| Box::new(Rejected { state, reason: reason(fields) }));
        let applying = query.applying.as_deref().and_then(Since::parse).map(Box::new);
        let head = *method == Method::HEAD;
        let preferred_wait = if query.wait.is_none() { preferred(fields) } else { None };
        let mut hold = query.wait.or(preferred_wait.map(Duration::from_secs)).unwrap_or(limits.default).min(limits.max);
        if let Some(expected) = envoy_timeout(fields) {
            hold = hold.min(expected);
        }
        let if_none_match = if_none_match(fields);
        // Alone it is a cache that revalidates: it must not hang.
        if head || (since.is_none() && rejected.is_none() && applying.is_none()) {
            hold = Duration::ZERO;
        }
        let request = Self {
            since,
            rejected,
            applying,
            hold,
            preferred_wait,
            if_none_match,
            select: selection(&query.select, pointers)?,
            delta: prefers_deltas(fields),
            coding: Coding::negotiate(fields),
            agent: agent(fields)?,
            link_tail: link_tail(text),
            head,
            relay: relay(fields)?,
            stream: None,
        };
        Ok(match StreamRequest::parse(fields, text)? {
            Some((asked, delta)) => Self { since: stream::begins_at(fields, since), ..request.streamed(asked, delta) },
            None => request,
        })
    }

    /// The same of a client that wants a stream. It is answered at once, and then waits for more; it says nothing of what its client
    /// holds beside where it begins.
    fn streamed(self, asked: StreamRequest, delta: bool) -> Self {
        let Self { since, select, agent, head, .. } = self;
        Self {
            since,
            rejected: None,
            applying: None,
            hold: Duration::ZERO,
            preferred_wait: None,
            if_none_match: None,
            select,
            delta,
            coding: Coding::Identity,
            agent,
            link_tail: String::new(),
            head,
            relay: None,
            stream: Some(Box::new(asked)),
        }
    }

    /// Whether it acknowledges nothing: a HEAD, a stream, or a relay that asks what is newest for a client of its own.
    #[must_use]
    pub fn is_a_question(&self) -> bool {
        self.head || self.stream.is_some() || (self.relay.is_some() && self.hold.is_zero())
    }

    /// The states that the client has been sent, as self-reported, in the order in which it was given them: the one it holds,
    /// the one it rejected, and the one it is busy with.
    pub fn named(&self) -> impl Iterator<Item = &Since> {
        let rejected = self.rejected.as_deref().map(|rejected| &rejected.state);
        self.since.iter().chain(rejected).chain(self.applying.as_deref())
    }

    /// Of the states that it names the newest one: by the version where two are of one history, else the one that it was given
    /// later.
    #[must_use]
    pub fn newest(&self) -> Option<&Since> {
        self.named().reduce(
            |newest, later| {
                if newest.epoch == later.epoch && newest.version > later.version { newest } else { later }
            },
        )
    }

    /// Whether the client has no use for `current`: it has it, could not apply it, or is busy with it.
    #[must_use]
    pub fn is_done_with(&self, current: &StateId) -> bool {
        self.named().any(|named| current.is_same_state(named))
    }

    /// The version in the answer to a client that has no use for `current`: its own where a replica that is ahead has
    /// sent it the same state at a newer one. With a lower version it could be sent an older state later.
    #[must_use]
    pub fn version_of(&self, current: &StateId) -> u64 {
        if current.version == 0 {
            return 0;
        }
        let same = self.named().filter(|named| current.is_same_state(named));
        same.filter_map(|named| named.version).fold(current.version, u64::max)
    }

    /// Whether `current` would be a step back for the client: it is another state than those that the client
    /// names, and older than one of them.
    #[must_use]
    pub fn is_ahead_of(&self, current: &StateId) -> bool {
        !self.is_done_with(current) && self.named().any(|named| current.is_before(named))
    }
}

/// What is selected; none: the whole.
fn selection(pointers: &[String], most: usize) -> Result<Option<Selection>, Problem> {
    let selection = Selection::parse(pointers, most).map_err(|invalid: InvalidSelection| match invalid.pointer() {
        Some(pointer) => Problem::parameter(SELECT, pointer, &invalid.to_string()),
        None => Problem::new(Kind::BadParameter, format!("select names {invalid}")),
    })?;
    Ok((!selection.is_whole()).then_some(selection))
}

/// The preferences of all fields `Prefer` (RFC 7240, section 2).
pub(crate) fn preferences(fields: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = fields.get_all(PREFER).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(','))
}

/// The first `wait` of `Prefer`; a malformed one is ignored (RFC 7240, section 2).
pub(crate) fn preferred(fields: &HeaderMap) -> Option<u64> {
    preferences(fields).find_map(|preference| {
        let (name, value) = preference.split(';').next()?.split_once('=')?;
        if !name.trim().eq_ignore_ascii_case("wait") {
            return None;
        }
        let value = value.trim().trim_matches('"');
        value.bytes().all(|c| c.is_ascii_digit()).then(|| value.parse().ok())?
    })
}

/// How long a request may take at most before Envoy gives it up, so that its answer arrives.
pub(crate) fn envoy_timeout(fields: &HeaderMap) -> Option<Duration> {
    let millis: u64 = fields.get(ENVOY_TIMEOUT)?.to_str().ok()?.trim().parse().ok()?;
    // Envoy's 0 means no timeout.
    (millis > 0).then(|| Duration::from_millis(millis).saturating_sub(ENVOY_MARGIN))
}

fn if_none_match(fields: &HeaderMap) -> Option<IfNoneMatch> {
    let mut states = None;
    for value in fields.get_all(header::IF_NONE_MATCH) {
        let value = value.to_str().unwrap_or("");
        if value.trim() == "*" {
            return Some(IfNoneMatch::Any);
        }
        // Our tags hold no comma, so the list needs no quote-aware split.
        states.get_or_insert_with(Vec::new).extend(value.split(',').filter_map(Since::parse));
    }
    states.map(IfNoneMatch::States)
}

pub(crate) fn agent(fields: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut values = fields.get_all(AGENT_ID).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let text = String::from_utf8_lossy(value.as_bytes());
    if values.next().is_some() {
        return Err(Problem::parameter("Agent-Id", &text, "it stands twice or more: give it once"));
    }
    let allowed = |c: u8| c.is_ascii_alphanumeric() || b"._:-".contains(&c);
    if text.is_empty() || text.len() > AGENT_ID_BYTES || !text.bytes().all(allowed) {
        return Err(Problem::parameter("Agent-Id", &text, "give 1 to 253 characters of A-Z a-z 0-9 . _ : -"));
    }
    Ok(Some(text.into_owned()))
}

fn relay(fields: &HeaderMap) -> Result<Option<Box<Instance>>, Problem> {
    let Some(value) = fields.get(RELAY) else { return Ok(None) };
    let text = String::from_utf8_lossy(value.as_bytes());
    let wrong = || Problem::parameter("Relay", &text, "give 1 to 64 characters of A-Z a-z 0-9 . _ -, or leave it out");
    Instance::parse(&text).map(|instance| Some(Box::new(instance))).ok_or_else(wrong)
}

/// `Rejected-Reason`, the first one. It is for people: what is malformed is replaced, not refused.
fn reason(fields: &HeaderMap) -> Option<String> {
    let text = String::from_utf8_lossy(fields.get(REJECTED_REASON)?.as_bytes());
    let printable = |c: char| if c == ' ' || c.is_ascii_graphic() || c.is_alphanumeric() { c } else { '?' };
    let reason: String = text.trim().chars().take(REJECTED_REASON_CHARACTERS).map(printable).collect();
    (!reason.is_empty()).then_some(reason)
}

/// `Preference-Applied` for a `Prefer: wait` that was followed. It is an upper bound, so a
/// shorter hold follows it too.
#[must_use]
pub fn preference_applied(seconds: u64) -> HeaderValue {
    HeaderValue::try_from(format!("wait={seconds}")).expect("digits are a field value")
}

#[cfg(test)]
mod tests {
    use http::HeaderName;
    use proptest::prelude::*;

    use super::*;
    use crate::model::{Content, Document, Snapshot, StateId};

    const LIMITS: Wait = Wait { default: Duration::from_secs(25), max: Duration::from_secs(55) };

    fn id() -> StateId {
        let content = Content::Json(Document::from_json(b"{}").expect("a document"));
        Snapshot::of(crate::model::Epoch::of(&["test"]), 3, &content).id
    }

    fn fields(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut fields = HeaderMap::new();
        for (name, value) in pairs {
            let name = HeaderName::try_from(*name).expect("a field name");
            fields.append(name, HeaderValue::try_from(*value).expect("a field value"));
        }
        fields
    }

    fn parse(query: &str, pairs: &[(&str, &str)]) -> Result<PollRequest, Problem> {
        PollRequest::parse(&Method::GET, Some(query), &fields(pairs), LIMITS, 64)
    }

    #[track_caller]
    fn hold(query: &str, pairs: &[(&str, &str)]) -> u128 {
        parse(&format!("since={}&{query}", id()), pairs).expect(query).hold.as_millis()
    }

    #[test]
    fn wait_is_read_clamped_and_defaulted() {
        assert_eq!(hold("", &[]), 25_000);
        assert_eq!(hold("wait=0", &[]), 0);
        assert_eq!(hold("wait=1.5", &[]), 1_500);
        assert_eq!(hold("wait=0.001", &[]), 1);
        assert_eq!(hold("wait=999999", &[]), 55_000);
        assert_eq!(hold(&format!("wait={}", "9".repeat(40)), &[]), 55_000);
        assert_eq!(hold("", &[("prefer", "respond-async, wait=10")]), 10_000);
        assert_eq!(hold("", &[("prefer", "Wait = \"7\"; x=y")]), 7_000);
        assert_eq!(hold("", &[("prefer", "wait=soon"), ("prefer", "wait=8")]), 8_000);
        assert_eq!(hold("wait=3", &[("prefer", "wait=10")]), 3_000);
        assert_eq!(hold("wait=30", &[("x-envoy-expected-rq-timeout-ms", "15000")]), 14_000);
        assert_eq!(hold("wait=30", &[("x-envoy-expected-rq-timeout-ms", "500")]), 0);
        assert_eq!(hold("wait=30", &[("x-envoy-expected-rq-timeout-ms", "0")]), 30_000);
        assert_eq!(hold("wait=30", &[("x-envoy-expected-rq-timeout-ms", "soon")]), 30_000);
        let request = parse(&format!("since={}&wait=3", id()), &[("prefer", "wait=10")]).expect("a request");
        assert_eq!(request.preferred_wait, None, "the query wins, so nothing was applied");
    }

    #[test]
    fn wrong_parameters_are_named_with_value_and_remedy() {
        for wait in ["", "-1", "+1", "1e3", "1.", ".5", "1.2345", "25s", "1,5", " 1", "%00", "NaN"] {
            let problem = parse(&format!("wait={wait}"), &[]).expect_err(wait);
            assert!(problem.detail.starts_with("wait is \""), "{}", problem.detail);
            assert!(problem.detail.ends_with("as wait=25"), "{}", problem.detail);
        }
        let twice = parse("since=a&since=a", &[]).expect_err("twice");
        assert_eq!(twice.detail, "since is \"a\": it stands twice or more: give it once");
        let twice = parse("rejected=a&rejected=", &[]).expect_err("twice");
        assert_eq!(twice.detail, "rejected is \"a\": it stands twice or more: give it once");
        assert!(parse("wait=1&%77ait=2", &[]).is_err(), "twice, once encoded");
        let long = parse(&format!("rejected={}", "x".repeat(257)), &[]).expect_err("long").detail;
        assert!(long.starts_with("rejected is \"") && long.ends_with("send State-Id of the last answer"), "{long}");
        assert!(parse(&format!("since={}", "x".repeat(257)), &[]).is_err());
        assert!(parse(&format!("since={}", "%41".repeat(256)), &[]).is_ok(), "256 bytes after decoding");
        for (select, detail) in [
            (
                "select=a/b",
                "select is \"a/b\": it does not begin with /: write it as /a/b, or leave it empty for the whole model",
            ),
            (
                "select=/x&select=/a~2",
                "select is \"/a~2\": ~ at byte 2 has neither 0 nor 1 behind it: write ~0 for ~ and ~1 for /",
            ),
            ("select=%2fa%ff", r#"select is "/a\u{fffd}": byte 2 is not UTF-8: encode it so"#),
        ] {
            assert_eq!(parse(select, &[]).expect_err(select).detail, detail);
        }
        let many = parse(&"&select=/a".repeat(10_000), &[]).expect_err("too many").detail;
        assert_eq!(many, "select names 10000 pointers: give at most 64, or one to what they have in common");
        let long = "x".repeat(254);
        for agent in ["", "a b", "é", "a/b", &long] {
            assert!(parse("", &[("agent-id", agent)]).is_err(), "{agent}");
        }
        assert!(parse("", &[("agent-id", "a"), ("agent-id", "a")]).is_err());
        assert_eq!(
            parse("", &[("agent-id", "rack1:node-7.b_c")]).expect("ok").agent.as_deref(),
            Some("rack1:node-7.b_c")
        );
    }

    #[test]
    fn what_cannot_be_an_id_is_the_null_state_and_never_parks() {
        let huge = format!("{}.{}.{}", id().epoch, "18446744073709551616", id().digest);
        for since in ["", "-1", "%00", "%F0%9F%98%80", "18446744073709551616", "null", &huge] {
            let request = parse(&format!("since={since}&wait=30"), &[]).expect(since);
            assert_eq!((request.since, request.hold), (None, Duration::ZERO), "{since}");
        }
        let encoded = format!("since=%22{}%22", id().to_string().replace('.', "%2E"));
        assert_eq!(parse(&encoded, &[]).expect("ok").since, Some(id().into()));
        assert_eq!(parse("wait=9", &[("if-none-match", "*")]).expect("ok").hold, Duration::ZERO, "a cache never hangs");
        let head = PollRequest::parse(&Method::HEAD, Some(&format!("since={}", id())), &HeaderMap::new(), LIMITS, 64)
            .expect("ok");
        assert_eq!(head.hold, Duration::ZERO);
    }

    #[test]
    fn rejected_is_spelt_as_since_and_parks_without_it() {
        let encoded = format!("rejected=W/%22{}~gzip%22", id());
        let request = parse(&encoded, &[]).expect("ok");
        let rejected = Some(Box::new(Rejected { state: id().into(), reason: None }));
        assert_eq!((request.since, request.rejected, request.hold), (None, rejected, LIMITS.default));
        for nothing in ["", "-1", "null"] {
            let request = parse(&format!("rejected={nothing}"), &[("rejected-reason", "why")]).expect(nothing);
            assert_eq!((request.rejected, request.hold), (None, Duration::ZERO), "{nothing}");
        }
    }

    #[test]
    fn a_reason_is_mended_and_not_refused() {
        let long = "x".repeat(300);
        for (given, expected) in [
            ("no route to 10.0.0.0/8", Some("no route to 10.0.0.0/8")),
            (" schéma ", Some("schéma")),
            ("a\tb\u{202e}c\u{9b}d", Some("a?b?c?d")),
            (&long, Some(&long[..REJECTED_REASON_CHARACTERS])),
            ("  ", None),
            ("", None),
        ] {
            let request = parse(&format!("rejected={}", id()), &[("rejected-reason", given)]).expect(given);
            assert_eq!(request.rejected.expect("an id").reason.as_deref(), expected, "{given}");
        }
        let mut fields = HeaderMap::new();
        fields.insert(REJECTED_REASON, HeaderValue::from_bytes(b"\xff!").expect("opaque bytes are a value"));
        let request =
            PollRequest::parse(&Method::GET, Some(&format!("rejected={}", id())), &fields, LIMITS, 64).expect("ok");
        assert_eq!(request.rejected.expect("an id").reason.as_deref(), Some("?!"));
    }

    #[test]
    fn the_newer_of_since_and_rejected_counts() {
        let at = |version| StateId { version, ..id() };
        let foreign = StateId { epoch: crate::model::Epoch::of(&["foreign"]), ..id() };
        let tag = format!("{}.{}", id().epoch, id().digest);
        for (query, newest) in [
            (format!("since={}&rejected={}", at(4), at(5)), Some(at(5).into())),
            (format!("since={}&rejected={}", at(5), at(4)), Some(at(5).into())),
            (format!("since={}&rejected={tag}", at(5)), Some(at(5).into())),
            (format!("since={}&rejected={foreign}", at(5)), Some(foreign.into())),
            (format!("rejected={}", at(5)), Some(at(5).into())),
            (format!("since={}", at(5)), Some(at(5).into())),
            (String::new(), None),
        ] {
            assert_eq!(parse(&query, &[]).expect("ok").newest().copied(), newest, "{query}");
        }
    }

    #[test]
    fn if_none_match_keeps_tags_that_could_be_ours() {
        let tag = format!("\"{}.{}\"", id().epoch, id().digest);
        let list = format!("\"other\", W/{tag}, \"{}.{}~gzip\"", id().epoch, id().digest);
        let Some(IfNoneMatch::States(states)) = parse("", &[("if-none-match", &list)]).expect("ok").if_none_match
        else {
            panic!("states");
        };
        assert_eq!(states.len(), 2);
        assert!(states.iter().all(|state| id().is_same_state(state)));
        assert_eq!(parse("", &[]).expect("ok").if_none_match, None);
    }

    #[test]
    fn link_keeps_every_parameter_but_since_and_rejected() {
        let request = parse("a=x+y&since=1&wait=30&b=%2B%2b&rejected=2&flag&c=&d=1=2&&e=%C3%A9", &[]).expect("ok");
        assert_eq!(request.link_tail, "&a=x%20y&wait=30&b=%2B%2B&flag&c=&d=1%3D2&e=%C3%A9");
    }

    #[test]
    fn what_is_selected_is_a_set_that_goes_on_in_the_link() {
        let selected = |query: &str| {
            let request = parse(query, &[]).expect(query);
            let pointers = request.select.map_or_else(Vec::new, |selection| selection.pointers().to_vec());
            (pointers.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "), request.link_tail)
        };
        for (query, pointers, link) in [
            ("", "", ""),
            ("select=", "", "&select="),
            ("select", "", "&select"),
            ("select=/b&since=x&select=/a", "/a /b", "&select=%2Fb&select=%2Fa"),
            (
                "select=/a+b&select=/c%2Bd&select=%2Fa+b",
                "/a b /c+d",
                "&select=%2Fa%20b&select=%2Fc%2Bd&select=%2Fa%20b",
            ),
            ("select=/b/c&wait=3&select=/b&select=", "", "&select=%2Fb%2Fc&wait=3&select=%2Fb&select="),
            ("%73elect=/a", "/a", "&select=%2Fa"),
        ] {
            assert_eq!(selected(query), (pointers.to_owned(), link.to_owned()), "{query}");
        }
    }

    #[test]
    fn who_has_the_state_is_never_told_a_lower_version() {
        let current = id();
        let at = |version: u64| StateId { version, ..current };
        let other = current.to_string().replace(&current.digest.to_string(), &"0".repeat(32)).replace(".3.", ".9.");
        for (query, version) in [
            (String::new(), 3),
            (format!("since={}", at(2)), 3),
            (format!("since={}", at(5)), 5),
            (format!("since={}.{}", current.epoch, current.digest), 3),
            (format!("since={other}"), 3),
            (format!("since={other}&rejected={}", at(4)), 4),
            (format!("since={}&rejected={}", at(6), at(4)), 6),
        ] {
            assert_eq!(parse(&query, &[]).expect(&query).version_of(&current), version, "{query}");
        }
        let request = parse(&format!("since={}", at(5)), &[]).expect("a request");
        assert_eq!(request.version_of(&at(0)), 0, "a source without order");
    }

    proptest! {
        #[test]
        fn no_query_makes_it_panic(query in "[ -~]{0,200}", agent in "[ -~]{0,300}") {
            let _ = parse(&query, &[("agent-id", agent.trim()), ("prefer", agent.trim())]);
        }
    }
}
