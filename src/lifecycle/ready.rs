//! When the process is ready: an act, not an absence. It is ready once the first snapshot of each operation can be served and
//! each issuer's keys are there, and the servers of relayed operations answer, or after [`READY_WITHOUT_SNAPSHOT`] and [`READY_WITHOUT_KEYS`] without (so that one missing
//! source, or an issuer that is away, does not keep the others away); never again once a drain has begun.

use std::fmt;

use tokio::time::Instant;

use super::stop;
use crate::bounds::{READY_WITHOUT_KEYS, READY_WITHOUT_SNAPSHOT};

/// Whether the process is ready, and why not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// Traffic may come. Names what is missing, if it was tired of waiting for it.
    Ready(Missing),
    /// It waits for this.
    Waiting(Missing),
    /// A drain has begun.
    Draining,
}

/// What is not there yet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Missing {
    /// Names of operations without a snapshot.
    pub snapshots: Vec<String>,
    /// URLs of issuers without keys.
    pub keys: Vec<String>,
    /// Names of operations that are relayed, and whose server does not answer, where there are no others.
    pub servers: Vec<String>,
}

impl Missing {
    /// Whether all is there.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.snapshots.is_empty() && self.keys.is_empty() && self.servers.is_empty()
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [("a snapshot of", &self.snapshots), ("the keys of", &self.keys), ("the server of", &self.servers)];
        let parts = parts.into_iter().filter(|(_, names)| !names.is_empty());
        let parts: Vec<_> = parts.map(|(what, names)| format!("{what}: {}", names.join(", "))).collect();
        f.write_str(&parts.join("; and "))
    }
}

/// Decides it.
#[derive(Debug)]
pub struct ReadinessCheck {
    started: Instant,
    stop: stop::Watch,
    has_app: bool,
}

impl ReadinessCheck {
    /// The gate of a process that starts now. `has_app`: an app is behind, which is not kept away from its clients because a
    /// server of relayed operations does not answer.
    #[must_use]
    pub fn new(stop: stop::Watch, has_app: bool) -> Self {
        Self { started: Instant::now(), stop, has_app }
    }

    /// Whether the process is ready, when this is missing.
    #[must_use]
    pub fn check(&self, missing: Missing) -> Readiness {
        let age = self.started.elapsed();
        let waits = (!missing.snapshots.is_empty() && age < READY_WITHOUT_SNAPSHOT)
            || (!missing.keys.is_empty() && age < READY_WITHOUT_KEYS)
            || (!missing.servers.is_empty() && !self.has_app);
        if self.stop.phase().drain.is_some() {
            Readiness::Draining
        } else if waits {
            Readiness::Waiting(missing)
        } else {
            Readiness::Ready(missing)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::lifecycle::stop::Stop;

    #[tokio::test(start_paused = true)]
    async fn ready_with_all_or_after_the_wait_for_it_and_never_while_draining() {
        let stop = Stop::new(Duration::from_secs(20));
        let readiness = ReadinessCheck::new(stop.watch(), false);
        let snapshot = || Missing { snapshots: vec!["network".to_owned()], ..Missing::default() };
        let both = || Missing { keys: vec!["https://issuer.example".to_owned()], ..snapshot() };
        let keys = || Missing { snapshots: Vec::new(), ..both() };
        for missing in [snapshot(), keys(), both()] {
            assert_eq!(readiness.check(missing.clone()), Readiness::Waiting(missing));
        }
        assert_eq!(readiness.check(Missing::default()), Readiness::Ready(Missing::default()));
        tokio::time::advance(READY_WITHOUT_KEYS).await;
        assert_eq!(readiness.check(keys()), Readiness::Ready(keys()), "an issuer that is away keeps nobody else away");
        assert_eq!(readiness.check(both()), Readiness::Waiting(both()));
        tokio::time::advance(READY_WITHOUT_SNAPSHOT).await;
        assert_eq!(readiness.check(both()), Readiness::Ready(both()));
        let cut_off = || Missing { servers: vec!["network (cut off)".to_owned()], ..Missing::default() };
        assert_eq!(readiness.check(cut_off()), Readiness::Waiting(cut_off()), "a relay without a server is of no use");
        assert_eq!(cut_off().to_string(), "the server of: network (cut off)");
        let beside_an_app = ReadinessCheck::new(stop.watch(), true);
        assert_eq!(beside_an_app.check(cut_off()), Readiness::Ready(cut_off()));
        stop.drain();
        assert_eq!(readiness.check(Missing::default()), Readiness::Draining);
        assert_eq!(both().to_string(), "a snapshot of: network; and the keys of: https://issuer.example");
    }
}
