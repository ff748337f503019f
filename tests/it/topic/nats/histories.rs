//! A stream that is made anew, or that shows an older state, is another history: readers are told of a gap, and ids tell them apart.

use super::{Shared, publish, say};
use crate::nats::{NatsServer, connect};
use crate::server::{Server, until};
use crate::topic::{Stream, at, said};

const STREAM: &str = "tidewait_topic-chat";

/// Waits until a replica has another history than that of this id; gives its page.
async fn another(server: &Server, before: &str) -> serde_json::Value {
    until("another history", async || {
        let page = server.get(&format!("/chat?since={before}&wait=0")).await;
        (page.status == 200 && page.json()["gap"].is_object()).then(|| page.json())
    })
    .await
}

fn epoch(id: &serde_json::Value) -> String {
    id.as_str().and_then(|id| id.split_once('.')).expect("an id").0.to_owned()
}

#[tokio::test]
async fn a_stream_that_is_made_anew_is_another_history() {
    let nats = NatsServer::start().await;
    let shared = Shared::new(&nats.url(), 1, "");
    let (one, two) = (shared.replica().await, shared.replica().await);
    say(&one, "a").await;
    let before = say(&one, "b").await;
    let mut stream = Stream::events(&two, &format!("/chat?since={before}")).await;
    assert!(stream.event().await.contains("event: same"));
    let context = connect(&nats.url()).await;
    context.delete_stream(STREAM).await.expect("deleted");
    let gap = stream.event().await;
    assert!(gap.starts_with("event: gap\n") && gap.contains("\"missed\":null"), "{gap}");
    let pages = [another(&one, &before).await, another(&two, &before).await];
    assert_eq!(pages[0], pages[1]);
    assert_eq!((&pages[0]["gap"]["missed"], said(&pages[0]).len()), (&serde_json::Value::Null, 0));
    // Ids go on from 1, in the epoch that all have.
    let now = say(&one, "c").await;
    assert_eq!(now, at(pages[0]["next"].as_str().expect("an id"), 1));
    assert!(stream.event().await.starts_with(&format!("id: {now}\n")));
    assert_eq!(one.get("/chat").await.json(), two.get("/chat").await.json());
}

/// Backups: no replica knows of one but by what it shows.
#[tokio::test]
async fn a_stream_that_shows_an_older_state_is_another_history() {
    let nats = NatsServer::start().await;
    let shared = Shared::new(&nats.url(), 1, "");
    let (one, two) = (shared.replica().await, shared.replica().await);
    for text in ["a", "b"] {
        assert_eq!(publish(&one, text, text).await.status, 201);
    }
    nats.save().await;
    let mut before = String::new();
    for text in ["c", "d", "e"] {
        before = say(&one, text).await;
    }
    let first = until("it is read at the other", async || {
        let page = two.get("/chat").await.json();
        (page["next"] == *before).then_some(page)
    })
    .await;
    assert_eq!(said(&first), ["a", "b", "c", "d", "e"], "the restart alone is no other history");
    for round in 0..2 {
        nats.restore().await;
        let pages = [another(&one, &before).await, another(&two, &before).await];
        assert_eq!((said(&pages[0]), &pages[0]["gap"]["missed"]), (vec!["a", "b"], &serde_json::Value::Null));
        // All come to the same epoch.
        until("one epoch", async || {
            let (one, two) = (one.get("/chat").await, two.get("/chat").await);
            (one.json() == two.json()).then_some(())
        })
        .await;
        let next = say(&two, "f").await;
        assert!(next.ends_with(".3") && !next.starts_with(&epoch(&first["next"])), "{round}: {next}");
        assert_ne!(epoch(&before.as_str().into()), epoch(&next.as_str().into()), "{round}");
        until("it is read at both", async || (said(&one.get("/chat").await.json()) == ["a", "b", "f"]).then_some(()))
            .await;
        assert_eq!(publish(&one, "a", "other").await.status, 422, "the key is in what was restored");
        before = say(&one, "g").await;
    }
    // One that comes later agrees.
    assert_eq!(shared.replica().await.get("/chat").await.json(), two.get("/chat").await.json());
}

/// Another process has published so much since that the offsets alone do not tell.
#[tokio::test]
async fn an_older_state_that_has_grown_is_another_history() {
    let nats = NatsServer::start().await;
    let shared = Shared::new(&nats.url(), 1, "");
    let one = shared.replica().await;
    say(&one, "a").await;
    nats.save().await;
    let before = say(&one, "b").await;
    // It hears of nothing for now.
    one.signal(rustix::process::Signal::STOP);
    nats.restore().await;
    let two = shared.replica().await;
    for text in ["x", "y", "z"] {
        say(&two, text).await;
    }
    one.signal(rustix::process::Signal::CONT);
    let page = another(&one, &before).await;
    assert_eq!((said(&page), &page["gap"]["missed"]), (vec!["a", "x", "y", "z"], &serde_json::Value::Null));
    until("one epoch", async || (one.get("/chat").await.json() == two.get("/chat").await.json()).then_some(())).await;
}
