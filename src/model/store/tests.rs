//! The store against tables of cases, and against lists.

use proptest::prelude::*;

use super::*;
use crate::model::Document;

const INTERVAL: Duration = Duration::from_millis(100);

fn content(value: u8) -> Content {
    Content::Json(Document::from_json(value.to_string().as_bytes()).expect("a number is a document"))
}

fn epoch() -> Epoch {
    Epoch::of(&["test"])
}

#[expect(clippy::disallowed_methods, reason = "a starting point; no test waits for real time")]
fn start() -> Instant {
    Instant::now()
}

/// Offers a version and a value from a stream, `at` milliseconds after the start.
#[track_caller]
fn offer(store: &mut Store, t0: Instant, at: u64, version: u64, value: u8, expected: &Offer) {
    let seen = t0 + Duration::from_millis(at);
    assert_eq!(
        store.offer(epoch(), version, &content(value), SourceRevisions::NONE, Provenance::Stream, seen),
        *expected
    );
}

const CHANGED: Offer = Offer::Changed { restored: false };

#[test]
fn the_first_change_is_due_at_once_and_later_ones_after_the_interval() {
    let t0 = start();
    let mut store = Store::new(Rules::every(INTERVAL));
    assert_eq!(store.due(t0), None);
    offer(&mut store, t0, 0, 1, 1, &CHANGED);
    assert_eq!(store.due(t0), Some(t0));
    let first = store.publish(t0).expect("due");
    assert_eq!((first.snapshot.id.version, first.seen), (1, t0));
    offer(&mut store, t0, 10, 2, 2, &CHANGED);
    offer(&mut store, t0, 20, 3, 3, &CHANGED);
    assert_eq!(store.due(t0), Some(t0 + INTERVAL));
    assert_eq!(store.waiting().expect("one").id.version, 3);
    let second = store.publish(t0 + INTERVAL).expect("due");
    assert_eq!(second.snapshot.id.version, 3, "the newest");
    assert_eq!(second.seen, t0 + Duration::from_millis(10), "counted from the first change");
    assert_eq!(store.due(t0 + INTERVAL), None);
    assert!(store.publish(t0 + INTERVAL).is_none());
}

#[test]
fn a_change_rolled_back_releases_nobody_and_moves_the_version() {
    let t0 = start();
    let mut store = Store::new(Rules::every(INTERVAL));
    offer(&mut store, t0, 0, 1, 1, &CHANGED);
    store.publish(t0).expect("due");
    offer(&mut store, t0, 1, 2, 2, &CHANGED);
    offer(&mut store, t0, 2, 3, 1, &Offer::VersionOnly);
    assert_eq!(store.due(t0), None);
    assert_eq!(store.published().expect("published").id.version, 3);
}

#[test]
fn a_write_without_a_change_moves_the_version_only() {
    let t0 = start();
    let mut store = Store::new(Rules::every(INTERVAL));
    offer(&mut store, t0, 0, 1, 1, &CHANGED);
    offer(&mut store, t0, 0, 2, 1, &Offer::Same);
    let body = store.publish(t0).expect("due").snapshot;
    assert_eq!(body.id.version, 2, "the newest version of what waited");
    offer(&mut store, t0, 1, 2, 1, &Offer::Same);
    offer(&mut store, t0, 1, 5, 1, &Offer::VersionOnly);
    let moved = store.published().expect("published");
    assert_eq!(moved.id.version, 5);
    assert!(std::ptr::eq(moved.body(), body.body()), "the bytes are shared");
}

#[test]
fn a_lower_version_is_believed_only_from_a_read() {
    let t0 = start();
    let mut store = Store::new(Rules::every(INTERVAL));
    offer(&mut store, t0, 0, 9, 1, &CHANGED);
    store.publish(t0).expect("due");
    offer(&mut store, t0, 1, 8, 2, &Offer::Older);
    assert_eq!(
        store.offer(epoch(), 8, &content(2), SourceRevisions::NONE, Provenance::Read, t0),
        Offer::Changed { restored: true }
    );
    assert_eq!(
        store.offer(Epoch::of(&["other"]), 1, &content(3), SourceRevisions::NONE, Provenance::Stream, t0),
        CHANGED,
        "a new history"
    );
}

/// The rules with a pause or a guard.
fn rules(paused: bool, guard: Option<u8>) -> Rules {
    Rules { min_interval: INTERVAL, paused, guard }
}

