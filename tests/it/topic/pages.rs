//! Pages of other origins: those that are listed read what they are answered, and browsers are told beforehand what they may send.

use std::process::Stdio;

use tokio::process::Command;

use super::{Stream, TEXT, at, say};
use crate::exchange::{ask, text};
use crate::process::tokens::made;
use crate::server::{Client, Reply, Server};

const PAGE: &str = "https://dashboard.example";

/// A server with an operation and a topic, to which pages of [`PAGE`] may come.
async fn start(flags: &[&str]) -> (tempfile::TempDir, Server) {
    let folder = tempfile::tempdir().expect("a folder");
    let model = folder.path().join("model.json");
    std::fs::write(&model, "{\"mtu\":1450}").expect("written");
    let origins = format!("http://localhost:1,{PAGE}");
    let flags = [&["--file", model.to_str().expect("UTF-8"), "--access-origins", &origins], flags].concat();
    let mut server = super::start(&flags).await;
    server.ready().await;
    (folder, server)
}

fn let_in(reply: &Reply) -> Option<&str> {
    let origin = Some(reply.field("access-control-allow-origin")).filter(|origin| !origin.is_empty());
    assert_eq!(reply.field("access-control-allow-credentials") == "true", origin.is_some());
    origin
}

#[tokio::test]
async fn a_page_of_a_listed_origin_reads_polls_and_streams_and_publishes() {
    let (_folder, server) = start(&[]).await;
    let (page, other) = (("Origin", PAGE), ("Origin", "https://other.example"));
    let mut client = Client::connect(server.listen).await;
    let state = client.get("/describe", &[page]).await;
    assert_eq!((state.status, let_in(&state)), (200, Some(PAGE)));
    assert!(state.field("access-control-expose-headers").contains("State-Id"));
    // On the same connection, whose head was read before; then one that differs in its origin alone.
    assert_eq!(let_in(&client.get("/describe", &[page]).await), Some(PAGE));
    assert_eq!(let_in(&client.get("/describe", &[other]).await), None);
    assert_eq!(let_in(&client.get("/describe", &[]).await), None);
    assert_eq!(let_in(&client.get("/describe?since=%", &[page]).await), Some(PAGE), "of a refusal too");
    assert_eq!(let_in(&client.get("/nothing", &[page]).await), None);

    let published = ask(server.listen, "POST", "/chat", &[TEXT, page], "one").await;
    assert_eq!((published.status, let_in(&published)), (201, Some(PAGE)));
    assert_eq!(ask(server.listen, "POST", "/chat", &[TEXT, other], "no").await.status, 403);
    let id = say(&server, "two").await;
    assert_eq!(let_in(&client.get("/chat", &[page]).await), Some(PAGE));
    // Two that are parked get the same page, and one of them may read it.
    let mut parked = [Client::connect(server.listen).await, Client::connect(server.listen).await];
    let target = format!("/chat?since={id}");
    for (client, origin) in parked.iter_mut().zip([page, other]) {
        client.send("GET", &target, &[origin]).await;
    }
    server.metric_becomes("tidewait_topic_readers{topic=\"chat\"}", 2.0).await;
    say(&server, "three").await;
    for (client, expected) in parked.iter_mut().zip([Some(PAGE), None]) {
        let reply = client.reply().await;
        assert_eq!((reply.status, let_in(&reply), reply.json()["next"].as_str()), (200, expected, Some(&*at(&id, 3))));
    }

    for target in ["/describe", "/chat"] {
        let fields = |origin: &str| format!("Accept: text/event-stream\r\nOrigin: {origin}\r\n");
        let mut stream = Stream::open(server.listen, target, &fields(PAGE)).await;
        assert!(stream.head.contains(&format!("\r\naccess-control-allow-origin: {PAGE}\r\n")), "{}", stream.head);
        assert!(stream.event().await.contains("id: "));
        let stream = Stream::open(server.listen, target, &fields("https://other.example")).await;
        assert!(!stream.head.contains("access-control"), "{}", stream.head);
    }
}

#[tokio::test]
async fn a_page_reads_over_http2_what_it_reads_over_http1() {
    let (_folder, server) = start(&[]).await;
    say(&server, "one").await;
    for (target, accept) in [
        ("/describe", "application/json"),
        ("/chat", "application/json"),
        ("/describe?life=1", "text/event-stream"),
        ("/chat?life=1", "text/event-stream"),
    ] {
        for (origin, is_let_in) in [(PAGE, true), ("https://other.example", false)] {
            let url = format!("http://{}{target}", server.listen);
            let fields = [format!("Accept: {accept}"), format!("Origin: {origin}")];
            let mut curl = Command::new("curl");
            curl.args(["-siN", "--http2-prior-knowledge", "-H", &fields[0], "-H", &fields[1], &url]);
            let output = curl.stdout(Stdio::piped()).output().await.expect("curl");
            let answer = String::from_utf8_lossy(&output.stdout).to_ascii_lowercase();
            assert!(answer.starts_with("http/2 200"), "{answer}");
            assert_eq!(answer.contains(&format!("\naccess-control-allow-origin: {PAGE}\r")), is_let_in, "{answer}");
        }
    }
}

#[tokio::test]
async fn a_browser_is_told_beforehand_what_a_page_may_send_and_shows_no_credential_for_it() {
    let (token, line) = made(&["ann"]).await;
    let tokens = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(tokens.path(), line + "\n").expect("written");
    let (_folder, server) = start(&["--access-tokens", tokens.path().to_str().expect("UTF-8")]).await;
    let asks = [
        ("Access-Control-Request-Method", "POST"),
        ("Access-Control-Request-Headers", "authorization,idempotency-key"),
    ];
    for (path, methods) in [("/chat", "GET, HEAD, POST"), ("/describe", "GET, HEAD")] {
        let told = ask(server.listen, "OPTIONS", path, &[&[("Origin", PAGE)], &asks[..]].concat(), "").await;
        assert_eq!((told.status, let_in(&told)), (204, Some(PAGE)), "{}", text(&told));
        assert_eq!(told.field("access-control-allow-methods"), methods);
        assert_eq!(told.field("access-control-allow-headers"), "authorization,idempotency-key");
        assert_eq!(told.field("access-control-max-age"), "600");
        let other = ask(server.listen, "OPTIONS", path, &[&[("Origin", "http://a")], &asks[..]].concat(), "").await;
        assert_eq!((other.status, let_in(&other)), (401, None), "as any other request");
        let none = ask(server.listen, "OPTIONS", path, &[("Origin", PAGE)], "").await;
        assert_eq!((none.status, let_in(&none)), (401, Some(PAGE)), "nothing is asked beforehand");
    }
    let authorization = format!("Bearer {token}");
    let reply =
        Client::connect(server.listen).await.get("/chat", &[("Origin", PAGE), ("Authorization", &authorization)]).await;
    assert_eq!((reply.status, let_in(&reply)), (200, Some(PAGE)));
    let refused = Client::connect(server.listen).await.get("/chat", &[("Origin", PAGE)]).await;
    assert_eq!((refused.status, let_in(&refused)), (401, Some(PAGE)), "a page sees why");
}
