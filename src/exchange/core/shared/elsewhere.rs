//! PURE. Items whose worker or whose consumer is at another replica, and replicas that are gone.

use std::time::Instant;

use super::leave;
use crate::bounds::EXCHANGE_GRACE;
use crate::exchange::core::claims::Claim;
use crate::exchange::core::item::{Home, Item, Lease, Phase};
use crate::exchange::core::{Core, Ended, Failure, Lost};
use crate::exchange::id::{ClaimId, ItemId, ReplicaId};

impl Core {
    /// A claim counts for all replicas.
    pub fn confirm(&mut self, claim: ClaimId) {
        if let Some(live) = self.claims.get_mut(&claim) {
            live.is_confirmed = true;
        }
    }

    /// Whether the worker of a claim may have it.
    #[must_use]
    pub fn is_confirmed(&self, claim: ClaimId) -> bool {
        self.claims.get(&claim).is_some_and(|live| live.is_confirmed)
    }

    /// A worker that polls comes here with a claim that is live at another replica: its item; none: there is no such claim.
    pub fn move_here(&mut self, now: Instant, claim: ClaimId) -> Option<ItemId> {
        let id = *self.elsewhere.get(&claim)?;
        let item = self.items.get_mut(&id)?;
        if !matches!(item.phase, Phase::Elsewhere { polls: true, is_done: false, .. }) {
            return None;
        }
        leave(&mut self.elsewhere, claim, id);
        let lease = Lease::Touched(now + self.rules.lease);
        item.phase = Phase::Claimed { claim, since: now, until: now + self.rules.deadline, lease };
        let key = item.place.key.clone();
        self.claims
            .insert(claim, Claim { item: id, polls: true, seat: None, key, is_offered: false, is_confirmed: false });
        self.schedule(id);
        Some(id)
    }

    /// A consumer has come here for an item of another replica.
    pub fn come_here(&mut self, id: ItemId) {
        // What is kept anyway needs no home where its consumer is.
        if self.items.get(&id).is_some_and(|item| !item.is_async && item.once.is_none() && !item.is_ended()) {
            self.move_to(id, Home::Here);
            self.schedule(id);
        }
    }

    pub(super) fn move_to(&mut self, id: ItemId, home: Home) {
        let Some(item) = self.items.get_mut(&id) else { return };
        if item.home == home {
            return;
        }
        item.home = home;
        let before = item.place.clone();
        item.place.is_foreign = home != Home::Here;
        if matches!(item.phase, Phase::Queued { .. }) {
            let after = item.place.clone();
            self.queue.remove(&before);
            self.queue.push(&after, id);
        }
    }

    /// A replica is gone. What its workers had is lost, and what its consumers waited for is of use to those who may come
    /// back. `is_gone`: whether that is so of a replica.
    pub fn replica_gone(&mut self, now: Instant, gone: ReplicaId, is_gone: impl Fn(ReplicaId) -> bool) {
        let of_home: Vec<_> = self.ids_where(|item| item.home == Home::At(gone) && !item.is_ended());
        for id in of_home {
            self.move_to(id, Home::Here);
            if let Some(item) = self.items.get_mut(&id) {
                item.kept_until = item.is_known.then(|| now + EXCHANGE_GRACE);
            }
            self.schedule(id);
        }
        let of_workers = self.ids_where(|item| {
            let decides = match item.home {
                Home::Here => true,
                Home::At(home) => is_gone(home),
            };
            decides && matches!(item.phase, Phase::Elsewhere { at, .. } if at == gone)
        });
        for id in of_workers {
            self.worker_gone(now, id);
        }
        let unwanted = self.ids_where(|item| !item.is_ended() && !item.is_wanted(now));
        for id in unwanted {
            self.end(now, id, Ended::Failed(Failure::Abandoned));
        }
    }

    fn ids_where(&self, is: impl Fn(&Item) -> bool) -> Vec<ItemId> {
        let mut found: Vec<_> = self.items.iter().filter(|(_, item)| is(item)).collect();
        found.sort_unstable_by_key(|(_, item)| item.place.sequence);
        found.into_iter().map(|(id, _)| *id).collect()
    }

    /// The replica of a worker is gone: one that polls may come here with its claim, of any other its request is lost.
    pub(super) fn worker_gone(&mut self, now: Instant, id: ItemId) {
        let Some(item) = self.items.get_mut(&id) else { return };
        let Phase::Elsewhere { claim, polls, is_done, .. } = item.phase else { return };
        if is_done {
            // It is not done again. The answer of one that is known may be stored.
            if !item.is_known {
                self.end(now, id, Ended::Failed(Failure::Broke));
            }
            return;
        }
        leave(&mut self.elsewhere, claim, id);
        let until = now + self.rules.deadline;
        let lease = if polls { Lease::Touched(now + self.rules.lease) } else { Lease::OfConnection };
        item.phase = Phase::Claimed { claim, since: now, until, lease };
        let key = item.place.key.clone();
        self.claims.insert(claim, Claim { item: id, polls, seat: None, key, is_offered: false, is_confirmed: true });
        self.schedule(id);
        if !polls {
            self.lost(now, claim, Lost::Written);
        }
    }

