//! The machine, event by event, and against a simulated server that does anything.

use std::net::SocketAddr;

use super::*;
use crate::bounds::CLIENT_GIVEN;
use crate::client::Doing;
use crate::client::state::is_same;
use crate::model::{Content, Document, Epoch, Snapshot};

mod simulated;

const SECS: fn(u64) -> Duration = Duration::from_secs;

/// The state of a number at a version.
fn state(n: u64, version: u64) -> State {
    let document = Document::from_json(format!("{{\"n\":{n}}}").as_bytes()).expect("JSON");
    let snapshot = Snapshot::of(Epoch::of(&["test"]), version, &Content::Json(document));
    State::kept(&snapshot.id.to_string(), "application/json", snapshot.body().identity.clone()).expect("its bytes")
}

/// A machine with a clock.
struct Rig {
    machine: Machine,
    now: Instant,
    began: Instant,
}

impl Rig {
    fn new(urls: usize, held: Option<State>) -> Self {
        let now = tokio::time::Instant::now().into_std();
        Self { machine: Machine::new(urls, held, true, 7, now), now, began: now }
    }

    /// The next poll, once its time has come, and what was waited for it. Names have one address.
    #[track_caller]
    fn poll(&mut self) -> (Poll, Duration) {
        let from = self.now;
        for _ in 0..100 {
            match self.machine.step(self.now) {
                Action::Poll(poll) => return (*poll, self.now - from),
                Action::LookUp(url) => {
                    let last = u8::try_from(url).expect("few");
                    self.machine.resolved(Ok(&[SocketAddr::from(([10, 0, 0, last], 80))]), self.now);
                }
                Action::Wait(Some(until)) => {
                    assert!(until > self.now, "a wait for what is over");
                    self.now = until;
                }
                Action::Wait(None) => panic!("it waits for an event"),
                Action::Abandon => {}
            }
        }
        panic!("no poll")
    }

    /// The poll that is under way ends so after some time.
    fn ends(&mut self, after: Duration, outcome: Outcome) -> Option<State> {
        self.now += after;
        self.machine.is_with_server();
        let keeps = !matches!(outcome, Outcome::Failed(_));
        self.machine.ended(Ended { outcome, keeps, within: None, terms: None, bytes: 7 }, self.now)
    }

    fn comes(&mut self, state: &State) -> Option<State> {
        self.ends(SECS(5), Outcome::State(Box::new(state.clone())))
    }

    fn fails(&mut self, kind: FailureKind) {
        assert!(self.ends(Duration::ZERO, Outcome::Failed(Failure::new(kind, "on purpose"))).is_none());
    }

    fn same(&mut self, after: Duration, id: &str) {
        assert!(self.ends(after, Outcome::Same { id: id.to_owned(), age: Duration::ZERO }).is_none());
    }

    fn counters(&self) -> Counters {
        self.machine.status(|_| String::new()).counters
    }
}

/// `since`, `rejected` and `applying`.
fn named(poll: &Poll) -> [Option<&str>; 3] {
    [poll.since.as_ref().map(State::id), poll.rejected.as_ref().map(|rejected| &*rejected.id), poll.applying.as_deref()]
}

#[test]
fn what_is_held_is_named_only_once_that_is_said() {
    let mut rig = Rig::new(1, None);
    let (one, two) = (state(1, 1), state(2, 2));
    assert_eq!(named(&rig.poll().0), [None, None, None]);
    assert_eq!(rig.comes(&one).expect("new").id, one.id);
    // Without a verdict it is being applied, after a second.
    let (poll, waited) = rig.poll();
    assert_eq!((named(&poll), waited), ([None, None, Some(&*one.id)], SECS(1)));
    // A verdict drops that poll, and the next one says so.
    rig.machine.holds(&one.id);
    assert!(matches!(rig.machine.step(rig.now), Action::Abandon));
    let (poll, waited) = rig.poll();
    assert_eq!((named(&poll), waited), ([Some(&*one.id), None, None], Duration::ZERO));
    assert!(poll.takes_patches);
    // A verdict at once needs no poll between.
    let given = rig.comes(&two).expect("new");
    rig.machine.holds(&given.id);
    assert_eq!(named(&rig.poll().0), [Some(&*two.id), None, None]);
    assert_eq!((rig.counters().polls, rig.counters().states), (4, 2));
}

