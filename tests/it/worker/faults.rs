//! A server that is away or breaks off, and an exchange that is silent or sends nonsense.

use std::process::Stdio;
use std::time::Duration;

use h2::Reason;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;
use tokio::time::{Instant, timeout};

use super::{Port, found, head, soon, whole, worker, worker_at, write};

#[tokio::test]
async fn nothing_is_dialled_until_the_server_is_there_and_a_request_that_finds_it_gone_is_refused() {
    let exchange = Port::new().await;
    let server = Port::new().await;
    let address = server.address.to_string();
    drop(server);
    let mut worker = worker_at(&exchange.url(), &format!("http://{address}"), &["--slots=2"]);
    worker.logged("the server is not there yet").await;
    assert!(!exchange.is_dialled_within(Duration::from_millis(700)).await);
    let server = Port::at(&address).await;
    let mut hub = exchange.hub().await;
    drop(server);
    let response = hub.get("/x").await;
    let error = soon("a refusal", response).await.expect_err("nobody answers");
    assert_eq!(error.reason(), Some(Reason::REFUSED_STREAM), "another worker can take it");
    soon("GOAWAY", hub.driver).await.expect("no panic").expect("it is left in peace");
    assert!(!exchange.is_dialled_within(Duration::from_millis(700)).await, "it would eat the queue");
    let server = Port::at(&address).await;
    let mut hub = exchange.hub().await;
    let response = hub.get("/x").await;
    // The look of the worker comes first.
    let serve = async {
        loop {
            let mut app = server.accept().await;
            let mut first = [0; 1];
            if app.read(&mut first).await.is_ok_and(|read| read > 0) {
                head(&mut app).await;
                write(&mut app, "HTTP/1.1 204 No Content\r\n\r\n").await;
                return app;
            }
        }
    };
    let _app = soon("the request", serve).await;
    assert_eq!(soon("the answer", response).await.expect("one").status(), 204);
}

#[tokio::test]
async fn a_server_that_breaks_off_resets_the_stream_and_nonsense_is_502_of_a_type() {
    let (exchange, server) = (Port::new().await, Port::new().await);
    let _worker = worker(&exchange, &server, &[]);
    found(&server).await;
    let mut hub = exchange.hub().await;
    for (said, is_answered) in [
        ("", false),
        ("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", true),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", true),
    ] {
        let response = hub.get("/x").await;
        let mut app = server.accept().await;
        head(&mut app).await;
        write(&mut app, said).await;
        let error = if is_answered {
            let response = soon("the head", response).await.expect("one");
            drop(app);
            whole(response).await.expect_err("it was cut")
        } else {
            drop(app);
            soon("the end", response).await.expect_err("there is none")
        };
        assert_eq!(error.reason(), Some(Reason::INTERNAL_ERROR), "{said:?}");
    }
    for said in [
        "nonsense\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
    ] {
        let response = hub.get("/x").await;
        let mut app = server.accept().await;
        head(&mut app).await;
        write(&mut app, said).await;
        let response = soon("an answer", response).await.expect("one");
        assert_eq!(
            (response.status().as_u16(), response.headers()["content-type"].as_bytes()),
            (502, &b"application/problem+json"[..])
        );
        let body = whole(response).await.expect("whole");
        assert!(body.contains("/problems/server-malformed\""), "{body}");
    }
}

/// A server of its own process, killed within its answer.
#[tokio::test]
async fn a_server_that_is_killed_within_its_answer_leaves_no_body_that_looks_whole() {
    const SERVER: &str = "
import http.server, time
class Slow(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_GET(self):
        self.send_response(200)
        self.send_header('Transfer-Encoding', 'chunked')
        self.end_headers()
        while True:
            self.wfile.write(b'5\\r\\nhello\\r\\n')
            time.sleep(0.01)
server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Slow)
print(server.server_port, flush=True)
server.serve_forever()
";
    let mut command = Command::new("python3");
    command.args(["-c", SERVER]).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    let mut server = command.spawn().expect("python3 is there");
    let mut port = String::new();
    let mut said = server.stdout.take().expect("piped");
    while !port.ends_with('\n') {
        port.push(char::from(soon("its port", said.read_u8()).await.expect("it says its port")));
    }
    let exchange = Port::new().await;
    let mut worker = worker_at(&exchange.url(), &format!("http://127.0.0.1:{}", port.trim()), &[]);
    let mut hub = exchange.hub().await;
    let mut response = soon("the head", hub.get("/x").await).await.expect("one");
    assert_eq!(soon("data", response.body_mut().data()).await.expect("some").expect("good"), "hello");
    server.kill().await.expect("SIGKILL");
    assert_eq!(whole(response).await.expect_err("it was cut").reason(), Some(Reason::INTERNAL_ERROR));
    // The next one finds nobody, and nothing is offered any more.
    let error = soon("a refusal", hub.get("/x").await).await.expect_err("nobody answers");
    assert_eq!(error.reason(), Some(Reason::REFUSED_STREAM));
    worker.logged("no slots are offered until it can").await;
}

/// An exchange that hangs (SIGSTOP) keeps its connections, and answers no PING.
#[tokio::test]
async fn an_exchange_that_gives_no_sign_of_life_is_left_and_dialled_again() {
    let (exchange, server) = (Port::new().await, Port::new().await);
    let mut worker = worker(&exchange, &server, &[]);
    found(&server).await;
    let (mut stream, _) = exchange.upgraded("h2").await;
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.expect("written");
    let since = Instant::now();
    worker.logged("no sign of life").await;
    let took = since.elapsed();
    assert!((Duration::from_secs(14)..Duration::from_secs(18)).contains(&took), "{took:?}");
    let _hub = exchange.hub().await;
}

#[tokio::test]
async fn nonsense_of_an_exchange_ends_its_connection_and_a_large_head_its_request() {
    let (exchange, server) = (Port::new().await, Port::new().await);
    let _worker = worker(&exchange, &server, &[]);
    found(&server).await;
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    for nonsense in [
        &b"\xff\xff\xff\x00\x00\x00\x00\x00\x01"[..],
        &b"\0\0\x05\x01\x05\0\0\0\x01\xff\xff\xff\xff\xff"[..],
        &b"\0\0\0\x07\0\0\0\0\x01"[..],
        &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
    ] {
        let (mut stream, _) = exchange.upgraded("h2").await;
        stream.write_all(&[preface, nonsense].concat()).await.expect("written");
        let mut rest = Vec::new();
        let _ = soon("the end", stream.read_to_end(&mut rest)).await;
    }
    let (mut stream, _) = exchange.upgraded("h2").await;
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.expect("written");
    let mut rest = Vec::new();
    let _ = soon("the end", stream.read_to_end(&mut rest)).await;
    let mut hub = exchange.hub().await;
    let large = http::Request::get("http://app.example/x").header("x", "y".repeat(1024 * 1024));
    hub.send = soon("a slot", hub.send.clone().ready()).await.expect("it lives");
    let (response, _) = hub.send.send_request(large.body(()).expect("a request"), true).expect("sent");
    match soon("an answer", response).await {
        Ok(response) => assert_eq!(response.status(), 431),
        Err(error) => assert!(error.is_remote() || error.is_io(), "{error}"),
    }
    assert!(timeout(Duration::from_millis(200), server.accept()).await.is_err(), "the server has none of it");
    drop(hub);
    let mut hub = exchange.hub().await;
    let response = hub.get("/x").await;
    let mut app = server.accept().await;
    head(&mut app).await;
    write(&mut app, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    assert_eq!(whole(soon("an answer", response).await.expect("one")).await.expect("whole"), "ok");
}
