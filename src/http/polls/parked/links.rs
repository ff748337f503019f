//! The lists of parked polls. A poll knows its neighbours, so it leaves its list at the same cost wherever it stands.

use std::sync::Arc;

use super::{Entry, Parked};
use crate::hub::Subscription;
use crate::operation::Operation;

/// No poll, in a link.
pub(super) const NONE: u32 = u32::MAX;

/// The polls that wait at one view.
#[derive(Debug)]
pub(super) struct List {
    pub(super) operation: Arc<Operation>,
    pub(super) subscription: Arc<Subscription>,
    pub(super) first: u32,
    last: u32,
}

/// A poll that was taken out, and the list that it was in.
pub(super) struct Taken<C> {
    pub(super) entry: Entry<C>,
    pub(super) list: List,
}

impl<C> Parked<C> {
    /// Takes a poll out of everything.
    pub(super) fn take(&mut self, key: u32) -> Option<Taken<C>> {
        self.polls.get(key as usize)?;
        self.timers.set(key, None);
        let list = self.unlink(key);
        let at = &self.lists[list as usize];
        let taken = List::new(&at.operation, &at.subscription);
        self.blocked.remove(&(at.subscription.whole_id(), key));
        let (first, view) = (at.first, at.subscription.view_id());
        // A due list goes when its turn comes.
        if first == NONE && self.by_view.get(&view) == Some(&list) {
            self.by_view.remove(&view);
            self.lists.remove(list as usize);
        }
        Some(Taken { entry: self.polls.remove(key as usize), list: taken })
    }

    /// Where polls of a view are put now.
    pub(super) fn list_of(&mut self, operation: &Arc<Operation>, subscription: &Arc<Subscription>) -> u32 {
        let lists = &mut self.lists;
        *self
            .by_view
            .entry(subscription.view_id())
            .or_insert_with(|| index(lists.insert(List::new(operation, subscription))))
    }

    /// Puts a poll at the end of a list.
    pub(super) fn link(&mut self, key: u32, list: u32) {
        let at = &mut self.lists[list as usize];
        let before = std::mem::replace(&mut at.last, key);
        if before == NONE {
            at.first = key;
        } else {
            self.polls[before as usize].next = key;
        }
        let entry = &mut self.polls[key as usize];
        (entry.list, entry.previous, entry.next) = (list, before, NONE);
    }

    /// Takes a poll out of its list, and says which that was.
    pub(super) fn unlink(&mut self, key: u32) -> u32 {
        let Entry { list, previous, next, .. } = self.polls[key as usize];
        let at = &mut self.lists[list as usize];
        if previous == NONE {
            at.first = next;
        } else {
            self.polls[previous as usize].next = next;
        }
        if next == NONE {
            at.last = previous;
        } else {
            self.polls[next as usize].previous = previous;
        }
        list
    }
}

impl List {
    pub(super) fn new(operation: &Arc<Operation>, subscription: &Arc<Subscription>) -> Self {
        Self { operation: Arc::clone(operation), subscription: Arc::clone(subscription), first: NONE, last: NONE }
    }
}

/// A key of a slab, of which none grows beyond the descriptors of a process.
pub(super) fn index(key: usize) -> u32 {
    u32::try_from(key).expect("fewer connections than 2^32")
}
