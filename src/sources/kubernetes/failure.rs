//! PURE. Why a request to the API server failed: the kind decides what follows, the text is for people.

use std::error::Error as _;
use std::fmt;
use std::time::Duration;

use kube::core::Status;

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
    /// 401: who asks is not known.
    Unauthorized,
    /// 403: who asks may not.
    Forbidden,
    /// 404: there is no such resource.
    NotFound,
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

/// What is asked of the API server, for messages.
#[derive(Debug, Clone)]
pub struct Target {
    /// The plural, with its group where it has one: `configmaps`.
    pub resource: String,
    /// Its namespace.
    pub namespace: String,
    /// Which of them.
    pub selector: Selector,
}

/// Which objects are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selector {
    /// The one with this name. Asked for by field, which a Role with `resourceNames` allows.
    Name(String),
    /// Those with these labels.
    Labels(String),
}

impl FailureKind {
    /// Every kind.
    pub const ALL: [Self; 11] = [
        Self::Expired,
        Self::Throttled,
        Self::Unauthorized,
        Self::Forbidden,
        Self::NotFound,
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
            Self::Forbidden => "forbidden",
            Self::NotFound => "not-found",
            Self::Refused => "refused",
            Self::Server => "server",
            Self::Transport => "transport",
            Self::Timeout => "timeout",
            Self::Malformed => "malformed",
            Self::Silent => "silent",
        }
    }

    /// Whether the server answered that we may not ask: more than being out of reach, and for people to mend.
    #[must_use]
    pub fn is_denial(self) -> bool {
        matches!(self, Self::Unauthorized | Self::Forbidden)
    }

    /// Whether a watch that failed so is followed by a list: what the position itself may have
    /// caused, and a denial, whose end is told by showing the objects.
    #[must_use]
    pub fn needs_list(self) -> bool {
        matches!(self, Self::NotFound | Self::Refused | Self::Malformed) || self.is_denial()
    }

    fn of(status: &Status) -> Self {
        match (status.code, status.reason.as_str()) {
            (410, _) | (_, "Expired" | "Gone") => Self::Expired,
            (429, _) => Self::Throttled,
            (401, _) => Self::Unauthorized,
            (403, _) => Self::Forbidden,
            (404, _) => Self::NotFound,
            // 408: the server gave up on us.
            (1..=407 | 409..=499, _) => Self::Refused,
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

    /// The sentence for people: the request, what happened, the remedy.
    #[must_use]
    pub fn sentence(&self, verb: &str, target: &Target) -> String {
        let Self { kind, message, .. } = self;
        let remedy = match kind {
            FailureKind::Unauthorized => {
                "; the API server does not know who asks: check the token of the pod's service account, or the user in the kubeconfig".to_owned()
            }
            FailureKind::Forbidden => format!("; {}", target.role()),
            FailureKind::NotFound => {
                format!("; check that the cluster serves {} and that the namespace exists", target.resource)
            }
            FailureKind::Expired
            | FailureKind::Throttled
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
    fn from(error: kube::Error) -> Self {
        if let kube::Error::Api(status) = &error {
            // What kube makes of an event that it cannot read: every JSON object is a Status to it.
            if **status == Status::default() {
                return Self::new(FailureKind::Malformed, "an event cannot be read");
            }
            return Self::of_status(status);
        }
        if matches!(error, kube::Error::SerdeError(_) | kube::Error::FromUtf8(_)) {
            return Self::new(FailureKind::Malformed, format!("the answer cannot be read: {error}"));
        }
        Self::new(FailureKind::Transport, chain(&error))
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

impl Target {
    /// What to write, so that it may be read.
    fn role(&self) -> String {
        let (group, resource) = match self.resource.split_once('.') {
            Some((resource, group)) => (group, resource),
            None => ("", self.resource.as_str()),
        };
        let names = match &self.selector {
            Selector::Name(name) => format!(", resourceNames [{name:?}]"),
            Selector::Labels(_) => String::new(),
        };
        format!(
            "bind a Role in namespace {:?} with apiGroups [{group:?}], resources [{resource:?}], verbs [\"list\", \"watch\"]{names} to it",
            self.namespace
        )
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.resource)?;
        match &self.selector {
            Selector::Name(name) => write!(f, " {name:?}")?,
            Selector::Labels(labels) => write!(f, " with labels {labels:?}")?,
        }
        write!(f, " in namespace {:?}", self.namespace)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn a_denial_names_verb_resource_place_and_remedy() {
        let target = Target {
            resource: "configmaps".to_owned(),
            namespace: "apps".to_owned(),
            selector: Selector::Name("model".to_owned()),
        };
        assert_eq!(
            Failure::of_status(&status(403, "Forbidden")).sentence("list", &target),
            "cannot list configmaps \"model\" in namespace \"apps\": words (403); bind a Role in namespace \"apps\" with \
             apiGroups [\"\"], resources [\"configmaps\"], verbs [\"list\", \"watch\"], resourceNames [\"model\"] to it"
        );
        let target =
            Target { resource: "zones.net.example".to_owned(), selector: Selector::Labels("a=b".to_owned()), ..target };
        let sentence = Failure::of_status(&status(403, "Forbidden")).sentence("watch", &target);
        assert!(sentence.starts_with("cannot watch zones.net.example with labels \"a=b\" in namespace"), "{sentence}");
        assert!(sentence.contains("apiGroups [\"net.example\"], resources [\"zones\"]"), "{sentence}");
    }
}
