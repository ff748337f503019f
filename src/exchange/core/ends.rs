//! PURE. How items end, and what is told of those that have not.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::claims::Cause;
use super::item::{Item, Phase};
use super::{Core, Effect, Failed, Key, Lost};
use crate::exchange::id::ItemId;

/// How an item ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Ended {
    /// A worker's answer is complete.
    Done,
    /// It has no answer, or a part of one.
    Failed(Failure),
}

/// Why an item has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Failure {
    /// No worker took it in time: nothing was done.
    NotClaimed,
    /// There is no worker: nothing was done.
    NoWorker,
    /// A worker took it, and its answer did not come in time.
    TooSlow,
    /// Its worker is gone, which may have begun.
    Broke,
    /// What its worker answered is not HTTP.
    Malformed,
    /// Its worker is gone within the answer.
    Cut,
    /// A consumer has deleted it.
    Deleted,
    /// Nobody waits for it any more.
    Abandoned,
    /// Its consumer broke off the body.
    BodyBroke,
    /// Its exchange is no more, and no worker took it: nothing was done.
    Removed,
    /// A worker has it, and there is no more time for an answer, since the exchange or the process ends.
    GraceOver,
}

impl Failure {
    /// How metrics call the end of such an item.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotClaimed | Self::NoWorker | Self::Removed => "expired",
            Self::TooSlow | Self::Broke | Self::Malformed | Self::Cut | Self::GraceOver => "failed",
            Self::Deleted | Self::Abandoned | Self::BodyBroke => "cancelled",
        }
    }
}

/// Why an item has failed, in words for operators; `lost`: how its worker was.
#[must_use]
pub fn reason(failure: Failure, lost: Option<Lost>) -> &'static str {
    match (failure, lost) {
        (Failure::NotClaimed, _) => "no worker took it in time (queue.age, queue.asyncAge)",
        (Failure::NoWorker, _) => "no worker was there for long (noWorker.after)",
        (Failure::TooSlow, _) => "its answer did not begin in time (deadline)",
        (Failure::Malformed, _) => "what its worker answered is not HTTP",
        (Failure::Cut, _) => "its worker broke off within the answer",
        (Failure::Deleted, _) => "its consumer has deleted it",
        (Failure::Abandoned, _) => "nobody waits for it any more",
        (Failure::BodyBroke, _) => "its consumer broke off the body",
        (Failure::Broke, Some(Lost::Untouched)) => "its worker did not touch the claim in time (lease.first)",
        (Failure::Broke, Some(Lost::LeaseOver)) => "its worker did not touch the claim again in time (lease.length)",
        (Failure::Broke, Some(Lost::Unwritten | Lost::GivenBack)) => {
            "its worker did not take it, and its body cannot be sent again (body.replay)"
        }
        (Failure::Broke, Some(_)) => "the connection of its worker ended before the answer",
        (Failure::Broke, None) => "its worker is gone, and no other took it in time (queue.age, noWorker.after)",
        (Failure::Removed, _) => "its exchange was removed",
        (Failure::GraceOver, _) => "its worker did not answer within the grace period (--grace)",
    }
}

/// An item that failed after all attempts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dead {
    /// The item.
    pub item: ItemId,
    /// The key in its path.
    pub key: Option<Key>,
    /// How often a worker may have begun it.
    pub attempts: u32,
    /// How its last worker was lost.
    pub lost: Lost,
    /// When it failed.
    pub at: Instant,
}

/// What is told of an item that has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pending {
    /// `queued`, `claimed` or `streaming`.
    pub state: &'static str,
    /// Its position in the queue, from 1; 0: it is not queued.
    pub position: usize,
    /// Whole seconds after which it is likely to be done.
    pub retry_after: u32,
}

impl Core {
    /// What is told of an item; none: it has ended, or nothing is known of it.
    #[must_use]
    pub fn pending(&self, id: ItemId) -> Option<Pending> {
        let item = self.items.get(&id)?;
        let (state, position) = match item.phase {
            Phase::Queued { .. } => ("queued", self.queue.position(&item.place)),
            Phase::Claimed { .. } | Phase::Elsewhere { .. } => ("claimed", 0),
            Phase::Streaming { .. } => ("streaming", 0),
            Phase::Ended { .. } => return None,
        };
        Some(Pending { state, position, retry_after: self.estimate.retry_after(position, self.slots()) })
    }

