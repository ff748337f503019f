//! A drain, as pages see it: each has an `EventSource`, which comes back once `retry` is over, and not by chance.

use rustix::process::Signal;
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant};

use super::{PARKED, serve};
use crate::load::raise_descriptors;
use crate::model_file::ModelFile;
use crate::server::Server;
use crate::topic::Stream;

/// As many as the promise is made for, of each kind.
const PAGES: usize = 500;

const READERS: &str = "tidewait_topic_readers{topic=\"chat\"}";

/// What an `EventSource` knows when its stream is over.
struct Moved {
    /// `Last-Event-ID`.
    last: String,
    /// When it comes back.
    returns: Instant,
}

/// Reads a stream to its end, as an `EventSource` does.
async fn page(mut stream: Stream) -> Moved {
    let rest = stream.rest().await;
    let ended = Instant::now();
    let (mut last, mut retry, mut event) = (String::new(), None, "");
    for line in rest.lines() {
        match line.split_once(": ") {
            Some(("id", id)) => id.clone_into(&mut last),
            Some(("retry", time)) => retry = time.parse().ok(),
            Some(("event", name)) => event = name,
            _ => {}
        }
    }
    assert_eq!(event, "move", "{rest}");
    assert!(rest.ends_with("\n\n") && rest.contains("data: {\"within\":"), "{rest}");
    let (_, moved) = rest.rsplit_once("retry: ").expect("a time");
    assert!(moved.contains("event: move"), "the time was told with it: {rest}");
    Moved { last, returns: ended + Duration::from_millis(retry.expect("milliseconds")) }
}

/// No second has more than a tenth of those who come back.
fn are_spread(pages: &[Moved], since: Instant) {
    let mut seconds: Vec<_> = pages.iter().map(|page| (page.returns - since).as_secs()).collect();
    seconds.sort_unstable();
    let busiest = seconds.chunk_by(|one, other| one == other).map(<[_]>::len).max().unwrap_or(0);
    assert!(pages.len() == PAGES && busiest <= PAGES / 10, "{busiest} in one second: {seconds:?}");
}

/// What a page is told first where it comes back.
async fn back(to: &Server, path: &str, page: &Moved) -> String {
    let fields = format!("Accept: text/event-stream\r\nLast-Event-ID: {}\r\n", page.last);
    Stream::open(to.listen, path, &fields).await.event().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_spreads_the_pages_that_come_back_to_another_server() {
    raise_descriptors();
    let model = ModelFile::new(r#"{"n":1}"#);
    let flags = ["--topic", "/chat", "--grace", "30s"];
    let (mut server, mut other) = (serve(&model, &flags).await, serve(&model, &flags).await);
    server.ready().await;
    other.ready().await;
    let (mut operation, mut topic) = (JoinSet::new(), JoinSet::new());
    for _ in 0..PAGES {
        operation.spawn(page(Stream::events(&server, "/describe").await));
        topic.spawn(page(Stream::events(&server, "/chat").await));
    }
    #[expect(clippy::cast_precision_loss, reason = "some hundreds")]
    for metric in [PARKED, READERS] {
        server.metric_becomes(metric, PAGES as f64).await;
    }
    let began = Instant::now();
    server.signal(Signal::TERM);
    let (operation, topic) = tokio::join!(operation.join_all(), topic.join_all());
    are_spread(&operation, began);
    are_spread(&topic, began);
    assert_eq!(server.ended().await, Some(0));
    assert!(back(&other, "/describe", &operation[0]).await.contains("event: same\n"), "ids are those of all servers");
    let gap = back(&other, "/chat", &topic[0]).await;
    assert!(gap.contains("event: gap\n"), "each server has a history of its own: {gap}");
}
