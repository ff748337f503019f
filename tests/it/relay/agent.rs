//! An agent that serves what it holds (`--serve`).

use std::net::SocketAddr;

use tokio::process::Child;

use super::{Rig, model, serves};
use crate::server::{Client, STEP, Server, tidewait, until};

/// An agent of a server, and the port that it serves at.
async fn agent(rig: &Rig, of: SocketAddr, more: &[&str]) -> Server {
    rig.write("serving.yaml", "apiVersion: tidewait.dev/v1alpha1\nkind: ServeConfig\nadmin: 127.0.0.1:0\n");
    let url = format!("http://{of}");
    let (state, out, serving) = (rig.path("state"), rig.path("out.json"), rig.path("serving.yaml"));
    let mut command = tidewait(&["agent", "--endpoint", &url, "--agent-id=edge", "--wait=2s", "--log-format=json"]);
    command.args(["--state-dir", &state, "--out", &out, "--serve=127.0.0.1:0", "--serve-config", &serving]).args(more);
    Server::spawn(command).await
}

async fn ended(child: &mut Child) -> Option<i32> {
    tokio::time::timeout(STEP, child.wait()).await.expect("it ends in time").expect("a status").code()
}

#[tokio::test]
async fn an_agent_serves_what_it_holds_and_nothing_that_it_rejects() {
    let rig = Rig::new();
    let root = rig.root().await;
    let mut edge = agent(&rig, root.listen, &["--shell", "--check", "! grep -q '\"version\":3' {}"]).await;
    let id = serves(&edge, 1).await;
    assert_eq!(root.get("/describe").await.id(), id);
    let mut parked = Client::connect(edge.listen).await;
    parked.send("GET", &format!("/describe?since={id}&wait=20"), &[]).await;
    rig.change(2);
    let reply = parked.reply().await;
    assert_eq!((reply.status, &*reply.body), (200, model(2).as_bytes()));
    assert_eq!(std::fs::read(rig.path("out.json")).expect("it is out"), model(2).as_bytes(), "it was held before");
    until("it is fresh", async || (edge.get("/describe").await.field("state-age") == "0").then_some(())).await;
    // It is rejected here, and others are not to learn of it from here: what is served is not the newest, and says so.
    let held = serves(&edge, 2).await;
    rig.change(3);
    until("it is rejected", async || {
        let agents = root.admin("/agents").await.json();
        (agents["agents"][0]["reason"].is_string()).then_some(())
    })
    .await;
    let reply = edge.get("/describe").await;
    assert_eq!((reply.id(), &*reply.body), (&*held, model(2).as_bytes()));
    until("it says that it is behind", async || (edge.get("/describe").await.field("state-age") != "0").then_some(()))
        .await;
    // A client that has it from elsewhere is not taken back.
    let newer = serves(&root, 3).await;
    let reply = Client::connect(edge.listen).await.get(&format!("/describe?since={newer}&wait=1"), &[]).await;
    assert_eq!(reply.json()["type"], "https://tidewait.dev/problems/not-confirmed");
    let ahead = format!("{}.99.{}", newer.split('.').next().expect("an epoch"), "0".repeat(32));
    let reply = Client::connect(edge.listen).await.get(&format!("/describe?since={ahead}&wait=1"), &[]).await;
    assert_eq!(reply.json()["type"], "https://tidewait.dev/problems/not-confirmed");
    assert_eq!(edge.get("/describe").await.body, model(2).as_bytes(), "nobody can make it serve what it has rejected");
    rig.change(4);
    let newest = serves(&edge, 4).await;
    assert_eq!(root.get("/describe").await.id(), newest);
    edge.signal(rustix::process::Signal::TERM);
    assert_eq!(ended(&mut edge.child).await, Some(0));
}

#[tokio::test]
async fn an_agent_that_starts_without_a_server_serves_what_it_held_and_counts_who_polls_it() {
    let rig = Rig::new();
    let mut root = rig.root().await;
    let mut edge = agent(&rig, root.listen, &[]).await;
    serves(&edge, 1).await;
    let path = Client::connect(edge.listen).await.get("/describe", &[("Relay", "x")]).await;
    let path: Vec<_> = path.field("state-path").split(", ").map(str::to_owned).collect();
    assert_eq!(path.len(), 2, "{path:?}");
    // Who polls it is counted at the root.
    let id = serves(&edge, 1).await;
    let mut leaf = Client::connect(edge.listen).await;
    leaf.send("GET", &format!("/describe?since={id}&wait=20"), &[("Agent-Id", "leaf")]).await;
    let converged = "tidewait_agents{operation=\"describe\",state=\"converged\"}";
    root.metric_becomes(converged, 2.0).await;
    for child in [&mut edge.child, &mut root.child] {
        child.kill().await.expect("SIGKILL");
    }
    let edge = agent(&rig, root.listen, &[]).await;
    assert_eq!(serves(&edge, 1).await, id);
    assert_eq!(edge.admin("/readyz").await.status, 503);
}

#[tokio::test]
async fn what_cannot_be_served_is_told_before_anything_is_touched() {
    let rig = Rig::new();
    let root = rig.root().await;
    let url = format!("http://{}", root.listen);
    let taken = root.listen.to_string();
    for (options, code, expected) in [
        (vec!["--serve=0.0.0.0:0"], 2, "name a file with --serve-config"),
        (vec!["--serve-config=x"], 2, "is of no use without --serve"),
        (vec!["--serve=127.0.0.1:0", "--once"], 2, "is of no use with --once"),
        (vec!["--serve", &taken], 1, "cannot listen on"),
    ] {
        let (state, out) = (rig.path("state"), rig.path("out.json"));
        let mut command = tidewait(&["agent", "--endpoint", &url, "--state-dir", &state, "--out", &out]);
        let output = tokio::time::timeout(STEP, command.args(&options).output()).await.expect("in time");
        let output = output.expect("it runs");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(code) && told.contains(expected), "{options:?}: {told}");
        assert!(!std::path::Path::new(&out).exists(), "{options:?}");
    }
}
