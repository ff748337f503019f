//! The bytes of a client, of which hyper sees judged heads and their bodies only, one request at a time.
//!
//! - A head waits here until it is whole and its turn has come: the answers before it are written.
//!   One that is refused is replaced by an empty request, which is answered with the refusal: so it
//!   is counted and logged as all others, comes in order, and hyper never sees a byte of the head.
//! - A FIN is reported at once to the requests that wait for it ([`ConnectionState::half_closed`]), and to hyper once
//!   nothing is being answered: hyper would drop the request.
//! - A head must be complete within [`HEAD_READ`] of its first byte, while an idle connection may
//!   stay for [`IDLE_CONNECTION`]: hyper has one timeout for both.
//! - After the last answer the stream says so (a FIN) and reads on for a moment: to close while
//!   bytes of the client arrive would be a reset, which can take the answer from it.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::time::{Duration, Sleep, sleep};

use super::connection::{ConnectionState, Left, Phase};
use super::head::{Body, Passed, Reader, Refused, Verdict};
use crate::bounds::{HEAD_BYTES, HEAD_READ, IDLE_CONNECTION, LINGER};

/// What a client of HTTP/2 sends first.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The head that hyper sees in place of one that is refused.
const REFUSED: &[u8] = b"GET / HTTP/1.1\r\n\r\n";
/// The same where the answer may have no body.
const REFUSED_HEAD: &[u8] = b"HEAD / HTTP/1.1\r\n\r\n";

/// The stream of a client.
#[derive(Debug)]
pub struct ClientStream<S> {
    stream: S,
    connection: Arc<ConnectionState>,
    reader: Reader,
    /// Read and not passed on yet.
    held: Vec<u8>,
    /// How many of those may be passed on.
    judged: usize,
    /// The rest of the body of the last head.
    body: Option<Body>,
    wait: Wait,
    ended: Ended,
    /// Bytes were written since the last read.
    wrote: bool,
}

/// How long the next bytes may take; nothing is kept for a connection that is parked.
#[derive(Debug)]
enum Wait {
    None,
    /// For the rest of a head, or the first one.
    Head(Pin<Box<Sleep>>),
    /// For the next head.
    Idle(Pin<Box<Sleep>>),
}

/// What has ended.
#[derive(Debug)]
enum Ended {
    Nothing,
    /// The client has sent all.
    Reading,
    /// So have we: bytes that still come are dropped, for this long.
    Writing(Pin<Box<Sleep>>),
}

impl Wait {
    fn head() -> Self {
        Self::Head(Box::pin(sleep(HEAD_READ)))
    }

    fn idle(time: Duration) -> Self {
        Self::Idle(Box::pin(sleep(time)))
    }
}

impl<S> ClientStream<S> {
    /// A stream that was just accepted: its first head must be here in time too.
    pub fn new(stream: S, connection: Arc<ConnectionState>) -> Self {
        Self {
            stream,
            connection,
            reader: Reader::default(),
            held: Vec::new(),
            judged: 0,
            body: None,
            wait: Wait::head(),
            ended: Ended::Nothing,
            wrote: false,
        }
    }

    /// Gives what may be passed on of the bytes that are here.
    fn give(&mut self, buf: &mut ReadBuf<'_>) -> bool {
        let now = self.judged.min(buf.remaining());
        buf.put_slice(&self.held[..now]);
        self.held.drain(..now);
        self.judged -= now;
        if self.held.is_empty() {
            // A parked connection keeps no buffer.
            self.held = Vec::new();
        }
        now > 0
    }

    /// Passes a head on, or the one in its place.
    fn pass(&mut self, Passed { length, rewritten, body }: Passed, refused: Option<Refused>) {
        self.judged = length;
        if let Some(rewritten) = rewritten {
            self.judged = rewritten.len();
            self.held.splice(..length, rewritten);
        }
        self.body = body.body();
        self.wait = Wait::None;
        let more = self.body.is_none() && self.held.len() > self.judged;
        self.connection.head_passed(refused, more);
    }

