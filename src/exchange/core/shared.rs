//! PURE. Items whose queue several replicas share: what one of them tells the others of an item, and what it does with what it
//! is told.
//!
//! Each replica knows all items. What it does to one it does here at once, and its owner then writes that where all read it, unless
//! another replica was earlier: what that has written counts, and comes back by [`Core::told`].

use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::claims::{Cause, Claim};
use super::item::{Again, Home, Item, Phase};
use super::queue::Place;
use super::timers::urgency;
use super::{Client, Core, Effect, Ended, Failure, Key, Offer, Once};
use crate::exchange::id::{ClaimId, ItemId, ReplicaId};

mod elsewhere;

/// What replicas know of an item, beside its request and its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SharedItem {
    /// Whose it is.
    pub client: Client,
    /// The key in its path.
    pub key: Option<Key>,
    /// The urgency that its consumer gave it.
    pub urgency: u8,
    /// Its consumer does not wait.
    pub is_async: bool,
    /// Somebody knows its id, and may come for it.
    pub is_known: bool,
    /// Whether it is given to another worker.
    pub again: Again,
    /// What makes a repeated request the same.
    pub once: Option<Once>,
    /// Attempts that are over and count.
    pub attempts: u32,
    /// How often a worker did not touch its claim.
    pub untouched: u32,
    /// The replica that says whether it is of use to anybody.
    pub home: ReplicaId,
    /// Where it is on its way.
    pub at: At,
}

/// Where an item is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum At {
    /// In the queue.
    Queued,
    /// A worker has it.
    Claimed {
        /// The claim.
        claim: ClaimId,
        /// The worker polls, so that it may touch the claim at any replica.
        polls: bool,
        /// Where the worker is.
        replica: ReplicaId,
    },
    /// It is over.
    Ended(Ended),
}

impl SharedItem {
    /// Whether a replica is to write this, where `written` was. `answered`: the claim whose answer it has ended with.
    #[must_use]
    pub fn differs(
        &self,
        written: Option<&Self>,
        replica: ReplicaId,
        answered: Option<ClaimId>,
        is_gone: impl Fn(ReplicaId) -> bool,
    ) -> bool {
        let Some(written) = written else {
            // Nobody else knows of it.
            return !matches!(self.at, At::Ended(_)) || self.is_known;
        };
        match (written.at, self.at) {
            (At::Ended(_), _) => false,
            // Its worker's replica writes that, with the answer.
            (At::Claimed { claim, replica: of_worker, .. }, At::Ended(Ended::Done))
                if of_worker != replica && answered == Some(claim) =>
            {
                is_gone(of_worker)
            }
            _ => written != self,
        }
    }
}

impl Core {
    /// From now on it shares its items with other replicas. It is asked to before anything else.
    pub fn share(&mut self, replica: ReplicaId) {
        self.replica = Some(replica);
    }

    /// Items of which the others are to know more, perhaps, since the last call of this.
    pub fn changed(&mut self) -> Vec<ItemId> {
        std::mem::take(&mut self.changed)
    }

    /// The others are to know more of an item, perhaps.
    pub fn to_be_shared(&mut self, id: ItemId) {
        if self.replica.is_some() {
            self.changed.push(id);
        }
    }

    /// What the others are to know of an item; none: nothing is known of it.
    #[must_use]
    pub fn shared(&self, id: ItemId) -> Option<SharedItem> {
        let replica = self.replica?;
        let item = self.items.get(&id)?;
        let at = match item.phase {
            Phase::Queued { .. } => At::Queued,
            Phase::Claimed { claim, .. } | Phase::Streaming { claim, .. } => {
                At::Claimed { claim, polls: self.claims.get(&claim)?.polls, replica }
            }
            Phase::Elsewhere { is_done: true, .. } => At::Ended(Ended::Done),
            Phase::Elsewhere { claim, polls, at, is_done: false } => At::Claimed { claim, polls, replica: at },
            Phase::Ended { how, .. } => At::Ended(how),
        };
        Some(SharedItem {
            client: item.place.client.clone(),
            key: item.place.key.clone(),
            urgency: item.declared,
            is_async: item.is_async,
            is_known: item.is_known,
            again: item.again,
            once: item.once.clone(),
            attempts: item.attempts,
            untouched: item.untouched,
            home: match item.home {
                Home::Here => replica,
                Home::At(home) => home,
            },
            at,
        })
    }

    /// How long ago an item came.
    #[must_use]
    pub fn age(&self, now: Instant, id: ItemId) -> Option<Duration> {
        self.items.get(&id).map(|item| now.saturating_duration_since(item.submitted))
    }

