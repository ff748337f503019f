//! Deadlines, each under a key: one timer for all of them.

use std::collections::BTreeSet;
use std::time::Instant;

/// A set of deadlines.
#[derive(Debug, Default)]
pub struct Timers(BTreeSet<(Instant, u32)>);

impl Timers {
    /// Replaces the deadline of `key`, which is `before`.
    pub fn replace(&mut self, key: u32, before: Option<Instant>, deadline: Option<Instant>) {
        if before == deadline {
            return;
        }
        if let Some(before) = before {
            self.0.remove(&(before, key));
        }
        if let Some(deadline) = deadline {
            self.0.insert((deadline, key));
        }
    }

    /// The next deadline.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        self.0.first().map(|(deadline, _)| *deadline)
    }

    /// Takes a key out whose deadline has come.
    pub fn expired(&mut self, now: Instant) -> Option<u32> {
        let (deadline, key) = *self.0.first()?;
        (deadline <= now).then(|| {
            self.0.pop_first();
            key
        })
    }
}
