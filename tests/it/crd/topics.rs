//! Good and bad `Topic`s, through the real kubectl, and what the program itself makes of each: both must agree.

use serde_json::{Value, json};
use tidewait::config::custom_topic;
use tidewait::crd::Topic;

use super::manifests::verdicts_of;
use crate::control_plane::ControlPlane;

fn program(spec: &Value) -> Result<tidewait::config::Topic, String> {
    custom_topic("case", spec).map_err(|problems| problems.to_string())
}

/// What the program makes of a spec by way of the types.
fn typed(spec: &Value) -> Result<tidewait::config::Topic, String> {
    let spec = serde_json::from_value(spec.clone()).map_err(|error| error.to_string())?;
    Topic::new("case", spec).topic().map_err(|problems| problems.to_string())
}

/// A sound topic with this beside.
fn with(field: &str, value: &Value) -> Value {
    let mut spec = json!({ "path": "/chat" });
    spec[field] = value.clone();
    spec
}

#[tokio::test]
async fn good_topics_are_good_to_both() {
    let paths = ["/", "/chat", "/chat/", "/rooms/a", "/a%20b", "/a.b-c_~!$&()*+,;=:@'|"];
    let mut good: Vec<_> = paths.iter().map(|path| json!({ "path": path })).collect();
    for (field, value) in [
        ("history", json!({})),
        ("history", json!({ "messages": 1, "bytes": "1Ki", "age": "1s" })),
        ("history", json!({ "messages": 1_000_000, "bytes": "1Gi", "age": "720h" })),
        ("history", json!({ "bytes": "1024" })),
        ("history", json!({ "bytes": "1024Mi" })),
        ("history", json!({ "bytes": "1039999Ki" })),
        ("messageBytes", json!("1")),
        ("messageBytes", json!("256Ki")),
        ("messageBytes", json!("261999")),
        ("dedupe", json!("1s")),
        ("publishRate", json!({})),
        ("publishRate", json!({ "perSecond": 1, "burst": 100_000 })),
    ] {
        good.push(with(field, &value));
    }
    for (message, history) in [("1Ki", "1024"), ("2048", "2Ki"), ("256Ki", "1Mi"), ("256Ki", "1Gi")] {
        good.push(json!({ "path": "/chat", "messageBytes": message, "history": { "bytes": history } }));
    }
    for (spec, verdict) in good.iter().zip(verdicts_of("Topic", &good).await) {
        assert_eq!(verdict, None, "{spec}");
        assert!(program(spec).is_ok(), "{spec}: {:?}", program(spec));
        assert_eq!(typed(spec), program(spec), "{spec}");
    }
}

#[tokio::test]
async fn bad_topics_are_bad_to_both_and_told_how_to_be_good() {
    let mut bad: Vec<(Value, &str, &str)> = Vec::new();
    for path in ["", "chat", "/a b", "/a?b", "/a#b", "/rooms/{key}", "/{key}", "/a}"] {
        bad.push((json!({ "path": path }), "spec.path", "write one path such as /chat"));
    }
    let long = "/".to_owned() + &"a".repeat(1024);
    bad.push((json!({ "path": long }), "spec.path", "may not be more than 1024"));
    let size = "write a number of bytes from 1Ki to 1Gi";
    let message = "write a number of bytes from 1 to 256Ki";
    for (field, value, at, message) in [
        ("history", json!({ "messages": 0 }), "spec.history.messages", "greater than or equal to 1"),
        ("history", json!({ "messages": 1_000_001 }), "spec.history.messages", "less than or equal to 1000000"),
        ("history", json!({ "bytes": "1023" }), "spec.history.bytes", size),
        ("history", json!({ "bytes": "0Ki" }), "spec.history.bytes", size),
        ("history", json!({ "bytes": "2Gi" }), "spec.history.bytes", size),
        ("history", json!({ "bytes": "4MB" }), "spec.history.bytes", size),
        ("history", json!({ "age": "721h" }), "spec.history.age", "write a duration from 1s to 720h"),
        ("history", json!({ "age": "5" }), "spec.history.age", "write whole numbers with h, m, s or ms"),
        ("messageBytes", json!("0"), "spec.messageBytes", message),
        ("messageBytes", json!("257Ki"), "spec.messageBytes", message),
        ("messageBytes", json!("1Mi"), "spec.messageBytes", message),
        ("dedupe", json!("500ms"), "spec.dedupe", "write a duration from 1s to 720h"),
        ("publishRate", json!({ "perSecond": 0 }), "spec.publishRate.perSecond", "greater than or equal to 1"),
        ("publishRate", json!({ "burst": 100_001 }), "spec.publishRate.burst", "less than or equal to 100000"),
    ] {
        bad.push((with(field, &value), at, message));
    }
    for (message, history) in [("1025", "1Ki"), ("2Ki", "2047"), ("256Ki", "255Ki")] {
        let spec = json!({ "path": "/chat", "messageBytes": message, "history": { "bytes": history } });
        bad.push((spec, "spec", "messageBytes is more than the whole history has"));
    }
    let specs: Vec<_> = bad.iter().map(|(spec, ..)| spec.clone()).collect();
    for ((spec, at, message), verdict) in bad.iter().zip(verdicts_of("Topic", &specs).await) {
        let verdict = verdict.unwrap_or_else(|| panic!("the API server takes {spec}"));
        assert!(verdict.contains(at) && verdict.contains(message), "{spec}: {at}: {message}\n{verdict}");
        assert!(!verdict.contains("evaluat"), "{spec}: {verdict}");
        assert!(program(spec).is_err(), "the program takes {spec}");
    }
}

#[tokio::test]
async fn what_is_no_field_of_a_topic_is_refused() {
    let plane = ControlPlane::shared().await;
    super::installed(plane).await;
    let namespace = plane.namespace("no-topics").await;
    for (name, spec, expected) in [
        ("case", json!({ "path": "/a", "name": "b" }), "unknown field \"spec.name\""),
        ("case", json!({}), "spec.path: Required value"),
        ("a.b", json!({ "path": "/a" }), "the name labels metrics"),
    ] {
        let manifest = json!({
            "apiVersion": "tidewait.dev/v1alpha1", "kind": "Topic",
            "metadata": { "name": name, "namespace": &*namespace }, "spec": spec,
        });
        let arguments = ["apply", "--dry-run=server", "--validate=strict", "-f", "-"];
        let output = plane.kubectl(&arguments, Some(&manifest.to_string())).await;
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && error.contains(expected), "{name} {spec}: {error}");
    }
}
