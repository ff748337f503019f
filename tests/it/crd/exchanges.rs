//! Good and bad `Exchange`s, through the real kubectl, and what the program itself makes of each: both must agree.

use serde_json::{Value, json};
use tidewait::config::custom_exchange;
use tidewait::crd::Exchange;

use super::manifests::verdicts_of;
use crate::control_plane::ControlPlane;

fn program(spec: &Value) -> Result<tidewait::config::Exchange, String> {
    custom_exchange("case", spec).map_err(|problems| problems.to_string())
}

/// What the program makes of a spec by way of the types.
fn typed(spec: &Value) -> Result<tidewait::config::Exchange, String> {
    let spec = serde_json::from_value(spec.clone()).map_err(|error| error.to_string())?;
    Exchange::new("case", spec).exchange().map_err(|problems| problems.to_string())
}

/// A sound exchange with this beside.
fn with(field: &str, value: &Value) -> Value {
    let mut spec = json!({ "path": "/work" });
    spec[field] = value.clone();
    spec
}

#[tokio::test]
async fn good_exchanges_are_good_to_both() {
    let paths = ["/", "/work", "/work/", "/a/{key}/b", "/{key}", "/a%20b", "/a.b-c_~!$&()*+,;=:@'"];
    let mut good: Vec<_> = paths.iter().map(|path| json!({ "path": path })).collect();
    for (field, value) in [
        ("endpoint", json!("/x")),
        ("endpoint", json!("/x/y%20z")),
        ("methods", json!([])),
        ("methods", json!(["GET", "PURGE", "M-SEARCH"])),
        ("queue", json!({})),
        ("queue", json!({ "length": 1, "perClient": 1, "age": "1s", "asyncAge": "24h" })),
        ("hold", json!({ "default": "55s" })),
        ("hold", json!({ "max": "0" })),
        ("hold", json!({ "default": "59m", "max": "1h" })),
        ("deadline", json!("23h59m59s")),
        ("lease", json!({ "first": "1s", "length": "2s" })),
        ("attempts", json!(100)),
        ("repeat", json!("never")),
        ("share", json!("none")),
        ("backend", json!("memory")),
        ("backend", json!("nats")),
        ("result", json!({ "keep": "1s", "bytes": "0", "window": "1Gi" })),
        ("body", json!({ "bytes": "1024Mi", "replay": "65536" })),
        ("workers", json!({ "transports": ["http2"] })),
        ("noWorker", json!({ "action": "wait" })),
        ("noWorker", json!({ "action": "refuse", "after": "24h" })),
        ("chain", json!({ "hops": 0, "hold": "1s" })),
    ] {
        good.push(with(field, &value));
    }
    for (spec, verdict) in good.iter().zip(verdicts_of("Exchange", &good).await) {
        assert_eq!(verdict, None, "{spec}");
        assert!(program(spec).is_ok(), "{spec}: {:?}", program(spec));
        assert_eq!(typed(spec), program(spec), "{spec}");
    }
}

