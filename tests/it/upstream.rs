//! The app as a source: a real nginx and apps that the tests play behind it, real connections.

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use tidewait::bounds::{DOCUMENT_BYTES, FETCH, TRIGGER_CONFIRM};
use tidewait::model::Epoch;
use tidewait::model::Provenance;
use tidewait::sources::upstream::{self, Refresh, Trigger, UpstreamSource};
use tidewait::sources::{Report, UnusableKind};
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::proxy::harness::{App, AppBody, Raw, RawApp, boxed, within};
use crate::proxy::nginx::Nginx;

const OFTEN: Refresh = Refresh::Every(Duration::from_millis(100));

/// Status, condition and what would tell who asks, of each request.
const LOG: &str = "log_format asked '$status|$http_if_none_match|$http_user_agent|$http_accept_encoding|\
                   $http_cookie$http_authorization$http_forwarded$http_x_forwarded_for';";

/// The source, running; stopped when dropped.
struct Source {
    reports: mpsc::Receiver<Report>,
    tasks: JoinSet<()>,
}

impl Source {
    fn of(app: SocketAddr, path: &str, refresh: Refresh) -> Self {
        let (sender, reports) = mpsc::channel(1);
        let source = UpstreamSource {
            operation: "test".to_owned(),
            authority: app.to_string().parse().expect("an authority"),
            path: path.parse().expect("a path"),
            refresh,
            format: None,
            serves_json: false,
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(upstream::run(source, sender));
        Self { reports, tasks }
    }

    async fn next(&mut self) -> Report {
        within("a report", self.reports.recv()).await.expect("the source goes on")
    }

    /// The next report that is no confirmation.
    async fn says(&mut self) -> Report {
        within("a report that confirms nothing", async {
            loop {
                let report = self.next().await;
                if !matches!(report, Report::Confirmed) {
                    break report;
                }
            }
        })
        .await
    }

    /// The media type and the bytes that it holds next.
    async fn holds(&mut self) -> (String, String) {
        let report = self.says().await;
        let Report::Holds(draft) = report else { panic!("{report:?} is no state") };
        assert_eq!((draft.epoch, draft.version), (Epoch::of(&["upstream", "test"]), 0));
        assert_eq!(draft.provenance, Provenance::Read);
        let bytes = String::from_utf8(draft.content.bytes().to_vec()).expect("the tests write text");
        (draft.content.media_type().to_owned(), bytes)
    }

    async fn holds_json(&mut self, expected: &str) {
        assert_eq!(self.holds().await, ("application/json".to_owned(), expected.to_owned()));
    }

    async fn confirms(&mut self) {
        let report = self.next().await;
        assert!(matches!(report, Report::Confirmed), "{report:?} is no confirmation");
    }

    async fn unusable(&mut self) -> (UnusableKind, String) {
        let report = self.says().await;
        let Report::Unusable(unusable) = report else { panic!("{report:?} is not unusable") };
        (unusable.kind, unusable.detail)
    }

    async fn lost(&mut self) -> String {
        let report = self.says().await;
        let Report::Lost { reason } = report else { panic!("{report:?} is not lost") };
        reason
    }
}

/// Writes a file that was last modified `age` ago, all at once.
fn write(nginx: &Nginx, text: &str, age: Duration) {
    let next = nginx.file("next");
    fs::write(&next, text).expect("the folder is ours");
    let file = fs::File::options().write(true).open(&next).expect("it is there");
    file.set_modified(SystemTime::now() - age).expect("it is ours");
    fs::rename(&next, nginx.file("model.json")).expect("in the same folder");
}

const OLD: Duration = Duration::from_secs(60);

async fn nginx(model: &str, age: Duration) -> Nginx {
    let server = "default_type application/json; access_log access.log asked;
        location /text { default_type 'text/x-model; v=1'; alias file; }
        location /yaml { default_type application/yaml; return 200 'a: [1, x]'; }
        location /gone { return 410; } location /secret { deny all; } location /old { return 302 /model.json; }
        location /down { add_header Retry-After 1 always; return 503; }
        location /gzip { add_header Content-Encoding gzip; return 200 '{}'; }
        location /empty { return 200 ''; }";
    let nginx = Nginx::start(LOG, server).await;
    write(&nginx, model, age);
    nginx
}

#[tokio::test]
async fn a_file_behind_nginx_is_followed_and_asked_for_by_its_tag() {
    let nginx = nginx(r#"{ "b": 1, "a": 2 }"#, 2 * OLD).await;
    let mut source = Source::of(nginx.address, "/model.json?x=%20", OFTEN);
    source.holds_json(r#"{"a":2,"b":1}"#).await;
    for _ in 0..3 {
        source.confirms().await;
    }
    write(&nginx, "[3]", OLD);
    source.holds_json("[3]").await;
    source.confirms().await;
    drop(source);
    let log = fs::read_to_string(nginx.file("access.log")).expect("it logs");
    let lines: Vec<_> = log.lines().map(|line| line.split('|').collect::<Vec<_>>()).collect();
    let full: Vec<_> = lines.iter().filter(|line| line[0] == "200").collect();
    assert_eq!(full.len(), 2, "each state is sent once: {log}");
    assert!(lines[1..4].iter().all(|line| line[0] == "304" && line[1].len() > 2), "{log}");
    let ours = concat!("tidewait/", env!("CARGO_PKG_VERSION"));
    assert!(
        lines.iter().all(|line| line[2..] == [ours, "identity", "-"] || line[2..] == [ours, "identity", "----"]),
        "{log}"
    );
}

#[tokio::test]
async fn two_changes_of_one_length_within_a_second_are_both_seen() {
    let nginx = nginx("[1]", Duration::ZERO).await;
    let mut source = Source::of(nginx.address, "/model.json", OFTEN);
    source.holds_json("[1]").await;
    for n in 2..8 {
        let text = format!("[{n}]");
        write(&nginx, &text, Duration::ZERO);
        source.holds_json(&text).await;
    }
}

#[tokio::test]
async fn the_last_good_state_stays_while_the_app_is_down_or_wrong() {
    let mut nginx = nginx("[1]", OLD).await;
    let mut source = Source::of(nginx.address, "/model.json", OFTEN);
    source.holds_json("[1]").await;
    nginx.stop().await;
    let reason = source.lost().await;
    assert!(reason.starts_with(&format!("GET http://{}/model.json: the app ", nginx.address)), "{reason}");
    nginx.again().await;
    source.confirms().await;
    write(&nginx, "[2", OLD * 2);
    let (kind, detail) = source.unusable().await;
    assert_eq!(kind, UnusableKind::Invalid);
    assert!(detail.contains("/model.json: JSON does not parse: "), "{detail}");
    fs::remove_file(nginx.file("model.json")).expect("it is there");
    // What is said once is not said again, and nothing wrong is ever confirmed.
    let report = source.next().await;
    let Report::Unusable(unusable) = report else { panic!("{report:?}") };
    assert_eq!(unusable.kind, UnusableKind::Missing, "{}", unusable.detail);
    write(&nginx, "[1]", OLD);
    source.holds_json("[1]").await;
    source.confirms().await;
}

#[tokio::test]
async fn each_answer_is_what_it_says_it_is() {
    let nginx = nginx("[1]", OLD).await;
    assert_eq!(
        Source::of(nginx.address, "/text", OFTEN).holds().await,
        ("text/x-model; v=1".to_owned(), "0123456789".to_owned())
    );
    Source::of(nginx.address, "/yaml", OFTEN).holds_json(r#"{"a":[1,"x"]}"#).await;
    for (path, expected, words) in [
        ("/gone", UnusableKind::Missing, "410 Gone: serve the model there"),
        ("/none", UnusableKind::Missing, "404 Not Found: serve the model there"),
        ("/secret", UnusableKind::Forbidden, "403 Forbidden: let it give"),
        (
            "/gzip",
            UnusableKind::Invalid,
            "Content-Encoding \"gzip\" although only identity was asked for: turn that off",
        ),
        ("/empty", UnusableKind::Empty, "it is empty: write a model"),
    ] {
        let (kind, detail) = Source::of(nginx.address, path, OFTEN).unusable().await;
        assert_eq!(kind, expected, "{detail}");
        assert!(detail.contains(words), "{path}: {detail}");
    }
    let redirected = Source::of(nginx.address, "/old", OFTEN).lost().await;
    let words =
        format!("302 Found to \"http://{}/model.json\", and redirects are not followed: name that path", nginx.address);
    assert!(redirected.contains(&words), "{redirected}");
    let mut down = Source::of(nginx.address, "/down", OFTEN);
    let began = Instant::now();
    assert!(down.lost().await.ends_with("503 Service Unavailable, and only 200 holds a model"));
    // Said once; asked again no sooner than the app wished.
    assert!(timeout(Duration::from_millis(900), down.reports.recv()).await.is_err());
    let asked = fs::read_to_string(nginx.file("access.log"))
        .expect("it logs")
        .lines()
        .filter(|line| line.starts_with("503"))
        .count();
    assert!(asked == 1 || began.elapsed() >= Duration::from_secs(1), "{asked} in {:?}", began.elapsed());
}

#[tokio::test]
async fn an_app_that_breaks_off_or_stalls_is_lost_and_nothing_of_it_is_served() {
    let app = RawApp::new();
    let mut source = Source::of(app.address(), "/m", OFTEN);
    let mut first = app.accept().await;
    first.head().await;
    first.send("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n[1]").await;
    drop(first);
    let reason = source.lost().await;
    assert!(reason.contains("the app broke off"), "{reason}");
    let mut second = app.accept().await;
    second.head().await;
    second.send("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n[1]").await;
    // The clock jumps only while everybody waits: the half body is read before.
    tokio::time::pause();
    let began = Instant::now();
    let report = timeout(2 * FETCH, source.reports.recv()).await;
    tokio::time::resume();
    let Ok(Some(Report::Lost { reason })) = report else { panic!("{report:?} is not lost") };
    assert!(reason.contains("the app has not answered in full within 30s"), "{reason}");
    assert!(began.elapsed() >= FETCH.mul_f64(0.8), "{:?}", began.elapsed());
    assert_eq!(second.rest().await.0, "", "the connection ends");
    let mut third = app.accept().await;
    third.head().await;
    third.send("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 3\r\n\r\n[1]").await;
    source.holds_json("[1]").await;
}

#[tokio::test]
async fn a_body_over_the_bound_is_refused_whether_or_not_its_length_is_told() {
    let app = RawApp::new();
    let mut source = Source::of(app.address(), "/m", OFTEN);
    let mut first = app.accept().await;
    first.head().await;
    let over = DOCUMENT_BYTES + 1;
    first.send(format!("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {over}\r\n\r\n")).await;
    let (kind, detail) = source.unusable().await;
    assert_eq!(kind, UnusableKind::Invalid);
    assert!(detail.contains("it is 67108865 bytes, over the limit of 67108864"), "{detail}");
    let mut second = app.accept().await;
    second.head().await;
    let (mut reader, mut writer) = second.0.into_split();
    let mut writing = JoinSet::new();
    writing.spawn(async move {
        // Up to the end of the connection: it is cut when the bound is passed.
        use tokio::io::AsyncWriteExt as _;
        let chunk = format!("100000\r\n{}\r\n", "x".repeat(1 << 20));
        let mut sent = writer
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n")
            .await;
        let mut chunks = 0;
        while sent.is_ok() {
            chunks += 1;
            sent = writer.write_all(chunk.as_bytes()).await;
        }
        assert!(chunks < 80, "{chunks} MiB went out");
    });
    let (kind, detail) = source.unusable().await;
    assert_eq!(kind, UnusableKind::Invalid);
    assert!(detail.contains("it is over the limit of 67108864 bytes: make it smaller"), "{detail}");
    within("the connection ends", writing.join_next()).await.expect("a task").expect("no panic");
    let mut rest = Vec::new();
    // Reset or closed: either way it is over.
    let _ = within("the connection ends", reader.read_to_end(&mut rest)).await;
}

/// An app that counts, and gives the newest of `states` that has been asked for often enough.
async fn slow_to_learn(states: Arc<[(AtomicUsize, &'static str)]>, asked: Arc<AtomicUsize>) -> App {
    App::new(move |_: Request<Incoming>| {
        asked.fetch_add(1, Ordering::SeqCst);
        let known = states.iter().rev().find(|(unknown, _)| {
            unknown.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_err()
        });
        let body: AppBody = boxed(Full::<Bytes>::from(known.map_or("null", |(_, state)| *state)));
        let response = Response::builder().header("content-type", "application/json").body(body);
        async move { response.expect("a response") }
    })
    .await
}

#[tokio::test]
async fn a_trigger_fetches_until_the_app_has_learnt_of_the_change() {
    const NEVER: usize = usize::MAX / 2;
    let states: Arc<[_]> = [(AtomicUsize::new(0), "[1]"), (AtomicUsize::new(NEVER), "[2]")].into();
    let asked = Arc::new(AtomicUsize::new(0));
    let app = slow_to_learn(Arc::clone(&states), Arc::clone(&asked)).await;
    let trigger = Trigger::new();
    trigger.pull();
    let mut source = Source::of(app.address, "/m", Refresh::On(trigger.clone()));
    source.holds_json("[1]").await;
    // Nothing is pulled, so nothing is asked.
    assert!(timeout(Duration::from_millis(400), source.reports.recv()).await.is_err());
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    // The app learns of it only after it has been asked twice more.
    states[1].0.store(2, Ordering::SeqCst);
    let pulled = Instant::now();
    trigger.pull();
    source.confirms().await;
    assert!(pulled.elapsed() < TRIGGER_CONFIRM / 2, "it was told: {:?}", pulled.elapsed());
    source.confirms().await;
    source.holds_json("[2]").await;
    assert!(pulled.elapsed() >= Duration::from_secs(1), "after 0.1 s and 1 s more: {:?}", pulled.elapsed());
    assert_eq!(asked.load(Ordering::SeqCst), 4);
    assert!(timeout(Duration::from_millis(400), source.reports.recv()).await.is_err(), "it has what it waited for");
}

#[tokio::test]
async fn a_trigger_during_a_fetch_leads_to_another() {
    let app = RawApp::new();
    let trigger = Trigger::new();
    let mut source = Source::of(app.address(), "/m", Refresh::On(trigger.clone()));
    let answer = |text: &str| {
        format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{text}", text.len())
    };
    let mut first = app.accept().await;
    first.head().await;
    trigger.pull();
    first.send(answer("[1]")).await;
    source.holds_json("[1]").await;
    let mut second: Raw = app.accept().await;
    second.head().await;
    second.send(answer("[2]")).await;
    source.holds_json("[2]").await;
}

#[tokio::test]
async fn a_source_that_nobody_listens_to_ends_in_the_middle_of_a_fetch() {
    let app = RawApp::new();
    let Source { reports, mut tasks } = Source::of(app.address(), "/m", OFTEN);
    let mut asked = app.accept().await;
    asked.head().await;
    drop(reports);
    within("it ends", tasks.join_next()).await.expect("a task").expect("no panic");
    assert_eq!(asked.rest().await.0, "", "the connection ends");
}

#[tokio::test]
async fn a_json_model_is_not_replaced_by_another_kind_of_document_unasked() {
    let app = RawApp::new();
    let mut source = Source::of(app.address(), "/m", OFTEN);
    let answer = async |media_type: &str, body: &str| {
        let mut asked = app.accept().await;
        asked.head().await;
        let length = body.len();
        asked
            .send(format!("HTTP/1.1 200 OK\r\ncontent-type: {media_type}\r\ncontent-length: {length}\r\n\r\n{body}"))
            .await;
    };
    // The page that a single-page app gives for every path, also before there is a model.
    answer("text/html; charset=utf-8", "<!doctype html>").await;
    let (kind, detail) = source.unusable().await;
    assert_eq!(kind, UnusableKind::Invalid);
    assert!(detail.contains("\"text/html; charset=utf-8\"") && detail.contains("source.upstream.format"), "{detail}");
    answer("application/json", "[1]").await;
    source.holds_json("[1]").await;
    for media_type in ["text/html", "text/plain"] {
        answer(media_type, "<!doctype html>").await;
        let (_, detail) = source.unusable().await;
        assert!(detail.contains(media_type) && detail.contains("the model is JSON"), "{detail}");
    }
    answer("application/yaml", "[2]").await;
    source.holds_json("[2]").await;
}
