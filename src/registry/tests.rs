//! The registry against a reference that visits everyone at everything, and cases that a reader can follow.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::access::Scheme;
use crate::bounds::AGENT_SKEW;
use crate::model::{Content, Document, Epoch, Snapshot};

const EXPIRY: Duration = Duration::from_secs(110);
const SECOND: Duration = Duration::from_secs(1);

fn state(number: u8) -> StateId {
    let content = Content::Json(Document::from_json(number.to_string().as_bytes()).expect("a document"));
    Snapshot::of(Epoch::of(&["test"]), u64::from(number) + 1, &content).id
}

/// A registry, its operation, its clock.
struct World {
    registry: AgentRegistry<&'static str>,
    current: u8,
    superseded_at: Arc<SupersededAt>,
    now: Instant,
    connection: Arc<Connection>,
}

impl World {
    #[expect(clippy::disallowed_methods, reason = "where the clock of a test begins")]
    fn new(capacity: usize) -> Self {
        let now = Instant::now();
        let connection = Arc::new(Connection::new(([192, 0, 2, 1], 4711).into(), Scheme::Http));
        Self {
            registry: AgentRegistry::new(capacity, EXPIRY, now),
            current: 0,
            superseded_at: Arc::default(),
            now,
            connection,
        }
    }

    fn publish(&mut self, number: u8) {
        self.superseded_at.set(self.now);
        (self.current, self.superseded_at) = (number, Arc::default());
    }

    /// A poll as the protocol answers it: at once when the current state is another one.
    fn poll(&mut self, name: &str, since: Option<u8>, rejected: Option<u8>) -> LivePoll {
        self.poll_while(name, since, rejected, None)
    }

    /// The same, of an agent that is busy with a state.
    fn poll_while(&mut self, name: &str, since: Option<u8>, rejected: Option<u8>, applying: Option<u8>) -> LivePoll {
        let acknowledgement = Acknowledgement {
            key: AgentKey::claimed(name),
            acknowledged: since.map(|number| state(number).into()),
            rejected: rejected.map(|number| state(number).into()),
            reason: rejected.map(|number| format!("cannot {number}")),
            applying: applying.map(|number| state(number).into()),
            connection: Arc::clone(&self.connection),
        };
        let sends = ![since, rejected, applying].contains(&Some(self.current));
        let id = state(self.current);
        let poll = self.registry.arrive(
            acknowledgement,
            Current { id: &id, superseded_at: &self.superseded_at, selected: None },
            sends,
            self.now,
        );
        if sends {
            poll.sent(&id);
        }
        poll
    }

    fn totals(&mut self) -> Totals {
        self.registry.totals(Some(&state(self.current)), self.now)
    }

    /// Converged, lagging, rejecting.
    fn count(&mut self) -> (u64, u64, u64) {
        let Totals { agents, lagging_by_age, .. } = self.totals();
        assert_eq!(agents.lagging, lagging_by_age.iter().sum::<u64>());
        (agents.converged, agents.lagging, agents.rejecting)
    }

    fn agent(&self, name: &str) -> Agent<&'static str> {
        let (agents, _) = self.registry.page(&listing(None, 1000), Some(&state(self.current)), self.now);
        agents.into_iter().find(|agent| agent.key.name() == name).expect("it is known")
    }

    fn worst(&self, limit: usize) -> Vec<String> {
        let worst = self.registry.worst(limit, Some(&state(self.current)), self.now);
        worst.into_iter().map(|agent| agent.key.name().to_owned()).collect()
    }
}

fn listing(sync_status: Option<SyncStatus>, limit: usize) -> Listing {
    Listing { after: None, sync_status, limit }
}

#[test]
fn an_agent_is_converged_by_its_own_report_only() {
    let mut world = World::new(10);
    assert_eq!(world.totals().agents.is_converged(), None, "nobody");
    drop(world.poll("a", None, None));
    assert_eq!(world.count(), (0, 1, 0), "sent is not held");
    let parked = world.poll("a", Some(0), None);
    assert_eq!(world.count(), (1, 0, 0));
    assert_eq!(world.totals().agents.is_converged(), Some(true));
    world.publish(1);
    assert_eq!(world.count(), (0, 1, 0), "nobody had to visit it");
    parked.sent(&state(1));
    drop(parked);
    assert_eq!(world.count(), (0, 1, 0), "sent is not held");
    assert_eq!((world.agent("a").sent, world.agent("a").acknowledged), (Some(state(1)), Some(state(0).into())));
    world.publish(0);
    assert_eq!(world.count(), (0, 1, 0), "it held this, and was sent another since");
    world.publish(1);
    let _parked = world.poll("a", Some(1), None);
    assert_eq!((world.count(), world.agent("a").sent), ((1, 0, 0), None));
}

