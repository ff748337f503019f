//! Requests and their answers, whole: tests/it/http/golden.txt, which
//! `TIDEWAIT_REGENERATE=1 cargo test --test it golden` writes anew. A changed line there is a
//! changed promise. Left out: `date`, jitter, and the bytes of an encoding (decoded instead).

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Read as _;
use std::time::Duration;

use tidewait::access::Policy;
use tidewait::access::policy::Rule;
use tidewait::access::tokens as token;
use tidewait::bounds::BAD_CREDENTIALS;
use tidewait::http::access::Access;
use tidewait::protocol::StatePath;
use tidewait::protocol::relay::Unfit;
use tidewait::sources::Report;
use tidewait::sources::describe::Server;
use tidewait::{client, config};

use super::judged::Slow;
use super::{MODEL, Rig, Wire, answers, get, id, next};
use crate::talk::Answer;

/// What the operation is like when the request comes.
#[derive(Debug, Clone, Copy)]
enum World {
    /// [`MODEL`] at version 7, live.
    Serving,
    /// The same content has been written again, as version 8.
    Moved,
    /// Another MTU followed, as version 8: [`NEXT`].
    Changed,
    /// No state yet.
    Empty,
    /// Serving; the source was lost 7 s ago.
    Lost,
    /// Serving; as many are parked as may be.
    Full,
    /// Serving; agent node-1 has as many parked as it may, and repeats itself.
    Busy,
    /// Serving, to those with a token.
    Asking,
    /// The same, after too many bad credentials.
    Limited,
    /// Serving the MTU alone, which comes through `root-1` and `relay-1`.
    Relaying,
    /// The same, and the server does not allow it.
    RelayForbidden,
    /// Serving; the relay of [`report`] has just reported.
    Reported,
    /// Serving; the process drains, a moment before the last slot.
    Draining,
}

/// [`MODEL`] with another MTU.
const NEXT: &str = r#"{"mtu":9000,"zones":["zone-a","zone-a","zone-a","zone-a","zone-a","zone-a"]}"#;
const DELTA: &str = "Accept: application/json-patch+json, application/json;q=0.9\r\n";

/// A request and what came back.
pub(crate) struct Exchange {
    name: &'static str,
    raw: String,
    /// The answer as it was sent.
    text: String,
    pub(crate) answer: Answer,
}

impl Exchange {
    /// The method, if it is a request for describe that got past the gate.
    pub(crate) fn describe_method(&self) -> Option<&str> {
        let mut words = self.raw.split([' ', '?']);
        let (method, path) = (words.next()?, words.next()?);
        (path == "/describe" && !self.name.starts_with("gate-")).then_some(method)
    }
}

