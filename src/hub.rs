//! Seats and releases: the only place that knows how waiting is done.
//!
//! A parked request is a future that holds a [`Seat`]; a change is one send on a
//! `tokio::sync::watch`, which copies nothing and visits no client: each wakes, looks at the
//! value, and takes what it needs from the shared [`Served`]. A seat registers before it
//! compares, and waits for a state, never for an event, so no change can fall in between.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Notify, watch};
use tokio::time::{Duration, Instant};

use crate::model::{Publication, Snapshot};

mod metrics;
mod round;
mod served;

pub use metrics::{Families, Metrics};
pub use round::{Hold, Round};
pub use served::Served;

/// The current state of one operation and those who wait for the next.
#[derive(Debug)]
pub struct Hub {
    current: watch::Sender<Current>,
    parked: Arc<Parked>,
    metrics: Metrics,
}

/// What is served now.
#[derive(Debug, Clone)]
pub struct Current {
    served: Option<Arc<Served>>,
    round: Arc<Round>,
    /// The operation has ended: nobody waits any more.
    closed: bool,
}

/// How many requests are parked, and how many may be.
#[derive(Debug)]
struct Parked {
    now: AtomicUsize,
    limit: AtomicUsize,
    gauge: prometheus::IntGauge,
    /// Told when the last one leaves.
    emptied: Notify,
}

/// The right to be parked; gives it back when dropped.
#[derive(Debug)]
struct Permit(Arc<Parked>);

/// A parked request's place.
#[derive(Debug)]
pub struct Seat {
    current: watch::Receiver<Current>,
    round: Arc<Round>,
    _permit: Permit,
}

/// All seats are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{limit} requests are parked, as many as are allowed")]
pub struct Full {
    /// As many as are allowed.
    pub limit: usize,
}

impl Hub {
    /// A hub without a state and with at most `limit` seats.
    #[must_use]
    pub fn new(limit: usize, metrics: Metrics) -> Self {
        let round = Round::open(metrics.fan_out.clone());
        let parked = Parked {
            now: AtomicUsize::new(0),
            limit: AtomicUsize::new(limit),
            gauge: metrics.parked.clone(),
            emptied: Notify::new(),
        };
        Self {
            current: watch::Sender::new(Current { served: None, round, closed: false }),
            parked: Arc::new(parked),
            metrics,
        }
    }

    /// What is served now; absent: no state yet.
    #[must_use]
    pub fn current(&self) -> Option<Arc<Served>> {
        self.current.borrow().served.clone()
    }

    /// How many requests are parked.
    #[must_use]
    pub fn parked(&self) -> usize {
        self.parked.now.load(Ordering::Relaxed)
    }

    /// At most `limit` seats from now on; those beyond it that are taken stay taken.
    pub fn set_limit(&self, limit: usize) {
        self.parked.limit.store(limit, Ordering::Relaxed);
    }

    /// The counters of releases.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Serves a new state and wakes everyone who is parked.
    pub fn publish(&self, publication: Publication) {
        let served = Arc::new(Served::new(publication.snapshot));
        let next = Round::open(self.metrics.fan_out.clone());
        self.current.send_modify(|current| {
            // Closed before anyone can see the new state, so that the last to leave measures.
            current.round.close(Instant::from_std(publication.seen));
            current.round = next;
            if let Some(before) = current.served.replace(served) {
                before.reign.end(Instant::now().into_std());
            }
        });
        self.metrics.changes.inc();
    }

    /// Serves the state that a former process left, before anyone can be parked.
    pub fn restore(&self, snapshot: Snapshot) {
        self.current.send_modify(|current| current.served = Some(Arc::new(Served::new(snapshot))));
    }

    /// Serves the same state at another version: nobody is woken, the bytes stay shared.
    pub fn move_version(&self, snapshot: Snapshot) {
        self.current.send_if_modified(|current| {
            if let Some(served) = &mut current.served {
                *served = Arc::new(served.moved(snapshot));
            }
            false
        });
        self.metrics.no_ops.inc();
    }

    /// Waits until a state is served for which `wanted` holds.
    pub async fn wait_for(&self, wanted: impl Fn(&Served) -> bool) {
        let mut current = self.current.subscribe();
        let seen = current.wait_for(|current| current.served.as_deref().is_some_and(&wanted)).await;
        debug_assert!(seen.is_ok(), "the hub holds the sender");
    }

    /// Ends every wait, now and later: the operation has ended.
    pub fn close(&self) {
        self.current.send_modify(|current| current.closed = true);
    }

    /// Waits until nobody is parked.
    pub async fn emptied(&self) {
        loop {
            // Registered before the look, so that the last one to leave is not missed.
            let mut emptied = std::pin::pin!(self.parked.emptied.notified());
            emptied.as_mut().enable();
            if self.parked() == 0 {
                return;
            }
            emptied.await;
        }
    }

    /// Takes a seat. The caller then compares and parks: registered first, so that no change falls in between.
    pub fn seat(&self) -> Result<Seat, Full> {
        let permit = Permit::take(&self.parked)?;
        let mut current = self.current.subscribe();
        let round = Arc::clone(&current.borrow_and_update().round);
        round.join();
        Ok(Seat { current, round, _permit: permit })
    }
}

impl Seat {
    /// Waits for a state that releases this seat, and gives it. It may be current already. None: the
    /// operation has ended.
    pub async fn released(&mut self, releases: impl Fn(&Served) -> bool) -> Option<Arc<Served>> {
        let round = &mut self.round;
        let seen = self.current.wait_for(|current| {
            if current.closed {
                return true;
            }
            let wanted = current.served.as_deref().is_some_and(&releases);
            // Still parked after a publication (its own state came back, or an older one): it
            // belongs to the next round, or it would stretch the fan-out of this one.
            if !wanted && !Arc::ptr_eq(round, &current.round) {
                *round = Arc::clone(&current.round);
                round.join();
            }
            wanted
        });
        seen.await.ok().filter(|current| !current.closed).and_then(|current| current.served.clone())
    }

    /// What is served now.
    #[must_use]
    pub fn current(&self) -> Option<Arc<Served>> {
        self.current.borrow().served.clone()
    }

    /// Gives up the seat; what is left keeps the fan-out of its round open until the answer is written.
    /// `spread`: how long the answer was put off on purpose.
    #[must_use]
    pub fn leave(self, spread: Duration) -> Hold {
        Hold::new(self.round, spread)
    }
}

impl Permit {
    fn take(parked: &Arc<Parked>) -> Result<Self, Full> {
        let limit = parked.limit.load(Ordering::Relaxed);
        let take = |now: usize| (now < limit).then_some(now + 1);
        if parked.now.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_err() {
            return Err(Full { limit });
        }
        parked.gauge.inc();
        Ok(Self(Arc::clone(parked)))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.gauge.dec();
        if self.0.now.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.emptied.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests;
