//! Workers that dial in.

use bytes::Bytes;
use http::{Request, Response};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::{Dialled, ask, configured, send, start, text};
use crate::server::Server;

const REVERSE: &str = "/exchange/work/reverse";

#[tokio::test]
async fn a_worker_over_http1_is_asked_one_request_after_the_other() {
    let server = start(&[]).await;
    let mut worker = Dialled::to(server.listen, REVERSE).await;
    for round in 0..3 {
        let body = format!("round {round}");
        let mut consumer =
            send(server.listen, "POST", "/work?a=b", &[("X-A", "c"), ("Expect", "100-continue")], &body).await;
        let head = worker.head().await.expect("a request");
        assert!(head.starts_with("POST /work?a=b HTTP/1.1\r\n"), "{head}");
        assert!(!head.contains("expect") && head.contains("x-a: c") && head.contains("exchange-attempt: 1"), "{head}");
        assert_eq!(worker.body(body.len()).await, body);
        worker.write("HTTP/1.1 201 Created\r\nX-B: d\r\nContent-Length: 2\r\n\r\nok").await;
        let reply = loop {
            let reply = consumer.reply().await;
            if reply.status != 100 {
                break reply;
            }
        };
        assert_eq!((reply.status, reply.field("x-b"), text(&reply).as_str()), (201, "d", "ok"));
    }
}

