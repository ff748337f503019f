//! `tidewait agent` as its user sees it: the built binary, a server of it, and files and commands of a test.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;

use crate::model_file::ModelFile;
pub(crate) use crate::server::until;
use crate::server::{STEP, Server, collect, tidewait};

mod admin;
mod commands;
mod faults;
mod follows;
mod idle;
mod killed;
mod once;
mod signals;
mod start;
mod watched;

/// A server with its model, and a folder for all that agents of it have.
pub(crate) struct Rig {
    pub(crate) model: ModelFile,
    pub(crate) server: Server,
    folder: TempDir,
}

/// A running `tidewait agent`; killed when dropped.
pub(crate) struct Agent {
    pub(crate) child: Child,
    pub(crate) log: watch::Receiver<Vec<String>>,
}

/// The model with this number.
pub(crate) fn model(n: usize) -> String {
    format!(r#"{{"n":{n}}}"#)
}

/// Commands of an agent that was killed go on, and some wait at a gate for ever.
impl Drop for Rig {
    fn drop(&mut self) {
        let hook = self.path("hook");
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let pid = entry.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw);
            if let Some(pid) = pid.filter(|_| String::from_utf8_lossy(&command).contains(&hook)) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
    }
}

impl Rig {
    /// A server of the first model.
    pub(crate) async fn new() -> Self {
        Self::with(&model(1), &[]).await
    }

    /// A server of this model.
    pub(crate) async fn with(text: &str, more: &[&str]) -> Self {
        let model = ModelFile::new(text);
        let mut server = Server::start(&[&["--file", model.arg(), "--min-interval=10ms"], more].concat()).await;
        server.ready().await;
        let rig = Self { model, server, folder: TempDir::new().expect("a folder for temporary files") };
        let folder = rig.path("");
        // Notes that it runs, and does what the test wants of it.
        let hook = format!(
            "echo \"$1 $TIDEWAIT_ACTION $TIDEWAIT_ATTEMPT $(cat \"$TIDEWAIT_FILE\")\" >> {folder}calls\n\
             [ -e {folder}$1 ] || exit 0\n. {folder}$1\n"
        );
        rig.write("hook", &hook);
        rig
    }

