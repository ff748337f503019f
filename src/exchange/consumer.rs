//! Consumers: they submit requests, come back for them, and leave.

use std::sync::Arc;

use super::Exchange;
use super::core::{Leave, Refused, Submission, Submitted};
use super::entry::{Answer, Entry, Request};
use super::id::ItemId;
use super::result::Reader;

/// A consumer that waits for an item. Dropped, the consumer is gone.
#[derive(Debug)]
pub struct Consumer {
    exchange: Arc<Exchange>,
    entry: Arc<Entry>,
    leave: Leave,
    /// It waits, and is counted.
    waits: bool,
}

impl Exchange {
    /// A consumer's request comes.
    pub fn submit(self: &Arc<Self>, submission: Submission, request: Request) -> Result<Consumer, Refused> {
        let (id, waits) = (submission.item, !submission.is_async);
        let answers_many = submission.is_async || submission.share.is_some() || submission.once.is_some();
        let entry = Entry::new(id, request, submission.is_async, answers_many);
        let made = Arc::clone(&entry);
        let result = self.act_with(move |state, now| {
            // A free slot is given it at once, so it must be there.
            state.entries.insert(id, made);
            let free = state.core.free();
            let submitted = state.core.submit(now, submission);
            if submitted != Ok(Submitted::New) {
                state.entries.remove(&id);
            }
            let is_immediate = state.core.free() < free;
            submitted.map(|submitted| match submitted {
                Submitted::New => (None, is_immediate),
                Submitted::Attached(found) => (state.entries.get(&found).map(Arc::clone), false),
            })
        });
        match result {
            Ok((found, is_immediate)) => {
                self.metrics.immediate.inc_by(u64::from(is_immediate));
                Ok(Consumer { exchange: Arc::clone(self), entry: found.unwrap_or(entry), leave: Leave::Gone, waits })
            }
            Err(refused) => {
                self.metrics.refused(refused);
                Err(refused)
            }
        }
    }

    /// A consumer comes for an item; none: nothing is known of it.
    #[must_use]
    pub fn attach(self: &Arc<Self>, id: ItemId) -> Option<Consumer> {
        let state = self.state();
        let entry = Arc::clone(state.entries.get(&id)?);
        drop(state);
        let is_there = self.act(|core, _| {
            core.come_here(id);
            core.attach(id, false)
        });
        if !is_there {
            return None;
        }
        Some(Consumer { exchange: Arc::clone(self), entry, leave: Leave::Gone, waits: true })
    }

    /// Deletes an item; none: nothing is known of it; false: it had ended.
    #[must_use]
    pub fn delete(self: &Arc<Self>, id: ItemId) -> Option<bool> {
        self.act(|core, now| core.delete(now, id))
    }
}

impl Consumer {
    /// What it waits for.
    #[must_use]
    pub fn entry(&self) -> &Arc<Entry> {
        &self.entry
    }

    /// Reads an answer from its start; none: that is not here any more. Where the worker has sent all of it, nobody else cuts off
    /// a consumer that stalls.
    #[must_use]
    pub fn read(&self, answer: &Answer) -> Option<Reader> {
        let reader = answer.body.read();
        self.exchange.linger(&answer.body);
        reader
    }

    /// It is told to come back after so long.
    pub fn told(mut self, after: std::time::Duration) {
        self.leave = Leave::Told(after);
    }

    /// It has all of the answer.
    pub fn served(&mut self) {
        self.leave = Leave::Served;
    }

    /// It was told so before: where its connection breaks, the item is kept for so long.
    pub fn stays(&mut self, after: std::time::Duration) {
        self.leave = Leave::Told(after);
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        if self.waits {
            let (id, leave) = (self.entry.id, self.leave);
            self.exchange.act(|core, now| core.leave(now, id, leave));
        }
    }
}