    /// The answer that came from another replica is whole, or has broken off.
    pub fn answered_elsewhere(&mut self, now: Instant, id: ItemId, how: Ended) {
        let Some(item) = self.items.get(&id) else { return };
        let claim = match item.phase {
            Phase::Elsewhere { claim, .. } => Some(claim),
            Phase::Queued { .. } => None,
            Phase::Claimed { .. } | Phase::Streaming { .. } | Phase::Ended { .. } => return,
        };
        self.end(now, id, how);
        if let Some(item) = self.items.get_mut(&id)
            && let Phase::Ended { claim: answered, .. } = &mut item.phase
        {
            *answered = claim;
        }
    }

    /// The others know that an item has ended: it is known for who may come alone.
    pub fn settled(&mut self, id: ItemId) {
        let Some(item) = self.items.get_mut(&id).filter(|item| item.is_ended()) else { return };
        item.is_settled = true;
        // Its home reads the answer here.
        if !item.is_known && item.home == Home::Here {
            self.forget(id);
        }
    }

    /// The claim whose answer an item has ended with.
    #[must_use]
    pub fn answered_claim(&self, id: ItemId) -> Option<ClaimId> {
        match self.items.get(&id)?.phase {
            Phase::Ended { claim, .. } => claim,
            Phase::Queued { .. } | Phase::Claimed { .. } | Phase::Streaming { .. } | Phase::Elsewhere { .. } => None,
        }
    }

    /// Where the worker of an item is, if that is another replica.
    #[must_use]
    pub fn elsewhere(&self, id: ItemId) -> Option<ReplicaId> {
        match self.items.get(&id)?.phase {
            Phase::Elsewhere { at, .. } => Some(at),
            Phase::Queued { .. } | Phase::Claimed { .. } | Phase::Streaming { .. } | Phase::Ended { .. } => None,
        }
    }

    /// Which attempt the next or the live claim on an item is, from 1.
    #[must_use]
    pub fn attempt(&self, id: ItemId) -> u32 {
        self.items.get(&id).map_or(1, |item| item.attempts + 1)
    }

    /// Nobody knows of an item of another replica any more.
    pub fn forgotten(&mut self, now: Instant, id: ItemId) {
        self.end_as_told(now, id, Failure::Abandoned);
        self.forget(id);
    }

    /// Whether something of a replica is left.
    #[must_use]
    pub fn is_named(&self, replica: ReplicaId) -> bool {
        let of = |item: &Item| {
            item.home == Home::At(replica) && !item.is_ended()
                || matches!(item.phase, Phase::Elsewhere { at, .. } if at == replica)
        };
        self.items.values().any(|item| of(item))
    }

    /// Whether an item goes on, also where nobody waits for it.
    #[must_use]
    pub fn is_durable(&self, id: ItemId) -> bool {
        self.items.get(&id).is_some_and(|item| item.is_async || item.once.is_some())
    }

    /// Whether the answer to an item is whole at another replica.
    #[must_use]
    pub fn is_done_elsewhere(&self, id: ItemId) -> bool {
        let item = self.items.get(&id);
        item.is_some_and(|item| matches!(item.phase, Phase::Elsewhere { is_done: true, .. }))
    }

    /// Whether consumers wait here for an item.
    #[must_use]
    pub fn has_consumers(&self, id: ItemId) -> bool {
        self.items.get(&id).is_some_and(|item| item.consumers > 0)
    }

    /// Whether this replica says whether an item is of use.
    #[must_use]
    pub fn is_home(&self, id: ItemId) -> bool {
        self.items.get(&id).is_some_and(|item| item.home == Home::Here)
    }

    /// Whether a worker here has an item.
    #[must_use]
    pub fn has_worker(&self, id: ItemId) -> bool {
        let phase = self.items.get(&id).map(|item| &item.phase);
        matches!(phase, Some(Phase::Claimed { .. } | Phase::Streaming { .. }))
    }

    /// How many slots workers have at other replicas.
    pub fn slots_elsewhere(&mut self, now: Instant, slots: usize) {
        if slots > 0 || self.slots_elsewhere > 0 {
            self.worker_seen = now;
        }
        self.slots_elsewhere = slots;
    }
}
