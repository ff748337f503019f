//! Answers as they are sent over HTTP/2. h2 is given a body as a whole, and sends it as the client makes room: so it is
//! never split further than the client's windows demand, and its bytes stay shared with all who get the same.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use h2::SendStream;
use h2::server::SendResponse;
use http::header::Entry;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};

use super::notice::Notice;
use crate::describe::Answer;
use crate::http::date::Date;
use crate::hub::FanOutGuard;

/// An answer that is ready to be sent.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) status: StatusCode,
    pub(super) fields: HeaderMap,
    /// What comes before the body: the first words of a stream.
    pub(super) first: Bytes,
    /// Empty where there is none.
    pub(super) body: Bytes,
}

/// Bytes of a body on their way to the client.
#[derive(Debug)]
pub(super) struct Piece {
    bytes: Bytes,
    /// Who is told how far it has come.
    progress: Option<Arc<Progress>>,
}

/// How far a body has come that the client had no room for.
#[derive(Debug)]
pub(super) struct Progress {
    start: Instant,
    /// Milliseconds from the start until something was sent last.
    moved: AtomicU64,
    ended: AtomicBool,
    notice: Arc<Notice>,
    /// Kept until all is sent.
    _fan_out: Option<FanOutGuard>,
}

/// What the client has not made room for.
pub(super) struct Unsent {
    stream: SendStream<Piece>,
    progress: Arc<Progress>,
}

impl Written {
    /// An answer of our own.
    pub(super) fn new(answer: Answer, date: &Date) -> Self {
        let mut fields = HeaderMap::with_capacity(16);
        fields.extend(answer.fields());
        fields.insert(header::DATE, date.value().clone());
        let status = answer.status;
        Self { status, fields, first: Bytes::new(), body: answer.into_body().unwrap_or_default() }
    }

    /// A part of a stream.
    pub(super) fn part(part: Vec<u8>) -> Self {
        Self { status: StatusCode::OK, fields: HeaderMap::new(), first: Bytes::new(), body: part.into() }
    }

    /// The head of a stream, what comes first, and a part behind it.
    pub(super) fn start(head: &Answer, date: &Date, first: &[u8], part: &Self) -> Self {
        let head = Self::new(head.clone(), date);
        Self { first: Bytes::copy_from_slice(first), body: part.body.clone(), ..head }
    }

    /// The head, with more fields.
    pub(super) fn head(&self, further: &[(HeaderName, HeaderValue)]) -> Response<()> {
        let mut head = Response::new(());
        *head.status_mut() = self.status;
        head.headers_mut().clone_from(&self.fields);
        for (name, value) in further {
            head.headers_mut().append(name, value.clone());
        }
        head
    }

    /// Hands it to h2. An error is that of a stream that is gone already.
    pub(super) fn send(
        &self,
        respond: &mut SendResponse<Piece>,
        further: &[(HeaderName, HeaderValue)],
    ) -> Result<Option<SendStream<Piece>>, h2::Error> {
        let mut stream = respond.send_response(self.head(further), self.body.is_empty())?;
        if self.body.is_empty() {
            return Ok(None);
        }
        stream.reserve_capacity(self.body.len());
        if stream.capacity() < self.body.len() {
            return Ok(Some(stream));
        }
        stream.send_data(self.body.clone().into(), true)?;
        Ok(None)
    }
}

impl Progress {
    pub(super) fn new(notice: Arc<Notice>, fan_out: Option<FanOutGuard>) -> Self {
        let (start, moved, ended) = (now(), AtomicU64::new(0), AtomicBool::new(false));
        Self { start, moved, ended, notice, _fan_out: fan_out }
    }

    /// Whether all is sent, or the stream is gone.
    pub(super) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// When something was sent last.
    pub(super) fn moved(&self) -> Instant {
        self.start + Duration::from_millis(self.moved.load(Ordering::Acquire))
    }
}

impl Unsent {
    /// Hands a body to h2 for which there is not enough room.
    pub(super) fn send(
        mut stream: SendStream<Piece>,
        bytes: Bytes,
        notice: Arc<Notice>,
        fan_out: Option<FanOutGuard>,
    ) -> Result<Self, h2::Error> {
        let progress = Arc::new(Progress::new(notice, fan_out));
        stream.send_data(Piece { bytes, progress: Some(Arc::clone(&progress)) }, true)?;
        Ok(Self { stream, progress })
    }

    /// Whether all is sent, or the stream is gone.
    pub(super) fn has_ended(&self) -> bool {
        self.progress.has_ended()
    }

    /// When something was sent last.
    pub(super) fn moved(&self) -> Instant {
        self.progress.moved()
    }

    /// Gives up.
    pub(super) fn reset(mut self) {
        self.stream.send_reset(h2::Reason::CANCEL);
    }
}

impl Piece {
    /// Bytes of which somebody is told how far they have come.
    pub(super) fn followed(bytes: Bytes, progress: &Arc<Progress>) -> Self {
        Self { bytes, progress: Some(Arc::clone(progress)) }
    }
}

impl From<Bytes> for Piece {
    fn from(bytes: Bytes) -> Self {
        Self { bytes, progress: None }
    }
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.bytes.len()
    }

    fn chunk(&self) -> &[u8] {
        &self.bytes
    }

    fn advance(&mut self, sent: usize) {
        self.bytes.advance(sent);
        if let Some(progress) = &self.progress {
            let after = now().saturating_duration_since(progress.start).as_millis();
            progress.moved.store(u64::try_from(after).unwrap_or(u64::MAX), Ordering::Release);
        }
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        if let Some(progress) = &self.progress {
            progress.ended.store(true, Ordering::Release);
            progress.notice.give();
        }
    }
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// The head of an answer as h2 takes it.
pub(super) fn head(status: StatusCode, mut fields: HeaderMap, date: &Date) -> Response<()> {
    if let Entry::Vacant(entry) = fields.entry(header::DATE) {
        entry.insert(date.value().clone());
    }
    let mut head = Response::new(());
    *head.status_mut() = status;
    *head.headers_mut() = fields;
    head
}
