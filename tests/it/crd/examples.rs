//! The manifests under deploy/examples are good, to the API server and to the program.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize as _;
use tidewait::config::Grants;
use tidewait::crd::DescribeOperation;

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
        let applied = plane.kubectl_ok(&["apply", "-n", &namespace, "-f", &name], None).await;
        assert_eq!(applied.lines().count(), text.matches("\nkind: ").count(), "{name}: {applied}");
    }
}

#[test]
fn operations_of_the_examples_have_no_problems() {
    let mut operations = 0;
    for (path, text) in manifests() {
        for document in serde_yaml::Deserializer::from_str(&text) {
            let value = serde_json::Value::deserialize(document).expect("YAML");
            if value["kind"] != "DescribeOperation" {
                continue;
            }
            let mut operation: DescribeOperation = serde_json::from_value(value).expect("an operation");
            operation.metadata.namespace = Some("edge".to_owned());
            let sound = operation.operation(Grants { file_roots: &[], app: true });
            assert!(sound.is_ok(), "{}: {sound:?}", path.display());
            operations += 1;
        }
    }
    assert!(operations >= 4, "each kind of source has one");
}
