//! PURE. An answer that Tidewait itself makes, before it is serialized: it is the same on HTTP/1.1, HTTP/2 and an event
//! stream. Field values are made here and in [`super::encode`], and nowhere else.
//!
//! | status | when |
//! |---|---|
//! | 200 | a state, or a stream of them |
//! | 204 | the wait ended, nothing changed; or `OPTIONS`; or a report was taken |
//! | 304 | a conditional request matched |
//! | others | a problem: the table is in [`crate::protocol::problem`] |

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, header};

use super::encode::{Coding, ResponseFields};
use super::problem::{Kind, Problem};
use super::request::{PollRequest, preference_applied};
use super::stream::Form;
use crate::model::Since;
use crate::protocol::fields::{
    DELTA_BASE, PREFERENCE_APPLIED, RECONNECT_WITHIN, RELAY_POLICY, STATE_AGE, STATE_DIGEST, STATE_ID, STATE_PATH,
};
use crate::protocol::media_type;

/// The methods of a describe path.
pub const ALLOW: HeaderValue = HeaderValue::from_static("GET, HEAD, OPTIONS");

/// An answer. Every one carries `Cache-Control: no-store`; that of a stream is `no-store, no-transform`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: StatusCode,
    /// The fields of the state that it is about; absent: it is about none.
    pub state: Option<State>,
    /// The body and what describes it; absent: there is none.
    pub representation: Option<Representation>,
    /// `Retry-After`, in seconds.
    pub retry_after: Option<u32>,
    /// `Allow`.
    pub allow: Option<HeaderValue>,
    /// `WWW-Authenticate`.
    pub challenge: Option<HeaderValue>,
    /// It is the head of a stream in this form.
    pub stream: Option<Form>,
    /// Further fields.
    pub further: Vec<(HeaderName, HeaderValue)>,
}

/// The fields of a state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// `State-Id`.
    pub id: HeaderValue,
    /// `ETag`; absent: the body is no representation of the state.
    pub etag: Option<HeaderValue>,
    /// `Link` to the next poll.
    pub link: HeaderValue,
    /// How long ago the source last confirmed the state.
    pub age: Duration,
    /// `Reconnect-Within`, in seconds.
    pub reconnect_within: u64,
    /// The seconds of a `Prefer: wait` that was followed.
    pub preferred_wait: Option<u64>,
    /// `State-Path` and `Relay-Policy`; absent: the client is no relay.
    pub terms: Option<(HeaderValue, HeaderValue)>,
}

/// A body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Representation {
    /// `Content-Type`.
    pub media_type: HeaderValue,
    /// Its coding.
    pub coding: Coding,
    /// The bytes in that coding, shared with all who get the same.
    pub bytes: Bytes,
    /// `State-Digest`.
    pub digest: Option<HeaderValue>,
    /// `Delta-Base`: it is a patch, to be applied to this state.
    pub delta_base: Option<HeaderValue>,
    /// Whether only the fields are sent: the answer to HEAD.
    pub is_head: bool,
}

impl State {
    /// The fields of a state in the answer to `request`, with its `ETag` in `coding`; none: without an `ETag`.
    #[must_use]
    pub fn new(
        request: &PollRequest,
        fields: &ResponseFields,
        coding: Option<Coding>,
        (age, reconnect_within): (Duration, u64),
    ) -> Self {
        Self {
            id: fields.state_id(),
            etag: coding.map(|coding| fields.etag(coding)),
            link: fields.link(&request.link_tail),
            age,
            reconnect_within,
            preferred_wait: request.preferred_wait,
            terms: None,
        }
    }
}

impl Representation {
    /// A state, whole.
    #[must_use]
    pub fn whole(request: &PollRequest, fields: &ResponseFields, body: (Coding, Bytes), digest: HeaderValue) -> Self {
        let (coding, bytes) = body;
        let media_type = fields.content_type();
        Self { media_type, coding, bytes, digest: Some(digest), delta_base: None, is_head: request.head }
    }

    /// The patch from `base`, which the client holds, to a state. `digest` is that of the state.
    #[must_use]
    pub fn delta(request: &PollRequest, base: &Since, patch: (Coding, Bytes), digest: HeaderValue) -> Self {
        let (coding, bytes) = patch;
        let base = HeaderValue::try_from(base.to_string()).expect("an id is a field value");
        let media_type = HeaderValue::from_static(media_type::JSON_PATCH);
        Self { media_type, coding, bytes, digest: Some(digest), delta_base: Some(base), is_head: request.head }
    }
}

