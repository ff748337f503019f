//! Who may publish, and who may read.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::{Stream, TEXT, configured};
use crate::exchange::{ask, text};
use crate::process::tokens::made;
use crate::server::Client;

#[tokio::test]
async fn rules_say_who_reads_and_who_publishes_and_a_withdrawn_credential_ends_both() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("tokens");
    let [ann, bob] = [made(&["ann"]).await, made(&["bob"]).await];
    let write = |tokens: &[&(String, String)]| {
        let next = folder.path().join("next");
        let lines: Vec<_> = tokens.iter().map(|(_, line)| line.as_str()).collect();
        std::fs::write(&next, lines.join("\n") + "\n").expect("written");
        std::fs::rename(&next, &file).expect("renamed");
    };
    write(&[&ann, &bob]);
    let rules = "[{path: /chat}]\naccess:\n  rules:\n\
                 \x20 - {subjects: [\"user:ann\"], verbs: [get, publish], topics: [chat]}\n\
                 \x20 - {subjects: [\"user:bob\"], verbs: [get], topics: [\"c*\"]}";
    let (_folder, server) = configured(rules, &["--access-tokens", file.to_str().expect("UTF-8")]).await;
    let bearer = |(token, _): &(String, String)| format!("Bearer {token}");
    let (as_ann, as_bob) = (bearer(&ann), bearer(&bob));
    let nobody = ask(server.listen, "POST", "/chat", &[TEXT], "x").await;
    assert_eq!((nobody.status, server.get("/chat").await.status), (401, 401));
    let refused = ask(server.listen, "POST", "/chat", &[TEXT, ("Authorization", &as_bob)], "x").await;
    assert!(refused.status == 403 && text(&refused).contains("the topic (get, publish)"), "{}", text(&refused));
    let told = ask(server.listen, "POST", "/chat?name=x", &[TEXT, ("Authorization", &as_ann)], "hello").await;
    assert_eq!(told.status, 201);
    let page = Client::connect(server.listen).await.get("/chat", &[("Authorization", &as_bob)]).await;
    let message = page.json()["messages"][0].clone();
    assert_eq!((&message["by"], message.get("unproven")), (&"ann".into(), None), "a name that is proven");
    let next = page.json()["next"].as_str().expect("an id").to_owned();

    let fields = format!("Accept: text/event-stream\r\nAuthorization: {as_bob}\r\n");
    let mut stream = Stream::open(server.listen, "/chat?tail=0", &fields).await;
    let mut poll = Client::connect(server.listen).await;
    poll.send("GET", &format!("/chat?since={next}"), &[("Authorization", &as_bob)]).await;
    server.metric_becomes("tidewait_topic_readers{topic=\"chat\"}", 2.0).await;
    write(&[&ann]);
    assert_eq!(poll.reply().await.status, 401);
    assert!(stream.rest().await.contains("event: auth\ndata: {\"reason\":"));
    let again = Stream::ask(server.listen, "/chat", &fields).await;
    assert!(again.head.starts_with("HTTP/1.1 401"), "{}", again.head);
}

/// A user of `--access-users`, whose password (`pass word £4`) takes time to check: so it is found out while the request waits.
const EDGE: &str = "edge:$2y$04$DADQjQLkqm2ILHDUJE6Wwuyxt4nAe.EApQypAfe5MahEntkFeRQ96";

#[tokio::test]
async fn readers_wait_until_it_is_known_who_they_are() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("users");
    std::fs::write(&file, format!("{EDGE}\n")).expect("written");
    let users = ["--access-users", file.to_str().expect("UTF-8")];
    // By one connection for each, so that none is known by the one before.
    for (user, expected) in [("edge:pass word £4", 200), ("edge:wrong", 401)] {
        let server = super::start(&users).await;
        let authorization = format!("Basic {}", BASE64_STANDARD.encode(user));
        let fields = format!("Accept: text/event-stream\r\nAuthorization: {authorization}\r\n");
        let (stream, poll) = tokio::join!(Stream::ask(server.listen, "/chat", &fields), async {
            Client::connect(server.listen).await.get("/chat", &[("Authorization", &authorization)]).await
        },);
        assert!(stream.head.starts_with(&format!("HTTP/1.1 {expected} ")), "{}", stream.head);
        assert_eq!(poll.status, expected, "{}", text(&poll));
        if expected == 200 {
            let mut stream = stream;
            assert!(stream.event().await.contains("event: same"), "there is nothing yet");
            let told = ask(server.listen, "POST", "/chat", &[TEXT, ("Authorization", &authorization)], "hi").await;
            assert_eq!(told.status, 201);
            assert!(stream.event().await.contains("data: hi\n"));
        }
    }
}
