//! What is asked for is of no form, or is somebody else's.

use super::super::{ask, configured, send, start, text};
use super::{CLAIMS, POLLS, QUEUED, REVERSE};
use crate::process::made;
use crate::server::{Client, Server};

const UNKNOWN: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaa";

#[tokio::test]
async fn ids_that_are_guessed_or_of_no_form_are_unknown() {
    let server = start(&[]).await;
    for id in [UNKNOWN, "x", "AAAAAAAAAAAAAAAAAAAAAAAAAA", "%61aaaaaaaaaaaaaaaaaaaaaaaaa", "", "..", "aaaa%2Fbeat"] {
        for (method, target) in [("POST", format!("{CLAIMS}/{id}")), ("DELETE", format!("{CLAIMS}/{id}"))] {
            let gone = ask(server.listen, method, &target, &[], "").await;
            assert_eq!(gone.status, 410, "{method} {target}");
        }
        let beat = ask(server.listen, "POST", &format!("{CLAIMS}/{id}/beat"), &[], "").await;
        assert_eq!(beat.status, 410, "{id}");
        for method in ["GET", "HEAD", "DELETE"] {
            let item = ask(server.listen, method, &format!("/exchange/work/work/{id}"), &[], "").await;
            assert_eq!(item.status, 404, "{method} {id}");
        }
    }
    // An item is no claim, and the other way round.
    let told = ask(server.listen, "POST", "/work", &[("Prefer", "respond-async")], "x").await;
    let item = told.field("exchange-item");
    assert_eq!(ask(server.listen, "POST", &format!("{CLAIMS}/{item}"), &[], "y").await.status, 410);
    let claim = ask(server.listen, "POST", CLAIMS, &[], "").await;
    let as_item = format!("/exchange/work/work/{}", claim.field("exchange-claim"));
    assert_eq!(ask(server.listen, "GET", &as_item, &[], "").await.status, 404);
}

#[tokio::test]
async fn a_claim_of_one_exchange_is_none_of_another() {
    let (_folder, server) = configured("[{path: /work}, {path: /other}]").await;
    let mut consumer = send(server.listen, "POST", "/work", &[], "x").await;
    let claim = ask(server.listen, "POST", CLAIMS, &[], "").await;
    let elsewhere = format!("/exchange/other/claims/{}", claim.field("exchange-claim"));
    assert_eq!(ask(server.listen, "POST", &elsewhere, &[], "y").await.status, 410);
    assert_eq!(ask(server.listen, "POST", claim.field("location"), &[], "z").await.status, 204);
    assert_eq!(text(&consumer.reply().await), "z");
}

#[tokio::test]
async fn what_is_of_no_form_is_400_and_says_what_to_give() {
    let server = start(&[]).await;
    for wait in ["x", "-1", "1.5", "", "99999999999999999999", "1s"] {
        for target in [format!("{CLAIMS}?wait={wait}"), format!("{CLAIMS}/{UNKNOWN}/beat?wait={wait}")] {
            let refused = ask(server.listen, "POST", &target, &[], "").await;
            assert_eq!(refused.status, 400, "{target}");
            assert!(text(&refused).contains("wait=25"), "{}", text(&refused));
        }
    }
    for slots in ["0", "-1", "x", "1.5", "", "99999999999999999999999"] {
        let fields = [("Connection", "upgrade"), ("Upgrade", "ptth"), ("ALPN", "h2"), ("Exchange-Slots", slots)];
        let refused = ask(server.listen, "GET", REVERSE, &fields, "").await;
        assert_eq!(refused.status, 400, "{slots}");
        assert!(text(&refused).contains("Exchange-Slots"), "{}", text(&refused));
    }
    let long = format!("{CLAIMS}?slot={}", "s".repeat(65));
    assert_eq!(ask(server.listen, "POST", &long, &[], "").await.status, 400);
    assert_eq!(ask(server.listen, "POST", &format!("{CLAIMS}?key=a"), &[], "").await.status, 400);
    // Nothing of it is left behind.
    assert!(server.metric(POLLS).await.abs() < 0.1);
}

#[tokio::test]
async fn more_slots_than_there_may_be_are_as_many_as_there_may_be() {
    let server = start(&[]).await;
    let _worker = super::Streams::dial(server.listen, 100_000).await;
    server.metric_becomes(super::FREE, 256.0).await;
}

