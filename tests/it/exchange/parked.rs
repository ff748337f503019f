//! Consumers and polls that wait: what each costs, and that it is still looked after.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::faults::{POLLS, QUEUED};
use super::{Dialled, configured, send, text};
use crate::server::{Client, Server};

/// How many wait.
const MANY: usize = 3000;

/// KiB that one costs at most, with its connection. In a build for release it is about the same; parked by hyper it was 28 or more.
const MOST: f64 = 4.0;

type Head<'a> = &'a dyn Fn(usize) -> String;

async fn server() -> (tempfile::TempDir, Server) {
    configured("[{name: work, path: /work, queue: {length: 10000, perClient: 10000}}]").await
}

/// KiB that the process has for itself.
async fn own(server: &Server) -> f64 {
    let id = server.child.id().expect("it runs");
    let text = tokio::fs::read_to_string(format!("/proc/{id}/status")).await.expect("readable");
    let line = text.lines().find(|line| line.starts_with("RssAnon:")).expect("there");
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number")
}

#[expect(clippy::cast_precision_loss, reason = "thousands")]
async fn park(server: &Server, gauge: &str, count: (usize, usize), head: impl Fn(usize) -> String) -> Vec<TcpStream> {
    let mut parked = Vec::new();
    for number in count.0..count.1 {
        let mut stream = TcpStream::connect(server.listen).await.expect("connected");
        stream.write_all(head(number).as_bytes()).await.expect("sent");
        parked.push(stream);
    }
    server.metric_becomes(gauge, count.1 as f64).await;
    parked
}

#[tokio::test]
#[expect(clippy::cast_precision_loss, reason = "thousands")]
async fn who_waits_for_an_exchange_costs_little_memory() {
    let fields = "Host: x\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\nPrefer: wait=55\r\n";
    let get = |_| format!("GET /work HTTP/1.1\r\n{fields}\r\n");
    let post = |_| format!("POST /work HTTP/1.1\r\n{fields}Content-Length: 10\r\n\r\n0123456789");
    // One that has been answered, and polls again on its connection.
    let poll = |number| {
        let poll = |wait| {
            let target = format!("/exchange/work/claims?wait={wait}");
            format!("POST {target} HTTP/1.1\r\nHost: x\r\nAgent-Id: w-{number}\r\nContent-Length: 0\r\n\r\n")
        };
        poll(0) + &poll(55)
    };
    for (kind, gauge, head) in [("GET", QUEUED, &get as Head<'_>), ("POST", QUEUED, &post), ("poll", POLLS, &poll)] {
        let (_folder, server) = server().await;
        // What is made once is there before it is measured.
        let first = park(&server, gauge, (0, 200), head).await;
        let before = own(&server).await;
        let rest = park(&server, gauge, (200, MANY), head).await;
        let each = (own(&server).await - before) / rest.len() as f64;
        assert!(each < MOST, "a {kind} costs {each:.1} KiB");
        drop((first, rest));
        server.metric_becomes(gauge, 0.0).await;
        server.metric_becomes("tidewait_http_connections", 0.0).await;
    }
}

#[tokio::test]
async fn each_of_thousands_gets_its_own_answer() {
    let (_folder, server) = server().await;
    let head = |number| {
        let body = format!("{number:05}");
        format!(
            "POST /work HTTP/1.1\r\nHost: x\r\nPrefer: wait=55\r\nConnection: close\r\nContent-Length: 5\r\n\r\n{body}"
        )
    };
    let consumers = park(&server, QUEUED, (0, MANY), head).await;
    let work = async {
        let mut worker = Dialled::to(server.listen, "/exchange/work/reverse").await;
        for _ in 0..MANY {
            worker.head().await.expect("a request");
            let body = worker.body(5).await;
            worker.write(&format!("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nis {body}")).await;
        }
        worker
    };
    let read = async {
        for (number, mut consumer) in consumers.into_iter().enumerate() {
            let mut answer = String::new();
            consumer.read_to_string(&mut answer).await.expect("read");
            assert!(answer.ends_with(&format!("\r\n\r\nis {number:05}")), "{answer}");
        }
    };
    let (worker, ()) = tokio::join!(work, read);
    drop(worker);
}

#[tokio::test]
async fn a_consumer_that_leaves_within_its_body_is_seen_before_a_worker_comes() {
    let (_folder, server) = server().await;
    let head = |_| "POST /work HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\npart".to_owned();
    drop(park(&server, QUEUED, (0, 1), head).await);
    server.metric_becomes(QUEUED, 0.0).await;
}

#[tokio::test]
async fn a_request_behind_one_that_waits_is_answered_after_it() {
    let (_folder, server) = server().await;
    let mut consumer = send(server.listen, "GET", "/work", &[], "").await;
    server.metric_becomes(QUEUED, 1.0).await;
    consumer.stream.get_mut().write_all(b"GET /work?second HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("sent");
    let mut worker = Dialled::to(server.listen, "/exchange/work/reverse").await;
    for (target, answer) in [("GET /work HTTP", "one"), ("GET /work?second HTTP", "two")] {
        let head = worker.head().await.expect("a request");
        assert!(head.starts_with(target), "{head}");
        worker.write(&format!("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{answer}")).await;
        assert_eq!(text(&consumer.reply().await), answer);
    }
}

#[tokio::test]
async fn a_head_that_is_answered_at_once_is_answered_on_a_kept_connection_too() {
    let (_folder, server) = configured("[{name: work, path: '/work/{key}', methods: [GET]}]").await;
    // A worker of another key is no reason not to wait.
    let _other = send(server.listen, "POST", "/exchange/work/claims?key=b&wait=55", &[], "").await;
    server.metric_becomes(POLLS, 1.0).await;
    let mut client = Client::connect(server.listen).await;
    client.send("GET", "/work/a", &[("Prefer", "wait=0")]).await;
    let told = client.reply().await;
    assert_eq!(told.status, 303);
    for (method, target, fields, status) in [
        ("POST", "/work/a", &[("Content-Length", "0")][..], 405),
        ("GET", "/work/a", &[("Prefer", "respond-async")], 202),
        ("HEAD", told.field("location"), &[], 303),
        ("GET", "/exchange/work/claims", &[], 405),
        ("DELETE", told.field("location"), &[], 204),
        ("GET", told.field("location"), &[], 410),
    ] {
        client.send(method, target, fields).await;
        assert_eq!(client.reply().await.status, status, "{method} {target} {fields:?}");
    }
}
