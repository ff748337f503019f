//! How many requests are parked at an operation or a topic, and how many may be.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// The limit of parked requests of an operation or a topic, and how many there are.
#[derive(Debug)]
pub struct Parking {
    parked: AtomicUsize,
    limit: AtomicUsize,
    gauge: prometheus::IntGauge,
    /// Notified when the last one leaves.
    emptied: Notify,
}

/// The right to be parked; freed when dropped.
#[derive(Debug)]
pub struct ParkPermit(Arc<Parking>);

/// The limit is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{limit} requests are parked, as many as are allowed")]
pub struct Full {
    /// As many as are allowed.
    pub limit: usize,
}

impl Parking {
    /// None yet, of so many at most, which the gauge counts.
    #[must_use]
    pub fn new(limit: usize, gauge: prometheus::IntGauge) -> Self {
        Self { parked: AtomicUsize::new(0), limit: AtomicUsize::new(limit), gauge, emptied: Notify::new() }
    }

    /// Sets the limit; requests that are parked beyond it stay parked.
    pub(super) fn set_limit(&self, limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// How many are parked.
    #[must_use]
    pub fn parked(&self) -> usize {
        self.parked.load(Ordering::Relaxed)
    }

    /// Waits until no request is parked.
    pub async fn emptied(&self) {
        loop {
            // Registered before the look, so that the last one to leave is not missed.
            let mut emptied = std::pin::pin!(self.emptied.notified());
            emptied.as_mut().enable();
            if self.parked() == 0 {
                return;
            }
            emptied.await;
        }
    }
}

impl ParkPermit {
    /// One more, where the limit is not reached.
    pub fn take(parking: &Arc<Parking>) -> Result<Self, Full> {
        let limit = parking.limit.load(Ordering::Relaxed);
        let take = |now: usize| (now < limit).then_some(now + 1);
        if parking.parked.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_err() {
            return Err(Full { limit });
        }
        parking.gauge.inc();
        Ok(Self(Arc::clone(parking)))
    }
}

impl Drop for ParkPermit {
    fn drop(&mut self) {
        self.0.gauge.dec();
        if self.0.parked.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.emptied.notify_waiters();
        }
    }
}
