//! Bounds of the queue, and its order.

use super::super::{ask, configured, send, start, text};
use super::{CLAIMS, QUEUED};
use crate::server::Server;

const ENDED_AS_EXPIRED: &str = "tidewait_exchange_ended_total{as=\"expired\",exchange=\"work\"}";

/// What the next worker is given.
async fn next(server: &Server) -> String {
    let claim = ask(server.listen, "POST", CLAIMS, &[], "").await;
    assert_eq!(claim.status, 200);
    claim.field("exchange-target").to_owned()
}

#[tokio::test]
async fn each_client_behind_a_trusted_proxy_has_its_own_bound() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("serve.yaml");
    let text_of =
        "apiVersion: tidewait.dev/v1alpha1\nkind: ServeConfig\nexchanges: [{path: /work, queue: {perClient: 2}}]\n";
    std::fs::write(&file, text_of).expect("written");
    let file = file.to_str().expect("UTF-8");
    let server = Server::start(&["--config", file, "--trusted-proxies", "127.0.0.0/8"]).await;
    let mut waiting = Vec::new();
    for (client, count) in [("192.0.2.1", 2), ("192.0.2.2", 2)] {
        for _ in 0..count {
            waiting.push(send(server.listen, "GET", "/work", &[("X-Forwarded-For", client)], "").await);
        }
    }
    server.metric_becomes(QUEUED, 4.0).await;
    let refused = ask(server.listen, "GET", "/work", &[("X-Forwarded-For", "192.0.2.1")], "").await;
    assert_eq!(refused.status, 429);
    assert!(text(&refused).contains("too-many-queued") && text(&refused).contains("queue.perClient of exchange work"));
    assert!(refused.field("retry-after").parse::<u32>().is_ok_and(|seconds| seconds >= 1));
    let other = send(server.listen, "GET", "/work", &[("X-Forwarded-For", "192.0.2.3")], "").await;
    server.metric_becomes(QUEUED, 5.0).await;
    drop((waiting, other));
    server.metric_becomes("tidewait_exchange_refused_total{exchange=\"work\",reason=\"client\"}", 1.0).await;
}

#[tokio::test]
async fn who_is_nobodys_proxy_cannot_say_who_it_is() {
    let (_folder, server) = configured("[{path: /work, queue: {perClient: 1}}]").await;
    let _first = send(server.listen, "GET", "/work", &[("X-Forwarded-For", "192.0.2.1")], "").await;
    server.metric_becomes(QUEUED, 1.0).await;
    let second = ask(server.listen, "GET", "/work", &[("X-Forwarded-For", "192.0.2.2")], "").await;
    assert_eq!(second.status, 429);
}

#[tokio::test]
async fn the_more_urgent_go_first_and_those_of_one_urgency_in_their_order() {
    let server = start(&[]).await;
    let mut waiting = Vec::new();
    for (target, urgency) in [
        ("/work?1", "u=3"),
        ("/work?2", "u=7"),
        ("/work?3", "u=3"),
        ("/work?4", "u=0"),
        ("/work?5", ""),
        ("/work?6", "u=9"),
    ] {
        waiting.push(send(server.listen, "GET", target, &[("Priority", urgency)], "").await);
        let count = u32::try_from(waiting.len()).expect("few");
        server.metric_becomes(QUEUED, f64::from(count)).await;
    }
    for expected in ["/work?4", "/work?1", "/work?3", "/work?5", "/work?6", "/work?2"] {
        assert_eq!(next(&server).await, expected);
    }
}

#[tokio::test]
async fn clients_take_turns() {
    let (_folder, server) = configured("[{path: /work}]").await;
    let mut waiting = Vec::new();
    for (target, client) in [("/work?a1", 1), ("/work?a2", 1), ("/work?a3", 1), ("/work?b1", 2), ("/work?b2", 2)] {
        let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
        socket.bind(([127, 0, 0, client], 0).into()).expect("an address of this host");
        let stream = socket.connect(server.listen).await.expect("it listens");
        let mut consumer = crate::server::Client::on(stream);
        consumer.send("GET", target, &[]).await;
        waiting.push(consumer);
        let count = u32::try_from(waiting.len()).expect("few");
        server.metric_becomes(QUEUED, f64::from(count)).await;
    }
    for expected in ["/work?a1", "/work?b1", "/work?a2", "/work?b2", "/work?a3"] {
        assert_eq!(next(&server).await, expected);
    }
}

