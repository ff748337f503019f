//! Apps that speak HTTP/2 alone (`--upstream-protocol h2c`), as gRPC servers do: the real h2 on both sides.

use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{HeaderMap, Request, Response};
use tidewait::config::Protocol;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::harness::{App, Front, GET, RawApp, Settings, full, within};

const APP_CONNECTIONS: &str = "tidewait_proxy_app_connections";
const RETRIES: &str = "tidewait_proxy_retries_total";

/// An app that the test plays stream by stream.
struct H2App(TcpListener);

/// One connection to it.
type Serving = h2::server::Connection<TcpStream, Bytes>;
type Asked = (Request<RecvStream>, SendResponse<Bytes>);

impl H2App {
    async fn new() -> (Self, Front) {
        Self::with(Settings::default()).await
    }

    async fn with(settings: Settings) -> (Self, Front) {
        let app = Self(TcpListener::bind("127.0.0.1:0").await.expect("a free port"));
        let address = app.0.local_addr().expect("a bound listener has an address");
        let front = Front::with(address, Settings { protocol: Protocol::Http2, ..settings }).await;
        (app, front)
    }

    /// Accepts a connection with room for so many streams, and the first of them.
    async fn accept(&self, streams: u32) -> (Serving, Asked) {
        let (stream, _) = within("a connection to the app", self.0.accept()).await.expect("accepts");
        let mut builder = h2::server::Builder::new();
        builder.max_concurrent_streams(streams);
        let mut serving = builder.handshake(stream).await.expect("the proxy speaks HTTP/2");
        let asked = next(&mut serving).await;
        (serving, asked)
    }

    /// The next stream on `serving`, which is accepted first if it is none yet.
    async fn on(&self, serving: &mut Option<Serving>) -> Asked {
        if let Some(serving) = serving {
            return next(serving).await;
        }
        let (first, asked) = self.accept(100).await;
        *serving = Some(first);
        asked
    }
}

async fn next(serving: &mut Serving) -> Asked {
    within("a stream", serving.accept()).await.expect("the connection goes on").expect("a stream")
}

/// Lets a connection run while the test does other things.
fn drive(mut serving: Serving) -> JoinSet<()> {
    let mut running = JoinSet::new();
    running.spawn(async move { while let Some(Ok(_)) = serving.accept().await {} });
    running
}

/// A client of the front, and the task of its connection.
async fn client(front: &Front) -> (h2::client::SendRequest<Bytes>, JoinSet<()>) {
    let stream = TcpStream::connect(front.address).await.expect("the front accepts");
    let (client, connection) = h2::client::handshake(stream).await.expect("speaks HTTP/2");
    let mut running = JoinSet::new();
    // How it ended is seen by its streams.
    running.spawn(async move { drop(connection.await) });
    (client, running)
}

fn call() -> Request<()> {
    let request = Request::post("http://shop.example:81/pkg.Service/Call");
    let request = request.header("content-type", "application/grpc").header("te", "trailers");
    request.body(()).expect("a request")
}

fn get() -> Request<()> {
    Request::get("http://a/x").body(()).expect("a request")
}

fn ok() -> Response<()> {
    Response::builder().header("content-type", "application/grpc").body(()).expect("an answer")
}

fn trailers(name: &'static str, value: &'static str) -> HeaderMap {
    let mut fields = HeaderMap::new();
    fields.insert(name, value.parse().expect("a value"));
    fields
}

/// A gRPC call that streams both ways: each message arrives before the next is sent, and trailers follow.
#[tokio::test]
async fn a_call_streams_both_ways_and_ends_with_trailers() {
    let (app, front) = H2App::new().await;
    let (mut client, _connection) = client(&front).await;
    let (answer, mut up) = client.send_request(call(), false).expect("a stream");
    let (serving, (request, mut respond)) = app.accept(100).await;
    let _serving = drive(serving);
    assert_eq!(request.uri().to_string(), "http://shop.example:81/pkg.Service/Call");
    let fields = request.headers();
    assert_eq!(fields["te"], "trailers");
    assert_eq!(fields["content-type"], "application/grpc");
    assert_eq!(fields["x-forwarded-for"], "127.0.0.1");
    assert_eq!(fields["forwarded"], "for=127.0.0.1;host=\"shop.example:81\";proto=http");
    assert!(["host", "connection", "transfer-encoding"].iter().all(|name| !fields.contains_key(*name)), "{fields:?}");
    let mut incoming = request.into_body();
    let mut down = respond.send_response(ok(), false).expect("the stream is open");
    let mut answer = within("the head comes before any message", answer).await.expect("a head").into_body();
    for message in ["one", "two"] {
        up.send_data(Bytes::from(message), false).expect("the stream is open");
        assert_eq!(within("a message", incoming.data()).await.expect("one").expect("whole"), message);
        down.send_data(Bytes::from(message), false).expect("the stream is open");
        assert_eq!(within("a message", answer.data()).await.expect("one").expect("whole"), message);
    }
    up.send_trailers(trailers("x-sum", "7")).expect("the stream is open");
    assert!(within("the end", incoming.data()).await.is_none());
    assert_eq!(incoming.trailers().await.expect("whole").expect("some")["x-sum"], "7");
    down.send_trailers(trailers("grpc-status", "0")).expect("the stream is open");
    assert!(within("the end", answer.data()).await.is_none());
    assert_eq!(answer.trailers().await.expect("whole").expect("some")["grpc-status"], "0");
    front.until("tidewait_proxy_requests_total", "answered", 1.0).await;
}

