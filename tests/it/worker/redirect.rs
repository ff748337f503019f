//! `--redirect-response`: answers that consumers fetch from the worker.

use std::net::SocketAddr;
use std::time::Duration;

use http::{Request, Response};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::{Hub, Port, found, head, soon, whole, worker, write};
use crate::agent::Agent;

/// A worker that redirects, and the address at which it listens for that.
async fn redirecting(exchange: &Port, server: &Port, more: &[&str]) -> (Agent, SocketAddr) {
    let options = [&["--redirect-response=127.0.0.1:0", "--advertise=http://worker.example:8490/a/"], more].concat();
    let mut worker = worker(exchange, server, &options);
    let line = worker.logged("\"--redirect-response\"").await;
    let line: serde_json::Value = serde_json::from_str(&line).expect("JSON");
    let address = line["address"].as_str().or(line["fields"]["address"].as_str()).expect("it says").parse();
    found(server).await;
    (worker, address.expect("an address"))
}

async fn fetch(address: SocketAddr, method: &str, path: &str) -> (String, TcpStream) {
    let mut stream = soon("the port", TcpStream::connect(address)).await.expect("it listens");
    write(&mut stream, &format!("{method} {path} HTTP/1.1\r\nHost: w\r\n\r\n")).await;
    (head(&mut stream).await, stream)
}

async fn rest(stream: &mut TcpStream) -> String {
    let mut rest = String::new();
    soon("the end", stream.read_to_string(&mut rest)).await.expect("text");
    rest
}

/// Where an answer is.
fn place(response: &Response<h2::RecvStream>) -> String {
    assert_eq!(response.status(), 303);
    let location = response.headers()["location"].to_str().expect("text");
    let path = location.strip_prefix("http://worker.example:8490").expect("the URL of --advertise").to_owned();
    assert!(path.starts_with("/a/") && path.len() == 3 + 32, "{path}");
    path
}

/// Begins a request whose answer is kept; gives its place, and the server's side.
async fn kept(hub: &mut Hub, server: &Port, answer: &str) -> (String, TcpStream) {
    let response = hub.get("/large").await;
    let mut app = server.accept().await;
    head(&mut app).await;
    write(&mut app, answer).await;
    let response = soon("303", response).await.expect("one");
    (place(&response), app)
}

#[tokio::test]
async fn an_answer_is_fetched_once_and_its_slot_is_taken_until_it_is_sent() {
    let (exchange, server) = (Port::new().await, Port::new().await);
    let (_worker, port) = redirecting(&exchange, &server, &[]).await;
    let mut hub = exchange.hub().await;
    let (path, mut app) = kept(
        &mut hub,
        &server,
        "HTTP/1.1 200 OK\r\nContent-Type: x/y\r\nConnection: close\r\nContent-Length: 10\r\n\r\nhello",
    )
    .await;
    soon("GOAWAY", hub.driver).await.expect("no panic").expect("it is left in peace");
    assert!(!exchange.is_dialled_within(Duration::from_millis(700)).await, "its slot is taken");
    for (method, path, expected) in [
        ("GET", "/", "404 "),
        ("GET", "/a/0123", "404 "),
        ("GET", "/a/0123456789abcdef0123456789abcdef", "410 "),
        ("POST", &*path, "405 "),
        ("HEAD", &*path, "200 "),
    ] {
        let (head, _) = fetch(port, method, path).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {expected}")), "{method} {path} {head}");
        assert_eq!(expected == "405 ", head.to_ascii_lowercase().contains("\r\nallow: get, head\r\n"), "{head}");
    }
    let (fields, mut fetched) = fetch(port, "GET", &path).await;
    assert!(fields.starts_with("HTTP/1.1 200 OK\r\n"), "{fields}");
    let fields = fields.to_ascii_lowercase();
    assert!(fields.contains("content-type: x/y\r\n") && fields.contains("cache-control: no-store\r\n"), "{fields}");
    assert!(fetch(port, "GET", &path).await.0.starts_with("HTTP/1.1 410 "), "once");
    assert!(!exchange.is_dialled_within(Duration::from_millis(300)).await, "it is not sent yet");
    write(&mut app, "world").await;
    assert_eq!(rest(&mut fetched).await, "helloworld");
    let mut hub = exchange.hub().await;
    // An answer that breaks off does not look whole here either.
    let (path, app) = kept(&mut hub, &server, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello").await;
    let (_, mut fetched) = fetch(port, "GET", &path).await;
    drop(app);
    assert_eq!(rest(&mut fetched).await, "hello");
    let _hub = exchange.hub().await;
}

#[tokio::test]
async fn nobody_who_comes_too_late_gets_it_and_its_slot_is_free_then() {
    let (exchange, server) = (Port::new().await, Port::new().await);
    let (_worker, port) = redirecting(&exchange, &server, &[]).await;
    let mut hub = exchange.hub().await;
    let since = Instant::now();
    let (path, mut app) = kept(&mut hub, &server, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello").await;
    let mut gone = [0; 1];
    let ended = soon("the server is let go", app.read(&mut gone)).await;
    assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
    let took = since.elapsed();
    assert!((Duration::from_millis(19_900)..Duration::from_secs(22)).contains(&took), "{took:?}");
    assert!(fetch(port, "GET", &path).await.0.starts_with("HTTP/1.1 410 "));
    let _hub = exchange.hub().await;
}

#[tokio::test]
async fn what_may_not_be_redirected_goes_through() {
    let (exchange, server) = (Port::new().await, Port::new().await);
    let (_worker, _) = redirecting(&exchange, &server, &["--slots=1"]).await;
    let mut hub = exchange.hub().await;
    for (method, says, status) in [("GET", "no", "200 OK"), ("GET", "yes", "201 Created"), ("HEAD", "yes", "200 OK")] {
        let request = Request::builder().method(method).uri("http://app.example/x").header("exchange-redirect", says);
        hub.send = soon("a slot", hub.send.clone().ready()).await.expect("it lives");
        let (response, _) = hub.send.send_request(request.body(()).expect("a request"), true).expect("sent");
        let mut app = server.accept().await;
        head(&mut app).await;
        let body = if method == "HEAD" { "" } else { "hello" };
        write(&mut app, &format!("HTTP/1.1 {status}\r\nContent-Length: 5\r\nConnection: close\r\n\r\n{body}")).await;
        let response = soon("the answer", response).await.expect("one");
        assert_eq!(response.status().as_str(), &status[..3]);
        assert_eq!(whole(response).await.expect("whole"), body);
    }
}

#[tokio::test]
async fn over_http1_the_connection_ends_with_the_303() {
    let (exchange, server) = (Port::new().await, Port::new().await);
    let (_worker, port) = redirecting(&exchange, &server, &["--protocol=http1"]).await;
    let (mut hub, _) = exchange.upgraded("http%2F1.1").await;
    write(&mut hub, "GET /x HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut app = server.accept().await;
    head(&mut app).await;
    write(&mut app, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").await;
    let answer = rest(&mut hub).await;
    assert!(
        answer.starts_with("HTTP/1.1 303 ") && answer.to_ascii_lowercase().contains("connection: close"),
        "{answer}"
    );
    assert!(!exchange.is_dialled_within(Duration::from_millis(300)).await, "its slot is taken");
    let path = answer.lines().find_map(|line| line.split_once("worker.example:8490")).expect("a location").1.trim();
    assert_eq!(rest(&mut fetch(port, "GET", path).await.1).await, "hello");
    let _again = exchange.upgraded("http%2F1.1").await;
}
