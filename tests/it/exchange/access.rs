//! Consumers and workers whose credential is withdrawn while they wait.

use super::{Dialled, send, text};
use crate::process::tokens::made;
use crate::server::Server;

const QUEUED: &str = "tidewait_exchange_queued{exchange=\"work\"}";
const FREE: &str = "tidewait_exchange_slots{exchange=\"work\",state=\"free\"}";

#[tokio::test]
async fn whose_credential_is_withdrawn_gets_no_answer_and_no_request() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("tokens");
    let [user, guest, gone, stays] =
        [made(&["user"]).await, made(&["guest"]).await, made(&["gone"]).await, made(&["stays"]).await];
    let write = |tokens: &[&(String, String)]| {
        let next = folder.path().join("next");
        let lines: Vec<_> = tokens.iter().map(|(_, line)| line.as_str()).collect();
        std::fs::write(&next, lines.join("\n") + "\n").expect("written");
        std::fs::rename(&next, &file).expect("renamed");
    };
    write(&[&user, &guest, &gone, &stays]);
    let server = Server::start(&["--exchange", "/work", "--access-tokens", file.to_str().expect("UTF-8")]).await;
    let bearer = |(token, _): &(String, String)| format!("Bearer {token}");
    let as_guest = bearer(&guest);
    let mut refused = send(server.listen, "GET", "/work", &[("Authorization", &as_guest)], "").await;
    server.metric_becomes(QUEUED, 1.0).await;
    // A worker that polls, and one that has dialled in: both are to get nothing more.
    let as_gone = bearer(&gone);
    write(&[&user, &gone, &stays]);
    server.metric_becomes("tidewait_access_tokens", 3.0).await;
    let lines = format!("Authorization: {as_gone}\r\n");
    let mut worker = Dialled::with(server.listen, "/exchange/work/reverse", &lines).await;
    assert!(worker.head().await.expect("a request").starts_with("GET /work"));
    worker.write("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret").await;
    let told = refused.reply().await;
    assert_eq!(told.status, 401, "{}", text(&told));
    // Its answer may have been of use to nobody before it was whole, which ends the connection.
    drop(worker);
    let mut worker = Dialled::with(server.listen, "/exchange/work/reverse", &lines).await;
    let target = "/exchange/work/claims?wait=20";
    let mut poll = send(server.listen, "POST", target, &[("Authorization", &as_gone)], "").await;
    server.metric_becomes(FREE, 2.0).await;
    write(&[&user, &stays]);
    server.metric_becomes("tidewait_access_tokens", 2.0).await;
    let mut consumer = send(server.listen, "POST", "/work", &[("Authorization", &bearer(&user))], "x").await;
    assert_eq!(poll.reply().await.status, 401);
    assert!(worker.head().await.is_none(), "its connection ends without a request");
    let lines = format!("Authorization: {}\r\n", bearer(&stays));
    let mut other = Dialled::with(server.listen, "/exchange/work/reverse", &lines).await;
    let head = other.head().await.expect("a request");
    assert!(head.contains("exchange-attempt: 1"), "{head}");
    assert_eq!(other.body(1).await, "x");
    other.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    assert_eq!(text(&consumer.reply().await), "ok");
}
