//! Relays against a reference that keeps every leaf, and cases that a reader can follow.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::access::Scheme;
use crate::model::{Content, Document, Epoch, Snapshot};
use crate::registry::AgentCounts;

const SECOND: Duration = Duration::from_secs(1);
const WAIT: Duration = Duration::from_secs(55);

fn state(number: u8) -> StateId {
    let content = Content::Json(Document::from_json(number.to_string().as_bytes()).expect("a document"));
    Snapshot::of(Epoch::of(&["test"]), u64::from(number) + 1, &content).id
}

/// A report on a state: converged, lagging, rejecting.
fn report(instance: &str, seq: u64, on: Option<u8>, counts: [u64; 3]) -> RelayReport {
    let [converged, lagging, rejecting] = counts;
    let reason = (rejecting > 0).then(|| "no such interface".to_owned());
    let worst = (lagging + rejecting > 0).then(|| WorstAgent { agent: "leaf".to_owned(), reason });
    let report = Report {
        instance: instance.to_owned(),
        seq,
        state: on.map(|number| state(number).to_string()),
        total: converged + lagging + rejecting,
        converged,
        lagging,
        rejecting,
        applying: lagging.min(1),
        oldest_lag_seconds: if lagging + rejecting > 0 { 20 } else { 0 },
        worst: worst.into_iter().collect(),
    };
    RelayReport::of(report).expect("it is one")
}

struct World {
    relays: Relays<&'static str>,
    current: u8,
    superseded_at: Arc<SupersededAt>,
    now: Instant,
    connection: Arc<Connection>,
}

impl World {
    #[expect(clippy::disallowed_methods, reason = "where the clock of a test begins")]
    fn new(capacity: usize) -> Self {
        let connection = Arc::new(Connection::new(([192, 0, 2, 1], 4711).into(), Scheme::Http));
        let now = Instant::now();
        Self { relays: Relays::new(capacity, WAIT), current: 0, superseded_at: Arc::default(), now, connection }
    }

    fn publish(&mut self, number: u8) {
        self.superseded_at.set(self.now);
        (self.current, self.superseded_at) = (number, Arc::default());
    }

    fn say(&mut self, report: RelayReport) -> Result<Reported, TooSoon> {
        self.say_as(None, report)
    }

    fn say_as(&mut self, identity: Option<&str>, report: RelayReport) -> Result<Reported, TooSoon> {
        let id = state(self.current);
        let current = Current { id: &id, superseded_at: &self.superseded_at, selected: None };
        self.relays.report(identity.map(Arc::from), report, Some(current), Arc::clone(&self.connection), self.now)
    }

    fn totals(&mut self) -> Totals {
        let mut totals = Totals::default();
        self.relays.add_to(&mut totals, Some(&state(self.current)), self.now);
        assert_eq!(totals.agents.lagging, totals.lagging_by_age.iter().sum::<u64>());
        totals
    }

    /// Converged, lagging, rejecting, evicted.
    fn count(&mut self) -> [u64; 4] {
        let AgentCounts { converged, lagging, rejecting, evicted } = self.totals().agents;
        [converged, lagging, rejecting, evicted]
    }
}

#[test]
fn counts_hold_for_exactly_the_state_that_they_name() {
    let mut world = World::new(10);
    assert_eq!(world.say(report("a", 1, Some(0), [3, 2, 1])), Ok(Reported::Taken));
    assert_eq!(world.count(), [3, 2, 1, 0]);
    let totals = world.totals();
    assert_eq!((totals.relays, totals.applying, totals.oldest_lag), (1, 1, Some(20 * SECOND)));
    world.now += 5 * SECOND;
    assert_eq!(world.totals().oldest_lag, Some(25 * SECOND), "it has become older meanwhile");
    world.publish(1);
    world.now += SECOND;
    assert_eq!(world.count(), [0, 6, 0, 0]);
    assert_eq!(world.totals().applying, 0);
    world.publish(0);
    assert_eq!(world.count(), [0, 6, 0, 0], "they may have been given the one in between");
    assert_eq!(world.say(report("a", 2, Some(0), [6, 0, 0])), Ok(Reported::Taken));
    assert_eq!((world.count(), world.totals().oldest_lag), ([6, 0, 0, 0], None));
    world.publish(1);
    world.now += 2 * SECOND;
    assert_eq!(world.totals().oldest_lag, Some(2 * SECOND), "since they do not hold what is current");
    world.say(report("a", 3, Some(0), [6, 0, 0])).expect("in time");
    world.now += SECOND;
    assert_eq!(world.totals().oldest_lag, Some(3 * SECOND), "it was still of the one before");
    for (seq, on) in [(4, None), (5, Some(2))] {
        world.now += SECOND;
        world.say(report("a", seq, on, [6, 0, 0])).expect("in time");
        assert_eq!(world.count(), [0, 6, 0, 0], "{on:?}");
    }
}