    /// Another replica was earlier: this is what counts of an item, which came so long ago, as `by` has written it.
    pub fn told(&mut self, now: Instant, id: ItemId, told: SharedItem, by: ReplicaId, age: Duration) {
        let Some(replica) = self.replica else { return };
        let Some(item) = self.items.get_mut(&id) else { return self.learn(now, id, told, age) };
        item.is_settled = matches!(told.at, At::Ended(_));
        if let Phase::Ended { how, claim, .. } = item.phase {
            // What its home has ended stays so, but for an answer whose claim does not count.
            let insists = item.home == Home::Here && (claim.is_none() || how != Ended::Done);
            let counts = matches!(told.at, At::Claimed { claim: live, .. } if claim == Some(live));
            if insists || counts || matches!(told.at, At::Ended(_)) {
                item.home = if told.home == replica { Home::Here } else { Home::At(told.home) };
                item.is_known |= told.is_known;
                return self.to_be_shared(id);
            }
            self.effects.push(Effect::Overruled(id));
            self.forget_quietly(id);
            return self.learn(now, id, told, age);
        }
        item.is_known |= told.is_known;
        item.is_async |= told.is_async;
        item.again = told.again;
        (item.attempts, item.untouched) = (told.attempts, told.untouched);
        let home = if told.home == replica { Home::Here } else { Home::At(told.home) };
        self.move_to(id, home);
        match told.at {
            At::Queued => self.told_queued(now, id),
            At::Claimed { claim, replica: at, .. } if at == replica => self.confirm(claim),
            At::Claimed { claim, polls, replica } => self.told_claimed(now, id, (claim, polls, replica)),
            At::Ended(Ended::Failed(failure)) => self.end_as_told(now, id, failure),
            // Its answer is read from there first, and the owner says when.
            At::Ended(Ended::Done) if self.has_consumers(id) => self.told_done(now, id, by),
            At::Ended(Ended::Done) => self.end(now, id, Ended::Done),
        }
        self.to_be_shared(id);
    }

    fn end_as_told(&mut self, now: Instant, id: ItemId, failure: Failure) {
        self.end(now, id, Ended::Failed(failure));
        let of_item = |effect: &&mut Effect| matches!(effect, Effect::End(failed) if failed.item == id);
        if let Some(Effect::End(failed)) = self.effects.iter_mut().rev().find(of_item) {
            failed.is_told = true;
        }
    }

    /// An item of another replica.
    fn learn(&mut self, now: Instant, id: ItemId, told: SharedItem, age: Duration) {
        let Some(replica) = self.replica else { return };
        let home = if told.home == replica { Home::Here } else { Home::At(told.home) };
        self.sequence += 1;
        let (client, key) = (told.client, told.key);
        let place =
            Place { urgency: told.urgency, client, key, sequence: self.sequence, is_foreign: home != Home::Here };
        if let Some(once) = &told.once {
            self.once.insert((place.client.clone(), once.key.clone()), id);
        }
        let submitted = now.checked_sub(age).unwrap_or(now);
        let limit = if told.is_async { self.rules.async_age } else { self.rules.queue_age };
        let mut item = Item {
            place,
            home,
            declared: told.urgency,
            consumers: 0,
            kept_until: None,
            is_async: told.is_async,
            is_known: told.is_known,
            once: told.once,
            share: None,
            again: told.again,
            submitted,
            expires: submitted + limit,
            attempts: told.attempts,
            untouched: told.untouched,
            is_settled: matches!(told.at, At::Ended(_)),
            timer: None,
            phase: Phase::Queued { since: now },
        };
        item.place.urgency = urgency(&item, now);
        match told.at {
            At::Queued => self.queue.push(&item.place, id),
            At::Claimed { claim, polls, replica } => {
                item.phase = Phase::Elsewhere { claim, polls, at: replica, is_done: false };
                self.elsewhere.insert(claim, id);
            }
            At::Ended(how) => {
                item.phase = Phase::Ended { until: now + self.rules.keep, how, claim: None };
            }
        }
        let (is_queued, is_ended) = (matches!(told.at, At::Queued), matches!(told.at, At::Ended(_)));
        let key = item.place.key.clone();
        self.items.insert(id, Box::new(item));
        if is_ended {
            self.remember(id);
        }
        self.schedule(id);
        if matches!(told.at, At::Claimed { replica: of_worker, .. } if of_worker == replica) {
            // Its worker was told that the claim is over.
            self.worker_gone(now, id);
        }
        if is_queued && let Some(offer) = self.free_slot(key.as_ref()) {
            self.assign(now, offer, id);
        }
    }

