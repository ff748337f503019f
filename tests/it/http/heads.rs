//! One rule wherever a head stands: alone, behind another request, or behind a body. What could be
//! read in two ways is refused with a problem, and the connection closes.

use std::time::Duration;

use tidewait::bounds::{HEAD_BYTES, IDLE_CONNECTION};
use tokio::time::Instant;

use super::{MODEL, Rig, ask, get, id, next};
use crate::talk::{Answer, answers};

/// Requests before the head in question, and how many answers they have.
const BEFORE: [(&str, usize); 5] = [
    ("", 0),
    ("GET /describe HTTP/1.1\r\nHost: test\r\n\r\n", 1),
    ("GET /describe HTTP/1.1\r\nHost: test\r\n\r\nGET /nothing HTTP/1.1\r\nHost: test\r\n\r\n", 2),
    ("POST /nothing HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\n\r\n\n#\n", 1),
    (
        "POST /nothing HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n\
         5;a=b\r\n\r\n\n#\n\r\n0\r\nTrailer: x\r\n\r\n",
        1,
    ),
];

fn refused() -> Vec<(&'static str, u16, String)> {
    let with = |fields: &str| format!("POST /nothing HTTP/1.1\r\n{fields}\r\n");
    let line = |line: &str| format!("{line}\r\nHost: test\r\n\r\n");
    vec![
        ("LF ends the first line", 400, "GET /describe HTTP/1.1\nHost: test\r\n\r\n".to_owned()),
        ("LF ends a field", 400, "GET /describe HTTP/1.1\r\nHost: test\nX: y\r\n\r\n".to_owned()),
        ("LF ends the head", 400, "GET /describe HTTP/1.1\r\nHost: test\r\n\n".to_owned()),
        ("CR within a field", 400, "GET /describe HTTP/1.1\r\nHost: test\rX: y\r\n\r\n".to_owned()),
        ("NUL", 400, "GET /describe HTTP/1.1\r\nHost: test\r\nX: \0\r\n\r\n".to_owned()),
        ("a fragment", 400, line("GET /describe#x HTTP/1.1")),
        ("a fragment for the app", 400, line("GET /app?a#x HTTP/1.1")),
        ("a fold", 400, with("Host: test\r\nX: a\r\n b\r\n")),
        ("two hosts", 400, with("Host: test\r\nHost: test\r\n")),
        ("no host", 400, with("")),
        ("both framings", 400, with("Host: test\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n")),
        ("both framings, turned", 400, with("Host: test\r\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n")),
        ("two lengths", 400, with("Host: test\r\nContent-Length: 0\r\nContent-Length: 0\r\n")),
        ("a length with a sign", 400, with("Host: test\r\nContent-Length: +0\r\n")),
        ("a look-alike", 400, with("Host: test\r\nContent_Length: 0\r\n")),
        ("another coding", 501, with("Host: test\r\nTransfer-Encoding: gzip, chunked\r\n")),
        ("another expectation", 417, with("Host: test\r\nExpect: 200-maybe\r\n")),
        ("TRACE", 405, line("TRACE /app HTTP/1.1")),
        ("another version", 400, line("GET /describe HTTP/1.2")),
        ("no version", 400, line("GET /describe")),
        ("no target", 400, line("GET describe HTTP/1.1")),
        ("a space before the colon", 400, with("Host: test\r\nX : y\r\n")),
        ("too many fields", 431, with(&("Host: test\r\n".to_owned() + &"X: y\r\n".repeat(100)))),
        ("a head of 20 KiB", 431, with(&format!("Host: test\r\nX: {}\r\n", "y".repeat(20 * 1024)))),
        ("a target of 20 KiB", 431, line(&format!("GET /describe?{} HTTP/1.1", "y".repeat(20 * 1024)))),
    ]
}

/// A refusal of our own, whoever finds it.
#[track_caller]
fn is_refusal(what: &str, answer: &Answer, status: u16) {
    let fields = ["content-type", "cache-control", "connection"].map(|name| answer.field(name));
    assert_eq!(
        (answer.status, fields),
        (status, ["application/problem+json", "no-store", "close"]),
        "{what}: {}",
        String::from_utf8_lossy(&answer.body)
    );
    assert!(!answer.field("date").is_empty(), "{what}");
}

