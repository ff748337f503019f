//! The last moments of a connection over real sockets: what was received is answered, by whichever
//! side the end begins, and nothing is reset.

use std::io::ErrorKind;

use rustix::process::Signal;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant};

use super::{PARKED, serve};
use crate::model_file::ModelFile;
use crate::server::{STEP, Server};
use crate::talk::{Talk, answers};

/// Clients that poll in a tight loop.
const CLIENTS: usize = 60;

/// What came of the requests of one client.
#[derive(Debug, Default)]
struct Count {
    answered: usize,
    /// The connection ended in order before a byte of the answer.
    unanswered: usize,
    /// It was reset, or the answer cut.
    broken: Vec<String>,
}

/// Polls without a pause, on one connection as long as that lasts, until nobody listens.
async fn poll(server: std::net::SocketAddr, raw: &'static str) -> Count {
    let mut count = Count::default();
    'connect: loop {
        let stream = match TcpStream::connect(server).await {
            Ok(stream) => stream,
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => return count,
            Err(error) => {
                count.broken.push(format!("connect: {error}"));
                return count;
            }
        };
        let mut stream = BufReader::new(stream);
        loop {
            if let Err(error) = stream.get_mut().write_all(raw.as_bytes()).await {
                // After the server's FIN, which was not read yet.
                count.broken.push(format!("write: {error}"));
                continue 'connect;
            }
            match answer(&mut stream).await {
                Ok(Some(closes)) => {
                    count.answered += 1;
                    if closes {
                        continue 'connect;
                    }
                }
                Ok(None) => {
                    count.unanswered += 1;
                    continue 'connect;
                }
                Err(error) => {
                    count.broken.push(format!("read: {error}"));
                    continue 'connect;
                }
            }
        }
    }
}

/// Reads an answer whole, and whether the server closes; none where there is not one byte of it.
async fn answer(stream: &mut BufReader<TcpStream>) -> std::io::Result<Option<bool>> {
    let (mut length, mut closes, mut first) = (0, false, true);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return if first { Ok(None) } else { Err(ErrorKind::UnexpectedEof.into()) };
        }
        first = false;
        let line = line.trim_end().to_ascii_lowercase();
        closes |= line == "connection: close";
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.parse().expect("a length");
        }
        if line.is_empty() {
            let mut body = vec![0; length];
            stream.read_exact(&mut body).await?;
            return Ok(Some(closes));
        }
    }
}

/// A process that is told to stop while clients poll it: what came of all their requests.
async fn stopped_under(raw: &'static str) {
    let model = ModelFile::new(r#"{"n":1}"#);
    let mut server = serve(&model, &["--grace", "10s"]).await;
    server.ready().await;
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        clients.spawn(poll(server.listen, raw));
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    server.signal(Signal::TERM);
    assert_eq!(server.ended().await, Some(0));
    let mut all = Count::default();
    while let Some(count) = clients.join_next().await {
        let count = count.expect("no panic");
        all.answered += count.answered;
        all.unanswered += count.unanswered;
        all.broken.extend(count.broken);
    }
    assert!(all.answered > 100 * CLIENTS / 10, "they polled: {all:?}");
    assert!(all.broken.is_empty() && all.unanswered == 0, "{all:?}");
    assert!(!server.log.borrow().iter().any(|line| line.contains("are cut")), "{:?}", server.log.borrow());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_polls_in_a_tight_loop_loses_no_request_to_a_stop() {
    stopped_under("GET /describe HTTP/1.1\r\nHost: test\r\n\r\n").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nor_does_who_connects_for_each_request() {
    stopped_under("GET /describe HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").await;
}

/// An app that answers after a moment, and what it was asked.
async fn app() -> (String, tokio::sync::mpsc::Receiver<String>, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let (asked, requests) = tokio::sync::mpsc::channel(64);
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let asked = asked.clone();
            connections.spawn(async move {
                let mut lines = BufReader::new(stream);
                let mut line = String::new();
                while lines.read_line(&mut line).await.is_ok_and(|read| read > 0) {
                    if line == "\r\n" {
                        tokio::time::sleep(Duration::from_millis(50)).await;
                        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
                        if lines.get_mut().write_all(answer).await.is_err() {
                            return;
                        }
                    } else if line.ends_with(" HTTP/1.1\r\n") {
                        asked.send(line.trim_end().to_owned()).await.expect("the test reads");
                    }
                    line.clear();
                }
            });
        }
    });
    (url, requests, tasks)
}

