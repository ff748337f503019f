//! How long a change takes to reach everyone: from the moment it was seen until the last answer
//! that it released is handed to its connection.
//!
//! The seats that are parked while one state is current form a round. Each holds a share of it
//! until its answer is written; the last to let go measures. No list, no lock, no count.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use prometheus::Histogram;
use tokio::time::Instant;

/// The seats parked while one state is current.
#[derive(Debug)]
pub struct Round {
    fan_out: Histogram,
    joined: AtomicBool,
    changed: OnceLock<Instant>,
}

/// A share of a round, kept until an answer is written.
#[derive(Debug)]
pub struct Hold(#[expect(dead_code, reason = "held for its drop")] Arc<Round>);

impl Round {
    /// A round without seats.
    #[must_use]
    pub(super) fn open(fan_out: Histogram) -> Arc<Self> {
        Arc::new(Self { fan_out, joined: AtomicBool::new(false), changed: OnceLock::new() })
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
    pub(super) fn new(round: Arc<Round>) -> Self {
        Self(round)
    }
}

impl Drop for Round {
    fn drop(&mut self) {
        if let (true, Some(changed)) = (*self.joined.get_mut(), self.changed.get()) {
            self.fan_out.observe(changed.elapsed().as_secs_f64());
        }
    }
}
