//! `Topic`s of a real API server: what is served, what statuses say, and what those who read and publish are told.

use serde_json::{Value, json};

use super::exchanges::exchange;
use super::{apply, becomes, field, model, one, operation, serves, sidecar, wait};
use crate::control_plane::ControlPlane;
use crate::crd;
use crate::exchange::{ask, text};
use crate::server::{Client, Reply, Server, until};
use crate::topic::{Stream, TEXT};

/// A `Topic` with this spec.
pub(super) fn topic(namespace: &str, name: &str, spec: &Value) -> String {
    json!({
        "apiVersion": "tidewait.dev/v1alpha1",
        "kind": "Topic",
        "metadata": { "name": name, "namespace": namespace },
        "spec": spec,
    })
    .to_string()
}

async fn publish(server: &Server, path: &str, message: &str) -> Reply {
    ask(server.listen, "POST", path, &[TEXT], message).await
}

/// Publishes a text; gives its id.
async fn say(server: &Server, path: &str, message: &str) -> String {
    let reply = publish(server, path, message).await;
    assert_eq!(reply.status, 201, "{reply:?}");
    reply.json()["id"].as_str().expect("an id").to_owned()
}

/// What the messages of a page say.
fn said(page: &Reply) -> Vec<String> {
    let messages = page.json()["messages"].as_array().cloned().unwrap_or_default();
    messages.iter().map(|message| message["data"].as_str().unwrap_or_default().to_owned()).collect()
}

const READERS: &str = r#"tidewait_topic_readers{topic="chat"}"#;

