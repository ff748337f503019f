//! An exchange: consumers' requests wait for workers that dial in.
//!
//! ```text
//!  a consumer's request                                   a worker with a free slot
//!        |  submit                                              |  offer
//!        v                                                      v
//!      Exchange  --- one lock ---  core::Core (PURE: who gets what, and when it is over)
//!        |                                                      |
//!        |  Entry: the request, and its outcome                 |  Job: the claim on an item
//!        v                                                      v
//!  the consumer waits for Entry::ended                    the transport sends the request to the worker,
//!  and reads the body from a result::Reader  <----------  and writes its answer to the result::Buffer
//! ```
//! The ports that consumers and workers use are in `http::exchange`.

use std::collections::HashMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use arc_swap::ArcSwap;
use aws_lc_rs::rand;
use http::HeaderMap;
use tokio::sync::{Notify, oneshot, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::bounds::{EXCHANGE_KEPT_BYTES, EXCHANGE_LOG, EXCHANGE_NATS_LOG};
use crate::config;
use crate::telemetry::seldom::Seldom;

pub mod body;
mod consumer;
pub mod core;
pub mod entry;
pub mod fields;
pub mod id;
pub mod job;
pub mod metrics;
mod notes;
pub mod registry;
pub mod result;
mod rules;
pub mod shared;
mod shown;
mod slot;
mod standing;
mod step;
mod tally;
pub mod workers;

use self::core::{Core, Key, Lost, Over, Pending, Rules};
pub use consumer::Consumer;
use entry::Entry;
use id::{ClaimId, ItemId};
use job::Job;
use metrics::Metrics;
use result::{Budget, Buffer};
use shared::{Lookup, Shared};
pub use shown::{Shown, ShownDead, ShownItem, ShownShared, ShownWorker};
pub use slot::{Given, Seated, Slot};
use standing::Standing;
pub use tally::Tally;
use workers::{Worker, Workers};

/// An exchange.
#[derive(Debug)]
pub struct Exchange {
    name: String,
    config: ArcSwap<config::Exchange>,
    /// Which workers it takes.
    standing: watch::Sender<Standing>,
    state: Mutex<State>,
    /// Something is due earlier than before.
    earlier: Notify,
    budget: Arc<Budget>,
    metrics: Metrics,
    /// How many requests workers work on.
    in_flight: watch::Sender<usize>,
    /// Consumers that still read what has ended.
    lingering: TaskTracker,
    workers: Workers,
    /// Lines of the log about requests that fail.
    failures: Seldom,
    /// Lines of the log about the queue that is full, and is so no more.
    queue_lines: Seldom,
    /// Lines of the log about requests that NATS does not write.
    nats_lines: Seldom,
    /// Consumers that were refused, since the process stops.
    stopped: AtomicU64,
    /// Where items are looked for that other replicas may know.
    lookup: OnceLock<Lookup>,
}

#[derive(Debug)]
struct State {
    core: Core,
    entries: HashMap<ItemId, Arc<Entry>>,
    /// Who waits for what becomes of an offer.
    offers: HashMap<ClaimId, WaitingOffer>,
    /// Claims that workers work on.
    live: HashMap<ClaimId, Live>,
    /// Those that have just ended: who had them is still to be told.
    over: Vec<(ClaimId, Live)>,
    /// Claims that nobody took: their end needs the lock.
    dropped: Vec<Given>,
    /// What other replicas know; none: it shares its items with none.
    shared: Option<Shared>,
    /// Claims of workers that poll, between their requests.
    held: HashMap<ClaimId, Job>,
    /// When the task that keeps the time wakes.
    wakes: Option<std::time::Instant>,
    /// The queue is full, and operators know it.
    is_full: bool,
}

/// An offer that waits.
#[derive(Debug)]
struct WaitingOffer {
    give: oneshot::Sender<Given>,
    worker: Option<Arc<Worker>>,
}

/// A claim.
#[derive(Debug)]
struct Live {
    /// Ends the work on it.
    cancel: CancellationToken,
    worker: Option<Arc<Worker>>,
}

impl Exchange {
    /// An exchange without items and workers.
    #[must_use]
    pub fn new(config: config::Exchange, metrics: Metrics) -> Arc<Self> {
        let core = Core::new(Rules::of(&config), Instant::now().into_std());
        let state = State {
            core,
            entries: HashMap::new(),
            offers: HashMap::new(),
            live: HashMap::new(),
            over: Vec::new(),
            dropped: Vec::new(),
            shared: None,
            held: HashMap::new(),
            wakes: None,
            is_full: false,
        };
        // Another one may have had the name before.
        metrics.show_requests(0, 0);
        let budget = Budget::new(EXCHANGE_KEPT_BYTES);
        let (earlier, lingering) = (Notify::new(), TaskTracker::new());
        let in_flight = watch::Sender::default();
        let standing = watch::Sender::new(Standing::of(&config));
        let (workers, failures) = (Workers::of(&config.name), Seldom::new(EXCHANGE_LOG));
        let (name, config) = (config.name.clone(), ArcSwap::from_pointee(config));
        Arc::new(Self {
            name,
            config,
            standing,
            state: Mutex::new(state),
            earlier,
            budget,
            metrics,
            in_flight,
            lingering,
            workers,
            failures,
            queue_lines: Seldom::new(EXCHANGE_LOG),
            nats_lines: Seldom::new(EXCHANGE_NATS_LOG),
            stopped: AtomicU64::new(0),
            lookup: OnceLock::new(),
        })
    }

    /// Its name, which stays.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How it is configured now.
    #[must_use]
    pub fn config(&self) -> Arc<config::Exchange> {
        self.config.load_full()
    }

    /// Its metrics.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Does what is due, when it is due; without end.
    pub async fn keep_time(self: Arc<Self>) {
        loop {
            let next = {
                let mut state = self.state();
                state.wakes = state.core.next();
                state.wakes
            };
            let at = async |time: Option<Instant>| match time {
                Some(time) => sleep_until(time).await,
                None => std::future::pending().await,
            };
            let (due, look) = (at(next.map(Into::into)), at(self.workers.next_look()));
            tokio::select! {
                () = due => self.act_with(|state, now| {
                    let State { core, entries, .. } = state;
                    core.tick(now, |id| entries.get(&id).is_some_and(|entry| entry.request.body.is_replayable()));
                }),
                () = look => self.workers.look(),
                () = self.earlier.notified() => {}
            }
        }
    }

    /// Waits until no worker works on a request.
    pub async fn emptied(&self) {
        // The sender lives as long as this.
        let _ = self.in_flight.subscribe().wait_for(|count| *count == 0).await;
    }

    /// What is told of an item that has not ended. Its answer is kept from now on, also if it comes before the consumer has left.
    #[must_use]
    pub fn tell(&self, id: ItemId) -> Option<Pending> {
        self.state().core.tell(id)
    }

    /// Whether a worker that is gone may have begun an item.
    #[must_use]
    pub fn may_have_begun(&self, id: ItemId) -> bool {
        self.state().core.may_have_begun(id)
    }

    /// Why a claim is over.
    #[must_use]
    pub fn over(&self, claim: ClaimId) -> Over {
        self.state().core.over(claim)
    }

    /// Whether a worker waits for a request of this key.
    #[must_use]
    pub fn has_free_slot(&self, key: Option<&Key>) -> bool {
        self.state().core.has_free_slot(key)
    }

    /// Whether a worker has an item.
    #[must_use]
    pub fn is_claimed(&self, id: ItemId) -> bool {
        self.state().core.is_claimed(id)
    }

    pub(in crate::exchange) fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    /// The head of an answer is here; whether its body is to be kept.
    fn head(self: &Arc<Self>, claim: ClaimId) -> Result<bool, Over> {
        self.act(|core, _| core.head(claim))
    }

    /// An answer is whole: the end of it is told, or what tells whether it counts.
    fn finish(
        self: &Arc<Self>,
        claim: ClaimId,
        answer: &Arc<Buffer>,
        trailers: Option<HeaderMap>,
    ) -> Result<Option<oneshot::Receiver<Result<(), Over>>>, Over> {
        let (took, counts, trailers) = self.act_with(|state, now| {
            state.forget_claim(claim, |_| ());
            let item = state.core.claimed(claim);
            let took = state.core.finish(now, claim);
            match item.filter(|_| took.is_some() && state.shared.is_some()) {
                Some(item) => (took, Some(state.completes(item, answer, trailers)), None),
                None => (took, None, trailers),
            }
        });
        let Some(took) = took else {
            answer.cut();
            return Err(self.over(claim));
        };
        self.metrics.service_seconds.observe(took.as_secs_f64());
        if counts.is_none() {
            self.metrics.done();
            answer.finish(trailers);
            self.linger(answer);
        }
        Ok(counts)
    }

    /// The consumer of an item has broken off its body.
    fn broken_off(self: &Arc<Self>, item: ItemId) {
        self.act(|core, now| core.broken_off(now, item));
    }

    fn lost(self: &Arc<Self>, claim: ClaimId, entry: &Entry, how: Lost) {
        let is_replayable = entry.request.body.is_replayable();
        self.act_with(|state, now| {
            state.forget_claim(claim, |_| ());
            if !is_replayable {
                state.core.not_replayable(entry.id);
            }
            state.core.lost(now, claim, how);
        });
    }

    /// Nobody reads the answer of a claim.
    fn unread(self: &Arc<Self>, claim: ClaimId) {
        self.act(|core, now| core.unread(now, claim));
    }

    /// Consumers still read an answer that has ended.
    fn linger(&self, answer: &Arc<Buffer>) {
        if let Some(drained) = answer.drained() {
            self.lingering.spawn(drained);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn forget_claim(&mut self, claim: ClaimId, how: impl FnOnce(&Live)) {
        if let Some(live) = self.live.remove(&claim) {
            how(&live);
            self.over.push((claim, live));
        }
    }
}

/// 128 random bits.
#[must_use]
pub fn random() -> u128 {
    let mut bytes = [0; 16];
    // It fails only where the system gives no randomness at all; then no id may be made.
    rand::fill(&mut bytes).expect("the system gives random bytes");
    u128::from_be_bytes(bytes)
}

#[cfg(test)]
mod tests;
