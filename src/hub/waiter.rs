//! A parked request at its view. It registers before it compares, and waits for a state, never for an event, so no change
//! can fall in between.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::Duration;

use super::fan_out::{Cohort, FanOutGuard};
use super::view::{Current, Missing};
use super::{ParkPermit, Served, Subscription};
use crate::model::StateId;

/// A parked request.
#[derive(Debug)]
pub struct Waiter {
    subscription: Arc<Subscription>,
    current: watch::Receiver<Current>,
    cohort: Arc<Cohort>,
    _permit: ParkPermit,
}

/// What a state means to a parked request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It releases the request.
    Wakes,
    /// It would, if the version were higher.
    Blocked,
    /// Nothing.
    None,
}

/// Why the wait of a parked request is over.
#[derive(Debug, Clone)]
pub enum News {
    /// This is current; none: the model has no parts any more.
    State(Option<Arc<Served>>),
    /// The operation has ended.
    Ended,
}

impl Waiter {
    pub(super) fn new(subscription: Arc<Subscription>, current: watch::Receiver<Current>, permit: ParkPermit) -> Self {
        let cohort = Arc::clone(&current.borrow().cohort);
        cohort.join();
        Self { subscription, current, cohort, _permit: permit }
    }

    /// Waits until a state is current that wakes this request. It may be current already.
    pub async fn changed(&mut self, effect: impl Fn(Option<&StateId>) -> Effect) -> News {
        loop {
            let (served, blocked) = match self.seen(|state| effect(state) != Effect::None).await {
                None => return News::Ended,
                Some(Err(_)) => return News::State(None),
                Some(Ok(served)) => (Arc::clone(&served), effect(Some(&served.snapshot.id)) == Effect::Blocked),
            };
            if !blocked {
                return News::State(Some(served));
            }
            // A version may rise without a change: only requests that are blocked follow it.
            let mut newest = self.subscription.newest();
            let version = newest.borrow_and_update().map(|id| id.version);
            if let Ok(served) = self.subscription.current()
                && effect(Some(&served.snapshot.id)) == Effect::Wakes
            {
                return News::State(Some(served));
            }
            let digest = served.snapshot.id.digest;
            tokio::select! {
                // The sender lives in the hub, which the subscription holds.
                _ = newest.wait_for(|id| id.map(|id| id.version) != version) => {}
                // Also when the same state came back as another history's.
                _ = self.seen(|state| state.is_none_or(|id| id.digest != digest) || effect(state) == Effect::Wakes) => {}
            }
        }
    }

    /// Waits for a state that `wanted` holds of; none: the operation has ended.
    async fn seen(&mut self, wanted: impl Fn(Option<&StateId>) -> bool) -> Option<Result<Arc<Served>, Missing>> {
        let (cohort, selection) = (&mut self.cohort, &self.subscription.view().selection);
        let seen = self.current.wait_for(|current| {
            if current.closed {
                return true;
            }
            let wanted = match current.state.get(selection) {
                Ok(served) => wanted(Some(&served.snapshot.id)),
                Err(Missing::NoParts) => wanted(None),
                Err(Missing::NoState) => false,
            };
            // Still parked after a publication (its own state came back, or an older one): it
            // belongs to the next cohort, or it would stretch the fan-out of this one.
            if !wanted && !Arc::ptr_eq(cohort, &current.cohort) {
                *cohort = Arc::clone(&current.cohort);
                cohort.join();
            }
            wanted
        });
        seen.await.ok().filter(|current| !current.closed).map(|current| current.state.get(selection).clone())
    }

    /// What it waits at.
    #[must_use]
    pub fn subscription(&self) -> &Arc<Subscription> {
        &self.subscription
    }

    /// Gives up the place; what is left keeps the fan-out of its change open until the answer is written.
    /// `put_off`: how long the answer was put off on purpose.
    #[must_use]
    pub fn leave(self, put_off: Duration) -> FanOutGuard {
        FanOutGuard::new(self.cohort, put_off)
    }
}
