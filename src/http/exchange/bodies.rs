//! Bodies that exchanges answer with: what a worker answers, on its way to a consumer, and what a consumer asks, on its way to a
//! worker that polls.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::handed::Handed;
use super::message::MessageBody;
use crate::exchange::Consumer;
use crate::exchange::body::{BodyError, BodyReader};
use crate::exchange::result::Reader;

/// The body of an answer of an exchange.
#[derive(Debug)]
pub enum WorkerBody {
    /// To a consumer, which waits until it has had all of it.
    Answer(Reader, Box<Waits>),
    /// To a worker that polls: the body of the request.
    Request(BodyReader, Handed),
    /// The same, as a message of HTTP/1.1.
    Message(Box<MessageBody>, Handed),
}

/// A consumer that reads an answer.
#[derive(Debug)]
pub struct Waits {
    consumer: Consumer,
    /// It has closed its sending side: most that do are gone.
    leaves: Pin<Box<WaitForCancellationFutureOwned>>,
    /// How many bytes are still to come, if the head says it.
    left: Option<u64>,
}

impl Waits {
    /// A consumer, the end of what it sends, and how long the answer is, if its head says so.
    pub(super) fn new(consumer: Consumer, end: &CancellationToken, length: Option<u64>) -> Self {
        let leaves = Box::pin(end.clone().cancelled_owned());
        let mut waits = Self { consumer, leaves, left: length };
        waits.look();
        waits
    }

    /// Who has as much as the head has promised does not ask for the end.
    fn look(&mut self) {
        if self.left == Some(0) {
            self.consumer.served();
        }
    }

    fn took(&mut self, frame: &Poll<Option<Result<Frame<Bytes>, BodyError>>>) {
        match frame {
            Poll::Ready(None) => self.consumer.served(),
            Poll::Ready(Some(Ok(frame))) => {
                let bytes = frame.data_ref().map_or(0, Bytes::len) as u64;
                self.left = self.left.map(|left| left.saturating_sub(bytes));
                self.look();
            }
            Poll::Ready(Some(Err(_))) | Poll::Pending => {}
        }
    }
}

impl Body for WorkerBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut *self {
            Self::Answer(reader, waits) => {
                let frame = Pin::new(reader).poll_frame(cx).map(|frame| frame.map(|frame| frame.map_err(Into::into)));
                waits.took(&frame);
                // While nothing comes, a write would not tell.
                if frame.is_pending() && waits.leaves.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Some(Err("the consumer has left".into())));
                }
                frame
            }
            Self::Request(body, handed) => {
                let frame = Pin::new(&mut *body).poll_frame(cx);
                handed.look(&frame, body.is_end_stream());
                frame
            }
            Self::Message(body, handed) => {
                let frame = Pin::new(&mut **body).poll_frame(cx);
                handed.look(&frame, body.is_end_stream());
                frame
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Answer(reader, _) => reader.is_end_stream(),
            Self::Request(body, _) => body.is_end_stream(),
            Self::Message(body, _) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Answer(reader, _) => reader.size_hint(),
            Self::Request(body, _) => body.size_hint(),
            Self::Message(body, _) => body.size_hint(),
        }
    }
}
