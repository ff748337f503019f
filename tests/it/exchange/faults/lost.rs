//! Workers that are lost, before and after they could have begun.

use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _};

use super::super::{Dialled, ask, send, start, text};
use super::{CLAIMS, FREE, Frames, IN_FLIGHT, LINKS, Link, POLLS, QUEUED, REVERSE, Rig, Worker, begin_post};
use crate::server::{Client, Reply};

/// More than is kept of a body that is streamed.
const LONG: usize = 200 * 1024;

fn broke(reply: &Reply) {
    assert_eq!(reply.status, 502, "{}", text(reply));
    assert!(text(reply).contains("worker-broke"), "{}", text(reply));
}

/// A poll that has become a claim.
async fn claim(rig: &Rig) -> Reply {
    let claim = ask(rig.server.listen, "POST", CLAIMS, &[], "").await;
    assert_eq!(claim.status, 200, "{}", text(&claim));
    claim
}

#[tokio::test]
async fn one_that_is_lost_before_its_answer_is_replaced_where_the_request_may_be_repeated() {
    let rig = Rig::start().await;
    for link in LINKS {
        let key = format!("of {link:?}");
        let key = [("Idempotency-Key", key.as_str())];
        for (method, fields, repeats) in
            [("GET", &[][..], true), ("PUT", &[], true), ("POST", &key, true), ("POST", &[], false)]
        {
            let mut worker = rig.dial(link).await;
            let mut consumer = send(rig.server.listen, method, "/work", fields, "abc").await;
            let head = worker.head().await;
            assert!(head.contains("exchange-attempt: 1\r\n"), "{link:?} {head}");
            worker.reset();
            if repeats {
                let mut other = rig.dial(Link::Http1).await;
                let head = other.head().await;
                assert!(head.contains("exchange-attempt: 2\r\n"), "{link:?} {head}");
                let Worker::Text(dialled) = &mut other else { unreachable!("it is of HTTP/1.1") };
                assert_eq!(dialled.body(3).await, "abc", "the same bytes");
                other.answer(200, "done").await;
                assert_eq!(text(&consumer.reply().await), "done");
            } else {
                broke(&consumer.reply().await);
            }
            rig.becomes(0.0, 0.0).await;
        }
    }
}

#[tokio::test]
async fn the_log_says_who_came_and_went_and_what_failed_with_them() {
    let rig = Rig::start().await;
    let mut log = rig.server.log.clone();
    for (link, transport) in [(Link::Http1, "http1"), (Link::Http2, "http2"), (Link::Raw, "raw")] {
        let mut worker = rig.dial(link).await;
        let mut consumer = send(rig.server.listen, "POST", "/work", &[], "abc").await;
        let item = worker.head().await.lines().find_map(|line| Some(line.strip_prefix("exchange-item: ")?.to_owned()));
        worker.reset();
        broke(&consumer.reply().await);
        let transport = format!("\"transport\":\"{transport}\"");
        let item = format!("\"item\":\"{}\"", item.expect("the item"));
        for texts in [
            ["\"a worker has come\"", "\"slots\":1", &transport],
            ["\"a request has failed\"", &item, &transport],
            ["\"a worker is gone\"", "\"why\":", &transport],
        ] {
            let is_it = |line: &String| texts.iter().all(|text| line.contains(text));
            let told = log.wait_for(|log| log.iter().any(is_it));
            tokio::time::timeout(crate::server::STEP, told).await.expect("it is told").expect("it runs");
        }
    }
}

#[tokio::test]
async fn what_every_worker_breaks_is_given_up_after_all_attempts_and_shown_as_dead() {
    let rig = Rig::start().await;
    let mut consumer = send(rig.server.listen, "GET", "/work", &[], "").await;
    for (link, attempt) in LINKS.into_iter().zip(1..) {
        let mut worker = rig.dial(link).await;
        assert!(worker.head().await.contains(&format!("exchange-attempt: {attempt}\r\n")));
        worker.reset();
    }
    broke(&consumer.reply().await);
    rig.server.metric_becomes("tidewait_exchange_dead_total{exchange=\"work\"}", 1.0).await;
    rig.server.metric_becomes("tidewait_exchange_ended_total{as=\"failed\",exchange=\"work\"}", 1.0).await;
}

