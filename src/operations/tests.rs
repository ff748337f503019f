//! Operations over real files, as they come, change and go.

use std::path::Path;
use std::time::Duration;

use futures::FutureExt as _;
use prometheus::{Registry, TextEncoder};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::config::{Format, Refresh, Source};
use crate::hub::{Effect, Full, News, Served, Waiter};
use crate::model::{Content, Digest, Document, StateId};
use crate::sources::kubernetes;

struct Rig {
    directory: TempDir,
    registry: Registry,
    table: Arc<OperationRegistry>,
    wanted: watch::Sender<Wanted<config::Operation>>,
    disks: BTreeMap<String, Disk>,
    running: JoinSet<TaskResult>,
}

impl Rig {
    async fn start(configs: impl FnOnce(&Path) -> Vec<config::Operation>) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        for (name, model) in [("one.json", "1"), ("two.json", "2")] {
            std::fs::write(directory.path().join(name), model).expect("a file");
        }
        Self::over(directory, None, configs).await
    }

    /// Over what a former process left; `app`: where one is behind.
    async fn over(
        directory: TempDir,
        app: Option<&str>,
        configs: impl FnOnce(&Path) -> Vec<config::Operation>,
    ) -> Self {
        let registry = Registry::new();
        let dependencies = Dependencies {
            state_dir: Some(directory.path().join("state")),
            watch_timeout: Duration::from_secs(200),
            client: None,
            app: app.map(|authority| config::Upstream {
                authority: authority.parse().expect("an authority"),
                protocol: config::Protocol::Http1,
                connect_timeout: Duration::from_secs(1),
                response_head_timeout: Duration::from_secs(60),
                body_idle_timeout: None,
            }),
            cluster: kubernetes::Metrics::register(&registry).expect("new names"),
            holdings: None,
            access: config::Access::default(),
            rules: Arc::default(),
        };
        let hubs = hub::Families::register(&registry).expect("new names");
        let families = operation::Families::register(&registry).expect("new names");
        let mut operations = Operations::new(dependencies, hubs, families);
        let configs = configs(directory.path());
        operations.start_all(&configs).await.expect("nobody else keeps state there");
        let (wanted, wants) = watch::channel(Wanted::all(configs));
        let (table, disks) = (operations.registry(), operations.disks.clone());
        let mut running = JoinSet::new();
        running.spawn(operations.run(wants));
        Self { directory, registry, table, wanted, disks, running }
    }

    /// Ends as a process does, and leaves what it kept.
    async fn stop(mut self) -> TempDir {
        self.running.shutdown().await;
        self.directory
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
                    let is_served = |served: Arc<Served>| &served.snapshot.body().identity[..] == model.as_bytes();
                    operation.hub.wait_for(|_| operation.hub.current().is_some_and(is_served)).await;
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
    let mut rig = Rig::start(|directory| vec![operation(directory, "/net", "one.json")]).await;
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
    let mut rig = Rig::start(|directory| vec![operation(directory, "/old", "one.json")]).await;
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
    let mut rig = Rig::start(|_| Vec::new()).await;
    let source = Source::ConfigMap { namespace: "n".into(), name: "m".into(), key: None, format: Format::Json };
    rig.wants(vec![config::Operation { source, ..operation(rig.directory.path(), "/net", "one.json") }]);
    let ended = tokio::time::timeout(Duration::from_secs(20), rig.running.join_next()).await.expect("in time");
    let fatal = ended.expect("it runs").expect("no panic").expect_err("it cannot go on");
    assert_eq!(fatal.to_string(), "task operation net failed");
    let cause = fatal.source().expect("a cause").to_string();
    assert!(cause.starts_with("its source ConfigMap m is in Kubernetes"), "{cause}");
}

/// An app that serves this model at any path, until it is dropped; and where it is.
async fn app(model: &'static str) -> (JoinSet<()>, String) {
    answering("application/json", model).await
}

/// The same with this media type.
async fn answering(media_type: &'static str, model: &'static str) -> (JoinSet<()>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound").to_string();
    let mut serving = JoinSet::new();
    serving.spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = [0; 4096];
            let _ = stream.read(&mut head).await;
            let length = model.len();
            let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {media_type}\r\ncontent-length: {length}\r\n\r\n");
            let _ = stream.write_all(format!("{head}{model}").as_bytes()).await;
        }
    });
    (serving, address)
}

fn from_app(directory: &Path) -> config::Operation {
    let refresh = Refresh::Interval(Duration::from_secs(1));
    config::Operation {
        source: Source::Upstream { path: "/model".to_owned(), refresh, format: None },
        ..operation(directory, "/net", "one.json")
    }
}

