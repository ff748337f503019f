//! The manifest of relays: the API server takes it, and the program takes its configuration.

use std::fs;

use serde::Deserialize as _;
use serde_json::Value;

use super::deployed;
use crate::control_plane::ControlPlane;
use crate::server::{STEP, tidewait};

const FILE: &str = "relay/relay.yaml";

#[tokio::test]
async fn the_api_server_takes_the_relays() {
    let plane = ControlPlane::shared().await;
    let namespace = plane.namespace("relays").await;
    let name = deployed(FILE).display().to_string();
    let applied = plane
        .kubectl_ok(&["apply", "-n", &namespace, "--validate=strict", "--dry-run=server", "-f", &name], None)
        .await;
    let lines: Vec<_> = applied.lines().collect();
    assert!(lines.len() == 6 && lines.iter().all(|line| line.ends_with(" created (server dry run)")), "{applied}");
}

#[tokio::test]
async fn the_program_takes_its_configuration_and_what_that_names_is_mounted() {
    let text = fs::read_to_string(deployed(FILE)).expect("it is there");
    let objects: Vec<Value> =
        serde_yaml::Deserializer::from_str(&text).map(|document| Value::deserialize(document).expect("YAML")).collect();
    let of = |kind: &str| objects.iter().find(|object| object["kind"] == kind).expect("there is one");
    let config = of("ConfigMap")["data"]["relay.yaml"].as_str().expect("text").to_owned();
    let folder = tempfile::TempDir::new().expect("a folder for temporary files");
    let file = folder.path().join("relay.yaml");
    fs::write(&file, &config).expect("it can be written");
    let file = file.to_str().expect("UTF-8");
    let checked = tidewait(&["check", "--without-files", "--config", file]).output();
    let output = tokio::time::timeout(STEP, checked).await.expect("in time").expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let container = &of("Deployment")["spec"]["template"]["spec"]["containers"][0];
    let mounts = container["volumeMounts"].as_array().expect("a list").iter();
    let mounts: Vec<_> = mounts.map(|mount| mount["mountPath"].as_str().expect("a path").to_owned()).collect();
    let config: serde_yaml::Value = serde_yaml::from_str(&config).expect("YAML");
    let describe = &config["operations"][0]["source"]["describe"];
    for named in [&config["tls"]["certificate"], &config["tls"]["key"], &describe["ca"], &describe["tokenFile"]] {
        let folder = named.as_str().expect("a path").rsplit_once('/').expect("absolute").0;
        assert!(mounts.iter().any(|mount| mount == folder), "{folder} is not in {mounts:?}");
    }
    assert!(mounts.iter().any(|mount| Some(&**mount) == config["stateDir"].as_str()));
    assert_eq!(container["args"][1], "--config=/etc/tidewait/relay/relay.yaml");
    // The ports of the pod are those of the configuration.
    for (name, setting) in [("describe", "listen"), ("tidewait-admin", "admin")] {
        let ports = container["ports"].as_array().expect("a list");
        let port = &ports.iter().find(|port| port["name"] == name).expect("there is one")["containerPort"];
        let address = config[setting].as_str().expect("an address");
        assert_eq!(
            Some(address.rsplit_once(':').expect("a port").1.to_owned()),
            port.as_u64().map(|port| port.to_string())
        );
    }
}
