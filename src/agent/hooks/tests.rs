//! Commands that really run, and behave as badly as they can.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, test_kill_process};
use tempfile::TempDir;
use tokio::time::sleep;

use super::*;

const LIMITS: Limits =
    Limits { timeout: Some(Duration::from_secs(60)), kill_after: Duration::from_secs(60), note: Note::NONE };
const SHORT: Limits =
    Limits { timeout: Some(Duration::from_millis(300)), kill_after: Duration::from_secs(60), note: Note::NONE };

fn environment() -> Environment {
    let inherited = |name: &str| match name {
        "PATH" => Some("/usr/bin:/bin".into()),
        "ASKED" => Some("for".into()),
        "NOTIFY_SOCKET" | "SECRET" | "HOME" => Some("/home".into()),
        _ => None,
    };
    Environment::new(&["ASKED".to_owned(), "ABSENT".to_owned()], inherited).expect("names")
}

fn call(file: &Path) -> Call<'_> {
    Call {
        action: Action::Apply,
        operation: "/describe",
        id: "e.1.d",
        previous_id: None,
        file,
        target: Path::new("/etc/target"),
        previous_file: None,
        patch_file: None,
        reason: Some("a\nb\0"),
        is_stale: false,
        attempt: 1,
    }
}

async fn run_text(text: &str, shell: bool, input: Option<Bytes>, limits: Limits) -> Ended {
    let command = Command::parse(text, shell).expect("a command");
    run(&command, &environment(), &call(Path::new("/tmp/a file")), input, &limits, &Ends::default()).await
}

/// Runs a command that is to end once a file is there.
async fn stopped_once(path: &Path, command: &Command) -> Ended {
    let ends = Ends::default();
    let stop = async {
        is_there(path).await;
        ends.stop.cancel();
    };
    let (environment, limits) = (environment(), LIMITS);
    let call = call(Path::new("/f"));
    tokio::join!(run(command, &environment, &call, None, &limits, &ends), stop).0
}

async fn sh(script: &str, limits: Limits) -> Ended {
    run_text(script, true, None, limits).await
}

/// Whether a process is there and is not a zombie: what is not ours may be reaped by nobody in a container.
fn runs(pid: &str) -> bool {
    let pid = pid.trim().parse().ok().and_then(Pid::from_raw).expect("a process id");
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    test_kill_process(pid).is_ok() && !stat.rsplit(')').next().unwrap_or_default().trim().starts_with('Z')
}

