//! The machine, driven by hand: what each input does in each phase.

use http::{HeaderMap, Method};

use super::*;
use crate::config::Wait;
use crate::model::{Content, Document, Epoch, Snapshot};

const SECOND: Duration = Duration::from_secs(1);
const NO_SPREAD: Duration = Duration::ZERO;

fn state(version: u64, json: &str) -> StateId {
    let content = Content::Json(Document::from_json(json.as_bytes()).expect("a document"));
    Snapshot::of(Epoch::of(&["e"]), version, &content).id
}

fn request(query: &str) -> Arc<PollRequest> {
    let limits = Wait { default: 20 * SECOND, max: 50 * SECOND };
    PollRequest::parse(&Method::GET, Some(query), &HeaderMap::new(), limits, 64).expect("a request").into()
}

#[expect(clippy::disallowed_methods, reason = "the machine knows no clock: any moment is a beginning")]
fn start() -> Instant {
    Instant::now()
}

/// A poll that holds `2` at version 5, which is current, begun at `now` for 20 s.
fn waiting(now: Instant) -> Poll {
    match Poll::begin(request(&format!("since={}", state(5, "2"))), Arrival::Park(20 * SECOND), false, now, 0.0) {
        Begin::Hold(poll) => poll,
        Begin::Answer(..) => panic!("it is held"),
    }
}

fn release(decision: Decision, reason: Reason, put_off: Duration) -> Action {
    Action::Answer(Release { decision: Some(decision), reason, put_off })
}

#[test]
fn who_has_nothing_to_wait_for_is_answered_at_once_and_a_hold_is_jittered() {
    let now = start();
    for decision in [Decision::State, Decision::Unchanged, Decision::NotModified, Decision::Behind] {
        let begun = Poll::begin(request(""), Arrival::Answer(decision), false, now, 0.5);
        assert!(matches!(begun, Begin::Answer(found) if found == decision), "{begun:?}");
    }
    let begun = Poll::begin(request(""), Arrival::Answer(Decision::Unchanged), true, now, 0.5);
    assert!(matches!(begun, Begin::Answer(..)), "only a state is paced: {begun:?}");
    let Begin::Hold(poll) = Poll::begin(request(""), Arrival::Park(20 * SECOND), false, now, 0.5) else {
        panic!("it is held")
    };
    assert_eq!(poll.deadline(), now + 19 * SECOND);
}

#[test]
fn a_state_that_releases_it_answers_and_no_other_does() {
    let now = start();
    let mut poll = waiting(now);
    for (current, releases) in
        [(state(5, "2"), false), (state(9, "2"), false), (state(4, "3"), false), (state(6, "3"), true)]
    {
        assert_eq!(poll.concerns(Some(&current)), releases, "{current}");
        let expected = if releases { release(Decision::State, Reason::Changed, NO_SPREAD) } else { Action::Wait };
        assert_eq!(poll.on_state(Some(&current), NO_SPREAD, now, 0.0), expected, "{current}");
    }
    let gone = Action::Answer(Release { decision: None, reason: Reason::Changed, put_off: NO_SPREAD });
    assert_eq!(
        poll.on_state(None, SECOND, now, 0.9),
        gone,
        "a model that lost its parts is a change, and is not put off"
    );
}

#[test]
fn at_its_end_the_current_state_is_compared_again() {
    let (now, later) = (start(), start() + 20 * SECOND);
    for (current, decision) in
        [(state(5, "2"), Decision::Unchanged), (state(6, "3"), Decision::State), (state(4, "3"), Decision::Behind)]
    {
        assert_eq!(waiting(now).on_deadline(Some(&current), later), release(decision, Reason::Expired, NO_SPREAD));
        assert_eq!(waiting(now).on_ended(Some(&current)), release(decision, Reason::Ended, NO_SPREAD));
        assert_eq!(waiting(now).on_half_closed(Some(&current)), release(decision, Reason::HalfClosed, NO_SPREAD));
    }
}

