//! The body of a consumer's request, on its way to a worker: perhaps a second time, if the first worker is lost.
//!
//! Nothing of it is read before a worker has the request, or somebody wants to have it stored.

use std::error::Error;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;

use super::Exchange;
use super::id::ItemId;
use source::{Rest, Source};

mod source;

/// Why a body broke off.
pub type BodyError = Box<dyn Error + Send + Sync>;

/// A body as it comes from a consumer.
pub type Incoming = UnsyncBoxBody<Bytes, BodyError>;

/// The body of an item's request.
#[derive(Debug)]
pub struct RequestBody {
    source: Mutex<Source>,
    /// Bytes that are kept to send them again.
    replay: usize,
    /// How long it is, where its head says so.
    length: Option<u64>,
    /// Nothing was given to a reader that was not kept.
    replayable: AtomicBool,
}

/// Why a body is not stored.
#[derive(Debug, thiserror::Error)]
pub enum NotStored {
    /// It is longer than allowed.
    #[error("the body is longer than {0} bytes")]
    TooLarge(usize),
    /// It broke off.
    #[error("the body broke off")]
    Broken(#[source] BodyError),
    /// A worker reads it already.
    #[error("a worker reads the body already")]
    BeingRead,
}

impl RequestBody {
    /// A body that comes from a consumer, of which `replay` bytes are kept when it is read.
    #[must_use]
    pub fn coming(body: Incoming, replay: usize) -> Self {
        let length = body.size_hint().exact();
        Self::of(Vec::new(), Rest::of(body), replay, length)
    }

    /// A body of this length whose consumer's connection is not read before [`Self::comes`].
    #[must_use]
    pub fn awaited(length: Option<u64>, replay: usize) -> Self {
        let rest = if length == Some(0) { Rest::None } else { Rest::Awaited };
        Self::of(Vec::new(), rest, replay, length)
    }

    /// What was awaited comes.
    pub fn comes(&self, body: Incoming) {
        let mut source = self.source();
        if matches!(source.rest, Rest::Awaited) {
            source.rest = Rest::of(body);
            source.wake();
        }
    }

    /// What was awaited is here as a whole; false: it was not awaited.
    pub fn is_stored_as(&self, bytes: &Bytes) -> bool {
        let mut source = self.source();
        if !matches!(source.rest, Rest::Awaited) {
            return false;
        }
        source.keep(bytes);
        source.rest = Rest::None;
        source.wake();
        true
    }

    /// A body that is here.
    #[must_use]
    pub fn stored(bytes: Bytes) -> Self {
        let length = Some(bytes.len() as u64);
        let read = if bytes.is_empty() { Vec::new() } else { vec![bytes] };
        Self::of(read, Rest::None, 0, length)
    }

    fn of(read: Vec<Bytes>, rest: Rest, replay: usize, length: Option<u64>) -> Self {
        let bytes = read.iter().map(Bytes::len).sum();
        let source = Mutex::new(Source { read, bytes, rest, trailers: None, reader: 0, waker: None });
        Self { source, replay, length, replayable: AtomicBool::new(true) }
    }

    /// How long it is, where its head says so.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// Whether all of it can be sent once more.
    #[must_use]
    pub fn is_replayable(&self) -> bool {
        self.replayable.load(Ordering::Acquire)
    }

    /// Whether its consumer's connection is not read yet.
    #[must_use]
    pub fn is_awaited(&self) -> bool {
        matches!(self.source().rest, Rest::Awaited)
    }

    /// Whether some of it is still to come from the consumer.
    #[must_use]
    pub fn is_coming(&self) -> bool {
        matches!(self.source().rest, Rest::Coming(_) | Rest::Awaited | Rest::Storing)
    }

    /// How many readers it has had: the number of the newest.
    #[must_use]
    pub fn readers(&self) -> u64 {
        self.source().reader
    }

    /// Reads the rest of it, so that the consumer is not needed for it any more.
    pub async fn store(&self, most: usize) -> Result<(), NotStored> {
        let mut storing = {
            let mut source = self.source();
            if matches!(source.rest, Rest::None) {
                return Ok(());
            }
            if source.reader > 0 {
                return Err(NotStored::BeingRead);
            }
            match std::mem::replace(&mut source.rest, Rest::Storing) {
                Rest::Coming(body) => Storing { of: self, body: Some(body) },
                before @ (Rest::None | Rest::Awaited | Rest::Storing | Rest::Broken) => {
                    source.rest = before;
                    return Err(NotStored::Broken("it broke off before, or its connection is not read".into()));
                }
            }
        };
        if storing.body.as_ref().is_some_and(|body| body.size_hint().lower() > most as u64) {
            return Err(NotStored::TooLarge(most));
        }
        while let Some(frame) = match storing.body.as_mut() {
            Some(body) => body.frame().await,
            None => None,
        } {
            let frame = frame.map_err(|error| {
                storing.body = None;
                NotStored::Broken(error)
            })?;
            let mut source = self.source();
            match frame.into_data() {
                Ok(data) => source.keep(&data),
                Err(frame) => source.trailers = frame.into_trailers().ok().map(Box::new),
            }
            if source.bytes > most {
                // The rest can still be streamed.
                return Err(NotStored::TooLarge(most));
            }
        }
        storing.body = None;
        let mut source = self.source();
        source.rest = Rest::None;
        source.wake();
        Ok(())
    }

