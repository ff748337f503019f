//! Clients that each have a selection of their own: a change in one part answers one of them, a change
//! in all parts answers everyone with his own, and what that costs the server.

use futures::StreamExt as _;
use serde_json::{Map, Value, json};
use tokio::time::timeout;

use super::{LOAD, PARKED, SPREAD, cast, parked, per_client, raise_descriptors, resident};
use crate::model_file::ModelFile;
use crate::server::{Client, Server};

const CLIENTS: usize = 5_000;
const CHANGED: usize = 777;
/// KiB of the server's memory for each: half as much again as was measured.
const MOST_KIB: f64 = 4.5;
const SELECTIONS: &str = "tidewait_selections{operation=\"describe\"}";

fn model(mtu: impl Fn(usize) -> u64) -> String {
    let nodes: Map<_, _> = (0..CLIENTS).map(|at| (format!("node-{at:05}"), json!({ "mtu": mtu(at) }))).collect();
    json!({ "nodes": nodes }).to_string()
}

fn part(at: usize, mtu: u64) -> Value {
    json!({ "nodes": { format!("node-{at:05}"): { "mtu": mtu } } })
}

async fn park(client: &mut Client, at: usize) {
    let select = format!("select=/nodes/node-{at:05}");
    let answer = client.get(&format!("/describe?{select}"), &[]).await;
    client.send("GET", &format!("/describe?since={}&{select}&wait=55", answer.id()), &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_thousand_clients_with_a_selection_each() {
    let _alone = LOAD.lock().await;
    raise_descriptors();
    let file = ModelFile::new(&model(|_| 1_500));
    let mut server = Server::start(&["--file", file.arg(), "--wait-max", "55s"]).await;
    server.ready().await;
    let idle = resident(&server).await;
    let mut clients = Vec::new();
    for at in 0..CLIENTS {
        let mut client = Client::connect(server.listen).await;
        park(&mut client, at).await;
        clients.push(client);
    }
    parked(&server, CLIENTS).await;
    server.metric_becomes(SELECTIONS, cast(CLIENTS as u64)).await;
    let each = per_client(resident(&server).await - idle, CLIENTS);

    file.replace(&model(|at| if at == CHANGED { 9_000 } else { 1_500 }));
    let answer = clients[CHANGED].reply().await;
    assert_eq!((answer.status, answer.json()), (200, part(CHANGED, 9_000)));
    parked(&server, CLIENTS - 1).await;
    park(&mut clients[CHANGED], CHANGED).await;
    parked(&server, CLIENTS).await;

    file.replace(&model(|at| 2_000 + at as u64));
    let answers = futures::stream::iter(clients.iter_mut().enumerate()).then(async |(at, client)| {
        let answer = client.reply().await;
        assert_eq!((answer.status, answer.json()), (200, part(at, 2_000 + at as u64)));
    });
    timeout(SPREAD, answers.count()).await.expect("everyone is answered in time");
    let changed = server.metric("tidewait_changed_selections_total{operation=\"describe\"}").await;
    println!("{CLIENTS} clients with a selection each: parked {each:.1} KiB each; {changed} selections changed");
    assert!((changed - cast(1 + CLIENTS as u64)).abs() < 0.5, "one, and then all: {changed}");
    assert!(each < MOST_KIB, "a parked client costs {each:.1} KiB, more than {MOST_KIB}");
    drop(clients);
    server.metric_becomes(PARKED, 0.0).await;
    server.metric_becomes(SELECTIONS, 0.0).await;
}
