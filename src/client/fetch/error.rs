//! PURE. Why a fetch has no answer.

use crate::client::InvalidSetting;

/// Why a fetch has no answer, or not all of one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// Nothing was asked: the request cannot be made.
    #[error(transparent)]
    Invalid(#[from] InvalidSetting),
    /// No connection came about, or none that could be used: nothing was asked of whom it names.
    #[error("{0}")]
    Unreachable(String),
    /// The connection ended after the request was written, and it may not be sent twice: the work may have begun.
    #[error("{0}")]
    MayHaveBegun(String),
    /// What came is no answer of HTTP/1.1.
    #[error("{0}")]
    Malformed(String),
    /// The answer leads where a fetch does not go.
    #[error("{0}")]
    Location(String),
    /// The answers lead on and on, and none asks to wait.
    #[error("{0}")]
    Redirects(String),
    /// The time is over, or would be before what was asked for.
    #[error("{0}")]
    Deadline(String),
    /// The body of the last answer broke off.
    #[error("{0}")]
    BrokenOff(String),
    /// The body is longer than what its user takes.
    #[error("{0}")]
    TooLarge(String),
}
