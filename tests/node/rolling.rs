//! Pods with many parked clients, and pods that end: none is reset, and all of them get what comes after.

use std::time::Duration;

use tokio::time::Instant;

use crate::chart::{APP, MODEL, Space};
use crate::node::until;

#[tokio::test]
async fn a_rolling_update_resets_none_of_500_parked_clients_and_all_converge() {
    let space = Space::with(&["--set=service.enabled=true,selector.app=shop"]).await;
    space.apply(MODEL).await;
    let app = APP.replace("spec:\n  selector", "spec:\n  replicas: 2\n  selector");
    space.deploy(&app).await;
    let url = format!("http://tidewait.{}.svc.cluster.local/describe/zone-a", space.name);
    let run = ["run", "clients", "--image=localhost/app:1", "--restart=Never", "--"];
    // Arguments after the dashes are the app's.
    let namespace = ["--namespace", &space.name];
    let poll = ["poll", &url, "500", "1450", "1400", "1399"];
    space.node.kubectl(&[&namespace[..], &run, &poll].concat(), None).await;
    let log = async || log(&space).await;
    until("all clients have the model", log, |log| log.contains("all hold 1450")).await;
    let parked = async || parked(&space).await;
    until("all clients are parked", parked, |parked| *parked == 500).await;

    space.kubectl(&["rollout", "restart", "deployment/shop"]).await;
    // A change while it rolls, and one after it.
    space.kubectl(&["patch", "netm/zone-a", "--type=merge", "--patch={\"spec\":{\"mtu\":1400}}"]).await;
    space.kubectl(&["rollout", "status", "deployment/shop", "--timeout=100s"]).await;
    until("all clients have the change", log, |log| log.contains("all hold 1400")).await;
    let old = async || space.kubectl(&["get", "pods", "--selector=app=shop", "--output=name"]).await;
    until("the old pods are gone", old, |pods| pods.lines().count() == 2).await;
    until("all clients are parked again", parked, |parked| *parked == 500).await;
    space.kubectl(&["patch", "netm/zone-a", "--type=merge", "--patch={\"spec\":{\"mtu\":1399}}"]).await;
    let told = until("the clients are done", log, |log| log.contains("failed:")).await;
    assert!(told.ends_with("all hold 1399\nfailed: 0 map[]\n"), "{told}");
}

#[tokio::test]
async fn as_many_clients_as_the_chart_is_sized_for_fit_into_its_memory() {
    // The default sizing.
    let (clients, changes) = (5000, 10);
    let space = Space::with(&[]).await;
    space.apply(MODEL).await;
    let pod = space.deploy(APP).await;
    let url = format!("http://{}:8480/describe/zone-a", space.address(&pod).await);
    let states: Vec<_> = (0..=changes).map(|change| (1450 - change).to_string()).collect();
    let count = clients.to_string();
    let run = ["run", "clients", "--image=localhost/app:1", "--restart=Never", "--", "poll", &url, &count];
    let states_of: Vec<_> = states.iter().map(String::as_str).collect();
    space.node.kubectl(&[&["--namespace", &space.name], &run[..], &states_of].concat(), None).await;
    for state in &states {
        let patch = format!("--patch={{\"spec\":{{\"mtu\":{state}}}}}");
        space.kubectl(&["patch", "netm/zone-a", "--type=merge", &patch]).await;
        let held = format!("all hold {state}\n");
        until(&held, async || log(&space).await, |log| log.contains(&held)).await;
    }
    let object = format!("pod/{pod}");
    assert_eq!(space.field(&object, "{.spec.initContainers[0].resources.limits.memory}").await, "104Mi");
    assert_eq!(space.field(&object, "{.status.initContainerStatuses[0].restartCount}").await, "0", "not killed");
}

#[tokio::test]
async fn a_pod_that_ends_serves_new_connections_until_load_balancers_know() {
    let space = Space::with(&[]).await;
    space.apply(MODEL).await;
    let pod = space.deploy(APP).await;
    let url = format!("http://{}:8480/describe/zone-a", space.address(&pod).await);
    space.answers(&url, "200 {\"mtu\":1450}").await;
    // Nobody is parked, and its app ends at once.
    let start = Instant::now();
    space.kubectl(&["delete", "pod", &pod, "--wait=false"]).await;
    until("it is gone", async || space.get(&url).await, |seen| !seen.starts_with("200 ")).await;
    let served = start.elapsed();
    assert!(served > Duration::from_secs(4) && served < Duration::from_secs(20), "{served:?}");
}

/// What the pod of clients has told so far.
async fn log(space: &Space) -> String {
    let output = space.node.inside("kubectl", &["logs", "clients", "--namespace", &space.name], None).await;
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// How many requests the sidecars of shop have parked.
async fn parked(space: &Space) -> usize {
    let addresses = ["get", "pods", "--selector=app=shop", "--output=jsonpath={.items[*].status.podIP}"];
    let mut sum = 0;
    for address in space.kubectl(&addresses).await.split_whitespace() {
        let metrics = space.get(&format!("http://{address}:8481/metrics")).await;
        let line =
            metrics.lines().find_map(|line| line.strip_prefix("tidewait_parked_requests{operation=\"zone-a\"} "));
        sum += line.and_then(|count| count.parse::<usize>().ok()).unwrap_or_default();
    }
    sum
}
