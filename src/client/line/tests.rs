//! One poll over a connection in memory, in paused time: what is sent, and how long an answer is waited for.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::time::{Instant, sleep};

use super::*;
use crate::client::holdings::Holdings;
use crate::model::{Content, Document, Epoch, Snapshot};
use crate::protocol::Instance;

const SECS: fn(u64) -> Duration = Duration::from_secs;
const PLACE: Place = Place { url: 0, address: None };

fn snapshot(text: &str) -> Snapshot {
    let document = Document::from_json(text.as_bytes()).expect("JSON");
    Snapshot::of(Epoch::of(&["test"]), 1, &Content::Json(document))
}

fn poll(since: Option<&str>) -> Poll {
    let since = since.map(|text| {
        let snapshot = snapshot(text);
        State::kept(&snapshot.id.to_string(), "application/json", snapshot.body().identity.clone()).expect("its bytes")
    });
    Poll { place: PLACE, since, rejected: None, applying: None, takes_patches: true, confirms: None }
}

/// A line whose connection stands, and the other side of that.
async fn line(settings: &Settings) -> (Line, DuplexStream) {
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let mut line = Line::new(settings, settings.check().expect("they can be used"));
    line.kept = Some((PLACE, Connection::over(ours).await.expect("it stands")));
    (line, theirs)
}

fn settings() -> Settings {
    Settings { wait: SECS(7), ..Settings::new("http://edge.example:8480", "/describe") }
}

/// A whole head of an answer with a state, with further lines.
fn head(text: &str, lines: &str) -> String {
    let snapshot = snapshot(text);
    let digest = String::from_utf8(snapshot.body().sha256.to_vec()).expect("ASCII");
    let id = snapshot.id;
    format!(
        "HTTP/1.1 200 OK\r\nState-Id: {id}\r\nState-Age: 0\r\nState-Digest: {digest}\r\nContent-Type: application/json\r\n{lines}\r\n\r\n"
    )
}

/// The request, up to its empty line.
async fn asked(stream: &mut DuplexStream) -> String {
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\n") {
        text.push(stream.read_u8().await.expect("a request"));
    }
    String::from_utf8(text).expect("ASCII")
}

