//! Connections: accept them, bound them, notice dead peers, and close them in order.
//!
//! HTTP/1.1 and cleartext HTTP/2 (with prior knowledge, RFC 9113, section 3.3) share the port.

use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response, StatusCode};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use socket2::{SockFilter, SockRef};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{Duration, Instant};
use tokio_util::task::TaskTracker;

use super::Front;
use super::connection::{Answering, ConnectionState};
use super::response::Body;
use super::stream::ClientStream;
use crate::access::{Connection, Scheme};
use crate::bounds::{
    CLOSING_HANDSHAKES, CLOSING_IDLE, DEAD_PEER, HEAD_BYTES, HEAD_FIELDS, HTTP2_STREAMS, IDLE_CONNECTION, LINGER,
    REFUSED_CONNECTIONS,
};
use crate::describe::problem::{self, Kind};
use crate::describe::{Problem, answer};
use crate::lifecycle::stop;
use crate::sockets;

/// After a failed accept (out of descriptors, mostly): long enough not to spin, short enough to
/// be back when one is free.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// After how long one connection too many may try again, before jitter.
const REFUSED_RETRY: u32 = 2;

/// Where connections come from, and what they share.
struct Port {
    front: Arc<Front>,
    stop: stop::Watch,
    limit: usize,
    places: Arc<Semaphore>,
    /// Of connections that are refused with an answer.
    refusals: Arc<Semaphore>,
    connections: TaskTracker,
}

/// Accepts connections until the process closes them, at most `limit` at once.
pub async fn accept(
    listener: TcpListener,
    limit: usize,
    front: Arc<Front>,
    stop: stop::Watch,
    connections: TaskTracker,
) {
    // Who waits for the connections waits for those that are still to be accepted too.
    let _open = connections.token();
    let limit = limit.min(Semaphore::MAX_PERMITS);
    let port = Port {
        front,
        stop,
        limit,
        places: Arc::new(Semaphore::new(limit)),
        refusals: Arc::new(Semaphore::new(REFUSED_CONNECTIONS)),
        connections,
    };
    let mut closing = port.stop.clone();
    let mut closing = pin!(closing.closing());
    loop {
        tokio::select! {
            () = &mut closing => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => port.take(stream, peer),
                Err(error) => {
                    port.front.metrics.accept_errors.inc();
                    tracing::warn!(%error, "could not accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    refuse_handshakes(&listener);
    let under_way = async {
        while let Ok((stream, peer)) = listener.accept().await {
            port.take(stream, peer);
        }
    };
    // The time for them, or an error, after which the kernel is asked as well.
    let _ = tokio::time::timeout(CLOSING_HANDSHAKES, under_way).await;
    take_the_rest(listener, &port);
}

/// Lets the kernel begin no more handshakes at this port. Those under way go on: their clients may be connected already.
fn refuse_handshakes(listener: &TcpListener) {
    // BPF, from the first byte of the TCP header (RFC 9293, section 3.1): a packet with the flag SYN is dropped.
    const NO_SYN: [SockFilter; 4] = [
        SockFilter::new(0x30, 0, 0, 13),       // load the byte of the flags
        SockFilter::new(0x45, 0, 1, 0x02),     // SYN: go on; else skip one
        SockFilter::new(0x06, 0, 0, 0),        // drop
        SockFilter::new(0x06, 0, 0, u32::MAX), // keep
    ];
    if let Err(error) = SockRef::from(listener).attach_filter(&NO_SYN) {
        tracing::debug!(%error, "the port is closed while connections may still come");
    }
}

/// Accepts the connections that the kernel has completed, since to close the port resets them.
fn take_the_rest(listener: TcpListener, port: &Port) {
    // Read from the kernel: tokio knows only the connections that it was notified of.
    let Ok(listener) = listener.into_std() else { return };
    while let Ok((stream, peer)) = listener.accept() {
        match stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream)) {
            Ok(stream) => port.take(stream, peer),
            Err(error) => tracing::debug!(%error, %peer, "could not take a connection"),
        }
    }
}

impl Port {
    /// Serves a connection, where there is a place for it.
    fn take(&self, stream: TcpStream, peer: SocketAddr) {
        let metrics = &self.front.metrics;
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            metrics.refused_connections.inc();
            self.refuse(stream);
            return;
        };
        if let Err(error) = sockets::tune(&stream) {
            // The peer is gone already.
            tracing::debug!(%error, %peer, "could not tune a connection");
            return;
        }
        let (front, stop) = (Arc::clone(&self.front), self.stop.clone());
        self.connections.spawn(async move {
            front.metrics.connections.inc();
            let gauge = front.metrics.connections.clone();
            if let Err(error) = serve(stream, peer, front, stop).await {
                tracing::debug!(%error, %peer, "connection ended");
            }
            gauge.dec();
            drop(place);
        });
    }

    /// Answers one connection too many, whatever its request.
    fn refuse(&self, mut stream: TcpStream) {
        // Best effort: what does not fit into an empty send buffer is not worth waiting for.
        let _ = stream.try_write(&refusal(self.limit, fastrand::f64()));
        let Ok(place) = Arc::clone(&self.refusals).try_acquire_owned() else { return };
        self.connections.spawn(async move {
            let heard = async {
                stream.shutdown().await?;
                tokio::io::copy(&mut stream, &mut tokio::io::sink()).await
            };
            // Its own end, or the time for it: either way it is closed.
            let _ = tokio::time::timeout(LINGER, heard).await;
            drop(place);
        });
    }
}

/// The answer to one connection too many. It is HTTP/1.1: the version of the client is not known yet.
fn refusal(limit: usize, chance: f64) -> Vec<u8> {
    let detail = format!("{limit} connections are open (--max-connections): try again, or another endpoint");
    let problem = Problem::retry(Kind::TooManyConnections, REFUSED_RETRY, detail);
    let (status, json) = (problem.kind.status(), problem.to_json());
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {}\r\nContent-Length: {}\r\nCache-Control: no-store\r\n\
         Retry-After: {}\r\nConnection: close\r\n\r\n",
        problem::MEDIA_TYPE,
        json.len(),
        answer::retry_after(REFUSED_RETRY, chance),
    );
    [head.into_bytes(), json].concat()
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
    let ends = Ends(Arc::new(ConnectionState::new(Connection::new(peer, Scheme::Http))));
    let connection = Arc::clone(&ends.0);
    let mut stream = ClientStream::new(stream, Arc::clone(&connection));
    let http2 = tokio::select! {
        biased;
        http2 = stream.is_http2() => Some(http2?),
        () = told_to_close(&mut stop, &connection) => None,
    };
    let Some(http2) = http2 else {
        return Ok(stream.shutdown().await?);
    };
    let served = Arc::clone(&connection);
    let service = service_fn(move |request: Request<Incoming>| {
        let (front, connection) = (Arc::clone(&front), Arc::clone(&served));
        // Here and not in the future: the stream must know before it is read further.
        let (answering, refused) = connection.begin();
        async move {
            let mut response = front.handle(request, &connection, refused).await;
            match response.extensions_mut().remove::<Reset>() {
                Some(Reset(reason)) => Err(h2::Error::from(reason)),
                None => Ok(timed(response, answering)),
            }
        }
    });
    let stream = TokioIo::new(stream);
    let ended = if http2 {
        // Boxed, so that the many of HTTP/1.1 have no room for it.
        let served = Box::pin(http2_builder().serve_connection(stream, service));
        let over = async {
            tokio::select! {
                () = stop.closing() => {}
                () = connection.idle_for(IDLE_CONNECTION) => {}
            }
        };
        finish(served, over, |served| served.get_mut().as_mut().graceful_shutdown()).await
    } else {
        let served = http1_builder().serve_connection(stream, service).with_upgrades();
        let over = told_to_close(&mut stop, &connection);
        finish(served, over, http1::UpgradeableConnection::graceful_shutdown).await
    };
    Ok(ended?)
}

