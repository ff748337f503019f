//! PURE. Why a poll brought no state: what the client does about it, and what people are told.

use std::time::Duration;

use crate::bounds::CLIENT_TEXT;
use crate::escape::escape;
use crate::protocol::relay::Unfit;

/// A poll that brought no state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What the client does about it.
    pub kind: FailureKind,
    /// The endpoint, the cause and the remedy, on one line.
    pub text: String,
}

/// What a client does about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// No connection came about: another attempt after a pause.
    Unreachable,
    /// The connection ended or fell silent: another attempt after a pause, which is a part of `Reconnect-Within` where the
    /// server has said one.
    Lost,
    /// The server cannot serve now: another attempt after the time that it asks for, if it does.
    Busy(Option<Duration>),
    /// 401 or 403: one more attempt at once with the credential as it is in its file now, then each 30 to 300 s.
    Denied,
    /// The request is wrong: another attempt each 30 to 300 s.
    Refused,
    /// There is no such operation (404, 410): what is held stays, and there is another attempt after 30 to 300 s.
    Gone,
    /// What came cannot be true: the endpoint is left alone for ten minutes.
    Untrue,
    /// A patch did not lead where it should: one poll without `since`.
    Patch,
    /// A relay may not take the state: another attempt after a pause, as where no connection came about.
    Unfit(Unfit),
}

impl Failure {
    pub(super) fn new(kind: FailureKind, text: &str) -> Self {
        let safe = escape(text);
        let text = match safe.char_indices().nth(CLIENT_TEXT) {
            Some((end, _)) => format!("{}...", &safe[..end]),
            None => safe.into_owned(),
        };
        Self { kind, text }
    }

    /// The same, with the name of the endpoint.
    pub(super) fn of(&self, endpoint: &str) -> Self {
        Self { kind: self.kind, text: format!("{endpoint}: {}", self.text) }
    }

    pub(super) fn untrue(text: &str) -> Self {
        Self::new(FailureKind::Untrue, text)
    }
}