fn failure(ended: Ended) -> Failure {
    match ended.outcome {
        Outcome::Failed(failure) => failure,
        other @ (Outcome::State(_) | Outcome::Same { .. }) => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_sent_names_what_is_held_and_what_would_do() {
    let select = vec!["/a b".to_owned()];
    let (mut line, mut server) = line(&Settings { agent_id: Some("node-2".to_owned()), select, ..settings() }).await;
    let id = snapshot("{}").id;
    let tail = "host: edge.example:8480\r\nuser-agent: tidewait/0.1.0\r\n";
    for (since, path, accept) in [
        (None, "/describe?wait=7&select=%2Fa%20b".to_owned(), "*/*"),
        (
            Some("{}"),
            format!("/describe?since={id}&wait=7&select=%2Fa%20b"),
            "application/json-patch+json, application/json;q=0.5",
        ),
    ] {
        let poll = poll(since);
        let (ended, request) = tokio::join!(line.exchange(&poll), async {
            let request = asked(&mut server).await;
            let answer = head("{}", "Content-Length: 2") + "{}";
            server.write_all(answer.as_bytes()).await.expect("it reads");
            request
        });
        let rest = format!("accept: {accept}\r\naccept-encoding: gzip, zstd\r\nagent-id: node-2\r\n\r\n");
        assert_eq!(request, format!("GET {path} HTTP/1.1\r\n{tail}{rest}"));
        assert!(ended.keeps && matches!(ended.outcome, Outcome::State(_)), "{ended:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_reason_is_sent_as_a_field_can_carry_it() {
    let rejects = |reason: String| {
        let (mut holdings, state) = (Holdings::default(), poll(Some("{}")).since.expect("there"));
        holdings.give(state.clone(), tokio::time::Instant::now().into_std());
        assert!(holdings.reject(state.id(), &reason));
        holdings.rejected().cloned().expect("there")
    };
    for (reason, sent) in
        [("mtu\n1400 über".to_owned(), "mtu?1400 ?ber".to_owned()), ("x".repeat(300), "x".repeat(256))]
    {
        let (mut line, mut server) = line(&settings()).await;
        let poll = Poll { rejected: Some(rejects(reason)), ..poll(None) };
        let (_, request) = tokio::join!(line.exchange(&poll), async {
            let request = asked(&mut server).await;
            drop(server);
            request
        });
        assert!(request.contains(&format!("rejected-reason: {sent}\r\n")), "{request}");
        assert!(request.contains(&format!("?rejected={}&wait=7 ", snapshot("{}").id)), "{request}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_is_noticed_when_the_wait_and_ten_seconds_are_over() {
    let (mut line, mut server) = line(&settings()).await;
    let began = Instant::now();
    let poll = poll(None);
    let (ended, _) = tokio::join!(line.exchange(&poll), asked(&mut server));
    assert_eq!(began.elapsed(), SECS(17));
    let failure = failure(ended);
    assert_eq!(failure.kind, FailureKind::Lost);
    assert!(failure.text.starts_with("no answer within 17 s, the wait and 10 s: "), "{}", failure.text);
    assert!(line.kept.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_body_may_take_long_as_long_as_it_moves() {
    let text = format!("{{\"a\":\"{}\"}}", "x".repeat(100_000));
    // Bytes, after how many seconds each, and whether that is too slow.
    for (piece, every, breaks) in [(10_000, 9, false), (100_003, 11, true), (1_000, 9, true)] {
        let (mut line, mut server) = line(&settings()).await;
        let began = Instant::now();
        let poll = poll(None);
        let bytes = text.clone();
        let head = head(&text, &format!("Content-Length: {}", text.len()));
        let sends = async move {
            asked(&mut server).await;
            server.write_all(head.as_bytes()).await.expect("it reads");
            for piece in bytes.as_bytes().chunks(piece) {
                sleep(SECS(every)).await;
                if server.write_all(piece).await.is_err() {
                    break;
                }
            }
        };
        let (ended, ()) = tokio::join!(line.exchange(&poll), sends);
        if breaks {
            let failure = failure(ended);
            assert_eq!(failure.kind, FailureKind::Lost, "{}", failure.text);
            assert!(failure.text.starts_with("the answer broke off after "), "{}", failure.text);
            assert!(began.elapsed() < SECS(100));
        } else {
            assert!(matches!(ended.outcome, Outcome::State(_)), "{ended:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_kept_only_where_the_server_keeps_it() {
    for (lines, keeps) in [("Content-Length: 2", true), ("Content-Length: 2\r\nConnection: close", false)] {
        let (mut line, mut server) = line(&settings()).await;
        let poll = poll(None);
        let (ended, ()) = tokio::join!(line.exchange(&poll), async {
            asked(&mut server).await;
            let answer = head("{}", &format!("{lines}\r\nReconnect-Within: 9")) + "{}";
            server.write_all(answer.as_bytes()).await.expect("it reads");
        });
        assert_eq!((ended.keeps, ended.within, line.kept.is_some()), (keeps, Some(SECS(9)), keeps));
    }
}

/// Where a proxy ends each connection, every poll has a new one.
#[tokio::test(start_paused = true)]
async fn a_relay_asks_at_once_only_where_it_was_not_answered_last() {
    let relay = Relay { instance: Instance::random(1), rules: String::new() };
    let (mut line, mut server) = line(&Settings { relay: Some(relay), ..settings() }).await;
    let id = snapshot("{}").id;
    let unchanged = format!("HTTP/1.1 204 No Content\r\nState-Id: {id}\r\nState-Age: 0\r\nConnection: close\r\n\r\n");
    for (wait, answer) in [("0", &*unchanged), ("7", &*unchanged), ("7", "nonsense\r\n\r\n"), ("0", &*unchanged)] {
        let polled = poll(Some("{}"));
        let (_, text) = tokio::join!(line.exchange(&polled), async {
            let text = asked(&mut server).await;
            server.write_all(answer.as_bytes()).await.expect("it reads");
            text
        });
        assert!(text.starts_with(&format!("GET /describe?since={id}&wait={wait} ")), "{text}");
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        line.kept = Some((PLACE, Connection::over(ours).await.expect("it stands")));
        server = theirs;
    }
}
