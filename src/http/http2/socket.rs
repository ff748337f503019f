//! The bytes of a client that speaks HTTP/2, as h2 reads and writes them.
//!
//! h2 drops what it has to send once it reads the end. So a FIN is reported at once to those who answer requests
//! ([`ConnectionState::half_closed`]), and to h2 once nothing is being answered and all that there is room for is written.
//!
//! h2 writes each frame of a body by itself, and flushes it; and it reads all that there is before it shows a request, into
//! memory that it keeps. So it gets turns: what it writes in one is held, so that many answers cost one call of the kernel,
//! and of what may be many requests it reads a few.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use crate::bounds::{HTTP2_HELD, LINGER};
use crate::http::connection::{ConnectionState, Left};
use crate::http::linger::Linger;

/// Bytes that are read at once where they may be many requests: some ten heads.
const FEW_BYTES: usize = 512;

/// The stream of a client.
#[derive(Debug)]
pub(super) struct Socket<S> {
    stream: S,
    /// Read before, and not given to h2 yet.
    held: Vec<u8>,
    /// Written by h2, and not by us yet.
    unsent: Vec<u8>,
    turn: Arc<Turn>,
    connection: Arc<ConnectionState>,
    ended: Ended,
    lingers: Option<Linger>,
    /// Bytes were written since the last look at what is left.
    wrote: bool,
}

/// What h2 may do in its turn.
#[derive(Debug, Default)]
pub(super) struct Turn {
    /// What is written is held.
    is_corked: AtomicBool,
    /// Something is.
    holds: AtomicBool,
    /// Few bytes may be read, and (false) none any more.
    reads_few: AtomicBool,
    may_read: AtomicBool,
    /// It would have read more.
    was_cut: AtomicBool,
}

impl Turn {
    /// It begins. Who begins it [uncorks](Self::uncork) it before it waits, and lets h2 flush then.
    pub(super) fn begin(&self, reads_few: bool) {
        self.is_corked.store(true, Ordering::Relaxed);
        self.reads_few.store(reads_few, Ordering::Relaxed);
        self.may_read.store(true, Ordering::Relaxed);
        self.was_cut.store(false, Ordering::Relaxed);
    }

    /// From now on what is written is sent. Whether something was held.
    pub(super) fn uncork(&self) -> bool {
        self.is_corked.store(false, Ordering::Relaxed);
        self.holds.load(Ordering::Relaxed)
    }

    /// Whether there may be more to read.
    pub(super) fn was_cut(&self) -> bool {
        self.was_cut.load(Ordering::Relaxed)
    }

    /// How much may be read: few bytes, once; none: as much as there is.
    fn limit(&self) -> Option<usize> {
        if !self.reads_few.load(Ordering::Relaxed) {
            return None;
        }
        let may_read = self.may_read.load(Ordering::Relaxed);
        self.was_cut.store(!may_read, Ordering::Relaxed);
        Some(if may_read { FEW_BYTES } else { 0 })
    }

    fn has_read(&self) {
        self.may_read.store(false, Ordering::Relaxed);
    }
}

/// What has ended.
#[derive(Debug)]
enum Ended {
    Nothing,
    /// The client has sent all. What it has no room for may wait so long: it cannot make room any more.
    Reading(Option<Pin<Box<Sleep>>>),
}

impl<S> Socket<S> {
    /// A stream of which `held` was read.
    pub(super) fn new(stream: S, held: Vec<u8>, turn: Arc<Turn>, connection: Arc<ConnectionState>) -> Self {
        Self { stream, held, unsent: Vec::new(), turn, connection, ended: Ended::Nothing, lingers: None, wrote: false }
    }

    /// Whether so many more bytes may be held.
    fn may_hold(&self, bytes: usize) -> bool {
        self.turn.is_corked.load(Ordering::Relaxed) && self.unsent.len() + bytes <= HTTP2_HELD
    }

    fn hold(&mut self, bytes: &[u8]) {
        if self.unsent.is_empty() {
            self.unsent.reserve(HTTP2_HELD / 8);
            self.turn.holds.store(true, Ordering::Relaxed);
        }
        self.unsent.extend_from_slice(bytes);
    }

