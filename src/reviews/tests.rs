//! Reviews by an API server that answers what a test says.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::Response;
use serde_json::{Value, json};
use tracing_subscriber::fmt::MakeWriter;

use super::*;

/// How the API server answers: never, or with a status, a Retry-After and a body.
type Answer = Option<(u16, Option<&'static str>, String)>;

/// A client of an API server that gives each request the same answer, and how often it was asked.
fn server(answer: Answer) -> (Client, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let service = tower::service_fn(move |_: Request<Body>| {
        count.fetch_add(1, Ordering::Relaxed);
        let answer = answer.clone();
        async move {
            let Some((status, retry_after, body)) = answer else { return std::future::pending().await };
            let builder = Response::builder().status(status);
            let builder = retry_after.into_iter().fold(builder, |builder, after| builder.header(RETRY_AFTER, after));
            Ok::<_, Infallible>(builder.body(Body::from(body.into_bytes())).expect("an answer"))
        }
    });
    (Client::new(service, "default"), asked)
}

fn reviews(client: Client) -> Reviews {
    Reviews::new(client, Kind::Token, &Metrics::unregistered().expect("good names"))
}

async fn ask(reviews: &Reviews) -> Result<Result<Value, ()>, String> {
    let judge = |answer: Value| if answer["yes"] == true { Ok(answer) } else { Err(()) };
    reviews.ask(&json!({ "spec": { "token": "s3cr3t" } }), judge).await
}

fn counts(reviews: &Reviews) -> [u64; 4] {
    let KindMetrics { yes, no, unavailable, seconds } = &reviews.metrics;
    [yes.get(), no.get(), unavailable.get(), seconds.get_sample_count()]
}

#[tokio::test(start_paused = true)]
async fn verdicts_and_what_has_none_are_counted() {
    for (code, body, expected, words) in [
        (201, r#"{"yes":true}"#, [1, 0, 0, 1], ""),
        (200, r#"{"yes":false}"#, [0, 1, 0, 1], ""),
        (201, "s3cr3t", [0, 0, 1, 1], "the answer cannot be read"),
        (
            401,
            r#"{"reason":"Unauthorized"}"#,
            [0, 0, 1, 1],
            "Unauthorized (401); the API server does not know who asks",
        ),
        (404, r#"{"reason":"NotFound"}"#, [0, 0, 1, 1], "check that the cluster serves authentication.k8s.io/v1"),
        (429, "s3cr3t", [0, 0, 1, 1], "Too Many Requests (429)"),
        (500, r#"{"reason":"s3cr3t"}"#, [0, 0, 1, 1], "Internal Server Error (500)"),
        (503, "", [0, 0, 1, 1], "Service Unavailable (503)"),
        (302, "", [0, 0, 1, 1], "Found (302)"),
    ] {
        let reviews = reviews(server(Some((code, None, body.to_owned()))).0);
        let verdict = ask(&reviews).await;
        assert_eq!(counts(&reviews), expected, "{code} {body}");
        let why = verdict.err().unwrap_or_default();
        assert!(why.contains(words) && !why.contains("s3cr3t"), "{why}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_denial_names_verb_resource_and_remedy() {
    let reviews = reviews(server(Some((403, None, r#"{"reason":"Forbidden"}"#.to_owned()))).0);
    assert_eq!(
        ask(&reviews).await.expect_err("denied"),
        "cannot create tokenreviews.authentication.k8s.io: Forbidden (403); bind the ClusterRole \"system:auth-delegator\", or \
         one with apiGroups [\"authentication.k8s.io\"], resources [\"tokenreviews\"], verbs [\"create\"], to it"
    );
}

#[tokio::test(start_paused = true)]
async fn an_answer_without_end_is_refused() {
    let reviews = reviews(server(Some((200, None, " ".repeat(KUBERNETES_REVIEW_BYTES + 1)))).0);
    assert!(ask(&reviews).await.expect_err("too large").contains("larger than"));
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_holds_nobody_for_long_and_is_not_flooded() {
    let (client, asked) = server(None);
    let reviews = Arc::new(reviews(client));
    let start = Instant::now();
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..KUBERNETES_REVIEWS_PENDING + 10 {
        let reviews = Arc::clone(&reviews);
        all.spawn(async move { (ask(&reviews).await.expect_err("silence"), start.elapsed()) });
    }
    let (mut full, mut waited, mut silent) = (0, 0, 0);
    while let Some(ended) = all.join_next().await {
        let (why, took) = ended.expect("it ends");
        let (count, least) = if why.contains("others wait") {
            (&mut full, Duration::ZERO)
        } else if why.contains("its turn did not come") {
            (&mut waited, KUBERNETES_REVIEW_TURN)
        } else {
            assert!(why.contains("no answer within 5s"), "{why}");
            (&mut silent, KUBERNETES_REVIEW)
        };
        *count += 1;
        assert!((least..least + Duration::from_millis(10)).contains(&took), "{why} after {took:?}");
    }
    assert_eq!((full, waited, silent), (10, KUBERNETES_REVIEWS_PENDING - KUBERNETES_REVIEWS, KUBERNETES_REVIEWS));
    assert_eq!(asked.load(Ordering::Relaxed), KUBERNETES_REVIEWS);
}

#[tokio::test(start_paused = true)]
async fn who_gives_up_gives_turn_and_place_back() {
    let reviews = reviews(server(None).0);
    for _ in 0..2 * KUBERNETES_REVIEWS_PENDING {
        assert!(timeout(Duration::ZERO, ask(&reviews)).await.is_err());
    }
    let free = (reviews.places.available_permits(), reviews.turns.available_permits());
    assert_eq!(free, (KUBERNETES_REVIEWS_PENDING, KUBERNETES_REVIEWS));
}

#[tokio::test(start_paused = true)]
async fn a_pause_that_the_server_asks_for_is_kept() {
    for (code, asked_for, seconds) in [
        (429, Some("7"), 7),
        (503, Some("7"), 7),
        (429, Some("86400"), 30),
        (429, None, 0),
        (429, Some("Fri, 31 Dec 1999 23:59:59 GMT"), 0),
        (403, Some("7"), 0),
    ] {
        let (client, asked) = server(Some((code, asked_for, String::new())));
        let reviews = reviews(client);
        let start = Instant::now();
        let mut tries = 0;
        while asked.load(Ordering::Relaxed) < 2 {
            ask(&reviews).await.expect_err("an error");
            tries += 1;
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert_eq!(start.elapsed().as_secs(), seconds.max(1) + 1, "{code} {asked_for:?}: {tries} tries");
    }
}

/// What is logged, as text.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        lock(&self.0).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[tokio::test(start_paused = true)]
async fn the_log_has_a_line_in_ten_seconds_and_no_secret() {
    let lines = Lines::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(lines.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let reviews = reviews(server(Some((201, None, r#"{"spec":"s3cr3t""#.to_owned()))).0);
    for second in 0..25 {
        ask(&reviews).await.expect_err("it cannot be read");
        let text = String::from_utf8(lock(&lines.0).clone()).expect("text");
        assert_eq!(text.matches("a review has no verdict").count(), second / 10 + 1, "{text}");
        assert!(!text.contains("s3cr3t"), "{text}");
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    let text = String::from_utf8(lock(&lines.0).clone()).expect("text");
    assert_eq!(text.matches("before=9").count(), 2, "{text}");
}
