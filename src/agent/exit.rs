//! PURE. How an agent ends, and its exit codes.

use crate::client::Status;

/// How an agent ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// As asked; with `--once` the newest state is applied.
    Stopped,
    /// It could not go on.
    Failed,
    /// The newest state is rejected, the last good one is kept.
    Rejected,
    /// No server before the deadline; the last good state is out.
    Stale,
    /// No server, and nothing to put out.
    Nothing,
    /// Refused by the server: 401 or 403.
    Denied,
}

impl Exit {
    /// No state has come before the deadline, and something is held, or not.
    #[must_use]
    pub(super) fn without_answer(status: &Status, is_held: bool) -> Self {
        let is_denied = status.denied.is_some() && !status.is_answered;
        match (is_denied, is_held) {
            (true, _) => Self::Denied,
            (false, true) => Self::Stale,
            (false, false) => Self::Nothing,
        }
    }

    /// The exit code.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Stopped => 0,
            Self::Failed => 1,
            Self::Rejected => 3,
            Self::Stale => 4,
            Self::Nothing => 5,
            Self::Denied => 6,
        }
    }
}
