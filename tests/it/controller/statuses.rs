//! What statuses say while models change and agents follow, or do not.

use serde_json::json;

use super::{apply, becomes, field, model, one, operation, serves, sidecar, wait};
use crate::api_proxy::ApiProxy;
use crate::control_plane::ControlPlane;
use crate::crd;
use crate::server::{Client, STEP, Server};

/// A poll of an agent that goes on until its state changes.
async fn poll(server: &Server, agent: &str, since: &str) -> Client {
    let mut client = Client::connect(server.listen).await;
    client.send("GET", &format!("/zone-a?since={since}&wait=50"), &[("Agent-Id", agent)]).await;
    client
}

#[tokio::test]
async fn converged_is_when_every_live_agent_holds_what_was_applied() {
    let plane = ControlPlane::shared().await;
    crd::installed(plane).await;
    let namespace = plane.namespace("converged").await;
    let a = sidecar(plane.kubeconfig(), &namespace, "replica-a", &[]).await;
    let b = sidecar(plane.kubeconfig(), &namespace, "replica-b", &[]).await;
    apply(plane, &model(&namespace, "zone-a", 1)).await;
    apply(plane, &operation(&namespace, "zone-a", "/zone-a", &one("zone-a"), &json!({}))).await;
    let first = serves(&a, "/zone-a", 200).await;
    assert_eq!(serves(&b, "/zone-a", 200).await.id(), first.id(), "every replica gives one id");

    // Nobody polls under a name: nothing can be said.
    becomes(plane, &namespace, "netm/zone-a", "/status/conditions/2/reason", &json!("NoAgents")).await;
    assert_eq!(field(plane, &namespace, "netm/zone-a", "/status/conditions/2/status").await, json!("Unknown"));

    let (mut one_agent, mut other) = (poll(&a, "node-1", first.id()).await, poll(&b, "node-2", first.id()).await);
    wait(plane, &namespace, "Converged", "networkmodel/zone-a").await;
    wait(plane, &namespace, "Converged", "describeoperation/zone-a").await;
    becomes(plane, &namespace, "dop/zone-a", "/status/totals/agents", &json!(2)).await;
    assert_eq!(field(plane, &namespace, "dop/zone-a", "/status/totals/replicas").await, json!(2));

    // Applied anew: both are given it, and one comes back. Until the other does, it is not converged.
    apply(plane, &model(&namespace, "zone-a", 2)).await;
    let (given, also) = (one_agent.reply().await, other.reply().await);
    assert_eq!((given.json()["serial"].as_u64(), also.json()["serial"].as_u64()), (Some(2), Some(2)));
    let mut one_agent = poll(&a, "node-1", given.id()).await;
    becomes(plane, &namespace, "netm/zone-a", "/status/conditions/2/reason", &json!("AgentsBehind")).await;
    let still = ["wait", "-n", &namespace, "--for=condition=Converged", "netm/zone-a", "--timeout=3s"];
    assert!(!plane.kubectl(&still, None).await.status.success(), "node-2 does not hold it by its own report");
    becomes(plane, &namespace, "dop/zone-a", "/status/worstAgents/0/name", &json!("node-2")).await;

    // It could not apply it, and says so: that is worse.
    let mut other = Client::connect(b.listen).await;
    let target = format!("/zone-a?since={}&rejected={}&wait=50", first.id(), also.id());
    other.send("GET", &target, &[("Agent-Id", "node-2"), ("Rejected-Reason", "no such interface")]).await;
    becomes(plane, &namespace, "netm/zone-a", "/status/conditions/2/reason", &json!("Rejected")).await;
    let why = field(plane, &namespace, "netm/zone-a", "/status/conditions/2/message").await;
    assert!(why.as_str().is_some_and(|text| text.contains("node-2: no such interface")), "{why}");
    becomes(plane, &namespace, "dop/zone-a", "/status/totals/rejecting", &json!(1)).await;

    // Corrected: kubectl waits for exactly this generation.
    apply(plane, &model(&namespace, "zone-a", 3)).await;
    let (given, also) = (one_agent.reply().await, other.reply().await);
    let _polls = (poll(&a, "node-1", given.id()).await, poll(&b, "node-2", also.id()).await);
    wait(plane, &namespace, "Converged", "networkmodel/zone-a").await;
    let generation = field(plane, &namespace, "netm/zone-a", "/metadata/generation").await;
    assert_eq!(field(plane, &namespace, "netm/zone-a", "/status/conditions/2/observedGeneration").await, generation);
    let said = field(plane, &namespace, "netm/zone-a", "/status/stateId").await;
    let digest = |id: &str| id.rsplit('.').next().map(str::to_owned);
    assert_eq!(said.as_str().and_then(digest), digest(given.id()));
    let table = plane.kubectl_ok(&["get", "-n", &namespace, "dop,netm,drep"], None).await;
    for column in ["CONVERGED", "REJECTING", "replica-b"] {
        assert!(table.contains(column), "{table}");
    }
}

