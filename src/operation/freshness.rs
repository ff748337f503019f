//! How long ago the source last confirmed the state that is served: `State-Age`.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// The source confirms the state at every moment: its watch is live.
const LIVE: i64 = i64::MAX;

/// How fresh a state is. Written by the operation's task, read by every answer.
#[derive(Debug)]
pub struct Freshness {
    started: Instant,
    /// The source is polled: a change shows at the next poll only.
    polled: AtomicBool,
    /// Milliseconds from `started` to the last contact; negative for a state from before it.
    contact: AtomicI64,
    /// The same, or [`LIVE`].
    confirmed: AtomicI64,
    /// Counts how often it has become live, and ceased to be.
    turns: watch::Sender<u64>,
}

/// What is not live is never said to be as fresh as what is: a relay would take it for that.
const LEAST: Duration = Duration::from_secs(1);

impl Freshness {
    /// Nothing is confirmed yet.
    #[must_use]
    pub fn new(started: Instant) -> Self {
        let (contact, confirmed) = (AtomicI64::new(0), AtomicI64::new(0));
        Self { started, polled: AtomicBool::new(false), contact, confirmed, turns: watch::Sender::new(0) }
    }

    /// Whether the source is asked from time to time and not watched, so that the age counts from its last answer.
    pub fn polled(&self, polled: bool) {
        self.polled.store(polled, Ordering::Relaxed);
    }

    /// The state was kept on disk, and last confirmed `age` ago.
    pub fn restored(&self, age: Duration) {
        let at = self.now().saturating_sub(millis(age));
        self.contact.store(at, Ordering::Relaxed);
        self.confirmed.store(at, Ordering::Relaxed);
    }

    /// The source holds the state now, and would report a change at once (unless it is [`Freshness::polled`]).
    pub fn live(&self) {
        self.contact.store(self.now(), Ordering::Relaxed);
        // A reader that sees it also sees what was offered before.
        self.confirmed.store(LIVE, Ordering::Release);
        self.turn(true);
    }

    /// The source has just answered, and its own source confirmed the state `age` ago.
    pub fn aged(&self, age: Duration) {
        self.restored(age);
        self.turn(false);
    }

    /// The source cannot be asked any more, or holds nothing usable: the age counts from the last contact.
    pub fn lost(&self) {
        if self.is_live() {
            self.confirmed.store(self.contact.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        self.turn(false);
    }

    /// How often it has become live, and ceased to be: odd while it is.
    #[must_use]
    pub fn turns(&self) -> watch::Receiver<u64> {
        self.turns.subscribe()
    }

    fn turn(&self, live: bool) {
        self.turns.send_if_modified(|count| {
            let turns = (*count % 2 == 1) != live;
            *count += u64::from(turns);
            turns
        });
    }

    /// Whether the source confirms the state at every moment.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.confirmed.load(Ordering::Acquire) == LIVE
    }

    /// How long ago the state was last confirmed.
    #[must_use]
    pub fn age(&self) -> Duration {
        match self.confirmed.load(Ordering::Relaxed) {
            LIVE if self.polled.load(Ordering::Relaxed) => self.since(self.contact.load(Ordering::Relaxed)),
            LIVE => Duration::ZERO,
            at => self.since(at).max(LEAST),
        }
    }

    fn since(&self, at: i64) -> Duration {
        Duration::from_millis(self.now().saturating_sub(at).try_into().unwrap_or(0))
    }

    fn now(&self) -> i64 {
        millis(self.started.elapsed())
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(LIVE - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn age_is_zero_while_live_and_grows_from_the_last_contact() {
        let freshness = Freshness::new(Instant::now());
        freshness.restored(Duration::from_secs(100));
        assert_eq!(freshness.age(), Duration::from_secs(100));
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(freshness.age(), Duration::from_secs(105));
        freshness.live();
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(freshness.age(), Duration::ZERO);
        freshness.lost();
        assert_eq!(freshness.age(), Duration::from_secs(60), "silence counts");
        tokio::time::advance(Duration::from_secs(1)).await;
        freshness.lost();
        assert_eq!(freshness.age(), Duration::from_secs(61), "losing twice starts nothing anew");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_live_is_at_least_a_second_old_and_turns_are_told() {
        let freshness = Freshness::new(Instant::now());
        let turns = freshness.turns();
        freshness.live();
        assert_eq!(*turns.borrow(), 1);
        freshness.live();
        freshness.lost();
        freshness.lost();
        assert_eq!(*turns.borrow(), 2);
        assert_eq!(freshness.age(), Duration::from_secs(1), "a relay must not take it for live");
        freshness.aged(Duration::from_secs(7));
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!((freshness.age(), freshness.is_live()), (Duration::from_secs(10), false));
    }

    #[tokio::test(start_paused = true)]
    async fn a_polled_source_ages_between_its_answers_and_counts_as_live() {
        let freshness = Freshness::new(Instant::now());
        freshness.polled(true);
        freshness.live();
        tokio::time::advance(Duration::from_secs(40)).await;
        assert!(freshness.is_live());
        assert_eq!(freshness.age(), Duration::from_secs(40));
        freshness.live();
        assert_eq!(freshness.age(), Duration::ZERO);
    }
}
