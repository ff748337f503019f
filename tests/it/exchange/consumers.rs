//! What consumers are told.

use super::{Dialled, ask, configured, send, start, text};
use crate::server::until;

#[tokio::test]
async fn who_is_not_answered_in_time_is_sent_on_and_gets_the_answer_there() {
    let (_folder, server) = configured("[{path: /work, chain: {hops: 2, hold: 1s}}]").await;
    let first = ask(server.listen, "POST", "/work", &[("Prefer", "wait=1")], "x").await;
    assert_eq!((first.status, first.field("preference-applied")), (303, "wait=1"));
    assert_eq!((first.json()["state"].as_str(), first.json()["position"].as_u64()), (Some("queued"), Some(1)));
    let retry: u32 = first.field("retry-after").parse().expect("seconds");
    assert!((5..=6).contains(&retry), "no worker is known: {retry}");
    let hop = first.field("location").to_owned();
    assert!(hop.ends_with(&format!("{}?n=1", first.field("exchange-item"))), "{hop}");
    let second = ask(server.listen, "GET", &hop, &[], "").await;
    assert_eq!(second.status, 303);
    assert!(second.field("location").ends_with("?n=2"));
    // A client that follows redirects would soon stop.
    let third = ask(server.listen, "GET", second.field("location"), &[], "").await;
    assert_eq!((third.status, third.field("location")), (202, second.field("location")));
    let head = ask(server.listen, "HEAD", second.field("location"), &[], "").await;
    assert_eq!(head.status, 202);
    let claim = ask(server.listen, "POST", "/exchange/work/claims", &[], "").await;
    assert_eq!(text(&claim), "x", "the body was stored");
    let told = ask(server.listen, "GET", &format!("{hop}&wait=0"), &[], "").await;
    assert_eq!(told.json()["state"], "claimed");
    let mut waits = send(server.listen, "GET", &hop, &[], "").await;
    assert_eq!(ask(server.listen, "POST", claim.field("location"), &[], "done").await.status, 204);
    assert_eq!(text(&waits.reply().await), "done");
    for _ in 0..2 {
        assert_eq!(text(&ask(server.listen, "GET", &hop, &[], "").await), "done");
    }
    assert_eq!(ask(server.listen, "DELETE", &hop, &[], "").await.status, 410, "it had ended");
}

#[tokio::test]
async fn who_does_not_wait_gets_202_and_its_body_is_stored_first() {
    let (_folder, server) = configured("[{path: /work, body: {bytes: 10}}]").await;
    let prefer = [("Prefer", "respond-async")];
    let told = ask(server.listen, "POST", "/work", &prefer, "x").await;
    assert_eq!((told.status, told.field("preference-applied")), (202, "respond-async"));
    assert_eq!(told.field("location"), told.field("operation-location"));
    let pending = ask(server.listen, "GET", told.field("location"), &[], "").await;
    assert_eq!(pending.status, 202, "and it is not held there");
    let long = ask(server.listen, "POST", "/work", &prefer, "12345678901").await;
    assert_eq!(long.status, 413);
    assert!(text(&long).contains("body.bytes"));
    assert_eq!(ask(server.listen, "DELETE", told.field("location"), &[], "").await.status, 204);
    assert_eq!(ask(server.listen, "GET", told.field("location"), &[], "").await.status, 410);
    assert_eq!(ask(server.listen, "GET", "/exchange/work/work/aaaaaaaaaaaaaaaaaaaaaaaaaa", &[], "").await.status, 404);
    let post = ask(server.listen, "POST", told.field("location"), &[], "").await;
    assert_eq!((post.status, post.field("allow")), (405, "GET, HEAD, DELETE"));
    assert!(text(&post).contains("-X POST"));
}

