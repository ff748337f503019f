//! The server killed, stopped and out of disk at any moment: nothing is lost and nothing is taken back.

use rustix::process::Signal;

use crate::agents::Agents;
use crate::control_plane::free_port;
use crate::model_file::ModelFile;
use crate::server::{STEP, Server, tidewait};

const AGENTS: usize = 200;
const ROUNDS: u64 = 20;

/// The model with this serial, a kilobyte.
fn model(serial: u64) -> String {
    serde_json::json!({ "serial": serial, "pad": "x".repeat(1000) }).to_string()
}

/// Serves the file at a fixed port, so that agents find it again after a restart.
async fn serve(listen: &str, model: &ModelFile, more: &[&str]) -> Server {
    let all = ["serve", "--listen", listen, "--admin", "127.0.0.1:0", "--log-format", "json", "--file", model.arg()];
    let all: Vec<_> = all.iter().chain(more).copied().collect();
    Server::spawn(tidewait(&all)).await
}

/// In each round the model changes and the server is killed when some of the agents have the
/// change: none, all, or any number between, as the seed says.
async fn killed_at_any_moment(more: &[&str], seed: u64) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let file = ModelFile::new(&model(1));
    let listen = format!("127.0.0.1:{}", free_port());
    let more: Vec<_> = more.iter().chain(&["--version-from", "/serial"]).copied().collect();
    let mut server = serve(&listen, &file, &more).await;
    let mut agents = Agents::start(AGENTS, server.listen, "/describe");
    agents.all_hold(1, STEP).await;
    for serial in 2..2 + ROUNDS {
        file.replace(&model(serial));
        agents.some_hold(serial, rng.usize(..=AGENTS)).await;
        server.signal(Signal::KILL);
        server.ended().await;
        server = serve(&listen, &file, &more).await;
    }
    agents.all_hold(1 + ROUNDS, STEP).await;
    agents.judge().await;
}

#[tokio::test]
async fn killed_at_any_moment_and_started_again() {
    killed_at_any_moment(&[], 1).await;
}

#[tokio::test]
async fn killed_at_any_moment_with_a_state_on_disk() {
    let folder = tempfile::tempdir().expect("a folder");
    killed_at_any_moment(&["--state-dir", folder.path().to_str().expect("UTF-8")], 2).await;
}

#[tokio::test]
async fn stopped_for_a_while_it_goes_on_with_the_latest() {
    let file = ModelFile::new(&model(1));
    let server = serve("127.0.0.1:0", &file, &[]).await;
    let mut agents = Agents::start(AGENTS, server.listen, "/describe");
    agents.all_hold(1, STEP).await;
    server.signal(Signal::STOP);
    for serial in 2..=5 {
        file.replace(&model(serial));
    }
    server.signal(Signal::CONT);
    agents.all_hold(5, STEP).await;
    agents.judge().await;
}

/// A file system of 64 kB, for this one process: the state of 200 kB does not fit.
#[tokio::test]
async fn a_full_disk_keeps_no_change_from_its_clients() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = ModelFile::new(&model(1));
    let inner = tidewait(&[]);
    let binary = inner.as_std().get_program().to_str().expect("UTF-8");
    let state = folder.path().to_str().expect("UTF-8");
    let script = "mount -t tmpfs -o size=64k none \"$1\" && shift && exec \"$@\"";
    let mut command = tidewait(&[]);
    *command.as_std_mut() = std::process::Command::new("unshare");
    command.kill_on_drop(true).stdin(std::process::Stdio::null());
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh", state, binary, "serve"]);
    command.args(["--listen=127.0.0.1:0", "--admin=127.0.0.1:0", "--log-format=json", "--state-dir", state]);
    command.args(["--file", file.arg()]);
    let mut server = Server::spawn(command).await;
    server.ready().await;
    let errors = r#"tidewait_state_disk_errors_total{operation="describe"}"#;
    server.metric_becomes(errors, 0.0).await;
    let mut agents = Agents::start(10, server.listen, "/describe");
    agents.all_hold(1, STEP).await;
    file.replace(&serde_json::json!({ "serial": 2, "pad": "x".repeat(200_000) }).to_string());
    agents.all_hold(2, STEP).await;
    server.metric_becomes(errors, 1.0).await;
    server.logged("could not keep the state on disk").await;
    agents.judge().await;
}
