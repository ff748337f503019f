//! What a change costs where 10,000 selections are waited for: a model of 5 MB and 10,000 nodes,
//! one parked request on each, one node changed; through the store and the hub, to the answer of
//! the one that is released. Run with `cargo bench --bench selection`.
//!
//! Criterion gives the times; the last lines give them in units of one parse of the whole model,
//! which is what is promised, and the run fails where a promise is broken:
//!
//! | change | at most |
//! |---|---|
//! | the model was read anew (its parse apart) | 3 parses |
//! | one of 10,000 aggregated objects was read anew | 1/50 of a parse |

use std::fmt::Write as _;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use criterion::Criterion;
use futures::FutureExt as _;
use tidewait::config::Limits;
use tidewait::hub::{Effect, Families, Hub, News, Waiter};
use tidewait::model::{
    Content, Document, Epoch, Provenance, Rules, Selection, SourceRevision, SourceRevisions, StateId, Store,
};
use tidewait::sources::kubernetes::set::ObjectEntry;
use tidewait::sources::resource::aggregate::{self, Aggregate, Entries, ModelPart};
use tidewait::sources::resource::content::{Good, LastGood};
use tidewait::sources::{SourceObject, UnusableKind};

const NODES: usize = 10_000;
const CHANGED: usize = 7_777;

fn node(at: usize, mtu: usize) -> String {
    let [one, other] = [(at + 1) % NODES, (at + 99) % NODES];
    format!(
        concat!(
            r#"{{"address":"10.{}.{}.1","asn":{},"description":"node {} of the network, kept by the team of its zone","#,
            r#""interfaces":[{{"mtu":{},"name":"eth0","peers":["node-{:05}","node-{:05}"],"speed":25000}},"#,
            r#"{{"mtu":9000,"name":"eth1","peers":["node-{:05}"],"speed":100000}}],"#,
            r#""labels":{{"rack":"r{}","role":"edge","zone":"zone-{}"}},"ratio":1.50,"#,
            r#""routes":["192.168.0.0/24 via 10.0.0.1","192.168.1.0/24 via 10.0.0.2","192.168.2.0/24 via 10.0.0.3"],"#,
            r#""spare":[null,true,false,0,1,2,3,4,5,6,7,8,9]}}"#
        ),
        at / 250,
        at % 250,
        64_512 + at,
        at,
        mtu,
        one,
        other,
        other,
        at % 40,
        at % 10
    )
}

fn name(at: usize) -> String {
    format!("node-{at:05}")
}

