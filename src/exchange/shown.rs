//! What operators are shown of an exchange.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::core::{Client, Dead, Failure, ItemOverview, Key, Overview, reason};
use super::id::ItemId;
use super::workers::Worker;
use super::{Exchange, State};
use crate::bounds::{EXCHANGE_DEAD, EXCHANGE_SHOWN};

/// An exchange at one moment.
#[derive(Debug)]
pub struct Shown {
    /// Requests that wait for a worker.
    pub queued: usize,
    /// How long the oldest of them has waited.
    pub oldest: Duration,
    /// Consumers that wait, also for what workers work on; several may share a request.
    pub consumers: u64,
    /// Requests that workers work on.
    pub in_flight: usize,
    /// Slots that wait for a request.
    pub free: usize,
    /// Workers, the longest known first.
    pub workers: Vec<ShownWorker>,
    /// Requests that workers have, the oldest first.
    pub oldest_in_flight: Vec<ShownItem>,
    /// Requests that wait for a worker, the oldest first.
    pub oldest_queued: Vec<ShownItem>,
    /// Requests that failed after all attempts, the newest last.
    pub dead: Vec<ShownDead>,
    /// Where replicas share its requests.
    pub shared: Option<ShownShared>,
}

/// How it is with what replicas share.
#[derive(Debug, Clone, Copy)]
pub struct ShownShared {
    /// How many live, this one included.
    pub replicas: usize,
    /// NATS answers: what is written and said comes back.
    pub is_up: bool,
}

/// A worker.
#[derive(Debug)]
pub struct ShownWorker {
    /// Who it is.
    pub worker: Arc<Worker>,
    /// How long it has been known.
    pub age: Duration,
    /// How many requests it has.
    pub busy: usize,
    /// How many of its slots wait for one.
    pub free: usize,
    /// Items that it has.
    pub items: Vec<ItemId>,
}

/// A request that has not ended.
#[derive(Debug)]
pub struct ShownItem {
    /// Its item.
    pub item: ItemId,
    /// The key in its path.
    pub key: Option<Key>,
    /// Whose it is: an identity, or an address.
    pub client: Client,
    /// `queued`, `claimed` or `streaming`.
    pub state: &'static str,
    /// How long ago it came.
    pub age: Duration,
    /// Which attempt it is, from 1.
    pub attempt: u32,
    /// How long its worker has had it.
    pub claimed: Option<Duration>,
    /// That worker, if it is known.
    pub worker: Option<Arc<Worker>>,
}

/// A request that failed after all attempts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownDead {
    /// Its item.
    pub item: String,
    /// The key in its path.
    pub key: Option<String>,
    /// How often a worker may have begun it.
    pub attempts: u32,
    /// Why the last of them failed.
    pub reason: &'static str,
    /// How long ago it failed.
    pub age: Duration,
}

impl ShownDead {
    pub(super) fn at(now: std::time::Instant, dead: &Dead) -> Self {
        Self {
            item: dead.item.to_string(),
            key: dead.key.as_deref().map(str::to_owned),
            attempts: dead.attempts,
            reason: reason(Failure::Broke, Some(dead.lost)),
            age: now.saturating_duration_since(dead.at),
        }
    }
}

impl ShownItem {
    fn at(now: std::time::Instant, item: ItemOverview, worker: Option<Arc<Worker>>) -> Self {
        Self {
            item: item.item,
            key: item.key,
            client: item.client,
            state: item.state,
            age: now.saturating_duration_since(item.submitted.0),
            attempt: item.attempt,
            claimed: item.claim.map(|(_, since)| now.saturating_duration_since(since)),
            worker,
        }
    }
}

impl Exchange {
    /// What it is doing. Everybody waits for the lock, so under it things are found, and put in order after it.
    #[must_use]
    pub fn shown(&self) -> Shown {
        let now = Instant::now().into_std();
        let mut workers = self.known_workers(now);
        let state = self.state();
        let core = &state.core;
        let (queued, in_flight, free, oldest) = (core.queued(), core.in_flight(), core.free(), core.oldest());
        let Overview { consumers, queued: oldest_queued, claimed } = core.overview(EXCHANGE_SHOWN);
        let worker_of = |item: &ItemOverview| state.live.get(&item.claim?.0)?.worker.clone();
        let claimed: Vec<_> = claimed.into_iter().map(|item| (worker_of(&item), item)).collect();
        state.count_slots(&mut workers);
        let (dead, shared) = (core.last_dead(EXCHANGE_DEAD), state.shown_shared());
        drop(state);
        let queued_items = oldest_queued.into_iter().map(|item| (None, item)).collect();
        Shown {
            queued,
            oldest: oldest.map_or(Duration::ZERO, |since| now.saturating_duration_since(since)),
            consumers,
            in_flight,
            free,
            workers,
            oldest_in_flight: in_order(now, claimed),
            oldest_queued: in_order(now, queued_items),
            dead: dead.iter().map(|dead| ShownDead::at(now, dead)).collect(),
            shared,
        }
    }

    /// How many requests wait at it: those of consumers, and polls of workers.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        self.state().core.consumers() + self.metrics.polls()
    }

    /// How many requests workers have.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.state().core.in_flight() as u64
    }

    fn known_workers(&self, now: std::time::Instant) -> Vec<ShownWorker> {
        let shown = self.workers.all().into_iter().take(EXCHANGE_SHOWN).map(|worker| {
            let age = now.saturating_duration_since(worker.since.into_std());
            ShownWorker { worker, age, busy: 0, free: 0, items: Vec::new() }
        });
        shown.collect()
    }

    /// Updates the metrics that are computed only on a scrape.
    pub fn scrape(&self) {
        let now = Instant::now().into_std();
        let state = self.state();
        let core = &state.core;
        if core.is_closed() {
            return;
        }
        let oldest = core.oldest().map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        self.metrics.show_oldest(oldest);
        self.metrics.show_slots(core.free(), core.in_flight());
        self.metrics.show_kept(core.kept(), self.budget.held());
    }
}

/// Items, the oldest first.
fn in_order(now: std::time::Instant, mut items: Vec<(Option<Arc<Worker>>, ItemOverview)>) -> Vec<ShownItem> {
    items.sort_unstable_by_key(|(_, item)| item.submitted);
    items.into_iter().map(|(worker, item)| ShownItem::at(now, item, worker)).collect()
}

impl State {
    /// Counts the slots of workers, and notes what they have.
    fn count_slots(&self, shown: &mut [ShownWorker]) {
        let places: HashMap<_, _> = shown.iter().enumerate().map(|(at, one)| (Arc::as_ptr(&one.worker), at)).collect();
        let place = |worker: &Option<Arc<Worker>>| places.get(&Arc::as_ptr(worker.as_ref()?)).copied();
        for offer in self.offers.values() {
            if let Some(at) = place(&offer.worker) {
                shown[at].free += 1;
            }
        }
        for (claim, live) in &self.live {
            let Some(at) = place(&live.worker) else { continue };
            shown[at].busy += 1;
            if shown[at].items.len() < EXCHANGE_SHOWN {
                shown[at].items.extend(self.core.claimed(*claim));
            }
        }
    }
}
