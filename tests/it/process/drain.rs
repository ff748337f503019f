//! How it stops: parked requests are answered over the grace period, and nobody is cut off.

use rustix::process::Signal;
use tokio::time::{Duration, Instant};

use super::{PARKED, Port, park, serve, until};
use crate::model_file::ModelFile;
use crate::server::{Client, STEP, Server, tidewait};

const GRACE: Duration = Duration::from_secs(10);
const CLIENTS: usize = 40;

/// A server with parked requests, and the id on which they are parked.
async fn with_parked(model: &ModelFile, grace: Duration) -> (Server, Vec<Client>, String) {
    let grace = format!("{}s", grace.as_secs());
    let mut server = serve(model, &["--grace", &grace]).await;
    server.ready().await;
    let id = server.get("/describe").await.id().to_owned();
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let mut client = Client::connect(server.listen).await;
        client.send("GET", &format!("/describe?since={id}&wait=50"), &[]).await;
        clients.push(client);
    }
    #[expect(clippy::cast_precision_loss, reason = "a few")]
    server.metric_becomes(PARKED, CLIENTS as f64).await;
    (server, clients, id)
}

/// When each parked request is answered 204 with `Connection: close`, since `start`; checks that
/// the connection then closes.
async fn drained(clients: Vec<Client>, id: &str, start: Instant) -> Vec<Duration> {
    let answers = clients.into_iter().map(|mut client| async move {
        let reply = client.reply().await;
        assert_eq!((reply.status, reply.id(), reply.field("connection")), (204, id, "close"), "{reply:?}");
        let at = start.elapsed();
        assert!(client.try_reply().await.is_none(), "it closes");
        at
    });
    let mut times = futures::future::join_all(answers).await;
    times.sort();
    times
}

