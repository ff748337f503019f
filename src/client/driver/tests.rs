//! The driver in paused time, over a network that a script stands for.

use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::*;
use crate::client::failure::FailureKind;
use crate::client::handles::{Reports, States};
use crate::client::state::State;

const SECS: fn(u64) -> Duration = Duration::from_secs;

/// What a server does with the next poll.
enum Deed {
    /// It gives this after some time.
    State(Duration, State),
    /// The wait ends without a change.
    Same(Duration, &'static str),
    Fails(FailureKind),
    /// It never answers.
    Silence,
}

/// A poll as the network saw it: `since`, `rejected`, `applying`, and when.
type Seen = ([Option<String>; 3], Duration);

struct Script {
    deeds: std::vec::IntoIter<Deed>,
    seen: Arc<Mutex<Vec<Seen>>>,
    began: tokio::time::Instant,
    /// How long a connection takes.
    connects: Duration,
    /// How long after a poll what is shown is another one.
    renews: Duration,
}

impl Network for Script {
    fn name(&self, place: Place) -> String {
        format!("endpoint {}", place.url)
    }

    async fn look_up(&self, _url: usize) -> Result<Vec<SocketAddr>, Failure> {
        Ok(vec![SocketAddr::from(([10, 0, 0, 1], 80))])
    }

    async fn open(&mut self, _place: Place) -> Result<(), Failure> {
        sleep(self.connects).await;
        Ok(())
    }

    async fn exchange(&mut self, poll: &Poll) -> Ended {
        let names = [
            poll.since.as_ref().map(|state| state.id().to_owned()),
            poll.rejected.as_ref().map(|rejected| rejected.id.clone()),
            poll.applying.clone(),
        ];
        self.seen.lock().expect("no panic").push((names, self.began.elapsed()));
        let outcome = match self.deeds.next().unwrap_or(Deed::Silence) {
            Deed::State(after, state) => {
                sleep(after).await;
                Outcome::State(Box::new(state))
            }
            Deed::Same(after, id) => {
                sleep(after).await;
                Outcome::Same { id: id.to_owned(), age: Duration::ZERO }
            }
            Deed::Fails(kind) => Outcome::Failed(Failure::new(kind, "on purpose")),
            Deed::Silence => std::future::pending().await,
        };
        Ended { outcome, keeps: true, within: None, terms: None, bytes: 7 }
    }

    fn drop_connection(&mut self) {}

