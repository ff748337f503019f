//! Answers as they are sent. Most clients that are told of a change get the same bytes: they are written once,
//! and kept while the change is under way.

use std::io::Write as _;
use std::sync::Arc;

use bytes::Bytes;

use crate::bounds::KEPT_ANSWERS;
use crate::describe::{Answer, Decision, PollRequest};
use crate::http::date::Date;
use crate::http::describe::Asking;
use crate::hub::{Payload, Served, Wanted};

/// Writes answers.
#[derive(Debug)]
pub struct Answers<W = Written> {
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
    ends: bool,
}

#[derive(Debug)]
struct Kept<W> {
    served: Arc<Served>,
    key: AnswerKey,
    request: Arc<PollRequest>,
    second: u64,
    written: Arc<W>,
}

/// An answer that is ready to be sent.
#[derive(Debug, Clone)]
pub struct Written {
    pub(in crate::http) status: http::StatusCode,
    /// From the status line to the empty line, and a short body.
    pub(in crate::http) head: Bytes,
    /// The body, where it is not short.
    pub(in crate::http) body: Bytes,
    /// How long the body is.
    pub(in crate::http) length: usize,
    /// Of which it was made, to be counted for each who gets it.
    pub(in crate::http) payload: Option<Payload>,
}

impl<W> Default for Answers<W> {
    fn default() -> Self {
        Self { kept: Vec::new(), next: 0, date: Date::now() }
    }
}

impl AnswerKey {
    pub(in crate::http) fn new(asking: &Asking, decision: Decision, ends: bool) -> Self {
        let age = asking.operation.freshness.age().as_secs();
        Self { decision, wanted: asking.wanted(decision), age, ends }
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
    ) -> Option<&Arc<W>> {
        let is_same = |kept: &&Kept<W>| {
            kept.second == self.date.second()
                && Arc::ptr_eq(&kept.served, served)
                && kept.key == key
                && same(&kept.request, request)
        };
        self.kept.iter().find(is_same).map(|kept| &kept.written)
    }

    /// Keeps one.
    pub(in crate::http) fn keep(
        &mut self,
        request: &Arc<PollRequest>,
        served: &Arc<Served>,
        key: AnswerKey,
        written: &Arc<W>,
    ) {
        let (served, request, written) = (Arc::clone(served), Arc::clone(request), Arc::clone(written));
        let kept = Kept { served, key, request, second: self.date.second(), written };
        if self.kept.len() < KEPT_ANSWERS {
            self.kept.push(kept);
        } else {
            self.kept[self.next] = kept;
            self.next = (self.next + 1) % KEPT_ANSWERS;
        }
    }
}

impl Answers {
    /// Writes the head of an answer into `head`.
    pub(in crate::http) fn write(&self, answer: &Answer, ends: bool, head: &mut Vec<u8>) {
        let status = answer.status;
        let reason = status.canonical_reason().unwrap_or("");
        // Writing into memory does not fail.
        let _ = write!(head, "HTTP/1.1 {} {reason}\r\n", status.as_str());
        for (name, value) in answer.fields() {
            head.extend_from_slice(name.as_str().as_bytes());
            head.extend_from_slice(b": ");
            head.extend_from_slice(value.as_bytes());
            head.extend_from_slice(b"\r\n");
        }
        if ends {
            head.extend_from_slice(b"connection: close\r\n");
        }
        head.extend_from_slice(b"date: ");
        head.extend_from_slice(self.date.value().as_bytes());
        head.extend_from_slice(b"\r\n\r\n");
    }
}

/// Whether two requests get the same answer, beside what an [`AnswerKey`] holds.
fn same(one: &Arc<PollRequest>, other: &Arc<PollRequest>) -> bool {
    Arc::ptr_eq(one, other)
        || (one.head, one.preferred_wait, &one.link_tail) == (other.head, other.preferred_wait, &other.link_tail)
}
