//! That something has happened to a stream which its connection's task has not looked at: one notice for all streams of a
//! connection, so that a stream costs no waker of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake};

use futures::task::AtomicWaker;

/// A notice.
#[derive(Debug, Default)]
pub(super) struct Notice {
    is_given: AtomicBool,
    task: AtomicWaker,
}

impl Notice {
    /// Whether it was given since the last look; the next one wakes the task that asks.
    pub(super) fn take(&self, cx: &Context<'_>) -> bool {
        // Registered before the look, so that none falls in between.
        self.task.register(cx.waker());
        self.is_given.swap(false, Ordering::AcqRel)
    }

    /// Whether it was given since the last look.
    pub(super) fn is_given(&self) -> bool {
        self.is_given.load(Ordering::Acquire)
    }

    /// Gives it.
    pub(super) fn give(&self) {
        self.is_given.store(true, Ordering::Release);
        self.task.wake();
    }
}

/// As a waker: h2 wakes it when a stream is reset.
impl Wake for Notice {
    fn wake(self: Arc<Self>) {
        self.give();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.give();
    }
}
