//! Replicas that share a topic by NATS: whoever publishes at one is read at all, by the same ids.

mod faults; // replicas and servers of NATS that are killed
mod histories; // a stream that is made anew, or shows an older state

use super::{Stream, TEXT, at, id, said};
use crate::exchange::{ask, text};
use crate::nats::NatsServer;
use crate::server::{Reply, Server, tidewait, until};

const UP: &str = "tidewait_topic_backend_up{topic=\"chat\"}";

/// The configuration of some replicas.
pub(super) struct Shared {
    file: String,
    _folder: tempfile::TempDir,
}

impl Shared {
    /// With further settings of the topic.
    pub(super) fn new(url: &str, copies: usize, settings: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("serve.yaml");
        let rate = "publishRate: {perSecond: 100000, burst: 100000}";
        let text = format!(
            "apiVersion: tidewait.dev/v1alpha1\nkind: ServeConfig\nnats: {{servers: [{url}], replicas: {copies}}}\n\
             topics: [{{path: /chat, backend: nats, {rate}{settings}}}]\n"
        );
        std::fs::write(&file, text).expect("written");
        Self { file: file.to_str().expect("UTF-8").to_owned(), _folder: folder }
    }

    /// One more replica, that has what the others have.
    pub(super) async fn replica(&self) -> Server {
        let replica = self.begun().await;
        replica.metric_becomes(UP, 1.0).await;
        replica
    }

    /// One more replica.
    async fn begun(&self) -> Server {
        Server::start(&["--config", &self.file]).await
    }
}

/// Publishes a text.
async fn publish(server: &Server, key: &str, text: &str) -> Reply {
    let fields = [TEXT, ("Idempotency-Key", key)];
    ask(server.listen, "POST", "/chat?name=ann", &fields, text).await
}

/// Publishes a text once NATS answers, and gives its id.
async fn say(server: &Server, said: &str) -> String {
    let key = format!("{:x}", fastrand::u64(..));
    let reply = until("it is stored", async || {
        let reply = publish(server, &key, said).await;
        assert!([201, 409, 503].contains(&reply.status), "{}", text(&reply));
        (reply.status == 201).then_some(reply)
    })
    .await;
    id(&reply)
}

#[tokio::test]
async fn what_is_published_at_one_replica_is_read_at_all_by_the_same_ids() {
    let nats = NatsServer::start().await;
    let shared = Shared::new(&nats.url(), 1, "");
    let (one, two) = (shared.replica().await, shared.replica().await);
    let mut stream = Stream::events(&two, "/chat?envelope=1").await;
    assert!(stream.event().await.contains("event: same"));
    let first = say(&one, "a").await;
    assert!(first.ends_with(".1"), "{first}");
    let event = stream.event().await;
    let message = event.lines().find_map(|line| line.strip_prefix("data: ")).expect("data");
    let message: serde_json::Value = serde_json::from_str(message).expect("JSON");
    assert_eq!((&message["id"], &message["by"], &message["data"]), (&(&*first).into(), &"ann".into(), &"a".into()));
    for number in 0..20 {
        let server = if number % 2 == 0 { &one } else { &two };
        let text = format!("{number}\r\n\u{1f30a}");
        let said_at = say(server, &text).await;
        // Whoever is told that it is stored reads it there.
        let page = server.get(&format!("/chat?since={}&wait=0", at(&first, number + 1))).await.json();
        assert_eq!((&page["next"], said(&page)), (&(&*said_at).into(), vec![&*text]));
    }
    let json = ask(one.listen, "POST", "/chat", &[super::JSON], "{\"b\": 1,\n\"a\":null}").await;
    assert_eq!(json.status, 201);
    let last = id(&json);
    // A reader that has read it at one replica parks at the other, and is not told of a gap.
    let page = two.get(&format!("/chat?since={last}&wait=0")).await;
    assert_eq!(page.status, 204, "{}", text(&page));
    let (all, others) = (one.get("/chat").await, two.get("/chat").await);
    assert_eq!(all.json(), others.json());
    assert_eq!(all.json()["messages"][21]["data"], serde_json::json!({ "a": null, "b": 1 }));
    // And so is one that comes later.
    let three = shared.replica().await;
    assert_eq!(three.get("/chat").await.json(), all.json());
    let future = two.get(&format!("/chat?since={}", at(&last, 99))).await.json();
    assert_eq!((&future["gap"]["missed"], &future["next"]), (&0.into(), &(&*last).into()));
    let state = two.admin("/state").await.json();
    let topic = &state["topics"][0];
    assert_eq!(
        (&topic["backend"], &topic["shared"]["up"], &topic["last"]),
        (&"nats".into(), &true.into(), &(&*last).into())
    );
}

