//! Requests that no sane client sends: a corpus of raw bytes against the built binary, against
//! the same router in memory, and mutated; and clients that are slow, many, or gone.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::StreamExt as _;
use tempfile::TempDir;
use tidewait::model::{Content, Document, Provenance, SourceRevisions};
use tidewait::sources::{Draft, Report};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::net::TcpStream;

use crate::http::Rig;
use crate::server::{STEP, Server};
use crate::talk::Talk;

mod app;
mod drive;
mod h2spec;
mod limits;
pub(crate) mod make;

use make::Case;

/// Connections at once.
const AT_ONCE: usize = 16;

/// The longest wait of these servers: what is parked by a case ends soon.
pub(crate) const WAIT_MAX: &str = "1s";

/// A server of the corpus's model, and the folder that holds it.
async fn start(arguments: &[&str]) -> (Server, TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("model.json");
    std::fs::write(&path, make::MODEL).expect("written");
    let file = ["--file", path.to_str().expect("UTF-8"), "--wait-max", WAIT_MAX];
    let all: Vec<_> = file.iter().chain(arguments).copied().collect();
    let mut server = Server::start(&all).await;
    server.ready().await;
    (server, folder)
}

/// The process lives, serves, holds nobody, and has logged nothing but whole lines without a panic.
async fn is_well(server: &mut Server) {
    assert_eq!(server.child.try_wait().expect("a child").map(|status| status.to_string()), None, "it runs");
    let poll = server.get("/describe").await;
    assert_eq!((poll.status, poll.id()), (200, &*make::current().to_string()));
    server.metric_becomes("tidewait_parked_requests{operation=\"describe\"}", 0.0).await;
    assert_eq!(server.admin("/livez").await.status, 200);
    for line in server.log.borrow().iter() {
        assert!(!line.contains("panicked"), "{line}");
        assert!(serde_json::from_str::<serde_json::Value>(line).is_ok(), "a line of the log is cut: {line}");
    }
}

async fn check_all(server: &Server, cases: &[Case], piece: impl Fn(&Case) -> usize) {
    let listen = server.listen;
    check_each(cases, piece, || async move {
        let stream = TcpStream::connect(listen).await.expect("it listens");
        stream.set_nodelay(true).expect("a socket");
        stream
    })
    .await;
}

/// Each case on a connection of its own.
pub(crate) async fn check_each<S, F>(cases: &[Case], piece: impl Fn(&Case) -> usize, connect: impl Fn() -> F)
where
    S: AsyncRead + AsyncWrite + Unpin,
    F: Future<Output = S>,
{
    let checks = cases.iter().map(|case| {
        let (connecting, piece) = (connect(), piece(case));
        async move { drive::check(case, connecting.await, piece).await }
    });
    let wrong: Vec<_> =
        futures::stream::iter(checks).buffer_unordered(AT_ONCE).filter_map(|wrong| async { wrong }).collect().await;
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

#[tokio::test]
async fn every_case_of_the_corpus_comes_to_what_the_table_says() {
    let (mut server, _folder) = start(&["--access-log"]).await;
    check_all(&server, &make::corpus(), |_| usize::MAX).await;
    is_well(&mut server).await;
}

#[tokio::test]
async fn the_same_in_two_pieces_and_byte_by_byte() {
    let (mut server, _folder) = start(&[]).await;
    let mut cases = make::corpus();
    cases.retain(|case| case.raw.len() <= 1024);
    check_all(&server, &cases, |case| if case.raw.len() % 2 == 0 { 1 } else { case.raw.len().div_ceil(2) }).await;
    is_well(&mut server).await;
}

#[tokio::test(start_paused = true)]
async fn the_same_where_each_read_gives_one_byte() {
    let mut rig = Rig::empty(|config| config.wait.max = Duration::from_secs(1));
    let document = Document::from_json(make::MODEL.as_bytes()).expect("a document");
    let id = make::current();
    let (content, seen) = (Content::Json(document), tokio::time::Instant::now());
    let draft = Draft {
        epoch: id.epoch,
        version: id.version,
        content,
        provenance: Provenance::Stream,
        revisions: SourceRevisions::NONE,
        source_objects: std::sync::Arc::default(),
        seen,
    };
    rig.reports(Report::Holds(draft)).await;
    rig.operation.hub.wait_for(|current| *current == id).await;
    let mut wrong = Vec::new();
    for case in make::corpus().iter().filter(|case| case.raw.len() <= 2048) {
        wrong.extend(drive::check(case, rig.stream_by(OneByte), usize::MAX).await);
        // A client that is gone is noticed once what it piped has been read.
        rig.operation.hub.emptied().await;
    }
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
    rig.is_empty();
}

/// A stream of which each read gives one byte.
struct OneByte(DuplexStream);

impl AsyncRead for OneByte {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        let mut byte = [0];
        let mut one = ReadBuf::new(&mut byte);
        let read = Pin::new(&mut self.0).poll_read(cx, &mut one);
        buf.put_slice(one.filled());
        read
    }
}

impl AsyncWrite for OneByte {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// Bytes changed at random, with Knuth's generator so that every run changes the same.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % sides
    }

    fn mutated(&mut self, cases: &[Case]) -> Vec<u8> {
        let mut raw = cases[self.roll(cases.len())].raw.clone();
        raw.truncate(8 * 1024);
        for _ in 0..=self.roll(4) {
            let (at, other) = (self.roll(raw.len()), self.roll(cases.len()));
            match self.roll(5) {
                0 => raw[at] ^= 1 << self.roll(8),
                1 => raw[at] = u8::try_from(self.roll(256)).expect("a byte"),
                2 => drop(raw.drain(at..(at + 1 + self.roll(16)).min(raw.len()))),
                3 => raw.extend_from_within(at..),
                _ => {
                    let other = &cases[other].raw;
                    let from = self.roll(other.len());
                    let some = other[from..(from + 64).min(other.len())].iter().copied();
                    drop(raw.splice(at..at, some));
                }
            }
            if raw.is_empty() {
                raw.push(b'\r');
            }
        }
        raw
    }
}

#[tokio::test]
async fn a_thousand_mutations_leave_it_alive_and_serving() {
    let (mut server, _folder) = start(&["--access-log"]).await;
    let cases = make::corpus();
    let mut dice = Dice(20_261_121);
    let mutations: Vec<_> = (0..1000).map(|_| dice.mutated(&cases)).collect();
    let listen = server.listen;
    let sent = mutations.iter().map(|raw| async move {
        let stream = TcpStream::connect(listen).await.expect("it listens");
        let mut talk = Talk::new(stream, usize::MAX);
        talk.send(raw);
        talk.finished().await;
    });
    let all = futures::stream::iter(sent).buffer_unordered(4 * AT_ONCE).count();
    assert_eq!(tokio::time::timeout(STEP * 4, all).await, Ok(1000));
    is_well(&mut server).await;
}