#[test]
fn one_takes_the_place_of_the_one_before_of_the_same_process_and_caller() {
    let mut world = World::new(10);
    world.say(report("a", 5, Some(0), [1, 0, 0])).expect("the first");
    assert_eq!(world.say(report("a", 6, Some(0), [2, 0, 0])), Err(TooSoon { ago: Duration::ZERO }));
    assert_eq!(world.say(report("a", 5, Some(0), [9, 0, 0])), Ok(Reported::Older), "sent twice");
    world.now += SECOND;
    assert_eq!(world.say(report("a", 4, Some(0), [9, 0, 0])), Ok(Reported::Older));
    world.say(report("a", 6, Some(0), [2, 0, 0])).expect("in time");
    assert_eq!(world.count(), [2, 0, 0, 0]);
    for (identity, seq) in [(Some("one"), 1), (Some("two"), 2)] {
        world.say_as(identity, report("a", seq, Some(0), [0, 1, 0])).expect("of another caller");
    }
    assert_eq!(world.count(), [2, 2, 0, 0]);
    let keys: Vec<_> = world.relays.list(None, world.now).into_iter().map(|relay| relay.key.identity).collect();
    assert_eq!(keys, [None, Some("one".into()), Some("two".into())]);
}

#[test]
fn a_relay_that_is_gone_lags_until_its_agents_have_had_the_time_to_come_back() {
    let mut world = World::new(10);
    world.say(report("a", 1, Some(0), [2500, 0, 0])).expect("the first");
    world.now += Duration::from_secs(109);
    assert_eq!(world.count(), [2500, 0, 0, 0]);
    world.now += SECOND;
    assert_eq!((world.count(), world.totals().oldest_lag), ([0, 2500, 0, 0], Some(Duration::ZERO)));
    assert!(world.relays.list(None, world.now)[0].gone);
    world.now += 12 * SECOND;
    assert_eq!((world.count(), world.totals().oldest_lag), ([0, 2500, 0, 0], Some(12 * SECOND)));
    world.now += SECOND;
    assert_eq!((world.count(), world.totals().relays), ([0; 4], 0), "three seconds for 2500, and the skew");
}

#[test]
fn a_connection_that_has_ended_says_something_once_a_report_is_overdue() {
    let mut world = World::new(10);
    world.say(report("a", 1, Some(0), [1, 0, 0])).expect("the first");
    world.connection.end(world.now + SECOND);
    world.now += Duration::from_secs(24);
    assert_eq!(world.count(), [1, 0, 0, 0], "as behind a proxy that closes each");
    world.now += SECOND;
    assert_eq!(world.count(), [0, 1, 0, 0]);
    world.say(report("a", 2, Some(0), [1, 0, 0])).expect("it was slow");
    world.now += RELAY_REPORT_RENEW + AGENT_SKEW + AGENT_SKEW;
    assert_eq!(world.count(), [0, 1, 0, 0]);
    world.now += SECOND;
    assert_eq!(world.count(), [0; 4]);
}

#[test]
fn a_relay_of_a_part_counts_by_what_is_current_of_that() {
    let mut world = World::new(10);
    let (part, superseded_at) = (state(7), Arc::new(SupersededAt::default()));
    let view = Arc::new("the part");
    let current = Current { id: &part, superseded_at: &superseded_at, selected: Some(&view) };
    let report = report("a", 1, Some(7), [2, 0, 0]);
    let taken = world.relays.report(None, report, Some(current), Arc::clone(&world.connection), world.now);
    assert_eq!(taken, Ok(Reported::Taken));
    world.publish(1);
    assert_eq!(world.count(), [2, 0, 0, 0], "the change is not of its part");
    superseded_at.set(world.now);
    assert_eq!(world.count(), [0, 2, 0, 0]);
    assert_eq!(world.relays.list(None, world.now)[0].selected, Some(view));
}

