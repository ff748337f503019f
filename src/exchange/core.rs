//! PURE. What becomes of items and claims: one owner calls it with what happens and with the time, and does what the effects
//! say.
//!
//! ```text
//!             claim                       head              end of body
//!  queued -----------------> claimed ------> streaming ------------------> done --keep--> forgotten
//!    |  ^--- put back ---------'  |  \            |
//!    +--> expired     +--> cancelled <-+          '------> failed (kept like done)
//! ```
//! What always holds:
//! - An item has one live claim at most, and a claim that has been followed by another never completes the item.
//! - Each item ends once: as done, failed, expired or cancelled.
//! - An item that nobody waits for, and that is neither asynchronous nor kept, is never given to a worker.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use super::id::{ClaimId, ItemId};
use crate::bounds::{EXCHANGE_DEAD, EXCHANGE_ENDED, EXCHANGE_GRACE};
use crate::config::Repeat;

mod claims;
mod close;
mod ends;
mod estimate;
mod idle;
mod item;
mod overview;
mod queue;
mod timers;
mod types;

use claims::Claim;
pub use claims::{Cause, Lost, Offered, Over};
pub use ends::{Dead, Ended, Failure, Pending, reason};
use estimate::Estimate;
use idle::Idle;
pub use idle::{Offer, Seat};
use item::{Again, Item, Phase};
pub use overview::{ItemOverview, Overview};
use queue::{Place, Queue};
pub use types::{Client, Effect, Failed, Key, Leave, Once, Refused, Rules, Submission, Submitted};

/// Items and claims of one exchange.
#[derive(Debug)]
pub struct Core {
    rules: Rules,
    /// Boxed: a map has room for more than it holds.
    items: HashMap<ItemId, Box<Item>>,
    queue: Queue,
    idle: Idle,
    /// Live claims.
    claims: HashMap<ClaimId, Claim>,
    /// The newest offer or claim of each seat.
    seats: HashMap<Seat, ClaimId>,
    /// Claims of workers that poll whose answers are complete, the oldest first.
    completed: VecDeque<ClaimId>,
    /// Claims of workers that poll to which no answer is of use, the oldest first, and why.
    gone: VecDeque<(ClaimId, ItemId, Cause)>,
    shared: HashMap<Arc<str>, ItemId>,
    /// Shared items that have no answer yet, by their key and in the order in which they came.
    unanswered: HashMap<Option<Key>, BTreeMap<u64, ItemId>>,
    once: HashMap<(Client, Arc<str>), ItemId>,
    /// When each item is looked at next.
    timers: BTreeSet<(Instant, ItemId)>,
    /// Ended items that are still known, the oldest first.
    ended: VecDeque<ItemId>,
    /// The last items that failed after all attempts, and how many have.
    dead: VecDeque<Dead>,
    dead_count: u64,
    estimate: Estimate,
    sequence: u64,
    /// When a worker was there last.
    worker_seen: Instant,
    /// Nothing is queued or given to a worker any more.
    is_closed: bool,
    /// Nothing is given to a worker any more.
    withholds: bool,
    effects: Vec<Effect>,
}

impl Core {
    /// An exchange without items and workers.
    #[must_use]
    pub fn new(rules: Rules, now: Instant) -> Self {
        Self {
            rules,
            items: HashMap::new(),
            queue: Queue::default(),
            idle: Idle::default(),
            claims: HashMap::new(),
            seats: HashMap::new(),
            completed: VecDeque::new(),
            gone: VecDeque::new(),
            shared: HashMap::new(),
            unanswered: HashMap::new(),
            once: HashMap::new(),
            timers: BTreeSet::new(),
            ended: VecDeque::new(),
            dead: VecDeque::new(),
            dead_count: 0,
            estimate: Estimate::default(),
            sequence: 0,
            worker_seen: now,
            is_closed: false,
            withholds: false,
            effects: Vec::new(),
        }
    }