#[tokio::test]
async fn one_that_is_lost_within_its_answer_cuts_it_and_nobody_is_given_the_request_again() {
    let rig = Rig::start().await;
    for link in LINKS {
        let mut worker = rig.dial(link).await;
        let mut consumer = send(rig.server.listen, "GET", "/work", &[], "").await;
        worker.head().await;
        let stream = worker.begin("part").await;
        // The head, at the least, is here.
        consumer.stream.fill_buf().await.expect("a part");
        worker.reset();
        assert!(consumer.try_reply().await.is_none(), "{link:?}");
        drop(stream);
        rig.becomes(0.0, 0.0).await;
    }
    rig.server.metric_becomes("tidewait_exchange_ended_total{as=\"failed\",exchange=\"work\"}", 3.0).await;
}

#[tokio::test]
async fn a_posted_answer_that_breaks_off_cuts_it() {
    let rig = Rig::start().await;
    for framing in ["Content-Length: 9\r\n\r\npart", "Transfer-Encoding: chunked\r\n\r\n4\r\npart\r\n"] {
        let mut consumer = send(rig.server.listen, "GET", "/work", &[], "").await;
        let claim = claim(&rig).await;
        let mut post = Client::connect(rig.server.listen).await;
        let head = format!("POST {} HTTP/1.1\r\nHost: x\r\n{framing}", claim.field("location"));
        post.stream.get_mut().write_all(head.as_bytes()).await.expect("sent");
        // The head, at the least, is here.
        consumer.stream.fill_buf().await.expect("a part");
        drop(post);
        assert!(consumer.try_reply().await.is_none(), "{framing}");
        assert_eq!(ask(rig.server.listen, "POST", claim.field("location"), &[], "again").await.status, 410);
    }
}

#[tokio::test]
async fn a_posted_message_that_breaks_off_before_its_head_is_whole_can_be_posted_again() {
    let rig = Rig::start().await;
    let mut consumer = send(rig.server.listen, "POST", "/work", &[], "x").await;
    let claim = claim(&rig).await;
    let fields = [("Content-Type", "message/http"), ("Content-Length", "100")];
    let part = "HTTP/1.1 200 OK\r\nX-A:";
    let post = begin_post(rig.server.listen, claim.field("location"), &fields, part).await;
    let second = async || ask(rig.server.listen, "POST", claim.field("location"), &[], "whole").await;
    assert_eq!(second().await.status, 409);
    drop(post);
    let taken = crate::server::until("free again", async || {
        let taken = second().await;
        (taken.status != 409).then_some(taken.status)
    });
    assert_eq!(taken.await, 204);
    assert_eq!(text(&consumer.reply().await), "whole");
}

#[tokio::test]
async fn a_stream_that_was_refused_is_no_attempt_and_one_that_was_reset_is() {
    let rig = Rig::start().await;
    for (method, code, attempt) in [
        ("POST", h2::Reason::REFUSED_STREAM, Some(1)),
        ("GET", h2::Reason::REFUSED_STREAM, Some(1)),
        ("GET", h2::Reason::CANCEL, Some(2)),
        ("GET", h2::Reason::INTERNAL_ERROR, Some(2)),
        ("POST", h2::Reason::INTERNAL_ERROR, None),
        ("POST", h2::Reason::NO_ERROR, None),
    ] {
        let mut worker = Frames::dial(rig.server.listen).await;
        let mut consumer = send(rig.server.listen, method, "/work", &[], "").await;
        let stream = worker.request().await;
        worker.reset(stream, code).await;
        if let Some(attempt) = attempt {
            // The slot is free again, and gets it again.
            let stream = worker.request().await;
            drop(worker);
            assert_eq!(stream, 3);
            if method == "GET" {
                let mut other = rig.dial(Link::Http1).await;
                assert!(other.head().await.contains(&format!("exchange-attempt: {}\r\n", attempt + 1)), "{code:?}");
                other.answer(200, "done").await;
                assert_eq!(text(&consumer.reply().await), "done");
            } else {
                broke(&consumer.reply().await);
            }
        } else {
            broke(&consumer.reply().await);
        }
        rig.becomes(0.0, 0.0).await;
    }
}