#[tokio::test]
async fn what_nobody_takes_in_time_is_told_that_nothing_was_done() {
    let (_folder, server) = configured("[{path: /work, queue: {age: 1s, asyncAge: 1s}}]").await;
    let told = ask(server.listen, "POST", "/work", &[("Prefer", "respond-async")], "x").await;
    let held = ask(server.listen, "POST", "/work", &[], "x").await;
    assert_eq!(held.status, 503);
    assert!(text(&held).contains("not-claimed") && text(&held).contains("queue.age"));
    assert!(!held.field("retry-after").is_empty());
    let later = ask(server.listen, "GET", told.field("location"), &[], "").await;
    assert!(text(&later).contains("not-claimed"), "{}", text(&later));
    assert_eq!(later.field("retry-after"), "", "to ask there again does not help");
    server.metric_becomes(ENDED_AS_EXPIRED, 2.0).await;
    server.metric_becomes(QUEUED, 0.0).await;
}

#[tokio::test]
async fn what_was_begun_and_is_taken_by_nobody_else_in_time_is_not_told_that_nothing_was_done() {
    let (_folder, server) = configured("[{path: /work, queue: {age: 2s}, lease: {first: 1s}}]").await;
    let mut held = send(server.listen, "GET", "/work", &[], "").await;
    // It is claimed and never touched, and then in the queue again.
    let claim = ask(server.listen, "POST", CLAIMS, &[], "").await;
    assert_eq!(claim.status, 200);
    server.metric_becomes(QUEUED, 1.0).await;
    let reply = held.reply().await;
    assert_eq!(reply.status, 502);
    assert!(text(&reply).contains("worker-broke"));
}

#[tokio::test]
async fn without_a_worker_for_so_long_requests_are_refused_where_that_is_wanted() {
    let (_folder, server) = configured("[{path: /work, noWorker: {action: refuse, after: 1s}}]").await;
    let mut early = send(server.listen, "GET", "/work", &[], "").await;
    // It waits for a worker, and then there is none for too long.
    let reply = early.reply().await;
    assert_eq!(reply.status, 503);
    assert!(text(&reply).contains("no-worker"));
    let refused = ask(server.listen, "GET", "/work", &[], "").await;
    assert!(text(&refused).contains("no-worker") && text(&refused).contains("noWorker of exchange work"));
    // A poll that waits is a worker.
    let mut poll = send(server.listen, "POST", CLAIMS, &[], "").await;
    server.metric_becomes(super::POLLS, 1.0).await;
    let mut consumer = send(server.listen, "GET", "/work", &[], "").await;
    let claim = poll.reply().await;
    assert_eq!(ask(server.listen, "POST", claim.field("location"), &[], "done").await.status, 204);
    assert_eq!(text(&consumer.reply().await), "done");
}

#[tokio::test]
async fn a_claim_whose_answer_does_not_begin_in_time_is_504_though_its_worker_lives() {
    let (_folder, server) = configured("[{path: /work, deadline: 1s}]").await;
    let mut consumer = send(server.listen, "GET", "/work", &[], "").await;
    let claim = ask(server.listen, "POST", CLAIMS, &[], "").await;
    let beat = format!("{}/beat?wait=20", claim.field("location"));
    let mut beat = send(server.listen, "POST", &beat, &[], "").await;
    let reply = consumer.reply().await;
    assert_eq!(reply.status, 504);
    assert!(text(&reply).contains("worker-too-slow"));
    assert_eq!(beat.reply().await.status, 410);
    // The same of a worker that has dialled in: its work is cancelled.
    let mut worker = super::super::Dialled::to(server.listen, super::REVERSE).await;
    let mut consumer = send(server.listen, "GET", "/work", &[], "").await;
    worker.head().await.expect("a request");
    assert_eq!(consumer.reply().await.status, 504);
    assert!(worker.head().await.is_none());
}