    fn refuse(&mut self, refused: Refused) {
        let is_head = refused.line.as_ref().is_some_and(|(method, _)| method == "HEAD");
        self.held = if is_head { REFUSED_HEAD } else { REFUSED }.to_vec();
        let passed = Passed { length: self.held.len(), rewritten: None, body: super::head::Framing::Length(0) };
        self.pass(passed, Some(refused));
    }

    /// The client has closed its sending side: the requests that wait for that are notified.
    fn sees_end(&mut self) {
        if matches!(self.ended, Ended::Nothing) {
            self.ended = Ended::Reading;
            self.connection.has_half_closed();
        }
    }

    /// Of bytes that were read into `buf` behind `before` those of the body stay there.
    fn take_body(&mut self, buf: &mut ReadBuf<'_>, before: usize) -> io::Result<()> {
        let Some(body) = &mut self.body else { return Ok(()) };
        let taken = body.feed(&buf.filled()[before..]).map_err(invalid)?;
        if body.is_whole() {
            self.body = None;
        }
        if buf.filled().len() > before + taken {
            self.held.splice(..0, buf.filled()[before + taken..].iter().copied());
            self.connection.has_more();
        }
        buf.set_filled(before + taken);
        Ok(())
    }
}

fn invalid(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

impl<S: AsyncRead + Unpin> ClientStream<S> {
    /// Whether the client begins as one of HTTP/2 does (RFC 9113, section 3.4).
    pub async fn is_http2(&mut self) -> io::Result<bool> {
        let mut first = Vec::with_capacity(4096);
        let is_http2 = loop {
            let read = tokio::select! {
                read = self.stream.read_buf(&mut first) => read?,
                () = over(&mut self.wait) => return Err(late()),
            };
            if read == 0 {
                self.sees_end();
            }
            let known = first.len().min(PREFACE.len());
            if read == 0 || first[..known] != PREFACE[..known] {
                break false;
            }
            if known == PREFACE.len() {
                break true;
            }
        };
        if is_http2 {
            self.connection.speaks_http2();
            self.judged = first.len();
        }
        self.wait = Wait::None;
        self.held = first;
        Ok(is_http2)
    }

    /// Reads bytes that hyper may not see yet, with the room of `buf`.
    fn poll_hold(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<usize>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        let read = buf.filled().len() - before;
        self.held.extend_from_slice(&buf.filled()[before..]);
        buf.set_filled(before);
        if read == 0 {
            self.sees_end();
        }
        Poll::Ready(Ok(read))
    }

    /// While a request is being answered: bytes are buffered up to a bound, and a FIN is reported.
    fn poll_behind(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.wait = Wait::None;
        while matches!(self.ended, Ended::Nothing) && self.held.len() < HEAD_BYTES {
            if ready!(self.poll_hold(cx, buf))? > 0 {
                self.connection.has_more();
            }
        }
        // Whoever writes the answer asks again.
        Poll::Pending
    }

    /// Waits for a head that is whole, and judges it. Ready without one: no more requests come.
    fn poll_head(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            match if self.held.is_empty() { Verdict::Partial } else { self.reader.judge(&self.held) } {
                Verdict::Partial => {}
                Verdict::Passes(passed) => {
                    self.pass(passed, None);
                    return Poll::Ready(Ok(()));
                }
                Verdict::Refused(refused) => {
                    self.refuse(refused);
                    return Poll::Ready(Ok(()));
                }
            }
            if !matches!(self.ended, Ended::Nothing) {
                return Poll::Ready(Ok(()));
            }
            match (&self.wait, self.held.is_empty()) {
                (Wait::None, true) => self.wait = Wait::idle(IDLE_CONNECTION),
                (Wait::None | Wait::Idle(_), false) => self.wait = Wait::head(),
                (Wait::Head(_) | Wait::Idle(_), _) => {}
            }
            if let Poll::Ready(read) = self.poll_hold(cx, buf) {
                read?;
                continue;
            }
            ready!(self.poll_wait(cx));
            if matches!(self.wait, Wait::Head(_)) {
                return Poll::Ready(Err(late()));
            }
            self.ended = Ended::Reading;
            return Poll::Ready(Ok(()));
        }
    }

    fn poll_wait(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.wait {
            Wait::None => Poll::Pending,
            Wait::Head(limit) | Wait::Idle(limit) => limit.as_mut().poll(cx),
        }
    }

    /// HTTP/2: all bytes pass. The end is passed to h2, which then drops what it has to send, once
    /// nothing is being answered and nothing was written between two looks.
    fn poll_frames(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if matches!(self.ended, Ended::Nothing) {
            let before = buf.filled().len();
            ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
            if buf.filled().len() > before {
                return Poll::Ready(Ok(()));
            }
            self.sees_end();
            self.wrote = true;
        }
        let left = self.connection.left(cx);
        let wrote = std::mem::take(&mut self.wrote);
        match left {
            Left::Answering => {
                self.wait = Wait::None;
                self.wrote = true;
                Poll::Pending
            }
            // The client cannot make room any more for what does not fit.
            Left::Writing => {
                if wrote || matches!(self.wait, Wait::None) {
                    self.wait = Wait::idle(LINGER);
                }
                self.poll_wait(cx).map(Ok)
            }
            Left::Nothing if wrote => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Left::Nothing => Poll::Ready(Ok(())),
        }
    }
}

