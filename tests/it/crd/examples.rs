//! The manifests under deploy/examples are good, to the API server and to the program.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize as _;
use serde_json::Value;
use tidewait::config::Grants;
use tidewait::crd::{DescribeOperation, Exchange, Topic};

use crate::control_plane::ControlPlane;

/// Every manifest, by the name of its file.
fn manifests() -> Vec<(PathBuf, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/examples");
    let paths = fs::read_dir(folder).expect("the folder is there").map(|entry| entry.expect("an entry").path());
    let yaml = paths.filter(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    let mut found: Vec<_> = yaml.map(|path| (path.clone(), fs::read_to_string(path).expect("text"))).collect();
    found.sort();
    assert!(found.len() >= 4, "{found:?}");
    found
}

#[tokio::test]
async fn examples_apply() {
    let plane = ControlPlane::shared().await;
    super::installed(plane).await;
    let namespace = plane.namespace("examples").await;
    for (path, text) in manifests() {
        let name = path.display().to_string();
        let strict = ["apply", "-n", &namespace, "--validate=strict"];
        let applied = plane.kubectl_ok(&[&strict[..], &["--dry-run=server", "-f", &name]].concat(), None).await;
        assert!(applied.lines().all(|line| line.ends_with("(server dry run)")), "{name}: {applied}");
        let applied = plane.kubectl_ok(&[&strict[..], &["-f", &name]].concat(), None).await;
        assert_eq!(applied.lines().count(), text.matches("\nkind: ").count(), "{name}: {applied}");
    }
}

#[test]
fn operations_of_the_examples_have_no_problems() {
    let mut operations = 0;
    for (path, text) in manifests() {
        for document in serde_yaml::Deserializer::from_str(&text) {
            let value = Value::deserialize(document).expect("YAML");
            if value["kind"] != "DescribeOperation" {
                continue;
            }
            let mut operation: DescribeOperation = serde_json::from_value(value).expect("an operation");
            operation.metadata.namespace = Some("edge".to_owned());
            let sound = operation.operation(Grants { file_roots: &["/etc/models".into()], app: true });
            assert!(sound.is_ok(), "{}: {sound:?}", path.display());
            operations += 1;
        }
    }
    assert!(operations >= 4, "each kind of source has one");
}

#[test]
fn exchanges_of_the_examples_have_no_problems() {
    let mut exchanges = 0;
    for (path, text) in manifests() {
        for document in serde_yaml::Deserializer::from_str(&text) {
            let value = Value::deserialize(document).expect("YAML");
            if value["kind"] != "Exchange" {
                continue;
            }
            let exchange: Exchange = serde_json::from_value(value).expect("an exchange");
            let sound = exchange.exchange();
            assert!(sound.is_ok(), "{}: {sound:?}", path.display());
            exchanges += 1;
        }
    }
    assert!(exchanges >= 2, "{exchanges}");
}

#[test]
fn topics_of_the_examples_have_no_problems() {
    let mut topics = 0;
    for (path, text) in manifests() {
        for document in serde_yaml::Deserializer::from_str(&text) {
            let value = Value::deserialize(document).expect("YAML");
            if value["kind"] != "Topic" {
                continue;
            }
            let topic: Topic = serde_json::from_value(value).expect("a topic");
            let sound = topic.topic();
            assert!(sound.is_ok(), "{}: {sound:?}", path.display());
            topics += 1;
        }
    }
    assert!(topics >= 2, "{topics}");
}

/// A part of a schema, or of a value, and the way to each leaf of it, below `way`.
fn leaves(schema: &Value, way: &str, found: &mut BTreeSet<String>) {
    match (&schema["properties"], &schema["items"]["properties"]) {
        (Value::Object(members), _) | (_, Value::Object(members)) => {
            members.iter().for_each(|(name, member)| leaves(member, &format!("{way}/{name}"), found));
        }
        _ => drop(found.insert(way.to_owned())),
    }
}

/// Whether a manifest has something there, in any item of a list on the way.
fn has(value: &Value, way: &str) -> bool {
    let way = way.trim_start_matches('/');
    let (name, rest) = way.split_once('/').unwrap_or((way, ""));
    match value {
        _ if name.is_empty() => true,
        Value::Array(items) => items.iter().any(|item| has(item, way)),
        Value::Object(members) => members.get(name).is_some_and(|member| has(member, rest)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

#[test]
fn every_field_stands_in_an_example() {
    let documents = tidewait::crd::documents();
    let schemas = serde_yaml::Deserializer::from_str(&documents).map(Value::deserialize);
    let schemas: Vec<_> = schemas.collect::<Result<_, _>>().expect("YAML");
    let examples: Vec<_> = manifests()
        .iter()
        .flat_map(|(_, text)| {
            serde_yaml::Deserializer::from_str(text)
                .map(|text| Value::deserialize(text).expect("YAML"))
                .collect::<Vec<_>>()
        })
        .collect();
    let mut fields = 0;
    for kind in ["DescribeOperation", "NetworkModel", "Exchange", "Topic"] {
        let schema = schemas.iter().find(|schema| schema["spec"]["names"]["kind"] == kind).expect(kind);
        let mut all = BTreeSet::new();
        let spec = "/spec/versions/0/schema/openAPIV3Schema/properties/spec";
        leaves(schema.pointer(spec).expect("a spec"), "/spec", &mut all);
        let examples: Vec<_> = examples.iter().filter(|example| example["kind"] == kind).collect();
        let missing: Vec<_> = all.iter().filter(|way| !examples.iter().any(|example| has(example, way))).collect();
        assert!(missing.is_empty(), "no example of {kind} has {missing:?}");
        fields += all.len();
    }
    assert!(fields > 30, "{fields}");
}

/// `kubectl apply -k deploy/base`, and what builds on it.
#[tokio::test]
async fn kustomizations_apply() {
    let plane = ControlPlane::shared().await;
    super::installed(plane).await;
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
    // What they are for: a dry run needs the namespace to be there.
    plane
        .kubectl_ok(&["apply", "-f", &deploy.join("examples/beside-an-app/namespace.yaml").display().to_string()], None)
        .await;
    for (folder, objects) in [(deploy.join("base"), 8), (deploy.join("examples/beside-an-app"), 13)] {
        let folder = folder.display().to_string();
        let arguments =
            ["apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict", "-k", &folder];
        let applied = plane.kubectl_ok(&arguments, None).await;
        assert_eq!(applied.lines().filter(|line| line.ends_with("(server dry run)")).count(), objects, "{applied}");
    }
}