#[test]
fn for_want_of_room_the_one_heard_of_longest_ago_is_forgotten_and_its_agents_are_counted() {
    let mut world = World::new(2);
    for (instance, agents) in [("a", 4), ("b", 1), ("c", 1)] {
        world.say(report(instance, 1, Some(0), [agents, 0, 0])).expect("the first");
        world.now += SECOND;
    }
    assert_eq!(world.count(), [2, 0, 0, 4]);
    assert_eq!(world.totals().agents.is_converged(), Some(false));
    world.say(report("d", 1, Some(0), [0, 0, 0])).expect("the first");
    assert_eq!(world.count(), [1, 0, 0, 5]);
    for seq in 2.. {
        world.now += 50 * SECOND;
        for instance in ["c", "d"] {
            world.say(report(instance, seq, Some(0), [1, 0, 0])).expect("in time");
        }
        if seq == 4 {
            break;
        }
    }
    assert_eq!(world.count(), [2, 0, 0, 0], "who lives has come back meanwhile");
}

#[test]
fn the_worst_are_named_behind_their_relay() {
    let mut world = World::new(10);
    for (instance, counts) in [("a", [1, 1, 0]), ("b", [1, 0, 1]), ("c", [1, 0, 0])] {
        world.say(report(instance, 1, Some(0), counts)).expect("the first");
        world.now += SECOND;
    }
    let worst = |world: &World, limit| -> Vec<(String, bool)> {
        let worst = world.relays.worst(limit, Some(&state(world.current)), world.now);
        worst.into_iter().map(|one| (one.name, one.reason.is_some())).collect()
    };
    let named =
        |all: &[(&str, bool)]| all.iter().map(|(name, rejects)| ((*name).to_owned(), *rejects)).collect::<Vec<_>>();
    assert_eq!(worst(&world, 10), named(&[("b/leaf", true), ("a/leaf", false)]));
    assert_eq!(worst(&world, 1), named(&[("b/leaf", true)]));
    world.publish(1);
    assert_eq!(worst(&world, 10), named(&[("a/*", false), ("b/*", false), ("c/*", false)]));
}

#[test]
fn a_state_that_is_none_of_ours_is_refused() {
    let bad = Report { instance: "a".to_owned(), state: Some("e.1.d".to_owned()), ..Report::default() };
    let refused = RelayReport::of(bad).expect_err("it is none").to_string();
    assert_eq!(refused, "state is \"e.1.d\": give the State-Id of what is served, as it came, or null");
}

/// What happens to a tree of relays with their leaves.
#[derive(Debug, Clone)]
enum Event {
    Publish(u8),
    /// A leaf of a relay holds or rejects a state.
    Leaf {
        relay: usize,
        leaf: usize,
        holds: Option<u8>,
        rejects: Option<u8>,
    },
    /// A relay makes a report on what it serves. It is on its way.
    Make {
        relay: usize,
        serves: u8,
    },
    /// One that is on its way arrives: at any time, in any order.
    Arrive(usize),
    /// The relay begins anew: as another process, with the same leaves.
    Restart(usize),
    /// The connection of what arrives ends; another one takes its place.
    End,
    Wait(u64),
}

fn event() -> impl Strategy<Value = Event> {
    let state = || proptest::option::of(0u8..3);
    prop_oneof![
        2 => (0u8..3).prop_map(Event::Publish),
        5 => (0usize..3, 0usize..3, state(), state())
            .prop_map(|(relay, leaf, holds, rejects)| Event::Leaf { relay, leaf, holds, rejects }),
        5 => (0usize..3, 0u8..3).prop_map(|(relay, serves)| Event::Make { relay, serves }),
        5 => (0usize..4).prop_map(Event::Arrive),
        1 => (0usize..3).prop_map(Event::Restart),
        1 => Just(Event::End),
        4 => (1u64..70).prop_map(Event::Wait),
    ]
}

type Leaves = [(Option<u8>, Option<u8>); 3];

