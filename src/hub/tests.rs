//! Waiters in paused time: no lost wake-up, nobody woken for nothing, every permit freed.

use std::collections::HashMap;
use std::time::Duration;

use prometheus::Registry;
use tokio::task::JoinSet;

use super::*;
use crate::model::{Content, Document, Epoch, Since};

mod parts;

fn hub(limit: usize) -> Hub {
    let registry = Registry::new();
    let limits = Limits { pointers: 64, selections: 100, history_entries: 32, history_bytes: None };
    Hub::new(limit, limits, Families::register(&registry).expect("new names").of("test"))
}

fn park(hub: &Hub) -> Result<Waiter, Full> {
    hub.park().map(|permit| hub.subscribe(None).expect("the whole is always there").park(permit))
}

/// Waits for a state that this wakes for; none: the operation has ended.
async fn changed(waiter: &mut Waiter, wakes: impl Fn(&StateId) -> bool) -> Option<Arc<Served>> {
    let effect = |id: Option<&StateId>| if id.is_some_and(&wakes) { Effect::Wakes } else { Effect::None };
    match waiter.changed(effect).await {
        News::State(served) => served,
        News::Ended => None,
    }
}

fn snapshot(version: u64, value: u64) -> Snapshot {
    let content = Content::Json(Document::from_json(value.to_string().as_bytes()).expect("a number is a document"));
    Snapshot::of(Epoch::of(&["test"]), version, &content)
}

fn publication(version: u64, value: u64) -> Publication {
    Publication { snapshot: snapshot(version, value), seen: Instant::now().into_std() }
}

fn differs(since: Since) -> impl Fn(&StateId) -> bool {
    move |id| !id.is_same_state(&since) && !id.is_before(&since)
}

