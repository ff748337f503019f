//! What operators see: metrics, the level of the log, the access log.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{park, serve};
use crate::model_file::ModelFile;
use crate::server::{Client, Server};

#[tokio::test]
async fn the_level_of_the_log_can_be_changed_and_nonsense_is_refused() {
    let model = ModelFile::new("{}");
    let mut server = serve(&model, &["--log-level", "warn,tidewait::app=info"]).await;
    assert_eq!(&*server.admin("/log-level").await.body, b"tidewait::app=info,warn\n");
    let (status, body) = put(&server, "inof\n").await;
    assert_eq!(status, 400, "{body}");
    assert!(body.contains("inof") && body.contains("write off, error, warn, info, debug or trace"), "{body}");
    assert_eq!(&*server.admin("/log-level").await.body, b"tidewait::app=info,warn\n", "as before");
    let (status, body) = put(&server, "info,tidewait=debug\n").await;
    assert_eq!((status, &*body), (200, "tidewait=debug,info\n"));
    server.logged("log level changed").await;
    model.replace(r#"{"n":1}"#);
    server.logged("\"published\"").await;
}

/// PUT /log-level: status and body.
async fn put(server: &Server, level: &str) -> (u16, String) {
    let mut client = Client::connect(server.admin).await;
    let length = level.len().to_string();
    client.send("PUT", "/log-level", &[("Content-Length", &length)]).await;
    client.stream.get_mut().write_all(level.as_bytes()).await.expect("it reads");
    let reply = client.reply().await;
    (reply.status, String::from_utf8(reply.body).expect("text"))
}

#[tokio::test]
async fn metrics_follow_the_conventions() {
    let model = ModelFile::new("{}");
    let state = model.beside("state");
    let mut server = serve(&model, &["--state-dir", &state]).await;
    server.ready().await;
    let id = server.get("/describe").await.id().to_owned();
    let mut parked = park(&server, &id, "30").await;
    model.replace(r#"{"n":1}"#);
    parked.reply().await;
    // Counted once every event loop has seen the change, which may be after the client has its answer.
    server.metric_becomes("tidewait_fan_out_seconds_count{operation=\"describe\"}", 1.0).await;
    let reply = server.admin("/metrics").await;
    assert!(reply.field("content-type").starts_with("text/plain; version=0.0.4"), "{reply:?}");
    let text = String::from_utf8(reply.body).expect("text");
    assert_eq!(mistakes(&text), BTreeSet::new());
    promtool(&text).await;
}

/// A second opinion that needs no tool: names, units, help and types.
fn mistakes(text: &str) -> BTreeSet<String> {
    let mut mistakes = BTreeSet::new();
    let mut types: BTreeMap<&str, &str> = BTreeMap::new();
    let mut helped = BTreeSet::new();
    for line in text.lines() {
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            types.insert(name, kind);
        } else if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            helped.insert(name);
            if !help.ends_with('.') {
                mistakes.insert(format!("{name}: its help is no sentence: {help}"));
            }
        }
    }
    for (name, kind) in &types {
        let mut expect = |holds: bool, what: &str| {
            if !holds {
                mistakes.insert(format!("{name} ({kind}): {what}"));
            }
        };
        expect(name.starts_with("tidewait_"), "our prefix");
        expect(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "snake case");
        expect((*kind == "counter") == name.ends_with("_total"), "counters and only they end in _total");
        let base = name.strip_suffix("_total").unwrap_or(name);
        expect(
            !["_ms", "_millis", "_milliseconds", "_kb", "_mb"].iter().any(|unit| base.ends_with(unit)),
            "base units",
        );
        expect(*kind != "histogram" || name.ends_with("_seconds") || name.ends_with("_bytes"), "its unit");
        expect(helped.contains(name), "help");
    }
    if types.len() < 10 {
        mistakes.insert(format!("only {} metrics", types.len()));
    }
    mistakes
}

/// The real `promtool check metrics`.
pub(crate) async fn promtool(metrics: &str) {
    let mut command = tokio::process::Command::new(crate::control_plane::tools().await.join("promtool"));
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.kill_on_drop(true).spawn().expect("the script built it");
    let mut stdin = child.stdin.take().expect("piped");
    stdin.write_all(metrics.as_bytes()).await.expect("it reads");
    drop(stdin);
    let mut printed = String::new();
    child.stdout.take().expect("piped").read_to_string(&mut printed).await.expect("text");
    child.stderr.take().expect("piped").read_to_string(&mut printed).await.expect("text");
    let status = child.wait().await.expect("a status");
    assert!(status.success() && printed.is_empty(), "{status}: {printed}");
}

#[tokio::test]
async fn an_access_log_line_has_the_request_id_and_the_hold() {
    let model = ModelFile::new("{}");
    let mut server = serve(&model, &["--access-log"]).await;
    server.ready().await;
    let id = server.get("/describe").await.id().to_owned();
    let mut client = Client::connect(server.listen).await;
    let target = format!("/describe?since={id}&wait=0.5");
    let reply = client.get(&target, &[("X-Request-Id", "req-42"), ("Agent-Id", "node-7")]).await;
    assert_eq!(reply.status, 204);
    let line: serde_json::Value = serde_json::from_str(&server.logged("req-42").await).expect("JSON");
    assert_eq!((&line["status"], &line["agent"], &line["route"]), (&204.into(), &"node-7".into(), &"describe".into()));
    assert_eq!(line["request_target"], *target);
    let held = line["held_ms"].as_u64().expect("a number");
    assert!((400..30_000).contains(&held), "{held} ms of 500, less at most a tenth");
    let other: serde_json::Value = serde_json::from_str(&server.logged("\"status\":200").await).expect("JSON");
    assert_eq!(other["request_id"].as_str().map(str::len), Some(16), "made where there is none: {other}");
}

#[tokio::test]
async fn no_line_shows_a_credential_that_an_app_takes_in_the_query() {
    let model = ModelFile::new("{}");
    // Nobody listens there.
    let settings = ["--access-log", "--log-level", "debug", "--upstream", "http://127.0.0.1:9"];
    let mut server = serve(&model, &settings).await;
    server.ready().await;
    for (target, shown, status) in [
        ("/app?access_token=s3cr3t&page=1", "/app?access_token=***&page=***", 502),
        ("/describe?wait=0&access_token=s3cr3t", "/describe?wait=0&access_token=***", 200),
        ("/bad?token=s3cr3t\u{7f}", "/bad?token=***", 400),
    ] {
        let reply = Client::connect(server.listen).await.get(target, &[]).await;
        assert_eq!(reply.status, status, "{reply:?}");
        server.logged(&format!("\"request_target\":\"{shown}\"")).await;
    }
    let log = server.log.borrow().join("\n");
    assert!(!log.contains("s3cr3t"), "{log}");
}
