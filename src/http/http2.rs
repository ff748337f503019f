//! Connections of HTTP/2 in the clear, of clients that know beforehand that it is spoken (RFC 9113, section 3.3).
//!
//! ```text
//!  bytes <-> socket <-> h2 <-> connection (one task)
//!                                |-- a plain poll (GET or HEAD of an operation's path, no body): polls --> respond
//!                                |       while it waits: a Stream in a slab, an entry in polls::parked::Parked
//!                                +-- any other request: exchange, on a task of its own ---> Router::handle
//!
//!  hub: a change --> Mailbox of the connection --> Parked --> respond, for each poll
//! ```
//!
//! - A parked stream has no task, no future and no waker of its own: h2 wakes one [`notice::Notice`] for all streams of a
//!   connection, and then each is asked whether it was reset. There are [`HTTP2_STREAMS`] at most.
//! - h2 is given the body of a poll's answer as a whole, shared with all who get the same. Where the client has no room for
//!   all of it, the stream is kept, and reset if nothing of it is taken for long.
//! - What takes time (a consistent read, an encoding that nobody has asked for yet) is done by tasks of the connection.

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};

use super::Router;
use super::connection::ConnectionState;
use crate::access;
use crate::bounds::{HEAD_BYTES, HTTP2_STREAMS, HTTP2_WINDOW};
use crate::lifecycle::stop;

mod connection;
mod events;
mod exchange;
mod notice;
mod ping;
mod polls;
mod respond;
mod socket;
mod stream;

/// What a client of HTTP/2 sends first (RFC 9113, section 3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// In a response: instead of it, the stream is reset with this code.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reset(pub(super) h2::Reason);

/// Serves a connection, of which `held` was read, to its end.
pub async fn serve<S>(
    stream: S,
    held: Vec<u8>,
    connection: Arc<access::Connection>,
    router: Arc<Router>,
    stop: stop::Watch,
) -> Result<(), h2::Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let state = Arc::new(ConnectionState::new(connection));
    let turn = Arc::default();
    let socket = socket::Socket::new(stream, held, Arc::clone(&turn), Arc::clone(&state));
    let h2 = builder().handshake(socket).await?;
    Box::pin(connection::Connection::new(h2, turn, router, state, stop).run()).await
}

fn builder() -> h2::server::Builder {
    let mut builder = h2::server::Builder::new();
    builder
        .initial_window_size(HTTP2_WINDOW)
        .initial_connection_window_size(HTTP2_WINDOW)
        .max_concurrent_streams(HTTP2_STREAMS)
        .max_header_list_size(u32::try_from(HEAD_BYTES).unwrap_or(u32::MAX));
    builder
}
