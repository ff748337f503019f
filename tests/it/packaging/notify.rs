//! What the built binary says to systemd (`sd_notify(3)`), read at a real datagram socket.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::Signal;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::UnixDatagram;
use tokio::process::Child;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::model_file::ModelFile;
use crate::process::serve;
use crate::server::{STEP, Server, collect, tidewait};

/// `WatchdogSec`, and how often the agent says that it is alive.
const WATCHDOG: Duration = Duration::from_secs(2);

/// An agent, and what it has said to systemd, each with its time.
struct Unit {
    child: Child,
    said: watch::Receiver<Vec<(Instant, String)>>,
    log: watch::Receiver<Vec<String>>,
}

impl Unit {
    /// Starts an agent as systemd does.
    fn start(model: &ModelFile, server: &Server, more: &[&str]) -> Self {
        let path = model.beside("notify");
        let _ = fs::remove_file(&path);
        let socket = UnixDatagram::bind(&path).expect("a socket");
        let (says, said) = watch::channel(Vec::new());
        tokio::spawn(async move {
            let mut bytes = [0; 8192];
            while let Ok(length) = socket.recv(&mut bytes).await {
                let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
                says.send_modify(|said| said.push((Instant::now(), text)));
            }
        });
        let url = format!("http://{}", server.listen);
        let [state, out] = ["agent", "out"].map(|name| model.beside(name));
        let mut command = tidewait(&["agent", "--endpoint", &url, "--state-dir", &state, "--out", &out, "--shell"]);
        command.args(more).env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", WATCHDOG.as_micros().to_string());
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the binary starts");
        let log = collect(BufReader::new(child.stderr.take().expect("piped")).lines());
        Self { child, said, log }
    }

    /// Waits for a datagram with this text that is not among the first `known`, and gives how many there are then.
    async fn says(&mut self, known: usize, text: &str) -> usize {
        let mut found = 0;
        let heard = self.said.wait_for(|said| {
            let new = said.iter().skip(known).position(|(_, line)| line.contains(text));
            new.is_some_and(|at| {
                found = known + at + 1;
                true
            })
        });
        let heard = tokio::time::timeout(STEP, heard).await.is_ok_and(|heard| heard.is_ok());
        assert!(heard, "{text:?} is not in {:#?}, log {:#?}", self.said.borrow(), self.log.borrow());
        found
    }

    fn has_said(&self, text: &str) -> bool {
        self.said.borrow().iter().any(|(_, line)| line.contains(text))
    }

    /// It says three times more that it is alive, each time in time and not more often than asked for.
    async fn stays_alive(&mut self) {
        let mut known = self.said.borrow().len();
        let mut times = Vec::new();
        for _ in 0..4 {
            known = self.says(known, "WATCHDOG=1\n").await;
            times.push(self.said.borrow()[known - 1].0);
        }
        let gaps: Vec<_> = times.windows(2).map(|two| two[1] - two[0]).collect();
        assert!(gaps.iter().all(|gap| *gap < WATCHDOG), "systemd would have ended it: {gaps:?}");
        let whole = times[3] - times[0];
        assert!(whole > WATCHDOG * 5 / 4, "half of the time is enough: {gaps:?}");
    }

    fn signal(&self, signal: Signal) {
        let id = self.child.id().and_then(|id| i32::try_from(id).ok()).expect("it runs");
        rustix::process::kill_process(rustix::process::Pid::from_raw(id).expect("not zero"), signal).expect("it runs");
    }

    async fn ends(&mut self) -> Option<i32> {
        tokio::time::timeout(STEP, self.child.wait()).await.expect("it ends in time").expect("a status").code()
    }
}

/// A pipe at which a command waits.
fn gate(model: &ModelFile) -> String {
    let path = model.beside("gate");
    let made = std::process::Command::new("mkfifo").arg(&path).status().expect("mkfifo is there");
    assert!(made.success());
    path
}

/// Lets a command go on that waits there, or will.
async fn open(gate: &str) {
    let gate = gate.to_owned();
    let opened = tokio::task::spawn_blocking(move || fs::write(gate, "go\n"));
    tokio::time::timeout(STEP, opened).await.expect("a command waits there").expect("no panic").expect("a pipe");
}