/// An object with a member for each bit.
fn members(bits: u8) -> Content {
    let members = (0..8).filter(|bit| bits & (1 << bit) != 0).map(|bit| format!("\"k{bit}\":0"));
    let text = format!("{{{}}}", members.collect::<Vec<_>>().join(","));
    Content::Json(Document::from_json(text.as_bytes()).expect("an object is a document"))
}

/// Offers these members from a stream, at the next version.
#[track_caller]
fn offer_members(store: &mut Store, at: Instant, version: u64, bits: u8) -> Offer {
    store.offer(epoch(), version, &members(bits), SourceRevisions::NONE, Provenance::Stream, at)
}

fn confirmation(bits: u8) -> Option<RemovalApproval> {
    RemovalApproval::parse(&members(bits).digest().to_string())
}

#[test]
fn while_paused_the_newest_is_remembered_and_due_at_once_afterwards() {
    let t0 = start();
    let mut store = Store::new(rules(true, None));
    offer(&mut store, t0, 0, 1, 1, &CHANGED);
    assert_eq!((store.due(t0), store.waiting().is_none()), (None, true), "also the first");
    assert!(store.publish(t0).is_none(), "nor by anyone who is in a hurry");
    offer(&mut store, t0, 10, 2, 2, &CHANGED);
    assert_eq!(store.suppressed().expect("one").id.version, 2);
    let resumed = t0 + 100 * INTERVAL;
    store.set_rules(rules(false, None), resumed);
    assert_eq!((store.due(resumed), store.suppressed().is_none()), (Some(resumed), true));
    let publication = store.publish(resumed).expect("due");
    assert_eq!((publication.snapshot.id.version, publication.seen), (2, resumed), "the pause was wanted");
    store.set_rules(rules(true, None), resumed);
    offer(&mut store, t0, 10_010, 3, 3, &CHANGED);
    offer(&mut store, t0, 10_020, 4, 2, &Offer::VersionOnly);
    assert_eq!(store.published().expect("published").id.version, 4, "versions go on");
    assert!(store.suppressed().is_none(), "what was rolled back is forgotten");
    offer(&mut store, t0, 10_030, 5, 2, &Offer::VersionOnly);
    assert_eq!(store.published().expect("published").id.version, 5);
}

#[test]
fn what_removes_too_much_is_held_until_it_is_confirmed() {
    let t0 = start();
    let mut store = Store::new(rules(false, Some(50)));
    assert_eq!(offer_members(&mut store, t0, 1, 0b1111), CHANGED);
    store.publish(t0).expect("the first state removes nothing");
    assert_eq!(offer_members(&mut store, t0, 2, 0b0001), CHANGED);
    let held = store.blocked_change().expect("held");
    assert!((held.removed_percent - 75.0).abs() < f64::EPSILON && held.limit_percent == 50, "{held:?}");
    assert_eq!(store.due(t0), None);
    assert!(store.publish(t0).is_none(), "nor by anyone who is in a hurry");
    assert_eq!(offer_members(&mut store, t0, 3, 0b0001), Offer::Same);
    assert_eq!(store.blocked_change().expect("held").id.version, 3, "the newest version of what is held");
    store.confirm(confirmation(0b0011), t0);
    assert!(store.blocked_change().is_some(), "another state is confirmed");
    let confirmed = t0 + 50 * INTERVAL;
    store.confirm(confirmation(0b0001), confirmed);
    assert_eq!((store.blocked_change(), store.due(confirmed)), (None, Some(t0 + INTERVAL)));
    let publication = store.publish(confirmed).expect("due");
    assert_eq!((publication.snapshot.id.version, publication.seen), (3, confirmed), "the hold was wanted");
    // A confirmation is for once.
    assert_eq!(offer_members(&mut store, confirmed, 4, 0b1111), CHANGED);
    store.publish(confirmed).expect("it grows");
    assert_eq!(offer_members(&mut store, confirmed, 5, 0b0001), CHANGED);
    assert!(store.blocked_change().is_some());
}

