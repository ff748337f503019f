//! Why a request to the API server failed, made from kube's errors: the kind decides what follows, the text is for people.

use std::error::Error as _;
use std::time::Duration;

use kube::client::AuthError;
use kube::core::Status;

use super::target::Target;
use crate::bounds::BACKOFF;

/// A request that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Decides what follows.
    pub kind: FailureKind,
    /// What happened, without the request that it happened to.
    pub message: String,
    /// The pause that the API server asked for.
    pub retry_after: Option<Duration>,
}

/// The kinds of [`Failure`], a closed set for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// 410: the position is older than what the server remembers.
    Expired,
    /// 429: too many requests.
    Throttled,
    /// 401: the caller is not authenticated.
    Unauthorized,
    /// The credentials cannot be read: a token file is missing, or a plugin failed.
    Credentials,
    /// 403: the caller has no right to this.
    Forbidden,
    /// 404: there is no such resource.
    NotFound,
    /// 504 `ResourceVersionTooLarge`: the server has not reached the version that was named. It lags, or its store was
    /// restored from a backup.
    Unreached,
    /// 409: what a write builds on has changed, or what it makes is there already.
    Conflict,
    /// 400 and every other status below 500: the request is not understood.
    Refused,
    /// 500 and above.
    Server,
    /// No connection, or it broke.
    Transport,
    /// No answer in time.
    Timeout,
    /// An answer that cannot be read.
    Malformed,
    /// A watch without event and bookmark for too long.
    Silent,
}

impl FailureKind {
    /// Every kind.
    pub const ALL: [Self; 14] = [
        Self::Expired,
        Self::Throttled,
        Self::Unauthorized,
        Self::Credentials,
        Self::Forbidden,
        Self::NotFound,
        Self::Unreached,
        Self::Conflict,
        Self::Refused,
        Self::Server,
        Self::Transport,
        Self::Timeout,
        Self::Malformed,
        Self::Silent,
    ];

    /// The metric label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Throttled => "throttled",
            Self::Unauthorized => "unauthorized",
            Self::Credentials => "credentials",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not-found",
            Self::Unreached => "unreached",
            Self::Conflict => "conflict",
            Self::Refused => "refused",
            Self::Server => "server",
            Self::Transport => "transport",
            Self::Timeout => "timeout",
            Self::Malformed => "malformed",
            Self::Silent => "silent",
        }
    }

    /// Whether the API server denies access, which is more than being out of reach and needs an operator.
    #[must_use]
    pub fn is_denial(self) -> bool {
        matches!(self, Self::Unauthorized | Self::Credentials | Self::Forbidden)
    }

    /// Whether a watch that failed so is followed by a list: what the position itself may have
    /// caused, and a denial, whose end is reported by showing the objects.
    #[must_use]
    pub fn needs_list(self) -> bool {
        matches!(self, Self::NotFound | Self::Conflict | Self::Refused | Self::Malformed) || self.is_denial()
    }

    fn of(status: &Status) -> Self {
        let mut causes = status.details.iter().flat_map(|details| &details.causes);
        if causes.any(|cause| cause.reason == "ResourceVersionTooLarge") {
            return Self::Unreached;
        }
        match (status.code, status.reason.as_str()) {
            (410, _) | (_, "Expired" | "Gone") => Self::Expired,
            (429, _) => Self::Throttled,
            (401, _) => Self::Unauthorized,
            (403, _) => Self::Forbidden,
            (404, _) => Self::NotFound,
            (409, _) => Self::Conflict,
            // 408: the server gave up on us.
            (1..=407 | 410..=499, _) => Self::Refused,
            (_, _) => Self::Server,
        }
    }
}

