//! Paused, and held by the guard: what the source holds and nobody is given.

use std::sync::Arc;
use std::time::Duration;

use tidewait::model::RemovalApproval;
use tokio::time::Instant;

use super::change::{change, park};
use super::{MODEL, Rig, id, next};

const SECOND: Duration = Duration::from_secs(1);
/// One of seven leaves of [`MODEL`] is left.
const LITTLE: &str = r#"{"mtu":1450}"#;

/// The source says this, and the operation has taken it in: the next report waits behind it.
async fn offered(rig: &Rig, version: u64, json: &str) {
    rig.says(version, json).await;
    tokio::time::sleep(SECOND).await;
}

/// What `/state` of the admin port says of the operation.
fn shown_state(rig: &Rig) -> serde_json::Value {
    tidewait::admin::state::operations(&[Arc::clone(&rig.operation)])[0].clone()
}

fn confirm(rig: &Rig, text: &str) {
    RemovalApproval::parse(text).expect("an id");
    let config = tidewait::config::Operation { confirmed: Some(text.to_owned()), ..(*rig.operation.config()).clone() };
    rig.operation.change(config);
}

#[tokio::test(start_paused = true)]
async fn paused_clients_keep_the_published_state_and_get_the_newest_on_resume() {
    let mut rig = Rig::serving(|_| ()).await;
    let mut wire = park(&mut rig, "&wait=50", "").await;
    change(&rig, |config| config.paused = true);
    for version in 8..12 {
        offered(&rig, version, &version.to_string()).await;
    }
    assert_eq!(rig.operation.hub.parked(), 1);
    let (answer, held) = rig.poll("", "").await;
    assert_eq!((answer.status, held, &*answer.body), (200, Duration::ZERO, MODEL.as_bytes()), "they keep the state");
    assert_eq!(answer.field("state-id"), id(7, MODEL).to_string());
    assert_eq!(shown_state(&rig)["paused"], true);
    let resumed = Instant::now();
    change(&rig, |config| config.paused = false);
    assert_eq!(next(&mut wire, false).await.body, b"11");
    assert_eq!(resumed.elapsed(), Duration::ZERO, "at once");
    assert!(rig.operation.hub.metrics().fan_out.get_sample_sum() < 0.1, "the pause was wanted");
}