    async fn renewed(&self) {
        let last = self.seen.lock().expect("no panic").last().map_or(Duration::ZERO, |(_, at)| *at);
        tokio::time::sleep_until(self.began + last + self.renews).await;
    }
}

struct Rig {
    states: States,
    reports: Reports,
    seen: Arc<Mutex<Vec<Seen>>>,
}

fn start(deeds: Vec<Deed>, connects: Duration) -> Rig {
    let seen = Arc::<Mutex<Vec<Seen>>>::default();
    let began = tokio::time::Instant::now();
    let line = Script { deeds: deeds.into_iter(), seen: Arc::clone(&seen), began, connects, renews: SECS(12) };
    let machine = Machine::new(1, None, true, 3, now());
    let shared = Arc::<Shared>::default();
    let (status, told) = watch::channel(Status::default());
    let mut driver = JoinSet::new();
    driver.spawn(Driver { machine, line, to_user: ToUser { shared: Arc::clone(&shared), status } }.run());
    let handles = crate::client::handles::of(shared, driver, told);
    Rig { states: handles.0, reports: handles.1, seen }
}

/// A state whose id is not of this version, so that nothing of it is computed.
fn state(id: &str) -> State {
    State::kept(id, "text/plain", Bytes::from(id.to_owned())).expect("nothing is known of it")
}

impl Rig {
    fn polls(&self) -> Vec<([Option<String>; 3], u64)> {
        let seen = self.seen.lock().expect("no panic");
        seen.iter().map(|(names, at)| (names.clone(), u64::try_from(at.as_millis()).expect("soon"))).collect()
    }
}

fn names(since: &str, rejected: &str, applying: &str) -> [Option<String>; 3] {
    [since, rejected, applying].map(|name| Some(name.to_owned()).filter(|name| !name.is_empty()))
}

#[tokio::test(start_paused = true)]
async fn a_verdict_drops_the_poll_that_is_parked_and_the_next_one_says_so() {
    let mut rig = start(vec![Deed::State(SECS(0), state("one"))], Duration::ZERO);
    let one = rig.states.next().await.expect("it runs");
    sleep(SECS(10)).await;
    assert_eq!(rig.reports.status().borrow().applying.as_deref(), Some("one"));
    rig.reports.held(one.id());
    sleep(SECS(1)).await;
    let expected = [(names("", "", ""), 0), (names("", "", "one"), 1000), (names("one", "", ""), 10_000)];
    assert_eq!(rig.polls(), expected);
}

#[tokio::test(start_paused = true)]
async fn the_newest_state_wins_and_one_that_nobody_took_is_never_given() {
    let deeds = ["one", "two", "three", "four"].map(|id| Deed::State(SECS(1), state(id)));
    let mut rig = start(deeds.into(), Duration::ZERO);
    let one = rig.states.next().await.expect("it runs");
    sleep(SECS(60)).await;
    let newest = rig.states.next().await.expect("it runs");
    assert_eq!(newest.id(), "four");
    assert!(timeout(SECS(60), rig.states.next()).await.is_err(), "there is no other");
    rig.reports.held(one.id());
    rig.reports.rejected("four", "no");
    sleep(SECS(1)).await;
    assert_eq!(rig.polls().pop().expect("one").0, names("one", "four", ""));
}

#[tokio::test(start_paused = true)]
async fn a_verdict_at_once_takes_no_second_connection() {
    let deeds = (0..100).map(|n| Deed::State(SECS(1), state(&format!("s{n}")))).collect();
    let mut rig = start(deeds, Duration::ZERO);
    for _ in 0..100 {
        let state = rig.states.next().await.expect("it runs");
        rig.reports.held(state.id());
    }
    sleep(SECS(1)).await;
    let polls = rig.polls();
    assert_eq!(polls.len(), 101, "one for each state, and the one that is parked");
    assert!(polls.iter().all(|(names, _)| names[2].is_none()), "nothing is applied for long: {polls:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_said_while_it_connects_is_in_the_next_poll() {
    let mut rig = start(vec![Deed::State(SECS(0), state("one"))], SECS(4));
    let one = rig.states.next().await.expect("it runs");
    // The poll with `applying` begins after a second, and connects for four.
    sleep(SECS(2)).await;
    rig.reports.held(one.id());
    sleep(SECS(30)).await;
    assert_eq!(rig.polls(), [(names("", "", ""), 4000), (names("one", "", ""), 10_000)]);
}

#[tokio::test(start_paused = true)]
async fn a_poll_that_is_asked_for_ends_a_pause_and_what_was_rejected_may_come_again() {
    let deeds = vec![
        Deed::State(SECS(0), state("one")),
        Deed::Fails(FailureKind::Refused),
        Deed::Same(SECS(3), "one"),
        Deed::State(SECS(0), state("one")),
    ];
    let mut rig = start(deeds, Duration::ZERO);
    rig.states.next().await.expect("it runs");
    rig.reports.rejected("one", "no");
    sleep(SECS(5)).await;
    assert_eq!(rig.polls().len(), 2, "refused for half a minute at least");
    rig.reports.poll_now();
    rig.reports.poll_now();
    assert!(timeout(SECS(10), rig.states.next()).await.expect("asked for").is_some());
    let polls = rig.polls();
    let asked: Vec<_> = polls[2..].iter().map(|(names, at)| (names[1].clone(), *at)).collect();
    assert!(asked.len() >= 2 && asked.iter().all(|(rejected, _)| rejected.is_none()), "{asked:?}");
    assert!(asked[1].1 - asked[0].1 >= 1000, "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn it_ends_with_its_states_and_says_so_if_it_ends_before() {
    let mut rig = start(vec![], Duration::ZERO);
    let mut status = rig.reports.status();
    assert!(timeout(SECS(100), rig.states.next()).await.is_err());
    drop(rig.states);
    assert!(status.wait_for(|_| false).await.is_err(), "nobody tells any more");
    rig.reports.held("whatever");
}

#[tokio::test(start_paused = true)]
async fn a_renewed_credential_ends_the_pause_after_a_refusal() {
    let denied = || Deed::Fails(FailureKind::Denied);
    let mut rig = start(vec![denied(), denied(), denied(), Deed::State(SECS(0), state("one"))], Duration::ZERO);
    rig.states.next().await.expect("it runs");
    let at: Vec<_> = rig.polls().into_iter().map(|(_, at)| at).collect();
    assert_eq!(at, [0, 0, 12_000, 24_000], "the second at once, and then each time that there is a new one");
}