#[test]
fn an_agent_rejects_until_another_state_comes_or_it_says_otherwise() {
    let mut world = World::new(10);
    let _parked = world.poll("a", Some(0), None);
    world.publish(1);
    world.now += SECOND;
    let _parked = world.poll("a", Some(0), Some(1));
    world.now += SECOND;
    for _ in 0..3 {
        let _again = world.poll("a", Some(0), Some(1));
    }
    assert_eq!(world.count(), (0, 0, 1));
    assert_eq!(world.totals().rejections, 1, "repeated, not new");
    let agent = world.agent("a");
    assert_eq!((agent.rejects, agent.reason.as_deref()), (Some(state(1).into()), Some("cannot 1")));
    assert_eq!((agent.rejecting, agent.lagging), (Some(SECOND), Some(2 * SECOND)));
    world.publish(2);
    assert_eq!(world.count(), (0, 1, 0), "what it rejected is not current any more");
    let _parked = world.poll("a", Some(2), Some(2));
    assert_eq!(world.count(), (0, 0, 1), "an agent that reports both counts as rejecting");
    let _parked = world.poll("a", Some(2), None);
    assert_eq!((world.count(), world.totals().rejections), ((1, 0, 0), 2));
    assert_eq!((world.agent("a").rejects, world.agent("a").lagging), (None, None));
}

#[test]
fn lag_begins_when_what_it_holds_is_replaced_and_goes_on_over_further_changes() {
    let mut world = World::new(10);
    let _parked = ["a", "b"].map(|name| world.poll(name, Some(0), None));
    world.now += 100 * SECOND;
    for number in 1..=9 {
        world.publish(number);
        let _live = world.poll("a", Some(0), None);
        let _live = world.poll("b", Some(number), None);
        world.now += 10 * SECOND;
    }
    let totals = world.totals();
    assert_eq!((totals.agents.converged, totals.agents.lagging, totals.oldest_lag), (1, 1, Some(90 * SECOND)));
    assert_eq!(totals.lagging_by_age, [0, 0, 1, 0]);
    assert_eq!(world.agent("a").lagging, Some(90 * SECOND));
}

#[test]
fn the_worst_are_those_that_reject_and_then_those_that_lag_for_longest() {
    let mut world = World::new(10);
    let mut live = Vec::new();
    for (name, since, rejected) in [
        ("fine", Some(0), None),
        ("no-2", None, Some(1)),
        ("old", None, None),
        ("no-1", Some(0), Some(1)),
        ("new", Some(2), None),
    ] {
        live.push(world.poll(name, since, rejected));
        world.now += SECOND;
    }
    assert_eq!(world.worst(10), ["no-2", "old", "new"], "what is rejected is not current yet");
    world.publish(1);
    assert_eq!(world.worst(10), ["no-2", "no-1", "old", "new", "fine"]);
    assert_eq!(world.worst(3), ["no-2", "no-1", "old"]);
    world.publish(2);
    assert_eq!(world.worst(10), ["no-2", "old", "new", "fine", "no-1"], "new was sent another since");
}

#[test]
fn two_polls_under_one_key_are_a_duplicate_until_one_ends() {
    let mut world = World::new(10);
    let first = world.poll("a", Some(0), None);
    assert_eq!((world.totals().duplicates, world.agent("a").polls), (0, 1));
    let second = world.poll("a", Some(0), None);
    assert_eq!((world.totals().duplicates, world.agent("a").polls), (1, 2));
    assert_eq!(second.park(1).map(|_| ()), Ok(()), "not more than one is parked");
    let place = first.park(1).expect("the place was freed");
    assert_eq!(second.park(1).expect_err("none is left"), TooMany { limit: 1 });
    drop((place, first));
    assert!(second.park(1).is_ok());
    assert_eq!((world.totals().duplicates, world.totals().agents.total()), (0, 1));
}

#[test]
fn who_is_gone_is_forgotten_after_the_skew_and_who_is_silent_after_the_expiry() {
    let mut world = World::new(10);
    let parked = world.poll("parked", Some(0), None);
    drop(world.poll("silent", Some(0), None));
    let shared = std::mem::replace(
        &mut world.connection,
        Arc::new(Connection::new(([192, 0, 2, 2], 4711).into(), Scheme::Http)),
    );
    drop(world.poll("other", Some(0), None));
    shared.end(world.now + SECOND);
    world.now += AGENT_SKEW;
    assert_eq!(world.totals().agents.total(), 3);
    world.now += SECOND;
    assert_eq!(world.count(), (2, 0, 0), "silent is forgotten");
    assert_eq!(world.agent("parked").last_seen, Duration::ZERO);
    drop(parked);
    assert_eq!(world.count(), (1, 0, 0));
    assert_eq!(world.agent("other").last_seen, AGENT_SKEW + SECOND);
    world.now += 98 * SECOND;
    assert_eq!(world.count(), (1, 0, 0));
    world.now += SECOND;
    assert_eq!(world.totals().agents.is_converged(), None);
}

