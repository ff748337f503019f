//! The bytes of a client that speaks HTTP/2, as h2 reads and writes them.
//!
//! h2 drops what it has to send once it reads the end. So a FIN is reported at once to those who answer requests
//! ([`ConnectionState::half_closed`]), and to h2 once nothing is being answered and all that there is room for is written.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use crate::bounds::LINGER;
use crate::http::connection::{ConnectionState, Left};
use crate::http::linger::Linger;

/// The stream of a client.
#[derive(Debug)]
pub(super) struct Socket<S> {
    stream: S,
    /// Read before, and not given to h2 yet.
    held: Vec<u8>,
    connection: Arc<ConnectionState>,
    ended: Ended,
    /// Bytes were written since the last look at what is left.
    wrote: bool,
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
    pub(super) fn new(stream: S, held: Vec<u8>, connection: Arc<ConnectionState>) -> Self {
        Self { stream, held, connection, ended: Ended::Nothing, wrote: false }
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

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Socket<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.wrote = true;
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
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
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests;
