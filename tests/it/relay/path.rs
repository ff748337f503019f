//! Which way states come: relays that would wait for each other.

use super::{Rig, serves, source};
use crate::server::{Client, Server, until};

/// `State-Path` of a server, as a relay is told it.
async fn path(server: &Server) -> Vec<String> {
    let reply = Client::connect(server.listen).await.get("/describe", &[("Relay", "x")]).await;
    reply.field("state-path").split(", ").map(str::to_owned).collect()
}

#[tokio::test]
async fn each_relay_appends_itself_and_is_refused_by_those_whose_states_come_through_it() {
    let rig = Rig::new();
    let root = rig.root().await;
    let relay = rig.relay("relay", &[root.listen]).await;
    let below = rig.relay("below", &[relay.listen]).await;
    let (of_root, of_relay, of_below) = (path(&root).await, path(&relay).await, path(&below).await);
    assert_eq!((of_root.len(), &of_relay[..1], &of_below[..2]), (1, &*of_root, &*of_relay));
    let reply = Client::connect(below.listen).await.get("/describe", &[("Relay", &of_relay[1])]).await;
    assert_eq!((reply.status, &reply.json()["type"]), (508, &"https://tidewait.dev/problems/loop".into()));
    // Clients that are no relays are told nothing of it.
    let reply = below.get("/describe").await;
    assert_eq!((reply.field("state-path"), reply.field("relay-policy")), ("", ""));
    let reply = Client::connect(below.listen).await.get("/describe", &[("Relay", "a b")]).await;
    assert_eq!(reply.status, 400);
}

#[tokio::test]
async fn two_relays_in_a_ring_are_not_both_live_once_their_root_is_gone() {
    let rig = Rig::new();
    let root = rig.root().await;
    // The ports are known only once both run.
    let reserve = || std::net::TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("bound");
    let (one_at, two_at) = (reserve(), reserve());
    let start = |name: &'static str, at: std::net::SocketAddr, other| {
        let (rig, source) = (&rig, source(&[root.listen, other], ""));
        async move {
            let config = format!("listen: {at}");
            let mut command = crate::server::tidewait(&["serve", "--admin=127.0.0.1:0", "--log-format=json"]);
            command.args(["--config", &rig.config(name, &source, &config)]);
            Server::spawn(command).await
        }
    };
    let (mut one, mut two) = (start("one", one_at, two_at).await, start("two", two_at, one_at).await);
    one.ready().await;
    two.ready().await;
    serves(&one, 1).await;
    drop(root);
    let age = async |server: &Server| {
        let reply = server.get("/describe").await;
        reply.field("state-age").parse::<u64>().expect("seconds")
    };
    let mut both_live = 0;
    until("both say for how long they have had no root", async || {
        let ages = (age(&one).await, age(&two).await);
        both_live += u32::from(ages == (0, 0));
        (ages.0 > 12 && ages.1 > 12).then_some(())
    })
    .await;
    // Until the loss is noticed, which is at once here.
    assert!(both_live < 400, "{both_live}");
    let refused = |server: &Server| {
        server
            .log
            .borrow()
            .iter()
            .any(|line| line.contains("come through this relay itself") || line.contains("source lost"))
    };
    assert!(refused(&one) && refused(&two));
}
