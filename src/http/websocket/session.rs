//! A connection of WebSocket from its first message to its end: what its source says is written when the client has taken what was
//! said before, and what the client sends is passed to the source, one message at a time.

use std::future::poll_fn;
use std::pin::pin;

use bytes::Bytes;
use futures::future::BoxFuture;
use prometheus::IntCounter;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Duration, Instant, sleep_until, timeout};

use super::message::{self, ClientMessage, Rate};
use super::socket::{Event, Payload, Piece, Socket};
use crate::bounds::{STREAM_STALLED, WEBSOCKET_CLOSING, WEBSOCKET_DEAD, WEBSOCKET_PING, WEBSOCKET_REPLIES};
use crate::describe::stream::frame;
use crate::protocol::websocket::CloseCode;

/// What a client is told, and who takes its messages.
pub(in crate::http) trait Source {
    /// What the client is told next. Nothing is lost where this is dropped.
    fn next(&mut self) -> impl Future<Output = Said> + Send;

    /// A message has come.
    fn take(&mut self, message: ClientMessage) -> Taken;

    /// The same, as it came.
    fn receive(&mut self, received: Payload, rate: &mut Rate) -> Taken {
        let read = match received {
            Payload::Text(text) => message::read(&text, rate, Instant::now().into_std()),
            Payload::Binary(_) => Err((CloseCode::NotText, "send messages as text, in JSON".to_owned())),
        };
        read.map_or_else(|(code, reason)| Taken::Wrong(code, reason), |message| self.take(message))
    }
}

/// What a client is told.
#[derive(Debug)]
pub(in crate::http) struct Said {
    /// Whole messages.
    pub(super) pieces: Vec<Piece>,
    /// Nothing follows.
    pub(super) is_last: bool,
}

/// What becomes of a message of a client.
pub(in crate::http) enum Taken {
    /// Nothing is said to it.
    Done,
    /// It is told this, once it is known. No other message is read before.
    Later(BoxFuture<'static, Bytes>),
    /// The connection is closed.
    Wrong(CloseCode, String),
}

impl Said {
    /// Whole frames.
    pub(super) fn frames(bytes: Bytes, is_last: bool) -> Self {
        Self { pieces: vec![Piece { bytes, ends_frame: true }], is_last }
    }
}

/// How a session ends.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// The client has closed it, or is gone.
    Closed,
    /// We close it.
    Closing,
    /// What the client has sent is wrong: nothing more of it is looked at.
    Failed,
    /// The client takes nothing, or sends nothing.
    Cut,
}

/// Serves a connection whose messages may have so many bytes, to its end.
pub(super) async fn serve<S, T>(io: S, mut source: Box<T>, most: usize, cut: IntCounter)
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: Source,
{
    let mut socket = Socket::new(io, most);
    let end = run(&mut socket, &mut *source).await;
    drop(source);
    match end {
        End::Cut => cut.inc(),
        End::Closed => socket.shut().await,
        End::Closing => closed(&mut socket, true).await,
        End::Failed => closed(&mut socket, false).await,
    }
}

/// Closes a connection at once: its client is refused, and would not see a status.
pub(super) async fn refuse<S: AsyncRead + AsyncWrite + Unpin>(io: S, code: CloseCode, reason: &str) {
    let mut socket = Socket::new(io, 0);
    socket.close(code, reason);
    closed(&mut socket, true).await;
}

async fn run<S, T>(socket: &mut Socket<S>, source: &mut T) -> End
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: Source,
{
    let now = Instant::now();
    let (mut ping, mut rate, mut work) =
        (now + between_pings(), Rate::new(now.into_std()), None::<BoxFuture<'static, Bytes>>);
    let mut timer = pin!(sleep_until(ping));
    // Bytes of replies since all was written.
    let mut replied = 0;
    loop {
        let now = Instant::now();
        let is_full = replied >= WEBSOCKET_REPLIES;
        if is_full {
            // Nothing is read, so that nothing is heard.
            socket.heard = now;
        }
        let is_stalled = !socket.is_idle() && socket.moved + STREAM_STALLED <= now;
        if is_stalled || socket.heard + WEBSOCKET_DEAD <= now {
            return End::Cut;
        }
        if ping <= now {
            ping = now + between_pings();
            let mut bytes = Vec::new();
            frame::ping(&mut bytes);
            socket.push(bytes);
        }
        let stalls = if socket.is_idle() { ping } else { socket.moved + STREAM_STALLED };
        let deadline = ping.min(stalls).min(socket.heard + WEBSOCKET_DEAD);
        // Most often nothing else has changed.
        if timer.is_elapsed() || deadline < timer.deadline() {
            timer.as_mut().reset(deadline);
        }
        let (is_free, is_idle) = (work.is_none() && !is_full, socket.is_idle());
        tokio::select! {
            biased;
            event = poll_fn(|cx| socket.poll(cx, is_free)) => match event {
                Event::Written => replied = 0,
                Event::Ended => return End::Closed,
                Event::Wrong(code, reason) => {
                    socket.close(code, &reason);
                    return End::Failed;
                }
                Event::Received(payload) => match source.receive(payload, &mut rate) {
                    Taken::Done => {}
                    Taken::Later(later) => work = Some(later),
                    Taken::Wrong(code, reason) => socket.close(code, &reason),
                },
            },
            reply = async {
                match &mut work {
                    Some(work) => work.await,
                    None => std::future::pending().await,
                }
            } => {
                work = None;
                replied += reply.len();
                socket.push(reply);
            }
            said = source.next(), if is_idle => {
                said.pieces.into_iter().filter(|piece| !piece.bytes.is_empty()).for_each(|piece| socket.push_piece(piece));
                if said.is_last {
                    socket.close(CloseCode::LifeOver, "the life of the stream is over: come back");
                }
            }
            () = &mut timer => {}
        }
        if socket.closes() {
            return End::Closing;
        }
    }
}

fn between_pings() -> Duration {
    WEBSOCKET_PING.mul_f64(1.0 - 0.1 * fastrand::f64())
}

/// Writes what waits and the close, and waits until the client has answered it: to close while bytes of the client arrive would be
/// a reset, which can take the close from it. `reads`: what it sends is read as messages, and its close is the answer; else its end
/// alone is (RFC 6455, section 7.1.7).
async fn closed<S: AsyncRead + AsyncWrite + Unpin>(socket: &mut Socket<S>, reads: bool) {
    let ended = async {
        if reads && has_answered(socket).await {
            return;
        }
        while !socket.is_idle() {
            if let Event::Ended = poll_fn(|cx| socket.poll(cx, false)).await {
                return;
            }
        }
        socket.shut().await;
        socket.drain().await;
    };
    // Whoever does not answer is cut.
    let _ = timeout(WEBSOCKET_CLOSING, ended).await;
    let _ = timeout(WEBSOCKET_CLOSING, socket.shut()).await;
}

/// Reads until the client has answered a close, or is gone; false: what it sends cannot be read as messages.
async fn has_answered<S: AsyncRead + AsyncWrite + Unpin>(socket: &mut Socket<S>) -> bool {
    loop {
        match poll_fn(|cx| socket.poll(cx, true)).await {
            Event::Ended => return true,
            // It may have sent more before it was told.
            Event::Written | Event::Received(_) => {}
            Event::Wrong(..) => return false,
        }
    }
}
