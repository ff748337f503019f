//! The bytes of a client that is served by hyper, which sees judged heads and their bodies only, one request at a time.
//!
//! - A head waits here until it is whole and its turn has come: the answers before it are written. One that is not for
//!   hyper (a poll, a request that waits for an exchange, or a head that is refused) goes back to the event loop with the connection, and so does a connection
//!   that is idle: hyper is told that the client has closed.
//! - A FIN is reported at once to the requests that wait for it ([`ConnectionState::half_closed`]), and to hyper once
//!   nothing is being answered: hyper would drop the request.
//! - After the last answer the stream says so (a FIN) and reads on for a moment: to close while
//!   bytes of the client arrive would be a reset, which can take the answer from it.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Duration, Instant, Sleep, sleep};

use super::Router;
use super::connection::{ConnectionState, Phase};
use super::head::{Body, Passed, Reader, Verdict};
use super::linger::Linger;
use crate::bounds::{HEAD_BYTES, HYPER_IDLE};

/// The stream of a client.
#[derive(Debug)]
pub struct ClientStream<S> {
    /// None: the connection has gone back.
    stream: Option<S>,
    back: BackSlot<S>,
    router: Arc<Router>,
    connection: Arc<ConnectionState>,
    reader: Reader,
    /// Read and not passed on yet.
    held: Vec<u8>,
    /// How many of those may be passed on.
    judged: usize,
    /// The rest of the body of the last head.
    body: Option<Body>,
    wait: Wait,
    /// The client has sent all.
    half_closed: bool,
    lingers: Option<Linger>,
}

/// A connection that is not for hyper any more.
#[derive(Debug)]
pub struct Back<S> {
    /// Its stream.
    pub stream: S,
    /// Bytes that were read, and belong to no request that was answered.
    pub held: Vec<u8>,
    /// Whether the client has closed its sending side.
    pub half_closed: bool,
    /// Since when there is no request.
    pub idle_since: Instant,
}

/// Where a connection is put that goes back.
pub type BackSlot<S> = Arc<Mutex<Option<Back<S>>>>;

/// How long the next bytes may take; nothing is kept for a connection whose request is being answered.
#[derive(Debug)]
enum Wait {
    None,
    /// For the rest of a head, or the next one.
    Limit(Pin<Box<Sleep>>),
}

impl Wait {
    fn limit(time: Duration) -> Self {
        Self::Limit(Box::pin(sleep(time)))
    }
}

impl<S> ClientStream<S> {
    /// A stream of HTTP/1.1, of which `held` was read: it begins with a head that has passed.
    pub fn http1(
        stream: S,
        (held, passed): (Vec<u8>, Passed),
        half_closed: bool,
        router: Arc<Router>,
        connection: Arc<ConnectionState>,
    ) -> (Self, BackSlot<S>) {
        let mut client = Self::of(stream, held, router, connection);
        if half_closed {
            client.sees_end();
        }
        client.pass(passed);
        let back = Arc::clone(&client.back);
        (client, back)
    }

    fn of(stream: S, held: Vec<u8>, router: Arc<Router>, connection: Arc<ConnectionState>) -> Self {
        Self {
            stream: Some(stream),
            back: Arc::default(),
            router,
            connection,
            reader: Reader::default(),
            held,
            judged: 0,
            body: None,
            wait: Wait::None,
            half_closed: false,
            lingers: None,
        }
    }

    /// Gives the connection back: hyper sees its end.
    fn go_back(&mut self) {
        let Some(stream) = self.stream.take() else { return };
        let back = Back {
            stream,
            held: std::mem::take(&mut self.held),
            half_closed: self.half_closed,
            idle_since: self.connection.idle_since(),
        };
        *self.back.lock().unwrap_or_else(PoisonError::into_inner) = Some(back);
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

    /// Passes a head on.
    fn pass(&mut self, Passed { length, rewritten, body, .. }: Passed) {
        self.judged = length;
        if let Some(rewritten) = rewritten {
            self.judged = rewritten.len();
            self.held.splice(..length, rewritten);
        }
        self.body = body.body();
        self.wait = Wait::None;
        let more = self.body.is_none() && self.held.len() > self.judged;
        self.connection.head_passed(more);
    }

    /// The client has closed its sending side: the requests that wait for that are notified.
    fn sees_end(&mut self) {
        if !std::mem::replace(&mut self.half_closed, true) {
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
    /// Reads from the client; from one that has gone back nothing comes.
    fn poll_stream(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Some(stream) => Pin::new(stream).poll_read(cx, buf),
            None => Poll::Ready(Ok(())),
        }
    }

    /// Reads bytes that hyper may not see yet, with the room of `buf`.
    fn poll_hold(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<usize>> {
        let before = buf.filled().len();
        match ready!(self.poll_stream(cx, buf)) {
            // Over TLS, an end that the client has not announced. Requests and heads end where they say so.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
            read => read?,
        }
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
        while !self.half_closed && self.held.len() < HEAD_BYTES {
            if ready!(self.poll_hold(cx, buf))? > 0 {
                self.connection.has_more();
            }
        }
        // Whoever writes the answer asks again.
        Poll::Pending
    }

    /// Waits for a head that is whole, and passes it on. Ready without one: the connection has gone back, or ends.
    fn poll_head(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let verdict = if self.held.is_empty() { Verdict::Partial } else { self.reader.judge(&self.held) };
            match verdict {
                Verdict::Partial if !self.half_closed => {}
                Verdict::Passes(passed) if !self.router.parks(&self.held, &passed) => {
                    self.pass(passed);
                    return Poll::Ready(Ok(()));
                }
                Verdict::Partial | Verdict::Passes(_) | Verdict::Refused(_) => {
                    self.go_back();
                    return Poll::Ready(Ok(()));
                }
            }
            if matches!(self.wait, Wait::None) {
                self.wait = Wait::limit(HYPER_IDLE);
            }
            if let Poll::Ready(read) = self.poll_hold(cx, buf) {
                read?;
                continue;
            }
            ready!(self.poll_wait(cx));
            self.go_back();
            return Poll::Ready(Ok(()));
        }
    }

    fn poll_wait(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.wait {
            Wait::None => Poll::Pending,
            Wait::Limit(limit) => limit.as_mut().poll(cx),
        }
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
                Phase::Tunnel if this.held.is_empty() => return this.poll_stream(cx, buf),
                // What came behind the request is of the tunnel.
                Phase::Tunnel => this.judged = this.held.len(),
                Phase::Passed | Phase::Busy | Phase::Answered | Phase::Idle if this.body.is_some() => {
                    if this.held.is_empty() {
                        ready!(this.poll_stream(cx, buf))?;
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

/// Writes to the client; hyper has nothing to write to one that has gone back.
fn open<S>(stream: &mut Option<S>) -> io::Result<Pin<&mut S>>
where
    S: Unpin,
{
    stream.as_mut().map(Pin::new).ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected))
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for ClientStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        open(&mut self.stream)?.poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(stream) = &mut self.stream else { return Poll::Ready(Ok(())) };
        ready!(Pin::new(stream).poll_flush(cx))?;
        if self.connection.written() {
            // hyper does not ask again by itself where the last look found nothing.
            cx.waker().wake_by_ref();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let Some(stream) = &mut this.stream else { return Poll::Ready(Ok(())) };
        if this.connection.phase() == Phase::Tunnel {
            return Pin::new(stream).poll_shutdown(cx);
        }
        Linger::poll_end(&mut this.lingers, stream, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        open(&mut self.stream)?.poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }
}

#[cfg(test)]
mod tests;