#[tokio::test]
async fn bad_exchanges_are_bad_to_both_and_told_how_to_be_good() {
    let pattern = "write a path such as /start_work or /cameras/{key}/logs";
    let mut bad: Vec<(Value, &str, &str)> = Vec::new();
    for path in ["", "work", "/a b", "/a?b", "/a#b", "//a", "/a//b", "/{key}/{key}", "/a{key}", "/{other}", "/a/{key}b"]
    {
        bad.push((json!({ "path": path }), "spec.path", pattern));
    }
    let long = "/".to_owned() + &"a".repeat(1024);
    bad.push((json!({ "path": long }), "spec.path", "may not be more than 1024"));
    for (field, value, at, message) in [
        ("endpoint", json!("x"), "spec.endpoint", "write a path such as /exchange/cameras"),
        ("endpoint", json!("/x/"), "spec.endpoint", "write the path without a slash at its end"),
        ("endpoint", json!("/work"), "spec", "endpoint is at or above path: choose another"),
        ("methods", json!(["TRACE"]), "spec.methods[0]", "an exchange takes neither CONNECT nor TRACE"),
        ("methods", json!(["G T"]), "spec.methods[0]", "write a method such as GET or POST"),
        ("queue", json!({ "length": 0 }), "spec.queue.length", "greater than or equal to 1"),
        ("queue", json!({ "perClient": 1_000_001 }), "spec.queue.perClient", "less than or equal to 1000000"),
        ("queue", json!({ "age": "500ms" }), "spec.queue.age", "write a duration from 1s to 24h"),
        ("queue", json!({ "perClient": 1001 }), "spec.queue", "queue.perClient is more than the whole queue has"),
        (
            "queue",
            json!({ "perClient": 2, "length": 1 }),
            "spec.queue",
            "queue.perClient is more than the whole queue has",
        ),
        ("lease", json!({ "first": "11m" }), "spec", "lease.first is longer than the deadline"),
        ("hold", json!({ "default": "20s", "max": "10s" }), "spec.hold", "hold.default is longer than hold.max"),
        ("hold", json!({ "default": "56s" }), "spec.hold", "hold.default is longer than the longest hold, 55s"),
        ("hold", json!({ "max": "2h" }), "spec.hold.max", "write a duration from 0 to 1h"),
        ("deadline", json!("5"), "spec.deadline", "write whole numbers with h, m, s or ms"),
        ("lease", json!({ "length": "1s" }), "spec.lease.length", "write a duration from 2s to 1h"),
        ("attempts", json!(101), "spec.attempts", "less than or equal to 100"),
        ("repeat", json!("once"), "spec.repeat", "Unsupported value: \"once\""),
        ("backend", json!("redis"), "spec.backend", "Unsupported value: \"redis\""),
        ("share", json!("all"), "spec.share", "Unsupported value: \"all\""),
        ("result", json!({ "bytes": "8MB" }), "spec.result.bytes", "write a number of bytes up to 1Gi"),
        ("result", json!({ "window": "2Gi" }), "spec.result.window", "write a number of bytes up to 1Gi"),
        ("body", json!({ "bytes": "1025Mi" }), "spec.body.bytes", "write a number of bytes up to 1Gi"),
        ("workers", json!({ "transports": ["raw"] }), "spec.workers.transports[0]", "Unsupported value: \"raw\""),
        ("noWorker", json!({ "after": "5s" }), "spec.noWorker", "is of no use without action: refuse"),
        (
            "noWorker",
            json!({ "action": "wait", "after": "5s" }),
            "spec.noWorker",
            "is of no use without action: refuse",
        ),
        ("chain", json!({ "hops": 101 }), "spec.chain.hops", "less than or equal to 100"),
    ] {
        bad.push((with(field, &value), at, message));
    }
    let specs: Vec<_> = bad.iter().map(|(spec, ..)| spec.clone()).collect();
    for ((spec, at, message), verdict) in bad.iter().zip(verdicts_of("Exchange", &specs).await) {
        let verdict = verdict.unwrap_or_else(|| panic!("the API server takes {spec}"));
        assert!(verdict.contains(at) && verdict.contains(message), "{spec}: {at}: {message}\n{verdict}");
        assert!(!verdict.contains("evaluat"), "{spec}: {verdict}");
        if !message.contains("1024") {
            assert!(program(spec).is_err(), "the program takes {spec}");
        }
    }
}

#[tokio::test]
async fn what_is_of_one_process_is_no_field_of_an_exchange() {
    let plane = ControlPlane::shared().await;
    super::installed(plane).await;
    let namespace = plane.namespace("no-fields").await;
    for (name, spec, expected) in [
        ("case", json!({ "path": "/a", "workers": { "raw": "127.0.0.1:1" } }), "unknown field \"spec.workers.raw\""),
        ("case", json!({ "path": "/a", "name": "b" }), "unknown field \"spec.name\""),
        ("case", json!({}), "spec.path: Required value"),
        ("a.b", json!({ "path": "/a" }), "the name labels metrics"),
    ] {
        let manifest = json!({
            "apiVersion": "tidewait.dev/v1alpha1", "kind": "Exchange",
            "metadata": { "name": name, "namespace": &*namespace }, "spec": spec,
        });
        let arguments = ["apply", "--dry-run=server", "--validate=strict", "-f", "-"];
        let output = plane.kubectl(&arguments, Some(&manifest.to_string())).await;
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && error.contains(expected), "{name} {spec}: {error}");
    }
}
