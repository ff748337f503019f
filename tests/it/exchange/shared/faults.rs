//! Replicas and servers of NATS that are killed.

use rustix::process::Signal;

use super::{ASYNC, CLAIMS, POLLS, REPLICAS, Replicas, UP, answer, claim, read};
use crate::exchange::{Dialled, ask, send, text};
use crate::nats::{Cluster, NatsServer};
use crate::server::until;

#[tokio::test]
async fn a_replica_with_claims_is_killed_and_the_others_go_on_with_them() {
    let nats = NatsServer::start().await;
    let mut replicas = Replicas::start(&nats.url(), 1, "").await;
    let (one, two) = (&replicas.one, &replicas.two);
    // A worker that polls comes to the other replica with its answer.
    let mut polled = send(one.listen, "POST", "/work", &[], "polled").await;
    let claimed = claim(two.listen).await;
    // Of workers that have dialled in, what may be repeated is repeated.
    let mut worker = Dialled::to(two.listen, "/exchange/work/reverse").await;
    let mut again = send(one.listen, "GET", "/work?again", &[], "").await;
    assert!(worker.head().await.expect("a request").starts_with("GET /work?again "));
    let mut second = Dialled::to(two.listen, "/exchange/work/reverse").await;
    let mut broke = send(one.listen, "POST", "/work?broke", &[], "").await;
    assert!(second.head().await.expect("a request").starts_with("POST /work?broke "));
    replicas.two.signal(Signal::KILL);
    replicas.two.ended().await;
    assert_eq!(answer(replicas.one.listen, &claimed, "done").await, 204);
    assert_eq!(text(&polled.reply().await), "done");
    let repeated = claim(replicas.one.listen).await;
    assert_eq!((repeated.field("exchange-target"), repeated.field("exchange-attempt")), ("/work?again", "2"));
    assert_eq!(answer(replicas.one.listen, &repeated, "again").await, 204);
    assert_eq!(text(&again.reply().await), "again");
    let reply = broke.reply().await;
    assert_eq!((reply.status, text(&reply).contains("worker-broke")), (502, true));
    replicas.one.metric_becomes(REPLICAS, 1.0).await;
}

#[tokio::test]
async fn a_replica_with_consumers_is_killed_and_what_it_accepted_is_done() {
    let nats = NatsServer::start().await;
    let mut replicas = Replicas::start(&nats.url(), 1, "").await;
    let accepted = ask(replicas.one.listen, "POST", "/work", &ASYNC, "job").await;
    let location = accepted.field("location").to_owned();
    let told = ask(replicas.one.listen, "PUT", "/work?told", &[("Prefer", "wait=0")], "told").await;
    let held = send(replicas.one.listen, "GET", "/work?held", &[], "").await;
    let mut claims = Vec::new();
    for target in ["/work", "/work?told", "/work?held"] {
        let claimed = claim(replicas.two.listen).await;
        assert_eq!(claimed.field("exchange-target"), target);
        claims.push(claimed);
    }
    replicas.one.signal(Signal::KILL);
    replicas.one.ended().await;
    assert_eq!(answer(replicas.two.listen, &claims[0], "done").await, 204);
    let mut comes = send(replicas.two.listen, "GET", told.field("location"), &[], "").await;
    assert_eq!(answer(replicas.two.listen, &claims[1], "told").await, 204);
    assert_eq!(text(&comes.reply().await), "told");
    // Nobody waits for it: its worker is told.
    let beat = format!("{}/beat?wait=20", claims[2].field("location"));
    assert_eq!(ask(replicas.two.listen, "POST", &beat, &[], "").await.status, 410);
    drop(held);
    let another = replicas.another().await;
    for replica in [&replicas.two, &another] {
        assert_eq!(text(&read(replica.listen, &location).await), "done");
    }
}

#[tokio::test]
async fn a_replica_that_drains_tells_its_consumers_to_come_back_and_another_one_goes_on() {
    let nats = NatsServer::start().await;
    let mut replicas = Replicas::start(&nats.url(), 1, "").await;
    let mut consumer = send(replicas.one.listen, "PUT", "/work", &[], "hello").await;
    until("it is queued", async || {
        let state = replicas.two.admin("/state").await.json();
        (state["exchanges"][0]["oldestQueued"].as_array()?.len() == 1).then_some(())
    })
    .await;
    replicas.one.signal(Signal::TERM);
    let told = consumer.reply().await;
    assert_eq!(told.status, 303, "{}", text(&told));
    assert_eq!(replicas.one.ended().await, Some(0));
    let mut comes = send(replicas.two.listen, "GET", told.field("location"), &[], "").await;
    let claimed = claim(replicas.two.listen).await;
    assert_eq!(text(&claimed), "hello");
    assert_eq!(answer(replicas.two.listen, &claimed, "done").await, 204);
    assert_eq!(text(&comes.reply().await), "done");
}

