//! How many messages were published within the last minute.

use std::time::{Duration, Instant};

/// Parts of the minute that are counted apart.
const PARTS: usize = 12;
const PART: Duration = Duration::from_secs(5);

/// Counts messages in parts of a minute, in a ring.
#[derive(Debug)]
pub(super) struct Pace {
    began: Instant,
    /// The number of the newest part since then.
    newest: u64,
    counts: [u64; PARTS],
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Self { began: now, newest: 0, counts: [0; PARTS] }
    }

    /// One is published.
    pub(super) fn count(&mut self, now: Instant) {
        let at = self.turn(now);
        self.counts[at] += 1;
    }

    /// So many were.
    pub(super) fn within_minute(&mut self, now: Instant) -> u64 {
        self.turn(now);
        self.counts.iter().sum()
    }

    /// Forgets what is more than a minute ago; gives the place of the newest part.
    fn turn(&mut self, now: Instant) -> usize {
        let part = now.saturating_duration_since(self.began).as_secs() / PART.as_secs();
        // A moment that is told late counts with the newest.
        let part = part.max(self.newest);
        for over in (self.newest + 1..=part).take(PARTS) {
            self.counts[place(over)] = 0;
        }
        self.newest = part;
        place(part)
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a place in the ring")]
fn place(part: u64) -> usize {
    (part % PARTS as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "where the clock of a test begins")]
    fn what_is_more_than_a_minute_ago_counts_no_more() {
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let mut pace = Pace::new(begin);
        for second in 0..10 {
            pace.count(at(second));
        }
        assert_eq!((pace.within_minute(at(10)), pace.within_minute(at(59))), (10, 10));
        assert_eq!(pace.within_minute(at(60)), 5, "the first part is over");
        pace.count(at(61));
        assert_eq!((pace.within_minute(at(69)), pace.within_minute(at(3))), (1, 1));
        assert_eq!(pace.within_minute(at(1_000_000)), 0);
        pace.count(at(1_000_000));
        assert_eq!(pace.within_minute(at(1_000_059)), 1);
    }
}
