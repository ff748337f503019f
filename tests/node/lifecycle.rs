//! The life of a release, from the first install to the last: what an upgrade brings, a rollback takes back, and an
//! uninstall leaves. On a node of its own, for the custom resource definitions are the cluster's.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::chart::{APP, MODEL, chart, combined_output};
use crate::node::{Node, random_name, until};

const NAMESPACE: [&str; 2] = ["--namespace", "default"];
const ANONYMOUS: &str = "--set=access.anonymous=true";
const SHORT_NAMES: &str = "jsonpath={.spec.names.shortNames}";

#[tokio::test]
async fn a_release_is_installed_upgraded_rolled_back_uninstalled_and_installed_again() {
    let node = &Node::start();
    node.load("load-tidewait");
    let chart = chart();
    let chart = chart.to_str().expect("text");
    // The chart as it may have been before: one of its definitions lacks something.
    let folder = tempfile::tempdir().expect("a folder");
    let previous = folder.path().join("tidewait");
    assert!(Command::new("cp").arg("-r").args([Path::new(chart), &previous]).status().expect("cp runs").success());
    let definition = previous.join("files/crds/networkmodels.yaml");
    lacks(&definition, "    shortNames:\n    - netm\n");

    let installed = helm(node, &["install", "tidewait", previous.to_str().expect("text"), ANONYMOUS]).await;
    assert!(installed.contains("STATUS: deployed") && installed.contains("Whoever reaches the port may poll"));
    assert_eq!(node.kubectl(&["get", "crd", "networkmodels.tidewait.dev", "--output", SHORT_NAMES], None).await, "");
    serves(node, "0.1.0").await;

    // An upgrade brings new definitions, and pods made from then on have the new image.
    let upgrade = ["upgrade", "tidewait", chart, ANONYMOUS, "--set=image.tag=next"];
    helm(node, &upgrade).await;
    let names = node.kubectl(&["get", "crd", "networkmodels.tidewait.dev", "--output", SHORT_NAMES], None).await;
    assert_eq!(names, r#"["netm"]"#);
    assert!(node.kubectl(&["get", "networkmodels"], None).await.contains("zone-a"), "models outlive it");
    serves(node, "next").await;

    // As it was, the definitions too.
    helm(node, &["rollback", "tidewait", "1"]).await;
    assert_eq!(node.kubectl(&["get", "crd", "networkmodels.tidewait.dev", "--output", SHORT_NAMES], None).await, "");
    serves(node, "0.1.0").await;

    // A second release in the namespace would be a second hand on the same policies; one elsewhere leaves the
    // definitions alone, and says so.
    let second = node.inside("helm", &["install", "second", chart, ANONYMOUS], None).await;
    assert!(
        !second.status.success()
            && combined_output(&second).contains("must equal \"second\": current value is \"tidewait\""),
        "{}",
        combined_output(&second)
    );
    let elsewhere = ["install", "other", chart, ANONYMOUS, "--namespace", "other", "--create-namespace"];
    let other = combined_output(&node.inside("helm", &elsewhere, None).await);
    let left = "networkmodels.tidewait.dev belongs to another release and was left as it is";
    assert!(other.contains("STATUS: deployed") && other.contains(left), "{other}");

    // What runs goes on without the release, and models stay.
    helm(node, &["uninstall", "tidewait"]).await;
    assert!(node.kubectl(&["get", "networkmodels"], None).await.contains("zone-a"));
    assert_eq!(node.kubectl(&["get", "pods", "--output=name"], None).await.lines().count(), 1);
    let policies = ["get", "mutatingadmissionpolicies,validatingadmissionpolicies", "--output=name"];
    assert!(!node.kubectl(&policies, None).await.contains("default."));

    // The other release can take the definitions, which nobody upgrades now.
    let whose = r"jsonpath={.metadata.annotations.meta\.helm\.sh/release-name}";
    let owner = ["get", "crd", "networkmodels.tidewait.dev", "--output", whose];
    assert_eq!(node.kubectl(&owner, None).await, "tidewait");
    let take = ["upgrade", "other", chart, ANONYMOUS, "--namespace=other", "--take-ownership"];
    node.helm(&[&take[..], &["--set=crds.takeOwnership=true"]].concat()).await;
    assert_eq!(node.kubectl(&owner, None).await, "other");
    node.helm(&["upgrade", "other", chart, ANONYMOUS, "--namespace=other"]).await;
    assert!(node.kubectl(&["get", "networkmodels"], None).await.contains("zone-a"));

    helm(node, &["install", "tidewait", chart, ANONYMOUS]).await;
    serves(node, "0.1.0").await;
}

/// Takes something out of a file.
fn lacks(path: &Path, what: &str) {
    let text = fs::read_to_string(path).expect("text");
    assert!(text.contains(what), "{} holds {what}", path.display());
    fs::write(path, text.replace(what, "")).expect("it can be written");
}

async fn helm(node: &Node, args: &[&str]) -> String {
    node.helm(&[args, &NAMESPACE].concat()).await
}

/// Makes the pod of an app anew, and the sidecar in it has this tag and answers polls.
async fn serves(node: &Node, tag: &str) {
    node.kubectl(&["apply", "--filename=-"], Some(MODEL)).await;
    node.kubectl(&["apply", "--filename=-"], Some(APP)).await;
    let image = format!("localhost/tidewait:{tag}");
    let pods = "jsonpath={range .items[*]}{.status.podIP} {.spec.initContainers[0].image} {.metadata.deletionTimestamp}{\"\\n\"}{end}";
    let made = async || {
        // The API server hears of a policy a moment after it is written: a pod made before that is made again.
        // Not by `kubectl rollout restart`, which refuses a second one within a second.
        let again = json!({"spec": {"template": {"metadata": {"annotations": {"test": random_name()}}}}});
        node.kubectl(&["patch", "deployment", "shop", "--patch", &again.to_string()], None).await;
        node.kubectl(&["rollout", "status", "deployment/shop", "--timeout=100s"], None).await;
        node.kubectl(&["get", "pods", "--output", pods], None).await
    };
    let alive = |pods: &str| pods.lines().find(|pod| pod.trim_end().ends_with(&image)).map(str::to_owned);
    let pods = until(&format!("a pod has {image}"), made, |pods| alive(pods).is_some()).await;
    let pod = alive(&pods).expect("one has it");
    let address = pod.split(' ').next().expect("split gives one");
    let url = format!("http://{address}:8480/describe/zone-a");
    let ask = async || String::from_utf8_lossy(&node.curl(&[&url]).await.stdout).into_owned();
    until("it answers", ask, |answer| answer == "{\"mtu\":1450}").await;
    until(
        "the older pods are gone",
        async || node.kubectl(&["get", "pods", "--output=name"], None).await,
        |pods| pods.lines().count() == 1,
    )
    .await;
}
