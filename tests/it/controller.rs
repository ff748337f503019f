//! `DescribeOperation`s and `NetworkModel`s of a real API server, as people apply them with the real kubectl: what runs,
//! what statuses say, and what many replicas write.

use std::time::Duration;

use serde_json::{Value, json};

use crate::api_proxy::{ApiProxy, Fault};
use crate::control_plane::ControlPlane;
use crate::crd;
use crate::server::{Client, STEP, Server};

mod access;
mod aggregate;
mod exchanges;
mod leadership;
mod models;
mod quiet;
mod rights;
mod roam;
mod statuses;
mod topics;

/// A sidecar that serves the `DescribeOperation`s of a namespace.
pub(crate) async fn sidecar(kubeconfig: &std::path::Path, namespace: &str, replica: &str, more: &[&str]) -> Server {
    let kubeconfig = kubeconfig.to_str().expect("a path in UTF-8");
    let arguments = ["--operations", namespace, "--kubeconfig", kubeconfig, "--replica", replica];
    Server::start(&[&arguments, more].concat()).await
}

/// A `NetworkModel` whose spec holds a number, and more.
pub(crate) fn model(namespace: &str, name: &str, serial: u64) -> String {
    json!({
        "apiVersion": "tidewait.dev/v1alpha1",
        "kind": "NetworkModel",
        "metadata": { "name": name, "namespace": namespace, "labels": { "tier": "edge" } },
        "spec": { "serial": serial, "routes": ["10.0.0.0/8 via 10.0.0.1"] },
    })
    .to_string()
}

/// A `DescribeOperation` at `path` from `source`, with `more` in its spec.
pub(crate) fn operation(namespace: &str, name: &str, path: &str, source: &Value, more: &Value) -> String {
    let mut spec = json!({ "path": path, "source": source });
    spec.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
    json!({
        "apiVersion": "tidewait.dev/v1alpha1",
        "kind": "DescribeOperation",
        "metadata": { "name": name, "namespace": namespace },
        "spec": spec,
    })
    .to_string()
}

/// The source that is one `NetworkModel`.
pub(crate) fn one(name: &str) -> Value {
    json!({ "resource": { "apiVersion": "tidewait.dev/v1alpha1", "kind": "NetworkModel", "name": name } })
}

pub(crate) async fn apply(plane: &ControlPlane, manifest: &str) {
    plane.kubectl_ok(&["apply", "--server-side", "--force-conflicts", "-f", "-"], Some(manifest)).await;
}

/// Waits for a condition as people do.
pub(crate) async fn wait(plane: &ControlPlane, namespace: &str, condition: &str, object: &str) {
    let condition = format!("--for=condition={condition}");
    plane.kubectl_ok(&["wait", "-n", namespace, &condition, object, "--timeout=60s"], None).await;
}

/// Asks until a path is served with this status.
pub(crate) async fn serves(server: &Server, path: &str, status: u16) -> crate::server::Reply {
    let mut look = tokio::time::interval(Duration::from_millis(50));
    let asked = async {
        loop {
            let reply = server.get(path).await;
            if reply.status == status {
                return reply;
            }
            look.tick().await;
        }
    };
    tokio::time::timeout(STEP * 2, asked).await.unwrap_or_else(|_| panic!("{path} is not answered {status}"))
}

/// A field of an object, by a JSON Pointer; null if it is not there.
pub(crate) async fn field(plane: &ControlPlane, namespace: &str, object: &str, pointer: &str) -> Value {
    // Not the whole of it: a spec may be deeper than this program's reader goes.
    let wanted = "jsonpath={.metadata.generation} {.status}";
    let text = plane.kubectl_ok(&["get", "-n", namespace, object, "-o", wanted], None).await;
    let (generation, status) = text.split_once(' ').expect("both");
    let status: Value = serde_json::from_str(status).unwrap_or_default();
    let generation: u64 = generation.parse().expect("a number");
    let object = json!({ "metadata": { "generation": generation }, "status": status });
    object.pointer(pointer).cloned().unwrap_or_default()
}

/// Looks at a field until it is as wanted.
pub(crate) async fn becomes(plane: &ControlPlane, namespace: &str, object: &str, pointer: &str, wanted: &Value) {
    let mut look = tokio::time::interval(Duration::from_millis(200));
    let reached = async {
        while field(plane, namespace, object, pointer).await != *wanted {
            look.tick().await;
        }
    };
    let reached = tokio::time::timeout(STEP * 2, reached).await.is_ok();
    assert!(reached, "{pointer} of {object} is {}, not {wanted}", field(plane, namespace, object, pointer).await);
}

