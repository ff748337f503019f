//! A server with a topic, its publisher, and its readers: each message says when it was sent.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};

use crate::answer::Answer;
use crate::ask;
use crate::candidates::{Place, serve, start};
use crate::outcome::{Outcome, because};
use crate::process::Process;

const PATH: &str = "/chat";
/// What stands before the time of a message, and the digits of it.
const MARK: &[u8] = b"sent=";
const DIGITS: usize = 15;
/// Bytes of a message.
const LENGTH: usize = 100;
/// Messages that a poll is given at most.
const PAGE: usize = 1000;
/// From one plain poll to the next, as `tidewait tail --mode poll` has it.
const INTERVAL: Duration = Duration::from_secs(3);
/// How long a reader may hear nothing.
const PATIENCE: Duration = Duration::from_secs(30);

const FIELDS: &str = "Host: bench\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n";

/// How a topic is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Poll,
    LongPoll,
    Events,
    WebSocket,
}

impl Mode {
    pub(crate) const ALL: [Self; 4] = [Self::Poll, Self::LongPoll, Self::Events, Self::WebSocket];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Poll => "a poll each 3 s",
            Self::LongPoll => "long polls",
            Self::Events => "server-sent events",
            Self::WebSocket => "WebSocket",
        }
    }
}

/// Tidewait with a topic to which one client may publish as fast as it can.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
}

impl Server {
    pub(crate) fn start(place: &Place, mode: Mode) -> Outcome<Self> {
        let [address, admin] = ask::free()?;
        let config = place.folder.join("topic.yaml");
        let text = format!(
            "apiVersion: tidewait.dev/v1alpha1\nkind: ServeConfig\ntopics:\n- path: {PATH}\n  \
             history: {{messages: 10000}}\n  publishRate: {{perSecond: 100000, burst: 100000}}\n"
        );
        std::fs::write(&config, text)?;
        let mut command = serve(&place.tidewait, address, admin);
        command.arg("--config").arg(config);
        let mut process = start(&mut command, &format!("topic-{mode:?}"), place)?;
        ask::until_answered(admin, "/readyz", || process.must_run())?;
        Ok(Self { process, address })
    }
}

/// What a reader was told, and what that took.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// From the moment at which a message was sent until it was read.
    pub(crate) delays: Vec<Duration>,
    pub(crate) requests: usize,
    /// Of requests and answers.
    pub(crate) bytes: usize,
    last: u128,
}

impl Told {
    /// Takes the messages that are whole; gives how many bytes were looked at.
    fn take(&mut self, bytes: &[u8], base: Instant) -> Outcome<usize> {
        let now = base.elapsed().as_nanos();
        let mut at = 0;
        while let Some(found) = bytes[at..].windows(MARK.len()).position(|window| window == MARK) {
            let begin = at + found + MARK.len();
            let Some(digits) = bytes.get(begin..begin + DIGITS) else { return Ok(at + found) };
            let sent: u128 = std::str::from_utf8(digits)?.parse()?;
            if sent <= self.last {
                return Err(because("a reader was told a message twice, or out of order"));
            }
            self.last = sent;
            self.delays.push(Duration::from_nanos(u64::try_from(now.saturating_sub(sent))?));
            at = begin + DIGITS;
        }
        // The mark may have begun.
        Ok(bytes.len().saturating_sub(MARK.len() - 1).max(at))
    }
}

/// A connection, and what was read of it and not looked at.
#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Connection {
    async fn open(to: SocketAddr) -> Outcome<Self> {
        let stream = TcpStream::connect(to).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, read: Vec::new() })
    }

    /// Reads some more; gives how many bytes.
    async fn more(&mut self) -> Outcome<usize> {
        match tokio::time::timeout(PATIENCE, self.stream.read_buf(&mut self.read)).await? {
            Ok(0) => Err(because("the server has ended a connection")),
            Ok(count) => Ok(count),
            Err(error) => Err(error.into()),
        }
    }

    /// Asks; gives the status and the body of the answer, and the bytes of both.
    async fn ask(&mut self, request: &[u8]) -> Outcome<(u16, Vec<u8>, usize)> {
        self.stream.write_all(request).await?;
        loop {
            if let Some(Answer { status, body, length, .. }) = Answer::read(&self.read)? {
                let answer = (status, body.to_vec(), request.len() + length);
                self.read.drain(..length);
                return Ok(answer);
            }
            self.more().await?;
        }
    }
}

/// A reader that is there.
#[derive(Debug)]
pub(crate) struct Reader {
    mode: Mode,
    connection: Connection,
    /// The last message that a poll was told of.
    next: String,
}

