//! PURE. Items that have ended, of which nothing else is known any more: after a crash a server of NATS may show what came before
//! the end of one.

use std::collections::{HashSet, VecDeque};

use crate::bounds::EXCHANGE_REMEMBERED;
use crate::exchange::id::ItemId;

/// The items that have ended last.
#[derive(Debug, Default)]
pub(super) struct Remembered {
    all: HashSet<ItemId>,
    order: VecDeque<ItemId>,
}

impl Remembered {
    /// An item has ended.
    pub(super) fn add(&mut self, id: ItemId) {
        if self.all.insert(id) {
            self.order.push_back(id);
        }
        while self.order.len() > EXCHANGE_REMEMBERED {
            self.order.pop_front().map(|oldest| self.all.remove(&oldest));
        }
    }

    /// Whether an item has ended.
    pub(super) fn contains(&self, id: ItemId) -> bool {
        self.all.contains(&id)
    }
}
