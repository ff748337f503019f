//! Edge agents: they poll as the README tells clients to, remember what they were given, and say
//! afterwards whether any of them was ever sent an older state.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::server::{Client, Reply, STEP};

/// Some agents that poll one URL until they are dropped.
pub(crate) struct Agents {
    tasks: JoinSet<()>,
    seen: Vec<Arc<Mutex<History>>>,
}

/// What one agent was given.
#[derive(Debug, Default)]
struct History {
    /// The `serial` of each model, in order.
    serials: Vec<u64>,
    /// The id it holds.
    id: String,
    /// Statuses that are none of 200, 204 and 503.
    strange: Vec<u16>,
}

impl Agents {
    /// Starts `count` agents; models carry a number, `serial`, that grows with each change.
    pub(crate) fn start(count: usize, address: SocketAddr, path: &str) -> Self {
        let mut tasks = JoinSet::new();
        let mut seen = Vec::with_capacity(count);
        for agent in 0..count {
            let history = Arc::new(Mutex::new(History::default()));
            seen.push(Arc::clone(&history));
            tasks.spawn(poll(agent, address, path.to_owned(), history));
        }
        Self { tasks, seen }
    }

    /// Waits until every agent holds the model with this serial.
    pub(crate) async fn all_hold(&mut self, serial: u64, within: Duration) {
        let lag = |history: &Arc<Mutex<History>>| history.lock().expect("no panic").serials.last() != Some(&serial);
        let mut look = interval(Duration::from_millis(10));
        let waited = tokio::time::timeout(within, async {
            while self.seen.iter().any(lag) {
                look.tick().await;
            }
        });
        if waited.await.is_err() {
            let behind = self.seen.iter().filter(|history| lag(history)).count();
            let example = self.seen.iter().find(|history| lag(history));
            panic!("{behind} of {} agents do not hold {serial}, as {example:?}", self.seen.len());
        }
    }

    /// Waits until this many agents hold the model with this serial, or a newer one.
    pub(crate) async fn some_hold(&mut self, count: usize, serial: u64, within: Duration) {
        let has = |history: &&Arc<Mutex<History>>| {
            history.lock().expect("no panic").serials.last().is_some_and(|last| *last >= serial)
        };
        let mut look = interval(Duration::from_millis(1));
        let waited = tokio::time::timeout(within, async {
            while self.seen.iter().filter(has).count() < count {
                look.tick().await;
            }
        });
        assert!(waited.await.is_ok(), "{} agents hold {serial}", self.seen.iter().filter(has).count());
    }

    /// The ids that the agents hold, each once.
    pub(crate) fn ids(&self) -> Vec<String> {
        let mut ids: Vec<_> = self.seen.iter().map(|history| history.lock().expect("no panic").id.clone()).collect();
        ids.sort();
        ids.dedup();
        ids
    }

    /// Ends them: none panicked, was given an older model after a newer one, or an answer that
    /// the protocol does not have.
    pub(crate) async fn judge(mut self) {
        self.tasks.abort_all();
        while let Some(ended) = self.tasks.join_next().await {
            assert!(!ended.as_ref().is_err_and(tokio::task::JoinError::is_panic), "{ended:?}");
        }
        for history in &self.seen {
            let history = history.lock().expect("no panic");
            assert!(history.serials.is_sorted(), "an older model after a newer one: {:?}", history.serials);
            assert!(history.strange.is_empty(), "statuses {:?}", history.strange);
        }
    }
}

async fn poll(agent: usize, address: SocketAddr, path: String, history: Arc<Mutex<History>>) {
    let mut pause = interval(Duration::from_millis(100 + u64::try_from(agent % 100).expect("small")));
    // A pause each time, not many at once after a long wait.
    pause.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut client: Option<Client> = None;
    loop {
        let id = history.lock().expect("no panic").id.clone();
        let reply = exchange(&mut client, address, &format!("{path}?since={id}&wait=20")).await;
        match reply {
            Some(reply) if reply.status == 200 => {
                let serial = reply.json()["serial"].as_u64().expect("models here have a serial");
                let mut history = history.lock().expect("no panic");
                if history.serials.last() != Some(&serial) {
                    history.serials.push(serial);
                }
                reply.id().clone_into(&mut history.id);
            }
            Some(reply) if reply.status == 204 => reply.id().clone_into(&mut history.lock().expect("no panic").id),
            Some(reply) => {
                if reply.status != 503 {
                    history.lock().expect("no panic").strange.push(reply.status);
                }
                pause.tick().await;
            }
            None => {
                client = None;
                pause.tick().await;
            }
        }
        if client.as_ref().is_none_or(|client| client.closed) {
            client = None;
        }
    }
}

/// One request and its answer; none when the connection is lost.
async fn exchange(client: &mut Option<Client>, address: SocketAddr, target: &str) -> Option<Reply> {
    if client.is_none() {
        *client = Some(Client::try_connect(address).await?);
    }
    let client = client.as_mut()?;
    client.try_send("GET", target, &[]).await.ok()?;
    tokio::time::timeout(STEP * 2, client.try_reply()).await.expect("an answer or the end of the connection in time")
}
