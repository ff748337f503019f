//! Clients that can apply nothing cost their server no more than others.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::{AGENTS, Fleet, PARKED, Verdict, model};
use crate::model_file::ModelFile;
use crate::process::serve;
use crate::server::STEP;

/// How long polls are counted.
const COUNTED: Duration = Duration::from_secs(30);
/// From one state to the next: some waits end in between, some do not.
const CHANGE: Duration = Duration::from_secs(5);
const WAIT: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_rejects_each_state_polls_no_more_than_who_holds_it() {
    let file = ModelFile::new(&model(1));
    let mut server = serve(&file, &[]).await;
    server.ready().await;
    let [holds, rejects] = [("holds", Verdict::Held), ("rejects", Verdict::Rejected)]
        .map(|(name, verdict)| Fleet::start(name, AGENTS, server.listen, WAIT, verdict));
    for fleet in [&holds, &rejects] {
        fleet.all_have(1, STEP).await;
    }
    server.metric_becomes(PARKED, 400.0).await;
    let before = [&holds, &rejects].map(|fleet| fleet.polls().iter().sum::<u64>());
    let (began, mut n) = (Instant::now(), 1);
    while began.elapsed() < COUNTED {
        sleep_until(began + CHANGE * n).await;
        n += 1;
        file.replace(&model(n.into()));
        for fleet in [&holds, &rejects] {
            fleet.all_have(n.into(), STEP).await;
        }
    }
    server.metric_becomes("tidewait_agents{operation=\"describe\",state=\"rejecting\"}", 200.0).await;
    let [held, rejected] = [&holds, &rejects].map(|fleet| fleet.polls().iter().sum::<u64>());
    let (held, rejected) = (held - before[0], rejected - before[1]);
    // One more each may be under way when it is counted.
    assert!(rejected <= held + AGENTS as u64, "{rejected} polls of those that reject, {held} of those that hold");
}
