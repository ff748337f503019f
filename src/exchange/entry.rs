//! An item, as its consumers and its worker share it: the request, and what comes of it.

use std::sync::{Arc, OnceLock};

use http::{HeaderMap, Method, StatusCode};
use tokio::sync::watch;

use super::body::RequestBody;
use super::core::Failure;
use super::id::ItemId;
use super::result::Buffer;

/// A consumer's request, as workers get it.
#[derive(Debug)]
pub struct Request {
    /// Its method.
    pub method: Method,
    /// Its path and query, byte for byte.
    pub target: String,
    /// Its fields: those of one hop are taken off, and those about the consumer are added.
    pub headers: HeaderMap,
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
    outcome: watch::Sender<Outcome>,
    /// Why it has failed, also within its answer.
    failure: OnceLock<Failure>,
}

impl Entry {
    pub(super) fn new(id: ItemId, request: Request, is_async: bool, answers_many: bool) -> Arc<Self> {
        Arc::new(Self {
            id,
            request,
            is_async,
            answers_many,
            outcome: watch::Sender::default(),
            failure: OnceLock::new(),
        })
    }

    /// What has come of it so far: of an answer that broke off nothing is given to who comes after that.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        self.failure.get().map_or_else(|| self.outcome.borrow().clone(), |failure| Outcome::Failed(*failure))
    }

    /// Waits until it has an answer, or has failed.
    pub async fn ended(&self) -> Outcome {
        if let Some(failure) = self.failure.get() {
            return Outcome::Failed(*failure);
        }
        let mut outcome = self.outcome.subscribe();
        // The sender lives as long as this.
        match outcome.wait_for(|outcome| !matches!(outcome, Outcome::Pending)).await {
            Ok(outcome) => outcome.clone(),
            Err(_) => self.outcome(),
        }
    }

    /// The head of an answer is here; false: the item has failed, or has an answer already.
    pub(super) fn answer(&self, answer: Answer) -> bool {
        self.outcome.send_if_modified(|outcome| {
            let is_pending = matches!(outcome, Outcome::Pending);
            if is_pending {
                *outcome = Outcome::Answer(Arc::new(answer));
            }
            is_pending
        })
    }

    /// It fails; where an answer has begun, that is cut.
    pub(super) fn fail(&self, failure: Failure) {
        self.outcome.send_if_modified(|outcome| {
            match outcome {
                Outcome::Pending => *outcome = Outcome::Failed(failure),
                Outcome::Answer(answer) => {
                    answer.body.cut();
                    return false;
                }
                Outcome::Failed(_) => return false,
            }
            true
        });
        // An item ends once.
        let _ = self.failure.set(failure);
    }
}
