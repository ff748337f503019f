//! For how long this replica may write the statuses that concern all of them: its term ends before
//! another may take the Lease.
//!
//! A writer compares the end of the term with the clock itself, so that it stops in time also where the task
//! that keeps the Lease is late.

use std::future::Future;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// Until when, as it is known now; none: it may not.
#[derive(Debug, Clone)]
pub(super) struct Term(watch::Receiver<Option<Instant>>);

impl Term {
    /// One that does not run yet; the sender sets its end.
    pub(super) fn new() -> (watch::Sender<Option<Instant>>, Self) {
        let (says, until) = watch::channel(None);
        (says, Self(until))
    }

    /// Whether it runs.
    pub(super) fn runs(&self) -> bool {
        is_ahead(*self.0.borrow())
    }

    /// Waits until it runs; for ever, once the sender is gone.
    pub(super) async fn begins(&mut self) {
        if self.0.wait_for(|until| is_ahead(*until)).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// The result of `work`; none where the term ends first, when `work` is dropped.
    pub(super) async fn within<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            // First, so that nothing is begun when it has ended.
            biased;
            () = self.ends() => None,
            done = work => Some(done),
        }
    }

    async fn ends(&self) {
        let mut until = self.0.clone();
        loop {
            let now = *until.borrow();
            let Some(end) = now.filter(|_| is_ahead(now)) else { return };
            tokio::select! {
                () = sleep_until(end) => {}
                // It was extended, or is over; or the sender is gone.
                changed = until.wait_for(|until| *until != now) => if changed.is_err() { return },
            }
        }
    }
}

fn is_ahead(until: Option<Instant>) -> bool {
    until.is_some_and(|until| Instant::now() < until)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::sleep;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn work_ends_with_the_term_though_nobody_says_so() {
        let (says, term) = Term::new();
        let started = Instant::now();
        says.send_replace(Some(started + 3 * SECOND));
        assert_eq!(term.within(sleep(SECOND)).await, Some(()));
        assert_eq!(term.within(std::future::pending::<()>()).await, None);
        assert_eq!(started.elapsed(), 3 * SECOND);
        assert!(!term.runs());
    }

    #[tokio::test(start_paused = true)]
    async fn a_renewal_lets_work_go_on_and_a_loss_ends_it_at_once() {
        let (says, term) = Term::new();
        let started = Instant::now();
        says.send_replace(Some(started + 3 * SECOND));
        let renewals = async {
            for number in 1..5 {
                sleep(SECOND).await;
                says.send_replace(Some(started + (3 + number) * SECOND));
            }
            sleep(SECOND / 2).await;
            says.send_replace(None);
            std::future::pending::<()>().await;
        };
        tokio::select! {
            done = term.within(std::future::pending::<()>()) => assert_eq!(done, None),
            () = renewals => {}
        }
        assert_eq!(started.elapsed(), 4 * SECOND + SECOND / 2);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_begun_outside_of_a_term() {
        let (says, mut term) = Term::new();
        let begun = || async { panic!("begun") };
        assert_eq!(term.within(begun()).await, None::<()>);
        says.send_replace(Some(Instant::now()));
        assert_eq!(term.within(begun()).await, None, "it is over");
        says.send_replace(Some(Instant::now() + SECOND));
        term.begins().await;
        assert!(term.runs());
        drop(says);
        assert_eq!(term.within(std::future::pending::<()>()).await, None, "nobody keeps the Lease any more");
    }
}
