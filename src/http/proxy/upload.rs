//! How far a request's body has come, seen from outside of hyper, which reads it in a task of its own.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::bounds::CONTINUE_WAIT;

/// How far a request's body has come.
#[derive(Debug)]
pub(super) struct Progress {
    began: Instant,
    /// Milliseconds from `began` to the last frame.
    moved: AtomicU64,
    /// Whether hyper waits for the client's next frame; otherwise it is the app that does not read.
    wanted: AtomicBool,
    /// Whether anything was asked of the client yet.
    asked: AtomicBool,
    go_on: CancellationToken,
    done: CancellationToken,
}

impl Progress {
    pub(super) fn new() -> Self {
        Self {
            began: Instant::now(),
            moved: AtomicU64::new(0),
            wanted: AtomicBool::new(false),
            asked: AtomicBool::new(false),
            go_on: CancellationToken::new(),
            done: CancellationToken::new(),
        }
    }

    /// The app said 100.
    pub(super) fn go_on(&self) {
        self.go_on.cancel();
    }

    /// Waits for the app's 100, or long enough (RFC 9110, section 10.1.1: not for ever).
    pub(super) async fn may_go_on(&self) {
        // Either way it goes on.
        let _ = timeout(CONTINUE_WAIT, self.go_on.cancelled()).await;
    }

    /// A frame came from the client.
    pub(super) fn moved(&self) {
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.moved.store(now, Ordering::Relaxed);
        self.wanted.store(false, Ordering::Relaxed);
        self.asked.store(true, Ordering::Relaxed);
    }

    /// The next frame was asked for and is not there.
    pub(super) fn wanted(&self) {
        self.wanted.store(true, Ordering::Relaxed);
        self.asked.store(true, Ordering::Relaxed);
    }

    /// Whether nothing of the body was asked for: its client may not even send it.
    pub(super) fn untouched(&self) -> bool {
        !self.asked.load(Ordering::Relaxed)
    }

    /// hyper has let go of the body.
    pub(super) fn finish(&self) {
        self.done.cancel();
    }

    pub(super) fn is_done(&self) -> bool {
        self.done.is_cancelled()
    }

    /// Waits until hyper has let go of the body: all of it is on its way, or its connection is gone.
    pub(super) async fn done(&self) {
        self.done.cancelled().await;
    }

    /// Waits until the app has read nothing for `limit`. A client that does not send has a limit
    /// of its own, within the body.
    pub(super) async fn refused(&self, limit: Duration) {
        loop {
            self.still(limit).await;
            if !self.wanted.load(Ordering::Relaxed) {
                return;
            }
            tokio::time::sleep(limit).await;
        }
    }

    /// Waits until no frame has come for `limit`, counted from now or later.
    pub(super) async fn still(&self, limit: Duration) {
        let mut since = Instant::now();
        loop {
            sleep_until(since + limit).await;
            let moved = self.began + Duration::from_millis(self.moved.load(Ordering::Relaxed));
            if moved <= since {
                return;
            }
            since = moved;
        }
    }
}
