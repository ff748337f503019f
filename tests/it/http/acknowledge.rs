//! What polls say about their agents: who holds the state, who was given it, who could not apply it.

use std::time::Duration;

use tidewait::bounds::AGENT_SKEW;
use tidewait::operation::Agent;
use tidewait::registry::{Listing, SyncStatus};

use super::{MODEL, Rig, ask, get, id, next};

const SECOND: Duration = Duration::from_secs(1);
const AGENT: &str = "Agent-Id: node-1\r\n";
const NEXT: &str = "{\"mtu\":9000}";

/// Converged, lagging, rejecting.
fn count(rig: &Rig) -> (u64, u64, u64) {
    let totals = rig.operation.totals(rig.operation.facts().state_id()).agents;
    (totals.converged, totals.lagging, totals.rejecting)
}

fn only(rig: &Rig) -> Agent {
    let (mut agents, more) =
        rig.operation.agents(&Listing { after: None, sync_status: None, limit: 1 }, rig.operation.facts().state_id());
    assert!(!more, "one agent");
    agents.remove(0)
}

#[tokio::test(start_paused = true)]
async fn what_an_agent_could_not_apply_parks_until_the_next_state() {
    let (held, current) = (id(6, "{}"), id(7, MODEL));
    for query in [format!("since={held}&rejected={current}"), format!("rejected={current}")] {
        let mut rig = Rig::serving(|_| ()).await;
        let reason = format!("{AGENT}Rejected-Reason: no such zone\r\n");
        for _ in 0..5 {
            let (answer, lasted) = rig.poll(&query, &reason).await;
            assert_eq!((answer.status, answer.field("state-id")), (204, &*current.to_string()), "{query}");
            assert!(lasted >= 22 * SECOND, "no hot loop: {lasted:?}");
        }
        assert_eq!(count(&rig), (0, 0, 1));
        let agent = only(&rig);
        assert_eq!((agent.sync_status, agent.reason.as_deref()), (SyncStatus::Rejecting, Some("no such zone")));
        assert_eq!(rig.operation.totals(rig.operation.facts().state_id()).rejections, 1, "five polls of one rejection");
        let mut wire = rig.park(&query, AGENT).await;
        rig.publish(8, NEXT).await;
        assert_eq!(next(&mut wire, false).await.body, NEXT.as_bytes(), "{query}");
        assert_eq!(count(&rig), (0, 1, 0), "given");
        let (answer, lasted) = rig.poll(&format!("since={}&wait=1", id(8, NEXT)), AGENT).await;
        assert_eq!((answer.status, lasted > Duration::ZERO), (204, true));
        assert_eq!((count(&rig), only(&rig).reason), ((1, 0, 0), None));
        rig.is_empty();
    }
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_is_busy_with_a_state_is_parked_until_there_is_another() {
    let (held, current) = (id(6, "{}"), id(7, MODEL));
    for query in [
        format!("since={held}&applying={current}"),
        format!("applying={current}"),
        format!("since={held}&rejected={}&applying={current}", id(5, "5")),
    ] {
        let mut rig = Rig::serving(|_| ()).await;
        for _ in 0..5 {
            let (answer, lasted) = rig.poll(&query, AGENT).await;
            assert_eq!((answer.status, answer.field("state-id")), (204, &*current.to_string()), "{query}");
            assert!(lasted >= 22 * SECOND, "no hot loop: {lasted:?}");
        }
        assert_eq!(count(&rig), (0, 1, 0), "it does not hold it");
        let agent = only(&rig);
        assert_eq!((agent.sync_status, agent.applying), (SyncStatus::Applying, Some(current.into())));
        let listed = |sync_status| {
            let listing = Listing { after: None, sync_status: Some(sync_status), limit: 1 };
            rig.operation.agents(&listing, rig.operation.facts().state_id()).0.len()
        };
        assert_eq!(SyncStatus::ALL.map(listed), [0, 1, 1, 0], "also among those that lag");
        let mut wire = rig.park(&query, AGENT).await;
        rig.publish(8, NEXT).await;
        assert_eq!(next(&mut wire, false).await.body, NEXT.as_bytes(), "{query}");
        // Its hook still runs for the one before.
        let (answer, _) = rig.poll(&format!("since={held}&applying={}&wait=1", id(8, NEXT)), AGENT).await;
        assert_eq!((answer.status, only(&rig).sync_status), (204, SyncStatus::Applying));
        let (answer, _) = rig.poll(&format!("since={}&wait=1", id(8, NEXT)), AGENT).await;
        assert_eq!((answer.status, count(&rig)), (204, (1, 0, 0)));
        rig.is_empty();
    }
}

#[tokio::test(start_paused = true)]
async fn a_rejected_state_is_not_followed_by_an_older_one() {
    let mut rig = Rig::serving(|_| ()).await;
    // Another replica gave it version 9, and it went back to what it had.
    let query = format!("since={}&rejected={}&wait=20", id(7, MODEL), id(9, "9"));
    let mut wire = rig.park(&query, AGENT).await;
    rig.publish(8, NEXT).await;
    rig.publish(9, "9").await;
    tokio::time::advance(SECOND).await;
    rig.parked(1).await;
    assert_eq!((wire.seen.len(), count(&rig)), (0, (0, 0, 1)));
    rig.publish(10, "10").await;
    assert_eq!(next(&mut wire, false).await.body, b"10");
}

#[tokio::test(start_paused = true)]
async fn a_poll_without_a_wait_says_the_same_and_is_not_held() {
    let mut rig = Rig::serving(|_| ()).await;
    let (answer, lasted) = rig.poll(&format!("rejected={}&wait=0", id(7, MODEL)), AGENT).await;
    assert_eq!((answer.status, lasted, count(&rig)), (204, Duration::ZERO, (0, 0, 1)));
}

#[tokio::test(start_paused = true)]
async fn a_change_is_acknowledged_by_the_next_poll_and_not_by_its_answer() {
    let mut rig = Rig::serving(|_| ()).await;
    let mut wire = rig.park(&format!("since={}", id(7, MODEL)), AGENT).await;
    assert_eq!(count(&rig), (1, 0, 0));
    tokio::time::advance(5 * SECOND).await;
    rig.publish(8, NEXT).await;
    next(&mut wire, false).await;
    assert_eq!((count(&rig), only(&rig).sent), ((0, 1, 0), Some(id(8, NEXT))));
    tokio::time::advance(3 * SECOND).await;
    assert_eq!((only(&rig).lagging, only(&rig).polls), (Some(3 * SECOND), 0));
    rig.publish(9, MODEL).await;
    assert_eq!(count(&rig), (0, 1, 0), "it held this, and was given another");
    assert_eq!(ask(&mut wire, &get(&format!("since={}&wait=0", id(9, MODEL)), AGENT)).await.status, 204);
    assert_eq!((count(&rig), only(&rig).lagging), ((1, 0, 0), None));
}

#[tokio::test(start_paused = true)]
async fn only_a_get_with_a_name_acknowledges() {
    let mut rig = Rig::serving(|_| ()).await;
    let since = format!("since={}&wait=0", id(7, MODEL));
    rig.poll(&since, "").await;
    rig.ask(&get(&since, AGENT).replacen("GET", "HEAD", 1)).await;
    rig.ask(&get(&since, AGENT).replacen("GET", "OPTIONS", 1)).await;
    assert_eq!(rig.poll(&format!("{since}&wait=0"), AGENT).await.0.status, 400);
    assert_eq!(rig.operation.totals(rig.operation.facts().state_id()).agents.is_converged(), None);
    rig.poll("", AGENT).await;
    rig.ask(&get(&since, AGENT).replacen("GET", "HEAD", 1)).await;
    assert_eq!((count(&rig), only(&rig).acknowledged), ((0, 1, 0), None), "given, and HEAD says nothing");
}

#[tokio::test(start_paused = true)]
async fn two_under_one_name_are_seen_and_one_that_left_is_not() {
    let mut rig = Rig::serving(|_| ()).await;
    let since = format!("since={}", id(7, MODEL));
    let first = rig.park(&since, AGENT).await;
    let second = rig.park(&since, AGENT).await;
    assert_eq!((rig.operation.totals(rig.operation.facts().state_id()).duplicates, only(&rig).polls), (1, 2));
    drop(first);
    rig.parked(1).await;
    assert_eq!((rig.operation.totals(rig.operation.facts().state_id()).duplicates, only(&rig).polls), (0, 1));
    drop(second);
    rig.parked(0).await;
    rig.is_empty();
}

#[tokio::test(start_paused = true)]
async fn an_agent_is_forgotten_some_seconds_after_its_connection() {
    let mut rig = Rig::serving(|_| ()).await;
    let since = format!("since={}", id(7, MODEL));
    let mut shared = rig.park(&since, AGENT).await;
    tokio::time::advance(30 * SECOND).await;
    next(&mut shared, false).await;
    assert_eq!(ask(&mut shared, &get(&format!("{since}&wait=0"), "Agent-Id: node-2\r\n")).await.status, 204);
    tokio::time::advance(60 * SECOND).await;
    assert_eq!(count(&rig), (2, 0, 0), "silent, but there");
    let third = rig.park(&since, "Agent-Id: node-3\r\n").await;
    drop(shared);
    tokio::time::sleep(9 * SECOND).await;
    assert_eq!(count(&rig), (3, 0, 0), "it may come back");
    rig.poll(&format!("{since}&wait=0"), "Agent-Id: node-2\r\n").await;
    tokio::time::sleep(SECOND).await;
    assert_eq!(count(&rig), (2, 0, 0), "node-2 has, node-1 has not");
    tokio::time::sleep(AGENT_SKEW).await;
    assert_eq!((count(&rig), only(&rig).key.name()), ((1, 0, 0), "node-3"));
    drop(third);
}

#[tokio::test(start_paused = true)]
async fn a_silent_agent_is_forgotten_after_twice_the_longest_wait() {
    let mut rig = Rig::serving(|config| config.wait.max = 20 * SECOND).await;
    let mut wire = rig.connect();
    ask(&mut wire, &get("", AGENT)).await;
    tokio::time::advance(39 * SECOND).await;
    assert_eq!(count(&rig), (0, 1, 0));
    tokio::time::advance(SECOND).await;
    assert_eq!(rig.operation.totals(rig.operation.facts().state_id()).agents.is_converged(), None);
}