impl Answer {
    /// 200: a state.
    #[must_use]
    pub fn state(state: State, representation: Representation) -> Self {
        Self { state: Some(state), representation: Some(representation), ..Self::empty(StatusCode::OK) }
    }

    /// 204: the client has the state.
    #[must_use]
    pub fn unchanged(state: State) -> Self {
        Self { state: Some(state), ..Self::empty(StatusCode::NO_CONTENT) }
    }

    /// 304: a conditional request matched.
    #[must_use]
    pub fn not_modified(state: State) -> Self {
        Self { state: Some(state), ..Self::empty(StatusCode::NOT_MODIFIED) }
    }

    /// 200: the head of a stream.
    #[must_use]
    pub fn stream(form: Form) -> Self {
        Self { stream: Some(form), ..Self::empty(StatusCode::OK) }
    }

    /// 204 with `Allow`: the answer to `OPTIONS`.
    #[must_use]
    pub fn options() -> Self {
        Self { allow: Some(ALLOW), ..Self::empty(StatusCode::NO_CONTENT) }
    }

    /// 204: a report was taken.
    #[must_use]
    pub fn reported() -> Self {
        Self::empty(StatusCode::NO_CONTENT)
    }

    /// 204: no request has come for a worker that polls.
    #[must_use]
    pub fn no_request() -> Self {
        Self::empty(StatusCode::NO_CONTENT)
    }

    /// An answer about something else than a state, with these fields and this JSON; none: without a body.
    #[must_use]
    pub fn other(status: StatusCode, further: Vec<(HeaderName, HeaderValue)>, json: Option<Bytes>) -> Self {
        let representation = json.map(|bytes| Representation {
            media_type: HeaderValue::from_static(media_type::JSON),
            coding: Coding::Identity,
            bytes,
            digest: None,
            delta_base: None,
            is_head: false,
        });
        Self { representation, further, ..Self::empty(status) }
    }

    /// A problem. `chance` is in 0..1: it spreads `Retry-After`, so that clients that were refused
    /// together do not come back together.
    #[must_use]
    pub fn problem(problem: &Problem, chance: f64) -> Self {
        Self {
            retry_after: problem.retry_after.map(|seconds| retry_after(seconds, chance)),
            allow: (problem.kind == Kind::MethodNotAllowed).then_some(ALLOW),
            challenge: problem.challenge.map(HeaderValue::from_static),
            ..Self::problem_of(problem.kind.status(), problem.to_json())
        }
    }

    /// A problem that is written already.
    #[must_use]
    pub fn problem_of(status: StatusCode, json: Vec<u8>) -> Self {
        let representation = Representation {
            media_type: HeaderValue::from_static(media_type::PROBLEM),
            coding: Coding::Identity,
            bytes: json.into(),
            digest: None,
            delta_base: None,
            is_head: false,
        };
        Self { representation: Some(representation), ..Self::empty(status) }
    }

    fn empty(status: StatusCode) -> Self {
        Self {
            status,
            state: None,
            representation: None,
            retry_after: None,
            allow: None,
            challenge: None,
            stream: None,
            further: Vec::new(),
        }
    }

    /// The header fields, in the order in which they are written; those of the connection are the wire's.
    pub fn fields(&self) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        let no_store = (header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        let no_store = self.stream.is_none().then_some(no_store);
        let stream = self.stream.into_iter().flat_map(Form::fields);
        let retry_after = self.retry_after.map(|seconds| (header::RETRY_AFTER, HeaderValue::from(seconds)));
        let allow = self.allow.clone().map(|allow| (header::ALLOW, allow));
        let challenge = self.challenge.clone().map(|challenge| (header::WWW_AUTHENTICATE, challenge));
        let state = self.state.iter().flat_map(State::fields);
        let representation = self.representation.iter().flat_map(Representation::fields);
        no_store
            .into_iter()
            .chain(stream)
            .chain(state)
            .chain(representation)
            .chain(retry_after)
            .chain(allow)
            .chain(challenge)
            .chain(self.further.iter().cloned())
    }

    /// The same, to a request with the method HEAD.
    #[must_use]
    pub fn to_head(mut self) -> Self {
        if let Some(representation) = &mut self.representation {
            representation.is_head = true;
        }
        self
    }

    /// The bytes of the body; absent: there is none.
    #[must_use]
    pub fn body(&self) -> Option<&Bytes> {
        self.representation.as_ref().filter(|representation| !representation.is_head).map(|it| &it.bytes)
    }

    /// The bytes of the body; absent: there is none.
    #[must_use]
    pub fn into_body(self) -> Option<Bytes> {
        self.representation.filter(|representation| !representation.is_head).map(|representation| representation.bytes)
    }
}

