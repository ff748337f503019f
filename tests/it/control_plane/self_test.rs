//! Tests of the control plane itself.

use std::path::PathBuf;
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, WatchEvent, WatchParams};
use tokio::time::timeout;

use super::ControlPlane;

const CONFIG_MAP: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: greeting}\ndata: {word: hello}\n";

#[tokio::test]
async fn kubectl_applies_and_gets() {
    let plane = ControlPlane::shared().await;
    let ns = plane.namespace("fixture").await;
    plane.kubectl_ok(&["apply", "--namespace", &ns, "--filename", "-"], Some(CONFIG_MAP)).await;
    let get = ["get", "configmap/greeting", "--namespace", &ns, "--output=jsonpath={.data.word}"];
    assert_eq!(plane.kubectl_ok(&get, None).await, "hello");
    let missing = plane.kubectl(&["get", "configmap/none", "--namespace", &ns], None).await;
    assert!(!missing.status.success());
}

#[tokio::test]
async fn two_namespaces_are_apart() {
    let plane = ControlPlane::shared().await;
    let (one, two) = (plane.namespace("fixture").await, plane.namespace("fixture").await);
    assert_ne!(one.to_string(), two.to_string());
    plane.kubectl_ok(&["apply", "--namespace", &one, "--filename", "-"], Some(CONFIG_MAP)).await;
    assert!(config_maps(plane, &two).await.get_opt("greeting").await.expect("a get is answered").is_none());
}

#[tokio::test]
async fn a_pod_can_be_created() {
    let plane = ControlPlane::shared().await;
    let ns = plane.namespace("fixture").await;
    plane.kubectl_ok(&["run", "--namespace", &ns, "app", "--image=none"], None).await;
}

#[tokio::test]
async fn a_stopped_api_server_keeps_its_data() {
    let plane = ControlPlane::start().await;
    let ns = plane.namespace("fixture").await;
    plane.kubectl_ok(&["apply", "--namespace", &ns, "--filename", "-"], Some(CONFIG_MAP)).await;
    let url = plane.server_url().to_owned();
    plane.stop_api_server();
    let get = ["get", "configmap/greeting", "--namespace", &ns, "--output=name"];
    assert!(!plane.kubectl(&get, None).await.status.success(), "the API server is still there");
    plane.start_api_server().await;
    assert_eq!(plane.server_url(), url);
    assert_eq!(plane.kubectl_ok(&get, None).await, "configmap/greeting\n");
}

#[tokio::test]
async fn forgotten_history_ends_a_watch_with_410() {
    let plane = ControlPlane::start().await;
    let ns = plane.namespace("fixture").await;
    let api = config_maps(&plane, &ns).await;
    plane.kubectl_ok(&["apply", "--namespace", &ns, "--filename", "-"], Some(CONFIG_MAP)).await;
    let compacted = plane.compact().await;
    assert!(compacted > 1);
    // Why `compact` is not enough.
    assert!(matches!(first_event(&api, "1").await, WatchEvent::Added(_)));
    plane.kubectl_ok(&["create", "configmap", "second", "--namespace", &ns], None).await;
    plane.forget_history().await;
    let event = first_event(&api, "1").await;
    assert!(matches!(&event, WatchEvent::Error(status) if status.code == 410), "{event:?}");
    let event = first_event(&api, &compacted.to_string()).await;
    assert!(matches!(&event, WatchEvent::Error(status) if status.code == 410), "{event:?}");
}

#[tokio::test]
async fn a_dropped_control_plane_leaves_nothing() {
    let plane = ControlPlane::start().await;
    let (dir, url): (PathBuf, _) = (plane.dir.path().to_owned(), plane.server_url().to_owned());
    let client = plane.client().await;
    drop(plane);
    assert!(!dir.exists());
    client.apiserver_version().await.expect_err(&format!("{url} still answers"));
}

async fn config_maps(plane: &ControlPlane, namespace: &str) -> Api<ConfigMap> {
    Api::namespaced(plane.client().await, namespace)
}

async fn first_event(api: &Api<ConfigMap>, from: &str) -> WatchEvent<ConfigMap> {
    let mut events = api.watch(&WatchParams::default(), from).await.expect("a watch is answered").boxed();
    timeout(Duration::from_secs(30), events.next())
        .await
        .expect("the first event comes within 30 s")
        .expect("the watch does not end before its first event")
        .expect("an event can be read")
}
