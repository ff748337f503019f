//! Deadlines, each under a key: one timer for all of them, exact to the millisecond.
//!
//! Most deadlines are replaced by later ones long before they come: a client is told of a change and polls again. So a
//! deadline that is moved back or cleared stays in its slot, and is only looked at again when that comes.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// A key that is in no slot.
const NOWHERE: u64 = u64::MAX;

/// A set of deadlines.
#[derive(Debug)]
pub struct Timers {
    start: Instant,
    /// Keys to look at, by milliseconds from the start.
    slots: BTreeMap<u64, Vec<u32>>,
    keys: Vec<Key>,
}

/// A key's deadline, and the earliest slot that it is in.
#[derive(Debug, Clone, Copy)]
struct Key {
    deadline: Option<Instant>,
    slot: u64,
}

impl Timers {
    /// None yet. No deadline is before `start`.
    #[must_use]
    pub fn new(start: Instant) -> Self {
        Self { start, slots: BTreeMap::new(), keys: Vec::new() }
    }

    /// Sets the deadline of a key, or clears it.
    pub fn set(&mut self, key: u32, deadline: Option<Instant>) {
        let index = key as usize;
        if self.keys.len() <= index {
            if self.keys.is_empty() {
                // An owner of one client keeps no room for others.
                self.keys.reserve_exact(index + 1);
            }
            self.keys.resize(index + 1, Key { deadline: None, slot: NOWHERE });
        }
        let slot = deadline.map_or(NOWHERE, |deadline| self.slot(deadline));
        let known = &mut self.keys[index];
        known.deadline = deadline;
        if slot < known.slot {
            known.slot = slot;
            self.slots.entry(slot).or_default().push(key);
        }
    }

    /// When [`Self::expired`] is to be called. There may be nothing to do then.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        self.slots.first_key_value().map(|(slot, _)| self.start + Duration::from_millis(*slot))
    }

    /// Clears a deadline that has come, and gives its key.
    pub fn expired(&mut self, now: Instant) -> Option<u32> {
        loop {
            let mut first = self.slots.first_entry()?;
            let slot = *first.key();
            if self.start + Duration::from_millis(slot) > now {
                return None;
            }
            let Some(key) = first.get_mut().pop() else {
                first.remove();
                continue;
            };
            let known = &mut self.keys[key as usize];
            if known.slot != slot {
                continue;
            }
            known.slot = NOWHERE;
            match known.deadline {
                Some(deadline) if deadline <= now => {
                    known.deadline = None;
                    return Some(key);
                }
                later => self.set(key, later),
            }
        }
    }

    /// The first millisecond at which a deadline has come.
    fn slot(&self, deadline: Instant) -> u64 {
        let after = deadline.saturating_duration_since(self.start);
        u64::try_from(after.as_nanos().div_ceil(1_000_000)).unwrap_or(NOWHERE - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "timers know no clock: any moment is a beginning")]
    fn timers() -> (Timers, Instant) {
        let start = Instant::now();
        (Timers::new(start), start)
    }

    const MS: Duration = Duration::from_millis(1);

    fn all(timers: &mut Timers, now: Instant) -> Vec<u32> {
        let mut keys: Vec<_> = std::iter::from_fn(|| timers.expired(now)).collect();
        keys.sort_unstable();
        keys
    }

    #[test]
    fn a_deadline_comes_once_and_not_before_its_time() {
        let (mut timers, start) = timers();
        timers.set(3, Some(start + 5 * MS));
        timers.set(1, Some(start + 5 * MS + MS / 2));
        assert_eq!(timers.next(), Some(start + 5 * MS));
        assert_eq!(all(&mut timers, start + 19 * MS / 4), [] as [u32; 0]);
        assert_eq!(all(&mut timers, start + 5 * MS), [3]);
        assert_eq!(timers.next(), Some(start + 6 * MS));
        assert_eq!(all(&mut timers, start + 60 * MS), [1]);
        assert_eq!((timers.next(), all(&mut timers, start + 600 * MS)), (None, vec![]));
    }

    #[test]
    fn a_deadline_is_moved_either_way_and_cleared() {
        let (mut timers, start) = timers();
        for key in 0..3 {
            timers.set(key, Some(start + 10 * MS));
        }
        timers.set(0, Some(start + 20 * MS));
        timers.set(1, Some(start + 5 * MS));
        timers.set(2, None);
        assert_eq!(all(&mut timers, start + 5 * MS), [1]);
        assert_eq!(all(&mut timers, start + 19 * MS), [] as [u32; 0]);
        timers.set(2, Some(start + 20 * MS));
        assert_eq!(all(&mut timers, start + 20 * MS), [0, 2]);
        assert_eq!(timers.next(), None);
    }

    /// Clients that poll again and again leave nothing behind.
    #[test]
    fn a_deadline_that_is_moved_back_takes_no_room() {
        let (mut timers, start) = timers();
        for round in 0..10_000_u32 {
            let now = start + MS * round;
            timers.set(7, None);
            timers.set(7, Some(now + 50 * MS));
            assert_eq!(timers.expired(now), None);
            assert!(timers.slots.len() <= 2, "{round}: {:?}", timers.slots);
        }
    }
}
