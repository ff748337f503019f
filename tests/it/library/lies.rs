//! Servers that answer what cannot be true. Whatever they send, no state is given, memory is bounded, and the client says
//! what is wrong and what to do.

use std::io::Write as _;

use tidewait::client::{FailureKind, Settings};
use tidewait::model::{Content, Document, Epoch, Snapshot};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::{Follower, settings};
use crate::model_file::ModelFile;
use crate::process::serve;

/// A server that sends the same bytes on each connection, and then keeps it, or ends it, or goes on for ever.
struct Liar {
    url: String,
    _tasks: JoinSet<()>,
}

#[derive(Clone, Copy, PartialEq)]
enum Then {
    Waits,
    Ends,
    /// It repeats this.
    Repeats(&'static [u8]),
}

impl Liar {
    async fn start(bytes: Vec<u8>, then: Then) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.expect("it listens");
                connections.spawn(lie(stream, bytes.clone(), then));
            }
        });
        Self { url, _tasks: tasks }
    }
}

async fn lie(mut stream: TcpStream, bytes: Vec<u8>, then: Then) {
    let mut request = [0; 4096];
    if stream.read(&mut request).await.unwrap_or(0) == 0 || stream.write_all(&bytes).await.is_err() {
        return;
    }
    match then {
        Then::Ends => {}
        Then::Waits => std::future::pending().await,
        Then::Repeats(more) => while stream.write_all(more).await.is_ok() {},
    }
}