impl Reader {
    pub(crate) async fn open(mode: Mode, to: SocketAddr) -> Outcome<Self> {
        let mut connection = Connection::open(to).await?;
        let mut next = String::new();
        let fields = match mode {
            Mode::Poll | Mode::LongPoll => {
                let request = format!("GET {PATH}?from=latest HTTP/1.1\r\n{FIELDS}\r\n");
                let (status, body, _) = connection.ask(request.as_bytes()).await?;
                next = following(status, &body)?;
                return Ok(Self { mode, connection, next });
            }
            Mode::Events => "Accept: text/event-stream\r\n",
            Mode::WebSocket => {
                "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                 Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            }
        };
        let request = format!("GET {PATH}?from=latest HTTP/1.1\r\nHost: bench\r\n{fields}\r\n");
        connection.stream.write_all(request.as_bytes()).await?;
        // It is told where it begins.
        while !connection.read.windows(4).any(|window| window == b"same") {
            connection.more().await?;
        }
        Ok(Self { mode, connection, next })
    }

    /// Reads until so many messages have come. Plain polls begin after `pause`; times are those since `base`.
    pub(crate) async fn read(self, messages: usize, pause: Duration, base: Instant) -> Outcome<Told> {
        match self.mode {
            Mode::Poll | Mode::LongPoll => self.poll(messages, pause, base).await,
            Mode::Events | Mode::WebSocket => self.stream(messages, base).await,
        }
    }

    async fn stream(mut self, messages: usize, base: Instant) -> Outcome<Told> {
        let (mut told, Connection { read, .. }) = (Told::default(), &mut self.connection);
        read.clear();
        while told.delays.len() < messages {
            told.bytes += self.connection.more().await?;
            let looked = told.take(&self.connection.read, base)?;
            self.connection.read.drain(..looked);
        }
        Ok(told)
    }

    async fn poll(mut self, messages: usize, pause: Duration, base: Instant) -> Outcome<Told> {
        let mut told = Told::default();
        let (wait, mut due) = (if self.mode == Mode::LongPoll { "&wait=25" } else { "" }, Instant::now() + pause);
        while told.delays.len() < messages {
            if self.mode == Mode::Poll {
                sleep_until(due).await;
            }
            let request = format!("GET {PATH}?since={}&limit={PAGE}{wait} HTTP/1.1\r\n{FIELDS}\r\n", self.next);
            let (status, body, bytes) = self.connection.ask(request.as_bytes()).await?;
            told.requests += 1;
            told.bytes += bytes;
            let before = told.delays.len();
            if status != 204 {
                self.next = following(status, &body)?;
                told.take(&body, base)?;
            }
            // Whoever is given as many as there may be asks for the rest at once.
            if told.delays.len() - before < PAGE {
                due += INTERVAL;
            }
        }
        Ok(told)
    }
}

/// The id after which a page is followed by another.
fn following(status: u16, page: &[u8]) -> Outcome<String> {
    let text = std::str::from_utf8(page)?;
    let next = text.split_once("\"next\":\"").and_then(|(_, rest)| rest.split_once('"'));
    match next {
        Some((next, _)) if status == 200 && text.contains("\"gap\":null") => Ok(next.to_owned()),
        _ => Err(because(format!("a poll was told {status} {}", text.chars().take(200).collect::<String>()))),
    }
}

/// Publishes messages, so many a second, on one connection.
pub(crate) async fn publish(to: SocketAddr, messages: usize, rate: usize, base: Instant) -> Outcome<()> {
    let mut connection = Connection::open(to).await?;
    let (begun, between) = (Instant::now(), Duration::from_secs(1) / u32::try_from(rate)?);
    for number in 0..messages {
        sleep_until(begun + between * u32::try_from(number)?).await;
        let head =
            format!("POST {PATH} HTTP/1.1\r\n{FIELDS}Content-Type: text/plain\r\nContent-Length: {LENGTH}\r\n\r\n");
        let mark = String::from_utf8_lossy(MARK);
        let text = format!("{mark}{:0DIGITS$};", base.elapsed().as_nanos());
        let (status, body, _) = connection.ask(format!("{head}{text:x<LENGTH$}").as_bytes()).await?;
        if status != 201 {
            return Err(because(format!("a message was answered with {status} {}", String::from_utf8_lossy(&body))));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn messages_are_found_in_whatever_pieces_they_come() {
        let base = Instant::now();
        let bytes = b"data: sent=000000000000001;xx\n\ndata: sent=000000000000002;xx\n\n";
        for cut in 0..bytes.len() {
            let mut told = Told::default();
            let looked = told.take(&bytes[..cut], base).expect("in order");
            told.take(&bytes[looked..], base).expect("in order");
            assert_eq!(told.delays.len(), 2, "{cut}");
        }
        let mut told = Told::default();
        told.take(bytes, base).expect("in order");
        assert!(told.take(bytes, base).is_err(), "twice");
    }
}
