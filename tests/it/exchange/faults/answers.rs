//! Workers that answer what is no good answer, or a good one in an unusual form.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::super::{ask, send, text};
use super::{CLAIMS, FREE, Frames, LINKS, Link, Rig, Worker};
use crate::server::{Client, Reply};

const TEXT_LINKS: [Link; 2] = [Link::Http1, Link::Raw];

fn malformed(reply: &Reply) {
    assert_eq!(reply.status, 502, "{}", text(reply));
    assert!(text(reply).contains("worker-malformed"), "{}", text(reply));
}

/// What a consumer gets whose worker writes this; and whether the connection of the worker ends then.
async fn written(rig: &Rig, link: Link, answer: &str) -> (Option<Reply>, bool) {
    let mut worker = rig.dial(link).await;
    let mut consumer = send(rig.server.listen, "GET", "/work", &[], "").await;
    worker.head().await;
    let Worker::Text(dialled) = &mut worker else { unreachable!("it is of HTTP/1.1") };
    // The server may close before all of it is written.
    let _ = dialled.stream.write_all(answer.as_bytes()).await;
    let reply = consumer.try_reply().await;
    let open = async {
        rig.server.metric_becomes(FREE, 1.0).await;
        false
    };
    let ended = tokio::select! {
        biased;
        head = dialled.head() => { assert_eq!(head, None); true }
        open = open => open,
    };
    drop(worker);
    rig.becomes(0.0, 0.0).await;
    (reply, ended)
}

#[tokio::test]
async fn what_is_not_http_is_502_and_ends_the_connection() {
    let rig = Rig::start().await;
    let long = format!("HTTP/1.1 200 OK\r\nX-Long: {}\r\n\r\n", "a".repeat(1024 * 1024));
    for link in TEXT_LINKS {
        for answer in [
            "garbage\r\n\r\n",
            "\x16\x03\x01\x02\r\n\r\n",
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
            "HTTP/1.1 600 Odd\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            &long,
        ] {
            let (reply, ended) = written(&rig, link, answer).await;
            let shown = &answer[..answer.len().min(60)];
            malformed(&reply.unwrap_or_else(|| panic!("{link:?} {shown}")));
            assert!(ended, "{link:?} {shown}");
        }
    }
}

#[tokio::test]
async fn of_two_final_heads_the_first_counts_and_the_connection_ends() {
    let rig = Rig::start().await;
    for link in TEXT_LINKS {
        for answer in [
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 500 No\r\nContent-Length: 2\r\n\r\nno",
            // As a length that lies.
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokay",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nmore",
        ] {
            let (reply, ended) = written(&rig, link, answer).await;
            let reply = reply.expect("an answer");
            assert_eq!((reply.status, text(&reply).as_str(), ended), (200, "ok", true), "{link:?} {answer}");
        }
    }
}

#[tokio::test]
async fn informational_heads_end_here_and_the_final_one_counts() {
    let rig = Rig::start().await;
    let answer = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok";
    for link in TEXT_LINKS {
        let (reply, ended) = written(&rig, link, answer).await;
        let reply = reply.expect("an answer");
        assert_eq!((reply.status, text(&reply).as_str(), ended), (201, "ok", false), "{link:?}");
    }
    let mut worker = Frames::dial(rig.server.listen).await;
    let mut consumer = send(rig.server.listen, "GET", "/work", &[], "").await;
    let stream = worker.request().await;
    // `:status: 103` as a literal (RFC 7541, section 6.2.2), then `:status: 204`.
    worker.write(1, 4, stream, &[8, 3, b'1', b'0', b'3']).await;
    worker.write(1, 5, stream, &[0x89]).await;
    assert_eq!(consumer.reply().await.status, 204);
}

#[tokio::test]
async fn over_http2_a_length_that_lies_cuts_the_answer() {
    let rig = Rig::start().await;
    for body in ["abc", "abcdefghijkl"] {
        let mut worker = Frames::dial(rig.server.listen).await;
        let mut consumer = send(rig.server.listen, "GET", "/work", &[], "").await;
        let stream = worker.request().await;
        // `:status: 200`, and `content-length: 9` as a literal with an indexed name.
        worker.write(1, 4, stream, &[0x88, 0x0f, 13, 1, b'9']).await;
        worker.write(0, 1, stream, body.as_bytes()).await;
        assert!(consumer.try_reply().await.is_none(), "{body}");
        drop(worker);
        rig.becomes(0.0, 0.0).await;
    }
}

#[tokio::test]
async fn over_http2_what_is_not_http_is_502() {
    let rig = Rig::start().await;
    // No status; a status of no form; a field that HTTP/2 forbids.
    let no_status: &[u8] = &[0x0f, 13, 1, b'0'];
    let odd: &[u8] = &[8, 3, b'x', b'y', b'z'];
    let switching: &[u8] = &[8, 3, b'1', b'0', b'1'];
    for head in [no_status, odd, switching] {
        let mut worker = Frames::dial(rig.server.listen).await;
        let mut consumer = send(rig.server.listen, "POST", "/work", &[], "").await;
        let stream = worker.request().await;
        worker.write(1, 5, stream, head).await;
        let reply = consumer.reply().await;
        assert_eq!(reply.status, 502, "{head:?}: {}", text(&reply));
        drop(worker);
        rig.becomes(0.0, 0.0).await;
    }
    let mut worker = Frames::dial(rig.server.listen).await;
    let mut consumer = send(rig.server.listen, "POST", "/work", &[], "").await;
    worker.request().await;
    worker.0.write_all(&[0xff; 64]).await.expect("sent");
    assert_eq!(consumer.reply().await.status, 502);
    while worker.next().await.is_some() {}
}

