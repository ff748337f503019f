//! Bodies of requests, on their way to workers.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::super::{Dialled, ask, send, start, text};
use super::{CLAIMS, FREE, IN_FLIGHT, LINKS, Link, QUEUED, REVERSE, Rig, Worker};
use crate::server::{Client, STEP};

/// Sends a request of which this is written.
async fn begun(rig: &Rig, framing: &str) -> Client {
    let mut consumer = Client::connect(rig.server.listen).await;
    let head = format!("PUT /work HTTP/1.1\r\nHost: x\r\n{framing}");
    consumer.stream.get_mut().write_all(head.as_bytes()).await.expect("sent");
    consumer
}

const BROKEN: [&str; 2] = ["Content-Length: 10\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"];

#[tokio::test]
async fn one_that_its_consumer_breaks_off_never_looks_whole_to_a_worker() {
    let rig = Rig::start().await;
    for link in LINKS {
        for framing in BROKEN {
            let mut worker = rig.dial(link).await;
            let consumer = begun(&rig, framing).await;
            worker.head().await;
            match &mut worker {
                Worker::Text(dialled) => {
                    let part = if framing.starts_with('C') { "abc" } else { "3\r\nabc\r\n" };
                    assert_eq!(dialled.body(part.len()).await, part);
                    drop(consumer);
                    // Neither the rest nor the last chunk comes.
                    assert_eq!(dialled.head().await, None, "{framing}");
                    assert!(dialled.seen.is_empty(), "{:?}", dialled.seen);
                }
                Worker::Streams(streams) => {
                    let body = streams.open[0].0.body_mut();
                    assert_eq!(body.data().await.expect("a part").expect("whole"), "abc");
                    drop(consumer);
                    let end = tokio::time::timeout(STEP, body.data()).await.expect("in time");
                    assert!(end.is_some_and(|end| end.is_err()), "{framing}");
                }
            }
            drop(worker);
            rig.becomes(0.0, 0.0).await;
        }
    }
    for framing in BROKEN {
        for accept in [&[][..], &[("Accept", "message/http")]] {
            let mut poll = send(rig.server.listen, "POST", CLAIMS, accept, "").await;
            let consumer = begun(&rig, framing).await;
            let mut seen = Vec::new();
            while !seen.ends_with(b"abc") && !seen.ends_with(b"abc\r\n") {
                seen.push(poll.stream.read_u8().await.expect("a part"));
            }
            drop(consumer);
            let mut rest = Vec::new();
            let _ = tokio::time::timeout(STEP, poll.stream.read_to_end(&mut rest)).await.expect("it ends");
            let rest = String::from_utf8_lossy(&rest).into_owned();
            assert!(!rest.contains("\r\n0\r\n") && !rest.starts_with("0\r\n"), "{framing}: {rest:?}");
            rig.becomes(0.0, 0.0).await;
        }
    }
}

#[tokio::test]
async fn one_of_no_form_ends_its_request() {
    let rig = Rig::start().await;
    let mut worker = rig.dial(super::Link::Http1).await;
    let mut consumer = begun(&rig, "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nnone\r\n").await;
    let Worker::Text(dialled) = &mut worker else { unreachable!("it is of HTTP/1.1") };
    // It may have had a part by then.
    while dialled.head().await.is_some() {}
    // It is no fault of the worker, and nobody else is given it.
    let reply = consumer.try_reply().await;
    assert!(reply.is_none_or(|reply| reply.status == 400));
    rig.server.metric_becomes(super::CANCELLED, 1.0).await;
    rig.becomes(0.0, 0.0).await;
}

#[tokio::test]
async fn a_long_one_is_streamed_as_fast_as_its_worker_reads() {
    const LENGTH: usize = 64 * 1024 * 1024;
    let rig = Rig::start().await;
    for link in LINKS {
        let mut worker = rig.dial(link).await;
        let mut consumer = Client::connect(rig.server.listen).await;
        consumer.send("POST", "/work", &[("Content-Length", &LENGTH.to_string())]).await;
        worker.head().await;
        let sending = tokio::spawn(async move {
            let piece = vec![b'p'; 1024 * 1024];
            for _ in 0..LENGTH / piece.len() {
                consumer.stream.get_mut().write_all(&piece).await.expect("sent");
            }
            consumer
        });
        let mut taken = 0;
        match &mut worker {
            Worker::Text(dialled) => {
                let mut bytes = vec![0; 64 * 1024];
                taken += std::mem::take(&mut dialled.seen).len();
                while taken < LENGTH {
                    let count = dialled.stream.read(&mut bytes).await.expect("read");
                    assert!(count > 0, "it ended within the body");
                    taken += count;
                }
            }
            Worker::Streams(streams) => {
                let body = streams.open[0].0.body_mut();
                while let Some(data) = body.data().await {
                    let data = data.expect("whole");
                    taken += data.len();
                    body.flow_control().release_capacity(data.len()).expect("it was taken");
                }
            }
        }
        assert_eq!(taken, LENGTH, "{link:?}");
        worker.answer(200, "done").await;
        let mut consumer = sending.await.expect("sent");
        assert_eq!(text(&consumer.reply().await), "done", "{link:?}");
        assert!(super::slow::peak_kib(&rig.server) < 64 * 1024, "it is not held in memory");
    }
}

