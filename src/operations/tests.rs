//! Operations over real files, as they come, change and go.

use std::path::Path;
use std::time::Duration;

use futures::FutureExt as _;
use prometheus::{Registry, TextEncoder};
use tempfile::TempDir;

use super::*;
use crate::config::{Format, Source};
use crate::hub::{Effect, Full, News, Served, Waiter};
use crate::model::{Content, Digest, Document, StateId};
use crate::sources::kubernetes;

struct Rig {
    directory: TempDir,
    registry: Registry,
    table: Arc<Table>,
    wanted: watch::Sender<Wanted>,
    running: JoinSet<Outcome>,
}

impl Rig {
    fn start(configs: impl FnOnce(&Path) -> Vec<config::Operation>) -> Self {
        let (directory, registry) = (tempfile::tempdir().expect("a directory"), Registry::new());
        for (name, model) in [("one.json", "1"), ("two.json", "2")] {
            std::fs::write(directory.path().join(name), model).expect("a file");
        }
        let ground = Ground {
            state_dir: Some(directory.path().join("state")),
            watch_timeout: Duration::from_secs(200),
            client: None,
            app: None,
            cluster: kubernetes::Metrics::register(&registry).expect("new names"),
        };
        let hubs = hub::Families::register(&registry).expect("new names");
        let families = operation::Families::register(&registry).expect("new names");
        let mut operations = Operations::new(ground, hubs, families);
        let configs = configs(directory.path());
        operations.start_all(&configs).expect("nobody else keeps state there");
        let (wanted, wants) = watch::channel(Wanted::all(configs));
        let table = operations.table();
        let mut running = JoinSet::new();
        running.spawn(operations.run(wants));
        Self { directory, registry, table, wanted, running }
    }

    fn wants(&self, configs: Vec<config::Operation>) {
        self.wanted.send_replace(Wanted::all(configs));
    }

    /// Waits until this operation serves this model.
    async fn serves(&self, path: &str, model: &str) -> Arc<Operation> {
        let mut look = tokio::time::interval(Duration::from_millis(10));
        let found = async {
            loop {
                if let Some(operation) = self.table.get(path) {
                    operation.hub.wait_for(|id| id.digest == digest(model)).await;
                    return operation;
                }
                look.tick().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), found).await.expect("it is served")
    }

    fn metrics(&self) -> String {
        TextEncoder::new().encode_to_string(&self.registry.gather()).expect("text")
    }
}

fn operation(directory: &Path, path: &str, file: &str) -> config::Operation {
    config::Operation {
        source: Source::File { path: directory.join(file), format: Format::Json, below: None },
        min_interval: Duration::ZERO,
        parked: 10,
        ..config::Operation::example("net", path)
    }
}

fn digest(model: &str) -> Digest {
    Content::Json(Document::from_json(model.as_bytes()).expect("a document")).digest()
}

fn park(operation: &Operation) -> Result<Waiter, Full> {
    operation.hub.park().map(|permit| operation.hub.subscribe(None).expect("the whole").park(permit))
}

/// Waits for another state than this; none: the operation has ended.
async fn another(waiter: &mut Waiter, model: &str) -> Option<Arc<Served>> {
    let effect = |id: Option<&StateId>| {
        if id.is_some_and(|id| id.digest != digest(model)) { Effect::Wakes } else { Effect::None }
    };
    match waiter.changed(effect).await {
        News::State(served) => served,
        News::Ended => None,
    }
}

#[tokio::test]
async fn limits_change_in_place_and_release_nobody_and_another_source_does() {
    let mut rig = Rig::start(|directory| vec![operation(directory, "/net", "one.json")]);
    let running = rig.serves("/net", "1").await;
    let mut waiter = park(&running).expect("room");
    let changed = config::Operation { parked: 1, ..operation(rig.directory.path(), "/net", "one.json") };
    rig.wants(vec![changed.clone()]);
    let full = async {
        while running.config().parked != 1 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), full).await.expect("it changes");
    assert!(Arc::ptr_eq(&running, &rig.table.get("/net").expect("it runs")), "it is the same operation");
    assert!(park(&running).is_err(), "the new limit holds");
    assert!(another(&mut waiter, "1").now_or_never().is_none(), "nobody is released");

    let two = Source::File { path: rig.directory.path().join("two.json"), format: Format::Json, below: None };
    rig.wants(vec![config::Operation { source: two, ..changed }]);
    let released = tokio::time::timeout(Duration::from_secs(20), another(&mut waiter, "1")).await;
    let served = released.expect("in time").expect("the operation goes on");
    assert_eq!(&served.snapshot.body().identity[..], b"2");
    assert!(rig.running.try_join_next().is_none());
}

#[tokio::test]
async fn who_is_parked_at_an_operation_that_ends_is_let_go_and_its_name_is_free() {
    let mut rig = Rig::start(|directory| vec![operation(directory, "/old", "one.json")]);
    let old = rig.serves("/old", "1").await;
    let mut waiter = park(&old).expect("room");
    // Another path is another endpoint; its state on disk, which one process may hold once, is free by then.
    rig.wants(vec![operation(rig.directory.path(), "/new", "one.json")]);
    let ended = tokio::time::timeout(Duration::from_secs(20), another(&mut waiter, "1")).await;
    assert!(ended.expect("in time").is_none(), "the operation has ended");
    let new = rig.serves("/new", "1").await;
    assert!(rig.table.get("/old").is_none() && !Arc::ptr_eq(&old, &new));
    assert_eq!(old.hub.current().map(|served| served.snapshot.id), new.hub.current().map(|served| served.snapshot.id));
    assert!(rig.metrics().contains("operation=\"net\""));
    rig.wants(Vec::new());
    let gone = async {
        while rig.metrics().contains("operation=\"net\"") {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), gone).await.expect("its series are forgotten");
    assert!(rig.table.all().is_empty() && rig.table.missing().is_empty());
    drop(rig.wanted);
    tokio::task::yield_now().await;
    assert!(rig.running.try_join_next().is_none(), "it stays as it is");
}

#[tokio::test]
async fn a_source_that_cannot_begin_ends_the_process_with_a_reason() {
    let mut rig = Rig::start(|_| Vec::new());
    let source = Source::ConfigMap { namespace: "n".into(), name: "m".into(), key: None, format: Format::Json };
    rig.wants(vec![config::Operation { source, ..operation(rig.directory.path(), "/net", "one.json") }]);
    let ended = tokio::time::timeout(Duration::from_secs(20), rig.running.join_next()).await.expect("in time");
    let fatal = ended.expect("it runs").expect("no panic").expect_err("it cannot go on");
    assert_eq!(fatal.to_string(), "task operation net failed");
    let cause = fatal.source().expect("a cause").to_string();
    assert!(cause.starts_with("its source ConfigMap m is in Kubernetes"), "{cause}");
}
