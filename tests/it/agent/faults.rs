//! What goes wrong on the machine, in commands and at the server: the last good state stays, memory is bounded, and the log
//! names the cause and the remedy.

use std::fs;
use std::os::unix::fs::symlink;

use super::once::{answers, once};
use super::{Agent, Rig, model};
use crate::server::tidewait;

/// An agent whose folder `disk` is a file system of its own, after these commands.
fn on_a_disk(rig: &Rig, options: &str, more: &str) -> Agent {
    on_a_disk_with(rig, options, more, &[])
}

fn on_a_disk_with(rig: &Rig, options: &str, more: &str, arguments: &[&str]) -> Agent {
    let (disk, out) = (rig.path("disk"), rig.path("disk/out"));
    fs::create_dir_all(&disk).expect("a folder");
    let agent = rig.command("a", &[&["--out", &out], arguments].concat());
    let prepare =
        format!("mount -t tmpfs -o {options} none {disk} && cd {disk} && {more} && cd / && exec \"$0\" \"$@\"");
    let mut command = tokio::process::Command::new("unshare");
    // What of the environment the program must not see is removed from it, also here.
    for (name, value) in tidewait(&[]).as_std().get_envs() {
        if value.is_none() {
            command.env_remove(name);
        }
    }
    command.kill_on_drop(true).args(["--user", "--map-root-user", "--mount", "/bin/sh", "-c", &prepare]);
    command.arg(agent.as_std().get_program()).args(agent.as_std().get_args());
    Agent::spawn(command)
}

/// What the agent has at a path.
fn seen_by(agent: &Agent, path: &str) -> String {
    let pid = agent.child.id().expect("it runs");
    fs::read_to_string(format!("/proc/{pid}/root{path}")).unwrap_or_default()
}