#[test]
fn a_version_that_is_too_low_blocks_it_and_a_higher_one_does_not() {
    let query = format!("since={}&rejected={}", state(5, "2"), state(7, "3"));
    let Begin::Hold(poll) = Poll::begin(request(&query), Arrival::Park(20 * SECOND), false, start(), 0.0) else {
        panic!("it is held")
    };
    for (current, blocked, concerns) in [
        (state(5, "2"), false, false),
        (state(6, "4"), true, false),
        (state(8, "4"), false, true),
        (state(6, "3"), false, false),
    ] {
        assert_eq!((poll.is_blocked_by(&current), poll.concerns(Some(&current))), (blocked, concerns), "{current}");
    }
}

#[test]
fn a_spread_release_is_put_off_and_compared_again_when_its_turn_comes() {
    let now = start();
    let (other, own) = (state(6, "3"), state(7, "2"));
    let mut poll = waiting(now);
    assert_eq!(poll.on_state(Some(&other), 10 * SECOND, now, 0.5), Action::Wait);
    assert_eq!(poll.deadline(), now + 5 * SECOND);
    assert!(!poll.concerns(Some(&state(8, "4"))), "it has its turn already");
    let turn = now + 5 * SECOND;
    assert_eq!(poll.on_deadline(Some(&other), turn), release(Decision::State, Reason::Changed, 5 * SECOND));

    let mut poll = waiting(now);
    assert_eq!(poll.on_state(Some(&other), 10 * SECOND, now, 0.5), Action::Wait);
    assert_eq!(poll.on_deadline(Some(&own), turn), Action::Wait, "what released it was rolled back");
    assert_eq!((poll.deadline(), poll.concerns(Some(&other))), (now + 20 * SECOND, true));

    let mut poll = waiting(now);
    assert_eq!(poll.on_state(Some(&other), 100 * SECOND, now, 0.5), Action::Wait);
    assert_eq!(poll.deadline(), now + 20 * SECOND, "never past the hold");
    let end = now + 20 * SECOND;
    assert_eq!(poll.on_deadline(Some(&own), end), release(Decision::Unchanged, Reason::Expired, NO_SPREAD));
}

#[test]
fn a_drain_gives_it_a_slot_in_every_phase() {
    let now = start();
    let (slot, own, other) = (now + 3 * SECOND, state(5, "2"), state(6, "3"));
    let mut poll = waiting(now);
    poll.on_drain(slot);
    assert_eq!(poll.deadline(), slot);
    assert_eq!(poll.on_deadline(Some(&own), slot), release(Decision::Unchanged, Reason::Drained, NO_SPREAD));

    let mut poll = waiting(now);
    poll.on_drain(now + 60 * SECOND);
    let end = now + 20 * SECOND;
    assert_eq!(poll.deadline(), end, "its wait ends before its slot");
    assert_eq!(poll.on_deadline(Some(&own), end), release(Decision::Unchanged, Reason::Expired, NO_SPREAD));

    for (current, expected) in [
        (other, release(Decision::State, Reason::Changed, 3 * SECOND)),
        (own, release(Decision::Unchanged, Reason::Drained, NO_SPREAD)),
    ] {
        let mut poll = waiting(now);
        assert_eq!(poll.on_state(Some(&other), 10 * SECOND, now, 0.9), Action::Wait);
        poll.on_drain(slot);
        assert_eq!(poll.on_deadline(Some(&current), slot), expected);
    }
}

#[test]
fn the_pause_of_an_agent_that_repeats_itself_is_shortened_by_no_state() {
    let now = start();
    let query = format!("since={}", state(3, "1"));
    let Begin::Hold(mut poll) = Poll::begin(request(&query), Arrival::Answer(Decision::State), true, now, 0.7) else {
        panic!("it is held")
    };
    let next = state(9, "4");
    assert_eq!((poll.deadline(), poll.concerns(Some(&next))), (now + PACE_HOLD, false));
    assert_eq!(poll.on_state(Some(&next), NO_SPREAD, now, 0.0), Action::Wait);
    let over = release(Decision::State, Reason::Expired, NO_SPREAD);
    assert_eq!(poll.on_deadline(Some(&next), now + PACE_HOLD), over);
}
