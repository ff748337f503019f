//! PURE. Slots of workers that wait for an item: the newest is taken first, so that one whose worker has died unnoticed gets
//! nothing while others are there.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::Key;
use crate::exchange::id::ClaimId;

/// A slot of a worker that is free.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The id of the claim that it becomes.
    pub claim: ClaimId,
    /// Takes items of this key alone; absent: of any.
    pub key: Option<Key>,
    /// A worker that polls: its claim has to be touched, and then touched again and again.
    pub polls: bool,
    /// Of which one offer at most waits; absent: the offer stands alone.
    pub seat: Option<Seat>,
}

/// A slot of a worker that polls, by its names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Seat {
    /// Who the worker is, for access.
    pub client: Arc<str>,
    /// `Agent-Id`.
    pub agent: Arc<str>,
    /// `slot`.
    pub slot: Arc<str>,
}

/// Offers that wait.
#[derive(Debug, Default)]
pub(super) struct Idle {
    offers: HashMap<ClaimId, (u64, Offer)>,
    of_any_key: BTreeMap<u64, ClaimId>,
    of_key: HashMap<Key, BTreeMap<u64, ClaimId>>,
    count: u64,
}

impl Idle {
    pub(super) fn len(&self) -> usize {
        self.offers.len()
    }

    /// Those of workers that poll.
    pub(super) fn polls(&self) -> Vec<ClaimId> {
        self.offers.iter().filter(|(_, (_, offer))| offer.polls).map(|(claim, _)| *claim).collect()
    }

    pub(super) fn add(&mut self, offer: Offer) {
        self.count += 1;
        let turns = match &offer.key {
            None => &mut self.of_any_key,
            Some(key) => self.of_key.entry(Arc::clone(key)).or_default(),
        };
        turns.insert(self.count, offer.claim);
        self.offers.insert(offer.claim, (self.count, offer));
    }

    /// An offer that waits.
    pub(super) fn get(&self, claim: ClaimId) -> Option<&Offer> {
        self.offers.get(&claim).map(|(_, offer)| offer)
    }

    /// The newest that takes an item with this key.
    pub(super) fn newest(&self, key: Option<&Key>) -> Option<ClaimId> {
        let of_any = self.of_any_key.last_key_value();
        let of_key = key.and_then(|key| self.of_key.get(key)?.last_key_value());
        of_any.max(of_key).map(|(_, claim)| *claim)
    }

    pub(super) fn remove(&mut self, claim: ClaimId) -> Option<Offer> {
        let (turn, offer) = self.offers.remove(&claim)?;
        match &offer.key {
            None => {
                self.of_any_key.remove(&turn);
            }
            Some(key) => {
                if let Some(turns) = self.of_key.get_mut(key) {
                    turns.remove(&turn);
                    if turns.is_empty() {
                        self.of_key.remove(key);
                    }
                }
            }
        }
        Some(offer)
    }
}

#[cfg(test)]
impl Idle {
    /// Whether nothing of earlier offers is left in it.
    pub(super) fn holds_nothing(&self) -> bool {
        self.offers.is_empty() && self.of_any_key.is_empty() && self.of_key.is_empty()
    }
}
