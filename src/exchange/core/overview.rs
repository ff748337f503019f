//! PURE. Items, as operators are shown them.

use std::time::Instant;

use super::item::Phase;
use super::{Client, Core, Key};
use crate::exchange::id::{ClaimId, ItemId};

/// What has not ended, at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overview {
    /// Consumers that wait: several may share an item.
    pub consumers: u64,
    /// The oldest queued items, in no order.
    pub queued: Vec<ItemOverview>,
    /// The oldest items that workers have, in no order.
    pub claimed: Vec<ItemOverview>,
}

/// An item that has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemOverview {
    /// The item.
    pub item: ItemId,
    /// The key in its path.
    pub key: Option<Key>,
    /// Whose it is.
    pub client: Client,
    /// When it came, and its number in the order in which items came.
    pub submitted: (Instant, u64),
    /// `queued`, `claimed` or `streaming`.
    pub state: &'static str,
    /// Which attempt it is, from 1; of a queued one, which it will be.
    pub attempt: u32,
    /// The live claim, and since when.
    pub claim: Option<(ClaimId, Instant)>,
}

impl Core {
    /// What has not ended: of queued items, and of those that workers have, the oldest, and as many at most. It reads each item
    /// once and puts nothing in order, since others wait for it.
    #[must_use]
    pub fn overview(&self, most: usize) -> Overview {
        let (mut consumers, mut queued, mut claimed) = (0, Vec::with_capacity(self.queue.len()), Vec::new());
        for (id, item) in &self.items {
            consumers += u64::from(item.consumers);
            let found = match item.phase {
                Phase::Queued { .. } => &mut queued,
                Phase::Claimed { .. } | Phase::Streaming { .. } | Phase::Elsewhere { .. } => &mut claimed,
                Phase::Ended { .. } => continue,
            };
            found.push((item.submitted, item.place.sequence, *id));
        }
        let oldest = |mut found: Vec<(Instant, u64, ItemId)>| {
            if found.len() > most {
                found.select_nth_unstable(most);
                found.truncate(most);
            }
            found.into_iter().filter_map(|(_, _, id)| self.item_overview(id)).collect()
        };
        Overview { consumers, queued: oldest(queued), claimed: oldest(claimed) }
    }

    /// How many consumers wait.
    #[must_use]
    pub fn consumers(&self) -> u64 {
        self.items.values().map(|item| u64::from(item.consumers)).sum()
    }

    fn item_overview(&self, id: ItemId) -> Option<ItemOverview> {
        let item = self.items.get(&id)?;
        let (state, claim) = match item.phase {
            Phase::Queued { .. } => ("queued", None),
            Phase::Claimed { claim, since, .. } => ("claimed", Some((claim, since))),
            Phase::Streaming { claim, since, .. } => ("streaming", Some((claim, since))),
            Phase::Elsewhere { .. } => ("claimed", None),
            Phase::Ended { .. } => return None,
        };
        Some(ItemOverview {
            item: id,
            key: item.place.key.clone(),
            client: item.place.client.clone(),
            submitted: (item.submitted, item.place.sequence),
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
