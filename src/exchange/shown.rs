//! What operators are shown of an exchange.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::core::{Failure, Overview, reason};
use super::workers::Worker;
use super::{Exchange, State};
use crate::bounds::EXCHANGE_SHOWN;

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
    pub items: Vec<String>,
}

/// A request that has not ended.
#[derive(Debug)]
pub struct ShownItem {
    /// Its item.
    pub item: String,
    /// The key in its path.
    pub key: Option<String>,
    /// Whose it is: an identity, or an address.
    pub client: String,
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

impl Exchange {
    /// What it is doing.
    #[must_use]
    pub fn shown(&self) -> Shown {
        let now = Instant::now().into_std();
        let workers = self.workers.all();
        let state = self.state();
        let core = &state.core;
        let item = |overview: Overview| state.item(now, &overview);
        let dead = core.dead().map(|dead| ShownDead {
            item: dead.item.to_string(),
            key: dead.key.as_deref().map(str::to_owned),
            attempts: dead.attempts,
            reason: reason(Failure::Broke, Some(dead.lost)),
            age: now.saturating_duration_since(dead.at),
        });
        Shown {
            queued: core.queued(),
            oldest: core.oldest().map_or(Duration::ZERO, |since| now.saturating_duration_since(since)),
            consumers: core.consumers(),
            in_flight: core.in_flight(),
            free: core.free(),
            workers: state.busy(now, workers),
            oldest_in_flight: core.oldest_claimed(EXCHANGE_SHOWN).into_iter().map(item).collect(),
            oldest_queued: core.oldest_queued(EXCHANGE_SHOWN).into_iter().map(item).collect(),
            dead: dead.collect(),
        }
    }

    /// Updates the metrics that are computed only on a scrape.
    pub fn scrape(&self) {
        let now = Instant::now().into_std();
        let state = self.state();
        let core = &state.core;
        let oldest = core.oldest().map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        self.metrics.show_oldest(oldest);
        self.metrics.show_slots(core.free(), core.in_flight());
        self.metrics.show_kept(core.kept(), self.budget.held());
    }
}

impl State {
    fn item(&self, now: std::time::Instant, overview: &Overview) -> ShownItem {
        let live = overview.claim.and_then(|(claim, _)| self.live.get(&claim));
        ShownItem {
            item: overview.item.to_string(),
            key: overview.key.as_deref().map(str::to_owned),
            client: overview.client.to_string(),
            state: overview.state,
            age: now.saturating_duration_since(overview.submitted),
            attempt: overview.attempt,
            claimed: overview.claim.map(|(_, since)| now.saturating_duration_since(since)),
            worker: live.and_then(|live| live.worker.clone()),
        }
    }

    /// What workers are doing.
    fn busy(&self, now: std::time::Instant, workers: Vec<Arc<Worker>>) -> Vec<ShownWorker> {
        let shown = workers.into_iter().take(EXCHANGE_SHOWN).map(|worker| {
            let age = now.saturating_duration_since(worker.since.into_std());
            ShownWorker { worker, age, busy: 0, free: 0, items: Vec::new() }
        });
        let mut shown: Vec<_> = shown.collect();
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
                shown[at].items.extend(self.core.claimed(*claim).map(|item| item.to_string()));
            }
        }
        shown
    }
}