#[tokio::test]
async fn an_operation_comes_changes_and_goes_by_kubectl_alone() {
    let plane = ControlPlane::shared().await;
    crd::installed(plane).await;
    let namespace = plane.namespace("operations").await;
    let server = sidecar(plane.kubeconfig(), &namespace, "replica-a", &[]).await;
    // Nothing runs yet.
    serves(&server, "/zone-a", 404).await;
    apply(plane, &model(&namespace, "zone-a", 1)).await;
    apply(plane, &operation(&namespace, "zone-a", "/zone-a", &one("zone-a"), &json!({}))).await;
    let first = serves(&server, "/zone-a", 200).await;
    assert_eq!(first.json()["serial"], 1);

    // Editing limits releases nobody; a new state releases.
    let mut client = Client::connect(server.listen).await;
    client.send("GET", &format!("/zone-a?since={}&wait=50", first.id()), &[]).await;
    server.metric_becomes(r#"tidewait_parked_requests{operation="zone-a"}"#, 1.0).await;
    let limits = json!({ "limits": { "parked": 1 }, "wait": { "max": "20s" } });
    apply(plane, &operation(&namespace, "zone-a", "/zone-a", &one("zone-a"), &limits)).await;
    becomes(plane, &namespace, "dop/zone-a", "/status/observedGeneration", &json!(2)).await;
    let full = server.get(&format!("/zone-a?since={}&wait=1", first.id())).await;
    assert_eq!(full.status, 503, "the new limit holds for the next");
    assert!(server.metric(r#"tidewait_parked_requests{operation="zone-a"}"#).await > 0.5, "nobody was released");
    apply(plane, &model(&namespace, "zone-a", 2)).await;
    let second = client.reply().await;
    assert_eq!((second.status, &second.json()["serial"]), (200, &json!(2)));

    // Another path is another endpoint, and its removal lets go who is parked.
    apply(plane, &operation(&namespace, "zone-a", "/zones/a", &one("zone-a"), &json!({}))).await;
    let moved = serves(&server, "/zones/a", 200).await;
    assert_eq!(moved.field("etag"), second.field("etag"), "the same state");
    assert_eq!(server.get("/zone-a").await.status, 404);
    client.send("GET", &format!("/zones/a?since={}&wait=50", moved.id()), &[]).await;
    server.metric_becomes(r#"tidewait_parked_requests{operation="zone-a"}"#, 1.0).await;
    // The last one of all: believed once a list has confirmed it.
    plane.kubectl_ok(&["delete", "-n", &namespace, "dop/zone-a"], None).await;
    assert_eq!(client.reply().await.status, 204);
    assert_eq!(server.get("/zones/a").await.status, 404);
}

#[tokio::test]
async fn who_comes_before_the_operations_are_listed_is_told_to_come_back_and_never_404() {
    let plane = ControlPlane::shared().await;
    crd::installed(plane).await;
    let namespace = plane.namespace("unlisted").await;
    apply(plane, &model(&namespace, "zone-a", 1)).await;
    apply(plane, &operation(&namespace, "zone-a", "/zone-a", &one("zone-a"), &json!({}))).await;
    let proxy = ApiProxy::start(plane).await;
    proxy.set(Fault::Blackhole).await;
    let server = sidecar(proxy.kubeconfig(), &namespace, "replica-a", &[]).await;
    let early = server.get("/zone-a").await;
    assert_eq!((early.status, early.json()["type"].as_str()), (503, Some("https://tidewait.dev/problems/no-state")));
    assert!(early.field("retry-after").parse::<u64>().is_ok(), "{early:?}");
    assert_eq!(server.admin("/readyz").await.status, 503);
    proxy.set(Fault::Pass).await;
    let mut reply = early;
    while reply.status != 200 {
        assert_eq!(reply.status, 503, "{reply:?}");
        reply = server.get("/zone-a").await;
    }
    assert_eq!(server.get("/zone-b").await.status, 404, "now it is known");
}

#[tokio::test]
async fn what_cannot_run_says_why_and_keeps_what_runs() {
    let plane = ControlPlane::shared().await;
    crd::installed(plane).await;
    let namespace = plane.namespace("refused").await;
    let mut server = sidecar(plane.kubeconfig(), &namespace, "replica-a", &[]).await;
    apply(plane, &model(&namespace, "zone-a", 1)).await;
    apply(plane, &operation(&namespace, "older", "/zone-a", &one("zone-a"), &json!({}))).await;
    serves(&server, "/zone-a", 200).await;
    // A second later, so that it is the younger one.
    becomes(plane, &namespace, "dop/older", "/status/conditions/0/status", &json!("True")).await;
    apply(plane, &operation(&namespace, "younger", "/zone-a", &one("zone-a"), &json!({}))).await;
    becomes(plane, &namespace, "dop/younger", "/status/conditions/0/reason", &json!("PathConflict")).await;
    let described = plane.kubectl_ok(&["describe", "-n", &namespace, "dop/younger"], None).await;
    assert!(described.contains("spec.path /zone-a belongs to operation older, which is older"), "{described}");
    let events = async {
        let mut look = tokio::time::interval(Duration::from_millis(200));
        loop {
            let described = plane.kubectl_ok(&["describe", "-n", &namespace, "dop/younger"], None).await;
            if described.contains("Warning  PathConflict") {
                return;
            }
            look.tick().await;
        }
    };
    tokio::time::timeout(STEP, events).await.expect("an Event");

    // A file below no root that is allowed: refused by the sidecar, since the schema cannot know. What ran goes on.
    let file = json!({ "file": { "path": "/var/run/secrets/kubernetes.io/serviceaccount/token" } });
    apply(plane, &operation(&namespace, "older", "/zone-a", &file, &json!({}))).await;
    becomes(plane, &namespace, "dop/older", "/status/conditions/0/reason", &json!("InvalidSpec")).await;
    let message = field(plane, &namespace, "dop/older", "/status/conditions/0/message").await;
    assert!(message.as_str().is_some_and(|text| text.contains("--allow-file-root")), "{message}");
    assert_eq!(server.get("/zone-a").await.json()["serial"], 1, "the last good spec runs");
    server.logged("DescribeOperation is not accepted").await;

    // A source that is not there: not ready, with the object's name.
    apply(plane, &operation(&namespace, "missing", "/missing", &one("nowhere"), &json!({}))).await;
    serves(&server, "/missing", 503).await;
    becomes(plane, &namespace, "dop/missing", "/status/conditions/1/status", &json!("False")).await;
    let ready = field(plane, &namespace, "dop/missing", "/status/conditions/1/message").await;
    assert!(ready.as_str().is_some_and(|text| text.contains("nowhere does not exist")), "{ready}");
}
