//! Polls on streams of HTTP/2: each is an entry of its connection's task. The client is h2 itself, with the windows that
//! clients have if they say nothing.

use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, RecvStream};
use http::{HeaderMap, Method, Request, StatusCode};
use tidewait::bounds::SLOW_READER;
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{MODEL, Rig, id};
use crate::hostile::make::frames;

const SLOW_READERS: &str = "tidewait_http_slow_readers";

/// A client, and the task of its connection.
async fn client(rig: &mut Rig) -> (SendRequest<Bytes>, JoinSet<Result<(), h2::Error>>) {
    let (client, connection) = h2::client::handshake(rig.stream()).await.expect("HTTP/2");
    let mut running = JoinSet::new();
    running.spawn(connection);
    (client, running)
}

fn request(method: Method, query: &str, fields: &HeaderMap) -> Request<()> {
    let mut request = Request::new(());
    *request.method_mut() = method;
    *request.uri_mut() = format!("http://test/describe?{query}").parse().expect("a target");
    request.headers_mut().clone_from(fields);
    request
}

async fn ask(client: &SendRequest<Bytes>, request: Request<()>) -> ResponseFuture {
    let mut client = client.clone().ready().await.expect("room for a stream");
    client.send_request(request, true).expect("a stream").0
}

/// A poll that waits for a change.
async fn poll(client: &SendRequest<Bytes>) -> ResponseFuture {
    let query = format!("since={}&wait=55", id(7, MODEL));
    ask(client, request(Method::GET, &query, &HeaderMap::new())).await
}

/// The rest of a body; room is made for more as it is read.
async fn read(mut body: RecvStream) -> Result<Vec<u8>, h2::Error> {
    let mut whole = Vec::new();
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len()).expect("it was taken");
        whole.extend_from_slice(&data);
    }
    Ok(whole)
}

async fn answer(response: ResponseFuture) -> Result<(StatusCode, Vec<u8>), h2::Error> {
    let response = response.await?;
    Ok((response.status(), read(response.into_body()).await?))
}

/// A model of so many bytes.
fn model(bytes: usize) -> String {
    format!("{:?}", "x".repeat(bytes - 2))
}

/// hyper gives each of many streams a crumb of a full window, and then h2 ends the connection: `ENHANCE_YOUR_CALM`.
#[tokio::test(start_paused = true)]
async fn as_many_streams_as_there_may_be_are_told_with_the_windows_that_clients_have() {
    for bytes in [1000, 100_000] {
        let mut rig = Rig::serving(|_| ()).await;
        let (client, mut running) = client(&mut rig).await;
        let mut polls = Vec::new();
        for _ in 0..250 {
            polls.push(answer(poll(&client).await));
        }
        rig.parked(250).await;
        let model = model(bytes);
        rig.publish(8, &model).await;
        let published = Instant::now();
        for answer in join_all(polls).await {
            assert!(answer.expect("no error") == (StatusCode::OK, model.as_bytes().to_vec()), "{bytes}");
        }
        assert_eq!(published.elapsed(), Duration::ZERO);
        rig.is_empty();
        assert!(rig.metric(SLOW_READERS)[0].abs() < 0.5, "all are sent");
        drop(client);
        assert!(running.join_next().await.expect("a task").expect("no panic").is_ok());
    }
}

