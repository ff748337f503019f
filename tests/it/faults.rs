//! Faults under a model in a file: the process killed at any moment or stopped for a while, the
//! disk full. All clients end with the last state, nobody is given an older one after a newer one,
//! and nobody sees an error but a lost connection and 503.

use std::time::Duration;

use fastrand::Rng;
use rustix::process::Signal;
use serde_json::json;

use crate::agents::Agents;
use crate::control_plane::free_port;
use crate::model_file::ModelFile;
use crate::process::limited;
use crate::server::{Client, STEP, Server, tidewait};

/// From the end of a fault until everyone holds the last state.
const CONVERGED: Duration = Duration::from_secs(5);

const AGENTS: usize = 200;
const ROUNDS: usize = 20;

/// A server that comes back at the same address, and its model.
struct Rig {
    model: ModelFile,
    serial: u64,
    ports: [String; 2],
    keeps: bool,
    server: Server,
}

impl Rig {
    async fn new(keeps: bool) -> Self {
        let model = ModelFile::new(&text(1));
        let ports = [free_port(), free_port()].map(|port| format!("127.0.0.1:{port}"));
        let server = start(&model, &ports, keeps).await;
        Self { model, serial: 1, ports, keeps, server }
    }

    /// A newer model, written one way or the other.
    fn change(&mut self, rng: &mut Rng) {
        self.serial += 1;
        let text = text(self.serial);
        if rng.bool() { self.model.replace(&text) } else { self.model.write(&text) }
    }

