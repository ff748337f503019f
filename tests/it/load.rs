//! Many clients at once, against the built binary: everyone gets the last state, nobody an older
//! one after a newer one, nobody is left behind; and what that costs the server.
//!
//! A share of the clients leave and come back, ask for encodings, or share HTTP/2 connections.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::example::network;
use crate::model_file::ModelFile;
use crate::server::Server;

mod client;
mod crowd;
mod parts;

use crowd::Crowd;

/// One at a time: each takes most of the descriptors and of the machine.
static LOAD: Mutex<()> = Mutex::const_new(());

/// Changes of the model in one test; the second half follow each other as fast as they are published.
const CHANGES: u64 = 20;

/// The longest that one change may take to reach everyone, on a machine that does other things too.
const SPREAD: Duration = Duration::from_secs(60);

/// KiB of the server's memory for each parked request, also after all the changes: half as much
/// again as was measured. With few clients what they share counts: buffers on their way, encodings.
const SMALL_KIB: f64 = 3.0;
const LARGE_KIB: f64 = 26.0;

const PARKED: &str = "tidewait_parked_requests{operation=\"describe\"}";
const PUBLISHED: &str = "tidewait_state_changes_total{operation=\"describe\"}";
const FAN_OUT: &str = "tidewait_fan_out_seconds";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifteen_thousand_clients_with_a_small_model() {
    let padding = "x".repeat(950);
    run(15_000, SMALL_KIB, |serial| json!({ "generation": serial, "text": padding })).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_clients_with_the_example_model() {
    let mut model = network();
    run(1_000, LARGE_KIB, |serial| {
        model["generation"] = serial.into();
        model.clone()
    })
    .await;
}

#[expect(clippy::print_stdout, reason = "what was measured")]
async fn run(clients: usize, most: f64, mut model: impl FnMut(u64) -> Value) {
    let _alone = LOAD.lock().await;
    raise_descriptors();
    let file = ModelFile::new(&model(1).to_string());
    let mut server = Server::start(&["--file", file.arg(), "--max-connections", "17000"]).await;
    server.ready().await;
    let idle = resident(&server).await;
    let mut report = format!("{clients} clients, model of {} bytes:", server.get("/describe").await.body.len());
    let start = Instant::now();
    let mut crowd = Crowd::start(clients, server.listen).await;
    crowd.all_hold(1, SPREAD).await;
    parked(&server, clients).await;
    let each = per_client(resident(&server).await - idle, clients);
    let _ = write!(report, " parked after {:.1} s, {each:.1} KiB each;", start.elapsed().as_secs_f64());

    let start = Instant::now();
    for serial in 2..=CHANGES {
        crowd.stir(serial);
        file.replace(&model(serial).to_string());
        if serial <= CHANGES / 2 {
            crowd.all_hold(serial, SPREAD).await;
            parked(&server, clients).await;
            // Everyone was parked, so each of these changes released somebody and is measured once.
            server.metric_becomes(&series("count"), cast(serial - 1)).await;
        } else {
            server.metric_becomes(PUBLISHED, cast(serial)).await;
        }
    }
    crowd.all_hold(CHANGES, SPREAD).await;
    parked(&server, clients).await;
    let later = per_client(resident(&server).await - idle, clients);
    let count = server.metric(&series("count")).await;
    assert!((cast(CHANGES / 2)..cast(CHANGES)).contains(&count), "{count} changes released somebody, of {CHANGES}");
    let mean = server.metric(&series("sum")).await / count;
    let _ = write!(
        report,
        " {CHANGES} changes in {:.1} s, fan-out {:.0} ms in the mean of {count}, at most {}; {later:.1} KiB each after that",
        start.elapsed().as_secs_f64(),
        mean * 1000.0,
        slowest(&server).await,
    );
    println!("{report}");
    let story = crowd.judge().await;
    println!("{story}");
    assert_eq!(refusals(&server).await, Vec::<String>::new(), "nobody is refused");
    assert!(server.metric(PUBLISHED).await >= cast(CHANGES), "each change was published");
    server.metric_becomes(PARKED, 0.0).await;
    server.metric_becomes("tidewait_http_connections", 0.0).await;
    assert!(each < most && later < most, "a parked client costs {each:.1}, later {later:.1} KiB, more than {most}");
    let problems: Vec<_> = server.log.borrow().iter().filter(|line| !line.contains("\"INFO\"")).cloned().collect();
    assert!(problems.is_empty(), "{problems:#?}");
}

fn series(part: &str) -> String {
    format!("{FAN_OUT}_{part}{{operation=\"describe\"}}")
}

/// The series of requests and connections that were refused, and how many there were.
async fn refusals(server: &Server) -> Vec<String> {
    let text = String::from_utf8(server.admin("/metrics").await.body).expect("text");
    let is_refusal = |line: &&str| {
        let requests = line.starts_with("tidewait_http_requests_total{") && !line.contains("code=\"20");
        requests || line.starts_with("tidewait_http_refused_connections_total ")
    };
    text.lines().filter(is_refusal).filter(|line| !line.ends_with(" 0")).map(str::to_owned).collect()
}

/// Waits until the server has everyone parked.
async fn parked(server: &Server, clients: usize) {
    server.metric_becomes(PARKED, cast(clients as u64)).await;
}

/// The upper bound of the last bucket that a fan-out fell in.
async fn slowest(server: &Server) -> String {
    let text = String::from_utf8(server.admin("/metrics").await.body).expect("text");
    let buckets = text.lines().filter_map(|line| line.strip_prefix("tidewait_fan_out_seconds_bucket"));
    let bound_and_count = buckets.filter_map(|line| {
        let bound = line.split("le=\"").nth(1)?.split('"').next()?;
        Some((bound.to_owned(), line.rsplit(' ').next()?.parse::<u64>().ok()?))
    });
    let all: Vec<_> = bound_and_count.collect();
    let total = all.last().map_or(0, |(_, count)| *count);
    all.into_iter().find(|(_, count)| *count == total).map_or("nothing".to_owned(), |(bound, _)| format!("{bound} s"))
}

/// KiB resident.
async fn resident(server: &Server) -> f64 {
    let id = server.child.id().expect("it runs");
    let text = tokio::fs::read_to_string(format!("/proc/{id}/status")).await.expect("readable");
    let line = text.lines().find(|line| line.starts_with("VmRSS:")).expect("there");
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number")
}

fn per_client(kib: f64, clients: usize) -> f64 {
    kib / cast(clients as u64)
}

#[expect(clippy::cast_precision_loss, reason = "thousands")]
fn cast(count: u64) -> f64 {
    count as f64
}

/// Each client is a descriptor here, too.
pub(crate) fn raise_descriptors() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let enough = limit.maximum.is_none_or(|most| most >= 17_000);
    assert!(enough, "this test needs 17000 descriptors: raise the hard limit (ulimit -Hn), which is {limit:?}");
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).expect("up to the hard one");
}