    /// The same, for a consumer that is about to be told where to come back: from now on somebody knows the item.
    pub fn tell(&mut self, id: ItemId) -> Option<Pending> {
        let pending = self.pending(id)?;
        if let Some(item) = self.items.get_mut(&id) {
            item.is_known = true;
            self.to_be_shared(id);
        }
        Some(pending)
    }

    /// Whether a worker has this item, and nobody else may be given it now.
    #[must_use]
    pub fn is_claimed(&self, id: ItemId) -> bool {
        let is_elsewhere = |item: &Item| matches!(item.phase, Phase::Elsewhere { .. });
        self.items.get(&id).is_some_and(|item| item.claim().is_some() || is_elsewhere(item))
    }

    /// Whether a worker may have begun an item that no worker has now.
    #[must_use]
    pub fn may_have_begun(&self, id: ItemId) -> bool {
        self.items.get(&id).is_some_and(|item| item.may_have_begun())
    }

    /// Ends an item, if it has not ended. A live claim on it is cancelled.
    pub(super) fn end(&mut self, now: Instant, id: ItemId, how: Ended) {
        self.end_with(now, id, how, None, false);
    }

    /// The same; `lost`: how a worker was lost to it, with which it ends, `is_dead`: after all attempts.
    pub(super) fn end_with(&mut self, now: Instant, id: ItemId, how: Ended, lost: Option<Lost>, is_dead: bool) {
        let Some(item) = self.items.get_mut(&id) else { return };
        let claim = item.claim();
        let mut answered = None;
        match item.phase {
            Phase::Ended { .. } => return,
            Phase::Queued { .. } => self.queue.remove(&item.place),
            Phase::Elsewhere { claim, .. } => {
                super::shared::leave(&mut self.elsewhere, claim, id);
                answered = (how == Ended::Done).then_some(claim);
            }
            Phase::Claimed { .. } | Phase::Streaming { .. } => {}
        }
        item.phase = Phase::Ended { until: now + self.rules.keep, how, claim: None };
        if let Some(claim) = answered {
            // A worker may ask here whether its answer was taken.
            self.remember_completed(claim);
        }
        let Some(item) = self.items.get_mut(&id) else { return };
        let (is_known, mut attempts) = (item.is_known, item.attempts);
        // Nothing was done: who sends the request again, with the same key, is to have it done.
        if matches!(how, Ended::Failed(Failure::NotClaimed | Failure::NoWorker | Failure::Removed))
            && let Some(once) = item.once.take()
        {
            self.once.remove(&(Arc::clone(&item.place.client), once.key));
        }
        self.release_share(id);
        if let Some(claim) = claim
            && self.unclaim(now, claim, Some(Cause::of(how))).is_some()
        {
            attempts += 1;
            self.effects.push(Effect::Cancel(claim));
        }
        if let Ended::Failed(failure) = how {
            self.effects.push(Effect::End(Failed {
                item: id,
                failure,
                lost,
                attempts,
                claim,
                is_dead,
                is_told: false,
            }));
        }
        // What replicas share is known until the others know that it has ended.
        if is_known || self.replica.is_some() {
            self.remember(id);
            self.schedule(id);
        } else {
            self.forget(id);
        }
    }

    /// Ends all shared items with this key that have no answer yet, since the answer is here: those items, each as `shown` and
    /// with how many consumers wait for it.
    pub fn complete_shared<T>(
        &mut self,
        now: Instant,
        key: Option<&Key>,
        shown: impl Fn(ItemId) -> Option<T>,
    ) -> Vec<(T, u32)> {
        let of_key = self.unanswered.get(&key.cloned());
        let found: Vec<_> = of_key.into_iter().flat_map(BTreeMap::values).copied().collect();
        let mut ended = Vec::with_capacity(found.len());
        for id in found {
            let consumers = self.items.get(&id).map_or(0, |item| item.consumers);
            ended.extend(shown(id).map(|shown| (shown, consumers)));
            self.end(now, id, Ended::Done);
        }
        ended
    }

    /// How many ended items are known.
    #[must_use]
    pub fn kept(&self) -> usize {
        if self.replica.is_some() {
            return self.items.values().filter(|item| matches!(item.phase, Phase::Ended { .. })).count();
        }
        self.items.len() - self.queue.len() - self.claims.len()
    }
}