    /// After the end of the client: whether h2 is told.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Ended::Reading(room) = &mut self.ended else { return Poll::Ready(()) };
        let left = self.connection.left(cx);
        let wrote = std::mem::take(&mut self.wrote);
        match left {
            Left::Answering => {
                *room = None;
                self.wrote = true;
                Poll::Pending
            }
            Left::Writing => {
                if wrote {
                    *room = None;
                }
                room.get_or_insert_with(|| Box::pin(sleep(LINGER))).as_mut().poll(cx)
            }
            Left::Nothing if wrote => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Left::Nothing => Poll::Ready(()),
        }
    }
}

impl<S: AsyncRead + Unpin> Socket<S> {
    /// Reads, and says how much.
    fn poll_some(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
        limit: Option<usize>,
    ) -> Poll<io::Result<usize>> {
        if limit.is_none_or(|limit| buf.remaining() <= limit) {
            let before = buf.filled().len();
            ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
            return Poll::Ready(Ok(buf.filled().len() - before));
        }
        let mut few = [0; FEW_BYTES];
        let mut few = ReadBuf::new(&mut few);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut few))?;
        buf.put_slice(few.filled());
        Poll::Ready(Ok(few.filled().len()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Socket<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let limit = this.turn.limit();
        if limit == Some(0) {
            // Whoever gave the turn sees that it was cut.
            return Poll::Pending;
        }
        if !this.held.is_empty() {
            let now = this.held.len().min(buf.remaining()).min(limit.unwrap_or(usize::MAX));
            buf.put_slice(&this.held[..now]);
            this.held.drain(..now);
            if this.held.is_empty() {
                this.held = Vec::new();
            }
            this.turn.has_read();
            return Poll::Ready(Ok(()));
        }
        if matches!(this.ended, Ended::Nothing) {
            let read = match ready!(this.poll_some(cx, buf, limit)) {
                // Over TLS, an end that the client has not announced: frames end where they say so.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => 0,
                read => read?,
            };
            if read > 0 {
                this.turn.has_read();
                return Poll::Ready(Ok(()));
            }
            this.ended = Ended::Reading(None);
            this.wrote = true;
            this.connection.has_half_closed();
        }
        this.poll_end(cx).map(Ok)
    }
}

impl<S: AsyncWrite + Unpin> Socket<S> {
    /// Writes what is held.
    fn poll_unsent(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut sent = 0;
        let result = loop {
            if sent == self.unsent.len() {
                break Poll::Ready(Ok(()));
            }
            match Pin::new(&mut self.stream).poll_write(cx, &self.unsent[sent..]) {
                Poll::Ready(Ok(0)) => break Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(more)) => sent += more,
                Poll::Ready(Err(error)) => break Poll::Ready(Err(error)),
                Poll::Pending => break Poll::Pending,
            }
        };
        self.wrote |= sent > 0;
        if sent == self.unsent.len() {
            // A connection that is parked keeps no buffer.
            self.unsent = Vec::new();
            self.turn.holds.store(false, Ordering::Relaxed);
        } else {
            self.unsent.drain(..sent);
        }
        result
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Socket<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.wrote = true;
        if !self.may_hold(buf.len()) {
            ready!(self.poll_unsent(cx))?;
        }
        if self.may_hold(buf.len()) {
            self.hold(buf);
            return Poll::Ready(Ok(buf.len()));
        }
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.may_hold(0) {
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_unsent(cx))?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_unsent(cx))?;
        let this = &mut *self;
        Linger::poll_end(&mut this.lingers, &mut this.stream, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.wrote = true;
        let all = bufs.iter().map(|buf| buf.len()).sum();
        if !self.may_hold(all) {
            ready!(self.poll_unsent(cx))?;
        }
        if self.may_hold(all) {
            for buf in bufs {
                self.hold(buf);
            }
            return Poll::Ready(Ok(all));
        }
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests;
