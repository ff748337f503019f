//! The readers of an event loop that wait, by topic, and what was written last.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Weak};

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
    followed: HashMap<ViewId, Weak<Topic>>,
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
    pub(super) fn follow(&mut self, topic: &Arc<Topic>, mailbox: &Arc<Mailbox>) {
        if self.followed.contains_key(&topic.id()) {
            return;
        }
        topic.follow(mailbox);
        // One that has ended meanwhile says so no more.
        if !topic.has_ended() {
            self.followed.insert(topic.id(), Arc::downgrade(topic));
        }
    }

    /// Notes what a change touches.
    pub(in crate::http::front) fn on_change(&mut self, change: &Change) {
        match &change.what {
            What::Touched { whole, .. } => self.due.extend(self.waiting.remove(whole)),
            What::Ended(whole) => {
                self.followed.remove(whole);
                self.due.extend(self.waiting.remove(whole));
            }
            What::Many => {
                self.followed.retain(|_, topic| topic.upgrade().is_some_and(|topic| !topic.has_ended()));
                self.due.extend(self.waiting.drain().map(|(_, readers)| readers));
            }
            What::Version(_) | What::Told { .. } => {}
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
        let moved = list.get(place).copied();
        if list.is_empty() && topic.has_ended() {
            self.waiting.remove(&topic.id());
        }
        moved
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

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use prometheus::Registry;

    use super::*;
    use crate::bounds::CHANGES;
    use crate::config;
    use crate::topic::backend::Backend;
    use crate::topic::id::Epoch;
    use crate::topic::metrics::Families;

    /// Takes the changes that are left, and looks at all who are due.
    fn told(readers: &mut Readers, mailbox: &Mailbox) -> usize {
        let mut changes = Vec::new();
        if let Poll::Ready(()) = mailbox.poll_take(&Context::from_waker(Waker::noop()), &mut changes) {
            for change in &changes {
                readers.on_change(change);
            }
        }
        readers.due.drain(..).map(|list| list.len()).sum()
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "where the clock of a test begins")]
    fn topics_that_come_and_go_leave_nothing_behind() {
        let families = Families::register(&Registry::new()).expect("new names");
        let (mut readers, mailbox) = (Readers::default(), Arc::new(Mailbox::default()));
        let client = ClientRef { key: 1, serial: 1 };
        // So many that their changes are not told apart, at the second round.
        for (rounds, at_once) in [(3, 1), (1, 2 * CHANGES)] {
            for _ in 0..rounds {
                let new = || {
                    let (metrics, now) = (families.of("chat"), std::time::Instant::now());
                    Topic::new(config::Topic::example("chat"), Epoch::of(1).at(0), Backend::Memory, metrics, now)
                };
                let topics: Vec<_> = std::iter::repeat_with(new).take(at_once).collect();
                for topic in &topics {
                    readers.follow(topic, &mailbox);
                    readers.wait(topic, client);
                }
                for topic in &topics {
                    topic.end();
                }
                assert_eq!(told(&mut readers, &mailbox), at_once, "each reader is told");
                // Who finds it later, or is told slowly.
                readers.follow(&topics[0], &mailbox);
                let place = readers.wait(&topics[0], client);
                assert_eq!(readers.leave(&topics[0], client, place), None);
                assert_eq!((readers.followed.len(), readers.waiting.len()), (0, 0));
            }
        }
    }
}
