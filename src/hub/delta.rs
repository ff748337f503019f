//! Deltas: the patch that turns a state that was served before into the current one. Each is made once for all
//! clients with the same base, from states that are still in history.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::OnceCell;

use super::encodings::Encodings;
use crate::bounds::{DELTA_BYTES, DELTAS};
use crate::describe::Coding;
use crate::model::{Content, Digest, Document, History, Selection, patch};

/// The states that were served before, and from which a delta may lead.
#[derive(Debug)]
pub(super) struct Past(Mutex<History>);

/// How a client is brought from the state that it holds to the current one.
#[derive(Debug, Clone)]
pub(super) enum Delta {
    /// By this patch.
    Patch(Arc<Patch>),
    /// By the full state: its own is not in history.
    Gone,
    /// By the full state: the patch is not smaller.
    NotSmaller,
}

/// A JSON Patch (RFC 6902) and its codings.
#[derive(Debug)]
pub(super) struct Patch {
    bytes: Bytes,
    encodings: Encodings,
}

/// The deltas that lead to one state, by the digest of the state where they begin.
#[derive(Debug, Default)]
pub(super) struct Deltas(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    by_base: HashMap<Digest, Arc<OnceCell<Delta>>>,
    /// Bytes of the patches among them.
    bytes: usize,
}

impl Past {
    pub(super) fn new(history: History) -> Self {
        Self(Mutex::new(history))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, History> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Patch {
    /// Its bytes in `coding`, or as they are where that is no larger.
    pub(super) async fn bytes(&self, coding: Coding) -> (Coding, Bytes) {
        self.encodings.get(coding, &self.bytes).await
    }

    /// The same; none: they have to be made first.
    pub(super) fn made_bytes(&self, coding: Coding) -> Option<(Coding, Bytes)> {
        self.encodings.made(coding, &self.bytes)
    }

    /// How many bytes it has without a coding.
    pub(super) fn size(&self) -> usize {
        self.bytes.len()
    }
}

impl Deltas {
    /// What leads from the state that has the digest `base` in this selection to `content`.
    pub(super) async fn get(&self, past: &Arc<Past>, selection: &Selection, base: Digest, content: &Content) -> Delta {
        let Content::Json(new) = content else { return Delta::Gone };
        let cell = self.cell(base);
        let make = || async {
            let (past, selection, new) = (Arc::clone(past), selection.clone(), new.clone());
            let most = DELTA_BYTES.max(new.canonical_len());
            let making = tokio::task::spawn_blocking(move || make(&past, &selection, base, &new));
            // It fails only while the runtime shuts down; the full state serves as well.
            let delta = making.await.unwrap_or(Delta::Gone);
            self.keep(base, &delta, most);
            delta
        };
        cell.get_or_init(make).await.clone()
    }

    /// What leads from `base`; none: it has to be looked for first.
    pub(super) fn made(&self, base: Digest) -> Option<Delta> {
        self.kept().by_base.get(&base)?.get().cloned()
    }

    /// Where the delta from `base` is, or will be; beyond the bound for this one request.
    fn cell(&self, base: Digest) -> Arc<OnceCell<Delta>> {
        let mut kept = self.kept();
        if kept.by_base.len() >= DELTAS && !kept.by_base.contains_key(&base) {
            return Arc::default();
        }
        Arc::clone(kept.by_base.entry(base).or_default())
    }

    /// Keeps a delta, but not that a base is unknown (any client may name any base), and no more bytes than `most`.
    fn keep(&self, base: Digest, delta: &Delta, most: usize) {
        let mut kept = self.kept();
        match delta {
            Delta::Patch(patch) if kept.bytes + patch.size() <= most => kept.bytes += patch.size(),
            Delta::NotSmaller => {}
            Delta::Patch(_) | Delta::Gone => {
                kept.by_base.remove(&base);
            }
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn make(past: &Past, selection: &Selection, base: Digest, new: &Document) -> Delta {
    let Some(old) = past.lock().find(selection, base) else { return Delta::Gone };
    match patch::between(&old, new) {
        Some(bytes) => Delta::Patch(Arc::new(Patch { bytes, encodings: Encodings::default() })),
        None => Delta::NotSmaller,
    }
}
