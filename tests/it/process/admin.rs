//! The admin port while others do their worst: the kubelet's probe is answered, and a drain goes on.

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpSocket;
use tokio::time::{Duration, Instant};

use super::{park, serve};
use crate::model_file::ModelFile;
use crate::server::{Client, Server, tidewait};

const CLOSED: &str = "tidewait_admin_connections_closed_total";

/// Connections that never end: some say nothing, some half a head, some never read their answer.
async fn fill(server: &Server, connections: usize) -> Vec<tokio::net::TcpStream> {
    let mut held = Vec::new();
    for number in 0..connections {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(1024).expect("a small window");
        let mut stream = socket.connect(server.admin).await.expect("it listens");
        let bytes: &[u8] = match number % 3 {
            0 => b"",
            1 => b"GET /livez HTTP/1.1\r\nHost: a\r\nX: ",
            _ => b"GET /openapi.json HTTP/1.1\r\nHost: a\r\n\r\n",
        };
        // One that had to make room already is closed.
        let _ = stream.write_all(bytes).await;
        held.push(stream);
    }
    held
}

#[tokio::test]
async fn a_full_port_still_answers_probes_and_a_drain_keeps_its_place() {
    let model = ModelFile::new("{}");
    let mut server = serve(&model, &["--grace=4s"]).await;
    server.ready().await;
    let id = server.get("/describe").await.id().to_owned();
    let mut parked = park(&server, &id, "50").await;
    let admin = server.admin.to_string();
    let drain = tokio::spawn(tidewait(&["drain", "--admin", &admin, "--at-least=1s"]).output());
    let start = Instant::now();
    super::until("draining", &server, super::Port::Admin, "/readyz", |reply| reply.status == 503).await;
    let _held = fill(&server, 200).await;
    for _ in 0..20 {
        let sent = Instant::now();
        let alive = server.admin("/livez").await;
        assert_eq!((alive.status, alive.field("connection")), (200, "close"), "{alive:?}");
        assert!(sent.elapsed() < Duration::from_secs(1), "{:?}", sent.elapsed());
    }
    // Two of three never end by themselves, so each of them beyond the 64 places was closed for another one. The third kind
    // is answered, and may end before its place is needed.
    assert!(server.metric(CLOSED).await >= 69.0);
    assert_eq!(parked.reply().await.status, 204);
    let drained = drain.await.expect("no panic").expect("it runs");
    assert_eq!(drained.status.code(), Some(0), "{drained:?}");
    assert!(start.elapsed() > Duration::from_secs(1));
}

#[tokio::test]
async fn a_connection_that_never_asks_ends() {
    let model = ModelFile::new("{}");
    let mut server = serve(&model, &[]).await;
    server.ready().await;
    let mut silent = Client::connect(server.admin).await;
    let start = Instant::now();
    assert!(silent.try_reply().await.is_none(), "closed");
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}

#[tokio::test]
async fn every_405_says_what_is_allowed() {
    let model = ModelFile::new("{}");
    let mut server = serve(&model, &[]).await;
    server.ready().await;
    for (path, allow) in [
        ("/livez", "GET, HEAD"),
        ("/readyz", "GET, HEAD"),
        ("/metrics", "GET, HEAD"),
        ("/state", "GET, HEAD"),
        ("/agents", "GET, HEAD"),
        ("/log-level", "GET, HEAD, PUT"),
        ("/drain", "POST"),
        ("/openapi.json", "GET, HEAD"),
        ("/events", "GET, HEAD"),
        ("/", "GET, HEAD"),
        ("/page.css", "GET, HEAD"),
        ("/page.js", "GET, HEAD"),
    ] {
        for method in ["DELETE", "OPTIONS", "BREW"] {
            let mut client = Client::connect(server.admin).await;
            client.send(method, path, &[]).await;
            let reply = client.reply().await;
            assert_eq!((reply.status, reply.field("allow")), (405, allow), "{method} {path}: {reply:?}");
            assert!(reply.json()["detail"].as_str().is_some_and(|detail| detail.contains(allow)), "{reply:?}");
        }
    }
    for (method, path) in [("POST", "/describe"), ("DELETE", "/describe"), ("TRACE", "/describe"), ("TRACE", "/x")] {
        let mut client = Client::connect(server.listen).await;
        client.send(method, path, &[]).await;
        let reply = client.reply().await;
        assert_eq!((reply.status, reply.field("allow")), (405, "GET, HEAD, OPTIONS"), "{method} {path}: {reply:?}");
    }
}
