//! Describe as a stream, in memory and in paused time: what is said, byte for byte, and when; over HTTP/1.1 and HTTP/2.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tidewait::access::tokens::line;
use tidewait::access::{Policy, Tokens};
use tidewait::bounds::{STREAM_SAME, STREAM_SILENCE, STREAM_STALLED};
use tidewait::config::Limits;
use tidewait::sources::Report;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{MODEL, Rig, Wire, get, id, next};

const EVENTS: &str = "Accept: text/event-stream\r\n";
const LINES: &str = "Accept: application/x-ndjson\r\n";

/// A stream that a client reads over HTTP/1.1.
struct Stream {
    wire: Wire,
    /// How much of the body was looked at.
    read: usize,
}

/// What has come of a stream: its head, its body so far, how many bytes both took, and whether it is over.
struct Heard {
    head: String,
    body: String,
    length: usize,
    is_over: bool,
}

fn heard(seen: &[u8]) -> Option<Heard> {
    let end = seen.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = String::from_utf8(seen[..end].to_vec()).expect("a head is text");
    let (mut body, mut at, mut is_over) = (Vec::new(), end, false);
    while let Some(line) = seen[at..].windows(2).position(|two| two == b"\r\n") {
        let size = std::str::from_utf8(&seen[at..at + line]).ok().and_then(|size| usize::from_str_radix(size, 16).ok());
        let (begin, size) = (at + line + 2, size.expect("the size of a chunk"));
        let Some(chunk) = seen.get(begin..begin + size + 2) else { break };
        assert!(chunk.ends_with(b"\r\n"), "a chunk ends");
        body.extend_from_slice(&chunk[..size]);
        (at, is_over) = (begin + size + 2, size == 0);
        if is_over {
            break;
        }
    }
    Some(Heard { head, body: String::from_utf8(body).expect("events are text"), length: at, is_over })
}

impl Stream {
    /// Asks for one.
    fn ask(rig: &mut Rig, query: &str, fields: &str) -> Self {
        let mut wire = rig.connect();
        wire.send(get(query, fields).as_bytes());
        Self { wire, read: 0 }
    }

    /// Asks for one, and reads its head.
    async fn open(rig: &mut Rig, query: &str, fields: &str) -> (Self, String) {
        let mut stream = Self::ask(rig, query, fields);
        stream.wire.until(|seen| heard(seen).is_some()).await;
        let head = heard(&stream.wire.seen).expect("a head").head;
        (stream, head)
    }

    /// One of events, behind its head and the first block.
    async fn events(rig: &mut Rig, query: &str, more: &str) -> Self {
        let (mut stream, head) = Self::open(rig, query, &format!("{EVENTS}{more}")).await;
        assert!(head.starts_with("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"), "{head}");
        let first = stream.next().await;
        let retry: u64 = first.strip_prefix("retry: ").and_then(|rest| rest.trim().parse().ok()).expect("a time");
        assert!((2000..=5000).contains(&retry), "{retry}");
        stream
    }

    /// What comes up to the next `end`.
    async fn up_to(&mut self, end: &str) -> String {
        let read = self.read;
        let found = |heard: &Heard| heard.body[read..].find(end).map(|at| read + at + end.len());
        self.wire.until(|seen| heard(seen).is_some_and(|heard| found(&heard).is_some() || heard.is_over)).await;
        let heard = heard(&self.wire.seen).expect("a head");
        let to = found(&heard).unwrap_or_else(|| panic!("it ended with {:?}", &heard.body[read..]));
        self.read = to;
        heard.body[read..to].to_owned()
    }

    /// The next block of a stream of events.
    async fn next(&mut self) -> String {
        self.up_to("\n\n").await
    }

    /// The next line.
    async fn line(&mut self) -> String {
        self.up_to("\n").await
    }

