//! What an agent costs while nothing happens.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::time::Duration;

use super::{Agent, Rig, until};
use crate::process::PARKED;
use crate::server::tidewait;

/// Its own memory, in kB: also that of a debug build, whose code takes more than a release has in all.
const MOST: u64 = 8_000;
/// Shorter than a wait, and than the time between two looks at the output.
const WATCHED: Duration = Duration::from_secs(20);
/// Threads that were used for files end some seconds later.
const WAKES: u64 = 5;

/// A line of the status of a process, or of one of its threads.
fn status(path: &str, name: &str) -> u64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    // A thread may end meanwhile.
    line.map_or(0, |line| line.trim().trim_end_matches(" kB").parse().expect("a number"))
}

/// How often each of its threads has begun to run. One that ends takes its count with it.
fn wakes(agent: &Agent) -> BTreeMap<OsString, u64> {
    let tasks = fs::read_dir(format!("/proc/{}/task", agent.child.id().expect("it runs"))).expect("it runs");
    let of_thread = |path: &str| status(path, "voluntary_ctxt_switches") + status(path, "nonvoluntary_ctxt_switches");
    let tasks = tasks.map(|task| task.expect("a thread"));
    tasks.map(|task| (task.file_name(), of_thread(task.path().join("status").to_str().expect("UTF-8")))).collect()
}

#[tokio::test]
async fn a_parked_agent_holds_little_and_wakes_only_for_its_poll() {
    let rig = Rig::new().await;
    let (url, state, out) = (format!("http://{}", rig.server.listen), rig.path("state-a"), rig.path("out"));
    let exec = rig.hook("exec");
    let arguments =
        ["agent", "--endpoint", &url, "--agent-id=a", "--state-dir", &state, "--out", &out, "--exec", &exec];
    let agent = Agent::spawn(tidewait(&arguments));
    for n in 1..=10 {
        rig.change(n).await;
        rig.holds("a", n).await;
    }
    until("parked", async || (rig.server.metric(PARKED).await > 0.0).then_some(())).await;
    // Nothing is to happen meanwhile, so there is nothing to wait for.
    let before = wakes(&agent);
    tokio::time::sleep(WATCHED).await;
    let since = |(thread, now): (OsString, u64)| now.saturating_sub(before.get(&thread).copied().unwrap_or(0));
    let woken: u64 = wakes(&agent).into_iter().map(since).sum();
    assert!(woken <= WAKES, "{woken} wakes in {WATCHED:?}");
    let path = format!("/proc/{}/status", agent.child.id().expect("it runs"));
    let own = status(&path, "RssAnon");
    assert!((1..MOST).contains(&own), "{own} kB");
}
