//! Why a request got no answer from the app: for the client, for the log and for metrics, apart.

use std::error::Error;
use std::time::Duration;

use h2::Reason;
use http::StatusCode;
use http::uri::Authority;

use super::body::BodyError;
use super::http1;
use super::http2::{self, NoConnection};
use super::metrics::ProxyOutcome;
use crate::bounds::{UPSTREAM_BUFFER, UPSTREAM_FIELDS};
use crate::config::Protocol;

type Cause = Box<dyn Error + Send + Sync>;

/// Why a request got no answer from the app. The text is for the log; what the client reads is
/// [`title`](Self::title) and [`detail`](Self::detail). The cause is in `source()` only.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// No connection: refused, not in time, or no such name. Nothing was sent. 502.
    #[error("cannot connect to the app at {app}")]
    Unreachable {
        /// Host and port.
        app: Authority,
        /// The error of the connector.
        source: Cause,
    },
    /// The request was sent and no head of an answer came in time. 504.
    #[error("the app at {app} began no answer within {waited:?}")]
    Timeout {
        /// Host and port.
        app: Authority,
        /// The limit.
        waited: Duration,
    },
    /// The app stopped reading the request's body. 504.
    #[error("the app at {app} read nothing of the request's body for {waited:?}")]
    Stalled {
        /// Host and port.
        app: Authority,
        /// The limit.
        waited: Duration,
    },
    /// The app closed or broke the connection before a head, or what it sent is not one. 502.
    #[error("the app at {app} broke off before its answer")]
    Broken {
        /// Host and port.
        app: Authority,
        /// The error of hyper.
        source: Cause,
    },
    /// The app sent something, and it is no answer. 502.
    #[error("the app at {app} sent no answer of HTTP: {fault}")]
    Malformed {
        /// Host and port.
        app: Authority,
        /// What is wrong with it, and what helps.
        fault: String,
        /// The error of hyper or h2.
        source: Cause,
    },
    /// The app speaks another version of HTTP than the configured one. 502.
    #[error("the app at {app} speaks another version of HTTP than --upstream-protocol says")]
    OtherProtocol {
        /// Host and port.
        app: Authority,
        /// The configured version.
        expected: Protocol,
        /// The error of hyper or h2.
        source: Cause,
    },
    /// The app reset the stream of the request. 502, or the same code to a client of HTTP/2.
    #[error("the app at {app} reset the request: {reason}")]
    Reset {
        /// Host and port.
        app: Authority,
        /// Its code.
        reason: Reason,
    },
    /// The client's body broke off or is not framed as it should be. 400.
    #[error("the body of the client's request broke off")]
    ClientBody {
        /// The error of hyper's client, caused by a [`BodyError`].
        source: Cause,
    },
    /// The client's body did not come in time. 408.
    #[error("the client sent nothing of its request's body for {waited:?}")]
    ClientIdle {
        /// The limit.
        waited: Duration,
    },
}

impl ProxyError {
    /// What it means that an exchange of HTTP/1.1 has ended before its head.
    pub(super) fn of_exchange(app: &Authority, failed: http1::Failed) -> Self {
        let app = app.clone();
        let (source, speaks_http2) = match failed {
            http1::Failed::Unreachable(error) => return Self::Unreachable { app, source: error.into() },
            http1::Failed::Broken { source, speaks_http2, .. } => (source, speaks_http2),
        };
        match cause::<BodyError>(&source) {
            Some(&BodyError::Idle(waited)) => Self::ClientIdle { waited },
            Some(BodyError::Broken(_) | BodyError::Reset(_) | BodyError::GivenUp(_)) => {
                Self::ClientBody { source: source.into() }
            }
            None if speaks_http2 => Self::OtherProtocol { app, expected: Protocol::Http1, source: source.into() },
            None => match fault(&source) {
                Some(fault) => Self::Malformed { app, fault, source: source.into() },
                None => Self::Broken { app, source: source.into() },
            },
        }
    }

    /// What it means that a stream of HTTP/2 has ended before its head.
    pub(super) fn of_stream(app: &Authority, failed: http2::Failed) -> Self {
        let app = app.clone();
        match failed {
            http2::Failed::Upload(BodyError::Idle(waited)) => Self::ClientIdle { waited },
            http2::Failed::Upload(error) => Self::ClientBody { source: error.into() },
            http2::Failed::Stream(error) => match http2::reset(&error) {
                Some(reason) => Self::Reset { app, reason },
                None if error.is_library() => Self::Malformed { app, fault: error.to_string(), source: error.into() },
                None => Self::Broken { app, source: error.into() },
            },
        }
    }

    /// What it means that no connection of HTTP/2 could be made.
    pub(super) fn no_connection(app: &Authority, error: NoConnection) -> Self {
        let app = app.clone();
        match error {
            NoConnection::Unreachable(_) => Self::Unreachable { app, source: error.into() },
            NoConnection::NoHttp2 { http1: true, .. } => {
                Self::OtherProtocol { app, expected: Protocol::Http2, source: error.into() }
            }
            NoConnection::NoHttp2 { .. } => {
                let fault = "it speaks no HTTP/2, as --upstream-protocol (upstream.protocol) says: \
                             if it speaks HTTP/1.1, set that to http1";
                let fault = fault.to_owned();
                Self::Malformed { app, fault, source: error.into() }
            }
        }
    }

