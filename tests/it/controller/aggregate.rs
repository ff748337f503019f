//! Many objects as one model, and what becomes of them when one is strange or all seem to be gone.

use std::fmt::Write as _;

use serde_json::json;

use super::{apply, becomes, field, model, operation, serves, sidecar};
use crate::control_plane::ControlPlane;
use crate::crd;
use crate::server::{Client, STEP};

fn labelled() -> serde_json::Value {
    json!({ "resource": {
        "apiVersion": "tidewait.dev/v1alpha1", "kind": "NetworkModel", "selector": { "matchLabels": { "tier": "edge" } },
    } })
}

#[tokio::test]
async fn a_thousand_objects_are_one_model_and_a_change_of_one_is_one_update() {
    const OBJECTS: u64 = 1_000;
    let plane = ControlPlane::shared().await;
    crd::installed(plane).await;
    let namespace = plane.namespace("thousand").await;
    let mut all = String::new();
    for object in 0..OBJECTS {
        writeln!(all, "---\n{}", model(&namespace, &format!("zone-{object:04}"), 0)).expect("a String takes all");
    }
    plane.kubectl_ok(&["create", "-f", "-"], Some(&all)).await;
    apply(plane, &operation(&namespace, "zones", "/zones", &labelled(), &json!({}))).await;
    let server = sidecar(plane.kubeconfig(), &namespace, "replica-a", &[]).await;
    let first = serves(&server, "/zones", 200).await;
    assert_eq!(first.json().as_object().map(|zones| zones.len() as u64), Some(OBJECTS));

    let mut client = Client::connect(server.listen).await;
    client.send("GET", &format!("/zones?since={}&wait=50", first.id()), &[]).await;
    let mut selecting = Vec::new();
    for object in [499, 500, 501] {
        let select = format!("select=/zone-{object:04}");
        let mut client = Client::connect(server.listen).await;
        let part = client.get(&format!("/zones?{select}"), &[]).await;
        client.send("GET", &format!("/zones?since={}&{select}&wait=50", part.id()), &[]).await;
        selecting.push((client, part));
    }
    server.metric_becomes(r#"tidewait_parked_requests{operation="zones"}"#, 4.0).await;
    let changes = server.metric(r#"tidewait_state_changes_total{operation="zones"}"#).await;
    let lists = server.metric("tidewait_kubernetes_lists_total").await;
    apply(plane, &model(&namespace, "zone-0500", 7)).await;
    let second = client.reply().await;
    assert_eq!((second.status, &second.json()["zone-0500"]["serial"]), (200, &json!(7)));
    assert_eq!(second.json()["zone-0501"], first.json()["zone-0501"]);
    let (one, part) = &mut selecting[1];
    let woken = one.reply().await;
    assert_eq!((woken.status, woken.json()), (200, json!({ "zone-0500": second.json()["zone-0500"] })));
    let patch = [("Accept", "application/json-patch+json")];
    let patch = one.get(&format!("/zones?since={}&select=/zone-0500", part.id()), &patch).await;
    assert_eq!(patch.json(), json!([{ "op": "replace", "path": "/zone-0500/serial", "value": 7 }]));
    let counts = ["tidewait_parked_requests", "tidewait_changed_selections_total"];
    for (name, count) in counts.into_iter().zip([2.0, 1.0]) {
        let seen = server.metric(&format!(r#"{name}{{operation="zones"}}"#)).await;
        assert!((seen - count).abs() < 0.5, "{name} is {seen}: nobody else was woken");
    }
    let after = server.metric(r#"tidewait_state_changes_total{operation="zones"}"#).await;
    assert!((after - changes - 1.0).abs() < 0.5, "one update");
    let listed = server.metric("tidewait_kubernetes_lists_total").await;
    assert!((listed - lists).abs() < 0.5, "by the watch alone");
    // A restarted replica gives the same id, version included or not.
    let other = sidecar(plane.kubeconfig(), &namespace, "replica-b", &[]).await;
    let same = serves(&other, "/zones", 200).await;
    assert_eq!((same.field("etag"), same.field("state-digest")), (second.field("etag"), second.field("state-digest")));
}

#[tokio::test]
async fn a_strange_object_marks_itself_only() {
    let plane = ControlPlane::shared().await;
    crd::installed(plane).await;
    let namespace = plane.namespace("strange").await;
    let server = sidecar(plane.kubeconfig(), &namespace, "replica-a", &[]).await;
    for name in ["good", "deep"] {
        apply(plane, &model(&namespace, name, 1)).await;
    }
    apply(plane, &operation(&namespace, "zones", "/zones", &labelled(), &json!({}))).await;
    serves(&server, "/zones", 200).await;
    // As deep as the API server stores: ten thousand levels less the object's own.
    let deep = format!("{}1{}", "[".repeat(9_990), "]".repeat(9_990));
    let manifest = model(&namespace, "deep", 2).replace("\"serial\":2", &format!("\"serial\":2,\"deep\":{deep}"));
    apply(plane, &manifest).await;
    becomes(plane, &namespace, "netm/deep", "/status/conditions/0/status", &json!("False")).await;
    let message = field(plane, &namespace, "netm/deep", "/status/conditions/0/message").await;
    assert!(message.as_str().is_some_and(|text| text.contains("nested deeper than 127 levels")), "{message}");
    apply(plane, &model(&namespace, "good", 3)).await;
    becomes(plane, &namespace, "netm/good", "/status/observedGeneration", &json!(2)).await;
    let zones = server.get("/zones").await.json();
    assert_eq!((&zones["good"]["serial"], &zones["deep"]["serial"]), (&json!(3), &json!(1)), "the last good content");
    assert_eq!(field(plane, &namespace, "netm/good", "/status/conditions/0/status").await, json!("True"));
}

/// The definitions are removed with all objects, and come back.
#[tokio::test]
async fn definitions_that_go_and_come_take_nothing_with_them() {
    let plane = ControlPlane::start().await;
    let namespace = plane.namespace("definitions").await;
    // A sidecar that is there first waits for them.
    let mut server = sidecar(plane.kubeconfig(), &namespace, "replica-a", &[]).await;
    server.logged("DescribeOperations cannot be watched").await;
    crd::installed(&plane).await;
    apply(&plane, &model(&namespace, "zone-a", 1)).await;
    apply(&plane, &model(&namespace, "zone-b", 1)).await;
    apply(&plane, &operation(&namespace, "zones", "/zones", &labelled(), &json!({}))).await;
    let before = serves(&server, "/zones", 200).await;
    plane.kubectl_ok(&["delete", "crd", "--all", "--timeout=60s"], None).await;
    let away = tokio::time::timeout(STEP, server.logged("cannot list describeoperations")).await;
    away.expect("it is told");
    let kept = server.get("/zones").await;
    assert_eq!((kept.status, kept.field("etag")), (200, before.field("etag")), "the last good state stays");
    let definitions = tidewait::crd::documents();
    plane.kubectl_ok(&["apply", "--server-side", "-f", "-"], Some(&definitions)).await;
    plane.kubectl_ok(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"], None).await;
    apply(&plane, &model(&namespace, "zone-a", 5)).await;
    apply(&plane, &model(&namespace, "zone-b", 5)).await;
    apply(&plane, &operation(&namespace, "zones", "/zones", &labelled(), &json!({}))).await;
    let mut look = tokio::time::interval(std::time::Duration::from_millis(200));
    let back = async {
        while server.get("/zones").await.json()["zone-b"]["serial"] != 5 {
            look.tick().await;
        }
    };
    tokio::time::timeout(STEP * 3, back).await.expect("it follows again");
}
