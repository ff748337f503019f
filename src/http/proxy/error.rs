//! Why a request got no answer from the app: for the client, for the log and for metrics, apart.

use std::error::Error;
use std::time::Duration;

use http::StatusCode;
use http::uri::Authority;
use hyper_util::client::legacy;

use super::body::BodyError;
use super::metrics::Outcome;

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
        /// What the connector said.
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
        /// What hyper said.
        source: Cause,
    },
    /// The client's body broke off or is not framed as it should be. 400.
    #[error("the body of the client's request broke off")]
    ClientBody {
        /// What hyper's client said, caused by a [`BodyError`].
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
    /// What an error of hyper's client means.
    pub(super) fn of(app: &Authority, error: legacy::Error) -> Self {
        let app = app.clone();
        if error.is_connect() {
            return Self::Unreachable { app, source: error.into() };
        }
        match cause_in_body(&error) {
            Some(&BodyError::Idle(waited)) => Self::ClientIdle { waited },
            Some(BodyError::Broken(_)) => Self::ClientBody { source: error.into() },
            None => Self::Broken { app, source: error.into() },
        }
    }

    /// The status of the answer to the client.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Unreachable { .. } | Self::Broken { .. } => StatusCode::BAD_GATEWAY,
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
                "The app at {app} closed the connection or sent something that is no HTTP answer: check its log for a crash or a restart."
            ),
            Self::ClientBody { .. } => "The request's body ended early or is not framed as HTTP demands.".to_owned(),
            Self::ClientIdle { waited } => {
                format!("Nothing of the request's body came for {} s.", waited.as_secs_f64())
            }
        }
    }

    pub(super) fn outcome(&self) -> Outcome {
        match self {
            Self::Unreachable { .. } => Outcome::Unreachable,
            Self::Timeout { .. } | Self::Stalled { .. } => Outcome::Timeout,
            Self::Broken { .. } => Outcome::Broken,
            Self::ClientBody { .. } | Self::ClientIdle { .. } => Outcome::ClientBroke,
        }
    }
}

/// Whether it was the client's body that failed.
fn cause_in_body<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a BodyError> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}
