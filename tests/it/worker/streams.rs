//! Requests and answers, both as they come.

use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use http::{HeaderMap, Request};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, timeout};

use super::{Port, found, head, soon, to, whole, worker, write};

#[tokio::test]
async fn a_request_goes_to_the_server_and_its_answer_back() {
    let (exchange, server) = (Port::new().await, Port::new().await);
    let _worker = worker(&exchange, &server, &["--key", "cam/7", "--slots=3"]);
    found(&server).await;
    let mut hub = exchange.hub().await;
    let asked = hub.asked.to_ascii_lowercase();
    assert!(asked.starts_with("get /exchange/work/reverse?key=cam%2f7 http/1.1\r\n"), "{asked}");
    for field in ["connection: upgrade", "upgrade: ptth", "alpn: h2", "agent-id: w-1", "exchange-slots: 3"] {
        assert!(asked.contains(&format!("\r\n{field}\r\n")), "{field} is not in {asked}");
    }
    assert_eq!(hub.send.current_max_send_streams(), 3);
    for n in 1..=2 {
        let request = Request::get("http://app.example/a?b=c")
            .header("forwarded", "for=192.0.2.1")
            .header("exchange-attempt", "1")
            .header("x-request-id", "7");
        hub.send = soon("a slot", hub.send.clone().ready()).await.expect("it lives");
        let (response, _) = hub.send.send_request(request.body(()).expect("a request"), true).expect("sent");
        let mut app = server.accept().await;
        let request = head(&mut app).await;
        assert!(request.starts_with("GET /a?b=c HTTP/1.1\r\n"), "{request}");
        for field in ["host: app.example", "forwarded: for=192.0.2.1", "exchange-attempt: 1", "x-request-id: 7"] {
            assert!(request.to_ascii_lowercase().contains(&format!("\r\n{field}\r\n")), "{field} is not in {request}");
        }
        write(
            &mut app,
            "HTTP/1.1 418 Teapot\r\nX-A: b\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nContent-Length: 5\r\n\r\nhello",
        )
        .await;
        let response = soon("an answer", response).await.expect("one");
        assert_eq!((response.status().as_u16(), response.headers()["x-a"].as_bytes()), (418, &b"b"[..]), "{n}");
        assert!(response.headers().get("x-hop").is_none() && response.headers().get("connection").is_none());
        assert_eq!(whole(response).await.expect("whole"), "hello");
    }
}

#[tokio::test]
async fn both_bodies_stream_with_interim_answers_and_trailers() {
    let (exchange, server) = (Port::new().await, Port::new().await);
    let _worker = worker(&exchange, &server, &[]);
    found(&server).await;
    let mut hub = exchange.hub().await;
    let request = Request::post("http://app.example/up").header("te", "trailers").header("expect", "100-continue");
    let (mut response, mut upload) = hub.begin(request.body(()).expect("a request")).await;
    let mut app = server.accept().await;
    let request = head(&mut app).await.to_ascii_lowercase();
    assert!(request.contains("transfer-encoding: chunked") && request.contains("\r\nte: trailers\r\n"), "{request}");
    assert!(!request.contains("expect:"), "{request}");
    for piece in ["one", "two"] {
        upload.send_data(Bytes::from(piece), false).expect("sent");
        let expected = format!("3\r\n{piece}\r\n");
        let mut read = vec![0; expected.len()];
        soon("a piece of the upload", app.read_exact(&mut read)).await.expect("it comes");
        assert_eq!(String::from_utf8_lossy(&read), expected);
    }
    write(&mut app, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n").await;
    let hint = soon("a hint", std::future::poll_fn(|cx| response.poll_informational(cx))).await;
    assert_eq!(hint.expect("one").expect("good").status(), 103);
    write(&mut app, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-End\r\n\r\n3\r\nabc\r\n").await;
    let mut response = soon("the head", response).await.expect("one");
    assert_eq!(soon("data", response.body_mut().data()).await.expect("some").expect("good"), "abc");
    upload.send_data(Bytes::new(), true).expect("sent");
    let mut end = [0; 5];
    soon("the end of the upload", app.read_exact(&mut end)).await.expect("it comes");
    write(&mut app, "0\r\nX-End: yes\r\n\r\n").await;
    assert!(soon("the end", response.body_mut().data()).await.is_none());
    let trailers = soon("trailers", response.body_mut().trailers()).await.expect("good").expect("some");
    assert_eq!(trailers, HeaderMap::from_iter([("x-end".parse().expect("a name"), "yes".parse().expect("a value"))]));
}

#[tokio::test]
async fn a_request_that_is_taken_back_lets_go_of_the_server_within_100_ms() {
    let (exchange, server) = (Port::new().await, Port::new().await);
    let _worker = worker(&exchange, &server, &["--slots=4"]);
    found(&server).await;
    let mut hub = exchange.hub().await;
    for (case, is_whole, answered) in [
        ("before the head", true, None),
        ("while the upload comes", false, None),
        ("within the answer", true, Some("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc")),
        ("within both", false, Some("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")),
    ] {
        let (response, mut upload) = hub.begin(to("/x")).await;
        if is_whole {
            upload.send_data(Bytes::new(), true).expect("sent");
        }
        let mut app = server.accept().await;
        head(&mut app).await;
        let mut waits = Box::pin(response);
        let mut body = None;
        if let Some(answer) = answered {
            write(&mut app, answer).await;
            body = Some(soon("the head", waits.as_mut()).await.expect("one").into_body());
        }
        let since = Instant::now();
        upload.send_reset(Reason::CANCEL);
        drop((waits, body));
        let mut rest = Vec::new();
        let ended = soon("the end of the connection", app.read_to_end(&mut rest)).await;
        let took = since.elapsed();
        assert!(took < Duration::from_millis(100), "{case}: {took:?}, {ended:?}");
    }
}

#[tokio::test]
async fn answers_that_nobody_reads_do_not_stop_another_one() {
    let (exchange, server) = (Port::new().await, Port::new().await);
    let _worker = worker(&exchange, &server, &["--slots=6"]);
    found(&server).await;
    let mut hub = exchange.hub().await;
    let mut unread = Vec::new();
    let (mut apps, mut kept) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        let response = hub.get("/large").await;
        let mut app = server.accept().await;
        head(&mut app).await;
        write(&mut app, "HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n").await;
        unread.push(soon("the head", response).await.expect("one"));
        apps.push(tokio::spawn(async move {
            let piece = vec![b'x'; 64 * 1024];
            let mut sent = 0;
            // Until nothing more goes.
            while let Ok(Ok(())) = timeout(Duration::from_secs(1), app.write_all(&piece)).await {
                sent += piece.len();
            }
            (sent, app)
        }));
    }
    for app in apps {
        let (sent, app) = soon("backpressure", app).await.expect("no panic");
        assert!(sent < 40_000_000, "{sent} bytes were taken that nobody reads");
        kept.push(app);
    }
    let response = hub.get("/small").await;
    let mut app = server.accept().await;
    head(&mut app).await;
    write(&mut app, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    assert_eq!(whole(soon("an answer", response).await.expect("one")).await.expect("whole"), "ok");
    drop((unread, kept));
}