/// A report as its relay made it, with every leaf.
#[derive(Debug, Clone)]
struct Made {
    instance: String,
    seq: u64,
    on: u8,
    leaves: Leaves,
}

/// The last report of an instance, and what was published since.
struct Last {
    made: Made,
    at: Instant,
    /// It was on the current state, which has been current ever since.
    current: bool,
    connection: Arc<Connection>,
}

impl Made {
    fn counts(&self) -> [u64; 3] {
        let mut counts = [0; 3];
        for (holds, rejects) in self.leaves {
            let place = match () {
                () if rejects == Some(self.on) => 2,
                () if holds == Some(self.on) => 0,
                () => 1,
            };
            counts[place] += 1;
        }
        counts
    }
}

impl Last {
    fn gone_at(&self) -> Instant {
        let silent = self.at + 2 * WAIT;
        match self.connection.ended() {
            Some(ended) => silent.min(ended.max(self.at + RELAY_REPORT_RENEW + AGENT_SKEW)),
            None => silent,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn nobody_is_converged_while_a_leaf_that_was_reported_does_not_hold_the_state(
        events in proptest::collection::vec(event(), 1..80),
    ) {
        let mut world = World::new(100);
        let mut relays = ["a", "b", "c"].map(|name| (name.to_owned(), 0u64, Leaves::default()));
        let mut on_the_way: Vec<Made> = Vec::new();
        let mut known: BTreeMap<String, Last> = BTreeMap::new();
        for event in events {
            world.now += Duration::from_millis(1);
            let now = world.now;
            let is_forgotten = |last: &Last| now >= last.gone_at() + SECOND + AGENT_SKEW;
            match event {
                Event::Publish(next) => {
                    if next != world.current {
                        world.publish(next);
                        for last in known.values_mut() {
                            last.current = false;
                        }
                    }
                }
                Event::Leaf { relay, leaf, holds, rejects } => relays[relay].2[leaf] = (holds, rejects),
                Event::Make { relay, serves } => {
                    let (instance, seq, leaves) = &mut relays[relay];
                    *seq += 1;
                    on_the_way.push(Made { instance: instance.clone(), seq: *seq, on: serves, leaves: *leaves });
                }
                Event::Arrive(which) if which < on_the_way.len() => {
                    let made = on_the_way.remove(which);
                    known.retain(|_, last| !is_forgotten(last));
                    let expected = match known.get(&made.instance) {
                        Some(last) if made.seq <= last.made.seq => Ok(Reported::Older),
                        Some(last) if now < last.at + SECOND => Err(TooSoon { ago: now - last.at }),
                        Some(_) | None => Ok(Reported::Taken),
                    };
                    let said = world.say(report(&made.instance, made.seq, Some(made.on), made.counts()));
                    prop_assert_eq!(said, expected);
                    if said == Ok(Reported::Taken) {
                        let current = made.on == world.current;
                        let connection = Arc::clone(&world.connection);
                        known.insert(made.instance.clone(), Last { made, at: now, current, connection });
                    }
                }
                Event::Arrive(_) => {}
                Event::Restart(relay) => {
                    relays[relay].0.push('+');
                    relays[relay].1 = 0;
                }
                Event::End => {
                    let next = Arc::new(Connection::new(world.connection.peer, Scheme::Http));
                    std::mem::replace(&mut world.connection, next).end(now);
                }
                Event::Wait(seconds) => world.now += Duration::from_secs(seconds),
            }
            let now = world.now;
            known.retain(|_, last| now < last.gone_at() + SECOND + AGENT_SKEW);
            let mut expected = [0; 4];
            for last in known.values() {
                let counts = last.made.counts();
                let said = last.current && now < last.gone_at();
                let counts = if said { counts } else { [0, counts.iter().sum(), 0] };
                counts.iter().zip(&mut expected).for_each(|(count, sum)| *sum += count);
            }
            prop_assert_eq!(world.count(), expected);
            prop_assert_eq!(world.totals().relays, known.len());
            if world.totals().agents.is_converged() == Some(true) {
                let leaves = known.values().flat_map(|last| last.made.leaves);
                for (holds, rejects) in leaves {
                    prop_assert!(holds == Some(world.current) && rejects != Some(world.current));
                }
            }
        }
    }
}