#[test]
fn the_fourth_of_the_same_in_a_row_is_held() {
    let mut world = World::new(10);
    world.publish(1);
    let mut paced = |name: &str, since: Option<u8>, publish: Option<u8>| {
        if let Some(number) = publish {
            world.publish(number);
        }
        world.poll(name, since, None).is_paced()
    };
    for times in 1..=3 {
        assert!(!paced("a", Some(0), None), "{times}");
    }
    assert!(paced("a", Some(0), None) && paced("a", Some(0), None));
    assert!(!paced("b", Some(0), None), "another agent behind the same proxy");
    assert!(!paced("a", Some(0), Some(2)), "another state");
    assert!(!paced("a", Some(0), None) && !paced("a", Some(0), None) && paced("a", Some(0), None));
    assert!(!paced("a", None, None), "the null state");
    assert!(!paced("a", Some(0), None), "the row is broken");
    assert!(!paced("a", Some(2), None) && !paced("a", Some(0), None) && !paced("a", Some(0), None), "by a park, too");
}

#[test]
fn pages_follow_each_other_and_filter() {
    let mut world = World::new(100);
    let _live: Vec<_> = (0..10).map(|n| world.poll(&format!("n{n}"), Some(n % 2), None)).collect();
    let mut listing = listing(Some(SyncStatus::Converged), 2);
    let mut names = Vec::new();
    loop {
        let (agents, more) = world.registry.page(&listing, Some(&state(0)), world.now);
        names.extend(agents.iter().map(|agent| agent.key.name().to_owned()));
        listing.after = agents.last().map(|agent| agent.key.clone());
        if !more {
            break;
        }
    }
    assert_eq!(names, ["n0", "n2", "n4", "n6", "n8"]);
}

#[test]
fn memory_is_bounded_and_who_was_evicted_keeps_it_from_looking_converged() {
    let mut world = World::new(64);
    let parked = world.poll("parked", Some(0), None);
    for name in 0..1000 {
        world.now += Duration::from_millis(1);
        drop(world.poll(&name.to_string(), Some(0), None));
        assert!(world.registry.agents.len() <= 64);
    }
    let Totals { agents, evictions, .. } = world.totals();
    assert_eq!(evictions, 1001 - agents.total());
    assert_eq!((agents.evicted, agents.is_converged()), (1001 - agents.total(), Some(false)));
    assert_eq!(world.agent("parked").polls, 1, "who is here is not evicted first");
    assert_eq!(world.agent("999").acknowledged, Some(state(0).into()));
    world.now += EXPIRY;
    let agents = world.totals().agents;
    assert_eq!((agents.total(), agents.evicted, agents.is_converged()), (1, 0, Some(true)));
    drop(parked);
}

#[test]
fn names_that_are_gone_leave_room_without_anyone_looking() {
    let mut world = World::new(1_000_000);
    for name in 0..20_000 {
        world.now += SECOND;
        drop(world.poll(&name.to_string(), Some(0), None));
    }
    assert!(world.registry.agents.len() <= SWEEP_FROM, "{}", world.registry.agents.len());
    assert_eq!(world.totals().evictions, 0);
}

#[derive(Debug, Clone)]
enum Event {
    Poll {
        agent: u8,
        since: Option<u8>,
        rejected: Option<u8>,
        applying: Option<u8>,
        connection: usize,
    },
    /// The poll under way with this number is answered with the current state, or dropped.
    Finish {
        poll: usize,
        sent: bool,
    },
    End {
        connection: usize,
    },
    Publish(u8),
    Wait(u64),
}

fn event() -> impl Strategy<Value = Event> {
    let state = || proptest::option::of(0u8..3);
    prop_oneof![
        6 => (0u8..6, state(), state(), state(), 0usize..3).prop_map(|(agent, since, rejected, applying, connection)| {
            Event::Poll { agent, since, rejected, applying, connection }
        }),
        4 => (0usize..8, any::<bool>()).prop_map(|(poll, sent)| Event::Finish { poll, sent }),
        1 => (0usize..3).prop_map(|connection| Event::End { connection }),
        2 => (0u8..3).prop_map(Event::Publish),
        2 => (1u64..60).prop_map(Event::Wait),
    ]
}

/// What is known of one agent, the obvious way.
#[derive(Debug)]
struct Known {
    since: Option<u8>,
    rejected: Option<u8>,
    applying: Option<u8>,
    sent: Option<u8>,
    poll: usize,
    live: usize,
    seen: Instant,
    connection: Arc<Connection>,
    /// Since when it does not hold the current state.
    behind: Option<Instant>,
}