    /// What was stored, as one.
    #[must_use]
    pub fn bytes(&self) -> Bytes {
        let source = self.source();
        match &source.read[..] {
            [] => Bytes::new(),
            [one] => one.clone(),
            many => many.concat().into(),
        }
    }

    fn source(&self) -> MutexGuard<'_, Source> {
        self.source.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A body that is being stored. Dropped before its end, it can still be read.
struct Storing<'a> {
    of: &'a RequestBody,
    /// None: it broke off, or has ended.
    body: Option<Incoming>,
}

impl Drop for Storing<'_> {
    fn drop(&mut self) {
        let mut source = self.of.source();
        if matches!(source.rest, Rest::Storing) {
            source.rest = self.body.take().map_or(Rest::Broken, Rest::Coming);
            source.wake();
        }
    }
}

/// A worker reads a body.
#[derive(Debug)]
pub struct BodyReader {
    body: Arc<RequestBody>,
    number: u64,
    /// How many of the pieces that were read before it has had.
    at: usize,
    /// Some of it is not here any more.
    lacks: bool,
    ended: bool,
    /// The consumer has just broken it off.
    broke: bool,
    /// Who is told of that: the exchange, of which item it is.
    tells: Option<(Arc<Exchange>, ItemId)>,
}

impl BodyReader {
    /// From the start. Other readers get nothing more.
    #[must_use]
    pub fn new(body: &Arc<RequestBody>) -> Self {
        let mut source = body.source();
        source.reader += 1;
        // An older one learns of it.
        source.wake();
        let (number, lacks) = (source.reader, !body.is_replayable());
        drop(source);
        Self { body: Arc::clone(body), number, at: 0, lacks, ended: false, broke: false, tells: None }
    }

    /// The same, that tells an exchange when the consumer breaks the body off, before the worker learns of it.
    #[must_use]
    pub(super) fn telling(self, exchange: &Arc<Exchange>, item: ItemId) -> Self {
        Self { tells: Some((Arc::clone(exchange), item)), ..self }
    }

    /// Why it gets nothing more.
    fn broken(&self, source: &Source) -> Option<&'static str> {
        if source.reader != self.number {
            Some("another worker has the request by now")
        } else if self.lacks {
            Some("a part of the body is not here any more")
        } else {
            None
        }
    }

    /// Which reader of its body it is.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self;
        if this.ended {
            return Poll::Ready(None);
        }
        let mut source = this.body.source();
        let source = &mut *source;
        if let Some(why) = this.broken(source) {
            this.ended = true;
            return Poll::Ready(Some(Err(why.into())));
        }
        if let Some(piece) = source.read.get(this.at) {
            this.at += 1;
            return Poll::Ready(Some(Ok(Frame::data(piece.clone()))));
        }
        let frame = match &mut source.rest {
            Rest::None => None,
            Rest::Awaited | Rest::Storing => {
                source.waker = Some(cx.waker().clone());
                return Poll::Pending;
            }
            Rest::Broken => Some(Err("the consumer broke off its body".into())),
            Rest::Coming(body) => {
                let Poll::Ready(frame) = Pin::new(&mut *body).poll_frame(cx) else {
                    source.waker = Some(cx.waker().clone());
                    return Poll::Pending;
                };
                // Who knows the length does not ask for the end.
                if body.is_end_stream() && matches!(frame, Some(Ok(_))) {
                    source.rest = Rest::None;
                }
                frame
            }
        };
        match frame {
            Some(Ok(frame)) => {
                let frame = match frame.into_data() {
                    Ok(data) => {
                        let keeps = this.body.is_replayable() && source.bytes + data.len() <= this.body.replay;
                        if data.is_empty() {
                            // Not worth to be kept.
                        } else if keeps {
                            source.keep(&data);
                            this.at += 1;
                        } else {
                            this.body.replayable.store(false, Ordering::Release);
                        }
                        Frame::data(data)
                    }
                    Err(frame) => {
                        source.trailers = frame.trailers_ref().cloned().map(Box::new);
                        source.rest = Rest::None;
                        this.ended = true;
                        frame
                    }
                };
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => {
                source.rest = Rest::Broken;
                (this.ended, this.broke) = (true, true);
                Poll::Ready(Some(Err(error)))
            }
            None => {
                source.rest = Rest::None;
                this.ended = true;
                Poll::Ready(source.trailers.clone().map(|trailers| Ok(Frame::trailers(*trailers))))
            }
        }
    }
}

impl Body for BodyReader {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = self.poll_next(cx);
        // The lock of the body is not held any more.
        if std::mem::take(&mut self.broke)
            && let Some((exchange, item)) = &self.tells
        {
            exchange.broken_off(*item);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.ended || {
            let source = self.body.source();
            let is_read =
                matches!(source.rest, Rest::None) && self.at >= source.read.len() && source.trailers.is_none();
            // What is left for an older one, or after a part that was not kept, is no end.
            is_read && !self.lacks && source.reader == self.number
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.body.length.filter(|_| self.at == 0).map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

#[cfg(test)]
mod tests;