#[tokio::test]
async fn a_worker_that_is_lost_is_replaced_where_the_request_may_be_repeated() {
    let server = start(&[]).await;
    // Queued first, so that all of this goes to the one worker that is there.
    for (method, repeats) in [("GET", true), ("POST", false)] {
        let mut worker = Dialled::to(server.listen, REVERSE).await;
        let mut consumer = send(server.listen, method, "/work", &[], "").await;
        worker.head().await.expect("a request");
        drop(worker);
        if repeats {
            let mut other = Dialled::to(server.listen, REVERSE).await;
            let head = other.head().await.expect("a request");
            assert!(head.contains("exchange-attempt: 2"), "{head}");
            other.write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nother").await;
            assert_eq!(text(&consumer.reply().await), "other");
            assert!(other.head().await.is_none());
        } else {
            let reply = consumer.reply().await;
            assert_eq!(reply.status, 502);
            assert!(text(&reply).contains("worker-broke"));
        }
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_never_looks_whole() {
    let server = start(&[]).await;
    for framing in ["Content-Length: 10\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"] {
        let mut worker = Dialled::to(server.listen, REVERSE).await;
        let mut consumer = send(server.listen, "GET", "/work", &[], "").await;
        worker.head().await.expect("a request");
        worker.write(&format!("HTTP/1.1 200 OK\r\n{framing}")).await;
        drop(worker);
        // Where nothing was passed on yet, it is told so.
        let reply = consumer.try_reply().await;
        assert!(reply.is_none_or(|reply| reply.status == 502), "{framing}");
    }
}

#[tokio::test]
async fn a_consumer_that_leaves_ends_the_work_and_frees_the_worker() {
    let server = start(&[]).await;
    let mut worker = Dialled::to(server.listen, REVERSE).await;
    let consumer = send(server.listen, "GET", "/work", &[], "").await;
    worker.head().await.expect("a request");
    drop(consumer);
    assert!(worker.head().await.is_none(), "its connection is closed");
    server.metric_becomes("tidewait_exchange_in_flight{exchange=\"work\"}", 0.0).await;
}

#[tokio::test]
async fn who_does_not_upgrade_is_told_to() {
    let server = start(&[]).await;
    let plain = ask(server.listen, "GET", REVERSE, &[], "").await;
    assert_eq!((plain.status, plain.field("upgrade")), (426, "ptth"));
    let upgrade = [("Connection", "upgrade"), ("Upgrade", "ptth"), ("ALPN", "h3")];
    let other = ask(server.listen, "GET", REVERSE, &upgrade, "").await;
    assert_eq!(other.status, 400);
    assert!(text(&other).contains("this exchange speaks h2 and http%2F1.1"), "{}", text(&other));
    let slots = [("Connection", "upgrade"), ("Upgrade", "ptth"), ("Exchange-Slots", "0")];
    assert_eq!(ask(server.listen, "GET", REVERSE, &slots, "").await.status, 400);
}

#[tokio::test]
async fn at_a_raw_port_a_worker_is_asked_from_the_first_byte_on() {
    let (_folder, mut server) = configured("[{path: /work, workers: {raw: '127.0.0.1:0'}}]").await;
    let line: serde_json::Value = serde_json::from_str(&server.logged("listening for workers").await).expect("JSON");
    let port = line["fields"]["address"].as_str().or(line["address"].as_str()).expect("an address");
    let stream = TcpStream::connect(port).await.expect("it listens");
    let mut worker = Dialled { stream, seen: Vec::new() };
    let mut consumer = send(server.listen, "GET", "/work", &[], "").await;
    assert!(worker.head().await.expect("a request").starts_with("GET /work HTTP/1.1\r\n"));
    // As the worker of POTHEAD answers.
    worker.write("HTTP/1.1 200 OK\r\nServer: BaseHTTP/0.6\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n").await;
    assert_eq!(text(&consumer.reply().await), "ok");
    assert!(worker.head().await.is_none());
}

type Serving = h2::server::Connection<TcpStream, Bytes>;

/// Dials in by HTTP/2, with so many streams allowed.
async fn dial(server: &Server, slots: u32) -> Serving {
    let mut stream = TcpStream::connect(server.listen).await.expect("it listens");
    let head = format!(
        "GET {REVERSE} HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: ptth\r\nALPN: h2\r\nExchange-Slots: {slots}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.expect("sent");
    let mut seen = Vec::new();
    // Byte by byte: what follows is HTTP/2.
    while !seen.ends_with(b"\r\n\r\n") {
        seen.push(tokio::io::AsyncReadExt::read_u8(&mut stream).await.expect("an answer"));
    }
    let seen = String::from_utf8_lossy(&seen).into_owned();
    assert!(seen.starts_with("HTTP/1.1 101") && seen.contains("alpn: h2"), "{seen}");
    h2::server::Builder::new().max_concurrent_streams(slots).handshake(stream).await.expect("HTTP/2")
}

#[tokio::test]
async fn a_worker_over_http2_is_asked_as_many_requests_at_once_as_it_has_slots() {
    let server = start(&[]).await;
    let mut worker = dial(&server, 2).await;
    let mut consumers = Vec::new();
    for body in ["a", "b", "c"] {
        consumers.push(send(server.listen, "POST", "/work", &[("X-Body", body)], body).await);
    }
    let mut open = Vec::new();
    while open.len() < 2 {
        let (request, respond) = worker.accept().await.expect("a stream").expect("good");
        open.push((request, respond));
    }
    let answer = |request: &Request<h2::RecvStream>| {
        let name = request.headers()["x-body"].to_str().expect("text").to_owned();
        Bytes::from(format!("for {name}"))
    };
    let working = tokio::spawn(async move {
        for (request, mut respond) in open.drain(..) {
            let body = answer(&request);
            let mut stream = respond.send_response(Response::new(()), false).expect("open");
            stream.send_data(body, true).expect("open");
        }
        while let Some(Ok((request, mut respond))) = worker.accept().await {
            let body = answer(&request);
            let mut stream = respond.send_response(Response::new(()), false).expect("open");
            stream.send_data(body, true).expect("open");
        }
    });
    for (consumer, expected) in consumers.iter_mut().zip(["for a", "for b", "for c"]) {
        assert_eq!(text(&consumer.reply().await), expected);
    }
    drop(server);
    working.await.expect("it ends with its connection");
}

#[tokio::test]
async fn over_http2_a_consumer_that_leaves_resets_its_stream_alone() {
    let server = start(&[]).await;
    let mut worker = dial(&server, 2).await;
    let consumer = send(server.listen, "GET", "/work", &[], "").await;
    let (_request, mut respond) = worker.accept().await.expect("a stream").expect("good");
    drop(consumer);
    let reset = std::future::poll_fn(|cx| {
        // The connection has to be driven for the reset to come.
        let _ = worker.poll_closed(cx);
        respond.poll_reset(cx)
    });
    let reason = tokio::time::timeout(crate::server::STEP, reset).await.expect("in time").expect("a reset");
    assert_eq!(reason, h2::Reason::CANCEL);
    let mut consumer = send(server.listen, "GET", "/work", &[], "").await;
    let (_request, mut respond) = worker.accept().await.expect("a stream").expect("good");
    respond.send_response(Response::new(()), true).expect("open");
    let driven = tokio::spawn(async move { while worker.accept().await.is_some() {} });
    assert_eq!(consumer.reply().await.status, 200);
    driven.abort();
}

#[tokio::test]
async fn what_a_worker_has_sent_before_it_left_reaches_its_consumer() {
    let server = start(&[]).await;
    for _ in 0..10 {
        let mut worker = dial(&server, 1).await;
        let mut consumer = send(server.listen, "GET", "/work", &[], "").await;
        let (_request, mut respond) = worker.accept().await.expect("a stream").expect("good");
        let mut stream = respond.send_response(Response::new(()), false).expect("open");
        stream.send_data(Bytes::from(vec![b'x'; 200_000]), true).expect("open");
        worker.graceful_shutdown();
        let left = async { while worker.accept().await.is_some() {} };
        let (reply, ()) = tokio::join!(consumer.reply(), left);
        assert_eq!((reply.status, reply.body.len()), (200, 200_000));
    }
}

#[tokio::test]
async fn a_worker_that_refuses_a_request_is_not_asked_again_at_once() {
    const FREE: &str = r#"tidewait_exchange_slots{exchange="work",state="free"}"#;
    let server = start(&[]).await;
    // Each on a task: a connection has to be driven for the hub to see its SETTINGS.
    let accepts = |mut worker: Serving| async move {
        let (request, respond) = worker.accept().await.expect("a stream").expect("good");
        (worker, request, respond)
    };
    let good = tokio::spawn(accepts(dial(&server, 1).await));
    server.metric_becomes(FREE, 1.0).await;
    let refuses = tokio::spawn(accepts(dial(&server, 1).await));
    server.metric_becomes(FREE, 2.0).await;
    // The newest slot is taken first.
    let mut consumer = send(server.listen, "POST", "/work", &[], "x").await;
    let (mut refuses, _request, mut respond) = refuses.await.expect("it is asked");
    respond.send_reset(h2::Reason::REFUSED_STREAM);
    let refusing = tokio::spawn(async move { refuses.accept().await.is_some() });
    let (mut good, request, mut respond) = good.await.expect("it is asked");
    assert_eq!(request.headers()["exchange-attempt"], "1", "nothing was begun");
    respond.send_response(Response::new(()), true).expect("open");
    let driven = tokio::spawn(async move { while good.accept().await.is_some() {} });
    assert_eq!(consumer.reply().await.status, 200);
    assert!(!refusing.is_finished(), "it was asked once");
    driven.abort();
    refusing.abort();
}