#[tokio::test]
async fn sigterm_answers_who_is_parked_over_the_grace_period_and_exits_with_0() {
    let model = ModelFile::new(r#"{"n":1}"#);
    let (mut server, mut clients, id) = with_parked(&model, GRACE).await;
    let mut watched = clients.pop().expect("many");
    let start = Instant::now();
    server.signal(Signal::TERM);
    server.logged("\"stopping\"").await;
    let draining = until("not ready", &server, Port::Admin, "/readyz", |reply| reply.status == 503).await;
    assert_eq!(&*draining.body, b"draining\n", "told before the last client is answered");
    let mut late = Client::connect(server.listen).await;
    late.send("GET", &format!("/describe?since={id}&wait=50"), &[]).await;
    let mut fresh = Client::connect(server.listen).await;
    let whole = fresh.get("/describe", &[]).await;
    assert_eq!((whole.status, whole.field("connection")), (200, "close"), "a new client still gets the state");
    clients.push(late);
    let times = drained(clients, &id, start).await;
    assert_eq!(watched.reply().await.status, 204);
    assert_eq!(server.ended().await, Some(0));
    let (first, last) = (times[0], times[times.len() - 1]);
    assert!(last > first + GRACE / 2, "spread over the grace period: {first:?} to {last:?}");
    assert!(start.elapsed() < GRACE + Duration::from_secs(2), "{:?}", start.elapsed());
    assert!(server.log.borrow().iter().any(|line| line.contains("\"stopped\"")));
}

#[tokio::test]
async fn a_change_during_the_drain_is_answered_at_once() {
    let model = ModelFile::new(r#"{"n":1}"#);
    // Long enough that whoever is answered soon was not answered by the drain.
    let long = GRACE * 30;
    let (mut server, clients, id) = with_parked(&model, long).await;
    server.signal(Signal::TERM);
    server.logged("\"stopping\"").await;
    model.replace(r#"{"n":2}"#);
    let start = Instant::now();
    let replies = clients.into_iter().map(|mut client| async move { client.reply().await });
    let replies = futures::future::join_all(replies).await;
    assert!(start.elapsed() < GRACE, "{:?} of {long:?}", start.elapsed());
    let (changed, early): (Vec<_>, Vec<_>) = replies.iter().partition(|reply| reply.status == 200);
    assert!(early.len() <= CLIENTS / 4, "the drain had only begun: {early:?}");
    for reply in early {
        assert_eq!((reply.status, reply.id(), reply.field("connection")), (204, &*id, "close"), "{reply:?}");
    }
    for reply in changed {
        assert_eq!((reply.json()["n"].as_u64(), reply.field("connection")), (Some(2), "close"), "{reply:?}");
        assert_ne!(reply.id(), id);
    }
    assert_eq!(server.ended().await, Some(0));
    assert!(start.elapsed() < GRACE * 2, "and it is over when the last is answered: {:?}", start.elapsed());
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once_with_1() {
    let model = ModelFile::new("{}");
    let mut server = serve(&model, &["--grace", "1h"]).await;
    server.ready().await;
    let id = server.get("/describe").await.id().to_owned();
    let _parked = park(&server, &id, "50").await;
    server.signal(Signal::TERM);
    server.logged("\"stopping\"").await;
    server.signal(Signal::INT);
    assert_eq!(server.ended().await, Some(1));
    server.logged("a second signal came").await;
}

#[tokio::test]
async fn with_nobody_parked_it_stops_at_once() {
    let model = ModelFile::new("{}");
    let mut server = serve(&model, &["--grace", "1h"]).await;
    server.ready().await;
    // Its connection is idle: closed, and not waited for.
    let mut idle = Client::connect(server.listen).await;
    assert_eq!(idle.get("/describe", &[]).await.status, 200);
    let start = Instant::now();
    server.signal(Signal::TERM);
    assert_eq!(server.ended().await, Some(0));
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    assert!(idle.try_reply().await.is_none(), "closed in order");
}

#[tokio::test]
async fn tidewait_drain_answers_who_is_parked_and_the_process_goes_on() {
    let model = ModelFile::new(r#"{"n":1}"#);
    let (mut server, clients, id) = with_parked(&model, GRACE).await;
    let admin = server.admin.to_string();
    let start = Instant::now();
    let drain = tokio::spawn(tidewait(&["drain", "--admin", &admin]).output());
    let times = drained(clients, &id, start).await;
    let output = drain.await.expect("no panic").expect("it runs");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("drained, 0 requests are parked"), "{output:?}");
    assert!(times[times.len() - 1] > GRACE / 2, "spread: {times:?}");
    assert_eq!(server.admin("/readyz").await.status, 503);
    assert_eq!(server.admin("/livez").await.status, 200);
    let after = server.get("/describe").await;
    assert_eq!((after.status, after.json()["n"].as_u64()), (200, Some(1)), "it goes on until SIGTERM");
    let asked = Instant::now();
    let at_once = server.get(&format!("/describe?since={id}&wait=50")).await;
    assert_eq!((at_once.status, at_once.id(), at_once.field("connection")), (204, &*id, "close"));
    assert!(asked.elapsed() < Duration::from_secs(5), "at once, not after 50 s: {:?}", asked.elapsed());
    server.signal(Signal::TERM);
    assert_eq!(server.ended().await, Some(0));
    let gone = tidewait(&["drain", "--admin", &admin]).output().await.expect("it runs");
    let error = String::from_utf8_lossy(&gone.stderr);
    assert_eq!(gone.status.code(), Some(1), "{error}");
    assert!(error.contains(&admin) && error.contains("is it running"), "{error}");
}

/// Many programs read their files anew on SIGHUP, so that is what operators send.
#[tokio::test]
async fn sighup_is_ignored_and_said() {
    let model = ModelFile::new(r#"{"n":1}"#);
    let mut server = serve(&model, &["--grace", "1h"]).await;
    server.ready().await;
    let id = server.get("/describe").await.id().to_owned();
    let mut parked = park(&server, &id, "50").await;
    server.signal(Signal::HUP);
    let line = server.logged("SIGHUP is ignored").await;
    assert!(line.contains("SIGTERM stops"), "{line}");
    assert_eq!(server.admin("/readyz").await.status, 200);
    model.replace(r#"{"n":2}"#);
    let reply = parked.reply().await;
    assert_eq!((reply.status, reply.json()["n"].as_u64()), (200, Some(2)), "who is parked stays so");
    let mut parked = park(&server, reply.id(), "50").await;
    server.signal(Signal::TERM);
    server.logged("\"stopping\"").await;
    server.signal(Signal::HUP);
    let said = |log: &Vec<String>| log.iter().filter(|line| line.contains("SIGHUP is ignored")).count() == 2;
    tokio::time::timeout(STEP, server.log.wait_for(said)).await.expect("also while it drains").expect("it runs");
    model.replace(r#"{"n":3}"#);
    assert_eq!(parked.reply().await.status, 200);
    assert_eq!(server.ended().await, Some(0));
}