#[tokio::test(start_paused = true)]
async fn paused_versions_go_on_and_what_is_taken_back_releases_nobody() {
    let mut rig = Rig::serving(|_| ()).await;
    let mut wire = park(&mut rig, "&wait=50", "").await;
    change(&rig, |config| config.paused = true);
    offered(&rig, 8, "1").await;
    offered(&rig, 9, MODEL).await;
    assert_eq!(rig.operation.hub.current().expect("a state").snapshot.id, id(9, MODEL));
    change(&rig, |config| config.paused = false);
    assert_eq!(next(&mut wire, false).await.status, 204);
    assert_eq!(rig.operation.hub.metrics().changed.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_another_replica_gave_the_withheld_state_is_not_taken_back() {
    let mut rig = Rig::serving(|_| ()).await;
    change(&rig, |config| config.paused = true);
    offered(&rig, 10, "1").await;
    for (version, json) in [(10, "1"), (9, "2"), (8, "3")] {
        let (answer, held) = rig.poll(&format!("since={}", id(version, json)), "").await;
        assert_eq!((answer.status, held), (503, Duration::ZERO), "{version}");
    }
    // That one was not seen here: what the source holds is authoritative.
    let (answer, _) = rig.poll(&format!("since={}", id(11, "4")), "").await;
    assert_eq!(answer.status, 200);
    change(&rig, |config| config.paused = false);
    let (answer, held) = rig.poll(&format!("since={}&wait=0", id(10, "1")), "").await;
    assert_eq!((answer.status, held), (204, Duration::ZERO), "the moment it goes on");
}

#[tokio::test(start_paused = true)]
async fn a_removal_is_held_shown_and_published_once_confirmed() {
    let mut rig = Rig::serving(|config| config.guard = Some(50)).await;
    let mut wire = park(&mut rig, "&wait=50", "").await;
    offered(&rig, 8, LITTLE).await;
    let held = rig.operation.facts().blocked_change.expect("held");
    assert_eq!((held.id, held.limit_percent), (id(8, LITTLE), 50));
    assert!((held.removed_percent - 600.0 / 7.0).abs() < 0.001, "{held:?}");
    assert_eq!(rig.metric("tidewait_held_changes"), [1.0]);
    let shown = serde_json::json!({"stateId": id(8, LITTLE).to_string(), "removedPercent": 85.7, "limitPercent": 50});
    assert_eq!(shown_state(&rig)["held"], shown);
    // Written again without a change: the held id moves with it, and the older one confirms as well.
    offered(&rig, 9, LITTLE).await;
    assert_eq!(rig.operation.facts().blocked_change.expect("held").id, id(9, LITTLE));
    confirm(&rig, &id(8, "{}").to_string());
    tokio::time::sleep(SECOND).await;
    assert_eq!(rig.operation.hub.parked(), 1, "another state was confirmed");
    let confirmed = Instant::now();
    confirm(&rig, &id(8, LITTLE).to_string());
    let answer = next(&mut wire, false).await;
    assert_eq!((answer.field("state-id"), &*answer.body), (&*id(9, LITTLE).to_string(), LITTLE.as_bytes()));
    assert_eq!((confirmed.elapsed(), rig.operation.facts().blocked_change), (Duration::ZERO, None));
    assert_eq!(rig.metric("tidewait_held_changes"), [0.0]);
    assert_eq!(shown_state(&rig)["held"], serde_json::Value::Null);
    // The same confirmation is there still, and nothing more is confirmed by it.
    rig.publish(10, MODEL).await;
    confirm(&rig, &id(8, LITTLE).to_string());
    change(&rig, |config| config.parked = 7);
    offered(&rig, 11, LITTLE).await;
    assert!(rig.operation.facts().blocked_change.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_confirmation_may_come_first() {
    let rig = Rig::serving(|config| config.guard = Some(0)).await;
    confirm(&rig, &id(8, LITTLE).digest.to_string());
    rig.publish(8, LITTLE).await;
    assert_eq!(rig.operation.facts().blocked_change, None);
}

#[tokio::test(start_paused = true)]
async fn what_is_held_gives_way_to_what_the_source_says_next() {
    let mut rig = Rig::serving(|config| config.guard = Some(50)).await;
    let mut wire = park(&mut rig, "&wait=50", "").await;
    offered(&rig, 8, LITTLE).await;
    assert!(rig.operation.facts().blocked_change.is_some());
    let better = MODEL.replace("1450", "9000");
    rig.publish(9, &better).await;
    assert_eq!(next(&mut wire, false).await.body, better.as_bytes());
    assert_eq!(rig.operation.facts().blocked_change, None);
    offered(&rig, 10, LITTLE).await;
    assert!(rig.operation.facts().blocked_change.is_some());
    // The limit is raised: that is a remedy, too.
    change(&rig, |config| config.guard = Some(90));
    rig.operation.hub.wait_for(|current| *current == id(10, LITTLE)).await;
}

/// A process that starts while its operation is paused has nothing to serve, and the reason is not the source.
#[tokio::test(start_paused = true)]
async fn without_a_state_the_pause_is_named_as_the_reason() {
    let mut rig = Rig::empty(|config| config.paused = true);
    rig.says(7, MODEL).await;
    let answer = rig.ask(&super::get("", "")).await;
    assert_eq!(answer.status, 503);
    let detail = String::from_utf8_lossy(&answer.body).into_owned();
    assert!(detail.contains("it is paused") && !detail.contains("has not given one"), "{detail}");
}
