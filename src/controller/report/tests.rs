//! What is reported while states are published as fast as that goes.

use std::sync::atomic::{AtomicBool, Ordering};

use prometheus::Registry;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::*;
use crate::hub::{self, Hub};
use crate::model::{Content, Document, Epoch, Provenance, SourceRevision, SourceRevisions};
use crate::operation::{self, Feed, Run};
use crate::sources::{Draft, Report};
use crate::{config, sources};

/// States that are published while another thread reports.
const STATES: u64 = 3_000;

fn revisions(number: u64) -> SourceRevisions {
    SourceRevisions::of([SourceRevision { uid: "a", revision: number }.hash()])
}

fn holds(number: u64) -> sources::Report {
    let document = Document::from_json(number.to_string().as_bytes()).expect("a document");
    Report::Holds(Draft {
        epoch: Epoch::of(&["a"]),
        version: number,
        content: Content::Json(document),
        provenance: Provenance::Stream,
        revisions: revisions(number),
        source_objects: Arc::default(),
        seen: Instant::now(),
    })
}

/// Reports until there is nothing more to say: the states, each with what it is said to be made from.
fn reported(operation: &Arc<Operation>, ended: &AtomicBool) -> Vec<(String, String)> {
    let mut seen = Vec::new();
    while !ended.load(Ordering::Relaxed) {
        let status = of(std::slice::from_ref(operation), SystemTime::UNIX_EPOCH);
        let one = status.operations.into_iter().next().expect("the operation");
        seen.extend(one.state_id.zip(one.inputs));
        seen.dedup();
    }
    seen
}

#[tokio::test(start_paused = true)]
async fn no_report_says_of_a_state_that_it_was_made_from_the_objects_of_another() {
    let registry = Registry::new();
    let hubs = hub::Families::register(&registry).expect("new names");
    let families = operation::Families::register(&registry).expect("new names");
    let config = config::Operation { min_interval: Duration::ZERO, ..config::Operation::example("net", "/net") };
    let hub = Hub::new(config.parked, config.limits, hubs.of("net"));
    let operation = Arc::new(Operation::new(config, hub, families.of("net")));
    // Before that, no report says what a state was made from.
    tokio::time::advance(AGENT_SKEW).await;

    let (feeds, fed) = mpsc::channel(1);
    let run = tokio::spawn(Run::new(Arc::clone(&operation), None).run(fed));
    let (reports, taken) = mpsc::channel(1);
    let feed = Feed { source: "a".into(), version_from: None, reports: taken };
    feeds.send(feed).await.expect("it runs");

    let (runtime, ended) = (Handle::current(), Arc::new(AtomicBool::new(false)));
    let reader = std::thread::spawn({
        let (operation, ended) = (Arc::clone(&operation), Arc::clone(&ended));
        move || {
            let _clock = runtime.enter();
            reported(&operation, &ended)
        }
    });
    for number in 1..=STATES {
        reports.send(holds(number)).await.expect("it is taken");
    }
    // The last one is published, which only who waits for nothing else sees.
    tokio::time::sleep(Duration::from_secs(1)).await;
    ended.store(true, Ordering::Relaxed);
    let seen = reader.join().expect("it reports");
    run.abort();

    assert!(seen.len() > 10, "it has reported {} states", seen.len());
    for (state, inputs) in seen {
        let version = state.split('.').nth(1).and_then(|version| version.parse().ok()).expect("a version");
        assert_eq!(inputs, revisions(version).to_string(), "of {state}");
    }
}
