//! PURE. How long a source that failed waits before it asks again: twice as long each time, with
//! jitter upward, so that many replicas that failed together do not come back together.

use std::time::Duration;

use crate::bounds::BACKOFF;
use crate::client::doubled;

/// The pauses of one kind of attempt.
#[derive(Debug, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Whether nothing failed since the last success.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        self.failures == 0
    }

    /// An attempt failed: the pause before the next, between its base and twice that. `random` is
    /// in 0..1. What the other side asked for (`Retry-After`) raises the base, up to the longest
    /// one, so that no server can silence a source for long.
    pub fn failed(&mut self, random: f64, retry_after: Option<Duration>) -> Duration {
        let doubled = doubled(BACKOFF, self.failures);
        self.failures = self.failures.saturating_add(1);
        let base = doubled.max(retry_after.unwrap_or_default()).min(BACKOFF.1);
        jittered(base, random)
    }

    /// An attempt failed by taking as long as the longest pause: that was the pause. The next
    /// follows after the shortest, and the pauses do not grow, so that a network that healed is
    /// found out soon.
    #[must_use]
    pub fn timed_out(random: f64) -> Duration {
        jittered(BACKOFF.0, random)
    }

    /// An attempt succeeded, and the success lasted.
    pub fn succeeded(&mut self) {
        self.failures = 0;
    }
}

fn jittered(base: Duration, random: f64) -> Duration {
    base.mul_f64(1.0 + random.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLIS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn pauses_double_up_to_the_longest_and_start_again_after_a_success() {
        let mut backoff = Backoff::default();
        for expected in [800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000] {
            assert_eq!(backoff.failed(0.0, None), MILLIS(expected));
        }
        assert!(!backoff.is_fresh());
        backoff.succeeded();
        assert!(backoff.is_fresh());
        assert_eq!(backoff.failed(1.0, None), MILLIS(1600), "jitter is upward, at most twice the base");
        assert_eq!(Backoff::timed_out(0.5), MILLIS(1200));
    }

    #[test]
    fn retry_after_is_a_lower_bound_with_an_end() {
        for (asked, expected) in [(0, 800), (7, 7000), (86_400, 30_000)] {
            assert_eq!(Backoff::default().failed(0.0, Some(Duration::from_secs(asked))), MILLIS(expected));
        }
        assert_eq!(Backoff::default().failed(0.5, Some(Duration::from_secs(2))), MILLIS(3000));
    }

    /// Row (a) 27: 50 failures, still trying, and the delays differ.
    #[test]
    fn fifty_failures_give_fifty_different_pauses() {
        let mut random = fastrand::Rng::with_seed(27);
        let mut backoff = Backoff::default();
        let pauses: Vec<_> = (0..50).map(|_| backoff.failed(random.f64(), None)).collect();
        let distinct: std::collections::BTreeSet<_> = pauses.iter().collect();
        assert_eq!(distinct.len(), 50, "{pauses:?}");
        assert!(pauses.iter().all(|pause| (MILLIS(800)..=MILLIS(60_000)).contains(pause)), "{pauses:?}");
        backoff.failures = u32::MAX;
        assert!(backoff.failed(0.0, None) == MILLIS(30_000), "no overflow, ever");
    }
}