/// Waits for what a signal does soon.
async fn ends(pid: &str) {
    while runs(pid) {
        sleep(Duration::from_millis(5)).await;
    }
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

fn script(folder: &TempDir, text: &str, mode: u32) -> PathBuf {
    let path = folder.path().join("script");
    fs::write(&path, text).expect("a file");
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("it is ours");
    path
}

#[tokio::test]
async fn the_exit_code_is_the_outcome_and_the_last_line_the_reason() {
    for (script, outcome) in [
        ("echo all is well >&2", Outcome::Done),
        ("exit 75", Outcome::TryAgain("it ended with code 75".into())),
        ("echo busy >&2; exit 75", Outcome::TryAgain("busy".into())),
        ("exit 1", Outcome::Rejected("it ended with code 1, and nothing on standard error".into())),
        ("echo out; echo first >&2; printf 'no\\033[1m\\n\\n' >&2; exit 2", Outcome::Rejected(r"no\u{1b}[1m".into())),
        ("kill -9 $$", Outcome::Rejected("it was ended by signal 9".into())),
        ("echo oops >&2; kill -11 $$", Outcome::Rejected("it was ended by signal 11: oops".into())),
        (
            "nothing-of-that-name 2>/dev/null",
            Outcome::Rejected("it ended with code 127, and nothing on standard error".into()),
        ),
    ] {
        let ended = sh(script, LIMITS).await;
        assert_eq!((&ended.outcome, ended.is_outlived), (&outcome, false), "{script}");
    }
    let long = sh("printf '%0300d' 7 >&2; exit 1", LIMITS).await;
    assert!(matches!(long.outcome, Outcome::Rejected(why) if why.len() == 256));
}

#[test]
fn attempts_that_nobody_judged_are_limited() {
    for outcome in [Outcome::TimedOut("t".into()), Outcome::NotStarted("t".into())] {
        assert_eq!(outcome.clone().after(2, 3), Outcome::TryAgain("t".into()));
        assert_eq!(outcome.after(3, 3), Outcome::Rejected("t".into()));
    }
    for outcome in [Outcome::Done, Outcome::TryAgain("t".into()), Outcome::Rejected("t".into()), Outcome::Stopped] {
        assert_eq!(outcome.clone().after(9, 3), outcome);
    }
}

#[tokio::test]
async fn a_command_sees_what_is_promised_and_nothing_else() {
    let ended = run_text("/usr/bin/env -0", false, None, LIMITS).await;
    let mut seen: Vec<_> = ended.stdout.text().split_terminator('\0').map(str::to_owned).collect();
    seen.sort();
    assert_eq!(
        seen,
        [
            "ASKED=for",
            "HOME=/home",
            "PATH=/usr/bin:/bin",
            "TIDEWAIT_ACTION=apply",
            "TIDEWAIT_ATTEMPT=1",
            "TIDEWAIT_FILE=/tmp/a file",
            "TIDEWAIT_ID=e.1.d",
            "TIDEWAIT_OPERATION=/describe",
            "TIDEWAIT_PATCH_FILE=",
            "TIDEWAIT_PREVIOUS_FILE=",
            "TIDEWAIT_PREVIOUS_ID=",
            r"TIDEWAIT_REASON=a\nb\u{0}",
            "TIDEWAIT_STALE=",
            "TIDEWAIT_TARGET=/etc/target",
        ]
    );
    for name in ["NOTIFY_SOCKET", "WATCHDOG_USEC", "CREDENTIALS_DIRECTORY", "TIDEWAIT_TOKEN", "A=B", ""] {
        assert!(Environment::new(&[name.to_owned()], |_| None).is_err(), "{name}");
    }
    // Its folder, its input, its files, its group, and the one word that is the path.
    let folder = folder();
    let ours = fs::File::create(folder.path().join("a-file-of-ours")).expect("a file");
    let ended = sh("pwd; cat; cut -d' ' -f5 /proc/$$/stat; echo $$; echo {}; ls -l /proc/self/fd", LIMITS).await;
    drop(ours);
    let text = ended.stdout.text();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!((lines[0], lines[3]), ("/", "/tmp/a file"), "{lines:?}");
    assert_eq!(lines[1], lines[2], "it leads its group");
    assert!(text.contains("-> /dev/null") && !text.contains("a-file-of-ours"), "{text}");
    let ended = run_text("printf %s {}", false, None, LIMITS).await;
    assert_eq!(ended.stdout.text(), "/tmp/a file");
}

#[tokio::test]
async fn the_bytes_are_its_input_and_it_need_not_read_them() {
    let input = Bytes::from(vec![b'x'; 3_000_000]);
    let ended = run_text("wc -c", false, Some(input.clone()), LIMITS).await;
    assert_eq!((ended.stdout.text().trim(), &ended.outcome), ("3000000", &Outcome::Done));
    for script in ["exec 0<&-; sleep 0.1", "head -c 10 >/dev/null", "true"] {
        let ended = run_text(script, true, Some(input.clone()), LIMITS).await;
        assert_eq!((ended.outcome, ended.is_outlived), (Outcome::Done, false), "{script}");
    }
}

/// Comes once a file is there.
async fn is_there(path: &Path) {
    while !path.exists() {
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_command_that_hangs_is_ended_with_its_group() {
    let ended = sh("sleep 1000 & sleep 1000", SHORT).await;
    let Outcome::TimedOut(why) = &ended.outcome else { panic!("{ended:?}") };
    assert!(why.starts_with("it was killed after 300ms") && !ended.is_outlived, "{ended:?}");

    let folder = folder();
    let (note, child, ready) = (folder.path().join("note"), folder.path().join("child"), folder.path().join("ready"));
    // It cleans up at SIGTERM; what it has started does as well, a little later, and has the time for it.
    let script = format!(
        "trap 'echo leader >>{0}; exit 0' TERM
         (trap 'sleep 0.2; echo child >>{0}; exit' TERM; touch {1}; while :; do sleep 0.05; done) & echo $! >&2
         until [ -e {1} ]; do sleep 0.01; done; touch {2}; while :; do sleep 0.05; done",
        note.display(),
        child.display(),
        ready.display()
    );
    let command = Command::parse(&script, true).expect("fine");
    let ended = stopped_once(&ready, &command).await;
    assert_eq!((&ended.outcome, ended.is_outlived), (&Outcome::Stopped, false));
    let mut noted: Vec<_> = fs::read_to_string(note).expect("both noted it").lines().map(str::to_owned).collect();
    noted.sort();
    assert_eq!(noted, ["child", "leader"]);
    assert!(ended.took < Duration::from_secs(30), "{:?}", ended.took);
    let text = ended.stderr.text();
    ends(text.lines().next().expect("its number")).await;
}

#[tokio::test]
async fn a_command_that_ignores_sigterm_is_killed_with_its_group() {
    let limits =
        Limits { timeout: Some(Duration::from_millis(200)), kill_after: Duration::from_millis(200), note: Note::NONE };
    let ended = sh("trap '' TERM; sleep 1000 & echo $! >&2; wait; sleep 1000", limits).await;
    assert!(matches!(ended.outcome, Outcome::TimedOut(_)) && ended.took < Duration::from_secs(30), "{ended:?}");
    ends(&ended.stderr.text()).await;
}

/// Whoever is in a hurry does not wait for what SIGTERM comes to.
#[tokio::test]
async fn a_command_can_be_killed_at_once() {
    let folder = folder();
    let there = folder.path().join("there");
    let command = format!("trap '' TERM; touch {}; sleep 1000; sleep 1000", there.display());
    let command = Command::parse(&command, true).expect("fine");
    let (ends, limits) = (Ends::default(), LIMITS);
    let hurry = async {
        is_there(&there).await;
        ends.stop.cancel();
        sleep(Duration::from_millis(50)).await;
        ends.kill.cancel();
    };
    let (environment, call) = (environment(), call(Path::new("/f")));
    let (ended, ()) = tokio::join!(run(&command, &environment, &call, None, &limits, &ends), hurry);
    assert_eq!(ended.outcome, Outcome::Stopped);
    assert!(ended.took < Duration::from_secs(30), "{:?}", ended.took);
}

#[tokio::test]
async fn what_it_leaves_behind_may_keep_its_pipes_for_a_second_and_is_left_alone() {
    // One of its group, and one that has left it.
    let folder = folder();
    let there = folder.path().join("there").display().to_string();
    let leaves = format!("setsid sh -c 'echo $$; touch {there}; exec sleep 1000' & until [ -e {there} ]; do :; done");
    for start in ["sleep 1000 & echo $!", &*leaves] {
        let ended = sh(start, LIMITS).await;
        assert_eq!((&ended.outcome, ended.is_outlived), (&Outcome::Done, true), "{start}");
        assert!(ended.took < Duration::from_secs(20), "{:?}", ended.took);
        let pid = ended.stdout.text();
        assert!(runs(&pid), "{start}");
        let pid = pid.trim().parse().ok().and_then(Pid::from_raw).expect("a process id");
        rustix::process::kill_process(pid, Signal::KILL).expect("it is ours");
    }
}

#[tokio::test]
async fn a_gigabyte_is_read_and_not_kept() {
    let ended = sh("head -c 1000000000 /dev/zero | tr '\\0' x; echo last >&2; exit 3", LIMITS).await;
    assert_eq!(ended.outcome, Outcome::Rejected("last".into()));
    assert_eq!((ended.stdout.total(), ended.stdout.text().len() < 66_000), (1_000_000_000, true));
}

#[tokio::test]
async fn a_command_may_close_its_pipes_and_go_on() {
    let ended = sh("exec >&- 2>&-; sleep 0.3; exit 4", LIMITS).await;
    assert_eq!(ended.outcome, Outcome::Rejected("it ended with code 4, and nothing on standard error".into()));
    let ended = sh("exec >&- 2>&-; trap 'exit 0' TERM; while :; do sleep 0.05; done", SHORT).await;
    assert_eq!(ended.outcome, Outcome::TimedOut("it was killed after 300ms".into()));
}

#[tokio::test]
async fn what_cannot_be_started_says_why_and_what_to_do() {
    let folder = folder();
    let plain = script(&folder, "#!/bin/sh\n", 0o644);
    let start = |path: PathBuf| async move { run_text(&path.display().to_string(), false, None, LIMITS).await.outcome };
    let Outcome::NotStarted(why) = start(plain.clone()).await else { panic!("it is not executable") };
    assert!(why.starts_with(&format!("{} cannot be started: Permission denied", plain.display())), "{why}");
    assert!(why.contains("chmod +x"), "{why}");
    let Outcome::NotStarted(why) = start(folder.path().join("none")).await else { panic!("it is not there") };
    assert!(why.contains("No such file or directory") && why.contains("give the path of a program"), "{why}");
    let no_interpreter = script(&folder, "#!/none/at/all\n", 0o755);
    assert!(matches!(start(no_interpreter).await, Outcome::NotStarted(_)));
    let Outcome::NotStarted(why) = start(script(&folder, "\u{0}\u{1}", 0o755)).await else { panic!("no program") };
    assert!(why.contains("begin the script with #!"), "{why}");
}

#[tokio::test]
async fn the_agent_can_stop_it_and_a_dropped_one_is_killed() {
    let folder = folder();
    let there = folder.path().join("there");
    let script = format!("trap 'echo stopped; exit 0' TERM; touch {}; while :; do sleep 0.05; done", there.display());
    let command = Command::parse(&script, true).expect("fine");
    let ended = stopped_once(&there, &command).await;
    assert_eq!((&ended.outcome, &*ended.stdout.text()), (&Outcome::Stopped, "stopped\n"));
    let now = Ends::default();
    now.stop.cancel();
    let ended = run(&command, &environment(), &call(Path::new("/f")), None, &LIMITS, &now).await;
    assert_eq!(ended.outcome, Outcome::Stopped);

    let note = folder.path().join("pid");
    let command = format!("sleep 1000 & echo $! >{}; wait", note.display());
    let command = Command::parse(&command, true).expect("fine");
    let (environment, file) = (environment(), PathBuf::from("/f"));
    let call = call(&file);
    let (limits, never) = (LIMITS, Ends::default());
    let running = run(&command, &environment, &call, None, &limits, &never);
    let noted = async {
        loop {
            match fs::read_to_string(&note) {
                Ok(pid) if pid.ends_with('\n') => break pid,
                Ok(_) | Err(_) => sleep(Duration::from_millis(5)).await,
            }
        }
    };
    let pid = tokio::select! {
        ended = running => panic!("{ended:?}"),
        pid = noted => pid,
    };
    ends(&pid).await;
}

/// In a process of its own: whoever reaps all children takes those of other tests.
#[test]
fn what_forks_twice_is_reaped_and_nothing_of_a_command_is() {
    #[expect(clippy::disallowed_methods, reason = "it tells the process of its own from the one that starts it")]
    let is_alone = std::env::var_os("TIDEWAIT_TEST_ALONE").is_some();
    if !is_alone {
        let name = "agent::hooks::tests::what_forks_twice_is_reaped_and_nothing_of_a_command_is";
        let mut alone = std::process::Command::new(std::env::current_exe().expect("this program"));
        let output = alone.args([name, "--exact", "--nocapture"]).env("TIDEWAIT_TEST_ALONE", "1").output();
        let output = output.expect("it runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut orphans = Orphans::adopt().expect("Linux");
        // Each leaves one that ends before it, and one that ends after it.
        for _ in 0..10 {
            let script = "(true & sleep 0.3 >/dev/null 2>&1 &) ; (setsid sleep 0.1 >/dev/null 2>&1 &); exit 6";
            let ended = sh(script, LIMITS).await;
            let why = "it ended with code 6, and nothing on standard error";
            assert_eq!(ended.outcome, Outcome::Rejected(why.into()));
        }
        let all = async { while orphans.reaped().await < 30 {} };
        timeout(Duration::from_secs(60), all).await.expect("all three of each are seen");
        let children = rustix::process::wait(rustix::process::WaitOptions::NOHANG);
        assert_eq!(children.expect_err("none is left"), rustix::io::Errno::CHILD);
    });
}
