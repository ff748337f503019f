//! Where the proxy's tasks run: counted, and ended together.

use hyper::rt::Executor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The caller's tasks, and those of connections to the app.
#[derive(Debug, Clone)]
pub(super) struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Tasks {
    pub(super) fn new(tracker: TaskTracker, stop: CancellationToken) -> Self {
        Self { tracker, stop }
    }

    /// The same stop signal with a count of its own: a pooled connection is idle for a minute,
    /// and nobody should wait for that.
    pub(super) fn apart(&self) -> Self {
        Self { tracker: TaskTracker::new(), stop: self.stop.clone() }
    }

    /// Runs `task` to its end or until the stop signal.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tracker.spawn(async move {
            stop.run_until_cancelled(task).await;
        });
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Tasks {
    fn execute(&self, task: F) {
        self.spawn(task);
    }
}