#[tokio::test(start_paused = true)]
async fn a_head_is_refused_by_the_same_rule_wherever_it_stands() {
    let mut rig = Rig::serving(|_| ()).await;
    let mut wrong = Vec::new();
    for (what, status, head) in refused() {
        for (before, count) in BEFORE {
            let mut wire = rig.connect();
            wire.send(format!("{before}{head}GET /smuggled HTTP/1.1\r\nHost: test\r\n\r\n").as_bytes());
            wire.until(|_| false).await;
            let (found, rest) = answers(&wire.seen, false);
            if found.len() != count + 1 || !rest.is_empty() || found[count].status != status {
                let statuses: Vec<_> = found.iter().map(|answer| answer.status).collect();
                wrong.push(format!("{what} behind {before:?}: {statuses:?}, want {status} at last"));
            } else {
                is_refusal(what, &found[count], status);
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    rig.is_empty();
}

/// The head in question waits behind one that is parked: it is judged once that is answered.
#[tokio::test(start_paused = true)]
async fn a_head_behind_a_parked_request_is_judged_when_its_turn_comes() {
    let mut rig = Rig::serving(|_| ()).await;
    for (what, status, head) in refused() {
        let mut wire = rig.connect();
        let parked = get(&format!("since={}&wait=1", id(7, MODEL)), "");
        wire.send(format!("{parked}{head}").as_bytes());
        wire.until(|_| false).await;
        let (found, _) = answers(&wire.seen, false);
        assert_eq!(found.iter().map(|answer| answer.status).collect::<Vec<_>>(), [204, status], "{what}");
        is_refusal(what, &found[1], status);
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_of_the_largest_size_passes_and_one_byte_more_does_not() {
    let mut rig = Rig::serving(|_| ()).await;
    let empty = get("", "X: \r\n").len();
    let fits = rig.ask(&get("", &format!("X: {}\r\n", "y".repeat(HEAD_BYTES - empty)))).await;
    assert_eq!(fits.status, 200);
    let over = rig.ask(&get("", &format!("X: {}\r\n", "y".repeat(HEAD_BYTES + 1 - empty)))).await;
    is_refusal("one byte more", &over, 431);
}

/// Browsers and curl send these bytes as they are; the contract takes quotes percent-encoded or not.
#[tokio::test(start_paused = true)]
async fn bytes_that_a_uri_must_encode_are_read_as_if_they_were() {
    let mut rig = Rig::serving(|_| ()).await;
    let id = id(7, MODEL);
    let tag = format!("{}.{}", id.epoch, id.digest);
    for since in [format!("\"{tag}\""), format!("W/\"{tag}\""), format!("\"{id}\"")] {
        let (answer, held) = rig.poll(&format!("since={since}&wait=10"), "").await;
        assert_eq!((answer.status, held > Duration::from_secs(8)), (204, true), "{since}");
        assert!(answer.field("link").contains("rel=\"next\""), "{:?}", answer.fields);
    }
    for query in ["x=<a>", "x={a}", "x=a|b^c`d\\e", "x=\u{e9}"] {
        assert_eq!(rig.poll(query, "").await.0.status, 200, "{query}");
    }
    let mut wire = rig.connect();
    wire.send(b"GET /describe?x=\xff\xfe HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!(next(&mut wire, false).await.status, 200, "also what is not UTF-8");
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_a_request_is_closed_in_order_in_time() {
    let mut rig = Rig::serving(|_| ()).await;
    let mut wire = rig.connect();
    for _ in 0..3 {
        assert_eq!(ask(&mut wire, &get("", "")).await.status, 200);
        tokio::time::sleep(IDLE_CONNECTION.mul_f64(0.99)).await;
        assert!(!wire.ended);
    }
    assert_eq!(ask(&mut wire, &get("", "")).await.status, 200, "each request counts");
    let idle = Instant::now();
    wire.until(|_| false).await;
    assert!(wire.seen.is_empty());
    let lasted = idle.elapsed();
    assert!((IDLE_CONNECTION..IDLE_CONNECTION + Duration::from_millis(5)).contains(&lasted), "{lasted:?}");
}

#[tokio::test(start_paused = true)]
async fn who_has_sent_all_is_answered_and_who_is_parked_is_answered_at_once() {
    let mut rig = Rig::serving(|_| ()).await;
    for _ in 0..20 {
        let mut wire = rig.connect();
        wire.send(get("", "").as_bytes());
        wire.finished().await;
        let (found, rest) = answers(&wire.seen, false);
        assert_eq!((found.len(), rest.len(), found[0].status), (1, 0, 200));
    }
    let sent = Instant::now();
    let mut wire = rig.park(&format!("since={}&wait=50", id(7, MODEL)), "").await;
    wire.finished().await;
    let (found, _) = answers(&wire.seen, false);
    assert_eq!((found.len(), found[0].status, found[0].field("connection")), (1, 204, "close"));
    assert_eq!(sent.elapsed(), Duration::ZERO);
    // The first of two that were sent: both are answered.
    let mut wire = rig.connect();
    wire.send((get(&format!("since={}&wait=50", id(7, MODEL)), "") + &get("", "")).as_bytes());
    wire.finished().await;
    let (found, _) = answers(&wire.seen, false);
    assert_eq!(found.first().map(|answer| answer.status), Some(204));
    assert_eq!(sent.elapsed(), Duration::ZERO);
    rig.is_empty();
}

#[tokio::test(start_paused = true)]
async fn who_is_gone_frees_its_place_at_once_also_with_bytes_behind() {
    let mut rig = Rig::serving(|_| ()).await;
    for more in ["", "G", "GET /describe HTTP/1.1\r\nHost: test\r\n\r\n"] {
        let mut wire = rig.park(&format!("since={}&wait=50", id(7, MODEL)), "").await;
        wire.send(more.as_bytes());
        wire.flushed().await;
        let gone = Instant::now();
        drop(wire);
        rig.operation.hub.emptied().await;
        assert_eq!(gone.elapsed(), Duration::ZERO, "{more:?}");
    }
    assert_eq!(rig.operation.hub.metrics().abandoned.get(), 3);
    rig.is_empty();
}

/// A body has no use at the path of an operation: it is read, or the answer says that the connection ends.
#[tokio::test(start_paused = true)]
async fn a_body_without_a_use_is_read_or_ends_the_connection() {
    let mut rig = Rig::serving(|_| ()).await;
    let post = |fields: &str, body: &str| format!("POST /describe HTTP/1.1\r\nHost: test\r\n{fields}\r\n\r\n{body}");
    let next = get("", "");
    for request in [
        post("Content-Length: 20000", &"x".repeat(20_000)),
        post("Transfer-Encoding: chunked", "1\r\nz\r\n1\r\nz\r\n0\r\n\r\n"),
        get("wait=1", "Content-Length: 5000\r\n") + &"x".repeat(5000),
    ] {
        let mut wire = rig.connect();
        wire.send((request.clone() + &next + &next).as_bytes());
        wire.until(|seen| answers(seen, false).0.len() == 3).await;
        let found = answers(&wire.seen, false).0;
        let closes: Vec<_> = found.iter().map(|answer| answer.field("connection")).collect();
        assert_eq!((closes, found[2].status), (vec![""; 3], 200), "{request:.100}");
    }
    for request in [
        post("Content-Length: 100000", &"x".repeat(100_000)),
        post("Content-Length: 5", "xxx"),
        post("Content-Length: 5\r\nExpect: 100-continue", ""),
    ] {
        let mut wire = rig.connect();
        wire.send(request.as_bytes());
        wire.until(|_| false).await;
        let found = answers(&wire.seen, false).0;
        assert_eq!((found.len(), found[0].status, found[0].field("connection")), (1, 405, "close"), "{request:.100}");
    }
}
