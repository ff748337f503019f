//! What happens when something goes wrong with consumers, workers and the server, made for real, on each way by which workers come.

mod answers; // workers that answer what is no good answer
mod bodies; // bodies of requests, on their way to workers
mod drain; // the server stops
mod input; // what is asked for is of no form, or somebody else's
mod leaving; // consumers that leave
mod lost; // workers that are lost
mod processes; // workers that are killed and stopped
mod queue; // bounds and order
mod slow; // answers that nobody reads

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Request, Response};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::{Dialled, configured};
use crate::server::{Client, STEP, Server};

const CLAIMS: &str = "/exchange/work/claims";
const REVERSE: &str = "/exchange/work/reverse";
pub(super) const QUEUED: &str = "tidewait_exchange_queued{exchange=\"work\"}";
const IN_FLIGHT: &str = "tidewait_exchange_in_flight{exchange=\"work\"}";
const FREE: &str = "tidewait_exchange_slots{exchange=\"work\",state=\"free\"}";
pub(super) const POLLS: &str = "tidewait_exchange_polls{exchange=\"work\"}";
const CANCELLED: &str = "tidewait_exchange_cancelled_total{by=\"consumer\",exchange=\"work\"}";

/// How a worker comes whose connection is turned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    Http1,
    Http2,
    Raw,
}

const LINKS: [Link; 3] = [Link::Http1, Link::Http2, Link::Raw];

/// A server with an exchange for `/work` and its raw port.
struct Rig {
    server: Server,
    raw: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Rig {
    async fn start() -> Self {
        Self::with("").await
    }

    /// With more settings of the exchange.
    async fn with(settings: &str) -> Self {
        let (folder, mut server) =
            configured(&format!("[{{path: /work, workers: {{raw: '127.0.0.1:0'}}{settings}}}]")).await;
        let line: serde_json::Value =
            serde_json::from_str(&server.logged("listening for workers").await).expect("JSON");
        let address = line["fields"]["address"].as_str().or(line["address"].as_str()).expect("an address");
        Self { raw: address.parse().expect("an address"), server, _folder: folder }
    }

    /// A worker with one slot. No other slot is free, or requests would go to one whose worker is gone.
    async fn dial(&self, link: Link) -> Worker {
        self.dial_slots(link, 1).await
    }

    async fn dial_slots(&self, link: Link, slots: u32) -> Worker {
        self.server.metric_becomes(FREE, 0.0).await;
        match link {
            Link::Http1 => Worker::Text(Dialled::to(self.server.listen, REVERSE).await),
            Link::Raw => {
                let stream = TcpStream::connect(self.raw).await.expect("it listens");
                Worker::Text(Dialled { stream, seen: Vec::new() })
            }
            Link::Http2 => Worker::Streams(Streams::dial(self.server.listen, slots).await),
        }
    }

    /// So many are queued and so many are in flight.
    async fn becomes(&self, queued: f64, in_flight: f64) {
        self.server.metric_becomes(QUEUED, queued).await;
        self.server.metric_becomes(IN_FLIGHT, in_flight).await;
    }
}

/// A worker that has dialled in.
enum Worker {
    Text(Dialled),
    Streams(Streams),
}

/// A worker over HTTP/2: its streams as they come.
struct Streams {
    coming: mpsc::Receiver<Stream>,
    open: Vec<Stream>,
    task: AbortHandle,
}

type Stream = (Request<h2::RecvStream>, h2::server::SendResponse<Bytes>);

impl Drop for Streams {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Begins to post to a claim, which the server has by the time that it asks for the body: while it is posted, another post is
/// one too many.
async fn begin_post(server: SocketAddr, target: &str, fields: &[(&str, &str)], part: &str) -> Client {
    let mut post = Client::connect(server).await;
    post.send("POST", target, &[fields, &[("Expect", "100-continue")]].concat()).await;
    let mut asked = [0; 25];
    post.stream.read_exact(&mut asked).await.expect("read");
    assert_eq!(&asked, b"HTTP/1.1 100 Continue\r\n\r\n");
    post.stream.get_mut().write_all(part.as_bytes()).await.expect("sent");
    post
}

/// Turns a connection to HTTP/2; nothing of that is sent yet.
async fn turned(server: SocketAddr, slots: u32) -> TcpStream {
    let mut stream = TcpStream::connect(server).await.expect("it listens");
    let head = format!(
        "GET {REVERSE} HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: ptth\r\nALPN: h2\r\nExchange-Slots: {slots}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.expect("sent");
    let mut seen = Vec::new();
    // Byte by byte: what follows is HTTP/2.
    while !seen.ends_with(b"\r\n\r\n") {
        seen.push(stream.read_u8().await.expect("an answer"));
    }
    assert!(seen.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&seen));
    stream
}

impl Streams {
    async fn dial(server: SocketAddr, slots: u32) -> Self {
        let stream = turned(server, slots).await;
        let mut connection = h2::server::handshake(stream).await.expect("HTTP/2");
        let (sender, coming) = mpsc::channel(64);
        let task = tokio::spawn(async move {
            while let Some(Ok(stream)) = connection.accept().await {
                if sender.send(stream).await.is_err() {
                    return;
                }
            }
        });
        Self { coming, open: Vec::new(), task: task.abort_handle() }
    }

