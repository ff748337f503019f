//! A server of the version before.

use tidewait::client::{Client, Doing, Reports, Settings, State, States};

use super::{Before, model};
use crate::server::{self, STEP, Server, until};

/// Waits for the state with this model.
async fn takes(states: &mut States, n: usize) -> State {
    let state = tokio::time::timeout(STEP, states.next()).await.expect("a state in time").expect("it runs");
    assert_eq!(*state.bytes(), model(n));
    state
}

/// Waits until a poll names this state as held.
async fn parks(reports: &Reports, id: &str) {
    let mut status = reports.status();
    let parked = status.wait_for(|status| status.doing == Doing::Polling && status.held.as_deref() == Some(id));
    tokio::time::timeout(STEP, parked).await.expect("in time").expect("it runs");
}

#[tokio::test]
async fn it_is_followed() {
    let before = Before::new("server").await;
    let url = format!("http://{}", before.address);
    let wait = std::time::Duration::from_secs(2);
    let settings = Settings { agent_id: Some("edge".to_owned()), wait, ..Settings::new(&url, "/describe") };
    let (mut states, reports) = Client::start(&settings, None).expect("settings that can be used");
    let first = takes(&mut states, 1).await;
    reports.held(first.id());
    parks(&reports, first.id()).await;
    before.change(2);
    let second = takes(&mut states, 2).await;
    assert_eq!(second.patch().map(|patch| &*patch.base), Some(first.id()));
    reports.held(second.id());
    parks(&reports, second.id()).await;
    let mut seen = reports.status();
    let waited = seen.wait_for(|status| status.counters.unchanged > 0);
    tokio::time::timeout(STEP, waited).await.expect("in time").expect("it runs");
    before.change(3);
    let third = takes(&mut states, 3).await;
    // Long enough to be asked what is being applied.
    let applies = |status: &tidewait::client::Status| {
        status.doing == Doing::Polling && status.applying.as_deref() == Some(third.id())
    };
    tokio::time::timeout(STEP, seen.wait_for(applies)).await.expect("in time").expect("it runs");
    reports.rejected(third.id(), "mtu 1400");
    let rejects = |status: &tidewait::client::Status| {
        status.doing == Doing::Polling && status.rejected.as_deref() == Some(third.id())
    };
    tokio::time::timeout(STEP, seen.wait_for(rejects)).await.expect("in time").expect("it runs");
    before.change(4);
    let fourth = takes(&mut states, 4).await;
    reports.held(fourth.id());
    parks(&reports, fourth.id()).await;
    let counters = reports.status().borrow().counters;
    assert_eq!((counters.states, counters.failures, counters.bad_patches), (4, 0, 0), "{counters:?}");
    drop(states);
    before.ends();
}

/// It says nothing of a path, and answers reports as any other POST.
#[tokio::test]
async fn it_is_a_root_to_a_relay() {
    let before = Before::new("root").await;
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let start = async |name: &str, of| {
        let config = folder.path().join(name);
        let source = format!("{{describe: {{urls: [\"http://{of}/describe\"], agentId: relay, wait: 2s}}}}");
        let text = format!(
            "apiVersion: tidewait.dev/v1alpha1\nkind: ServeConfig\noperations:\n\
             - {{path: /describe, minInterval: 10ms, source: {source}}}\n"
        );
        std::fs::write(&config, text).expect("the folder can be written");
        let mut server = Server::start(&["--config", config.to_str().expect("UTF-8")]).await;
        server.ready().await;
        server
    };
    let mut relay = start("relay", before.address).await;
    let below = start("below", relay.listen).await;
    let told = relay.logged("State-Path").await;
    assert!(told.contains("counts as a root") && told.contains(&before.address.to_string()), "{told}");
    for n in 1..=3 {
        if n > 1 {
            before.change(n);
        }
        let serves = async |server: &Server| {
            until("it is served", async || {
                let reply = server.get("/describe").await;
                (reply.body == model(n).as_bytes()).then(|| reply.id().to_owned())
            })
            .await
        };
        let (of_relay, of_below) = (serves(&relay).await, serves(&below).await);
        assert_eq!(of_relay, of_below);
        assert_eq!(of_relay.split('.').nth(1), Some(&*n.to_string()), "its own id");
    }
    let path = async |server: &Server| {
        let reply = server::Client::connect(server.listen).await.get("/describe", &[("Relay", "x")]).await;
        assert_eq!(reply.status, 200);
        reply.field("state-path").split(", ").map(str::to_owned).collect::<Vec<_>>()
    };
    let (of_relay, of_below) = (path(&relay).await, path(&below).await);
    assert!(of_relay.len() == 1 && of_relay[0] != "unrooted", "{of_relay:?}");
    assert_eq!((of_below.len(), &of_below[0]), (2, &of_relay[0]));
    drop((relay, below));
    before.ends();
}