/// The model that a liar claims to have.
fn snapshot() -> Snapshot {
    let document = Document::from_json(br#"{"n":1}"#).expect("JSON");
    Snapshot::of(Epoch::of(&["liar"]), 1, &Content::Json(document))
}

/// A head of a good answer but for these lines.
fn head(lines: &[&str]) -> Vec<u8> {
    let snapshot = snapshot();
    let digest = String::from_utf8(snapshot.body().sha256.to_vec()).expect("ASCII");
    let mut text =
        format!("HTTP/1.1 200 OK\r\nState-Id: {}\r\nState-Age: 0\r\nState-Digest: {digest}\r\n", snapshot.id);
    for line in lines {
        text += &format!("{line}\r\n");
    }
    (text + "\r\n").into_bytes()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

const JSON: &str = "Content-Type: application/json";

/// What a server sends, what it does then, and what the client makes of it.
type Lie = (Vec<u8>, Then, FailureKind, &'static str);

fn answer(lines: &[&str], body: &[u8]) -> Vec<u8> {
    [&head(lines)[..], body].concat()
}

/// In the body.
fn bodies() -> Vec<Lie> {
    use FailureKind::{Lost, Untrue};
    use Then::{Ends, Repeats, Waits};
    let bomb = gzip(&vec![b' '; 20 * 1024 * 1024]);
    let length = format!("Content-Length: {}", bomb.len());
    let other = answer(&[JSON, "Content-Length: 7"], br#"{"n":2}"#);
    vec![
        (other, Waits, Untrue, "the 7 bytes of the body have the digest sha-256="),
        (answer(&[JSON, "Content-Length: 5"], br#"{"n":1}"#), Waits, Untrue, "the 5 bytes of the body have the digest"),
        (answer(&[JSON, "Content-Length: 9"], br#"{"n":1}"#), Ends, Lost, "broke off after 7 bytes of its body"),
        (
            answer(&[JSON, "Content-Length: 99999999"], b""),
            Waits,
            Untrue,
            "the body is over the limit of 1048576 bytes (Content-Length is 99999999)",
        ),
        (
            answer(&[JSON, "Transfer-Encoding: chunked"], b""),
            Repeats(b"5\r\n     \r\n"),
            Untrue,
            "over the limit of 1048576 bytes (it goes on): raise the limit (max_bytes)",
        ),
        (answer(&[JSON], b""), Repeats(b"          "), Untrue, "over the limit of 1048576 bytes (it goes on)"),
        (answer(&[JSON, "Content-Encoding: gzip", &length], &bomb), Waits, Untrue, "bytes of gzip become more)"),
        (
            answer(&[JSON, "Content-Encoding: gzip", "Content-Length: 7"], br#"{"n":1}"#),
            Waits,
            Untrue,
            "the body is not gzip, as Content-Encoding says",
        ),
        (
            answer(&[JSON, "Content-Encoding: zstd", "Content-Length: 7"], br#"{"n":1}"#),
            Waits,
            Untrue,
            "the body is not zstd, as Content-Encoding says",
        ),
        (
            answer(&["Content-Type: text/html", "Content-Length: 7"], br#"{"n":1}"#),
            Waits,
            Untrue,
            "the 7 bytes of text/html are not the state ",
        ),
    ]
}

/// In the head.
fn heads() -> Vec<Lie> {
    use FailureKind::{Busy, Lost, Untrue};
    use Then::{Ends, Repeats, Waits};
    vec![
        (
            b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>".to_vec(),
            Waits,
            Untrue,
            "a page of HTML came instead",
        ),
        (
            b"HTTP/1.1 302 Found\r\nLocation: /describe\r\nContent-Length: 0\r\n\r\n".to_vec(),
            Waits,
            Untrue,
            "302 Found leads to /describe, and redirects are not followed",
        ),
        (
            b"HTTP/1.1 204 No Content\r\nState-Id: a.1.b\r\nState-Age: 0\r\n\r\n".to_vec(),
            Waits,
            Untrue,
            "to a poll that names no state",
        ),
        (b"SSH-2.0-OpenSSH_9.2p1\r\n".to_vec(), Waits, Untrue, "the answer is no HTTP/1.1 ("),
        (
            [b"HTTP/1.1 200 OK\r\nA: ".to_vec(), vec![b'a'; 200_000]].concat(),
            Waits,
            Untrue,
            "the answer is no HTTP/1.1 (",
        ),
        (Vec::new(), Ends, Lost, "the connection ended before an answer ("),
        (
            b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\n\r\n".to_vec(),
            Repeats(b"\"x"),
            Busy(None),
            "503 Service Unavailable: asked again after a pause",
        ),
    ]
}

#[tokio::test]
async fn each_lie_is_named_with_its_remedy_and_none_is_given() {
    for (bytes, then, kind, expected) in bodies().into_iter().chain(heads()) {
        let liar = Liar::start(bytes, then).await;
        let mut follower = Follower::start(&Settings { max_bytes: 1024 * 1024, ..settings(&liar.url) });
        let failure = follower.fails().await;
        assert!(failure.text.contains(expected), "{expected}: {}", failure.text);
        assert!(failure.text.starts_with(&format!("{}: ", liar.url)), "{}", failure.text);
        assert_eq!(failure.kind, kind, "{}", failure.text);
        let none = futures::FutureExt::now_or_never(follower.states.next());
        assert!(none.is_none() && follower.status().held.is_none(), "{expected}");
    }
}

/// A server that lies is left at once, while one that only fails is asked three times.
#[tokio::test]
async fn the_next_endpoint_is_asked_after_a_lie() {
    let file = ModelFile::new(r#"{"n":7}"#);
    let mut server = serve(&file, &[]).await;
    server.ready().await;
    let truth = format!("http://{}", server.listen);
    for (bytes, failures) in [(bodies().remove(0).0, 1), (Vec::new(), 3)] {
        let liar = Liar::start(bytes, Then::Ends).await;
        let endpoints = vec![liar.url.clone(), truth.clone()];
        let mut follower = Follower::start(&Settings { endpoints, ..settings(&liar.url) });
        follower.reaches(r#"{"n":7}"#).await;
        let status = follower.becomes("well", |status| status.failure.is_none()).await;
        assert_eq!((status.counters.failures, status.endpoint == truth), (failures, true), "{status:?}");
    }
}
