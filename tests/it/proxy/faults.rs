//! Apps and clients that are away, hang, break off or talk nonsense.

use std::time::Duration;

use bytes::Bytes;
use http::Response;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::harness::{App, Front, GET, OK, RawApp, Settings, channel, full, within};

const REQUESTS: &str = "tidewait_proxy_requests_total";

fn settings(head: u64, idle: Option<u64>) -> Settings {
    let idle = idle.map(Duration::from_millis);
    Settings { head: Duration::from_millis(head), idle, ..Settings::default() }
}

#[tokio::test]
async fn an_app_that_is_away_is_502_at_once() {
    let address = RawApp::new().address();
    let front = Front::before(address).await;
    let began = Instant::now();
    let answer = front.client().await.ask(GET).await;
    assert!(began.elapsed() < Duration::from_secs(1), "after {:?}", began.elapsed());
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    assert!(answer.contains(&format!("app-unreachable: No connection to the app at {address}: check")), "{answer}");
    front.until(REQUESTS, "unreachable", 1.0).await;
}

#[tokio::test]
async fn an_app_that_takes_no_connection_is_502_in_time() {
    let app = RawApp::with_backlog(0);
    let mut filling = Vec::new();
    // The queue is full once a connection is not made any more.
    while let Ok(stream) = timeout(Duration::from_millis(200), TcpStream::connect(app.address())).await {
        filling.push(stream.expect("the kernel takes it"));
    }
    let connect = Duration::from_millis(200);
    let front = Front::with(app.address(), Settings { connect, ..Settings::default() }).await;
    let began = Instant::now();
    let answer = front.client().await.ask(GET).await;
    assert!(began.elapsed() < Duration::from_secs(1), "after {:?}", began.elapsed());
    assert!(answer.contains("app-unreachable"), "{answer}");
}

#[tokio::test]
async fn an_app_that_never_answers_is_504() {
    let app = RawApp::new();
    let front = Front::with(app.address(), settings(100, None)).await;
    let mut client = front.client().await;
    client.send(GET).await;
    let mut behind = app.accept().await;
    behind.head().await;
    let answer = client.answer().await;
    assert!(answer.starts_with("HTTP/1.1 504 ") && answer.contains("app-timeout: The app at 127.0.0.1:"), "{answer}");
    assert_eq!(behind.rest().await, (String::new(), true), "the app is told that nobody waits");
    front.until(REQUESTS, "timeout", 1.0).await;
}

#[tokio::test]
async fn the_limit_for_an_answer_begins_after_the_upload() {
    let app = RawApp::new();
    let front = Front::with(app.address(), settings(100, None)).await;
    let mut client = front.client().await;
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\na").await;
    let mut behind = app.accept().await;
    behind.head().await;
    let early = timeout(Duration::from_millis(400), client.0.readable()).await;
    assert!(early.is_err(), "nothing is answered while the upload is not complete");
    client.send("b").await;
    assert_eq!(behind.until("ab").await, "ab");
    assert!(client.answer().await.contains("app-timeout"), "now it is");
}

#[tokio::test]
async fn an_app_killed_within_an_answer_breaks_it() {
    for fields in ["transfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n", "content-length: 8\r\n\r\nhalf"] {
        let app = RawApp::new();
        let front = Front::before(app.address()).await;
        let mut client = front.client().await;
        client.send(GET).await;
        let mut behind = app.accept().await;
        behind.head().await;
        behind.send(format!("HTTP/1.1 200 OK\r\n{fields}")).await;
        client.head().await;
        client.until("half").await;
        drop(behind);
        let (rest, _) = client.rest().await;
        assert!(!rest.contains("0\r\n\r\n") && rest.len() <= 2, "the body does not look complete: {rest:?}");
        front.until(REQUESTS, "cut", 1.0).await;
    }
}

#[tokio::test]
async fn an_app_that_is_back_is_used_at_once() {
    let service = |_| async { Response::new(full("ok")) };
    let app = App::new(service).await;
    let address = app.address;
    let front = Front::before(address).await;
    let mut client = front.client().await;
    assert!(client.ask(GET).await.ends_with("ok"));
    drop(app);
    assert!(client.ask(GET).await.starts_with("HTTP/1.1 502 "));
    let _app = App::at(address, service).await;
    assert!(client.ask(GET).await.ends_with("ok"));
}

