//! Clients that may be ahead of this replica: what is waited for, what is read, and what is answered.

use std::sync::Arc;
use std::time::Duration;

use tidewait::model::{Epoch, Provenance, Snapshot, SourceRevisions, StateId};
use tidewait::sources::reads::Reader;
use tidewait::sources::{Draft, Report, Unusable, UnusableKind};
use tokio::time::Instant;

use super::{MODEL, Rig, Wire, content, get, id, next};

const SECOND: Duration = Duration::from_secs(1);
const WATCH: Duration = Duration::from_millis(250);
/// The clock of tokio ticks in milliseconds.
const TICK: Duration = Duration::from_millis(2);

/// A rig that serves [`MODEL`] at version 7, and whose source can be read.
async fn readable() -> (Rig, Reader) {
    let rig = Rig::serving(|config| config.min_interval = 10 * SECOND).await;
    let reader = rig.operation.reads.reader();
    (rig, reader)
}

/// Sends a poll and leaves it there.
async fn poll(rig: &mut Rig, query: &str) -> Wire {
    let mut wire = rig.connect();
    wire.send(get(query, "").as_bytes());
    wire.flushed().await;
    wire
}

/// The read shows this.
async fn shows(rig: &Rig, version: u64, json: &str) {
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
}

fn foreign() -> StateId {
    Snapshot::of(Epoch::of(&["another"]), 3, &content(MODEL)).id
}

#[track_caller]
fn took(started: Instant, expected: Duration) {
    let took = started.elapsed();
    assert!((expected..expected + TICK).contains(&took), "{took:?}, not {expected:?}");
}

/// Its replica was at version 9 when it was given this state, and may have had another one at 8 before: with 7 for
/// an id it could be given that one elsewhere.
#[tokio::test(start_paused = true)]
async fn who_has_the_state_at_a_newer_version_keeps_that_version() {
    let (mut rig, _reader) = readable().await;
    let held = id(9, MODEL);
    let tag = format!("\"{}.{}\"", held.epoch, held.digest);
    for (fields, status) in [(String::new(), 204), (format!("If-None-Match: {tag}\r\n"), 304)] {
        let mut wire = rig.connect();
        wire.send(get(&format!("since={held}&wait=1"), &fields).as_bytes());
        let answer = next(&mut wire, false).await;
        assert_eq!((answer.status, answer.field("state-id")), (status, &*held.to_string()));
        assert!(answer.field("link").contains(&held.to_string()), "{answer:?}");
    }
}

/// A lie, or a store restored from a backup: what the read shows is answered.
#[tokio::test(start_paused = true)]
async fn a_read_is_the_truth_whatever_the_client_claims_and_wakes_nobody_for_a_lie() {
    let (mut rig, mut reader) = readable().await;
    let mut parked = poll(&mut rig, &format!("since={}&wait=50", id(7, MODEL))).await;
    rig.parked(1).await;
    for since in [id(u64::MAX, "0"), foreign()] {
        let started = Instant::now();
        let mut wire = poll(&mut rig, &format!("since={since}&wait=30")).await;
        reader.requested().await;
        took(started, WATCH);
        let number = reader.begin();
        shows(&rig, 7, MODEL).await;
        rig.reports(Report::ReadCompleted(number)).await;
        let answer = next(&mut wire, false).await;
        assert_eq!((answer.status, answer.field("state-id")), (200, &*id(7, MODEL).to_string()));
        took(started, WATCH);
    }
    assert_eq!((rig.operation.hub.parked(), rig.operation.hub.metrics().changed.get()), (1, 0));
    // Restored: those who hold the newer state are answered when their wait ends, and then ask.
    let mut wire = poll(&mut rig, &format!("since={}", id(9, "0"))).await;
    reader.requested().await;
    let number = reader.begin();
    shows(&rig, 5, "5").await;
    rig.reports(Report::ReadCompleted(number)).await;
    assert_eq!(next(&mut wire, false).await.body, b"5");
    assert_eq!(next(&mut parked, false).await.status, 503, "the end of its wait");
}

