//! PURE. Items, as operators are shown them.

use std::time::Instant;

use super::item::{Item, Phase};
use super::{Client, Core, Key};
use crate::exchange::id::{ClaimId, ItemId};

/// An item that has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overview {
    /// The item.
    pub item: ItemId,
    /// The key in its path.
    pub key: Option<Key>,
    /// Whose it is.
    pub client: Client,
    /// When it came.
    pub submitted: Instant,
    /// `queued`, `claimed` or `streaming`.
    pub state: &'static str,
    /// Which attempt it is, from 1; of a queued one, which it will be.
    pub attempt: u32,
    /// The live claim, and since when.
    pub claim: Option<(ClaimId, Instant)>,
}

impl Core {
    /// Queued items, the oldest first, and as many at most.
    #[must_use]
    pub fn oldest_queued(&self, most: usize) -> Vec<Overview> {
        self.oldest_of(most, |item| matches!(item.phase, Phase::Queued { .. }))
    }

    /// The same of items that workers have.
    #[must_use]
    pub fn oldest_claimed(&self, most: usize) -> Vec<Overview> {
        self.oldest_of(most, |item| item.claim().is_some())
    }

    fn oldest_of(&self, most: usize, shown: impl Fn(&Item) -> bool) -> Vec<Overview> {
        let shown = self.items.iter().filter(|(_, item)| shown(item));
        let mut oldest: Vec<_> = shown.map(|(id, item)| (item.submitted, item.place.sequence, *id)).collect();
        oldest.sort_unstable();
        oldest.truncate(most);
        oldest.into_iter().filter_map(|(_, _, id)| self.overview(id)).collect()
    }

    fn overview(&self, id: ItemId) -> Option<Overview> {
        let item = self.items.get(&id)?;
        let (state, claim) = match item.phase {
            Phase::Queued { .. } => ("queued", None),
            Phase::Claimed { claim, since, .. } => ("claimed", Some((claim, since))),
            Phase::Streaming { claim, since, .. } => ("streaming", Some((claim, since))),
            Phase::Ended { .. } => return None,
        };
        Some(Overview {
            item: id,
            key: item.place.key.clone(),
            client: item.place.client.clone(),
            submitted: item.submitted,
            state,
            attempt: item.attempts + 1,
            claim,
        })
    }

    /// The item of a live claim.
    #[must_use]
    pub fn claimed(&self, claim: ClaimId) -> Option<ItemId> {
        self.claims.get(&claim).map(|live| live.item)
    }
}
