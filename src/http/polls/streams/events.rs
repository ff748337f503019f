//! What streams share: the events of states, and what they ask for after them.

use std::sync::Arc;

use crate::bounds::{KEPT_ANSWERS, STREAM_SILENCE};
use crate::describe::PollRequest;
use crate::describe::stream::Form;
use crate::hub::{Payload, Served, Wanted};
use crate::model::StateId;

/// What streams share: most of those that are told of a change get the same bytes, and go on with the same request.
#[derive(Debug)]
pub struct Events<W> {
    kept: Vec<Kept<W>>,
    requests: Vec<Next>,
}

/// The event of a state.
#[derive(Debug)]
pub(super) struct Kept<W> {
    pub(super) form: Form,
    pub(super) served: Arc<Served>,
    pub(super) wanted: Wanted,
    pub(super) written: Arc<W>,
    pub(super) payload: Payload,
}

/// What a stream goes on with after it was told of a state.
#[derive(Debug)]
struct Next {
    before: Arc<PollRequest>,
    request: Arc<PollRequest>,
}

impl<W> Default for Events<W> {
    fn default() -> Self {
        Self { kept: Vec::new(), requests: Vec::new() }
    }
}

impl<W> Events<W> {
    /// Forgets what is kept: it keeps states in memory.
    pub(in crate::http::polls) fn forget(&mut self) {
        self.kept.clear();
        self.requests.clear();
    }

    /// The same, and gives the room back: who has one client shares nothing.
    pub(in crate::http) fn release(&mut self) {
        *self = Self::default();
    }

    pub(super) fn kept(&self, form: Form, served: &Arc<Served>, wanted: Wanted) -> Option<(Arc<W>, Payload)> {
        let is_it = |kept: &&Kept<W>| kept.form == form && Arc::ptr_eq(&kept.served, served) && kept.wanted == wanted;
        self.kept.iter().find(is_it).map(|kept| (Arc::clone(&kept.written), kept.payload.clone()))
    }

    pub(super) fn keep(&mut self, kept: Kept<W>) {
        if self.kept.len() >= KEPT_ANSWERS {
            self.kept.remove(0);
        }
        self.kept.push(kept);
    }

    /// What a stream asks for that has asked for `before`, and was told of a state.
    pub(super) fn after(&mut self, before: &Arc<PollRequest>, told: &StateId) -> Arc<PollRequest> {
        let since = Some((*told).into());
        let is_next = |next: &&Next| Arc::ptr_eq(&next.before, before) && next.request.since == since;
        if let Some(next) = self.requests.iter().find(is_next) {
            return Arc::clone(&next.request);
        }
        let request = PollRequest { since, hold: STREAM_SILENCE, ..(**before).clone() };
        let same = self.requests.iter().find(|next| *next.request == request);
        let request = same.map_or_else(|| Arc::new(request), |next| Arc::clone(&next.request));
        if self.requests.len() >= KEPT_ANSWERS {
            self.requests.remove(0);
        }
        self.requests.push(Next { before: Arc::clone(before), request: Arc::clone(&request) });
        request
    }
}
