//! What this replica reads from others: answers of their workers, and the bodies of requests whose consumers are there.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use async_nats::Client;
use async_nats::client::RequestErrorKind;
use bytes::Bytes;
use futures::future::BoxFuture;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use tokio::time::{Instant, sleep, timeout};

use super::call::{Ask, Of, Piece};
use crate::bounds::{EXCHANGE_PIECE_WAIT, EXCHANGE_STALLED};
use crate::exchange::body::{BodyError, Incoming};
use crate::exchange::id::{ItemId, ReplicaId};
use crate::exchange::random;

/// How long it takes until the same piece is asked for again.
const AGAIN: std::time::Duration = std::time::Duration::from_millis(200);

/// Reads a body of another replica, piece by piece.
#[derive(Debug)]
pub(super) struct Pull {
    client: Client,
    subject: String,
    ask: Ask,
}

/// The other replica does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the other replica does not answer")]
pub(super) struct Silent;

/// Where a replica is asked.
pub(super) fn subject(replica: ReplicaId, item: &str) -> String {
    format!("tw.r.{replica}.{item}")
}

impl Pull {
    /// Reads it from its start.
    pub(super) fn new(client: &Client, replica: ReplicaId, item: ItemId, of: Of) -> Self {
        let ask = Ask { of, reader: ReplicaId::of(random()), piece: 0 };
        Self { client: client.clone(), subject: subject(replica, &item.to_string()), ask }
    }

    /// The next piece, which is never `Pending`. An error: for long nothing was heard.
    pub(super) async fn next(&mut self) -> Result<Piece, Silent> {
        let mut begun = Instant::now();
        loop {
            // Longer than the other one waits.
            let asked = self.client.request(self.subject.clone(), self.ask.encode());
            match timeout(EXCHANGE_PIECE_WAIT * 2, asked).await {
                Ok(Ok(message)) => match Piece::decode(message.headers.as_ref(), message.payload) {
                    Some(Piece::Pending) => {
                        begun = Instant::now();
                        continue;
                    }
                    Some(piece) => {
                        self.ask.piece += 1;
                        return Ok(piece);
                    }
                    None => return Err(Silent),
                },
                Ok(Err(error)) if error.kind() == RequestErrorKind::MaxPayloadExceeded => return Err(Silent),
                Ok(Err(_)) | Err(_) => {}
            }
            if begun.elapsed() >= EXCHANGE_STALLED {
                return Err(Silent);
            }
            sleep(AGAIN).await;
        }
    }
}

/// The body of a request whose consumer is at another replica. Nothing is asked for before it is read.
struct PulledBody {
    pull: Option<Pull>,
    next: Option<BoxFuture<'static, (Pull, Result<Piece, Silent>)>>,
    /// How many bytes are still to come, if that is known.
    left: Option<u64>,
}

/// That body, of so many bytes, if that is known.
pub(super) fn body(pull: Pull, length: Option<u64>) -> Incoming {
    PulledBody { pull: Some(pull), next: None, left: length }.boxed_unsync()
}

impl Body for PulledBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        if let Some(mut pull) = this.pull.take() {
            this.next = Some(Box::pin(async move {
                let piece = pull.next().await;
                (pull, piece)
            }));
        }
        let Some(next) = &mut this.next else { return Poll::Ready(None) };
        let (pull, piece) = ready!(next.as_mut().poll(cx));
        this.next = None;
        match piece {
            Ok(Piece::Data(data)) => {
                this.pull = Some(pull);
                this.left = this.left.map(|left| left.saturating_sub(data.len() as u64));
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
            Ok(Piece::End(trailers)) => Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers)))),
            Ok(_) => Poll::Ready(Some(Err("the consumer broke off its body, which came to another replica".into()))),
            Err(silent) => Poll::Ready(Some(Err(silent.into()))),
        }
    }

    fn is_end_stream(&self) -> bool {
        // Who knows the length does not ask for the end.
        self.left == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
