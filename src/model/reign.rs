//! For how long a state is the current one: shared by all who had it then, so that each can tell
//! when it ended, and a change has nobody to visit.

use std::sync::OnceLock;
use std::time::Instant;

/// From a state's publication until another one takes its place.
#[derive(Debug, Default)]
pub struct Reign(OnceLock<Instant>);

impl Reign {
    /// Another state takes its place at `now`. Only the first end counts.
    pub fn end(&self, now: Instant) {
        let _ = self.0.set(now);
    }

    /// When it ended; absent: it has not.
    #[must_use]
    pub fn ended(&self) -> Option<Instant> {
        self.0.get().copied()
    }
}