#[tokio::test]
async fn an_answer_of_trailers_alone_stays_one() {
    let (app, front) = H2App::new().await;
    let (mut client, _connection) = client(&front).await;
    let (answer, _up) = client.send_request(call(), true).expect("a stream");
    let (serving, (_, mut respond)) = app.accept(100).await;
    let _serving = drive(serving);
    let mut response = ok();
    response.headers_mut().insert("grpc-status", "12".parse().expect("a value"));
    respond.send_response(response, true).expect("the stream is open");
    let response = within("a head", answer).await.expect("an answer");
    assert!(response.headers()["grpc-status"] == "12" && response.body().is_end_stream());
}

#[tokio::test]
async fn what_the_app_resets_is_reset_with_the_same_code() {
    let (app, front) = H2App::new().await;
    let (mut to, _connection) = client(&front).await;
    let mut serving = None;
    for reason in [Reason::CANCEL, Reason::NO_ERROR, Reason::REFUSED_STREAM, Reason::ENHANCE_YOUR_CALM] {
        for answered in [false, true] {
            let (answer, mut up) = to.send_request(call(), false).expect("a stream");
            up.send_data(Bytes::from("x"), false).expect("the stream is open");
            let (_request, mut respond) = app.on(&mut serving).await;
            let serving = serving.as_mut().expect("just accepted");
            let ended = async {
                if !answered {
                    respond.send_reset(reason);
                    return answer.await.expect_err("no answer");
                }
                let mut down = respond.send_response(ok(), false).expect("the stream is open");
                down.send_data(Bytes::from("half"), false).expect("the stream is open");
                let mut body = answer.await.expect("a head").into_body();
                assert_eq!(body.data().await.expect("some").expect("whole"), "half");
                down.send_reset(reason);
                body.data().await.expect("no end").expect_err("no data")
            };
            let error = tokio::select! {
                error = within("the reset", ended) => error,
                _ = serving.accept() => unreachable!("nothing else is asked"),
            };
            assert_eq!(error.reason(), Some(reason), "answered: {answered}");
        }
    }
    assert!((front.metric(RETRIES, "")).abs() < 0.5, "a request with a body is not repeated");
}

/// What a client of HTTP/1.1 sees of it.
#[tokio::test]
async fn clients_of_http1_are_served_and_told_of_resets() {
    let (app, front) = H2App::new().await;
    let mut client = front.client().await;
    client.send("POST /a?b HTTP/1.1\r\nHost: a.example\r\nContent-Length: 2\r\n\r\nhi").await;
    let (mut serving, (request, mut respond)) = app.accept(100).await;
    assert_eq!(request.uri().to_string(), "http://a.example/a?b");
    assert_eq!(request.headers()["content-length"], "2");
    let served = async {
        let mut body = request.into_body();
        assert_eq!(body.data().await.expect("some").expect("whole"), "hi");
        let mut down = respond.send_response(Response::new(()), false).expect("the stream is open");
        down.send_data(Bytes::from("ok"), true).expect("the stream is open");
        assert_eq!(client.head().await.lines().next(), Some("HTTP/1.1 200 OK"));
        assert_eq!(client.until("0\r\n\r\n").await, "2\r\nok\r\n0\r\n\r\n");
        client.send(GET).await;
    };
    tokio::select! { () = served => {}, _ = serving.accept() => unreachable!("nothing else is asked") }
    let (_, mut respond) = next(&mut serving).await;
    respond.send_reset(Reason::ENHANCE_YOUR_CALM);
    let _running = drive(serving);
    let answer = client.answer().await;
    assert!(answer.starts_with("HTTP/1.1 502 ") && answer.contains("app-reset"), "{answer}");
}

