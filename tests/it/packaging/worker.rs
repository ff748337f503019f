//! What workers are started by: systemd and the API server take it, and it agrees with the program.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize as _;
use serde_json::{Value, json};
use tidewait::config::cli::{Command as Subcommand, parse};
use tidewait::config::worker::{Gate, Worker, resolve};
use tidewait::worker::exit::Exit;
use tokio::process::Command;

use super::{deployed, installed, printed};
use crate::control_plane::ControlPlane;

const FILE: &str = "worker/worker.yaml";
const UNIT: &str = "tidewait-worker@.service";

fn read(name: &str) -> String {
    fs::read_to_string(deployed("worker").join(name)).expect("it is there")
}

fn resolved(words: impl IntoIterator<Item = String>) -> Worker {
    let words = ["tidewait", "worker"].map(OsString::from).into_iter().chain(words.into_iter().map(OsString::from));
    let Subcommand::Worker(options) = parse(words).expect("options").command else { panic!("not the worker") };
    resolve(&options, &[], "host").expect("good")
}

async fn analyze(arguments: &[&str], path: &Path) -> String {
    let mut command = Command::new("systemd-analyze");
    let output = command.args(["--no-pager"]).args(arguments).arg(path).output().await.expect("it is installed");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{said}");
    said
}

#[tokio::test]
async fn the_api_server_takes_the_workers() {
    let plane = ControlPlane::shared().await;
    let namespace = plane.namespace("workers").await;
    let name = deployed(FILE).display().to_string();
    let applied = plane
        .kubectl_ok(&["apply", "-n", &namespace, "--validate=strict", "--dry-run=server", "-f", &name], None)
        .await;
    let lines: Vec<_> = applied.lines().collect();
    assert!(lines.len() == 3 && lines.iter().all(|line| line.ends_with(" created (server dry run)")), "{applied}");
}

#[test]
fn the_program_takes_the_arguments_of_the_deployment() {
    let text = fs::read_to_string(deployed(FILE)).expect("it is there");
    let objects: Vec<Value> =
        serde_yaml::Deserializer::from_str(&text).map(|document| Value::deserialize(document).expect("YAML")).collect();
    let of = |kind: &str| objects.iter().find(|object| object["kind"] == kind).expect("there is one");
    let pod = &of("Deployment")["spec"]["template"]["spec"];
    let [app, container] = [0, 1].map(|at| &pod["containers"][at]);
    let words = container["args"].as_array().expect("a list").iter().skip(1);
    let worker = resolved(words.map(|word| word.as_str().expect("text").replace("$(POD_NAME)", "worker-1")));
    assert_eq!((worker.exchange.agent_id.as_deref(), worker.slots), (Some("worker-1"), 2));
    // Every replica of the headless Service is dialled, at its port.
    let service = of("Service");
    assert_eq!(service["spec"]["clusterIP"], "None");
    let (name, port) = (service["metadata"]["name"].as_str(), &service["spec"]["ports"][0]["port"]);
    let url = format!("https://{}:{port}/exchange/work", name.expect("text"));
    assert_eq!(worker.exchange.endpoints, [url]);
    let admin = worker.admin.expect("there is one").port();
    assert_eq!(container["ports"], json!([{ "name": "tidewait-admin", "containerPort": admin }]));
    for (probe, path) in [("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")] {
        assert_eq!(container[probe]["httpGet"], json!({ "path": path, "port": "tidewait-admin" }));
    }
    let grace = pod["terminationGracePeriodSeconds"].as_u64().map(Duration::from_secs).expect("seconds");
    assert_eq!(grace, worker.grace + Duration::from_secs(15));
    assert_eq!(app["lifecycle"]["preStop"]["sleep"]["seconds"].as_u64(), Some(worker.grace.as_secs()));
    let mounts = container["volumeMounts"].as_array().expect("a list");
    for named in [worker.exchange.ca, worker.exchange.token_file] {
        let file = named.expect("it is named");
        let folder = file.parent().and_then(Path::to_str).expect("a folder");
        assert!(mounts.iter().any(|mount| mount["mountPath"] == folder), "{folder} is not in {mounts:?}");
    }
}

#[tokio::test]
async fn systemd_understands_every_line_of_the_workers_unit_and_finds_it_hardened() {
    installed().await;
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let path = folder.path().join(UNIT);
    let unit = read(UNIT);
    assert!(unit.contains("ExecStart=/usr/bin/tidewait worker "), "{unit}");
    fs::write(&path, unit.replace("/usr/bin/tidewait", env!("CARGO_BIN_EXE_tidewait"))).expect("the folder is ours");
    let drop_ins = folder.path().join(format!("{UNIT}.d"));
    fs::create_dir(&drop_ins).expect("the folder is ours");
    fs::write(drop_ins.join("token.conf"), read("token.conf")).expect("the folder is ours");
    assert_eq!(analyze(&["verify", "--man=no"], &path).await, "");
    let judged = analyze(&["security", "--offline=true", "--threshold=20"], &path).await;
    assert!(judged.contains("Overall exposure level"), "{judged}");
    let line = |key: &str| unit.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=').map(str::to_owned));
    let script = r#". "$0"; eval "printf '%s\n'" $OPTIONS"#;
    let by_shell = printed(Command::new("sh").args(["-c", script]).arg(deployed("worker/worker.env"))).await;
    let worker = resolved(by_shell.lines().map(str::to_owned));
    assert_eq!(worker.gates, [Gate::Cpu(1000), Gate::Command("test ! -e /run/app/busy".to_owned())]);
    assert_eq!(line("TimeoutStopSec"), Some(format!("{}s", (worker.grace + Duration::from_secs(10)).as_secs())));
    assert_eq!(line("RestartPreventExitStatus"), Some("2".to_owned()));
    assert!([Exit::Stopped, Exit::Failed, Exit::Cut].iter().all(|exit| exit.code() != 2));
}
