//! An operation is configured anew while clients are parked: nobody is released, and what comes
//! next goes by the new limits.

use std::time::Duration;

use tidewait::config;
use tokio::time::Instant;

use super::{MODEL, Rig, Wire, id, next};

const SECOND: Duration = Duration::from_secs(1);

pub(super) fn change(rig: &Rig, adjust: impl FnOnce(&mut config::Operation)) {
    let mut config = config::Operation::clone(&rig.operation.config());
    adjust(&mut config);
    rig.operation.change(config);
}

/// A request that is parked on the current state.
pub(super) async fn park(rig: &mut Rig, query: &str, fields: &str) -> Wire {
    rig.park(&format!("since={}{query}", id(7, MODEL)), fields).await
}

#[tokio::test(start_paused = true)]
async fn limits_change_and_nobody_is_released() {
    let mut rig = Rig::serving(|config| config.parked = 4).await;
    let agent = "Agent-Id: node-1\r\n";
    let mut wires = Vec::new();
    for _ in 0..4 {
        wires.push(park(&mut rig, "&wait=50", agent).await);
    }
    let sent = Instant::now();
    change(&rig, |config| {
        config.parked = 2;
        config.parked_per_agent = 1;
        config.wait = config::Wait { default: SECOND, max: 2 * SECOND };
    });
    tokio::time::sleep(10 * SECOND).await;
    assert_eq!(rig.operation.hub.parked(), 4, "who is parked stays, and keeps its hold");
    let now = format!("since={}", id(7, MODEL));
    let (refused, _) = rig.poll(&now, "").await;
    assert_eq!(refused.status, 503, "over the new limit of the operation: {refused:?}");
    change(&rig, |config| config.parked = 6);
    let (refused, _) = rig.poll(&now, agent).await;
    assert_eq!(refused.status, 429, "over the new limit of the agent: {refused:?}");
    let (answer, held) = rig.poll(&format!("{now}&wait=50"), "").await;
    assert_eq!(answer.status, 204);
    assert!(held <= 2 * SECOND, "the new longest wait: {held:?}");
    for wire in &mut wires {
        assert_eq!(next(wire, false).await.status, 204);
        assert!(sent.elapsed() >= 45 * SECOND, "{:?}", sent.elapsed());
    }
    assert_eq!(rig.operation.hub.metrics().changed.get(), 0);
    rig.is_empty();
}

#[tokio::test(start_paused = true)]
async fn a_shorter_interval_counts_for_what_waits_already() {
    let mut rig = Rig::serving(|config| config.min_interval = 40 * SECOND).await;
    let mut wire = park(&mut rig, "&wait=50", "").await;
    let parked = Instant::now();
    rig.says(8, "1").await;
    tokio::time::sleep(5 * SECOND).await;
    assert_eq!(rig.operation.hub.parked(), 1, "its turn has not come");
    change(&rig, |config| config.min_interval = 10 * SECOND);
    assert_eq!(next(&mut wire, false).await.body, b"1");
    assert_eq!(parked.elapsed(), 10 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn version_from_counts_from_the_next_state_on() {
    let mut rig = Rig::serving(|_| ()).await;
    change(&rig, |config| config.version_from = Some("/v".to_owned()));
    rig.source_changes().await;
    tokio::time::sleep(SECOND).await;
    assert_eq!(rig.operation.hub.current().expect("a state").snapshot.id, id(7, MODEL));
    rig.says(8, r#"{"v":12}"#).await;
    let expected = id(12, r#"{"v":12}"#);
    rig.operation.hub.wait_for(|current| *current == expected).await;
}
