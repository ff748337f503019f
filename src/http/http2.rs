//! Connections of HTTP/2 in the clear, of clients that know beforehand that it is spoken (RFC 9113, section 3.3).

use std::sync::Arc;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

use super::Router;
use super::connection::ConnectionState;
use super::http1::{finish, timed};
use super::stream::ClientStream;
use crate::access;
use crate::bounds::{DEAD_PEER, HEAD_BYTES, HTTP2_STREAMS, IDLE_CONNECTION};
use crate::lifecycle::stop;

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
    mut stop: stop::Watch,
) -> hyper::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let connection = Arc::new(ConnectionState::new(connection));
    let stream = ClientStream::http2(stream, held, Arc::clone(&router), Arc::clone(&connection));
    let served = Arc::clone(&connection);
    let service = service_fn(move |request: Request<Incoming>| {
        let (router, connection) = (Arc::clone(&router), Arc::clone(&served));
        let answering = connection.begin();
        async move {
            let mut response = router.handle(request, &connection).await;
            match response.extensions_mut().remove::<Reset>() {
                Some(Reset(reason)) => Err(h2::Error::from(reason)),
                None => Ok(timed(response, answering)),
            }
        }
    });
    let served = Box::pin(builder().serve_connection(TokioIo::new(stream), service));
    let over = async {
        tokio::select! {
            () = stop.closing() => {}
            () = connection.idle_for(IDLE_CONNECTION) => {}
        }
    };
    finish(served, over, |served| served.get_mut().as_mut().graceful_shutdown()).await
}

fn builder() -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(HTTP2_STREAMS)
        .max_header_list_size(u32::try_from(HEAD_BYTES).unwrap_or(u32::MAX))
        .keep_alive_interval(DEAD_PEER / 2)
        .keep_alive_timeout(DEAD_PEER / 2);
    builder
}
