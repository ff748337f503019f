//! A tree: one server, three relays, three hundred leaves.

use std::time::Duration;

use tidewait::client::{Client, Settings, State};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::{Rig, model, serves, source};
use crate::server::{Server, until};

const LEAVES: usize = 300;

/// The version of a model.
fn version(state: &State) -> u64 {
    let document: serde_json::Value = serde_json::from_slice(state.bytes()).expect("JSON");
    document["version"].as_u64().expect("a number")
}

/// Leaves, each of which notes the version that it holds, and whether it ever took a step back.
struct Leaves {
    held: Vec<watch::Receiver<u64>>,
    stepped_back: watch::Receiver<bool>,
    _running: JoinSet<()>,
}

impl Leaves {
    /// Each prefers one of the relays, and knows all of them.
    fn start(relays: &[Server]) -> Self {
        let (back, stepped_back) = watch::channel(false);
        let mut running = JoinSet::new();
        let held = (0..LEAVES).map(|leaf| {
            let urls = (0..relays.len()).map(|n| format!("http://{}", relays[(leaf + n) % relays.len()].listen));
            let settings = Settings {
                endpoints: urls.collect(),
                agent_id: Some(format!("leaf-{leaf}")),
                wait: Duration::from_secs(20),
                ..Settings::new("", "/describe")
            };
            let (mut states, reports) = Client::start(&settings, None).expect("settings that can be used");
            let (holds, held) = watch::channel(0);
            let back = back.clone();
            running.spawn(async move {
                while let Some(state) = states.next().await {
                    let version = version(&state);
                    if version < *holds.borrow() {
                        back.send_replace(true);
                    }
                    holds.send_replace(version);
                    reports.held(state.id());
                }
            });
            held
        });
        Self { held: held.collect(), stepped_back, _running: running }
    }

    /// How many hold this version.
    fn at(&self, version: u64) -> usize {
        self.held.iter().filter(|held| *held.borrow() == version).count()
    }

    async fn reach(&self, version: u64) {
        until(&format!("all leaves hold {version}"), async || (self.at(version) == LEAVES).then_some(())).await;
    }
}

/// Agents that the root knows, by how they stand.
async fn counted(root: &Server) -> [f64; 3] {
    let mut counts = [0.0; 3];
    for (count, status) in counts.iter_mut().zip(["converged", "lagging", "rejecting"]) {
        *count = root.metric(&format!("tidewait_agents{{operation=\"describe\",state=\"{status}\"}}")).await;
    }
    counts
}

/// Whether so many agents are known, and all are converged.
fn are_converged(counts: [f64; 3], agents: usize) -> bool {
    let wanted = [f64::from(u32::try_from(agents).expect("few")), 0.0, 0.0];
    counts.iter().zip(wanted).all(|(count, wanted)| (count - wanted).abs() < 0.5)
}

/// All leaves, and the relays themselves.
async fn all_converged(root: &Server, relays: usize) {
    until("the root knows that all hold it", async || {
        are_converged(counted(root).await, LEAVES + relays).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_reaches_every_leaf_and_the_death_of_a_relay_never_looks_like_convergence() {
    let rig = Rig::new();
    let root = rig.root().await;
    let mut relays = Vec::new();
    for number in 0..3 {
        let of = source(&[root.listen], "").replace("agentId: relay", &format!("agentId: relay-{number}"));
        let mut relay = rig.serves(&format!("relay-{number}"), &of, "", &[]).await;
        relay.ready().await;
        relays.push(relay);
    }
    let leaves = Leaves::start(&relays);
    leaves.reach(1).await;
    all_converged(&root, 3).await;
    for next in 2..5 {
        rig.change(next);
        leaves.reach(next as u64).await;
    }
    all_converged(&root, 3).await;

    // One dies at the moment of a change: its leaves cannot hold it before they have moved.
    let dead = relays.remove(1);
    rig.change(5);
    drop(dead);
    serves(&root, 5).await;
    let mut was_early = false;
    until("the leaves have moved, and hold it", async || {
        let counted = counted(&root).await;
        let holding = leaves.at(5);
        // Looked at after the counts: whoever holds it by then may have been counted.
        was_early |= counted[1] < 0.5 && counted[2] < 0.5 && holding < LEAVES;
        (holding == LEAVES).then_some(())
    })
    .await;
    assert!(!was_early, "the root took the tree for converged while leaves held something else");
    // The dead relay is forgotten in the end: its agents count at the others.
    let mut look = tokio::time::interval(Duration::from_millis(200));
    let settled = tokio::time::timeout(Duration::from_secs(100), async {
        while !are_converged(counted(&root).await, LEAVES + 2) {
            look.tick().await;
        }
    });
    assert!(settled.await.is_ok(), "{:?}", counted(&root).await);
    assert!(!*leaves.stepped_back.borrow(), "a leaf was given an older state");
    assert_eq!(root.get("/describe").await.body, model(5).as_bytes());
}
