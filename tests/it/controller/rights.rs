//! The rights of deploy/base: what the sidecar needs, no verb more, and what it says where one is missing.

use serde_json::{Value, json};

use super::exchanges::exchange;
use super::topics::topic;
use super::{apply, becomes, model, one, operation, serves, sidecar, wait};
use crate::control_plane::{ControlPlane, WorkDir};
use crate::crd;
use crate::server::{Client, STEP, Server};

/// The committed manifests, in another namespace.
fn rbac(namespace: &str) -> Vec<Value> {
    let text =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/base/rbac.yaml")).expect("it is there");
    let mut documents = Vec::new();
    for document in text.split("\n---\n") {
        let mut document: Value = serde_yaml::from_str(document).expect("YAML");
        document["metadata"]["namespace"] = json!(namespace);
        if let Some(subjects) = document.get_mut("subjects").and_then(Value::as_array_mut) {
            for subject in subjects {
                subject["namespace"] = json!(namespace);
            }
        }
        documents.push(document);
    }
    documents
}

async fn apply_all(plane: &ControlPlane, documents: &[Value]) {
    for document in documents {
        apply(plane, &document.to_string()).await;
    }
}

/// A kubeconfig for the service account of the manifests, and nothing else.
async fn kubeconfig(plane: &ControlPlane, namespace: &str, dir: &WorkDir) -> std::path::PathBuf {
    let token = plane.kubectl_ok(&["create", "token", "tidewait", "-n", namespace], None).await;
    let admin: Value =
        serde_yaml::from_str(&std::fs::read_to_string(plane.kubeconfig()).expect("a kubeconfig")).expect("YAML");
    let mut config = admin;
    config["users"][0]["user"] = json!({ "token": token.trim() });
    dir.write("kubeconfig", &config.to_string()).expect("it can be written")
}

#[tokio::test]
async fn the_committed_role_is_enough() {
    let plane = ControlPlane::shared().await;
    crd::installed(plane).await;
    let namespace = plane.namespace("rights").await;
    apply_all(plane, &rbac(&namespace)).await;
    let dir = WorkDir::new().expect("a folder");
    let kubeconfig = kubeconfig(plane, &namespace, &dir).await;
    let server: Server = sidecar(&kubeconfig, &namespace, "replica-a", &[]).await;
    apply(plane, &model(&namespace, "zone-a", 1)).await;
    apply(plane, &operation(&namespace, "zone-a", "/zone-a", &one("zone-a"), &json!({}))).await;
    let first = serves(&server, "/zone-a", 200).await;
    let mut client = Client::connect(server.listen).await;
    client.send("GET", &format!("/zone-a?since={}&wait=50", first.id()), &[("Agent-Id", "node-1")]).await;
    becomes(plane, &namespace, "netm/zone-a", "/status/conditions/2/status", &json!("True")).await;
    becomes(plane, &namespace, "dop/zone-a", "/status/totals/agents", &json!(1)).await;
    apply(plane, &exchange(&namespace, "work", &json!({ "path": "/work" }))).await;
    wait(plane, &namespace, "Ready", "exch/work").await;
    apply(plane, &topic(&namespace, "chat", &json!({ "path": "/chat" }))).await;
    wait(plane, &namespace, "Ready", "tpc/chat").await;
    // A condition that turns bad is an Event, which needs a right of its own.
    apply(plane, &operation(&namespace, "zone-b", "/zone-a", &one("zone-a"), &json!({}))).await;
    becomes(plane, &namespace, "dop/zone-b", "/status/conditions/0/reason", &json!("PathConflict")).await;
    let log = server.log.borrow().join("\n");
    assert!(!log.contains("cannot be") && !log.contains("forbidden"), "{log}");
}

