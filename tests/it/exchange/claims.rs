//! Workers that poll.

use super::{ask, configured, send, start, text};
use crate::server::Client;

#[tokio::test]
async fn a_poll_becomes_a_claim_and_its_answer_is_the_consumers() {
    let mut server = start(&[]).await;
    let mut poll = send(server.listen, "POST", "/exchange/work/claims?wait=20", &[("Agent-Id", "w")], "").await;
    server.metric_becomes("tidewait_exchange_polls{exchange=\"work\"}", 1.0).await;
    let fields = [("Content-Type", "text/x"), ("Cookie", "a=b")];
    let mut consumer = send(server.listen, "POST", "/work?q=1", &fields, "hello").await;
    let claim = poll.reply().await;
    assert_eq!((claim.status, text(&claim).as_str()), (200, "hello"));
    for (name, expected) in [
        ("exchange-method", "POST"),
        ("exchange-target", "/work?q=1"),
        ("exchange-attempt", "1"),
        ("exchange-lease", "10"),
        ("exchange-time-left", "600"),
        ("content-type", "text/x"),
    ] {
        assert_eq!(claim.field(name), expected, "{name}");
    }
    assert!(!claim.fields.iter().any(|(name, _)| name == "cookie"));
    let location = claim.field("location").to_owned();
    let beat = ask(server.listen, "POST", &format!("{location}/beat"), &[], "").await;
    assert_eq!((beat.status, beat.field("exchange-lease")), (204, "30"));
    let answer = [("Exchange-Status", "418"), ("Content-Type", "text/y"), ("Retry-After", "9")];
    assert_eq!(ask(server.listen, "POST", &location, &answer, "teapot").await.status, 204);
    let reply = consumer.reply().await;
    assert_eq!((reply.status, text(&reply).as_str()), (418, "teapot"));
    assert_eq!((reply.field("content-type"), reply.field("retry-after")), ("text/y", "9"));
    assert_eq!(ask(server.listen, "POST", &location, &[], "again").await.status, 409);
    // The connection of the consumer can be used on.
    assert!(!consumer.closed);
    server.metric_becomes("tidewait_exchange_ended_total{as=\"done\",exchange=\"work\"}", 1.0).await;
    server.signal(rustix::process::Signal::TERM);
    assert_eq!(server.ended().await, Some(0));
}

#[tokio::test]
async fn a_whole_message_can_be_asked_for_and_answered() {
    let server = start(&[]).await;
    let accept = [("Accept", "message/http")];
    let mut poll = send(server.listen, "POST", "/exchange/work/claims", &accept, "").await;
    let mut consumer = Client::connect(server.listen).await;
    consumer.send("PUT", "/work", &[("X-A", "b"), ("Content-Length", "2")]).await;
    tokio::io::AsyncWriteExt::write_all(consumer.stream.get_mut(), b"hi").await.expect("sent");
    let claim = poll.reply().await;
    let message = text(&claim);
    assert!(message.starts_with("PUT /work HTTP/1.1\r\n"), "{message}");
    assert!(message.contains("\r\nx-a: b\r\n") && message.ends_with("\r\n\r\nhi"), "{message}");
    let answer =
        "HTTP/1.1 207 Multi\r\nX-B: c\r\nSet-Cookie: d=e\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let posted = [("Content-Type", "message/http")];
    let taken = ask(server.listen, "POST", claim.field("location"), &posted, answer).await;
    assert_eq!(taken.status, 204, "{}", text(&taken));
    let reply = consumer.reply().await;
    assert_eq!((reply.status, reply.field("x-b"), reply.field("set-cookie")), (207, "c", "d=e"));
    assert_eq!(text(&reply), "abc");
}

#[tokio::test]
async fn an_answer_that_is_no_http_ends_the_request_with_502() {
    let server = start(&[]).await;
    for answer in ["hello", "HTTP/1.1 101 Switching\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"] {
        let mut poll = send(server.listen, "POST", "/exchange/work/claims", &[], "").await;
        let mut consumer = send(server.listen, "GET", "/work", &[], "").await;
        let claim = poll.reply().await;
        let posted = [("Content-Type", "message/http")];
        let refused = ask(server.listen, "POST", claim.field("location"), &posted, answer).await;
        assert_eq!(refused.status, 400, "{answer}: {}", text(&refused));
        let reply = consumer.reply().await;
        assert_eq!(reply.status, 502, "{answer}");
        assert!(text(&reply).contains("worker-malformed"), "{answer}");
    }
}

