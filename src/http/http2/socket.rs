//! The bytes of a client that speaks HTTP/2, as h2 reads and writes them.
//!
//! h2 drops what it has to send once it reads the end. So a FIN is reported at once to those who answer requests
//! ([`ConnectionState::half_closed`]), and to h2 once nothing is being answered and all that there is room for is written.
//!
//! h2 writes each frame of a body by itself, and flushes it. While the [`Cork`] is in, small writes are held, so that many
//! answers cost one call of the kernel.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use crate::bounds::LINGER;
use crate::http::connection::{ConnectionState, Left};
use crate::http::linger::Linger;

/// Bytes that are held before they are written.
const HELD_BYTES: usize = 32 * 1024;

/// The stream of a client.
#[derive(Debug)]
pub(super) struct Socket<S> {
    stream: S,
    /// Read before, and not given to h2 yet.
    held: Vec<u8>,
    /// Written by h2, and not by us yet.
    unsent: Vec<u8>,
    cork: Arc<Cork>,
    connection: Arc<ConnectionState>,
    ended: Ended,
    /// Bytes were written since the last look at what is left.
    wrote: bool,
}

/// Whether what is written is held. Who puts it in pulls it before it waits, and lets h2 flush then.
#[derive(Debug, Default)]
pub(super) struct Cork {
    is_in: AtomicBool,
    /// Something is held.
    holds: AtomicBool,
}

impl Cork {
    pub(super) fn put_in(&self) {
        self.is_in.store(true, Ordering::Relaxed);
    }

    /// Pulls it; whether something is held.
    pub(super) fn pull(&self) -> bool {
        self.is_in.store(false, Ordering::Relaxed);
        self.holds.load(Ordering::Relaxed)
    }
}

/// What has ended.
#[derive(Debug)]
enum Ended {
    Nothing,
    /// The client has sent all. What it has no room for may wait so long: it cannot make room any more.
    Reading(Option<Pin<Box<Sleep>>>),
    /// So have we.
    Writing(Linger),
}

impl<S> Socket<S> {
    /// A stream of which `held` was read.
    pub(super) fn new(stream: S, held: Vec<u8>, cork: Arc<Cork>, connection: Arc<ConnectionState>) -> Self {
        Self { stream, held, unsent: Vec::new(), cork, connection, ended: Ended::Nothing, wrote: false }
    }

    /// Whether so many more bytes may be held.
    fn may_hold(&self, bytes: usize) -> bool {
        self.cork.is_in.load(Ordering::Relaxed) && self.unsent.len() + bytes <= HELD_BYTES
    }

    fn hold(&mut self, bytes: &[u8]) {
        if self.unsent.is_empty() {
            self.unsent.reserve(HELD_BYTES / 8);
            self.cork.holds.store(true, Ordering::Relaxed);
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

impl<S: AsyncRead + Unpin> AsyncRead for Socket<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.held.is_empty() {
            let now = this.held.len().min(buf.remaining());
            buf.put_slice(&this.held[..now]);
            this.held.drain(..now);
            if this.held.is_empty() {
                this.held = Vec::new();
            }
            return Poll::Ready(Ok(()));
        }
        if matches!(this.ended, Ended::Nothing) {
            let before = buf.filled().len();
            ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
            if buf.filled().len() > before {
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
            self.cork.holds.store(false, Ordering::Relaxed);
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
        loop {
            match &mut this.ended {
                Ended::Writing(linger) => return linger.poll(&mut this.stream, cx).map(Ok),
                Ended::Nothing | Ended::Reading(_) => {
                    ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
                    this.ended = Ended::Writing(Linger::new());
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
        let all = bufs.iter().map(|buf| buf.len()).sum();
        if !self.may_hold(all) {
            ready!(self.poll_unsent(cx))?;
        }
        if self.may_hold(all) {
            bufs.iter().for_each(|buf| self.hold(buf));
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
