//! What relays report of the agents below them: how it comes in, and what it counts for.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use hyper::client::conn::http2::handshake;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tidewait::access::Policy;
use tidewait::access::tokens as token;
use tidewait::bounds::{AGENT_SKEW, RELAY_REPORT_BODY, RELAY_REPORT_BYTES};
use tidewait::http::access::Access;
use tidewait::protocol::Report;
use tidewait::protocol::media_type::REPORT;
use tidewait::protocol::report::WorstAgent;
use tidewait::registry::AgentCounts;
use tokio::task::JoinSet;
use tokio::time::{Instant, advance};

use super::judged::Slow;
use super::{MODEL, Rig, ask, get, id, next};
use crate::talk::answers;

const SECOND: Duration = Duration::from_secs(1);
const NEXT: &str = "{\"mtu\":9000}";

/// A report on a state: converged, lagging, rejecting.
fn report(instance: &str, seq: u64, state: &str, counts: [u64; 3]) -> Vec<u8> {
    let [converged, lagging, rejecting] = counts;
    let worst = (lagging + rejecting > 0).then(|| WorstAgent { agent: "leaf".to_owned(), reason: None });
    Report {
        instance: instance.to_owned(),
        seq,
        state: Some(state.to_owned()),
        total: converged + lagging + rejecting,
        converged,
        lagging,
        rejecting,
        worst: worst.into_iter().collect(),
        ..Report::default()
    }
    .write()
}

fn post(query: &str, fields: &str, body: &[u8]) -> String {
    let (length, body) = (body.len(), std::str::from_utf8(body).expect("UTF-8"));
    head(query, &format!("Content-Length: {length}\r\n{fields}")) + body
}

fn head(query: &str, fields: &str) -> String {
    format!("POST /describe?{query} HTTP/1.1\r\nHost: test\r\nContent-Type: {REPORT}\r\n{fields}\r\n")
}

/// Converged, lagging, rejecting.
fn count(rig: &Rig) -> [u64; 3] {
    let AgentCounts { converged, lagging, rejecting, .. } =
        rig.operation.totals(rig.operation.facts().state_id()).agents;
    [converged, lagging, rejecting]
}

fn current() -> String {
    id(7, MODEL).to_string()
}

#[tokio::test(start_paused = true)]
async fn a_report_counts_beside_the_agents_until_the_state_changes() {
    let mut rig = Rig::serving(|_| ()).await;
    let mut wire = rig.connect();
    assert_eq!(ask(&mut wire, &post("", "", &report("a", 1, &current(), [3, 2, 1]))).await.status, 204);
    assert_eq!(count(&rig), [3, 2, 1]);
    let parked = rig.park(&format!("since={}", current()), "Agent-Id: node-1\r\n").await;
    assert_eq!(count(&rig), [4, 2, 1]);
    let up = rig.operation.report("b");
    assert_eq!((up.total, up.converged, up.lagging, up.rejecting), (7, 4, 2, 1), "tiers add up");
    assert_eq!((up.state, &*up.worst[0].agent), (Some(current()), "a/leaf"));
    rig.publish(8, NEXT).await;
    drop(parked);
    assert_eq!(count(&rig), [0, 7, 0]);
    let up = rig.operation.report("b");
    assert_eq!((up.converged, up.lagging, up.state), (0, 7, Some(id(8, NEXT).to_string())));
    advance(SECOND).await;
    let mut wire = rig.connect();
    let next = id(8, NEXT).to_string();
    assert_eq!(ask(&mut wire, &post("", "", &report("a", 2, &next, [6, 0, 0]))).await.status, 204);
    assert_eq!(count(&rig), [6, 1, 0]);
    rig.operation.scrape();
    assert_eq!(rig.metric("tidewait_relays"), [1.0]);
}

