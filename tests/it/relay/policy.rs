//! Who may be served by a relay, as its server says.

use tidewait::access::tokens;

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

/// The part would pass for the whole.
#[tokio::test]
async fn a_relay_that_may_see_a_part_has_to_select_it() {
    let rig = Rig::new();
    rig.write("tokens", &tokens::line("s3cr3t", "relay", &[]));
    rig.write("token", "s3cr3t");
    let access = format!(
        "access: {{tokens: {}, rules: [{{subjects: [\"user:relay\"], verbs: [get], operations: ['*'], restrict: [/a]}}]}}",
        rig.path("tokens")
    );
    let file = format!("relays: open, source: {{file: {{path: {}}}}}", rig.path("model.json"));
    let mut root = rig.serves("root", &file, &access, &[]).await;
    root.ready().await;
    let shows = format!(", tokenFile: {}", rig.path("token"));
    let mut whole = rig.serves("whole", &source(&[root.listen], &shows), "", &[]).await;
    whole.logged("403").await;
    assert_eq!(whole.get("/describe").await.status, 503, "it has nothing");
    let mut part = rig.serves("part", &source(&[root.listen], &format!("{shows}, select: [/a]")), "", &[]).await;
    part.ready().await;
    assert_eq!(&*part.get("/describe?select=/a").await.body, br#"{"a":{"mtu":1}}"#);
    assert_eq!(part.get("/describe").await.status, 421);
}

#[tokio::test]
async fn check_reads_the_files_by_which_a_relay_shows_who_it_is() {
    let rig = Rig::new();
    rig.write("empty", "\n");
    for (field, value, expected) in [
        ("ca", "/nowhere", "source.describe.ca of operation describe: "),
        (
            "tokenFile",
            "/nowhere",
            "source.describe.tokenFile of operation describe: /nowhere: name a file that can be used",
        ),
        ("tokenFile", &*rig.path("empty"), "it is empty"),
        ("certificate: c, key", "/nowhere", "source.describe.key of operation describe: /nowhere"),
    ] {
        let text = format!(
            "apiVersion: tidewait.dev/v1alpha1\nkind: ServeConfig\noperations:\n- {{path: /describe, source: {{describe: \
             {{urls: [\"https://root.example/describe\"], {field}: {value}}}}}}}\n"
        );
        rig.write("relay.yaml", &text);
        let checked = crate::server::tidewait(&["check", "--config", &rig.path("relay.yaml")]).output();
        let output = tokio::time::timeout(crate::server::STEP, checked).await.expect("in time").expect("it runs");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && told.contains(expected), "{field}: {told}");
    }
}
