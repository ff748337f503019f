//! PURE. An item, as the core knows it.

use std::sync::Arc;
use std::time::Instant;

use super::Once;
use super::queue::Place;
use crate::exchange::id::ClaimId;

/// A consumer's request on its way to a worker.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) place: Place,
    /// The urgency that its consumer gave it; that of its place falls with the time.
    pub(super) declared: u8,
    /// How many consumers wait for it.
    pub(super) consumers: u32,
    /// It is kept until then, since a consumer was told to come back.
    pub(super) kept_until: Option<Instant>,
    pub(super) is_async: bool,
    /// Somebody knows its id, and may come for it.
    pub(super) is_known: bool,
    pub(super) once: Option<Once>,
    pub(super) share: Option<Arc<str>>,
    /// Another worker may be given it after one may have begun.
    pub(super) may_repeat: bool,
    /// All of its body can be sent once more.
    pub(super) is_replayable: bool,
    pub(super) submitted: Instant,
    pub(super) expires: Instant,
    /// Attempts that are over and count.
    pub(super) attempts: u32,
    /// How often a worker did not touch its claim.
    pub(super) untouched: u32,
    /// When it is looked at next.
    pub(super) timer: Option<Instant>,
    pub(super) phase: Phase,
}

/// Where it is on its way.
#[derive(Debug)]
pub(super) enum Phase {
    /// In the queue.
    Queued { since: Instant },
    /// A worker has it, and has answered nothing yet.
    Claimed { claim: ClaimId, since: Instant, lease: Lease },
    /// The head of the answer is here.
    Streaming {
        claim: ClaimId,
        since: Instant,
        /// A consumer has had all of it.
        is_served: bool,
    },
    /// It is over, and known until then.
    Ended { until: Instant },
}

/// Until when a worker keeps a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lease {
    /// As long as its connection lives.
    OfConnection,
    /// Until then, unless it touches the claim.
    Untouched(Instant),
    /// Until then, unless it touches the claim again.
    Touched(Instant),
}

impl Item {
    /// Whether its answer is of use to anybody.
    pub(super) fn is_wanted(&self, now: Instant) -> bool {
        self.consumers > 0
            || self.is_async
            || self.once.is_some()
            || self.kept_until.is_some_and(|until| now < until)
            || matches!(self.phase, Phase::Streaming { is_served: true, .. })
    }

    /// The live claim.
    pub(super) fn claim(&self) -> Option<ClaimId> {
        match self.phase {
            Phase::Claimed { claim, .. } | Phase::Streaming { claim, .. } => Some(claim),
            Phase::Queued { .. } | Phase::Ended { .. } => None,
        }
    }
}