/// The app closes an idle connection just when a request comes on it.
#[tokio::test]
async fn a_request_that_may_be_repeated_survives_a_stale_connection() {
    for (request, repeated) in [
        (GET, true),
        ("DELETE /x HTTP/1.1\r\nhost: a\r\n\r\n", true),
        ("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n", false),
        ("PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\nx", false),
    ] {
        let app = RawApp::new();
        let front = Front::before(app.address()).await;
        let mut client = front.client().await;
        client.send(GET).await;
        let mut behind = app.accept().await;
        behind.head().await;
        behind.send(OK).await;
        client.answer().await;
        client.send(request).await;
        let first = behind.head().await;
        drop(behind);
        if repeated {
            let mut behind = app.accept().await;
            assert_eq!(behind.head().await, first);
            behind.send(OK).await;
            assert!(client.answer().await.ends_with("ok"), "of {request:?}");
        } else {
            assert!(client.answer().await.contains("app-broke-off"), "of {request:?}");
        }
        front.until("tidewait_proxy_retries_total", "", if repeated { 1.0 } else { 0.0 }).await;
    }
}

#[tokio::test]
async fn answers_that_are_none_are_502_and_not_asked_for_twice() {
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(tidewait::bounds::UPSTREAM_FIELDS + 1));
    let long = format!("HTTP/1.1 200 OK\r\nx: {}", "y".repeat(tidewait::bounds::UPSTREAM_BUFFER));
    for (nonsense, named) in [
        ("", "app-broke-off"),
        ("HTTP/1.1 2", "app-broke-off"),
        ("SSH-2.0-OpenSSH_9.2\r\n\r\n", "app-answer-malformed"),
        ("HTTP/1.1 99 Low\r\n\r\n", "its status line has no status"),
        ("HTTP/1.1 200 OK\r\nno colon\r\n\r\n", "invalid HTTP header parsed"),
        ("HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n", "invalid content-length parsed"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n", "its Transfer-Encoding is \"gzip, chunked\""),
        (&many, "its head has over 256 fields or 65536 bytes: make it smaller"),
        (&long, "its head has over 256 fields or 65536 bytes: make it smaller"),
    ] {
        let app = RawApp::new();
        let front = Front::before(app.address()).await;
        let mut client = front.client().await;
        client.send(GET).await;
        let mut behind = app.accept().await;
        behind.head().await;
        behind.send(nonsense).await;
        drop(behind);
        let answer = client.answer().await;
        assert!(answer.starts_with("HTTP/1.1 502 ") && answer.contains(named), "of {nonsense:.60?}: {answer}");
        front.until(REQUESTS, "broken", 1.0).await;
        front.until("tidewait_proxy_app_connections", "", 0.0).await;
    }
}

