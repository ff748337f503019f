//! What operators are told: log lines and `/state`.

use serde_json::Value;

use super::{Dialled, ask, configured, send, start, text};
use crate::server::Server;

const QUEUED: &str = "tidewait_exchange_queued{exchange=\"work\"}";
const POLLS: &str = "tidewait_exchange_polls{exchange=\"work\"}";

/// A line of the log that holds this.
async fn line(server: &mut Server, text: &str) -> Value {
    serde_json::from_str(&server.logged(text).await).expect("JSON")
}

async fn shown(server: &Server) -> Value {
    let state = server.admin("/state").await.json();
    state["exchanges"][0].clone()
}

#[tokio::test]
async fn a_worker_is_told_when_it_comes_and_why_it_goes() {
    let mut server = start(&[]).await;
    let worker = Dialled::to(server.listen, "/exchange/work/reverse").await;
    let come = line(&mut server, "a worker has come").await;
    assert_eq!((&come["exchange"], &come["transport"], &come["agent"]), (&"work".into(), &"http1".into(), &"w".into()));
    assert_eq!((&come["level"], &come["slots"]), (&"INFO".into(), &1.into()));
    let peer = worker.stream.local_addr().expect("an address").to_string();
    assert_eq!(come["peer"], peer.as_str());
    worker.stream.set_zero_linger().expect("set");
    drop(worker);
    let gone = line(&mut server, "a worker is gone").await;
    assert!(gone["why"].as_str().is_some_and(|why| why.starts_with("its connection broke: ")), "{gone}");
    assert_eq!((&gone["agent"], &gone["peer"]), (&"w".into(), &peer.as_str().into()));
}

#[tokio::test]
async fn a_request_that_fails_is_told_with_its_reason_and_its_worker() {
    let (_folder, mut server) = configured("[{path: /work, lease: {first: 1s}, attempts: 1, queue: {age: 1s}}]").await;
    let mut expired = send(server.listen, "GET", "/work", &[], "").await;
    assert_eq!(expired.reply().await.status, 503);
    let line_of = line(&mut server, "no worker took it in time (queue.age, queue.asyncAge)").await;
    assert_eq!((&line_of["level"], &line_of["message"]), (&"WARN".into(), &"a request has failed".into()));
    assert_eq!((&line_of["attempts"], &line_of["agent"]), (&0.into(), &Value::Null));
    let mut poll = send(server.listen, "POST", "/exchange/work/claims", &[("Agent-Id", "cam")], "").await;
    server.metric_becomes(POLLS, 1.0).await;
    let mut consumer = send(server.listen, "POST", "/work", &[], "x").await;
    let claim = poll.reply().await;
    assert_eq!(consumer.reply().await.status, 502);
    let told = line(&mut server, "did not touch the claim in time").await;
    assert_eq!((&told["item"], &told["agent"]), (&claim.field("exchange-item").into(), &"cam".into()));
    assert_eq!((&told["exchange"], &told["transport"]), (&"work".into(), &"claims".into()));
    let late = ask(server.listen, "POST", claim.field("location"), &[], "late").await;
    assert_eq!(late.status, 410);
    assert!(text(&late).contains("the claim was not touched in time (lease.first)"), "{}", text(&late));
}

#[tokio::test]
async fn a_full_queue_is_told_once_and_its_end_too() {
    let (_folder, mut server) = configured("[{path: /work, queue: {length: 2, perClient: 2}}]").await;
    let first = send(server.listen, "GET", "/work", &[], "").await;
    let _second = send(server.listen, "GET", "/work", &[], "").await;
    line(&mut server, "the queue is full").await;
    for _ in 0..3 {
        assert_eq!(ask(server.listen, "GET", "/work", &[], "").await.status, 503);
    }
    drop(first);
    let open = line(&mut server, "the queue is not full any more").await;
    assert_eq!((&open["level"], &open["queued"]), (&"WARN".into(), &1.into()));
    let log = server.log.borrow().clone();
    assert_eq!(log.iter().filter(|line| line.contains("the queue is full")).count(), 1);
}

#[tokio::test]
async fn state_shows_workers_and_the_oldest_requests_and_the_dead() {
    let (_folder, server) = configured("[{path: '/work/{key}', name: work, attempts: 1}]").await;
    let mut poll = send(server.listen, "POST", "/exchange/work/claims", &[("Agent-Id", "cam")], "").await;
    server.metric_becomes(POLLS, 1.0).await;
    let _claimed = send(server.listen, "GET", "/work/a", &[], "").await;
    let claim = poll.reply().await;
    let _queued = send(server.listen, "GET", "/work/b", &[], "").await;
    server.metric_becomes(QUEUED, 1.0).await;
    let now = shown(&server).await;
    let (item, worker) = (&now["oldestInFlight"][0], &now["workers"][0]);
    assert_eq!((&item["item"], &item["key"]), (&claim.field("exchange-item").into(), &"a".into()));
    assert_eq!(
        (&item["state"], &item["attempt"], &item["client"]),
        (&"claimed".into(), &1.into(), &"127.0.0.1".into())
    );
    assert_eq!((&item["worker"]["agentId"], &item["worker"]["transport"]), (&"cam".into(), &"claims".into()));
    assert_eq!(worker["worker"], item["worker"]);
    assert_eq!(
        (&worker["busySlots"], &worker["freeSlots"], &worker["items"][0]),
        (&1.into(), &0.into(), &item["item"])
    );
    assert_eq!((&now["oldestQueued"][0]["key"], &now["oldestQueued"][0]["worker"]), (&"b".into(), &Value::Null));
    // Who breaks what it was given, for good.
    let mut broken = Dialled::to(server.listen, "/exchange/work/reverse").await;
    broken.head().await.expect("a request");
    drop(broken);
    server.metric_becomes("tidewait_exchange_dead_total{exchange=\"work\"}", 1.0).await;
    let dead = shown(&server).await["dead"][0].clone();
    assert_eq!((&dead["key"], &dead["attempts"]), (&"b".into(), &1.into()));
    assert_eq!(dead["reason"], "the connection of its worker ended before the answer");
}

#[tokio::test]
async fn polls_that_others_of_the_same_slot_end_are_counted() {
    let server = start(&[]).await;
    let agent = [("Agent-Id", "w")];
    let mut older = send(server.listen, "POST", "/exchange/work/claims", &agent, "").await;
    server.metric_becomes(POLLS, 1.0).await;
    let _newer = send(server.listen, "POST", "/exchange/work/claims", &agent, "").await;
    assert_eq!(older.reply().await.status, 409);
    server.metric_becomes("tidewait_exchange_superseded_total{exchange=\"work\"}", 1.0).await;
}
