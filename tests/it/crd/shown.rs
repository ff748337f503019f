//! What kubectl shows of the types: columns, short names, explanations.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tidewait::crd::{DescribeOperation, DescribeReplica, Exchange, NetworkModel, Topic};

use crate::control_plane::ControlPlane;
use crate::server::STEP;

#[tokio::test]
async fn kubectl_shows_columns_that_tell_what_is_wrong() {
    let plane = ControlPlane::shared().await;
    super::installed(plane).await;
    let namespace = plane.namespace("columns").await;
    let object = |kind: &str, spec: serde_json::Value| {
        let metadata = json!({ "name": "zone-a", "namespace": &*namespace });
        json!({ "apiVersion": "tidewait.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec })
    };
    let mut replica = object("DescribeReplica", json!({}));
    replica.as_object_mut().expect("an object").remove("spec");
    let operation = json!({ "path": "/zone-a", "source": { "configMap": { "name": "models" } } });
    let exchange = object("Exchange", json!({ "path": "/work" }));
    let model = object("NetworkModel", json!({ "mtu": 1450 }));
    let topic = object("Topic", json!({ "path": "/chat" }));
    let items = [object("DescribeOperation", operation), model, exchange, topic, replica];
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": items }).to_string();
    plane.kubectl_ok(&["apply", "--server-side", "-f", "-"], Some(&list)).await;

    for (name, status) in statuses() {
        let patch = json!({ "status": status }).to_string();
        let arguments = ["patch", "-n", &namespace, name, "--subresource=status", "--type=merge", "-p", &patch];
        plane.kubectl_ok(&arguments, None).await;
        // What the schema knows and what the types know is the same.
        let stored = plane.kubectl_ok(&["get", "-n", &namespace, name, "-o", "json"], None).await;
        let stored: Value = serde_json::from_str(&stored).expect("JSON");
        assert_eq!(stored["status"], status, "{name}");
        let read = match stored["kind"].as_str() {
            Some("DescribeOperation") => through::<DescribeOperation>(stored),
            Some("NetworkModel") => through::<NetworkModel>(stored),
            Some("Exchange") => through::<Exchange>(stored),
            Some("Topic") => through::<Topic>(stored),
            _ => through::<DescribeReplica>(stored),
        };
        assert_eq!(read["status"], status, "{name}");
    }

    let shown = plane.kubectl_ok(&["get", "-n", &namespace, "dop,netm,exch,tpc,drep"], None).await;
    for line in [
        "NAME PATH SOURCE READY CONVERGED AGENTS LAGGING REJECTING PARKED AGE",
        "describeoperation.tidewait.dev/zone-a /zone-a ConfigMap models True False 7 2 1 5 *",
        "NAME ACCEPTED SERVED CONVERGED STATE AGE",
        "networkmodel.tidewait.dev/zone-a True True Unknown e.1.d *",
        "NAME PATH WORKERS SLOTS QUEUED OLDEST DEAD READY AGE",
        "exchange.tidewait.dev/zone-a /work 3 6 5 * 1 True *",
        "NAME PATH READERS MESSAGES RATE ACCEPTED READY AGE",
        "topic.tidewait.dev/zone-a /chat 3 7 0.35 True True *",
        "NAME OPERATIONS PARKED AGENTS LAGGING REJECTING WRITTEN AGE",
        "describereplica.tidewait.dev/zone-a 1 5 7 2 1 * *",
    ] {
        assert!(has_line(&shown, line), "{line}\nis not in\n{shown}");
    }
    let wide = plane.kubectl_ok(&["get", "-n", &namespace, "topics", "-o", "wide"], None).await;
    let line = "zone-a /chat 3 7 0.35 True True * a3f09b7c11d2e480.1 a3f09b7c11d2e480.7 memory 1";
    assert!(has_line(&wide, line), "{wide}");
    let wide = plane.kubectl_ok(&["get", "-n", &namespace, "dop", "-o", "wide"], None).await;
    assert!(has_line(&wide, "zone-a /zone-a ConfigMap models True False 7 2 1 5 * True False 3 e.1.d"), "{wide}");
    let all = plane.kubectl_ok(&["get", "-n", &namespace, "tidewait", "-o", "name"], None).await;
    assert_eq!(all.lines().count(), 5, "the category names all kinds: {all}");
}

/// A status of each kind, with all that it can say.
fn statuses() -> [(&'static str, Value); 5] {
    let condition = |kind: &str, status: &str| json!({ "type": kind, "status": status, "reason": "Why", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z" });
    let agent = json!({ "name": "node-7", "reason": "Rejecting", "since": "2026-01-01T00:00:00Z" });
    let reported = json!({
        "name": "zone-a", "path": "/zone-a", "stateId": "e.1.d", "inputs": "i", "source": { "status": "live" }, "parked": 5,
        "agents": { "total": 7, "converged": 4, "lagging": 2, "rejecting": 1, "evicted": 0 }, "worstAgents": [agent.clone()],
        "laggingSince": "2026-01-01T00:00:00Z",
    });
    let dead = json!({ "item": "i", "key": "cam-7", "attempts": 3, "at": "2026-01-01T00:00:00Z" });
    let served = json!({
        "name": "zone-a", "generation": 1, "workers": 3, "slots": 6, "busy": 4, "queued": 5, "dead": 1,
        "oldest": "2026-01-01T00:00:00Z", "lastDead": [dead.clone()],
    });
    let read = json!({
        "name": "zone-a", "generation": 1, "backend": "memory", "readers": 3, "messages": 7, "withinMinute": 21,
        "first": "a3f09b7c11d2e480.1", "last": "a3f09b7c11d2e480.7",
    });
    [
        (
            "dop/zone-a",
            json!({
                "observedGeneration": 1, "stateId": "e.1.d", "source": "ConfigMap models",
                "totals": { "replicas": 3, "parked": 5, "agents": 7, "converged": 4, "lagging": 2, "rejecting": 1 },
                "worstAgents": [agent],
                "conditions": [condition("Accepted", "True"), condition("Ready", "True"), condition("Converged", "False"), condition("Held", "False")],
            }),
        ),
        (
            "netm/zone-a",
            json!({ "stateId": "e.1.d", "conditions": [condition("Accepted", "True"), condition("Served", "True"), condition("Converged", "Unknown")] }),
        ),
        (
            "exch/zone-a",
            json!({
                "observedGeneration": 1, "replicas": 2, "workers": 3, "slots": 6, "busy": 4, "queued": 5, "dead": 1,
                "oldest": "2026-01-01T00:00:00Z", "lastDead": [dead.clone()],
                "conditions": [condition("Accepted", "True"), condition("Ready", "True"), condition("HasWorkers", "False")],
            }),
        ),
        (
            "tpc/zone-a",
            json!({
                "observedGeneration": 1, "replicas": 1, "readers": 3, "messages": 7, "rate": "0.35", "backend": "memory",
                "first": "a3f09b7c11d2e480.1", "last": "a3f09b7c11d2e480.7",
                "conditions": [condition("Accepted", "True"), condition("Ready", "True")],
            }),
        ),
        (
            "drep/zone-a",
            json!({ "exchanges": [served], "topics": [read], "version": "0.1.0", "writtenAt": "2026-01-01T00:00:00Z", "totals": { "operations": 1, "parked": 5, "agents": 7, "lagging": 2, "rejecting": 1 }, "operations": [reported] }),
        ),
    ]
}

/// An object by way of its type.
fn through<T: Serialize + DeserializeOwned>(object: Value) -> Value {
    let object: T = serde_json::from_value(object).expect("an object of this type");
    serde_json::to_value(object).expect("JSON")
}

/// Whether some line has these words, `*` standing for any one.
fn has_line(shown: &str, words: &str) -> bool {
    let wanted: Vec<_> = words.split(' ').collect();
    shown.lines().any(|line| {
        let found: Vec<_> = line.split_whitespace().collect();
        found.len() == wanted.len()
            && found.iter().zip(&wanted).all(|(found, wanted)| *wanted == "*" || found == wanted)
    })
}

#[tokio::test]
async fn kubectl_explains_the_fields() {
    let plane = ControlPlane::shared().await;
    super::installed(plane).await;
    for (field, words) in [
        ("dop", "A path that clients poll for the current state of a model."),
        ("dop.spec.source", "exactly one of configMap, resource, upstream and file"),
        ("dop.spec.wait.max", "The longest, whatever the request asks for, 1ms to 1h. Default: 55s."),
        ("dop.spec.limits.parked", "one more is answered 503. Default: 20,000."),
        ("dop.spec.guard", "tidewait.dev/confirm-removal"),
        ("dop.spec.source.resource.selector.matchExpressions", "In, NotIn, Exists or DoesNotExist"),
        ("dop.spec.access.rules", "A change ends the requests of those who may no longer wait."),
        ("dop.spec.access.rules.restrict", "{name}, {node} and {pod} stand for the client's own; at most 64."),
        ("dop.status.worstAgents", "Rejecting: it could not apply it."),
        ("netm.spec", "The model: any fields."),
        ("exch", "A path whose requests wait for workers that dial in or poll."),
        ("exch.spec.queue.length", "one more is answered 503. Default: 1,000."),
        ("exch.spec.hold.default", "Default: 25s, or max where that is shorter."),
        ("exch.status.oldest", "Since when the oldest of them has waited"),
        ("drep.status.operations.inputs", "a hash over the uid and the generation"),
    ] {
        let explained = explained(plane, field).await;
        let explained = explained.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(explained.contains(words), "{field}: {explained}");
    }
}

/// The API server publishes explanations some moments after it serves the objects.
async fn explained(plane: &ControlPlane, field: &str) -> String {
    let mut look = tokio::time::interval(Duration::from_millis(200));
    let explained = tokio::time::timeout(STEP, async {
        loop {
            look.tick().await;
            let output = plane.kubectl(&["explain", field], None).await;
            if output.status.success() {
                return String::from_utf8(output.stdout).expect("text");
            }
        }
    });
    explained.await.unwrap_or_else(|_| panic!("{field} is not explained"))
}