/// `Retry-After`: whole seconds with jitter. `chance` is in 0..1.
#[must_use]
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "chance is in 0..1")]
pub fn retry_after(seconds: u32, chance: f64) -> u32 {
    seconds + (f64::from(seconds + 1) * chance) as u32
}

impl State {
    fn fields(&self) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        let (path, policy) = self.terms.clone().unzip();
        let preference = self.preferred_wait.map(|seconds| (PREFERENCE_APPLIED, preference_applied(seconds)));
        [
            Some((STATE_ID, self.id.clone())),
            self.etag.clone().map(|etag| (header::ETAG, etag)),
            Some((header::LINK, self.link.clone())),
            Some((STATE_AGE, HeaderValue::from(self.age.as_secs()))),
            Some((RECONNECT_WITHIN, HeaderValue::from(self.reconnect_within))),
            Some((header::VARY, HeaderValue::from_static("Accept, Accept-Encoding, Prefer"))),
            preference,
            path.map(|path| (STATE_PATH, path)),
            policy.map(|policy| (RELAY_POLICY, policy)),
        ]
        .into_iter()
        .flatten()
    }
}

impl Representation {
    fn fields(&self) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        [
            Some((header::CONTENT_TYPE, self.media_type.clone())),
            self.delta_base.clone().map(|base| (DELTA_BASE, base)),
            Some((header::CONTENT_LENGTH, HeaderValue::from(self.bytes.len()))),
            self.digest.clone().map(|digest| (STATE_DIGEST, digest)),
            self.coding.content_encoding().map(|coding| (header::CONTENT_ENCODING, coding)),
        ]
        .into_iter()
        .flatten()
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, Method};

    use super::*;
    use crate::config::Wait;
    use crate::describe::encode;
    use crate::model::{Content, Document, Epoch, Snapshot};
    use crate::protocol::{AnswerHead, InvalidAnswer, answer, state_digest};

    fn head(answer: &Answer) -> Result<AnswerHead, InvalidAnswer> {
        AnswerHead::read(answer.status, &answer.fields().collect::<HeaderMap>())
    }

    #[test]
    fn a_client_reads_what_is_written() {
        let content = Content::Json(Document::from_json(b"{\"mtu\":1450}").expect("a document"));
        let snapshot = Snapshot::of(Epoch::of(&["e"]), 7, &content);
        let fields = ResponseFields::of(&snapshot);
        let wait = Wait { default: Duration::ZERO, max: Duration::ZERO };
        let request = PollRequest::parse(&Method::GET, None, &HeaderMap::new(), wait, 1).expect("a request");
        let age = Duration::from_secs(3);
        let state = |coding| State::new(&request, &fields, coding, (age, 7));
        let read = answer::State { id: snapshot.id.to_string(), age };

        assert_eq!(head(&Answer::unchanged(state(None))), Ok(AnswerHead::Unchanged(read.clone())));
        let written: HeaderMap = Answer::unchanged(state(None)).fields().collect();
        assert_eq!(answer::reconnect_within(&written), Some(Duration::from_secs(7)));
        assert_eq!(head(&Answer::not_modified(state(None))), Ok(AnswerHead::NotModified(read.clone())));
        let digest = state_digest(&content.bytes());
        for coding in Coding::ALL {
            let sent = || (coding, Bytes::from_static(b"..."));
            let (whole, base) = (encode::state_digest(snapshot.body()), Since { version: None, ..snapshot.id.into() });
            let whole = Representation::whole(&request, &fields, sent(), whole);
            let delta = Representation::delta(&request, &base, sent(), encode::state_digest(snapshot.body()));
            for (representation, delta_base, media_type) in
                [(whole, None, media_type::JSON), (delta, Some(base.to_string()), media_type::JSON_PATCH)]
            {
                let media_type = media_type.to_owned();
                let body = answer::Body { coding, digest: digest.clone(), delta_base, media_type };
                let made = Answer::state(state(Some(coding)), representation);
                assert_eq!(head(&made), Ok(AnswerHead::State(read.clone(), body)));
            }
        }
        let problem = Answer::problem(&Problem::retry(Kind::NoState, 2, "soon"), 0.5);
        let retry_after = Some(Duration::from_secs(3));
        assert_eq!(head(&problem), Ok(AnswerHead::Refused { status: StatusCode::SERVICE_UNAVAILABLE, retry_after }));
        assert_eq!(head(&Answer::options()), Err(InvalidAnswer::Missing(STATE_ID)), "that is no answer to a poll");
    }
}
