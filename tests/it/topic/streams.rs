//! What streams are told, over HTTP/1.1 and HTTP/2, and how they end.

use std::process::Stdio;

use rustix::process::Signal;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::Command;

use super::{Stream, at, configured, say, start};
use crate::server::{Client, STEP};

const READERS: &str = "tidewait_topic_readers{topic=\"chat\"}";

#[tokio::test]
async fn an_event_stream_tells_of_each_message_and_goes_on_after_the_last_event() {
    let server = start(&[]).await;
    let first = say(&server, "one").await;
    let mut stream = Stream::events(&server, "/chat").await;
    for field in ["content-type: text/event-stream", "cache-control: no-store, no-transform", "x-accel-buffering: no"] {
        assert!(stream.head.contains(field), "{}", stream.head);
    }
    assert!(stream.up_to("\n\n").await.starts_with("retry: "));
    assert_eq!(stream.event().await, format!("id: {first}\ndata: one\n\n"));
    say(&server, "two\nlines").await;
    assert_eq!(stream.event().await, format!("id: {}\ndata: two\ndata: lines\n\n", at(&first, 2)));
    drop(stream);
    server.metric_becomes(READERS, 0.0).await;
    say(&server, "three").await;
    let fields = format!("Accept: text/event-stream\r\nLast-Event-ID: {}\r\n", at(&first, 2));
    let mut stream = Stream::open(server.listen, &format!("/chat?since={first}"), &fields).await;
    assert_eq!(stream.event().await, format!("id: {}\ndata: three\n\n", at(&first, 3)), "the field counts");
    let mut lines = Stream::open(server.listen, "/chat?tail=1", "Accept: application/x-ndjson\r\n").await;
    let line: serde_json::Value = serde_json::from_str(&lines.up_to("\n").await).expect("JSON");
    assert_eq!((&line["type"], &line["message"]["data"]), (&"message".into(), &"three".into()));
    server.metric_becomes("tidewait_topic_streams{form=\"ndjson\",topic=\"chat\"}", 1.0).await;
}

#[tokio::test]
async fn who_loses_a_stream_before_the_first_message_misses_none() {
    let server = start(&[]).await;
    say(&server, "before").await;
    let mut stream = Stream::events(&server, "/chat?from=latest").await;
    let same = stream.event().await;
    let place = same.strip_prefix("id: ").and_then(|rest| rest.lines().next()).expect("an id").to_owned();
    assert_eq!(same, format!("id: {place}\nevent: same\ndata: {{\"id\":\"{place}\"}}\n\n"));
    drop(stream);
    server.metric_becomes(READERS, 0.0).await;
    let missed = say(&server, "meanwhile").await;
    let fields = format!("Accept: text/event-stream\r\nLast-Event-ID: {place}\r\n");
    let mut stream = Stream::open(server.listen, "/chat?from=latest", &fields).await;
    assert_eq!(stream.event().await, format!("id: {missed}\ndata: meanwhile\n\n"));
}

