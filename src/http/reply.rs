//! Answers that Tidewait itself makes. All carry `Cache-Control: no-store`; those about a state
//! carry its field values, taken from the same snapshot as the body.
//!
//! | status | when |
//! |---|---|
//! | 200 | a state |
//! | 204 | the wait ended, nothing changed; or `OPTIONS` |
//! | 304 | a conditional request matched |
//! | others | a problem: the table is in [`crate::describe::problem`] |

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use http_body::{Frame, SizeHint};

use super::proxy::ProxyBody;
use crate::describe::{Coding, Problem, Want, accept, problem, want};
use crate::hub::{Hold, Served};
use crate::model::Since;

/// Names the state.
pub const STATE_ID: HeaderName = HeaderName::from_static("state-id");
/// Whole seconds since the source last confirmed the state.
pub const STATE_AGE: HeaderName = HeaderName::from_static("state-age");
/// SHA-256 of the bytes without an encoding, in the syntax of RFC 9530.
pub const STATE_DIGEST: HeaderName = HeaderName::from_static("state-digest");
/// The state that a delta leads on from.
pub const DELTA_BASE: HeaderName = HeaderName::from_static("delta-base");
/// RFC 7240, section 3.
pub const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// The methods of a describe path.
pub const ALLOW: HeaderValue = HeaderValue::from_static("GET, HEAD, OPTIONS");

/// The body of an answer.
#[derive(Debug)]
pub enum Body {
    /// None.
    Empty,
    /// Bytes that are here already, shared with all who get the same.
    Whole {
        /// The bytes; taken when they are handed to the connection.
        bytes: Option<Bytes>,
        /// Kept until then.
        hold: Option<Hold>,
    },
    /// What the app answers, as it comes.
    App(ProxyBody),
}

impl Body {
    /// Bytes that are here already.
    pub fn whole(bytes: impl Into<Bytes>) -> Self {
        Self::Whole { bytes: Some(bytes.into()), hold: None }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = <ProxyBody as http_body::Body>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        match &mut *self {
            Self::Empty => Poll::Ready(None),
            Self::Whole { bytes, .. } => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::App(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Whole { bytes, .. } => bytes.is_none(),
            Self::App(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Whole { bytes, .. } => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::App(body) => body.size_hint(),
        }
    }
}

/// What the answers to one request have in common.
#[derive(Debug)]
pub struct About<'a> {
    /// What was asked for.
    pub want: &'a Want,
    /// How long ago the source confirmed the state, now.
    pub age: Duration,
}

impl About<'_> {
    /// 200: the state. For HEAD the same without the body.
    pub async fn state(&self, served: &Served, hold: Option<Hold>) -> Response<Body> {
        let (coding, bytes) = served.bytes(self.want.coding).await;
        let mut response = self.fields(StatusCode::OK, served, Some(coding));
        let fields = response.headers_mut();
        fields.insert(header::CONTENT_TYPE, served.face().content_type.clone());
        self.give(&mut response, served, (coding, bytes), hold).await;
        response
    }

    /// 200: what leads from `base`, which the client has, to the state. `State-Digest` is that of the state; there is no
    /// `ETag`, since what is given is no representation of it.
    pub async fn delta(
        &self,
        served: &Served,
        base: &Since,
        patch: (Coding, Bytes),
        hold: Option<Hold>,
    ) -> Response<Body> {
        let mut response = self.fields(StatusCode::OK, served, None);
        let fields = response.headers_mut();
        fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(accept::JSON_PATCH));
        fields.insert(DELTA_BASE, HeaderValue::try_from(base.to_string()).expect("an id is a field value"));
        self.give(&mut response, served, patch, hold).await;
        response
    }

    /// Writes a body and the fields that tell of it.
    async fn give(
        &self,
        response: &mut Response<Body>,
        served: &Served,
        (coding, bytes): (Coding, Bytes),
        hold: Option<Hold>,
    ) {
        let fields = response.headers_mut();
        fields.insert(header::CONTENT_LENGTH, HeaderValue::from(bytes.len()));
        fields.insert(STATE_DIGEST, served.digest().await);
        if let Some(encoding) = coding.content_encoding() {
            fields.insert(header::CONTENT_ENCODING, encoding);
        }
        if !self.want.head {
            *response.body_mut() = Body::Whole { bytes: Some(bytes), hold };
        }
    }

    /// 204: the client has the state.
    #[must_use]
    pub fn unchanged(&self, served: &Served) -> Response<Body> {
        self.fields(StatusCode::NO_CONTENT, served, Some(Coding::Identity))
    }

    /// 304: a conditional request matched.
    pub async fn not_modified(&self, served: &Served) -> Response<Body> {
        // The tag of what a 200 would have carried (RFC 9110, section 15.4.5).
        let (coding, _) = served.bytes(self.want.coding).await;
        self.fields(StatusCode::NOT_MODIFIED, served, Some(coding))
    }

    /// The fields of a state, with the tag of it in a coding; none: without a tag.
    fn fields(&self, status: StatusCode, served: &Served, coding: Option<Coding>) -> Response<Body> {
        let mut response = empty(status);
        let fields = response.headers_mut();
        fields.insert(STATE_ID, served.face().state_id.clone());
        if let Some(coding) = coding {
            fields.insert(header::ETAG, served.face().etag(coding));
        }
        fields.insert(header::LINK, served.face().link(&served.snapshot, &self.want.link_tail));
        fields.insert(STATE_AGE, HeaderValue::from(self.age.as_secs()));
        fields.insert(header::VARY, HeaderValue::from_static("Accept, Accept-Encoding, Prefer"));
        if let Some(seconds) = self.want.preferred_wait {
            fields.insert(PREFERENCE_APPLIED, want::preference_applied(seconds));
        }
        response
    }
}

/// An answer without a body.
#[must_use]
pub fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// 204 with `Allow`: the answer to `OPTIONS`.
#[must_use]
pub fn options() -> Response<Body> {
    let mut response = empty(StatusCode::NO_CONTENT);
    response.headers_mut().insert(header::ALLOW, ALLOW);
    response
}

/// A problem. `chance` is in 0..1: it spreads `Retry-After`, so that clients that were refused
/// together do not come back together.
#[must_use]
pub fn problem(problem: &Problem, chance: f64) -> Response<Body> {
    let mut response = problem_of(problem.kind.status(), problem.to_json());
    if let Some(seconds) = problem.retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(retry_after(seconds, chance)));
    }
    if problem.kind == problem::Kind::MethodNotAllowed {
        response.headers_mut().insert(header::ALLOW, ALLOW);
    }
    response
}

/// `Retry-After` with jitter: up to twice as many seconds. `chance` is in 0..1.
#[must_use]
pub fn retry_after(seconds: u32, chance: f64) -> u32 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "chance is in 0..1")]
    let jitter = (f64::from(seconds + 1) * chance) as u32;
    seconds + jitter
}

/// An answer whose body is a problem's JSON.
#[must_use]
pub fn problem_of(status: StatusCode, json: Vec<u8>) -> Response<Body> {
    let mut response = empty(status);
    let fields = response.headers_mut();
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(problem::MEDIA_TYPE));
    fields.insert(header::CONTENT_LENGTH, HeaderValue::from(json.len()));
    *response.body_mut() = Body::whole(json);
    response
}
