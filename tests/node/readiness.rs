//! When pods beside the sidecar start, take traffic and come back.

use std::time::Duration;

use crate::chart::{APP, MODEL, POD, Space};
use crate::node::until;

/// How long a sidecar waits for its models before it is ready without.
const READY_WITHOUT: Duration = Duration::from_secs(30);

/// The same Deployment behind a Service.
const SERVICE: &str = "{apiVersion: v1, kind: Service, metadata: {name: shop}, spec: {selector: {app: shop}, \
                       ports: [{port: 80, targetPort: describe}]}}";

#[tokio::test]
async fn a_pod_takes_no_traffic_before_its_model_is_there_while_its_app_runs() {
    let space = Space::with(&[]).await;
    // An operation whose model nobody has applied yet.
    let (model, operation) = MODEL.split_once("---").expect("two documents");
    space.apply(operation).await;
    space.apply(SERVICE).await;
    space.apply(APP).await;
    let pod = until("the pod runs", async || space.pod().await, |pod| !pod.is_empty()).await;
    let object = format!("pod/{pod}");
    let started = "{.status.containerStatuses[0].started}";
    until("the app has started", async || space.field(&object, started).await, |started| started == "true").await;
    // Its sidecar says what it waits for, and the Service sends nobody there.
    let address = space.address(&pod).await;
    let waits = async || space.get(&format!("http://{address}:8481/readyz")).await;
    until("it waits", waits, |said| said == "503 waiting for a snapshot of: zone-a").await;
    let ready = "{.items[*].endpoints[*].conditions.ready}";
    let slices = async || {
        let args = ["get", "endpointslices", "--selector=kubernetes.io/service-name=shop"];
        space.kubectl(&[&args[..], &[&format!("--output=jsonpath={ready}")]].concat()).await
    };
    assert_eq!(until("the Service knows the pod", slices, |ready| !ready.is_empty()).await, "false");
    let applied = tokio::time::Instant::now();
    space.apply(model).await;
    assert_eq!(until("it takes traffic", slices, |ready| ready != "false").await, "true");
    assert!(applied.elapsed() < READY_WITHOUT, "for the model, not for patience");
    space.answers(&format!("http://shop.{}.svc.cluster.local/describe/zone-a", space.name), "200 {\"mtu\":1450}").await;
}

#[tokio::test]
async fn a_source_that_is_missing_does_not_keep_the_app_away_for_ever() {
    let space = Space::with(&[]).await;
    let (_, operation) = MODEL.split_once("---").expect("two documents");
    space.apply(operation).await;
    let pod = space.deploy(APP).await;
    let base = format!("http://{}:8480", space.address(&pod).await);
    space.answers(&format!("{base}/"), &format!("200 {pod}")).await;
    assert!(space.get(&format!("{base}/describe/zone-a")).await.starts_with("503 "));
    let restarts = "{.status.initContainerStatuses[0].restartCount}";
    assert_eq!(space.field(&format!("pod/{pod}"), restarts).await, "0");
}

#[tokio::test]
async fn a_sidecar_that_is_killed_comes_back_with_the_same_state_and_the_app_goes_on() {
    let space = Space::with(&[]).await;
    space.apply(MODEL).await;
    space.apply(&POD.replace("NAME", "victim")).await;
    space.kubectl(&["wait", "--for=condition=Ready", "pod/victim", "--timeout=100s"]).await;
    let base = format!("http://{}:8480", space.address("victim").await);
    space.answers(&format!("{base}/describe/zone-a"), "200 {\"mtu\":1450}").await;
    let id = async || {
        let head = space.node.curl(&["--head", &format!("{base}/describe/zone-a")]).await.stdout;
        let head = String::from_utf8_lossy(&head).into_owned();
        head.lines().find_map(|line| Some(line.strip_prefix("state-id: ")?.trim_end().to_owned()))
    };
    let before = id().await;
    assert!(before.is_some());
    let container = space.field("pod/victim", "{.status.initContainerStatuses[0].containerID}").await;
    let container = container.trim_start_matches("containerd://");
    // By no signal that it could act on.
    space.node.kill(container).await;
    let count = "{.status.initContainerStatuses[0].restartCount}";
    until("it is started again", async || space.field("pod/victim", count).await, |count| count == "1").await;
    space.answers(&format!("{base}/"), "200 victim").await;
    // The same history and content, at the version that the model has now: the sidecar writes its status, too.
    let (epoch, rest) = before.as_deref().and_then(|id| id.split_once('.')).expect("an id");
    let (_, digest) = rest.split_once('.').expect("an id");
    let ids = async || {
        let version = space.field("netm/zone-a", "{.metadata.resourceVersion}").await;
        (id().await, format!("{epoch}.{version}.{digest}"))
    };
    until(&format!("it has the state {before:?} again"), ids, |(now, expected)| now.as_ref() == Some(expected)).await;
    let app = "{.status.containerStatuses[0].restartCount}";
    assert_eq!(space.field("pod/victim", app).await, "0");
}