/// curl, which speaks HTTP/2 from the first byte.
#[tokio::test]
async fn a_stream_over_http2_is_told_the_same() {
    let server = start(&[]).await;
    let first = say(&server, "one").await;
    let url = format!("http://{}/chat", server.listen);
    let mut curl = Command::new("curl");
    curl.args(["-sN", "--http2-prior-knowledge", "-H", "Accept: text/event-stream", &url]);
    let mut curl = curl.stdout(Stdio::piped()).kill_on_drop(true).spawn().expect("curl");
    let mut lines = BufReader::new(curl.stdout.take().expect("piped")).lines();
    let mut next = async || tokio::time::timeout(STEP, lines.next_line()).await.expect("in time").expect("text");
    assert!(next().await.is_some_and(|line| line.starts_with("retry: ")));
    for expected in ["", &format!("id: {first}"), "data: one", ""] {
        assert_eq!(next().await.as_deref(), Some(expected));
    }
    server.metric_becomes(READERS, 1.0).await;
    say(&server, "two").await;
    for expected in [&*format!("id: {}", at(&first, 2)), "data: two", ""] {
        assert_eq!(next().await.as_deref(), Some(expected));
    }
    // A long poll on another connection of HTTP/2.
    let poll = format!("{url}?since={}&wait=20", at(&first, 2));
    let poll = Command::new("curl").args(["-s", "--http2-prior-knowledge", &poll]).stdout(Stdio::piped()).spawn();
    let poll = poll.expect("curl");
    server.metric_becomes(READERS, 2.0).await;
    say(&server, "three").await;
    let page = poll.wait_with_output().await.expect("it ends").stdout;
    assert!(String::from_utf8_lossy(&page).contains("\"data\":\"three\""));
    assert_eq!(next().await.as_deref(), Some(&*format!("id: {}", at(&first, 3))));
    server.signal(Signal::TERM);
    let rest = async {
        let mut rest = Vec::new();
        while let Some(line) = next().await {
            rest.push(line);
        }
        rest
    };
    assert!(rest.await.contains(&"event: move".to_owned()));
    assert!(tokio::time::timeout(STEP, curl.wait()).await.expect("in time").expect("it ends").success());
}

#[tokio::test]
async fn a_stop_moves_streams_and_answers_polls_and_messages_are_taken_until_then() {
    let mut server = start(&["--grace", "3s"]).await;
    let first = say(&server, "one").await;
    let mut stream = Stream::events(&server, "/chat?tail=0").await;
    let mut poll = Client::connect(server.listen).await;
    poll.send("GET", &format!("/chat?since={first}"), &[]).await;
    let mut publisher = Client::connect(server.listen).await;
    server.metric_becomes(READERS, 2.0).await;
    server.signal(Signal::TERM);
    server.logged("stopping").await;
    publisher.send("POST", "/chat", &[super::TEXT, ("Content-Length", "3")]).await;
    publisher.stream.get_mut().write_all(b"two").await.expect("sent");
    assert_eq!(publisher.reply().await.status, 201);
    // Its slot may have come before the message.
    assert!([200, 204].contains(&poll.reply().await.status));
    let rest = stream.rest().await;
    assert!(rest.ends_with("event: move\ndata: {\"within\":1}\n\n"), "{rest}");
    assert_eq!(server.ended().await, Some(0));
}

#[tokio::test]
async fn a_life_ends_and_what_is_pipelined_behind_is_answered() {
    let server = start(&[]).await;
    say(&server, "one").await;
    let fields = "Accept: text/event-stream\r\n\r\nGET /chat?tail=0 HTTP/1.1\r\nHost: x\r\n";
    let mut stream = Stream::open(server.listen, "/chat?life=1", fields).await;
    assert!(stream.rest().await.contains("data: one"));
    while !String::from_utf8_lossy(&stream.raw).contains("\"gap\":null}") {
        assert!(stream.more().await, "the answer behind it");
    }
}

#[tokio::test]
async fn a_reader_that_was_too_slow_is_told_of_the_gap() {
    let topics =
        "[{path: /chat, history: {messages: 3}, publishRate: {perSecond: 100000, burst: 100000}, messageBytes: 256Ki}]";
    let (_folder, server) = configured(topics, &[]).await;
    let mut stream = Stream::events(&server, "/chat").await;
    assert!(stream.event().await.contains("event: same"), "there is nothing yet");
    server.metric_becomes(READERS, 1.0).await;
    // More than the sockets between take, while it reads nothing.
    let long = "x".repeat(200_000);
    let mut last = String::new();
    for _ in 0..100 {
        last = say(&server, &long).await;
    }
    let (mut read, mut missed) = (0, 0);
    while read + missed < 100 {
        let event = stream.event().await;
        if let Some(rest) = event.split_once("\"missed\":").map(|(_, rest)| rest) {
            missed += rest.trim_end().trim_end_matches('}').parse::<u64>().expect("a number");
        } else {
            read += 1;
            assert!(event.starts_with(&format!("id: {}\n", at(&last, read + missed))), "in order");
        }
    }
    assert!(missed > 0 && read > 3, "{read} read, {missed} missed");
}
