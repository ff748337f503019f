//! PURE. How long a client waits before it polls again.

use std::time::Duration;

use crate::bounds::{CLIENT_BACKOFF, CLIENT_BACKOFF_LEAST, CLIENT_NOTHING_NEW, CLIENT_QUICK};

/// What of the last answers decides about the next pause.
#[derive(Debug, Default)]
pub(super) struct Pace {
    failures: u32,
    quick: u32,
}

impl Pace {
    /// A poll failed: a random part (`random` is in 0..1) of a ceiling that doubles with each failure in a row. So clients
    /// that lost a server together come back spread over the whole of the pause, and not in its second half.
    pub(super) fn failed(&mut self, random: f64) -> Duration {
        let ceiling = doubled(CLIENT_BACKOFF, self.failures);
        self.failures = self.failures.saturating_add(1);
        ceiling.mul_f64(random).max(CLIENT_BACKOFF_LEAST)
    }

    /// A poll was answered as it should be.
    pub(super) fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// An answer that took so long brought nothing new. One that comes early is an end of a wait, such as in a drain; two
    /// of them in a row are a loop.
    pub(super) fn nothing_new(&mut self, took: Duration) -> Duration {
        self.quick = if took < CLIENT_QUICK { self.quick.saturating_add(1) } else { 0 };
        self.quick.checked_sub(2).map_or(Duration::ZERO, |before| doubled(CLIENT_NOTHING_NEW, before))
    }

    /// An answer brought a new state.
    pub(super) fn something_new(&mut self) {
        self.quick = 0;
    }
}

/// The pause after so many failures before this one, up to the longest.
#[must_use]
pub(crate) fn doubled((first, longest): (Duration, Duration), failures: u32) -> Duration {
    first.saturating_mul(2_u32.saturating_pow(failures)).min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLIS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn ceilings_double_to_the_longest_and_a_success_begins_anew() {
        let mut pace = Pace::default();
        for expected in [800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000] {
            assert_eq!(pace.failed(0.5), MILLIS(expected) / 2);
        }
        assert_eq!(pace.failed(0.0), MILLIS(200), "never at once");
        pace.failures = u32::MAX;
        assert_eq!(pace.failed(0.1), MILLIS(3000), "no overflow");
        pace.succeeded();
        assert_eq!(pace.failed(1.0), MILLIS(800));
    }

    #[test]
    fn quick_answers_without_news_are_slowed_down_from_the_second_in_a_row() {
        let mut pace = Pace::default();
        for expected in [0, 1, 2, 4, 8, 16, 30, 30] {
            assert_eq!(pace.nothing_new(MILLIS(999)), Duration::from_secs(expected));
        }
        assert_eq!(pace.nothing_new(MILLIS(1000)), Duration::ZERO, "it was parked");
        assert_eq!(pace.nothing_new(MILLIS(0)), Duration::ZERO);
        pace.something_new();
        assert_eq!(pace.nothing_new(MILLIS(0)), Duration::ZERO);
        assert_eq!(pace.nothing_new(MILLIS(0)), Duration::from_secs(1));
    }
}
