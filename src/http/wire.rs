//! A client's byte stream, watched while a request's head arrives.
//!
//! Two things that hyper does not offer. A head must be complete within [`HEAD_READ`] of its
//! first byte, while an idle connection may stay for [`IDLE_CONNECTION`]: hyper has one timeout
//! for both. And a few spellings that hyper accepts (a line that ends in LF alone) or drops
//! without a word (a fragment) are marked, so that the gate can refuse what others could read
//! differently. Heads behind a body, or pipelined behind an unanswered one, are not scanned; like
//! all others they are written anew for the app, so nothing can hide in their spelling.
//!
//! [`IDLE_CONNECTION`]: crate::bounds::IDLE_CONNECTION

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use crate::bounds::HEAD_READ;

/// What the connection is doing, known to its stream and to its requests.
#[derive(Debug, Default)]
pub struct Line {
    phase: AtomicU8,
    marks: AtomicU8,
}

/// A head is arriving (or the first one is awaited).
const HEAD: u8 = 0;
/// A request is being answered.
const BUSY: u8 = 1;
/// The last answer is written.
const IDLE: u8 = 2;
/// HTTP/2: its own limits apply.
const FRAMES: u8 = 3;

/// What a client of HTTP/2 sends first.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Room for what a client sends first; more is read by hyper.
const FIRST_READ: usize = 4096;

const BARE_LF: u8 = 1;
const FRAGMENT: u8 = 2;

/// What stands in a head that hyper does not show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marks(u8);

/// The stream of a connection.
#[derive(Debug)]
pub struct Wire<S> {
    stream: S,
    line: Arc<Line>,
    limit: Option<Pin<Box<Sleep>>>,
    scan: Scan,
    /// What [`Wire::is_http2`] read, to be read again.
    ahead: Vec<u8>,
}

/// Where in a head the last read ended.
#[derive(Debug, Default)]
struct Scan {
    /// The last bytes: CR, LF, CR, LF end the head.
    matched: u8,
    last: u8,
    /// Spaces seen in the first line: the target comes after the first.
    spaces: u8,
    lines: u32,
    done: bool,
    /// More bytes came before the request was answered: its body, or the next head.
    beyond: bool,
    marks: u8,
}

impl Line {
    /// A request's head has been read: its marks, once.
    pub fn begin(&self, http2: bool) -> Marks {
        self.phase.store(if http2 { FRAMES } else { BUSY }, Ordering::Relaxed);
        Marks(self.marks.swap(0, Ordering::Relaxed))
    }

    /// Its answer is written.
    pub fn end(&self) {
        // Frames stay frames.
        let _ = self.phase.compare_exchange(BUSY, IDLE, Ordering::Relaxed, Ordering::Relaxed);
    }
}

impl Marks {
    /// A line ended in LF alone.
    #[must_use]
    pub fn bare_lf(self) -> bool {
        self.0 & BARE_LF != 0
    }

    /// The target had a fragment.
    #[must_use]
    pub fn fragment(self) -> bool {
        self.0 & FRAGMENT != 0
    }
}

impl<S> Wire<S> {
    /// Watches a stream that was just accepted: its first head must be here in time too.
    pub fn new(stream: S) -> (Self, Arc<Line>) {
        let line = Arc::new(Line::default());
        let limit = Some(Box::pin(tokio::time::sleep(HEAD_READ)));
        (Self { stream, line: Arc::clone(&line), limit, scan: Scan::default(), ahead: Vec::new() }, line)
    }

    fn has_read(&mut self, bytes: &[u8]) {
        if self.line.phase.load(Ordering::Relaxed) == IDLE {
            self.line.phase.store(HEAD, Ordering::Relaxed);
            // Of a head that begins among those bytes only the end is seen here, in which an
            // innocent byte can look like a wrong one: it is not scanned.
            self.scan = Scan { done: self.scan.beyond, ..Scan::default() };
            self.limit = Some(Box::pin(tokio::time::sleep_until(Instant::now() + HEAD_READ)));
        }
        match self.line.phase.load(Ordering::Relaxed) {
            HEAD => {
                self.scan.feed(bytes);
                self.line.marks.fetch_or(self.scan.marks, Ordering::Relaxed);
            }
            _ => self.scan.beyond |= !bytes.is_empty(),
        }
    }
}

impl<S: AsyncRead + Unpin> Wire<S> {
    /// Whether the client begins as one of HTTP/2 does (RFC 9113, section 3.4). Not left to hyper,
    /// which reads as many bytes as that takes and then makes room for twice a head: 16 KiB,
    /// of which a parked request would keep half for nothing.
    pub async fn is_http2(&mut self) -> io::Result<bool> {
        let mut first = Vec::with_capacity(FIRST_READ);
        let is_http2 = loop {
            let read = self.read_buf(&mut first).await?;
            let known = first.len().min(PREFACE.len());
            if read == 0 || first[..known] != PREFACE[..known] {
                break false;
            }
            if known == PREFACE.len() {
                break true;
            }
        };
        self.ahead = first;
        Ok(is_http2)
    }
}

