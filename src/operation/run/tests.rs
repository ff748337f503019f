//! One source after the other, in paused time.

use std::time::Duration;

use futures::FutureExt as _;
use prometheus::Registry;
use tokio::task::JoinSet;

use super::*;
use crate::hub::{self, Hub};
use crate::model::{Document, Epoch, Provenance, SourceRevisions};
use crate::{config, operation};

struct Rig {
    operation: Arc<Operation>,
    feeds: mpsc::Sender<Feed>,
    _running: JoinSet<()>,
}

fn rig(adjust: impl FnOnce(&mut config::Operation)) -> Rig {
    let mut config = config::Operation { parked: 10, ..config::Operation::example("net", "/net") };
    adjust(&mut config);
    let registry = Registry::new();
    let hubs = hub::Families::register(&registry).expect("new names");
    let families = operation::Families::register(&registry).expect("new names");
    let hub = Hub::new(config.parked, config.limits, hubs.of("net"));
    let operation = Arc::new(Operation::new(config, hub, families.of("net")));
    let (feeds, fed) = mpsc::channel(1);
    let mut running = JoinSet::new();
    running.spawn(Run::new(Arc::clone(&operation), None).run(fed));
    Rig { operation, feeds, _running: running }
}

impl Rig {
    async fn follows(&self, source: &str, version_from: Option<&str>) -> mpsc::Sender<Report> {
        let (reports, taken) = mpsc::channel(1);
        let version_from = version_from.map(str::to_owned);
        let feed = Feed { source: source.into(), version_from, reports: taken };
        self.feeds.send(feed).await.expect("it runs");
        reports
    }

    /// What is served once nothing more happens.
    async fn serves(&self) -> Option<String> {
        tokio::time::sleep(Duration::from_secs(1)).await;
        self.operation
            .hub
            .current()
            .map(|served| String::from_utf8_lossy(&served.snapshot.body().identity).into_owned())
    }
}

fn holds(source: &str, json: &str) -> Report {
    let document = Document::from_json(json.as_bytes()).expect("a document");
    Report::Holds(Draft {
        epoch: Epoch::of(&[source]),
        version: 1,
        content: Content::Json(document),
        provenance: Provenance::Read,
        revisions: SourceRevisions::NONE,
        source_objects: Arc::default(),
        seen: Instant::now(),
    })
}

#[tokio::test(start_paused = true)]
async fn what_a_source_said_that_is_none_any_more_is_neither_taken_nor_published() {
    let rig = rig(|config| config.min_interval = Duration::from_secs(60));
    let first = rig.follows("a", None).await;
    first.send(holds("a", "1")).await.expect("it is taken");
    assert_eq!(rig.serves().await.as_deref(), Some("1"));
    // One waits for its turn, one in the channel.
    first.send(holds("a", "2")).await.expect("it is taken");
    assert!(rig.serves().await.is_some() && rig.operation.facts().waiting.is_some());
    first.try_send(holds("a", "3")).expect("there is room");
    let second = rig.follows("b", None).await;
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(rig.serves().await.as_deref(), Some("1"), "the last that was served stays");
    assert_eq!(rig.operation.facts().status, Status::Lost("its source was changed".to_owned()));
    assert!(first.send(holds("a", "4")).now_or_never().expect("at once").is_err(), "nobody listens");
    second.send(holds("b", "5")).await.expect("it is taken");
    assert_eq!(rig.serves().await.as_deref(), Some("5"));
}

#[tokio::test(start_paused = true)]
async fn what_was_withheld_of_a_source_is_not_published_once_there_is_another() {
    let rig = rig(|config| config.paused = true);
    let first = rig.follows("a", None).await;
    first.send(holds("a", "1")).await.expect("it is taken");
    assert_eq!(rig.serves().await, None);
    let second = rig.follows("b", None).await;
    rig.serves().await;
    rig.operation.change(config::Operation { paused: false, ..(*rig.operation.config()).clone() });
    assert_eq!(rig.serves().await, None);
    second.send(holds("b", "2")).await.expect("it is taken");
    assert_eq!(rig.serves().await.as_deref(), Some("2"));
}

#[tokio::test(start_paused = true)]
async fn each_source_has_its_own_way_to_a_version() {
    let rig = rig(|_| {});
    let first = rig.follows("a", Some("/v")).await;
    first.send(holds("a", r#"{"v":7}"#)).await.expect("it is taken");
    rig.serves().await;
    let version = || rig.operation.hub.current().expect("a state").snapshot.id.version;
    assert_eq!(version(), 7);
    let second = rig.follows("b", None).await;
    second.send(holds("b", "{}")).await.expect("it is taken");
    rig.serves().await;
    assert_eq!((version(), rig.operation.facts().status.clone()), (1, Status::Live));
}
