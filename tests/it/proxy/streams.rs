//! Bodies: as they come, both ways, never held back and never piled up.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::io::AsyncReadExt;
use tokio::task::JoinSet;

use super::harness::{App, Front, OK, RawApp, boxed, channel, full, until, until_still, within};

const CHUNKED: &str = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n";
/// More than all socket buffers between the two ends, and far less than what is sent.
const IN_FLIGHT: usize = 48 << 20;
const MUCH: usize = 256 << 20;

#[tokio::test]
async fn each_chunk_arrives_before_the_next_is_sent() {
    let app = App::echo().await;
    let front = Front::before(app.address).await;
    let mut client = front.client().await;
    client.send(format!("{CHUNKED}\r\n3\r\none\r\n")).await;
    client.head().await;
    assert_eq!(client.until("one\r\n").await, "3\r\none\r\n");
    client.send("3\r\ntwo\r\n").await;
    assert_eq!(client.until("two\r\n").await, "3\r\ntwo\r\n");
    client.send("0\r\n\r\n").await;
    assert_eq!(client.until("0\r\n\r\n").await, "0\r\n\r\n");
}

#[tokio::test]
async fn server_sent_events_are_not_held_back() {
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    let app = App::new(move |_| {
        let sender = sender.clone();
        async move {
            let (events, body) = channel();
            sender.send(events).await.expect("the test waits for it");
            let mut response = Response::new(body);
            response.headers_mut().insert("content-type", "text/event-stream".parse().expect("a value"));
            response
        }
    })
    .await;
    let front = Front::before(app.address).await;
    let mut receiver = receiver;
    let mut client = front.client().await;
    client.send("GET /events HTTP/1.1\r\nhost: a\r\naccept: text/event-stream\r\n\r\n").await;
    let head = client.head().await;
    assert!(head.contains("text/event-stream"), "the head comes before any event: {head}");
    let events = receiver.recv().await.expect("the app answers");
    for event in ["data: 1\n\n", "data: 2\n\n"] {
        events.send(Bytes::from(event)).await.expect("the proxy reads on");
        client.until(event).await;
    }
    drop(client);
    within("the app notices that nobody listens", events.closed()).await;
    front.until("tidewait_proxy_requests_total", "client_gone", 1.0).await;
}

#[tokio::test]
async fn announced_trailers_pass_both_ways() {
    let app = App::echo().await;
    let front = Front::before(app.address).await;
    let mut client = front.client().await;
    client
        .send(format!("{CHUNKED}te: trailers\r\ntrailer: x-sum, x-forwarded-for\r\n\r\n1\r\na\r\n0\r\nX-Sum: 7\r\nx-other: 8\r\nX-Forwarded-For: 1.1.1.1\r\n\r\n"))
        .await;
    client.head().await;
    assert_eq!(client.until("\r\n\r\n").await, "1\r\na\r\n0\r\nx-sum: 7\r\n\r\n");
}

#[tokio::test]
async fn an_answer_without_end_waits_for_its_reader() {
    let written = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&written);
    let app = App::new(move |_| {
        let count = Arc::clone(&count);
        async move {
            let block = Bytes::from(vec![b'x'; 1 << 16]);
            let blocks = futures::stream::repeat_with(move || {
                count.fetch_add(block.len(), Ordering::SeqCst);
                Ok::<_, std::io::Error>(hyper::body::Frame::data(block.clone()))
            });
            Response::new(boxed(http_body_util::StreamBody::new(blocks)))
        }
    })
    .await;
    let front = Front::before(app.address).await;
    let mut client = front.client().await;
    client.send(super::harness::GET).await;
    client.head().await;
    let stuck = until_still(|| written.load(Ordering::SeqCst)).await;
    assert!(stuck < IN_FLIGHT, "{stuck} bytes are somewhere between app and client");
    let (mut read, mut block) = (0, vec![0; 1 << 20]);
    while read < MUCH {
        read += within("more of the body", client.0.read(&mut block)).await.expect("the body goes on");
        let ahead = written.load(Ordering::SeqCst).saturating_sub(read);
        assert!(ahead < IN_FLIGHT, "{ahead} bytes are somewhere between app and client");
    }
}