#[tokio::test(start_paused = true)]
async fn it_may_come_in_pieces_or_be_asked_for_and_the_connection_goes_on() {
    let mut rig = Rig::serving(|_| ()).await;
    let mut wire = rig.connect();
    let mut send = async |seq: u64, head: &str, pieces: &[&[u8]]| {
        advance(SECOND).await;
        wire.seen.clear();
        wire.send(head.as_bytes());
        if head.contains("Expect") {
            wire.until(|seen| seen.ends_with(b"\r\n\r\n")).await;
            assert!(wire.seen.starts_with(b"HTTP/1.1 100 Continue"), "{seq}");
            wire.seen.clear();
        }
        for piece in pieces {
            wire.flushed().await;
            advance(Duration::from_millis(100)).await;
            wire.send(piece);
        }
        assert_eq!(next(&mut wire, false).await.status, 204, "{seq}");
        wire.seen.clear();
        assert_eq!(ask(&mut wire, &get("wait=0", "")).await.status, 200, "{seq}: it goes on");
    };
    let body = |seq| report("a", seq, &current(), [1, 0, 0]);
    let length = body(1).len();
    let one = body(1);
    send(1, &head("", &format!("Content-Length: {length}\r\n")), &[&one[..7], &one[7..]]).await;
    let chunked =
        |body: Vec<u8>| [format!("{:x}\r\n", body.len()).into_bytes(), body, b"\r\n0\r\n\r\n".to_vec()].concat();
    let two = chunked(body(2));
    send(2, &head("", "Transfer-Encoding: chunked\r\n"), &[&two[..20], &two[20..]]).await;
    send(3, &head("", &format!("Content-Length: {length}\r\nExpect: 100-continue\r\n")), &[&body(3)]).await;
    let four = chunked(body(4));
    send(4, &head("", "Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n"), &[&four]).await;
    assert_eq!(count(&rig), [1, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn what_is_too_large_or_never_ends_is_refused_in_time() {
    let mut rig = Rig::serving(|_| ()).await;
    let long = "x".repeat(RELAY_REPORT_BYTES + 1);
    let mut wire = rig.connect();
    assert_eq!(ask(&mut wire, &post("", "", long.as_bytes())).await.status, 413);
    wire.seen.clear();
    assert_eq!(ask(&mut wire, &get("wait=0", "")).await.status, 200, "all of it was read: the connection goes on");
    let announced = head("", &format!("Content-Length: {}\r\nExpect: 100-continue\r\n", long.len()));
    let answer = rig.ask(&announced).await;
    assert_eq!((answer.status, answer.field("connection")), (413, "close"), "it was not asked for");

    let mut wire = rig.connect();
    wire.send(head("", "Transfer-Encoding: chunked\r\n").as_bytes());
    let began = Instant::now();
    wire.send(b"1\r\n{\r\n");
    wire.until(|seen| !answers(seen, false).0.is_empty()).await;
    let answer = next(&mut wire, false).await;
    assert_eq!((answer.status, answer.field("connection")), (400, "close"));
    assert!(began.elapsed() <= RELAY_REPORT_BODY + 2 * SECOND, "{:?}", began.elapsed());
    assert!(String::from_utf8_lossy(&answer.body).contains("did not come within 5 s"), "{answer:?}");

    let mut wire = rig.connect();
    wire.send(head("", "Transfer-Encoding: chunked\r\n").as_bytes());
    for _ in 0..20 {
        wire.send(format!("400\r\n{}\r\n", "x".repeat(1024)).as_bytes());
    }
    wire.send(b"0\r\n\r\n");
    assert_eq!(next(&mut wire, false).await.status, 413);
    assert_eq!(count(&rig), [0; 3]);
}

#[tokio::test(start_paused = true)]
async fn one_caller_does_not_replace_the_report_of_another() {
    let tokens = [("one", "relay-1"), ("two", "relay-2")].map(|(token, name)| token::line(token, name, &[])).join("\n");
    let policy = Policy { anonymous: true, ..Policy::default() };
    let mut rig = Rig::with_access(|metrics| Access::by(Slow::schemes(&tokens).0, policy, metrics));
    rig.publish(7, MODEL).await;
    for (credential, agents) in [("Authorization: Bearer one\r\n", 1), ("Authorization: Bearer two\r\n", 2), ("", 4)] {
        let answer = rig.ask(&post("", credential, &report("a", 1, &current(), [agents, 0, 0]))).await;
        assert_eq!(answer.status, 204, "{credential}");
    }
    assert_eq!(count(&rig), [7, 0, 0]);
    let relays = rig.operation.list_relays(None);
    let identities: Vec<_> = relays.iter().map(|relay| relay.key.identity.as_deref()).collect();
    assert_eq!(identities.len(), 3);
    assert_eq!(identities[0], None);
}

#[tokio::test(start_paused = true)]
async fn a_relay_of_a_part_reports_on_that() {
    let mut rig = Rig::serving(|_| ()).await;
    let (part, _) = rig.poll("select=/mtu", "").await;
    let state = part.field("state-id").to_owned();
    let answer = rig.ask(&post("select=/mtu", "", &report("a", 1, &state, [2, 0, 0]))).await;
    assert_eq!(answer.status, 204);
    assert_eq!(count(&rig), [2, 0, 0]);
    rig.publish(8, &MODEL.replace("zone-a", "zone-b")).await;
    assert_eq!(count(&rig), [2, 0, 0], "the change is not of its part");
    rig.publish(9, NEXT).await;
    assert_eq!(count(&rig), [0, 2, 0]);
}

#[tokio::test(start_paused = true)]
async fn it_comes_over_http_2_too() {
    let mut rig = Rig::serving(|_| ()).await;
    let (mut client, connection) = handshake(TokioExecutor::new(), TokioIo::new(rig.stream())).await.expect("HTTP/2");
    let mut tasks = JoinSet::new();
    tasks.spawn(connection);
    let mut statuses = Vec::new();
    for (seq, media_type, body) in [
        (1, REPORT, report("a", 1, &current(), [1, 0, 0])),
        (2, REPORT, report("a", 1, &current(), [9, 0, 0])),
        (3, REPORT, vec![b'x'; RELAY_REPORT_BYTES + 1]),
        (4, "text/plain", report("a", 4, &current(), [9, 0, 0])),
    ] {
        let request = Request::post("http://test/describe").header("content-type", media_type);
        let request = request.body(Full::new(Bytes::from(body))).expect("a request");
        let answer = client.send_request(request).await.unwrap_or_else(|error| panic!("{seq}: {error}"));
        statuses.push(answer.status().as_u16());
    }
    assert_eq!(statuses, [204, 204, 413, 405]);
    assert_eq!(count(&rig), [1, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_relay_converges_nobody() {
    let mut rig = Rig::serving(|_| ()).await;
    let parked = rig.park(&format!("since={}&wait=55", current()), "Agent-Id: node-1\r\n").await;
    let mut wire = rig.connect();
    assert_eq!(ask(&mut wire, &post("", "", &report("a", 1, "0.0", [2, 0, 0]))).await.status, 400);
    wire.seen.clear();
    assert_eq!(ask(&mut wire, &post("", "", &report("a", 1, &current(), [1, 1, 0]))).await.status, 204);
    drop(wire);
    let converged = |rig: &Rig| rig.operation.totals(rig.operation.facts().state_id()).agents.is_converged();
    let dead = Instant::now();
    while converged(&rig) == Some(false) {
        advance(SECOND).await;
        assert!(dead.elapsed() < 60 * SECOND, "for ever");
    }
    assert!(dead.elapsed() > AGENT_SKEW, "{:?}", dead.elapsed());
    assert_eq!(count(&rig), [1, 0, 0], "who came back elsewhere would be known by that");
    drop(parked);
}
