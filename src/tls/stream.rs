//! A connection over TLS, as libraries read and write it.

use std::io::{self, IoSlice, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::fault::Fault;
use super::session::Session;

/// A connection: its bytes, and the TLS above them.
#[derive(Debug)]
pub struct Stream<S> {
    io: S,
    session: Box<Session>,
    /// `close_notify` is said.
    is_closed: bool,
}

/// A stream as [`Session`] takes it: what is pending would block.
struct Now<'a, 'b, S> {
    io: &'a mut S,
    cx: &'a mut Context<'b>,
}

impl<S: AsyncRead + Unpin> Read for Now<'_, '_, S> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let mut room = ReadBuf::new(room);
        match Pin::new(&mut *self.io).poll_read(self.cx, &mut room) {
            Poll::Ready(read) => read.map(|()| room.filled().len()),
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

impl<S: AsyncWrite + Unpin> Write for Now<'_, '_, S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match Pin::new(&mut *self.io).poll_write(self.cx, bytes) {
            Poll::Ready(written) => written,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What would block is pending: whoever said so wakes the task.
fn poll<T, E: Into<Fault>>(result: Result<T, E>) -> Poll<Result<T, Fault>> {
    match result.map_err(Into::into) {
        Err(Fault::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
        result => Poll::Ready(result),
    }
}

impl<S> Stream<S> {
    /// A connection with the TLS that it has so far.
    pub fn new(io: S, session: Box<Session>) -> Self {
        Self { io, session, is_closed: false }
    }

    /// The parts of the same connection.
    pub fn into_parts(self) -> (S, Box<Session>) {
        (self.io, self.session)
    }

    /// The TLS of it.
    #[must_use]
    pub fn session(&self) -> &Session {
        &self.session
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream<S> {
    /// Goes on with the handshake, until it is over. What the client need not wait for may be left to be sent.
    pub(super) fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        let mut io = Now { io: &mut self.io, cx };
        loop {
            let sent = poll(self.session.send(&mut io));
            if !self.session.is_handshaking() {
                // A client may write before it reads.
                return Poll::Ready(if let Poll::Ready(sent) = sent { sent } else { Ok(()) });
            }
            ready!(sent)?;
            // What comes right behind it is kept for whoever reads.
            ready!(poll(self.session.receive(&mut io, &mut [])))?;
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Stream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let this = &mut *self;
        let mut io = Now { io: &mut this.io, cx };
        let read = ready!(poll(this.session.read(&mut io, buf.initialize_unfilled())))?;
        buf.advance(read);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Stream<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let mut io = Now { io: &mut this.io, cx };
        ready!(poll(this.session.send(&mut io)))?;
        Pin::new(&mut this.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let mut io = Now { io: &mut this.io, cx };
        let closed = if std::mem::replace(&mut this.is_closed, true) {
            this.session.send(&mut io).map_err(Fault::from)
        } else {
            this.session.close(&mut io)
        };
        ready!(poll(closed))?;
        Pin::new(&mut this.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let mut io = Now { io: &mut this.io, cx };
        Poll::Ready(Ok(ready!(poll(this.session.write_behind(&mut io, bufs)))?))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }
}
