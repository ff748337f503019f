//! Connections to the app: made within a time, and counted.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use http::Uri;
use http::uri::{Authority, Scheme};
use hyper_util::client::legacy::connect::HttpConnector;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tower::Service;

use super::metrics::{InFlight, Metrics};
use crate::bounds;
use crate::config::Protocol;

/// Makes connections to the app.
#[derive(Debug, Clone)]
pub(super) struct Connector {
    http: HttpConnector,
    limit: Duration,
    metrics: Metrics,
}

/// Ends a connection, or a stream of HTTP/2, from outside of the task that drives it.
#[derive(Debug, Clone, Default)]
pub(super) struct Cut(CancellationToken);

/// What the app sent first on a connection: it may speak another protocol than it should.
#[derive(Debug, Clone, Default)]
pub(super) struct First(Arc<OnceLock<[u8; FIRST]>>);

/// Bytes that tell protocols apart: the head of a frame of HTTP/2 has nine, the last of which is zero at the start.
const FIRST: usize = 8;

/// A connection to the app.
pub(super) struct AppStream {
    tcp: TcpStream,
    first: First,
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

impl Cut {
    /// Ends it.
    pub(super) fn cut(&self) {
        self.0.cancel();
    }

    /// Waits until it is cut.
    pub(super) async fn is_cut(&self) {
        self.0.cancelled().await;
    }
}

impl First {
    /// Whether the app began as a server of HTTP/1 does.
    pub(super) fn speaks_http1(&self) -> bool {
        self.0.get().is_some_and(|first| first.starts_with(b"HTTP/1."))
    }

    /// Whether the app began as a server of HTTP/2 does: with SETTINGS, or GOAWAY.
    pub(super) fn speaks_http2(&self) -> bool {
        self.0.get().is_some_and(|first| matches!(first, [0, _, _, 4 | 7, 0, 0, 0, 0]))
    }

    fn received(&self, bytes: &[u8]) {
        self.0.get_or_init(|| {
            let mut first = [0; FIRST];
            first.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
            first
        });
    }
}

impl AppStream {
    fn new(tcp: TcpStream, metrics: Metrics) -> Self {
        Self { tcp, first: First::default(), _open: metrics.connection(), metrics }
    }

    pub(super) fn first(&self) -> First {
        self.first.clone()
    }

    fn count_sent(&self, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = &result {
            self.metrics.sent(*bytes);
        }
        result
    }
}

impl AsyncRead for AppStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = Pin::new(&mut self.tcp).poll_read(cx, buf);
        let received = &buf.filled()[before..];
        if !received.is_empty() {
            self.first.received(received);
        }
        self.metrics.received(received.len());
        result
    }
}

impl AsyncWrite for AppStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.tcp).poll_write(cx, buf);
        self.count_sent(result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // A head alone, mostly, for which the kernel has a shorter way.
        let result = match bufs {
            [one] => Pin::new(&mut self.tcp).poll_write(cx, one),
            all => Pin::new(&mut self.tcp).poll_write_vectored(cx, all),
        };
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