    /// SIGKILL, and a new process at the same address, while the file may change or break.
    async fn restart(&mut self, rng: &mut Rng) {
        self.server.child.kill().await.expect("SIGKILL");
        if rng.bool() {
            self.change(rng);
        }
        let breaks = rng.u8(..4) == 0;
        if breaks {
            self.model.write(r#"{"serial":9999"#);
        }
        self.server = start(&self.model, &self.ports, self.keeps).await;
        if breaks {
            self.server.logged("does not parse").await;
            self.change(rng);
        }
    }
}

fn text(serial: u64) -> String {
    json!({ "serial": serial, "padding": "x".repeat(1000) }).to_string()
}

async fn start(model: &ModelFile, [listen, admin]: &[String; 2], keeps: bool) -> Server {
    let mut command = tidewait(&["serve", "--log-format=json", "--version-from=/serial", "--file", model.arg()]);
    command.args(["--listen", listen, "--admin", admin]);
    if keeps {
        command.args(["--state-dir", &model.beside("state")]);
    }
    Server::spawn(command).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_process_is_killed_at_any_moment() {
    killed_at_any_moment(false, Rng::with_seed(1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_process_is_killed_at_any_moment_and_keeps_its_state() {
    killed_at_any_moment(true, Rng::with_seed(2)).await;
}

async fn killed_at_any_moment(keeps: bool, mut rng: Rng) {
    let mut rig = Rig::new(keeps).await;
    let mut agents = Agents::start(AGENTS, rig.server.listen, "/describe");
    agents.all_hold(1, STEP).await;
    for _ in 0..ROUNDS {
        for _ in 0..rng.u8(1..4) {
            rig.change(&mut rng);
        }
        // Before it is noticed, before or in the middle of the fan-out, or after it.
        match rng.u8(..4) {
            0 => {}
            1 => drop(rig.server.logged("\"published\"").await),
            2 => agents.some_hold(rng.usize(1..AGENTS), rig.serial, STEP).await,
            _ => agents.all_hold(rig.serial, CONVERGED).await,
        }
        rig.restart(&mut rng).await;
    }
    agents.all_hold(rig.serial, CONVERGED).await;
    rig.change(&mut rng);
    agents.all_hold(rig.serial, CONVERGED).await;
    agents.judge().await;
}

#[tokio::test]
async fn a_process_that_was_stopped_gives_the_last_state_when_it_goes_on() {
    let mut rig = Rig::new(false).await;
    let mut agents = Agents::start(AGENTS, rig.server.listen, "/describe");
    agents.all_hold(1, STEP).await;
    let id = rig.server.get("/describe").await.id().to_owned();
    let mut short = Client::connect(rig.server.listen).await;
    short.send("GET", &format!("/describe?since={id}&wait=1"), &[]).await;
    rig.server.metric_becomes("tidewait_parked_requests{operation=\"describe\"}", 201.0).await;
    rig.server.stop_threads().await;
    let mut rng = Rng::with_seed(3);
    for _ in 0..3 {
        rig.change(&mut rng);
    }
    let mut late = Client::connect(rig.server.listen).await;
    late.send("GET", &format!("/describe?since={id}&wait=20"), &[]).await;
    let waited = tokio::time::timeout(Duration::from_secs(3), short.try_reply()).await;
    assert!(waited.is_err(), "nothing comes from a stopped process: {waited:?}");
    rig.server.signal(Signal::CONT);
    agents.all_hold(rig.serial, CONVERGED).await;
    let (short, late) = (short.reply().await, late.reply().await);
    assert!(matches!(short.status, 200 | 204), "its wait ended meanwhile: {short:?}");
    assert_eq!((late.status, late.json()["serial"].as_u64()), (200, Some(rig.serial)));
    agents.judge().await;
}

#[tokio::test]
async fn a_full_disk_keeps_no_change_from_its_clients() {
    let model = ModelFile::new(r#"{"n":1}"#);
    let state = model.beside("state");
    // 8 KiB a file, and an error instead of the signal that would end the process.
    let small = "trap '' XFSZ; ulimit -f 16";
    let mut server = Server::spawn(limited(small, &model, &["--state-dir", &state])).await;
    server.ready().await;
    let first = server.get("/describe").await;
    let mut parked = Client::connect(server.listen).await;
    parked.send("GET", &format!("/describe?since={}&wait=30", first.id()), &[]).await;
    let large = json!({ "n": 2, "text": "x".repeat(100_000) }).to_string();
    model.replace(&large);
    assert_eq!(parked.reply().await.json()["n"], 2, "what cannot be kept is served all the same");
    let errors = "tidewait_state_disk_errors_total{operation=\"describe\"}";
    server.metric_becomes(errors, 1.0).await;
    let line = server.logged("could not keep the state on disk").await;
    assert!(line.contains(&state) && line.contains("File too large"), "{line}");
    assert_eq!(server.admin("/readyz").await.status, 200);
    server.child.kill().await.expect("SIGKILL");
    model.remove();

    // What was kept before is still whole.
    let mut server = Server::spawn(limited(small, &model, &["--state-dir", &state])).await;
    server.logged("serving the state kept on disk").await;
    assert_eq!(server.get("/describe").await.id(), first.id());
    model.replace(r#"{"n":3}"#);
    server.ready().await;
    server.child.kill().await.expect("SIGKILL");
    model.remove();
    let mut server = Server::spawn(limited(small, &model, &["--state-dir", &state])).await;
    server.logged("serving the state kept on disk").await;
    assert_eq!(server.get("/describe").await.json()["n"], 3, "kept again, now that it fits");
}

#[tokio::test]
async fn a_state_directory_that_vanishes_is_told_and_serving_goes_on() {
    let model = ModelFile::new(r#"{"n":1}"#);
    let state = model.beside("state");
    let mut server = Server::start(&["--file", model.arg(), "--state-dir", &state]).await;
    server.ready().await;
    std::fs::remove_dir_all(&state).expect("it is there");
    for (change, errors) in [(2, 1.0), (3, 2.0)] {
        model.replace(&json!({ "n": change }).to_string());
        server.metric_becomes("tidewait_state_disk_errors_total{operation=\"describe\"}", errors).await;
        let changes = f64::from(change);
        server.metric_becomes("tidewait_state_changes_total{operation=\"describe\"}", changes).await;
        assert_eq!(server.get("/describe").await.json()["n"], change);
    }
    assert!(server.logged("could not keep the state on disk").await.contains(&state));
}
