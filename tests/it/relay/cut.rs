//! A relay whose server is gone, or silent, or has lost its own source.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::{Rig, model, serves, source};
use crate::server::{Client, until};

/// The age that a server tells.
async fn age(server: &crate::server::Server) -> u64 {
    server.get("/describe").await.field("state-age").parse().expect("seconds")
}

/// What a server in between does with a piece of an answer before it passes it on; given the number of the connection.
type Delay = std::sync::Arc<dyn Fn(usize) -> futures::future::BoxFuture<'static, ()> + Send + Sync>;

/// A way to a server, on which answers come in pieces of so many bytes at most, each after a delay.
async fn way(to: std::net::SocketAddr, piece: usize, delay: Delay) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        let mut number = 0;
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(to).await.expect("the server listens");
            let (mut from_client, mut to_client) = client.into_split();
            let (mut from_server, mut to_server) = server.into_split();
            tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_server).await });
            let delay = std::sync::Arc::clone(&delay);
            tokio::spawn(async move {
                let mut bytes = vec![0; piece];
                while let Ok(read @ 1..) = from_server.read(&mut bytes).await {
                    delay(number).await;
                    if to_client.write_all(&bytes[..read]).await.is_err() {
                        return;
                    }
                }
            });
            number += 1;
        }
    });
    address
}

/// Holds the answers of the first connection back while `holds`; further ones pass.
async fn holder(to: std::net::SocketAddr, holds: watch::Receiver<bool>) -> std::net::SocketAddr {
    let delay: Delay = std::sync::Arc::new(move |number| {
        let mut holds = holds.clone();
        Box::pin(async move {
            if number == 0 {
                let _ = holds.wait_for(|holds| !holds).await;
            }
        })
    });
    way(to, 16 * 1024, delay).await
}

#[tokio::test]
async fn a_client_that_is_ahead_of_a_relay_is_given_nothing_older() {
    let rig = Rig::new();
    let root = rig.root().await;
    let (holds, held) = watch::channel(false);
    let relay = rig.relay("relay", &[holder(root.listen, held).await]).await;
    let old = serves(&relay, 1).await;
    holds.send_replace(true);
    rig.change(2);
    let new = serves(&root, 2).await;
    assert_eq!(relay.get("/describe").await.id(), old, "it does not know");
    // The client has what is current: the relay asks, and parks it.
    let mut ahead = Client::connect(relay.listen).await;
    ahead.send("GET", &format!("/describe?since={new}&wait=1"), &[]).await;
    let reply = ahead.reply().await;
    assert_eq!((reply.status, reply.id()), (204, &*new));
    assert_eq!(relay.get("/describe").await.id(), new, "and has fetched that state");
    // The client has seen another state of the server, which has a newer one by now.
    rig.change(3);
    let seen = serves(&root, 3).await;
    rig.change(4);
    let newest = serves(&root, 4).await;
    let reply = ahead.get(&format!("/describe?since={seen}&wait=10"), &[]).await;
    assert_eq!((reply.status, reply.id(), &*reply.body), (200, &*newest, model(4).as_bytes()));
    // The server acknowledges none of these questions to anybody.
    let agents = root.admin("/agents").await.json();
    assert_eq!(agents["agents"].as_array().map(Vec::len), Some(1), "{agents}");
    drop(root);
    let reply = ahead.get("/describe?since=0123456789abcdef.9.0123456789abcdef0123456789abcdef&wait=10", &[]).await;
    assert_eq!(reply.json()["type"], "https://tidewait.dev/problems/not-confirmed");
}

