//! NATS loses what was written, shows what came before it, does not answer, or takes little at once.

use futures::StreamExt as _;

use super::{ASYNC, Replicas, UP, answer, claim, read};
use crate::exchange::{ask, send, text};
use crate::nats::{NatsServer, connect};
use crate::server::until;

const STREAM: &str = "tidewait-work";

#[tokio::test]
async fn what_nats_has_lost_is_written_again_by_who_has_it() {
    let nats = NatsServer::start().await;
    let Replicas { mut one, two, .. } = Replicas::start(&nats.url(), 1, "").await;
    let long = "a".repeat(100_000);
    let claimed_before = ask(one.listen, "POST", "/work", &ASYNC, "claimed").await;
    let first = claim(two.listen).await;
    let queued = ask(one.listen, "POST", "/work", &ASYNC, &long).await;
    let mut held = send(two.listen, "PUT", "/work", &[], "held").await;
    nats.restart_empty().await;
    one.logged("NATS has lost what was written").await;
    for replica in [&one, &two] {
        replica.metric_becomes(UP, 1.0).await;
    }
    // Each goes on where it comes to, and where it was not known before.
    assert_eq!(answer(one.listen, &first, "first").await, 204);
    assert_eq!(text(&read(two.listen, claimed_before.field("location")).await), "first");
    for expected in [&*long, "held"] {
        let claimed = claim(two.listen).await;
        assert_eq!(text(&claimed), expected);
        assert_eq!(answer(one.listen, &claimed, "done").await, 204);
    }
    assert_eq!(text(&held.reply().await), "done");
    assert_eq!(text(&read(two.listen, queued.field("location")).await), "done");
}

/// After a crash a server may show the message that was replaced by one whose life is over.
#[tokio::test]
async fn what_comes_back_after_its_end_is_not_given_to_a_worker_again() {
    let nats = NatsServer::start().await;
    let replicas = Replicas::start(&nats.url(), 1, "").await;
    let (one, two) = (&replicas.one, &replicas.two);
    let mut consumer = send(one.listen, "PUT", "/work", &[], "once").await;
    let claimed = claim(two.listen).await;
    let context = connect(&nats.url()).await;
    let stream = context.get_stream(STREAM).await.expect("it is there");
    let subject = format!("tw.x.work.{}", claimed.field("exchange-item"));
    let before = stream.get_last_raw_message_by_subject(&subject).await.expect("it is written");
    assert_eq!(answer(two.listen, &claimed, "done").await, 204);
    assert_eq!(text(&consumer.reply().await), "done");
    context.publish(subject.clone(), before.payload).await.expect("sent").await.expect("taken");
    // It is removed, or the end is written again.
    until("it has ended", async || match stream.get_last_raw_message_by_subject(&subject).await {
        Ok(last) => String::from_utf8_lossy(&last.payload).contains("\"ended\"").then_some(()),
        Err(_) => Some(()),
    })
    .await;
    let another = replicas.another().await;
    let nothing = ask(another.listen, "POST", "/exchange/work/claims?wait=1", &[], "").await;
    assert_eq!(nothing.status, 204, "{}", text(&nothing));
}

#[tokio::test]
async fn while_nats_is_away_nothing_is_said_that_others_would_have_to_know() {
    let nats = NatsServer::start().await;
    let Replicas { one, two, .. } = Replicas::start(&nats.url(), 1, "").await;
    let accepted = ask(one.listen, "POST", "/work", &ASYNC, "accepted").await;
    let claimed = claim(two.listen).await;
    // One that the others know is told where to come back, since its work goes on.
    let mut known = send(one.listen, "PUT", "/work", &[("Prefer", "wait=3")], "known").await;
    until("it is known", async || {
        let state = two.admin("/state").await.json();
        (state["exchanges"][0]["oldestQueued"].as_array()?.len() == 1).then_some(())
    })
    .await;
    nats.kill();
    let ask = async |at, method: &str, target: &str, fields: &[(&str, &str)]| {
        let reply = ask(at, method, target, fields, "").await;
        (reply.status, text(&reply).contains("not-stored"), !reply.field("retry-after").is_empty())
    };
    let beat = format!("{}/beat", claimed.field("location"));
    let told = tokio::join!(
        ask(one.listen, "POST", "/work", &[("Prefer", "wait=0")]),
        ask(one.listen, "POST", &beat, &[]),
        ask(one.listen, "POST", claimed.field("location"), &[]),
        ask(two.listen, "GET", "/exchange/work/work/aaaaaaaaaaaaaaaaaaaaaaaaaa", &[]),
    );
    let unknown = (503, true, true);
    assert_eq!(told, (unknown, unknown, unknown, unknown));
    let told = known.reply().await;
    assert_eq!(told.status, 303, "{}", text(&told));
    nats.restart().await;
    assert_eq!(text(&claim(two.listen).await), "known");
    assert_eq!(answer(one.listen, &claimed, "done").await, 204, "that was no end of it");
    assert_eq!(text(&read(two.listen, accepted.field("location")).await), "done");
}

#[tokio::test]
async fn long_bodies_go_in_pieces_that_the_servers_take() {
    let nats = NatsServer::start_with("max_payload: 65536").await;
    let Replicas { one, two, .. } = Replicas::start(&nats.url(), 1, ", result: {keep: 2s}").await;
    let long = "b".repeat(1_000_000);
    let stored = ask(one.listen, "POST", "/work", &ASYNC, &long[..500_000]).await;
    assert_eq!(stored.status, 202, "{}", text(&stored));
    let mut held = send(one.listen, "PUT", "/work", &[], &long).await;
    for expected in [&long[..500_000], &*long] {
        let claimed = claim(two.listen).await;
        assert_eq!(claimed.body.len(), expected.len());
        assert_eq!(answer(one.listen, &claimed, &long).await, 204);
    }
    assert_eq!(held.reply().await.body.len(), long.len());
    assert_eq!(read(two.listen, stored.field("location")).await.body.len(), long.len());
    // What is stored is removed once nobody may want it, long before its life is over.
    let context = connect(&nats.url()).await;
    let objects = context.get_object_store(STREAM).await.expect("it is there");
    until("nothing is stored", async || {
        let all: Vec<_> = objects.list().await.ok()?.collect().await;
        all.is_empty().then_some(())
    })
    .await;
}
