//! When the process is ready: an act, not an absence. It is ready once the first snapshot of each
//! operation can be served, or after [`READY_WITHOUT_SNAPSHOT`] without (so that one missing
//! source does not keep the others away); never again once a drain has begun.

use tokio::time::Instant;

use super::stop;
use crate::bounds::READY_WITHOUT_SNAPSHOT;

/// Whether the process is ready, and why not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// Traffic may come. Names the operations without a snapshot, if it was tired of waiting for them.
    Ready {
        /// Names of operations without a snapshot.
        missing: Vec<String>,
    },
    /// Some operations have no snapshot yet.
    Waiting {
        /// Their names.
        missing: Vec<String>,
    },
    /// A drain has begun.
    Draining,
}

/// Decides it.
#[derive(Debug)]
pub struct ReadinessCheck {
    started: Instant,
    stop: stop::Watch,
}

impl ReadinessCheck {
    /// The gate of a process that starts now.
    #[must_use]
    pub fn new(stop: stop::Watch) -> Self {
        Self { started: Instant::now(), stop }
    }

    /// Whether the process is ready, when these operations have no snapshot.
    #[must_use]
    pub fn check(&self, missing: Vec<String>) -> Readiness {
        if self.stop.phase().drain.is_some() {
            Readiness::Draining
        } else if missing.is_empty() || self.started.elapsed() >= READY_WITHOUT_SNAPSHOT {
            Readiness::Ready { missing }
        } else {
            Readiness::Waiting { missing }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::lifecycle::stop::Stop;

    #[tokio::test(start_paused = true)]
    async fn ready_with_every_snapshot_or_after_the_wait_and_never_while_draining() {
        let stop = Stop::new(Duration::from_secs(20));
        let readiness = ReadinessCheck::new(stop.watch());
        let missing = || vec!["network".to_owned()];
        assert_eq!(readiness.check(missing()), Readiness::Waiting { missing: missing() });
        assert_eq!(readiness.check(Vec::new()), Readiness::Ready { missing: Vec::new() });
        tokio::time::advance(READY_WITHOUT_SNAPSHOT).await;
        assert_eq!(readiness.check(missing()), Readiness::Ready { missing: missing() });
        stop.drain();
        assert_eq!(readiness.check(Vec::new()), Readiness::Draining);
    }
}