    /// What is to be done since the last call of this.
    pub fn effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// A consumer's request comes. Its consumer waits, unless the request is asynchronous.
    pub fn submit(&mut self, now: Instant, submission: Submission) -> Result<Submitted, Refused> {
        if let Some(found) = self.same(&submission)? {
            self.attach(found, submission.is_async);
            return Ok(Submitted::Attached(found));
        }
        let offer = self.free_slot(submission.key.as_ref());
        if offer.is_none() && !self.is_closed {
            self.has_room(now, &submission)?;
        }
        let Submission { item: id, client, key, urgency, is_async, is_idempotent, once, share } = submission;
        let may_repeat = match self.rules.repeat {
            Repeat::Idempotent => is_idempotent || once.is_some(),
            Repeat::Always => true,
            Repeat::Never => false,
        };
        self.sequence += 1;
        let urgency = urgency.min(7);
        let place = Place { urgency, client, key, sequence: self.sequence };
        if let Some(once) = &once {
            self.once.insert((Arc::clone(&place.client), Arc::clone(&once.key)), id);
        }
        if let Some(share) = &share {
            self.shared.insert(Arc::clone(share), id);
            self.unanswered.entry(place.key.clone()).or_default().insert(place.sequence, id);
        }
        let age = if is_async { self.rules.async_age } else { self.rules.queue_age };
        let item = Item {
            place,
            declared: urgency,
            consumers: u32::from(!is_async),
            kept_until: None,
            is_async,
            is_known: is_async || once.is_some(),
            once,
            share,
            again: if may_repeat { Again::Always } else { Again::UnlessBegun },
            submitted: now,
            expires: now + age,
            attempts: 0,
            untouched: 0,
            timer: None,
            phase: Phase::Queued { since: now },
        };
        self.queue.push(&item.place, id);
        self.items.insert(id, Box::new(item));
        self.schedule(id);
        if let Some(claim) = offer {
            self.assign(now, claim, id);
        }
        Ok(Submitted::New)
    }

    /// The item that a request shares, or repeats.
    fn same(&self, submission: &Submission) -> Result<Option<ItemId>, Refused> {
        if let Some(once) = &submission.once {
            let Some(id) = self.once.get(&(Arc::clone(&submission.client), Arc::clone(&once.key))) else {
                return Ok(None);
            };
            let is_same = self.items.get(id).is_some_and(|item| item.once.as_ref() == Some(once));
            return if is_same { Ok(Some(*id)) } else { Err(Refused::KeyReused) };
        }
        Ok(submission.share.as_ref().and_then(|share| self.shared.get(share)).copied())
    }

    fn has_room(&self, now: Instant, submission: &Submission) -> Result<(), Refused> {
        if let Some(after) = self.rules.refuse_after
            && self.workers() == 0
            && now.saturating_duration_since(self.worker_seen) >= after
        {
            return Err(Refused::NoWorker(now.saturating_duration_since(self.worker_seen)));
        }
        if self.queue.len() >= self.rules.queue_length {
            return Err(Refused::Full(self.rules.queue_length));
        }
        if self.queue.of_client(&submission.client) >= self.rules.per_client {
            return Err(Refused::OfClient(self.rules.per_client));
        }
        Ok(())
    }

    /// A consumer comes to wait for an item; false: nothing is known of it.
    pub fn attach(&mut self, id: ItemId, is_async: bool) -> bool {
        let Some(item) = self.items.get_mut(&id) else { return false };
        if is_async {
            item.is_async = true;
            item.is_known = true;
        } else {
            item.consumers += 1;
        }
        self.schedule(id);
        true
    }

    /// A consumer that waited for an item leaves.
    pub fn leave(&mut self, now: Instant, id: ItemId, how: Leave) {
        let Some(item) = self.items.get_mut(&id) else { return };
        item.consumers = item.consumers.saturating_sub(1);
        match how {
            Leave::Gone => {}
            Leave::Served => {
                if let Phase::Streaming { is_served, .. } = &mut item.phase {
                    *is_served = true;
                }
            }
            Leave::Told(after) => {
                item.is_known = true;
                let until = now + after + EXCHANGE_GRACE;
                item.kept_until = Some(item.kept_until.map_or(until, |before| before.max(until)));
            }
        }
        if item.is_wanted(now) {
            self.schedule(id);
        } else {
            self.end(now, id, Ended::Failed(Failure::Abandoned));
        }
    }

