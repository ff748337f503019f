//! PURE. One poll, and what became of it.

use std::time::Duration;

use super::endpoints::Place;
use super::failure::Failure;
use super::holdings::Rejected;
use super::state::State;
use crate::protocol::relay::Terms;

/// A poll.
#[derive(Debug, Clone)]
pub(super) struct Poll {
    pub(super) place: Place,
    /// The state that is held: what patches begin at.
    pub(super) since: Option<State>,
    pub(super) rejected: Option<Rejected>,
    pub(super) applying: Option<String>,
    /// Whether a patch would do.
    pub(super) takes_patches: bool,
    /// A question for somebody else, which is answered at once; none: it is the user's own poll.
    pub(super) confirms: Option<Confirms>,
}

/// What a poll that is answered at once is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Confirms {
    /// A state that a client of the user has, which may be newer than what the user has.
    Held(String),
    /// Whatever the server has.
    Whole,
}

/// What became of a poll.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) outcome: Outcome,
    /// The connection can be used again.
    pub(super) keeps: bool,
    /// `Reconnect-Within` of the answer.
    pub(super) within: Option<Duration>,
    /// What it said to a relay.
    pub(super) terms: Option<Terms>,
    /// Bytes of its body.
    pub(super) bytes: u64,
}

#[derive(Debug)]
pub(super) enum Outcome {
    /// A verified state.
    State(Box<State>),
    /// The server's state is still this one.
    Same {
        id: String,
        age: Duration,
    },
    Failed(Failure),
}
