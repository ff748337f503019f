//! Heads on the wire: request lines, fields, framing.

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::harness::{App, Front, GET, OK, Raw, RawApp, Settings, full};

#[tokio::test]
async fn targets_reach_the_app_byte_for_byte() {
    let app = RawApp::new();
    let front = Front::before(app.address()).await;
    let (mut client, mut behind) = (front.client().await, None);
    for target in [
        "/",
        "//describe",
        "/%64escribe",
        "/describe;a",
        "/a/../describe",
        "/./x//y/?",
        "/?a=1&&b=%2f+%zz",
        "/d%C3%A9j%c3%a0",
        "/describe?x=%22a.b%22&y=%3c%3E",
        "/a|b{c}\"",
        "*",
    ] {
        let method = if target == "*" { "OPTIONS" } else { "GET" };
        client.send(format!("{method} {target} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        if behind.is_none() {
            behind = Some(app.accept().await);
        }
        let behind = behind.as_mut().expect("just accepted");
        let head = behind.head().await;
        assert_eq!(head.lines().next(), Some(&*format!("{method} {target} HTTP/1.1")), "of {target}");
        behind.send(OK).await;
        assert!(client.answer().await.ends_with("\r\n\r\nok"), "of {target}");
    }
}

const SPOOFED: &str = "GET /x HTTP/1.1\r\nX-First: 1\r\nHost: a:81\r\nAccept: b\r\nAccept: c\r\nConnection: X-Auth, keep-alive, \
     content-length\r\nX-Auth: 1\r\nKeep-Alive: 5\r\nProxy-Authorization: Basic eA==\r\nTE: trailers\r\n\
     Upgrade: h2c\r\nHTTP2-Settings: AA\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Client-Cert: By=x\r\n\
     Forwarded: for=1.1.1.1\r\nX-Real-Ip: 1.1.1.1\r\nX-Last: 2\r\n\r\n";

#[tokio::test]
async fn fields_of_a_hop_are_exchanged_and_all_others_stay() {
    for (trusted, expected) in [
        (
            "192.0.2.0/24",
            "GET /x HTTP/1.1\r\nX-First: 1\r\nHost: a:81\r\nAccept: b\r\nAccept: c\r\nX-Last: 2\r\nTE: trailers\r\n\
             Connection: te\r\nX-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: http\r\nx-forwarded-host: a:81\r\n\
             Forwarded: for=127.0.0.1;host=\"a:81\";proto=http\r\n\r\n",
        ),
        (
            "127.0.0.0/8",
            "GET /x HTTP/1.1\r\nX-First: 1\r\nHost: a:81\r\nAccept: b\r\nAccept: c\r\nX-Forwarded-For: 1.1.1.1, 127.0.0.1\r\n\
             X-Forwarded-Proto: https\r\nX-Forwarded-Client-Cert: By=x\r\n\
             Forwarded: for=1.1.1.1, for=127.0.0.1;host=\"a:81\";proto=http\r\nX-Real-Ip: 1.1.1.1\r\nX-Last: 2\r\n\
             TE: trailers\r\nConnection: te\r\nx-forwarded-host: a:81\r\n\r\n",
        ),
    ] {
        let app = RawApp::new();
        let front = Front::with(app.address(), Settings { trusted, ..Settings::default() }).await;
        let mut client = front.client().await;
        client.send(SPOOFED).await;
        assert_eq!(app.accept().await.head().await, expected, "trusting {trusted}");
    }
}

#[tokio::test]
async fn http2_requests_arrive_as_http1() {
    let app = RawApp::new();
    let front = Front::before(app.address()).await;
    let stream = TcpStream::connect(front.address).await.expect("the front accepts");
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("speaks HTTP/2");
    let mut running = JoinSet::new();
    running.spawn(async move { connection.await.expect("the connection stays whole") });
    let request = Request::get("http://app.example:81//x?y")
        .header("cookie", "a=1")
        .header("cookie", "b=2")
        .header("te", "trailers")
        .body(Empty::<Bytes>::new())
        .expect("a request");
    running.spawn(async move {
        let response = sender.send_request(request).await.expect("an answer");
        assert!(response.headers().get("connection").is_none(), "not on HTTP/2");
        assert!(response.headers().get("upgrade").is_none(), "not on HTTP/2");
        assert_eq!(response.into_body().collect().await.expect("a body").to_bytes(), "ok");
    });
    let mut behind = app.accept().await;
    assert_eq!(
        behind.head().await,
        "GET //x?y HTTP/1.1\r\nhost: app.example:81\r\ncookie: a=1; b=2\r\nte: trailers\r\nconnection: te\r\n\
         x-forwarded-for: 127.0.0.1\r\nx-forwarded-proto: http\r\nx-forwarded-host: app.example:81\r\n\
         forwarded: for=127.0.0.1;host=\"app.example:81\";proto=http\r\n\r\n"
    );
    behind
        .send("HTTP/1.1 426 No\r\nconnection: upgrade, x-a\r\nx-a: 1\r\nupgrade: websocket\r\ncontent-length: 2\r\n\r\nok")
        .await;
    running.join_next().await.expect("the exchange").expect("it ends well");
}

/// What the app answers to what method, and what the client gets.
#[tokio::test]
async fn answers_keep_their_framing() {
    let app = RawApp::new();
    let front = Front::before(app.address()).await;
    let (mut client, mut behind) = (front.client().await, None);
    for (method, answer, expected) in [
        ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 77\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 77\r\n\r\n"),
        ("GET", "HTTP/1.1 204 No Content\r\nX-A: 1\r\n\r\n", "HTTP/1.1 204 No Content\r\nX-A: 1\r\n\r\n"),
        (
            "GET",
            // RFC 9110, section 8.6, allows the length here; hyper's server leaves it out.
            "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\nContent-Length: 9\r\n\r\n",
            "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n",
        ),
        (
            "GET",
            "HTTP/1.1 299 My Own Reason\r\nKeep-Alive: 9\r\nConnection: x-b\r\nX-B: 1\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 299 My Own Reason\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nContent-Length: 0\r\n\r\n",
        ),
        (
            "GET",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        ),
        (
            "GET",
            "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        ),
    ] {
        client.send(format!("{method} / HTTP/1.1\r\nhost: a\r\n\r\n")).await;
        if behind.is_none() {
            behind = Some(app.accept().await);
        }
        let behind = behind.as_mut().expect("just accepted");
        behind.head().await;
        behind.send(answer).await;
        let tail = &expected[expected.len().saturating_sub(7)..];
        assert_eq!(client.until(tail).await, expected, "of {method} {answer:?}");
    }
    // Until the end of the connection: HTTP/1.0 has no chunks.
    client.send(GET).await;
    let mut behind = behind.expect("used above");
    behind.head().await;
    behind.send("HTTP/1.0 200 OK\r\n\r\nall of it").await;
    drop(behind);
    assert_eq!(
        client.until("\r\n0\r\n\r\n").await,
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nall of it\r\n0\r\n\r\n"
    );
}

/// Reads a chunked body that ends in `last`.
async fn chunked(behind: &mut Raw) -> String {
    behind.until("\r\n0\r\n\r\n").await
}

#[tokio::test]
async fn request_bodies_keep_their_framing_whatever_the_method() {
    let app = RawApp::new();
    let front = Front::before(app.address()).await;
    for method in ["GET", "POST", "PUT", "DELETE", "PURGE"] {
        let mut client = front.client().await;
        let (line, fields) = (format!("{method} / HTTP/1.1\r\n"), "host: a\r\n");
        client.send(format!("{line}{fields}transfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n")).await;
        let mut behind = app.accept().await;
        let head = behind.head().await;
        assert_eq!(head.matches("transfer-encoding: chunked\r\n").count(), 1, "of {method}: {head}");
        assert!(!head.contains("content-length"), "of {method}: {head}");
        assert_eq!(chunked(&mut behind).await, "2\r\nhi\r\n0\r\n\r\n", "of {method}");
        behind.send(OK).await;
        client.answer().await;
        client.send(format!("{line}{fields}content-length: 2\r\n\r\nhi")).await;
        let head = behind.head().await;
        assert!(head.contains("content-length: 2\r\n") && !head.contains("transfer-encoding"), "of {method}: {head}");
        assert_eq!(behind.until("hi").await, "hi", "of {method}");
        behind.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
        client.answer().await;
    }
}

#[tokio::test]
async fn an_app_that_speaks_hyper_is_served_on_one_connection() {
    let app = App::new(|_| async { http::Response::new(full("ok")) }).await;
    let front = Front::before(app.address).await;
    let mut client = front.client().await;
    for _ in 0..20 {
        assert!(client.ask(GET).await.ends_with("ok"));
    }
    front.until("tidewait_proxy_requests_total", "answered", 20.0).await;
    front.until("tidewait_proxy_app_connections", "", 1.0).await;
    assert!(front.metric("tidewait_proxy_app_bytes_total", "sent") > 20.0 * 20.0);
    assert!(front.metric("tidewait_proxy_app_bytes_total", "received") > 20.0 * 20.0);
}