fn late() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "no complete request head in time")
}

async fn over(wait: &mut Wait) {
    match wait {
        Wait::None => std::future::pending().await,
        Wait::Head(limit) | Wait::Idle(limit) => limit.as_mut().await,
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ClientStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        loop {
            if this.give(buf) {
                return Poll::Ready(Ok(()));
            }
            match this.connection.phase() {
                Phase::Frames => return this.poll_frames(cx, buf),
                Phase::Tunnel if this.held.is_empty() => return Pin::new(&mut this.stream).poll_read(cx, buf),
                // What came behind the request is of the tunnel.
                Phase::Tunnel => this.judged = this.held.len(),
                Phase::Passed | Phase::Busy | Phase::Answered | Phase::Idle if this.body.is_some() => {
                    if this.held.is_empty() {
                        ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
                        if buf.filled().len() == before {
                            // A request that is not whole is not answered.
                            this.sees_end();
                        }
                    } else {
                        let now = this.held.len().min(buf.remaining());
                        buf.put_slice(&this.held[..now]);
                        this.held.drain(..now);
                    }
                    this.take_body(buf, before)?;
                    return Poll::Ready(Ok(()));
                }
                Phase::Passed | Phase::Busy | Phase::Answered => return this.poll_behind(cx, buf),
                Phase::Idle => {
                    ready!(this.poll_head(cx, buf))?;
                    if this.judged == 0 {
                        return Poll::Ready(Ok(()));
                    }
                }
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for ClientStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.wrote = true;
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        if self.connection.written() {
            // hyper does not ask again by itself where the last look found nothing.
            cx.waker().wake_by_ref();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.connection.phase() == Phase::Tunnel {
            return Pin::new(&mut this.stream).poll_shutdown(cx);
        }
        loop {
            match &mut this.ended {
                Ended::Writing(limit) => {
                    let mut dropped = [0; 2048];
                    let mut dropped = ReadBuf::new(&mut dropped);
                    match Pin::new(&mut this.stream).poll_read(cx, &mut dropped) {
                        Poll::Ready(Ok(())) if !dropped.filled().is_empty() => {}
                        Poll::Ready(_) => return Poll::Ready(Ok(())),
                        Poll::Pending => return limit.as_mut().poll(cx).map(Ok),
                    }
                    // A client that never stops sending is not heard for ever either.
                    if limit.is_elapsed() {
                        return Poll::Ready(Ok(()));
                    }
                }
                Ended::Nothing | Ended::Reading => {
                    ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
                    this.ended = Ended::Writing(Box::pin(sleep(LINGER)));
                }
            }
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.wrote = true;
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests;