    fn told_queued(&mut self, now: Instant, id: ItemId) {
        let Some(item) = self.items.get(&id) else { return };
        match item.phase {
            Phase::Queued { .. } | Phase::Ended { .. } => return,
            Phase::Elsewhere { claim, .. } => {
                leave(&mut self.elsewhere, claim, id);
            }
            Phase::Streaming { claim, .. } => return self.overruled_answer(now, id, claim),
            Phase::Claimed { claim, .. } => self.take_from(claim, Cause::Another),
        }
        let Some(item) = self.items.get_mut(&id) else { return };
        item.phase = Phase::Queued { since: now };
        item.place.urgency = urgency(item, now);
        let place = item.place.clone();
        self.queue.put_back(&place, id);
        self.schedule(id);
        if let Some(offer) = self.free_slot(place.key.as_ref()) {
            self.assign(now, offer, id);
        }
        self.serve_restored(now);
    }

    fn told_claimed(&mut self, now: Instant, id: ItemId, (claim, polls, replica): (ClaimId, bool, ReplicaId)) {
        let Some(item) = self.items.get(&id) else { return };
        match item.phase {
            Phase::Ended { .. } => return,
            Phase::Queued { .. } => {
                let place = item.place.clone();
                self.queue.take(&place);
            }
            Phase::Elsewhere { claim, .. } => {
                leave(&mut self.elsewhere, claim, id);
            }
            Phase::Streaming { claim, .. } => return self.overruled_answer(now, id, claim),
            Phase::Claimed { claim: ours, .. } => {
                self.take_from(ours, if ours == claim { Cause::Moved } else { Cause::Another });
            }
        }
        if let Some(item) = self.items.get_mut(&id) {
            item.phase = Phase::Elsewhere { claim, polls, at: replica, is_done: false };
            self.elsewhere.insert(claim, id);
        }
        self.schedule(id);
        self.serve_restored(now);
    }

    /// Consumers here are still to have the answer.
    fn told_done(&mut self, now: Instant, id: ItemId, by: ReplicaId) {
        let Some(item) = self.items.get(&id) else { return };
        match item.phase {
            Phase::Elsewhere { .. } | Phase::Ended { .. } => {}
            // What was between them was not read.
            Phase::Queued { .. } => self.told_claimed(now, id, (ClaimId::unknown_of(id), false, by)),
            Phase::Claimed { claim, .. } | Phase::Streaming { claim, .. } => {
                self.told_claimed(now, id, (claim, false, by));
            }
        }
        if let Some(item) = self.items.get_mut(&id)
            && let Phase::Elsewhere { is_done, .. } = &mut item.phase
        {
            *is_done = true;
        }
    }

    /// A claim does not count: its worker has nothing yet, and gets another item, or is to stop.
    fn take_from(&mut self, claim: ClaimId, cause: Cause) {
        if self.claims.get(&claim).is_some_and(|live| live.is_confirmed || !live.is_offered) {
            self.unclaim_quietly(claim, cause);
            return self.effects.push(Effect::Cancel(claim));
        }
        let Some(Claim { polls, seat, key, .. }) = self.claims.remove(&claim) else { return };
        self.idle.add(Offer { claim, key, polls, seat });
        self.restored.push(claim);
    }

    /// Gives slots another item whose claim did not count.
    fn serve_restored(&mut self, now: Instant) {
        while let Some(claim) = self.restored.pop() {
            if let Some(key) = self.idle.get(claim).map(|offer| offer.key.clone()) {
                self.serve(now, claim, key.as_ref());
            }
        }
    }

    /// Its answer has begun here, and does not count.
    fn overruled_answer(&mut self, now: Instant, id: ItemId, claim: ClaimId) {
        self.unclaim_quietly(claim, Cause::Another);
        self.effects.push(Effect::Cancel(claim));
        self.end(now, id, Ended::Failed(Failure::Cut));
    }

    fn unclaim_quietly(&mut self, claim: ClaimId, cause: Cause) {
        let seen = self.worker_seen;
        self.unclaim(seen, claim, Some(cause));
    }

    fn forget_quietly(&mut self, id: ItemId) {
        let before = self.effects.len();
        self.forget(id);
        self.effects.truncate(before);
    }
}

/// A claim is not live at another replica any more.
pub(super) fn leave(elsewhere: &mut HashMap<ClaimId, ItemId>, claim: ClaimId, id: ItemId) {
    if elsewhere.get(&claim) == Some(&id) {
        elsewhere.remove(&claim);
    }
}

impl Item {
    fn is_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended { .. })
    }
}
