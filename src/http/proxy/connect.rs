//! Connections to the app: made within a time, counted, and cut on demand.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
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

use super::body::Upload;
use super::metrics::{Held, Metrics};
use super::tasks::Tasks;
use crate::bounds;

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
}

/// A connection to the app.
pub(super) struct AppStream {
    tcp: TcpStream,
    handle: Handle,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    metrics: Metrics,
    _open: Held,
}

/// The client that keeps connections to the app.
pub(super) fn client(connect_timeout: Duration, metrics: Metrics, tasks: &Tasks) -> Client<Connector, Upload> {
    let mut http = HttpConnector::new();
    http.set_nodelay(true);
    // No TCP_USER_TIMEOUT: it would also end an upload that the app merely does not read.
    http.set_keepalive(Some(bounds::DEAD_PEER));
    Client::builder(tasks.apart())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(bounds::UPSTREAM_IDLE)
        .pool_max_idle_per_host(bounds::UPSTREAM_IDLE_CONNECTIONS)
        .http1_max_buf_size(bounds::UPSTREAM_BUFFER)
        // Names keep their case where the listener keeps it too.
        .http1_preserve_header_case(true)
        .build(Connector { http, limit: connect_timeout, metrics })
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
}

impl Service<Uri> for Connector {
    type Response = TokioIo<AppStream>;
    type Error = Box<dyn std::error::Error + Send + Sync>;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.http.poll_ready(cx).map_err(Into::into)
    }

    /// Finds the name's addresses and connects, all within the limit: the connector's own leaves
    /// the name out.
    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = self.http.call(uri);
        let (limit, metrics) = (self.limit, self.metrics.clone());
        Box::pin(async move {
            let tcp = tokio::time::timeout(limit, connecting)
                .await
                .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, format!("no connection within {limit:?}")))??;
            Ok(TokioIo::new(AppStream::new(tcp.into_inner(), metrics)))
        })
    }
}

impl AppStream {
    fn new(tcp: TcpStream, metrics: Metrics) -> Self {
        let handle = Handle::default();
        let cut = Box::pin(handle.cut.clone().cancelled_owned());
        Self { tcp, handle, cut, _open: metrics.connection(), metrics }
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
        self.metrics.received(buf.filled().len() - before);
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