    /// A path in the folder, for a command line.
    pub(crate) fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().expect("UTF-8").to_owned()
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("the folder can be written");
    }

    /// What a file has; empty: there is none.
    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// The command line of a command of the agent, which does what is in the file of its name.
    pub(crate) fn hook(&self, name: &str) -> String {
        format!("/bin/sh {} {name}", self.path("hook"))
    }

    /// The commands that have run, each with its action, attempt and bytes.
    pub(crate) fn calls(&self) -> Vec<String> {
        self.read("calls").lines().map(str::to_owned).collect()
    }

    /// Waits until a command has run, or runs.
    pub(crate) async fn called(&self, call: &str) {
        until(call, async || self.calls().iter().any(|line| line == call).then_some(())).await;
    }

    /// A pipe at which a command waits (`read line < {gate}`).
    pub(crate) fn gate(&self, name: &str) -> String {
        let path = self.path(name);
        let made = std::process::Command::new("mkfifo").arg(&path).status();
        assert!(made.expect("mkfifo is there").success());
        path
    }

    /// Lets one command go on.
    pub(crate) async fn open(&self, gate: &str) {
        let path = self.path(gate);
        let opened = tokio::task::spawn_blocking(move || fs::write(path, "go\n"));
        let opened = tokio::time::timeout(STEP, opened).await.expect("a command waits there");
        opened.expect("no panic").expect("a pipe");
    }

    /// An agent of the server that keeps `out`.
    pub(crate) fn agent(&self, more: &[&str]) -> Agent {
        let out = self.path("out");
        self.agent_of("a", &[&["--out", &out], more].concat())
    }

    /// An agent of the server.
    pub(crate) fn agent_of(&self, name: &str, more: &[&str]) -> Agent {
        Agent::spawn(self.command(name, more))
    }

    pub(crate) fn command(&self, name: &str, more: &[&str]) -> Command {
        let url = format!("http://{}", self.server.listen);
        self.command_at(&url, name, more)
    }

    pub(crate) fn command_at(&self, url: &str, name: &str, more: &[&str]) -> Command {
        let state = self.path(&format!("state-{name}"));
        let arguments = ["agent", "--endpoint", url, "--agent-id", name, "--state-dir", &state, "--wait=2s"];
        let mut command = tidewait(&arguments);
        command.arg("--log-format=json").args(more);
        command
    }

    /// What operators see of an agent.
    pub(crate) async fn seen(&self, name: &str) -> Value {
        let page = self.server.admin("/agents").await.json();
        let agents = page["agents"].as_array().cloned().unwrap_or_default();
        agents.into_iter().find(|agent| agent["name"] == name).unwrap_or_default()
    }

    /// The id of what the server has, once that is this model.
    pub(crate) async fn id_of(&self, n: usize) -> String {
        let wanted = model(n);
        until("the model is served", async || {
            let reply = self.server.get("/describe").await;
            (reply.body == wanted.as_bytes()).then(|| reply.id().to_owned())
        })
        .await
    }

    /// Changes the model, and waits until the server has it.
    pub(crate) async fn change(&self, n: usize) -> String {
        self.model.replace(&model(n));
        self.id_of(n).await
    }

    /// Waits until an agent has acknowledged this model and applies nothing.
    pub(crate) async fn holds(&self, name: &str, n: usize) {
        let id = self.id_of(n).await;
        until(&format!("{name} holds {n}"), async || {
            let seen = self.seen(name).await;
            (seen["holds"] == id && seen["applies"].is_null() && seen["rejects"].is_null()).then_some(())
        })
        .await;
    }

    /// Waits until an agent has said that it cannot apply the model that the server has, and why.
    pub(crate) async fn rejects(&self, name: &str, n: usize) -> String {
        let id = self.id_of(n).await;
        until(&format!("{name} rejects {n}"), async || {
            let seen = self.seen(name).await;
            (seen["rejects"] == id).then(|| seen["reason"].as_str().expect("a reason").to_owned())
        })
        .await
    }

    /// Waits until an output is this.
    pub(crate) async fn reads(&self, name: &str, text: &str) {
        until(&format!("{name} is {text}"), async || (self.read(name) == text).then_some(())).await;
    }
}

impl Agent {
    pub(crate) fn spawn(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the binary starts");
        let log = collect(BufReader::new(child.stderr.take().expect("piped")).lines());
        Self { child, log }
    }

    /// Waits for a line of its log.
    pub(crate) async fn logged(&mut self, text: &str) -> String {
        let found = |log: &Vec<String>| log.iter().any(|line| line.contains(text));
        let waited = tokio::time::timeout(STEP, self.log.wait_for(found)).await.map(|seen| seen.is_ok());
        let log = self.log.borrow().clone();
        assert!(matches!(waited, Ok(true)), "no log line with {text:?} in {log:#?}");
        log.into_iter().find(|line| line.contains(text)).expect("found before")
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let id = self.child.id().and_then(|id| i32::try_from(id).ok()).expect("it runs");
        let id = rustix::process::Pid::from_raw(id).expect("not zero");
        rustix::process::kill_process(id, signal).expect("it runs");
    }

    /// Waits until it has ended, and gives its exit code (none: by a signal).
    pub(crate) async fn ended(&mut self) -> Option<i32> {
        let waited = tokio::time::timeout(STEP, self.child.wait()).await;
        // All that it said is there once its end of the pipe is closed, also by what it has started.
        let _ = tokio::time::timeout(Duration::from_secs(1), self.log.wait_for(|_| false)).await;
        let log = self.log.borrow().clone();
        waited.unwrap_or_else(|_| panic!("it does not end: {log:#?}")).expect("a status").code()
    }

    pub(crate) async fn kill(&mut self) {
        self.child.kill().await.expect("SIGKILL");
    }
}