impl Failure {
    /// A failure that is known by its kind and one sentence.
    #[must_use]
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), retry_after: None }
    }

    /// From a `Status`, which came as an answer or as the ERROR event of a watch.
    #[must_use]
    pub fn of_status(status: &Status) -> Self {
        let retry_after = status.details.as_ref().map(|details| details.retry_after_seconds).filter(|after| *after > 0);
        Self {
            kind: FailureKind::of(status),
            message: format!("{} ({})", status.message, status.code),
            retry_after: retry_after.map(|seconds| Duration::from_secs(u64::from(seconds))),
        }
    }

    /// The pause before the next attempt: what the API server asked for, but no less than `least`, and no more than the
    /// longest pause: no server can silence a writer for long.
    #[must_use]
    pub fn pause(&self, least: Duration) -> Duration {
        self.retry_after.unwrap_or_default().min(BACKOFF.1).max(least)
    }

    /// The sentence for people: the request, what happened, the remedy.
    #[must_use]
    pub fn sentence(&self, verb: &str, target: &Target) -> String {
        let Self { kind, message, .. } = self;
        let remedy = match kind {
            FailureKind::Unauthorized => {
                "; the API server does not know who asks: check the token of the pod's service account, or the user in the kubeconfig".to_owned()
            }
            FailureKind::Credentials => "; check the credentials of the user in the kubeconfig".to_owned(),
            FailureKind::Forbidden => format!("; {}", target.role(verb)),
            FailureKind::NotFound => {
                format!("; check that the cluster serves {} and that the namespace exists", target.plural())
            }
            FailureKind::Expired
            | FailureKind::Throttled
            | FailureKind::Unreached
            | FailureKind::Conflict
            | FailureKind::Refused
            | FailureKind::Server
            | FailureKind::Transport
            | FailureKind::Timeout
            | FailureKind::Malformed
            | FailureKind::Silent => String::new(),
        };
        format!("cannot {verb} {target}: {message}{remedy}")
    }
}

impl From<kube::Error> for Failure {
    /// What kube made of an answer, or what kept one from being had at all.
    fn from(error: kube::Error) -> Self {
        use kube::Error;
        let kind = match &error {
            Error::Api(status) => return Self::of_status(status),
            Error::Discovery(_) => FailureKind::NotFound,
            Error::BuildRequest(_) | Error::HttpError(_) => FailureKind::Refused,
            Error::SerdeError(_) | Error::FromUtf8(_) | Error::LinesCodecMaxLineLengthExceeded => {
                FailureKind::Malformed
            }
            Error::Auth(_) => FailureKind::Credentials,
            // kube hands its own layers' errors on in boxes.
            Error::Service(cause) if cause.is::<AuthError>() => FailureKind::Credentials,
            Error::HyperError(_)
            | Error::Service(_)
            | Error::ReadEvents(_)
            | Error::ProxyProtocolUnsupported { .. }
            | Error::ProxyProtocolDisabled { .. }
            | Error::RustlsTls(_)
            | Error::TlsRequired
            | Error::InferConfig(_)
            | Error::InferKubeconfig(_) => FailureKind::Transport,
        };
        Self::new(kind, chain(&error))
    }
}

