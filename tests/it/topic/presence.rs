//! Readers that ask for it are told who reads.

use serde_json::{Value, json};

use super::nats::Shared;
use super::{Stream, configured, say};
use crate::exchange::text;
use crate::nats::NatsServer;
use crate::server::{Client, STEP, Server};
use crate::websocket::WebSocket;

const PRESENT: &str = "tidewait_topic_present{topic=\"chat\"}";

/// The next event of who reads, of a stream that is told nothing else.
async fn told(stream: &mut Stream) -> Value {
    loop {
        let event = stream.event().await;
        if let Some(data) = event.strip_prefix("event: presence\ndata: ") {
            return serde_json::from_str(data).expect("JSON");
        }
        assert!(event.contains("event: same\n"), "{event}");
    }
}

/// Reads what a stream is told until it is this.
async fn becomes(stream: &mut Stream, expected: &Value) {
    let becomes = async { while told(stream).await != *expected {} };
    tokio::time::timeout(2 * STEP, becomes).await.unwrap_or_else(|_| panic!("never {expected}"));
}

async fn events(server: &Server, query: &str, fields: &str) -> Stream {
    let fields = format!("Accept: text/event-stream\r\n{fields}");
    Stream::open(server.listen, &format!("/chat?{query}"), &fields).await
}

#[tokio::test]
async fn streams_and_polls_are_counted_in_each_form() {
    let server = super::start(&[]).await;
    let mut stream = events(&server, "presence=1", "").await;
    becomes(&mut stream, &json!({ "readers": 1 })).await;
    let mut lines = Stream::open(server.listen, "/chat?presence=1", "Accept: application/x-ndjson\r\n").await;
    let mut socket = WebSocket::open(server.listen, "/chat?presence=1", "").await;
    becomes(&mut stream, &json!({ "readers": 3 })).await;
    let expected = json!({ "type": "presence", "readers": 3 });
    let in_both = async {
        while serde_json::from_str::<Value>(&lines.up_to("\n").await).expect("JSON") != expected {}
        while socket.json().await != expected {}
    };
    tokio::time::timeout(2 * STEP, in_both).await.expect("it is told in each form");
    // One that did not ask is told of messages alone.
    let mut other = events(&server, "from=latest", "").await;
    becomes(&mut stream, &json!({ "readers": 4 })).await;
    assert!(other.event().await.contains("event: same"));
    say(&server, "one").await;
    assert!(other.event().await.contains("data: one\n"));
    drop((lines, socket, other));
    // The last message comes in between.
    assert!(stream.event().await.contains("data: one\n"));
    becomes(&mut stream, &json!({ "readers": 1 })).await;
    server.metric_becomes(PRESENT, 1.0).await;
    let state = server.admin("/state").await.json()["topics"][0]["presence"].clone();
    assert_eq!(state, json!({ "readers": 1, "names": [] }));

    let mut client = Client::connect(server.listen).await;
    let page = client.get("/chat", &[]).await.json();
    client.send("GET", &format!("/chat?since={}", page["next"].as_str().expect("an id")), &[]).await;
    becomes(&mut stream, &json!({ "readers": 2 })).await;
    // Answered, it is expected back for a while.
    say(&server, "two").await;
    assert_eq!(client.reply().await.status, 200);
    assert!(stream.event().await.contains("data: two\n"));
    assert_eq!(server.admin("/state").await.json()["topics"][0]["presence"]["readers"], 2);
    becomes(&mut stream, &json!({ "readers": 1 })).await;
}

#[tokio::test]
async fn names_are_told_where_the_topic_says_so_and_nothing_where_it_does_not() {
    let (_folder, server) =
        configured("[{path: /chat, presence: named}, {path: /quiet, presence: \"off\"}]", &[]).await;
    let mut stream = events(&server, "presence=1&name=bob", "").await;
    becomes(&mut stream, &json!({ "readers": 1, "names": ["bob"] })).await;
    let ann = events(&server, "", "Agent-Id: ann\r\n").await;
    let again = events(&server, "name=bob", "").await;
    let nobody = events(&server, "", "").await;
    becomes(&mut stream, &json!({ "readers": 4, "names": ["ann", "bob"] })).await;
    drop((ann, again, nobody));
    becomes(&mut stream, &json!({ "readers": 1, "names": ["bob"] })).await;
    let refused = server.get("/quiet?presence=1").await;
    assert_eq!(refused.status, 400);
    assert!(text(&refused).contains("this topic does not tell who reads it (presence: off)"), "{}", text(&refused));
    assert_eq!(server.get("/quiet").await.status, 200);
    assert_eq!(server.admin("/state").await.json()["topics"][1]["presence"], Value::Null);
    let long = server.get(&format!("/chat?name={}", "x".repeat(65))).await;
    assert_eq!(long.status, 400);
    let wrong = server.get("/chat?presence=yes").await;
    assert!(text(&wrong).contains("presence is \\\"yes\\\": give presence=1 or presence=0"), "{}", text(&wrong));
}

#[tokio::test]
async fn readers_of_all_replicas_are_added_up() {
    let nats = NatsServer::start().await;
    let shared = Shared::new(&nats.url(), 1, ", presence: named");
    let (one, two) = (shared.replica().await, shared.replica().await);
    let mut stream = events(&one, "presence=1&name=ann", "").await;
    let mut other = events(&two, "presence=1&name=bob", "").await;
    let both = json!({ "readers": 2, "names": ["ann", "bob"] });
    becomes(&mut stream, &both).await;
    becomes(&mut other, &both).await;
    drop(other);
    becomes(&mut stream, &json!({ "readers": 1, "names": ["ann"] })).await;
}
