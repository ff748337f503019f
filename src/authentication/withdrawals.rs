//! Tells those who hold parked requests that somebody may no longer.

use tokio::sync::watch;

/// How often credentials or permissions were withdrawn.
#[derive(Debug, Clone)]
pub struct Withdrawals(watch::Receiver<u64>);

impl Withdrawals {
    pub(super) fn of(counter: &watch::Sender<u64>) -> Self {
        Self(counter.subscribe())
    }

    /// So far.
    #[must_use]
    pub fn count(&self) -> u64 {
        *self.0.borrow()
    }

    /// Waits until it was more often than `seen`, and gives how often.
    pub async fn more_than(&mut self, seen: u64) -> u64 {
        if let Ok(count) = self.0.wait_for(|count| *count > seen).await {
            return *count;
        }
        // Nobody withdraws any more.
        std::future::pending().await
    }
}
