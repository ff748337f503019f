//! `Exchange`s of a real API server: what is served, what statuses say, and what happens to those who wait.

use serde_json::{Value, json};

use super::{apply, becomes, field, model, one, operation, serves, sidecar, wait};
use crate::api_proxy::{ApiProxy, Fault};
use crate::control_plane::ControlPlane;
use crate::crd;
use crate::exchange::{Dialled, ask, send, text};
use crate::server::{Client, Server, until};

/// An `Exchange` with this spec.
pub(super) fn exchange(namespace: &str, name: &str, spec: &Value) -> String {
    json!({
        "apiVersion": "tidewait.dev/v1alpha1",
        "kind": "Exchange",
        "metadata": { "name": name, "namespace": namespace },
        "spec": spec,
    })
    .to_string()
}

/// A worker takes a request: the path of its claim, and the body of the request.
async fn claim(server: &Server, endpoint: &str) -> (String, String) {
    let claim = ask(server.listen, "POST", &format!("{endpoint}/claims?wait=20"), &[("Agent-Id", "w")], "").await;
    assert_eq!(claim.status, 200, "{claim:?}");
    (claim.field("location").to_owned(), text(&claim))
}

/// A consumer that waits in the queue, which is then so long.
async fn queued(server: &Server, body: &str, length: f64) -> Client {
    let consumer = send(server.listen, "POST", "/work", &[("Prefer", "wait=50")], body).await;
    server.metric_becomes(r#"tidewait_exchange_queued{exchange="work"}"#, length).await;
    consumer
}

#[tokio::test]
async fn an_exchange_comes_changes_and_goes_by_kubectl_alone() {
    let plane = ControlPlane::shared().await;
    crd::installed(plane).await;
    let namespace = plane.namespace("exchanges").await;
    let mut server = sidecar(plane.kubeconfig(), &namespace, "replica-a", &[]).await;
    serves(&server, "/work", 404).await;
    // One stays to the end: that there is none is believed only once a list has confirmed it.
    apply(plane, &exchange(&namespace, "other", &json!({ "path": "/other" }))).await;
    apply(plane, &exchange(&namespace, "work", &json!({ "path": "/work" }))).await;
    // There is nothing to GET at claims, but something is there.
    serves(&server, "/exchange/work/claims", 405).await;
    let mut consumer = queued(&server, "a", 1.0).await;
    let (claimed, body) = claim(&server, "/exchange/work").await;
    assert_eq!(body, "a");
    assert_eq!(ask(server.listen, "POST", &claimed, &[], "done").await.status, 204);
    let reply = consumer.reply().await;
    assert_eq!((reply.status, text(&reply)), (200, "done".to_owned()));

    // A change holds for who comes next, and nobody who is queued is lost.
    let mut first = queued(&server, "b", 1.0).await;
    apply(plane, &exchange(&namespace, "work", &json!({ "path": "/work", "queue": { "perClient": 1 } }))).await;
    server.logged("exchange changed").await;
    let refused = ask(server.listen, "POST", "/work", &[], "c").await;
    assert_eq!(
        (refused.status, refused.json()["type"].as_str().unwrap_or_default().ends_with("/too-many-queued")),
        (429, true)
    );
    let told = ask(server.listen, "POST", "/other", &[("Prefer", "respond-async")], "").await;
    let (other, _) = claim(&server, "/exchange/other").await;
    let elsewhere = json!({ "path": "/other", "endpoint": "/elsewhere" });
    apply(plane, &exchange(&namespace, "other", &elsewhere)).await;
    serves(&server, "/elsewhere/claims", 405).await;
    assert_eq!(server.get("/exchange/other/claims").await.status, 404, "the endpoint has moved");
    assert_eq!(ask(server.listen, "POST", &other, &[], "here").await.status, 204, "who has a claim may answer it");
    assert_eq!(text(&server.get(told.field("location")).await), "here", "who was told of it may come back");

    let moved =
        json!({ "path": "/work", "endpoint": "/workers", "deadline": "7s", "workers": { "transports": ["claims"] } });
    let mut dialled = Dialled::to(server.listen, "/exchange/work/reverse?").await;
    let head = dialled.head().await.expect("the request");
    assert!(head.starts_with("POST /work "), "{head}");
    assert_eq!(dialled.body(1).await, "b");
    apply(plane, &exchange(&namespace, "work", &moved)).await;
    serves(&server, "/workers/claims", 405).await;
    assert_eq!(server.get("/exchange/work/claims").await.status, 404, "the endpoint has moved");
    // Its transport is no more: it ends what it has, and is let go.
    dialled.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    assert_eq!(text(&first.reply().await), "ok");
    assert_eq!(dialled.head().await, None, "no further request");

    // A deletion frees the path, answers who is queued, and lets a worker end.
    let mut claimed_one = queued(&server, "d", 1.0).await;
    let (claimed, _) = claim(&server, "/workers").await;
    let mut waits = queued(&server, "e", 1.0).await;
    plane.kubectl_ok(&["delete", "-n", &namespace, "exch/work"], None).await;
    let told = waits.reply().await;
    assert_eq!((told.status, told.json()["type"].as_str().unwrap_or_default().ends_with("/not-claimed")), (503, true));
    assert!(told.json()["detail"].as_str().is_some_and(|detail| detail.contains("removed")), "{told:?}");
    assert_eq!(server.get("/work").await.status, 404, "the path is free");
    assert_eq!(ask(server.listen, "POST", "/workers/claims", &[], "").await.status, 404, "nobody polls it");
    assert_eq!(ask(server.listen, "POST", &claimed, &[], "at last").await.status, 204);
    assert_eq!(text(&claimed_one.reply().await), "at last");
    until("forgotten", async || {
        let metrics = server.admin("/metrics").await;
        (!text(&metrics).contains(r#"exchange="work""#)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_status_adds_up_what_all_replicas_have_and_names_who_has_no_worker() {
    let plane = ControlPlane::shared().await;
    crd::installed(plane).await;
    let namespace = plane.namespace("exchange-status").await;
    let a = sidecar(plane.kubeconfig(), &namespace, "replica-a", &[]).await;
    let b = sidecar(plane.kubeconfig(), &namespace, "replica-b", &[]).await;
    apply(plane, &exchange(&namespace, "work", &json!({ "path": "/work", "repeat": "always", "attempts": 1 }))).await;
    wait(plane, &namespace, "Ready", "exch/work").await;
    becomes(plane, &namespace, "exch/work", "/status/replicas", &json!(2)).await;
    becomes(plane, &namespace, "exch/work", "/status/conditions/2/reason", &json!("NoWorker")).await;

    // One works at a, and nobody at b: there somebody waits.
    serves(&b, "/exchange/work/claims", 405).await;
    let mut worker = Dialled::to(a.listen, "/exchange/work/reverse").await;
    let mut waits = queued(&b, "x", 1.0).await;
    becomes(plane, &namespace, "exch/work", "/status/workers", &json!(1)).await;
    becomes(plane, &namespace, "exch/work", "/status/queued", &json!(1)).await;
    let oldest = field(plane, &namespace, "exch/work", "/status/oldest").await;
    assert!(oldest.as_str().is_some_and(|oldest| oldest.ends_with('Z')), "{oldest}");
    let message = field(plane, &namespace, "exch/work", "/status/conditions/2/message").await;
    assert!(message.as_str().is_some_and(|text| text.ends_with("no worker is there: replica-b")), "{message}");
    let table = plane.kubectl_ok(&["get", "-n", &namespace, "exchanges"], None).await;
    let lines: Vec<Vec<_>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["NAME", "PATH", "WORKERS", "SLOTS", "QUEUED", "OLDEST", "DEAD", "READY", "AGE"], "{table}");
    assert_eq!(lines[1][..5], ["work", "/work", "1", "1", "1"], "{table}");

    // A worker that breaks after all attempts: the request is dead.
    let mut dies = send(a.listen, "POST", "/work", &[], "y").await;
    worker.head().await.expect("the request");
    drop(worker);
    assert_eq!(dies.reply().await.status, 502);
    becomes(plane, &namespace, "exch/work", "/status/dead", &json!(1)).await;
    let attempts = field(plane, &namespace, "exch/work", "/status/lastDead/0/attempts").await;
    assert_eq!(attempts, json!(1));

    // Polling workers count too, and with one at each it has workers.
    let polls = [&a, &b].map(|server| {
        let listen = server.listen;
        tokio::spawn(async move {
            loop {
                let claim = ask(listen, "POST", "/exchange/work/claims?wait=50", &[("Agent-Id", "w")], "").await;
                if claim.status == 200 {
                    ask(listen, "POST", claim.field("location"), &[], "done").await;
                }
            }
        })
    });
    assert_eq!(text(&waits.reply().await), "done");
    wait(plane, &namespace, "HasWorkers", "exch/work").await;
    becomes(plane, &namespace, "exch/work", "/status/workers", &json!(2)).await;
    becomes(plane, &namespace, "exch/work", "/status/oldest", &Value::Null).await;
    polls.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn two_that_have_a_path_in_common_are_told_of_each_other() {
    let plane = ControlPlane::shared().await;
    crd::installed(plane).await;
    let namespace = plane.namespace("exchange-conflicts").await;
    let flags = ["--exchange", "/own"];
    let server = sidecar(plane.kubeconfig(), &namespace, "replica-a", &flags).await;
    apply(plane, &exchange(&namespace, "older", &json!({ "path": "/work/{key}" }))).await;
    becomes(plane, &namespace, "exch/older", "/status/conditions/0/status", &json!("True")).await;
    apply(plane, &model(&namespace, "zone-a", 1)).await;
    apply(plane, &operation(&namespace, "zone-a", "/zone-a", &one("zone-a"), &json!({}))).await;
    serves(&server, "/zone-a", 200).await;
    // Those of one second are in the order of their names.
    for (name, spec, reason, whose) in [
        ("younger", json!({ "path": "/work/1" }), "PathConflict", "the path of exchange older, which is older"),
        (
            "same",
            json!({ "path": "/a", "endpoint": "/exchange/older" }),
            "EndpointConflict",
            "the endpoint of exchange older",
        ),
        ("zone-b", json!({ "path": "/zone-a" }), "PathConflict", "the path \"/zone-a\" of operation zone-a"),
        ("own", json!({ "path": "/b" }), "NameConflict", "the name of exchange own of the sidecar's own configuration"),
        (
            "at-own",
            json!({ "path": "/{key}" }),
            "PathConflict",
            "the path of exchange own of the sidecar's own configuration",
        ),
    ] {
        apply(plane, &exchange(&namespace, name, &spec)).await;
        let object = format!("exch/{name}");
        becomes(plane, &namespace, &object, "/status/conditions/0/reason", &json!(reason)).await;
        let message = field(plane, &namespace, &object, "/status/conditions/0/message").await;
        assert!(message.as_str().is_some_and(|text| text.contains(whose)), "{name}: {message}");
        let ready = field(plane, &namespace, &object, "/status/conditions/1/reason").await;
        assert_eq!(ready, json!("NotAccepted"), "{name}");
    }
    apply(plane, &operation(&namespace, "work-2", "/work/2", &one("zone-a"), &json!({}))).await;
    becomes(plane, &namespace, "dop/work-2", "/status/conditions/0/reason", &json!("PathConflict")).await;
    let message = field(plane, &namespace, "dop/work-2", "/status/conditions/0/message").await;
    assert_eq!(message, json!("spec.path /work/2 belongs to exchange older, which is older: choose another path"));

    // A spec that turns bad: what ran goes on. Once the older one is gone, the younger ones have their turn.
    apply(plane, &exchange(&namespace, "older", &json!({ "path": "/own" }))).await;
    becomes(plane, &namespace, "exch/older", "/status/conditions/0/reason", &json!("PathConflict")).await;
    let message = field(plane, &namespace, "exch/older", "/status/conditions/0/message").await;
    assert!(message.as_str().is_some_and(|text| text.ends_with("it goes on at /work/{key} as it was")), "{message}");
    serves(&server, "/exchange/older/claims", 405).await;
    plane.kubectl_ok(&["delete", "-n", &namespace, "exch/older"], None).await;
    wait(plane, &namespace, "Accepted", "exch/younger").await;
    wait(plane, &namespace, "Accepted", "exch/same").await;
    serves(&server, "/exchange/younger/claims", 405).await;
    serves(&server, "/work/2", 200).await;
}

#[tokio::test]
async fn who_comes_before_the_exchanges_are_listed_is_told_to_come_back_and_never_404() {
    let plane = ControlPlane::shared().await;
    crd::installed(plane).await;
    let namespace = plane.namespace("exchanges-unlisted").await;
    apply(plane, &exchange(&namespace, "work", &json!({ "path": "/work" }))).await;
    let proxy = ApiProxy::start(plane).await;
    proxy.set(Fault::Blackhole).await;
    let server = sidecar(proxy.kubeconfig(), &namespace, "replica-a", &[]).await;
    let early = server.get("/exchange/work/claims").await;
    assert_eq!((early.status, early.json()["type"].as_str()), (503, Some("https://tidewait.dev/problems/no-state")));
    assert_eq!(server.admin("/readyz").await.status, 503);
    proxy.set(Fault::Pass).await;
    let mut reply = early;
    while reply.status != 405 {
        assert_eq!(reply.status, 503, "{reply:?}");
        reply = server.get("/exchange/work/claims").await;
    }
    assert_eq!(server.get("/nothing").await.status, 404, "now it is known");
}
