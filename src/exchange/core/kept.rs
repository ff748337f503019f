//! PURE. Ended items that are still known, and those that are forgotten.

use super::{Core, Effect};
use crate::bounds::EXCHANGE_ENDED;
use crate::exchange::id::ItemId;

impl Core {
    /// Forgets an item.
    pub(super) fn forget(&mut self, id: ItemId) {
        let Some(item) = self.items.remove(&id) else { return };
        if let Some(at) = item.timer {
            self.timers.remove(&(at, id));
        }
        if let Some(once) = item.once {
            self.once.remove(&(item.place.client, once.key));
        }
        self.effects.push(Effect::Forget(id));
        while self.ended.front().is_some_and(|oldest| !self.items.contains_key(oldest)) {
            self.ended.pop_front();
        }
    }

    /// No further request shares this item.
    pub(super) fn release_share(&mut self, id: ItemId) {
        let Some(item) = self.items.get(&id) else { return };
        let Some(share) = &item.share else { return };
        if self.shared.get(share) == Some(&id) {
            self.shared.remove(share);
        }
        if let Some(of_key) = self.unanswered.get_mut(&item.place.key) {
            of_key.remove(&item.place.sequence);
            if of_key.is_empty() {
                self.unanswered.remove(&item.place.key);
            }
        }
    }

    /// Remembers an ended item, and forgets the oldest where there are too many.
    pub(super) fn remember(&mut self, id: ItemId) {
        if self.ended.len() == EXCHANGE_ENDED
            && let Some(oldest) = self.ended.pop_front()
        {
            self.forget(oldest);
        }
        self.ended.push_back(id);
    }

    /// Forgets the ended item that has been known for the longest time; false: there is none.
    pub fn forget_oldest(&mut self) -> bool {
        while let Some(oldest) = self.ended.pop_front() {
            if self.items.contains_key(&oldest) {
                self.forget(oldest);
                return true;
            }
        }
        false
    }
}