#[tokio::test]
async fn a_body_that_the_app_resets_never_looks_complete() {
    for reason in [Reason::NO_ERROR, Reason::CANCEL] {
        let (app, front) = H2App::new().await;
        let mut client = front.client().await;
        client.send(GET).await;
        let (serving, (_, mut respond)) = app.accept(100).await;
        let _serving = drive(serving);
        let mut down = respond.send_response(Response::new(()), false).expect("the stream is open");
        down.send_data(Bytes::from("half"), false).expect("the stream is open");
        client.until("half\r\n").await;
        down.send_reset(reason);
        assert_eq!(client.rest().await.0, "", "of {reason}");
        front.until("tidewait_proxy_requests_total", "cut", 1.0).await;
    }
}

/// A client that leaves takes its own stream along, and no other on the same connection.
#[tokio::test]
async fn a_client_that_cancels_ends_its_stream_alone() {
    let (app, front) = H2App::new().await;
    let (mut other, _connection) = client(&front).await;
    let (other, _up) = other.send_request(get(), true).expect("a stream");
    let (mut serving, (_, mut waiting)) = app.accept(100).await;
    for (request, answered) in [(get(), false), (call(), false), (call(), true)] {
        let (mut leaving, connection) = client(&front).await;
        let whole = request.method() == "GET";
        let (answer, _up) = leaving.send_request(request, whole).expect("a stream");
        let (_request, mut respond) = next(&mut serving).await;
        let mut down = answered.then(|| respond.send_response(ok(), false).expect("the stream is open"));
        let reset = async {
            let _answer = if answered { Some(answer.await.expect("a head")) } else { None };
            drop((connection, leaving));
            match &mut down {
                Some(down) => std::future::poll_fn(|cx| down.poll_reset(cx)).await,
                None => std::future::poll_fn(|cx| respond.poll_reset(cx)).await,
            }
        };
        let reason = tokio::select! {
            reason = within("the reset", reset) => reason.expect("a code"),
            _ = serving.accept() => unreachable!("nothing else is asked"),
        };
        assert_eq!(reason, Reason::CANCEL, "answered: {answered}");
    }
    let _serving = drive(serving);
    waiting.send_response(Response::new(()), true).expect("the stream is open");
    assert_eq!(within("the other answer", other).await.expect("an answer").status(), 200);
}

/// What the app says it has not looked at may be sent again, whatever the method.
#[tokio::test]
async fn requests_that_the_app_refuses_are_repeated_once() {
    let (app, front) = H2App::new().await;
    let (mut to, _connection) = client(&front).await;
    let post = || Request::post("http://a/x").body(()).expect("a request");
    let (answer, _up) = to.send_request(post(), true).expect("a stream");
    let (mut serving, (_, mut first)) = app.accept(100).await;
    first.send_reset(Reason::REFUSED_STREAM);
    let (_, mut second) = next(&mut serving).await;
    second.send_response(Response::new(()), true).expect("the stream is open");
    let answer = tokio::select! {
        answer = within("an answer", answer) => answer.expect("an answer"),
        _ = serving.accept() => unreachable!("nothing else is asked"),
    };
    assert_eq!(answer.status(), 200);
    let (answer, _up) = to.send_request(post(), true).expect("a stream");
    for _ in 0..2 {
        next(&mut serving).await.1.send_reset(Reason::REFUSED_STREAM);
    }
    let _serving = drive(serving);
    let error = within("the reset", answer).await.expect_err("no answer");
    assert_eq!(error.reason(), Some(Reason::REFUSED_STREAM), "so that the client may try again");
    front.until(RETRIES, "", 2.0).await;
}

/// An app that restarts in order: what it has begun it ends, what comes after goes to a new connection.
#[tokio::test]
async fn an_app_that_says_goaway_is_left_in_order() {
    let (app, front) = H2App::new().await;
    let (mut to, _connection) = client(&front).await;
    let (first, _up) = to.send_request(get(), true).expect("a stream");
    let (mut serving, (_, mut respond)) = app.accept(100).await;
    serving.graceful_shutdown();
    let (second, _up) = to.send_request(get(), true).expect("a stream");
    let old = async {
        while let Some(Ok((_, mut late))) = serving.accept().await {
            late.send_reset(Reason::REFUSED_STREAM);
        }
    };
    let new = async {
        let (again, (_, mut respond)) = app.accept(100).await;
        respond.send_response(Response::new(()), true).expect("the stream is open");
        drive(again)
    };
    let (_running, ()) = within("a new connection", async {
        tokio::join!(new, async {
            // The first is answered on the old connection, which then ends.
            respond.send_response(Response::new(()), true).expect("the stream is open");
            old.await;
        })
    })
    .await;
    assert_eq!(within("an answer", first).await.expect("an answer").status(), 200);
    assert_eq!(within("an answer", second).await.expect("an answer").status(), 200);
    front.until(APP_CONNECTIONS, "", 1.0).await;
}

