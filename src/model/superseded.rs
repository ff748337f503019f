//! When a state was superseded by another: shared by all who had it then, so that each can tell when that was, and a
//! change has nobody to visit.

use std::sync::OnceLock;
use std::time::Instant;

/// When another state took the place of this one.
#[derive(Debug, Default)]
pub struct SupersededAt(OnceLock<Instant>);

impl SupersededAt {
    /// Another state takes its place at `now`. Only the first time counts.
    pub fn set(&self, now: Instant) {
        let _ = self.0.set(now);
    }

    /// When it was superseded; absent: it is the current state.
    #[must_use]
    pub fn get(&self) -> Option<Instant> {
        self.0.get().copied()
    }
}
