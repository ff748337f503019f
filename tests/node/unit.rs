//! The unit for systemd under a real one, which tests/packaging/machine boots in namespaces of its own: with its hardening, its
//! credential and its watchdog.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::chart::combined_output;
use crate::node::until;

const UNIT: &str = "tidewait-agent@network";
const OUT: &str = "/var/lib/tidewait-agent/network/out/network.json";

/// A systemd that runs; it ends when this is dropped.
struct Machine {
    folder: TempDir,
    keeper: Child,
}

fn deployed(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/systemd").join(name)
}

impl Machine {
    /// Boots it with these files.
    async fn boot(files: &[(&str, String)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for (path, text) in files {
            let path = folder.path().join("files").join(path.trim_start_matches('/'));
            fs::create_dir_all(path.parent().expect("in a folder")).expect("the folder is ours");
            fs::write(path, text).expect("the folder is ours");
        }
        let program = folder.path().join("files/usr/bin/tidewait");
        fs::create_dir_all(program.parent().expect("in a folder")).expect("the folder is ours");
        fs::copy(env!("CARGO_BIN_EXE_tidewait"), program).expect("it is built");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/packaging/machine");
        let keeper = Command::new(script).arg(folder.path()).stdin(Stdio::piped()).spawn().expect("the script runs");
        let machine = Self { folder, keeper };
        let up = async || machine.run(&["systemctl", "is-active", "multi-user.target"]).await;
        until("systemd is up", up, |said| said == "active").await;
        machine
    }

    /// What a command says in it.
    async fn run(&self, words: &[&str]) -> String {
        let Ok(pid) = fs::read_to_string(self.folder.path().join("pid")) else { return String::new() };
        let mut command = tokio::process::Command::new("nsenter");
        command.args(["--target", pid.trim(), "--mount", "--pid", "--net"]).args(words).stdin(Stdio::null());
        combined_output(&command.output().await.expect("nsenter is there")).trim().to_owned()
    }

    async fn property(&self, name: &str) -> String {
        self.run(&["systemctl", "show", "--value", "--property", name, UNIT]).await
    }

    async fn becomes(&self, name: &str, value: &str) {
        let ask = async || {
            let log = self.run(&["cat", "/run/log"]).await;
            (self.property(name).await, log)
        };
        until(&format!("{name} is {value}"), ask, |(found, _)| found.starts_with(value)).await;
    }

    async fn reads(&self, path: &str, text: &str) {
        until(&format!("{path} is {text}"), async || self.run(&["cat", path]).await, |found| found == text).await;
    }

    async fn replace(&self, model: &str) {
        let script = format!("printf %s '{model}' >/srv/next && mv /srv/next /srv/model.json");
        assert_eq!(self.run(&["sh", "-c", &script]).await, "");
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

fn read(name: &str) -> String {
    fs::read_to_string(deployed(name)).expect("it is there")
}

/// The unit and its drop-in as they stand, a server that asks for a token, and what comes after the agent.
fn files() -> Vec<(&'static str, String)> {
    let digest = |token: &str| {
        use sha2::Digest as _;
        sha2::Sha256::digest(token).iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat()
    };
    let token = "tw_of_this_test_alone_0123456789abcdef";
    let options =
        format!("OPTIONS=\"--endpoint http://127.0.0.1:8480 --out {OUT} --exec 'cp {{}} /var/lib/applied'\"\n");
    vec![
        ("/etc/systemd/system/tidewait-agent@.service", read("tidewait-agent@.service")),
        ("/etc/systemd/system/tidewait-agent@.service.d/token.conf", read("token.conf")),
        // Its own time is 30 s.
        (
            "/etc/systemd/system/tidewait-agent@.service.d/test.conf",
            "[Service]\nWatchdogSec=3s\nStandardError=append:/run/log\n".to_owned(),
        ),
        ("/etc/tidewait/network.env", options),
        ("/etc/tidewait/wrong.env", "OPTIONS=\"--endpoint http://127.0.0.1:8480\"\n".to_owned()),
        ("/etc/tidewait/network.token", token.to_owned()),
        ("/etc/tidewait/wrong.token", token.to_owned()),
        ("/etc/tidewait/tokens", format!("sha256:{} edge\n", digest(token))),
        ("/srv/model.json", r#"{"mtu":1450}"#.to_owned()),
        (
            "/etc/systemd/system/server.service",
            "[Service]\nExecStart=/usr/bin/tidewait serve --file /srv/model.json --listen 127.0.0.1:8480 \
             --access-tokens /etc/tidewait/tokens\nStandardError=append:/run/log\n"
                .to_owned(),
        ),
        (
            "/etc/systemd/system/after.service",
            format!(
                "[Unit]\nRequires={UNIT}.service\nAfter={UNIT}.service\n[Service]\nExecStart=cp {OUT} /run/after\n"
            ),
        ),
    ]
}

#[tokio::test]
async fn the_unit_does_under_a_real_systemd_what_it_says() {
    let machine = Machine::boot(&files()).await;
    // Without a state it is starting, and what comes after it waits.
    machine.run(&["systemctl", "start", "--no-block", "after.service"]).await;
    machine.becomes("StatusText", "no state comes: ").await;
    assert_eq!(machine.property("ActiveState").await, "activating");
    assert!(machine.run(&["cat", "/run/after"]).await.contains("No such file"));
    machine.run(&["systemctl", "start", "server.service"]).await;
    machine.becomes("ActiveState", "active").await;
    machine.becomes("StatusText", "holds ").await;
    for path in [OUT, "/run/after", "/var/lib/applied"] {
        machine.reads(path, r#"{"mtu":1450}"#).await;
    }
    machine.replace(r#"{"mtu":1400}"#).await;
    machine.reads("/var/lib/applied", r#"{"mtu":1400}"#).await;
    // Without a server it goes on: the watchdog is about its own loop.
    let process = machine.property("MainPID").await;
    machine.run(&["systemctl", "stop", "server.service"]).await;
    machine.becomes("StatusText", "no state comes: ").await;
    // Microseconds: it goes on to say that it is alive, for longer than the watchdog waits.
    let alive = async || machine.property("WatchdogTimestampMonotonic").await.parse::<u64>().unwrap_or_default();
    let lost = alive().await;
    until("it says that it is alive", alive, |at| *at > lost + 5_000_000).await;
    assert_eq!([machine.property("MainPID").await, machine.property("NRestarts").await], [&*process, "0"]);
    // A loop that stands still is ended, and the next one has the last good state out, without a server.
    machine.run(&["rm", OUT]).await;
    machine.run(&["kill", "-STOP", &process]).await;
    machine.becomes("NRestarts", "1").await;
    machine.becomes("ActiveState", "active").await;
    machine.reads(OUT, r#"{"mtu":1400}"#).await;
    // What it is asked for, and its end.
    machine.run(&["systemctl", "start", "server.service"]).await;
    assert_eq!(machine.run(&["systemctl", "reload", UNIT]).await, "");
    machine.becomes("StatusText", "holds ").await;
    assert_eq!(machine.run(&["systemctl", "stop", UNIT]).await, "");
    let end = ["ActiveState", "Result", "ExecMainStatus"];
    let mut ended = Vec::new();
    for name in end {
        ended.push(machine.property(name).await);
    }
    assert_eq!(ended, ["inactive", "success", "0"], "{}", machine.run(&["cat", "/run/log"]).await);
    // With wrong options it stays down.
    machine.run(&["systemctl", "start", "tidewait-agent@wrong"]).await;
    let wrong =
        ["systemctl", "show", "--value", "--property=ActiveState,ExecMainStatus,NRestarts", "tidewait-agent@wrong"];
    let told = until("it is down", async || machine.run(&wrong).await, |told| told.contains("failed")).await;
    let mut told: Vec<_> = told.split_whitespace().collect();
    told.sort_unstable();
    assert_eq!(told, ["0", "2", "failed"]);
}
