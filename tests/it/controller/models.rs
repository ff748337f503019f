//! Models that are large, hold nulls, or are of a kind that nobody serves.

use std::time::Duration;

use serde_json::{Value, json};

use super::{apply, becomes, field, model, one, operation, serves, sidecar};
use crate::control_plane::ControlPlane;
use crate::crd;
use crate::server::STEP;

#[tokio::test]
async fn a_model_as_large_as_an_object_can_be_is_served_with_its_nulls() {
    let plane = ControlPlane::shared().await;
    crd::installed(plane).await;
    let namespace = plane.namespace("large").await;
    let server = sidecar(plane.kubeconfig(), &namespace, "replica-a", &[]).await;
    let routes: Vec<_> = (0..20_000)
        .map(|route| format!("10.{}.{}.0/24 via 10.0.0.{}, metric {route:020}", route / 250, route % 250, route % 200))
        .collect();
    let mut large: Value = serde_json::from_str(&model(&namespace, "large", 1)).expect("JSON");
    large["spec"]["routes"] = json!(routes);
    large["spec"]["none"] = Value::Null;
    let text = large.to_string();
    assert!((1_000_000..1_400_000).contains(&text.len()), "{} bytes", text.len());
    apply(plane, &text).await;
    apply(plane, &operation(&namespace, "large", "/large", &one("large"), &json!({}))).await;
    let reply = serves(&server, "/large", 200).await;
    assert_eq!(reply.json(), large["spec"]);
    becomes(plane, &namespace, "netm/large", "/status/conditions/1/status", &json!("True")).await;
}

#[tokio::test]
async fn a_kind_that_nobody_serves_is_named_and_its_coming_is_waited_for() {
    let plane = ControlPlane::shared().await;
    crd::installed(plane).await;
    let namespace = plane.namespace("kind").await;
    let server = sidecar(plane.kubeconfig(), &namespace, "replica-a", &[]).await;
    let source = json!({ "resource": { "apiVersion": "nobody.example/v1", "kind": "Nothing", "name": "x" } });
    apply(plane, &operation(&namespace, "nothing", "/nothing", &source, &json!({}))).await;
    let refused = serves(&server, "/nothing", 503).await;
    assert!(refused.field("retry-after").parse::<u32>().is_ok());
    // What the replica reports first is that its source has only begun.
    let mut look = tokio::time::interval(Duration::from_millis(200));
    let named = async {
        loop {
            let ready = field(plane, &namespace, "dop/nothing", "/status/conditions/1/message").await;
            let said = ready.as_str().unwrap_or_default();
            if said.contains("the cluster serves no Nothing of nobody.example/v1: install its") {
                return;
            }
            look.tick().await;
        }
    };
    let is_named = tokio::time::timeout(STEP, named).await.is_ok();
    assert!(is_named, "{}", String::from_utf8_lossy(&server.admin("/state").await.body));
    assert_eq!(field(plane, &namespace, "dop/nothing", "/status/conditions/1/status").await, json!("False"));
}
