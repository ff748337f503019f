//! What replicas ask of the API server when nothing happens.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;

use super::{apply, becomes, model, one, operation, serves, sidecar, wait};
use crate::api_proxy::ApiProxy;
use crate::control_plane::ControlPlane;
use crate::crd;
use crate::server::Client;

#[tokio::test]
async fn in_a_quiet_minute_there_are_watches_renewals_and_one_confirming_read_a_source() {
    let plane = ControlPlane::shared().await;
    crd::installed(plane).await;
    let namespace = plane.namespace("quiet").await;
    let proxy = ApiProxy::start(plane).await;
    let a = sidecar(proxy.kubeconfig(), &namespace, "replica-a", &[]).await;
    let b = sidecar(proxy.kubeconfig(), &namespace, "replica-b", &[]).await;
    // No wait ends within this test: what is counted are writes that something else causes.
    let long = json!({ "wait": { "max": "10m" } });
    apply(plane, &model(&namespace, "zone-a", 1)).await;
    apply(plane, &operation(&namespace, "zone-a", "/zone-a", &one("zone-a"), &long)).await;
    let first = serves(&a, "/zone-a", 200).await;
    serves(&b, "/zone-a", 200).await;
    let mut clients = Vec::new();
    for server in [&a, &b] {
        let mut client = Client::connect(server.listen).await;
        let agent = server.listen.to_string();
        client.send("GET", &format!("/zone-a?since={}&wait=600", first.id()), &[("Agent-Id", &agent)]).await;
        clients.push(client);
    }
    becomes(plane, &namespace, "dop/zone-a", "/status/totals/agents", &json!(2)).await;
    wait(plane, &namespace, "Converged", "netm/zone-a").await;
    wait(plane, &namespace, "Converged", "dop/zone-a").await;

    // What was still to be said is said once nothing was written for three turns of the writers; reports are renewed
    // less often than that.
    let mut look = tokio::time::interval(Duration::from_millis(500));
    let writes = || proxy.count(|seen| seen.method == "PATCH");
    let (mut written, mut since) = (writes(), tokio::time::Instant::now());
    while since.elapsed() < Duration::from_secs(7) {
        look.tick().await;
        if writes() != written {
            (written, since) = (writes(), tokio::time::Instant::now());
        }
    }
    // From now on nothing changes; the releases that statuses cause would show, since who is parked would be answered.
    let settled = proxy.requests().len();
    let started = tokio::time::Instant::now();
    let mut look = tokio::time::interval(Duration::from_secs(1));
    while started.elapsed() < Duration::from_secs(45) {
        look.tick().await;
    }
    let mut asked: BTreeMap<String, usize> = BTreeMap::new();
    for seen in &proxy.requests()[settled..] {
        let resource = seen.path.rsplit(&format!("/{namespace}/")).next().unwrap_or_default().to_owned();
        let kind = match (seen.method.as_str(), seen.query.contains("watch=")) {
            ("GET", true) => "watch",
            ("GET", false) => "read",
            (other, _) => other,
        };
        *asked.entry(format!("{kind} {resource}")).or_default() += 1;
    }
    // Two replicas, and less than a minute: at most one confirming read of each resource by each, and one term's renewals.
    for (what, count) in &asked {
        let most = match what.as_str() {
            "PUT leases/tidewait" => 45 / 5 + 2,
            // A report is renewed, so that one which is not says something; it concerns its replica alone.
            "PATCH describereplicas/replica-a/status" | "PATCH describereplicas/replica-b/status" => 45 / 30 + 1,
            _ if what.starts_with("read ") => 2,
            _ if what.starts_with("watch ") => 2,
            _ => 0,
        };
        assert!(*count <= most, "{what} {count} times in {asked:?}");
    }
    for server in [&a, &b] {
        assert!(server.metric(r#"tidewait_parked_requests{operation="zone-a"}"#).await > 0.5, "nobody was released");
    }
}
