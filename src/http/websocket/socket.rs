//! A connection of WebSocket: messages that are read, and frames that are written. tungstenite reads, and judges what comes; the
//! frames of streams are shared by many clients, so they are written as they are. What tungstenite answers itself, pongs and the
//! close that it returns, goes out between two of them.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;
use tungstenite::Utf8Bytes;
use tungstenite::error::{Error, ProtocolError};
use tungstenite::protocol::{Message, Role, WebSocketConfig, WebSocketContext};

use crate::bounds::{WEBSOCKET_FRAGMENT, WEBSOCKET_READ, WEBSOCKET_REPLIES};
use crate::describe::stream::frame;
use crate::protocol::websocket::CloseCode;

/// A connection.
#[derive(Debug)]
pub(super) struct Socket<S> {
    io: S,
    reading: WebSocketContext,
    /// Frames that tungstenite answers with.
    replies: Vec<u8>,
    /// What is being written: whole frames, but for the last piece where that says so.
    writing: Option<Piece>,
    /// What follows.
    pieces: VecDeque<Piece>,
    closing: Closing,
    /// When a byte was taken last, and when one came last.
    pub(super) moved: Instant,
    pub(super) heard: Instant,
}

/// Whether the connection is being closed, and who has begun with it. Nothing but a close is written then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Closing {
    No,
    ByUs,
    ByClient,
}

/// Bytes that are written.
#[derive(Debug, Clone)]
pub(in crate::http) struct Piece {
    pub(in crate::http) bytes: Bytes,
    /// A frame ends with it, so that another may follow.
    pub(in crate::http) ends_frame: bool,
}

/// A message of a client.
#[derive(Debug)]
pub(in crate::http) enum Payload {
    Text(Utf8Bytes),
    #[cfg_attr(not(test), expect(dead_code, reason = "all that is served is text"))]
    Binary(Bytes),
}

/// What happens on a connection.
#[derive(Debug)]
pub(super) enum Event {
    /// A message has come.
    Received(Payload),
    /// All is written.
    Written,
    /// What has come is wrong: the connection is to be closed so.
    Wrong(CloseCode, String),
    /// The client is gone, or has closed the connection and was answered.
    Ended,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Socket<S> {
    /// A connection whose messages may have so many bytes.
    pub(super) fn new(io: S, most: usize) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(WEBSOCKET_READ)
            .write_buffer_size(0)
            .max_message_size(Some(most))
            .max_frame_size(Some(most));
        let now = Instant::now();
        Self {
            io,
            reading: WebSocketContext::new(Role::Server, Some(config)),
            replies: Vec::new(),
            writing: None,
            pieces: VecDeque::new(),
            closing: Closing::No,
            moved: now,
            heard: now,
        }
    }

    /// Nothing waits to be written.
    pub(super) fn is_idle(&self) -> bool {
        self.writing.is_none() && self.pieces.is_empty() && self.replies.is_empty()
    }

    /// It is being closed.
    pub(super) fn closes(&self) -> bool {
        self.closing != Closing::No
    }

    /// Writes whole frames, behind what waits.
    pub(super) fn push(&mut self, bytes: impl Into<Bytes>) {
        let mut bytes = bytes.into();
        while !bytes.is_empty() && !self.closes() {
            let mut length = 0;
            while length < WEBSOCKET_FRAGMENT && length < bytes.len() && !self.closes() {
                let (frame, is_close) = frame::first(&bytes[length..]);
                length += frame;
                if is_close {
                    self.closing = Closing::ByUs;
                }
            }
            self.add(Piece { bytes: bytes.split_to(length), ends_frame: true });
        }
    }

    /// Writes a piece of a frame, or one that ends it.
    pub(super) fn push_piece(&mut self, piece: Piece) {
        if piece.ends_frame && self.pieces.back().is_none_or(|last| last.ends_frame) {
            self.push(piece.bytes);
        } else if !self.closes() {
            self.add(piece);
        }
    }

    fn add(&mut self, piece: Piece) {
        if self.is_idle() {
            self.moved = Instant::now();
        }
        self.pieces.push_back(piece);
    }

    /// Closes the connection: what is not begun is not written any more.
    pub(super) fn close(&mut self, code: CloseCode, reason: &str) {
        if self.closes() {
            return;
        }
        self.drop_rest();
        let mut bytes = Vec::new();
        frame::close(code, reason, &mut bytes);
        self.push(bytes);
    }

    /// What is not begun is not written any more.
    fn drop_rest(&mut self) {
        let is_between = self.writing.as_ref().is_none_or(|piece| piece.ends_frame);
        let rest = self.pieces.iter().position(|piece| piece.ends_frame).map_or(0, |last| last + 1);
        self.pieces.truncate(if is_between { 0 } else { rest });
    }

