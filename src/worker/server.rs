//! The server that answers the requests, over HTTP/1.1, and whether it can be reached at all.

use std::error::Error;
use std::sync::Arc;

use bytes::Bytes;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, Request, Response, StatusCode, Uri, Version};
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::fields;
use super::metrics::Metrics;
use super::pause::Pause;
use crate::bounds::{UPSTREAM_FIELDS, WORKER_CONNECT, WORKER_HEAD_BYTES, WORKER_KEEP_ALIVE, WORKER_SERVER};
use crate::sockets;
use crate::telemetry::chain;

/// The body of a request.
pub(super) type Upload = UnsyncBoxBody<Bytes, Box<dyn Error + Send + Sync>>;

/// The server.
#[derive(Debug)]
pub(super) struct Server {
    client: Client<HttpConnector, Upload>,
    authority: Authority,
    up: watch::Sender<bool>,
    metrics: Arc<Metrics>,
}

/// Why there is no head of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failed {
    /// No connection came about: the server has no byte of the request.
    Unreachable,
    /// The connection ended before the answer.
    Broken,
    /// What came is no answer.
    Malformed,
}

impl Server {
    /// The server at an address, which counts as away until it is looked for.
    pub(super) fn new(authority: Authority, metrics: Arc<Metrics>) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(WORKER_CONNECT));
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(WORKER_KEEP_ALIVE)
            .http1_max_buf_size(WORKER_HEAD_BYTES)
            .http1_max_headers(UPSTREAM_FIELDS)
            // As towards the app (RFC 9112, sections 5.1 and 5.2).
            .http1_allow_spaces_after_header_name_in_responses(true)
            .http1_allow_obsolete_multiline_headers_in_responses(true)
            .build(connector);
        Self { client, authority, up: watch::Sender::new(false), metrics }
    }

    /// Sends a request, whose fields are those for the server, and gives the head of its answer with the fields for the exchange.
    /// Dropping the future, or the answer before its end, ends the connection.
    pub(super) async fn send(&self, mut request: Request<Upload>) -> Result<Response<Incoming>, Failed> {
        if *request.method() == Method::CONNECT {
            tracing::warn!("a tunnel is asked for, which no exchange hands out");
            return Err(Failed::Malformed);
        }
        let target = request.uri().path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        let parts = Uri::builder().scheme(Scheme::HTTP).authority(self.authority.clone()).path_and_query(target);
        *request.uri_mut() = parts.build().map_err(|_| Failed::Malformed)?;
        *request.version_mut() = Version::HTTP_11;
        let mut response = self.client.request(request).await.map_err(|error| self.failed(&error))?;
        let is_plain = fields::to_exchange(response.headers_mut());
        if !is_plain || response.status() == StatusCode::SWITCHING_PROTOCOLS {
            tracing::warn!(
                status = response.status().as_u16(),
                "the server's answer cannot be passed on: a transfer coding or a protocol that nobody asked for"
            );
            return Err(Failed::Malformed);
        }
        Ok(response)
    }

    fn failed(&self, error: &hyper_util::client::legacy::Error) -> Failed {
        if error.is_connect() {
            if self.up.send_replace(false) {
                tracing::warn!(to = %self.authority, error = chain(error), "the server cannot be reached: no slots are offered until it can");
                self.metrics.server(false);
            }
            return Failed::Unreachable;
        }
        let cause = error.source().and_then(|cause| cause.downcast_ref::<hyper::Error>());
        if cause.is_some_and(hyper::Error::is_parse) {
            tracing::warn!(to = %self.authority, error = chain(error), "what the server sent is no answer");
            return Failed::Malformed;
        }
        tracing::debug!(to = %self.authority, error = chain(error), "the server gave no answer");
        Failed::Broken
    }

    /// Whether it can be reached.
    pub(super) fn up(&self) -> watch::Receiver<bool> {
        self.up.subscribe()
    }

    /// Looks for it while it is away, for ever.
    pub(super) async fn look(&self) {
        let mut up = self.up();
        let mut is_told = false;
        loop {
            if up.wait_for(|up| !*up).await.is_err() {
                return;
            }
            let mut pause = Pause::new(WORKER_SERVER);
            while let Err(error) = self.connect().await {
                if !std::mem::replace(&mut is_told, true) {
                    tracing::warn!(to = %self.authority, %error, "the server is not there yet: no slots are offered until it is");
                }
                sleep(pause.next()).await;
            }
            is_told = true;
            self.metrics.server(true);
            self.up.send_replace(true);
            tracing::info!(to = %self.authority, "the server can be reached");
        }
    }

    async fn connect(&self) -> std::io::Result<()> {
        let host = self.authority.host().trim_start_matches('[').trim_end_matches(']');
        let connecting = TcpStream::connect((host, self.authority.port_u16().unwrap_or(80)));
        let stream =
            timeout(WORKER_CONNECT, connecting).await.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))?;
        sockets::tune(&stream)
    }
}
