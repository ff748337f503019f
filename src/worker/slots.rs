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

/// A slot that is taken, until this is dropped.
#[derive(Debug)]
pub(super) struct Taken {
    number: u64,
    running: watch::Sender<Running>,
    _permit: OwnedSemaphorePermit,
}

impl Slots {
    pub(super) fn new(most: usize) -> Self {
        Self { permits: Arc::new(Semaphore::new(most)), running: watch::Sender::new(Running::default()) }
    }

    /// Takes a slot; waits for one where several exchanges have been offered the same.
    pub(super) async fn take(&self) -> Taken {
        let permit = match Arc::clone(&self.permits).acquire_owned().await {
            Ok(permit) => permit,
            // Nobody closes it.
            Err(_) => std::future::pending().await,
        };
        let mut number = 0;
        self.running.send_modify(|running| {
            running.begun += 1;
            number = running.begun;
            running.since.insert(number, Instant::now());
        });
        Taken { number, running: self.running.clone(), _permit: permit }
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
        let first = slots.take().await;
        assert_eq!((slots.busy(), slots.begun()), (1, 1));
        assert!(tokio::time::timeout(std::time::Duration::from_secs(1), slots.take()).await.is_err());
        assert_eq!((slots.busy(), slots.begun()), (1, 1), "what gave up has not begun");
        drop(first);
        assert_eq!(slots.busy(), 0);
        let _second = slots.take().await;
        assert_eq!((slots.busy(), slots.begun()), (1, 2));
    }
}