/// An error with its causes: kube's own text leaves out the one that helps ("connection refused").
fn chain(error: &kube::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        // Some texts already end in their cause's.
        if !text.ends_with(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::core::response::{StatusCause, StatusDetails};
    use kube::core::{ApiResource, GroupVersionKind};

    use super::*;
    use crate::sources::kubernetes::Selector;

    fn status(code: u16, reason: &str) -> Status {
        Status::failure("words", reason).with_code(code)
    }

    #[test]
    fn the_status_decides_the_kind() {
        for (code, reason, kind) in [
            (410, "Expired", FailureKind::Expired),
            (410, "", FailureKind::Expired),
            (0, "Expired", FailureKind::Expired),
            (429, "TooManyRequests", FailureKind::Throttled),
            (401, "Unauthorized", FailureKind::Unauthorized),
            (403, "Forbidden", FailureKind::Forbidden),
            (404, "NotFound", FailureKind::NotFound),
            (400, "BadRequest", FailureKind::Refused),
            (409, "Conflict", FailureKind::Conflict),
            (409, "AlreadyExists", FailureKind::Conflict),
            (422, "Invalid", FailureKind::Refused),
            (408, "Timeout", FailureKind::Server),
            (500, "InternalError", FailureKind::Server),
            (503, "ServiceUnavailable", FailureKind::Server),
            (504, "Timeout", FailureKind::Server),
            (0, "", FailureKind::Server),
        ] {
            assert_eq!(Failure::of_status(&status(code, reason)).kind, kind, "of {code} {reason}");
        }
        let labels: std::collections::BTreeSet<_> = FailureKind::ALL.iter().map(|kind| kind.as_str()).collect();
        assert_eq!(labels.len(), FailureKind::ALL.len(), "each kind has its own label");
    }

    #[test]
    fn what_kube_says_keeps_its_kind_and_the_pause_that_was_asked_for() {
        let details = StatusDetails {
            name: String::new(),
            group: String::new(),
            kind: String::new(),
            uid: String::new(),
            causes: Vec::new(),
            retry_after_seconds: 7,
        };
        let refused = |code, reason| kube::Error::Api(status(code, reason).with_details(details.clone()).boxed());
        let unreadable = serde_json::from_str::<u8>("x").expect_err("no number");
        let no_token = || AuthError::ReadTokenFile(std::io::Error::other("gone"), "/t".into());
        for (error, kind, words) in [
            (refused(409, "Conflict"), FailureKind::Conflict, "words (409)"),
            (refused(403, "Forbidden"), FailureKind::Forbidden, "words (403)"),
            (refused(429, "TooManyRequests"), FailureKind::Throttled, "words (429)"),
            (kube::Error::SerdeError(unreadable), FailureKind::Malformed, "expected value"),
            (kube::Error::Auth(no_token()), FailureKind::Credentials, "/t"),
            (kube::Error::Service(Box::new(no_token())), FailureKind::Credentials, "/t"),
            (kube::Error::Service("refused".into()), FailureKind::Transport, "refused"),
        ] {
            let asked = matches!(error, kube::Error::Api(_)).then_some(Duration::from_secs(7));
            let failure = Failure::from(error);
            assert_eq!((failure.kind, failure.retry_after), (kind, asked));
            assert!(failure.message.contains(words), "{}", failure.message);
        }
    }

    #[test]
    fn the_pause_after_a_write_is_as_long_as_asked_for_up_to_the_longest() {
        const SECOND: Duration = Duration::from_secs(1);
        for (asked, pause) in [(None, 2), (Some(1), 2), (Some(7), 7), (Some(86_400), 30)] {
            let failure =
                Failure { retry_after: asked.map(Duration::from_secs), ..Failure::new(FailureKind::Server, "") };
            assert_eq!(failure.pause(2 * SECOND), pause * SECOND, "{asked:?}");
        }
    }

    /// As API server 1.36 says it.
    #[test]
    fn a_version_that_the_server_has_not_reached_has_a_kind_of_its_own() {
        let cause = StatusCause {
            reason: "ResourceVersionTooLarge".to_owned(),
            message: "Too large resource version".to_owned(),
            field: String::new(),
        };
        let details = StatusDetails {
            name: String::new(),
            group: String::new(),
            kind: String::new(),
            uid: String::new(),
            causes: vec![cause],
            retry_after_seconds: 1,
        };
        let failure = Failure::of_status(&status(504, "Timeout").with_details(details));
        assert_eq!((failure.kind, failure.retry_after), (FailureKind::Unreached, Some(Duration::from_secs(1))));
    }

    #[test]
    fn a_denial_names_verb_resource_place_and_remedy() {
        let target = Target {
            resource: ApiResource::erase::<ConfigMap>(&()),
            namespace: Some("apps".to_owned()),
            selector: Selector::Name("model".to_owned()),
        };
        assert_eq!(
            Failure::of_status(&status(403, "Forbidden")).sentence("get", &target),
            "cannot get configmaps \"model\" in namespace \"apps\": words (403); bind a Role in namespace \"apps\" with \
             apiGroups [\"\"], resources [\"configmaps\"], verbs [\"get\", \"list\", \"watch\"], resourceNames [\"model\"] to it"
        );
        let kind = GroupVersionKind::gvk("net.example", "v1", "Zone");
        let target = Target {
            resource: ApiResource::from_gvk_with_plural(&kind, "zones"),
            selector: Selector::Labels("a=b".to_owned()),
            namespace: None,
        };
        let sentence = Failure::of_status(&status(403, "Forbidden")).sentence("watch", &target);
        assert!(sentence.starts_with("cannot watch zones.net.example with labels \"a=b\": words"), "{sentence}");
        assert!(
            sentence.contains("a ClusterRole with apiGroups [\"net.example\"], resources [\"zones\"]"),
            "{sentence}"
        );
        let all = Target { selector: Selector::Labels(String::new()), ..target };
        assert_eq!(all.to_string(), "zones.net.example");
    }
}
