//! Who may be served by a relay, as its server says.

use super::{Rig, serves, source};
use crate::server::{Client, Server, until};

async fn problem(server: &Server, fields: &[(&str, &str)]) -> (u16, String) {
    let reply = Client::connect(server.listen).await.get("/describe", fields).await;
    let kind =
        if reply.status == 200 { String::new() } else { reply.json()["type"].as_str().expect("a type").to_owned() };
    (reply.status, kind)
}

#[tokio::test]
async fn a_relay_serves_nobody_where_its_server_says_none() {
    let rig = Rig::new();
    let file = format!("relays: none, source: {{file: {{path: {}}}}}", rig.path("model.json"));
    let mut root = rig.serves("root", &file, "", &[]).await;
    root.ready().await;
    let relay = rig.serves("relay", &source(&[root.listen], ""), "", &[]).await;
    until("it is refused", async || {
        let (status, kind) = problem(&relay, &[]).await;
        (status == 503 && kind.ends_with("relay-policy")).then_some(())
    })
    .await;
    assert!(!root.get("/describe").await.body.is_empty(), "others are served");
}

#[tokio::test]
async fn a_relay_with_the_same_rules_serves_and_one_with_others_does_not() {
    let rig = Rig::new();
    let file = format!("relays: same, source: {{file: {{path: {}}}}}", rig.path("model.json"));
    let mut root = rig.serves("root", &file, "", &[]).await;
    root.ready().await;
    // Both ask nobody, by the same rules: none.
    let same = rig.relay("same", &[root.listen]).await;
    serves(&same, 1).await;
    // It has a rule of its own for the operation.
    let own = format!("{}, access: {{rules: [{{subjects: [anonymous], verbs: [get]}}]}}", source(&[root.listen], ""));
    let other = rig.serves("other", &own, "", &[]).await;
    until("it is refused", async || {
        let (status, kind) = problem(&other, &[]).await;
        (status == 503 && kind.ends_with("relay-policy")).then_some(())
    })
    .await;
}