    /// What comes until it is over, and the connection, which is good for another request.
    async fn rest(mut self) -> (String, Wire) {
        self.wire.until(|seen| heard(seen).is_some_and(|heard| heard.is_over)).await;
        let heard = heard(&self.wire.seen).expect("a head");
        assert!(heard.is_over, "it is cut: {}", heard.body);
        self.wire.seen.drain(..heard.length);
        (heard.body[self.read..].to_owned(), self.wire)
    }
}

fn event(version: u64, json: &str) -> String {
    format!("id: {}\ndata: {json}\n\n", id(version, json))
}

fn same(version: u64, json: &str) -> String {
    let id = id(version, json);
    format!("id: {id}\nevent: same\ndata: {{\"id\":\"{id}\"}}\n\n")
}

/// After how long something came.
async fn after<T>(what: impl Future<Output = T>) -> (Duration, T) {
    let asked = Instant::now();
    let came = what.await;
    (asked.elapsed(), came)
}

fn is_about(time: Duration, most: Duration) -> bool {
    (most.mul_f64(0.9)..=most + Duration::from_millis(2)).contains(&time)
}

#[tokio::test(start_paused = true)]
async fn each_state_is_an_event_and_the_head_is_that_of_a_stream() {
    let mut rig = Rig::serving(|_| ()).await;
    let (mut stream, head) = Stream::open(&mut rig, "", EVENTS).await;
    let fields: Vec<_> = head.lines().filter(|line| !line.starts_with("date: ") && !line.is_empty()).collect();
    assert_eq!(
        fields,
        [
            "HTTP/1.1 200 OK",
            "content-type: text/event-stream",
            "cache-control: no-store, no-transform",
            "x-accel-buffering: no",
            "incremental: ?1",
            "vary: Accept, Accept-Encoding, Last-Event-ID, Prefer",
            "transfer-encoding: chunked",
        ]
    );
    assert!(stream.next().await.starts_with("retry: "));
    assert_eq!(stream.next().await, event(7, MODEL));
    let (mut lines, head) = Stream::open(&mut rig, "", LINES).await;
    assert!(head.contains("\r\ncontent-type: application/x-ndjson\r\n"), "{head}");
    assert_eq!(lines.line().await, format!("{{\"type\":\"state\",\"id\":\"{}\",\"model\":{MODEL}}}\n", id(7, MODEL)));
    rig.parked(2).await;
    assert_eq!([rig.metric("tidewait_streams")], [[1.0, 1.0, 0.0]]);
    for (version, json) in [(8, "1"), (9, "{\"a\":\"b\\nc\"}"), (10, "[]")] {
        rig.publish(version, json).await;
        assert_eq!(stream.next().await, event(version, json));
        assert_eq!(
            lines.line().await,
            format!("{{\"type\":\"state\",\"id\":\"{}\",\"model\":{json}}}\n", id(version, json))
        );
    }
    drop((stream, lines));
    rig.parked(0).await;
    rig.is_empty();
    assert_eq!([rig.metric("tidewait_streams")], [[0.0, 0.0, 0.0]]);
}