/// Waits until a connection of HTTP/1.1 is to be closed, once the process closes.
async fn told_to_close(stop: &mut stop::Watch, connection: &ConnectionState) {
    stop.closing().await;
    connection.may_close(CLOSING_IDLE).await;
}

/// Records the end of a connection for the agents that polled on it, however it ends.
struct Ends(Arc<ConnectionState>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.client.end(Instant::now().into_std());
    }
}

/// Drives a connection to its end, which `wind_down` brings on once it is `over`.
async fn finish<C>(
    connection: C,
    over: impl Future<Output = ()>,
    wind_down: impl FnOnce(Pin<&mut C>),
) -> hyper::Result<()>
where
    C: Future<Output = hyper::Result<()>>,
{
    let mut connection = pin!(connection);
    tokio::select! {
        // What has come is read before the end is looked at.
        biased;
        ended = connection.as_mut() => return ended,
        () = over => wind_down(connection.as_mut()),
    }
    connection.await
}

/// HTTP/1.1.
fn http1_builder() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        // How long a head may take is for `ClientStream` to say.
        .header_read_timeout(None)
        .max_buf_size(HEAD_BYTES)
        // The app and its clients see the spelling that the other chose.
        .preserve_header_case(true)
        .max_headers(HEAD_FIELDS);
    builder
}

/// HTTP/2.
fn http2_builder() -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(HTTP2_STREAMS)
        .max_header_list_size(u32::try_from(HEAD_BYTES).unwrap_or(u32::MAX))
        .keep_alive_interval(DEAD_PEER / 2)
        .keep_alive_timeout(DEAD_PEER / 2);
    builder
}

/// A body whose request is being answered until it is written.
struct Timed {
    body: Body,
    _answering: Answering,
}

fn timed(response: Response<Body>, mut answering: Answering) -> Response<Timed> {
    answering.answered();
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        answering.becomes_tunnel();
    }
    response.map(|body| Timed { body, _answering: answering })
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
