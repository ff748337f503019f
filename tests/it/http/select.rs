//! Selections over HTTP: who is woken by what, what is answered, and what is given back.

use std::time::Duration;

use tidewait::model::{Content, Epoch, Provenance, SourceRevisions};
use tidewait::registry::Listing;
use tidewait::sources::{Draft, Report};
use tokio::time::{Instant, timeout};

use super::change::change;
use super::{Rig, Wire, ask, get, id, next};
use crate::talk::Answer;

const SECOND: Duration = Duration::from_secs(1);
const ZONES: &str = r#"{"zones":{"a":{"mtu":1450},"b":{"mtu":1450}},"version":1}"#;
/// Zone a has changed.
const OTHER_A: &str = r#"{"zones":{"a":{"mtu":9000},"b":{"mtu":1450}},"version":1}"#;
/// As it is served.
const ZONES_SORTED: &str = r#"{"version":1,"zones":{"a":{"mtu":1450},"b":{"mtu":1450}}}"#;
const A: &str = r#"{"zones":{"a":{"mtu":1450}}}"#;
const B: &str = r#"{"zones":{"b":{"mtu":1450}}}"#;

async fn rig() -> Rig {
    let rig = Rig::empty(|_| ());
    rig.publish(7, ZONES).await;
    rig
}

/// Nothing comes within a second.
async fn is_silent(wire: &mut Wire) {
    assert!(timeout(SECOND, wire.until(|seen| !seen.is_empty())).await.is_err(), "it was answered");
}

#[track_caller]
fn is_state(answer: &Answer, version: u64, json: &str) {
    assert_eq!((answer.status, std::str::from_utf8(&answer.body)), (200, Ok(json)));
    assert_eq!(answer.field("state-id"), id(version, json).to_string());
}

