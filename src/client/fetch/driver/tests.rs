//! Whole fetches in paused time, against a server that says what a test has written down.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::Method;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::*;

/// What becomes of a request.
#[derive(Debug, Clone)]
enum Reply {
    /// This is answered, after so long.
    Says(String, Duration),
    /// The connection ends.
    Ends,
    /// Nothing ever comes.
    Nothing,
}

/// What becomes of requests in turn, and of connections.
#[derive(Debug, Default)]
struct Script {
    replies: VecDeque<Reply>,
    /// Connections that fail, before one of them stands.
    refused: VecDeque<bool>,
    /// When each request came, and how it begins.
    seen: Vec<(Duration, String)>,
    connections: usize,
    /// Beyond the request: the last body comes after it.
    tasks: JoinSet<()>,
}

struct Server {
    script: Arc<Mutex<Script>>,
    began: Instant,
}

impl Server {
    fn new(replies: &[Reply]) -> Self {
        let script = Script { replies: replies.to_vec().into(), ..Script::default() };
        Self { script: Arc::new(Mutex::new(script)), began: Instant::now() }
    }
}

impl Dial for Server {
    async fn dial(&mut self, _: &Target, _: bool) -> Result<Connection, String> {
        let is_refused = self.script.lock().expect("whole").refused.pop_front().unwrap_or(false);
        if is_refused {
            return Err("refused".to_owned());
        }
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let serving = serve(theirs, Arc::clone(&self.script), self.began);
        {
            let mut script = self.script.lock().expect("whole");
            script.connections += 1;
            script.tasks.spawn(serving);
        }
        Connection::over(ours).await.map_err(|failure| failure.text)
    }
}

async fn serve(mut stream: DuplexStream, script: Arc<Mutex<Script>>, began: Instant) {
    loop {
        let mut request = Vec::new();
        while !request.windows(4).any(|window| window == b"\r\n\r\n") {
            if stream.read_buf(&mut request).await.unwrap_or(0) == 0 {
                return;
            }
        }
        let line = String::from_utf8_lossy(&request).lines().next().unwrap_or_default().replace(" HTTP/1.1", "");
        let reply = {
            let mut script = script.lock().expect("whole");
            script.seen.push((began.elapsed(), line));
            script.replies.pop_front()
        };
        match reply {
            Some(Reply::Says(text, after)) => {
                sleep(after).await;
                if stream.write_all(text.as_bytes()).await.is_err() {
                    return;
                }
            }
            Some(Reply::Ends) | None => return,
            Some(Reply::Nothing) => std::future::pending().await,
        }
    }
}

fn says(status: u16, lines: &[&str], body: &str) -> Reply {
    let mut text = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n", body.len());
    for line in lines {
        text += line;
        text += "\r\n";
    }
    Reply::Says(text + "\r\n" + body, Duration::ZERO)
}

/// A fetch that has ended.
struct Done {
    ended: Result<(u16, String), FetchError>,
    took: Duration,
    seen: Vec<(Duration, String)>,
    connections: usize,
    told: Vec<String>,
}

async fn fetched(fetch: &Fetch, server: Server) -> Done {
    let (script, began) = (Arc::clone(&server.script), server.began);
    let target = Target::parse(&fetch.url).expect("a URL");
    let mut told = Vec::new();
    let sent = run(fetch, target, server, Random::new(1), |pause| told.push(pause.to_string())).await;
    let ended = match sent {
        Ok(fetched) => {
            let status = fetched.status.as_u16();
            let body = fetched.bytes(1000).await;
            body.map(|body| (status, String::from_utf8(body.to_vec()).expect("UTF-8")))
        }
        Err(error) => Err(error),
    };
    let took = began.elapsed();
    let script = script.lock().expect("whole");
    Done { ended, took, seen: script.seen.clone(), connections: script.connections, told }
}

fn post() -> Fetch {
    Fetch { method: Method::POST, ..Fetch::new("http://a/start") }
}

const SECS: fn(u64) -> Duration = Duration::from_secs;
const QUEUED: &str = r#"{"state":"queued","position":2,"retryAfter":3}"#;

