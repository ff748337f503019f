//! What a change costs where 10,000 selections are waited for: a model of 5 MB and 10,000 nodes,
//! one selection on each, one node changed. Run with `cargo bench --bench selection`.
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
use std::time::{Duration, Instant};

use criterion::Criterion;
use tidewait::model::{Document, History, Index, Selection, patch};

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

/// One selection on each node, below `prefix`.
fn parked(prefix: &str) -> Index<usize> {
    let mut index = Index::new();
    for at in 0..NODES {
        let selection = Selection::parse(&[format!("{prefix}/{}", name(at))], 64).expect("a selection");
        index.insert(selection, at);
    }
    index
}

/// All that a change makes necessary once `new` shares with `old`: its id, who is released, and for
/// those the pruned document, its id, its bytes and the patch.
fn released(index: &Index<usize>, history: &mut History, old: &Document, new: &Document) -> usize {
    let id = new.digest();
    let touched = index.touched(old, new);
    for (selection, at) in &touched.changed {
        assert_eq!(**at, CHANGED, "nobody else is released");
        let (before, after) = (selection.prune(old), selection.prune(new));
        black_box((after.digest(), after.canonical(), patch::between(&before, &after)));
    }
    black_box((id, patch::between(old, new)));
    history.push(old.clone(), new);
    touched.changed.len()
}

fn read_anew(index: &Index<usize>, history: &mut History, old: &Document, read: &Document) {
    let new = read.sharing(old);
    assert_eq!(released(index, history, old, &new), 1);
}

fn aggregated(index: &Index<usize>, history: &mut History, old: &Document, member: &str) {
    let new = old.with_member(&name(CHANGED), parse(member));
    assert_eq!(released(index, history, old, &new), 1);
}

fn median(mut run: impl FnMut()) -> Duration {
    let mut times: Vec<_> = (0..15)
        .map(|_| {
            #[expect(clippy::disallowed_methods, reason = "a benchmark is about real time")]
            let start = Instant::now();
            run();
            start.elapsed()
        })
        .collect();
    times.sort();
    times[times.len() / 2]
}

#[expect(clippy::print_stdout, reason = "a benchmark is run to read it")]
fn report(line: &str) {
    println!("{line}");
}

fn main() {
    let text = format!(r#"{{"nodes":{},"version":1}}"#, nodes(1_500));
    let (whole, whole_index) = (parse(&text), parked("/nodes"));
    let read = parse(&format!(r#"{{"nodes":{},"version":1}}"#, nodes(9_000)));
    let (objects, objects_index, member) = (parse(&nodes(1_500)), parked(""), node(CHANGED, 9_000));
    let mut history = History::new(64, None);

    let mut criterion = Criterion::default().sample_size(20).configure_from_args();
    criterion.bench_function("parse the whole", |bencher| bencher.iter(|| parse(&text)));
    criterion.bench_function("share what was read anew", |bencher| bencher.iter(|| read.sharing(&whole)));
    criterion.bench_function("one node changed, model read anew", |bencher| {
        bencher.iter(|| read_anew(&whole_index, &mut history, &whole, &read));
    });
    criterion.bench_function("one node changed, of 10,000 aggregated", |bencher| {
        bencher.iter(|| aggregated(&objects_index, &mut history, &objects, &member));
    });
    criterion.final_summary();

    let unit = median(|| drop(black_box(parse(&text)))).as_secs_f64();
    let ratio = |time: Duration| time.as_secs_f64() / unit;
    let read = ratio(median(|| read_anew(&whole_index, &mut history, &whole, &read)));
    let one = ratio(median(|| aggregated(&objects_index, &mut history, &objects, &member)));
    report(&format!("model: {} bytes, {NODES} nodes, {} selections", text.len(), whole_index.len()));
    report(&format!("model read anew: {read:.4} parses, at most 3"));
    report(&format!("one of 10,000 aggregated: 1/{:.0} of a parse, at most 1/50", 1.0 / one));
    assert!(read <= 3.0 && one <= 1.0 / 50.0, "a change costs more than is promised");
}