#[tokio::test]
async fn one_slot_has_one_poll_and_gets_the_same_claim_until_it_touches_it() {
    let server = start(&[]).await;
    let agent = [("Agent-Id", "w")];
    let mut older = send(server.listen, "POST", "/exchange/work/claims", &agent, "").await;
    server.metric_becomes("tidewait_exchange_polls{exchange=\"work\"}", 1.0).await;
    let mut newer = send(server.listen, "POST", "/exchange/work/claims", &agent, "").await;
    let superseded = older.reply().await;
    assert_eq!(superseded.status, 409);
    assert!(text(&superseded).contains("problems/superseded"));
    let mut consumer = send(server.listen, "POST", "/work", &[], "x").await;
    let claim = newer.reply().await;
    let again = ask(server.listen, "POST", "/exchange/work/claims", &agent, "").await;
    assert_eq!(again.field("exchange-claim"), claim.field("exchange-claim"));
    assert_eq!((text(&again).as_str(), again.field("exchange-attempt")), ("x", "1"));
    assert_eq!(ask(server.listen, "DELETE", again.field("location"), &[], "").await.status, 204);
    let other = ask(server.listen, "POST", "/exchange/work/claims", &agent, "").await;
    assert_ne!(other.field("exchange-claim"), claim.field("exchange-claim"));
    assert_eq!(other.field("exchange-attempt"), "1", "what is given back is no attempt");
    assert_eq!(ask(server.listen, "POST", other.field("location"), &[], "y").await.status, 204);
    assert_eq!(text(&consumer.reply().await), "y");
}

#[tokio::test]
async fn a_poll_of_one_key_takes_requests_of_that_key_and_a_push_ends_those_who_share() {
    let (_folder, server) =
        configured("[{name: cameras, path: '/cameras/{key}/logs', methods: [GET], share: identicalGets}]").await;
    let mut other = send(server.listen, "GET", "/cameras/b/logs", &[], "").await;
    let mut users = Vec::new();
    for _ in 0..3 {
        users.push(send(server.listen, "GET", "/cameras/a/logs", &[], "").await);
    }
    server.metric_becomes("tidewait_exchange_queued{exchange=\"cameras\"}", 2.0).await;
    let claim = ask(server.listen, "POST", "/exchange/cameras/claims?key=a&wait=20", &[], "").await;
    assert_eq!((claim.status, claim.field("exchange-target")), (200, "/cameras/a/logs"));
    let pushed =
        ask(server.listen, "POST", "/exchange/cameras/push?key=a", &[("Content-Type", "text/z")], "frame").await;
    assert_eq!((pushed.status, pushed.field("exchange-completed")), (204, "3"));
    for user in &mut users {
        let reply = user.reply().await;
        assert_eq!((reply.status, reply.field("content-type"), text(&reply).as_str()), (200, "text/z", "frame"));
    }
    assert_eq!(ask(server.listen, "POST", claim.field("location"), &[], "late").await.status, 410);
    let none = ask(server.listen, "POST", "/exchange/cameras/push?key=a", &[], "frame").await;
    assert_eq!(none.field("exchange-completed"), "0");
    assert_eq!(ask(server.listen, "POST", "/exchange/cameras/push", &[], "frame").await.status, 400);
    let claim = ask(server.listen, "POST", "/exchange/cameras/claims?wait=20", &[], "").await;
    assert_eq!(ask(server.listen, "POST", claim.field("location"), &[], "b").await.status, 204);
    assert_eq!(text(&other.reply().await), "b");
}

