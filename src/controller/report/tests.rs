//! What is reported while states are published as fast as that goes.

use prometheus::Registry;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::*;
use crate::hub::{self, Hub};
use crate::model::{Content, Document, Epoch, Provenance, SourceRevision, SourceRevisions};
use crate::operation::{self, Feed, Run};
use crate::sources::{Draft, Report};
use crate::{config, sources};

/// Reports of distinct states that another thread makes while they are published.
const REPORTS: usize = 500;

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

/// Reports until so many states were told of: each with what it is said to be made from.
fn reported(operation: &Arc<Operation>) -> Vec<(String, String)> {
    let mut seen = Vec::new();
    while seen.len() < REPORTS {
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
    tokio::time::advance(AGENT_SKEW + Duration::from_secs(1)).await;

    let (feeds, taken) = mpsc::channel(1);
    let mut running = JoinSet::new();
    running.spawn(Run::new(Arc::clone(&operation), None).run(taken));
    let (reports, said) = mpsc::channel(1);
    let source = Feed { source: "a".into(), version_from: None, reports: said };
    feeds.send(source).await.expect("it runs");

    let runtime = Handle::current();
    let reader = std::thread::spawn(move || {
        let _clock = runtime.enter();
        reported(&operation)
    });
    let mut number = 0;
    while !reader.is_finished() {
        number += 1;
        reports.send(holds(number)).await.expect("it is taken");
    }
    let seen = reader.join().expect("it reports");

    for (state, inputs) in seen {
        let version = state.split('.').nth(1).and_then(|version| version.parse().ok()).expect("a version");
        assert_eq!(inputs, revisions(version).to_string(), "of {state}");
    }
}
