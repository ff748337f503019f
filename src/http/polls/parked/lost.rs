//! Parked polls whose callers may no longer be answered.

use std::sync::Arc;
use std::time::Instant;

use super::links::index;
use super::{Parked, Released};
use crate::config;
use crate::http::access::Access;
use crate::hub::Missing;

impl<C> Parked<C> {
    /// Credentials or permissions were withdrawn, or rules have changed.
    pub(in crate::http) fn on_withdrawal(&mut self, access: &Access) {
        let mut last: Option<(u32, Arc<config::Operation>)> = None;
        let over = self.polls.iter().filter_map(|(key, entry)| {
            let polled = &self.lists[entry.list as usize];
            // Looked up once for many polls of the same list.
            let operation = match last.take() {
                Some((of, operation)) if of == entry.list => operation,
                Some(_) | None => polled.operation.config(),
            };
            let selected = entry.poll.request().select.as_ref();
            let loss = access.still_allows(&entry.caller, &operation, selected).err();
            last = Some((entry.list, operation));
            loss.map(|loss| (index(key), entry.parked, loss))
        });
        self.lost = over.collect();
    }

    pub(super) fn next_lost(&mut self, now: Instant) -> Option<Released<C>> {
        while let Some((key, parked, loss)) = self.lost.pop() {
            // It may have ended since, and another one have its key.
            let Some(entry) = self.polls.get(key as usize).filter(|entry| entry.parked == parked) else { continue };
            let release = entry.poll.on_withdrawn();
            let released = self.release(key, release, Err(Missing::NoState), now)?;
            return Some(Released { lost: Some(loss), ..released });
        }
        None
    }
}