#[tokio::test]
async fn nats_is_killed_and_comes_back_and_nothing_is_lost() {
    let nats = NatsServer::start().await;
    let Replicas { one, two, .. } = Replicas::start(&nats.url(), 1, "").await;
    let accepted = ask(one.listen, "POST", "/work", &ASYNC, "accepted").await;
    let location = accepted.field("location").to_owned();
    let first = claim(two.listen).await;
    let mut held = send(one.listen, "PUT", "/work", &[], "held").await;
    let mut poll = send(two.listen, "POST", CLAIMS, &[], "").await;
    let second = poll.reply().await;
    assert_eq!(text(&second), "held");
    nats.kill();
    // What does not count yet is not said to count.
    let path = second.field("location").to_owned();
    let mut posted = send(two.listen, "POST", &path, &[], "answered").await;
    let mut waiting = send(two.listen, "POST", CLAIMS, &[], "").await;
    two.metric_becomes(POLLS, 1.0).await;
    let mut later = send(one.listen, "PUT", "/work", &[], "later").await;
    until("the lost connection is known", async || {
        let failures = one.metric("tidewait_exchange_write_failures_total{exchange=\"work\"}").await;
        (failures > 0.0).then_some(())
    })
    .await;
    one.metric_becomes(UP, 0.0).await;
    let shown = one.admin("/state").await.json();
    assert_eq!(shown["exchanges"][0]["shared"], serde_json::json!({ "up": false, "replicas": 2 }));
    nats.restart().await;
    one.metric_becomes(UP, 1.0).await;
    let posted = posted.reply().await;
    assert_eq!(posted.status, 204, "{}", text(&posted));
    assert_eq!(text(&held.reply().await), "answered");
    let third = waiting.reply().await;
    assert_eq!(text(&third), "later");
    assert_eq!(answer(two.listen, &third, "too").await, 204);
    assert_eq!(text(&later.reply().await), "too");
    assert_eq!(answer(two.listen, &first, "done").await, 204);
    for replica in [&one, &two] {
        assert_eq!(text(&read(replica.listen, &location).await), "done");
    }
}

#[tokio::test]
async fn the_leader_of_three_is_killed_and_nothing_is_lost() {
    let cluster = Cluster::start().await;
    let Replicas { one, two, .. } = Replicas::start(&cluster.url().replace(',', ", "), 3, "").await;
    let accepted = ask(one.listen, "POST", "/work", &ASYNC, "accepted").await;
    let location = accepted.field("location").to_owned();
    let mut held = send(one.listen, "PUT", "/work", &[], "held").await;
    let mut claims = Vec::new();
    for expected in ["accepted", "held"] {
        let claimed = claim(two.listen).await;
        assert_eq!(text(&claimed), expected);
        claims.push(claimed);
    }
    let before = cluster.kill_leader_of("tidewait-work").await;
    assert_ne!(cluster.leader_of("tidewait-work").await, before);
    for claimed in &claims {
        assert_eq!(answer(two.listen, claimed, "done").await, 204);
    }
    assert_eq!(text(&held.reply().await), "done");
    for replica in [&one, &two] {
        assert_eq!(text(&read(replica.listen, &location).await), "done");
    }
}

#[tokio::test]
async fn a_late_answer_does_not_count_at_any_replica() {
    let nats = NatsServer::start().await;
    let Replicas { one, two, .. } = Replicas::start(&nats.url(), 1, ", lease: {first: 1s, length: 2s}").await;
    let mut consumer = send(one.listen, "PUT", "/work", &[], "hello").await;
    let late = claim(two.listen).await;
    let second = claim(one.listen).await;
    assert_eq!(text(&second), "hello");
    for replica in [&one, &two] {
        assert_eq!(answer(replica.listen, &late, "late").await, 410);
    }
    assert_eq!(answer(one.listen, &second, "second").await, 204);
    assert_eq!(text(&consumer.reply().await), "second");
}
