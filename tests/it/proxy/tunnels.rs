//! Upgrades: bytes both ways after a 101, and no tunnel without one.

use super::harness::{Front, OK, Raw, RawApp, within};
use tokio::io::AsyncWriteExt;

const UPGRADE: &str = "GET /ws HTTP/1.1\r\nhost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nsec-websocket-key: k\r\n\r\n";
const SWITCH: &str =
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nsec-websocket-accept: v\r\n\r\n";
const OPEN: &str = "tidewait_proxy_upgraded_connections";

async fn tunnel(front: &Front, app: &RawApp) -> (Raw, Raw) {
    let mut client = front.client().await;
    client.send(UPGRADE).await;
    let mut behind = app.accept().await;
    let head = behind.head().await;
    assert!(head.contains("Upgrade: websocket\r\n") && head.contains("Connection: upgrade\r\n"), "{head}");
    behind.send(SWITCH).await;
    let head = client.head().await.to_ascii_lowercase();
    for line in ["http/1.1 101 ", "connection: upgrade\r\n", "upgrade: websocket\r\n", "sec-websocket-accept: v\r\n"] {
        assert!(head.contains(line), "{line} in {head}");
    }
    (client, behind)
}

#[tokio::test]
async fn bytes_go_both_ways_and_each_way_ends_alone() {
    let app = RawApp::new();
    let front = Front::before(app.address()).await;
    let (mut client, mut behind) = tunnel(&front, &app).await;
    front.until(OPEN, "", 1.0).await;
    client.send("ping").await;
    assert_eq!(behind.until("ping").await, "ping");
    behind.send("pong").await;
    assert_eq!(client.until("pong").await, "pong");
    client.0.shutdown().await.expect("the client has said all");
    assert_eq!(behind.rest().await, (String::new(), true), "the end of one direction arrives");
    behind.send("last words").await;
    assert_eq!(client.until("last words").await, "last words", "the other goes on");
    drop(behind);
    assert_eq!(client.rest().await, (String::new(), true));
    front.until(OPEN, "", 0.0).await;
    front.until("tidewait_proxy_app_connections", "", 0.0).await;
    assert!((front.metric("tidewait_proxy_requests_total", "upgraded") - 1.0).abs() < 0.5);
    front.tasks.close();
    within("no task is left", front.tasks.wait()).await;
}

#[tokio::test]
async fn stopping_cuts_tunnels() {
    let app = RawApp::new();
    let front = Front::before(app.address()).await;
    let (mut client, mut behind) = tunnel(&front, &app).await;
    front.until(OPEN, "", 1.0).await;
    front.stop.cancel();
    client.rest().await;
    behind.rest().await;
    front.tasks.close();
    within("no task is left", front.tasks.wait()).await;
    front.until(OPEN, "", 0.0).await;
}

#[tokio::test]
async fn what_follows_an_upgrade_waits_for_the_101() {
    let app = RawApp::new();
    let front = Front::before(app.address()).await;
    // Refused: the bytes are the next request, never the app's as they are.
    let mut client = front.client().await;
    client.send(format!("{UPGRADE}GET /second HTTP/1.1\r\nhost: a\r\n\r\n")).await;
    let mut behind = app.accept().await;
    behind.head().await;
    behind.send(OK).await;
    assert!(client.answer().await.ends_with("ok"));
    let second = behind.head().await;
    assert!(second.starts_with("GET /second ") && second.contains("x-forwarded-for"), "checked anew: {second}");
    behind.send("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n").await;
    client.answer().await;
    // Accepted: they are the first of the tunnel.
    client.send(format!("{UPGRADE}early")).await;
    let mut behind = app.accept().await;
    behind.head().await;
    behind.send(SWITCH).await;
    assert_eq!(behind.until("early").await, "early");
}

#[tokio::test]
async fn requests_that_may_not_switch_are_forwarded_without_upgrade() {
    let app = RawApp::new();
    let front = Front::before(app.address()).await;
    for request in [
        "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AA\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\ncontent-length: 1\r\n\r\nx",
        "GET / HTTP/1.0\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\n\r\n",
    ] {
        let mut client = front.client().await;
        client.send(request).await;
        let mut behind = app.accept().await;
        let head = behind.head().await;
        assert!(!head.contains("upgrade") && !head.contains("http2-settings"), "of {request:?}: {head}");
        // A 101 that nobody asked for is no answer.
        behind.send(SWITCH).await;
        assert!(client.head().await.contains(" 502 "), "of {request:?}");
    }
}

#[tokio::test]
async fn a_refusal_tells_what_the_app_would_speak() {
    let app = RawApp::new();
    let front = Front::before(app.address()).await;
    let mut client = front.client().await;
    client.send(super::harness::GET).await;
    let mut behind = app.accept().await;
    behind.head().await;
    behind
        .send("HTTP/1.1 426 Upgrade Required\r\nupgrade: websocket\r\nconnection: upgrade\r\ncontent-length: 0\r\n\r\n")
        .await;
    let head = client.head().await;
    assert!(head.contains("\r\nupgrade: websocket\r\n") && head.contains("\r\nconnection: upgrade\r\n"), "{head}");
}