#[tokio::test]
async fn a_full_disk_keeps_the_last_good_state_and_is_told() {
    let rig = Rig::new().await;
    let mut agent = on_a_disk(&rig, "size=64k", "true");
    rig.holds("a", 1).await;
    let large = format!(r#"{{"n":2,"text":"{}"}}"#, "x".repeat(100_000));
    rig.model.replace(&large);
    let told = agent.logged("is tried again").await;
    assert!(told.contains("No space left on device") && told.contains("free space"), "{told}");
    assert_eq!(seen_by(&agent, &rig.path("disk/out")), model(1));
    rig.change(3).await;
    rig.holds("a", 3).await;
    assert_eq!(seen_by(&agent, &rig.path("disk/out")), model(3));
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_is_told_and_the_agent_goes_on() {
    let rig = Rig::new().await;
    let mut agent = on_a_disk(&rig, "size=64k", "mount -o remount,ro .");
    let told = agent.logged("is tried again").await;
    assert!(told.contains("Read-only file system") && told.contains("mount its file system for writing"), "{told}");
    assert!(agent.child.try_wait().expect("a child").is_none());
    assert!(rig.seen("a").await["holds"].is_null());
}

#[tokio::test]
async fn a_mount_point_is_refused_at_the_start() {
    let rig = Rig::new().await;
    let mut agent = on_a_disk(&rig, "size=64k", "echo before > other && touch out && mount --bind other out");
    assert_eq!(agent.ended().await, Some(2));
    agent.logged("it is a mount point, which cannot be replaced by another file: mount the folder").await;
}

#[tokio::test]
async fn a_mount_point_can_be_written_over_and_rolled_back() {
    let rig = Rig::new().await;
    let exec = rig.hook("exec");
    let prepare = "echo before > other && touch out && mount --bind other out";
    let agent = on_a_disk_with(&rig, "size=64k", prepare, &["--in-place", "--exec", &exec]);
    rig.holds("a", 1).await;
    // The hook of the test reads its output where the agent does.
    rig.write("exec", "case $(cat $TIDEWAIT_FILE) in *2*) echo 'no two' >&2; exit 1;; esac");
    rig.change(2).await;
    assert_eq!(rig.rejects("a", 2).await, "no two");
    let calls = rig.calls();
    assert_eq!(calls.last().map(String::as_str), Some("exec rollback 1 {\"n\":1}"), "{calls:?}");
    rig.change(3).await;
    rig.holds("a", 3).await;
    for name in ["disk/out", "disk/other"] {
        assert_eq!(seen_by(&agent, &rig.path(name)), model(3));
    }
}

#[tokio::test]
async fn a_symbolic_link_stays_and_the_file_behind_it_is_replaced() {
    let rig = Rig::new().await;
    fs::create_dir(rig.path("real")).expect("a folder");
    rig.write("real/file", "before");
    symlink("real/file", rig.path("out")).expect("a link");
    let _agent = rig.agent(&[]);
    rig.holds("a", 1).await;
    assert_eq!(fs::read_link(rig.path("out")).expect("a link").to_str(), Some("real/file"));
    assert_eq!(rig.read("real/file"), model(1));
}

#[tokio::test]
async fn a_command_that_hangs_is_ended_and_its_state_is_rejected() {
    let rig = Rig::new().await;
    let exec = rig.hook("exec");
    let _agent = rig.agent(&["--exec", &exec, "--exec-timeout=1s", "--kill-after=0", "--exec-attempts=1"]);
    rig.holds("a", 1).await;
    rig.write(
        "exec",
        "case $(cat $TIDEWAIT_FILE) in *2*) trap '' TERM; while :; do read x < $0.none || sleep 9; done;; esac",
    );
    rig.change(2).await;
    let why = rig.rejects("a", 2).await;
    assert!(why.contains("1s") || why.contains("1 s"), "{why}");
    assert_eq!(rig.read("out"), model(1));
}

#[tokio::test]
async fn what_a_command_leaves_behind_and_prints_harms_nobody() {
    let rig = Rig::new().await;
    let exec = rig.hook("exec");
    let agent = rig.agent(&["--exec", &exec]);
    rig.holds("a", 1).await;
    let before = peak(&agent);
    // It keeps the pipes and leaves the group.
    rig.write("exec", "setsid sleep 5 & head -c 1000000000 /dev/zero; head -c 1000000 /dev/zero >&2");
    rig.change(2).await;
    rig.holds("a", 2).await;
    let grown = peak(&agent) - before;
    assert!(grown < 16_384, "{grown} KiB more");
}

/// The most memory that it has had, in KiB.
fn peak(agent: &Agent) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", agent.child.id().expect("it runs"))).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux says it");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[tokio::test]
async fn a_server_that_lies_changes_nothing() {
    let rig = Rig::new().await;
    let url = format!("http://{}", rig.server.listen);
    assert_eq!(once(&rig, &url, &[]).await.0, Some(0));
    let id = rig.id_of(1).await;
    for (head, body) in [
        // Other bytes by a good id, html, and fewer bytes than were promised.
        (format!("200 OK\r\nState-Id: {id}0\r\nContent-Type: application/json\r\nContent-Length: 7"), "{\"n\":9}"),
        ("200 OK\r\nContent-Type: text/html\r\nContent-Length: 6".to_owned(), "<html>"),
        (format!("200 OK\r\nState-Id: {id}\r\nContent-Type: application/json\r\nContent-Length: 99"), "{\"n\":9}"),
        ("302 Found\r\nLocation: /describe\r\nContent-Length: 0".to_owned(), ""),
    ] {
        let liar = answers(head.clone(), body).await;
        let (code, log) = once(&rig, &liar, &["--deadline=1s"]).await;
        assert_eq!((code, &*rig.read("out")), (Some(4), &*model(1)), "{head}: {log:?}");
        assert!(log.iter().any(|line| line.contains("no state comes") && line.contains(&liar)), "{head}: {log:?}");
    }
}

#[tokio::test]
async fn an_operation_that_is_gone_leaves_the_output_as_it_is() {
    let mut rig = Rig::new().await;
    let mut agent = rig.agent(&[]);
    rig.holds("a", 1).await;
    agent.kill().await;
    rig.server.child.kill().await.expect("SIGKILL");
    let gone = answers("404 Not Found\r\nContent-Length: 0".to_owned(), "").await;
    let out = rig.path("out");
    let mut agent = Agent::spawn(rig.command_at(&gone, "a", &["--out", &out, "--on-gone=keep"]));
    let told = agent.logged("no state comes").await;
    assert!(told.contains("the operation is not there: correct its path"), "{told}");
    let status = tidewait(&["agent", "status", "--state-dir", &rig.path("state-a")]).output().await;
    let status = status.expect("the binary starts");
    let text = String::from_utf8_lossy(&status.stdout).into_owned();
    assert_eq!(status.status.code(), Some(4), "{text}");
    assert!(text.contains("the operation is gone, and what is held stays"), "{text}");
    assert_eq!(rig.read("out"), model(1));
}

/// That a state is put out is noted before it is: what comes in between must not be taken for done.
#[tokio::test]
async fn a_state_that_could_not_be_put_out_after_its_check_is_put_out_later() {
    let rig = Rig::new().await;
    let (check, exec) = (rig.hook("check"), rig.hook("exec"));
    let mut agent = rig.agent(&["--check", &check, "--exec", &exec]);
    rig.holds("a", 1).await;
    rig.write("check", "rm $TIDEWAIT_FILE");
    rig.change(2).await;
    agent.logged("is tried again").await;
    assert_eq!((rig.read("out"), rig.calls().len()), (model(1), 3));
    rig.write("check", "");
    agent.signal(rustix::process::Signal::HUP);
    rig.holds("a", 2).await;
    assert_eq!(rig.read("out"), model(2));
    let calls = rig.calls().split_off(3);
    assert_eq!(calls, ["check apply 1 {\"n\":2}", "exec apply 1 {\"n\":2}"]);
}