#[tokio::test]
async fn an_agent_id_of_ten_kilobytes_is_a_name_like_any_other() {
    let server = start(&[]).await;
    let long = "a".repeat(10_000);
    let agent = [("Agent-Id", long.as_str())];
    let mut older = send(server.listen, "POST", CLAIMS, &agent, "").await;
    server.metric_becomes(POLLS, 1.0).await;
    let _newer = send(server.listen, "POST", CLAIMS, &agent, "").await;
    assert_eq!(older.reply().await.status, 409);
}

#[tokio::test]
async fn keys_are_what_they_mean_however_they_are_written() {
    let (_folder, server) = configured("[{path: '/cameras/{key}/logs', name: work}]").await;
    for (path, key) in [
        ("/cameras/a%20b/logs", "a%20b"),
        ("/cameras/%61%62/logs", "ab"),
        ("/cameras/a%2Fb/logs", "a/b"),
        ("/cameras/%C3%A9/logs", "%c3%a9"),
    ] {
        let mut consumer = send(server.listen, "GET", path, &[], "").await;
        let claim = ask(server.listen, "POST", &format!("{CLAIMS}?key={key}"), &[], "").await;
        // As it was written.
        assert_eq!((claim.status, claim.field("exchange-target")), (200, path));
        assert_eq!(ask(server.listen, "POST", claim.field("location"), &[], "done").await.status, 204);
        assert_eq!(text(&consumer.reply().await), "done");
    }
    // Neither a key that is too long, nor one that is no text, nor none is of the exchange.
    for path in
        [format!("/cameras/{}/logs", "k".repeat(300)), "/cameras/%ff/logs".to_owned(), "/cameras//logs".to_owned()]
    {
        assert_eq!(ask(server.listen, "GET", &path, &[], "").await.status, 404, "{path}");
    }
    let long = format!("{CLAIMS}?key={}&wait=0", "k".repeat(300));
    assert_eq!(ask(server.listen, "POST", &long, &[], "").await.status, 204, "nobody asks for that");
}

#[tokio::test]
async fn an_idempotency_key_is_of_one_client_and_one_request() {
    let (_folder, server) = configured("[{path: /work}]").await;
    let key = [("Idempotency-Key", "k")];
    let _first = send(server.listen, "POST", "/work", &key, "x").await;
    server.metric_becomes(QUEUED, 1.0).await;
    for (method, target, body) in [("POST", "/work", "y"), ("PUT", "/work", "x"), ("POST", "/work?a", "x")] {
        let reused = ask(server.listen, method, target, &key, body).await;
        assert_eq!(reused.status, 422, "{method} {target}");
        assert!(text(&reused).contains("key-reused"));
    }
    // Another client has its own.
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.bind(([127, 0, 0, 9], 0).into()).expect("an address of this host");
    let mut other = Client::on(socket.connect(server.listen).await.expect("it listens"));
    other.send("POST", "/work", &[("Idempotency-Key", "k"), ("Content-Length", "0")]).await;
    server.metric_becomes(QUEUED, 2.0).await;
}

#[tokio::test]
async fn posted_messages_of_no_form_end_the_request_and_never_look_whole() {
    let server = start(&[]).await;
    let message = [("Content-Type", "message/http")];
    for (answer, whole) in [
        ("", false),
        ("\r\n\r\n", false),
        ("HTTP/1.1 200 OK\r\n", false),
        ("GET / HTTP/1.1\r\n\r\n", false),
        ("HTTP/9.9 200 OK\r\n\r\n", false),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc", false),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", false),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", false),
        ("HTTP/1.1 200 OK\r\nX\x01: y\r\n\r\n", false),
        ("HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", true),
        ("HTTP/1.1 200 OK\r\n\r\nabc", true),
    ] {
        let mut consumer = send(server.listen, "POST", "/work", &[], "").await;
        let claim = ask(server.listen, "POST", CLAIMS, &[], "").await;
        let posted = ask(server.listen, "POST", claim.field("location"), &message, answer).await;
        let reply = consumer.try_reply().await;
        if whole {
            assert_eq!((posted.status, text(&reply.expect("an answer")).as_str()), (204, "abc"), "{answer}");
        } else {
            assert_eq!(posted.status, 400, "{answer}: {}", text(&posted));
            assert!(reply.is_none_or(|reply| reply.status == 502), "{answer}");
            assert_eq!(ask(server.listen, "POST", claim.field("location"), &[], "x").await.status, 410, "{answer}");
        }
    }
}

#[tokio::test]
async fn a_status_of_no_form_may_be_corrected() {
    let server = start(&[]).await;
    let mut consumer = send(server.listen, "POST", "/work", &[], "").await;
    let claim = ask(server.listen, "POST", CLAIMS, &[], "").await;
    for status in ["101", "600", "abc"] {
        let refused = ask(server.listen, "POST", claim.field("location"), &[("Exchange-Status", status)], "x").await;
        assert_eq!(refused.status, 400, "{status}");
    }
    assert_eq!(ask(server.listen, "POST", claim.field("location"), &[], "done").await.status, 204);
    assert_eq!(text(&consumer.reply().await), "done");
}

