//! A message that a worker has posted, as a connection on which it comes: nothing is read before the request was written, since
//! nobody answers what was not asked.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The connection. What is written to it goes nowhere.
pub(super) struct Posted<R> {
    message: R,
    is_asked: bool,
    reader: Option<Waker>,
}

impl<R> Posted<R> {
    pub(super) fn new(message: R) -> Self {
        Self { message, is_asked: false, reader: None }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Posted<R> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.is_asked {
            self.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Pin::new(&mut self.message).poll_read(cx, into)
    }
}

impl<R: Unpin> AsyncWrite for Posted<R> {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.is_asked = true;
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
