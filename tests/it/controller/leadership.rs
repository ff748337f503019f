//! Who writes statuses, and who no longer does, while requests to the API server hang or come late.

use std::sync::atomic::{AtomicBool, Ordering};

use http::StatusCode;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::{apply, becomes, field, model, one, operation, serves, sidecar};
use crate::api_proxy::{ApiProxy, Fault, Matches, Seen};
use crate::control_plane::{ControlPlane, WorkDir};
use crate::crd;
use crate::server::{Client, Server};

fn is_of_the_lease(seen: &Seen) -> bool {
    seen.is(Matches::Write) && seen.path.contains("/leases")
}

/// Of an operation or a model: what the holder of the Lease alone writes.
fn is_of_all(seen: &Seen) -> bool {
    let ours = ["/describeoperations/", "/networkmodels/"].iter().any(|resource| seen.path.contains(resource));
    seen.method == "PATCH" && ours
}

/// When a replica said last that it leads, or no longer leads, by its own log.
async fn said(server: &mut Server, leads: bool) -> Timestamp {
    let line = server.logged(&format!("\"leads\":{leads}")).await;
    let line: Value = serde_json::from_str(&line).expect("a JSON line");
    line["timestamp"].as_str().and_then(|text| text.parse().ok()).expect("a timestamp")
}

async fn poll(server: &Server, agent: &str, since: &str) -> Client {
    let mut client = Client::connect(server.listen).await;
    client.send("GET", &format!("/zone-a?since={since}&wait=50"), &[("Agent-Id", agent)]).await;
    client
}

/// Whether renewals are late too.
static RENEWALS_TOO: AtomicBool = AtomicBool::new(false);

/// The former leader stops long enough before the next one begins, and what it sent in time but arrives after that is
/// refused.
#[tokio::test]
async fn a_former_leader_writes_nothing_after_its_term() {
    let plane = ControlPlane::shared().await;
    crd::installed(plane).await;
    let namespace = plane.namespace("former").await;
    let proxy = ApiProxy::start(plane).await;
    let mut a = sidecar(proxy.kubeconfig(), &namespace, "replica-a", &[]).await;
    a.metric_becomes("tidewait_lease_held", 1.0).await;
    let mut b = sidecar(plane.kubeconfig(), &namespace, "replica-b", &[]).await;
    apply(plane, &model(&namespace, "zone-a", 1)).await;
    apply(plane, &operation(&namespace, "zone-a", "/zone-a", &one("zone-a"), &json!({}))).await;
    let first = serves(&a, "/zone-a", 200).await;
    serves(&b, "/zone-a", 200).await;
    let _one = poll(&a, "node-1", first.id()).await;
    becomes(plane, &namespace, "dop/zone-a", "/status/totals/agents", &json!(1)).await;

    // From now on what this one writes as the leader does not arrive; its report and its watches do. First its statuses, and
    // once one of them is on its way its renewals too: until then its term goes on, however slow the machine is.
    let is_late = |seen: &Seen| is_of_all(seen) || (is_of_the_lease(seen) && RENEWALS_TOO.load(Ordering::Relaxed));
    proxy.set(Fault::Late(Matches::Only(is_late))).await;
    let before = proxy.requests().len();
    let _other = poll(&a, "node-2", first.id()).await;
    proxy.wait_for("a late write of a status", |all| all[before..].iter().any(is_of_all)).await;
    RENEWALS_TOO.store(true, Ordering::Relaxed);
    let renewals = proxy.requests().len();
    let late = |all: &[Seen]| -> Vec<Seen> {
        let is_late = |at: usize, seen: &Seen| is_of_all(seen) || (at >= renewals && is_of_the_lease(seen));
        let all = all.iter().enumerate().skip(before);
        all.filter(|(at, seen)| is_late(*at, seen)).map(|(_, seen)| seen.clone()).collect()
    };
    let lost = said(&mut a, false).await;
    let sent = late(&proxy.requests()).iter().filter(|seen| is_of_all(seen)).count();
    let taken = said(&mut b, true).await;
    let margin = taken.duration_since(lost).as_secs_f64();
    assert!(margin > 2.5, "the next leader began {margin} s after the former one stopped");

    // The next one has seen what the former one had, and more.
    let _third = poll(&b, "node-3", first.id()).await;
    becomes(plane, &namespace, "dop/zone-a", "/status/totals/agents", &json!(3)).await;
    let written = late(&proxy.requests());
    assert_eq!(written.iter().filter(|seen| is_of_all(seen)).count(), sent, "nothing was written after its term");
    proxy.set(Fault::Pass).await;
    let count = written.len();
    let arrived = |all: &[Seen]| late(all).iter().take(count).all(|seen| seen.answered.is_some());
    proxy.wait_for("the arrival of what was late", arrived).await;
    for seen in late(&proxy.requests()).iter().take(count) {
        assert_eq!(seen.answered, Some(StatusCode::CONFLICT), "{} {}", seen.method, seen.path);
    }
    assert_eq!(field(plane, &namespace, "dop/zone-a", "/status/totals/agents").await, json!(3));
}

/// By the configuration of the process an operation may read any namespace.
#[tokio::test]
async fn a_model_of_another_namespace_is_served_and_its_status_left_alone() {
    let plane = ControlPlane::shared().await;
    crd::installed(plane).await;
    let (here, there) = (plane.namespace("here").await, plane.namespace("there").await);
    let proxy = ApiProxy::start(plane).await;
    let dir = WorkDir::new().expect("a folder");
    let mut source = one("zone-a");
    source["resource"]["namespace"] = json!(&*there);
    let operations = json!([{ "name": "far", "path": "/far", "source": source }]);
    let config = json!({ "apiVersion": "tidewait.dev/v1alpha1", "kind": "ServeConfig", "operations": operations });
    let config = dir.write("config.yaml", &config.to_string()).expect("it can be written");
    apply(plane, &model(&there, "zone-a", 1)).await;
    let server = sidecar(proxy.kubeconfig(), &here, "replica-a", &["--config", config.to_str().expect("UTF-8")]).await;
    serves(&server, "/far", 200).await;
    // One of its own, so that it is known that statuses were written meanwhile.
    apply(plane, &model(&here, "zone-b", 1)).await;
    apply(plane, &operation(&here, "zone-b", "/zone-b", &one("zone-b"), &json!({}))).await;
    becomes(plane, &here, "netm/zone-b", "/status/conditions/1/status", &json!("True")).await;
    let strange = proxy.count(|seen| is_of_all(seen) && seen.path.contains("/zone-a/"));
    assert_eq!(strange, 0, "a write of what is in another namespace");
}
