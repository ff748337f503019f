//! Connections of WebSocket, to topics and to operations. The client here writes frames byte for byte, also wrong ones.

mod frames; // what comes wrong, and how the connection is closed
mod operation; // an operation, and what its client says of states
mod proxies; // behind nginx and haproxy, with event streams beside
mod topic; // a topic: read and published to

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::server::STEP;

/// The key of RFC 6455, section 1.3, and what answers it.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;
const FINAL: u8 = 0x80;

/// A client.
pub(crate) struct WebSocket {
    stream: TcpStream,
    /// The head of the answer.
    head: String,
    /// Frames of the message that is being read.
    fragments: usize,
}

/// What a server has sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Received {
    Text(String),
    Ping,
    Pong(Vec<u8>),
    /// With its code and reason.
    Close(u16, String),
    /// The server has ended the connection.
    End,
}

impl WebSocket {
    /// Asks for a connection, with these fields beside those that are needed; it may be refused.
    async fn ask(address: SocketAddr, target: &str, fields: &str) -> Self {
        let mut stream = TcpStream::connect(address).await.expect("a connection");
        let request = format!(
            "GET {target} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{fields}\r\n"
        );
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(byte(&mut stream).await.expect("a head"));
        }
        let head = String::from_utf8(head).expect("ASCII").to_ascii_lowercase();
        Self { stream, head, fragments: 0 }
    }

    /// Opens a connection.
    pub(crate) async fn open(address: SocketAddr, target: &str, fields: &str) -> Self {
        let opened = Self::ask(address, target, fields).await;
        assert!(opened.head.starts_with("http/1.1 101 "), "{}", opened.head);
        assert!(opened.head.contains(&format!("sec-websocket-accept: {}", ACCEPT.to_ascii_lowercase())));
        opened
    }

    /// Sends a frame whose first byte is this.
    async fn frame(&mut self, first: u8, payload: &[u8]) {
        let mask = [7, 1, 9, 3];
        let mut frame = vec![first];
        match payload.len() {
            length @ 0..=125 => frame.push(0x80 | u8::try_from(length).expect("short")),
            length @ 126..=65_535 => {
                frame.push(0xfe);
                frame.extend_from_slice(&u16::try_from(length).expect("short").to_be_bytes());
            }
            length => {
                frame.push(0xff);
                frame.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        frame.extend_from_slice(&mask);
        frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        self.raw(&frame).await;
    }

    /// Sends these bytes; the server may have closed already.
    async fn raw(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).await;
    }

    pub(crate) async fn say(&mut self, text: &str) {
        self.frame(FINAL | TEXT, text.as_bytes()).await;
    }

    /// The next message, or control frame.
    async fn next(&mut self) -> Received {
        let mut text = Vec::new();
        self.fragments = 0;
        loop {
            let Some((first, payload)) = self.read_frame().await else { return Received::End };
            match first & 0xf {
                PING => return Received::Ping,
                PONG => return Received::Pong(payload),
                CLOSE => {
                    let code = u16::from_be_bytes([payload[0], payload[1]]);
                    return Received::Close(code, String::from_utf8(payload[2..].to_vec()).expect("UTF-8"));
                }
                _ => {
                    assert_eq!(first & 0xf, if self.fragments == 0 { TEXT } else { 0 }, "fragments follow each other");
                    self.fragments += 1;
                    text.extend(payload);
                }
            }
            if first & FINAL != 0 {
                return Received::Text(String::from_utf8(text).expect("UTF-8"));
            }
        }
    }

    async fn read_frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let first = byte(&mut self.stream).await?;
        let mut length = usize::from(byte(&mut self.stream).await?);
        assert!(length < 0x80, "a server masks nothing");
        let more = match length {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        if more > 0 {
            length = 0;
            for _ in 0..more {
                length = length << 8 | usize::from(byte(&mut self.stream).await?);
            }
        }
        let mut payload = vec![0; length];
        let read = tokio::time::timeout(STEP, self.stream.read_exact(&mut payload)).await.expect("in time");
        read.is_ok().then_some((first, payload))
    }

    /// The same, without pings, which are answered.
    async fn beyond_pings(&mut self) -> Received {
        loop {
            match self.next().await {
                Received::Ping => self.frame(FINAL | PONG, b"").await,
                received @ (Received::Text(_) | Received::Pong(_) | Received::Close(..) | Received::End) => {
                    return received;
                }
            }
        }
    }

    /// The next message, which is JSON.
    pub(crate) async fn json(&mut self) -> Value {
        let received = self.beyond_pings().await;
        let Received::Text(text) = &received else { panic!("{received:?}") };
        serde_json::from_str(text).expect("JSON")
    }

    /// Waits for a close with this code; gives the reason. The server has ended the connection then.
    async fn closed(&mut self, code: u16) -> String {
        let Received::Close(found, reason) = self.beyond_pings().await else { panic!("no close") };
        assert_eq!(found, code, "{reason}");
        // The answer to it.
        self.frame(FINAL | CLOSE, &code.to_be_bytes()).await;
        assert_eq!(self.next().await, Received::End, "nothing follows a close");
        reason
    }
}

async fn byte(stream: &mut TcpStream) -> Option<u8> {
    let mut byte = [0];
    let read = tokio::time::timeout(STEP, stream.read(&mut byte)).await.expect("in time");
    matches!(read, Ok(1)).then_some(byte[0])
}