/// Each verb in turn is taken away; the log says in our own words what failed, and which right to give.
#[tokio::test]
async fn one_verb_less_is_told_by_its_name_and_resource() {
    let plane = ControlPlane::shared().await;
    crd::installed(plane).await;
    let reading = r#""get", "list", "watch""#;
    for (resource, verb, verbs) in [
        ("describeoperations", "list", reading),
        ("describeoperations/status", "patch", r#""patch""#),
        ("exchanges", "list", reading),
        ("exchanges/status", "patch", r#""patch""#),
        ("topics", "list", reading),
        ("topics/status", "patch", r#""patch""#),
        ("networkmodels", "get", reading),
        ("networkmodels/status", "patch", r#""patch""#),
        ("describereplicas", "create", r#""create""#),
        ("describereplicas/status", "patch", r#""patch""#),
        ("describereplicas", "watch", reading),
        ("leases", "create", r#""create""#),
        ("leases", "update", r#""update""#),
        ("events", "create", r#""create""#),
    ] {
        let namespace = plane.namespace("less").await;
        let mut documents = rbac(&namespace);
        let mut taken = 0;
        for document in &mut documents {
            for rule in document.get_mut("rules").and_then(Value::as_array_mut).into_iter().flatten() {
                let resources = rule["resources"].as_array().expect("resources");
                if resources.contains(&json!(resource)) {
                    let verbs = rule["verbs"].as_array_mut().expect("verbs");
                    let before = verbs.len();
                    verbs.retain(|one| one != verb);
                    taken += before - verbs.len();
                    if verbs.is_empty() {
                        // A rule must have one: one that nobody asks for.
                        verbs.push(json!("deletecollection"));
                    }
                }
            }
        }
        assert_eq!(taken, 1, "{verb} {resource} stands once in deploy/base/rbac.yaml");
        apply_all(plane, &documents).await;
        let (_dir, mut server) = serving(plane, &namespace).await;
        // A condition that turns bad is an Event.
        apply(plane, &operation(&namespace, "zone-b", "/zone-a", &one("zone-a"), &json!({}))).await;
        let told = tokio::time::timeout(STEP * 2, server.logged(&format!("cannot {verb} resource"))).await;
        assert!(told.is_ok(), "{verb} {resource}");
        let kind = resource.split('/').next().expect("a resource");
        let failed = format!("cannot {verb} {kind}");
        let remedy = format!("bind a Role in namespace \"{namespace}\" with apiGroups");
        let right = format!("resources [{resource:?}], verbs [{verbs}]");
        let log = server.log.borrow().join("\n").replace('\\', "");
        let is_told = |line: &str| [&failed, &remedy, &right].iter().all(|words| line.contains(&***words));
        assert!(log.lines().any(is_told), "{failed} ... {remedy} ... {right}: {log}");
    }
}

/// A sidecar of a namespace, which has an operation, an exchange and a topic, and the folder of its kubeconfig.
async fn serving(plane: &ControlPlane, namespace: &str) -> (WorkDir, Server) {
    let dir = WorkDir::new().expect("a folder");
    let kubeconfig = kubeconfig(plane, namespace, &dir).await;
    let server = sidecar(&kubeconfig, namespace, "replica-a", &[]).await;
    apply(plane, &model(namespace, "zone-a", 1)).await;
    apply(plane, &operation(namespace, "zone-a", "/zone-a", &one("zone-a"), &json!({}))).await;
    apply(plane, &exchange(namespace, "work", &json!({ "path": "/work" }))).await;
    apply(plane, &topic(namespace, "chat", &json!({ "path": "/chat" }))).await;
    (dir, server)
}

/// A role of an earlier version, and definitions of one: what there was runs as it did.
#[tokio::test]
async fn who_may_not_list_exchanges_and_topics_serves_operations_all_the_same() {
    let plane = ControlPlane::shared().await;
    crd::installed(plane).await;
    let namespace = plane.namespace("earlier").await;
    let mut documents = rbac(&namespace);
    for document in &mut documents {
        if let Some(rules) = document.get_mut("rules").and_then(Value::as_array_mut) {
            rules.retain(|rule| {
                let is_newer = |resource: &str| resource.starts_with("exchanges") || resource.starts_with("topics");
                !rule["resources"][0].as_str().is_some_and(is_newer)
            });
        }
    }
    apply_all(plane, &documents).await;
    let (_dir, mut server) = serving(plane, &namespace).await;
    serves(&server, "/zone-a", 200).await;
    for kind in ["Exchanges", "Topics"] {
        server.logged(&format!("{kind} cannot be watched: there are none as long as that is so")).await;
    }
    assert_eq!(server.admin("/readyz").await.status, 200);
    // The rights come, and with them the exchange and the topic.
    apply_all(plane, &rbac(&namespace)).await;
    serves(&server, "/exchange/work/claims", 405).await;
    serves(&server, "/chat?wait=0", 200).await;
    assert_eq!(server.get("/zone-a").await.status, 200);
}