#[tokio::test]
async fn what_is_kept_is_of_the_source_that_it_came_from_also_where_that_was_changed_in_place() {
    let (mut serving, address) = app("3").await;
    let directory = Rig::start(|_| Vec::new()).await.stop().await;
    let rig = Rig::over(directory, Some(&address), |directory| vec![operation(directory, "/net", "one.json")]).await;
    rig.serves("/net", "1").await;
    rig.wants(vec![from_app(rig.directory.path())]);
    rig.serves("/net", "3").await;
    let directory = rig.stop().await;
    serving.shutdown().await;
    std::fs::remove_file(directory.path().join("one.json")).expect("it is there");

    // With the app away, as the app's.
    let rig = Rig::over(directory, Some(&address), |directory| vec![from_app(directory)]).await;
    rig.serves("/net", "3").await;
    let directory = rig.stop().await;

    // With the file away, as the file's: what is kept is none of its.
    let rig = Rig::over(directory, Some(&address), |directory| vec![operation(directory, "/net", "one.json")]).await;
    let running = rig.table.get("/net").expect("it runs");
    let asked = async {
        while running.facts().status == operation::Status::Starting {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), asked).await.expect("its file is looked for");
    assert!(running.hub.current().is_none(), "the app's state is not the file's");
}

#[tokio::test]
async fn a_disk_that_hangs_holds_up_no_change_and_no_operation_and_nothing_old_is_written_once_it_answers() {
    let mut rig = Rig::start(|directory| vec![operation(directory, "/net", "one.json")]).await;
    let first = rig.serves("/net", "1").await.hub.current().expect("a state").snapshot.id;
    let (one, disk) = (rig.directory.path().join("one.json"), rig.disks["net"].clone());
    let answers = disk.hang();
    std::fs::write(&one, "5").expect("a file");
    // What is to be kept of it waits for the disk; meanwhile others begin, and its name goes to another operation.
    tokio::time::timeout(Duration::from_secs(20), async {
        while rig.table.get("/net").expect("it runs").facts().applied.as_ref().is_none_or(|applied| applied.id == first)
        {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("it is seen");
    let other = config::Operation { name: "other".to_owned(), ..operation(rig.directory.path(), "/other", "two.json") };
    rig.wants(vec![operation(rig.directory.path(), "/new", "one.json"), other]);
    rig.serves("/other", "2").await;
    rig.serves("/new", "5").await;
    assert!(rig.metrics().contains("tidewait_state_disk_errors_total{operation=\"net\"}"), "it is counted");
    std::fs::write(&one, "6").expect("a file");
    rig.serves("/new", "6").await;
    drop(answers);
    let kept = async {
        let reads = |disk: Disk| tokio::task::spawn_blocking(move || disk.load("file").expect("readable").kept);
        while reads(disk.clone()).await.expect("no panic").is_none_or(|kept| &kept.snapshot.body().identity[..] != b"6")
        {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), kept).await.expect("the newest is kept");
    assert!(rig.running.try_join_next().is_none());
    drop(disk);
    rig.disks.clear();
    let directory = rig.stop().await;
    std::fs::remove_file(&one).expect("it is there");
    let rig = Rig::over(directory, None, |directory| vec![operation(directory, "/new", "one.json")]).await;
    rig.serves("/new", "6").await;
}

#[tokio::test]
async fn a_kept_json_model_is_not_replaced_by_a_page_after_a_restart() {
    let (mut serving, address) = app("3").await;
    let directory = Rig::start(|_| Vec::new()).await.stop().await;
    let rig = Rig::over(directory, Some(&address), |directory| vec![from_app(directory)]).await;
    rig.serves("/net", "3").await;
    let directory = rig.stop().await;
    serving.shutdown().await;
    let (_serving, address) = answering("text/plain", "starting").await;
    let rig = Rig::over(directory, Some(&address), |directory| vec![from_app(directory)]).await;
    let running = rig.serves("/net", "3").await;
    let asked = async {
        while !matches!(running.facts().status, operation::Status::Unusable(_)) {
            assert!(running.facts().status != operation::Status::Live, "it is no model");
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), asked).await.expect("it is notified");
    rig.serves("/net", "3").await;
    // Asked for, it is one.
    let mut wanted = from_app(rig.directory.path());
    let Source::Upstream { format, .. } = &mut wanted.source else { panic!("it is the app") };
    *format = Some(config::FormatName::Opaque(Some("text/plain".to_owned())));
    rig.wants(vec![wanted]);
    rig.serves("/net", "starting").await;
}
