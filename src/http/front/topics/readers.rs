//! The readers of an event loop that wait, by topic, and what was written last.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue};

use crate::http::front::written::Written;
use crate::http::polls::ClientRef;
use crate::hub::{Change, Mailbox, ViewId, What};
use crate::topic::Topic;
use crate::topic::kept::Kept;

/// The readers of an event loop.
#[derive(Debug, Default)]
pub(in crate::http::front) struct Readers {
    /// Those that wait.
    waiting: HashMap<ViewId, Vec<ClientRef>>,
    /// Those whose topic has changed.
    pub(super) due: VecDeque<Vec<ClientRef>>,
    /// The topics whose changes are left in the mailbox.
    followed: HashSet<ViewId>,
    pub(super) kept: Kept,
    part: Option<WrittenPart>,
    pub(super) page: Option<WrittenPage>,
}

/// A part as it was written last.
#[derive(Debug)]
struct WrittenPart {
    bytes: Bytes,
    is_last: bool,
    written: Arc<Written>,
}

/// An answer as it was written last.
#[derive(Debug)]
pub(super) struct WrittenPage {
    pub(super) body: Bytes,
    pub(super) further: Vec<(HeaderName, HeaderValue)>,
    pub(super) ends: bool,
    pub(super) second: u64,
    pub(super) written: Arc<Written>,
}

impl Readers {
    /// Whether there are some to look at.
    pub(in crate::http::front) fn are_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// From now on the changes of this topic are left in the mailbox. To be called before a reader looks at it.
    pub(super) fn follow(&mut self, topic: &Topic, mailbox: &Arc<Mailbox>) {
        if self.followed.insert(topic.id()) {
            topic.follow(mailbox);
        }
    }

    /// Notes what a change touches.
    pub(in crate::http::front) fn on_change(&mut self, change: &Change) {
        match &change.what {
            What::Touched { whole, .. } => self.due.extend(self.waiting.remove(whole)),
            What::Many => self.due.extend(self.waiting.drain().map(|(_, readers)| readers)),
            What::Version(_) | What::Ended(_) | What::Told { .. } => {}
        }
    }

    /// Puts a reader where those are that wait; gives its place there.
    pub(super) fn wait(&mut self, topic: &Topic, client: ClientRef) -> usize {
        let list = self.waiting.entry(topic.id()).or_default();
        list.push(client);
        list.len() - 1
    }

    /// Takes a reader out of those that wait, if it is still one; gives the one that is in its place now.
    pub(super) fn leave(&mut self, topic: &Topic, client: ClientRef, place: usize) -> Option<ClientRef> {
        let list = self.waiting.get_mut(&topic.id())?;
        if list.get(place) != Some(&client) {
            return None;
        }
        list.swap_remove(place);
        list.get(place).copied()
    }

    pub(super) fn written(&mut self, bytes: &Bytes, is_last: bool) -> Arc<Written> {
        let is_it = |part: &&WrittenPart| is_same(&part.bytes, bytes) && part.is_last == is_last;
        if let Some(part) = self.part.as_ref().filter(is_it) {
            return Arc::clone(&part.written);
        }
        let written = Arc::new(Written::part(bytes, is_last));
        self.part = Some(WrittenPart { bytes: bytes.clone(), is_last, written: Arc::clone(&written) });
        written
    }
}

/// Whether these are the same bytes in memory.
pub(super) fn is_same(one: &Bytes, other: &Bytes) -> bool {
    one.as_ptr() == other.as_ptr() && one.len() == other.len()
}
