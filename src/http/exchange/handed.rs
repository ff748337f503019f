//! Whether a worker that polls was handed its claim: where the connection breaks before, the claim goes back.

use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use http_body::{Body, Frame};

use crate::exchange::Exchange;
use crate::exchange::body::{BodyError, Reading};
use crate::exchange::id::ClaimId;

/// A claim on its way to its worker. Dropped before all of the request was written, the claim goes back.
#[derive(Debug)]
pub struct Handed {
    exchange: Arc<Exchange>,
    claim: Option<ClaimId>,
    reading: Reading,
}

impl Handed {
    pub(super) fn new(exchange: &Arc<Exchange>, claim: ClaimId, reading: Reading) -> Self {
        Self { exchange: Arc::clone(exchange), claim: Some(claim), reading }
    }

    /// The same, of a body that has perhaps ended.
    pub(super) fn of(mut self, body: &impl Body) -> Self {
        if body.is_end_stream() {
            self.claim = None;
        }
        self
    }

    /// Looks whether that was the end. Who knows the length does not ask for more.
    pub(super) fn look(&mut self, frame: &Poll<Option<Result<Frame<Bytes>, BodyError>>>, is_end: bool) {
        if matches!(frame, Poll::Ready(None)) || is_end && matches!(frame, Poll::Ready(Some(Ok(_)))) {
            self.claim = None;
        }
    }
}

impl Drop for Handed {
    fn drop(&mut self) {
        // Its worker may have polled again, and get the same claim by another connection.
        if let Some(claim) = self.claim.filter(|_| self.reading.is_newest()) {
            self.exchange.not_handed(claim);
        }
    }
}