#[test]
fn what_is_rejected_stands_beside_what_is_held_until_a_newer_one_is() {
    let mut rig = Rig::new(1, Some(state(1, 1)));
    let [one, two, three, four] = [1, 2, 3, 4].map(|n| state(n, n));
    rig.poll();
    rig.comes(&two);
    rig.machine.rejects(&two.id, "no");
    let poll = rig.poll().0;
    assert_eq!(named(&poll), [Some(&*one.id), Some(&*two.id), None]);
    assert_eq!(poll.rejected.expect("there").reason, "no");
    // The 204 names the rejected state: it is not what is held.
    rig.same(SECS(25), &two.id);
    assert_eq!(named(&rig.poll().0), [Some(&*one.id), Some(&*two.id), None]);
    rig.comes(&three);
    assert_eq!(named(&rig.poll().0), [Some(&*one.id), Some(&*two.id), Some(&*three.id)]);
    // A newer one comes while the one before it is applied: both may be judged.
    rig.comes(&four);
    assert_eq!(named(&rig.poll().0), [Some(&*one.id), Some(&*two.id), Some(&*four.id)]);
    rig.machine.holds(&three.id);
    assert!(matches!(rig.machine.step(rig.now), Action::Abandon));
    assert_eq!(named(&rig.poll().0), [Some(&*three.id), None, Some(&*four.id)]);
    rig.machine.rejects(&four.id, "no");
    // A verdict on what is judged already, or was never given, says nothing.
    rig.machine.holds(&two.id);
    rig.machine.rejects("never", "no");
    assert_eq!(named(&rig.poll().0), [Some(&*three.id), Some(&*four.id), None]);
}

#[test]
fn a_server_that_does_not_know_applying_is_left_alone_until_the_verdict() {
    let mut rig = Rig::new(1, Some(state(1, 1)));
    let two = state(2, 2);
    rig.poll();
    rig.comes(&two);
    rig.poll();
    assert!(rig.comes(&state(2, 3)).is_none(), "the same state, whatever its version");
    rig.now += SECS(1000);
    assert!(matches!(rig.machine.step(rig.now), Action::Wait(None)));
    assert_eq!(rig.machine.status(|_| String::new()).doing, Doing::AwaitingVerdict);
    rig.machine.holds(&two.id);
    assert_eq!(named(&rig.poll().0), [Some(&*two.id), None, None]);
}

#[test]
fn an_id_is_adopted_only_where_it_names_what_is_held() {
    let mut rig = Rig::new(1, Some(state(1, 1)));
    for (id, expected) in [(state(1, 5).id, state(1, 5).id), (state(2, 6).id, state(1, 5).id)] {
        rig.poll();
        rig.same(SECS(25), &id);
        assert_eq!(rig.machine.status(|_| String::new()).held, Some(expected));
    }
}

#[test]
fn an_older_state_is_the_truth_of_a_restore_if_the_poll_named_what_is_held() {
    let mut rig = Rig::new(1, Some(state(9, 9)));
    rig.poll();
    let given = rig.comes(&state(3, 3)).expect("the truth");
    assert!(given.is_older() && rig.counters().restored == 1);
    rig.machine.holds(&given.id);
    // A poll without since may be answered by a replica that is behind.
    rig.poll();
    rig.fails(FailureKind::Patch);
    assert_eq!(named(&rig.poll().0), [None, None, None]);
    assert!(rig.comes(&state(2, 2)).is_none());
    assert_eq!((rig.counters().behind, rig.counters().restored), (1, 1));
    assert_eq!(named(&rig.poll().0), [Some(&*state(3, 3).id), None, None]);
}

#[test]
fn patches_that_lead_nowhere_cost_one_whole_state_each_and_are_given_up_after_three() {
    let mut rig = Rig::new(1, Some(state(0, 1)));
    for n in 1..=3 {
        assert!(rig.poll().0.takes_patches);
        rig.fails(FailureKind::Patch);
        assert_eq!(named(&rig.poll().0), [None, None, None]);
        let given = rig.comes(&state(n, n + 1)).expect("the whole state");
        rig.machine.holds(&given.id);
    }
    assert!(!rig.poll().0.takes_patches);
    assert_eq!(rig.counters().bad_patches, 3);
}

