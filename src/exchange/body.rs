//! The body of a consumer's request, on its way to a worker: perhaps a second time, if the first worker is lost.
//!
//! Nothing of it is read before a worker has the request, or somebody wants to have it stored.

use std::error::Error;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;

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
    /// The newest reader: an older one gets nothing more.
    reader: AtomicU64,
}

#[derive(Debug)]
struct Source {
    /// What was read.
    read: Vec<Bytes>,
    /// How much that is.
    bytes: usize,
    rest: Rest,
    /// Some of it was read and not kept, or it broke off: it cannot be sent once more.
    is_gone: bool,
    trailers: Option<HeaderMap>,
    /// Who waits for the next of it, or until it is stored.
    waker: Option<Waker>,
}

/// What was not read yet.
enum Rest {
    /// Nothing.
    None,
    /// It comes from the consumer.
    Coming(Incoming),
    /// It is being stored.
    Storing,
    /// It broke off.
    Broken,
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
        let rest = if body.is_end_stream() { Rest::None } else { Rest::Coming(body) };
        Self::of(Vec::new(), rest, replay, length)
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
        let source = Mutex::new(Source { read, bytes, rest, is_gone: false, trailers: None, waker: None });
        Self { source, replay, length, reader: AtomicU64::new(0) }
    }

    /// How long it is, where its head says so.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// Whether some of it is still to come from the consumer.
    #[must_use]
    pub fn is_coming(&self) -> bool {
        matches!(self.source().rest, Rest::Coming(_) | Rest::Storing)
    }

    /// Reads the rest of it, so that the consumer is not needed for it any more.
    pub async fn store(&self, most: usize) -> Result<(), NotStored> {
        let mut storing = {
            let mut source = self.source();
            if matches!(source.rest, Rest::None) {
                return Ok(());
            }
            if self.reader.load(Ordering::Acquire) > 0 {
                return Err(NotStored::BeingRead);
            }
            match std::mem::replace(&mut source.rest, Rest::Storing) {
                Rest::Coming(body) => Storing { of: self, body: Some(body) },
                before @ (Rest::None | Rest::Storing | Rest::Broken) => {
                    source.rest = before;
                    return Err(NotStored::Broken("it broke off before".into()));
                }
            }
        };
        let left = storing.body.as_ref().map_or(0, |body| body.size_hint().lower());
        if left.saturating_add(self.source().bytes as u64) > most as u64 {
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
                Ok(data) => {
                    source.bytes += data.len();
                    source.read.push(data);
                }
                Err(frame) => source.trailers = frame.into_trailers().ok(),
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

impl Source {
    /// The next of it for a reader that has had so many of the pieces that are kept.
    fn poll_next(
        &mut self,
        replay: usize,
        (at, is_ahead): (&mut usize, &mut bool),
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(piece) = self.read.get(*at) {
            *at += 1;
            return Poll::Ready(Some(Ok(Frame::data(piece.clone()))));
        }
        if self.is_gone && !*is_ahead {
            return Poll::Ready(Some(Err("what comes next went to another worker, and was not kept".into())));
        }
        let frame = match &mut self.rest {
            Rest::None => None,
            Rest::Storing => {
                self.waker = Some(cx.waker().clone());
                return Poll::Pending;
            }
            Rest::Broken => Some(Err("the consumer broke off its body".into())),
            Rest::Coming(body) => {
                let Poll::Ready(frame) = Pin::new(&mut *body).poll_frame(cx) else {
                    self.waker = Some(cx.waker().clone());
                    return Poll::Pending;
                };
                // Who knows the length does not ask for the end.
                if body.is_end_stream() && matches!(frame, Some(Ok(_))) {
                    self.rest = Rest::None;
                }
                frame
            }
        };
        Poll::Ready(match frame {
            Some(Ok(frame)) => Some(Ok(match frame.into_data() {
                Ok(data) => {
                    if !self.is_gone && self.bytes + data.len() <= replay {
                        self.bytes += data.len();
                        self.read.push(data.clone());
                        *at += 1;
                    } else if !data.is_empty() {
                        (self.is_gone, *is_ahead) = (true, true);
                    }
                    Frame::data(data)
                }
                Err(frame) => {
                    self.trailers = frame.trailers_ref().cloned();
                    self.rest = Rest::None;
                    frame
                }
            })),
            Some(Err(error)) => {
                self.rest = Rest::Broken;
                (self.is_gone, *is_ahead) = (true, true);
                Some(Err(error))
            }
            None => {
                self.rest = Rest::None;
                self.trailers.clone().map(|trailers| Ok(Frame::trailers(trailers)))
            }
        })
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
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
pub struct BodyReader {
    body: Arc<RequestBody>,
    number: u64,
    /// How many of the pieces that were read before it has had.
    at: usize,
    /// It has had what was not kept.
    is_ahead: bool,
    ended: bool,
    /// Is told before the worker gets what is not kept, or that the body broke off.
    gone: Box<dyn Fn(Gone) + Send + Sync>,
}

/// Why a body cannot be sent once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gone {
    /// Some of it was not kept.
    NotKept,
    /// The consumer broke it off.
    Broken,
}

/// Which reading of a body it is.
#[derive(Debug)]
pub struct Reading {
    body: Arc<RequestBody>,
    number: u64,
}

impl Reading {
    /// Whether nobody has begun to read the body since.
    #[must_use]
    pub fn is_newest(&self) -> bool {
        self.body.reader.load(Ordering::Acquire) == self.number
    }
}

impl BodyReader {
    /// From the start. Other readers get nothing more. `gone` is told once the body cannot be sent once more.
    #[must_use]
    pub fn new(body: &Arc<RequestBody>, gone: impl Fn(Gone) + Send + Sync + 'static) -> Self {
        let number = body.reader.fetch_add(1, Ordering::AcqRel) + 1;
        body.source().wake();
        Self { body: Arc::clone(body), number, at: 0, is_ahead: false, ended: false, gone: Box::new(gone) }
    }

    /// Which reading it is.
    #[must_use]
    pub fn reading(&self) -> Reading {
        Reading { body: Arc::clone(&self.body), number: self.number }
    }
}

impl Body for BodyReader {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        if this.ended {
            return Poll::Ready(None);
        }
        if this.body.reader.load(Ordering::Acquire) != this.number {
            this.ended = true;
            return Poll::Ready(Some(Err("another worker has the request by now".into())));
        }
        let mut source = this.body.source();
        let was_gone = source.is_gone;
        let frame = ready!(source.poll_next(this.body.replay, (&mut this.at, &mut this.is_ahead), cx));
        let is_gone = source.is_gone && !was_gone;
        drop(source);
        if is_gone {
            (this.gone)(if matches!(frame, Some(Err(_))) { Gone::Broken } else { Gone::NotKept });
        }
        // Trailers are the end, too.
        this.ended = !matches!(&frame, Some(Ok(frame)) if frame.is_data());
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.ended || {
            let source = self.body.source();
            let is_short = source.is_gone && !self.is_ahead;
            matches!(source.rest, Rest::None) && !is_short && self.at >= source.read.len() && source.trailers.is_none()
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.body.length.filter(|_| self.at == 0).map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl std::fmt::Debug for BodyReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BodyReader").field("body", &self.body).field("at", &self.at).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Rest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Coming(_) => "Coming",
            Self::Storing => "Storing",
            Self::Broken => "Broken",
        })
    }
}
