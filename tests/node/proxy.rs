//! The proxy in front of a Service that exists, and the sidecar in the pods of another chart.

use std::fs;
use std::process::Command;

use crate::chart::{APP, CHART, MODEL, Space, chart, combined_output};
use crate::node::until;

/// The app without a sidecar, behind a Service of its own.
const SERVICE: &str = "{apiVersion: v1, kind: Service, metadata: {name: shop}, spec: {selector: {app: shop}, \
                       ports: [{port: 8080}]}}";

const TEST: &str = "tests.image=localhost/app:1,tests.command={/app,get}";

#[tokio::test]
async fn the_proxy_answers_polls_and_sends_everything_else_to_the_service() {
    let space = Space::empty().await;
    space.apply(MODEL).await;
    let pod = space.deploy(&APP.replace("inject: \"true\"", "inject: \"false\"")).await;
    space.apply(SERVICE).await;
    let upstream = format!("proxy.upstream=http://shop.{}.svc.cluster.local:8080", space.name);
    let set = format!("mode=proxy,{upstream},{TEST}");
    let install = ["install", "tidewait", CHART, "--set", &set, "--wait", "--timeout=100s"];
    let installed = space.helm(&install).await;
    assert!(installed.status.success(), "{}", combined_output(&installed));
    let base = format!("http://tidewait.{}.svc.cluster.local", space.name);
    space.answers(&format!("{base}/describe/zone-a"), "200 {\"mtu\":1450}").await;
    space.answers(&format!("{base}/other"), &format!("200 {pod}")).await;
    let reports = async || space.field("drep", "{.items[*].metadata.name}").await;
    until("both replicas report", reports, |names| names.split_whitespace().count() == 2).await;
    // As its notes say.
    let tested = space.helm(&["test", "tidewait", "--timeout=60s"]).await;
    assert!(tested.status.success() && combined_output(&tested).contains("Succeeded"), "{}", combined_output(&tested));
    // No more rights than a Role of its own gives: another service account of the namespace has none.
    let whose = format!("--as=system:serviceaccount:{}:default", space.name);
    let can = ["auth", "can-i", "list", "describeoperations.tidewait.dev", &whose, "--namespace", &space.name];
    assert_eq!(combined_output(&space.node.inside("kubectl", &can, None).await).trim(), "no");
    // Its pods are as strict as they can be.
    space
        .node
        .kubectl(&["label", "namespace", &space.name, "pod-security.kubernetes.io/enforce=restricted"], None)
        .await;
    space.kubectl(&["rollout", "restart", "deployment/tidewait"]).await;
    space.kubectl(&["rollout", "status", "deployment/tidewait", "--timeout=100s"]).await;
    assert!(space.helm(&["uninstall", "tidewait", "--wait"]).await.status.success());
}

#[tokio::test]
async fn the_test_of_a_release_fails_where_nothing_answers() {
    let space = Space::with(&["--set", &format!("service.enabled=true,selector.app=nobody,{TEST}")]).await;
    let tested = space.helm(&["test", "tidewait", "--timeout=60s"]).await;
    assert!(!tested.status.success(), "{}", combined_output(&tested));
}

#[tokio::test]
async fn another_chart_has_the_sidecar_by_the_named_template() {
    let space = Space::empty().await;
    space.apply(MODEL).await;
    let folder = tempfile::tempdir().expect("a folder");
    let write = |path: &str, text: &str| fs::write(folder.path().join(path), text).expect("it can be written");
    fs::create_dir_all(folder.path().join("templates")).expect("a folder");
    fs::create_dir_all(folder.path().join("charts")).expect("a folder");
    let copied = Command::new("cp").arg("-r").arg(chart()).arg(folder.path().join("charts")).status();
    assert!(copied.expect("cp runs").success());
    write(
        "Chart.yaml",
        "{apiVersion: v2, name: shop, version: 0.1.0, dependencies: [{name: tidewait, version: 0.1.0}]}",
    );
    let values = "tidewait: {mode: template, access: {anonymous: true}, crds: {enabled: false}, service: {enabled: true}, \
                  selector: {app: shop}, tests: {enabled: false}}";
    write("values.yaml", values);
    // As the chart's README has it.
    let readme = fs::read_to_string(chart().join("README.md")).expect("text");
    let (_, lines) = readme.split_once("# the pods of a Deployment in its templates\n").expect("an example");
    let (lines, _) = lines.split_once("```").expect("it ends");
    let app = APP.replace("tidewait.dev/inject: \"true\"", "team: edge");
    let app = app.replace("      containers:\n", &format!("{lines}      containers:\n"));
    write("templates/app.yaml", &app);
    let install = ["install", "shop", folder.path().to_str().expect("text"), "--wait", "--timeout=100s"];
    let installed = space.helm(&install).await;
    assert!(installed.status.success(), "{}", combined_output(&installed));
    let pod = space.pod().await;
    let base = format!("http://shop-tidewait.{}.svc.cluster.local", space.name);
    space.answers(&format!("{base}/describe/zone-a"), "200 {\"mtu\":1450}").await;
    space.answers(&format!("{base}/other"), &format!("200 {pod}")).await;
}
