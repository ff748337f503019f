//! How long a change takes to reach everyone: from the moment it was seen until the last answer
//! that it released is handed to its connection.
//!
//! The seats that are parked at one view while one state is current form a round. Each holds a share
//! of it until its answer is written; a change closes the rounds of all views that it touches, and
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
pub(super) struct Change {
    fan_out: Histogram,
    seen: Instant,
    /// Whether it released anyone.
    released: AtomicBool,
    /// Longest that an answer of a spread release took beyond what it was put off, in nanoseconds; 0: none was.
    spread: AtomicU64,
}

/// The seats parked at one view while one state is current.
#[derive(Debug, Default)]
pub(super) struct Round {
    joined: AtomicBool,
    change: OnceLock<Arc<Change>>,
}

/// A share of a round, kept until an answer is written.
#[derive(Debug)]
pub struct Hold {
    round: Arc<Round>,
    spread: Duration,
}

impl Change {
    /// A change that was seen at this time.
    pub(super) fn new(fan_out: Histogram, seen: Instant) -> Arc<Self> {
        Arc::new(Self { fan_out, seen, released: AtomicBool::new(false), spread: AtomicU64::new(0) })
    }
}

impl Round {
    /// A seat joins.
    pub(super) fn join(&self) {
        self.joined.store(true, Ordering::Relaxed);
    }

    /// The state changes.
    pub(super) fn close(&self, change: &Arc<Change>) {
        // A round is closed once, by the one publication that replaces it.
        let _ = self.change.set(Arc::clone(change));
    }
}

impl Hold {
    pub(super) fn new(round: Arc<Round>, spread: Duration) -> Self {
        Self { round, spread }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let (false, Some(change)) = (self.spread.is_zero(), self.round.change.get()) {
            let beyond = change.seen.elapsed().saturating_sub(self.spread);
            let nanos = u64::try_from(beyond.as_nanos()).unwrap_or(u64::MAX).max(1);
            change.spread.fetch_max(nanos, Ordering::Relaxed);
        }
    }
}

impl Drop for Round {
    fn drop(&mut self) {
        if let (true, Some(change)) = (*self.joined.get_mut(), self.change.get()) {
            change.released.store(true, Ordering::Relaxed);
        }
    }
}

impl Drop for Change {
    fn drop(&mut self) {
        if *self.released.get_mut() {
            let took = match *self.spread.get_mut() {
                0 => self.seen.elapsed(),
                nanos => Duration::from_nanos(nanos),
            };
            self.fan_out.observe(took.as_secs_f64());
        }
    }
}
