//! The reports of a `ConfigMap` over a scripted client, in paused time.

use prometheus::Registry;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::*;
use crate::sources::kubernetes::script::{Script, map};
use crate::sources::reads::Reads;

/// A source that runs, with what it reports and what it asks.
struct Setup {
    script: Script,
    reports: mpsc::Receiver<Report>,
    running: JoinSet<()>,
}

impl Setup {
    fn new(key: Option<&str>) -> Self {
        let (client, script) = Script::new();
        let metrics = Metrics::register(&Registry::new()).expect("an empty registry");
        let source = ConfigMapSource {
            namespace: "apps".to_owned(),
            name: "model".to_owned(),
            key: key.map(str::to_owned),
            format: Format::Json,
            watch_timeout: Duration::from_secs(200),
        };
        // Room for all: whoever plays an operation here takes reports when it suits the test.
        let (sender, reports) = mpsc::channel(64);
        let mut running = JoinSet::new();
        let reader = Arc::new(Reads::default()).reader();
        running.spawn(run(source, client, metrics, reader, sender));
        Self { script, reports, running }
    }

    async fn report(&mut self) -> Report {
        let report = timeout(Duration::from_mins(10), self.reports.recv()).await.expect("a report before the deadline");
        report.expect("the source runs")
    }

    /// The next report, in short.
    async fn short(&mut self) -> String {
        let mut report = self.report().await;
        while matches!(report, Report::ReadCompleted(_)) {
            report = self.report().await;
        }
        match report {
            Report::Holds(Draft { version, content, provenance, .. }) => {
                format!("{provenance:?} {version} {}", String::from_utf8_lossy(&content.bytes()))
            }
            Report::Confirmed => "confirmed".to_owned(),
            Report::ReadCompleted(_) | Report::Relayed(_) => unreachable!("left out"),
            Report::Unusable(unusable) => format!("{}: {}", unusable.kind.as_str(), unusable.detail),
            Report::Lost { reason } => format!("lost: {reason}"),
        }
    }
}

fn model(uid: &str, version: u64, json: &str) -> Value {
    map(uid, version, &json!({ "m": json }))
}

#[tokio::test(start_paused = true)]
async fn reports_what_lists_and_watches_show() {
    let mut all = Setup::new(Some("m"));
    all.script.list().await.listed(10, &[model("u", 7, "[1]")]);
    let watch = all.script.watch().await.opened();
    watch.event("MODIFIED", &model("u", 11, "[2]"));
    // Row (c) 6: a repetition is no state, only a sign of life.
    watch.event("MODIFIED", &model("u", 7, "[1]"));
    watch.bookmark(12);
    for expected in ["Read 7 [1]", "Stream 11 [2]", "confirmed", "confirmed"] {
        assert_eq!(all.short().await, expected);
    }
}

/// Row (c) 8: deleted and created anew: another history.
#[tokio::test(start_paused = true)]
async fn a_new_object_is_a_new_epoch() {
    let mut all = Setup::new(Some("m"));
    all.script.list().await.listed(10, &[model("first", 7, "[1]")]);
    let Report::Holds(first) = all.report().await else { unreachable!("a draft") };
    assert_eq!(first.epoch, Epoch::of(&["ConfigMap", "first", "m"]));
    let watch = all.script.watch().await.opened();
    watch.event("DELETED", &model("first", 11, "[1]"));
    let missing = "missing: ConfigMap apps/model does not exist: create it, or correct namespace and name";
    assert_eq!(all.short().await, missing);
    watch.event("ADDED", &model("second", 12, "[1]"));
    let Report::Holds(second) = all.report().await else { unreachable!("a draft") };
    assert_eq!((second.epoch, second.version), (Epoch::of(&["ConfigMap", "second", "m"]), 12));
    let mut keys = Setup::new(None);
    keys.script.list().await.listed(10, &[model("first", 7, "[1]")]);
    let Report::Holds(whole) = keys.report().await else { unreachable!("a draft") };
    assert_eq!(whole.epoch, Epoch::of(&["ConfigMap", "first", ""]));
    assert_eq!(whole.content.bytes(), r#"{"m":"[1]"}"#);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_served_is_never_confirmed_and_told_again_after_an_outage() {
    let mut all = Setup::new(Some("m"));
    all.script.list().await.listed(10, &[model("u", 7, "{")]);
    let invalid = all.short().await;
    assert!(invalid.starts_with("invalid: ConfigMap apps/model, key \"m\""), "{invalid}");
    let watch = all.script.watch().await.opened();
    watch.bookmark(11);
    watch.cut();
    let lost = all.short().await;
    assert!(lost.starts_with("lost: cannot watch configmaps"), "not confirmed by the bookmark: {lost}");
    let watch = all.script.watch().await.opened();
    watch.synced(11);
    assert_eq!(all.short().await, invalid);
    watch.event("MODIFIED", &model("u", 12, "{}"));
    assert_eq!(all.short().await, "Stream 12 {}");
    watch.bookmark(13);
    assert_eq!(all.short().await, "confirmed");
}

#[tokio::test(start_paused = true)]
async fn a_denial_is_forbidden_until_a_list_shows_the_object() {
    let mut all = Setup::new(Some("m"));
    all.script.list().await.listed(10, &[model("u", 7, "[1]")]);
    assert_eq!(all.short().await, "Read 7 [1]");
    all.script.watch().await.refused(403, 0);
    for _ in 0..3 {
        all.script.list().await.refused(403, 0);
    }
    all.script.list().await.listed(12, &[model("u", 7, "[1]")]);
    let denied = all.short().await;
    assert!(denied.starts_with("forbidden: cannot watch") && denied.contains("resourceNames [\"model\"]"), "{denied}");
    assert_eq!(all.short().await, "Read 7 [1]");
}

#[tokio::test(start_paused = true)]
async fn large_content_is_read_too() {
    let mut all = Setup::new(Some("m"));
    let text = format!("[{:?}]", "x".repeat(1_000_000));
    all.script.list().await.listed(10, &[model("u", 7, &text)]);
    let Report::Holds(draft) = all.report().await else { unreachable!("a draft") };
    assert_eq!(draft.content.bytes().len(), text.len());
}

#[tokio::test(start_paused = true)]
async fn ends_when_nobody_listens() {
    let mut all = Setup::new(Some("m"));
    let hung = all.script.list().await;
    drop(all.reports);
    let ended = timeout(Duration::from_secs(1), all.running.join_next()).await;
    ended.expect("at once, also while a request is under way").expect("one task").expect("no panic");
    drop(hung);
}
