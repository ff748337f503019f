//! What publishers are told.

use super::{JSON, TEXT, at, configured, id, said, start};
use crate::exchange::{ask, text};
use crate::server::{Client, STEP};

#[tokio::test]
async fn a_message_is_created_with_its_place_and_time() {
    let server = start(&[]).await;
    let reply = ask(server.listen, "POST", "/chat?name=ann", &[TEXT], "hello").await;
    assert_eq!((reply.status, reply.field("content-type")), (201, "application/json"));
    assert_eq!(reply.field("cache-control"), "no-store");
    let first = id(&reply);
    assert!(first.ends_with(".1"), "{first}");
    assert_eq!(reply.field("location"), format!("/chat?since={}&limit=1", at(&first, 0)));
    let told = reply.json()["at"].as_str().expect("a time").to_owned();
    assert!(told.len() == "2026-11-30T12:00:00.000Z".len() && told.ends_with('Z'), "{told}");
    let page = server.get(reply.field("location")).await.json();
    let message = &page["messages"][0];
    assert_eq!((&message["id"], &message["at"], &message["by"]), (&first.into(), &told.into(), &"ann".into()));
    assert_eq!(message["unproven"], true, "anybody can say so");
    assert_eq!((&message["type"], &message["data"]), (&"text/plain".into(), &"hello".into()));
    ask(server.listen, "POST", "/chat", &[JSON, ("Agent-Id", "bot-1")], "{\"b\": 1, \"a\": null}").await;
    let page = server.get("/chat?tail=1").await;
    let message = &page.json()["messages"][0];
    assert_eq!((&message["by"], &message["data"]), (&"bot-1".into(), &serde_json::json!({ "a": null, "b": 1 })));
    assert!(text(&page).contains("\"data\":{\"a\":null,\"b\":1}"), "canonical: {}", text(&page));
}

#[tokio::test]
async fn a_repeated_message_is_the_same_and_another_one_needs_another_key() {
    let server = start(&[]).await;
    let key = ("Idempotency-Key", "\"k-1\"");
    let first = ask(server.listen, "POST", "/chat", &[TEXT, key], "hello").await;
    let again = ask(server.listen, "POST", "/chat", &[TEXT, key], "hello").await;
    assert_eq!((again.status, again.field("idempotency-replayed")), (201, "true"));
    assert_eq!(again.body, first.body);
    for (media_type, body) in [(TEXT, "other"), (("Content-Type", "text/html"), "hello")] {
        let other = ask(server.listen, "POST", "/chat", &[media_type, key], body).await;
        assert_eq!((other.status, &other.json()["type"]), (422, &"https://tidewait.dev/problems/key-reused".into()));
    }
    // Of somebody else behind the same address.
    let bob = ask(server.listen, "POST", "/chat?name=bob", &[TEXT, key], "hello").await;
    assert_eq!((bob.status, bob.field("idempotency-replayed")), (201, ""));
    assert_eq!(said(&server.get("/chat").await.json()), ["hello", "hello"]);
    assert!((server.metric("tidewait_topic_published_total{topic=\"chat\"}").await - 2.0).abs() < f64::EPSILON);
    assert!((server.metric("tidewait_topic_repeated_total{topic=\"chat\"}").await - 1.0).abs() < f64::EPSILON);
}

