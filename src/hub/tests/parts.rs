//! Selections: each change releases those whose part of the model changed and nobody else, and what
//! each then has is that part, whichever way it gets there.

use futures::FutureExt as _;
use proptest::prelude::*;

use super::*;
use crate::describe::Coding;
use crate::model::Selection;
use crate::model::tests::{Json, any_pointers, any_step, document};

fn select(pointers: &[String]) -> Selection {
    Selection::parse(pointers, 64).expect("a selection")
}

fn publication_of(version: u64, json: &Json) -> Publication {
    let snapshot = Snapshot::of(Epoch::of(&["test"]), version, &Content::Json(json.document()));
    Publication { snapshot, seen: Instant::now().into_std() }
}

fn text(served: &Served) -> String {
    String::from_utf8(served.snapshot.body().identity.to_vec()).expect("JSON is UTF-8")
}

/// What a client has that had `base` and got this patch.
fn patched(base: &Json, patch: &[u8]) -> serde_json::Value {
    let mut document = serde_json::from_str(&base.to_string()).expect("JSON");
    let patch: json_patch::Patch = serde_json::from_slice(patch).expect("a JSON Patch");
    json_patch::patch(&mut document, &patch).expect("it applies");
    document
}

async fn released_are_those_whose_part_changed(old: Json, new: Json, sets: Vec<Vec<String>>) {
    let hub = hub(usize::MAX);
    hub.publish(&publication_of(1, &old));
    let mut clients = Vec::new();
    for pointers in &sets {
        let subscription = hub.subscribe(Some(&select(pointers))).expect("room");
        let (waiter, since) =
            (subscription.park(hub.park().expect("room")), subscription.current().expect("a state").snapshot.id);
        clients.push((pointers, subscription, waiter, since));
    }
    let distinct: std::collections::BTreeSet<_> =
        sets.iter().map(|set| select(set)).filter(|selection| !selection.is_whole()).collect();
    assert_eq!(hub.metrics().selections.get(), i64::try_from(distinct.len()).expect("a few"));
    hub.publish(&publication_of(2, &new));
    for (pointers, subscription, mut waiter, since) in clients {
        let (before, after) = (old.pruned(pointers), new.pruned(pointers));
        let expected = Snapshot::of(Epoch::of(&["test"]), 2, &Content::Json(after.document())).id;
        let current = subscription.current().expect("a state");
        assert_eq!((current.snapshot.id, text(&current)), (expected, after.to_string()), "{pointers:?}");
        let released = changed(&mut waiter, differs(since.into())).now_or_never().flatten();
        assert_eq!(released.is_some(), before != after, "{pointers:?}: {before} to {after}");
        let Some(served) = released else { continue };
        assert_eq!(served.snapshot.id, expected);
        if let Some(patch) = delta(&subscription, &served, since.into()).await {
            let after: serde_json::Value = serde_json::from_str(&after.to_string()).expect("JSON");
            assert_eq!(patched(&before, &patch), after, "{pointers:?}");
        }
    }
    assert_eq!((hub.metrics().selections.get(), hub.parked()), (0, 0), "nothing stays behind");
}

proptest! {
    #[test]
    fn a_change_releases_exactly_those_whose_part_changed(
        (old, new) in any_step(),
        sets in prop::collection::vec(any_pointers(), 1..12),
    ) {
        prop_assume!(old != new);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        runtime.block_on(released_are_those_whose_part_changed(old, new, sets));
    }
}

fn json(text: &str) -> Publication {
    let snapshot = Snapshot::of(Epoch::of(&["test"]), 0, &Content::Json(document(text)));
    Publication { snapshot, seen: Instant::now().into_std() }
}

