//! Replicas that share an exchange by NATS: workers and consumers meet wherever they come, and nothing is lost when a replica or a
//! server of NATS is.

mod faults; // replicas and servers of NATS that are killed
mod losses; // NATS loses what was written, does not answer, or takes little at once
mod many; // many requests, of which each ends once

use std::net::SocketAddr;

use super::{Dialled, ask, send, text};
use crate::nats::NatsServer;
use crate::server::{Reply, Server, until};

const CLAIMS: &str = "/exchange/work/claims?wait=20";
const POLLS: &str = "tidewait_exchange_polls{exchange=\"work\"}";
const REPLICAS: &str = "tidewait_exchange_replicas{exchange=\"work\"}";
const UP: &str = "tidewait_exchange_backend_up{exchange=\"work\"}";
const ASYNC: [(&str, &str); 1] = [("Prefer", "respond-async")];

/// Two replicas.
struct Replicas {
    one: Server,
    two: Server,
    folder: tempfile::TempDir,
}

impl Replicas {
    /// With further settings of the exchange.
    async fn start(url: &str, copies: usize, settings: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("serve.yaml");
        let text = format!(
            "apiVersion: tidewait.dev/v1alpha1\nkind: ServeConfig\nnats: {{servers: [{url}], replicas: {copies}}}\n\
             exchanges: [{{path: '/work', backend: nats{settings}}}]\n"
        );
        std::fs::write(&file, text).expect("written");
        let start = async || {
            let mut server = Server::start(&["--config", file.to_str().expect("UTF-8")]).await;
            server.logged("requests are in NATS").await;
            server
        };
        let (one, two) = (start().await, start().await);
        for server in [&one, &two] {
            server.metric_becomes(REPLICAS, 2.0).await;
            server.metric_becomes(UP, 1.0).await;
        }
        Self { one, two, folder }
    }

    /// Another one, of the same settings.
    async fn another(&self) -> Server {
        let file = self.folder.path().join("serve.yaml");
        let mut server = Server::start(&["--config", file.to_str().expect("UTF-8")]).await;
        server.logged("requests are in NATS").await;
        server
    }
}

/// A worker polls until there is a request for it.
async fn claim(at: SocketAddr) -> Reply {
    let claim = ask(at, "POST", CLAIMS, &[], "").await;
    assert_eq!(claim.status, 200, "{}", text(&claim));
    claim
}

/// A worker answers its claim.
async fn answer(at: SocketAddr, claim: &Reply, body: &str) -> u16 {
    ask(at, "POST", claim.field("location"), &[], body).await.status
}

/// A consumer comes back until there is an answer.
async fn read(at: SocketAddr, location: &str) -> Reply {
    until("an answer", async || {
        let reply = ask(at, "GET", location, &[], "").await;
        (reply.status != 202).then_some(reply)
    })
    .await
}

#[tokio::test]
async fn a_worker_at_one_replica_answers_a_consumer_at_another() {
    let nats = NatsServer::start().await;
    let Replicas { one, two, .. } = Replicas::start(&nats.url(), 1, "").await;
    for length in [0, 5, 60_000, 700_000] {
        let (sent, answered) = ("a".repeat(length), "b".repeat(length));
        let mut consumer = send(one.listen, "PUT", "/work?x", &[("X-A", "1")], &sent).await;
        let claimed = claim(two.listen).await;
        assert_eq!((claimed.field("exchange-target"), text(&claimed) == sent), ("/work?x", true), "{length}");
        assert_eq!(answer(two.listen, &claimed, &answered).await, 204, "{length}");
        let reply = consumer.reply().await;
        assert_eq!((reply.status, text(&reply) == answered), (200, true), "{length}");
        assert!([409, 410].contains(&answer(two.listen, &claimed, "again").await));
    }
    // A worker that was there first, and that has dialled in.
    let mut worker = Dialled::to(two.listen, "/exchange/work/reverse").await;
    let mut consumer = send(one.listen, "GET", "/work?y", &[], "").await;
    let head = worker.head().await.expect("a request");
    assert!(head.starts_with("GET /work?y HTTP/1.1\r\n"), "{head}");
    worker.write("HTTP/1.1 404 No\r\nContent-Length: 2\r\n\r\nno").await;
    let reply = consumer.reply().await;
    assert_eq!((reply.status, text(&reply).as_str()), (404, "no"));
}