type Case = (&'static str, World, String);

fn head(query: &str, fields: &str) -> String {
    get(query, fields).replacen("GET", "HEAD", 1)
}

fn line(first: &str, fields: &str) -> String {
    format!("{first} HTTP/1.1\r\nHost: test\r\n{fields}\r\n")
}

fn cases() -> Vec<Case> {
    [states(), parts(), conditions(), parked(), relays(), refusals(), reports(), access(), gate()].concat()
}

/// A report, with other fields than its media type.
fn report(seq: u64, fields: &str) -> String {
    let body = format!(
        "{{\"instance\":\"5f0a\",\"seq\":{seq},\"state\":\"{}\",\"total\":3,\"converged\":2,\"lagging\":1,\"rejecting\":0,\
         \"applying\":0,\"oldestLagSeconds\":4,\"worst\":[{{\"agent\":\"node-2\"}}]}}",
        id(7, MODEL)
    );
    posted("application/vnd.tidewait.report+json", &body, fields)
}

fn posted(media_type: &str, body: &str, fields: &str) -> String {
    let length = body.len();
    line("POST /describe", &format!("Content-Type: {media_type}\r\nContent-Length: {length}\r\n{fields}")) + body
}

fn states() -> Vec<Case> {
    use World::{Draining, Lost, Serving};
    let other = id(6, "{}");
    vec![
        ("the-null-state", Serving, line("GET /describe", "")),
        ("an-empty-since", Serving, get("since=", "")),
        ("another-state", Serving, get(&format!("since={other}"), "")),
        ("nothing-of-ours", Serving, get("since=%00nonsense&wait=55", "")),
        ("link-keeps-parameters", Serving, get("a=x+y&since=&wait=30&b=%2B&rejected=1&flag&c=&e=%C3%A9", "")),
        ("agent", Serving, get("", "Agent-Id: rack-1:node-7\r\n")),
        ("gzip", Serving, get("", "Accept-Encoding: gzip\r\n")),
        ("zstd", Serving, get("", "Accept-Encoding: gzip, deflate, br, zstd\r\n")),
        ("no-coding-that-we-have", Serving, get("", "Accept-Encoding: br, identity;q=0\r\n")),
        ("preference-applied", Serving, get("", "Prefer: respond-async, wait=3\r\n")),
        ("preference-behind-the-query", Serving, get("wait=1", "Prefer: wait=3\r\n")),
        ("source-lost", Lost, get("", "")),
        ("http-1-0", Serving, "GET /describe HTTP/1.0\r\n\r\n".to_owned()),
        ("client-closes", Serving, get("", "Connection: close\r\n")),
        ("while-draining", Draining, get("", "")),
        ("head", Serving, head("", "")),
        ("head-gzip", Serving, head("", "Accept-Encoding: gzip\r\n")),
        ("head-preference", Serving, head("", "Prefer: wait=3\r\n")),
        ("options", Serving, line("OPTIONS /describe", "")),
    ]
}

fn parts() -> Vec<Case> {
    use World::{Changed, Serving};
    let before = id(7, MODEL);
    let since = format!("since={before}");
    vec![
        ("select", Serving, get("select=/mtu", "")),
        ("select-several", Serving, get("select=/zones&select=/zones/0&wait=3&select=/a+b%2Bc", "")),
        ("select-nothing", Serving, get("select=/zones/0", "")),
        ("select-whole", Serving, get("select=", "")),
        ("select-wait-ends", Serving, get(&format!("select=/mtu&wait=1&since={}", id(7, r#"{"mtu":1450}"#)), "")),
        ("head-select", Serving, head("select=/mtu", "")),
        ("delta", Changed, get(&since, DELTA)),
        ("delta-from-an-etag", Changed, get(&format!("since={}.{}", before.epoch, before.digest), DELTA)),
        ("delta-preference", Changed, get(&since, &format!("{DELTA}Prefer: wait=3\r\n"))),
        ("head-delta", Changed, head(&since, DELTA)),
        ("delta-is-not-smaller", Changed, get(&format!("select=/mtu&since={}", id(7, r#"{"mtu":1450}"#)), DELTA)),
        ("delta-from-nowhere", Changed, get(&format!("since={}", id(6, "{}")), DELTA)),
        ("delta-not-preferred", Changed, get(&since, "Accept: application/json-patch+json, */*\r\n")),
    ]
}

fn relays() -> Vec<Case> {
    use World::{RelayForbidden, Relaying, Serving};
    const RELAY: &str = "Relay: relay-2\r\n";
    let since = format!("since={}&wait=0", id(7, MODEL));
    let any = format!("If-None-Match: *\r\n{RELAY}");
    vec![
        ("a-relay", Serving, get("", RELAY)),
        ("a-relay-asks", Serving, get(&since, RELAY)),
        ("a-relay-revalidates", Serving, get("", &any)),
        ("head-a-relay", Serving, head("", RELAY)),
        ("head-a-relay-asks", Serving, head(&since, RELAY)),
        ("head-a-relay-revalidates", Serving, head("", &any)),
        ("no-relay", Serving, get("", "Relay: a b\r\n")),
        ("a-part-that-is-held", Relaying, get("select=/mtu", "")),
        ("not-held", Relaying, get("", "")),
        ("head-not-held", Relaying, head("select=/zones", "")),
        ("loop", Relaying, get("select=/mtu", "Relay: relay-1\r\n")),
        ("head-loop", Relaying, head("select=/mtu", "Relay: relay-1\r\n")),
        ("relay-policy", RelayForbidden, get("select=/mtu", "")),
    ]
}

fn conditions() -> Vec<Case> {
    use World::Serving;
    let id = id(7, MODEL);
    let tag = format!("If-None-Match: \"{}.{}\"\r\n", id.epoch, id.digest);
    vec![
        ("etag-matches", Serving, get("", &tag)),
        (
            "etag-of-gzip-matches",
            Serving,
            get("", &format!("{}Accept-Encoding: gzip\r\n", tag.replace("\"\r", "~gzip\"\r"))),
        ),
        ("any-etag", Serving, get("", "If-None-Match: *\r\nPrefer: wait=3\r\n")),
        ("etag-of-another", Serving, get("", "If-None-Match: \"other\"\r\n")),
        ("etag-and-since", Serving, get(&format!("since={id}&wait=0"), &tag)),
        ("head-etag", Serving, head("", &tag)),
        ("head-etag-preference", Serving, head("", &format!("{tag}Prefer: wait=3\r\n"))),
    ]
}

fn parked() -> Vec<Case> {
    use World::{Draining, Lost, Moved, Serving};
    let since = format!("since={}", id(7, MODEL));
    vec![
        ("wait-ends", Serving, get(&format!("{since}&wait=1"), "")),
        ("wait-of-zero", Serving, get(&format!("{since}&wait=0"), "")),
        (
            "rejected-wait-ends",
            Serving,
            get(&format!("{since}&wait=1", since = since.replace("since", "rejected")), ""),
        ),
        ("rejected-and-since", Serving, get(&format!("since={}&rejected={}&wait=1", id(6, "{}"), id(7, MODEL)), "")),
        ("wait-preferred", Serving, get(&since, "Prefer: wait=1\r\n")),
        ("wait-ends-with-a-match", Serving, get(&format!("{since}&wait=1"), "If-None-Match: *\r\n")),
        ("wait-ends-at-a-newer-version", Moved, get(&format!("{since}&wait=1"), "")),
        ("wait-ends-while-lost", Lost, get(&format!("{since}&wait=1"), "")),
        ("wait-ends-by-drain", Draining, get(&format!("{since}&wait=30"), "")),
        ("head-unchanged", Serving, head(&since, "")),
        ("head-unchanged-preference", Serving, head(&since, "Prefer: wait=3\r\n")),
    ]
}

fn refusals() -> Vec<Case> {
    use World::{Busy, Empty, Full, Lost, Serving};
    let since = format!("since={}", id(7, MODEL));
    let (ahead, stale) = (format!("since={}", id(9, "{}")), format!("since={}", id(3, "{}")));
    let agent = "Agent-Id: node-1\r\n";
    vec![
        ("wait-wrong", Serving, get("wait=25s", "")),
        ("wait-twice", Serving, get("wait=1&wait=2", "")),
        ("since-twice", Serving, get("since=a&since=b", "")),
        ("rejected-twice", Serving, get("rejected=a&rejected=b", "")),
        ("since-long", Serving, get(&format!("since={}", "x".repeat(257)), "")),
        ("select-wrong", Serving, get("select=zones/0", "")),
        ("select-wrong-escape", Serving, get("select=/zones&select=/a~2", "")),
        ("select-too-many", Serving, get(&"select=/a&".repeat(65), "")),
        ("agent-wrong", Serving, get("", "Agent-Id: a/b\r\n")),
        ("agent-twice", Serving, get("", "Agent-Id: a\r\nAgent-Id: b\r\n")),
        ("head-wait-wrong", Serving, head("wait=", "")),
        ("post", Serving, line("POST /describe", "Content-Length: 0\r\n")),
        ("no-state", Empty, get("", "")),
        ("head-no-state", Empty, head("", "")),
        ("full", Full, get(&since, "")),
        ("agent-has-too-many", Busy, get(&since, agent)),
        ("head-is-not-paced", Busy, head(&stale, agent)),
        ("not-confirmed", Lost, get(&ahead, "")),
    ]
}

fn reports() -> Vec<Case> {
    use World::{Reported, Serving};
    let media_type = "application/vnd.tidewait.report+json";
    let of_a_part = report(1, "").replace("POST /describe", "POST /describe?select=/zones&select=zones");
    vec![
        ("report", Serving, report(1, "")),
        ("report-again", Reported, report(1, "")),
        ("report-too-soon", Reported, report(2, "")),
        ("report-wrong", Serving, posted(media_type, "{\"instance\":\"5f0a\",\"seq\":-1}", "")),
        ("report-of-a-wrong-part", Serving, of_a_part),
        (
            "report-too-large",
            Serving,
            line("POST /describe", &format!("Content-Type: {media_type}\r\nContent-Length: 16385\r\n")),
        ),
        ("report-encoded", Serving, report(1, "Content-Encoding: gzip\r\n")),
        ("report-of-another-type", Serving, posted("application/vnd.tidewait.report+cbor", "{}", "")),
        ("post-of-another-type", Serving, posted("application/json", "{}", "")),
    ]
}

fn access() -> Vec<Case> {
    use World::{Asking, Limited};
    let another = "Authorization: Bearer another\r\n";
    let away = "Authorization: Bearer slow-away\r\n";
    let another_bad = "Authorization: Bearer slow-bad\r\n";
    vec![
        ("no-credential", Asking, get("", "")),
        ("no-such-token", Asking, get("", "Authorization: Bearer nobody\r\n")),
        ("a-good-token", Asking, get("", "Authorization: Bearer somebody\r\n")),
        ("another-scheme", Asking, get("", "Authorization: Basic YTpi\r\n")),
        ("forbidden", Asking, get("", another)),
        ("access-unknown", Asking, get("", away)),
        ("head-access-unknown", Asking, head("", away)),
        ("options-access-unknown", Asking, line("OPTIONS /describe", away)),
        ("post-access-unknown", Asking, line("POST /describe", &format!("Content-Length: 0\r\n{away}"))),
        ("too-many-bad-credentials", Limited, get("", another_bad)),
        ("head-too-many-bad-credentials", Limited, head("", another_bad)),
        ("options-too-many-bad-credentials", Limited, line("OPTIONS /describe", another_bad)),
        (
            "post-too-many-bad-credentials",
            Limited,
            line("POST /describe", &format!("Content-Length: 0\r\n{another_bad}")),
        ),
        ("head-forbidden", Asking, head("", another)),
        ("options-forbidden", Asking, line("OPTIONS /describe", another)),
        ("post-forbidden", Asking, line("POST /describe", &format!("Content-Length: 0\r\n{another}"))),
        ("head-no-credential", Asking, head("", "")),
        ("options-no-credential", Asking, line("OPTIONS /describe", "")),
        ("post-no-credential", Asking, line("POST /describe", "Content-Length: 0\r\n")),
    ]
}

fn gate() -> Vec<Case> {
    use World::Serving;
    vec![
        ("gate-host-twice", Serving, get("", "Host: test\r\n")),
        ("gate-fragment", Serving, line("GET /describe#x", "")),
        ("gate-bare-lf", Serving, "GET /describe HTTP/1.1\nHost: test\r\n\r\n".to_owned()),
        ("gate-look-alike", Serving, get("", "Transfer_Encoding: chunked\r\n")),
        ("gate-coding", Serving, line("POST /describe", "Transfer-Encoding: gzip, chunked\r\n")),
        ("gate-expect", Serving, get("", "Expect: 200-maybe\r\n")),
        ("gate-trace", Serving, line("TRACE /describe", "")),
        ("options-malformed", Serving, line("OPTIONS /describe", "Host: test\r\n")),
        ("post-malformed", Serving, line("POST /describe", "Host: test\r\n")),
        ("no-such-path", Serving, line("GET //describe", "")),
    ]
}

/// Those with a token are let in, and one of them may; too many bad credentials have come before, if so.
async fn asking(is_limited: bool) -> Rig {
    let owners = [("somebody", "node-1"), ("another", "node-2")];
    let tokens = owners.map(|(token, name)| token::line(token, name, &[])).join("\n");
    let rule = Rule {
        subjects: vec!["user:node-1".parse().expect("a subject")],
        operations: vec!["*".parse().expect("a pattern")],
        restrict: Vec::new(),
    };
    let policy = Policy { rules: vec![rule], ..Policy::default() };
    let mut rig = Rig::with_access(|metrics| Access::by(Slow::schemes(&tokens).0, policy, metrics));
    rig.publish(7, MODEL).await;
    let bad = if is_limited { BAD_CREDENTIALS } else { 0 };
    for number in 0..bad {
        let refused = rig.ask(&get("", &format!("Authorization: Bearer slow-bad-{number}\r\n"))).await;
        assert_eq!(refused.status, 401);
    }
    rig
}

/// The world, and what must live as long as it.
async fn world(world: World) -> (Rig, Vec<Wire>) {
    if matches!(world, World::Empty) {
        return (Rig::empty(|_| ()), Vec::new());
    }
    if matches!(world, World::Asking | World::Limited) {
        return (asking(matches!(world, World::Limited)).await, Vec::new());
    }
    let mut rig = Rig::serving(|config| match world {
        World::Full => config.parked = 1,
        World::Busy => config.parked_per_agent = 1,
        World::Relaying | World::RelayForbidden => {
            let select = vec!["/mtu".to_owned()];
            let settings = client::Settings { select, ..client::Settings::new("http://root.example", "/describe") };
            config.source = config::Source::Describe(Box::new(settings));
        }
        World::Serving
        | World::Moved
        | World::Changed
        | World::Empty
        | World::Lost
        | World::Asking
        | World::Limited
        | World::Reported
        | World::Draining => {}
    })
    .await;
    let mut wires = Vec::new();
    match world {
        World::Moved => {
            rig.says(8, MODEL).await;
            // A move wakes nobody, so it is looked for.
            while rig.operation.hub.current().is_none_or(|served| served.snapshot.id != id(8, MODEL)) {
                tokio::task::yield_now().await;
            }
        }
        World::Changed => rig.publish(8, NEXT).await,
        World::Lost => {
            rig.reports(Report::Lost { reason: "a test".to_owned() }).await;
            // Taken when the next one fits, and the status is set by then.
            rig.reports(Report::Lost { reason: "a test".to_owned() }).await;
            while rig.operation.freshness.is_live() {
                tokio::task::yield_now().await;
            }
            tokio::time::advance(Duration::from_secs(7)).await;
        }
        World::Relaying | World::RelayForbidden => {
            let refusal = matches!(world, World::RelayForbidden).then_some(Unfit::Forbidden);
            let path = Some(StatePath::parse("root-1, relay-1"));
            rig.operation.lineage.follow(&Server { path, refusal, ..Server::default() });
        }
        World::Full | World::Busy => {
            for _ in 0..3 {
                rig.poll(&format!("since={}", id(3, "{}")), "Agent-Id: node-1\r\n").await;
            }
            let mut wire = rig.connect();
            wire.send(get(&format!("since={}", id(7, MODEL)), "Agent-Id: node-1\r\n").as_bytes());
            wire.flushed().await;
            rig.parked(1).await;
            wires.push(wire);
        }
        World::Reported => {
            let answer = rig.ask(&report(1, "")).await;
            assert_eq!(answer.status, 204);
        }
        World::Draining => {
            let drain = rig.stop.drain();
            tokio::time::advance(drain.end() - tokio::time::Instant::now()).await;
        }
        World::Serving | World::Empty | World::Asking | World::Limited => {}
    }
    (rig, wires)
}

/// Every case, asked and answered.
pub(crate) async fn exchanges() -> Vec<Exchange> {
    let mut exchanges = Vec::new();
    for (name, kind, raw) in cases() {
        let (mut rig, wires) = world(kind).await;
        let mut wire = rig.connect();
        wire.send(raw.as_bytes());
        let to_head = raw.starts_with("HEAD ");
        wire.until(|seen| !answers(seen, to_head).0.is_empty()).await;
        let text = String::from_utf8_lossy(&wire.seen).into_owned();
        let answer = next(&mut wire, to_head).await;
        let text = text.split_inclusive("\r\n\r\n").next().unwrap_or_default().to_owned();
        exchanges.push(Exchange { name, raw, text, answer });
        drop(wires);
    }
    exchanges
}

fn decoded(answer: &Answer) -> String {
    let mut text = String::new();
    let read = match answer.field("content-encoding") {
        _ if answer.body.is_empty() => Ok(0),
        "gzip" => flate2::read::GzDecoder::new(&*answer.body).read_to_string(&mut text),
        "zstd" => zstd::Decoder::new(&*answer.body).and_then(|mut body| body.read_to_string(&mut text)),
        _ => (&*answer.body).read_to_string(&mut text),
    };
    read.expect("text");
    text.trim_end().to_owned()
}

fn written(exchanges: &[Exchange]) -> String {
    let mut text = "Answers to requests, written by golden.rs: * stands for what differs each time.\n".to_owned();
    for Exchange { name, raw, text: sent, answer } in exchanges {
        writeln!(text, "\n== {name}").expect("a String takes all");
        for line in raw.trim_end().split("\r\n") {
            writeln!(text, "> {}", line.escape_debug().to_string().replace("\\\"", "\"")).expect("a String takes all");
        }
        for line in sent.trim_end().split("\r\n") {
            let line = match line.split_once(": ") {
                Some((name @ ("date" | "retry-after" | "state-path"), _)) => format!("{name}: *"),
                _ => line.to_owned(),
            };
            writeln!(text, "< {line}").expect("a String takes all");
        }
        let body = decoded(answer);
        if !body.is_empty() {
            writeln!(text, "{body}").expect("a String takes all");
        }
    }
    text
}

#[tokio::test(start_paused = true)]
async fn every_answer_is_the_golden_one() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/http/golden.txt");
    let made = written(&exchanges().await);
    if std::env::var_os("TIDEWAIT_REGENERATE").is_some() {
        std::fs::write(path, &made).expect("it can be written");
    }
    let committed = std::fs::read_to_string(path).expect("it is there");
    for (line, (made, committed)) in made.lines().zip(committed.lines()).enumerate() {
        assert_eq!(made, committed, "golden.txt, line {}", line + 1);
    }
    assert_eq!(made.len(), committed.len(), "run: TIDEWAIT_REGENERATE=1 cargo test --test it golden");
}

#[tokio::test(start_paused = true)]
async fn no_answer_has_a_field_that_is_not_allowed() {
    let problem = [
        "cache-control",
        "content-type",
        "content-length",
        "retry-after",
        "allow",
        "www-authenticate",
        "connection",
        "date",
    ];
    let state = [
        "state-id",
        "etag",
        "link",
        "state-age",
        "reconnect-within",
        "vary",
        "cache-control",
        "preference-applied",
        "state-path",
        "relay-policy",
        "connection",
        "date",
    ];
    let body = ["content-type", "content-length", "content-encoding", "state-digest", "delta-base"];
    for Exchange { name, answer, .. } in exchanges().await {
        let names: BTreeSet<_> = answer.fields.iter().map(|(name, _)| &**name).collect();
        assert_eq!(names.len(), answer.fields.len(), "{name}: a field stands twice: {answer:?}");
        let allowed = match answer.status {
            200 => [state.as_slice(), &body].concat(),
            204 if names.contains("allow") => vec!["cache-control", "allow", "date"],
            204 if name.starts_with("report") => vec!["cache-control", "date"],
            204 | 304 => state.to_vec(),
            _ => problem.to_vec(),
        };
        let others: Vec<_> = names.iter().filter(|name| !allowed.contains(name)).collect();
        assert!(others.is_empty(), "{name}: {others:?}");
        assert_eq!(answer.field("cache-control"), "no-store", "{name}");
        if let Ok(seconds) = answer.field("retry-after").parse::<u32>() {
            assert!((1..=4).contains(&seconds) || name == "relay-policy", "{name}: {seconds}");
        }
        assert_eq!(names.contains("retry-after"), matches!(answer.status, 429 | 503), "{name}");
    }
}
