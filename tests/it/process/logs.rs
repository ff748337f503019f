//! Its log: nobody waits for whoever reads it, and what others wrote in it stays what it is.

use std::io::{PipeReader, PipeWriter};
use std::os::fd::{AsRawFd as _, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::process::Signal;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::net::unix::pipe::Receiver;
use tokio::sync::watch;
use tokio::time::{Duration, Instant};

use super::{Port, park, until};
use crate::model_file::ModelFile;
use crate::server::{STEP, Server, addresses, collect, tidewait};

const DROPPED: &str = "tidewait_log_lines_dropped_total";

/// A pipe into which nothing more fits.
pub(super) fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    fill(&writer);
    (reader, writer)
}

/// Fills a pipe, whoever else writes to it. Opened anew, since others share what `writer` has.
fn fill(writer: &PipeWriter) {
    let path = format!("/proc/self/fd/{}", writer.as_raw_fd());
    let pipe = rustix::fs::open(path, OFlags::WRONLY | OFlags::NONBLOCK, Mode::empty()).expect("a pipe");
    for size in [4096, 1] {
        while rustix::io::write(&pipe, &vec![b'\n'; size]).is_ok() {}
    }
}

type Log = Lines<BufReader<Receiver>>;

/// A server with a state, whose standard error is a pipe that is full; and the end of it that can be read.
async fn unread(model: &ModelFile, more: &[&str]) -> (Server, Log) {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let ours = writer.try_clone().expect("a descriptor");
    let ports = ["serve", "--listen=127.0.0.1:0", "--admin=127.0.0.1:0", "--log-format=json", "--file", model.arg()];
    let mut command = tidewait(&ports);
    let child = command.args(more).stderr(writer).spawn().expect("it starts");
    // It keeps an end of its own.
    drop(command);
    let receiver = Receiver::from_owned_fd(OwnedFd::from(reader)).expect("a pipe");
    let mut lines = BufReader::new(receiver).lines();
    let (mut listen, mut admin) = (([127, 0, 0, 1], 0).into(), ([127, 0, 0, 1], 0).into());
    loop {
        let line = tokio::time::timeout(STEP, lines.next_line()).await.expect("in time").expect("a pipe");
        let line = line.expect("it runs");
        if line.contains("\"listening\"") {
            (listen, admin) = addresses(&line);
        }
        if line.contains("\"published\"") {
            break;
        }
    }
    fill(&ours);
    (Server { listen, admin, child, log: watch::channel(Vec::new()).1 }, lines)
}

#[tokio::test]
async fn nothing_waits_for_who_reads_the_log() {
    let model = ModelFile::new(r#"{"n":1}"#);
    let (mut server, lines) = unread(&model, &["--access-log", "--min-interval=0s"]).await;
    for n in 2..60_u64 {
        model.replace(&format!("{{\"n\":{n}}}"));
        let is_new = |reply: &crate::server::Reply| reply.json()["n"] == n && reply.field("state-age") == "0";
        until("the new state", &server, Port::Clients, "/describe", is_new).await;
    }
    let long = format!("/describe?wait=0&{}", "x".repeat(8000));
    let flood = async {
        while server.metric(DROPPED).await < 1.0 {
            for _ in 0..20 {
                assert_ne!(server.get(&long).await.status, 500);
            }
        }
    };
    tokio::time::timeout(STEP, flood).await.expect("what waits has a bound");
    assert_eq!(server.admin("/livez").await.status, 200);
    server.log = collect(lines);
    let line = server.logged("log lines were dropped").await;
    let line: serde_json::Value = serde_json::from_str(&line).expect("JSON");
    assert!(line["lines"].as_u64().is_some_and(|lines| lines > 0) && line["level"] == "WARN", "{line}");
    server.signal(Signal::TERM);
    assert_eq!(server.ended().await, Some(0));
    server.logged("\"stopped\"").await;
}

#[tokio::test]
async fn a_log_that_nobody_reads_does_not_hold_up_the_end() {
    let model = ModelFile::new(r#"{"n":1}"#);
    let (mut server, _lines) = unread(&model, &["--grace=2s", "--access-log"]).await;
    let id = server.get("/describe").await.id().to_owned();
    let mut parked = park(&server, &id, "50").await;
    let start = Instant::now();
    server.signal(Signal::TERM);
    assert_eq!(parked.reply().await.status, 204);
    assert_eq!(server.ended().await, Some(0));
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());

    let (mut server, _lines) = unread(&model, &["--grace=1h"]).await;
    let _parked = park(&server, &id, "50").await;
    server.signal(Signal::TERM);
    until("draining", &server, Port::Admin, "/readyz", |reply| reply.status == 503).await;
    let start = Instant::now();
    server.signal(Signal::INT);
    assert_eq!(server.ended().await, Some(1), "nor does the reason");
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}

#[tokio::test]
async fn what_others_wrote_is_escaped_in_both_forms_and_in_state() {
    let hostile = "{\"p\\nFAKE LINE\\u001b[31m\\u009b\\u202e\":{\"a\":1,\"a\":2}}";
    for (form, shown) in [("text", r"p\nFAKE LINE\u{1b}[31m\u{9b}\u{202e}"), ("json", "FAKE LINE")] {
        let model = ModelFile::new("{}");
        let listen = ["serve", "--listen=127.0.0.1:0", "--admin=127.0.0.1:0", "--log-format", form];
        let mut server = Server::spawn(tidewait(&[&listen[..], &["--file", model.arg()]].concat())).await;
        server.metric_becomes(super::CHANGES, 1.0).await;
        model.replace(hostile);
        let line = server.logged("source unusable").await;
        assert!(line.contains(shown), "{line}");
        let state = server.admin("/state").await;
        let detail = state.json()["operations"][0]["source"]["detail"].as_str().map(ToOwned::to_owned);
        let detail = detail.expect("a detail");
        assert!(detail.contains("FAKE LINE") && is_plain(&detail), "{detail}");
        assert!(is_plain(String::from_utf8(state.body).expect("text").trim_end()), "no raw control");
        let log = server.log.borrow().clone();
        assert!(log.iter().all(|line| is_plain(line) && !line.starts_with("FAKE LINE")), "{log:#?}");
        server.signal(Signal::TERM);
        assert_eq!(server.ended().await, Some(0));
    }
}

/// One line without controls or marks of direction.
fn is_plain(text: &str) -> bool {
    !text.chars().any(|c| c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}'))
}
