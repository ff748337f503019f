//! The end of a connection that is read by a library: after our FIN, what the client still sends is read and dropped for a
//! moment. To close while bytes arrive would be a reset, which can take the last answer from it.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use crate::bounds::LINGER;

/// What is left of that moment.
#[derive(Debug)]
pub(super) struct Linger(Pin<Box<Sleep>>);

impl Linger {
    /// Ends a connection: sends a FIN, and then lingers.
    pub(super) fn poll_end<S>(lingers: &mut Option<Self>, stream: &mut S, cx: &mut Context<'_>) -> Poll<io::Result<()>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        if lingers.is_none() {
            ready!(Pin::new(&mut *stream).poll_shutdown(cx))?;
        }
        lingers.get_or_insert_with(|| Self(Box::pin(sleep(LINGER)))).poll(stream, cx).map(Ok)
    }

    /// Reads and drops; ready once the client has ended, or the moment is over.
    fn poll<S: AsyncRead + Unpin>(&mut self, stream: &mut S, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let mut dropped = [0; 2048];
            let mut dropped = ReadBuf::new(&mut dropped);
            match Pin::new(&mut *stream).poll_read(cx, &mut dropped) {
                Poll::Ready(Ok(())) if !dropped.filled().is_empty() => {}
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return self.0.as_mut().poll(cx),
            }
            // A client that never stops sending is not heard for ever either.
            if self.0.is_elapsed() {
                return Poll::Ready(());
            }
        }
    }
}
