//! Models at the limits of what the API server stores.

use serde_json::{Value, json};

use crate::control_plane::{ControlPlane, Namespace};

struct Place {
    plane: &'static ControlPlane,
    namespace: Namespace,
}

impl Place {
    async fn new() -> Self {
        let plane = ControlPlane::shared().await;
        super::installed(plane).await;
        Self { plane, namespace: plane.namespace("models").await }
    }

    async fn apply(&self, spec: &str) {
        let manifest = format!(
            r#"{{"apiVersion":"tidewait.dev/v1alpha1","kind":"NetworkModel","metadata":{{"name":"m","namespace":"{}"}},"spec":{spec}}}"#,
            self.namespace
        );
        self.plane.kubectl_ok(&["apply", "--server-side", "-f", "-"], Some(&manifest)).await;
    }

    /// The object as the API server writes it.
    async fn stored(&self) -> String {
        let path = format!("/apis/tidewait.dev/v1alpha1/namespaces/{}/networkmodels/m", self.namespace);
        self.plane.kubectl_ok(&["get", "--raw", &path], None).await
    }
}

#[tokio::test]
async fn a_model_of_more_than_a_megabyte_applies_and_is_stored_once() {
    let place = Place::new().await;
    let route = |at: usize| json!({ "to": format!("10.{}.{}.0/24", at / 256, at % 256), "via": "10.255.255.254", "metric": at });
    let routes: serde_json::Map<_, _> = (0..17_000).map(|at| (format!("route-{at:05}"), route(at))).collect();
    let model = json!({ "routes": routes });
    let text = model.to_string();
    assert!((1_150_000..1_500_000).contains(&text.len()), "{}", text.len());
    place.apply(&text).await;
    let stored = place.stored().await;
    let object: Value = serde_json::from_str(&stored).expect("JSON");
    assert!(object["spec"] == model);
    let managed = object["metadata"]["managedFields"].to_string();
    assert!(managed.len() < 1_000, "managedFields has {} bytes: {managed:.1000}", managed.len());
    // The other way keeps a copy in an annotation.
    let smaller: serde_json::Map<_, _> = (0..5_000).map(|at| (format!("route-{at:05}"), route(at))).collect();
    let metadata = json!({ "name": "copied", "namespace": &*place.namespace });
    let manifest =
        json!({ "apiVersion": "tidewait.dev/v1alpha1", "kind": "NetworkModel", "metadata": metadata, "spec": smaller });
    let refused = place.plane.kubectl(&["apply", "-f", "-"], Some(&manifest.to_string())).await;
    let error = String::from_utf8_lossy(&refused.stderr);
    assert!(error.contains("metadata.annotations: Too long: may not be more than 262144 bytes"), "{error}");
    // The same again is no write.
    place.apply(&text).await;
    let again: Value = serde_json::from_str(&place.stored().await).expect("JSON");
    assert_eq!(again["metadata"]["resourceVersion"], object["metadata"]["resourceVersion"]);
}

#[tokio::test]
async fn nulls_empty_things_and_whole_numbers_survive() {
    let place = Place::new().await;
    let spec = r#"{"empty":{},"list":[null,[],{}],"no":false,"null":null,"number":9007199254740993,"text":""}"#;
    place.apply(spec).await;
    let stored = place.stored().await;
    assert!(stored.contains(&format!("\"spec\":{spec}")), "{stored}");
    // Taken away by the one who put it there.
    place.apply(r#"{"list":[]}"#).await;
    assert!(place.stored().await.contains(r#""spec":{"list":[]}"#));
}

#[tokio::test]
async fn a_model_is_stored_however_deep_it_is() {
    let place = Place::new().await;
    // 10,000 levels is what the API server decodes; the object has some of its own.
    let spec = format!("{}1{}", r#"{"a":"#.repeat(9_990), "}".repeat(9_990));
    place.apply(&spec).await;
    assert!(place.stored().await.contains(&format!("\"spec\":{spec}")));
}

#[tokio::test]
async fn a_status_is_written_beside_the_spec_and_is_bounded() {
    let place = Place::new().await;
    place.apply(r#"{"mtu":1450}"#).await;
    let patch = |message: &str, status: &str| {
        json!({ "status": { "observedGeneration": 1, "conditions": [{
            "type": "Served", "status": status, "reason": "Published", "message": message,
            "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 1,
        }] } })
        .to_string()
    };
    let write = async |patch: &str| {
        let arguments =
            ["patch", "-n", &place.namespace, "netm/m", "--subresource=status", "--type=merge", "-p", patch];
        place.plane.kubectl(&arguments, None).await
    };
    let generation =
        |stored: &str| serde_json::from_str::<Value>(stored).expect("JSON")["metadata"]["generation"].clone();
    assert!(write(&patch("by zone-a", "True")).await.status.success());
    let stored = place.stored().await;
    assert!(stored.contains("by zone-a") && generation(&stored) == 1, "{stored}");
    for (message, status, expected) in [
        ("x".repeat(2_000), "True", "may not be more than 1024"),
        (String::new(), "Perhaps", "supported values: \"True\""),
    ] {
        let error = write(&patch(&message, status)).await;
        let error = String::from_utf8_lossy(&error.stderr);
        assert!(error.contains(expected), "{error}");
    }
    // Through the object itself a status is not written.
    let arguments = ["patch", "-n", &place.namespace, "netm/m", "--type=merge", "-p", r#"{"status":{"stateId":"x"}}"#];
    place.plane.kubectl_ok(&arguments, None).await;
    assert!(!place.stored().await.contains("stateId"));
    // What a new user would wait with.
    let wait = ["wait", "-n", &place.namespace, "--for=condition=Served", "networkmodel/m", "--timeout=30s"];
    place.plane.kubectl_ok(&wait, None).await;
}
