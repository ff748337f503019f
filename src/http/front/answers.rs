//! Answers as they are sent over HTTP/1.1. Most clients that are told of a change get the same bytes: they are written once,
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
pub struct Answers {
    kept: Vec<Kept>,
    /// The kept one that is replaced next.
    next: usize,
    date: Date,
}

/// What an answer to a poll depends on, beside the request and the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AnswerKey {
    decision: Decision,
    wanted: Option<Wanted>,
    age: u64,
    ends: bool,
}

#[derive(Debug)]
struct Kept {
    served: Arc<Served>,
    key: AnswerKey,
    request: Arc<PollRequest>,
    second: u64,
    written: Arc<Written>,
}

/// An answer that is ready to be sent.
#[derive(Debug, Clone)]
pub(super) struct Written {
    pub(super) status: http::StatusCode,
    /// From the status line to the empty line, and a short body.
    pub(super) head: Bytes,
    /// The body, where it is not short.
    pub(super) body: Bytes,
    /// How long the body is.
    pub(super) length: usize,
    /// Of which it was made, to be counted for each who gets it.
    pub(super) payload: Option<Payload>,
}

impl Default for Answers {
    fn default() -> Self {
        Self { kept: Vec::new(), next: 0, date: Date::now() }
    }
}

impl AnswerKey {
    pub(super) fn new(asking: &Asking, decision: Decision, ends: bool) -> Self {
        let age = asking.operation.freshness.age().as_secs();
        Self { decision, wanted: asking.wanted(decision), age, ends }
    }
}

impl Answers {
    /// Looks at the clock: to be called once for many answers.
    #[expect(clippy::disallowed_methods, reason = "Date is that of the wall clock (RFC 9110, section 6.6.1)")]
    pub(super) fn tick(&mut self) {
        self.date.tick();
    }

    /// Forgets those that are kept: they keep their states in memory.
    pub(super) fn forget(&mut self) {
        self.kept.clear();
        self.next = 0;
    }

    /// An answer that was written for somebody who asked for the same.
    pub(super) fn kept(
        &self,
        request: &Arc<PollRequest>,
        served: &Arc<Served>,
        key: AnswerKey,
    ) -> Option<&Arc<Written>> {
        let is_same = |kept: &&Kept| {
            kept.second == self.date.second()
                && Arc::ptr_eq(&kept.served, served)
                && kept.key == key
                && same(&kept.request, request)
        };
        self.kept.iter().find(is_same).map(|kept| &kept.written)
    }

    /// Keeps one.
    pub(super) fn keep(
        &mut self,
        request: &Arc<PollRequest>,
        served: &Arc<Served>,
        key: AnswerKey,
        written: &Arc<Written>,
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

    /// Writes the head of an answer into `head`.
    pub(super) fn write(&self, answer: &Answer, ends: bool, head: &mut Vec<u8>) {
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