    /// A consumer deletes an item; none: nothing is known of it; false: it had ended before.
    pub fn delete(&mut self, now: Instant, id: ItemId) -> Option<bool> {
        let is_live = !matches!(self.items.get(&id)?.phase, Phase::Ended { .. });
        if is_live {
            self.end(now, id, Ended::Failed(Failure::Deleted));
        }
        Some(is_live)
    }

    /// How many items may be queued.
    #[must_use]
    pub fn queue_length(&self) -> usize {
        self.rules.queue_length
    }

    /// How many items are queued.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    /// How many items workers work on.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.claims.len()
    }

    /// How many slots wait for an item.
    #[must_use]
    pub fn free(&self) -> usize {
        self.idle.len()
    }

    /// Whether one of them takes an item of this key.
    #[must_use]
    pub fn has_free_slot(&self, key: Option<&Key>) -> bool {
        self.free_slot(key).is_some()
    }

    /// The slot that is given the next item of this key.
    fn free_slot(&self, key: Option<&Key>) -> Option<ClaimId> {
        // Workers that dial in leave with their next look at the exchange: until then their slots are free.
        if self.is_closed || self.withholds { None } else { self.idle.newest(key) }
    }

    /// How many slots there are.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.idle.len() + self.claims.len()
    }

    /// Since when the oldest queued item waits.
    #[must_use]
    pub fn oldest(&self) -> Option<Instant> {
        let queued = self.items.values().filter(|item| matches!(item.phase, Phase::Queued { .. }));
        queued.map(|item| item.submitted).min()
    }

    /// The last items that failed after all attempts, so many at most, the newest last.
    #[must_use]
    pub fn last_dead(&self, most: usize) -> Vec<Dead> {
        let from = self.dead.len().saturating_sub(most);
        self.dead.range(from..).cloned().collect()
    }

    /// How many items have failed after all attempts.
    #[must_use]
    pub fn dead(&self) -> u64 {
        self.dead_count
    }

    fn remember_dead(&mut self, dead: Dead) {
        self.dead_count += 1;
        if self.dead.len() == EXCHANGE_DEAD {
            self.dead.pop_front();
        }
        self.dead.push_back(dead);
    }

    /// Forgets an item.
    fn forget(&mut self, id: ItemId) {
        let Some(item) = self.items.remove(&id) else { return };
        if let Some(at) = item.timer {
            self.timers.remove(&(at, id));
        }
        if let Some(once) = item.once {
            self.once.remove(&(item.place.client, once.key));
        }
        self.effects.push(Effect::Forget(id));
        while self.ended.front().is_some_and(|oldest| !self.items.contains_key(oldest)) {
            self.ended.pop_front();
        }
    }

    /// No further request shares this item.
    fn release_share(&mut self, id: ItemId) {
        let Some(item) = self.items.get(&id) else { return };
        let Some(share) = &item.share else { return };
        if self.shared.get(share) == Some(&id) {
            self.shared.remove(share);
        }
        if let Some(of_key) = self.unanswered.get_mut(&item.place.key) {
            of_key.remove(&item.place.sequence);
            if of_key.is_empty() {
                self.unanswered.remove(&item.place.key);
            }
        }
    }

    /// Remembers an ended item, and forgets the oldest where there are too many.
    fn remember(&mut self, id: ItemId) {
        if self.ended.len() == EXCHANGE_ENDED
            && let Some(oldest) = self.ended.pop_front()
        {
            self.forget(oldest);
        }
        self.ended.push_back(id);
    }

    /// Forgets the ended item that has been known for the longest time; false: there is none.
    pub fn forget_oldest(&mut self) -> bool {
        while let Some(oldest) = self.ended.pop_front() {
            if self.items.contains_key(&oldest) {
                self.forget(oldest);
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests;