/// What is read is not kept back for the pace of publications.
#[tokio::test(start_paused = true)]
async fn what_a_read_shows_is_published_before_those_who_asked_go_on() {
    let (mut rig, mut reader) = readable().await;
    let started = Instant::now();
    let mut wires = Vec::new();
    for _ in 0..100 {
        wires.push(poll(&mut rig, &format!("since={}&wait=2", id(9, "9"))).await);
    }
    reader.requested().await;
    let number = reader.begin();
    assert!(!reader.is_requested(), "one read for all");
    shows(&rig, 9, "9").await;
    rig.reports(Report::ReadCompleted(number)).await;
    rig.parked(100).await;
    took(started, WATCH);
    for wire in &mut wires {
        assert_eq!(next(wire, false).await.status, 204, "it is the state that they hold");
    }
}

/// The read that it asked for failed, or decided nothing: the one after it answers, under the pace of publications.
#[tokio::test(start_paused = true)]
async fn what_a_later_read_shows_is_published_before_those_who_asked_for_an_earlier_one_go_on() {
    for (version, json, answered) in [(9, "9", 204), (8, "8", 200)] {
        let (mut rig, mut reader) = readable().await;
        let mut wire = poll(&mut rig, &format!("since={}&wait=2", id(9, "9"))).await;
        reader.requested().await;
        let _failed = reader.begin();
        shows(&rig, version, json).await;
        rig.reports(Report::ReadCompleted(reader.begin())).await;
        let answer = next(&mut wire, false).await;
        assert_eq!((answer.status, answer.field("state-id")), (answered, &*id(version, json).to_string()));
    }
}

/// A read that began for another reason is completed while the watch is still waited for.
#[tokio::test(start_paused = true)]
async fn what_a_read_showed_before_it_was_asked_for_is_published_too() {
    let (mut rig, reader) = readable().await;
    let started = Instant::now();
    let mut wire = poll(&mut rig, &format!("since={}&wait=2", id(9, "9"))).await;
    // The clock moves on once the request waits.
    tokio::time::sleep(WATCH / 2).await;
    shows(&rig, 8, "8").await;
    rig.reports(Report::ReadCompleted(reader.begin())).await;
    let answer = next(&mut wire, false).await;
    assert_eq!((answer.status, answer.field("state-id")), (200, &*id(8, "8").to_string()));
    took(started, WATCH);
    assert!(!reader.is_requested(), "that read is enough");
}

/// What waits may also be rolled back, which publishes nothing.
#[tokio::test(start_paused = true)]
async fn who_waits_for_what_a_read_showed_goes_on_where_that_is_taken_back() {
    let (mut rig, mut reader) = readable().await;
    rig.says(8, "8").await;
    let started = Instant::now();
    let mut wire = poll(&mut rig, &format!("since={}&wait=2", id(9, "9"))).await;
    reader.requested().await;
    shows(&rig, 10, MODEL).await;
    rig.reports(Report::ReadCompleted(reader.begin())).await;
    let answer = next(&mut wire, false).await;
    assert_eq!((answer.status, answer.field("state-id")), (200, &*id(10, MODEL).to_string()));
    took(started, WATCH);
}

#[tokio::test(start_paused = true)]
async fn the_watch_is_waited_for_first() {
    let (mut rig, reader) = readable().await;
    let started = Instant::now();
    let mut wire = poll(&mut rig, &format!("since={}&wait=0", id(9, "9"))).await;
    tokio::time::advance(WATCH / 2).await;
    // It would wait for its turn for 10 s.
    rig.says(9, "9").await;
    assert_eq!(next(&mut wire, false).await.status, 204);
    took(started, WATCH / 2);
    assert!(!reader.is_requested());
}

#[tokio::test(start_paused = true)]
async fn without_an_answer_it_is_503_after_three_seconds_however_short_the_wait() {
    let (mut rig, mut reader) = readable().await;
    for (query, began_before) in [("wait=0", false), ("wait=1", true), ("wait=50", false)] {
        // One that began before does not count.
        let early = began_before.then(|| reader.begin());
        let started = Instant::now();
        let mut wire = poll(&mut rig, &format!("since={}&{query}", id(9, "9"))).await;
        reader.requested().await;
        if let Some(early) = early {
            shows(&rig, 7, MODEL).await;
            rig.reports(Report::ReadCompleted(early)).await;
        }
        let answer = next(&mut wire, false).await;
        assert_eq!(answer.status, 503, "{query}");
        assert!(!answer.field("retry-after").is_empty());
        took(started, 3 * SECOND);
        let _ = reader.begin();
    }
}

