//! `tidewait worker`, the built binary, between an exchange and a server that the tests are themselves: so they see each byte.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Builder, ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::{Request, Response};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::agent::Agent;
use crate::server::{STEP, tidewait};

mod admin;
mod dial;
mod ends;
mod faults;
mod gates;
mod http1;
mod places;
mod redirect;
mod streams;

/// A port of the test: of an exchange that workers dial, or of a server.
pub(crate) struct Port {
    listener: TcpListener,
    pub(crate) address: SocketAddr,
}

/// An exchange's end of a connection of HTTP/2.
pub(crate) struct Hub {
    pub(crate) send: SendRequest<Bytes>,
    pub(crate) driver: JoinHandle<Result<(), h2::Error>>,
    /// The head of the worker's request for the upgrade.
    pub(crate) asked: String,
}

/// In time, or the test fails.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(STEP, future).await.unwrap_or_else(|_| panic!("not in time: {what}"))
}

/// Reads a head, and nothing after it.
pub(crate) async fn head<S: AsyncRead + Unpin>(stream: &mut S) -> String {
    let read = async {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.expect("a head"));
        }
        String::from_utf8(head).expect("text")
    };
    soon("a head", read).await
}

pub(crate) async fn write<S: AsyncWrite + Unpin>(stream: &mut S, text: &str) {
    soon("room", stream.write_all(text.as_bytes())).await.expect("the other side is there");
}

impl Port {
    pub(crate) async fn new() -> Self {
        Self::at("127.0.0.1:0").await
    }

    pub(crate) async fn at(address: &str) -> Self {
        let listener = TcpListener::bind(address).await.expect("a port");
        let address = listener.local_addr().expect("bound");
        Self { listener, address }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) async fn accept(&self) -> TcpStream {
        let (stream, _) = soon("a connection", self.listener.accept()).await.expect("accepted");
        stream.set_nodelay(true).expect("a socket");
        stream
    }

    /// Whether somebody comes within so long.
    pub(crate) async fn is_dialled_within(&self, time: Duration) -> bool {
        timeout(time, self.listener.accept()).await.is_ok()
    }

    /// A worker's connection once its upgrade was answered; `alpn` is what begins then.
    pub(crate) async fn upgraded(&self, alpn: &str) -> (TcpStream, String) {
        let mut stream = self.accept().await;
        let asked = upgrade(&mut stream, alpn).await;
        (stream, asked)
    }

    /// The same with HTTP/2 begun, and what the worker has said of itself known.
    pub(crate) async fn hub(&self) -> Hub {
        self.hub_of(Builder::new().initial_window_size(256 * 1024).initial_connection_window_size(8 * 256 * 1024)).await
    }

    pub(crate) async fn hub_of(&self, builder: &Builder) -> Hub {
        let (stream, asked) = self.upgraded("h2").await;
        let mut builder = builder.clone();
        builder.initial_max_send_streams(0);
        let (send, mut connection) = soon("HTTP/2", builder.handshake(stream)).await.expect("HTTP/2 begins");
        let mut pings = connection.ping_pong().expect("once");
        let driver = tokio::spawn(connection);
        // What comes back of a PING comes after the SETTINGS.
        soon("a PING", pings.ping(h2::Ping::opaque())).await.expect("it lives");
        Hub { send, driver, asked }
    }
}

impl Hub {
    /// Sends a request whose body goes on.
    pub(crate) async fn begin(&mut self, request: Request<()>) -> (ResponseFuture, SendStream<Bytes>) {
        self.send = soon("a slot", self.send.clone().ready()).await.expect("it takes requests");
        self.send.send_request(request, false).expect("a request")
    }

    pub(crate) async fn get(&mut self, path: &str) -> ResponseFuture {
        self.send = soon("a slot", self.send.clone().ready()).await.expect("it takes requests");
        self.send.send_request(to(path), true).expect("a request").0
    }
}

/// A GET for a path.
pub(crate) fn to(path: &str) -> Request<()> {
    Request::get(format!("http://app.example{path}")).body(()).expect("a request")
}

/// An answer to its end; an error: it was cut.
pub(crate) async fn whole(response: Response<RecvStream>) -> Result<String, h2::Error> {
    let mut body = response.into_body();
    let mut bytes = Vec::new();
    while let Some(data) = soon("data", body.data()).await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        bytes.extend_from_slice(&data);
    }
    Ok(String::from_utf8(bytes).expect("text"))
}

/// Answers a worker's upgrade, and gives its head.
pub(crate) async fn upgrade<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, alpn: &str) -> String {
    let asked = head(stream).await;
    let fields = format!("Connection: upgrade\r\nUpgrade: ptth\r\nALPN: {alpn}");
    write(stream, &format!("HTTP/1.1 101 Switching Protocols\r\n{fields}\r\n\r\n")).await;
    asked
}

/// A worker between the two.
pub(crate) fn worker(exchange: &Port, server: &Port, more: &[&str]) -> Agent {
    worker_at(&exchange.url(), &server.url(), more)
}

pub(crate) fn worker_at(exchange: &str, server: &str, more: &[&str]) -> Agent {
    let exchange = format!("{exchange}/exchange/work");
    let mut command = tidewait(&["worker", "--to", server, "--exchange", &exchange, "--agent-id", "w-1"]);
    command.args(["--log-format=json", "--log-level=debug,h2=info,hyper_util=info"]).args(more);
    Agent::spawn(command)
}

/// Lets the server be found, as a worker does before it offers anything.
pub(crate) async fn found(server: &Port) {
    drop(server.accept().await);
}