#[tokio::test(start_paused = true)]
async fn a_stream_begins_at_the_last_event_or_at_since() {
    let mut rig = Rig::serving(|_| ()).await;
    let (now, before) = (id(7, MODEL), id(6, "1"));
    for (query, fields, expected) in [
        (format!("since={now}"), String::new(), same(7, MODEL)),
        (format!("since={before}"), String::new(), event(7, MODEL)),
        (format!("since={before}"), format!("Last-Event-ID: {now}\r\n"), same(7, MODEL)),
        (format!("since={now}"), format!("Last-Event-ID: {before}\r\n"), event(7, MODEL)),
        (format!("since={now}"), "Last-Event-ID: no id of ours\r\n".to_owned(), event(7, MODEL)),
        (format!("since={now}"), format!("Last-Event-ID: {}\r\n", "x".repeat(1000)), same(7, MODEL)),
        (format!("since={now}&wait=0&select=/mtu"), String::new(), event(7, MODEL).replace(MODEL, "")),
    ] {
        let mut stream = Stream::events(&mut rig, &query, &fields).await;
        let said = stream.next().await;
        if query.contains("select") {
            assert!(said.ends_with("\ndata: {\"mtu\":1450}\n\n"), "{said}");
        } else {
            assert_eq!(said, expected, "{query} {fields}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn silence_is_broken_and_a_version_alone_is_named_seldom() {
    let mut rig = Rig::serving(|_| ()).await;
    let since = format!("since={}", id(7, MODEL));
    let mut stream = Stream::events(&mut rig, &since, "").await;
    assert_eq!(stream.next().await, same(7, MODEL));
    let mut pings = Stream::events(&mut rig, &format!("{since}&ping=1"), "").await;
    assert_eq!(pings.next().await, same(7, MODEL));
    let (mut lines, _) = Stream::open(&mut rig, &since, LINES).await;
    assert_eq!(lines.line().await, format!("{{\"type\":\"same\",\"id\":\"{}\"}}\n", id(7, MODEL)));
    let (time, said) = after(stream.next()).await;
    assert!(is_about(time, STREAM_SILENCE) && said == ":\n\n", "{said:?} after {time:?}");
    assert_eq!(pings.next().await, "event: ping\ndata: {}\n\n");
    assert_eq!(lines.line().await, "{\"type\":\"ping\"}\n");
    rig.publish(8, MODEL).await;
    let mut waited = time;
    loop {
        let (time, said) = after(stream.next()).await;
        waited += time;
        if said != ":\n\n" {
            assert_eq!(said, same(8, MODEL));
            break;
        }
    }
    assert!(waited >= STREAM_SAME && waited < STREAM_SAME + STREAM_SILENCE, "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn the_age_is_told_when_it_turns_and_each_minute_while_it_is_stale() {
    let mut rig = Rig::serving(|_| ()).await;
    let mut stream = Stream::events(&mut rig, &format!("since={}", id(7, MODEL)), "").await;
    assert_eq!(stream.next().await, same(7, MODEL));
    let mut tells = JoinSet::new();
    tells.spawn(Arc::clone(&rig.operation).tell());
    rig.reports(Report::Lost { reason: "a test".to_owned() }).await;
    let next_age = async |stream: &mut Stream| loop {
        let said = stream.next().await;
        if said != ":\n\n" {
            return said;
        }
    };
    let (time, said) = after(next_age(&mut stream)).await;
    assert!(said.starts_with("event: age\ndata: {\"seconds\":"), "{said}");
    assert!(time < STREAM_SILENCE, "{time:?}");
    let (time, said) = after(next_age(&mut stream)).await;
    assert!(said.starts_with("event: age\n") && time >= Duration::from_secs(60), "{said} after {time:?}");
    assert!(time < Duration::from_secs(60) + STREAM_SILENCE, "{time:?}");
}

#[tokio::test(start_paused = true)]
async fn a_life_ends_in_order_and_the_connection_goes_on() {
    let mut rig = Rig::serving(|_| ()).await;
    for fields in [EVENTS, LINES] {
        for (query, most) in [("life=20", 20), ("", 600), ("life=100000", 3600)] {
            let (stream, _) = Stream::open(&mut rig, query, fields).await;
            let (time, (said, mut wire)) = after(stream.rest()).await;
            assert!(is_about(time, Duration::from_secs(most)), "{query}: {time:?}");
            assert!(said.ends_with(":\n\n") || said.ends_with("{\"type\":\"ping\"}\n") || most == 20, "{said}");
            wire.send(get("", "").as_bytes());
            let answer = next(&mut wire, false).await;
            assert_eq!((answer.status, &*answer.body), (200, MODEL.as_bytes()));
        }
    }
    rig.is_empty();
}

#[tokio::test(start_paused = true)]
async fn a_refusal_for_the_moment_is_an_event_and_any_other_one_a_status() {
    let mut rig = Rig::serving(|config| config.parked = 0).await;
    let since = format!("since={}", id(7, MODEL));
    let mut busy = Stream::events(&mut rig, &since, "").await;
    assert_eq!(busy.next().await, same(7, MODEL), "it is refused a place to wait");
    let (said, _) = busy.rest().await;
    let (retry, event) = said.split_once("\n\n").expect("two blocks");
    let retry: u64 = retry.strip_prefix("retry: ").and_then(|text| text.parse().ok()).expect("a time");
    assert!((2000..=5000).contains(&retry), "{retry}");
    assert_eq!(event, "event: busy\ndata: {\"retryAfter\":2}\n\n");
    let mut empty = Rig::empty(|_| ());
    let (said, _) = Stream::events(&mut empty, "", "").await.rest().await;
    assert!(said.ends_with("event: busy\ndata: {\"retryAfter\":1}\n\n"), "{said}");
    for fields in [LINES, "Accept: text/event-stream\r\nPrefer: status\r\n"] {
        let answer = empty.ask(&get("", fields)).await;
        assert_eq!((answer.status, answer.field("content-type")), (503, "application/problem+json"));
    }
    let head = empty.ask(&get("", EVENTS).replace("GET", "HEAD")).await;
    assert_eq!((head.status, head.body.len()), (503, 0), "a body would be taken for the next answer");
    for (query, status) in [("life=x", 400), ("delta=merge", 400), ("select=/a&select=b", 400)] {
        assert_eq!(rig.ask(&get(query, EVENTS)).await.status, status, "{query}");
    }
    let head = rig.ask(&get("", EVENTS).replace("GET", "HEAD")).await;
    assert_eq!((head.status, head.field("content-type")), (200, "text/event-stream"));
}

#[tokio::test(start_paused = true)]
async fn a_credential_that_is_withdrawn_ends_the_stream() {
    let bob = line("secret-of-bob", "bob", &[]);
    let tokens = [line("secret-of-alice", "alice", &[]), bob.clone()].join("\n");
    let mut rig = Rig::with_tokens(&tokens, Policy::default(), true);
    rig.publish(7, MODEL).await;
    assert_eq!(rig.ask(&get("", EVENTS)).await.status, 401);
    let mut stream = Stream::events(&mut rig, "", "Authorization: Bearer secret-of-alice\r\n").await;
    assert_eq!(stream.next().await, event(7, MODEL));
    rig.parked(1).await;
    rig.access.authentication().replace_tokens(Tokens::parse(bob.as_bytes()).expect("tokens"));
    let (time, (said, _)) = after(stream.rest()).await;
    assert!(said.starts_with("event: auth\ndata: {\"reason\":\"") && time.is_zero(), "{said} after {time:?}");
    rig.is_empty();
}

#[tokio::test(start_paused = true)]
async fn an_operation_that_ends_says_so() {
    let mut rig = Rig::serving(|_| ()).await;
    let mut stream = Stream::events(&mut rig, "", "").await;
    assert_eq!(stream.next().await, event(7, MODEL));
    let (mut lines, _) = Stream::open(&mut rig, "", LINES).await;
    lines.line().await;
    rig.parked(2).await;
    rig.operation.hub.close();
    let (said, _) = stream.rest().await;
    assert!(said.starts_with("event: end\ndata: {\"detail\":\"operation test has ended"), "{said}");
    assert!(lines.rest().await.0.starts_with("{\"type\":\"end\",\"problem\":{\"detail\":"));
    rig.is_empty();
}

#[tokio::test(start_paused = true)]
async fn patches_begin_at_what_was_said_last() {
    let mut rig = Rig::serving(|config| config.limits = Limits { history_entries: 32, ..config.limits }).await;
    let mut stream = Stream::events(&mut rig, "delta=json-patch", "").await;
    assert_eq!(stream.next().await, event(7, MODEL));
    let next = MODEL.replace("1450", "9000");
    rig.publish(8, &next).await;
    let said = stream.next().await;
    let (old, new) = (id(7, MODEL), id(8, &next));
    let begin = format!("id: {new}\nevent: patch\ndata: {{\"base\":\"{old}\",\"digest\":\"sha-256=:");
    assert!(said.starts_with(&begin), "{said}");
    assert!(said.ends_with(":\",\"patch\":[{\"op\":\"replace\",\"path\":\"/mtu\",\"value\":9000}]}\n\n"), "{said}");
    let (mut lines, _) = Stream::open(&mut rig, &format!("delta=json-patch&since={old}"), LINES).await;
    let said = lines.line().await;
    assert!(said.starts_with(&format!("{{\"type\":\"patch\",\"id\":\"{new}\",\"base\":\"{old}\",")), "{said}");
}

/// A reader that does not read costs what its socket holds, is given the newest state next, and is cut.
#[tokio::test(start_paused = true)]
async fn who_does_not_read_gets_the_newest_state_next_and_is_cut() {
    let mut rig = Rig::serving(|config| config.min_interval = Duration::ZERO).await;
    let mut stream = Stream::events(&mut rig, "", "").await;
    assert_eq!(stream.next().await, event(7, MODEL));
    rig.parked(1).await;
    let big = |version: u64| format!("\"{version}{}\"", "x".repeat(100_000));
    for version in 8..40 {
        rig.publish(version, &big(version)).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(stream.next().await, event(8, &big(8)), "that was on its way");
    assert_eq!(stream.next().await, event(39, &big(39)), "the newest wins");
    let stalled = Stream::events(&mut rig, "", "").await;
    let mut rest = stalled.wire;
    let (time, ()) = after(rig.parked(1)).await;
    assert!(time.is_zero());
    rig.publish(40, &big(40)).await;
    tokio::time::sleep(STREAM_STALLED + Duration::from_millis(10)).await;
    rest.until(|_| false).await;
    assert!(rest.ended && !heard(&rest.seen).expect("a head").is_over, "it does not look whole");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_closes_its_sending_side_ends_its_stream() {
    let mut rig = Rig::serving(|_| ()).await;
    let mut stream = Stream::events(&mut rig, "", "").await;
    assert_eq!(stream.next().await, event(7, MODEL));
    rig.parked(1).await;
    stream.wire.finished().await;
    let heard = heard(&stream.wire.seen).expect("a head");
    assert!(heard.is_over && heard.length == stream.wire.seen.len());
    rig.is_empty();
}

/// As many as the promise is made for.
const DRAINED: usize = 500;

#[tokio::test(start_paused = true)]
async fn a_drain_spreads_who_comes_back() {
    let mut rig = Rig::serving(|_| ()).await;
    let mut readers = JoinSet::new();
    let began = Instant::now();
    for _ in 0..DRAINED {
        let mut stream = Stream::events(&mut rig, "", "").await;
        assert_eq!(stream.next().await, event(7, MODEL));
        readers.spawn(async move {
            let (said, _) = stream.rest().await;
            let end = Instant::now();
            let moved = said.trim_start_matches(":\n\n");
            let (retry, event) = moved.split_once("\n\n").expect("two blocks");
            assert!(event.starts_with("event: move\ndata: {\"within\":"), "{said}");
            let retry = retry.strip_prefix("retry: ").and_then(|text| text.parse().ok()).expect("a time");
            end + Duration::from_millis(retry)
        });
    }
    rig.parked(DRAINED).await;
    assert!(began.elapsed().is_zero());
    rig.stop.drain();
    tokio::task::yield_now().await;
    let (said, _) = Stream::events(&mut rig, "", "").await.rest().await;
    assert!(said.ends_with("event: busy\ndata: {\"retryAfter\":1}\n\n"), "{said}");
    let mut returns: Vec<_> = readers.join_all().await.into_iter().map(|at| (at - began).as_secs()).collect();
    returns.sort_unstable();
    let busiest = returns.chunk_by(|a, b| a == b).map(<[_]>::len).max().unwrap_or(0);
    assert!(busiest <= DRAINED / 10, "{busiest} in one second");
    rig.is_empty();
}

type Client = SendRequest<Empty<Bytes>>;

async fn http2(rig: &mut Rig) -> (Client, JoinSet<hyper::Result<()>>) {
    let (client, connection) = handshake(TokioExecutor::new(), TokioIo::new(rig.stream())).await.expect("HTTP/2");
    let mut tasks = JoinSet::new();
    tasks.spawn(connection);
    (client, tasks)
}

async fn open(client: &mut Client, query: &str) -> Response<Incoming> {
    let request = Request::get(format!("http://test/describe?{query}")).header("accept", "text/event-stream");
    client.send_request(request.body(Empty::new()).expect("a request")).await.expect("an answer")
}

/// What comes up to the end of the next block; none: it is over.
async fn block(response: &mut Response<Incoming>, rest: &mut String) -> Option<String> {
    while !rest.contains("\n\n") {
        let frame = response.frame().await?.expect("it is not cut");
        rest.push_str(std::str::from_utf8(frame.data_ref().expect("data")).expect("text"));
    }
    let end = rest.find("\n\n").expect("it is there") + 2;
    Some(rest.drain(..end).collect())
}

#[tokio::test(start_paused = true)]
async fn streams_of_http2_are_the_same() {
    let mut rig = Rig::serving(|config| config.min_interval = Duration::ZERO).await;
    let (mut client, _connection) = http2(&mut rig).await;
    let mut readers = Vec::new();
    for _ in 0..20 {
        let response = open(&mut client, "life=60").await;
        assert_eq!(
            (response.status().as_u16(), &response.headers()["content-type"]),
            (200, &"text/event-stream".parse().expect("a value"))
        );
        readers.push((response, String::new()));
    }
    for (response, rest) in &mut readers {
        assert!(block(response, rest).await.expect("a block").starts_with("retry: "));
        assert_eq!(block(response, rest).await.expect("a block"), event(7, MODEL));
    }
    rig.parked(20).await;
    // More than the window of a stream, and of the connection.
    let big = format!("\"{}\"", "x".repeat(200_000));
    for (version, json) in [(8, "1"), (9, &*big), (10, "2")] {
        rig.publish(version, json).await;
        for (response, rest) in &mut readers {
            assert_eq!(block(response, rest).await.expect("a block"), event(version, json));
        }
    }
    readers.truncate(10);
    rig.parked(10).await;
    let begun = Instant::now();
    for (response, rest) in &mut readers {
        while let Some(said) = block(response, rest).await {
            assert_eq!(said, ":\n\n");
        }
        assert!(begun.elapsed() <= Duration::from_secs(60), "their life is over");
    }
    rig.is_empty();
    assert_eq!([rig.metric("tidewait_streams")], [[0.0, 0.0, 0.0]]);
    let (mut client, mut connection) = http2(&mut rig).await;
    let stalled = open(&mut client, "").await;
    // More than hyper takes before anybody reads.
    for version in [11, 12] {
        rig.publish(version, &format!("\"{version}{}\"", "x".repeat(6_000_000))).await;
        tokio::task::yield_now().await;
    }
    tokio::time::sleep(STREAM_STALLED * 2).await;
    let collected = stalled.collect().await;
    assert!(collected.is_err(), "it is reset: {:?}", collected.map(|all| all.to_bytes().len()));
    rig.is_empty();
    drop(client);
    assert!(connection.join_next().await.expect("a task").expect("no panic").is_ok());
}