#[tokio::test(start_paused = true)]
async fn a_client_is_woken_for_what_it_asked_for_and_given_that_alone() {
    let mut rig = rig().await;
    let answer = rig.ask(&get("select=/zones/a", "")).await;
    is_state(&answer, 7, A);
    let current = id(7, A);
    assert_eq!(answer.field("etag"), format!("\"{}.{}\"", current.epoch, current.digest));
    assert_eq!(answer.field("link"), format!("<?since={current}&select=%2Fzones%2Fa>; rel=\"next\""));
    let mut a = rig.park(&format!("since={current}&select=/zones/a&wait=50"), "").await;
    let mut b = rig.park(&format!("since={}&select=/zones/b&wait=50", id(7, B)), "").await;
    let mut whole = rig.park(&format!("since={}&wait=50", id(7, ZONES)), "").await;
    rig.publish(8, OTHER_A).await;
    is_state(&next(&mut a, false).await, 8, r#"{"zones":{"a":{"mtu":9000}}}"#);
    let whole = next(&mut whole, false).await;
    assert_eq!((whole.status, whole.field("state-id")), (200, &*id(8, OTHER_A).to_string()));
    is_silent(&mut b).await;
    let answer = next(&mut b, false).await;
    assert_eq!((answer.status, answer.field("state-id")), (204, &*id(8, B).to_string()), "the newest version");
    let metrics = rig.operation.hub.metrics();
    assert_eq!((metrics.selections_changed.get(), metrics.changed.get(), metrics.expired.get()), (1, 2, 1));
    assert_eq!(metrics.selections.get(), 0, "nobody looks at them any more");
    rig.is_empty();
}

#[tokio::test(start_paused = true)]
async fn what_is_found_is_in_the_models_own_shape() {
    let mut rig = rig().await;
    for (query, expected) in [
        ("select=/zones/a/mtu&select=/version", r#"{"version":1,"zones":{"a":{"mtu":1450}}}"#),
        (
            "select=/version&select=/zones/b&select=/zones/a/mtu&select=/version/x",
            r#"{"version":1,"zones":{"a":{"mtu":1450},"b":{"mtu":1450}}}"#,
        ),
        ("select=/nothing", "{}"),
        ("select=/version/0", "{}"),
        ("select=", ZONES_SORTED),
        ("select=/zones/a&select=", ZONES_SORTED),
    ] {
        is_state(&rig.ask(&get(query, "")).await, 7, expected);
    }
    rig.publish(8, r#"{"a b":{"c+d":1,"e/f":2,"~":3}}"#).await;
    for (query, expected) in [
        ("select=/a+b/c%2Bd", r#"{"a b":{"c+d":1}}"#),
        ("select=/a%20b/e~1f", r#"{"a b":{"e/f":2}}"#),
        ("select=%2Fa+b%2F~0", r#"{"a b":{"~":3}}"#),
    ] {
        let answer = rig.ask(&get(query, "")).await;
        is_state(&answer, 8, expected);
        // What the link says parks: it is the same selection.
        let link = answer.field("link").trim_start_matches("<?").split_once('>').expect("a link").0.to_owned();
        assert!(link.contains("%20") && !link.contains('+'), "{link}");
        assert_eq!(rig.poll(&format!("{link}&wait=1"), "").await.0.status, 204, "{link}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_same_pointers_in_another_order_are_one_selection() {
    let mut rig = rig().await;
    let both = id(7, r#"{"version":1,"zones":{"a":{"mtu":1450}}}"#);
    let mut wires = Vec::new();
    for select in [
        "select=/version&select=/zones/a",
        "select=/zones/a&select=/version",
        "select=/zones/a/mtu&select=/version&select=/zones/a",
    ] {
        wires.push(rig.park(&format!("since={both}&{select}&wait=50"), "").await);
    }
    assert_eq!(rig.operation.hub.metrics().selections.get(), 1);
    rig.publish(8, OTHER_A).await;
    for wire in &mut wires {
        is_state(&next(wire, false).await, 8, r#"{"version":1,"zones":{"a":{"mtu":9000}}}"#);
    }
    assert_eq!(rig.operation.hub.metrics().selections.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn one_selection_too_many_is_refused_with_the_limit_and_a_known_one_is_not() {
    let mut rig = Rig::empty(|config| config.limits.selections = 2);
    rig.publish(7, ZONES).await;
    let empty = id(7, "{}");
    let mut first = rig.park(&format!("since={empty}&select=/x&wait=50"), "").await;
    let _second = rig.park(&format!("since={empty}&select=/y&wait=50"), "").await;
    let refused = rig.ask(&get("select=/z", "")).await;
    let detail = "2 different selections are in use, as many as are allowed (limits.selections of operation test): \
                  select what others do, or try again";
    let text = String::from_utf8(refused.body.clone()).expect("a problem");
    assert!(refused.status == 503 && text.contains(detail) && text.contains("too-many-selections"), "{text}");
    assert!(!refused.field("retry-after").is_empty());
    is_state(&rig.ask(&get("select=/x", "")).await, 7, "{}");
    is_state(&rig.ask(&get("", "")).await, 7, ZONES_SORTED);
    rig.publish(8, r#"{"x":1}"#).await;
    is_state(&next(&mut first, false).await, 8, r#"{"x":1}"#);
    is_state(&rig.ask(&get("select=/z", "")).await, 8, "{}");
    change(&rig, |config| config.limits.selections = 1);
    assert_eq!(rig.ask(&get("select=/z", "")).await.status, 503, "the new limit holds");
}

#[tokio::test(start_paused = true)]
async fn an_opaque_model_has_no_parts() {
    let mut rig = rig().await;
    let mut parked = rig.park(&format!("since={}&select=/zones/a&wait=50", id(7, A)), "").await;
    let opaque = Draft {
        epoch: Epoch::of(&["test"]),
        version: 8,
        content: Content::Opaque { media_type: "text/plain".to_owned(), body: "hello".into() },
        provenance: Provenance::Stream,
        revisions: SourceRevisions::NONE,
        source_objects: std::sync::Arc::default(),
        seen: Instant::now(),
    };
    rig.reports(Report::Holds(opaque)).await;
    let told = next(&mut parked, false).await;
    for answer in [told, rig.ask(&get("select=/zones/a", "")).await] {
        let text = String::from_utf8(answer.body.clone()).expect("a problem");
        assert!(
            answer.status == 400 && text.contains("the model of operation test is opaque: leave select out"),
            "{text}"
        );
    }
    assert_eq!(rig.ask(&get("select=", "")).await.body, b"hello");
    rig.publish(9, ZONES).await;
    is_state(&rig.ask(&get("select=/zones/a", "")).await, 9, A);
    rig.is_empty();
}

#[tokio::test(start_paused = true)]
async fn another_history_is_another_state_of_every_selection() {
    let mut rig = rig().await;
    let mut wire = rig.park(&format!("since={}&select=/zones/a&wait=50", id(7, A)), "").await;
    let other = Draft {
        epoch: Epoch::of(&["another"]),
        version: 3,
        content: super::content(ZONES),
        provenance: Provenance::Read,
        revisions: SourceRevisions::NONE,
        source_objects: std::sync::Arc::default(),
        seen: Instant::now(),
    };
    rig.reports(Report::Holds(other)).await;
    let answer = next(&mut wire, false).await;
    assert_eq!((answer.status, answer.body.as_slice()), (200, A.as_bytes()));
    assert_ne!(answer.field("state-id"), id(7, A).to_string());
}

#[tokio::test(start_paused = true)]
async fn a_selection_ends_with_its_operation_and_waits_for_the_first_state() {
    let mut rig = Rig::empty(|_| ());
    let (answer, held) = rig.poll("select=/zones/a", "").await;
    assert_eq!((answer.status, held), (503, Duration::ZERO), "no state yet");
    rig.publish(7, ZONES).await;
    let mut wire = rig.park(&format!("since={}&select=/zones/a&wait=50", id(7, A)), "").await;
    rig.operation.hub.close();
    assert_eq!(next(&mut wire, false).await.status, 204);
    let started = Instant::now();
    assert_eq!(rig.poll(&format!("since={}&select=/zones/a&wait=50", id(7, A)), "").await.0.status, 204);
    assert_eq!(started.elapsed(), Duration::ZERO, "nobody waits any more");
}

/// A then B then A again: whoever is still parked was not released, and its id has the newest version.
#[tokio::test(start_paused = true)]
async fn what_comes_back_within_the_interval_releases_nobody() {
    let mut rig = Rig::empty(|config| config.min_interval = 10 * SECOND);
    rig.publish(7, ZONES).await;
    let mut wire = rig.park(&format!("since={}&select=/zones/a&wait=50", id(7, A)), "").await;
    rig.says(8, OTHER_A).await;
    rig.says(9, ZONES).await;
    let answer = next(&mut wire, false).await;
    assert_eq!((answer.status, answer.field("state-id")), (204, &*id(9, A).to_string()));
}

#[tokio::test(start_paused = true)]
async fn an_agent_stands_to_its_own_selection() {
    let mut rig = rig().await;
    let count = |rig: &Rig| {
        let totals = rig.operation.totals(rig.operation.facts().state_id()).agents;
        (totals.converged, totals.lagging)
    };
    let agent = "Agent-Id: node-a\r\n";
    let (answer, _) = rig.poll(&format!("since={}&select=/zones/a&wait=1", id(7, A)), agent).await;
    assert_eq!((answer.status, count(&rig)), (204, (1, 0)), "between two polls");
    let (agents, _) =
        rig.operation.agents(&Listing { after: None, sync_status: None, limit: 1 }, rig.operation.facts().state_id());
    let selection = agents[0].selected.as_ref().and_then(|subscription| subscription.selection());
    assert_eq!(selection.map(|selection| selection.pointers()[0].to_string()).as_deref(), Some("/zones/a"));
    rig.publish(8, &ZONES.replace("\"version\":1", "\"version\":2")).await;
    assert_eq!(count(&rig), (1, 0), "another part changed");
    rig.publish(9, OTHER_A).await;
    assert_eq!(count(&rig), (0, 1), "its part changed, though nobody waits for it");
    let held = id(9, r#"{"zones":{"a":{"mtu":9000}}}"#);
    let mut wire = rig.park(&format!("since={held}&select=/zones/a&wait=50"), agent).await;
    assert_eq!(count(&rig), (1, 0));
    rig.publish(10, ZONES).await;
    assert_eq!((next(&mut wire, false).await.status, count(&rig)), (200, (0, 1)), "given is not held");
    drop(agents);
    assert_eq!(rig.operation.hub.metrics().selections.get(), 1, "kept for as long as the agent is known");
    let _ = rig.poll(&format!("since={}&wait=0", id(10, ZONES)), agent).await;
    assert_eq!((count(&rig), rig.operation.hub.metrics().selections.get()), ((1, 0), 0), "it has the whole now");
}

#[tokio::test(start_paused = true)]
async fn agents_are_paced_by_selection() {
    let mut rig = rig().await;
    let mut wire = rig.connect();
    let mut held = Vec::new();
    for select in ["/zones/a", "/zones/a", "/zones/a", "/zones/b", "/zones/a", "/zones/a", "/zones/a", "/zones/a"] {
        let sent = Instant::now();
        let query = format!("since={}&select={select}", id(3, "{}"));
        assert_eq!(ask(&mut wire, &get(&query, "Agent-Id: x\r\n")).await.status, 200);
        held.push(sent.elapsed().as_secs());
    }
    assert_eq!(held, [0, 0, 0, 0, 0, 0, 0, 1]);
}