#[tokio::test(start_paused = true)]
async fn a_read_that_finds_nothing_to_serve_confirms_nothing() {
    let (mut rig, mut reader) = readable().await;
    let mut wire = poll(&mut rig, &format!("since={}", id(9, "9"))).await;
    reader.requested().await;
    let number = reader.begin();
    let gone = Unusable { kind: UnusableKind::Missing, detail: "gone".to_owned() };
    rig.reports(Report::Unusable(gone)).await;
    rig.reports(Report::ReadCompleted(number)).await;
    assert_eq!(next(&mut wire, false).await.status, 503);
    // Whoever is not ahead is served the last good state all the same.
    assert_eq!(rig.poll(&format!("since={}", id(6, "6")), "").await.0.status, 200);
}

#[tokio::test(start_paused = true)]
async fn who_cannot_be_ahead_costs_no_read_and_no_time() {
    let (mut rig, reader) = readable().await;
    let etag = id(9, "9");
    for (since, status) in [
        (id(7, MODEL).to_string(), 204),
        (id(u64::MAX, MODEL).to_string(), 204),
        (id(6, "6").to_string(), 200),
        (format!("{}.{}", etag.epoch, etag.digest), 200),
    ] {
        let (answer, held) = rig.poll(&format!("since={since}&wait=0"), "").await;
        assert_eq!((answer.status, held), (status, Duration::ZERO), "{since}");
    }
    let _parked = poll(&mut rig, &format!("since={}", id(u64::MAX, MODEL))).await;
    rig.parked(1).await;
    // An epoch that this replica has seen end.
    let anew = Draft {
        epoch: Epoch::of(&["anew"]),
        version: 1,
        content: content("1"),
        provenance: Provenance::Stream,
        revisions: SourceRevisions::NONE,
        source_objects: Arc::default(),
        seen: Instant::now(),
    };
    rig.reports(Report::Holds(anew)).await;
    rig.operation.hub.wait_for(|current| current.epoch == Epoch::of(&["anew"])).await;
    let (answer, held) = rig.poll(&format!("since={}", id(9, "9")), "").await;
    assert_eq!((answer.status, held, &*answer.body), (200, Duration::ZERO, b"1".as_slice()));
    assert!(!reader.is_requested());
}

/// A file: it holds what it says, and cannot be asked more often.
#[tokio::test(start_paused = true)]
async fn a_source_without_reads_is_believed_while_it_is_live() {
    let mut rig = Rig::serving(|_| ()).await;
    for (lost, ahead, other) in [(false, 200, 200), (true, 503, 200)] {
        if lost {
            rig.reports(Report::Lost { reason: "a test".to_owned() }).await;
            while rig.operation.freshness.is_live() {
                tokio::task::yield_now().await;
            }
        }
        for (since, status) in [(id(9, "9"), ahead), (foreign(), other)] {
            let (answer, held) = rig.poll(&format!("since={since}"), "").await;
            assert_eq!((answer.status, held), (status, Duration::ZERO), "{since} {lost}");
        }
    }
}

/// A write that changes no content releases nobody, and yet it is known that it is held.
#[tokio::test(start_paused = true)]
async fn inputs_follow_what_is_published_or_confirmed() {
    let rig = Rig::empty(|_| ());
    let confirmed_by = |rig: &Rig| rig.operation.facts().published.as_ref().and_then(|published| published.revisions);
    assert_eq!(confirmed_by(&rig), None);
    for revision in 1..4 {
        let revisions = SourceRevisions::of([tidewait::model::SourceRevision { uid: "u", revision }.hash()]);
        let draft = Draft {
            epoch: Epoch::of(&["test"]),
            version: revision,
            content: content(MODEL),
            provenance: Provenance::Stream,
            revisions,
            source_objects: Arc::default(),
            seen: Instant::now(),
        };
        rig.reports(Report::Holds(draft)).await;
        while confirmed_by(&rig) != Some(revisions) {
            tokio::task::yield_now().await;
        }
        assert_eq!(rig.operation.hub.current().expect("a state").snapshot.id, id(revision, MODEL));
    }
}
