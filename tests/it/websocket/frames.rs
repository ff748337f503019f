//! What comes wrong, and how the connection is closed.

use super::{BINARY, CLOSE, FINAL, PING, Received, TEXT, WebSocket};
use crate::server::Server;

async fn start() -> Server {
    Server::start(&["--topic", "/chat"]).await
}

async fn opened(server: &Server) -> WebSocket {
    let mut client = WebSocket::open(server.listen, "/chat?tail=0", "").await;
    client.json().await;
    client
}

#[tokio::test]
async fn a_wrong_frame_closes_the_connection_with_its_code() {
    let server = start().await;
    let publish = br#"{"type":"publish","data":"x"}"#;
    for (what, first, payload, code) in [
        ("a message of bytes", FINAL | BINARY, &publish[..], 1003),
        ("a text that is not UTF-8", FINAL | TEXT, b"\"\xff\"", 1007),
        ("a reserved bit", FINAL | 0x40 | TEXT, publish, 1002),
        ("a reserved opcode", FINAL | 3, publish, 1002),
        ("a continuation of nothing", FINAL, publish, 1002),
        ("a ping in fragments", PING, b"x", 1002),
        ("a long ping", FINAL | PING, &[b'x'; 126], 1002),
        ("a close with half a code", FINAL | CLOSE, &[3], 1002),
        ("no JSON", FINAL | TEXT, b"hello", 1008),
        ("a message for operations", FINAL | TEXT, br#"{"type":"held","id":"x"}"#, 1008),
    ] {
        let mut client = opened(&server).await;
        client.frame(first, payload).await;
        let Received::Close(found, reason) = client.next().await else { panic!("{what}: no close") };
        assert_eq!(found, code, "{what}: {reason}");
        client.frame(FINAL | CLOSE, &code.to_be_bytes()).await;
        assert_eq!(client.next().await, Received::End, "{what}");
    }
    // A frame without a mask.
    let mut client = opened(&server).await;
    client.raw(b"\x81\x01x").await;
    client.closed(1002).await;
    server.metric_becomes("tidewait_topic_readers{topic=\"chat\"}", 0.0).await;
}

/// It is refused by the length that its head says, and what comes of it is not kept.
#[tokio::test]
async fn a_message_of_a_gigabyte_is_too_long() {
    let server = start().await;
    let mut client = opened(&server).await;
    let mut head = vec![FINAL | TEXT, 0xff];
    head.extend_from_slice(&(1_u64 << 30).to_be_bytes());
    client.raw(&[&head[..], &[0; 4]].concat()).await;
    client.raw(&vec![b'x'; 1 << 20]).await;
    let Received::Close(code, _) = client.next().await else { panic!("no close") };
    assert_eq!(code, 1009);
    // In fragments, each of which is short.
    let mut client = opened(&server).await;
    for first in [TEXT, 0, 0] {
        client.frame(first, &[b'x'; 10_000]).await;
    }
    let Received::Close(code, _) = client.next().await else { panic!("no close") };
    assert_eq!(code, 1009);
}

#[tokio::test]
async fn pings_are_answered_and_fragments_are_put_together() {
    let server = start().await;
    let mut client = opened(&server).await;
    client.frame(TEXT, br#"{"type":"publish","#).await;
    client.frame(FINAL | PING, b"between").await;
    assert_eq!(client.next().await, Received::Pong(b"between".to_vec()));
    client.frame(0, br#""data":"\u00e4"#).await;
    client.frame(FINAL, b"\xc3\xa4\"}").await;
    assert_eq!(client.json().await["type"], "published");
    assert_eq!(client.json().await["message"]["data"], "\u{e4}\u{e4}");
    client.frame(FINAL | CLOSE, &[&1000_u16.to_be_bytes()[..], b"done"].concat()).await;
    assert_eq!(client.next().await, Received::Close(1000, "done".to_owned()), "as it has asked");
    assert_eq!(client.next().await, Received::End);
}

#[tokio::test]
async fn a_client_that_says_too_much_is_closed() {
    let server = Server::start(&["--topic", "/chat"]).await;
    let mut client = opened(&server).await;
    for _ in 0..60 {
        client.say(r#"{"type":"publish","data":"x"}"#).await;
    }
    let mut refused = 0;
    for _ in 0..110 {
        refused += u32::from(client.json().await["problem"]["status"] == 429);
        if refused == 1 {
            break;
        }
    }
    assert_eq!(refused, 1, "publishRate of the topic is 50 at once");
}

#[tokio::test]
async fn what_is_wrong_with_a_handshake_is_a_status() {
    let server = start().await;
    for (fields, status, named) in [
        ("Sec-WebSocket-Protocol: mqtt\r\n", "400", "content-type: application/problem+json"),
        ("Sec-WebSocket-Key: AAAA\r\n", "400", "content-type: application/problem+json"),
        ("Content-Length: 3\r\n\r\nabc", "400", "content-type: application/problem+json"),
    ] {
        let asked = WebSocket::ask(server.listen, "/chat", fields).await;
        assert!(asked.head.starts_with(&format!("http/1.1 {status} ")), "{fields}: {}", asked.head);
        assert!(asked.head.contains(named), "{}", asked.head);
    }
    let old =
        crate::exchange::ask(server.listen, "GET", "/chat", &[("Upgrade", "websocket"), ("Connection", "upgrade")], "");
    let old = old.await;
    assert_eq!((old.status, old.field("sec-websocket-version")), (426, "13"));
}
