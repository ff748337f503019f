//! SIGKILL at any moment, while the model changes all the time and somebody reads the output all the time.
//!
//! What the output may be: after a start it is a state that was served, whole, with its mode, and none that is older than the
//! last one that was acknowledged before the kill. Nothing else is ever seen there.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fastrand::Rng;
use rustix::fs::{Mode, OFlags, open, openat};
use rustix::process::{getegid, geteuid};
use serde_json::Value;

use super::watched::{Place, Watched};
use super::{Agent, Rig, until};

/// The moments at random.
const KILLS: usize = 200;
/// From one state to the next.
const CHANGE: Duration = Duration::from_millis(50);
/// Who may read and write the output.
const MODE: u32 = 0o640;
/// Trees that stay, so that a reader of one has a few seconds.
const KEEP: usize = 100;

/// Where the model goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    File,
    Tree,
}

/// A part of the model that is long enough to be seen half written.
fn part(n: usize) -> String {
    format!(r#"{{"n":{n},"padding":"{}"}}"#, "x".repeat(10_000))
}

fn model(n: usize) -> String {
    format!(r#"{{"a":{},"b":{},"n":{n}}}"#, part(n), part(n))
}

/// The number of a model, or of a part of one; none: it is not one, or not whole.
fn number(text: &str, whole: fn(usize) -> String) -> Option<usize> {
    let n = serde_json::from_str::<Value>(text).ok()?["n"].as_u64()?;
    usize::try_from(n).ok().filter(|n| *text == whole(*n))
}

/// Owner and group that are asked for: others than ours, where we may give files to others.
fn asked() -> (u32, u32) {
    if geteuid().is_root() { (1, 2) } else { (geteuid().as_raw(), getegid().as_raw()) }
}

/// The number in a file, which is whole and has owner and mode as they were asked for: all of one open.
fn checked(mut file: File, whole: fn(usize) -> String) -> Result<usize, String> {
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(|error| error.to_string())?;
    let seen = file.metadata().map_err(|error| error.to_string())?;
    let has = (seen.mode() & 0o7777, (seen.uid(), seen.gid()));
    let number = number(&text, whole).filter(|_| has == (MODE, asked()));
    number.ok_or_else(|| format!("{:o} of {:?}, {} bytes: {text:.40}", has.0, has.1, text.len()))
}

impl Kind {
    fn place(self, rig: &Rig) -> Place {
        let folder = PathBuf::from(rig.path("outputs"));
        let name = if self == Self::File { "out" } else { "current" };
        let path = folder.join(name);
        Place { folder, name, look: Box::new(move || self.look(&path)) }
    }

    /// Opens the output, and gives the number of the state in it.
    fn look(self, path: &Path) -> Result<usize, String> {
        if self == Self::File {
            return checked(File::open(path).map_err(|error| error.to_string())?, model);
        }
        let tree = open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
        let tree = tree.map_err(|error| error.to_string())?;
        let [a, b] = ["a.json", "b.json"].map(|name| {
            let file = openat(&tree, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
            checked(file.map_err(|error| format!("{name}: {error}"))?.into(), part)
        });
        let (a, b) = (a?, b?);
        if a == b { Ok(a) } else { Err(format!("{a} and {b} in one tree")) }
    }

    /// The number of the state that is out.
    fn out(self, rig: &Rig) -> usize {
        let place = self.place(rig);
        (place.look)().expect("a whole state")
    }

    fn agent(self, rig: &Rig) -> Agent {
        let [check, exec, verify] = ["check", "exec", "verify"].map(|name| rig.hook(name));
        let (mode, keep) = (format!("--mode={MODE:04o}"), format!("--keep={KEEP}"));
        let (owner, group) = asked();
        let [owner, group] = [format!("--owner={owner}"), format!("--group={group}")];
        let folder = rig.path("outputs");
        let out = format!("{folder}/out");
        let to: &[&str] = match self {
            Self::File => &["--out", &out],
            Self::Tree => &["--out-dir", &folder, &keep, "--out=/a=a.json", "--out=/b=b.json"],
        };
        let flags = [&*mode, &owner, &group, "--check", &check, "--exec", &exec, "--verify", &verify];
        rig.agent_of("a", &[to, &flags, &["--log-level=debug"]].concat())
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

/// The hooks have run to their end for what is out: the last three calls are of it.
fn are_applied(rig: &Rig, n: usize) -> bool {
    let calls = rig.calls();
    let of = |name: &str| calls.iter().rposition(|call| call.starts_with(name) && version(call) == n);
    of("exec ").zip(of("verify ")).is_some_and(|(exec, verify)| exec < verify)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_random_moments() {
    killed_at_random_moments(Kind::File, KILLS).await;
}

/// The link leads to a whole tree all the time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_random_moments_while_a_tree_is_put_out() {
    killed_at_random_moments(Kind::Tree, KILLS / 2).await;
}

async fn killed_at_random_moments(kind: Kind, kills: usize) {
    let rig = rig().await;
    let watched = Watched::start(kind.place(&rig));
    let mut running = kind.agent(&rig);
    until("held", async || (acknowledged(&rig).await == 1).then_some(())).await;
    let changes = Changes::start(&rig);
    let (mut rng, mut last, mut seen) = (Rng::with_seed(13), 0, BTreeSet::new());
    for _ in 0..kills {
        // The moment: nothing can be waited for, since it is to be any.
        tokio::time::sleep(Duration::from_millis(rng.u64(5..150))).await;
        let known = acknowledged(&rig).await;
        running.kill().await;
        let is = kind.out(&rig);
        assert!(is >= known && is >= last, "{is} is out, {known} was acknowledged, {last} before");
        last = known.max(last);
        seen.insert(is);
        running = kind.agent(&rig);
    }
    let newest = changes.stop().await;
    until("converged", async || (acknowledged(&rig).await == newest).then_some(())).await;
    assert_eq!(kind.out(&rig), newest);
    assert!(are_applied(&rig, newest), "{:?}", rig.calls().last_chunk::<6>());
    assert!(seen.len() > kills / 10, "it comes on between two kills: {seen:?}");
    let (moves, numbers) = watched.judge();
    assert!(numbers.is_sorted() && numbers.last() == Some(&newest), "{numbers:?} of {newest}");
    assert!(moves >= seen.len(), "{moves} renames, {} states: {seen:?}", seen.len());
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
    let beside: Vec<_> = names("outputs").into_iter().filter(|name| name.contains(".tidewait-")).collect();
    // Which trees are the agent's.
    assert!(beside.iter().all(|name| name == ".tidewait-trees"), "{beside:?}");
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
        let (kind, watched) = (Kind::File, Watched::start(Kind::File.place(&rig)));
        let mut running = kind.agent(&rig);
        until("held", async || (acknowledged(&rig).await == 1).then_some(())).await;
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
        assert_eq!(kind.out(&rig), if ["check", "rollback"].contains(&phase) { 1 } else { 2 }, "{phase}");
        running.kill().await;
        assert_eq!(acknowledged(&rig).await, 1, "{phase}");
        rig.write(if phase == "rollback" { "exec" } else { phase }, "");
        let _running = kind.agent(&rig);
        if phase == "rollback" {
            until("rejected", async || rig.seen("a").await["rejects"].as_str().map(|id| assert_eq!(version(id), 2)))
                .await;
            assert_eq!((kind.out(&rig), calls()), (1, 2));
        } else {
            until("held", async || (acknowledged(&rig).await == 2).then_some(())).await;
            assert_eq!((kind.out(&rig), calls()), (2, before + 2), "{phase}: {:?}", rig.calls());
            clean(&rig);
        }
        watched.judge();
    }
}