#[test]
fn what_is_held_gives_way_to_what_passes() {
    let t0 = start();
    let mut store = Store::new(rules(false, Some(50)));
    offer_members(&mut store, t0, 1, 0b1111);
    store.publish(t0).expect("due");
    for (version, bits, held) in [(2, 0b0001, true), (3, 0b0011, false), (4, 0b0000, true), (5, 0b1111, false)] {
        let later = t0 + INTERVAL;
        offer_members(&mut store, later, version, bits);
        assert_eq!(store.blocked_change().is_some(), held, "{bits:b}");
        assert_eq!(store.suppressed().is_some(), held, "{bits:b}");
    }
    assert_eq!((store.due(t0), store.published().expect("published").id.version), (None, 5));
}

#[test]
fn a_guard_that_changes_counts_for_what_waits() {
    let t0 = start();
    let mut store = Store::new(rules(false, None));
    offer_members(&mut store, t0, 1, 0b1111);
    store.publish(t0).expect("due");
    offer_members(&mut store, t0, 2, 0b0001);
    for (guard, held) in [(Some(50), true), (Some(75), false), (Some(0), true), (None, false), (Some(74), true)] {
        store.set_rules(rules(false, guard), t0);
        assert_eq!(store.blocked_change().is_some(), held, "{guard:?}");
    }
    store.set_rules(rules(true, Some(74)), t0);
    assert!(store.blocked_change().is_some(), "also while paused");
    store.set_rules(rules(true, None), t0);
    assert!(store.blocked_change().is_none() && store.suppressed().is_some());
}

#[test]
fn a_restarted_process_compares_with_what_it_serves() {
    let t0 = start();
    let kept = Snapshot::of(epoch(), 1, &members(0b1111));
    let mut store = Store::restored(rules(false, Some(50)), kept);
    offer_members(&mut store, t0, 2, 0b0001);
    assert!(store.blocked_change().is_some());
    // Another history of the same operation is no excuse.
    store.offer(Epoch::of(&["other"]), 1, &members(0b0001), SourceRevisions::NONE, Provenance::Stream, t0);
    assert!(store.blocked_change().is_some());
}

/// What may happen to a store.
#[derive(Debug, Clone)]
enum Event {
    Offer(u8),
    Pause(bool),
    Guard(Option<u8>),
    Confirm(Option<u8>),
    Wait(u64),
}

fn any_event() -> impl Strategy<Value = Event> {
    let bits = || prop::sample::select(vec![0b0000_0001_u8, 0b0000_1111, 0b1111_0000, 0b1111_1111, 0b0011_1100]);
    let guard = prop::option::of(prop::sample::select(vec![0_u8, 25, 50, 75, 100]));
    prop_oneof![
        5 => bits().prop_map(Event::Offer),
        1 => any::<bool>().prop_map(Event::Pause),
        1 => guard.prop_map(Event::Guard),
        1 => prop::option::of(bits()).prop_map(Event::Confirm),
        3 => (0_u64..150).prop_map(Event::Wait),
    ]
}

/// Whether going from one to the other removes more than the limit.
fn removes_too_much(from: u8, to: u8, limit: u8) -> bool {
    (from & !to).count_ones() * 100 > from.count_ones() * u32::from(limit)
}