#[tokio::test(start_paused = true)]
async fn a_view_lives_as_long_as_its_last_subscription_and_is_counted_once() {
    let hub = hub(10);
    hub.publish(&json(r#"{"a":1}"#));
    let selection = select(&["/a".to_owned()]);
    let (one, other) = (hub.subscribe(Some(&selection)).expect("room"), hub.subscribe(Some(&selection)).expect("room"));
    assert_eq!((one == other, hub.metrics().selections.get()), (true, 1));
    let [first, second] = [&one, &other].map(|subscription| subscription.current().expect("a state"));
    assert!(Arc::ptr_eq(&first, &second), "what is made once is shared");
    drop(one);
    assert_eq!(hub.metrics().selections.get(), 1);
    drop(other);
    assert_eq!(hub.metrics().selections.get(), 0);
    let whole = hub.subscribe(Some(&select(&[String::new()]))).expect("the whole");
    assert!(whole.selection().is_none() && hub.metrics().selections.get() == 0, "the whole is no selection");
}

/// A part is made for whoever looks at it first; what nobody looks at keeps the whole in memory until it is made.
#[tokio::test(start_paused = true)]
async fn a_part_is_made_by_who_looks_first_or_in_the_end() {
    let hub = hub(10);
    drop(hub.publish(&json(r#"{"a":1,"b":1}"#)));
    let [looks, sleeps] =
        ["/a", "/b"].map(|pointer| hub.subscribe(Some(&select(&[pointer.to_owned()]))).expect("room"));
    let before = looks.current().expect("a state");
    let unmade = hub.publish(&json(r#"{"a":2,"b":2}"#));
    assert!(before.superseded_at.get().is_some(), "also of a part that nobody has looked at yet");
    let whole = hub.current().expect("a state");
    let keep = || Arc::strong_count(&whole) - 2;
    assert_eq!(keep(), 2, "both parts");
    assert_eq!((text(&looks.current().expect("a state")), keep()), (r#"{"a":2}"#.to_owned(), 1));
    unmade.make().await;
    assert_eq!((text(&sleeps.current().expect("a state")), keep()), (r#"{"b":2}"#.to_owned(), 0));
}

/// A change that touches many views is one change: it is measured once, by the last answer.
#[tokio::test(start_paused = true)]
async fn the_fan_out_of_a_change_is_that_of_all_views() {
    let hub = hub(10);
    hub.publish(&json(r#"{"a":1,"b":1,"c":1}"#));
    let mut waiters = Vec::new();
    for pointer in ["/a", "/b", "/c"] {
        let subscription = hub.subscribe(Some(&select(&[pointer.to_owned()]))).expect("room");
        waiters.push((subscription.park(hub.park().expect("room")), subscription));
    }
    hub.publish(&json(r#"{"a":2,"b":2,"c":1}"#));
    let [a, b, c] = <[_; 3]>::try_from(waiters).expect("three").map(|(waiter, _)| waiter);
    drop(a.leave(Duration::ZERO));
    assert_eq!(hub.metrics().fan_out.get_sample_count(), 0, "one answer is still on its way");
    tokio::time::advance(Duration::from_secs(2)).await;
    drop(b.leave(Duration::ZERO));
    assert_eq!((hub.metrics().fan_out.get_sample_count(), hub.metrics().selections_changed.get()), (1, 2));
    assert!((hub.metrics().fan_out.get_sample_sum() - 2.0).abs() < 1e-6);
    drop(c.leave(Duration::ZERO));
    assert_eq!(hub.metrics().fan_out.get_sample_count(), 1, "its part has not changed");
}

/// The patch that a client is given that has `base`; none: it is given the state.
async fn delta(subscription: &Subscription, served: &Served, base: Since) -> Option<bytes::Bytes> {
    let wanted = Wanted { coding: Coding::Identity, base: Some(base) };
    let payload = subscription.payload(served, wanted).await;
    subscription.count(served, &payload);
    payload.is_delta().then_some(payload.bytes)
}

/// What is kept of the past is bounded, and an answer from it is made once.
#[tokio::test(start_paused = true)]
async fn a_delta_is_made_once_and_misses_leave_nothing() {
    let hub = hub(10);
    let long = "x".repeat(200);
    let states = [1, 2].map(|at| json(&format!(r#"{{"at":{at},"long":"{long}"}}"#)));
    for state in &states {
        hub.publish(state);
    }
    let subscription = hub.subscribe(None).expect("the whole");
    let served = subscription.current().expect("a state");
    let patch = |base: &Publication| {
        let (subscription, served, base) =
            (Arc::clone(&subscription), Arc::clone(&served), Since::from(base.snapshot.id));
        async move { delta(&subscription, &served, base).await }
    };
    let (one, other) = tokio::join!(patch(&states[0]), patch(&states[0]));
    let (one, other) = (one.expect("a patch"), other.expect("a patch"));
    assert!(std::ptr::eq(&raw const one[0], &raw const other[0]), "the same bytes");
    for unknown in 10..20 {
        assert_eq!(patch(&json(&format!(r#"{{"at":{unknown}}}"#))).await, None);
    }
    assert_eq!((hub.metrics().history_hits.get(), hub.metrics().history_misses.get()), (2, 10));
}
