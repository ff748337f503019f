//! Answers as they are sent. Most clients that are told of a change get the same bytes: they are written once,
//! and kept while the change is under way.

use std::sync::Arc;
use std::time::Instant;

use crate::bounds::KEPT_ANSWERS;
use crate::describe::{Decision, PollRequest};
use crate::http::date::Date;
use crate::http::describe::Asking;
use crate::hub::{Payload, Served, Wanted};

/// The answers that were written last.
#[derive(Debug)]
pub struct Answers<W> {
    kept: Vec<Kept<W>>,
    /// The kept one that is replaced next.
    next: usize,
    date: Date,
}

/// What an answer to a poll depends on, beside the request and the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) struct AnswerKey {
    decision: Decision,
    wanted: Option<Wanted>,
    age: u64,
    reconnect_within: u64,
    ends: bool,
}

/// One that is kept.
#[derive(Debug)]
pub(in crate::http) struct Kept<W> {
    served: Arc<Served>,
    key: AnswerKey,
    request: Arc<PollRequest>,
    second: u64,
    pub(in crate::http) written: Arc<W>,
    /// Of which it was made, to be counted for each who gets it.
    pub(in crate::http) payload: Option<Payload>,
}

impl<W> Default for Answers<W> {
    fn default() -> Self {
        Self { kept: Vec::new(), next: 0, date: Date::now() }
    }
}

impl AnswerKey {
    pub(in crate::http) fn new(asking: &Asking, decision: Decision, ends: bool, now: Instant) -> Self {
        let age = asking.operation.freshness.age().as_secs();
        let reconnect_within = asking.operation.hub.reconnect_within(now);
        Self { decision, wanted: asking.wanted(decision), age, reconnect_within, ends }
    }
}

impl<W> Answers<W> {
    /// Looks at the clock: to be called once for many answers.
    pub(in crate::http) fn tick(&mut self) {
        self.date.tick();
    }

    /// `Date` of now.
    pub(in crate::http) fn date(&self) -> &Date {
        &self.date
    }

    /// Forgets those that are kept: they keep their states in memory.
    pub(in crate::http) fn forget(&mut self) {
        self.kept.clear();
        self.next = 0;
    }

    /// An answer that was written for somebody who asked for the same.
    pub(in crate::http) fn kept(
        &self,
        request: &Arc<PollRequest>,
        served: &Arc<Served>,
        key: AnswerKey,
    ) -> Option<&Kept<W>> {
        let is_same = |kept: &&Kept<W>| {
            kept.second == self.date.second()
                && Arc::ptr_eq(&kept.served, served)
                && kept.key == key
                && same(&kept.request, request)
        };
        self.kept.iter().find(is_same)
    }

    /// Keeps one.
    pub(in crate::http) fn keep(
        &mut self,
        request: &Arc<PollRequest>,
        served: &Arc<Served>,
        key: AnswerKey,
        written: Arc<W>,
        payload: Option<Payload>,
    ) {
        let (served, request) = (Arc::clone(served), Arc::clone(request));
        let kept = Kept { served, key, request, second: self.date.second(), written, payload };
        if self.kept.len() < KEPT_ANSWERS {
            self.kept.push(kept);
        } else {
            self.kept[self.next] = kept;
            self.next = (self.next + 1) % KEPT_ANSWERS;
        }
    }
}

/// Whether two requests get the same answer, beside what an [`AnswerKey`] holds.
fn same(one: &Arc<PollRequest>, other: &Arc<PollRequest>) -> bool {
    Arc::ptr_eq(one, other)
        || (one.head, one.preferred_wait, &one.link_tail) == (other.head, other.preferred_wait, &other.link_tail)
}