impl Scan {
    fn feed(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if self.done {
                self.beyond = true;
                return;
            }
            match byte {
                b'\n' if self.last != b'\r' => self.marks |= BARE_LF,
                b'#' if self.lines == 0 && self.spaces == 1 => self.marks |= FRAGMENT,
                b' ' if self.lines == 0 => self.spaces = self.spaces.saturating_add(1),
                _ => {}
            }
            self.matched = match (self.matched, byte) {
                (0 | 2, b'\r') | (1 | 3, b'\n') => self.matched + 1,
                (_, b'\r') => 1,
                (_, _) => 0,
            };
            if byte == b'\n' && self.spaces > 0 {
                self.lines += 1;
            }
            self.last = byte;
            self.done = self.matched == 4 && self.lines > 0;
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let this = &mut *self;
        if !this.ahead.is_empty() {
            let now = this.ahead.len().min(buf.remaining());
            buf.put_slice(&this.ahead[..now]);
            this.ahead.drain(..now);
            if this.ahead.is_empty() {
                this.ahead = Vec::new();
            }
            return Poll::Ready(Ok(()));
        }
        if let Poll::Ready(result) = Pin::new(&mut this.stream).poll_read(cx, buf) {
            this.has_read(&buf.filled()[before..]);
            return Poll::Ready(result);
        }
        if this.line.phase.load(Ordering::Relaxed) != HEAD {
            // Not kept while a request is parked: it would be memory for nothing.
            this.limit = None;
        }
        match &mut this.limit {
            None => Poll::Pending,
            Some(limit) => {
                ready!(limit.as_mut().poll(cx));
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "no complete request head in time")))
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    #[tokio::test]
    async fn how_a_client_begins_is_seen_and_read_again() {
        for (sent, expected) in [
            ("GET / HTTP/1.1\r\n\r\n", false),
            ("POST / HTTP/1.1\r\n\r\n", false),
            ("PRI * HTTP/1.1\r\n\r\n", false),
            ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nframes", true),
            ("PRI *", false),
            ("", false),
        ] {
            for piece in [1, 5, 100] {
                let (mut client, server) = tokio::io::duplex(7);
                let (mut wire, _) = Wire::new(server);
                let send = async move {
                    for piece in sent.as_bytes().chunks(piece) {
                        client.write_all(piece).await.expect("it reads");
                    }
                };
                let receive = async {
                    let is_http2 = wire.is_http2().await.expect("no limit passed");
                    let mut again = Vec::new();
                    wire.read_to_end(&mut again).await.expect("to the end");
                    (is_http2, again)
                };
                let ((), received) = tokio::join!(send, receive);
                assert_eq!(received, (expected, sent.as_bytes().to_vec()), "{sent:?} in pieces of {piece}");
            }
        }
    }

    /// Marks of a head that arrives in pieces of every size.
    #[track_caller]
    fn marks(head: &str) -> (bool, bool) {
        let mut found = Vec::new();
        for size in 1..=head.len() {
            let mut scan = Scan::default();
            head.as_bytes().chunks(size).for_each(|piece| scan.feed(piece));
            found.push(Marks(scan.marks));
        }
        assert!(found.iter().all(|marks| *marks == found[0]), "{head:?} in pieces: {found:?}");
        (found[0].bare_lf(), found[0].fragment())
    }

    #[test]
    fn what_hyper_does_not_show_is_marked() {
        assert_eq!(marks("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), (false, false));
        assert_eq!(marks("GET / HTTP/1.1\nHost: a\r\n\r\n"), (true, false));
        assert_eq!(marks("GET / HTTP/1.1\r\nHost: a\r\n\n"), (true, false));
        assert_eq!(marks("GET /x#y HTTP/1.1\r\nHost: a\r\n\r\n"), (false, true));
        assert_eq!(marks("\r\n\r\nGET / HTTP/1.1\r\nA: #\r\n\r\n"), (false, false), "only the target has fragments");
        assert_eq!(marks("POST / HTTP/1.1\r\n\r\nbody\n# \n"), (false, false), "a body is not a head");
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_has_a_time_limit() {
        let (mut client, server) = tokio::io::duplex(1024);
        let (mut wire, line) = Wire::new(server);
        let mut buf = [0; 64];
        client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.expect("room");
        assert_eq!(wire.read(&mut buf).await.expect("a head"), 18);
        line.begin(false);
        let parked = tokio::time::timeout(HEAD_READ * 6, wire.read(&mut buf)).await;
        assert!(parked.is_err(), "a parked connection has none");
        line.end();
        let idle = tokio::time::timeout(HEAD_READ * 6, wire.read(&mut buf)).await;
        assert!(idle.is_err(), "nor has an idle one");
        client.write_all(b"G").await.expect("room");
        assert_eq!(wire.read(&mut buf).await.expect("a byte"), 1);
        let start = Instant::now();
        let slow = wire.read(&mut buf).await.expect_err("the rest never comes");
        assert_eq!((slow.kind(), start.elapsed().as_secs()), (io::ErrorKind::TimedOut, HEAD_READ.as_secs()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_says_nothing_is_closed_and_frames_are_left_alone() {
        let (_client, server) = tokio::io::duplex(1024);
        let (mut wire, _line) = Wire::new(server);
        let mut buf = [0; 64];
        assert_eq!(wire.read(&mut buf).await.expect_err("nothing came").kind(), io::ErrorKind::TimedOut);

        let (mut client, server) = tokio::io::duplex(1024);
        let (mut wire, line) = Wire::new(server);
        client.write_all(b"frames").await.expect("room");
        assert_eq!(wire.read(&mut buf).await.expect("frames"), 6);
        line.begin(true);
        line.end();
        assert!(tokio::time::timeout(HEAD_READ * 6, wire.read(&mut buf)).await.is_err());
    }
}
