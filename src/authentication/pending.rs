//! How many questions of each of many are under way at once. As nobody knows yet which of their answers will be bad, each has a
//! few of them, and no more: [`Budgets`](super::budgets::Budgets) count only afterwards.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

/// The questions that are under way.
#[derive(Debug)]
pub struct Pending<K> {
    /// Of whom there are any, how many.
    counts: Mutex<HashMap<K, usize>>,
    most: usize,
}

/// A question that is under way until this is dropped.
#[derive(Debug)]
pub struct Place<K: Eq + Hash> {
    pending: Arc<Pending<K>>,
    key: K,
}

impl<K: Eq + Hash + Clone> Pending<K> {
    /// None yet, and at most so many of each.
    #[must_use]
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { counts: Mutex::default(), most })
    }

    /// One more of `key`; none: there are too many.
    #[must_use]
    pub fn begin(self: &Arc<Self>, key: K) -> Option<Place<K>> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(key.clone()).or_default();
        (*count < self.most).then(|| *count += 1)?;
        Some(Place { pending: Arc::clone(self), key })
    }
}

impl<K: Eq + Hash> Drop for Place<K> {
    fn drop(&mut self) {
        let mut counts = self.pending.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_a_few_at_once_and_others_have_theirs() {
        let pending = Pending::new(64);
        let begin = |key| pending.begin(key);
        let mut places: Vec<_> = (0..64).map(|_| begin(1).expect("room")).collect();
        assert!(begin(1).is_none() && begin(2).is_some());
        places.pop();
        assert!(begin(1).is_some());
        drop(places);
        assert!(pending.counts.lock().expect("whole").is_empty(), "who has none is not kept");
    }
}
