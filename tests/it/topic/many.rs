//! Many readers and publishers at once: every reader is given every message once and in order, whichever way it reads.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::{Stream, TEXT, configured};
use crate::exchange::ask;
use crate::server::{Client, Server};

const MESSAGES: usize = 400;
const PUBLISHERS: usize = 4;

/// The offsets of what came, in order: 1 to the last.
fn are_all(offsets: &[u64]) {
    let expected: Vec<_> = (1..=MESSAGES as u64).collect();
    assert_eq!(offsets, expected);
}

fn offset(id: &str) -> u64 {
    id.split_once('.').expect("an id").1.parse().expect("a number")
}

async fn polls(server: Arc<Server>) {
    let mut client = Client::connect(server.listen).await;
    let first = client.get("/chat?from=latest", &[]).await.json();
    let epoch = first["next"].as_str().expect("an id").split_once('.').expect("an id").0.to_owned();
    let (mut next, mut offsets) = (format!("{epoch}.0"), Vec::new());
    while offsets.len() < MESSAGES {
        let page = client.get(&format!("/chat?since={next}&limit=37"), &[]).await;
        if page.status == 204 {
            continue;
        }
        let page = page.json();
        assert!(page["gap"].is_null(), "{}", page["gap"]);
        let messages = page["messages"].as_array().expect("messages");
        offsets.extend(messages.iter().map(|message| offset(message["id"].as_str().expect("an id"))));
        page["next"].as_str().expect("an id").clone_into(&mut next);
    }
    are_all(&offsets);
}

async fn streams(server: Arc<Server>, accept: &'static str) {
    let fields = format!("Accept: {accept}\r\n");
    let mut stream = Stream::open(server.listen, "/chat?from=earliest", &fields).await;
    let mut offsets = Vec::new();
    while offsets.len() < MESSAGES {
        if accept == "application/x-ndjson" {
            let line: serde_json::Value = serde_json::from_str(&stream.up_to("\n").await).expect("JSON");
            if line["type"] != "ping" && line["type"] != "same" {
                offsets.push(offset(line["message"]["id"].as_str().expect("a message")));
            }
        } else {
            let event = stream.event().await;
            if event.contains("event: same") {
                continue;
            }
            offsets.push(offset(event.strip_prefix("id: ").and_then(|rest| rest.lines().next()).expect("a message")));
        }
    }
    are_all(&offsets);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_reader_is_given_every_message_once_and_in_order() {
    let topics = "[{path: /chat, history: {messages: 1000}, publishRate: {perSecond: 100000, burst: 100000}}]";
    let (_folder, server) = configured(topics, &[]).await;
    let server = Arc::new(server);
    let mut all = JoinSet::new();
    for _ in 0..5 {
        all.spawn(polls(Arc::clone(&server)));
        all.spawn(streams(Arc::clone(&server), "text/event-stream"));
        all.spawn(streams(Arc::clone(&server), "application/x-ndjson"));
    }
    for publisher in 0..PUBLISHERS {
        let server = Arc::clone(&server);
        all.spawn(async move {
            for number in 0..MESSAGES / PUBLISHERS {
                // Twice, as a client that heard no answer.
                let key = format!("{publisher}-{number}");
                let fields = [TEXT, ("Idempotency-Key", &*key)];
                for _ in 0..2 {
                    assert_eq!(ask(server.listen, "POST", "/chat", &fields, &key).await.status, 201);
                }
            }
        });
    }
    while let Some(ended) = all.join_next().await {
        ended.expect("it ends well");
    }
    server.metric_becomes("tidewait_topic_readers{topic=\"chat\"}", 0.0).await;
}
