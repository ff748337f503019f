//! The built binary with a `ConfigMap` of a real API server, changed by the real kubectl.

mod admin;
mod ahead;
mod kubeconfig;
mod objects;
mod permits;
mod restore;
mod tokens;

use rustix::process::Signal;

use crate::agents::Agents;
use crate::control_plane::{ControlPlane, free_port};
use crate::server::{STEP, Server, tidewait};

/// A `ConfigMap` whose key network.json holds a model of about a kilobyte.
fn manifest(namespace: &str, serial: u64) -> String {
    let routes: Vec<_> =
        (0..16).map(|route| format!("10.{route}.{}.0/24 via 10.{route}.255.254", serial % 250)).collect();
    let model = serde_json::json!({ "serial": serial, "routes": routes }).to_string();
    serde_json::json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": { "name": "network", "namespace": namespace },
        "data": { "network.json": model },
    })
    .to_string()
}

async fn apply(plane: &ControlPlane, namespace: &str, serial: u64) {
    plane.kubectl_ok(&["apply", "-f", "-"], Some(&manifest(namespace, serial))).await;
}

fn version(id: &str) -> u64 {
    id.split('.').nth(1).and_then(|version| version.parse().ok()).expect("epoch.version.digest")
}

#[tokio::test]
async fn one_kubectl_apply_releases_thousands_of_parked_clients() {
    const AGENTS: usize = 3_000;
    let plane = ControlPlane::shared().await;
    let namespace = plane.namespace("release").await;
    apply(plane, &namespace, 1).await;
    let source = format!("{namespace}/network:network.json");
    let kubeconfig = plane.kubeconfig().to_str().expect("a path in UTF-8");
    let mut server = Server::start(&["--configmap", &source, "--kubeconfig", kubeconfig]).await;
    server.ready().await;
    let parked = r#"tidewait_parked_requests{operation="describe"}"#;
    let mut agents = Agents::start(AGENTS, server.listen, "/describe");
    agents.all_hold(1, STEP).await;
    for serial in 2..=5 {
        server.metric_becomes(parked, 3_000.0).await;
        apply(plane, &namespace, serial).await;
        agents.all_hold(serial, STEP).await;
    }
    server.metric_becomes(parked, 3_000.0).await;

    // A write that changes no content releases nobody, and moves the version of the same state.
    let before = agents.ids();
    let released = r#"tidewait_released_requests_total{operation="describe",reason="changed"}"#;
    let count = server.metric(released).await;
    plane.kubectl_ok(&["annotate", "-n", &namespace, "configmap/network", "owner=edge"], None).await;
    server.metric_becomes(r#"tidewait_suppressed_changes_total{operation="describe"}"#, 1.0).await;
    assert!((server.metric(released).await - count).abs() < 0.5, "nobody is released");
    assert_eq!(agents.ids(), before);
    let reply = server.get(&format!("/describe?since={}&wait=0", before[0])).await;
    assert_eq!(reply.status, 204);
    assert!(version(reply.id()) > version(&before[0]), "the answer carries the newest version");
    agents.judge().await;
}

#[tokio::test]
async fn an_api_server_away_for_a_minute_a_kill_and_a_compaction_lose_nothing() {
    let plane = ControlPlane::start().await;
    let namespace = plane.namespace("outage").await;
    apply(&plane, &namespace, 1).await;
    let folder = tempfile::tempdir().expect("a folder");
    let source = format!("{namespace}/network:network.json");
    let listen = format!("127.0.0.1:{}", free_port());
    let arguments = [
        "serve",
        "--listen",
        &listen,
        "--admin",
        "127.0.0.1:0",
        "--log-format",
        "json",
        "--configmap",
        &source,
        "--kubeconfig",
        plane.kubeconfig().to_str().expect("a path in UTF-8"),
        "--watch-timeout",
        "5s",
        "--state-dir",
        folder.path().to_str().expect("a path in UTF-8"),
    ];
    let mut server = Server::spawn(tidewait(&arguments)).await;
    server.ready().await;
    let mut agents = Agents::start(100, server.listen, "/describe");
    agents.all_hold(1, STEP).await;

    plane.stop_api_server();
    server.logged("source lost").await;
    server.signal(Signal::KILL);
    server.ended().await;
    let mut server = Server::spawn(tidewait(&arguments)).await;
    assert_eq!(server.admin("/readyz").await.status, 200, "it serves what it kept");
    let kept = server.get("/describe").await;
    assert_eq!((kept.status, kept.json()["serial"].as_u64()), (200, Some(1)));
    server.metric_becomes(r#"tidewait_parked_requests{operation="describe"}"#, 100.0).await;
    // A minute, by the clock of the answers.
    server.age_reaches(60).await;
    plane.start_api_server().await;
    apply(&plane, &namespace, 2).await;
    agents.all_hold(2, STEP * 3).await;
    server.logged("source is live").await;
    assert_eq!(server.get("/describe").await.field("state-age"), "0");

    plane.forget_history().await;
    apply(&plane, &namespace, 3).await;
    agents.all_hold(3, STEP * 3).await;

    // Deleted: the last good state stays and its age grows; made again: another history.
    let before = agents.ids();
    plane.kubectl_ok(&["delete", "-n", &namespace, "configmap/network"], None).await;
    server.logged("source unusable").await;
    assert_eq!(server.get("/describe").await.status, 200);
    apply(&plane, &namespace, 4).await;
    agents.all_hold(4, STEP).await;
    let after = agents.ids();
    assert_ne!(before[0].split('.').next(), after[0].split('.').next(), "another epoch");
    agents.judge().await;
}
