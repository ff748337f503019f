//! Many requests, while replicas and servers of NATS are killed: each ends once.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use rustix::process::Signal;
use tokio::task::JoinSet;

use super::{ASYNC, Replicas};
use crate::exchange::{ask, text};
use crate::nats::NatsServer;
use crate::server::{Client, until};

/// How many requests: `TIDEWAIT_TEST_REQUESTS`, or few enough for each run.
fn requests() -> usize {
    std::env::var("TIDEWAIT_TEST_REQUESTS").ok().and_then(|text| text.parse().ok()).unwrap_or(1000)
}

/// What workers have answered, and was taken.
#[derive(Debug, Default)]
struct Taken(Mutex<HashMap<String, usize>>);

/// A worker that polls at one replica after the other, until it is to end.
async fn work(replicas: Vec<SocketAddr>, number: usize, taken: Arc<Taken>, ends: Arc<AtomicBool>) {
    let agent = number.to_string();
    for round in number.. {
        if ends.load(Ordering::Relaxed) {
            return;
        }
        let at = replicas[round % replicas.len()];
        let Some(mut client) = Client::try_connect(at).await else { continue };
        let fields = [("Agent-Id", agent.as_str()), ("Content-Length", "0")];
        if client.try_send("POST", "/exchange/work/claims?wait=1", &fields).await.is_err() {
            continue;
        }
        let Some(claimed) = client.try_reply().await.filter(|reply| reply.status == 200) else { continue };
        let (path, body) = (claimed.field("location").to_owned(), text(&claimed));
        // Where that replica is gone, another one takes the answer.
        for at in replicas.iter().cycle().skip(round).take(1000) {
            let Some(mut client) = Client::try_connect(*at).await else { continue };
            let length = body.len().to_string();
            if client.try_send("POST", &path, &[("Content-Length", &length)]).await.is_err() {
                continue;
            }
            if tokio::io::AsyncWriteExt::write_all(client.stream.get_mut(), body.as_bytes()).await.is_err() {
                continue;
            }
            let Some(reply) = client.try_reply().await else { continue };
            if reply.status == 503 {
                // It is to be sent again.
                continue;
            }
            if reply.status == 204 {
                *taken.0.lock().expect("no panic").entry(body.clone()).or_default() += 1;
            }
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_of_many_requests_ends_once_while_a_replica_and_nats_are_killed() {
    let count = requests();
    let nats = NatsServer::start().await;
    let settings = ", queue: {length: 100000, perClient: 100000, asyncAge: 1h}, result: {keep: 1h}, repeat: always, attempts: 100, \
        lease: {first: 5s, length: 10s}";
    let mut replicas = Replicas::start(&nats.url(), 1, settings).await;
    let third = replicas.another().await;
    let all = vec![replicas.one.listen, replicas.two.listen, third.listen];
    let (taken, ends) = (Arc::new(Taken::default()), Arc::new(AtomicBool::new(false)));
    let mut workers = JoinSet::new();
    for number in 0..16 {
        workers.spawn(work(all.clone(), number, Arc::clone(&taken), Arc::clone(&ends)));
    }
    let begun = std::time::Instant::now();
    let mut submitting = JoinSet::new();
    for part in 0..8 {
        let (from, to) = (count * part / 8, count * (part + 1) / 8);
        let at = if part % 2 == 0 { replicas.one.listen } else { third.listen };
        submitting.spawn(async move {
            let mut locations = Vec::new();
            for number in from..to {
                // What is refused is sent again: what may have been stored is stored once, and may be done by then.
                let key = number.to_string();
                let fields = [ASYNC[0], ("Idempotency-Key", key.as_str())];
                loop {
                    let reply = ask(at, "POST", "/work", &fields, &format!("job {number}")).await;
                    match reply.status {
                        202 => locations.push((number, Some(reply.field("location").to_owned()))),
                        200 => locations.push((number, None)),
                        _ => continue,
                    }
                    break;
                }
            }
            locations
        });
    }
    let done = async |part: usize| {
        let count = || taken.0.lock().expect("no panic").len();
        while count() < part {
            let before = count();
            until("one more is done", async || (count() > before).then_some(())).await;
        }
    };
    done(count / 4).await;
    replicas.two.signal(Signal::KILL);
    replicas.two.ended().await;
    done(count / 2).await;
    nats.kill();
    nats.restart().await;
    let mut locations = Vec::new();
    while let Some(part) = submitting.join_next().await {
        locations.extend(part.expect("it does not panic"));
    }
    for (number, location) in &locations {
        let Some(location) = location else { continue };
        let reply = super::read(replicas.one.listen, location).await;
        assert_eq!((reply.status, text(&reply)), (200, format!("job {number}")));
    }
    let seconds = begun.elapsed().as_secs_f64();
    ends.store(true, Ordering::Relaxed);
    while let Some(worker) = workers.join_next().await {
        worker.expect("it does not panic");
    }
    let taken = taken.0.lock().expect("no panic").clone();
    let twice = taken.values().filter(|count| **count != 1).count();
    assert_eq!((twice, locations.len()), (0, count), "none was taken twice");
    // A worker does not learn what became of an answer that it sent to the replica that was killed.
    assert!(taken.len() + 16 >= count, "{} of {count}", taken.len());
    println!("{count} requests in {seconds:.1} s, each answered once");
}