async fn appears(path: &str) {
    super::until(path, async || fs::exists(path).is_ok_and(|is_there| is_there).then_some(())).await;
}

#[tokio::test]
async fn it_is_ready_once_the_first_good_state_is_applied_and_not_before() {
    let model = ModelFile::absent();
    let server = serve(&model, &["--state-dir", &model.beside("state")]).await;
    let [gate, env] = [gate(&model), model.beside("env")];
    let exec = format!("env > {env}; read go < {gate}");
    let mut unit = Unit::start(&model, &server, &["--check", "grep good {}", "--exec", &exec]);
    unit.says(0, "STATUS=waits for the first state\n").await;
    unit.says(0, "STATUS=no state comes: ").await;
    model.replace(r#"{"n":"bad"}"#);
    unit.says(0, "STATUS=rejected ").await;
    assert!(!fs::exists(model.beside("out")).expect("it can be seen"));
    model.replace(r#"{"n":"good"}"#);
    appears(&env).await;
    unit.stays_alive().await;
    assert!(!unit.has_said("READY=1"), "{:?}", unit.said.borrow());
    let seen = fs::read_to_string(&env).expect("it was written");
    assert!(!seen.contains("NOTIFY_SOCKET") && !seen.contains("WATCHDOG"), "{seen}");
    open(&gate).await;
    let known = unit.says(0, "READY=1\nSTATUS=holds ").await;
    assert_eq!(fs::read_to_string(model.beside("out")).expect("it is out"), r#"{"n":"good"}"#);
    // What is rejected later is said, and what is out stays.
    model.replace(r#"{"n":"bad again"}"#);
    unit.says(known, "STATUS=rejected ").await;
    unit.signal(Signal::TERM);
    unit.says(0, "STOPPING=1\n").await;
    assert_eq!(unit.ends().await, Some(0));
}

#[tokio::test]
async fn without_a_server_it_is_ready_with_the_last_good_output_and_stays_alive() {
    let model = ModelFile::new(r#"{"n":1}"#);
    let mut server = serve(&model, &[]).await;
    let mut unit = Unit::start(&model, &server, &[]);
    unit.says(0, "READY=1\n").await;
    server.child.kill().await.expect("it runs");
    let known = unit.says(0, "STATUS=no state comes: ").await;
    unit.stays_alive().await;
    let listen = server.listen.to_string();
    let flags = ["serve", "--listen", &listen, "--admin", "127.0.0.1:0", "--log-format", "json"];
    let mut server = Server::spawn(tidewait(&[&flags[..], &["--file", model.arg()]].concat())).await;
    unit.says(known, "STATUS=holds ").await;
    server.child.kill().await.expect("it runs");
    unit.child.kill().await.expect("it runs");
    fs::remove_file(model.beside("out")).expect("it was out");
    let mut unit = Unit::start(&model, &server, &[]);
    unit.says(0, "READY=1\nSTATUS=holds ").await;
    assert_eq!(fs::read_to_string(model.beside("out")).expect("put out again"), r#"{"n":1}"#);
}

#[tokio::test]
async fn it_says_how_long_a_command_may_still_take_and_ends_with_it() {
    let model = ModelFile::new(r#"{"n":1}"#);
    let server = serve(&model, &[]).await;
    let gate = gate(&model);
    let runs = model.beside("runs");
    let exec = format!("touch {runs}; read go < {gate}; rm {runs}");
    let more = ["--exec", &exec, "--exec-on-start=always", "--stop-timeout=1m", "--kill-after=3s"];
    // In the first round the command runs for a new state, in the second one for what is held.
    for _ in 0..2 {
        let mut unit = Unit::start(&model, &server, &more);
        let is_first = !fs::exists(model.beside("out")).expect("it can be seen");
        if !is_first {
            unit.says(0, "READY=1\n").await;
        }
        appears(&runs).await;
        unit.signal(Signal::TERM);
        unit.says(0, "STOPPING=1\nEXTEND_TIMEOUT_USEC=63000000\n").await;
        unit.stays_alive().await;
        open(&gate).await;
        assert_eq!(unit.ends().await, Some(0));
    }
}
