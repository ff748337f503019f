//! A topic over WebSocket.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use rustix::process::Signal;
use serde_json::json;

use super::WebSocket;
use crate::exchange::ask;
use crate::process::tokens::made;
use crate::server::{STEP, Server};
use crate::topic::configured;

const READERS: &str = "tidewait_topic_readers{topic=\"chat\"}";
const STREAMS: &str = "tidewait_topic_streams{form=\"websocket\",topic=\"chat\"}";

async fn start(flags: &[&str]) -> Server {
    Server::start(&[&["--topic", "/chat"], flags].concat()).await
}

#[tokio::test]
async fn messages_are_published_and_read_on_one_connection() {
    let server = start(&[]).await;
    let mut one = WebSocket::open(server.listen, "/chat", "Sec-WebSocket-Protocol: tidewait.v1\r\n").await;
    assert!(one.head.contains("sec-websocket-protocol: tidewait.v1\r\n"), "{}", one.head);
    let begin = one.json().await;
    assert_eq!(begin["type"], "same", "it is told where it begins: {begin}");
    let mut other = WebSocket::open(server.listen, "/chat?name=bob", "").await;
    assert!(!other.head.contains("sec-websocket-protocol"), "none was offered");
    other.json().await;
    server.metric_becomes(STREAMS, 2.0).await;
    one.say(r#"{"type":"publish","key":"k","data":"hello"}"#).await;
    let published = one.json().await;
    assert_eq!((&published["type"], &published["key"]), (&json!("published"), &json!("k")));
    for reader in [&mut one, &mut other] {
        let message = reader.json().await;
        assert_eq!(message["type"], "message");
        let message = &message["message"];
        assert_eq!((&message["id"], &message["data"]), (&published["id"], &json!("hello")));
        assert_eq!(message["type"], "text/plain");
    }
    // The same key again, here and by POST; and for something else.
    one.say(r#"{"type":"publish","key":"k","data":"hello"}"#).await;
    let again = one.json().await;
    assert_eq!((&again["id"], &again["replayed"]), (&published["id"], &json!(true)));
    let by_post =
        ask(server.listen, "POST", "/chat", &[("Content-Type", "text/plain"), ("Idempotency-Key", "k")], "hello");
    let by_post = by_post.await;
    assert_eq!((by_post.field("idempotency-replayed"), &by_post.json()["id"]), ("true", &published["id"]));
    one.say(r#"{"type":"publish","key":"k","data":"other"}"#).await;
    let error = one.json().await;
    assert_eq!(
        (&error["type"], &error["key"], &error["problem"]["status"]),
        (&json!("error"), &json!("k"), &json!(422))
    );
    other.say(r#"{"type":"publish","data":{"b":[1],"a":null}}"#).await;
    assert_eq!(other.json().await["type"], "published");
    let message = one.json().await["message"].clone();
    assert_eq!((&message["type"], &message["by"]), (&json!("application/json"), &json!("bob")));
    assert_eq!((&message["data"], &message["unproven"]), (&json!({"b": [1], "a": null}), &json!(true)));
    other.say(r#"{"type":"publish","data":null}"#).await;
    // Behind its own message of before.
    let published = async { while other.json().await["type"] != "published" {} };
    tokio::time::timeout(STEP, published).await.expect("it is answered");
    assert_eq!(one.json().await["message"]["data"], json!(null));
    let long = format!(r#"{{"type":"publish","data":"{}"}}"#, "x".repeat((16 << 10) + 1));
    one.say(&long).await;
    assert_eq!(one.json().await["problem"]["status"], 413);
    drop((one, other));
    server.metric_becomes(READERS, 0.0).await;
}

#[tokio::test]
async fn who_comes_back_goes_on_where_it_was_or_is_told_of_a_gap() {
    let server = start(&[]).await;
    let mut first = WebSocket::open(server.listen, "/chat", "").await;
    let begin = first.json().await["id"].as_str().expect("an id").to_owned();
    drop(first);
    for text in ["one", "two"] {
        let reply = ask(server.listen, "POST", "/chat", &[("Content-Type", "text/plain")], text).await;
        assert_eq!(reply.status, 201);
    }
    let mut back = WebSocket::open(server.listen, &format!("/chat?since={begin}"), "").await;
    assert_eq!(back.json().await["message"]["data"], "one");
    assert_eq!(back.json().await["message"]["data"], "two");
    let mut lost = WebSocket::open(server.listen, "/chat?since=other.1", "").await;
    let gap = lost.json().await;
    assert_eq!((&gap["type"], &gap["since"], &gap["missed"]), (&json!("gap"), &json!("other.1"), &json!(null)));
    assert_eq!(lost.json().await["message"]["data"], "one");
    let refused = WebSocket::ask(server.listen, "/chat?since=other.1&on-gap=close", "").await;
    assert!(refused.head.starts_with("http/1.1 410 "), "{}", refused.head);
    // A page would not see the status.
    let origin = format!("Origin: http://{}\r\n", server.listen);
    let mut page = WebSocket::open(server.listen, "/chat?since=other.1&on-gap=close", &origin).await;
    assert!(page.closed(4410).await.contains("another history"));
}

#[tokio::test]
async fn the_end_of_a_life_and_of_the_process_are_told_by_codes() {
    let mut server = start(&["--grace", "5s"]).await;
    let mut short = WebSocket::open(server.listen, "/chat?life=1", "").await;
    short.json().await;
    assert!(short.closed(1001).await.contains("come back"));
    let mut long = WebSocket::open(server.listen, "/chat", "").await;
    long.json().await;
    server.metric_becomes(READERS, 1.0).await;
    server.signal(Signal::TERM);
    let told = long.json().await;
    assert_eq!(told["type"], "move", "{told}");
    long.closed(1012).await;
    assert_eq!(server.ended().await, Some(0));
}

#[tokio::test]
async fn pages_of_other_origins_are_refused_unless_they_are_listed() {
    let server = start(&["--access-origins", "https://pages.example"]).await;
    for (origin, status) in [
        ("http://evil.example", "403"),
        ("https://pages.example:444", "403"),
        ("null", "403"),
        ("https://pages.example", "101"),
        (&format!("http://{}", server.listen), "101"),
        // What ends TLS before the server is not known to it.
        (&format!("https://{}", server.listen), "101"),
    ] {
        let asked = WebSocket::ask(server.listen, "/chat", &format!("Origin: {origin}\r\n")).await;
        assert!(asked.head.starts_with(&format!("http/1.1 {status} ")), "{origin}: {}", asked.head);
    }
    let headers = [("Content-Type", "text/plain"), ("Origin", "https://pages.example")];
    assert_eq!(ask(server.listen, "POST", "/chat", &headers, "x").await.status, 201, "they may publish too");
}

/// A page cannot send `Authorization`.
#[tokio::test]
async fn a_token_may_come_as_a_subprotocol() {
    let folder = tempfile::tempdir().expect("a folder");
    let (file, next) = (folder.path().join("tokens"), folder.path().join("next"));
    let [bob, eve] = [made(&["bob"]).await, made(&["eve"]).await];
    std::fs::write(&file, bob.1 + "\n").expect("written");
    let rules = "[{path: /chat}]\naccess:\n  rules:\n  - {subjects: [\"user:bob\"], verbs: [get], topics: [chat]}";
    let (_folder, server) = configured(rules, &["--access-tokens", file.to_str().expect("UTF-8")]).await;
    let offers = format!("Sec-WebSocket-Protocol: tidewait.v1, bearer.{}\r\n", BASE64_URL_SAFE_NO_PAD.encode(bob.0));
    let mut bob = WebSocket::open(server.listen, "/chat", &offers).await;
    assert!(bob.head.contains("sec-websocket-protocol: tidewait.v1\r\n"), "it is not sent back: {}", bob.head);
    bob.json().await;
    bob.say(r#"{"type":"publish","data":"x"}"#).await;
    let error = bob.json().await;
    assert_eq!(error["problem"]["status"], 403, "who may read may not publish by that: {error}");
    let nobody = WebSocket::ask(server.listen, "/chat", "").await;
    assert!(nobody.head.starts_with("http/1.1 401 "), "{}", nobody.head);
    let origin = format!("Origin: http://{}\r\n", server.listen);
    let mut page = WebSocket::open(server.listen, "/chat", &origin).await;
    page.closed(4401).await;
    // The token is withdrawn.
    std::fs::write(&next, eve.1 + "\n").expect("written");
    std::fs::rename(&next, &file).expect("renamed");
    bob.closed(4401).await;
}