/// All nodes as members of one object; the changed one with another number.
fn nodes(mtu: usize) -> String {
    let mut text = String::from("{");
    for at in 0..NODES {
        let comma = if at > 0 { "," } else { "" };
        let mtu = if at == CHANGED { mtu } else { 1_500 };
        write!(text, r#"{comma}"{}":{}"#, name(at), node(at, mtu)).expect("a String takes all");
    }
    text + "}"
}

fn parse(text: &str) -> Document {
    Document::from_json(text.as_bytes()).expect("a document")
}

/// An operation that serves a model, with one request parked on each node.
struct Operation {
    store: Store,
    hub: Arc<Hub>,
    parked: Vec<Waiter>,
    version: u64,
}

impl Operation {
    /// The nodes are below `prefix`.
    fn serving(model: &Document, prefix: &str) -> Self {
        let metrics = Families::register(&prometheus::Registry::new()).expect("new names").of("bench");
        let limits = Limits { pointers: 64, selections: NODES, history_entries: 32, history_bytes: None };
        let store = Store::new(Rules::every(Duration::ZERO));
        let mut operation =
            Self { store, hub: Arc::new(Hub::new(NODES, limits, metrics)), parked: Vec::new(), version: 0 };
        operation.publish(model);
        for at in 0..NODES {
            let selection = Selection::parse(&[format!("{prefix}/{}", name(at))], 64).expect("a selection");
            let permit = operation.hub.park().expect("room");
            operation.parked.push(operation.hub.subscribe(Some(&selection)).expect("room").park(permit));
        }
        operation
    }

    /// What the source says is published.
    fn publish(&mut self, model: &Document) {
        self.version += 1;
        #[expect(clippy::disallowed_methods, reason = "a benchmark is about real time")]
        let now = Instant::now();
        let content = Content::Json(model.clone());
        self.store.offer(Epoch::of(&["bench"]), self.version, &content, SourceRevisions::NONE, Provenance::Read, now);
        self.hub.publish(&self.store.publish(now).expect("it has changed"));
    }

    /// The same, and the one request that it releases gets field values and bytes.
    fn change(&mut self, model: &Document) {
        let selections = self.hub.metrics().selections_changed.get();
        let version = self.version;
        let released =
            |id: Option<&StateId>| if id.is_some_and(|id| id.version > version) { Effect::Wakes } else { Effect::None };
        assert!(self.parked[CHANGED].changed(released).now_or_never().is_none(), "it is parked");
        self.publish(model);
        let served = match self.parked[CHANGED].changed(released).now_or_never() {
            Some(News::State(served)) => served,
            Some(News::Ended) | None => None,
        };
        let served = served.expect("it is released");
        black_box((served.fields(), served.snapshot.body()));
        assert_eq!(self.hub.metrics().selections_changed.get() - selections, 1, "nobody else is released");
    }
}

/// One change touches all selections: how long publishing takes, and the longest that another request meanwhile waits for
/// its share in a view.
fn all_touched(operation: &mut Operation, models: &[Document; 2]) -> (Duration, Duration) {
    let selection = Selection::parse(&[format!("/nodes/{}", name(CHANGED))], 64).expect("a selection");
    let (mut took, mut longest) = (Duration::ZERO, Duration::ZERO);
    for model in models.iter().cycle().take(6) {
        let done = AtomicBool::new(false);
        let hub = Arc::clone(&operation.hub);
        let waited = std::thread::scope(|scope| {
            let others = scope.spawn(|| {
                let mut longest = Duration::ZERO;
                while !done.load(Ordering::Relaxed) {
                    longest = longest.max(time(|| drop(black_box(hub.subscribe(Some(&selection)).expect("room")))));
                }
                longest
            });
            took = took.max(time(|| operation.publish(model)));
            done.store(true, Ordering::Relaxed);
            others.join().expect("no panic")
        });
        longest = longest.max(waited);
    }
    (took, longest)
}

fn time(run: impl FnOnce()) -> Duration {
    #[expect(clippy::disallowed_methods, reason = "a benchmark is about real time")]
    let start = Instant::now();
    run();
    start.elapsed()
}

fn read_anew(operation: &mut Operation, read: &Document) {
    let published = operation.store.published().expect("a state").content.clone();
    let Content::Json(published) = published else { unreachable!("it is JSON") };
    operation.change(&read.sharing(&published));
}

/// 10,000 objects under a selector, as `sources::resource` holds them.
struct Objects {
    entries: Entries,
    aggregate: Aggregate,
    revision: u64,
}

impl Objects {
    fn new() -> Self {
        let entries = (0..NODES).map(|at| (name(at), entry(at, &node(at, 1_500), 1))).collect();
        let mut aggregate = Aggregate::default();
        aggregate.replace(&entries);
        Self { entries, aggregate, revision: 1 }
    }

    /// One is read anew, and takes its place in the model that is there.
    fn change(&mut self, operation: &mut Operation, object: &str) {
        self.revision += 1;
        self.entries.insert(name(CHANGED), entry(CHANGED, object, self.revision));
        self.aggregate.change(&name(CHANGED), &self.entries);
        black_box((aggregate::revisions(&self.entries), aggregate::source_objects(&self.entries)));
        operation.change(self.aggregate.document());
    }
}

fn entry(at: usize, object: &str, revision: u64) -> ObjectEntry<ModelPart> {
    let uid = format!("uid-{at}");
    let good = Good { revision, input: SourceRevision { uid: &uid, revision }.hash(), document: parse(object) };
    let held = LastGood { good: Some(good), wrong: None, kind: UnusableKind::Invalid, status: None };
    let part = SourceObject {
        name: name(at),
        uid: uid.clone(),
        version: 0,
        generation: None,
        wrong: None,
        status: None,
        is_model: true,
    };
    ObjectEntry { uid, version: revision, generation: None, payload: ModelPart { held, part: Arc::new(part) } }
}

fn median(mut run: impl FnMut()) -> Duration {
    let mut times: Vec<_> = (0..15).map(|_| time(&mut run)).collect();
    times.sort();
    times[times.len() / 2]
}

#[expect(clippy::print_stdout, reason = "a benchmark is run to read it")]
fn report(line: &str) {
    println!("{line}");
}

fn main() {
    let model = |mtu: usize| format!(r#"{{"nodes":{},"version":1}}"#, nodes(mtu));
    let (text, mtus) = (model(1_500), [9_000, 1_500]);
    let mut whole = Operation::serving(&parse(&text), "/nodes");
    let mut objects = Objects::new();
    let mut aggregate = Operation::serving(objects.aggregate.document(), "");
    let read = mtus.map(|mtu| parse(&model(mtu)));
    let members = mtus.map(|mtu| node(CHANGED, mtu));
    // Each change is another one than the last.
    let (mut reads, mut changes) = (read.iter().cycle(), members.iter().cycle());
    let mut read_anew = || read_anew(&mut whole, reads.next().expect("endless"));
    let mut aggregated = || objects.change(&mut aggregate, changes.next().expect("endless"));

    let mut criterion = Criterion::default().sample_size(20).configure_from_args();
    criterion.bench_function("parse the whole", |bencher| bencher.iter(|| parse(&text)));
    criterion.bench_function("one node changed, model read anew", |bencher| bencher.iter(&mut read_anew));
    criterion.bench_function("one node changed, of 10,000 aggregated", |bencher| bencher.iter(&mut aggregated));
    criterion.final_summary();

    let unit = median(|| drop(black_box(parse(&text)))).as_secs_f64();
    let ratio = |time: Duration| time.as_secs_f64() / unit;
    let (read, one) = (ratio(median(read_anew)), ratio(median(aggregated)));
    let all = [text.clone(), text.replace("\"mtu\":9000", "\"mtu\":8000")].map(|text| parse(&text));
    let mut touched = Operation::serving(&all[1], "/nodes");
    let (took, waited) = all_touched(&mut touched, &all);
    report(&format!("all {NODES} touched: published in {took:?}, another request waited {waited:?} at most"));
    report(&format!("model: {} bytes, {NODES} nodes, {NODES} parked requests of different selections", text.len()));
    report(&format!("model read anew: {read:.4} parses, at most 3"));
    report(&format!("one of 10,000 aggregated: 1/{:.0} of a parse, at most 1/50", 1.0 / one));
    assert!(read <= 3.0 && one <= 1.0 / 50.0, "a change costs more than is promised");
}
