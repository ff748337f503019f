//! The version of a state moves without a change: who waits for that is told at once, and nobody else.

use std::sync::Arc;
use std::time::Duration;

use tidewait::model::{Content, Epoch, Provenance, SourceRevisions};
use tidewait::sources::{Draft, Report};
use tokio::time::Instant;

use super::{MODEL, Rig, content, get, id, next};

const SECOND: Duration = Duration::from_secs(1);
/// The clock of tokio ticks in milliseconds.
const TICK: Duration = Duration::from_millis(2);

/// A consistent read shows this, which is published at once.
async fn is_read(rig: &Rig, version: u64, json: &str) {
    let draft = Draft {
        epoch: Epoch::of(&["test"]),
        version,
        content: content(json),
        provenance: Provenance::Read,
        revisions: SourceRevisions::NONE,
        source_objects: Arc::default(),
        seen: Instant::now(),
    };
    rig.reports(Report::Holds(draft)).await;
    rig.operation.hub.wait_for(|current| current.version == version).await;
}

/// It holds a at version 5 and rejected b at 7: c at 6 would take it back, and c at 8 does not.
#[tokio::test(start_paused = true)]
async fn a_version_that_rises_releases_who_was_kept_from_the_state_by_a_lower_one() {
    let mut rig = Rig::empty(|config| config.min_interval = Duration::ZERO);
    rig.publish(5, "\"a\"").await;
    let query = format!("since={}&rejected={}&wait=50", id(5, "\"a\""), id(7, "\"b\""));
    let mut blocked = rig.park(&query, "").await;
    let mut other = rig.park(&format!("since={}&wait=50", id(5, "\"a\"")), "").await;
    is_read(&rig, 6, "\"c\"").await;
    assert_eq!(next(&mut other, false).await.body, b"\"c\"");
    let mut holder = rig.park(&format!("since={}&wait=50", id(6, "\"c\"")), "").await;
    tokio::time::sleep(SECOND).await;
    assert!(blocked.seen.is_empty(), "6 is older than 7");
    let raised = Instant::now();
    rig.says(8, "\"c\"").await;
    let answer = next(&mut blocked, false).await;
    assert_eq!((answer.status, answer.field("state-id")), (200, &*id(8, "\"c\"").to_string()));
    assert!(raised.elapsed() < TICK, "{:?}", raised.elapsed());
    rig.parked(1).await;
    tokio::time::sleep(SECOND).await;
    assert!(holder.seen.is_empty(), "who holds the state is not woken");
    assert_eq!(next(&mut holder, false).await.status, 204);
    assert_eq!(rig.operation.hub.metrics().changed.get(), 2);
    rig.is_empty();
}

/// A change beside a selection raises its version as well.
#[tokio::test(start_paused = true)]
async fn a_change_elsewhere_releases_who_was_kept_from_its_part_by_a_lower_version() {
    let mut rig = Rig::empty(|config| config.min_interval = Duration::ZERO);
    rig.publish(5, r#"{"a":1,"b":1}"#).await;
    // Given to the client by a replica that is ahead.
    let held = id(9, r#"{"a":1}"#);
    let mut blocked = rig.park(&format!("since={held}&select=/a&wait=50"), "").await;
    is_read(&rig, 6, r#"{"a":2,"b":1}"#).await;
    tokio::time::sleep(SECOND).await;
    assert!(blocked.seen.is_empty(), "6 is older than 9");
    let raised = Instant::now();
    rig.publish(10, r#"{"a":2,"b":2}"#).await;
    let answer = next(&mut blocked, false).await;
    assert_eq!((answer.status, answer.field("state-id")), (200, &*id(10, r#"{"a":2}"#).to_string()));
    assert!(raised.elapsed() < TICK, "{:?}", raised.elapsed());
    rig.is_empty();
}

/// No read is made, and nobody waits for one, where the watch brings no more than a version.
#[tokio::test(start_paused = true)]
async fn a_version_is_all_that_a_client_which_may_be_ahead_waits_for() {
    let mut rig = Rig::serving(|_| ()).await;
    let reader = rig.operation.reads.reader();
    let sent = Instant::now();
    let mut wire = rig.connect();
    wire.send(get(&format!("since={}&wait=0", id(9, "9")), "").as_bytes());
    wire.flushed().await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    rig.says(9, MODEL).await;
    let answer = next(&mut wire, false).await;
    assert_eq!((answer.status, answer.field("state-id")), (200, &*id(9, MODEL).to_string()));
    assert!(sent.elapsed() < Duration::from_millis(50) + TICK, "{:?}", sent.elapsed());
    assert!(!reader.is_requested());
}

/// A model that becomes opaque is a change for who waits for a part of it, and no end of the operation.
#[tokio::test(start_paused = true)]
async fn a_model_that_loses_its_parts_is_counted_as_a_change() {
    let mut rig = Rig::serving(|config| config.min_interval = Duration::ZERO).await;
    let mut wire = rig.park(&format!("since={}&select=/mtu&wait=50", id(7, r#"{"mtu":1450}"#)), "").await;
    let draft = Draft {
        epoch: Epoch::of(&["test"]),
        version: 8,
        content: Content::Opaque { media_type: "text/plain".to_owned(), body: "hello".into() },
        provenance: Provenance::Stream,
        revisions: SourceRevisions::NONE,
        source_objects: Arc::default(),
        seen: Instant::now(),
    };
    rig.reports(Report::Holds(draft)).await;
    let answer = next(&mut wire, false).await;
    assert_eq!(answer.status, 400, "{answer:?}");
    assert!(String::from_utf8_lossy(&answer.body).contains("selection-not-offered"), "{answer:?}");
    let metrics = rig.operation.hub.metrics();
    assert_eq!((metrics.changed.get(), metrics.ended.get()), (1, 0));
    rig.is_empty();
}
