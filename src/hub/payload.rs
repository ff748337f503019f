//! What an answer with a state carries: the state, or what leads to it from the state that the client has.

use bytes::Bytes;
use http::HeaderValue;

use super::delta::Delta;
use super::{Served, Subscription};
use crate::describe::{Coding, PollRequest};
use crate::model::Since;

/// Which body is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Wanted {
    /// The coding.
    pub coding: Coding,
    /// A delta from here is preferred.
    pub base: Option<Since>,
}

/// The body of an answer, shared with all who get the same.
#[derive(Debug, Clone)]
pub struct Payload {
    /// The coding of the bytes.
    pub coding: Coding,
    /// The bytes.
    pub bytes: Bytes,
    /// `State-Digest`: of the whole state without a coding.
    pub digest: HeaderValue,
    /// The search for a delta; absent: none was wanted.
    pub delta: Option<Search>,
}

/// What the search for a delta came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Search {
    /// The bytes are the delta; it has so many without a coding.
    Found(usize),
    /// The state where it begins is in history, but it would not be smaller.
    NotSmaller,
    /// That state is not in history.
    Gone,
}

impl Wanted {
    /// What a request wants.
    #[must_use]
    pub fn by(request: &PollRequest) -> Self {
        Self { coding: request.coding, base: request.since.filter(|_| request.delta) }
    }
}

impl Payload {
    /// Whether the bytes are a delta.
    #[must_use]
    pub fn is_delta(&self) -> bool {
        matches!(self.delta, Some(Search::Found(_)))
    }
}

impl Subscription {
    /// The body for what is `served`; made now, if nobody has wanted it before.
    pub async fn payload(&self, served: &Served, wanted: Wanted) -> Payload {
        let mut search = None;
        if let Some(base) = &wanted.base {
            let delta = served.delta(&self.views.past, &self.view().selection, base).await;
            if let Delta::Patch(patch) = &delta {
                let (coding, bytes) = patch.bytes(wanted.coding).await;
                let digest = served.digest().await;
                return Payload { coding, bytes, digest, delta: Some(Search::of(&delta)) };
            }
            search = Some(Search::of(&delta));
        }
        let (coding, bytes) = served.bytes(wanted.coding).await;
        Payload { coding, bytes, digest: served.digest().await, delta: search }
    }

    /// The same; none: it has to be made first.
    #[must_use]
    pub fn made_payload(&self, served: &Served, wanted: Wanted) -> Option<Payload> {
        let mut search = None;
        if let Some(base) = &wanted.base {
            let delta = served.made_delta(base)?;
            if let Delta::Patch(patch) = &delta {
                let (coding, bytes) = patch.made_bytes(wanted.coding)?;
                return Some(Payload { coding, bytes, digest: served.made_digest()?, delta: Some(Search::of(&delta)) });
            }
            search = Some(Search::of(&delta));
        }
        let (coding, bytes) = served.made_bytes(wanted.coding)?;
        Some(Payload { coding, bytes, digest: served.made_digest()?, delta: search })
    }

    /// Counts that a client is given this.
    pub fn count(&self, served: &Served, payload: &Payload) {
        let metrics = &self.views.metrics;
        match payload.delta {
            None => {}
            Some(Search::Gone) => metrics.history_misses.inc(),
            Some(Search::NotSmaller) => metrics.history_hits.inc(),
            Some(Search::Found(size)) => {
                metrics.history_hits.inc();
                metrics.delta_bytes.inc_by(size as u64);
                metrics.delta_full_bytes.inc_by(served.snapshot.content.len() as u64);
            }
        }
    }
}

impl Search {
    fn of(delta: &Delta) -> Self {
        match delta {
            Delta::Patch(patch) => Self::Found(patch.size()),
            Delta::NotSmaller => Self::NotSmaller,
            Delta::Gone => Self::Gone,
        }
    }
}
