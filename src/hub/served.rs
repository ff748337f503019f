//! A published state with everything that its answers share: field values, and each encoding
//! made once, by the first who wants it, on a thread where that stalls nobody.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::OnceCell;

use crate::describe::{Coding, Face};
use crate::model::{Reign, Snapshot};

/// A published state.
#[derive(Debug)]
pub struct Served {
    /// The state.
    pub snapshot: Snapshot,
    /// Its field values.
    pub face: Face,
    /// For how long it is what is served, at whatever version.
    pub reign: Arc<Reign>,
    encodings: Arc<Encodings>,
}

/// Each holds nothing when the encoding is not smaller.
#[derive(Debug, Default)]
struct Encodings {
    gzip: OnceCell<Option<Bytes>>,
    zstd: OnceCell<Option<Bytes>>,
}

impl Served {
    pub(super) fn new(snapshot: Snapshot) -> Self {
        Self { face: Face::of(&snapshot), snapshot, reign: Arc::default(), encodings: Arc::default() }
    }

    /// The same bytes under another version.
    pub(super) fn moved(&self, snapshot: Snapshot) -> Self {
        let (reign, encodings) = (Arc::clone(&self.reign), Arc::clone(&self.encodings));
        Self { face: Face::of(&snapshot), snapshot, reign, encodings }
    }

    /// The same at `version`; none: its own is not lower.
    #[must_use]
    pub fn at_least(&self, version: u64) -> Option<Self> {
        (version > self.snapshot.id.version).then(|| self.moved(self.snapshot.at_version(version)))
    }

    /// The bytes in `coding`, or as they are where that is no larger.
    pub async fn bytes(&self, coding: Coding) -> (Coding, Bytes) {
        let cell = match coding {
            Coding::Identity => return (Coding::Identity, self.snapshot.body.identity.clone()),
            Coding::Gzip => &self.encodings.gzip,
            Coding::Zstd => &self.encodings.zstd,
        };
        let encoded = cell
            .get_or_init(|| async {
                let identity = self.snapshot.body.identity.clone();
                let encoding = tokio::task::spawn_blocking(move || coding.encode(&identity));
                // It fails only while the runtime shuts down; the bytes as they are serve as well.
                encoding.await.ok().flatten().map(Bytes::from)
            })
            .await;
        match encoded {
            Some(bytes) => (coding, bytes.clone()),
            None => (Coding::Identity, self.snapshot.body.identity.clone()),
        }
    }
}
