//! What a node that was taken down leaves of itself: nothing. And who cannot have one is told why.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::node::{Node, random_name, script};

/// Folders of the machine that the node's programs would use if they had no other in their place.
const PLACES: [&str; 8] = [
    "/run/containerd",
    "/run/netns",
    "/run/runc",
    "/var/lib/containerd",
    "/var/lib/containers",
    "/var/lib/kubelet",
    "/var/log/pods",
    "/opt/containerd",
];

/// Settings that a kubelet sets for the whole machine.
const SETTINGS: [&str; 5] =
    ["vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops", "kernel/keys/root_maxkeys"];

#[tokio::test]
async fn a_node_that_is_taken_down_leaves_nothing() {
    let shared = Node::shared();
    let before = machine();
    let node = Node::start();
    let name = node.name().to_owned();
    let run = ["run", "app", "--image=localhost/app:1", "--", "serve", ":8080"];
    node.kubectl(&run, None).await;
    node.kubectl(&["wait", "--for=condition=Ready", "pod/app", "--timeout=100s"], None).await;
    let dir = fs::read_link(entry(&name)).expect("the node's folder is remembered");
    let processes = descendants(fs::read_to_string(dir.join("pid")).expect("a pid").trim_end());
    let has = |what: &str| processes.values().any(|command| command.contains(what));
    assert!(has("kubelet") && has("containerd-shim") && has("/pause") && has("serve"), "{processes:?}");
    assert!(!cgroups(&name).is_empty());

    drop(node);
    nothing_is_left(&name, &dir, &processes);
    assert_eq!(machine(), before);
    // The other node is still whole.
    shared.kubectl(&["wait", "--for=condition=Ready", "node/node1", "--timeout=10s"], None).await;
}

#[tokio::test]
async fn a_node_that_failed_half_way_can_be_taken_down() {
    let node = Node::named(&random_name());
    let name = node.name().to_owned();
    // By then the first process and containerd run, and the API server has been started.
    let output = script("up").arg(&name).env("CC", "false").output().expect("it runs");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && error.contains("the pause image cannot be built and loaded"), "{error}");
    let dir = fs::read_link(entry(&name)).expect("the node's folder is remembered");
    let processes = descendants(fs::read_to_string(dir.join("pid")).expect("a pid").trim_end());
    assert!(!processes.is_empty());
    drop(node);
    nothing_is_left(&name, &dir, &processes);
}

#[test]
fn who_is_not_root_is_told() {
    // A user namespace without a mapping: nobody is root in it.
    let up = script("up");
    let output = Command::new("unshare").arg("--user").arg(up.get_program()).arg(random_name()).output();
    let output = output.expect("unshare runs");
    assert!(!output.status.success());
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("which only root may: run it as root"), "{error}");
}

/// What of the machine no node may change.
fn machine() -> (BTreeSet<OsString>, Vec<bool>, Vec<String>) {
    let interfaces =
        fs::read_dir("/sys/class/net").expect("a folder").map(|entry| entry.expect("an entry").file_name());
    let places = PLACES.iter().map(|place| Path::new(place).exists());
    let settings = SETTINGS.iter().map(|name| fs::read_to_string(format!("/proc/sys/{name}")).unwrap_or_default());
    (interfaces.collect(), places.collect(), settings.collect())
}

#[track_caller]
fn nothing_is_left(name: &str, dir: &Path, processes: &BTreeMap<u32, String>) {
    let alive: Vec<_> = processes.iter().filter(|(pid, command)| command_of(**pid).as_ref() == Some(command)).collect();
    assert!(alive.is_empty(), "{alive:?}");
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("a table");
    let mounts: Vec<_> = mounts.lines().filter(|line| line.contains(&format!("tidewait-{name}"))).collect();
    assert!(mounts.is_empty(), "{mounts:?}");
    assert_eq!(cgroups(name), Vec::<PathBuf>::new());
    let files = [dir.to_owned(), entry(name), entry(name).with_extension("lock")];
    let files: Vec<_> = files.iter().filter(|path| path.symlink_metadata().is_ok()).collect();
    assert!(files.is_empty(), "{files:?}");
}

/// The entry of a node in the user's cache folder.
fn entry(name: &str) -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").filter(|folder| !folder.is_empty()).map(PathBuf::from);
    let cache = cache.unwrap_or_else(|| PathBuf::from(std::env::var_os("HOME").expect("HOME is set")).join(".cache"));
    cache.join("tidewait/nodes").join(name)
}

/// The node's cgroup in each hierarchy, or in the one.
fn cgroups(name: &str) -> Vec<PathBuf> {
    let root = Path::new("/sys/fs/cgroup");
    let hierarchies = fs::read_dir(root).expect("a folder").map(|entry| entry.expect("an entry").path());
    let all = hierarchies.chain([root.to_owned()]).map(|folder| folder.join(format!("tidewait-{name}")));
    all.filter(|path| path.exists()).collect()
}

/// The command of every process below this one, and its own, by pid.
fn descendants(first: &str) -> BTreeMap<u32, String> {
    let mut parents = BTreeMap::new();
    for entry in fs::read_dir("/proc").expect("a folder").flatten() {
        // A process may end while we look.
        let Ok(status) = fs::read_to_string(entry.path().join("status")) else { continue };
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u32>().ok());
        if let Some((pid, parent)) = field("Pid:").zip(field("PPid:")) {
            parents.insert(pid, parent);
        }
    }
    let first: u32 = first.parse().expect("a pid");
    let below = |mut pid: u32| {
        while pid != first {
            match parents.get(&pid) {
                Some(parent) => pid = *parent,
                None => return false,
            }
        }
        true
    };
    parents.keys().filter(|pid| below(**pid)).filter_map(|pid| Some((*pid, command_of(*pid)?))).collect()
}

/// The command line of a process; nothing when it is gone, or dead and not yet reaped.
fn command_of(pid: u32) -> Option<String> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    (!line.is_empty()).then(|| String::from_utf8_lossy(&line).replace('\0', " "))
}
