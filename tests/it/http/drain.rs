//! How parked requests are answered when the process stops.

use std::time::Duration;

use tidewait::bounds::DRAINED_HOLD;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{MODEL, Rig, ask, get, id, next};

/// As many as the promise is made for.
const PARKED: usize = 1000;

#[tokio::test(start_paused = true)]
async fn parked_requests_are_answered_spread_over_the_grace_period() {
    let mut rig = Rig::serving(|_| ()).await;
    let since = format!("since={}&wait=55", id(7, MODEL));
    let mut clients = JoinSet::new();
    for _ in 0..PARKED {
        let (mut wire, raw) = (rig.connect(), get(&since, ""));
        clients.spawn(async move {
            let answer = ask(&mut wire, &raw).await;
            let answered = Instant::now();
            wire.until(|_| false).await;
            (answer, answered, answered.elapsed())
        });
    }
    rig.parked(PARKED).await;
    let (began, drain) = (Instant::now(), rig.stop.drain());
    tokio::time::sleep(Duration::from_secs(9)).await;
    // One that comes in the middle joins the slots.
    let (late, held) = rig.poll(&since, "").await;
    assert_eq!((late.status, late.field("connection")), (204, "close"));
    assert!(began + Duration::from_secs(9) + held <= drain.end() + Duration::from_millis(2), "{held:?}");
    let mut times = Vec::new();
    while let Some(client) = clients.join_next().await {
        let (answer, answered, closed) = client.expect("no panic");
        assert_eq!((answer.status, answer.field("connection")), (204, "close"));
        assert_eq!(answer.field("state-id"), id(7, MODEL).to_string());
        assert_eq!(closed, Duration::ZERO, "the server closes");
        times.push(answered - began);
    }
    times.sort();
    let grace = rig.stop.grace();
    assert!(times[PARKED - 1] >= times[0] + grace.mul_f64(0.8), "{:?} to {:?}", times[0], times[PARKED - 1]);
    assert!(times[PARKED - 1] <= grace, "{:?}", times[PARKED - 1]);
    let busiest = times.chunk_by(|a, b| a.as_secs() == b.as_secs()).map(<[_]>::len).max().unwrap_or(0);
    assert!(busiest <= PARKED / 10, "{busiest} in one second");
    assert_eq!(rig.operation.hub.metrics().drained.get(), PARKED as u64 + 1);
    rig.is_empty();
}

#[tokio::test(start_paused = true)]
async fn a_change_while_it_drains_is_answered_at_once() {
    // Otherwise the change waits for its turn, and the slot of the poll, which is drawn, may come first.
    let mut rig = Rig::serving(|config| config.min_interval = Duration::ZERO).await;
    rig.stop.drain();
    let mut wire = rig.connect();
    wire.send(get(&format!("since={}", id(7, MODEL)), "").as_bytes());
    wire.flushed().await;
    rig.parked(1).await;
    rig.publish(8, "1").await;
    let answer = next(&mut wire, false).await;
    assert_eq!((answer.status, &*answer.body, answer.field("connection")), (200, b"1".as_slice(), "close"));
}

#[tokio::test(start_paused = true)]
async fn idle_connections_are_closed_once_the_parked_ones_are_answered() {
    let mut rig = Rig::serving(|_| ()).await;
    let mut wire = rig.connect();
    assert_eq!(ask(&mut wire, &get("", "")).await.status, 200);
    rig.stop.drain();
    assert_eq!(ask(&mut wire, &get("wait=x", "")).await.field("connection"), "close");
    let mut idle = rig.connect();
    rig.stop.close();
    idle.until(|_| false).await;
    assert!(idle.seen.is_empty());
}

/// After `tidewait drain` and before SIGTERM: a client that polls without a pause does not spin, and none is held up by that.
#[tokio::test(start_paused = true)]
async fn a_poll_after_the_slots_is_held_for_a_moment_and_answered_when_the_process_closes() {
    let mut rig = Rig::serving(|_| ()).await;
    let drain = rig.stop.drain();
    tokio::time::sleep_until(drain.end()).await;
    let since = format!("since={}&wait=50", id(7, MODEL));
    for _ in 0..10 {
        let (answer, held) = rig.poll(&since, "").await;
        assert_eq!((answer.status, answer.field("connection")), (204, "close"));
        assert!((DRAINED_HOLD / 2..DRAINED_HOLD + Duration::from_millis(2)).contains(&held), "{held:?}");
    }
    let mut wire = rig.park(&since, "").await;
    let closed = Instant::now();
    rig.stop.close();
    assert_eq!(next(&mut wire, false).await.status, 204);
    assert!(closed.elapsed() < Duration::from_millis(2), "{:?}", closed.elapsed());
}
