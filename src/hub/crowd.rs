//! How many requests are parked in this process, and so how long those who lose it are to take to come back:
//! `Reconnect-Within`. Looked at once a second, by whoever answers first in it: it costs nobody else anything.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Instant;

use super::parking::Parking;
use crate::protocol::answer::time_to_reconnect;

/// Bits of the seconds to take, beside the second in which they were found out.
const WITHIN_BITS: u32 = 8;

/// The parked requests of all operations.
#[derive(Debug)]
pub(super) struct Crowd {
    operations: Mutex<Vec<Weak<Parking>>>,
    began: Instant,
    /// The second since `began` in which it was looked last, and the seconds to take that were found.
    seen: AtomicU64,
}

impl Crowd {
    pub(super) fn new(began: Instant) -> Self {
        Self { operations: Mutex::default(), began, seen: AtomicU64::default() }
    }

    /// Counts those of another operation too, for as long as there is one.
    pub(super) fn join(&self, parking: &Arc<Parking>) {
        let mut operations = self.operations.lock().unwrap_or_else(PoisonError::into_inner);
        operations.retain(|operation| operation.strong_count() > 0);
        operations.push(Arc::downgrade(parking));
    }

    /// Seconds that all who are parked now take to come back. Rises with them; falls by one each second, since those who
    /// are told of a change are about to be parked again.
    pub(super) fn reconnect_within(&self, now: Instant) -> u64 {
        let second = now.saturating_duration_since(self.began).as_secs() + 1;
        let seen = self.seen.load(Ordering::Relaxed);
        let (last, before) = (seen >> WITHIN_BITS, seen & ((1 << WITHIN_BITS) - 1));
        if last >= second {
            return before;
        }
        let within = time_to_reconnect(self.parked()).as_secs().max(before.saturating_sub(second - last));
        self.seen.store(second << WITHIN_BITS | within, Ordering::Relaxed);
        within
    }

    fn parked(&self) -> u64 {
        let operations = self.operations.lock().unwrap_or_else(PoisonError::into_inner);
        operations.iter().filter_map(Weak::upgrade).map(|operation| operation.parked() as u64).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::parking::ParkPermit;
    use super::*;

    fn parking() -> Arc<Parking> {
        let gauge = prometheus::IntGauge::new("parked", "parked").expect("a name");
        Arc::new(Parking::new(usize::MAX, gauge))
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "where the clock of a test begins")]
    fn it_rises_at_once_with_all_operations_and_falls_slowly() {
        let began = Instant::now();
        let crowd = Crowd::new(began);
        let at = |millis| began + Duration::from_millis(millis);
        assert_eq!(crowd.reconnect_within(at(0)), 1, "nobody");
        let (one, other) = (parking(), parking());
        crowd.join(&one);
        crowd.join(&other);
        let park = |parking: &Arc<Parking>, count| -> Vec<_> {
            (0..count).map(|_| ParkPermit::take(parking).expect("there is room")).collect()
        };
        let mut parked = park(&one, 2500);
        parked.extend(park(&other, 1501));
        assert_eq!(crowd.reconnect_within(at(999)), 1, "it was looked in this second");
        assert_eq!(crowd.reconnect_within(at(1000)), 5);
        parked.truncate(10);
        assert_eq!(crowd.reconnect_within(at(1900)), 5);
        assert_eq!(crowd.reconnect_within(at(2000)), 4, "most are about to be parked again");
        assert_eq!(crowd.reconnect_within(at(4500)), 2);
        drop((one, parked));
        assert_eq!(crowd.reconnect_within(at(60_000)), 1);
    }
}
