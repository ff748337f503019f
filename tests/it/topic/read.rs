//! What polls are given.

use super::{at, configured, said, say, start};
use crate::exchange::text;
use crate::server::{Client, Server};

const READERS: &str = "tidewait_topic_readers{topic=\"chat\"}";

async fn parked(server: &Server, target: &str) -> Client {
    let mut client = Client::connect(server.listen).await;
    client.send("GET", target, &[]).await;
    client
}

#[tokio::test]
async fn a_poll_waits_for_the_next_message_and_reads_on() {
    let server = start(&[]).await;
    let empty = server.get("/chat").await;
    assert_eq!((empty.status, said(&empty.json()).len()), (200, 0));
    let next = empty.json()["next"].as_str().expect("an id").to_owned();
    assert_eq!(empty.field("topic-last"), next);
    let mut waiting = parked(&server, &format!("/chat?since={next}")).await;
    server.metric_becomes(READERS, 1.0).await;
    let first = say(&server, "one").await;
    let page = waiting.reply().await;
    assert_eq!((page.status, said(&page.json())), (200, vec!["one"]));
    assert_eq!(page.json()["next"], *first);
    server.metric_becomes(READERS, 0.0).await;
    // The same connection reads on.
    say(&server, "two").await;
    say(&server, "three").await;
    let page = waiting.get(&format!("/chat?since={first}"), &[]).await;
    assert_eq!(said(&page.json()), ["two", "three"]);
    let over = waiting.get(&format!("/chat?since={}&wait=0.2", at(&first, 3)), &[]).await;
    assert_eq!((over.status, over.body.len(), over.field("topic-last")), (204, 0, &*at(&first, 3)));
    let preferred = waiting.get(&format!("/chat?since={}", at(&first, 3)), &[("Prefer", "wait=0")]).await;
    assert_eq!((preferred.status, preferred.field("preference-applied")), (204, "wait=0"));
    let mut client = Client::connect(server.listen).await;
    client.send("HEAD", &format!("/chat?since={first}"), &[]).await;
    let mut head = [0; 4096];
    let count = tokio::io::AsyncReadExt::read(client.stream.get_mut(), &mut head).await.expect("read");
    let head = String::from_utf8_lossy(&head[..count]).into_owned();
    assert!(head.starts_with("HTTP/1.1 200 OK") && head.contains(&format!("topic-first: {}", at(&first, 1))), "{head}");
    assert!(head.ends_with("\r\n\r\n"), "{head}");
}

#[tokio::test]
async fn a_reader_that_says_nothing_begins_with_the_last_messages() {
    let server = start(&[]).await;
    for number in 0..4 {
        say(&server, &number.to_string()).await;
    }
    for (query, expected) in [
        ("", vec!["0", "1", "2", "3"]),
        ("?tail=1", vec!["3"]),
        ("?tail=0", vec![]),
        ("?from=earliest&limit=2", vec!["0", "1"]),
        ("?from=latest", vec![]),
        ("?unknown=1", vec!["0", "1", "2", "3"]),
    ] {
        assert_eq!(said(&server.get(&format!("/chat{query}")).await.json()), expected, "{query}");
    }
    let wrong = server.get("/chat?limit=many").await;
    assert!(wrong.status == 400 && text(&wrong).contains("limit is \\\"many\\\""), "{}", text(&wrong));
}

#[tokio::test]
async fn what_was_missed_is_told() {
    let (_folder, server) = configured("[{path: /chat, history: {messages: 2}}]", &[]).await;
    let first = say(&server, "0").await;
    for number in 1..6 {
        say(&server, &number.to_string()).await;
    }
    let page = server.get(&format!("/chat?since={first}")).await.json();
    assert_eq!(said(&page), ["4", "5"]);
    let gap = serde_json::json!({ "since": first, "first": at(&first, 5), "missed": 3 });
    assert_eq!(page["gap"], gap);
    let other = server.get("/chat?since=0123456789abcdef.9").await.json();
    assert_eq!((&other["gap"]["missed"], said(&other)), (&serde_json::Value::Null, vec!["4", "5"]));
    let future = server.get(&format!("/chat?since={}", at(&first, 99))).await.json();
    assert_eq!((&future["gap"]["missed"], &future["next"]), (&0.into(), &at(&first, 6).into()));
    let closed = server.get(&format!("/chat?since={first}&on-gap=close")).await;
    assert_eq!((closed.status, &closed.json()["type"]), (410, &"https://tidewait.dev/problems/history-gone".into()));
    let state = server.admin("/state").await.json();
    let topic = &state["topics"][0];
    assert_eq!((&topic["messages"], &topic["last"], &topic["readers"]), (&2.into(), &at(&first, 6).into(), &0.into()));
}

#[tokio::test]
async fn a_restart_begins_another_history_and_says_so() {
    let server = start(&[]).await;
    let last = say(&server, "before").await;
    drop(server);
    let server = start(&[]).await;
    say(&server, "after").await;
    let page = server.get(&format!("/chat?since={last}")).await.json();
    assert_eq!((&page["gap"]["since"], &page["gap"]["missed"]), (&last.into(), &serde_json::Value::Null));
    assert_eq!(said(&page), ["after"]);
}
