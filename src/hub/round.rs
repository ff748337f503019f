//! How long a change takes to reach everyone: from the moment it was seen until the last answer
//! that it released is handed to its connection.
//!
//! The seats that are parked while one state is current form a round. Each holds a share of it
//! until its answer is written; the last to let go measures. No list, no lock, no count.
//!
//! An answer that was put off on purpose (`wakeSpread`) notes what it took beyond that, and the
//! longest of these is what counts: the spread is no slowness.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use prometheus::Histogram;
use tokio::time::{Duration, Instant};

/// The seats parked while one state is current.
#[derive(Debug)]
pub struct Round {
    fan_out: Histogram,
    joined: AtomicBool,
    changed: OnceLock<Instant>,
    /// Longest that an answer of a spread release took beyond what it was put off, in nanoseconds; 0: none was.
    spread: AtomicU64,
}

/// A share of a round, kept until an answer is written.
#[derive(Debug)]
pub struct Hold {
    round: Arc<Round>,
    spread: Duration,
}

impl Round {
    /// A round without seats.
    #[must_use]
    pub(super) fn open(fan_out: Histogram) -> Arc<Self> {
        Arc::new(Self { fan_out, joined: AtomicBool::new(false), changed: OnceLock::new(), spread: AtomicU64::new(0) })
    }

    /// A seat joins.
    pub(super) fn join(&self) {
        self.joined.store(true, Ordering::Relaxed);
    }

    /// The state changes: seen at `changed`.
    pub(super) fn close(&self, changed: Instant) {
        // A round is closed once, by the one publication that replaces it.
        let _ = self.changed.set(changed);
    }
}

impl Hold {
    pub(super) fn new(round: Arc<Round>, spread: Duration) -> Self {
        Self { round, spread }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let (false, Some(changed)) = (self.spread.is_zero(), self.round.changed.get()) {
            let beyond = changed.elapsed().saturating_sub(self.spread);
            let nanos = u64::try_from(beyond.as_nanos()).unwrap_or(u64::MAX).max(1);
            self.round.spread.fetch_max(nanos, Ordering::Relaxed);
        }
    }
}

impl Drop for Round {
    fn drop(&mut self) {
        if let (true, Some(changed)) = (*self.joined.get_mut(), self.changed.get()) {
            let took = match *self.spread.get_mut() {
                0 => changed.elapsed(),
                nanos => Duration::from_nanos(nanos),
            };
            self.fan_out.observe(took.as_secs_f64());
        }
    }
}
