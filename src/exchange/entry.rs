//! An item, as its consumers and its worker share it: the request, and what comes of it.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use http::{HeaderMap, Method, StatusCode};
use tokio::sync::Notify;

use super::body::RequestBody;
use super::core::Failure;
use super::fields::Fields;
use super::id::ItemId;
use super::result::Buffer;

/// A consumer's request, as workers get it.
#[derive(Debug, Clone)]
pub struct Request {
    /// Its method.
    pub method: Method,
    /// Its path and query, byte for byte.
    pub target: Box<str>,
    /// Its fields: those of one hop are taken off, and those about the consumer are added.
    pub headers: Fields,
    /// Its body.
    pub body: Arc<RequestBody>,
}

/// What comes of an item.
#[derive(Debug, Clone, Default)]
pub enum Outcome {
    /// Nothing yet.
    #[default]
    Pending,
    /// A worker's answer.
    Answer(Arc<Answer>),
    /// There is none, or it broke off.
    Failed(Failure),
}

/// A worker's answer.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its fields, without those of one hop.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Arc<Buffer>,
}

/// An item.
#[derive(Debug)]
pub struct Entry {
    /// Its id.
    pub id: ItemId,
    /// What the consumer asks for.
    pub request: Request,
    /// Its consumer does not wait.
    pub is_async: bool,
    /// Several may come for its answer: a worker is not to send them to where it can be read once alone.
    pub answers_many: bool,
    /// A worker has it, or has had it.
    taken: AtomicBool,
    /// What came of it first: never that nothing has.
    first: OnceLock<Outcome>,
    /// Why it has failed, also within its answer.
    failure: OnceLock<Failure>,
    /// Tells those who wait that one of these has changed.
    changed: Arc<Notify>,
}

impl Entry {
    pub(super) fn new(id: ItemId, request: Request, is_async: bool, answers_many: bool) -> Arc<Self> {
        Arc::new(Self {
            id,
            request,
            is_async,
            answers_many,
            taken: AtomicBool::new(false),
            first: OnceLock::new(),
            failure: OnceLock::new(),
            changed: Arc::default(),
        })
    }

    /// The same request, of which nothing has come.
    pub(super) fn anew(&self) -> Arc<Self> {
        Self::new(self.id, self.request.clone(), self.is_async, self.answers_many)
    }

    /// What has come of it so far: of an answer that broke off nothing is given to who comes after that.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match (self.failure.get(), self.first.get()) {
            (Some(failure), _) => Outcome::Failed(*failure),
            (None, Some(first)) => first.clone(),
            (None, None) => Outcome::Pending,
        }
    }

    /// Whether it has an answer, or has failed.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.first.get().is_some()
    }

    /// Waits until it has an answer, or has failed.
    pub async fn ended(&self) -> Outcome {
        loop {
            let mut changed = pin!(self.changed.notified());
            // Before the look, so that nothing falls in between.
            changed.as_mut().enable();
            if self.has_ended() {
                return self.outcome();
            }
            changed.await;
        }
    }

    /// Whether a worker has it, or has had it.
    #[must_use]
    pub fn is_taken(&self) -> bool {
        self.taken.load(Ordering::Acquire)
    }

    /// Tells when it is taken whose body is awaited, has an answer or has failed; perhaps for nothing.
    #[must_use]
    pub fn changed(&self) -> &Arc<Notify> {
        &self.changed
    }

    /// A worker has it.
    pub(super) fn take(&self) {
        self.taken.store(true, Ordering::Release);
        // Nobody else has anything to do: those who only wait for the answer are many where they share it.
        if self.request.body.is_awaited() {
            self.changed.notify_waiters();
        }
    }

    /// The head of an answer is here; false: the item has failed, or has an answer already.
    pub(super) fn answer(&self, answer: Answer) -> bool {
        let is_first = self.first.set(Outcome::Answer(Arc::new(answer))).is_ok();
        if is_first {
            self.changed.notify_waiters();
        }
        is_first
    }

    /// It fails; where an answer has begun, that is cut.
    pub(super) fn fail(&self, failure: Failure) {
        let is_first = self.first.set(Outcome::Failed(failure)).is_ok();
        if !is_first && let Some(Outcome::Answer(answer)) = self.first.get() {
            answer.body.cut();
        }
        // An item ends once.
        let _ = self.failure.set(failure);
        if is_first {
            self.changed.notify_waiters();
        }
    }
}
