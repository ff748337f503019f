//! Views and waiters: the only place that knows how waiting is done.
//!
//! A request looks at the whole model or a selection through a [`Subscription`], and is parked with a [`ParkPermit`] as a
//! [`Waiter`]. A change is one send on a `tokio::sync::watch`, which copies nothing and visits no client: each wakes,
//! looks at the value, and takes what it needs from the shared [`Served`].

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::config::Limits;
use crate::model::{History, Publication, Selection, Snapshot, StateId};

mod changes;
mod crowd;
mod delta;
mod encodings;
mod fan_out;
mod metrics;
mod parking;
mod payload;
mod served;
mod subscription;
mod telling;
mod view;
mod waiter;

pub use changes::{Announcer, Change, Mailbox, ViewId, What, Who};
use delta::Past;
use fan_out::FanOut;
pub use fan_out::FanOutGuard;
pub use metrics::{Families, Metrics, StreamGuard};
pub use parking::{Full, ParkPermit, Parking};
pub use payload::{Payload, Wanted};
pub use served::Served;
use subscription::Views;
pub use subscription::{Subscription, TooManySelections};
pub use telling::Telling;
pub use view::Missing;
use view::View;
pub use waiter::{Effect, News, Waiter};

/// The current state of one operation, and the requests that wait for the next.
#[derive(Debug)]
pub struct Hub {
    views: Arc<Views>,
    /// Shared by all requests for the whole model.
    whole: Arc<Subscription>,
}

/// Parts of a new state that nobody may have looked at. They keep the whole of it in memory.
#[derive(Debug)]
pub struct Unmade(Vec<Arc<View>>);

/// Parts that are made in a row: in well below a millisecond.
const ROW: usize = 64;

impl Unmade {
    /// Makes them. Others have their turn now and then.
    pub async fn make(self) {
        for views in self.0.chunks(ROW) {
            tokio::task::yield_now().await;
            for view in views {
                drop(view.state());
            }
        }
    }
}

impl Hub {
    /// A hub without a state, at which at most `parked` requests may be parked.
    #[must_use]
    pub fn new(parked: usize, limits: Limits, metrics: Metrics) -> Self {
        let parking = Arc::new(Parking::new(parked, metrics.parked.clone()));
        metrics.crowd.join(&parking);
        let past = Past::new(History::new(limits.history_entries, limits.history_bytes));
        let views = Arc::new(Views::new(past, parking, limits.selections, metrics));
        Self { whole: Arc::new(Subscription::of_whole(&views)), views }
    }

    /// What is served of the whole model now; absent: no state yet.
    #[must_use]
    pub fn current(&self) -> Option<Arc<Served>> {
        self.whole.current().ok()
    }

    /// A subscription to the view of a selection, or (none) of the whole model.
    pub fn subscribe(&self, selection: Option<&Selection>) -> Result<Arc<Subscription>, TooManySelections> {
        match selection.filter(|selection| !selection.is_whole()) {
            Some(selection) => Subscription::of_part(&self.views, selection).map(Arc::new),
            None => Ok(Arc::clone(&self.whole)),
        }
    }

    /// How many requests are parked.
    #[must_use]
    pub fn parked(&self) -> usize {
        self.views.parking.parked()
    }

    /// Seconds that those who lose this process are to take to come back, as many as are parked in it.
    #[must_use]
    pub fn reconnect_within(&self, now: std::time::Instant) -> u64 {
        self.views.metrics.crowd.reconnect_within(now)
    }

    /// The right to park a request.
    pub fn park(&self) -> Result<ParkPermit, Full> {
        ParkPermit::take(&self.views.parking)
    }

    /// At most so many parked requests, selections and past states from now on; requests and selections beyond
    /// that which are there stay.
    pub fn set_limits(&self, parked: usize, limits: Limits) {
        self.views.parking.set_limit(parked);
        self.views.set_limit(limits.selections);
        self.views.past.lock().set_bounds(limits.history_entries, limits.history_bytes);
    }

    /// The counters of releases.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.views.metrics
    }

    /// Serves a new state, and releases every request that is parked at a view that changed. What is left to do may be
    /// left out: those who look at a selection do it for theirs.
    pub fn publish(&self, publication: &Publication) -> Unmade {
        let Publication { snapshot, seen } = publication;
        let fan_out = FanOut::new(self.metrics().fan_out.clone(), Instant::from_std(*seen));
        let touched = self.views.publish(snapshot, &fan_out);
        self.metrics().changes.inc();
        Unmade(touched)
    }

    /// Serves the state that a former process left, before anyone can be parked.
    pub fn restore(&self, snapshot: &Snapshot) {
        self.views.restore(snapshot);
    }

    /// Serves the same state at another version: it releases only the requests for which the version alone was too low,
    /// and the bytes stay shared.
    pub fn bump_version(&self, version: u64) {
        self.views.bump_version(version);
        self.metrics().no_ops.inc();
    }

    /// Waits until the whole model is served in a state, at its newest version, of which `wanted` holds.
    pub async fn wait_for(&self, wanted: impl Fn(&StateId) -> bool) {
        let mut newest = self.views.newest.subscribe();
        let seen = newest.wait_for(|id| id.as_ref().is_some_and(&wanted)).await;
        debug_assert!(seen.is_ok(), "the hub holds the sender");
    }

    /// Has the parked polls of `who` answered within this time: the state is fresh or stale, as it was not before.
    pub fn tell(&self, who: Who, within: Duration) {
        self.views.tell(who, within);
    }

    /// Ends every wait, now and later: the operation has ended.
    pub fn close(&self) {
        self.views.close();
    }

    /// Waits until no request is parked.
    pub async fn emptied(&self) {
        self.views.parking.emptied().await;
    }
}

#[cfg(test)]
mod tests;
