//! How many requests each agent has parked. The count is shared with its seats, so that leaving
//! costs an atomic and no lock; names without a seat are swept out when the table has grown.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The table is not swept below this many names.
const SWEEP_FROM: usize = 1024;

/// How many requests each agent has parked.
#[derive(Debug)]
pub struct Agents {
    limit: AtomicUsize,
    parked: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    counts: HashMap<Box<str>, Arc<AtomicUsize>>,
    sweep_at: usize,
}

/// One of an agent's places; gives it back when dropped.
#[derive(Debug)]
pub struct Place(Arc<AtomicUsize>);

/// The agent has as many requests parked as it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{limit} requests of this agent are parked, as many as are allowed")]
pub struct TooMany {
    /// As many as it may.
    pub limit: usize,
}

impl Agents {
    /// No agent has a request parked; each may have `limit`.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { limit: AtomicUsize::new(limit), parked: Mutex::default() }
    }

    /// Each may have `limit` from now on; those that have more keep what they have.
    pub fn set_limit(&self, limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// Takes a place for an agent. The table holds at most the parked requests' agents, twice over.
    pub fn take(&self, agent: &str) -> Result<Place, TooMany> {
        let mut table = self.parked.lock().unwrap_or_else(PoisonError::into_inner);
        if table.counts.len() >= table.sweep_at.max(SWEEP_FROM) {
            table.counts.retain(|_, count| count.load(Ordering::Relaxed) > 0);
            table.sweep_at = 2 * table.counts.len();
        }
        let count = match table.counts.get(agent) {
            Some(count) => count,
            None => table.counts.entry(agent.into()).or_default(),
        };
        // Only here, under the lock, does it grow; so the check holds.
        let limit = self.limit.load(Ordering::Relaxed);
        if count.load(Ordering::Relaxed) >= limit {
            return Err(TooMany { limit });
        }
        count.fetch_add(1, Ordering::Relaxed);
        Ok(Place(Arc::clone(count)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_has_its_own_limit_and_gets_places_back() {
        let agents = Agents::new(2);
        let first = agents.take("a").expect("a place");
        let _second = agents.take("a").expect("a place");
        assert_eq!(agents.take("a").expect_err("no third"), TooMany { limit: 2 });
        let _other = agents.take("b").expect("another agent");
        drop(first);
        let _third = agents.take("a").expect("a place again");
    }

    #[test]
    fn names_without_a_place_are_forgotten() {
        let agents = Agents::new(1);
        let kept = agents.take("kept").expect("a place");
        for name in 0..100_000 {
            drop(agents.take(&name.to_string()).expect("a place"));
        }
        let table = agents.parked.lock().expect("no panic");
        assert!(table.counts.len() <= 2 * SWEEP_FROM, "{}", table.counts.len());
        assert!(table.counts.contains_key("kept"));
        drop(kept);
    }
}
