//! PURE. An item, as the core knows it.

use std::sync::Arc;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::queue::Place;
use super::{Ended, Once};
use crate::exchange::id::{ClaimId, ReplicaId};

/// A consumer's request on its way to a worker.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) place: Place,
    pub(super) home: Home,
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
    pub(super) again: Again,
    pub(super) submitted: Instant,
    pub(super) expires: Instant,
    /// Attempts that are over and count.
    pub(super) attempts: u32,
    /// How often a worker did not touch its claim.
    pub(super) untouched: u32,
    /// Other replicas know how it has ended.
    pub(super) is_settled: bool,
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
    Claimed {
        claim: ClaimId,
        since: Instant,
        /// The head of the answer has to be here before.
        until: Instant,
        lease: Lease,
    },
    /// The head of the answer is here.
    Streaming {
        claim: ClaimId,
        since: Instant,
        /// A consumer has had all of it.
        is_served: bool,
    },
    /// A worker of another replica has it, or has answered it, and that is still read from there.
    Elsewhere { claim: ClaimId, polls: bool, at: ReplicaId, is_done: bool },
    /// It is over, and known until then; `claim`: with the answer to this claim, which was live here.
    Ended { until: Instant, how: Ended, claim: Option<ClaimId> },
}

/// Which replica says whether an item is of use to anybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Home {
    /// This one.
    Here,
    /// Another one, where its consumer is.
    At(ReplicaId),
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

/// Whether another worker may be given an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Again {
    /// Also after one may have begun.
    Always,
    /// As long as none may have begun.
    UnlessBegun,
    /// No: its body cannot be sent once more.
    Never,
}

/// For how long an answer is of use to anybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Until its item has ended.
    Yes,
    /// Until then, unless a consumer comes.
    Until(Instant),
    /// Not any more.
    No,
}

impl Item {
    /// Whether its answer is of use to anybody.
    pub(super) fn is_wanted(&self, now: Instant) -> bool {
        match self.wanted() {
            Wanted::Yes => true,
            Wanted::Until(until) => now < until,
            Wanted::No => false,
        }
    }

    /// For how long its answer is of use to anybody, if nobody comes or goes.
    pub(super) fn wanted(&self) -> Wanted {
        let is_served = matches!(self.phase, Phase::Streaming { is_served: true, .. });
        if self.home != Home::Here {
            return Wanted::Yes;
        }
        match self.kept_until {
            _ if self.consumers > 0 || self.is_async || self.once.is_some() || is_served => Wanted::Yes,
            Some(until) => Wanted::Until(until),
            None => Wanted::No,
        }
    }

    /// Whether a worker that was lost to it may have begun.
    pub(super) fn may_have_begun(&self) -> bool {
        self.attempts > 0 || self.untouched > 0
    }

    /// The live claim.
    pub(super) fn claim(&self) -> Option<ClaimId> {
        match self.phase {
            Phase::Claimed { claim, .. } | Phase::Streaming { claim, .. } => Some(claim),
            Phase::Queued { .. } | Phase::Elsewhere { .. } | Phase::Ended { .. } => None,
        }
    }
}