/// A server that asks for tokens, whose rules let users submit and workers work; and one token of each, and of nobody.
async fn guarded() -> (tempfile::TempDir, Server, [String; 3]) {
    let folder = tempfile::tempdir().expect("a folder");
    let (user, of_user) = made(&["u", "--groups", "users"]).await;
    let (worker, of_worker) = made(&["w", "--groups", "workers"]).await;
    let (nobody, of_nobody) = made(&["n"]).await;
    let tokens = folder.path().join("tokens");
    std::fs::write(&tokens, format!("{of_user}\n{of_worker}\n{of_nobody}\n")).expect("written");
    let file = folder.path().join("serve.yaml");
    let settings = format!(
        "apiVersion: tidewait.dev/v1alpha1\nkind: ServeConfig\nexchanges: [{{path: /work}}]\naccess:\n  tokens: {}\n  rules:\n  \
         - {{subjects: ['group:users'], verbs: [submit], exchanges: [work]}}\n  \
         - {{subjects: ['group:workers'], verbs: [work], exchanges: [work]}}\n",
        tokens.display()
    );
    std::fs::write(&file, settings).expect("written");
    let server = Server::start(&["--config", file.to_str().expect("UTF-8")]).await;
    let bearer = |token: String| format!("Bearer {token}");
    (folder, server, [bearer(user), bearer(worker), bearer(nobody)])
}

#[tokio::test]
async fn rules_say_who_may_submit_and_who_may_work() {
    let (_folder, server, [user, worker, nobody]) = guarded().await;
    let by = |who: &'static str, token: &str| (who, [("Authorization", token.to_owned())]);
    let everybody = [by("user", &user), by("worker", &worker), by("nobody", &nobody)];
    let told = ask(server.listen, "POST", "/work", &[("Authorization", &user), ("Prefer", "respond-async")], "x").await;
    assert_eq!(told.status, 202);
    let item = told.field("location").to_owned();
    let claim = format!("{CLAIMS}/{UNKNOWN}");
    let beat = format!("{claim}/beat");
    for (method, target, may, expected) in [
        ("GET", item.as_str(), "user", 202),
        ("HEAD", &item, "user", 202),
        ("POST", "/exchange/work/claims?wait=x", "worker", 400),
        ("POST", &claim, "worker", 410),
        ("DELETE", &claim, "worker", 410),
        ("POST", &beat, "worker", 410),
        ("POST", "/exchange/work/push", "worker", 204),
        ("GET", REVERSE, "worker", 426),
        ("GET", "/exchange/work/none", "worker", 404),
        ("DELETE", &item, "user", 204),
        ("POST", "/work", "user", 202),
    ] {
        assert_eq!(ask(server.listen, method, target, &[], "").await.status, 401, "{method} {target}");
        let wrong = [("Authorization", "Bearer tw_none")];
        assert_eq!(ask(server.listen, method, target, &wrong, "").await.status, 401, "{method} {target}");
        for (who, fields) in &everybody {
            if *who != may {
                let fields = [("Authorization", fields[0].1.as_str())];
                let refused = ask(server.listen, method, target, &fields, "").await;
                assert_eq!(refused.status, 403, "{who} {method} {target}");
            }
        }
        let token = if may == "user" { &user } else { &worker };
        let fields = [("Authorization", token.as_str()), ("Prefer", "respond-async")];
        assert_eq!(ask(server.listen, method, target, &fields, "").await.status, expected, "{method} {target}");
    }
}

#[tokio::test]
async fn the_queue_counts_identities_and_a_credential_goes_to_no_worker() {
    let (_folder, server, [user, worker, _]) = guarded().await;
    let fields = [("Authorization", user.as_str())];
    let mut waiting = Vec::new();
    for _ in 0..16 {
        waiting.push(send(server.listen, "GET", "/work", &fields, "").await);
    }
    server.metric_becomes(QUEUED, 16.0).await;
    assert_eq!(ask(server.listen, "GET", "/work", &fields, "").await.status, 429);
    let polls = [("Authorization", worker.as_str()), ("Accept", "message/http")];
    let claim = ask(server.listen, "POST", CLAIMS, &polls, "").await;
    let message = text(&claim).to_ascii_lowercase();
    assert!(!message.contains("authorization") && !message.contains("tw_"), "{message}");
}