#[test]
fn a_credential_is_tried_once_more_at_once_and_then_not_for_half_a_minute() {
    let mut rig = Rig::new(1, None);
    rig.poll();
    rig.fails(FailureKind::Denied);
    assert_eq!(rig.poll().1, Duration::ZERO);
    for _ in 0..5 {
        rig.fails(FailureKind::Denied);
        let waited = rig.poll().1;
        assert!((SECS(30)..=SECS(300)).contains(&waited), "{waited:?}");
    }
    let given = rig.comes(&state(1, 1)).expect("it is let in");
    rig.machine.holds(&given.id);
    rig.poll();
    rig.fails(FailureKind::Denied);
    assert_eq!(rig.poll().1, Duration::ZERO);
    rig.fails(FailureKind::Refused);
    assert!(rig.poll().1 >= SECS(30));
    // By hand it is tried now, but not each moment.
    rig.fails(FailureKind::Refused);
    rig.machine.asked(rig.now);
    assert_eq!(rig.poll().1, Duration::ZERO);
    rig.machine.asked(rig.now);
    assert_eq!(rig.poll().1, SECS(1));
}

#[test]
fn what_a_server_asks_for_is_the_pause() {
    for (asked, at_least, at_most) in [(7, SECS(7), Duration::from_millis(7700)), (1000, SECS(300), SECS(330))] {
        let mut rig = Rig::new(1, None);
        for _ in 0..9 {
            rig.poll();
            rig.fails(FailureKind::Busy(Some(SECS(asked))));
            let waited = rig.poll().1;
            assert!((at_least..=at_most).contains(&waited), "{waited:?}");
            rig.same(SECS(9), "whatever");
        }
    }
    // Another endpoint is asked meanwhile, after a pause.
    let mut rig = Rig::new(2, None);
    let first = rig.poll().0.place;
    rig.fails(FailureKind::Busy(Some(SECS(60))));
    let (poll, waited) = rig.poll();
    assert!(poll.place.url != first.url && waited < SECS(1) && waited >= CLIENT_BACKOFF_LEAST, "{waited:?}");
}

#[test]
fn who_loses_a_connection_comes_back_within_what_the_server_has_said() {
    let mut waits = Vec::new();
    for seed in 0..200 {
        let mut rig = Rig::new(1, Some(state(1, 1)));
        rig.machine.random = Random::new(seed);
        rig.poll();
        let outcome = Outcome::Same { id: state(1, 1).id, age: Duration::ZERO };
        rig.now += SECS(25);
        rig.machine.ended(Ended { outcome, keeps: true, within: Some(SECS(40)), terms: None, bytes: 7 }, rig.now);
        rig.poll();
        rig.fails(FailureKind::Lost);
        waits.push(rig.poll().1);
        // That is for the first attempt alone.
        rig.fails(FailureKind::Lost);
        assert!(rig.poll().1 <= SECS(4));
    }
    let mean = waits.iter().sum::<Duration>() / 200;
    assert!((SECS(17)..SECS(23)).contains(&mean), "{mean:?}");
    assert!(waits.iter().all(|wait| *wait <= SECS(40)));
}

#[test]
fn the_addresses_of_a_name_that_lead_nowhere_are_passed_over_without_a_pause() {
    let now = tokio::time::Instant::now().into_std();
    let mut machine = Machine::new(1, None, true, 1, now);
    let addresses = [1, 2, 3].map(|last| SocketAddr::from(([10, 0, 0, last], 80)));
    let mut tried = std::collections::BTreeSet::new();
    while tried.len() < 3 {
        match machine.step(now) {
            Action::LookUp(_) => machine.resolved(Ok(&addresses), now),
            Action::Poll(poll) => {
                assert!(tried.insert(poll.place.address), "each once");
                let outcome = Outcome::Failed(Failure::new(FailureKind::Unreachable, "on purpose"));
                machine.ended(Ended { outcome, keeps: false, within: None, terms: None, bytes: 7 }, now);
            }
            Action::Abandon | Action::Wait(_) => panic!("a pause after {tried:?}"),
        }
    }
    assert!(matches!(machine.step(now), Action::Wait(Some(_))), "now there is a pause");
}

#[test]
fn two_endpoints_that_disagree_are_no_tight_loop() {
    let mut rig = Rig::new(1, None);
    let states = [state(1, 0), state(2, 0)];
    let mut polls = 0;
    while rig.now - rig.began < SECS(600) {
        rig.poll();
        polls += 1;
        if let Some(given) = rig.ends(Duration::from_millis(1), Outcome::State(Box::new(states[polls % 2].clone()))) {
            rig.machine.holds(&given.id);
        }
    }
    assert!(polls < 40, "{polls} polls in ten minutes");
}

