//! The server stops: what is queued is told that nothing was done, what workers have ends within the grace period.

use rustix::process::Signal;

use super::super::{Dialled, ask, send, start, text};
use super::{CLAIMS, FREE, Frames, IN_FLIGHT, POLLS, QUEUED, REVERSE, Streams};
use crate::server::{Server, tidewait, until};

const GRACE: [&str; 2] = ["--grace", "20s"];

/// It has ended, within its grace period.
async fn ended(mut server: Server) {
    assert_eq!(server.ended().await, Some(0));
}

#[tokio::test]
async fn who_waits_is_told_and_idle_workers_are_closed_at_once() {
    let server = start(&GRACE).await;
    let mut worker = Dialled::to(server.listen, REVERSE).await;
    let mut frames = Frames::dial(server.listen).await;
    // It answers SETTINGS and PING, so that its slot is free.
    let next = tokio::spawn(async move {
        let goaway = frames.next().await;
        (goaway, frames.next().await)
    });
    let mut poll = send(server.listen, "POST", CLAIMS, &[("Agent-Id", "w")], "").await;
    server.metric_becomes(FREE, 3.0).await;
    server.signal(Signal::TERM);
    assert!(worker.head().await.is_none(), "FIN");
    assert_eq!(next.await.expect("it ends"), (Some((7, 0)), None), "GOAWAY, and FIN");
    assert_eq!(poll.reply().await.status, 204);
    ended(server).await;
}

#[tokio::test]
async fn queued_consumers_are_told_that_nothing_was_done_whether_they_wait_the_first_time_or_come_back() {
    let mut server = start(&["--grace", "2s"]).await;
    let _async = ask(server.listen, "POST", "/work", &[("Prefer", "respond-async")], "y").await;
    let told = ask(server.listen, "POST", "/work", &[("Prefer", "wait=0")], "x").await;
    let mut back = send(server.listen, "GET", told.field("location"), &[], "").await;
    let mut held = send(server.listen, "GET", "/work", &[], "").await;
    server.metric_becomes(QUEUED, 3.0).await;
    server.signal(Signal::TERM);
    for consumer in [&mut back, &mut held] {
        let reply = consumer.reply().await;
        assert_eq!(reply.status, 503);
        assert!(text(&reply).contains("not-claimed"), "{}", text(&reply));
    }
    let line: serde_json::Value = serde_json::from_str(&server.logged("were refused").await).expect("JSON");
    // For the last one, and for one whose consumer would come back, nobody waits.
    assert_eq!((&line["exchange"], &line["refused"], &line["queued"]), (&"work".into(), &2.into(), &2.into()));
    ended(server).await;
}

#[tokio::test]
async fn who_waits_for_what_a_lost_worker_may_have_begun_is_not_told_that_nothing_was_done() {
    let server = start(&["--grace", "2s"]).await;
    let told = ask(server.listen, "PUT", "/work", &[("Prefer", "wait=0")], "x").await;
    let mut back = send(server.listen, "GET", told.field("location"), &[], "").await;
    let mut worker = Dialled::to(server.listen, REVERSE).await;
    worker.head().await.expect("a request");
    let mut held = send(server.listen, "GET", "/work", &[], "").await;
    let mut other = Dialled::to(server.listen, REVERSE).await;
    other.head().await.expect("a request");
    drop((worker, other));
    server.metric_becomes(QUEUED, 2.0).await;
    server.signal(Signal::TERM);
    for consumer in [&mut back, &mut held] {
        let reply = consumer.reply().await;
        assert_eq!(reply.status, 502);
        assert!(
            text(&reply).contains("worker-broke") && text(&reply).contains("this server stops"),
            "{}",
            text(&reply)
        );
    }
    ended(server).await;
}

#[tokio::test]
async fn what_workers_have_that_dialled_in_finishes() {
    let server = start(&GRACE).await;
    let mut worker = Dialled::to(server.listen, REVERSE).await;
    let mut first = send(server.listen, "GET", "/work", &[], "").await;
    worker.head().await.expect("a request");
    let mut streams = Streams::dial(server.listen, 1).await;
    let mut second = send(server.listen, "GET", "/work", &[], "").await;
    let (_request, mut respond) = streams.next().await.expect("a request");
    let mut stream = respond.send_response(http::Response::new(()), false).expect("open");
    stream.send_data("begun, ".into(), false).expect("open");
    let _queued = send(server.listen, "GET", "/work", &[], "").await;
    server.metric_becomes(QUEUED, 1.0).await;
    server.signal(Signal::TERM);
    let mut log = server.log.clone();
    log.wait_for(|log| log.iter().any(|line| line.contains("\"stopping\""))).await.expect("it says so");
    worker.write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone").await;
    stream.send_data("and done".into(), true).expect("open");
    assert_eq!(text(&first.reply().await), "done");
    assert_eq!(text(&second.reply().await), "begun, and done");
    // They get nothing more, though something is queued.
    assert!(worker.head().await.is_none());
    assert!(streams.next().await.is_none());
    ended(server).await;
}

