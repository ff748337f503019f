//! An operation over WebSocket.

use rustix::process::Signal;
use serde_json::{Value, json};

use super::WebSocket;
use crate::model_file::ModelFile;
use crate::server::Server;

const PARKED: &str = "tidewait_parked_requests{operation=\"describe\"}";

async fn start(model: &ModelFile, more: &[&str]) -> Server {
    let mut server = Server::start(&[&["--file", model.arg(), "--min-interval=10ms"], more].concat()).await;
    server.ready().await;
    server
}

async fn agents(server: &Server, state: &str) -> Value {
    server.admin(&format!("/agents?state={state}")).await.json()["agents"].clone()
}

#[tokio::test]
async fn each_state_is_told_and_a_client_goes_on_where_it_was() {
    let model = ModelFile::new("{\"n\":1}");
    let server = start(&model, &[]).await;
    let mut client = WebSocket::open(server.listen, "/describe", "").await;
    let first = client.json().await;
    assert_eq!((&first["type"], &first["model"]), (&json!("state"), &json!({"n": 1})));
    assert_eq!(first["id"], server.get("/describe").await.id());
    server.metric_becomes(PARKED, 1.0).await;
    server.metric_becomes("tidewait_streams{form=\"websocket\",operation=\"describe\"}", 1.0).await;
    model.replace("{\"n\":2}");
    let second = client.json().await;
    assert_eq!(second["model"], json!({"n": 2}));
    drop(client);
    server.metric_becomes(PARKED, 0.0).await;
    let since = format!("/describe?since={}", second["id"].as_str().expect("an id"));
    let mut back = WebSocket::open(server.listen, &since, "").await;
    assert_eq!(back.json().await, json!({"type": "same", "id": second["id"]}));
    let mut patched = WebSocket::open(server.listen, &format!("{since}&delta=json-patch"), "").await;
    assert_eq!(patched.json().await["type"], "same");
    server.metric_becomes(PARKED, 2.0).await;
    model.replace("{\"n\":2,\"long\":\"a value that makes a patch the shorter of the two, of course, by some bytes\"}");
    let whole = back.json().await;
    let patch = patched.json().await;
    assert_eq!((&whole["type"], &patch["id"]), (&json!("state"), &whole["id"]));
    assert!(patch["type"] == "state" || patch["base"] == second["id"], "{patch}");
}

/// So that pings pass between.
#[tokio::test]
async fn a_long_state_comes_in_fragments() {
    let model = ModelFile::new(&json!({"n": 1, "long": "x".repeat(200_000)}).to_string());
    let server = start(&model, &[]).await;
    let mut client = WebSocket::open(server.listen, "/describe", "").await;
    let state = client.json().await;
    assert_eq!(state["model"]["long"].as_str().map(str::len), Some(200_000));
    assert_eq!(client.fragments, 4);
    model.replace("{\"n\":2}");
    assert_eq!(client.json().await["model"], json!({"n": 2}));
    assert_eq!(client.fragments, 1);
}

#[tokio::test]
async fn what_a_client_says_of_states_is_what_operators_see() {
    let model = ModelFile::new("{\"n\":1}");
    let server = start(&model, &[]).await;
    let mut client = WebSocket::open(server.listen, "/describe", "Agent-Id: edge-1\r\n").await;
    let first = client.json().await["id"].clone();
    assert_eq!(agents(&server, "converged").await, json!([]), "that it was sent a state says nothing");
    client.say(&json!({"type": "held", "id": first}).to_string()).await;
    server.metric_becomes("tidewait_agents{operation=\"describe\",state=\"converged\"}", 1.0).await;
    let converged = agents(&server, "converged").await;
    assert_eq!((&converged[0]["name"], &converged[0]["holds"]), (&json!("edge-1"), &first));
    model.replace("{\"n\":2}");
    let second = client.json().await["id"].clone();
    let rejects = json!({"type": "rejected", "id": second, "held": first, "reason": "no such prefix\n"});
    client.say(&rejects.to_string()).await;
    server.metric_becomes("tidewait_agents{operation=\"describe\",state=\"rejecting\"}", 1.0).await;
    let rejecting = agents(&server, "rejecting").await;
    let seen = (&rejecting[0]["rejects"], &rejecting[0]["holds"], &rejecting[0]["reason"]);
    assert_eq!(seen, (&second, &first, &json!("no such prefix?")));
    let mut nobody = WebSocket::open(server.listen, "/describe", "").await;
    nobody.json().await;
    nobody.say(&json!({"type": "held", "id": first}).to_string()).await;
    assert!(nobody.closed(1008).await.contains("Agent-Id"));
}

#[tokio::test]
async fn it_is_refused_as_a_poll_is_and_moved_when_the_process_stops() {
    let absent = ModelFile::absent();
    let server = Server::start(&["--file", absent.arg()]).await;
    let refused = WebSocket::ask(server.listen, "/describe", "").await;
    assert!(refused.head.starts_with("http/1.1 503 ") && refused.head.contains("retry-after: "), "{}", refused.head);
    let origin = format!("Origin: http://{}\r\n", server.listen);
    let mut page = WebSocket::open(server.listen, "/describe", &origin).await;
    page.closed(1013).await;
    let model = ModelFile::new("{\"n\":1}");
    let mut server = start(&model, &["--grace", "5s"]).await;
    let bad = WebSocket::ask(server.listen, "/describe?delta=x", "").await;
    assert!(bad.head.starts_with("http/1.1 400 "), "{}", bad.head);
    let mut client = WebSocket::open(server.listen, "/describe", "").await;
    client.json().await;
    let mut short = WebSocket::open(server.listen, "/describe?life=1", "").await;
    short.json().await;
    short.closed(1001).await;
    server.metric_becomes(PARKED, 1.0).await;
    server.signal(Signal::TERM);
    assert_eq!(client.json().await["type"], "move");
    client.closed(1012).await;
    assert_eq!(server.ended().await, Some(0));
}