#[tokio::test]
async fn a_look_at_an_answer_that_comes_leaves_it_to_who_comes_next() {
    // Too long to be kept, so that it is for one reader alone.
    let (_folder, server) = configured("[{path: /work, result: {bytes: 4}}]").await;
    let told = ask(server.listen, "GET", "/work", &[("Prefer", "wait=0")], "").await;
    let mut worker = Dialled::to(server.listen, "/exchange/work/reverse").await;
    worker.head().await.expect("a request");
    worker.write("HTTP/1.1 200 OK\r\nX-A: b\r\nContent-Length: 10\r\n\r\n01234").await;
    let location = told.field("location");
    let head = until("answered", async || {
        let head = ask(server.listen, "HEAD", location, &[], "").await;
        (head.status == 200).then_some(head)
    })
    .await;
    assert_eq!((head.field("x-a"), head.field("content-length")), ("b", "10"));
    assert_eq!(ask(server.listen, "HEAD", location, &[], "").await.status, 200);
    let mut consumer = send(server.listen, "GET", location, &[], "").await;
    worker.write("56789").await;
    let reply = consumer.reply().await;
    assert_eq!((reply.status, text(&reply).as_str()), (200, "0123456789"));
}

#[tokio::test]
async fn an_idempotency_key_makes_a_repeated_request_the_same() {
    let server = start(&[]).await;
    let key = [("Idempotency-Key", "\"k1\"")];
    let mut poll = send(server.listen, "POST", "/exchange/work/claims", &[], "").await;
    let first = send(server.listen, "POST", "/work", &key, "x").await;
    let claim = poll.reply().await;
    // Its connection breaks, and it comes again.
    drop(first);
    let mut again = send(server.listen, "POST", "/work", &key, "x").await;
    let reused = ask(server.listen, "POST", "/work", &key, "y").await;
    assert_eq!(reused.status, 422);
    assert_eq!(ask(server.listen, "POST", claim.field("location"), &[], "once").await.status, 204);
    assert_eq!(text(&again.reply().await), "once");
    assert_eq!(text(&ask(server.listen, "POST", "/work", &key, "x").await), "once", "also after its end");
}

#[tokio::test]
async fn the_queue_is_bounded_and_what_leaves_it_makes_room() {
    let (_folder, server) = configured("[{path: /work, queue: {length: 2, perClient: 2}}]").await;
    let first = send(server.listen, "GET", "/work", &[], "").await;
    let _second = send(server.listen, "GET", "/work", &[], "").await;
    server.metric_becomes("tidewait_exchange_queued{exchange=\"work\"}", 2.0).await;
    let full = ask(server.listen, "GET", "/work", &[], "").await;
    assert_eq!(full.status, 503);
    assert!(text(&full).contains("exchange-full") && text(&full).contains("queue.length of exchange work"));
    drop(first);
    server.metric_becomes("tidewait_exchange_queued{exchange=\"work\"}", 1.0).await;
    let _third = send(server.listen, "GET", "/work", &[], "").await;
    server.metric_becomes("tidewait_exchange_queued{exchange=\"work\"}", 2.0).await;
}

#[tokio::test]
async fn methods_and_paths_that_are_none_of_the_exchanges_are_told() {
    let (_folder, server) = configured("[{path: /work, methods: [GET, POST]}]").await;
    let put = ask(server.listen, "PUT", "/work", &[], "").await;
    assert_eq!((put.status, put.field("allow")), (405, "GET, POST"));
    for target in ["/exchange/work", "/exchange/work/", "/exchange/work/x", "/exchange/work/claims/a/b/c"] {
        let none = ask(server.listen, "GET", target, &[], "").await;
        assert_eq!(none.status, 404, "{target}");
        assert!(text(&none).contains("nothing of exchange work is here"), "{target}");
    }
    assert_eq!(ask(server.listen, "GET", "/workers", &[], "").await.status, 404);
    assert_eq!(ask(server.listen, "POST", "/exchange/work/claims?wait=x", &[], "").await.status, 400);
}

#[tokio::test]
async fn a_process_that_stops_tells_who_waits_that_nothing_was_done() {
    let mut server = start(&["--grace", "2s"]).await;
    let mut consumer = send(server.listen, "GET", "/work", &[], "").await;
    server.metric_becomes("tidewait_exchange_queued{exchange=\"work\"}", 1.0).await;
    let mut poll = send(server.listen, "POST", "/exchange/work/claims?key=", &[], "").await;
    assert_eq!(poll.reply().await.status, 400, "the path has no key");
    server.signal(rustix::process::Signal::TERM);
    let told = consumer.reply().await;
    assert_eq!(told.status, 503);
    assert!(text(&told).contains("not-claimed"));
    assert_eq!(server.ended().await, Some(0));
}
