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

use crate::config::Limits;
use crate::model::{History, Publication, Selection, Snapshot};

mod delta;
mod encodings;
mod metrics;
mod round;
mod served;
mod view;
mod viewer;

use delta::Past;
pub use metrics::{Families, Metrics};
pub use round::Hold;
use round::{Change, Round};
pub use served::Served;
use view::Current;
pub use view::Missing;
use viewer::Views;
pub use viewer::{TooManySelections, Viewer};

/// The current state of one operation and those who wait for the next.
#[derive(Debug)]
pub struct Hub {
    views: Arc<Views>,
    /// One for all who look at the whole model.
    whole: Arc<Viewer>,
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
    /// A hub without a state and with at most `parked` seats.
    #[must_use]
    pub fn new(parked: usize, limits: Limits, metrics: Metrics) -> Self {
        let parked = Arc::new(Parked {
            now: AtomicUsize::new(0),
            limit: AtomicUsize::new(parked),
            gauge: metrics.parked.clone(),
            emptied: Notify::new(),
        });
        let past = Past::new(History::new(limits.history_entries, limits.history_bytes));
        let views = Arc::new(Views::new(past, parked, limits.selections, metrics));
        Self { whole: Arc::new(Viewer::of_whole(&views)), views }
    }

    /// What is served of the whole model now; absent: no state yet.
    #[must_use]
    pub fn current(&self) -> Option<Arc<Served>> {
        self.whole.current().ok()
    }

    /// One who looks at a selection, or (none) at the whole model.
    pub fn viewer(&self, selection: Option<&Selection>) -> Result<Arc<Viewer>, TooManySelections> {
        match selection.filter(|selection| !selection.is_whole()) {
            Some(selection) => Viewer::of_part(&self.views, selection).map(Arc::new),
            None => Ok(Arc::clone(&self.whole)),
        }
    }

    /// How many requests are parked.
    #[must_use]
    pub fn parked(&self) -> usize {
        self.views.parked.now.load(Ordering::Relaxed)
    }

    /// At most so many seats, selections and past states from now on; seats and selections beyond
    /// that which are taken stay taken.
    pub fn set_limits(&self, parked: usize, limits: Limits) {
        self.views.parked.limit.store(parked, Ordering::Relaxed);
        self.views.set_limit(limits.selections);
        self.views.past.lock().set_bounds(limits.history_entries, limits.history_bytes);
    }

    /// The counters of releases.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.views.metrics
    }

    /// Serves a new state and wakes everyone who is parked at what changed.
    pub fn publish(&self, publication: &Publication) {
        let Publication { snapshot, seen } = publication;
        let change = Change::new(self.metrics().fan_out.clone(), Instant::from_std(*seen));
        self.views.publish(snapshot, &change);
        self.metrics().changes.inc();
    }

    /// Serves the state that a former process left, before anyone can be parked.
    pub fn restore(&self, snapshot: &Snapshot) {
        self.views.restore(snapshot);
    }

    /// Serves the same state at another version: nobody is woken, the bytes stay shared.
    pub fn move_version(&self, version: u64) {
        self.views.move_version(version);
        self.metrics().no_ops.inc();
    }

    /// Waits until a state of the whole model is served for which `wanted` holds.
    pub async fn wait_for(&self, wanted: impl Fn(&Served) -> bool) {
        let mut current = self.views.whole.subscribe();
        let seen = current.wait_for(|current| current.state.as_deref().is_ok_and(&wanted)).await;
        debug_assert!(seen.is_ok(), "the hub holds the sender");
    }

    /// Ends every wait, now and later: the operation has ended.
    pub fn close(&self) {
        self.views.close();
    }

    /// Waits until nobody is parked.
    pub async fn emptied(&self) {
        loop {
            // Registered before the look, so that the last one to leave is not missed.
            let mut emptied = std::pin::pin!(self.views.parked.emptied.notified());
            emptied.as_mut().enable();
            if self.parked() == 0 {
                return;
            }
            emptied.await;
        }
    }
}

impl Seat {
    /// Waits for a state that releases this seat, and gives it. It may be current already. None: there will be none, since
    /// the operation has ended or its model has no parts any more.
    pub async fn released(&mut self, releases: impl Fn(&Served) -> bool) -> Option<Arc<Served>> {
        let round = &mut self.round;
        let seen = self.current.wait_for(|current| {
            if current.closed {
                return true;
            }
            let wanted = match &current.state {
                Ok(served) => releases(served),
                Err(missing) => *missing == Missing::NoParts,
            };
            // Still parked after a publication (its own state came back, or an older one): it
            // belongs to the next round, or it would stretch the fan-out of this one.
            if !wanted && !Arc::ptr_eq(round, &current.round) {
                *round = Arc::clone(&current.round);
                round.join();
            }
            wanted
        });
        seen.await.ok().filter(|current| !current.closed).and_then(|current| current.state.clone().ok())
    }

    /// What is served here now, at the version of its last change.
    #[must_use]
    pub fn current(&self) -> Option<Arc<Served>> {
        self.current.borrow().state.clone().ok()
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