#[tokio::test]
async fn what_cannot_be_published_is_refused_with_what_to_do() {
    let topics = "[{name: chat, path: /chat, messageBytes: 1Ki, publishRate: {perSecond: 1, burst: 3}}]";
    let (_folder, server) = configured(topics, &[]).await;
    let long = "x".repeat(1025);
    let form = ("Content-Type", "application/x-www-form-urlencoded");
    let foreign = ("Origin", "http://evil.example");
    for (method, target, fields, body, status, detail) in [
        ("POST", "/chat", &[form][..], "hello", 415, "send Content-Type: text/plain, or application/json"),
        ("POST", "/chat", &[], "hello", 415, "Content-Type is missing"),
        ("POST", "/chat", &[TEXT, ("Content-Encoding", "gzip")], "hello", 415, "without a coding"),
        ("POST", "/chat", &[TEXT], &long, 413, "longer than 1024 bytes (messageBytes of the topic)"),
        ("POST", "/chat", &[JSON], "{\"a\":", 400, "the body is not JSON"),
        ("POST", "/chat", &[TEXT, ("Idempotency-Key", "")], "hello", 400, "Idempotency-Key is \\\"\\\": give 1 to 255"),
        ("POST", "/chat", &[TEXT, ("Agent-Id", "a b")], "hello", 400, "Agent-Id is \\\"a b\\\""),
        (
            "POST",
            "/chat",
            &[TEXT, foreign],
            "hello",
            403,
            "a page of \\\"http://evil.example\\\" may not do this where Host is",
        ),
        ("POST", "/chat", &[TEXT, ("Cookie", "a=b")], "hello", 403, "needs an Idempotency-Key"),
        ("POST", "/chat?name=a%0ab", &[TEXT], "hello", 400, "and no control characters"),
        ("POST", "/chat", &[JSON], "", 400, "it is empty: send a JSON value"),
        ("DELETE", "/chat", &[], "", 405, "GET reads messages, POST publishes one"),
    ] {
        let reply = ask(server.listen, method, target, fields, body).await;
        let told = text(&reply);
        assert!(reply.status == status && told.contains(detail), "{method} {fields:?}: {} {told}", reply.status);
    }
    let deleted = ask(server.listen, "DELETE", "/chat", &[], "").await;
    assert_eq!(deleted.field("allow"), "GET, HEAD, POST, OPTIONS");
    let options = ask(server.listen, "OPTIONS", "/chat", &[], "").await;
    assert_eq!((options.status, options.field("allow")), (204, "GET, HEAD, POST, OPTIONS"));
    // A page of its own: the client of this test asks for the host `test`.
    for fields in [&[TEXT, ("Origin", "http://test")][..], &[TEXT], &[TEXT]] {
        assert_eq!(ask(server.listen, "POST", "/chat", fields, "hello").await.status, 201);
    }
    let fast = ask(server.listen, "POST", "/chat", &[TEXT], "hello").await;
    assert_eq!((fast.status, &fast.json()["type"]), (429, &"https://tidewait.dev/problems/publish-rate".into()));
    assert!(["1", "2"].contains(&fast.field("retry-after")), "{}", fast.field("retry-after"));
    assert!(text(&fast).contains("publishRate of topic chat"), "{}", text(&fast));
    for (reason, count) in [("rate", 1), ("origin", 2), ("media-type", 3), ("too-large", 1), ("malformed", 5)] {
        let series = format!("tidewait_topic_refused_total{{reason=\"{reason}\",topic=\"chat\"}}");
        server.metric_becomes(&series, f64::from(count)).await;
    }
}

/// A body that is too long by what its head says is not read, and one that breaks off is no message.
#[tokio::test]
async fn a_body_that_lies_or_breaks_off_is_no_message() {
    let server = start(&[]).await;
    let mut client = Client::connect(server.listen).await;
    client.send("POST", "/chat", &[TEXT, ("Content-Length", "1073741824"), ("Expect", "100-continue")]).await;
    let reply = tokio::time::timeout(STEP, client.reply()).await.expect("at once");
    assert_eq!(reply.status, 413, "{}", text(&reply));
    let mut client = Client::connect(server.listen).await;
    client.send("POST", "/chat", &[TEXT, ("Content-Length", "10")]).await;
    drop(client);
    assert_eq!(said(&server.get("/chat").await.json()), [""; 0]);
    // A message of no bytes is one.
    assert_eq!(ask(server.listen, "POST", "/chat", &[TEXT], "").await.status, 201);
    assert_eq!(said(&server.get("/chat").await.json()), [""]);
}
