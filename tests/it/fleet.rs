//! Some hundred clients of the client library, each an agent of its own, and one server.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tidewait::client::{Client, Reports, Settings};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval};

mod namespace;
mod outages;
mod rejecting;

/// What is asked of a fleet holds for as many.
const AGENTS: usize = 200;

const CONVERGED: &str = "tidewait_agents{operation=\"describe\",state=\"converged\"}";
const PARKED: &str = "tidewait_parked_requests{operation=\"describe\"}";

/// What clients say of each state that they are given.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Held,
    Rejected,
}

/// The clients; they end with this.
struct Fleet {
    members: Vec<Member>,
    _tasks: JoinSet<()>,
}

struct Member {
    reports: Reports,
    story: Arc<Mutex<Story>>,
}

/// What a client did, and was given.
#[derive(Default)]
struct Story {
    /// Each poll by its number, and when it began.
    polls: Vec<(u64, Instant)>,
    /// The number of each state, and of the poll that brought it.
    given: Vec<(u64, u64)>,
}

/// The model with this number.
fn model(n: u64) -> String {
    format!(r#"{{"n":{n},"padding":"{}"}}"#, "x".repeat(1000))
}

impl Fleet {
    /// Which parts of their pauses they wait is the same in each run.
    fn start(name: &str, count: usize, address: SocketAddr, wait: Duration, verdict: Verdict) -> Self {
        fastrand::seed(count as u64);
        let (mut members, mut tasks) = (Vec::new(), JoinSet::new());
        for number in 0..count {
            let agent_id = Some(format!("{name}-{number}"));
            let settings = Settings { agent_id, wait, ..Settings::new(&format!("http://{address}"), "/describe") };
            let (mut states, reports) = Client::start(&settings, None).expect("settings that can be used");
            let member = Member { reports, story: Arc::default() };
            let (reports, story) = (member.reports.clone(), Arc::clone(&member.story));
            tasks.spawn(note_polls(reports.clone(), Arc::clone(&story)));
            members.push(member);
            tasks.spawn(async move {
                while let Some(state) = states.next().await {
                    let found = serde_json::from_slice::<Value>(state.bytes()).expect("JSON");
                    let n = found["n"].as_u64().expect("a number");
                    assert_eq!(*state.bytes(), model(n));
                    // There is no other poll before the verdict.
                    let poll = reports.status().borrow().counters.polls;
                    story.lock().expect("no panic").given.push((n, poll));
                    match verdict {
                        Verdict::Held => reports.held(state.id()),
                        Verdict::Rejected => reports.rejected(state.id(), "on purpose"),
                    }
                }
            });
        }
        Self { members, _tasks: tasks }
    }

    /// Waits until each was given this model, which is the newest. Nobody was given an older one after a newer one.
    async fn all_have(&self, n: u64, within: Duration) {
        let has =
            |member: &&Member| member.story.lock().expect("no panic").given.last().is_some_and(|(last, _)| *last == n);
        let mut look = interval(Duration::from_millis(20));
        let waited = tokio::time::timeout(within, async {
            while !self.members.iter().all(|member| has(&member)) {
                look.tick().await;
            }
        });
        if waited.await.is_err() {
            let without: Vec<_> = self.members.iter().filter(|member| !has(member)).collect();
            let example = without.first().map(|member| member.reports.status().borrow().clone());
            panic!("{} of {} do not have {n}, as {example:#?}", without.len(), self.members.len());
        }
        for member in &self.members {
            let story = member.story.lock().expect("no panic");
            assert!(story.given.is_sorted_by_key(|(n, _)| *n), "{:?}", story.given);
        }
    }

    /// How many polls each has sent, or tried.
    fn polls(&self) -> Vec<u64> {
        self.members.iter().map(|member| member.reports.status().borrow().counters.polls).collect()
    }

    /// How long after that the poll of each began that brought the last state.
    fn came_back_after(&self, since: Instant) -> Vec<Duration> {
        let began = |member: &Member| {
            let story = member.story.lock().expect("no panic");
            let (_, poll) = story.given.last().expect("it was given one");
            let (_, began) = story.polls.iter().find(|(number, _)| number >= poll).expect("it was noted");
            began.duration_since(since)
        };
        self.members.iter().map(began).collect()
    }
}

async fn note_polls(reports: Reports, story: Arc<Mutex<Story>>) {
    let (mut status, mut last) = (reports.status(), 0);
    while let Ok(seen) = status.wait_for(|status| status.counters.polls > last).await.map(|seen| seen.counters.polls) {
        last = seen;
        story.lock().expect("no panic").polls.push((last, Instant::now()));
    }
}

/// No single second holds over a tenth of what happened at these times.
fn no_second_holds_over_a_tenth(times: &[Duration]) {
    let mut seconds = BTreeMap::<u64, usize>::new();
    for time in times {
        *seconds.entry(time.as_secs()).or_default() += 1;
    }
    let most = seconds.values().max().copied().unwrap_or_default();
    assert!(most * 10 <= times.len(), "{most} of {} in one second: {seconds:?}", times.len());
}