#[tokio::test]
async fn a_claim_is_answered_on_a_new_connection_while_the_server_drains() {
    let server = start(&GRACE).await;
    let mut consumer = send(server.listen, "POST", "/work", &[], "x").await;
    let claim = ask(server.listen, "POST", CLAIMS, &[], "").await;
    let async_told = ask(server.listen, "POST", "/work", &[("Prefer", "respond-async")], "y").await;
    let second = ask(server.listen, "POST", CLAIMS, &[], "").await;
    server.metric_becomes(IN_FLIGHT, 2.0).await;
    server.signal(Signal::TERM);
    let mut log = server.log.clone();
    log.wait_for(|log| log.iter().any(|line| line.contains("\"stopping\""))).await.expect("it says so");
    assert_eq!(ask(server.listen, "POST", &format!("{}/beat", claim.field("location")), &[], "").await.status, 204);
    assert_eq!(ask(server.listen, "POST", claim.field("location"), &[], "done").await.status, 204);
    assert_eq!(text(&consumer.reply().await), "done");
    assert_eq!(ask(server.listen, "POST", second.field("location"), &[], "done").await.status, 204);
    // Nothing is left for which it would have to be open.
    drop(async_told);
    ended(server).await;
}

#[tokio::test]
async fn tidewait_drain_waits_for_polls_and_for_what_workers_have_and_says_what_is_left() {
    for is_answered in [true, false] {
        let server = start(&["--grace", if is_answered { "20s" } else { "2s" }]).await;
        let mut consumer = send(server.listen, "POST", "/work", &[], "x").await;
        let claim = ask(server.listen, "POST", CLAIMS, &[], "").await;
        // The poll is told within the grace period, and an untouched claim would be over before.
        let beat = format!("{}/beat", claim.field("location"));
        assert_eq!(ask(server.listen, "POST", &beat, &[], "").await.status, 204);
        let mut poll = send(server.listen, "POST", CLAIMS, &[], "").await;
        server.metric_becomes(POLLS, 1.0).await;
        let admin = server.admin.to_string();
        let drain = tokio::spawn(tidewait(&["drain", "--admin", &admin]).output());
        assert_eq!(poll.reply().await.status, 204);
        assert!(!drain.is_finished(), "a consumer waits");
        if is_answered {
            assert_eq!(ask(server.listen, "POST", claim.field("location"), &[], "done").await.status, 204);
            assert_eq!(text(&consumer.reply().await), "done");
        }
        let output = drain.await.expect("no panic").expect("it runs");
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let left = u8::from(!is_answered);
        let told = format!("drained, 0 requests are parked, {left} wait at exchanges, and workers have {left}");
        assert!(String::from_utf8_lossy(&output.stdout).contains(&told), "{output:?}");
    }
}

#[tokio::test]
async fn who_polls_while_the_server_drains_is_given_nothing_that_is_still_queued() {
    let server = start(&["--grace", "3s"]).await;
    let mut queued = send(server.listen, "POST", "/work", &[], "x").await;
    server.metric_becomes(QUEUED, 1.0).await;
    let admin = server.admin.to_string();
    let drain = tokio::spawn(tidewait(&["drain", "--admin", &admin]).output());
    until("it drains", async || (server.admin("/readyz").await.status == 503).then_some(())).await;
    assert_eq!(ask(server.listen, "POST", CLAIMS, &[], "").await.status, 204);
    let reply = queued.reply().await;
    assert_eq!(reply.status, 503);
    assert!(text(&reply).contains("not-claimed"), "{}", text(&reply));
    let output = drain.await.expect("no panic").expect("it runs");
    let told = "drained, 0 requests are parked, 0 wait at exchanges, and workers have 0";
    assert!(String::from_utf8_lossy(&output.stdout).contains(told), "{output:?}");
}

#[tokio::test]
async fn a_claim_that_nobody_answers_holds_the_server_no_longer_than_its_grace_period() {
    let mut server = start(&["--grace", "2s"]).await;
    let mut consumer = send(server.listen, "POST", "/work", &[], "x").await;
    let claim = ask(server.listen, "POST", CLAIMS, &[], "").await;
    assert_eq!(claim.status, 200);
    let poll = send(server.listen, "POST", CLAIMS, &[], "").await;
    server.metric_becomes(POLLS, 1.0).await;
    server.signal(Signal::TERM);
    // It may have begun, so it is not told that nothing was done.
    let reply = consumer.reply().await;
    assert_eq!(reply.status, 502);
    assert!(text(&reply).contains("worker-broke") && text(&reply).contains("--grace"), "{}", text(&reply));
    let line: serde_json::Value = serde_json::from_str(&server.logged("the grace period is over").await).expect("JSON");
    assert_eq!((&line["exchange"], &line["in_flight"]), (&"work".into(), &1.into()));
    assert_eq!(line["items"], claim.field("exchange-item"));
    drop(poll);
    ended(server).await;
}