/// A task makes it, on another thread.
#[tokio::test(start_paused = true)]
async fn what_has_to_be_made_for_a_change_is_sent_once_it_is_there() {
    let mut rig = Rig::serving(|_| ()).await;
    let (client, _running) = client(&mut rig).await;
    let mut gzip = HeaderMap::new();
    gzip.insert("accept-encoding", "gzip".parse().expect("a value"));
    let query = format!("since={}&wait=55", id(7, MODEL));
    let poll = ask(&client, request(Method::GET, &query, &gzip)).await;
    rig.parked(1).await;
    rig.publish(8, &model(100_000)).await;
    let published = Instant::now();
    let response = poll.await.expect("an answer");
    assert_eq!(
        (response.status(), &response.headers()["content-encoding"]),
        (StatusCode::OK, &"gzip".parse().expect("a value"))
    );
    assert_eq!(published.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_parked_stream_is_no_task() {
    let mut rig = Rig::serving(|_| ()).await;
    let (client, _running) = client(&mut rig).await;
    answer(ask(&client, request(Method::GET, "", &HeaderMap::new())).await).await.expect("an answer");
    let tasks = || Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    let mut polls = Vec::new();
    for _ in 0..100 {
        polls.push(poll(&client).await);
    }
    rig.parked(100).await;
    assert_eq!(tasks(), before);
    drop(polls);
    rig.parked(0).await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_reset_while_it_is_parked_gives_its_place_to_the_next_at_once() {
    let mut rig = Rig::serving(|config| config.parked = 1).await;
    let (client, _running) = client(&mut rig).await;
    for _ in 0..20 {
        let parked = poll(&client).await;
        rig.parked(1).await;
        let (refused, _) = answer(poll(&client).await).await.expect("an answer");
        assert_eq!(refused, StatusCode::SERVICE_UNAVAILABLE, "there is no other place");
        drop(parked);
        rig.parked(0).await;
    }
    assert_eq!(rig.operation.hub.metrics().abandoned.get(), 20);
    let last = poll(&client).await;
    rig.parked(1).await;
    rig.publish(8, "1").await;
    assert_eq!(answer(last).await.expect("an answer"), (StatusCode::OK, b"1".to_vec()));
    rig.is_empty();
}

/// Its streams are answered, also those that are parked; then the connection ends.
#[tokio::test(start_paused = true)]
async fn a_client_that_has_sent_all_is_answered() {
    let mut rig = Rig::serving(|_| ()).await;
    let mut wire = rig.connect();
    let path = format!("/describe?since={}&wait=55", id(7, MODEL));
    let heads = [1, 3, 5].map(|stream| frames::frame(frames::HEADERS, 5, stream, &frames::fields(&frames::get(&path))));
    wire.send(&frames::session(&heads));
    wire.flushed().await;
    rig.parked(3).await;
    let began = Instant::now();
    wire.finished().await;
    assert_eq!(began.elapsed(), Duration::ZERO);
    let mut answered = Vec::new();
    let mut rest = &wire.seen[..];
    while rest.len() >= 9 {
        let length = u32::from_be_bytes([0, rest[0], rest[1], rest[2]]) as usize;
        if rest[3] == frames::HEADERS {
            // 204 and 404 alone of the answers here are whole in the static table (RFC 7541, appendix A).
            answered.push((rest[8], rest[9..9 + length].contains(&0x89)));
        }
        rest = &rest[9 + length..];
    }
    answered.sort_unstable();
    assert_eq!(answered, [(1, true), (3, true), (5, true)]);
    rig.is_empty();
    assert_eq!(rig.operation.hub.metrics().abandoned.get(), 3);
}

/// It may be ahead: until that is known it is neither answered nor parked, and no change is missed meanwhile.
#[tokio::test(start_paused = true)]
async fn a_change_during_a_confirmation_is_answered() {
    let mut rig = Rig::serving(|_| ()).await;
    let mut reader = rig.operation.reads.reader();
    let (client, _running) = client(&mut rig).await;
    let ahead = |version: u64| request(Method::GET, &format!("since={}&wait=55", id(version, "9")), &HeaderMap::new());
    let response = ask(&client, ahead(9)).await;
    reader.requested().await;
    assert_eq!(rig.operation.hub.parked(), 0);
    let gone = ask(&client, ahead(10)).await;
    tokio::task::yield_now().await;
    drop(gone);
    rig.publish(11, "11").await;
    assert_eq!(answer(response).await.expect("an answer"), (StatusCode::OK, b"11".to_vec()));
    rig.is_empty();
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_not_taken_is_given_up_and_holds_up_no_other() {
    let mut rig = Rig::serving(|config| config.wait.max = Duration::from_secs(600)).await;
    let (client, _running) = client(&mut rig).await;
    let slow = poll(&client).await;
    rig.parked(1).await;
    let model = model(100_000);
    rig.publish(8, &model).await;
    let mut body = slow.await.expect("a head").into_body();
    assert!(rig.metric(SLOW_READERS)[0] > 0.5);
    let stopped = Instant::now();
    // The window of the connection is used up, and what has no body needs none of it.
    let query = format!("since={}&wait=1", id(8, &model));
    let (status, _) =
        answer(ask(&client, request(Method::GET, &query, &HeaderMap::new())).await).await.expect("an answer");
    assert_eq!(status, StatusCode::NO_CONTENT);
    let mut seen = 0;
    let error = loop {
        match body.data().await.expect("no end") {
            Ok(data) => seen += data.len(),
            Err(error) => break error,
        }
    };
    assert_eq!((seen, error.reason()), (65_535, Some(Reason::CANCEL)));
    let took = stopped.elapsed();
    assert!((SLOW_READER..=SLOW_READER + Duration::from_secs(1)).contains(&took), "{took:?}");
    assert!(rig.metric(SLOW_READERS)[0].abs() < 0.5);
    body.flow_control().release_capacity(seen).expect("it was taken");
    drop(body);
    let (status, got) =
        answer(ask(&client, request(Method::GET, "", &HeaderMap::new())).await).await.expect("an answer");
    assert_eq!((status, got.len()), (StatusCode::OK, 100_000));
}

/// What differs from one answer to the next is left out: the date, and what is spread at random.
async fn whole(client: &SendRequest<Bytes>, request: Request<()>) -> (StatusCode, Vec<(String, String)>, Vec<u8>) {
    let response = ask(client, request).await.await.expect("an answer");
    let mask = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        let value = if *name == "date" || *name == "retry-after" { "*" } else { value.to_str().expect("ASCII") };
        (name.to_string(), value.to_owned())
    };
    let (status, fields) = (response.status(), response.headers().iter().map(mask).collect());
    (status, fields, read(response.into_body()).await.expect("no error"))
}

/// As an entry, and on a task as all other requests.
#[tokio::test(start_paused = true)]
async fn a_poll_is_answered_the_same_both_ways() {
    let (mut own, mut other) = (Rig::empty(|_| ()), Rig::with_polls_by_hyper());
    let (current, older) = (id(7, MODEL), id(6, "{}"));
    let queries = [
        String::new(),
        format!("since={current}&wait=0"),
        format!("since={current}&wait=1&x=%20y"),
        format!("since={older}"),
        format!("since={}", id(8, "{}")),
        "since=nonsense&wait=1".to_owned(),
        format!("rejected={current}&since={older}&wait=1"),
        "select=/mtu".to_owned(),
        "select=mtu".to_owned(),
        "wait=x".to_owned(),
    ];
    let fields = [
        ("x", "y"),
        ("agent-id", "node-1"),
        ("agent-id", "a b"),
        ("accept-encoding", "gzip"),
        ("accept", "application/json-patch+json"),
        ("prefer", "wait=1"),
        ("if-none-match", "*"),
        ("expect", "something"),
        ("host", "other"),
        ("content-length", "0"),
    ];
    for rig in [&own, &other] {
        rig.publish(7, MODEL).await;
    }
    let ((own_client, _one), (other_client, _two)) = (client(&mut own).await, client(&mut other).await);
    for method in [Method::GET, Method::HEAD, Method::OPTIONS, Method::DELETE] {
        for query in &queries {
            for (name, value) in fields {
                let mut map = HeaderMap::new();
                map.insert(name, value.parse().expect("a value"));
                let asked = || request(method.clone(), query, &map);
                let (one, two) = (whole(&own_client, asked()).await, whole(&other_client, asked()).await);
                assert_eq!(one, two, "{method} {query} {name}: {value}");
                assert!(one.1.iter().any(|(name, _)| name == "date"), "{one:?}");
            }
        }
    }
    own.is_empty();
    other.is_empty();
}