#[tokio::test]
async fn a_worker_may_answer_before_it_has_read_the_body() {
    let rig = Rig::start().await;
    for link in LINKS {
        let mut worker = rig.dial(link).await;
        let mut consumer = Client::connect(rig.server.listen).await;
        consumer.send("POST", "/work", &[("Content-Length", "100000000")]).await;
        consumer.stream.get_mut().write_all(&[b'x'; 1000]).await.expect("sent");
        worker.head().await;
        worker.answer(413, "too long").await;
        let reply = consumer.reply().await;
        assert_eq!((reply.status, text(&reply).as_str()), (413, "too long"), "{link:?}");
        drop(consumer);
        rig.becomes(0.0, 0.0).await;
        drop(worker);
    }
    // The same, posted while the body is still handed over.
    let mut poll = send(rig.server.listen, "POST", CLAIMS, &[], "").await;
    let mut consumer = Client::connect(rig.server.listen).await;
    consumer.send("POST", "/work", &[("Content-Length", "100000000")]).await;
    consumer.stream.get_mut().write_all(&[b'x'; 1000]).await.expect("sent");
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        head.push(char::from(poll.stream.read_u8().await.expect("its head")));
    }
    let location = head.lines().find_map(|line| line.strip_prefix("location: ")).expect("a claim");
    let answer = [("Exchange-Status", "413")];
    assert_eq!(ask(rig.server.listen, "POST", location, &answer, "too long").await.status, 204);
    let reply = consumer.reply().await;
    assert_eq!((reply.status, text(&reply).as_str()), (413, "too long"));
}

#[tokio::test]
async fn an_answer_without_a_body_leaves_both_connections_usable() {
    let rig = Rig::start().await;
    for link in LINKS {
        let mut worker = rig.dial(link).await;
        let mut consumer = Client::connect(rig.server.listen).await;
        for (method, status) in [("HEAD", 200), ("GET", 204), ("HEAD", 404), ("GET", 304), ("GET", 200)] {
            consumer.send(method, "/work", &[]).await;
            let head = worker.head().await;
            assert!(head.starts_with(&format!("{} /work", method.to_ascii_lowercase())), "{head}");
            match &mut worker {
                // The length is that of the answer to a GET.
                Worker::Text(dialled) if method == "HEAD" || status == 304 => {
                    dialled.write(&format!("HTTP/1.1 {status} X\r\nContent-Length: 50\r\n\r\n")).await;
                }
                Worker::Text(dialled) if status == 204 => dialled.write("HTTP/1.1 204 X\r\n\r\n").await,
                Worker::Text(_) | Worker::Streams(_) => worker.answer(status, "").await,
            }
            let reply = consumer.reply().await;
            assert_eq!((reply.status, reply.body.len(), consumer.closed), (status, 0, false), "{link:?} {method}");
        }
        drop(worker);
    }
    let mut consumer = Client::connect(rig.server.listen).await;
    for (method, status) in [("HEAD", "200"), ("GET", "204"), ("GET", "304"), ("GET", "200")] {
        consumer.send(method, "/work", &[]).await;
        let claim = ask(rig.server.listen, "POST", CLAIMS, &[], "").await;
        assert_eq!(claim.field("exchange-method"), method);
        let answer = [("Exchange-Status", status)];
        assert_eq!(ask(rig.server.listen, "POST", claim.field("location"), &answer, "").await.status, 204);
        let reply = consumer.reply().await;
        assert_eq!((reply.status.to_string().as_str(), reply.body.len(), consumer.closed), (status, 0, false));
    }
}

#[tokio::test]
async fn a_head_with_a_body_counts_as_its_head_and_the_connection_ends() {
    let rig = Rig::start().await;
    for link in TEXT_LINKS {
        let mut worker = rig.dial(link).await;
        let mut consumer = Client::connect(rig.server.listen).await;
        consumer.send("HEAD", "/work", &[]).await;
        worker.head().await;
        // As the worker of POTHEAD does.
        worker.answer(200, "a body").await;
        assert_eq!(consumer.reply().await.status, 200);
        worker.is_cancelled().await;
        rig.becomes(0.0, 0.0).await;
    }
}

#[tokio::test]
async fn an_answer_whose_length_is_not_known_passes_to_its_end() {
    let rig = Rig::start().await;
    for link in TEXT_LINKS {
        let mut worker = rig.dial(link).await;
        let mut consumer = send(rig.server.listen, "GET", "/work", &[], "").await;
        worker.head().await;
        let Worker::Text(mut dialled) = worker else { unreachable!("it is of HTTP/1.1") };
        // Its end is that of the connection.
        dialled.write("HTTP/1.0 200 OK\r\n\r\nall of it").await;
        drop(dialled);
        let reply = consumer.reply().await;
        assert_eq!((reply.status, text(&reply).as_str()), (200, "all of it"), "{link:?}");
    }
    let mut worker = rig.dial(Link::Http2).await;
    let mut consumer = send(rig.server.listen, "GET", "/work", &[], "").await;
    worker.head().await;
    let mut stream = worker.begin("all ").await.expect("a stream");
    stream.send_data("of it".into(), true).expect("open");
    let reply = consumer.reply().await;
    assert_eq!((reply.status, text(&reply).as_str()), (200, "all of it"));
}
