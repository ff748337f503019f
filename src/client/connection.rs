//! A connection of HTTP/1.1, in the clear or over TLS, and one request on it after the other. Dropping it ends it.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::credentials::{self, Trust, chain};
use super::failure::{Failure, FailureKind};
use super::settings::Endpoint;
use crate::bounds::{CLIENT_CONNECT, CLIENT_HEAD_BYTES};
use crate::sockets;

/// A connection that stands.
#[derive(Debug)]
pub(super) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    /// Moves its bytes; ends with it.
    io: JoinSet<Result<(), hyper::Error>>,
}

impl Connection {
    /// Connects to an address of an endpoint.
    pub(super) async fn open(endpoint: &Endpoint, address: SocketAddr, trust: &mut Trust) -> Result<Self, Failure> {
        Self::over(stream(endpoint, address, trust).await?).await
    }

    /// One on a stream that stands.
    pub(super) async fn over<S>(stream: S) -> Result<Self, Failure>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut builder = http1::Builder::new();
        builder.max_buf_size(CLIENT_HEAD_BYTES);
        let opened = builder.handshake(TokioIo::new(stream)).await;
        let (sender, connection) = opened.map_err(|error| unreachable(&chain(&error)))?;
        let mut io = JoinSet::new();
        io.spawn(connection.with_upgrades());
        Ok(Self { sender, io })
    }

    /// Whether the other side has not ended it meanwhile.
    pub(super) async fn is_usable(&mut self) -> bool {
        self.sender.ready().await.is_ok()
    }

    /// Sends a request, and gives the head of its answer.
    pub(super) async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Failure> {
        self.ask(request).await.map_err(|unanswered| match unanswered.why {
            Why::Malformed => {
                let text = format!("the answer is no HTTP/1.1 ({}): name the port of a server", unanswered.text);
                Failure::untrue(&text)
            }
            Why::Ended(remedy) => {
                let remedy = remedy.unwrap_or("asked again");
                let text = format!("the connection ended before an answer ({}): {remedy}", unanswered.text);
                Failure::new(FailureKind::Lost, &text)
            }
        })
    }

    /// The same; an error says what of the request the server may have.
    pub(super) async fn ask(&mut self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Unanswered> {
        let mut failed = match self.sender.try_send_request(request).await {
            Ok(response) => return Ok(response),
            Err(failed) => failed,
        };
        let is_unsent = failed.take_message().is_some();
        let error = failed.into_error();
        if error.is_parse() {
            return Err(Unanswered { is_unsent, why: Why::Malformed, text: chain(&error) });
        }
        // It had ended before the request, by an alert of TLS perhaps: why is told where its bytes were moved.
        let ended = if error.is_canceled() { self.io.join_next().await } else { None };
        let error = match ended {
            Some(Ok(Err(before))) => before,
            Some(Ok(Ok(())) | Err(_)) | None => error,
        };
        Err(Unanswered { is_unsent, why: Why::Ended(credentials::remedy(&error)), text: chain(&error) })
    }
}

/// A request without an answer.
#[derive(Debug)]
pub(super) struct Unanswered {
    /// Nothing of the request was written.
    pub(super) is_unsent: bool,
    pub(super) why: Why,
    /// The causes.
    pub(super) text: String,
}

/// What came instead of an answer.
#[derive(Debug, Clone, Copy)]
pub(super) enum Why {
    /// The connection ended; with a remedy where the other side has said why.
    Ended(Option<&'static str>),
    /// What is no head of HTTP/1.1, or one over the bound.
    Malformed,
}

/// Bytes both ways, in the clear or over TLS.
pub(crate) type Stream = Box<dyn Bytestream>;

/// What a [`Stream`] can do.
pub(crate) trait Bytestream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Bytestream for S {}

/// Connects to an address of an endpoint, and shakes hands where it speaks TLS.
pub(super) async fn stream(endpoint: &Endpoint, address: SocketAddr, trust: &mut Trust) -> Result<Stream, Failure> {
    let Ok(connected) = timeout(CLIENT_CONNECT, connect(endpoint, address, trust)).await else {
        let text =
            format!("no connection came about within {CLIENT_CONNECT:?}: see that it runs, and what stands in between");
        return Err(unreachable(&text));
    };
    connected
}

async fn connect(endpoint: &Endpoint, address: SocketAddr, trust: &mut Trust) -> Result<Stream, Failure> {
    let config = match &endpoint.tls {
        Some(name) => Some((trust.config().await?, name.clone())),
        None => None,
    };
    let connecting = TcpStream::connect(address).await;
    let stream = connecting.map_err(|error| unreachable(&format!("{error}: see that it listens there")))?;
    sockets::tune(&stream).map_err(|error| unreachable(&format!("the socket cannot be set up ({error})")))?;
    let Some((config, name)) = config else { return Ok(Box::new(stream)) };
    let handshake = TlsConnector::from(Arc::clone(&config)).connect(name, stream).await;
    let stream = handshake.map_err(|error| {
        let remedy = "see that the certificate names this host, that its authority is trusted (ca), and that this port speaks TLS";
        let remedy = credentials::remedy(&error).unwrap_or(remedy);
        unreachable(&format!("the TLS handshake failed ({}): {remedy}", chain(&error)))
    })?;
    Ok(Box::new(stream))
}

/// The addresses of the host of an endpoint, at least one.
pub(super) async fn addresses(endpoint: &Endpoint) -> Result<Vec<SocketAddr>, Failure> {
    let Endpoint { host, port, .. } = endpoint;
    let failed = |why: &str| {
        unreachable(&format!("the name {host} is not known ({why}): see that it is right, and the resolver"))
    };
    let Ok(found) = timeout(CLIENT_CONNECT, lookup_host((&**host, *port))).await else {
        return Err(failed("no answer"));
    };
    let found: Vec<_> = found.map_err(|error| failed(&error.to_string()))?.collect();
    if found.is_empty() { Err(failed("it has no address")) } else { Ok(found) }
}

pub(super) fn unreachable(text: &str) -> Failure {
    Failure::new(FailureKind::Unreachable, text)
}
