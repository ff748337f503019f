//! The unit for systemd: systemd takes it, finds it hardened, and it agrees with the program.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;
use tidewait::agent::exit::Exit;
use tidewait::config::agent::{Agent, Surroundings, resolve};
use tidewait::config::cli::{Command as Subcommand, parse};
use tokio::process::Command;

use super::{deployed, installed, printed};

const UNIT: &str = "tidewait-agent@.service";

fn read(name: &str) -> String {
    fs::read_to_string(deployed("systemd").join(name)).expect("it is there")
}

/// The values of a key, in order.
fn values<'t>(text: &'t str, key: &str) -> Vec<&'t str> {
    text.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).collect()
}

/// The unit with its drop-in, as installed, but with the program of this build.
fn placed() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let path = folder.path().join(UNIT);
    let unit = read(UNIT);
    assert!(unit.contains("ExecStart=/usr/bin/tidewait agent "), "{unit}");
    fs::write(&path, unit.replace("/usr/bin/tidewait", env!("CARGO_BIN_EXE_tidewait"))).expect("the folder is ours");
    let drop_ins = folder.path().join(format!("{UNIT}.d"));
    fs::create_dir(&drop_ins).expect("the folder is ours");
    fs::write(drop_ins.join("token.conf"), read("token.conf")).expect("the folder is ours");
    (folder, path)
}

/// `systemd-analyze` looks at files alone: no systemd has to run, and none is started.
async fn analyze(arguments: &[&str], path: &std::path::Path) -> String {
    let mut command = Command::new("systemd-analyze");
    command.args(["--no-pager"]).args(arguments).arg(path);
    let output = command.output().await.expect("it is installed");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{said}");
    said
}

#[tokio::test]
async fn systemd_understands_every_line_and_finds_it_hardened() {
    installed().await;
    let (folder, path) = placed();
    // What it does not understand it says, and ignores.
    assert_eq!(analyze(&["verify", "--man=no"], &path).await, "");
    let wrong = folder.path().join("wrong@.service");
    fs::write(&wrong, read(UNIT).replace("/usr/bin/tidewait", "/bin/true").replace("WatchdogSec", "WatchdogSecs"))
        .expect("the folder is ours");
    assert!(analyze(&["verify", "--man=no"], &wrong).await.contains("WatchdogSecs"), "it would say so");
    // Of 100 at most, where 100 is a service without any limit: the rest is what firewalls and reloads need.
    let judged = analyze(&["security", "--offline=true", "--threshold=40"], &path).await;
    assert!(judged.contains("Overall exposure level"), "{judged}");
}

#[test]
fn the_unit_agrees_with_the_program() {
    let unit = read(UNIT);
    let agent = example(&words());
    let stop = agent.hooks.stop_timeout + agent.hooks.kill_after;
    assert_eq!(values(&unit, "TimeoutStopSec"), [format!("{}s", (stop + Duration::from_secs(5)).as_secs())]);
    assert_eq!(values(&unit, "RestartPreventExitStatus"), [format!("2 {}", Exit::Denied.code())]);
    assert_eq!(values(&unit, "StateDirectory"), ["tidewait-agent/%i/state tidewait-agent/%i/out"]);
    assert_eq!(values(&unit, "EnvironmentFile"), ["/etc/tidewait/%i.env"]);
    assert_eq!([values(&unit, "Type"), values(&unit, "NotifyAccess")], [["notify"], ["main"]]);
}

#[tokio::test]
async fn the_options_of_the_example_are_good() {
    let agent = example(&words());
    assert_eq!(agent.source.endpoints.len(), 2);
    assert_eq!(agent.hooks.exec.as_deref(), Some("/usr/local/sbin/network-changed {}"));
    // A shell reads the file as systemd does (systemd.exec(5)): quotes around the value, then words with quotes of their own.
    let script = r#". "$0"; eval "printf '%s\n'" $OPTIONS"#;
    let by_shell = printed(Command::new("sh").args(["-c", script]).arg(deployed("systemd/agent.env"))).await;
    assert_eq!(by_shell.lines().collect::<Vec<_>>(), words());
}

/// The words of the example.
fn words() -> Vec<String> {
    let text = read("agent.env");
    let value = text.split("OPTIONS=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a value");
    let parts = value.split('\'').enumerate();
    let words = parts.flat_map(|(at, part)| match at % 2 {
        0 => part.split_whitespace().map(str::to_owned).collect(),
        _ => vec![part.to_owned()],
    });
    words.collect()
}

/// What the program makes of options.
fn example(words: &[String]) -> Agent {
    let all = ["tidewait", "agent"].into_iter().map(OsString::from).chain(words.iter().map(OsString::from));
    let Subcommand::Agent(options) = parse(all).expect("options").command else { panic!("not the agent") };
    let state_directory = Some("/var/lib/tidewait-agent/network/state".to_owned());
    resolve(&options, &Surroundings { state_directory, host: "edge-7", ..Surroundings::default() }).expect("good")
}
