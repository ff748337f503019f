//! The built binary with topics: who publishes, and who reads, in each form and over each protocol.

mod access; // who may publish, and who may read
mod commands; // `tidewait tail`, `publish` and `chat`
mod docs; // the lines of docs/topics.md, as they stand
mod file; // messages that survive a restart
mod many; // many readers and publishers at once
mod nats; // replicas that share a topic by NATS
mod pages; // pages of other origins
mod presence; // who reads, as readers are told
mod publish; // what publishers are told
mod read; // what polls are given
mod streams; // what streams are told

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::exchange::ask;
use crate::server::{Reply, STEP, Server};

pub(crate) const TEXT: (&str, &str) = ("Content-Type", "text/plain");
const JSON: (&str, &str) = ("Content-Type", "application/json");

/// A server with a topic at `/chat`, and with these flags.
async fn start(flags: &[&str]) -> Server {
    Server::start(&[&["--topic", "/chat"], flags].concat()).await
}

/// A server with this `topics:` in its file, whose folder is to be kept.
pub(crate) async fn configured(topics: &str, flags: &[&str]) -> (tempfile::TempDir, Server) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("serve.yaml");
    let text = format!("apiVersion: tidewait.dev/v1alpha1\nkind: ServeConfig\ntopics: {topics}\n");
    std::fs::write(&file, text).expect("written");
    let server = Server::start(&[&["--config", file.to_str().expect("UTF-8")], flags].concat()).await;
    (folder, server)
}

/// Publishes a text at `/chat`; gives its id.
async fn say(server: &Server, text: &str) -> String {
    let reply = ask(server.listen, "POST", "/chat", &[TEXT], text).await;
    assert_eq!(reply.status, 201, "{}", String::from_utf8_lossy(&reply.body));
    id(&reply)
}

fn id(reply: &Reply) -> String {
    reply.json()["id"].as_str().expect("an id").to_owned()
}

/// The id at this offset of the history that another is of.
fn at(id: &str, offset: u64) -> String {
    format!("{}.{offset}", id.split_once('.').expect("an id").0)
}

/// What the messages of a page say.
fn said(page: &serde_json::Value) -> Vec<&str> {
    let messages = page["messages"].as_array().expect("messages");
    messages.iter().map(|message| message["data"].as_str().expect("a text")).collect()
}

/// A stream that is read over HTTP/1.1, without its framing.
pub(crate) struct Stream {
    socket: TcpStream,
    pub(crate) head: String,
    raw: Vec<u8>,
    body: Vec<u8>,
    /// How much of the body was looked at.
    read: usize,
    /// The last chunk has come.
    is_whole: bool,
}

impl Stream {
    /// Opens one; a panic: it is answered otherwise than by 200.
    pub(crate) async fn open(to: SocketAddr, target: &str, fields: &str) -> Self {
        let stream = Self::ask(to, target, fields).await;
        assert!(stream.head.starts_with("HTTP/1.1 200 OK\r\n"), "{}", stream.head);
        stream
    }

    pub(crate) async fn events(server: &Server, target: &str) -> Self {
        Self::open(server.listen, target, "Accept: text/event-stream\r\n").await
    }

    pub(crate) async fn ask(to: SocketAddr, target: &str, fields: &str) -> Self {
        let mut socket = TcpStream::connect(to).await.expect("it listens");
        let head = format!("GET {target} HTTP/1.1\r\nHost: x\r\n{fields}\r\n");
        socket.write_all(head.as_bytes()).await.expect("sent");
        let mut stream =
            Self { socket, head: String::new(), raw: Vec::new(), body: Vec::new(), read: 0, is_whole: false };
        while stream.head.is_empty() {
            assert!(stream.more().await, "it ended within the head");
            if let Some(end) = stream.raw.windows(4).position(|four| four == b"\r\n\r\n") {
                let rest = stream.raw.split_off(end + 4);
                stream.head = String::from_utf8(std::mem::replace(&mut stream.raw, rest)).expect("text");
            }
        }
        stream.unframe();
        stream
    }

    /// Reads some more; false: it has ended.
    async fn more(&mut self) -> bool {
        let mut bytes = vec![0; 65536];
        match tokio::time::timeout(STEP, self.socket.read(&mut bytes)).await.expect("in time") {
            Ok(0) | Err(_) => false,
            Ok(count) => {
                self.raw.extend_from_slice(&bytes[..count]);
                if !self.head.is_empty() {
                    self.unframe();
                }
                true
            }
        }
    }

    /// Takes whole chunks.
    fn unframe(&mut self) {
        while !self.is_whole
            && let Some(line) = self.raw.windows(2).position(|two| two == b"\r\n")
        {
            let size = std::str::from_utf8(&self.raw[..line]).expect("text");
            let size = usize::from_str_radix(size, 16).expect("the size of a chunk");
            if self.raw.len() < line + 2 + size + 2 {
                return;
            }
            self.body.extend_from_slice(&self.raw[line + 2..line + 2 + size]);
            self.raw.drain(..line + 2 + size + 2);
            self.is_whole |= size == 0;
        }
    }

    /// What comes up to the next `end`.
    pub(crate) async fn up_to(&mut self, end: &str) -> String {
        loop {
            let rest = &self.body[self.read..];
            if let Some(found) = rest.windows(end.len()).position(|bytes| bytes == end.as_bytes()) {
                let to = self.read + found + end.len();
                let text = String::from_utf8(self.body[self.read..to].to_vec()).expect("text");
                self.read = to;
                return text;
            }
            assert!(self.more().await, "it ended with {:?}", String::from_utf8_lossy(&self.body[self.read..]));
        }
    }

    /// The next event, after `retry` and comments.
    pub(crate) async fn event(&mut self) -> String {
        loop {
            let event = self.up_to("\n\n").await;
            if !event.starts_with("retry: ") && !event.starts_with(':') {
                return event;
            }
        }
    }

    /// All that comes until it is over, as it should be.
    pub(crate) async fn rest(&mut self) -> String {
        while !self.is_whole {
            assert!(self.more().await, "it is cut");
        }
        String::from_utf8(self.body.split_off(self.read)).expect("text")
    }
}