/// Sends all at once and a FIN; gives what came until the other FIN.
async fn half_closed(server: &Server, raw: &str) -> Vec<u16> {
    let mut talk = Talk::new(TcpStream::connect(server.listen).await.expect("it listens"), usize::MAX);
    talk.send(raw.as_bytes());
    tokio::time::timeout(STEP, talk.finished()).await.expect("in time");
    let (found, rest) = answers(&talk.seen, false);
    assert!(rest.is_empty(), "{rest:?}");
    found.iter().map(|answer| answer.status).collect()
}

#[tokio::test]
async fn who_half_closes_is_answered_by_describe_and_by_the_app() {
    let model = ModelFile::new(r#"{"n":1}"#);
    let (url, _requests, _tasks) = app().await;
    let mut server = serve(&model, &["--upstream", &url]).await;
    server.ready().await;
    let get = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n");
    for _ in 0..50 {
        assert_eq!(half_closed(&server, &get("/describe")).await, [200]);
    }
    for _ in 0..5 {
        assert_eq!(half_closed(&server, &get("/app")).await, [200]);
        assert_eq!(half_closed(&server, &(get("/app") + &get("/describe") + &get("/app"))).await, [200; 3]);
    }
    let since = server.get("/describe").await.id().to_owned();
    let asked = Instant::now();
    let parked = get(&format!("/describe?since={since}&wait=50"));
    assert_eq!(half_closed(&server, &parked).await, [204]);
    assert!(asked.elapsed() < Duration::from_secs(5), "at once: {:?}", asked.elapsed());
    server.metric_becomes(PARKED, 0.0).await;
    server.metric_becomes("tidewait_http_connections", 0.0).await;
}

#[tokio::test]
async fn the_app_gets_every_byte_of_a_target_that_a_uri_may_have_and_the_others_encoded() {
    let model = ModelFile::new("{}");
    let (url, mut requests, _tasks) = app().await;
    let mut server = serve(&model, &["--upstream", &url, "--access-log"]).await;
    server.ready().await;
    for (sent, expected) in [
        ("/api/v1/query?query=up{job='x'}", "/api/v1/query?query=up{job='x'}"),
        ("/api/v1/query?query=up{job=\"x\"}", "/api/v1/query?query=up{job=%22x%22}"),
        ("/a?b<c>", "/a?b%3Cc%3E"),
        ("/\"a\"|b^\\", "/\"a\"|b^\\"),
        ("/%zz%22?%41", "/%zz%22?%41"),
        ("/\u{e9}?\u{e9}", "/\u{e9}?\u{e9}"),
    ] {
        assert_eq!(server.get(sent).await.status, 200, "{sent}");
        assert_eq!(requests.recv().await.as_deref(), Some(&*format!("GET {expected} HTTP/1.1")));
    }
}

#[tokio::test]
async fn a_refusal_is_counted_and_logged_as_an_answer() {
    let model = ModelFile::new("{}");
    let mut server = serve(&model, &["--access-log"]).await;
    server.ready().await;
    for (raw, status, method) in [
        ("GET /x#y HTTP/1.1\r\nHost: test\r\n\r\n", 400, "GET"),
        ("GET /x HTTP/9.1\r\n\r\n", 400, "GET"),
        ("HEAD /x HTTP/1.1\r\n\r\n", 400, "HEAD"),
        ("\u{16}\u{3}\u{1}", 400, ""),
    ] {
        let mut talk = Talk::new(TcpStream::connect(server.listen).await.expect("it listens"), usize::MAX);
        talk.send(raw.as_bytes());
        talk.until(|_| false).await;
        let (found, rest) = answers(&talk.seen, method == "HEAD");
        assert_eq!((found.len(), rest.len(), found[0].status), (1, 0, status), "{raw:?}");
        let line = server.logged(&format!("\"method\":\"{method}\"")).await;
        assert!(line.contains("\"route\":\"refused\"") && line.contains("\"status\":400"), "{line}");
    }
    server.metric_becomes("tidewait_http_requests_total{code=\"400\",route=\"refused\"}", 4.0).await;
    let mut talk = Talk::new(TcpStream::connect(server.listen).await.expect("it listens"), usize::MAX);
    talk.send(format!("GET /x HTTP/1.1\r\nHost: test\r\nX: {}\r\n\r\n", "y".repeat(100_000)).as_bytes());
    talk.until(|_| false).await;
    assert_eq!(answers(&talk.seen, false).0[0].status, 431, "and not reset, though more is on its way");
    server.metric_becomes("tidewait_http_requests_total{code=\"431\",route=\"refused\"}", 1.0).await;
}
