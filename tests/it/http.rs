//! The router over real hyper, in memory and in paused time: what is answered, byte for byte,
//! and when.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use prometheus::Registry;
use tidewait::access::{Policy, Tokens};
use tidewait::config;
use tidewait::http::access::Access;
use tidewait::http::front::inbox::Message;
use tidewait::http::front::{EventLoop, Inbox, Places};
use tidewait::http::{Router, metrics};
use tidewait::hub::{self, Hub};
use tidewait::lifecycle::stop::Stop;
use tidewait::model::{Content, Document, Epoch, Provenance, Snapshot, SourceRevisions, StateId};
use tidewait::operation::{self, Feed, Operation, OperationRegistry, Run};
use tidewait::sources::{Draft, Report};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use self::memory::{Memory, Socket};
use crate::talk::{Answer, Talk, answers};

mod access;
mod acknowledge;
mod ahead;
mod both_ways;
mod cancel;
mod change;
mod delta;
mod drain;
mod events;
pub(crate) mod golden;
mod heads;
mod http2;
mod judged;
mod memory;
mod reports;
mod select;
mod spread;
mod streams;
mod suppressed;
mod time;
mod version;

/// The model of most tests: long enough for an encoding to be worth it.
pub(crate) const MODEL: &str = r#"{"mtu":1450,"zones":["zone-a","zone-a","zone-a","zone-a","zone-a","zone-a"]}"#;

/// Bytes that a connection holds either way.
const ROOM: usize = 64 * 1024;

/// An operation at /describe with a source that the test plays.
pub(crate) struct Rig {
    pub(crate) operation: Arc<Operation>,
    pub(crate) access: Arc<Access>,
    pub(crate) stop: Arc<Stop>,
    inbox: Arc<Inbox<Memory>>,
    places: Arc<Places>,
    source: mpsc::Sender<Report>,
    registry: Registry,
    _tasks: JoinSet<()>,
    /// The sources, one after the other.
    feeds: mpsc::Sender<Feed>,
}

/// A connection to a [`Rig`].
pub(crate) type Wire = Talk<DuplexStream>;

/// The id of a model at a version.
pub(crate) fn id(version: u64, json: &str) -> StateId {
    snapshot(version, json).id
}

pub(crate) fn snapshot(version: u64, json: &str) -> Snapshot {
    Snapshot::of(Epoch::of(&["test"]), version, &content(json))
}

fn content(json: &str) -> Content {
    Content::Json(Document::from_json(json.as_bytes()).expect("a document"))
}

/// A source that the test plays, and what the operation hears of it.
fn feed(operation: &Operation) -> (mpsc::Sender<Report>, Feed) {
    let (source, reports) = mpsc::channel(1);
    let version_from = operation.config().version_from.clone();
    (source, Feed { source: "test".into(), version_from, reports })
}

impl Rig {
    /// A rig without a state.
    pub(crate) fn empty(adjust: impl FnOnce(&mut config::Operation)) -> Self {
        Self::with(adjust, |router| router)
    }

    /// The same, whose plain polls are served by hyper as all other requests are.
    pub(crate) fn with_polls_by_hyper() -> Self {
        Self::with(|_| (), Router::with_polls_by_hyper)
    }

    /// One whose credentials are judged in this way.
    pub(crate) fn with_access(access: impl FnOnce(tidewait::http::access::Metrics) -> Access) -> Self {
        Self::of(|_| (), |router| router, access)
    }

    /// One that asks for these tokens.
    pub(crate) fn with_tokens(tokens: &str, policy: Policy, clear_credentials: bool) -> Self {
        let tokens = Tokens::parse(tokens.as_bytes()).expect("tokens");
        Self::of(|_| (), |router| router, |metrics| Access::with_tokens(tokens, policy, clear_credentials, metrics))
    }

    fn with(adjust: impl FnOnce(&mut config::Operation), change: impl FnOnce(Router) -> Router) -> Self {
        Self::of(adjust, change, Access::open)
    }

    fn of(
        adjust: impl FnOnce(&mut config::Operation),
        change: impl FnOnce(Router) -> Router,
        access: impl FnOnce(tidewait::http::access::Metrics) -> Access,
    ) -> Self {
        let mut config = config::Operation {
            name: "test".to_owned(),
            path: "/describe".to_owned(),
            source: config::Source::File { path: "model.json".into(), format: config::Format::Json, below: None },
            version_from: None,
            wait: config::Wait { default: Duration::from_secs(25), max: Duration::from_secs(55) },
            min_interval: Duration::from_millis(100),
            parked: 2000,
            parked_per_agent: 16,
            wake_spread: Duration::ZERO,
            paused: false,
            guard: None,
            confirmed: None,
            limits: config::Limits { pointers: 64, selections: 16_384, history_entries: 32, history_bytes: None },
            access: Vec::new(),
            relays: None,
        };
        adjust(&mut config);
        let registry = Registry::new();
        let hubs = hub::Families::register(&registry).expect("new names");
        let families = operation::Families::register(&registry).expect("new names");
        let hub = Hub::new(config.parked, config.limits, hubs.of("test"));
        let operation = Arc::new(Operation::new(config, hub, families.of("test")));
        let stop = Arc::new(Stop::new(Duration::from_secs(20)));
        let metrics = metrics::Metrics::register(&registry).expect("new names");
        let places = Places::new(usize::MAX, metrics.connections.clone());
        let access = Arc::new(access(tidewait::http::access::Metrics::register(&registry).expect("new names")));
        let router = Arc::new(change(Router::new(
            Arc::new(OperationRegistry::of([Arc::clone(&operation)])),
            Arc::clone(&access),
            None,
            stop.watch(),
            metrics,
            false,
        )));
        let inbox = Inbox::new();
        let memory = Memory::default();
        let woken = Arc::clone(&memory.0);
        let (tasks, runtime) = (TaskTracker::new(), Handle::current());
        let event_loop = EventLoop::new(router, memory, Arc::clone(&inbox), stop.watch(), tasks, runtime);
        let (source, feed) = feed(&operation);
        let (feeds, taken) = mpsc::channel(1);
        feeds.try_send(feed).expect("there is room");
        let mut tasks = JoinSet::new();
        tasks.spawn(Run::new(Arc::clone(&operation), None).run(taken));
        tasks.spawn(memory::run(event_loop, woken));
        Self { operation, access, stop, inbox, places, source, registry, _tasks: tasks, feeds }
    }

