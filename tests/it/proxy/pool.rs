//! Connections to the app between requests: how many, for how long, and which of them a request gets.

use std::time::Duration;

use tidewait::bounds::{UPSTREAM_IDLE, UPSTREAM_IDLE_CONNECTIONS};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::harness::{Front, GET, OK, Raw, RawApp, within};

const CONNECTIONS: &str = "tidewait_proxy_app_connections";

/// One request and its answer, after which the connection to the app is idle.
async fn exchange(front: &Front, app: &RawApp) -> (Raw, Raw) {
    let mut client = front.client().await;
    client.send(GET).await;
    let mut behind = app.accept().await;
    behind.head().await;
    behind.send(OK).await;
    assert!(client.answer().await.ends_with("ok"));
    (client, behind)
}

#[tokio::test]
async fn no_more_connections_than_the_bound_stay_idle() {
    let app = RawApp::with_backlog(256);
    let front = Front::before(app.address()).await;
    let mut pairs = Vec::new();
    for _ in 0..UPSTREAM_IDLE_CONNECTIONS + 6 {
        let mut client = front.client().await;
        client.send(GET).await;
        let mut behind = app.accept().await;
        behind.head().await;
        pairs.push((client, behind));
    }
    for (client, behind) in &mut pairs {
        behind.send(OK).await;
        assert!(client.answer().await.ends_with("ok"));
    }
    #[expect(clippy::cast_precision_loss, reason = "a small number")]
    front.until(CONNECTIONS, "", UPSTREAM_IDLE_CONNECTIONS as f64).await;
}

#[tokio::test]
async fn an_idle_connection_ends_after_its_time() {
    let app = RawApp::new();
    let front = Front::before(app.address()).await;
    let (_client, mut behind) = exchange(&front, &app).await;
    tokio::time::pause();
    let began = Instant::now();
    assert!(behind.0.read_u8().await.is_err(), "it is closed");
    let idle = began.elapsed();
    assert!(idle + Duration::from_secs(1) > UPSTREAM_IDLE && idle < UPSTREAM_IDLE * 2, "closed after {idle:?}");
    tokio::time::resume();
    front.until(CONNECTIONS, "", 0.0).await;
}

#[tokio::test]
async fn the_app_closes_an_idle_connection() {
    let app = RawApp::new();
    let front = Front::before(app.address()).await;
    let (_client, behind) = exchange(&front, &app).await;
    front.until(CONNECTIONS, "", 1.0).await;
    drop(behind);
    front.until(CONNECTIONS, "", 0.0).await;
    // What nobody asked for is no answer to the next request.
    let (mut client, mut behind) = exchange(&front, &app).await;
    behind.send("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil").await;
    front.until(CONNECTIONS, "", 0.0).await;
    client.send(GET).await;
    let mut behind = app.accept().await;
    behind.head().await;
    behind.send(OK).await;
    assert!(client.answer().await.ends_with("ok"));
}

/// Also a request that may not be repeated.
#[tokio::test]
async fn a_connection_that_is_closed_already_gets_no_request() {
    let app = RawApp::new();
    let front = Front::before(app.address()).await;
    for _ in 0..20 {
        let (mut client, behind) = exchange(&front, &app).await;
        drop(behind);
        client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\nx").await;
        let mut behind = app.accept().await;
        behind.until("\r\n\r\nx").await;
        behind.send("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok").await;
        assert!(client.answer().await.ends_with("ok"));
        front.until(CONNECTIONS, "", 0.0).await;
    }
    assert!(front.metric("tidewait_proxy_retries_total", "") < 0.5);
}

#[tokio::test]
async fn one_connection_serves_all_who_come_one_after_the_other() {
    let app = RawApp::new();
    let front = Front::before(app.address()).await;
    let (_client, mut behind) = exchange(&front, &app).await;
    for answer in [
        OK,
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    ] {
        let mut client = front.client().await;
        client.send(GET).await;
        behind.head().await;
        behind.send(answer).await;
        client.until(&answer[answer.len() - 4..]).await;
    }
    assert!((front.metric(CONNECTIONS, "") - 1.0).abs() < 0.5);
}

/// An app that is slow to accept: who waits for a connection takes one that comes back.
#[tokio::test]
async fn a_request_takes_what_is_there_first() {
    let app = RawApp::with_backlog(0);
    let front = Front::before(app.address()).await;
    let mut first = front.client().await;
    first.send(GET).await;
    let mut behind = app.accept().await;
    behind.head().await;
    let mut filling = Vec::new();
    while let Ok(stream) = timeout(Duration::from_millis(100), TcpStream::connect(app.address())).await {
        filling.push(stream.expect("the kernel takes it"));
    }
    let mut second = front.client().await;
    second.send("GET /second HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let early = timeout(Duration::from_millis(100), second.0.readable()).await;
    assert!(early.is_err(), "there is no connection for it");
    behind.send(OK).await;
    first.answer().await;
    assert!(behind.head().await.starts_with("GET /second "));
    behind.send(OK).await;
    assert!(second.answer().await.ends_with("ok"));
}

/// Who sends all before it reads is not held up by an answer that it does not read yet.
#[tokio::test]
async fn an_upload_goes_on_while_the_answer_is_not_read() {
    const MEGABYTES: usize = 16 << 20;
    let app = RawApp::new();
    let front = Front::before(app.address()).await;
    let mut client = front.client().await;
    client.send(format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {MEGABYTES}\r\n\r\n")).await;
    let mut behind = app.accept().await;
    behind.head().await;
    let (read, mut write) = behind.0.into_split();
    let answering = async {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {MEGABYTES}\r\n\r\n");
        write.write_all(head.as_bytes()).await.expect("the proxy stays");
        write.write_all(&vec![b'y'; MEGABYTES]).await.expect("the proxy stays");
    };
    let reading = async {
        let mut sink = tokio::io::sink();
        let mut upload = read.take(MEGABYTES as u64);
        assert_eq!(tokio::io::copy(&mut upload, &mut sink).await.expect("all comes"), MEGABYTES as u64);
    };
    let asking = async {
        client.send(vec![b'x'; MEGABYTES]).await;
        client.answer().await
    };
    let ((), (), answer) = within("both bodies", async { tokio::join!(answering, reading, asking) }).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"));
}

#[tokio::test]
async fn stopping_ends_idle_connections() {
    let app = RawApp::new();
    let front = Front::before(app.address()).await;
    let (mut client, mut behind) = exchange(&front, &app).await;
    client.send(GET).await;
    behind.head().await;
    let (_other, mut idle) = exchange(&front, &app).await;
    front.stop.cancel();
    assert_eq!(idle.rest().await, (String::new(), true));
    front.until(CONNECTIONS, "", 1.0).await;
    // An answer that is under way is the client's; nothing is kept after it.
    behind.send(OK).await;
    assert!(client.answer().await.ends_with("ok"));
    front.until(CONNECTIONS, "", 0.0).await;
}
