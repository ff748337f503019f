//! What is reported of an exchange in numbers.

use std::time::Duration;

use tokio::time::Instant;

use super::Exchange;
use super::shown::ShownDead;
use crate::bounds::STATUS_DEAD;

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
    /// The last of them, as many as a report has, the newest last.
    pub last_dead: Vec<ShownDead>,
}

impl Exchange {
    /// What it is doing, in numbers.
    #[must_use]
    pub fn tally(&self) -> Tally {
        let now = Instant::now().into_std();
        let workers = self.workers.count();
        let state = self.state();
        let core = &state.core;
        let (slots, busy, queued, oldest) = (core.workers(), core.in_flight(), core.queued(), core.oldest());
        let (dead, last_dead) = (core.dead(), core.last_dead(STATUS_DEAD));
        drop(state);
        Tally {
            workers,
            slots,
            busy,
            queued,
            oldest: oldest.map(|since| now.saturating_duration_since(since)),
            dead,
            last_dead: last_dead.iter().map(|dead| ShownDead::at(now, dead)).collect(),
        }
    }
}
