//! A state that is served, of the whole model or of a selection, with everything that its answers
//! share: field values, bytes, encodings and deltas, each made once, by the first request for it.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::HeaderValue;
use tokio::sync::OnceCell;

use super::delta::{Delta, Deltas, Past};
use super::encodings::Encodings;
use crate::describe::{Coding, ResponseFields, encode};
use crate::model::{Selection, Since, Snapshot, SupersededAt};

/// Content of more bytes is written away from the threads that serve clients.
const LARGE: usize = 64 * 1024;

/// A state that is served.
#[derive(Debug)]
pub struct Served {
    /// The state.
    pub snapshot: Snapshot,
    /// When it was superseded; its version may move before that.
    pub superseded_at: Arc<SupersededAt>,
    fields: OnceLock<ResponseFields>,
    shared: OnceLock<Arc<Shared>>,
}

/// What is made of the bytes of a state, and shared with the later versions of it. It is there once somebody needs it:
/// most selections are small, and most clients take their bytes as they are.
#[derive(Debug, Default)]
struct Shared {
    /// The bytes are written by one task, while others wait without a thread.
    written: OnceCell<()>,
    encodings: Encodings,
    deltas: Deltas,
}

impl Served {
    pub(super) fn new(snapshot: Snapshot) -> Self {
        Self { snapshot, superseded_at: Arc::default(), fields: OnceLock::new(), shared: OnceLock::new() }
    }

    /// The same bytes under another version.
    pub(super) fn at_version(&self, version: u64) -> Self {
        let (superseded_at, shared) = (Arc::clone(&self.superseded_at), self.shared.clone());
        Self { snapshot: self.snapshot.at_version(version), superseded_at, fields: OnceLock::new(), shared }
    }

    /// The same at `version`; none: its own is not lower.
    #[must_use]
    pub fn at_least(&self, version: u64) -> Option<Self> {
        (version > self.snapshot.id.version).then(|| self.at_version(version))
    }

    /// Its field values.
    #[must_use]
    pub fn fields(&self) -> &ResponseFields {
        self.fields.get_or_init(|| ResponseFields::of(&self.snapshot))
    }

    /// The bytes in `coding`, or as they are where that is no larger.
    pub async fn bytes(&self, coding: Coding) -> (Coding, Bytes) {
        self.write().await;
        if coding == Coding::Identity {
            return (coding, self.snapshot.body().identity.clone());
        }
        self.shared().encodings.get(coding, &self.snapshot.body().identity).await
    }

    /// The same; none: it has to be made first.
    pub(super) fn made_bytes(&self, coding: Coding) -> Option<(Coding, Bytes)> {
        if !self.is_written() {
            return None;
        }
        let identity = &self.snapshot.body().identity;
        if coding == Coding::Identity {
            return Some((coding, identity.clone()));
        }
        self.shared.get()?.encodings.made(coding, identity)
    }

    /// `State-Digest`; none: the bytes have to be written first.
    pub(super) fn made_digest(&self) -> Option<HeaderValue> {
        self.is_written().then(|| encode::state_digest(self.snapshot.body()))
    }

    /// `State-Digest`, which is of the bytes without a coding.
    pub async fn digest(&self) -> HeaderValue {
        self.write().await;
        encode::state_digest(self.snapshot.body())
    }

    /// What leads to it from `base`, which is a state of the same selection.
    pub(super) async fn delta(&self, past: &Arc<Past>, selection: &Selection, base: &Since) -> Delta {
        if base.epoch != self.snapshot.id.epoch {
            return Delta::Gone;
        }
        self.shared().deltas.get(past, selection, base.digest, &self.snapshot.content).await
    }

    fn shared(&self) -> &Shared {
        self.shared.get_or_init(Arc::default)
    }

    /// The same; none: it has to be looked for first.
    pub(super) fn made_delta(&self, base: &Since) -> Option<Delta> {
        if base.epoch == self.snapshot.id.epoch {
            self.shared.get()?.deltas.made(base.digest)
        } else {
            Some(Delta::Gone)
        }
    }

    /// Whether the bytes are there, or so few that they are written at once.
    fn is_written(&self) -> bool {
        self.snapshot.has_body() || self.snapshot.content.len() <= LARGE
    }

    async fn write(&self) {
        if self.is_written() {
            return;
        }
        let write = || async {
            let snapshot = self.snapshot.clone();
            // It fails only while the runtime shuts down; then who wants the bytes writes them.
            let _ = tokio::task::spawn_blocking(move || drop(snapshot.body().identity.clone())).await;
        };
        self.shared().written.get_or_init(write).await;
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;
    use crate::model::{Content, Document, Epoch};

    /// There may be as many as clients, each with a selection of its own.
    #[test]
    fn a_state_is_small_until_somebody_asks_for_more_than_its_bytes() {
        assert!(size_of::<Served>() <= 176, "{}", size_of::<Served>());
        let content = Content::Json(Document::from_json(b"{}").expect("a document"));
        let served = Served::new(Snapshot::of(Epoch::of(&["test"]), 1, &content));
        let asked = async { (served.bytes(Coding::Identity).await, served.digest().await) };
        let ((_, bytes), _) = asked.now_or_never().expect("so few bytes are written at once");
        assert_eq!((&bytes[..], served.shared.get().is_none()), (&b"{}"[..], true));
    }
}