#[tokio::test]
async fn streams_above_the_last_one_of_goaway_go_to_another_worker_and_do_not_count() {
    let rig = Rig::start().await;
    let mut worker = Frames::dial(rig.server.listen).await;
    let mut consumer = send(rig.server.listen, "POST", "/work", &[], "x").await;
    assert_eq!(worker.request().await, 1);
    // GOAWAY: none was taken.
    worker.write(7, 0, 0, &[0; 8]).await;
    let mut other = rig.dial(Link::Http1).await;
    let head = other.head().await;
    assert!(head.contains("exchange-attempt: 1\r\n"), "{head}");
    other.answer(200, "done").await;
    assert_eq!(text(&consumer.reply().await), "done");
    // It is closed, since nothing more can be asked there.
    while worker.next().await.is_some() {}
}

#[tokio::test]
async fn streams_up_to_the_last_one_of_goaway_are_answered() {
    let rig = Rig::start().await;
    let mut worker = Frames::dial(rig.server.listen).await;
    let mut consumer = send(rig.server.listen, "POST", "/work", &[], "").await;
    assert_eq!(worker.request().await, 1);
    worker.write(7, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 0]).await;
    let _waits = send(rig.server.listen, "GET", "/work", &[], "").await;
    rig.becomes(1.0, 1.0).await;
    // `:status: 204`, and the end of the stream.
    worker.write(1, 5, 1, &[0x89]).await;
    assert_eq!(consumer.reply().await.status, 204);
    while let Some((kind, _)) = worker.next().await {
        assert_ne!(kind, 1, "it takes nothing more");
    }
}

#[tokio::test]
async fn one_that_half_closes_gets_nothing_more() {
    let rig = Rig::start().await;
    for link in [Link::Http1, Link::Raw] {
        let mut idle = rig.dial(link).await;
        rig.server.metric_becomes(FREE, 1.0).await;
        let Worker::Text(dialled) = &mut idle else { unreachable!("it is of HTTP/1.1") };
        dialled.stream.shutdown().await.expect("half-closed");
        rig.server.metric_becomes(FREE, 0.0).await;
        // Within a request, it has none to answer with.
        let mut consumer = send(rig.server.listen, "POST", "/work", &[], "").await;
        let mut busy = rig.dial(link).await;
        busy.head().await;
        let Worker::Text(dialled) = &mut busy else { unreachable!("it is of HTTP/1.1") };
        dialled.stream.shutdown().await.expect("half-closed");
        broke(&consumer.reply().await);
    }
}

#[tokio::test]
async fn a_poller_that_is_gone_before_there_is_work_gets_none() {
    let rig = Rig::start().await;
    let poll = send(rig.server.listen, "POST", CLAIMS, &[], "").await;
    rig.server.metric_becomes(POLLS, 1.0).await;
    drop(poll);
    rig.server.metric_becomes(POLLS, 0.0).await;
    let mut consumer = send(rig.server.listen, "POST", "/work", &[], "x").await;
    rig.becomes(1.0, 0.0).await;
    let claim = claim(&rig).await;
    assert_eq!(claim.field("exchange-attempt"), "1");
    assert_eq!(ask(rig.server.listen, "POST", claim.field("location"), &[], "done").await.status, 204);
    assert_eq!(text(&consumer.reply().await), "done");
}

#[tokio::test]
async fn a_claim_that_is_never_touched_ends_a_request_that_may_not_be_repeated() {
    let rig = Rig::with(", lease: {first: 1s, length: 2s}").await;
    let mut consumer = send(rig.server.listen, "POST", "/work", &[], "x").await;
    let first = claim(&rig).await;
    broke(&consumer.reply().await);
    assert_eq!(ask(rig.server.listen, "POST", first.field("location"), &[], "late").await.status, 410);
    // A beat keeps it, and then it is as if the connection had ended.
    let mut consumer = send(rig.server.listen, "POST", "/work", &[], "x").await;
    let second = claim(&rig).await;
    let beat = format!("{}/beat", second.field("location"));
    assert_eq!(ask(rig.server.listen, "POST", &beat, &[], "").await.status, 204);
    broke(&consumer.reply().await);
    for target in [second.field("location"), &beat] {
        let gone = ask(rig.server.listen, "POST", target, &[], "").await;
        assert_eq!(gone.status, 410);
        assert!(text(&gone).contains("claim-gone"));
    }
}

