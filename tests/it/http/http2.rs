//! The same port speaks HTTP/2 to those who begin with it.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::task::JoinSet;
use tokio::time::Instant;

use tidewait::bounds::IDLE_CONNECTION;

use super::{MODEL, Rig, Wire, id};
use crate::hostile::make::frames;

type Client = SendRequest<Empty<Bytes>>;

/// A client, and the task of its connection, which gives how that ended.
async fn client(rig: &mut Rig) -> (Client, JoinSet<hyper::Result<()>>) {
    let (client, connection) = handshake(TokioExecutor::new(), TokioIo::new(rig.stream())).await.expect("HTTP/2");
    let mut tasks = JoinSet::new();
    tasks.spawn(connection);
    (client, tasks)
}

async fn get(mut client: Client, query: String) -> hyper::Result<Response<Bytes>> {
    let request = Request::get(format!("http://test/describe?{query}")).body(Empty::new()).expect("a request");
    let (parts, body) = client.send_request(request).await?.into_parts();
    Ok(Response::from_parts(parts, body.collect().await?.to_bytes()))
}

/// A client that has a request parked and does nothing more, not even answer pings.
async fn raw(rig: &mut Rig) -> Wire {
    let mut wire = rig.connect();
    let path = format!("/describe?since={}&wait=300", id(7, MODEL));
    wire.send(&frames::session(&[frames::frame(frames::HEADERS, 5, 1, &frames::fields(&frames::get(&path)))]));
    wire.flushed().await;
    rig.parked(1).await;
    wire
}

fn current() -> String {
    format!("since={}&wait=55", id(7, MODEL))
}

#[tokio::test(start_paused = true)]
async fn one_connection_parks_many_and_a_change_releases_all() {
    let mut rig = Rig::serving(|_| ()).await;
    let (client, mut connection) = client(&mut rig).await;
    let first = get(client.clone(), String::new()).await.expect("an answer");
    assert_eq!((first.status().as_u16(), &**first.body()), (200, MODEL.as_bytes()));
    assert_eq!(first.headers()["state-id"], id(7, MODEL).to_string());
    let mut polls = JoinSet::new();
    for _ in 0..200 {
        polls.spawn(get(client.clone(), current()));
    }
    rig.parked(200).await;
    tokio::time::advance(Duration::from_secs(5)).await;
    let changed = Instant::now();
    rig.publish(8, "1").await;
    while let Some(poll) = polls.join_next().await {
        let answer = poll.expect("no panic").expect("an answer");
        assert_eq!((answer.status().as_u16(), &**answer.body()), (200, b"1".as_slice()));
        assert!(answer.headers().get("connection").is_none(), "HTTP/2 has no such field");
    }
    assert_eq!(changed.elapsed(), Duration::ZERO);
    rig.is_empty();
    drop(client);
    assert!(connection.join_next().await.expect("a task").expect("no panic").is_ok());
}

#[tokio::test(start_paused = true)]
async fn streams_that_are_cancelled_leave_nobody_parked() {
    let mut rig = Rig::serving(|_| ()).await;
    let (client, mut connection) = client(&mut rig).await;
    let mut polls = JoinSet::new();
    for _ in 0..50 {
        polls.spawn(get(client.clone(), current()));
    }
    rig.parked(50).await;
    polls.shutdown().await;
    rig.parked(0).await;
    rig.is_empty();
    assert_eq!(get(client.clone(), String::new()).await.expect("an answer").status(), 200);
    let cut = raw(&mut rig).await;
    drop(cut);
    rig.parked(0).await;
    assert_eq!(rig.operation.hub.metrics().abandoned.get(), 51);
    drop(client);
    assert!(connection.join_next().await.expect("a task").expect("no panic").is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_drain_answers_every_stream_and_then_ends_the_connection_in_order() {
    let mut rig = Rig::serving(|_| ()).await;
    let (client, mut connection) = client(&mut rig).await;
    let mut polls = JoinSet::new();
    for _ in 0..50 {
        polls.spawn(get(client.clone(), current()));
    }
    rig.parked(50).await;
    let drain = rig.stop.drain();
    while let Some(poll) = polls.join_next().await {
        let answer = poll.expect("no panic").expect("an answer");
        assert_eq!(answer.status(), 204);
        assert!(answer.headers().get("connection").is_none(), "HTTP/2 has no such field");
    }
    assert!(Instant::now() <= drain.end() + Duration::from_millis(2));
    rig.stop.close();
    assert!(connection.join_next().await.expect("a task").expect("no panic").is_ok(), "GOAWAY, and no error");
    assert!(get(client, String::new()).await.is_err(), "it is gone");
}

#[tokio::test(start_paused = true)]
async fn a_parked_stream_outlives_a_quiet_peer_by_pings_and_not_a_dead_one() {
    let mut rig = Rig::serving(|config| config.wait.max = Duration::from_secs(600)).await;
    let (living, _connection) = client(&mut rig).await;
    let answer = get(living, format!("since={}&wait=300", id(7, MODEL))).await.expect("an answer");
    assert_eq!(answer.status(), 204, "pings are answered meanwhile");

    let _dead = raw(&mut rig).await;
    let silent = Instant::now();
    rig.operation.hub.emptied().await;
    assert!(silent.elapsed() <= tidewait::bounds::DEAD_PEER + Duration::from_secs(1), "{:?}", silent.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_a_request_is_ended_in_order_in_time() {
    let mut rig = Rig::serving(|config| config.wait.max = Duration::from_secs(2000)).await;
    let (client, mut connection) = client(&mut rig).await;
    for query in [String::new(), format!("since={}&wait=1500", id(7, MODEL)), String::new()] {
        get(client.clone(), query).await.expect("an answer");
        tokio::time::sleep(IDLE_CONNECTION.mul_f64(0.99)).await;
    }
    get(client.clone(), String::new()).await.expect("each request counts, also one that is parked for long");
    let idle = Instant::now();
    assert!(connection.join_next().await.expect("a task").expect("no panic").is_ok(), "GOAWAY, and no error");
    let lasted = idle.elapsed();
    assert!((IDLE_CONNECTION..IDLE_CONNECTION + Duration::from_secs(1)).contains(&lasted), "{lasted:?}");
}

#[tokio::test(start_paused = true)]
async fn as_many_fields_as_on_http_1_and_no_more() {
    let mut rig = Rig::serving(|_| ()).await;
    let (mut client, _connection) = client(&mut rig).await;
    for (fields, status) in [(100, 200), (101, 431), (120, 431)] {
        let mut request = Request::get("http://test/describe");
        for at in 0..fields {
            request = request.header(format!("x-{at}"), "y");
        }
        let answer = client.send_request(request.body(Empty::new()).expect("a request")).await.expect("an answer");
        assert_eq!(answer.status(), status, "{fields}");
        let expected = if status == 200 { "application/json" } else { "application/problem+json" };
        let fields = ["content-type", "cache-control"].map(|name| answer.headers()[name].clone());
        assert_eq!(fields, [expected, "no-store"], "{fields:?}");
    }
}