impl Known {
    fn sync_status(&self, current: u8) -> SyncStatus {
        match () {
            () if self.rejected == Some(current) => SyncStatus::Rejecting,
            () if self.since == Some(current) && self.sent.is_none_or(|sent| sent == current) => SyncStatus::Converged,
            () if self.applying == Some(current) => SyncStatus::Applying,
            () => SyncStatus::Lagging,
        }
    }

    fn is_gone(&self, now: Instant) -> bool {
        let ended = self.connection.ended().is_some_and(|at| at + AGENT_SKEW <= now);
        self.live == 0 && (ended || self.seen + EXPIRY <= now)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn it_counts_as_one_that_visits_everyone_at_everything(events in proptest::collection::vec(event(), 1..80)) {
        const ROOM: usize = 4;
        let mut world = World::new(ROOM);
        let mut connections: Vec<_> = (0..3).map(|_| Arc::new(Connection::new(world.connection.peer, Scheme::Http))).collect();
        let mut known: BTreeMap<u8, Known> = BTreeMap::new();
        let mut live: Vec<(u8, usize, LivePoll)> = Vec::new();
        let mut evictions: Vec<Instant> = Vec::new();
        for (number, event) in events.into_iter().enumerate() {
            world.now += Duration::from_millis(1);
            let now = world.now;
            match event {
                Event::Poll { agent, since, rejected, applying, connection } => {
                    known.retain(|_, entry| !entry.is_gone(now));
                    let mut before = known.remove(&agent);
                    if before.is_none() && known.len() == ROOM {
                        let last = *known.iter().min_by_key(|(_, entry)| (entry.live > 0, entry.seen)).expect("full").0;
                        known.remove(&last);
                        evictions.push(now);
                    }
                    world.connection = Arc::clone(&connections[connection]);
                    let poll = world.poll_while(&agent.to_string(), since, rejected, applying);
                    let sends = ![since, rejected, applying].contains(&Some(world.current));
                    let behind = before.as_mut().and_then(|before| before.behind);
                    let mut entry = Known {
                        since, rejected, applying, sent: sends.then_some(world.current), poll: number, seen: now, behind,
                        live: 1 + before.map_or(0, |before| before.live), connection: Arc::clone(&world.connection),
                    };
                    let converged = entry.sync_status(world.current) == SyncStatus::Converged;
                    entry.behind = if converged { None } else { Some(entry.behind.unwrap_or(now)) };
                    known.insert(agent, entry);
                    live.push((agent, number, poll));
                    // Here the polls of who was evicted end with it.
                    live.retain(|(of, ..)| known.contains_key(of));
                }
                Event::Finish { poll, sent } if poll < live.len() => {
                    let (agent, number, poll) = live.remove(poll);
                    let entry = known.get_mut(&agent).expect("live");
                    entry.live -= 1;
                    if sent {
                        poll.sent(&state(world.current));
                        if entry.poll == number && entry.sent.is_none() {
                            entry.sent = Some(world.current);
                        }
                    }
                }
                Event::Finish { .. } => {}
                Event::End { connection } => {
                    let next = Arc::new(Connection::new(world.connection.peer, Scheme::Http));
                    std::mem::replace(&mut connections[connection], next).end(now);
                }
                Event::Publish(next) => {
                    // As the store: only what differs.
                    if next != world.current {
                        world.publish(next);
                        known.values_mut().filter(|entry| entry.behind.is_none()).for_each(|entry| entry.behind = Some(now));
                    }
                }
                Event::Wait(seconds) => world.now += Duration::from_secs(seconds),
            }
            let now = world.now;
            known.retain(|_, entry| !entry.is_gone(now));
            let count = |sync_status| known.values().filter(|entry| entry.sync_status(world.current) == sync_status).count() as u64;
            let [converged, lagging, applying, rejecting] = SyncStatus::ALL.map(count);
            let expected = [converged, lagging + applying, rejecting];
            let lag = known.values().filter(|entry| entry.sync_status(world.current) != SyncStatus::Converged);
            let lag = lag.map(|entry| now - entry.behind.expect("it is")).max();
            let duplicates = known.values().filter(|entry| entry.live > 1).count();
            let totals = world.totals();
            prop_assert_eq!([totals.agents.converged, totals.agents.lagging, totals.agents.rejecting], expected);
            prop_assert_eq!((totals.duplicates, totals.oldest_lag), (duplicates, lag));
            prop_assert_eq!(totals.evictions, evictions.len() as u64);
            let recent = evictions.iter().filter(|at| now < **at + EXPIRY).count() as u64;
            let at_most = if recent > 0 { evictions.len() as u64 } else { 0 };
            prop_assert!((recent..=at_most).contains(&totals.agents.evicted));
        }
    }
}
