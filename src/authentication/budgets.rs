//! PURE. How many things each of many may get wrong: ten at once, and then one a second. Whoever finds out that one was wrong must
//! count it, also if who asked has gone meanwhile, or a budget is no bound.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use crate::bounds::{BAD_CREDENTIALS, BAD_CREDENTIALS_PACE, BAD_CREDENTIALS_PEERS, BAD_CREDENTIALS_WAIT};

/// The budgets. Of those who have all of theirs nothing is kept.
#[derive(Debug)]
pub struct Budgets<K> {
    /// When each budget is whole again.
    whole: BTreeMap<K, Instant>,
    /// The same, by time.
    order: BTreeSet<(Instant, K)>,
}

impl<K> Default for Budgets<K> {
    fn default() -> Self {
        Self { whole: BTreeMap::new(), order: BTreeSet::new() }
    }
}

impl<K: Clone + Ord> Budgets<K> {
    /// Whether anything is left of the budget of `key`.
    #[must_use]
    pub fn may(&self, key: &K, now: Instant) -> bool {
        let Some(whole) = self.whole.get(key) else { return true };
        whole.saturating_duration_since(now) + BAD_CREDENTIALS_PACE <= BAD_CREDENTIALS_PACE * BAD_CREDENTIALS
    }

    /// One thing of `key` was wrong. Several may have been found out at once, so a budget can be overdrawn, up to
    /// [`BAD_CREDENTIALS_WAIT`].
    pub fn failed(&mut self, key: K, now: Instant) {
        self.forget_whole(now);
        let before = self.whole.get(&key).copied();
        let latest = now + BAD_CREDENTIALS_PACE * (BAD_CREDENTIALS - 1) + BAD_CREDENTIALS_WAIT;
        let whole = (before.unwrap_or(now).max(now) + BAD_CREDENTIALS_PACE).min(latest);
        if let Some(before) = before {
            self.order.remove(&(before, key.clone()));
        } else if self.whole.len() >= BAD_CREDENTIALS_PEERS
            && let Some((_, soonest)) = self.order.pop_first()
        {
            self.whole.remove(&soonest);
        }
        self.whole.insert(key.clone(), whole);
        self.order.insert((whole, key));
    }

    fn forget_whole(&mut self, now: Instant) {
        while let Some((_, key)) = self.order.first().filter(|(whole, _)| *whole <= now).cloned() {
            self.order.pop_first();
            self.whole.remove(&key);
        }
    }

    /// Of how many anything is kept.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        assert_eq!(self.whole.len(), self.order.len());
        self.whole.len()
    }
}
