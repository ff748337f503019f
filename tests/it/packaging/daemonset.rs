//! The manifest of a `DaemonSet`: the API server takes it, and the program takes its arguments.

use std::ffi::OsString;
use std::fs;
use std::time::Duration;

use serde::Deserialize as _;
use serde_json::{Value, json};
use tidewait::bounds::AGENT_PULSE;
use tidewait::config::agent::{AgentOptions, Surroundings, resolve};
use tidewait::config::cli::{Command as Subcommand, parse};

use super::deployed;
use crate::control_plane::ControlPlane;

const FILE: &str = "agent/daemonset.yaml";

#[tokio::test]
async fn the_api_server_takes_the_daemon_set() {
    let plane = ControlPlane::shared().await;
    let namespace = plane.namespace("daemonset").await;
    let name = deployed(FILE).display().to_string();
    let applied = plane
        .kubectl_ok(&["apply", "-n", &namespace, "--validate=strict", "--dry-run=server", "-f", &name], None)
        .await;
    let lines: Vec<_> = applied.lines().collect();
    assert!(lines.len() == 2 && lines.iter().all(|line| line.ends_with(" created (server dry run)")), "{applied}");
}

/// The only container.
fn container() -> (Value, Value) {
    let text = fs::read_to_string(deployed(FILE)).expect("it is there");
    let documents =
        serde_yaml::Deserializer::from_str(&text).map(|document| Value::deserialize(document).expect("YAML"));
    let daemon_set = documents.into_iter().find(|object| object["kind"] == "DaemonSet").expect("there is one");
    let pod = daemon_set["spec"]["template"]["spec"].clone();
    (pod["containers"][0].clone(), pod)
}

fn options(arguments: &Value) -> AgentOptions {
    let words = arguments.as_array().expect("a list").iter().map(|word| word.as_str().expect("text"));
    let words =
        words.skip_while(|word| *word != "agent").map(|word| OsString::from(word.replace("$(NODE_NAME)", "node-7")));
    let Subcommand::Agent(options) =
        parse([OsString::from("tidewait")].into_iter().chain(words)).expect("options").command
    else {
        panic!("not the agent")
    };
    *options
}

#[test]
fn the_program_takes_its_arguments() {
    let (container, pod) = container();
    let agent =
        resolve(&options(&container["args"]), &Surroundings { host: "host", ..Surroundings::default() }).expect("good");
    assert_eq!(agent.source.agent_id.as_deref(), Some("node-7"));
    // Its own loop, and its output: no probe asks for the server. Both are at the port that the program listens on.
    let port = agent.admin.expect("there is one").port();
    assert_eq!(container["ports"], json!([{ "name": "tidewait-admin", "containerPort": port }]));
    for (probe, path) in [("livenessProbe", "/livez"), ("readinessProbe", "/readyz")] {
        assert_eq!(container[probe]["httpGet"], json!({ "path": path, "port": "tidewait-admin" }));
    }
    assert_eq!(container["startupProbe"], Value::Null);
    let longest = container["livenessProbe"]["timeoutSeconds"].as_u64().expect("a number");
    assert!(longest > AGENT_PULSE.as_secs(), "{longest}");
    // What a command may take to end, and some.
    let grace = (agent.hooks.timeout.expect("one") + Duration::from_secs(15)).as_secs();
    assert_eq!(pod["terminationGracePeriodSeconds"], json!(grace));
    assert!(grace > (agent.hooks.stop_timeout + agent.hooks.kill_after).as_secs());
    assert!(agent.state_dir.starts_with("/var/lib/edge"), "beside the output");
    // What it reads and writes is mounted, as folders.
    let mounts = container["volumeMounts"].as_array().expect("a list");
    let mounts: Vec<_> = mounts.iter().map(|mount| mount["mountPath"].as_str().expect("a path")).collect();
    let files = [agent.source.token_file, agent.source.ca, Some(agent.output.out[0].clone().into())];
    for file in files.into_iter().flatten() {
        let folder = file.parent().and_then(|folder| folder.to_str()).expect("UTF-8");
        assert!(mounts.contains(&folder), "{folder} is not in {mounts:?}");
    }
    assert_eq!(pod["volumes"][0]["hostPath"], json!({ "path": "/var/lib/edge", "type": "DirectoryOrCreate" }));
}
