//! The end of a connection that is read by a library: after our FIN, what the client still sends is read and dropped for a
//! moment. To close while bytes arrive would be a reset, which can take the last answer from it.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Sleep, sleep};

use crate::bounds::LINGER;

/// What is left of that moment.
#[derive(Debug)]
pub(super) struct Linger(Pin<Box<Sleep>>);

impl Linger {
    /// It begins.
    pub(super) fn new() -> Self {
        Self(Box::pin(sleep(LINGER)))
    }

    /// Reads and drops; ready once the client has ended, or the moment is over.
    pub(super) fn poll<S: AsyncRead + Unpin>(&mut self, stream: &mut S, cx: &mut Context<'_>) -> Poll<()> {
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
