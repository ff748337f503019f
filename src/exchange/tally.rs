//! What is reported of an exchange in numbers.

use std::time::Duration;

use super::shown::ShownDead;
use super::{Exchange, Shown};

/// An exchange in numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tally {
    /// Workers that are known.
    pub workers: usize,
    /// Slots of workers.
    pub slots: usize,
    /// Those that work on a request.
    pub busy: usize,
    /// Requests that wait for a worker.
    pub queued: usize,
    /// How long the oldest of them has waited; none: none waits.
    pub oldest: Option<Duration>,
    /// How many requests have failed after all attempts.
    pub dead: u64,
    /// The last of them, the newest last.
    pub last_dead: Vec<ShownDead>,
}

impl Exchange {
    /// What it is doing, in numbers.
    #[must_use]
    pub fn tally(&self) -> Tally {
        let Shown { queued, oldest, in_flight, free, workers, dead, .. } = self.shown();
        Tally {
            workers: workers.len(),
            slots: free + in_flight,
            busy: in_flight,
            queued,
            oldest: (queued > 0).then_some(oldest),
            dead: self.metrics.dead.get(),
            last_dead: dead,
        }
    }
}
