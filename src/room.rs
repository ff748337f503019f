//! Room for a body on a stream of HTTP/2, whichever side sends it.

use std::future::poll_fn;
use std::task::{Poll, ready};

use bytes::Buf;
use h2::SendStream;

/// Waits until `stream` has room for some of `wanted` bytes, and says for how many; none: it is reset, or its connection is
/// gone. All of them are asked room for: with less, streams that wait for the same room would each get a crumb of it, and
/// peers end a connection with many tiny frames.
pub async fn room<B: Buf>(stream: &mut SendStream<B>, wanted: usize) -> Option<usize> {
    stream.reserve_capacity(wanted);
    let room = poll_fn(|cx| {
        while stream.poll_reset(cx).is_pending() {
            match stream.capacity() {
                0 if !matches!(ready!(stream.poll_capacity(cx)), Some(Ok(_))) => break,
                0 => {}
                room => return Poll::Ready(Some(room.min(wanted))),
            }
        }
        Poll::Ready(None)
    });
    room.await
}
