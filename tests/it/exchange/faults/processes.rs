//! Workers that are processes of their own, which are killed, and stopped and woken up again.

use std::process::Stdio;

use rustix::process::Signal;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::super::{ask, send, text};
use super::{CLAIMS, FREE, Link, QUEUED, Rig};
use crate::server::STEP;

/// A worker: its transport, the port, and how far it goes by itself. It says each step, and takes the next when it is told to.
const WORKER: &str = r#"
import socket, sys
link, port = sys.argv[1], int(sys.argv[2])
def says(text): print(text, flush=True)
def told(): sys.stdin.readline()
def dial(): return socket.create_connection(("127.0.0.1", port))
def head(s, more=b""):
    while b"\r\n\r\n" not in more:
        got = s.recv(1)
        if not got: sys.exit(0)
        more += got
    return more.decode()
def upgrade(s, alpn):
    s.sendall(b"GET /exchange/work/reverse HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: ptth\r\nALPN: %b\r\n"
              b"Exchange-Slots: 1\r\n\r\n" % alpn)
    head(s)
def frame(s, kind, flags, stream, data=b""):
    s.sendall(len(data).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + data)
def exactly(s, count):
    data = b""
    while len(data) < count:
        got = s.recv(count - len(data))
        if not got: sys.exit(0)
        data += got
    return data
def request(s):
    while True:
        first = exactly(s, 9)
        kind, flags, stream = first[3], first[4], int.from_bytes(first[5:], "big")
        data = exactly(s, int.from_bytes(first[:3], "big"))
        if kind == 4 and not flags & 1: frame(s, 4, 1, 0)
        if kind == 6 and not flags & 1: frame(s, 6, 1, 0, data)
        if kind == 1: return stream
if link == "claims":
    s = dial()
    s.sendall(b"POST /exchange/work/claims HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
    says("ready")
    claim = [line[10:] for line in head(s).split("\r\n") if line.lower().startswith("location: ")][0]
    says("taken")
    told()
    s = dial()
    s.sendall(b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\npart" % claim.encode())
    says("begun")
    told()
    s.sendall(b"rest")
    says(head(s).split(" ")[1])
elif link == "Http2":
    s = dial()
    upgrade(s, b"h2")
    frame(s, 4, 0, 0)
    exactly(s, 24)
    says("ready")
    stream = request(s)
    says("taken")
    told()
    frame(s, 1, 4, stream, b"\x88")
    frame(s, 0, 0, stream, b"part")
    says("begun")
    told()
else:
    s = dial()
    if link == "Http1": upgrade(s, b"http%2F1.1")
    says("ready")
    told()
    head(s)
    says("taken")
    told()
    s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\npart")
    says("begun")
    told()
"#;

struct Process {
    child: Child,
    stdin: ChildStdin,
    stdout: Lines<BufReader<ChildStdout>>,
}

impl Process {
    async fn start(rig: &Rig, link: &str) -> Self {
        let port = if link == "Raw" { rig.raw.port() } else { rig.server.listen.port() };
        let mut command = Command::new("python3");
        command.args(["-c", WORKER, link, &port.to_string()]).kill_on_drop(true);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("python3 runs");
        let stdout = BufReader::new(child.stdout.take().expect("piped")).lines();
        let mut process = Self { stdin: child.stdin.take().expect("piped"), child, stdout };
        process.says("ready").await;
        process
    }

    async fn says(&mut self, expected: &str) {
        let line = tokio::time::timeout(STEP, self.stdout.next_line()).await.expect("in time").expect("text");
        assert_eq!(line.as_deref(), Some(expected));
    }

    async fn go_on(&mut self) {
        self.stdin.write_all(b"\n").await.expect("it reads");
    }

    fn signal(&self, signal: Signal) {
        let id = self.child.id().and_then(|id| i32::try_from(id).ok()).expect("it runs");
        rustix::process::kill_process(rustix::process::Pid::from_raw(id).expect("not zero"), signal).expect("it runs");
    }
}

#[tokio::test]
async fn one_that_is_killed_before_its_answer_is_replaced_whether_it_has_read_the_request_or_not() {
    let rig = Rig::start().await;
    for link in ["Http1", "Raw", "Http2"] {
        for reads in [false, true] {
            let mut worker = Process::start(&rig, link).await;
            rig.server.metric_becomes(FREE, 1.0).await;
            let mut consumer = send(rig.server.listen, "GET", "/work", &[], "").await;
            rig.becomes(0.0, 1.0).await;
            if reads {
                if link != "Http2" {
                    worker.go_on().await;
                }
                worker.says("taken").await;
            }
            worker.signal(Signal::KILL);
            let mut other = rig.dial(Link::Http1).await;
            let head = other.head().await;
            assert!(head.contains("exchange-attempt: 2\r\n"), "{link} {reads}: {head}");
            other.answer(200, "done").await;
            assert_eq!(text(&consumer.reply().await), "done");
            drop(other);
        }
    }
}

#[tokio::test]
async fn one_that_is_killed_within_its_answer_cuts_it() {
    let rig = Rig::start().await;
    for link in ["Http1", "Raw", "Http2", "claims"] {
        let mut worker = Process::start(&rig, link).await;
        let mut consumer = send(rig.server.listen, "GET", "/work", &[], "").await;
        if matches!(link, "Http1" | "Raw") {
            worker.go_on().await;
        }
        worker.says("taken").await;
        worker.go_on().await;
        worker.says("begun").await;
        // The head, at the least, is here.
        consumer.stream.fill_buf().await.expect("a part");
        worker.signal(Signal::KILL);
        assert!(consumer.try_reply().await.is_none(), "{link}");
        rig.becomes(0.0, 0.0).await;
    }
}

#[tokio::test]
async fn one_that_polls_and_is_stopped_past_its_lease_is_late() {
    let rig = Rig::with(", lease: {first: 1s, length: 2s}").await;
    let mut consumer = send(rig.server.listen, "GET", "/work", &[], "").await;
    let mut worker = Process::start(&rig, "claims").await;
    worker.says("taken").await;
    worker.signal(Signal::STOP);
    worker.go_on().await;
    rig.server.metric_becomes(QUEUED, 1.0).await;
    let claim = ask(rig.server.listen, "POST", CLAIMS, &[], "").await;
    worker.signal(Signal::CONT);
    worker.says("begun").await;
    worker.go_on().await;
    worker.says("410").await;
    assert_eq!(ask(rig.server.listen, "POST", claim.field("location"), &[], "in time").await.status, 204);
    assert_eq!(text(&consumer.reply().await), "in time");
}

#[tokio::test]
async fn one_over_http2_that_is_stopped_is_noticed_whether_it_is_idle_or_has_a_request() {
    let rig = Rig::start().await;
    let mut busy = Process::start(&rig, "Http2").await;
    let mut consumer = send(rig.server.listen, "GET", "/work", &[], "").await;
    busy.says("taken").await;
    let idle = Process::start(&rig, "Http2").await;
    rig.server.metric_becomes(FREE, 1.0).await;
    busy.signal(Signal::STOP);
    idle.signal(Signal::STOP);
    // After one PING, and the time for its answer.
    rig.server.metric_becomes("tidewait_exchange_workers{exchange=\"work\",transport=\"http2\"}", 0.0).await;
    let mut other = rig.dial(Link::Http1).await;
    let head = other.head().await;
    assert!(head.contains("exchange-attempt: "), "{head}");
    other.answer(200, "done").await;
    assert_eq!(text(&consumer.reply().await), "done");
    busy.signal(Signal::CONT);
    idle.signal(Signal::CONT);
}