#[tokio::test]
async fn a_restored_source_is_the_truth_for_a_leaf_that_is_ahead() {
    let rig = Rig::new();
    let root = rig.root().await;
    let relay = rig.relay("relay", &[root.listen]).await;
    rig.change(9);
    let ahead = serves(&relay, 9).await;
    let mut leaf = Client::connect(relay.listen).await;
    leaf.send("GET", &format!("/describe?since={ahead}&wait=20"), &[]).await;
    rig.change(3);
    let restored = serves(&root, 3).await;
    // Its wait would last longer: it is told to ask again.
    let reply = tokio::time::timeout(std::time::Duration::from_secs(10), leaf.reply()).await.expect("soon");
    let reply =
        if reply.status == 200 { reply } else { leaf.get(&format!("/describe?since={ahead}&wait=20"), &[]).await };
    assert_eq!((reply.status, reply.id()), (200, &*restored));
    assert!(relay.metric("tidewait_source_restores_total{operation=\"describe\"}").await > 0.0);
}

#[tokio::test]
async fn a_source_that_is_lost_is_told_to_relays_and_the_age_adds_up() {
    let rig = Rig::new();
    let root = rig.root().await;
    // Their polls would be parked for longer than this takes.
    let parked = |of: &[std::net::SocketAddr]| source(of, "").replace("wait: 2s", "wait: 55s");
    let mut relay = rig.serves("relay", &parked(&[root.listen]), "", &[]).await;
    relay.ready().await;
    let below = rig.serves("below", &parked(&[relay.listen]), "", &[]).await;
    until("it has a state", async || (below.get("/describe").await.status == 200).then_some(())).await;
    until("all are fresh", async || (age(&below).await == 0).then_some(())).await;
    std::fs::remove_file(rig.path("model.json")).expect("it is there");
    for server in [&root, &relay, &below] {
        until("the age grows", async || (age(server).await > 0).then_some(())).await;
    }
    rig.change(1);
    for server in [&root, &relay, &below] {
        until("it is fresh again", async || (age(server).await == 0).then_some(())).await;
    }
    assert!(root.metric("tidewait_released_requests_total{operation=\"describe\",reason=\"told\"}").await > 0.0);
}

#[tokio::test]
async fn a_relay_that_is_cut_off_serves_on_and_says_so_after_half_a_minute() {
    let rig = Rig::new();
    let root = rig.root().await;
    let relay = rig.relay("relay", &[root.listen]).await;
    let id = serves(&relay, 1).await;
    assert_eq!(relay.admin("/readyz").await.status, 200);
    let root_at = root.listen;
    drop(root);
    let mut parked = Client::connect(relay.listen).await;
    parked.send("GET", &format!("/describe?since={id}&wait=55"), &[]).await;
    until("the age grows", async || (age(&relay).await > 0).then_some(())).await;
    assert_eq!(relay.admin("/readyz").await.status, 200, "not at once");
    let reply = parked.reply().await;
    assert_eq!((reply.status, reply.id()), (204, &*id));
    let told: u64 = reply.field("state-age").parse().expect("seconds");
    assert!((28..50).contains(&told), "{told}");
    let endpoint = format!("http://{root_at}/describe");
    let state = relay.admin("/state").await.json();
    let shown = &state["operations"][0]["relay"];
    assert_eq!((&shown["endpoint"], &shown["cutOff"]), (&endpoint.clone().into(), &"cut off from its server".into()));
    let info = format!("tidewait_relay_endpoint_info{{endpoint=\"{endpoint}\",operation=\"describe\"}}");
    for (series, value) in [
        ("tidewait_relay_cut_off{operation=\"describe\"}", 1.0),
        ("tidewait_relay_hops{operation=\"describe\"}", 1.0),
        (&*info, 1.0),
    ] {
        relay.metric_becomes(series, value).await;
    }
    let ready = relay.admin("/readyz").await;
    assert_eq!(ready.status, 503);
    let text = String::from_utf8_lossy(&ready.body).into_owned();
    assert!(text.contains("cut off from its server"), "{text}");
    // It serves on.
    assert_eq!(relay.get("/describe").await.body, model(1).as_bytes());
}

