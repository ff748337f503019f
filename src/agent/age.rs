//! Whether what is held is too old (`--max-age`). A poll that is parked at a server whose state was confirmed just then makes
//! nothing older; without any answer what is held is as old as the process, at least.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::agent::deadline::at;
use crate::client::Status;

/// Says in the environment of commands that what is held is too old.
#[derive(Debug, Clone, Default)]
pub struct Stale(Arc<AtomicBool>);

impl Stale {
    /// Whether it is.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The age of what is held, against the most that it may be.
#[derive(Debug)]
pub(super) struct Age {
    most: Option<Duration>,
    status: watch::Receiver<Status>,
    since: Instant,
    stale: Stale,
}

impl Age {
    /// From the start of the process on.
    pub(super) fn new(most: Option<Duration>, status: watch::Receiver<Status>, stale: Stale) -> Self {
        Self { most, status, since: Instant::now(), stale }
    }

    /// Whether there is an age that is too old.
    pub(super) fn is_bounded(&self) -> bool {
        self.most.is_some()
    }

    /// Waits until what is held turns too old, or is not any more: whether it is now. Dropping the future loses nothing.
    pub(super) async fn turned(&mut self) -> bool {
        let Some(most) = self.most else { return std::future::pending().await };
        loop {
            let (is_stale, turns_at) = {
                let status = self.status.borrow();
                stale(&status, self.since, most, Instant::now())
            };
            if is_stale != self.stale.is_stale() {
                self.stale.0.store(is_stale, Ordering::Relaxed);
                return is_stale;
            }
            let basis = basis(&self.status.borrow());
            let mut status = self.status.clone();
            tokio::select! {
                // The client ends with the agent.
                changed = status.wait_for(|status| self::basis(status) != basis) => if changed.is_err() {
                    return std::future::pending().await;
                },
                () = at(turns_at) => {}
            }
        }
    }
}

/// What an age is reckoned from.
fn basis(status: &Status) -> (Option<(Duration, std::time::Instant)>, bool) {
    (status.confirmed, status.is_live())
}

/// Whether what is held is too old at `now`, and when it will be if nothing happens.
fn stale(status: &Status, since: Instant, most: Duration, now: Instant) -> (bool, Option<Instant>) {
    let age = status.age(now.into_std()).unwrap_or(now.saturating_duration_since(since));
    if age > most {
        return (true, None);
    }
    // Beyond, not at.
    (false, (!status.is_live()).then(|| now + most.saturating_sub(age) + Duration::from_millis(1)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Doing;

    const SECS: fn(u64) -> Duration = Duration::from_secs;

    #[tokio::test(start_paused = true)]
    async fn what_is_held_grows_older_but_for_the_time_that_a_poll_is_parked() {
        let (to, status) = watch::channel(Status::default());
        let stale = Stale::default();
        let mut age = Age::new(Some(SECS(60)), status, stale.clone());
        let start = Instant::now();
        assert!(age.turned().await && stale.is_stale(), "no answer");
        assert_eq!(start.elapsed().as_secs(), 60);
        let answered = |state_age, doing| {
            let confirmed = Some((SECS(state_age), Instant::now().into_std()));
            to.send_modify(|status| (status.doing, status.confirmed) = (doing, confirmed));
        };
        answered(0, Doing::Polling);
        assert!(!age.turned().await && !stale.is_stale());
        let parked = tokio::time::timeout(SECS(3600), age.turned()).await;
        assert!(parked.is_err(), "a parked poll makes nothing older");
        answered(0, Doing::Pausing);
        let lost = Instant::now();
        assert!(age.turned().await);
        assert_eq!(lost.elapsed().as_secs(), 60);
        answered(20, Doing::Polling);
        assert!(!age.turned().await);
        let cut_off = Instant::now();
        assert!(age.turned().await, "the server is cut off from its source");
        assert_eq!(cut_off.elapsed().as_secs(), 40);
        answered(90, Doing::Polling);
        let still = tokio::time::timeout(SECS(60), age.turned()).await;
        assert!(still.is_err() && stale.is_stale());
    }
}
