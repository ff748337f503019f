//! For how long this replica may write what is true of all of them: until a moment that lies before the one at which
//! another may take the Lease.
//!
//! Who writes goes by the moment itself and its own look at the clock, so that it stops in time also where the task
//! that keeps the Lease is late to say so.

use std::future::Future;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// Until when, as it is known now; none: it may not.
#[derive(Debug, Clone)]
pub(super) struct Term(watch::Receiver<Option<Instant>>);

impl Term {
    /// One that does not run yet, and whose end is said by the sender.
    pub(super) fn new() -> (watch::Sender<Option<Instant>>, Self) {
        let (says, until) = watch::channel(None);
        (says, Self(until))
    }

    /// Whether it runs.
    pub(super) fn runs(&self) -> bool {
        is_ahead(*self.0.borrow())
    }

    /// Waits until it runs; for ever, once nobody is left to say so.
    pub(super) async fn begins(&mut self) {
        if self.0.wait_for(|until| is_ahead(*until)).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// What `work` gives; none where the term ends first, at which moment `work` is dropped.
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
                // It was made longer, or is over; or nobody is left to say so.
                said = until.wait_for(|said| *said != now) => if said.is_err() { return },
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