#[tokio::test]
async fn streams_beyond_what_the_app_allows_get_connections_of_their_own() {
    let (app, front) = H2App::new().await;
    let (mut client, _connection) = client(&front).await;
    let answers: Vec<_> = (0..5).map(|_| client.send_request(get(), true).expect("a stream").0).collect();
    let (mut responds, mut running) = (Vec::new(), Vec::new());
    for expected in [2, 2, 1] {
        let (mut serving, (_, respond)) = app.accept(2).await;
        responds.push(respond);
        if expected == 2 {
            responds.push(next(&mut serving).await.1);
        }
        running.push(drive(serving));
    }
    front.until(APP_CONNECTIONS, "", 3.0).await;
    for mut respond in responds {
        respond.send_response(Response::new(()), true).expect("the stream is open");
    }
    for answer in answers {
        assert_eq!(within("an answer", answer).await.expect("an answer").status(), 200);
    }
}

/// A client that does not read holds up nobody else on the connection to the app.
#[tokio::test]
async fn slow_readers_do_not_hold_up_others() {
    let (app, front) = H2App::new().await;
    let mut clients = Vec::new();
    let mut running = JoinSet::new();
    let mut serving: Option<Serving> = None;
    for _ in 0..40 {
        let mut slow = front.client().await;
        slow.send(GET).await;
        clients.push(slow);
        let (_, mut respond) = app.on(&mut serving).await;
        let down = respond.send_response(Response::new(()), false).expect("the stream is open");
        running.spawn(pour(down));
    }
    let mut serving = serving.expect("just accepted");
    // Until nothing moves any more.
    let settle = async { while tokio::time::timeout(Duration::from_millis(300), serving.accept()).await.is_ok() {} };
    within("all windows are full", settle).await;
    let mut quick = front.client().await;
    quick.send(GET).await;
    let (_, mut respond) = next(&mut serving).await;
    let mut down = respond.send_response(Response::new(()), false).expect("the stream is open");
    down.send_data(Bytes::from("ok"), true).expect("the stream is open");
    let _serving = drive(serving);
    quick.until("\r\n0\r\n\r\n").await;
}

/// Sends as much as there is room for.
async fn pour(mut down: h2::SendStream<Bytes>) {
    let block = Bytes::from(vec![b'x'; 16 << 10]);
    loop {
        down.reserve_capacity(block.len());
        match std::future::poll_fn(|cx| down.poll_capacity(cx)).await {
            Some(Ok(room)) => down.send_data(block.slice(..room.min(block.len())), false).expect("the stream is open"),
            Some(Err(_)) | None => return,
        }
    }
}

