//! `wakeSpread`: a release that is spread, so that what is behind the agents is not asked all at once.

use std::time::Duration;

use tidewait::sources::Report;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{MODEL, Rig, Wire, change, id, next};

const SECOND: Duration = Duration::from_secs(1);
const SPREAD: Duration = Duration::from_secs(10);

async fn spreading() -> Rig {
    let rig = Rig::serving(|config| config.wake_spread = SPREAD).await;
    // The next change is published at once.
    tokio::time::sleep(SECOND).await;
    rig
}

#[tokio::test(start_paused = true)]
async fn a_release_is_spread_and_the_fan_out_counts_only_what_was_not_meant() {
    let mut rig = spreading().await;
    let mut clients = JoinSet::new();
    for _ in 0..200 {
        let mut wire = park(&mut rig, "&wait=50").await;
        clients.spawn(async move { (next(&mut wire, false).await, Instant::now()) });
    }
    let changed = Instant::now();
    rig.publish(8, "1").await;
    // Who comes now is not part of the release.
    assert_eq!(rig.poll(&format!("since={}", id(7, MODEL)), "").await.1, Duration::ZERO);
    let mut times = Vec::new();
    while let Some(client) = clients.join_next().await {
        let (answer, answered) = client.expect("no panic");
        assert_eq!((answer.status, &*answer.body), (200, b"1".as_slice()));
        times.push(answered - changed);
    }
    times.sort();
    assert!(times[199] <= SPREAD + SECOND / 100, "{:?}", times[199]);
    for tenth in 0..10 {
        let from = SPREAD / 10 * tenth;
        let count = times.iter().filter(|time| (from..from + SPREAD / 10).contains(*time)).count();
        assert!((4..=60).contains(&count), "{count} of 200 from {from:?}");
    }
    let metrics = rig.operation.hub.metrics();
    assert_eq!((metrics.changed.get(), metrics.fan_out.get_sample_count()), (200, 1));
    assert!(metrics.fan_out.get_sample_sum() < 0.1, "{}", metrics.fan_out.get_sample_sum());
    rig.is_empty();
}

/// A request that is parked on the state of [`Rig::serving`].
async fn park(rig: &mut Rig, query: &str) -> Wire {
    change::park(rig, query, "").await
}

#[tokio::test(start_paused = true)]
async fn what_is_current_at_the_end_of_the_spread_is_given() {
    let mut rig = spreading().await;
    let mut wires = Vec::new();
    for _ in 0..50 {
        wires.push(park(&mut rig, "&wait=50").await);
    }
    rig.publish(8, "1").await;
    tokio::time::sleep(SPREAD / 2).await;
    rig.publish(9, "2").await;
    let mut given = Vec::new();
    for wire in &mut wires {
        given.push(next(wire, false).await.body);
    }
    let first = given.iter().filter(|body| **body == b"1").count();
    assert!((5..=45).contains(&first) && given.iter().all(|body| body == b"1" || body == b"2"), "{first} of 50");
}

#[tokio::test(start_paused = true)]
async fn a_change_taken_back_within_the_spread_releases_nobody_who_still_waits() {
    let mut rig = spreading().await;
    let mut wires = Vec::new();
    for _ in 0..50 {
        wires.push(park(&mut rig, "&wait=50").await);
    }
    rig.publish(8, "1").await;
    tokio::time::sleep(SPREAD / 2).await;
    rig.publish(9, MODEL).await;
    tokio::time::sleep(SPREAD).await;
    let released = 50 - rig.operation.hub.parked();
    assert!((5..=45).contains(&released), "{released}");
    // Those who stayed wait on, and are released by the next.
    let changed = Instant::now();
    rig.publish(10, "2").await;
    for wire in &mut wires {
        let answer = next(wire, false).await;
        assert!(answer.status == 200 && (answer.body == b"1" || answer.body == b"2"), "{answer:?}");
    }
    assert!(changed.elapsed() <= SPREAD + SECOND / 100);
    rig.is_empty();
}

#[tokio::test(start_paused = true)]
async fn taken_back_for_good_the_wait_ends_when_it_would_have() {
    let mut rig = spreading().await;
    let mut wires = Vec::new();
    let parked = Instant::now();
    for _ in 0..20 {
        wires.push(park(&mut rig, "&wait=30").await);
    }
    rig.publish(8, "1").await;
    rig.publish(9, MODEL).await;
    let mut expired = 0;
    for wire in &mut wires {
        if next(wire, false).await.status == 204 {
            expired += 1;
            assert!((27 * SECOND..31 * SECOND).contains(&parked.elapsed()), "{:?}", parked.elapsed());
        }
    }
    assert!(expired > 10, "{expired}");
    assert_eq!(rig.operation.hub.metrics().expired.get(), expired);
}

#[tokio::test(start_paused = true)]
async fn a_hold_is_not_longer_for_the_spread() {
    let mut rig = Rig::serving(|config| config.wake_spread = 1000 * SPREAD).await;
    let mut wire = park(&mut rig, "&wait=5").await;
    let parked = Instant::now();
    tokio::time::sleep(SECOND).await;
    rig.publish(8, "1").await;
    let answer = next(&mut wire, false).await;
    assert_eq!((answer.status, &*answer.body), (200, b"1".as_slice()), "the change, at the end of the wait");
    assert!((4 * SECOND..=5 * SECOND + SECOND / 100).contains(&parked.elapsed()), "{:?}", parked.elapsed());
    assert_eq!(rig.operation.hub.metrics().changed.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_drain_cuts_the_spread_short() {
    let mut rig = Rig::serving(|config| config.wake_spread = 1000 * SPREAD).await;
    let mut wires = Vec::new();
    for _ in 0..50 {
        wires.push(park(&mut rig, "&wait=55").await);
    }
    rig.publish(8, "1").await;
    let drain = rig.stop.drain();
    for wire in &mut wires {
        let answer = next(wire, false).await;
        assert_eq!((answer.status, &*answer.body, answer.field("connection")), (200, b"1".as_slice(), "close"));
    }
    assert!(Instant::now() <= drain.end() + SECOND / 100);
    rig.is_empty();
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_within_the_spread_gives_everything_back() {
    let mut rig = Rig::serving(|config| config.wake_spread = 1000 * SPREAD).await;
    let wire = park(&mut rig, "&wait=55").await;
    rig.publish(8, "1").await;
    tokio::time::sleep(SECOND).await;
    assert_eq!(rig.operation.hub.parked(), 1);
    drop(wire);
    rig.parked(0).await;
    assert_eq!(rig.operation.hub.metrics().abandoned.get(), 1);
    rig.is_empty();
}

#[tokio::test(start_paused = true)]
async fn the_spread_of_the_moment_counts() {
    let mut rig = spreading().await;
    let mut wire = park(&mut rig, "&wait=50").await;
    change::change(&rig, |config| config.wake_spread = Duration::ZERO);
    let changed = Instant::now();
    rig.publish(8, "1").await;
    rig.reports(Report::Confirmed).await;
    assert_eq!(next(&mut wire, false).await.body, b"1");
    assert_eq!(changed.elapsed(), Duration::ZERO);
}