#[tokio::test]
async fn an_upload_waits_for_the_app() {
    let app = RawApp::new();
    let front = Front::before(app.address()).await;
    let mut client = front.client().await;
    let sent = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&sent);
    let mut sending = JoinSet::new();
    sending.spawn(async move {
        client.send(format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {MUCH}\r\n\r\n")).await;
        let block = vec![b'x'; 1 << 16];
        while count.load(Ordering::SeqCst) < MUCH {
            client.send(&block).await;
            count.fetch_add(block.len(), Ordering::SeqCst);
        }
        client.answer().await
    });
    let mut behind = app.accept().await;
    let head = behind.head().await;
    assert!(head.contains(&format!("content-length: {MUCH}\r\n")), "{head}");
    let stuck = until_still(|| sent.load(Ordering::SeqCst)).await;
    assert!(stuck < IN_FLIGHT, "{stuck} bytes are somewhere between client and app");
    let (mut read, mut block) = (0, vec![0; 1 << 20]);
    while read < MUCH {
        read += within("more of the body", behind.0.read(&mut block)).await.expect("the body goes on");
    }
    behind.send(OK).await;
    let answer = within("the answer", sending.join_next()).await.expect("a task").expect("it ends well");
    assert!(answer.ends_with("ok"), "{answer}");
}

const EXPECTING: &str = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\nexpect: 100-continue\r\n\r\n";

#[tokio::test]
async fn a_body_is_asked_for_when_the_app_asks_for_it() {
    let app = RawApp::new();
    let front = Front::before(app.address()).await;
    let mut client = front.client().await;
    client.send(EXPECTING).await;
    let mut behind = app.accept().await;
    assert!(behind.head().await.contains("expect: 100-continue\r\n"), "the app decides");
    behind.send("HTTP/1.1 100 Continue\r\n\r\n").await;
    assert_eq!(client.head().await, "HTTP/1.1 100 Continue\r\n\r\n");
    client.send("body").await;
    assert_eq!(behind.until("body").await, "body");
    behind.send(OK).await;
    assert!(client.answer().await.ends_with("ok"));
}

#[tokio::test]
async fn a_body_that_the_app_refuses_is_not_asked_for() {
    let app = RawApp::new();
    let front = Front::before(app.address()).await;
    let mut client = front.client().await;
    client.send(EXPECTING).await;
    let mut behind = app.accept().await;
    behind.head().await;
    behind.send("HTTP/1.1 413 Content Too Large\r\ncontent-length: 2\r\n\r\nno").await;
    let answer = client.answer().await;
    assert!(answer.starts_with("HTTP/1.1 413"), "no 100 came before it: {answer}");
    assert_eq!(client.rest().await, (String::new(), true), "nor after it");
    assert_eq!(behind.rest().await.0, "", "the app's connection ends without the body");
    front.until("tidewait_proxy_app_connections", "", 0.0).await;
}

#[tokio::test]
async fn an_app_that_knows_no_100_gets_the_body_all_the_same() {
    let app = RawApp::new();
    let front = Front::before(app.address()).await;
    let mut client = front.client().await;
    client.send(EXPECTING).await;
    let mut behind = app.accept().await;
    behind.head().await;
    assert_eq!(client.head().await, "HTTP/1.1 100 Continue\r\n\r\n", "after a second");
    client.send("body").await;
    assert_eq!(behind.until("body").await, "body");
}

#[tokio::test]
async fn both_ends_may_be_hyper() {
    let app = App::new(|request: Request<Incoming>| async move {
        let got = request.into_body().collect().await.expect("a body").to_bytes();
        Response::new(full(if got == "body" { "right" } else { "wrong" }))
    })
    .await;
    let front = Front::before(app.address).await;
    let mut client = front.client().await;
    client.send(EXPECTING).await;
    assert_eq!(client.head().await, "HTTP/1.1 100 Continue\r\n\r\n", "hyper asks when the app reads");
    client.send("body").await;
    assert!(client.answer().await.ends_with("right"));
    drop(client);
    drop(front);
    until("the connection to the app is closed", || app.open.load(Ordering::SeqCst) == 0).await;
}
