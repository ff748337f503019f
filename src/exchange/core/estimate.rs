//! PURE. When an item is likely to be done: what `Retry-After` says.

use std::ops::RangeInclusive;
use std::time::Duration;

/// Seconds where no worker is known.
const UNKNOWN: u32 = 5;
/// The least and the most.
const RANGE: RangeInclusive<u32> = 1..=30;
/// How much a new measurement counts: one part of so many.
const SMOOTHING: u32 = 8;

/// How long workers take, smoothed.
#[derive(Debug, Default)]
pub(super) struct Estimate {
    service: Option<Duration>,
}

impl Estimate {
    /// An item took so long, from claim to end.
    pub(super) fn took(&mut self, time: Duration) {
        self.service = Some(match self.service {
            None => time,
            Some(before) => before.saturating_sub(before / SMOOTHING).saturating_add(time / SMOOTHING),
        });
    }

    /// Whole seconds until the item at this position of the queue is likely to be done, with so many slots.
    pub(super) fn retry_after(&self, position: usize, slots: usize) -> u32 {
        if slots == 0 {
            return UNKNOWN;
        }
        let Some(service) = self.service else { return *RANGE.start() };
        let all = service.as_millis().saturating_mul(position as u128);
        let seconds = all.div_ceil(1000 * slots as u128);
        u32::try_from(seconds).unwrap_or(u32::MAX).clamp(*RANGE.start(), *RANGE.end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longer_the_queue_and_the_work_the_later_and_never_under_one_or_over_thirty_seconds() {
        let mut estimate = Estimate::default();
        assert_eq!((estimate.retry_after(1, 0), estimate.retry_after(1, 2)), (5, 1));
        estimate.took(Duration::from_secs(4));
        for (position, slots, expected) in
            [(0, 2, 1), (1, 2, 2), (2, 2, 4), (3, 2, 6), (8, 2, 16), (100, 2, 30), (usize::MAX, 1, 30), (1, 0, 5)]
        {
            assert_eq!(estimate.retry_after(position, slots), expected, "{position} of {slots}");
        }
        for _ in 0..100 {
            estimate.took(Duration::from_millis(100));
        }
        assert_eq!(estimate.retry_after(1, 1), 1);
        estimate.took(Duration::MAX);
        assert_eq!(estimate.retry_after(1, 1), 30);
    }
}