#[tokio::test]
async fn parameters_that_are_none_or_have_no_form_are_told_with_the_remedy() {
    let (_folder, server) = configured("[{name: cameras, path: '/cameras/{key}/logs'}]").await;
    let mut claim = send(server.listen, "POST", "/exchange/cameras/claims?key=a", &[], "").await;
    let _consumer = send(server.listen, "GET", "/cameras/a/logs", &[], "").await;
    let claim = claim.reply().await.field("location").to_owned();
    let (beat, status) = (format!("{claim}/beat?keep=1"), format!("{claim}?status=404"));
    for (target, expected) in [
        (
            "/exchange/cameras/claims?kez=cam-7",
            r#"kez is "cam-7": there is no such parameter here: give wait, key, slot"#,
        ),
        ("/exchange/cameras/claims?key=", r#"key is "": it has no value: give one, or leave it out"#),
        ("/exchange/cameras/claims?key=a&wait=1&key=b", r#"key is "b": it stands twice or more: give it once"#),
        ("/exchange/cameras/claims?wait=abc", r#"wait is "abc": give whole seconds, as wait=25"#),
        ("/exchange/cameras/claims?wait", r#"wait is "": give whole seconds, as wait=25"#),
        (&beat, r#"keep is "1": there is no such parameter here: give wait"#),
        (
            &status,
            r#"status is "404": there are no parameters here: leave it out, an answer is told by its header fields"#,
        ),
        ("/exchange/cameras/push?key=a&n=1", r#"n is "1": there is no such parameter here: give key"#),
    ] {
        let told = ask(server.listen, "POST", target, &[], "").await;
        assert_eq!(told.status, 400, "{target}");
        let detail = told.json()["detail"].as_str().unwrap_or_default().to_owned();
        assert!(detail.contains(expected), "{target}: {detail}");
    }
    let reverse = ask(server.listen, "GET", "/exchange/cameras/reverse?slots=1", &[], "").await;
    assert_eq!(reverse.status, 400, "{}", text(&reverse));
    assert_eq!(ask(server.listen, "POST", &claim, &[], "done").await.status, 204, "the claim lives");
}

#[tokio::test]
async fn a_claim_that_is_not_touched_goes_to_another_worker_and_its_late_answer_is_410() {
    let (_folder, server) = configured("[{path: /work, lease: {first: 1s, length: 2s}}]").await;
    let mut consumer = send(server.listen, "GET", "/work", &[], "").await;
    server.metric_becomes("tidewait_exchange_queued{exchange=\"work\"}", 1.0).await;
    let first = ask(server.listen, "POST", "/exchange/work/claims?wait=20", &[], "").await;
    let second = ask(server.listen, "POST", "/exchange/work/claims?wait=20", &[], "").await;
    assert_eq!((second.status, second.field("exchange-attempt")), (200, "1"));
    assert_eq!(ask(server.listen, "POST", &format!("{}/beat", second.field("location")), &[], "").await.status, 204);
    let late = ask(server.listen, "POST", first.field("location"), &[], "late").await;
    assert_eq!(late.status, 410);
    assert!(text(&late).contains("claim-gone"));
    // Touched once, and not again.
    let third = ask(server.listen, "POST", "/exchange/work/claims?wait=20", &[], "").await;
    assert_eq!(third.field("exchange-attempt"), "2");
    assert_eq!(ask(server.listen, "POST", third.field("location"), &[], "third").await.status, 204);
    assert_eq!(text(&consumer.reply().await), "third");
    for (reason, count) in [("untouched", 1.0), ("lease-over", 1.0)] {
        let series = format!("tidewait_exchange_redelivered_total{{exchange=\"work\",reason=\"{reason}\"}}");
        assert!((server.metric(&series).await - count).abs() < 0.1, "{reason}");
    }
}

#[tokio::test]
async fn a_held_beat_tells_at_once_that_the_consumer_has_left() {
    let server = start(&[]).await;
    let mut poll = send(server.listen, "POST", "/exchange/work/claims", &[], "").await;
    let consumer = send(server.listen, "POST", "/work", &[], "x").await;
    let claim = poll.reply().await;
    let beat = format!("{}/beat?wait=15", claim.field("location"));
    let mut beat = send(server.listen, "POST", &beat, &[], "").await;
    drop(consumer);
    let gone = beat.reply().await;
    assert_eq!(gone.status, 410);
    server.metric_becomes("tidewait_exchange_cancelled_total{by=\"consumer\",exchange=\"work\"}", 1.0).await;
    server.metric_becomes("tidewait_exchange_in_flight{exchange=\"work\"}", 0.0).await;
}

#[tokio::test]
async fn an_answer_without_a_body_has_no_length() {
    let server = start(&[]).await;
    let mut consumer = send(server.listen, "GET", "/work", &[], "").await;
    let claim = ask(server.listen, "POST", "/exchange/work/claims", &[], "").await;
    let fields = [("Exchange-Status", "204")];
    assert_eq!(ask(server.listen, "POST", claim.field("location"), &fields, "dropped").await.status, 204);
    let reply = consumer.reply().await;
    assert_eq!((reply.status, reply.field("content-length")), (204, ""));
}