#[tokio::test]
async fn the_wrong_protocol_is_named() {
    let app = RawApp::new();
    let front = Front::with(app.address(), Settings { protocol: Protocol::Http2, ..Settings::default() }).await;
    let mut client = front.client().await;
    client.send(GET).await;
    let mut behind = app.accept().await;
    behind.head().await;
    behind.send("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
    let answer = client.answer().await;
    assert!(answer.starts_with("HTTP/1.1 502 ") && answer.contains("app-speaks-another-protocol"), "{answer}");
    assert!(answer.contains("set --upstream-protocol (upstream.protocol) to http1"), "{answer}");

    // hyper closes without a word.
    let app = App::new(|_| async { Response::new(full("ok")) }).await;
    let front = Front::with(app.address, Settings { protocol: Protocol::Http2, ..Settings::default() }).await;
    let answer = front.client().await.ask(GET).await;
    assert!(
        answer.starts_with("HTTP/1.1 502 ") && answer.contains("if it speaks HTTP/1.1, set that to http1"),
        "{answer}"
    );

    let app = RawApp::new();
    let front = Front::before(app.address()).await;
    let mut client = front.client().await;
    client.send(GET).await;
    let mut behind = app.accept().await;
    behind.head().await;
    behind.send(b"\0\0\x06\x04\0\0\0\0\0\0\x05\0\0\x40\0\0\0\0\x07\0\0\0\0\0").await;
    let answer = client.answer().await;
    assert!(
        answer.starts_with("HTTP/1.1 502 ") && answer.contains("set --upstream-protocol (upstream.protocol) to h2c"),
        "{answer}"
    );
}

#[tokio::test]
async fn an_app_that_is_away_silent_or_closes_is_502() {
    let settings =
        || Settings { connect: Duration::from_millis(200), protocol: Protocol::Http2, ..Settings::default() };
    let front = Front::with(RawApp::new().address(), settings()).await;
    assert!(front.client().await.ask(GET).await.contains("app-unreachable"));
    let silent = RawApp::new();
    let front = Front::with(silent.address(), settings()).await;
    let answer = front.client().await.ask(GET).await;
    assert!(answer.starts_with("HTTP/1.1 502 ") && answer.contains("app-answer-malformed"), "{answer}");
    front.until(APP_CONNECTIONS, "", 0.0).await;
}

/// The answer that did not come may be the connection's fault: the next request does not depend on it.
#[tokio::test]
async fn an_app_that_never_answers_is_504_and_left() {
    let (app, front) = H2App::with(Settings { head: Duration::from_millis(100), ..Settings::default() }).await;
    let mut client = front.client().await;
    client.send(GET).await;
    let (serving, (_, mut respond)) = app.accept(100).await;
    let _serving = drive(serving);
    let reset = within("the reset", std::future::poll_fn(|cx| respond.poll_reset(cx))).await;
    assert_eq!(reset.expect("a code"), Reason::CANCEL);
    assert!(client.answer().await.starts_with("HTTP/1.1 504 "));
    client.send(GET).await;
    let (again, (_, mut respond)) = app.accept(100).await;
    respond.send_response(Response::new(()), true).expect("the stream is open");
    let _again = drive(again);
    assert!(client.head().await.starts_with("HTTP/1.1 200 "));
}

/// An idle connection may be gone without a word.
#[tokio::test]
async fn a_request_that_may_be_repeated_survives_a_lost_connection() {
    let (app, front) = H2App::new().await;
    let mut client = front.client().await;
    client.send(GET).await;
    let (serving, (_, mut respond)) = app.accept(100).await;
    respond.send_response(Response::new(()), true).expect("the stream is open");
    let mut running = JoinSet::new();
    let (asked, lost) = tokio::sync::oneshot::channel();
    running.spawn(async move {
        let mut serving = serving;
        let second = serving.accept().await;
        drop((second, serving));
        asked.send(()).expect("the test waits");
    });
    client.head().await;
    client.send(GET).await;
    within("the connection is lost", lost).await.expect("asked");
    let (again, (_, mut respond)) = app.accept(100).await;
    respond.send_response(Response::new(()), true).expect("the stream is open");
    let _again = drive(again);
    assert!(client.head().await.starts_with("HTTP/1.1 200 "));
    front.until(RETRIES, "", 1.0).await;
}

/// As of HTTP/1.1: the app has answered, reads no more and does not say so.
#[tokio::test]
async fn an_upload_that_nobody_reads_is_reset_after_the_answer() {
    let (app, front) = H2App::new().await;
    let (mut client, _connection) = client(&front).await;
    let (answer, mut up) = client.send_request(call(), false).expect("a stream");
    up.send_data(Bytes::from(vec![b'x'; 60_000]), false).expect("room for it");
    let (mut serving, (request, mut respond)) = app.accept(100).await;
    let mut down = respond.send_response(ok(), false).expect("the stream is open");
    down.send_data(Bytes::from("ok"), true).expect("the stream is open");
    let reset = async {
        let mut body = answer.await.expect("a head").into_body();
        assert_eq!(body.data().await.expect("some").expect("whole"), "ok");
        std::future::poll_fn(|cx| down.poll_reset(cx)).await
    };
    let reason = tokio::select! {
        reason = within("the reset", reset) => reason.expect("a code"),
        _ = serving.accept() => unreachable!("nothing else is asked"),
    };
    assert_eq!(reason, Reason::CANCEL);
    drop(request);
}

#[tokio::test]
async fn an_app_that_says_100_is_heard() {
    let (app, front) = H2App::new().await;
    let mut client = front.client().await;
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\nexpect: 100-continue\r\n\r\n").await;
    let (mut serving, (request, mut respond)) = app.accept(100).await;
    let go_on = Response::builder().status(100).body(()).expect("an answer");
    respond.send_informational(go_on).expect("the stream is open");
    let served = async {
        assert_eq!(client.head().await, "HTTP/1.1 100 Continue\r\n\r\n");
        client.send("body").await;
        assert_eq!(request.into_body().data().await.expect("some").expect("whole"), "body");
        respond.send_response(Response::new(()), true).expect("the stream is open");
        assert!(client.head().await.starts_with("HTTP/1.1 200 "));
    };
    tokio::select! { () = served => {}, _ = serving.accept() => unreachable!("nothing else is asked") }
}
