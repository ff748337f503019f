//! SIGKILL at any moment, while the model changes all the time and somebody reads the output all the time.
//!
//! What the output may be: after a start it is a state that was served, whole, with its mode, and none that is older than the
//! last one that was acknowledged before the kill. Nothing else is ever seen there.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use fastrand::Rng;
use serde_json::Value;

use super::{Agent, Rig, until};

/// The moments at random.
const KILLS: usize = 200;
/// From one state to the next.
const CHANGE: Duration = Duration::from_millis(50);

/// A model that is long enough to be seen half written.
fn model(n: usize) -> String {
    format!(r#"{{"n":{n},"padding":"{}"}}"#, "x".repeat(20_000))
}

/// The number of a model; none: it is not one, or not whole.
fn number(text: &str) -> Option<usize> {
    let n = serde_json::from_str::<Value>(text).ok()?["n"].as_u64()?;
    usize::try_from(n).ok().filter(|n| *text == model(*n))
}

/// Opens the output again and again.
struct Reader {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Vec<String>>>,
}

impl Reader {
    fn start(path: PathBuf, mode: u32) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut strange = Vec::new();
            while !stopped.load(Ordering::Relaxed) && strange.len() < 5 {
                let mut text = String::new();
                // Once it is there, it is always there.
                let seen = File::open(&path).and_then(|mut file| {
                    file.read_to_string(&mut text)?;
                    file.metadata()
                });
                match seen {
                    Ok(seen) if seen.mode() & 0o7777 == mode && number(&text).is_some() => {}
                    Ok(seen) => strange.push(format!("{:o}, {} bytes: {text:.40}", seen.mode(), text.len())),
                    Err(error) => strange.push(error.to_string()),
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            strange
        });
        Self { stop, thread: Some(thread) }
    }

    fn judge(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let strange = self.thread.take().expect("once").join().expect("no panic");
        assert_eq!(strange, <Vec<String>>::new());
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Changes the model until it is told to stop.
struct Changes {
    newest: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Changes {
    fn start(rig: &Rig) -> Self {
        let newest = Arc::new(AtomicUsize::new(1));
        let (counter, path) = (Arc::clone(&newest), rig.model.path.clone());
        let task = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(CHANGE);
            loop {
                ticks.tick().await;
                let n = counter.fetch_add(1, Ordering::Relaxed) + 1;
                let next = path.with_extension("next");
                fs::write(&next, model(n)).expect("the folder can be written");
                fs::rename(&next, &path).expect("in the same folder");
            }
        });
        Self { newest, task }
    }

    /// The last one.
    async fn stop(self) -> usize {
        self.task.abort();
        let _ = self.task.await;
        self.newest.load(Ordering::Relaxed)
    }
}

/// The number of the state that the agent has acknowledged, as the ids of the server say: its versions are those numbers.
async fn acknowledged(rig: &Rig) -> usize {
    let seen = rig.seen("a").await;
    seen["holds"].as_str().map_or(0, version)
}

fn version(id: &str) -> usize {
    id.split('.').nth(1).and_then(|text| text.parse().ok()).expect("a version")
}

fn out(rig: &Rig) -> usize {
    let text = rig.read("out");
    number(&text).unwrap_or_else(|| panic!("no state: {text:.60}"))
}

async fn rig() -> Rig {
    let rig = Rig::with(&model(1), &["--version-from=/n"]).await;
    rig.write(
        "hook",
        &format!("echo \"$1 $TIDEWAIT_ACTION $TIDEWAIT_ID\" >> {}\n. {}$1\n", rig.path("calls"), rig.path("")),
    );
    for name in ["check", "exec", "verify"] {
        rig.write(name, "");
    }
    rig
}

fn agent(rig: &Rig) -> Agent {
    let [check, exec, verify] = ["check", "exec", "verify"].map(|name| rig.hook(name));
    rig.agent(&["--mode=0640", "--check", &check, "--exec", &exec, "--verify", &verify, "--log-level=debug"])
}

/// The hooks have run to their end for what is out: the last three calls are of it.
fn are_applied(rig: &Rig, n: usize) -> bool {
    let calls = rig.calls();
    let of = |name: &str| calls.iter().rposition(|call| call.starts_with(name) && version(call) == n);
    of("exec ").zip(of("verify ")).is_some_and(|(exec, verify)| exec < verify)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_random_moments() {
    let rig = rig().await;
    let mut running = agent(&rig);
    until("the first one is out", async || (!rig.read("out").is_empty()).then_some(())).await;
    let reader = Reader::start(rig.path("out").into(), 0o640);
    let changes = Changes::start(&rig);
    let (mut rng, mut last, mut seen) = (Rng::with_seed(13), 0, BTreeSet::new());
    for _ in 0..KILLS {
        // The moment: nothing can be waited for, since it is to be any.
        tokio::time::sleep(Duration::from_millis(rng.u64(5..150))).await;
        let known = acknowledged(&rig).await;
        running.kill().await;
        let is = out(&rig);
        assert!(is >= known && is >= last, "{is} is out, {known} was acknowledged, {last} before");
        last = known.max(last);
        seen.insert(is);
        running = agent(&rig);
    }
    let newest = changes.stop().await;
    until("converged", async || (acknowledged(&rig).await == newest).then_some(())).await;
    assert_eq!(out(&rig), newest);
    assert!(are_applied(&rig, newest), "{:?}", rig.calls().last_chunk::<6>());
    assert!(seen.len() > KILLS / 10, "it comes on between two kills: {seen:?}");
    reader.judge();
    clean(&rig);
}

/// Nothing is left behind that is in nobody's use.
fn clean(rig: &Rig) {
    let names = |path: &str| {
        let entries = fs::read_dir(rig.path(path)).expect("a folder");
        let mut names: Vec<_> =
            entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8")).collect();
        names.sort();
        names
    };
    let beside: Vec<_> = names("").into_iter().filter(|name| name.contains("tidewait-")).collect();
    assert_eq!(beside, <Vec<String>>::new());
    let kept: Vec<_> = names("state-a").into_iter().filter(|name| !name.starts_with("status")).collect();
    assert!(
        matches!(&kept[..], [body, held, lock] if body.starts_with("body-") && held == "held" && lock == "lock"),
        "{kept:?}"
    );
}

/// In the middle of each command, and of a rollback: the command is run again by the next agent, which ends where the first
/// one would have.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_each_phase() {
    for phase in ["check", "exec", "verify", "rollback"] {
        let rig = rig().await;
        let mut running = agent(&rig);
        until("held", async || (acknowledged(&rig).await == 1).then_some(())).await;
        let reader = Reader::start(rig.path("out").into(), 0o640);
        let gate = rig.gate("gate");
        let waits = format!("read line < {gate}");
        if phase == "rollback" {
            rig.write("exec", &format!("[ $TIDEWAIT_ACTION = rollback ] || exit 1\n{waits}"));
        } else {
            rig.write(phase, &waits);
        }
        rig.model.replace(&model(2));
        let call = if phase == "rollback" { "exec rollback " } else { &format!("{phase} apply ") };
        let calls = || rig.calls().iter().filter(|line| line.starts_with(call)).count();
        let before = usize::from(phase != "rollback");
        until("it runs", async || (calls() > before).then_some(())).await;
        assert_eq!(out(&rig), if ["check", "rollback"].contains(&phase) { 1 } else { 2 }, "{phase}");
        running.kill().await;
        assert_eq!(acknowledged(&rig).await, 1, "{phase}");
        rig.write(if phase == "rollback" { "exec" } else { phase }, "");
        let _running = agent(&rig);
        if phase == "rollback" {
            until("rejected", async || rig.seen("a").await["rejects"].as_str().map(|id| assert_eq!(version(id), 2)))
                .await;
            assert_eq!((out(&rig), calls()), (1, 2));
        } else {
            until("held", async || (acknowledged(&rig).await == 2).then_some(())).await;
            assert_eq!((out(&rig), calls()), (2, before + 2), "{phase}: {:?}", rig.calls());
            clean(&rig);
        }
        reader.judge();
    }
}
