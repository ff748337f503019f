//! PURE. The messages that are kept: the newest, as far as the bounds allow.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use crate::config::TopicHistory;
use crate::topic::message::Message;

/// The messages that are kept, without a gap between them.
#[derive(Debug)]
pub(super) struct History {
    bounds: TopicHistory,
    messages: VecDeque<Arc<Message>>,
    /// Of them all.
    bytes: usize,
    /// Of the newest message that there ever was; 0: there was none.
    last: u64,
}

impl History {
    /// Without messages; the first one follows this offset.
    pub(super) fn new(bounds: TopicHistory, last: u64) -> Self {
        Self { bounds, messages: VecDeque::new(), bytes: 0, last }
    }

    /// Nothing is kept any more; the next message follows this offset.
    pub(super) fn begin(&mut self, last: u64) {
        self.messages.clear();
        (self.bytes, self.last) = (0, last);
    }

    /// Of the newest message that there ever was; 0: there was none.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// Of the oldest message that is kept; where none is, of the next one.
    pub(super) fn first(&self) -> u64 {
        self.last + 1 - self.messages.len() as u64
    }

    /// How many are kept.
    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    /// Bytes of them all.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Appends the message after the last one.
    pub(super) fn push(&mut self, message: Arc<Message>) {
        debug_assert_eq!(message.id.offset, self.last + 1, "offsets have no gaps");
        self.last = message.id.offset;
        self.bytes += message.json().len();
        self.messages.push_back(message);
        self.fit();
    }

    /// Keeps within these bounds from now on.
    pub(super) fn change(&mut self, bounds: TopicHistory) {
        self.bounds = bounds;
        self.fit();
    }

    fn fit(&mut self) {
        // The newest is kept, however long it is.
        while self.messages.len() > self.bounds.messages || self.bytes > self.bounds.bytes && self.messages.len() > 1 {
            self.drop_first();
        }
    }

    /// Drops what is too old.
    pub(super) fn trim(&mut self, now: Instant) {
        while self
            .messages
            .front()
            .is_some_and(|message| now.saturating_duration_since(message.published) > self.bounds.age)
        {
            self.drop_first();
        }
    }

    fn drop_first(&mut self) {
        if let Some(message) = self.messages.pop_front() {
            self.bytes -= message.json().len();
        }
    }

    /// Those after this offset, which is one before the first at least.
    pub(super) fn after(&self, offset: u64) -> impl Iterator<Item = &Arc<Message>> {
        let skipped = (offset + 1).saturating_sub(self.first());
        self.messages.iter().skip(usize::try_from(skipped).unwrap_or(usize::MAX))
    }
}
