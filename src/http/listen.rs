//! Connections: accept them, bound them, notice dead peers, and close them in order.
//!
//! HTTP/1.1 and cleartext HTTP/2 (with prior knowledge, RFC 9113, section 3.3) share the port.

use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response, StatusCode, Version};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{Duration, Instant};
use tokio_util::task::TaskTracker;

use super::Front;
use super::reply::Body;
use super::wire::{Line, Wire};
use crate::bounds::{DEAD_PEER, HEAD_BYTES, HEAD_FIELDS, HTTP2_STREAMS, IDLE_CONNECTION};
use crate::fleet::Connection;
use crate::lifecycle::stop;

/// After a failed accept (out of descriptors, mostly): long enough not to spin, short enough to
/// be back when one is free.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What one connection too many is told.
const REFUSAL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 2\r\nCache-Control: no-store\r\n\
    Content-Length: 0\r\nConnection: close\r\n\r\n";

/// Accepts connections until the process closes them, at most `limit` at once.
pub async fn accept(
    listener: TcpListener,
    limit: usize,
    front: Arc<Front>,
    stop: stop::Watch,
    connections: TaskTracker,
) {
    let places = Arc::new(Semaphore::new(limit.min(Semaphore::MAX_PERMITS)));
    let metrics = front.metrics.clone();
    let mut closing = stop.clone();
    let mut closing = pin!(closing.closing());
    loop {
        let (stream, peer) = tokio::select! {
            () = &mut closing => return,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    metrics.accept_errors.inc();
                    tracing::warn!(%error, "could not accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            metrics.refused_connections.inc();
            // Best effort: what does not fit into an empty send buffer is not worth waiting for.
            let _ = stream.try_write(REFUSAL);
            continue;
        };
        if let Err(error) = tune(&stream) {
            // The peer is gone already.
            tracing::debug!(%error, %peer, "could not tune a connection");
            continue;
        }
        let (front, stop) = (Arc::clone(&front), stop.clone());
        connections.spawn(async move {
            front.metrics.connections.inc();
            let gauge = front.metrics.connections.clone();
            if let Err(error) = serve(stream, peer, front, stop).await {
                tracing::debug!(%error, %peer, "connection ended");
            }
            gauge.dec();
            drop(place);
        });
    }
}

/// Dead peers are noticed, also while parked, and small answers leave at once.
fn tune(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(
        &TcpKeepalive::new().with_time(DEAD_PEER / 2).with_interval(DEAD_PEER / 6).with_retries(3),
    )?;
    socket.set_tcp_user_timeout(Some(DEAD_PEER))
}

/// In a response: instead of it, the stream of HTTP/2 is reset with this code.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reset(pub(super) h2::Reason);

/// Serves one connection to its end.
pub async fn serve<S>(
    stream: S,
    peer: SocketAddr,
    front: Arc<Front>,
    mut stop: stop::Watch,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut wire, line) = Wire::new(stream);
    let http2 = tokio::select! {
        http2 = wire.is_http2() => http2?,
        () = stop.closing() => return Ok(()),
    };
    let ends = Ends(Arc::new(Connection::new(peer)));
    let connection = Arc::clone(&ends.0);
    let service = service_fn(move |request: Request<Incoming>| {
        let (front, line, connection) = (Arc::clone(&front), Arc::clone(&line), Arc::clone(&connection));
        async move {
            let marks = line.begin(request.version() == Version::HTTP_2);
            let busy = Busy(Some(line));
            let mut response = front.handle(request, &connection, marks).await;
            match response.extensions_mut().remove::<Reset>() {
                Some(Reset(reason)) => Err(h2::Error::from(reason)),
                None => Ok(timed(response, busy)),
            }
        }
    });
    let wire = TokioIo::new(wire);
    let served = if http2 {
        // Boxed, so that the many of HTTP/1.1 have no room for it.
        let connection = Box::pin(frames().serve_connection(wire, service));
        finish(connection, stop, |connection| connection.get_mut().as_mut().graceful_shutdown()).await
    } else {
        let connection = lines().serve_connection(wire, service).with_upgrades();
        finish(connection, stop, http1::UpgradeableConnection::graceful_shutdown).await
    };
    Ok(served?)
}

/// Tells those who polled on a connection when it ends, however it does.
struct Ends(Arc<Connection>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.end(Instant::now().into_std());
    }
}

/// Drives a connection to its end, which `wind_down` brings on once the process closes.
async fn finish<C>(connection: C, mut stop: stop::Watch, wind_down: impl FnOnce(Pin<&mut C>)) -> hyper::Result<()>
where
    C: Future<Output = hyper::Result<()>>,
{
    let mut connection = pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => return ended,
        () = stop.closing() => wind_down(connection.as_mut()),
    }
    connection.await
}

/// HTTP/1.1.
fn lines() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        // The time from one answer to the next head; a head that has begun is bounded by `Wire`.
        .header_read_timeout(IDLE_CONNECTION)
        .max_buf_size(HEAD_BYTES)
        // The app and its clients see the spelling that the other chose.
        .preserve_header_case(true)
        .max_headers(HEAD_FIELDS);
    builder
}

/// HTTP/2.
fn frames() -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(HTTP2_STREAMS)
        .max_header_list_size(u32::try_from(HEAD_BYTES).unwrap_or(u32::MAX))
        .keep_alive_interval(DEAD_PEER / 2)
        .keep_alive_timeout(DEAD_PEER / 2);
    builder
}

/// The connection is busy with a request until this is dropped; without a line, for good.
struct Busy(Option<Arc<Line>>);

impl Drop for Busy {
    fn drop(&mut self) {
        if let Some(line) = &self.0 {
            line.end();
        }
    }
}

/// A body that keeps its connection busy until it is written.
struct Timed {
    body: Body,
    _busy: Busy,
}

fn timed(response: Response<Body>, mut busy: Busy) -> Response<Timed> {
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        // What follows is no HTTP: the limits of a head must not come back.
        busy.0 = None;
    }
    response.map(|body| Timed { body, _busy: busy })
}

impl http_body::Body for Timed {
    type Data = <Body as http_body::Body>::Data;
    type Error = <Body as http_body::Body>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
