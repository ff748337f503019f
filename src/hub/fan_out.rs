//! How long a change takes to reach everyone: from the moment it was seen until the last answer
//! that it released is handed to its connection.
//!
//! The requests that wait at one view while one state is current form a [`Cohort`]. Each holds a share
//! of it until its answer is written. A change begins a [`FanOut`] for the cohorts of all views that it touches, and
//! the last to let go of the last of them measures. No list, no lock, no count.
//!
//! An answer that was put off on purpose (`wakeSpread`) notes what it took beyond that, and the
//! longest of these is what counts: the spread is no slowness.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use prometheus::Histogram;
use tokio::time::{Duration, Instant};

/// A change on its way to those that it releases.
#[derive(Debug)]
pub(super) struct FanOut {
    seconds: Histogram,
    seen: Instant,
    /// Whether it released anyone.
    released: AtomicBool,
    /// Longest that an answer of a spread release took beyond what it was put off, in nanoseconds; 0: none was.
    spread: AtomicU64,
}

/// The requests that wait at one view while one state is current.
#[derive(Debug, Default)]
pub(super) struct Cohort {
    joined: AtomicBool,
    fan_out: OnceLock<Arc<FanOut>>,
}

/// A share of a cohort, kept until an answer is written.
#[derive(Debug)]
pub struct FanOutGuard {
    share: Share,
    put_off: Duration,
}

/// Of which it is a share.
#[derive(Debug)]
enum Share {
    Cohort(Arc<Cohort>),
    Change(Arc<FanOut>),
}

impl FanOut {
    /// The fan-out of a change that was seen at this time.
    pub(super) fn new(seconds: Histogram, seen: Instant) -> Arc<Self> {
        Arc::new(Self { seconds, seen, released: AtomicBool::new(false), spread: AtomicU64::new(0) })
    }

    /// It has released a request.
    pub(super) fn has_released(&self) {
        // A look first: all who release read the same memory, and only one has to write it.
        if !self.released.load(Ordering::Relaxed) {
            self.released.store(true, Ordering::Relaxed);
        }
    }
}

impl Cohort {
    /// A request joins.
    pub(super) fn join(&self) {
        self.joined.store(true, Ordering::Relaxed);
    }

    /// The state changes.
    pub(super) fn release(&self, fan_out: &Arc<FanOut>) {
        // Once, by the one publication that replaces it.
        let _ = self.fan_out.set(Arc::clone(fan_out));
    }
}

impl FanOutGuard {
    pub(super) fn new(cohort: Arc<Cohort>, put_off: Duration) -> Self {
        Self { share: Share::Cohort(cohort), put_off }
    }

    pub(super) fn of_change(fan_out: Arc<FanOut>) -> Self {
        Self { share: Share::Change(fan_out), put_off: Duration::ZERO }
    }

    /// The answer was put off on purpose for this long.
    #[must_use]
    pub fn put_off(mut self, put_off: Duration) -> Self {
        if let Share::Change(fan_out) = &self.share {
            fan_out.has_released();
        }
        self.put_off = put_off;
        self
    }
}

impl Drop for FanOutGuard {
    fn drop(&mut self) {
        let fan_out = match &self.share {
            Share::Cohort(cohort) => cohort.fan_out.get(),
            Share::Change(fan_out) => Some(fan_out),
        };
        if let (false, Some(fan_out)) = (self.put_off.is_zero(), fan_out) {
            let beyond = fan_out.seen.elapsed().saturating_sub(self.put_off);
            let nanos = u64::try_from(beyond.as_nanos()).unwrap_or(u64::MAX).max(1);
            fan_out.spread.fetch_max(nanos, Ordering::Relaxed);
        }
    }
}

impl Drop for Cohort {
    fn drop(&mut self) {
        if let (true, Some(fan_out)) = (*self.joined.get_mut(), self.fan_out.get()) {
            fan_out.has_released();
        }
    }
}

impl Drop for FanOut {
    fn drop(&mut self) {
        if *self.released.get_mut() {
            let took = match *self.spread.get_mut() {
                0 => self.seen.elapsed(),
                nanos => Duration::from_nanos(nanos),
            };
            self.seconds.observe(took.as_secs_f64());
        }
    }
}
