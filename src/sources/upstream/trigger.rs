//! Tells a source of the app to fetch: the one thing that it and a watch of something else share.

use std::sync::Arc;

use tokio::sync::watch;

/// Pulled by whoever learns that the app may hold something new (a Kubernetes object that it
/// serves from has changed, say); clones are the same trigger. Pulls while nobody looks are
/// counted, not queued, and none is lost.
#[derive(Debug, Clone)]
pub struct Trigger(Arc<watch::Sender<u64>>);

impl Trigger {
    /// A trigger that was not pulled yet.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::new(0)))
    }

    /// Tells the source to fetch, now or as soon as it runs.
    pub fn pull(&self) {
        self.0.send_modify(|times| *times = times.wrapping_add(1));
    }

    /// How often it was pulled.
    pub(super) fn times(&self) -> u64 {
        *self.0.borrow()
    }

    /// Waits until it was pulled another number of times than `known`.
    pub(super) async fn pulled_since(&self, known: u64) {
        let mut times = self.0.subscribe();
        let pulled = times.wait_for(|times| *times != known).await;
        debug_assert!(pulled.is_ok(), "this handle holds the sender");
    }
}

impl Default for Trigger {
    fn default() -> Self {
        Self::new()
    }
}