    /// The next request; none: the connection has ended.
    async fn next(&mut self) -> Option<Stream> {
        tokio::time::timeout(STEP, self.coming.recv()).await.expect("in time")
    }
}

impl Worker {
    /// The head of the next request, as text with names in lower case.
    async fn head(&mut self) -> String {
        match self {
            Self::Text(dialled) => dialled.head().await.expect("a request").to_ascii_lowercase(),
            Self::Streams(streams) => {
                let stream = streams.next().await.expect("a request");
                let mut text = format!("{} {}\r\n", stream.0.method(), stream.0.uri().path());
                for (name, value) in stream.0.headers() {
                    text += &format!("{name}: {}\r\n", String::from_utf8_lossy(value.as_bytes()));
                }
                streams.open.push(stream);
                text.to_ascii_lowercase()
            }
        }
    }

    /// Answers the oldest request that is open.
    async fn answer(&mut self, status: u16, body: &str) {
        match self {
            Self::Text(dialled) => {
                let length = body.len();
                dialled.write(&format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n\r\n{body}")).await;
            }
            Self::Streams(streams) => {
                let (_request, mut respond) = streams.open.remove(0);
                let head = Response::builder().status(status).body(()).expect("a head");
                let mut stream = respond.send_response(head, body.is_empty()).expect("open");
                if !body.is_empty() {
                    stream.send_data(Bytes::copy_from_slice(body.as_bytes()), true).expect("open");
                }
            }
        }
    }

    /// Begins an answer to the oldest request that is open, whose end is to be sent.
    async fn begin(&mut self, part: &str) -> Option<h2::SendStream<Bytes>> {
        match self {
            Self::Text(dialled) => {
                let length = part.len();
                dialled
                    .write(&format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{length:x}\r\n{part}\r\n"))
                    .await;
                None
            }
            Self::Streams(streams) => {
                let (_request, mut respond) = streams.open.remove(0);
                let mut stream = respond.send_response(Response::new(()), false).expect("open");
                stream.send_data(Bytes::copy_from_slice(part.as_bytes()), false).expect("open");
                Some(stream)
            }
        }
    }

    /// Its connection is reset.
    fn reset(self) {
        match self {
            Self::Text(dialled) => resets(&dialled.stream),
            // What was received and not read makes the kernel reset it; else it is a FIN. HTTP/2 sees no difference.
            Self::Streams(streams) => drop(streams),
        }
    }

    /// Waits until it is told that its work is of no use: its connection ends, or its stream is reset.
    async fn is_cancelled(&mut self) {
        match self {
            Self::Text(dialled) => assert!(dialled.head().await.is_none(), "a further request"),
            Self::Streams(streams) => {
                let (_request, mut respond) = streams.open.remove(0);
                let reset = std::future::poll_fn(|cx| respond.poll_reset(cx));
                let reason = tokio::time::timeout(STEP, reset).await.expect("in time").expect("a reset");
                assert_eq!(reason, h2::Reason::CANCEL);
            }
        }
    }
}

/// A worker over HTTP/2, frame by frame (RFC 9113, section 4.1).
struct Frames(TcpStream);

impl Frames {
    /// Its SETTINGS name no number of streams.
    async fn dial(server: SocketAddr) -> Self {
        let mut frames = Self(turned(server, 1).await);
        frames.write(4, 0, 0, &[]).await;
        let mut preface = [0; 24];
        frames.0.read_exact(&mut preface).await.expect("the preface");
        frames
    }

    async fn write(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
        let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
        self.0.write_all(&[&head, payload].concat()).await.expect("sent");
    }

    /// The next frame that is neither SETTINGS nor PING, which it answers: its kind and its stream; none: the connection ends.
    async fn next(&mut self) -> Option<(u8, u32)> {
        loop {
            let mut head = [0; 9];
            tokio::time::timeout(STEP, self.0.read_exact(&mut head)).await.expect("in time").ok()?;
            let [a, b, c, kind, flags, stream @ ..] = head;
            let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
            self.0.read_exact(&mut payload).await.ok()?;
            match (kind, flags & 1) {
                (4, 0) => self.write(4, 1, 0, &[]).await,
                (6, 0) => self.write(6, 1, 0, &payload).await,
                (4 | 6 | 8, _) => {}
                _ => return Some((kind, u32::from_be_bytes(stream))),
            }
        }
    }

    /// The stream of the next request.
    async fn request(&mut self) -> u32 {
        loop {
            let (kind, stream) = self.next().await.expect("a request");
            if kind == 1 {
                return stream;
            }
        }
    }

    /// Ends a stream by `RST_STREAM`.
    async fn reset(&mut self, stream: u32, code: h2::Reason) {
        self.write(3, 0, stream, &u32::from(code).to_be_bytes()).await;
    }
}

/// The connection ends by RST once it is dropped.
fn resets(stream: &TcpStream) {
    let linger = Some(std::time::Duration::ZERO);
    socket2::SockRef::from(stream).set_linger(linger).expect("set");
}
