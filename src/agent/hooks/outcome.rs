//! PURE. What the end of a command means.

use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::time::Duration;

/// `EX_TEMPFAIL` of sysexits.h.
const TRY_AGAIN: i32 = 75;

/// How a command ended. Texts are one line that is safe to print, at most as long as a `Rejected-Reason`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It succeeded.
    Done,
    /// It asks for another attempt.
    TryAgain(String),
    /// It ran for too long, and was killed.
    TimedOut(String),
    /// It could not be started.
    NotStarted(String),
    /// It says no.
    Rejected(String),
    /// The agent had to end before it did.
    Stopped,
}

impl Outcome {
    pub(super) fn of(status: Option<ExitStatus>, said: Option<String>) -> Self {
        let Some(status) = status else { return Self::TryAgain("how it ended is not known".to_owned()) };
        match (status.code(), status.signal()) {
            (Some(0), _) => Self::Done,
            (Some(TRY_AGAIN), _) => Self::TryAgain(said.unwrap_or_else(|| "it ended with code 75".to_owned())),
            (Some(code), _) => Self::Rejected(
                said.unwrap_or_else(|| format!("it ended with code {code}, and nothing on standard error")),
            ),
            (None, signal) => {
                let ended = format!("it was ended by signal {}", signal.unwrap_or_default());
                Self::Rejected(said.map_or_else(|| ended.clone(), |said| cut(format!("{ended}: {said}"))))
            }
        }
    }

    pub(super) fn timed_out(after: Duration, said: Option<String>) -> Self {
        let ended = format!("it was killed after {after:?}");
        Self::TimedOut(said.map_or_else(|| ended.clone(), |said| cut(format!("{ended}: {said}"))))
    }

    /// In a word, for metrics.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::TryAgain(_) => "try-again",
            Self::TimedOut(_) => "timed-out",
            Self::NotStarted(_) => "not-started",
            Self::Rejected(_) => "rejected",
            Self::Stopped => "stopped",
        }
    }

    /// What it comes to when so many attempts for the state ran out of time or could not be started, this one among them:
    /// once they are as many as there may be (`--exec-attempts`), the state is rejected, and until then it is tried again.
    #[must_use]
    pub fn after(self, attempts: u32, most: u32) -> Self {
        match self {
            Self::TimedOut(why) | Self::NotStarted(why) if attempts >= most => Self::Rejected(why),
            Self::TimedOut(why) | Self::NotStarted(why) => Self::TryAgain(why),
            Self::Done | Self::TryAgain(_) | Self::Rejected(_) | Self::Stopped => self,
        }
    }
}

/// A text of at most as many characters as a reason may have.
pub(super) fn cut(text: String) -> String {
    match text.char_indices().nth(crate::bounds::REJECTED_REASON_CHARACTERS) {
        Some((end, _)) => text.get(..end).unwrap_or_default().to_owned(),
        None => text,
    }
}
