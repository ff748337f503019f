//! When a request is answered.

use std::time::Duration;

use super::{MODEL, Rig, ask, get, id, next};

const SECOND: Duration = Duration::from_secs(1);
/// The clock of tokio ticks in milliseconds.
const TICK: Duration = Duration::from_millis(2);

fn current() -> String {
    format!("since={}", id(7, MODEL))
}

/// The longest hold, from which up to a tenth is taken.
#[track_caller]
fn is_hold(held: Duration, longest: Duration) {
    assert!((longest.mul_f64(0.9)..=longest + TICK).contains(&held), "{held:?} is not {longest:?} less up to a tenth");
}

#[tokio::test(start_paused = true)]
async fn a_poll_is_held_for_the_default_less_a_tenth_at_most_and_not_for_the_same_time() {
    let mut rig = Rig::serving(|_| ()).await;
    let mut all = Vec::new();
    for _ in 0..50 {
        let (answer, held) = rig.poll(&current(), "").await;
        assert_eq!(answer.status, 204);
        is_hold(held, 25 * SECOND);
        all.push(held);
    }
    let (first, last) = (all.iter().min().expect("some"), all.iter().max().expect("some"));
    assert!(*last > *first + SECOND, "spread: {all:?}");
    assert_eq!(rig.operation.hub.metrics().expired.get(), 50);
    rig.is_empty();
}

