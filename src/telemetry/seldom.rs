//! Lines of the log of which there may be many: so many are written in a time, and a later one says how many were left out.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Lines of one kind.
#[derive(Debug)]
pub struct Seldom {
    most: u32,
    every: Duration,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    /// When the first of the lines of this time was written.
    since: Option<Instant>,
    written: u32,
    left_out: u64,
}

impl Seldom {
    /// At most so many lines in such a time.
    #[must_use]
    pub fn new((most, every): (u32, Duration)) -> Self {
        Self { most, every, counts: Mutex::default() }
    }

    /// Whether a line is written now, and how many were left out before it; none: it is left out too.
    pub fn next(&self) -> Option<u64> {
        let now = Instant::now();
        // Every step leaves a whole value.
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.since.is_none_or(|since| now.duration_since(since) >= self.every) {
            counts.since = Some(now);
            counts.written = 0;
        }
        if counts.written >= self.most {
            counts.left_out += 1;
            return None;
        }
        counts.written += 1;
        Some(std::mem::take(&mut counts.left_out))
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn so_many_lines_are_written_in_a_time_and_the_next_one_says_how_many_were_not() {
        let lines = Seldom::new((2, Duration::from_secs(10)));
        assert_eq!([lines.next(), lines.next(), lines.next(), lines.next()], [Some(0), Some(0), None, None]);
        advance(Duration::from_secs(9)).await;
        assert_eq!(lines.next(), None);
        advance(Duration::from_secs(1)).await;
        assert_eq!([lines.next(), lines.next(), lines.next()], [Some(3), Some(0), None]);
    }
}
