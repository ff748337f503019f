//! Spans: they reach a collector over OTLP/HTTP, and one that is down hurts nobody.

use rustix::process::Signal;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::time::{Duration, Instant};

use super::park;
use crate::model_file::ModelFile;
use crate::server::{Client, STEP, Server, tidewait};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

/// A server that sends its spans to `endpoint`, soon.
async fn traced(model: &ModelFile, variable: &str, endpoint: &str) -> Server {
    let ports = ["serve", "--listen=127.0.0.1:0", "--admin=127.0.0.1:0", "--log-format=json", "--file", model.arg()];
    let mut command = tidewait(&ports);
    command.env(variable, endpoint).env("OTEL_BSP_SCHEDULE_DELAY", "50");
    let mut server = Server::spawn(command).await;
    server.ready().await;
    server
}

#[tokio::test]
async fn a_span_reaches_the_collector_as_a_child_of_the_callers() {
    let model = ModelFile::new("{}");
    let sink = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = sink.local_addr().expect("bound");
    let server = traced(&model, "OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://{address}")).await;
    let mut client = Client::connect(server.listen).await;
    let caller = format!("00-{TRACE}-{PARENT}-01");
    let reply = client.get("/describe?wait=0", &[("traceparent", &caller)]).await;
    assert_eq!(reply.status, 200);
    let (head, body) = tokio::time::timeout(STEP, request(&sink)).await.expect("a span in time");
    assert!(head.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{head}");
    assert!(head.to_ascii_lowercase().contains("content-type: application/x-protobuf"), "{head}");
    for text in [
        "tidewait",
        "GET /describe",
        "http.request.method",
        "http.route",
        "url.path",
        "http.response.status_code",
        "tidewait.route",
        "tidewait.held_ms",
    ] {
        assert!(contains(&body, text.as_bytes()), "{text} in {}", String::from_utf8_lossy(&body));
    }
    assert!(contains(&body, &bytes_of(TRACE)) && contains(&body, &bytes_of(PARENT)), "the caller's trace goes on");
    assert!(!contains(&body, b"code.line") && !contains(&body, b"thread.id"), "nothing that nobody asked for");
}

#[tokio::test]
async fn the_variable_for_traces_is_the_whole_url() {
    let model = ModelFile::new("{}");
    let sink = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/ingest?team=edge", sink.local_addr().expect("bound"));
    let server = traced(&model, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &url).await;
    assert_eq!(server.get("/nothing-here").await.status, 404);
    let (head, _) = tokio::time::timeout(STEP, request(&sink)).await.expect("a span in time");
    assert!(head.starts_with("POST /ingest?team=edge HTTP/1.1\r\n"), "{head}");
}

#[tokio::test]
async fn a_collector_that_is_down_hurts_nobody_and_is_told_once() {
    let model = ModelFile::new("{}");
    let closed = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = closed.local_addr().expect("bound");
    drop(closed);
    let mut server = traced(&model, "OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://{address}")).await;
    let first = server.get("/describe").await;
    let line = server.logged("the collector does not take spans").await;
    assert!(line.contains(&format!("http://{address}/v1/traces")), "{line}");
    let mut parked = park(&server, first.id(), "30").await;
    for _ in 0..100 {
        assert_eq!(server.get("/describe").await.status, 200);
    }
    model.replace(r#"{"n":1}"#);
    assert_eq!(parked.reply().await.status, 200);
    let start = Instant::now();
    server.signal(Signal::TERM);
    assert_eq!(server.ended().await, Some(0));
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    let warned = server.log.borrow().iter().filter(|line| line.contains("does not take spans")).count();
    assert_eq!(warned, 1);
}

/// Takes one request with a `Content-Length` and answers it.
async fn request(sink: &TcpListener) -> (String, Vec<u8>) {
    let (stream, _) = sink.accept().await.expect("it connects");
    let mut stream = BufReader::new(stream);
    let (mut head, mut length) = (String::new(), 0);
    while !head.ends_with("\r\n\r\n") {
        let mut line = String::new();
        stream.read_line(&mut line).await.expect("a line");
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().expect("a number");
        }
        head += &line;
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.expect("a whole body");
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.expect("it reads");
    (head, body)
}

fn contains(body: &[u8], part: &[u8]) -> bool {
    body.windows(part.len()).any(|window| window == part)
}

fn bytes_of(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().chunks(2);
    digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).expect("ASCII"), 16).expect("hex")).collect()
}