#[tokio::test(start_paused = true)]
async fn the_wait_is_what_was_asked_for_clamped_and_below_what_envoy_suffers() {
    let mut rig = Rig::serving(|_| ()).await;
    let envoy = "x-envoy-expected-rq-timeout-ms: 15000\r\n";
    for (query, fields, longest) in [
        ("&wait=3", "", 3 * SECOND),
        ("&wait=0.5", "", SECOND / 2),
        ("&wait=999999", "", 55 * SECOND),
        ("", "Prefer: wait=4\r\n", 4 * SECOND),
        ("", "Prefer: wait=999999\r\n", 55 * SECOND),
        ("&wait=3", "Prefer: wait=4\r\n", 3 * SECOND),
        ("", envoy, 14 * SECOND),
        ("&wait=55", envoy, 14 * SECOND),
        ("&wait=2", envoy, 2 * SECOND),
        ("&wait=0", "", Duration::ZERO),
        ("", "x-envoy-expected-rq-timeout-ms: 800\r\n", Duration::ZERO),
    ] {
        let (answer, held) = rig.poll(&format!("{}{query}", current()), fields).await;
        assert_eq!(answer.status, 204, "{query} {fields}");
        is_hold(held, longest);
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_wait_is_answered_at_once() {
    let mut rig = Rig::serving(|_| ()).await;
    for query in
        ["", "since=", "since=nonsense&wait=55", "since=a.b&wait=55", &format!("since={}&wait=55", id(6, "{}"))]
    {
        let (answer, held) = rig.poll(query, "").await;
        assert_eq!((answer.status, held), (200, Duration::ZERO), "{query}");
    }
    let (answer, held) = rig.poll("wait=55", "If-None-Match: *\r\n").await;
    assert_eq!((answer.status, held), (304, Duration::ZERO), "a cache that revalidates");
    let sent = tokio::time::Instant::now();
    let answer = rig.ask(&get(&current(), "").replacen("GET", "HEAD", 1)).await;
    assert_eq!((answer.status, sent.elapsed()), (204, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn a_change_releases_everyone_at_once() {
    let mut rig = Rig::serving(|_| ()).await;
    let mut wires: Vec<_> = (0..100).map(|_| rig.connect()).collect();
    for wire in &mut wires {
        wire.send(get(&current(), "").as_bytes());
        wire.flushed().await;
    }
    rig.parked(100).await;
    tokio::time::advance(5 * SECOND).await;
    let changed = tokio::time::Instant::now();
    rig.publish(8, "{\"mtu\":9000}").await;
    for wire in &mut wires {
        let answer = next(wire, false).await;
        assert_eq!((answer.status, answer.field("state-id")), (200, &*id(8, "{\"mtu\":9000}").to_string()));
        assert_eq!(answer.body, b"{\"mtu\":9000}");
    }
    assert_eq!(changed.elapsed(), Duration::ZERO);
    rig.is_empty();
}

#[tokio::test(start_paused = true)]
async fn there_and_back_within_the_interval_releases_nobody() {
    let mut rig = Rig::serving(|config| config.min_interval = SECOND).await;
    tokio::time::advance(10 * SECOND).await;
    rig.publish(8, "1").await;
    let mut wire = rig.connect();
    wire.send(get(&format!("since={}&wait=30", id(8, "1")), "").as_bytes());
    wire.flushed().await;
    rig.parked(1).await;
    let parked = tokio::time::Instant::now();
    rig.says(9, "2").await;
    tokio::time::advance(SECOND / 2).await;
    rig.says(10, "1").await;
    let answer = next(&mut wire, false).await;
    assert_eq!((answer.status, answer.field("state-id")), (204, &*id(10, "1").to_string()), "at the newest version");
    is_hold(parked.elapsed(), 30 * SECOND);
    assert_eq!(rig.operation.hub.metrics().changed.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn changes_are_coalesced_to_the_newest_and_a_client_that_is_ahead_does_not_wait_for_it() {
    let mut rig = Rig::serving(|config| config.min_interval = 10 * SECOND).await;
    tokio::time::advance(60 * SECOND).await;
    rig.publish(8, "1").await;
    let published = tokio::time::Instant::now();
    for version in 9..20 {
        rig.says(version, &version.to_string()).await;
    }
    let (answer, _) = rig.poll(&format!("since={}", id(8, "1")), "").await;
    assert_eq!((&*answer.body, published.elapsed()), (b"19".as_slice(), 10 * SECOND));
    rig.says(20, "20").await;
    rig.says(21, "21").await;
    // Another replica has given it version 21 already.
    let (answer, held) = rig.poll(&format!("since={}&wait=0", id(21, "21")), "").await;
    assert_eq!((answer.status, held), (204, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn the_fourth_of_the_same_to_one_agent_is_held_a_second_and_no_other() {
    let mut rig = Rig::serving(|_| ()).await;
    let (stale, agent) = (format!("since={}", id(3, "{}")), "Agent-Id: node-1\r\n");
    for times in 1..=3 {
        assert_eq!(rig.poll(&stale, agent).await.1, Duration::ZERO, "{times}");
    }
    for _ in 0..3 {
        let (answer, held) = rig.poll(&stale, agent).await;
        assert_eq!(answer.status, 200);
        assert!((SECOND.mul_f64(0.999)..SECOND + TICK).contains(&held), "{held:?}");
    }
    // The same connection, the same since, another agent or none.
    let mut wire = rig.connect();
    let sent = tokio::time::Instant::now();
    for fields in ["Agent-Id: node-2\r\n", "", "", "", "", ""] {
        assert_eq!(ask(&mut wire, &get(&stale, fields)).await.status, 200);
    }
    assert_eq!(sent.elapsed(), Duration::ZERO);
    assert_eq!(rig.poll("", agent).await.1, Duration::ZERO, "the null state starts anew");
    assert_eq!(rig.poll(&stale, agent).await.1, Duration::ZERO, "which breaks the row");
    rig.is_empty();
}

#[tokio::test(start_paused = true)]
async fn a_change_ends_no_pause_but_is_what_is_answered_after_it() {
    let mut rig = Rig::serving(|_| ()).await;
    let (stale, agent) = (format!("since={}", id(3, "{}")), "Agent-Id: node-1\r\n");
    for _ in 0..3 {
        rig.poll(&stale, agent).await;
    }
    let mut wire = rig.connect();
    wire.send(get(&stale, agent).as_bytes());
    wire.flushed().await;
    rig.parked(1).await;
    tokio::time::advance(SECOND / 2).await;
    rig.publish(8, "1").await;
    assert_eq!(next(&mut wire, false).await.body, b"1");
}

#[tokio::test(start_paused = true)]
async fn pipelined_requests_are_answered_in_order() {
    let mut rig = Rig::serving(|_| ()).await;
    let mut wire = rig.connect();
    let two = get(&format!("{}&wait=2", current()), "") + &get("second", "") + &get("wait=x", "");
    wire.send(two.as_bytes());
    wire.until(|seen| crate::talk::answers(seen, false).0.len() == 3).await;
    let statuses: Vec<_> = crate::talk::answers(&wire.seen, false).0.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [204, 200, 400]);
}

#[tokio::test(start_paused = true)]
async fn a_pipelined_head_that_is_cut_anywhere_is_not_taken_for_a_malformed_one() {
    let second = get("", "X: #b\r\n");
    for cut in 1..second.len() {
        let mut rig = Rig::serving(|_| ()).await;
        let mut wire = rig.connect();
        wire.send((get(&current(), "") + &second[..cut]).as_bytes());
        wire.flushed().await;
        rig.parked(1).await;
        rig.publish(8, "1").await;
        assert_eq!(next(&mut wire, false).await.body, b"1");
        assert_eq!(ask(&mut wire, &second[cut..]).await.status, 200, "cut at {cut}: {:?}", &second[..cut]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_may_take_its_time_and_no_more() {
    let mut rig = Rig::serving(|_| ()).await;
    for first in ["", "G", "GET /describe HTTP/1.1\r\nX", "PRI * HTTP/2.0\r\n\r\nSM\r\n"] {
        let mut wire = rig.connect();
        let opened = tokio::time::Instant::now();
        wire.send(first.as_bytes());
        wire.until(|_| false).await;
        let (lasted, limit) = (opened.elapsed(), tidewait::bounds::HEAD_READ);
        assert!((limit..limit + TICK).contains(&lasted), "{first:?}: {lasted:?}");
    }
}
