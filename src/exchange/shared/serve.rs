//! What other replicas read here: bodies of consumers' requests, and answers of workers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_nats::{Client, Message};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use tokio::time::{Instant, timeout};

use super::call::{Ask, Of, Piece};
use crate::bounds::{EXCHANGE_PIECE, EXCHANGE_PIECE_WAIT, EXCHANGE_READERS, EXCHANGE_STALLED};
use crate::exchange::Exchange;
use crate::exchange::body::BodyReader;
use crate::exchange::entry::{Entry, Outcome};
use crate::exchange::id::{ItemId, ReplicaId};
use crate::exchange::result::Reader;

/// Readers at other replicas.
#[derive(Debug, Default)]
pub(super) struct Readers {
    all: Mutex<HashMap<(ItemId, Of, ReplicaId), SharedReading>>,
}

/// One that reads, for the requests that it sends one after the other.
type SharedReading = Arc<tokio::sync::Mutex<Reading>>;

/// One that reads.
#[derive(Debug)]
struct Reading {
    source: Source,
    /// The number of the next piece.
    next: u64,
    /// The piece before, in case that it did not arrive.
    last: Piece,
    /// What did not fit into a piece.
    rest: Bytes,
    touched: Instant,
}

#[derive(Debug)]
enum Source {
    /// Nothing is known yet of the answer.
    Head(Arc<Entry>),
    Answer(Reader),
    Request(BodyReader),
    Over,
}

/// How many bytes a piece may have, as the server says.
fn most_of(client: &Client) -> usize {
    EXCHANGE_PIECE.min(crate::nats::room(client))
}

impl Readers {
    /// Answers one that asks.
    pub(super) async fn answer(&self, exchange: &Arc<Exchange>, client: &Client, item: ItemId, message: Message) {
        let Some(reply) = message.reply.clone() else { return };
        let piece = match Ask::decode(&message.payload) {
            Some(ask) => self.piece(exchange, item, &ask, most_of(client)).await,
            None => Piece::Unknown,
        };
        let (headers, payload) = piece.encode();
        if let Err(error) = client.publish_with_headers(reply, headers, payload).await {
            tracing::debug!(%error, "a piece could not be sent");
        }
    }

    async fn piece(&self, exchange: &Arc<Exchange>, item: ItemId, ask: &Ask, most: usize) -> Piece {
        let Some(reading) = self.reading(exchange, item, ask) else { return Piece::Unknown };
        let mut reading = reading.lock().await;
        reading.touched = Instant::now();
        if ask.piece + 1 == reading.next {
            return reading.last.clone();
        }
        if ask.piece != reading.next {
            return Piece::Cut;
        }
        // Asked for again, nothing of it is lost.
        let Ok(piece) = timeout(EXCHANGE_PIECE_WAIT, reading.read(most)).await else { return Piece::Pending };
        reading.next += 1;
        reading.last = piece.clone();
        piece
    }

    fn reading(&self, exchange: &Arc<Exchange>, item: ItemId, ask: &Ask) -> Option<SharedReading> {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (item, ask.of, ask.reader);
        if let Some(reading) = all.get(&key) {
            return Some(Arc::clone(reading));
        }
        if ask.piece > 0 || all.len() >= EXCHANGE_READERS {
            return None;
        }
        let entry = exchange.entry(item)?;
        let source = match ask.of {
            Of::Answer => Source::Head(entry),
            Of::Request => Source::Request(BodyReader::new(&entry.request.body).telling(exchange, item)),
        };
        let (last, rest, touched) = (Piece::Pending, Bytes::new(), Instant::now());
        let reading = Arc::new(tokio::sync::Mutex::new(Reading { source, next: 0, last, rest, touched }));
        all.insert(key, Arc::clone(&reading));
        Some(reading)
    }

    /// Forgets those that ask for nothing more.
    pub(super) fn look(&self) {
        let now = Instant::now();
        self.all.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, reading| match reading.try_lock() {
            Ok(reading) => {
                let limit =
                    if matches!(reading.source, Source::Over) { EXCHANGE_STALLED / 4 } else { EXCHANGE_STALLED };
                now.saturating_duration_since(reading.touched) < limit
            }
            // It is being read.
            Err(_) => true,
        });
    }
}

impl Reading {
    /// Reads the next piece. Dropped before its end, nothing is lost.
    async fn read(&mut self, most: usize) -> Piece {
        if !self.rest.is_empty() {
            return Piece::Data(self.rest.split_to(self.rest.len().min(most)));
        }
        let piece = match &mut self.source {
            Source::Over => return Piece::Cut,
            Source::Head(entry) => match entry.ended().await {
                Outcome::Answer(answer) => match answer.body.read() {
                    Some(reader) => {
                        let head = Piece::Head(answer.status, answer.headers.clone());
                        self.source = Source::Answer(reader);
                        return head;
                    }
                    None => Piece::Unknown,
                },
                // The record says why.
                Outcome::Failed(_) | Outcome::Pending => Piece::Unknown,
            },
            Source::Answer(reader) => next(reader).await,
            Source::Request(reader) => next(reader).await,
        };
        let Piece::Data(mut data) = piece else {
            self.source = Source::Over;
            return piece;
        };
        let first = data.split_to(data.len().min(most));
        self.rest = data;
        Piece::Data(first)
    }
}

async fn next<B>(body: &mut B) -> Piece
where
    B: http_body::Body<Data = Bytes> + Unpin,
{
    loop {
        match body.frame().await {
            None => return Piece::End(None),
            Some(Err(_)) => return Piece::Cut,
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) if data.is_empty() => {}
                Ok(data) => return Piece::Data(data),
                Err(frame) => return Piece::End(frame.into_trailers().ok()),
            },
        }
    }
}
