//! A client that sends any bytes, in pieces of any size, while it reads: for requests that no
//! sane client sends, over TCP or in memory. Answers are read strictly.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A connection and all that came back on it.
pub(crate) struct Talk<S> {
    stream: S,
    piece: usize,
    pending: Vec<u8>,
    /// Everything that was read.
    pub(crate) seen: Vec<u8>,
    /// The other side has ended, in order or not.
    pub(crate) ended: bool,
}

/// An answer, with names in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Talk<S> {
    /// Sends at most `piece` bytes at a time.
    pub(crate) fn new(stream: S, piece: usize) -> Self {
        Self { stream, piece, pending: Vec::new(), seen: Vec::new(), ended: false }
    }

    /// Sends these bytes, as soon as somebody waits for what comes back.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
    }

    /// Sends and reads until what was read is enough, or the other side has ended.
    pub(crate) async fn until(&mut self, enough: impl Fn(&[u8]) -> bool) {
        while !self.ended && !enough(&self.seen) {
            self.step().await;
        }
    }

    /// Sends and reads until everything is sent, or the other side has ended.
    pub(crate) async fn flushed(&mut self) {
        while !self.ended && !self.pending.is_empty() {
            self.step().await;
        }
    }

    /// Sends what is left, says that nothing more comes, and reads to the end.
    pub(crate) async fn finished(&mut self) {
        self.flushed().await;
        // A connection that is gone already is finished too.
        let _ = poll_fn(|cx| Pin::new(&mut self.stream).poll_shutdown(cx)).await;
        self.until(|_| false).await;
    }

    /// Sends or reads once. Who refuses may close before it has read everything.
    async fn step(&mut self) {
        let (stream, pending) = (&mut self.stream, &mut self.pending);
        let (seen, ended, piece) = (&mut self.seen, &mut self.ended, self.piece);
        poll_fn(|cx| {
            if !pending.is_empty() {
                let some = &pending[..piece.min(pending.len())];
                match Pin::new(&mut *stream).poll_write(cx, some) {
                    Poll::Ready(Ok(sent)) => {
                        pending.drain(..sent);
                        return Poll::Ready(());
                    }
                    Poll::Ready(Err(_)) => pending.clear(),
                    Poll::Pending => {}
                }
            }
            let mut room = [0; 4096];
            let mut room = ReadBuf::new(&mut room);
            match Pin::new(&mut *stream).poll_read(cx, &mut room) {
                Poll::Ready(Ok(())) if !room.filled().is_empty() => seen.extend_from_slice(room.filled()),
                Poll::Ready(_) => *ended = true,
                Poll::Pending => return Poll::Pending,
            }
            Poll::Ready(())
        })
        .await;
    }
}

impl Answer {
    /// The value of a field; empty if it is not there.
    pub(crate) fn field(&self, name: &str) -> &str {
        self.fields.iter().find(|(field, _)| field == name).map_or("", |(_, value)| value)
    }

    /// Reads one answer from the front of `bytes`, and how long it is; none while it is not whole.
    fn read(bytes: &[u8], to_head: bool) -> Option<(Self, usize)> {
        let head = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
        let text = std::str::from_utf8(&bytes[..head]).expect("a head is ASCII");
        let mut lines = text.split("\r\n");
        let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1."));
        let status = status.and_then(|line| line.get(2..5)?.parse().ok());
        let status: u16 = status.unwrap_or_else(|| panic!("no status line: {text:?}"));
        let fields: Vec<_> = lines
            .map(|line| line.split_once(':').unwrap_or_else(|| panic!("no field: {line:?}")))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let mut answer = Self { status, fields, body: Vec::new() };
        let body = &bytes[head + 4..];
        let length = if to_head || matches!(status, 100..200 | 204 | 304) {
            0
        } else if answer.field("transfer-encoding") == "chunked" {
            let (whole, length) = unchunk(body)?;
            answer.body = whole;
            length
        } else {
            let length = answer.field("content-length").parse().expect("a length");
            answer.body = body.get(..length)?.to_vec();
            length
        };
        Some((answer, head + 4 + length))
    }
}

/// A chunked body and how long it is as sent; none while it is not whole.
fn unchunk(bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
    let (mut whole, mut at) = (Vec::new(), 0);
    loop {
        let line = bytes[at..].windows(2).position(|two| two == b"\r\n")?;
        let size =
            std::str::from_utf8(&bytes[at..at + line]).ok().and_then(|size| usize::from_str_radix(size, 16).ok());
        let size = size.expect("a chunk size");
        at += line + 2;
        whole.extend_from_slice(bytes.get(at..at + size)?);
        assert_eq!(bytes.get(at + size..at + size + 2)?, b"\r\n", "a chunk ends");
        at += size + 2;
        if size == 0 {
            return Some((whole, at));
        }
    }
}

/// The whole final answers in `bytes`, and what is left over. `to_head`: the first is to a HEAD.
pub(crate) fn answers(bytes: &[u8], to_head: bool) -> (Vec<Answer>, &[u8]) {
    let (mut found, mut rest) = (Vec::new(), bytes);
    while let Some((answer, length)) = Answer::read(rest, to_head && found.is_empty()) {
        rest = &rest[length..];
        if answer.status >= 200 {
            found.push(answer);
        }
    }
    (found, rest)
}