#[tokio::test]
async fn a_change_that_removes_too_much_waits_for_its_annotation() {
    let plane = ControlPlane::shared().await;
    crd::installed(plane).await;
    let namespace = plane.namespace("guarded").await;
    let server = sidecar(plane.kubeconfig(), &namespace, "replica-a", &[]).await;
    apply(plane, &model(&namespace, "zone-a", 1)).await;
    let guard = json!({ "guard": { "maxRemovedPercent": 20 } });
    apply(plane, &operation(&namespace, "zone-a", "/zone-a", &one("zone-a"), &guard)).await;
    serves(&server, "/zone-a", 200).await;
    let smaller = json!({
        "apiVersion": "tidewait.dev/v1alpha1",
        "kind": "NetworkModel",
        "metadata": { "name": "zone-a", "namespace": &*namespace },
        "spec": { "serial": 2 },
    });
    apply(plane, &smaller.to_string()).await;
    becomes(plane, &namespace, "dop/zone-a", "/status/conditions/3/reason", &json!("RemovesTooMuch")).await;
    assert_eq!(server.get("/zone-a").await.json()["serial"], 1, "clients keep the last state");
    becomes(plane, &namespace, "netm/zone-a", "/status/conditions/1/status", &json!("False")).await;
    let message = field(plane, &namespace, "dop/zone-a", "/status/conditions/3/message").await;
    let message = message.as_str().expect("a message");
    let annotation = message.split("annotation ").nth(1).expect("the remedy").replace(": ", "=");
    plane.kubectl_ok(&["annotate", "-n", &namespace, "dop/zone-a", &annotation], None).await;
    server.metric_becomes(r#"tidewait_held_changes{operation="zone-a"}"#, 0.0).await;
    assert_eq!(server.get("/zone-a").await.json()["serial"], 2);
    becomes(plane, &namespace, "dop/zone-a", "/status/conditions/3/status", &json!("False")).await;
}

#[tokio::test]
async fn another_replica_takes_over_the_lease() {
    let plane = ControlPlane::shared().await;
    crd::installed(plane).await;
    let namespace = plane.namespace("lease").await;
    let proxies = [ApiProxy::start(plane).await, ApiProxy::start(plane).await];
    // How many statuses of all each has tried to write, its own report not counted.
    let writes = || {
        proxies.each_ref().map(|proxy| proxy.count(|seen| seen.method == "PATCH" && !seen.path.contains("replicas")))
    };
    let mut a = sidecar(proxies[0].kubeconfig(), &namespace, "replica-a", &[]).await;
    a.metric_becomes("tidewait_lease_held", 1.0).await;
    let b = sidecar(proxies[1].kubeconfig(), &namespace, "replica-b", &[]).await;
    apply(plane, &model(&namespace, "zone-a", 1)).await;
    apply(plane, &operation(&namespace, "zone-a", "/zone-a", &one("zone-a"), &json!({}))).await;
    becomes(plane, &namespace, "dop/zone-a", "/status/totals/replicas", &json!(2)).await;
    // Another change, which both see: whoever writes beside the leader would write this.
    let first = serves(&b, "/zone-a", 200).await;
    let _agent = poll(&b, "node-1", first.id()).await;
    becomes(plane, &namespace, "dop/zone-a", "/status/totals/agents", &json!(1)).await;
    wait(plane, &namespace, "Converged", "netm/zone-a").await;
    assert!(b.metric("tidewait_lease_held").await < 0.5, "one at a time");
    let [by_leader, by_other] = writes();
    assert!(by_leader > 1 && by_other == 0, "one writes: {by_leader} and {by_other}");
    a.child.kill().await.expect("it runs");
    // As the garbage collector does once the Pod is gone.
    plane.kubectl_ok(&["delete", "-n", &namespace, "drep/replica-a"], None).await;
    tokio::time::timeout(STEP * 2, b.metric_becomes("tidewait_lease_held", 1.0)).await.expect("within two terms");
    becomes(plane, &namespace, "dop/zone-a", "/status/totals/replicas", &json!(1)).await;
    assert!(writes()[1] > 0, "now the other one writes");
}

/// One that ends in order leaves nothing that another has to wait for.
#[tokio::test]
async fn a_replica_that_ends_gives_up_the_lease_and_its_report() {
    let plane = ControlPlane::shared().await;
    crd::installed(plane).await;
    let namespace = plane.namespace("leaves").await;
    let mut a = sidecar(plane.kubeconfig(), &namespace, "replica-a", &[]).await;
    a.metric_becomes("tidewait_lease_held", 1.0).await;
    let b = sidecar(plane.kubeconfig(), &namespace, "replica-b", &[]).await;
    a.signal(rustix::process::Signal::TERM);
    assert_eq!(a.ended().await, Some(0));
    let ended = tokio::time::Instant::now();
    b.metric_becomes("tidewait_lease_held", 1.0).await;
    assert!(ended.elapsed() < tidewait::bounds::LEASE / 2, "it did not wait for the end of a term");
    let reports = plane.kubectl_ok(&["get", "drep", "-n", &namespace, "-o", "name"], None).await;
    assert!(!reports.contains("replica-a"), "{reports}");
}