proptest! {
    /// Against the obvious reference: a list of what was offered. Published states are a
    /// subsequence of it with no two equal in a row, at most one an interval, ending on the newest.
    #[test]
    fn published_is_a_thinned_out_subsequence(steps in prop::collection::vec((0_u64..60, 0_u8..4), 1..80)) {
        let t0 = start();
        let mut store = Store::new(Rules::every(INTERVAL));
        let (mut now, mut offered, mut published) = (t0, Vec::new(), Vec::<(Instant, u64, String)>::new());
        for (version, (pause, value)) in (1..).zip(steps) {
            let until = now + Duration::from_millis(pause);
            if let Some(due) = store.due(now).filter(|due| *due <= until) {
                let at = due.max(now);
                let snapshot = store.publish(at).expect("due").snapshot;
                published.push((at, snapshot.id.version, snapshot.id.digest.to_string()));
            }
            now = until;
            store.offer(epoch(), version, &content(value), SourceRevisions::NONE, Provenance::Stream, now);
            offered.push((version, content(value).digest().to_string()));
        }
        if let Some(due) = store.due(now) {
            let snapshot = store.publish(due.max(now)).expect("due").snapshot;
            published.push((due.max(now), snapshot.id.version, snapshot.id.digest.to_string()));
        }
        let last = offered.last().expect("at least one");
        let held = store.published().expect("published").id;
        prop_assert_eq!((held.version, held.digest.to_string()), last.clone());
        for pair in published.windows(2) {
            prop_assert!(pair[1].0 >= pair[0].0 + INTERVAL, "at most one an interval");
            prop_assert!(pair[1].1 > pair[0].1, "ascending");
            prop_assert!(pair[1].2 != pair[0].2, "no release without a change");
        }
        for (_, version, digest) in published {
            prop_assert!(offered.contains(&(version, digest)), "nothing is invented");
        }
    }

    /// Against the obvious reference: the list of what was offered, of which the last one is
    /// published as soon as the rules of the moment let it.
    #[test]
    fn suppressed_is_what_the_current_rules_suppress(events in prop::collection::vec(any_event(), 1..60)) {
        let t0 = start();
        let mut store = Store::new(rules(false, None));
        let (mut now, mut paused, mut guard, mut confirmed) = (t0, false, None, None);
        let (mut offered, mut published) = (Vec::<u8>::new(), Vec::<(Instant, u8)>::new());
        for event in events {
            match event {
                Event::Offer(bits) => {
                    offered.push(bits);
                    offer_members(&mut store, now, offered.len() as u64, bits);
                }
                Event::Pause(on) => {
                    paused = on;
                    store.set_rules(rules(paused, guard), now);
                }
                Event::Guard(limit) => {
                    guard = limit;
                    store.set_rules(rules(paused, guard), now);
                }
                Event::Confirm(bits) => {
                    confirmed = bits;
                    store.confirm(bits.and_then(confirmation), now);
                }
                Event::Wait(millis) => now += Duration::from_millis(millis),
            }
            let last = published.last().copied();
            let newest = offered.last().copied().filter(|newest| last.is_none_or(|(_, bits)| bits != *newest));
            let held = newest.filter(|newest| {
                let limit = guard.zip(last);
                limit.is_some_and(|(limit, (_, from))| removes_too_much(from, *newest, limit)) && confirmed != Some(*newest)
            });
            let free = newest.filter(|_| !paused && held.is_none());
            let digest = |bits: Option<u8>| bits.map(|bits| members(bits).digest());
            prop_assert_eq!(store.blocked_change().map(|held| held.id.digest), digest(held));
            prop_assert_eq!(store.waiting().map(|next| next.id.digest), digest(free));
            prop_assert_eq!(store.suppressed().map(|next| next.id.digest), digest(newest.filter(|_| free.is_none())));
            let due = free.map(|_| last.map_or(now, |(at, _)| at + INTERVAL));
            prop_assert_eq!(store.due(now), due);
            if due.is_some_and(|due| due <= now) {
                let publication = store.publish(now).expect("due");
                let bits = newest.expect("it is free");
                prop_assert_eq!(publication.snapshot.id, Snapshot::of(epoch(), offered.len() as u64, &members(bits)).id);
                prop_assert!(publication.seen <= now);
                published.push((now, bits));
                confirmed = confirmed.filter(|confirmed| *confirmed != bits);
            } else if due.is_none() {
                prop_assert!(store.publish(now).is_none());
            }
        }
    }
}

#[test]
fn revisions_are_those_of_what_is_published_or_confirmed() {
    let t0 = start();
    let revisions = |revision| SourceRevisions::of([crate::model::SourceRevision { uid: "u", revision }.hash()]);
    let mut store = Store::new(Rules::every(INTERVAL));
    let offer = |store: &mut Store, version: u64, value, provenance| {
        store.offer(epoch(), version, &content(value), revisions(version), provenance, t0)
    };
    offer(&mut store, 1, 1, Provenance::Read);
    assert_eq!(store.revisions(), None, "not before it is published");
    offer(&mut store, 2, 1, Provenance::Stream);
    store.publish(t0).expect("due");
    assert_eq!(store.revisions(), Some(revisions(2)), "the newest of what waited");
    assert_eq!(offer(&mut store, 3, 1, Provenance::Stream), Offer::VersionOnly);
    assert_eq!(store.revisions(), Some(revisions(3)), "nobody is released");
    assert_eq!(offer(&mut store, 2, 2, Provenance::Stream), Offer::Older);
    offer(&mut store, 4, 2, Provenance::Stream);
    assert_eq!(store.revisions(), Some(revisions(3)), "what waits is not published");
    offer(&mut store, 5, 1, Provenance::Stream);
    assert_eq!(store.revisions(), Some(revisions(5)), "rolled back");
}