    /// The error for a body with transfer codings that are not removed here.
    pub(super) fn coded(app: &Authority, codings: &str) -> Self {
        let fault =
            format!("its Transfer-Encoding is {codings:?}: send chunked alone, and Content-Encoding for the rest");
        Self::Malformed { app: app.clone(), fault, source: "a coding that is not read".into() }
    }

    /// The code with which the app has reset the request; a client of HTTP/2 is given the same.
    #[must_use]
    pub fn reset(&self) -> Option<Reason> {
        if let Self::Reset { reason, .. } = self { Some(*reason) } else { None }
    }

    /// The status of the answer to the client.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Unreachable { .. }
            | Self::Broken { .. }
            | Self::Malformed { .. }
            | Self::OtherProtocol { .. }
            | Self::Reset { .. } => StatusCode::BAD_GATEWAY,
            Self::Timeout { .. } | Self::Stalled { .. } => StatusCode::GATEWAY_TIMEOUT,
            Self::ClientBody { .. } => StatusCode::BAD_REQUEST,
            Self::ClientIdle { .. } => StatusCode::REQUEST_TIMEOUT,
        }
    }

    /// Names the kind of problem (RFC 9457, `type`): stable, kebab-case.
    #[must_use]
    pub fn slug(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "app-unreachable",
            Self::Timeout { .. } => "app-timeout",
            Self::Stalled { .. } => "app-stalled",
            Self::Broken { .. } => "app-broke-off",
            Self::Malformed { .. } => "app-answer-malformed",
            Self::OtherProtocol { .. } => "app-speaks-another-protocol",
            Self::Reset { .. } => "app-reset",
            Self::ClientBody { .. } => "request-body-broken",
            Self::ClientIdle { .. } => "request-body-timeout",
        }
    }

    /// The kind of problem for people (RFC 9457, `title`): the same for all of a kind.
    #[must_use]
    pub fn title(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "The app cannot be reached",
            Self::Timeout { .. } => "The app did not answer in time",
            Self::Stalled { .. } => "The app stopped reading the request",
            Self::Broken { .. } => "The app broke off before its answer",
            Self::Malformed { .. } => "The app's answer is malformed",
            Self::OtherProtocol { .. } => "The app speaks another version of HTTP",
            Self::Reset { .. } => "The app reset the request",
            Self::ClientBody { .. } => "The request's body broke off",
            Self::ClientIdle { .. } => "The request's body did not come in time",
        }
    }

    /// What happened this time and where to look (RFC 9457, `detail`); nothing of the cause.
    #[must_use]
    pub fn detail(&self) -> String {
        match self {
            Self::Unreachable { app, .. } => {
                format!("No connection to the app at {app}: check that it runs and listens there.")
            }
            Self::Timeout { app, waited } => format!(
                "The app at {app} got the request and began no answer within {} s: check whether it hangs or is overloaded.",
                waited.as_secs_f64()
            ),
            Self::Stalled { app, waited } => format!(
                "The app at {app} read nothing of the request's body for {} s: check whether it hangs.",
                waited.as_secs_f64()
            ),
            Self::Broken { app, .. } => format!(
                "The app at {app} closed the connection before its answer: check its log for a crash or a restart."
            ),
            Self::Malformed { app, fault, .. } => format!("What the app at {app} answered cannot be read: {fault}."),
            Self::OtherProtocol { app, expected, .. } => format!(
                "The app at {app} does not speak {}: set --upstream-protocol (upstream.protocol) to {}.",
                spoken(*expected),
                other(*expected)
            ),
            Self::Reset { app, reason, .. } => format!("The app at {app} reset the request: {reason}."),
            Self::ClientBody { .. } => "The request's body ended early or is not framed as HTTP demands.".to_owned(),
            Self::ClientIdle { waited } => {
                format!("Nothing of the request's body came for {} s.", waited.as_secs_f64())
            }
        }
    }

    /// Whether it is the client that broke off.
    #[must_use]
    pub fn is_of_client(&self) -> bool {
        self.outcome() == ProxyOutcome::ClientBroke
    }

    pub(super) fn outcome(&self) -> ProxyOutcome {
        match self {
            Self::Unreachable { .. } => ProxyOutcome::Unreachable,
            Self::Timeout { .. } | Self::Stalled { .. } => ProxyOutcome::Timeout,
            Self::Broken { .. } | Self::Malformed { .. } | Self::OtherProtocol { .. } | Self::Reset { .. } => {
                ProxyOutcome::Broken
            }
            Self::ClientBody { .. } | Self::ClientIdle { .. } => ProxyOutcome::ClientBroke,
        }
    }
}

fn spoken(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Http1 => "HTTP/1.1, but HTTP/2",
        Protocol::Http2 => "HTTP/2, but HTTP/1.1",
    }
}

/// The value of `--upstream-protocol` that is not the one for `protocol`.
fn other(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Http1 => "h2c",
        Protocol::Http2 => "http1",
    }
}

/// What is wrong with the head of an answer, as far as hyper reports it; none if there was no head.
fn fault(error: &hyper::Error) -> Option<String> {
    if error.is_parse_too_large() {
        let text = format!("its head has over {UPSTREAM_FIELDS} fields or {UPSTREAM_BUFFER} bytes: make it smaller");
        return Some(text);
    }
    if error.is_parse_status() {
        return Some("its status line has no status from 100 to 999, or a reason with control characters".to_owned());
    }
    error.is_parse().then(|| format!("{error}"))
}

/// The first of its causes that is an `E`: a [`BodyError`] where it was the client's body that failed.
fn cause<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}
