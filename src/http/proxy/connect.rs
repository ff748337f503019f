//! Connections to the app: made within a time, counted, and cut on demand.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use http::uri::{Authority, Scheme};
use http::{Extensions, Request, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{
    CaptureConnection, Connected, Connection, HttpConnector, capture_connection,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tower::Service;

use super::metrics::{InFlight, Metrics};
use super::tasks::Tasks;
use super::upload::Upload;
use crate::bounds;
use crate::config::Protocol;

/// Makes connections to the app.
#[derive(Debug, Clone)]
pub(super) struct Connector {
    http: HttpConnector,
    limit: Duration,
    metrics: Metrics,
}

/// What is known of a connection outside of hyper, which owns it.
#[derive(Debug, Clone, Default)]
pub(super) struct Handle {
    cut: CancellationToken,
    answered: Arc<AtomicBool>,
    /// What the app sent first: it may speak another protocol than it should.
    first: Arc<OnceLock<[u8; FIRST]>>,
}

/// Bytes that tell protocols apart: the head of a frame of HTTP/2 has nine, the last of which is zero at the start.
const FIRST: usize = 8;

/// A connection to the app.
pub(super) struct AppStream {
    tcp: TcpStream,
    handle: Handle,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    metrics: Metrics,
    _open: InFlight,
}

impl Connector {
    pub(super) fn new(limit: Duration, protocol: Protocol, metrics: Metrics) -> Self {
        let mut http = HttpConnector::new();
        http.set_nodelay(true);
        http.set_keepalive(Some(bounds::DEAD_PEER));
        // On HTTP/1.1 it would also end an upload that the app merely does not read; on HTTP/2
        // such an app still reads from the connection.
        if protocol == Protocol::Http2 {
            http.set_tcp_user_timeout(Some(bounds::DEAD_PEER));
        }
        Self { http, limit, metrics }
    }

    /// Finds the name's addresses and connects, all within the limit: the connector's own leaves
    /// the name out.
    pub(super) fn connect(&self, app: &Authority) -> BoxFuture<'static, io::Result<AppStream>> {
        let (mut http, limit, metrics) = (self.http.clone(), self.limit, self.metrics.clone());
        let uri = Uri::builder().scheme(Scheme::HTTP).authority(app.clone()).path_and_query("/").build();
        Box::pin(async move {
            let uri = uri.map_err(io::Error::other)?;
            let tcp = tokio::time::timeout(limit, http.call(uri))
                .await
                .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, format!("no connection within {limit:?}")))?
                .map_err(io::Error::other)?;
            Ok(AppStream::new(tcp.into_inner(), metrics))
        })
    }
}

/// The client that keeps connections to an app of HTTP/1.1.
pub(super) fn client(connector: Connector, tasks: Tasks) -> Client<Connector, Upload> {
    Client::builder(tasks)
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(bounds::UPSTREAM_IDLE)
        .pool_max_idle_per_host(bounds::UPSTREAM_IDLE_CONNECTIONS)
        .http1_max_buf_size(bounds::UPSTREAM_BUFFER)
        // Names keep their case where the listener keeps it too.
        .http1_preserve_header_case(true)
        .http1_max_headers(bounds::UPSTREAM_FIELDS)
        // RFC 9112, section 5.1: a proxy takes white space before the colon away; section 5.2: it
        // may replace a line break within a value by spaces.
        .http1_allow_spaces_after_header_name_in_responses(true)
        .http1_allow_obsolete_multiline_headers_in_responses(true)
        .build(connector)
}

/// The connection that a request is sent on. If it is dropped before an answer, so is the
/// connection: hyper does not notice that nobody waits while it is stuck in writing.
pub(super) struct Pending(Option<CaptureConnection>);

impl Pending {
    pub(super) fn new<B>(request: &mut Request<B>) -> Self {
        Self(Some(capture_connection(request)))
    }

    fn handle(&self) -> Option<Handle> {
        let mut extras = Extensions::new();
        if let Some(connected) = self.0.as_ref()?.connection_metadata().as_ref() {
            connected.get_extras(&mut extras);
        }
        extras.remove()
    }

    /// Whether the connection had carried another request before.
    pub(super) fn was_used(&self) -> bool {
        self.handle().is_some_and(|handle| handle.answered.load(Ordering::Relaxed))
    }

    /// Whether the app spoke HTTP/2 on the connection.
    pub(super) fn speaks_http2(&self) -> bool {
        self.handle().is_some_and(|handle| handle.speaks_http2())
    }

    /// An answer came: the connection stays.
    pub(super) fn answered(mut self) -> Option<Handle> {
        let handle = self.handle();
        if let Some(handle) = &handle {
            handle.answered.store(true, Ordering::Relaxed);
        }
        self.0 = None;
        handle
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let Some(handle) = self.handle() {
            handle.cut();
        }
    }
}

impl Handle {
    /// Ends the connection, whatever hyper is doing with it.
    pub(super) fn cut(&self) {
        self.cut.cancel();
    }

    /// Waits until it is cut.
    pub(super) async fn is_cut(&self) {
        self.cut.cancelled().await;
    }

    /// Whether the app began as a server of HTTP/1 does.
    pub(super) fn speaks_http1(&self) -> bool {
        self.first.get().is_some_and(|first| first.starts_with(b"HTTP/1."))
    }

    /// Whether the app began as a server of HTTP/2 does: with SETTINGS, or GOAWAY.
    fn speaks_http2(&self) -> bool {
        self.first.get().is_some_and(|first| matches!(first, [0, _, _, 4 | 7, 0, 0, 0, 0]))
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<AppStream>;
    type Error = Box<dyn std::error::Error + Send + Sync>;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.http.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = uri.authority().map(|app| self.connect(app));
        Box::pin(async move {
            let connecting = connecting.ok_or_else(|| io::Error::other("no authority"))?;
            Ok(TokioIo::new(connecting.await?))
        })
    }
}

impl AppStream {
    fn new(tcp: TcpStream, metrics: Metrics) -> Self {
        let handle = Handle::default();
        let cut = Box::pin(handle.cut.clone().cancelled_owned());
        Self { tcp, handle, cut, _open: metrics.connection(), metrics }
    }

    pub(super) fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// An error once the connection was cut.
    fn whole(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match self.cut.as_mut().poll(cx) {
            Poll::Ready(()) => Err(io::Error::new(io::ErrorKind::ConnectionAborted, "cut: nobody wants the rest")),
            Poll::Pending => Ok(()),
        }
    }

    fn count_sent(&self, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = &result {
            self.metrics.sent(*bytes);
        }
        result
    }
}

impl Connection for AppStream {
    fn connected(&self) -> Connected {
        Connected::new().extra(self.handle.clone())
    }
}

impl AsyncRead for AppStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.whole(cx)?;
        let before = buf.filled().len();
        let result = Pin::new(&mut self.tcp).poll_read(cx, buf);
        let received = &buf.filled()[before..];
        if !received.is_empty() {
            self.handle.first.get_or_init(|| {
                let mut first = [0; FIRST];
                first.iter_mut().zip(received).for_each(|(to, from)| *to = *from);
                first
            });
        }
        self.metrics.received(received.len());
        result
    }
}

impl AsyncWrite for AppStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.whole(cx)?;
        let result = Pin::new(&mut self.tcp).poll_write(cx, buf);
        self.count_sent(result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.whole(cx)?;
        let result = Pin::new(&mut self.tcp).poll_write_vectored(cx, bufs);
        self.count_sent(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}