#[tokio::test]
async fn an_accepted_request_is_known_to_all_replicas_and_so_is_its_answer() {
    let nats = NatsServer::start().await;
    let Replicas { one, two, .. } = Replicas::start(&nats.url(), 1, "").await;
    for length in [3, 300_000] {
        let accepted = ask(one.listen, "POST", "/work", &ASYNC, &"a".repeat(length)).await;
        assert_eq!(accepted.status, 202, "{}", text(&accepted));
        let location = accepted.field("location").to_owned();
        let pending = ask(two.listen, "GET", &location, &[], "").await;
        assert_eq!((pending.status, pending.json()["state"].as_str()), (202, Some("queued")));
        let claimed = claim(two.listen).await;
        assert_eq!(claimed.body.len(), length);
        assert_eq!(answer(two.listen, &claimed, &"b".repeat(length)).await, 204);
        for replica in [&one, &two, &one] {
            let reply = read(replica.listen, &location).await;
            assert_eq!((reply.status, reply.body.len()), (200, length));
        }
    }
    // Deleted at one, its worker at the other one is told.
    let location = ask(one.listen, "POST", "/work", &ASYNC, "").await.field("location").to_owned();
    let claimed = claim(two.listen).await;
    let beat = format!("{}/beat?wait=20", claimed.field("location"));
    let mut beat = send(two.listen, "POST", &beat, &[], "").await;
    assert_eq!(ask(one.listen, "DELETE", &location, &[], "").await.status, 204);
    assert_eq!(beat.reply().await.status, 410);
    assert_eq!(answer(two.listen, &claimed, "late").await, 410);
    assert_eq!(ask(two.listen, "GET", &location, &[], "").await.status, 410);
}

#[tokio::test]
async fn who_is_told_to_come_back_may_come_to_another_replica() {
    let nats = NatsServer::start().await;
    let Replicas { one, two, .. } = Replicas::start(&nats.url(), 1, "").await;
    let told = ask(one.listen, "PUT", "/work", &[("Prefer", "wait=0")], "hello").await;
    assert_eq!(told.status, 303);
    let mut consumer = send(two.listen, "GET", told.field("location"), &[], "").await;
    let claimed = claim(one.listen).await;
    assert_eq!(text(&claimed), "hello");
    assert_eq!(answer(one.listen, &claimed, "late").await, 204);
    let reply = consumer.reply().await;
    assert_eq!((reply.status, text(&reply).as_str()), (200, "late"));
    // A consumer that leaves is gone for the worker at the other replica too.
    let consumer = send(one.listen, "GET", "/work", &[], "").await;
    let claimed = claim(two.listen).await;
    let beat = format!("{}/beat?wait=20", claimed.field("location"));
    let mut beat = send(two.listen, "POST", &beat, &[], "").await;
    drop(consumer);
    assert_eq!(beat.reply().await.status, 410);
}

#[tokio::test]
async fn a_claim_may_be_touched_and_answered_at_any_replica_and_is_answered_once() {
    let nats = NatsServer::start().await;
    let Replicas { one, two, .. } = Replicas::start(&nats.url(), 1, "").await;
    let mut consumer = send(one.listen, "PUT", "/work", &[], "hello").await;
    let claimed = claim(one.listen).await;
    let beat = format!("{}/beat", claimed.field("location"));
    for replica in [&two, &one, &two] {
        assert_eq!(ask(replica.listen, "POST", &beat, &[], "").await.status, 204);
    }
    assert_eq!(answer(one.listen, &claimed, "done").await, 204);
    assert_eq!(text(&consumer.reply().await), "done");
    for replica in [&one, &two] {
        // A worker that has lost the 204 comes again, wherever that leads it.
        until("it is known to be answered", async || {
            (answer(replica.listen, &claimed, "again").await == 409).then_some(())
        })
        .await;
    }
    // Given back at another replica, it is another worker's.
    let mut consumer = send(one.listen, "PUT", "/work", &[], "hello").await;
    let claimed = claim(one.listen).await;
    assert_eq!(ask(two.listen, "DELETE", claimed.field("location"), &[], "").await.status, 204);
    let second = claim(two.listen).await;
    assert_eq!((second.field("exchange-attempt"), text(&second).as_str()), ("1", "hello"));
    assert_eq!(answer(one.listen, &claimed, "late").await, 410);
    assert_eq!(answer(two.listen, &second, "second").await, 204);
    assert_eq!(text(&consumer.reply().await), "second");
}

