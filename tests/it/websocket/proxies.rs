//! Behind the real nginx and the real haproxy, by the lines of docs/exchange.md: WebSocket and event streams, of an operation and of
//! a topic. What a proxy would hold back does not come, since nothing follows it.

use std::net::SocketAddr;

use rustix::process::Signal;
use serde_json::json;
use tokio::time::Instant;

use super::{FINAL, PONG, Received, WebSocket};
use crate::exchange::ask;
use crate::exchange::proxies::{Haproxy, LONGER, nginx};
use crate::model_file::ModelFile;
use crate::process::serve;
use crate::server::Server;
use crate::topic::{Stream, TEXT};

const EVENTS: &str = "Accept: text/event-stream\r\n";

async fn served() -> (ModelFile, Server) {
    let model = ModelFile::new(r#"{"n":0}"#);
    let flags = ["--topic", "/chat", "--trusted-proxies", "127.0.0.0/8", "--grace", "3s"];
    let mut server = serve(&model, &flags).await;
    server.ready().await;
    (model, server)
}

/// Readers of each kind behind a proxy.
struct Readers {
    chat: WebSocket,
    model: WebSocket,
    messages: Stream,
    states: Stream,
}

impl Readers {
    async fn through(proxy: SocketAddr) -> Self {
        // A page of this origin, which is the proxy's.
        let page = format!("Origin: http://{proxy}\r\n");
        let mut chat = WebSocket::open(proxy, "/chat", &page).await;
        assert_eq!(chat.json().await["type"], "same");
        let mut model = WebSocket::open(proxy, "/describe", &page).await;
        assert_eq!(model.json().await["model"], json!({"n": 0}));
        let mut messages = Stream::open(proxy, "/chat", EVENTS).await;
        assert!(messages.event().await.contains("event: same\n"));
        let mut states = Stream::open(proxy, "/describe", EVENTS).await;
        assert!(states.event().await.contains("data: {\"n\":0}\n"));
        Self { chat, model, messages, states }
    }

    /// All are told of a message and of a state.
    async fn are_told(&mut self, n: u8, model: &ModelFile, server: &Server) {
        let said = format!("message {n}");
        assert_eq!(ask(server.listen, "POST", "/chat", &[TEXT], &said).await.status, 201);
        assert_eq!(self.chat.json().await["message"]["data"], said);
        assert!(self.messages.event().await.contains(&format!("data: {said}\n")));
        let state = json!({"n": n});
        model.replace(&state.to_string());
        assert_eq!(self.model.json().await["model"], state);
        assert!(self.states.event().await.contains(&format!("data: {state}\n")));
    }
}

/// Answers pings, for longer than the timeouts of either proxy. Nothing else comes.
async fn answers_pings(socket: &mut WebSocket) {
    let since = Instant::now();
    while since.elapsed() < LONGER {
        assert_eq!(socket.next().await, Received::Ping);
        socket.frame(FINAL | PONG, b"").await;
    }
}

async fn passes(proxy: SocketAddr, (model, mut server): (ModelFile, Server)) {
    let mut readers = Readers::through(proxy).await;
    readers.are_told(1, &model, &server).await;
    tokio::join!(answers_pings(&mut readers.chat), answers_pings(&mut readers.model));
    readers.are_told(2, &model, &server).await;
    readers.chat.say(r#"{"type":"publish","key":"k","data":"from a page"}"#).await;
    assert_eq!(readers.chat.json().await["type"], "published");
    assert_eq!(readers.chat.json().await["message"]["data"], "from a page");
    readers.chat.say(r#"{"type":"unknown"}"#).await;
    assert!(readers.chat.closed(1008).await.contains("unknown"), "the reason passes, too");
    server.signal(Signal::TERM);
    assert_eq!(readers.model.json().await["type"], "move");
    readers.model.closed(1012).await;
    for stream in [&mut readers.messages, &mut readers.states] {
        assert!(stream.rest().await.contains("event: move\n"));
    }
    assert_eq!(server.ended().await, Some(0));
}

#[tokio::test]
async fn nginx_passes_streams_and_websocket_at_once() {
    let served = served().await;
    let proxy = nginx(served.1.listen).await;
    passes(proxy.address, served).await;
}

#[tokio::test]
async fn haproxy_passes_streams_and_websocket_at_once() {
    let served = served().await;
    let proxy = Haproxy::before(served.1.listen, "timeout server").await;
    passes(proxy.address, served).await;
}
