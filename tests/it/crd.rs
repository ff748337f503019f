//! The custom resource definitions: as they are committed, and as the real API server takes them.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use serde_json::Value;
use tokio::sync::Mutex;

use crate::control_plane::ControlPlane;

mod examples;
mod exchanges;
mod manifests;
mod models;
mod shown;
mod topics;

/// Makes the definitions known to a control plane and waits until they are served; any number of tests may ask.
pub(crate) async fn installed(plane: &ControlPlane) {
    static DONE: Mutex<Option<HashSet<String>>> = Mutex::const_new(None);
    let mut done = DONE.lock().await;
    let done = done.get_or_insert_default();
    if done.contains(plane.server_url()) {
        return;
    }
    let definitions = tidewait::crd::documents();
    plane.kubectl_ok(&["apply", "--server-side", "--force-conflicts", "-f", "-"], Some(&definitions)).await;
    for definition in tidewait::crd::definitions() {
        let name = format!("crd/{}", definition.metadata.name.expect("a name"));
        plane.kubectl_ok(&["wait", "--for=condition=Established", &name, "--timeout=60s"], None).await;
    }
    done.insert(plane.server_url().to_owned());
}

#[test]
fn the_committed_definitions_are_what_the_code_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/crds");
    let mut expected = HashSet::from(["Kustomization".to_owned()]);
    for (name, made) in tidewait::crd::manifests() {
        let path = folder.join(&name);
        if std::env::var_os("TIDEWAIT_REGENERATE").is_some() {
            fs::write(&path, &made).expect("it can be written");
        }
        let committed = fs::read_to_string(&path).unwrap_or_default();
        assert!(committed == made, "deploy/crds/{name} is not what the code says, run: make regenerate");
        expected.insert(name);
    }
    let found: HashSet<_> = fs::read_dir(folder)
        .expect("the folder is there")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    assert_eq!(found, expected, "nothing else lies there");
}

#[tokio::test]
async fn the_program_prints_the_definitions() {
    let output = crate::server::tidewait(&["crd"]).output().await.expect("it runs");
    assert!(output.status.success() && output.stderr.is_empty());
    assert_eq!(String::from_utf8_lossy(&output.stdout), tidewait::crd::documents());
}

#[tokio::test]
async fn the_definitions_are_structural_and_have_statuses() {
    let plane = ControlPlane::shared().await;
    installed(plane).await;
    for definition in tidewait::crd::definitions() {
        let name = definition.metadata.name.expect("a name");
        let stored = plane.kubectl_ok(&["get", "crd", &name, "-o", "json"], None).await;
        let stored: Value = serde_json::from_str(&stored).expect("JSON");
        let conditions = stored["status"]["conditions"].as_array().expect("conditions");
        let truths: Vec<_> = conditions.iter().map(|one| (one["type"].as_str(), one["status"].as_str())).collect();
        for wanted in ["Established", "NamesAccepted"] {
            assert!(truths.contains(&(Some(wanted), Some("True"))), "{name}: {truths:?}");
        }
        assert!(!truths.iter().any(|(kind, _)| *kind == Some("NonStructuralSchema")), "{name}: {conditions:?}");
        let version = &stored["spec"]["versions"][0];
        assert_eq!(version["subresources"]["status"], serde_json::json!({}), "{name}");
        assert_bounded(&name, &version["schema"]["openAPIV3Schema"]["properties"]["spec"], "spec");
        assert_bounded(&name, &version["schema"]["openAPIV3Schema"]["properties"]["status"], "status");
    }
}

/// Every text, list and map has a bound, every number a range, every field a description.
fn assert_bounded(name: &str, schema: &Value, path: &str) {
    let has = |key: &str| schema.get(key).is_some_and(|value| !value.is_null());
    if schema["x-kubernetes-preserve-unknown-fields"] == true || schema.is_null() {
        return;
    }
    let bounded = match schema["type"].as_str() {
        Some("string") => has("maxLength") || has("enum"),
        Some("array") => has("maxItems") && has("x-kubernetes-list-type"),
        Some("integer") => has("minimum"),
        Some("boolean") => true,
        Some("object") => has("properties") || has("maxProperties"),
        other => panic!("{name} {path}: {other:?}"),
    };
    assert!(bounded, "{name} {path}: {schema}");
    for (key, member) in schema["properties"].as_object().into_iter().flatten() {
        let description = member["description"].as_str().unwrap_or_default();
        assert!(description.len() > 8 && !description.contains('\n'), "{name} {path}.{key}: {description:?}");
        assert_bounded(name, member, &format!("{path}.{key}"));
    }
    for inner in ["items", "additionalProperties"] {
        assert_bounded(name, &schema[inner], &format!("{path}[]"));
    }
}