    /// Another source follows, by the configuration of now.
    pub(crate) async fn source_changes(&mut self) {
        let (source, feed) = feed(&self.operation);
        self.feeds.send(feed).await.expect("the operation runs");
        self.source = source;
    }

    /// A rig that serves [`MODEL`] at version 7.
    pub(crate) async fn serving(adjust: impl FnOnce(&mut config::Operation)) -> Self {
        let rig = Self::empty(adjust);
        rig.publish(7, MODEL).await;
        rig
    }

    /// The source says that it holds this.
    pub(crate) async fn says(&self, version: u64, json: &str) {
        let draft = Draft {
            epoch: Epoch::of(&["test"]),
            version,
            content: content(json),
            provenance: Provenance::Stream,
            revisions: SourceRevisions::NONE,
            source_objects: Arc::default(),
            seen: Instant::now(),
        };
        self.reports(Report::Holds(draft)).await;
    }

    /// The source says this.
    pub(crate) async fn reports(&self, report: Report) {
        self.source.send(report).await.expect("the operation runs");
    }

    /// The source holds this, and it is served.
    pub(crate) async fn publish(&self, version: u64, json: &str) {
        self.says(version, json).await;
        let id = id(version, json);
        self.operation.hub.wait_for(|current| *current == id).await;
    }

    /// A new connection.
    pub(crate) fn connect(&mut self) -> Wire {
        Talk::new(self.stream(), usize::MAX)
    }

    /// The client's end of a new connection.
    pub(crate) fn stream(&mut self) -> DuplexStream {
        self.stream_by(|server| server)
    }

    /// The client's end of a new connection, of which the server sees what `through` lets it.
    pub(crate) fn stream_by<S>(&mut self, through: impl FnOnce(DuplexStream) -> S) -> DuplexStream
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (client, server) = tokio::io::duplex(ROOM);
        let peer = SocketAddr::from(([192, 0, 2, 1], 4711));
        let place = self.places.take(peer).expect("there is no limit");
        self.inbox.send(Message::Accepted(Socket::new(through(server)), place));
        client
    }

    /// A request on a connection of its own.
    pub(crate) async fn ask(&mut self, raw: &str) -> Answer {
        ask(&mut self.connect(), raw).await
    }

    /// A GET of /describe with this query on a connection of its own, and how long it was held.
    pub(crate) async fn poll(&mut self, query: &str, fields: &str) -> (Answer, Duration) {
        let asked = Instant::now();
        let answer = self.ask(&get(query, fields)).await;
        (answer, asked.elapsed())
    }

    /// A request that is parked.
    pub(crate) async fn park(&mut self, query: &str, fields: &str) -> Wire {
        let before = self.operation.hub.parked();
        let mut wire = self.connect();
        wire.send(get(query, fields).as_bytes());
        wire.flushed().await;
        self.parked(before + 1).await;
        wire
    }

    /// Waits until so many are parked: other tasks get there without the clock.
    pub(crate) async fn parked(&self, count: usize) {
        while self.operation.hub.parked() != count {
            tokio::task::yield_now().await;
        }
    }

    /// The values of a gauge, of each operation.
    pub(crate) fn metric(&self, name: &str) -> Vec<f64> {
        let families = self.registry.gather();
        let family = families.iter().find(|family| family.name() == name).expect("a metric of this name");
        family.get_metric().iter().map(|series| series.get_gauge().get_value()).collect()
    }

    /// Nobody is parked, by any count.
    pub(crate) fn is_empty(&self) {
        assert_eq!(self.operation.hub.parked(), 0);
        assert_eq!(self.operation.hub.metrics().parked.get(), 0, "the gauge");
    }
}

/// A GET of /describe.
pub(crate) fn get(query: &str, fields: &str) -> String {
    format!("GET /describe?{query} HTTP/1.1\r\nHost: test\r\n{fields}\r\n")
}

/// Sends a request and reads the next answer.
pub(crate) async fn ask(wire: &mut Wire, raw: &str) -> Answer {
    wire.send(raw.as_bytes());
    next(wire, raw.starts_with("HEAD ")).await
}

/// Reads the next answer.
pub(crate) async fn next(wire: &mut Wire, to_head: bool) -> Answer {
    wire.until(|seen| !answers(seen, to_head).0.is_empty()).await;
    let (mut found, rest) = answers(&wire.seen, to_head);
    assert_eq!(
        (found.len(), rest.len()),
        (1, 0),
        "one answer, and nothing else, on {:?}",
        String::from_utf8_lossy(&wire.seen)
    );
    wire.seen.clear();
    found.remove(0)
}