#[tokio::test]
async fn a_key_is_published_once_at_whichever_replica_it_comes() {
    let nats = NatsServer::start().await;
    let shared = Shared::new(&nats.url(), 1, "");
    let (one, two) = (shared.replica().await, shared.replica().await);
    for number in 0..20 {
        let key = format!("key {number}");
        let (first, second) = tokio::join!(publish(&one, &key, "a"), publish(&two, &key, "a"));
        assert_eq!((first.status, second.status), (201, 201), "{} {}", text(&first), text(&second));
        assert_eq!(first.json(), second.json());
        let replayed = |reply: &Reply| reply.field("idempotency-replayed") == "true";
        assert!(replayed(&first) != replayed(&second), "one of them is another's");
        for server in [&one, &two] {
            let again = publish(server, &key, "a").await;
            assert_eq!((again.json(), replayed(&again)), (first.json(), true));
            assert_eq!(publish(server, &key, "b").await.status, 422);
        }
    }
    // Another message at the same time.
    let (first, second) = tokio::join!(publish(&one, "same", "a"), publish(&two, "same", "b"));
    let mut told = [first.status, second.status];
    told.sort_unstable();
    assert_eq!(told, [201, 422]);
    // A replica that comes later knows them too.
    let three = shared.replica().await;
    assert_eq!(publish(&three, "key 3", "b").await.status, 422);
    assert_eq!(said(&three.get("/chat").await.json()).len(), 21);
}

#[tokio::test]
async fn a_check_says_what_nats_promises() {
    let nats = NatsServer::start().await;
    let shared = Shared::new(&nats.url(), 1, "");
    let checked = async || {
        let output = tidewait(&["check", "--config", &shared.file]).output().await.expect("it runs");
        assert!(output.status.success());
        String::from_utf8(output.stdout).expect("text")
    };
    let good = "the configuration is good, operations: 0, topics: 1 (nats)\nnote: ";
    let before = checked().await;
    assert_eq!(before, format!("{good}NATS has no stream of topic chat yet: a start makes it, on 1 server\n"));
    shared.replica().await;
    let after = checked().await;
    assert_eq!(after, format!("{good}NATS stores topic chat on 1 server: what is published is lost with it\n"));
    nats.kill();
    let away = checked().await;
    assert_eq!(away, format!("{good}it is not known how topic chat is stored: NATS does not answer (--nats)\n"));
}

#[tokio::test]
async fn the_stream_has_the_limits_of_the_topic_and_is_no_one_elses() {
    let nats = NatsServer::start().await;
    let few = Shared::new(&nats.url(), 1, ", history: {messages: 3, age: 1m}");
    let one = few.replica().await;
    let first = say(&one, "0").await;
    for number in 1..6 {
        say(&one, &number.to_string()).await;
    }
    let two = few.replica().await;
    for server in [&one, &two] {
        let page = server.get(&format!("/chat?since={first}")).await.json();
        assert_eq!((said(&page), &page["gap"]["missed"]), (vec!["3", "4", "5"], &2.into()));
    }
    let context = crate::nats::connect(&nats.url()).await;
    let config =
        async || context.get_stream("tidewait_topic-chat").await.expect("it is there").cached_info().config.clone();
    let before = config().await;
    assert_eq!((before.max_messages, before.max_age.as_secs(), before.duplicate_window.as_secs()), (3, 120, 120));
    let more = Shared::new(&nats.url(), 1, ", history: {messages: 7}, dedupe: 5s").replica().await;
    let after = config().await;
    assert_eq!((after.max_messages, after.max_age.as_secs(), after.duplicate_window.as_secs()), (7, 3600, 5));
    assert_eq!(say(&more, "6").await, at(&first, 7), "what there was stays");
    // Another topic's, or somebody's.
    let mut foreign = after;
    foreign.metadata.clear();
    context.update_stream(foreign).await.expect("updated");
    let mut refused = few.begun().await;
    refused.logged("NATS has a stream tidewait_topic-chat already, and it is not that of this topic").await;
}

#[tokio::test]
async fn a_message_that_nats_does_not_take_is_refused_for_good() {
    let nats = NatsServer::start_with("max_payload: 16384").await;
    let server = Shared::new(&nats.url(), 1, "").replica().await;
    let refused = publish(&server, "long", &"x".repeat(14_000)).await;
    assert_eq!(refused.status, 413, "{}", text(&refused));
    assert!(text(&refused).contains("NATS takes 12288 (max_payload): send a shorter one"), "{}", text(&refused));
    // Its key is free.
    assert_eq!(publish(&server, "long", "short").await.status, 201);
}
