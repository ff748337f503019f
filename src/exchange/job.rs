//! A claim on an item, in the hands of the transport that serves its worker.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use tokio_util::sync::CancellationToken;

use super::Exchange;
use super::body::BodyReader;
use super::core::{Cause, Lost, Over};
use super::entry::{Answer, Entry};
use super::id::ClaimId;
use super::result::Buffer;

/// A claim. Dropped before it is finished, it is lost: how, follows from how far it has come.
#[derive(Debug)]
pub struct Job {
    exchange: Arc<Exchange>,
    claim: ClaimId,
    entry: Arc<Entry>,
    attempt: u32,
    cancelled: CancellationToken,
    stage: Stage,
    answer: Option<Arc<Buffer>>,
}

/// How far a claim has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nothing of the request was written.
    Unwritten,
    /// Some of it may have been.
    Written,
    /// The head of the answer is here.
    Answered,
    /// It is over.
    Over,
}

/// The claim is over, or nobody reads its answer: the worker's work is of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the claim is over")]
pub struct Useless;

impl Job {
    pub(super) fn new(exchange: Arc<Exchange>, claim: ClaimId, entry: Arc<Entry>, attempt: u32) -> Self {
        let cancelled = CancellationToken::new();
        Self { exchange, claim, entry, attempt, cancelled, stage: Stage::Unwritten, answer: None }
    }

    /// The claim's id.
    #[must_use]
    pub fn claim(&self) -> ClaimId {
        self.claim
    }

    /// The item.
    #[must_use]
    pub fn entry(&self) -> &Arc<Entry> {
        &self.entry
    }

    /// Which attempt it is, from 1.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Is cancelled once the worker is to end its work.
    #[must_use]
    pub fn cancelled(&self) -> &CancellationToken {
        &self.cancelled
    }

    /// The body of the request, from its start.
    #[must_use]
    pub fn body(&self) -> BodyReader {
        BodyReader::new(&self.entry.request.body).telling(&self.exchange, self.entry.id)
    }

    /// From now on the worker may have begun.
    pub fn written(&mut self) {
        if self.stage == Stage::Unwritten {
            self.stage = Stage::Written;
        }
    }

    /// The head of the answer is here.
    pub fn answer(&mut self, status: StatusCode, headers: HeaderMap) -> Result<(), Over> {
        let keeps = self.exchange.head(self.claim)?;
        let limits = self.exchange.config().result;
        let body = Buffer::new(Arc::clone(self.exchange.budget()), limits.window, keeps.then_some(limits.bytes));
        self.stage = Stage::Answered;
        self.answer = Some(Arc::clone(&body));
        // Between the two its consumer may have left, or have deleted it.
        if self.entry.answer(Answer { status, headers, body }) { Ok(()) } else { Err(self.exchange.over(self.claim)) }
    }

    /// Some of the answer's body.
    pub async fn write(&mut self, data: Bytes) -> Result<(), Useless> {
        let Some(answer) = &self.answer else { return Err(Useless) };
        let written = tokio::select! {
            biased;
            () = self.cancelled.cancelled() => return Err(Useless),
            written = answer.write(data) => written,
        };
        written.map_err(|_| {
            self.exchange.unread(self.claim);
            Useless
        })
    }

    /// All of the answer is here. Where replicas share the exchange, it counts unless another worker was given the item.
    pub async fn finish(mut self, trailers: Option<HeaderMap>) -> Result<(), Over> {
        self.stage = Stage::Over;
        let Some(answer) = self.answer.take() else { return Ok(()) };
        // First, or a consumer that has read the end would seem to leave too early.
        match self.exchange.finish(self.claim, &answer, trailers)? {
            // It goes on also if nobody waits here.
            Some(counts) => counts.await.unwrap_or(Err(Over::Gone(Cause::Another))),
            None => Ok(()),
        }
    }

    /// The worker is lost.
    pub fn lost(mut self, how: Lost) {
        self.end(how);
    }

    fn end(&mut self, how: Lost) {
        if self.stage != Stage::Over {
            self.stage = Stage::Over;
            self.exchange.lost(self.claim, &self.entry, how);
            // Nobody else ends it, if the claim was over before.
            if let Some(answer) = self.answer.take() {
                answer.cut();
            }
        }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        match self.stage {
            Stage::Unwritten => self.end(Lost::Unwritten),
            Stage::Written => self.end(Lost::Written),
            Stage::Answered => self.end(Lost::AfterHead),
            Stage::Over => {}
        }
    }
}