/// Fields that the app spells as RFC 9112, sections 5.1 and 5.2, lets a proxy mend, and many of them.
#[tokio::test]
async fn odd_heads_that_can_be_read_are_passed_on_mended() {
    let app = RawApp::new();
    let front = Front::before(app.address()).await;
    let (mut client, mut behind) = (front.client().await, None);
    for (fields, expected) in [
        ("X-A : 1\r\n".to_owned(), "X-A: 1\r\n".to_owned()),
        ("X-A: 1,\r\n  2\r\n".to_owned(), "X-A: 1, 2\r\n".to_owned()),
        ("Set-Cookie: a=b\r\n".repeat(250), "Set-Cookie: a=b\r\n".repeat(250)),
    ] {
        client.send(GET).await;
        if behind.is_none() {
            behind = Some(app.accept().await);
        }
        let behind = behind.as_mut().expect("just accepted");
        behind.head().await;
        behind.send(format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 2\r\n\r\nok")).await;
        let answer = client.until("\r\n\r\nok").await;
        assert_eq!(answer, format!("HTTP/1.1 200 OK\r\n{expected}Content-Length: 2\r\n\r\nok"));
    }
}

/// The end of its sending is no end of its listening (RFC 9112, section 9.6).
#[tokio::test]
async fn a_client_that_half_closes_gets_its_answer() {
    let settings = Settings { half_close: true, ..Settings::default() };
    let app = RawApp::new();
    let front = Front::with(app.address(), settings).await;
    for request in [GET, "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\nx"] {
        let mut client = front.client().await;
        client.send(request).await;
        client.0.shutdown().await.expect("the client has said all");
        let mut behind = app.accept().await;
        behind.head().await;
        behind.send("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok").await;
        assert!(client.answer().await.ends_with("ok"), "of {request:?}");
        assert_eq!(client.rest().await, (String::new(), true));
    }
    front.until(REQUESTS, "answered", 2.0).await;
}

#[tokio::test]
async fn a_client_that_leaves_takes_its_request_along() {
    let app = RawApp::new();
    let front = Front::before(app.address()).await;
    for request in [GET, "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nx"] {
        let mut client = front.client().await;
        client.send(request).await;
        let mut behind = app.accept().await;
        behind.head().await;
        drop(client);
        behind.rest().await;
    }
    let mut client = front.client().await;
    client.send(GET).await;
    let mut behind = app.accept().await;
    behind.head().await;
    client.0.set_zero_linger().expect("a socket");
    // RST.
    drop(client);
    behind.rest().await;
    front.until("tidewait_proxy_app_connections", "", 0.0).await;
    within("all are counted", async {
        while front.metric(REQUESTS, "client_gone") + front.metric(REQUESTS, "client_broke") < 2.5 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_body_that_is_not_framed_is_400_and_the_app_is_let_go() {
    let app = RawApp::new();
    let front = Front::before(app.address()).await;
    let mut client = front.client().await;
    client.send("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\nZZ\r\n").await;
    let mut behind = app.accept().await;
    behind.head().await;
    let answer = client.answer().await;
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("request-body-broken"), "{answer}");
    let (got, _) = behind.rest().await;
    assert!(!got.contains("0\r\n\r\n"), "the body does not look complete: {got:?}");
    front.until(REQUESTS, "client_broke", 1.0).await;
}

#[tokio::test]
async fn a_client_that_stops_sending_is_408_where_a_limit_is_set() {
    let app = RawApp::new();
    let front = Front::with(app.address(), settings(60_000, Some(100))).await;
    let mut client = front.client().await;
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nx").await;
    let mut behind = app.accept().await;
    behind.head().await;
    let answer = client.answer().await;
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("request-body-timeout"), "{answer}");
}

/// SIGSTOP, for example: the kernel takes the first of the upload, and then nobody does.
#[tokio::test]
async fn an_app_that_stops_reading_is_504() {
    for limits in [settings(60_000, Some(100)), settings(100, None)] {
        let app = RawApp::new();
        let front = Front::with(app.address(), limits).await;
        let mut client = front.client().await;
        client.send(format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n", 1 << 30)).await;
        let _behind = app.accept().await;
        let (mut read, mut write) = client.0.into_split();
        let block = vec![b'x'; 1 << 16];
        let pouring = async {
            // Ends with an error when the proxy closes.
            while write.write_all(&block).await.is_ok() {}
        };
        let answered = async {
            let mut head = [0; 13];
            read.read_exact(&mut head).await.expect("an answer");
            head
        };
        let ((), head) = within("the app is given up", async { tokio::join!(pouring, answered) }).await;
        assert_eq!(&head, b"HTTP/1.1 504 ");
        front.until("tidewait_proxy_app_connections", "", 0.0).await;
    }
}

#[tokio::test]
async fn an_answer_that_falls_silent_is_cut_where_a_limit_is_set() {
    let (sender, receiver) = std::sync::mpsc::channel();
    let app = App::new(move |_| {
        let sender = sender.clone();
        async move {
            let (parts, body) = channel();
            parts.send(Bytes::from("half")).await.expect("there is room");
            sender.send(parts).expect("the test keeps it");
            Response::new(body)
        }
    })
    .await;
    let front = Front::with(app.address, settings(60_000, Some(100))).await;
    let mut client = front.client().await;
    client.send(GET).await;
    client.until("half\r\n").await;
    assert_eq!(client.rest().await.0, "", "it is cut");
    front.until(REQUESTS, "cut", 1.0).await;
    drop(receiver);
}
