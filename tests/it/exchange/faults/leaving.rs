//! Consumers that leave: nobody works for who is gone, and the slot of the worker is free again.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::super::{ask, configured, send, start, text};
use super::{CANCELLED, CLAIMS, FREE, IN_FLIGHT, LINKS, Link, QUEUED, Rig, Streams, Worker, begin_post, resets};
use crate::server::{Client, STEP, Server};

/// How a consumer leaves.
#[derive(Debug, Clone, Copy)]
enum Way {
    Fin,
    HalfClose,
    Rst,
    ResetStream,
}

const WAYS: [Way; 4] = [Way::Fin, Way::HalfClose, Way::Rst, Way::ResetStream];

/// A consumer of either protocol.
enum Consumer {
    Http1(Client),
    Http2 { stream: h2::SendStream<Bytes>, _driven: tokio::task::JoinHandle<()> },
}

impl Consumer {
    /// Asks for `/work`, so that it leaves in this way.
    async fn ask(rig: &Rig, way: Way) -> Self {
        let Way::ResetStream = way else { return Self::Http1(send(rig.server.listen, "GET", "/work", &[], "").await) };
        let stream = TcpStream::connect(rig.server.listen).await.expect("it listens");
        let (sender, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
        let driven = tokio::spawn(async move {
            let _ = connection.await;
        });
        let mut sender = sender.ready().await.expect("ready");
        let request = Request::post("http://x/work").body(()).expect("a request");
        let (response, stream) = sender.send_request(request, false).expect("sent");
        // Only RST_STREAM ends it, not that nobody waits for it.
        tokio::spawn(async move {
            if let Ok(response) = response.await {
                let mut body = response.into_body();
                while let Some(Ok(_)) = body.data().await {}
            }
        });
        Self::Http2 { stream, _driven: driven }
    }

    async fn leaves(self, way: Way) -> Option<Client> {
        match self {
            Self::Http2 { mut stream, .. } => {
                stream.send_reset(h2::Reason::CANCEL);
                // What is to be sent is, though this is dropped.
                None
            }
            Self::Http1(mut client) => match way {
                Way::HalfClose => {
                    client.stream.get_mut().shutdown().await.expect("half-closed");
                    Some(client)
                }
                Way::Rst => {
                    resets(client.stream.get_ref());
                    None
                }
                Way::Fin | Way::ResetStream => None,
            },
        }
    }
}

#[tokio::test]
async fn one_that_leaves_while_it_is_queued_is_removed_at_once() {
    let rig = Rig::start().await;
    for way in WAYS {
        let consumer = Consumer::ask(&rig, way).await;
        rig.server.metric_becomes(QUEUED, 1.0).await;
        let left = consumer.leaves(way).await;
        rig.server.metric_becomes(QUEUED, 0.0).await;
        drop(left);
    }
    rig.server.metric_becomes(CANCELLED, 4.0).await;
}

#[tokio::test]
async fn one_that_leaves_before_its_answer_ends_the_work_and_frees_the_slot() {
    let rig = Rig::start().await;
    for link in LINKS {
        for way in WAYS {
            let mut worker = rig.dial(link).await;
            let consumer = Consumer::ask(&rig, way).await;
            worker.head().await;
            let left = consumer.leaves(way).await;
            worker.is_cancelled().await;
            rig.becomes(0.0, 0.0).await;
            drop(left);
            if link == Link::Http2 {
                rig.server.metric_becomes(FREE, 1.0).await;
            }
            drop(worker);
        }
    }
    rig.server.metric_becomes(CANCELLED, 12.0).await;
}

#[tokio::test]
async fn one_that_leaves_within_its_answer_ends_the_work_though_nothing_more_is_sent() {
    let rig = Rig::start().await;
    for link in LINKS {
        for way in [Way::Fin, Way::Rst, Way::ResetStream] {
            let mut worker = rig.dial(link).await;
            let consumer = Consumer::ask(&rig, way).await;
            worker.head().await;
            let mut stream = worker.begin("part").await;
            rig.server.metric_becomes(IN_FLIGHT, 1.0).await;
            let left = consumer.leaves(way).await;
            match (&mut worker, &mut stream) {
                (Worker::Streams(_), Some(stream)) => {
                    let reset = std::future::poll_fn(|cx| stream.poll_reset(cx));
                    let reason = tokio::time::timeout(STEP, reset).await.unwrap_or_else(|_| panic!("{link:?} {way:?}"));
                    assert_eq!(reason.expect("a reset"), h2::Reason::CANCEL);
                }
                _ => worker.is_cancelled().await,
            }
            rig.becomes(0.0, 0.0).await;
            drop((left, worker));
        }
    }
    rig.server.metric_becomes(CANCELLED, 9.0).await;
}

#[tokio::test]
async fn a_poller_is_told_at_its_next_touch() {
    let rig = Rig::start().await;
    for streams in [false, true] {
        let consumer = send(rig.server.listen, "POST", "/work", &[], "x").await;
        let claim = ask(rig.server.listen, "POST", CLAIMS, &[], "").await;
        let location = claim.field("location");
        let post = if streams {
            Some(begin_post(rig.server.listen, location, &[("Content-Length", "1000000")], "part").await)
        } else {
            None
        };
        drop(consumer);
        rig.becomes(0.0, 0.0).await;
        if let Some(mut post) = post {
            assert_eq!(post.reply().await.status, 410);
        }
        for (method, target) in
            [("POST", format!("{location}/beat")), ("POST", location.to_owned()), ("DELETE", location.to_owned())]
        {
            let gone = ask(rig.server.listen, method, &target, &[], "").await;
            assert_eq!(gone.status, 410, "{method} {target}");
        }
    }
}

#[tokio::test]
async fn one_that_is_kept_is_worked_for_though_nobody_waits() {
    let rig = Rig::start().await;
    for (link, number) in LINKS.into_iter().zip(1..) {
        let key = format!("k{number}");
        for fields in [[("Idempotency-Key", key.as_str())], [("Prefer", "respond-async")]] {
            // While it is queued.
            let mut consumer = send(rig.server.listen, "POST", "/work", &fields, "x").await;
            rig.server.metric_becomes(QUEUED, 1.0).await;
            let told = if fields[0].0 == "Prefer" { Some(consumer.reply().await) } else { None };
            drop(consumer);
            let mut worker = rig.dial(link).await;
            // While it is claimed.
            worker.head().await;
            let again = send(rig.server.listen, "POST", "/work", &fields[..usize::from(told.is_none())], "x");
            let again = if told.is_none() { Some(again.await) } else { None };
            drop(again);
            // While it is answered.
            worker.answer(200, "done").await;
            rig.becomes(0.0, 0.0).await;
            let got = match &told {
                Some(told) => ask(rig.server.listen, "GET", told.field("location"), &[], "").await,
                None => ask(rig.server.listen, "POST", "/work", &fields, "x").await,
            };
            assert_eq!((got.status, text(&got).as_str()), (200, "done"), "{link:?} {fields:?}");
            drop(worker);
        }
    }
    assert!(rig.server.metric(CANCELLED).await.abs() < 0.1);
}

/// Waits until so many consumers wait.
async fn waits(server: &Server, consumers: u64) {
    let waiting = async || {
        let state = server.admin("/state").await.json();
        (state["exchanges"][0]["consumers"].as_u64() == Some(consumers)).then_some(())
    };
    crate::server::until("so many wait", waiting).await;
}

#[tokio::test]
async fn of_those_who_share_only_the_last_one_ends_the_work() {
    let (_folder, server) =
        configured("[{path: '/cameras/{key}', name: work, methods: [GET], share: identicalGets}]").await;
    let first = send(server.listen, "GET", "/cameras/a", &[], "").await;
    let mut second = send(server.listen, "GET", "/cameras/a", &[], "").await;
    waits(&server, 2).await;
    let claim = ask(server.listen, "POST", CLAIMS, &[], "").await;
    let beat = format!("{}/beat", claim.field("location"));
    drop(first);
    waits(&server, 1).await;
    let third = send(server.listen, "GET", "/cameras/a", &[], "").await;
    waits(&server, 2).await;
    // It has come once its own request is answered with the rest; what it asks is shared, so nothing more is queued.
    assert_eq!(ask(server.listen, "POST", &beat, &[], "").await.status, 204);
    assert_eq!(ask(server.listen, "POST", claim.field("location"), &[], "for all").await.status, 204);
    assert_eq!(text(&second.reply().await), "for all");
    drop(third);
    let last = send(server.listen, "GET", "/cameras/a", &[], "").await;
    let claim = ask(server.listen, "POST", CLAIMS, &[], "").await;
    drop(last);
    server.metric_becomes(IN_FLIGHT, 0.0).await;
    assert_eq!(ask(server.listen, "POST", claim.field("location"), &[], "").await.status, 410);
}

#[tokio::test]
async fn one_whose_hop_breaks_may_come_back() {
    let rig = Rig::with(", chain: {hops: 3, hold: 20s}").await;
    let told = ask(rig.server.listen, "POST", "/work", &[("Prefer", "wait=0")], "x").await;
    assert_eq!(told.status, 303);
    let hop = told.field("location");
    let claim = ask(rig.server.listen, "POST", CLAIMS, &[], "").await;
    for _ in 0..2 {
        let waits = send(rig.server.listen, "GET", hop, &[], "").await;
        drop(waits);
    }
    let beat = format!("{}/beat", claim.field("location"));
    assert_eq!(ask(rig.server.listen, "POST", &beat, &[], "").await.status, 204, "it is still worked for");
    assert_eq!(ask(rig.server.listen, "POST", claim.field("location"), &[], "done").await.status, 204);
    assert_eq!(text(&ask(rig.server.listen, "GET", hop, &[], "").await), "done");
}

#[tokio::test]
async fn five_that_do_not_read_stop_no_sixth_on_the_same_connection() {
    let rig = Rig::start().await;
    let mut worker = Streams::dial(rig.server.listen, 6).await;
    let mut stalled = Vec::new();
    let mut working = Vec::new();
    for _ in 0..5 {
        stalled.push(send(rig.server.listen, "GET", "/work", &[], "").await);
        let (_request, mut respond) = worker.next().await.expect("a request");
        let mut stream = respond.send_response(http::Response::new(()), false).expect("open");
        working.push(tokio::spawn(async move {
            let mut sent = 0;
            loop {
                stream.reserve_capacity(64 * 1024);
                let room = tokio::time::timeout(Duration::from_millis(300), async {
                    std::future::poll_fn(|cx| stream.poll_capacity(cx)).await
                });
                let Ok(Some(Ok(room))) = room.await else { return (stream, sent) };
                stream.send_data(vec![b'x'; room].into(), false).expect("open");
                sent += room;
            }
        }));
    }
    let mut held = Vec::new();
    for working in working {
        let (stream, sent) = working.await.expect("it ends");
        assert!(sent > 256 * 1024, "as much as there is room for: {sent}");
        held.push(stream);
    }
    let mut consumer = send(rig.server.listen, "GET", "/work", &[], "").await;
    let (_request, mut respond) = worker.next().await.expect("a request");
    let mut stream = respond.send_response(http::Response::new(()), false).expect("open");
    let body = "y".repeat(1024 * 1024);
    stream.send_data(body.clone().into(), true).expect("open");
    assert_eq!(text(&consumer.reply().await), body);
}

#[tokio::test]
async fn deleted_in_each_state_an_item_is_gone_and_its_worker_told() {
    let server = start(&[]).await;
    for state in ["queued", "claimed", "streaming"] {
        let told = ask(server.listen, "POST", "/work", &[("Prefer", "respond-async")], "x").await;
        let location = told.field("location");
        let mut beat = None;
        let mut post = Client::connect(server.listen).await;
        if state != "queued" {
            let claim = ask(server.listen, "POST", CLAIMS, &[], "").await;
            let held = format!("{}/beat?wait=15", claim.field("location"));
            beat = Some(send(server.listen, "POST", &held, &[], "").await);
            if state == "streaming" {
                post.send("POST", claim.field("location"), &[("Content-Length", "1000000")]).await;
                post.stream.get_mut().write_all(b"part").await.expect("sent");
            }
        }
        crate::server::until(state, async || {
            let is_there = match state {
                // The head of the answer is here.
                "streaming" => ask(server.listen, "HEAD", location, &[], "").await.status == 200,
                _ => ask(server.listen, "GET", &format!("{location}&wait=0"), &[], "").await.json()["state"] == state,
            };
            is_there.then_some(())
        })
        .await;
        assert_eq!(ask(server.listen, "DELETE", location, &[], "").await.status, 204, "{state}");
        assert_eq!(ask(server.listen, "GET", location, &[], "").await.status, 410, "{state}");
        assert_eq!(ask(server.listen, "DELETE", location, &[], "").await.status, 410, "{state}");
        if let Some(mut beat) = beat {
            assert_eq!(beat.reply().await.status, 410, "{state}");
        }
        server.metric_becomes(QUEUED, 0.0).await;
        server.metric_becomes(IN_FLIGHT, 0.0).await;
    }
}