#[tokio::test(start_paused = true)]
async fn work_is_followed_to_its_end_at_the_times_that_the_server_asks_for() {
    let server = Server::new(&[
        says(303, &["Location: /work/1?n=1", "Retry-After: 3"], QUEUED),
        says(
            303,
            &[
                "Location: /work/1?n=2",
                "Retry-After: Sun, 06 Nov 1994 08:49:42 GMT",
                "Date: Sun, 06 Nov 1994 08:49:37 GMT",
            ],
            "",
        ),
        says(202, &["Location: /work/1?n=2", "Retry-After: 0"], ""),
        says(202, &[], "{}"),
        says(503, &["Retry-After: 10"], ""),
        says(200, &["Retry-After: 99"], "done"),
    ]);
    let done = fetched(&post(), server).await;
    assert_eq!(done.ended, Ok((200, "done".to_owned())));
    let whole: Vec<_> = done.seen.iter().map(|(at, line)| (at.as_millis() / 100, line.as_str())).collect();
    let jitter = whole[5].0 - 195;
    assert!(jitter <= 10, "{whole:?}");
    let expected = [
        (0, "POST /start"),
        (30, "GET /work/1?n=1"),
        (80, "GET /work/1?n=2"),
        (85, "GET /work/1?n=2"),
        (95, "GET /work/1?n=2"),
        (195 + jitter, "GET /work/1?n=2"),
    ];
    assert_eq!(whole, expected);
    assert_eq!(done.connections, 1, "it is kept");
    assert_eq!(done.told.len(), 5);
    assert_eq!(done.told[0], "303 See Other, queued, position 2: asks again in 3 s, 300 s left");
    assert_eq!(done.told[2], "202 Accepted: asks again in 0.5 s, 292 s left");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers_has_until_the_deadline() {
    for (fetch, begun) in [(Fetch::new("http://a/"), false), (post(), true)] {
        let done = fetched(&fetch, Server::new(&[Reply::Nothing])).await;
        let Err(FetchError::Deadline(text)) = done.ended else { panic!("{:?}", done.ended) };
        assert_eq!(text.ends_with("no answer within the deadline of 300 s; the work may have begun"), begun, "{text}");
        assert_eq!(done.took, SECS(300));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_asked_for_beyond_the_deadline_ends_it_at_once() {
    let server = Server::new(&[
        says(303, &["Location: /work/1", "Retry-After: 100"], ""),
        says(303, &["Location: /work/1", "Retry-After: 200"], ""),
    ]);
    let done = fetched(&post(), server).await;
    assert!(matches!(done.ended, Err(FetchError::Deadline(_))), "{:?}", done.ended);
    assert_eq!((done.took, done.told.len()), (SECS(100), 1), "it does not sleep for nothing");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_not_the_last_one_holds_nobody_up() {
    let never = "HTTP/1.1 303 X\r\nContent-Length: 99\r\nLocation: /w\r\nRetry-After: 3\r\n\r\n{";
    let server = Server::new(&[Reply::Says(never.to_owned(), Duration::ZERO), says(200, &[], "")]);
    let done = fetched(&post(), server).await;
    assert_eq!(done.ended, Ok((200, String::new())));
    assert_eq!((done.seen[1].0, done.connections), (SECS(3), 2), "it counts from the head, on another connection");
}

#[tokio::test(start_paused = true)]
async fn a_deadline_is_for_the_body_too() {
    let head = "HTTP/1.1 200 X\r\nContent-Length: 99\r\n\r\npart";
    let done = fetched(&post(), Server::new(&[Reply::Says(head.to_owned(), SECS(10))])).await;
    let Err(FetchError::Deadline(text)) = done.ended else { panic!("{:?}", done.ended) };
    assert!(text.contains("after 4 bytes of the body"), "{text}");
    assert_eq!(done.took, SECS(300));
}

#[tokio::test(start_paused = true)]
async fn connections_that_end_are_made_again_where_nothing_is_done_twice() {
    let good = says(200, &[], "done");
    let key = Some(http::HeaderValue::from_static("k"));
    for (fetch, again) in
        [(Fetch::new("http://a/start"), true), (post(), false), (Fetch { idempotency_key: key, ..post() }, true)]
    {
        let server = Server::new(&[Reply::Ends, Reply::Ends, good.clone()]);
        let done = fetched(&fetch, server).await;
        if again {
            assert_eq!(done.ended, Ok((200, "done".to_owned())));
            assert_eq!((done.seen.len(), done.told.len()), (3, 2));
            assert!(
                done.told[0].starts_with("http://a/start: the connection ended before an answer"),
                "{:?}",
                done.told
            );
        } else {
            assert!(matches!(done.ended, Err(FetchError::MayHaveBegun(_))), "{:?}", done.ended);
            assert_eq!((done.seen.len(), done.took), (1, Duration::ZERO));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_away_is_waited_for_once_it_has_been_there() {
    let away = |refused: &[bool]| {
        let server = Server::new(&[
            says(303, &["Location: /work/1", "Retry-After: 1", "Connection: close"], ""),
            says(200, &[], "done"),
        ]);
        server.script.lock().expect("whole").refused = refused.to_vec().into();
        server
    };
    let done = fetched(&post(), away(&[true])).await;
    assert_eq!(done.ended, Err(FetchError::Unreachable("http://a/start: refused".to_owned())));
    let done = fetched(&post(), away(&[false, true, true, true])).await;
    assert_eq!((done.ended, done.told.len()), (Ok((200, "done".to_owned())), 4));
    let ever = [vec![false], vec![true; 1000]].concat();
    let done = fetched(&post(), away(&ever)).await;
    let Err(FetchError::Deadline(text)) = done.ended else { panic!("{:?}", done.ended) };
    assert_eq!(text, "http://a/work/1: refused; the deadline is over");
    assert!(done.took > SECS(299) && done.took <= SECS(300), "{:?}", done.took);
}