#[test]
fn nothing_new_to_a_poll_that_names_nothing_cannot_be_true() {
    let mut rig = Rig::new(1, None);
    rig.poll();
    rig.same(SECS(0), &state(1, 1).id);
    assert_eq!(rig.counters().untrue, 1);
    // What is rejected is a name too.
    rig.poll();
    rig.comes(&state(1, 1));
    rig.machine.rejects(&state(1, 1).id, "no");
    rig.poll();
    rig.same(SECS(25), &state(1, 1).id);
    assert_eq!(rig.counters().untrue, 1);
}

#[test]
fn what_nobody_took_has_no_verdict_and_what_nobody_judges_is_forgotten() {
    let mut rig = Rig::new(1, None);
    for n in 1..=20 {
        rig.poll();
        rig.comes(&state(n, n));
    }
    let kept = |rig: &mut Rig| (1..=20).filter(|n| rig.machine.holdings.reject(&state(*n, *n).id, "no")).count();
    for n in 1..20 {
        rig.machine.replaced(&state(n, n).id);
    }
    assert_eq!(named(&rig.poll().0), [None, None, Some(&*state(20, 20).id)]);
    assert_eq!(kept(&mut rig), 1);
    for n in 21..=40 {
        rig.machine.holdings.give(state(n, n), rig.now);
    }
    let kept = (21..=40).filter(|n| rig.machine.holdings.reject(&state(*n, *n).id, "no")).count();
    assert_eq!(kept, CLIENT_GIVEN);
}

#[test]
fn the_age_stands_still_only_while_a_poll_is_with_a_live_server() {
    let mut rig = Rig::new(1, Some(state(1, 1)));
    let age = |rig: &Rig, after| rig.machine.status(|_| String::new()).age(rig.now + SECS(after));
    assert_eq!(age(&rig, 0), None);
    rig.poll();
    for (said, at_least) in [(0, 0), (7, 17)] {
        rig.ends(SECS(5), Outcome::Same { id: state(1, 1).id, age: SECS(said) });
        rig.poll();
        rig.machine.is_with_server();
        assert_eq!(age(&rig, 10), Some(SECS(at_least)));
    }
    rig.fails(FailureKind::Lost);
    assert_eq!(age(&rig, 10), Some(SECS(17)));
}

#[test]
fn what_is_held_lacks_since_the_first_newer_one_was_given() {
    let mut rig = Rig::new(1, Some(state(1, 1)));
    let lacking = |rig: &Rig| rig.machine.status(|_| String::new()).lacking.map(|since| since - rig.began);
    let comes = |rig: &mut Rig, n| {
        rig.poll();
        rig.comes(&state(n, n)).expect("new");
        Some(rig.now - rig.began)
    };
    assert_eq!(lacking(&rig), None);
    let second = comes(&mut rig, 2);
    let third = comes(&mut rig, 3);
    assert!(second < third);
    assert_eq!(lacking(&rig), second, "the newest is not counted from its own time alone");
    rig.machine.holds(&state(2, 2).id);
    assert_eq!(lacking(&rig), third);
    rig.machine.rejects(&state(3, 3).id, "no");
    comes(&mut rig, 4);
    rig.machine.rejects(&state(4, 4).id, "no");
    assert_eq!(lacking(&rig), third, "also where all of them are rejected");
    rig.poll();
    rig.same(SECS(1), &state(2, 2).id);
    assert_eq!(lacking(&rig), None, "the server has gone back");
    comes(&mut rig, 5);
    rig.machine.holds(&state(5, 5).id);
    assert_eq!(lacking(&rig), None);
}

#[test]
fn each_poll_that_ends_is_counted_as_one_thing_with_its_bytes() {
    let mut rig = Rig::new(1, None);
    let kinds = [
        FailureKind::Unreachable,
        FailureKind::Lost,
        FailureKind::Busy(None),
        FailureKind::Denied,
        FailureKind::Refused,
        FailureKind::Untrue,
        FailureKind::Patch,
    ];
    for kind in kinds {
        rig.poll();
        rig.fails(kind);
    }
    rig.poll();
    rig.comes(&state(1, 1)).expect("new");
    rig.machine.holds(&state(1, 1).id);
    rig.poll();
    rig.same(SECS(1), &state(1, 1).id);
    let expected = Counters {
        polls: 9,
        states: 1,
        unchanged: 1,
        failures: 7,
        unreachable: 1,
        lost: 1,
        busy: 1,
        denied: 1,
        refused: 1,
        untrue: 1,
        bad_patches: 1,
        bytes: 63,
        ..Counters::default()
    };
    assert_eq!(rig.counters(), expected);
}