#[tokio::test]
async fn a_cold_relay_serves_what_it_kept_to_those_who_hold_nothing() {
    let rig = Rig::new();
    let root = rig.root().await;
    let kept = rig.path("kept");
    let flags = ["--state-dir", &*kept];
    let mut relay = rig.serves("relay", &source(&[root.listen], ""), "", &flags).await;
    relay.ready().await;
    rig.change(2);
    let id = serves(&relay, 2).await;
    let url = root.listen;
    drop(root);
    relay.child.kill().await.expect("SIGKILL");
    let relay = rig.serves("relay", &source(&[url], ""), "", &flags).await;
    let reply = relay.get("/describe").await;
    assert_eq!((reply.status, reply.id()), (200, &*id));
    let version: Vec<_> = id.split('.').collect();
    let ahead = format!("{}.7.{}", version[0], "0".repeat(32));
    let reply = relay.get(&format!("/describe?since={ahead}&wait=10")).await;
    assert_eq!(reply.json()["type"], "https://tidewait.dev/problems/not-confirmed");
    let ready = relay.admin("/readyz").await;
    assert_eq!(ready.status, 503);
    assert!(String::from_utf8_lossy(&ready.body).contains("no server has confirmed it yet"));
    let path = Client::connect(relay.listen).await.get("/describe", &[("Relay", "x")]).await;
    assert!(path.field("state-path").starts_with("unrooted, "), "{:?}", path.fields);
    // A relay refuses what has no root, and does not have to wait for that.
    let mut below = Client::connect(relay.listen).await;
    let target = format!("/describe?since={id}&wait=50");
    let asked = below.get(&target, &[("Relay", "x")]);
    assert_eq!(tokio::time::timeout(std::time::Duration::from_secs(10), asked).await.expect("at once").status, 204);
}

/// A slow line, here 50 kbit/s scaled up as the model is scaled down: it must not be taken for silence, or the same state
/// would be begun again and again.
async fn slow(to: std::net::SocketAddr, bytes_a_second: usize) -> std::net::SocketAddr {
    let tenth = std::time::Duration::from_millis(100);
    way(to, bytes_a_second / 10, std::sync::Arc::new(move |_| Box::pin(tokio::time::sleep(tenth)))).await
}

/// The line takes 16 s for the model, longer than the wait (2 s) and the skew (10 s).
#[tokio::test]
async fn a_large_model_over_a_slow_line_arrives_at_the_first_attempt() {
    let rig = Rig::new();
    let random: String = std::iter::repeat_with(fastrand::alphanumeric).take(200_000).collect();
    rig.write("next", &format!(r#"{{"blob":"{random}","version":2}}"#));
    std::fs::rename(rig.path("next"), rig.path("model.json")).expect("one folder");
    let root = rig.root().await;
    let relay = rig.serves("relay", &source(&[slow(root.listen, 12_500).await], ""), "", &[]).await;
    let id = root.get("/describe").await.id().to_owned();
    until("it has arrived", async || (relay.get("/describe").await.id() == id).then_some(())).await;
    let answers = root.metric("tidewait_http_requests_total{code=\"200\",route=\"describe\"}").await;
    assert!((answers - 2.0).abs() < 0.5, "the whole model was sent once to the relay and once to this test: {answers}");
}

#[tokio::test]
async fn a_relay_that_starts_anew_is_fresh_and_ready_though_nothing_has_changed() {
    let rig = Rig::new();
    let root = rig.root().await;
    let kept = rig.path("kept");
    let flags = ["--state-dir", &*kept];
    let mut relay = rig.serves("relay", &source(&[root.listen], ""), "", &flags).await;
    relay.ready().await;
    let id = serves(&relay, 1).await;
    relay.child.kill().await.expect("SIGKILL");
    let relay = rig.serves("relay", &source(&[root.listen], ""), "", &flags).await;
    until("it is fresh", async || (age(&relay).await == 0).then_some(())).await;
    assert_eq!((relay.admin("/readyz").await.status, relay.get("/describe").await.id()), (200, &*id));
    // The model was not sent again: the relay named what it had.
    let answers = root.metric("tidewait_http_requests_total{code=\"200\",route=\"describe\"}").await;
    assert!((answers - 1.0).abs() < 0.5, "{answers}");
    drop(root);
    until("the age grows", async || (age(&relay).await > 0).then_some(())).await;
}
