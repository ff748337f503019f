//! The reports of a resource over a scripted client, in paused time.

use k8s_openapi::api::core::v1::ConfigMap;
use prometheus::Registry;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::*;
use crate::sources::kubernetes::script::{Script, map};

/// A source that runs, with what it reports and what it asks.
struct Setup {
    script: Script,
    reports: mpsc::Receiver<Report>,
    _running: JoinSet<()>,
}

impl Setup {
    fn new(objects: Objects) -> Self {
        let (client, script) = Script::new();
        let metrics = Metrics::register(&Registry::new()).expect("an empty registry");
        let source = ResourceSource {
            namespace: "apps".to_owned(),
            api_version: "v1".to_owned(),
            kind: "ConfigMap".to_owned(),
            objects,
            field: "data".to_owned(),
            watch_timeout: Duration::from_secs(200),
        };
        let resource = ApiResource::erase::<ConfigMap>(&());
        let (sender, reports) = mpsc::channel(64);
        let reads = Arc::new(Reads::default());
        let mut running = JoinSet::new();
        running.spawn(async move {
            Watched::new(source, resource, client, metrics, &reads).run(&reads, &sender).await;
        });
        Self { script, reports, _running: running }
    }

    /// The next report that says what is held, in short, with what is wrong with which object.
    async fn short(&mut self) -> String {
        loop {
            let report = timeout(Duration::from_mins(10), self.reports.recv()).await.expect("before the deadline");
            match report.expect("the source runs") {
                Report::Holds(Draft { version, content, source_objects, .. }) => {
                    let wrong = source_objects
                        .iter()
                        .filter_map(|part| Some(format!(" {}: {}", part.name, part.wrong.as_ref()?)));
                    let content = String::from_utf8_lossy(&content.bytes()).into_owned();
                    return format!("{version} {content}{}", wrong.collect::<String>());
                }
                Report::Unusable(unusable) => return format!("{}: {}", unusable.kind.as_str(), unusable.detail),
                Report::Lost { reason } => return format!("lost: {reason}"),
                Report::Confirmed | Report::ReadCompleted(_) | Report::Relayed(_) => {}
            }
        }
    }
}

fn part(name: &str, version: u64, n: u64) -> Value {
    let mut object = map(name, version, &json!({ "n": n }));
    object["metadata"]["name"] = json!(name);
    object
}

/// As no API server writes it: something on the way there has taken the version out.
fn malformed(name: &str) -> Value {
    json!({ "metadata": { "name": name, "uid": name }, "data": { "n": 9 } })
}

#[tokio::test(start_paused = true)]
async fn an_object_of_many_that_cannot_be_read_is_marked_until_it_can_and_keeps_its_content() {
    let mut all = Setup::new(Objects::Labelled("app=a".to_owned()));
    all.script.list().await.listed(5, &[part("a", 1, 1), part("b", 2, 2)]);
    assert_eq!(all.short().await, r#"5 {"a":{"n":1},"b":{"n":2}}"#);
    let watch = all.script.watch().await.opened();
    watch.event("MODIFIED", &malformed("a"));
    let marked = all.short().await;
    assert!(marked.starts_with(r#"5 {"a":{"n":1},"b":{"n":2}} a: its metadata cannot be read"#), "{marked}");
    watch.event("MODIFIED", &part("b", 6, 3));
    let marked = all.short().await;
    assert!(marked.starts_with(r#"6 {"a":{"n":1},"b":{"n":3}} a: its metadata cannot be read"#), "{marked}");
    // The version of before, by a store restored from a backup, or since the event was of no change.
    all.script.list().await.listed(6, &[part("a", 1, 1), part("b", 6, 3)]);
    assert_eq!(all.short().await, r#"6 {"a":{"n":1},"b":{"n":3}}"#);
    watch.event("MODIFIED", &malformed("a"));
    assert!(all.short().await.contains("cannot be read"));
    watch.event("MODIFIED", &part("a", 7, 4));
    assert_eq!(all.short().await, r#"7 {"a":{"n":4},"b":{"n":3}}"#);
}

#[tokio::test(start_paused = true)]
async fn the_one_object_that_cannot_be_read_is_neither_served_nor_called_missing() {
    let mut one = Setup::new(Objects::Named("model".to_owned()));
    one.script.hold_gets();
    one.script.list().await.listed(5, &[malformed("model")]);
    one.script.get().await.got(Some(&malformed("model")));
    let last_report = one.short().await;
    assert!(last_report.starts_with("invalid: ConfigMap apps/model: its metadata cannot be read"), "{last_report}");
    let watch = one.script.watch().await.opened();
    watch.event("MODIFIED", &map("u", 6, &json!({ "n": 1 })));
    assert_eq!(one.short().await, r#"6 {"n":1}"#);
    for strange in [malformed("model"), json!({ "metadata": 7 })] {
        watch.event("MODIFIED", &strange);
        let last_report = one.short().await;
        assert!(last_report.starts_with("invalid: ConfigMap apps/model: its metadata cannot be read"), "{last_report}");
    }
    watch.event("MODIFIED", &map("u", 8, &json!({ "n": 1 })));
    assert_eq!(one.short().await, r#"8 {"n":1}"#);
}
