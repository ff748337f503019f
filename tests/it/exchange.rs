//! The built binary with exchanges: consumers, and workers of each transport.

mod access; // who may no longer
mod claims; // workers that poll
mod consumers; // what consumers are told
mod demos; // the lines of docs/exchange.md, as they stand
mod faults; // what happens when something goes wrong
mod operators; // what operators are told
mod parked; // what waits, and what it costs
pub(crate) mod proxies; // behind nginx and haproxy
mod reverse; // workers that dial in
mod shared; // replicas that share an exchange

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::server::{Client, Reply, Server};

/// A server with an exchange for `/work`, and with these flags.
async fn start(flags: &[&str]) -> Server {
    Server::start(&[&["--exchange", "/work"], flags].concat()).await
}

/// A server with this `exchanges:` in its file, whose folder is to be kept.
async fn configured(exchanges: &str) -> (tempfile::TempDir, Server) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("serve.yaml");
    let text = format!("apiVersion: tidewait.dev/v1alpha1\nkind: ServeConfig\nexchanges: {exchanges}\n");
    std::fs::write(&file, text).expect("written");
    let server = Server::start(&["--config", file.to_str().expect("UTF-8")]).await;
    (folder, server)
}

/// Sends a request with a body on a connection of its own, which stays open.
pub(crate) async fn send(to: SocketAddr, method: &str, target: &str, fields: &[(&str, &str)], body: &str) -> Client {
    let mut client = Client::connect(to).await;
    let length = body.len().to_string();
    let mut all = vec![("Content-Length", length.as_str())];
    all.extend_from_slice(fields);
    client.send(method, target, &all).await;
    client.stream.get_mut().write_all(body.as_bytes()).await.expect("sent");
    client
}

/// The same, and its answer.
pub(crate) async fn ask(to: SocketAddr, method: &str, target: &str, fields: &[(&str, &str)], body: &str) -> Reply {
    send(to, method, target, fields, body).await.reply().await
}

pub(crate) fn text(reply: &Reply) -> String {
    String::from_utf8_lossy(&reply.body).into_owned()
}

/// A worker that has dialled in by HTTP/1.1.
pub(crate) struct Dialled {
    stream: TcpStream,
    seen: Vec<u8>,
}

impl Dialled {
    pub(crate) async fn to(server: SocketAddr, target: &str) -> Self {
        Self::with(server, target, "").await
    }

    /// With further lines in its head.
    pub(crate) async fn with(server: SocketAddr, target: &str, lines: &str) -> Self {
        let mut stream = TcpStream::connect(server).await.expect("it listens");
        let head = format!(
            "GET {target} HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: ptth\r\nALPN: http%2F1.1\r\nAgent-Id: w\r\n{lines}\r\n"
        );
        stream.write_all(head.as_bytes()).await.expect("sent");
        let mut dialled = Self { stream, seen: Vec::new() };
        let head = dialled.head().await.expect("an answer");
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        assert!(head.contains("alpn: http%2F1.1"), "{head}");
        dialled
    }

    /// The next head, with its empty line; none: the connection has ended.
    pub(crate) async fn head(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.seen.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                let rest = self.seen.split_off(end + 4);
                let head = std::mem::replace(&mut self.seen, rest);
                return Some(String::from_utf8(head).expect("text"));
            }
            let mut bytes = [0; 4096];
            match tokio::time::timeout(crate::server::STEP, self.stream.read(&mut bytes)).await.expect("in time") {
                Ok(0) | Err(_) => return None,
                Ok(count) => self.seen.extend_from_slice(&bytes[..count]),
            }
        }
    }

    /// So many bytes of a body.
    pub(crate) async fn body(&mut self, length: usize) -> String {
        while self.seen.len() < length {
            let mut bytes = [0; 4096];
            let count = self.stream.read(&mut bytes).await.expect("read");
            assert!(count > 0, "it ended within a body");
            self.seen.extend_from_slice(&bytes[..count]);
        }
        let rest = self.seen.split_off(length);
        String::from_utf8(std::mem::replace(&mut self.seen, rest)).expect("text")
    }

    pub(crate) async fn write(&mut self, bytes: &str) {
        self.stream.write_all(bytes.as_bytes()).await.expect("sent");
    }
}