    /// Writes what waits, and reads a message. `reads`: whether one is wanted.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, reads: bool) -> Poll<Event> {
        let was_idle = self.is_idle();
        if let Poll::Ready(Err(_)) = self.poll_write(cx) {
            return Poll::Ready(Event::Ended);
        }
        if !was_idle && self.is_idle() {
            return Poll::Ready(Event::Written);
        }
        if !reads || self.replies.len() > WEBSOCKET_REPLIES {
            return Poll::Pending;
        }
        loop {
            let mut side = Side { io: &mut self.io, cx, replies: &mut self.replies, heard: &mut self.heard };
            let read = self.reading.read(&mut side);
            if self.closing == Closing::ByUs {
                // A close stands behind all else.
                self.replies.clear();
            }
            let event = match read {
                Ok(Message::Text(text)) => Event::Received(Payload::Text(text)),
                Ok(Message::Binary(bytes)) => Event::Received(Payload::Binary(bytes)),
                Ok(Message::Close(_)) => {
                    // The next read answers it.
                    if self.closing == Closing::No {
                        self.drop_rest();
                        self.closing = Closing::ByClient;
                    }
                    continue;
                }
                // A ping is answered by the next read.
                Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => continue,
                Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => break,
                Err(Error::ConnectionClosed | Error::AlreadyClosed) if !self.is_idle() => {
                    // Whether its client takes it or not.
                    let _ = ready!(self.poll_write(cx));
                    Event::Ended
                }
                Err(error) => wrong(error),
            };
            return Poll::Ready(event);
        }
        if self.is_idle() {
            return Poll::Pending;
        }
        // It has answered something.
        match self.poll_write(cx) {
            Poll::Ready(Ok(())) => Poll::Ready(Event::Written),
            Poll::Ready(Err(_)) => Poll::Ready(Event::Ended),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Writes all that waits.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let may_reply = self.writing.as_ref().is_none_or(|piece| piece.ends_frame);
            let Some(piece) = &mut self.writing else {
                if !self.replies.is_empty() && may_reply {
                    let bytes = std::mem::take(&mut self.replies).into();
                    self.writing = Some(Piece { bytes, ends_frame: true });
                } else if let Some(next) = self.pieces.pop_front() {
                    self.writing = Some(next);
                } else {
                    return Pin::new(&mut self.io).poll_flush(cx);
                }
                continue;
            };
            while !piece.bytes.is_empty() {
                let written = ready!(Pin::new(&mut self.io).poll_write(cx, &piece.bytes))?;
                if written == 0 {
                    return Poll::Ready(Err(ErrorKind::WriteZero.into()));
                }
                piece.bytes.advance(written);
                self.moved = Instant::now();
            }
            let ends_frame = piece.ends_frame;
            self.writing = None;
            if !ends_frame && let Some(next) = self.pieces.pop_front() {
                self.writing = Some(next);
            }
        }
    }

    /// Reads to the end what the client sends, without looking at it.
    pub(super) async fn drain(&mut self) {
        // A failure is the end too.
        let _ = tokio::io::copy(&mut self.io, &mut tokio::io::sink()).await;
    }

    /// Says that nothing follows.
    pub(super) async fn shut(&mut self) {
        // The client may be gone already.
        let _ = std::future::poll_fn(|cx| Pin::new(&mut self.io).poll_shutdown(cx)).await;
    }
}

/// What tungstenite reads from, and answers to.
struct Side<'a, 'cx, S> {
    io: &'a mut S,
    cx: &'a mut Context<'cx>,
    replies: &'a mut Vec<u8>,
    heard: &'a mut Instant,
}

impl<S: AsyncRead + Unpin> Read for Side<'_, '_, S> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut buf = ReadBuf::new(buf);
        match Pin::new(&mut *self.io).poll_read(self.cx, &mut buf)? {
            Poll::Pending => Err(ErrorKind::WouldBlock.into()),
            Poll::Ready(()) => {
                *self.heard = Instant::now();
                Ok(buf.filled().len())
            }
        }
    }
}

impl<S> Write for Side<'_, '_, S> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.replies.extend_from_slice(buf);
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How a connection is closed on which this went wrong.
fn wrong(error: Error) -> Event {
    match error {
        Error::ConnectionClosed
        | Error::AlreadyClosed
        | Error::Io(_)
        | Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => Event::Ended,
        Error::Capacity(_) => Event::Wrong(CloseCode::TooLong, "the message is too long".to_owned()),
        Error::Utf8(_) => Event::Wrong(CloseCode::NotUtf8, "the text is not UTF-8".to_owned()),
        Error::Protocol(error) => Event::Wrong(CloseCode::Protocol, error.to_string()),
        Error::WriteBufferFull(_)
        | Error::AttackAttempt
        | Error::Tls(_)
        | Error::Url(_)
        | Error::Http(_)
        | Error::HttpFormat(_) => Event::Wrong(CloseCode::Error, "a defect of the server".to_owned()),
    }
}
