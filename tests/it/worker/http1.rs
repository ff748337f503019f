//! `--protocol http1`: one slot a connection.

use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::{Port, found, head, soon, worker, worker_at, write};

async fn rest(stream: &mut TcpStream) -> String {
    let mut rest = Vec::new();
    let _ = soon("the end", stream.read_to_end(&mut rest)).await;
    String::from_utf8_lossy(&rest).into_owned()
}

async fn exactly(stream: &mut TcpStream, text: &str) {
    let mut read = vec![0; text.len()];
    soon("bytes", stream.read_exact(&mut read)).await.expect("they come");
    assert_eq!(String::from_utf8_lossy(&read), text);
}

#[tokio::test]
async fn each_slot_is_a_connection_that_takes_one_request_after_the_other() {
    let (exchange, server) = (Port::new().await, Port::new().await);
    let _worker = worker(&exchange, &server, &["--protocol=http1", "--slots=2"]);
    found(&server).await;
    let (mut one, asked) = exchange.upgraded("http%2F1.1").await;
    let (other, _) = exchange.upgraded("http%2F1.1").await;
    let asked = asked.to_ascii_lowercase();
    assert!(asked.contains("\r\nalpn: http%2f1.1\r\n") && asked.contains("\r\nexchange-slots: 1\r\n"), "{asked}");
    for n in 1..=2 {
        write(&mut one, "POST /up HTTP/1.1\r\nHost: a.example\r\nContent-Length: 6\r\nX-N: 1\r\n\r\nabc").await;
        let mut app = server.accept().await;
        let request = head(&mut app).await.to_ascii_lowercase();
        assert!(
            request.contains("\r\nhost: a.example\r\n") && request.contains("\r\ncontent-length: 6\r\n"),
            "{request}"
        );
        exactly(&mut app, "abc").await;
        write(&mut one, "def").await;
        exactly(&mut app, "def").await;
        write(&mut app, "HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\nConnection: close\r\n\r\nno").await;
        let answer = head(&mut one).await;
        assert!(answer.starts_with("HTTP/1.1 404 ") && !answer.to_ascii_lowercase().contains("close"), "{n} {answer}");
        exactly(&mut one, "no").await;
        write(&mut app, " x").await;
        exactly(&mut one, " x").await;
    }
    // The exchange ends one that was idle: it is dialled again at once.
    drop(one);
    let since = Instant::now();
    let _again = exchange.upgraded("http%2F1.1").await;
    assert!(since.elapsed() < Duration::from_millis(200), "{:?}", since.elapsed());
    drop(other);
}

#[tokio::test]
async fn what_breaks_ends_the_connection_and_never_looks_whole() {
    let (exchange, server) = (Port::new().await, Port::new().await);
    let _worker = worker(&exchange, &server, &["--protocol=http1"]);
    found(&server).await;
    for said in [
        "",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc",
    ] {
        let (mut hub, _) = exchange.upgraded("http%2F1.1").await;
        write(&mut hub, "GET /x HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let mut app = server.accept().await;
        head(&mut app).await;
        write(&mut app, said).await;
        if said.is_empty() {
            drop(app);
            assert_eq!(rest(&mut hub).await, "");
        } else {
            head(&mut hub).await;
            drop(app);
            let rest = rest(&mut hub).await;
            assert!(rest.contains("abc") && !rest.ends_with("0\r\n\r\n"), "{rest:?}");
        }
    }
    // The exchange takes a request back.
    let (mut hub, _) = exchange.upgraded("http%2F1.1").await;
    write(&mut hub, "GET /x HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut app = server.accept().await;
    head(&mut app).await;
    let since = Instant::now();
    drop(hub);
    assert_eq!(rest(&mut app).await, "");
    assert!(since.elapsed() < Duration::from_millis(100), "{:?}", since.elapsed());
}

#[tokio::test]
async fn without_the_server_only_what_may_not_be_repeated_is_answered() {
    for (request, expected) in [
        ("GET /x HTTP/1.1\r\nHost: a\r\n\r\n", None),
        ("POST /x HTTP/1.1\r\nHost: a\r\nIdempotency-Key: k\r\nContent-Length: 0\r\n\r\n", None),
        ("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", Some("/problems/server-unreachable\"")),
    ] {
        let (exchange, server) = (Port::new().await, Port::new().await);
        let _worker = worker_at(&exchange.url(), &server.url(), &["--protocol=http1"]);
        found(&server).await;
        let (mut hub, _) = exchange.upgraded("http%2F1.1").await;
        drop(server);
        write(&mut hub, request).await;
        let said = rest(&mut hub).await;
        match expected {
            Some(expected) => assert!(said.starts_with("HTTP/1.1 503 ") && said.contains(expected), "{said}"),
            None => assert_eq!(said, ""),
        }
        assert!(!exchange.is_dialled_within(Duration::from_millis(300)).await);
    }
}
