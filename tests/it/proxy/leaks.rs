//! Answers that come before their requests have been read: the client gets them, and nothing stays behind.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};

use super::harness::{App, AppBody, Boxed, Front, Raw, RawApp, full, until, until_still};

const MEGABYTES: usize = 8 << 20;
const REFUSAL: &str = "HTTP/1.1 413 Content Too Large\r\ncontent-length: 2\r\n\r\nno";

async fn begin(front: &Front) -> Raw {
    let mut client = front.client().await;
    client.send(format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {MEGABYTES}\r\n\r\n{}", "x".repeat(1000))).await;
    client
}

/// hyper#4176: the app keeps its connection, the client its own, and neither says a word more.
#[tokio::test]
async fn early_refusals_leave_no_connection_behind() {
    // Holds the request's body, so that it is the proxy that must let go.
    let service = |request: Request<Incoming>| -> Boxed<Response<AppBody>> {
        Box::pin(async move {
            let mut response = Response::new(full("no"));
            *response.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
            response.extensions_mut().insert(Arc::new(tokio::sync::Mutex::new(request.into_body())));
            response
        })
    };
    let app = App::new(service).await;
    let raw = RawApp::new();
    let front = Front::before(app.address).await;
    let kept = Front::before(raw.address()).await;
    let (mut clients, mut behinds) = (Vec::new(), Vec::new());
    for _ in 0..100 {
        let mut client = begin(&front).await;
        assert!(client.answer().await.starts_with("HTTP/1.1 413"));
        clients.push(client);
        let mut client = begin(&kept).await;
        let mut behind = raw.accept().await;
        behind.head().await;
        behind.send(REFUSAL).await;
        assert!(client.answer().await.starts_with("HTTP/1.1 413"));
        clients.push(client);
        behinds.push(behind);
    }
    let since = Instant::now();
    until("the app's connections are closed", || app.open.load(Ordering::SeqCst) == 0).await;
    front.until("tidewait_proxy_app_connections", "", 0.0).await;
    kept.until("tidewait_proxy_app_connections", "", 0.0).await;
    assert!(since.elapsed() < Duration::from_secs(5), "after {:?}", since.elapsed());
    for mut behind in behinds {
        behind.rest().await;
    }
    for mut client in clients {
        client.rest().await;
    }
}

/// Here hyper is stuck in writing, and asks the body for nothing.
#[tokio::test]
async fn an_app_that_answered_and_does_not_read_is_let_go() {
    let app = RawApp::new();
    let front = Front::before(app.address()).await;
    let mut client = front.client().await;
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000000\r\n\r\n").await;
    let mut behind = app.accept().await;
    behind.head().await;
    let sent = AtomicUsize::new(0);
    let (mut read, mut write) = client.0.into_split();
    let block = vec![b'x'; 1 << 16];
    let pouring = async {
        // Ends with an error when the proxy closes.
        while write.write_all(&block).await.is_ok() {
            sent.fetch_add(block.len(), Ordering::SeqCst);
        }
    };
    let refusing = async {
        until_still(|| sent.load(Ordering::SeqCst)).await;
        behind.send(REFUSAL).await;
        let mut got = Vec::new();
        while !got.ends_with(b"no") {
            got.push(read.read_u8().await.expect("the answer is whole"));
        }
        front.until("tidewait_proxy_app_connections", "", 0.0).await;
    };
    tokio::join!(timeout(super::harness::DEADLINE, pouring), refusing).0.expect("the client is let go, too");
}

/// A client that sends all it has before it reads finds the answer, also if the app has closed.
#[tokio::test]
async fn a_client_that_is_still_sending_gets_the_answer() {
    for fields in ["", "connection: close\r\n"] {
        let app = RawApp::new();
        let front = Front::before(app.address()).await;
        let mut client = begin(&front).await;
        let mut behind = app.accept().await;
        behind.head().await;
        behind.send(REFUSAL.replace("\r\n\r\n", &format!("\r\n{fields}\r\n"))).await;
        drop(behind);
        front.until("tidewait_proxy_app_connections", "", 0.0).await;
        client.send("x".repeat(MEGABYTES - 1000)).await;
        let answer = client.answer().await;
        assert!(answer.starts_with("HTTP/1.1 413") && answer.ends_with("no"), "{answer}");
    }
}

/// An answer may come early and still want its request: it is not cut while it moves.
#[tokio::test]
async fn an_upload_that_moves_is_left_alone() {
    let app = RawApp::new();
    let front = Front::before(app.address()).await;
    let mut client = begin(&front).await;
    let mut behind = app.accept().await;
    behind.head().await;
    behind.send(REFUSAL).await;
    client.answer().await;
    client.send("x".repeat(MEGABYTES - 1000)).await;
    let mut block = vec![0; MEGABYTES];
    behind.0.read_exact(&mut block).await.expect("all of it comes");
    client.send(super::harness::GET).await;
    behind.head().await;
    behind.send(super::harness::OK).await;
    assert!(client.answer().await.ends_with("ok"), "both connections are good for more");
}
