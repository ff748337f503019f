//! Replicas and servers of NATS that are killed.

use futures::future::join_all;

use super::{Shared, UP, publish, say};
use crate::exchange::{ask, text};
use crate::nats::{Cluster, NatsServer};
use crate::server::{Server, until};
use crate::topic::{Stream, TEXT, at, id, said};

#[tokio::test]
async fn readers_of_a_replica_that_is_killed_go_on_at_another() {
    let nats = NatsServer::start().await;
    let shared = Shared::new(&nats.url(), 1, "");
    let (one, two) = (shared.replica().await, shared.replica().await);
    let read = say(&one, "a").await;
    let mut stream = Stream::events(&one, &format!("/chat?since={read}")).await;
    assert!(stream.event().await.contains("event: same"));
    let stored = say(&one, "b").await;
    one.signal(rustix::process::Signal::KILL);
    // What was said to be stored is there, and a reader that was told of it misses nothing.
    let mut stream = Stream::events(&two, &format!("/chat?since={read}")).await;
    assert_eq!(stream.event().await, format!("id: {stored}\ndata: b\n\n"));
    let next = say(&two, "c").await;
    assert_eq!((&next, stream.event().await), (&at(&read, 3), format!("id: {next}\ndata: c\n\n")));
}

#[tokio::test]
async fn while_nats_is_away_messages_are_read_and_none_is_taken() {
    let nats = NatsServer::start().await;
    let shared = Shared::new(&nats.url(), 1, "");
    let (mut one, two) = (shared.replica().await, shared.replica().await);
    let last = say(&one, "a").await;
    let mut stream = Stream::events(&two, &format!("/chat?since={last}")).await;
    assert!(stream.event().await.contains("event: same"));
    nats.kill();
    one.metric_becomes(UP, 0.0).await;
    one.logged("NATS does not answer: the topic takes no message").await;
    let refused = publish(&one, "key", "b").await;
    assert_eq!((refused.status, refused.field("retry-after").is_empty()), (503, false));
    assert!(text(&refused).contains("not-stored"), "{}", text(&refused));
    assert_eq!(said(&one.get("/chat").await.json()), ["a"]);
    assert_eq!(one.get(&format!("/chat?since={last}&wait=0")).await.status, 204);
    // It may have been read where this replica cannot look.
    let unknown = one.get(&format!("/chat?since={}", at(&last, 2))).await;
    assert_eq!((unknown.status, text(&unknown).contains("not-confirmed")), (503, true), "{}", text(&unknown));
    let busy = Stream::events(&one, &format!("/chat?since={}", at(&last, 2))).await.rest().await;
    assert!(busy.contains("event: busy"), "{busy}");
    nats.restart().await;
    one.logged("NATS has the messages of the topic").await;
    for server in [&one, &two] {
        server.metric_becomes(UP, 1.0).await;
    }
    let next = publish(&one, "key", "b").await;
    assert_eq!((next.status, id(&next)), (201, at(&last, 2)), "{}", text(&next));
    assert_eq!(stream.event().await, format!("id: {}\ndata: b\n\n", at(&last, 2)));
}

#[tokio::test]
async fn a_replica_that_comes_before_nats_waits_for_it() {
    let nats = NatsServer::start().await;
    let shared = Shared::new(&nats.url(), 1, "");
    let last = say(&shared.replica().await, "a").await;
    nats.kill();
    let late = shared.begun().await;
    let unknown = late.get("/chat").await;
    assert_eq!((unknown.status, text(&unknown).contains("not-confirmed")), (503, true), "{}", text(&unknown));
    assert_eq!(publish(&late, "key", "b").await.status, 503);
    nats.restart().await;
    late.metric_becomes(UP, 1.0).await;
    assert_eq!(late.get("/chat").await.json()["next"], *last);
    assert_eq!(say(&late, "b").await, at(&last, 2));
}

const PUBLISHERS: usize = 4;
const EACH: usize = 150;

/// Publishes until all is stored, each message once; gives their ids.
async fn publishes(servers: &[Server], publisher: usize) -> Vec<String> {
    let mut stored = Vec::new();
    for number in 0..EACH {
        let key = format!("{publisher}-{number}");
        let fields = [TEXT, ("Idempotency-Key", &*key)];
        let mut turn = number;
        let reply = until("it is stored", async || {
            turn += 1;
            let reply = ask(servers[turn % servers.len()].listen, "POST", "/chat", &fields, &key).await;
            assert!([201, 409, 503].contains(&reply.status), "{}", text(&reply));
            (reply.status == 201).then_some(reply)
        })
        .await;
        stored.push(id(&reply));
    }
    stored
}

/// Reads by long poll, each time at another replica, until it has so many; gives their ids.
async fn reads(servers: &[Server], first: &str, count: usize) -> Vec<String> {
    let (mut next, mut read) = (first.to_owned(), Vec::new());
    for turn in 0.. {
        if read.len() >= count {
            break;
        }
        let page = servers[turn % servers.len()].get(&format!("/chat?since={next}&wait=1&limit=1000")).await;
        if page.status != 200 {
            assert!([204, 503].contains(&page.status), "{}", text(&page));
            continue;
        }
        let page = page.json();
        assert!(page["gap"].is_null(), "{page}");
        let messages = page["messages"].as_array().expect("messages");
        read.extend(messages.iter().map(|message| message["id"].as_str().expect("an id").to_owned()));
        page["next"].as_str().expect("an id").clone_into(&mut next);
    }
    read
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_three_servers_have_stored_outlives_their_leader() {
    let cluster = Cluster::start().await;
    let shared = Shared::new(&cluster.url(), 3, "");
    let servers = [shared.replica().await, shared.replica().await, shared.replica().await];
    let first = servers[0].get("/chat").await.json()["next"].as_str().expect("an id").to_owned();
    let count = PUBLISHERS * EACH;
    let kills = async {
        let kept = "tidewait_topic_messages{topic=\"chat\"}";
        until("it is under way", async || (servers[0].metric(kept).await >= 50.0).then_some(())).await;
        cluster.kill_leader_of("tidewait_topic-chat").await;
    };
    let readers = join_all((0..4).map(|_| reads(&servers, &first, count)));
    let publishers = join_all((0..PUBLISHERS).map(|publisher| publishes(&servers, publisher)));
    let (stored, read, ()) = tokio::join!(publishers, readers, kills);
    let mut stored = stored.concat();
    stored.sort_by_key(|id| id.split_once('.').and_then(|(_, offset)| offset.parse::<u64>().ok()));
    let expected: Vec<_> = (1..=count as u64).map(|offset| at(&first, offset)).collect();
    assert_eq!(stored, expected, "each is stored once");
    for read in read {
        assert_eq!(read, expected, "each is read once, in order");
    }
}
