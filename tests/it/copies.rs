//! The clients of deploy/clients, as people copy them: in shell, Python and Go, each through a start without a state, twenty
//! changes and a restart.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;

use crate::model_file::ModelFile;
use crate::process::serve;
use crate::server::{STEP, Server, collect, tidewait};

/// The folder of `tests/clients/build.sh`, made on first use.
pub(crate) async fn tools() -> PathBuf {
    const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/build.sh");
    let output = Command::new(SCRIPT).stderr(Stdio::inherit()).output().await.expect("the script runs");
    assert!(output.status.success(), "tests/clients/build.sh failed: run it and see why");
    PathBuf::from(String::from_utf8(output.stdout).expect("a path").trim_end())
}

fn copied(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/clients").join(name)
}

/// A client that runs, and what it has said.
struct Copy {
    child: Child,
    said: watch::Receiver<Vec<String>>,
    file: String,
}

impl Copy {
    fn start(mut command: Command, server: &Server, file: &str) -> Self {
        command.arg(format!("http://{}/describe", server.listen)).arg(file);
        command.env("AGENT_ID", "node-2").env_remove("TOKEN_FILE");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().expect("it starts");
        let said = collect(BufReader::new(child.stderr.take().expect("piped")).lines());
        Self { child, said, file: file.to_owned() }
    }

    async fn says(&mut self, text: &str) {
        let said = |lines: &Vec<String>| lines.iter().any(|line| line.contains(text));
        let waited = tokio::time::timeout(STEP, self.said.wait_for(said)).await.is_ok_and(|found| found.is_ok());
        assert!(waited, "{text} is not in {:?}", self.said.borrow());
    }

    /// Waits until its file has this text: what writes it is another process.
    async fn reaches(&self, text: &str) {
        let mut look = tokio::time::interval(Duration::from_millis(20));
        let waited = tokio::time::timeout(STEP, async {
            while std::fs::read_to_string(&self.file).ok().as_deref() != Some(text) {
                look.tick().await;
            }
        });
        let reached = waited.await.is_ok();
        assert!(reached, "{text} is not in {}: {:?}", self.file, self.said.borrow());
    }
}

async fn goes_through(mut command: Command) {
    command.env("WAIT", "3");
    let converged = "tidewait_agents{operation=\"describe\",state=\"converged\"}";
    let file = ModelFile::absent();
    let [state, output] = ["state", "output.json"].map(|name| file.beside(name));
    let mut server = serve(&file, &["--state-dir", &state]).await;
    let mut copy = Copy::start(command, &server, &output);
    copy.says("status 503: ").await;
    for n in 0..=20 {
        let model = format!(r#"{{"n":{n}}}"#);
        file.replace(&model);
        copy.reaches(&model).await;
    }
    server.metric_becomes(converged, 1.0).await;
    server.child.kill().await.expect("it runs");
    let listen = server.listen.to_string();
    copy.says("status 0").await;
    let flags = ["serve", "--listen", &listen, "--admin", "127.0.0.1:0", "--log-format", "json"];
    let server = Server::spawn(tidewait(&[&flags[..], &["--file", file.arg(), "--state-dir", &state]].concat())).await;
    // It holds what it held, and says so.
    server.metric_becomes(converged, 1.0).await;
    file.replace(r#"{"n":21}"#);
    copy.reaches(r#"{"n":21}"#).await;
    server.metric_becomes(converged, 1.0).await;
    let id = server.get("/describe").await.id().to_owned();
    assert_eq!(std::fs::read_to_string(format!("{output}.id")).expect("kept").trim_end(), id);
}

#[tokio::test]
async fn the_shell_goes_through_changes_a_restart_and_503() {
    goes_through(Command::new(copied("follow.sh"))).await;
}

/// Also while its poll is parked; nothing of it goes on.
#[tokio::test]
async fn the_shell_ends_when_it_is_told_to() {
    let file = ModelFile::new(r#"{"n":1}"#);
    let output = file.beside("output.json");
    let mut server = serve(&file, &[]).await;
    server.ready().await;
    let mut command = Command::new(copied("follow.sh"));
    command.env("WAIT", "50");
    let mut copy = Copy::start(command, &server, &output);
    copy.reaches(r#"{"n":1}"#).await;
    server.metric_becomes("tidewait_agents{operation=\"describe\",state=\"converged\"}", 1.0).await;
    let pid = copy.child.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw);
    rustix::process::kill_process(pid.expect("it runs"), rustix::process::Signal::TERM).expect("it runs");
    let ended = tokio::time::timeout(Duration::from_secs(20), copy.child.wait()).await.expect("long before its wait");
    assert_eq!(ended.expect("a child").code(), Some(1));
    server.metric_becomes("tidewait_parked_requests{operation=\"describe\"}", 0.0).await;
}

#[tokio::test]
async fn python_goes_through_changes_a_restart_and_503() {
    let mut python = Command::new("python3");
    python.arg(copied("follow.py")).env("PYTHONPATH", tools().await.join("python"));
    goes_through(python).await;
}

#[tokio::test]
async fn go_goes_through_changes_a_restart_and_503() {
    goes_through(Command::new(tools().await.join("follow"))).await;
}
