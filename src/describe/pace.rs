//! Agents that ask for the same again and again: one that is given the same state three times in
//! a row, for the same `since`, is held before the next. By agent and never by connection, since
//! proxies share those; clients without a key meet admission limits only.
//!
//! Bounded: two generations of at most half of [`PACED_AGENTS`]; when the young one is full, the
//! old one is forgotten, which costs a tight loop one more free round.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use crate::bounds::{PACE_REPEATS, PACED_AGENTS};
use crate::model::{Digest, Epoch, Since};

/// What agents were given last. One for each operation.
#[derive(Debug, Default)]
pub struct Pace {
    keys: RandomState,
    young: HashMap<u64, Last>,
    old: HashMap<u64, Last>,
}

/// What an agent asked for and was given, and how often in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Last {
    since: (Epoch, Digest),
    given: (Epoch, Digest),
    times: u8,
}

impl Pace {
    /// Whether the agent is to be held before it is given `state` for its `since`. The null state
    /// is never held: a client that starts anew each time must be able to.
    #[must_use]
    pub fn must_hold(&self, agent: &str, since: Option<&Since>, state: &Since) -> bool {
        let Some(since) = since else { return false };
        let key = self.key(agent);
        self.young.get(&key).or_else(|| self.old.get(&key)).is_some_and(|last| {
            last.since == (since.epoch, since.digest)
                && last.given == (state.epoch, state.digest)
                && last.times >= PACE_REPEATS
        })
    }

    /// Notes that the agent is given `state` for its `since`.
    pub fn given(&mut self, agent: &str, since: Option<&Since>, state: &Since) {
        let key = self.key(agent);
        let before = self.young.get(&key).or_else(|| self.old.get(&key)).copied();
        let Some(since) = since else {
            self.young.remove(&key);
            self.old.remove(&key);
            return;
        };
        let mut last = Last { since: (since.epoch, since.digest), given: (state.epoch, state.digest), times: 1 };
        if let Some(before) = before
            && (before.since, before.given) == (last.since, last.given)
        {
            last.times = before.times.saturating_add(1);
        }
        if self.young.len() >= PACED_AGENTS / 2 && !self.young.contains_key(&key) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, last);
    }

    /// How many agents are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.young.len() + self.old.keys().filter(|key| !self.young.contains_key(key)).count()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.young.is_empty() && self.old.is_empty()
    }

    /// A hash with a secret of the process: agents cannot choose to collide.
    fn key(&self, agent: &str) -> u64 {
        self.keys.hash_one(agent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Content, Document, Snapshot};

    fn state(version: u64, json: &str) -> Since {
        let content = Content::Json(Document::from_json(json.as_bytes()).expect("a document"));
        Snapshot::of(Epoch::of(&["test"]), version, &content).id.into()
    }

    #[test]
    fn the_fourth_of_the_same_in_a_row_is_held() {
        let (stale, current) = (state(1, "1"), state(2, "2"));
        let mut pace = Pace::default();
        for _ in 0..3 {
            assert!(!pace.must_hold("a", Some(&stale), &current));
            pace.given("a", Some(&stale), &current);
        }
        assert!(pace.must_hold("a", Some(&stale), &current));
        assert!(!pace.must_hold("b", Some(&stale), &current), "another agent behind the same proxy");
        assert!(!pace.must_hold("a", Some(&state(3, "3")), &current), "another since");
        assert!(!pace.must_hold("a", Some(&stale), &state(3, "3")), "another state");
        assert!(pace.must_hold("a", Some(&stale), &state(9, "2")), "the same state at another version");
        assert!(!pace.must_hold("a", None, &current), "the null state");
        pace.given("a", Some(&current), &state(3, "3"));
        assert!(!pace.must_hold("a", Some(&stale), &current), "the row is broken");
    }

    #[test]
    fn memory_is_bounded_and_keeps_the_ones_seen_last() {
        let (stale, current) = (state(1, "1"), state(2, "2"));
        let mut pace = Pace::default();
        for agent in 0..3 * PACED_AGENTS {
            pace.given(&agent.to_string(), Some(&stale), &current);
        }
        assert!(pace.len() <= PACED_AGENTS, "{}", pace.len());
        let last = (3 * PACED_AGENTS - 1).to_string();
        pace.given(&last, Some(&stale), &current);
        pace.given(&last, Some(&stale), &current);
        assert!(pace.must_hold(&last, Some(&stale), &current));
    }
}
