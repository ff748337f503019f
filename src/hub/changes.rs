//! How a change reaches those who own many parked requests: an event loop, or a connection of HTTP/2. Each of them has a
//! [`Mailbox`], in which every publication of the operations that it follows leaves one [`Change`], however many requests
//! it releases.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::task::AtomicWaker;

use super::FanOutGuard;
use super::fan_out::FanOut;
use crate::bounds::CHANGES;

/// Names a view, among all views of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ViewId(u64);

/// What has happened to views. It is left in a mailbox after it has become visible in the views.
#[derive(Debug)]
pub struct Change {
    /// To which.
    pub what: What,
    /// Measures until the last share of the change is dropped; absent: nothing is released.
    fan_out: Option<Arc<FanOut>>,
}

/// What has happened.
#[derive(Debug)]
pub enum What {
    /// The whole model and the views of these selections have another state, and all views have another version.
    Touched {
        /// The view of the whole model.
        whole: ViewId,
        /// Those of selections.
        parts: Box<[ViewId]>,
    },
    /// The state of the operation with this whole view has another version.
    Version(ViewId),
    /// The operation with this whole view, or what is announced under this id, has ended.
    Ended(ViewId),
    /// The state of the operation with this whole view is fresh or stale, as it was not before.
    Told {
        /// The view of the whole model.
        whole: ViewId,
        /// Who is to know.
        who: Who,
        /// Over how long the answers are spread.
        within: Duration,
    },
    /// So many changes came that they are not told apart: any view may have another state, and any operation may have ended.
    Many,
}

/// Whose parked polls are answered when the freshness of the state turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// Those of relays.
    Relays,
    /// All.
    All,
}

/// Changes that their reader has not taken yet.
#[derive(Debug, Default)]
pub struct Mailbox {
    changes: Mutex<Vec<Arc<Change>>>,
    waker: AtomicWaker,
}

/// Something that changes beside operations, and the mailboxes of those who follow it.
#[derive(Debug)]
pub struct Announcer {
    id: ViewId,
    followers: Followers,
}

/// The mailboxes of an operation.
#[derive(Debug, Default)]
pub(super) struct Followers(Mutex<Vec<Weak<Mailbox>>>);

impl ViewId {
    /// One that no other view has.
    pub(super) fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

impl Change {
    pub(super) fn touched(whole: ViewId, parts: Box<[ViewId]>, fan_out: &Arc<FanOut>) -> Self {
        Self { what: What::Touched { whole, parts }, fan_out: Some(Arc::clone(fan_out)) }
    }

    pub(super) fn of(what: What) -> Self {
        Self { what, fan_out: None }
    }

    /// It has released a request, whose answer is written before this share of the change is dropped.
    pub fn has_released(&self) {
        if let Some(fan_out) = &self.fan_out {
            fan_out.has_released();
        }
    }

    /// For an answer that is written later.
    #[must_use]
    pub fn guard(&self) -> Option<FanOutGuard> {
        self.fan_out.as_ref().map(|fan_out| FanOutGuard::of_change(Arc::clone(fan_out)))
    }
}

impl Announcer {
    /// Nobody follows it yet.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "each is another one")]
    pub fn new() -> Self {
        Self { id: ViewId::next(), followers: Followers::default() }
    }

    /// Names it in [`What::Touched`].
    #[must_use]
    pub fn id(&self) -> ViewId {
        self.id
    }

    /// From now on its changes are left in this mailbox too.
    pub fn follow(&self, mailbox: &Arc<Mailbox>) {
        self.followers.add(mailbox);
    }

    /// It has changed.
    pub fn tell(&self) {
        self.followers.tell(Change::of(What::Touched { whole: self.id, parts: Box::default() }));
    }

    /// It has ended.
    pub fn tell_end(&self) {
        self.followers.tell(Change::of(What::Ended(self.id)));
    }
}

impl Mailbox {
    /// Takes all changes; pending while there are none.
    pub fn poll_take(&self, cx: &Context<'_>, changes: &mut Vec<Arc<Change>>) -> Poll<()> {
        // Registered before the look, so that no change falls in between.
        self.waker.register(cx.waker());
        let mut left = self.changes();
        if left.is_empty() {
            return Poll::Pending;
        }
        changes.append(&mut left);
        Poll::Ready(())
    }

    fn leave(&self, change: &Arc<Change>) {
        {
            let mut changes = self.changes();
            if changes.len() >= CHANGES {
                changes.clear();
                changes.push(Arc::new(Change { what: What::Many, fan_out: change.fan_out.clone() }));
            } else {
                changes.push(Arc::clone(change));
            }
        }
        self.waker.wake();
    }

    fn changes(&self) -> MutexGuard<'_, Vec<Arc<Change>>> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Followers {
    /// From now on changes are left in this mailbox too, until nobody has it any more.
    pub(super) fn add(&self, mailbox: &Arc<Mailbox>) {
        let mut followers = self.followers();
        followers.retain(|follower| follower.strong_count() > 0);
        followers.push(Arc::downgrade(mailbox));
    }

    /// Tells all of them.
    pub(super) fn tell(&self, change: Change) {
        let change = Arc::new(change);
        self.followers().retain(|follower| {
            let Some(mailbox) = follower.upgrade() else { return false };
            mailbox.leave(&change);
            true
        });
    }

    fn followers(&self) -> MutexGuard<'_, Vec<Weak<Mailbox>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
