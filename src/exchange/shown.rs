//! What operators are shown of an exchange.

use std::time::Duration;

use tokio::time::Instant;

use super::Exchange;

/// An exchange at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Requests that wait for a worker.
    pub queued: usize,
    /// How long the oldest of them has waited.
    pub oldest: Duration,
    /// Consumers that wait, also for what workers work on; several may share a request.
    pub consumers: u64,
    /// Requests that workers work on.
    pub in_flight: usize,
    /// Slots that wait for a request.
    pub free: usize,
    /// Requests that failed after all attempts, the newest last.
    pub dead: Vec<ShownDead>,
}

/// A request that failed after all attempts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownDead {
    /// Its item.
    pub item: String,
    /// The key in its path.
    pub key: Option<String>,
    /// How often a worker may have begun it.
    pub attempts: u32,
    /// How long ago it failed.
    pub age: Duration,
}

impl Exchange {
    /// What it is doing.
    #[must_use]
    pub fn shown(&self) -> Shown {
        let now = Instant::now().into_std();
        let state = self.state();
        let core = &state.core;
        let dead = core.dead().map(|dead| ShownDead {
            item: dead.item.to_string(),
            key: dead.key.as_deref().map(str::to_owned),
            attempts: dead.attempts,
            age: now.saturating_duration_since(dead.at),
        });
        Shown {
            queued: core.queued(),
            oldest: core.oldest().map_or(Duration::ZERO, |since| now.saturating_duration_since(since)),
            consumers: core.consumers(),
            in_flight: core.in_flight(),
            free: core.free(),
            dead: dead.collect(),
        }
    }

    /// Updates the metrics that are computed only on a scrape.
    pub fn scrape(&self) {
        let shown = self.shown();
        self.metrics.show_oldest(shown.oldest);
        self.metrics.show_slots(shown.free, shown.in_flight);
        let kept = self.state().core.kept();
        self.metrics.show_kept(kept, self.budget.held());
    }
}