#[tokio::test]
async fn chunks_and_trailers_reach_a_worker() {
    let server = start(&[]).await;
    let mut worker = Dialled::to(server.listen, REVERSE).await;
    let mut consumer = Client::connect(server.listen).await;
    let request = "POST /work HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n\
                   3\r\nabc\r\n0\r\nX-Sum: 6\r\n\r\n";
    consumer.stream.get_mut().write_all(request.as_bytes()).await.expect("sent");
    let head = worker.head().await.expect("a request").to_ascii_lowercase();
    assert!(head.contains("transfer-encoding: chunked\r\n") && !head.contains("content-length"), "{head}");
    let end = "3\r\nabc\r\n0\r\nx-sum: 6\r\n\r\n";
    let body = worker.body(8).await;
    assert_eq!(body, "3\r\nabc\r\n");
    let rest = worker.head().await.expect("its end").to_ascii_lowercase();
    assert!(end.ends_with(&rest), "{rest:?}");
    worker.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(consumer.reply().await.status, 200);
}

#[tokio::test]
async fn nobody_is_asked_for_one_before_a_worker_has_its_request() {
    let rig = Rig::start().await;
    for link in LINKS {
        let mut consumer = Client::connect(rig.server.listen).await;
        consumer.send("POST", "/work", &[("Content-Length", "3"), ("Expect", "100-continue")]).await;
        rig.server.metric_becomes(QUEUED, 1.0).await;
        let mut byte = [0];
        assert!(consumer.stream.get_mut().try_read(&mut byte).is_err(), "nothing was said");
        let mut worker = rig.dial(link).await;
        assert!(!worker.head().await.contains("expect"));
        let mut line = [0; 25];
        consumer.stream.read_exact(&mut line).await.expect("100");
        assert_eq!(&line, b"HTTP/1.1 100 Continue\r\n\r\n");
        consumer.stream.get_mut().write_all(b"abc").await.expect("sent");
        worker.answer(200, "done").await;
        assert_eq!(text(&consumer.reply().await), "done", "{link:?}");
        drop(worker);
        rig.becomes(0.0, 0.0).await;
    }
}

#[tokio::test]
async fn one_of_which_nothing_comes_for_long_frees_the_worker() {
    let rig = Rig::start().await;
    let mut silent = begun(&rig, "Content-Length: 100\r\n\r\nabc").await;
    let mut worker = rig.dial(Link::Http2).await;
    worker.head().await;
    let reply = silent.reply().await;
    assert_eq!(reply.status, 400, "{}", text(&reply));
    assert!(text(&reply).contains("nothing of it came for 20 s"), "{}", text(&reply));
    rig.becomes(0.0, 0.0).await;
    rig.server.metric_becomes(FREE, 1.0).await;
}

#[tokio::test]
async fn one_that_is_to_be_stored_and_too_long_is_413_whatever_its_form() {
    let rig = Rig::with(", body: {bytes: 1000}").await;
    let long = "b".repeat(1001);
    for field in [("Prefer", "respond-async"), ("Idempotency-Key", "k")] {
        let known = ask(rig.server.listen, "POST", "/work", &[field], &long).await;
        assert_eq!(known.status, 413, "{}", text(&known));
        assert!(text(&known).contains("body-too-large"));
        let mut consumer = Client::connect(rig.server.listen).await;
        consumer.send("POST", "/work", &[field, ("Transfer-Encoding", "chunked")]).await;
        consumer.stream.get_mut().write_all(format!("3e9\r\n{long}\r\n").as_bytes()).await.expect("sent");
        assert_eq!(consumer.reply().await.status, 413);
        // Nobody is asked for it.
        let mut consumer = Client::connect(rig.server.listen).await;
        consumer.send("POST", "/work", &[field, ("Content-Length", "1001"), ("Expect", "100-continue")]).await;
        assert_eq!(consumer.reply().await.status, 413);
    }
    assert!(rig.server.metric(QUEUED).await.abs() < 0.1);
}

#[tokio::test]
async fn one_that_is_still_to_come_at_the_end_of_the_hold_is_streamed_once_a_worker_is_there() {
    let rig = Rig::with(", body: {bytes: 10}, hold: {default: 1s, max: 20s}").await;
    for (length, rest) in [(6, "def"), (20, "defghijklmnopqrst")] {
        let mut consumer = begun(&rig, &format!("Content-Length: {length}\r\n\r\nabc")).await;
        rig.server.metric_becomes(QUEUED, 1.0).await;
        // The hold of this one is longer, so that of the first is over: its body is being stored, or is too long for that.
        let held = ask(rig.server.listen, "GET", "/work", &[("Prefer", "wait=2")], "").await;
        assert_eq!(held.status, 303);
        let deleted = ask(rig.server.listen, "DELETE", held.field("location"), &[], "").await;
        assert_eq!(deleted.status, 204);
        let mut poll = send(rig.server.listen, "POST", CLAIMS, &[], "").await;
        rig.server.metric_becomes(IN_FLIGHT, 1.0).await;
        consumer.stream.get_mut().write_all(rest.as_bytes()).await.expect("sent");
        let claim = poll.reply().await;
        assert_eq!(text(&claim), format!("abc{rest}"));
        assert_eq!(ask(rig.server.listen, "POST", claim.field("location"), &[], "done").await.status, 204);
        let reply = consumer.reply().await;
        // It was stored before the worker had answered, or is still held.
        assert!(reply.status == 303 || text(&reply) == "done", "{}", reply.status);
    }
}