#[tokio::test(start_paused = true)]
async fn a_waiter_is_released_by_a_change_and_not_by_a_version() {
    let hub = hub(10);
    hub.publish(&publication(1, 1));
    let mut waiter = park(&hub).expect("room");
    let since = Since::from(snapshot(1, 1).id);
    hub.bump_version(2);
    let result = tokio::time::timeout(Duration::from_secs(60), changed(&mut waiter, differs(since))).await;
    assert!(result.is_err(), "a version alone releases nobody");
    assert_eq!(hub.current().expect("a state").snapshot.id.version, 2);
    hub.publish(&publication(3, 2));
    changed(&mut waiter, differs(since)).await;
    assert_eq!(waiter.subscription().current().expect("a state").snapshot.id.version, 3);
    assert_eq!(hub.parked(), 1);
    drop(waiter.leave(Duration::ZERO));
    assert_eq!(hub.parked(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_comes_back_within_a_wait_releases_nobody_and_never_an_older_state() {
    let hub = hub(10);
    hub.publish(&publication(5, 1));
    let since = Since::from(snapshot(5, 1).id);
    let mut waiter = park(&hub).expect("room");
    hub.publish(&publication(6, 2));
    hub.publish(&publication(7, 1));
    assert!(tokio::time::timeout(Duration::from_secs(60), changed(&mut waiter, differs(since))).await.is_err());
    hub.publish(&publication(4, 3));
    assert!(tokio::time::timeout(Duration::from_secs(60), changed(&mut waiter, differs(since))).await.is_err());
    hub.publish(&publication(8, 4));
    changed(&mut waiter, differs(since)).await;
}

#[tokio::test(start_paused = true)]
async fn places_are_limited_and_given_back() {
    let hub = hub(2);
    let first = park(&hub).expect("room");
    let _second = park(&hub).expect("room");
    assert_eq!(park(&hub).expect_err("no third"), Full { limit: 2 });
    drop(first);
    let _third = park(&hub).expect("room again");
}

#[tokio::test(start_paused = true)]
async fn the_fan_out_is_measured_when_the_last_answer_is_written() {
    let hub = hub(10);
    hub.publish(&publication(1, 1));
    let since = Since::from(snapshot(1, 1).id);
    let (mut one, mut other) = (park(&hub).expect("room"), park(&hub).expect("room"));
    hub.publish(&publication(2, 2));
    changed(&mut one, differs(since)).await;
    changed(&mut other, differs(since)).await;
    let (one, other) = (one.leave(Duration::ZERO), other.leave(Duration::ZERO));
    drop(one);
    assert_eq!(hub.metrics().fan_out.get_sample_count(), 0, "one answer is still on its way");
    tokio::time::advance(Duration::from_secs(3)).await;
    drop(other);
    assert_eq!(hub.metrics().fan_out.get_sample_count(), 1);
    assert!((hub.metrics().fan_out.get_sample_sum() - 3.0).abs() < 1e-6);
    hub.publish(&publication(3, 3));
    assert_eq!(hub.metrics().fan_out.get_sample_count(), 1, "a change that releases nobody is not measured");
}

/// 10^5 random steps: clients park on what they last got and leave at random; the state changes
/// at random, also back and forth. After every quiet moment, whoever is parked holds the current
/// state, and nobody was given an older version after a newer one.
#[tokio::test(start_paused = true)]
async fn no_wake_up_is_lost_in_random_interleavings() {
    let mut rng = fastrand::Rng::with_seed(7);
    let hub = Arc::new(hub(usize::MAX));
    hub.publish(&publication(1, 1));
    let mut clients: JoinSet<()> = JoinSet::new();
    let mut handles = HashMap::new();
    let held = Arc::new(std::sync::Mutex::new(HashMap::<u64, Snapshot>::new()));
    let (mut version, mut newcomer) = (1, 0_u64);
    for step in 0..100_000 {
        match rng.u8(..10) {
            0..=4 => {
                newcomer += 1;
                let (name, hub, held) = (newcomer, Arc::clone(&hub), Arc::clone(&held));
                let handle = clients.spawn(async move {
                    let mut since = hub.current().expect("a state").snapshot.clone();
                    held.lock().expect("no panic").insert(name, since.clone());
                    loop {
                        let mut waiter = park(&hub).expect("no limit");
                        changed(&mut waiter, differs(since.id.into())).await;
                        let next = waiter.subscription().current().expect("a state").snapshot.clone();
                        assert!(next.id.version > since.id.version, "never backwards");
                        since = next;
                        held.lock().expect("no panic").insert(name, since.clone());
                        drop(waiter.leave(Duration::ZERO));
                    }
                });
                handles.insert(name, handle);
            }
            5..=7 => {
                version += 1;
                hub.publish(&publication(version, rng.u64(..3)));
            }
            8 if !handles.is_empty() => {
                let at = rng.usize(..handles.len());
                let name = *handles.keys().nth(at).expect("in range");
                handles.remove(&name).expect("known").abort();
                held.lock().expect("no panic").remove(&name);
            }
            _ => tokio::task::yield_now().await,
        }
        if step % 500 == 0 {
            quiet(&mut clients).await;
            held.lock().expect("no panic").retain(|name, _| handles.contains_key(name));
            let current = hub.current().expect("a state").snapshot.id;
            for (name, snapshot) in held.lock().expect("no panic").iter() {
                assert!(current.is_same_state(&snapshot.id.into()), "client {name} was left behind at step {step}");
            }
            assert_eq!(hub.parked(), handles.len(), "everyone who is here is parked");
            if handles.len() > 400 {
                clients.abort_all();
                handles.clear();
                held.lock().expect("no panic").clear();
            }
        }
    }
    clients.abort_all();
    quiet(&mut clients).await;
    assert_eq!(hub.parked(), 0);
    assert_eq!(hub.metrics().parked.get(), 0);
}

/// Lets every task run until none can: paused time moves only then. Panics of clients come to light.
async fn quiet(clients: &mut JoinSet<()>) {
    let _ = tokio::time::timeout(Duration::from_millis(1), std::future::pending::<()>()).await;
    while let Some(ended) = clients.try_join_next() {
        assert!(!ended.as_ref().is_err_and(tokio::task::JoinError::is_panic), "{ended:?}");
    }
}
