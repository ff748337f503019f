//! Connections of HTTP/2 in the clear, of clients that know beforehand that it is spoken (RFC 9113, section 3.3).

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};

use super::Router;
use super::connection::ConnectionState;
use crate::access;
use crate::bounds::{HEAD_BYTES, HTTP2_STREAMS};
use crate::lifecycle::stop;

mod connection;
mod exchange;
mod notice;
mod ping;
mod polls;
mod respond;
mod socket;
mod stream;

/// What a client of HTTP/2 sends first (RFC 9113, section 3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Bytes that a client may send beyond those that were read, of a stream and of all streams together.
const WINDOW: u32 = 1024 * 1024;

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
    let cork = Arc::default();
    let socket = socket::Socket::new(stream, held, Arc::clone(&cork), Arc::clone(&state));
    let h2 = builder().handshake(socket).await?;
    Box::pin(connection::Connection::new(h2, cork, router, state, stop).run()).await
}

fn builder() -> h2::server::Builder {
    let mut builder = h2::server::Builder::new();
    builder
        .initial_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_concurrent_streams(HTTP2_STREAMS)
        .max_header_list_size(u32::try_from(HEAD_BYTES).unwrap_or(u32::MAX));
    builder
}
