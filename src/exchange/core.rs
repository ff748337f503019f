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

use super::id::{ClaimId, ItemId, ReplicaId};
use crate::bounds::{EXCHANGE_DEAD, EXCHANGE_GRACE};
use crate::config::Repeat;

mod claims;
mod close;
mod ends;
mod estimate;
mod idle;
mod item;
mod kept;
mod overview;
mod queue;
mod shared;
mod timers;
mod types;

use claims::Claim;
pub use claims::{Cause, Lost, Offered, Over};
pub use ends::{Dead, Ended, Failure, Pending, reason};
use estimate::Estimate;
use idle::Idle;
pub use idle::{Offer, Seat};
pub use item::Again;
use item::{Home, Item, Phase};
pub use overview::{ItemOverview, Overview};
use queue::{Place, Queue};
pub use shared::{At, SharedItem};
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
    /// Which of the replicas that share the queue it is; none: it shares it with none.
    replica: Option<ReplicaId>,
    /// Items of which the others are to know more.
    changed: Vec<ItemId>,
    /// Claims that are live at other replicas.
    elsewhere: HashMap<ClaimId, ItemId>,
    /// Slots whose claims did not count.
    restored: Vec<ClaimId>,
    /// How many slots workers have at other replicas.
    slots_elsewhere: usize,
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
            replica: None,
            changed: Vec::new(),
            elsewhere: HashMap::new(),
            restored: Vec::new(),
            slots_elsewhere: 0,
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
        let place = Place { urgency, client, key, sequence: self.sequence, is_foreign: false };
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
            home: Home::Here,
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
            is_settled: self.replica.is_none(),
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
            && self.slots() == 0
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
                // Its end is still to come from there.
                if item.consumers == 0 && matches!(item.phase, Phase::Elsewhere { .. }) {
                    return self.answered_elsewhere(now, id, Ended::Done);
                }
            }
            Leave::Told(after) => {
                item.is_known = true;
                let until = now + after + EXCHANGE_GRACE;
                item.kept_until = Some(item.kept_until.map_or(until, |before| before.max(until)));
            }
        }
        if item.consumers == 0 && matches!(item.phase, Phase::Elsewhere { is_done: true, .. }) {
            // The answer is where who comes back finds it.
            return self.answered_elsewhere(now, id, Ended::Done);
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

    /// How many items are queued. Those that replicas share count at one of them.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.queue.own()
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

    /// The same, with those at other replicas that share the queue.
    fn slots(&self) -> usize {
        self.workers() + self.slots_elsewhere
    }

    /// How many items all replicas that share the queue have queued.
    #[must_use]
    pub fn queued_in_all(&self) -> usize {
        self.queue.len()
    }

    /// Since when the oldest queued item waits.
    #[must_use]
    pub fn oldest(&self) -> Option<Instant> {
        let queued =
            self.items.values().filter(|item| matches!(item.phase, Phase::Queued { .. }) && item.home == Home::Here);
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
}

#[cfg(test)]
mod tests;
