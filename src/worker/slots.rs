//! The requests that run, of all connections: how many may, and since when each does.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;

/// The slots of a worker.
#[derive(Debug)]
pub(super) struct Slots {
    permits: Arc<Semaphore>,
    running: watch::Sender<Running>,
}

/// What runs.
#[derive(Debug, Clone, Default)]
pub(super) struct Running {
    /// How many have begun since the start.
    pub(super) begun: u64,
    /// Since when those run that do, by their number.
    pub(super) since: BTreeMap<u64, Instant>,
}

/// A request that runs, until this is dropped.
#[derive(Debug)]
pub(super) struct Taken {
    number: u64,
    running: watch::Sender<Running>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Slots {
    pub(super) fn new(most: usize) -> Self {
        Self { permits: Arc::new(Semaphore::new(most)), running: watch::Sender::new(Running::default()) }
    }

    /// A request begins: at once for who looks at what runs.
    pub(super) fn begin(&self) -> Taken {
        let mut number = 0;
        self.running.send_modify(|running| {
            running.begun += 1;
            number = running.begun;
            running.since.insert(number, Instant::now());
        });
        Taken { number, running: self.running.clone(), permit: None }
    }

    /// Waits for the turn of a request, where several exchanges have been offered the same slot.
    pub(super) async fn turn(&self, taken: &mut Taken) {
        // Nobody closes it.
        taken.permit = Arc::clone(&self.permits).acquire_owned().await.ok();
    }

    /// Sees what runs.
    pub(super) fn watch(&self) -> watch::Receiver<Running> {
        self.running.subscribe()
    }

    /// How many run.
    pub(super) fn busy(&self) -> usize {
        self.running.borrow().since.len()
    }

    /// How many have begun.
    pub(super) fn begun(&self) -> u64 {
        self.running.borrow().begun
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.running.send_modify(|running| {
            running.since.remove(&self.number);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn no_more_run_than_may_and_one_that_waits_is_next() {
        let slots = Slots::new(1);
        let [mut first, mut second] = [slots.begin(), slots.begin()];
        assert_eq!((slots.busy(), slots.begun()), (2, 2), "at once");
        slots.turn(&mut first).await;
        assert!(tokio::time::timeout(std::time::Duration::from_secs(1), slots.turn(&mut second)).await.is_err());
        drop(first);
        slots.turn(&mut second).await;
        assert_eq!(slots.busy(), 1);
        drop(second);
        assert_eq!((slots.busy(), slots.begun()), (0, 2));
    }
}
