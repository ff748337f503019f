//! PURE. How a client is doing, for people and for metrics.

use std::time::{Duration, Instant};

use super::endpoints::Place;
use super::failure::{Failure, FailureKind};
use crate::protocol::relay::Terms;

/// How a client is doing.
#[derive(Debug, Clone, Default)]
pub struct Status {
    /// The endpoint in use, with the address of its host where that is known.
    pub endpoint: String,
    /// The same, as [`Reporter`](super::Reporter) is told; none: the client has not begun.
    pub(super) place: Option<Place>,
    /// What the client does.
    pub doing: Doing,
    /// Why the last poll brought no state; none: it was answered as it should be.
    pub failure: Option<(Failure, Instant)>,
    /// The newest id of the state that is held: what `since` names.
    pub held: Option<String>,
    /// The id of the newest state that was given and on which there is no verdict yet.
    pub applying: Option<String>,
    /// The id of the state that was rejected, as long as there is no newer one that is held.
    pub rejected: Option<String>,
    /// The id of what the server had when it answered last.
    pub newest: Option<String>,
    /// Since when there is a newer state than the one that is held; none: the server had none when it answered last.
    pub lacking: Option<Instant>,
    /// `State-Age` of the last answer with a state, and when it came.
    pub confirmed: Option<(Duration, Instant)>,
    /// What that answer said to a relay, where the client is one's.
    pub terms: Option<Terms>,
    /// What the last poll named that was answered as it should be.
    pub told: Option<Told>,
    /// The last refusal of credentials (401, 403), by whatever endpoint, since there was an answer as it should be.
    pub denied: Option<Failure>,
    /// Since then, an endpoint has also answered in another way.
    pub is_answered: bool,
    /// What has happened since the start.
    pub counters: Counters,
}

/// What a server knows of this client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The id of the state that is held.
    pub held: Option<String>,
    /// The id of the state that was rejected.
    pub rejected: Option<String>,
}

/// What a client does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Doing {
    /// It connects, or looks up a name.
    #[default]
    Connecting,
    /// Its poll is with the server.
    Polling,
    /// It waits before the next poll.
    Pausing,
    /// It waits for a verdict on the state that it has given, since its server knows no state that is being applied.
    AwaitingVerdict,
}

/// What has happened since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Polls sent, or tried.
    pub polls: u64,
    /// States given.
    pub states: u64,
    /// Those of them that came as a patch.
    pub patches: u64,
    /// Polls that failed, since the patch that came did not lead where it should.
    pub bad_patches: u64,
    /// Answers that brought nothing new: each wait that ends is one.
    pub unchanged: u64,
    /// Polls that failed, of whatever kind.
    pub failures: u64,
    /// Those of them to which no connection came about.
    pub unreachable: u64,
    /// Those whose connection ended or fell silent.
    pub lost: u64,
    /// Those that the server could not serve.
    pub busy: u64,
    /// Those that were answered 401 or 403.
    pub denied: u64,
    /// Those that the server says are wrong.
    pub refused: u64,
    /// Those that were answered that there is no such operation (404, 410).
    pub gone: u64,
    /// Those that brought what cannot be true.
    pub untrue: u64,
    /// Bytes of the bodies of answers, as they came.
    pub bytes: u64,
    /// Older states of the same history that were given: the source was restored.
    pub restored: u64,
    /// Older states that were not given, because the request for them named no state.
    pub behind: u64,
}

impl Counters {
    pub(super) fn failed(&mut self, kind: FailureKind) {
        self.failures += 1;
        let of_kind = match kind {
            FailureKind::Unreachable => &mut self.unreachable,
            FailureKind::Lost => &mut self.lost,
            FailureKind::Busy(_) | FailureKind::Unfit(_) => &mut self.busy,
            FailureKind::Denied => &mut self.denied,
            FailureKind::Refused => &mut self.refused,
            FailureKind::Gone => &mut self.gone,
            FailureKind::Untrue => &mut self.untrue,
            FailureKind::Patch => &mut self.bad_patches,
        };
        *of_kind += 1;
    }
}

impl Status {
    /// A poll is with a server whose last answer was of a state that was confirmed just then: it would send what changes.
    #[must_use]
    pub fn is_live(&self) -> bool {
        let is_fresh = self.confirmed.is_some_and(|(age, _)| age.is_zero());
        is_fresh && self.doing == Doing::Polling && self.failure.is_none()
    }

    /// How old the state of the last answer is at `now`: no older than the answer said while a poll is with the server and
    /// that was live, else so much more as has passed. None: no answer yet.
    #[must_use]
    pub fn age(&self, now: Instant) -> Option<Duration> {
        let (age, at) = self.confirmed?;
        Some(if self.is_live() { age } else { age + now.saturating_duration_since(at) })
    }
}