#[tokio::test]
async fn order_and_bounds_and_keys_hold_over_all_replicas() {
    let nats = NatsServer::start().await;
    let Replicas { one, two, .. } = Replicas::start(&nats.url(), 1, ", queue: {length: 4, perClient: 4}").await;
    let queued = async |replica: &Server, count: usize| {
        until("they are queued", async || {
            let state = replica.admin("/state").await.json();
            (state["exchanges"][0]["oldestQueued"].as_array()?.len() == count).then_some(())
        })
        .await;
    };
    let mut consumers = Vec::new();
    for (number, urgency) in ["u=5", "u=1", "u=3", "u=0"].iter().enumerate() {
        let (at, other) = if number % 2 == 0 { (&one, &two) } else { (&two, &one) };
        consumers.push(send(at.listen, "PUT", "/work", &[("Priority", urgency)], urgency).await);
        queued(other, number + 1).await;
    }
    assert_eq!(ask(one.listen, "GET", "/work", &[], "").await.status, 503, "the queue is full as a whole");
    let mut order = Vec::new();
    for at in [&one, &two, &two, &one] {
        let claimed = claim(at.listen).await;
        order.push(text(&claimed));
        assert_eq!(answer(at.listen, &claimed, "").await, 204);
    }
    assert_eq!(order, ["u=0", "u=1", "u=3", "u=5"]);
    for consumer in &mut consumers {
        assert_eq!(consumer.reply().await.status, 200);
    }
    // A key stands for one item, wherever it comes.
    let key = [("Idempotency-Key", "k")];
    let mut first = send(one.listen, "POST", "/work", &key, "once").await;
    queued(&two, 1).await;
    let mut second = send(two.listen, "POST", "/work", &key, "once").await;
    assert_eq!(ask(two.listen, "POST", "/work", &key, "other").await.status, 422);
    let claimed = claim(two.listen).await;
    assert_eq!(ask(one.listen, "POST", "/exchange/work/claims?wait=0", &[], "").await.status, 204, "there is no other");
    assert_eq!(answer(two.listen, &claimed, "done").await, 204);
    assert_eq!((text(&first.reply().await), text(&second.reply().await)), ("done".to_owned(), "done".to_owned()));
}

#[tokio::test]
async fn a_name_may_have_what_names_of_nats_have_not() {
    let (nats, folder) = (NatsServer::start().await, tempfile::tempdir().expect("a folder"));
    let file = folder.path().join("serve.yaml");
    let text_of_file = format!(
        "apiVersion: tidewait.dev/v1alpha1\nkind: ServeConfig\nnats: {{servers: [{}]}}\nexchanges: [{{path: /a.b_c, backend: nats}}]\n",
        nats.url()
    );
    std::fs::write(&file, text_of_file).expect("written");
    let mut server = Server::start(&["--config", file.to_str().expect("UTF-8")]).await;
    server.logged("requests are in NATS").await;
    let long = "a".repeat(100_000);
    let accepted = ask(server.listen, "POST", "/a.b_c", &ASYNC, &long).await;
    let claimed = ask(server.listen, "POST", "/exchange/a.b_c/claims?wait=20", &[], "").await;
    assert_eq!((text(&claimed), answer(server.listen, &claimed, "done").await), (long, 204));
    assert_eq!(text(&read(server.listen, accepted.field("location")).await), "done");
}

#[tokio::test]
async fn a_push_is_for_consumers_at_all_replicas() {
    let nats = NatsServer::start().await;
    let Replicas { one, two, .. } = Replicas::start(&nats.url(), 1, ", share: identicalGets").await;
    for length in [5, 100_000] {
        let mut consumers = Vec::new();
        for at in [&one, &one, &two] {
            consumers.push(send(at.listen, "GET", "/work", &[], "").await);
        }
        for (at, count) in [(&one, 2), (&two, 1)] {
            until("they wait", async || {
                let state = at.admin("/state").await.json();
                (state["exchanges"][0]["consumers"] == count).then_some(())
            })
            .await;
        }
        let pushed = ask(two.listen, "POST", "/exchange/work/push", &[], &"a".repeat(length)).await;
        assert_eq!((pushed.status, pushed.field("exchange-completed")), (204, "3"), "{}", text(&pushed));
        for consumer in &mut consumers {
            let reply = consumer.reply().await;
            assert_eq!((reply.status, reply.body.len()), (200, length));
        }
    }
}