#[tokio::test]
async fn a_late_answer_is_refused_and_its_body_not_read() {
    let rig = Rig::with(", lease: {first: 1s, length: 2s}").await;
    let _consumer = send(rig.server.listen, "GET", "/work", &[], "").await;
    let late = claim(&rig).await;
    rig.server.metric_becomes(QUEUED, 1.0).await;
    let mut post = Client::connect(rig.server.listen).await;
    post.send("POST", late.field("location"), &[("Content-Length", "10000000000")]).await;
    let gone = post.reply().await;
    assert_eq!((gone.status, post.closed), (410, true));
}

#[tokio::test]
async fn no_worker_gets_a_part_of_a_body_that_another_has_had() {
    let rig = Rig::with(", lease: {first: 1s, length: 2s}").await;
    let body = "b".repeat(LONG);
    // Lost, given back, and never touched: each after all of it was read, of which a part is kept.
    for fault in ["lost", "given back", "untouched"] {
        let mut consumer = send(rig.server.listen, "PUT", "/work", &[], &body).await;
        if fault == "lost" {
            let mut worker = Dialled::to(rig.server.listen, REVERSE).await;
            worker.head().await.expect("a request");
            worker.body(LONG).await;
        } else {
            let claim = claim(&rig).await;
            assert_eq!(claim.body.len(), LONG);
            if fault == "given back" {
                assert_eq!(ask(rig.server.listen, "DELETE", claim.field("location"), &[], "").await.status, 204);
            }
        }
        broke(&consumer.reply().await);
        rig.becomes(0.0, 0.0).await;
    }
    // Refused after some of it was sent.
    let mut worker = Frames::dial(rig.server.listen).await;
    let mut consumer = send(rig.server.listen, "PUT", "/work", &[], &body).await;
    let stream = worker.request().await;
    let mut taken = 0;
    while taken <= 4 {
        // The windows are those of RFC 9113: 65,535 bytes, so more room is given.
        let update = 65_535_u32.to_be_bytes();
        worker.write(8, 0, 0, &update).await;
        worker.write(8, 0, stream, &update).await;
        taken += u32::from(worker.next().await.expect("some of it").0 == 0);
    }
    worker.reset(stream, h2::Reason::REFUSED_STREAM).await;
    broke(&consumer.reply().await);
}

#[tokio::test]
async fn a_poll_that_comes_again_while_its_claim_is_handed_over_gets_that_claim() {
    let rig = Rig::start().await;
    let agent = [("Agent-Id", "w")];
    // Some of the body is still to come, so that the first answer has not ended.
    let mut consumer = Client::connect(rig.server.listen).await;
    consumer.send("POST", "/work", &[("Content-Length", "6")]).await;
    consumer.stream.get_mut().write_all(b"abc").await.expect("sent");
    let mut first = send(rig.server.listen, "POST", CLAIMS, &agent, "").await;
    rig.server.metric_becomes(IN_FLIGHT, 1.0).await;
    let mut line = String::new();
    first.stream.read_line(&mut line).await.expect("its head");
    assert!(line.contains("200"), "{line}");
    let mut again = send(rig.server.listen, "POST", CLAIMS, &agent, "").await;
    // The first gets nothing more, and breaks off.
    let mut rest = Vec::new();
    let ended = tokio::io::AsyncReadExt::read_to_end(&mut first.stream, &mut rest);
    let _ = tokio::time::timeout(Duration::from_secs(20), ended).await.expect("it ends");
    assert!(!rest.ends_with(b"def"));
    drop(first);
    consumer.stream.get_mut().write_all(b"def").await.expect("sent");
    let claim = again.reply().await;
    assert_eq!((claim.field("exchange-attempt"), text(&claim).as_str()), ("1", "abcdef"));
    assert_eq!(ask(rig.server.listen, "POST", claim.field("location"), &[], "done").await.status, 204);
    assert_eq!(text(&consumer.reply().await), "done");
}

#[tokio::test]
async fn a_connection_without_requests_that_ends_leaves_nothing() {
    let server = start(&[]).await;
    let worker = Dialled::to(server.listen, REVERSE).await;
    server.metric_becomes("tidewait_exchange_workers{exchange=\"work\",transport=\"http1\"}", 1.0).await;
    super::resets(&worker.stream);
    drop(worker);
    server.metric_becomes("tidewait_exchange_workers{exchange=\"work\",transport=\"http1\"}", 0.0).await;
    server.metric_becomes(FREE, 0.0).await;
}