#[tokio::test]
async fn a_topic_comes_changes_and_goes_by_kubectl_alone() {
    let plane = ControlPlane::shared().await;
    crd::installed(plane).await;
    let namespace = plane.namespace("topics").await;
    let mut server = sidecar(plane.kubeconfig(), &namespace, "replica-a", &[]).await;
    serves(&server, "/chat", 404).await;
    // One stays to the end: that there is none is believed only once a list has confirmed it.
    apply(plane, &topic(&namespace, "other", &json!({ "path": "/other" }))).await;
    // So fast that what was published says nothing of how fast one may publish later.
    let fast = json!({ "path": "/chat", "publishRate": { "perSecond": 100_000 } });
    apply(plane, &topic(&namespace, "chat", &fast)).await;
    serves(&server, "/chat", 200).await;
    say(&server, "/chat", "one").await;
    let last = say(&server, "/chat", "two").await;
    let mut stream = Stream::events(&server, "/chat").await;
    for data in ["one", "two"] {
        let event = stream.event().await;
        assert!(event.ends_with(&format!("data: {data}\n\n")), "{event}");
    }

    // A change holds for who comes next; no message is lost, and no reader let go.
    let spec = json!({ "path": "/chat", "messageBytes": "4", "publishRate": { "perSecond": 1, "burst": 1 } });
    apply(plane, &topic(&namespace, "chat", &spec)).await;
    server.logged("topic changed").await;
    assert_eq!(publish(&server, "/chat", "too long").await.status, 413);
    say(&server, "/chat", "3").await;
    assert_eq!(publish(&server, "/chat", "4").await.status, 429, "it had one at once");
    assert!(stream.event().await.ends_with("data: 3\n\n"));
    assert_eq!(said(&server.get("/chat?from=earliest").await), ["one", "two", "3"]);

    // A smaller history keeps the newest; another path has the same messages, and streams go on.
    apply(plane, &topic(&namespace, "chat", &json!({ "path": "/rooms/chat", "history": { "messages": 2 } }))).await;
    let moved = serves(&server, "/rooms/chat?from=earliest", 200).await;
    assert_eq!(said(&moved), ["two", "3"]);
    assert_eq!(server.get("/chat").await.status, 404, "it has moved");
    let missed = server.get(&format!("/rooms/chat?since={}&wait=0", last.replace(".2", ".0"))).await;
    assert_eq!(missed.json()["gap"]["missed"], 1);
    let id = say(&server, "/rooms/chat", "five").await;
    assert_eq!(stream.event().await, format!("id: {id}\ndata: five\n\n"));

    // A deletion ends the stream, answers who is parked, and frees the path.
    let mut parked = Client::connect(server.listen).await;
    parked.send("GET", &format!("/rooms/chat?since={id}&wait=50"), &[]).await;
    server.metric_becomes(READERS, 2.0).await;
    plane.kubectl_ok(&["delete", "-n", &namespace, "tpc/chat"], None).await;
    let end = stream.rest().await;
    assert!(end.starts_with("event: end\ndata: {") && end.contains("/not-found") && end.ends_with("\n\n"), "{end}");
    let told = parked.reply().await;
    assert_eq!(
        (told.status, told.json()["detail"].as_str()),
        (404, Some("topic chat has ended: ask whoever runs the service"))
    );
    assert_eq!(publish(&server, "/rooms/chat", "six").await.status, 404);
    until("forgotten", async || {
        let metrics = server.admin("/metrics").await;
        (!text(&metrics).contains(r#"topic="chat""#)).then_some(())
    })
    .await;
    // Another one of its name begins anew.
    apply(plane, &topic(&namespace, "chat", &json!({ "path": "/chat" }))).await;
    let anew = serves(&server, "/chat?from=earliest", 200).await;
    assert_eq!((said(&anew).len(), server.metric(READERS).await), (0, 0.0));
}

#[tokio::test]
async fn a_status_says_who_reads_and_what_is_kept() {
    let plane = ControlPlane::shared().await;
    crd::installed(plane).await;
    let namespace = plane.namespace("topic-status").await;
    let a = sidecar(plane.kubeconfig(), &namespace, "replica-a", &[]).await;
    apply(plane, &topic(&namespace, "chat", &json!({ "path": "/chat" }))).await;
    wait(plane, &namespace, "Accepted", "topic/chat").await;
    wait(plane, &namespace, "Ready", "tpc/chat").await;
    becomes(plane, &namespace, "tpc/chat", "/status/observedGeneration", &json!(1)).await;
    for word in ["one", "two", "three"] {
        say(&a, "/chat", word).await;
    }
    let last = say(&a, "/chat", "four").await;
    let _stream = Stream::events(&a, "/chat").await;
    becomes(plane, &namespace, "tpc/chat", "/status/readers", &json!(1)).await;
    becomes(plane, &namespace, "tpc/chat", "/status/last", &json!(last)).await;
    let status = field(plane, &namespace, "tpc/chat", "/status").await;
    let expected = (json!(1), json!(4), json!("memory"), json!(last.replace(".4", ".1")));
    assert_eq!(
        (&status["replicas"], &status["messages"], &status["backend"], &status["first"]),
        (&expected.0, &expected.1, &expected.2, &expected.3),
        "{status}"
    );
    let rate = status["rate"].as_str().expect("a rate");
    assert!(["0.06", "0"].contains(&rate), "{rate}");
    let table = plane.kubectl_ok(&["get", "-n", &namespace, "topics"], None).await;
    let lines: Vec<Vec<_>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["NAME", "PATH", "READERS", "MESSAGES", "RATE", "ACCEPTED", "READY", "AGE"], "{table}");
    assert_eq!(lines[1][..4], ["chat", "/chat", "1", "4"], "{table}");
    assert_eq!(lines[1][5..7], ["True", "True"], "{table}");

    // Each replica has a history of its own, which the status says.
    let b = sidecar(plane.kubeconfig(), &namespace, "replica-b", &[]).await;
    serves(&b, "/chat", 200).await;
    say(&b, "/chat", "elsewhere").await;
    becomes(plane, &namespace, "tpc/chat", "/status/conditions/1/reason", &json!("SeveralHistories")).await;
    becomes(plane, &namespace, "tpc/chat", "/status/messages", &json!(5)).await;
    becomes(plane, &namespace, "tpc/chat", "/status/last", &Value::Null).await;
    let reported = field(plane, &namespace, "drep/replica-b", "/status/topics/0").await;
    assert_eq!(
        (&reported["name"], &reported["generation"], &reported["messages"]),
        (&json!("chat"), &json!(1), &json!(1))
    );
}

#[tokio::test]
async fn two_that_have_a_path_in_common_are_told_of_each_other() {
    let plane = ControlPlane::shared().await;
    crd::installed(plane).await;
    let namespace = plane.namespace("topic-conflicts").await;
    let server = sidecar(plane.kubeconfig(), &namespace, "replica-a", &["--topic", "/own"]).await;
    apply(plane, &topic(&namespace, "older", &json!({ "path": "/chat" }))).await;
    apply(plane, &model(&namespace, "zone-a", 1)).await;
    apply(plane, &operation(&namespace, "zone-a", "/zone-a", &one("zone-a"), &json!({}))).await;
    apply(plane, &exchange(&namespace, "work", &json!({ "path": "/work/{key}" }))).await;
    serves(&server, "/chat", 200).await;
    serves(&server, "/zone-a", 200).await;
    serves(&server, "/exchange/work/claims", 405).await;
    // Those of one second are in the order of their names.
    for (name, path, reason, whose) in [
        ("younger", "/chat", "PathConflict", "the path of topic older, which is older"),
        ("zone-b", "/zone-a", "PathConflict", "belongs to operation zone-a"),
        ("work-1", "/work/1", "PathConflict", "belongs to exchange work, which is older"),
        ("own", "/a", "NameConflict", "the name of topic own of the sidecar's own configuration"),
    ] {
        apply(plane, &topic(&namespace, name, &json!({ "path": path }))).await;
        let object = format!("tpc/{name}");
        becomes(plane, &namespace, &object, "/status/conditions/0/reason", &json!(reason)).await;
        let status = field(plane, &namespace, &object, "/status/conditions").await;
        assert_eq!((&status[0]["status"], &status[1]["reason"]), (&json!("False"), &json!("NotAccepted")), "{name}");
        assert!(status[0]["message"].as_str().is_some_and(|text| text.contains(whose)), "{name}: {status}");
    }
    apply(plane, &operation(&namespace, "zone-c", "/chat", &one("zone-a"), &json!({}))).await;
    becomes(plane, &namespace, "dop/zone-c", "/status/conditions/0/reason", &json!("PathConflict")).await;
    let message = field(plane, &namespace, "dop/zone-c", "/status/conditions/0/message").await;
    assert_eq!(message, json!("spec.path /chat belongs to topic older, which is older: choose another path"));

    // A spec that turns bad: what ran goes on. Once the older one is gone, the younger one has its turn.
    let kept = say(&server, "/chat", "kept").await;
    apply(plane, &topic(&namespace, "older", &json!({ "path": "/own" }))).await;
    becomes(plane, &namespace, "tpc/older", "/status/conditions/0/reason", &json!("PathConflict")).await;
    let message = field(plane, &namespace, "tpc/older", "/status/conditions/0/message").await;
    assert!(message.as_str().is_some_and(|text| text.ends_with("it goes on at /chat as it was")), "{message}");
    assert_eq!(server.get("/chat").await.json()["next"], json!(kept));
    plane.kubectl_ok(&["delete", "-n", &namespace, "tpc/older"], None).await;
    wait(plane, &namespace, "Accepted", "tpc/younger").await;
    let page = serves(&server, "/chat", 200).await;
    assert_ne!(page.json()["first"].as_str().map(|id| &id[..16]), Some(&kept[..16]), "another history");
}
