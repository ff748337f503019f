//! A `ConfigMap` of a real API server as a source: what it reports, also when the server or the
//! network fails. The faults are made by the proxy in front of the real server.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};
use tidewait::config::Format;
use tidewait::model::Epoch;
use tidewait::model::Provenance;
use tidewait::sources::configmap::{ConfigMapSource, run};
use tidewait::sources::kubernetes::{Metrics, client};
use tidewait::sources::reads::Reads;
use tidewait::sources::{Draft, Report, UnusableKind};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::api_proxy::{Answer, ApiProxy, Fault, Matches, Seen};
use crate::control_plane::{ControlPlane, Namespace, WorkDir};

/// Longer than a pause after a few failures, on a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);

/// A running source.
struct Source {
    reports: mpsc::Receiver<Report>,
    /// What a stream showed last, for "never backwards".
    newest: Option<(Epoch, u64)>,
    /// How often contact was lost.
    lost: usize,
    _running: JoinSet<()>,
}

impl Source {
    /// Watches the `ConfigMap` model; `key` m as JSON, or all keys.
    async fn start(kubeconfig: &Path, namespace: &Namespace, key: Option<&str>, watch_timeout: u64) -> Self {
        let client = client::connect(Some(kubeconfig)).await.expect("the fixture's kubeconfig is valid");
        let metrics = Metrics::register(&prometheus::Registry::new()).expect("an empty registry");
        let source = ConfigMapSource {
            namespace: namespace.to_string(),
            name: "model".to_owned(),
            key: key.map(str::to_owned),
            format: Format::Json,
            watch_timeout: Duration::from_secs(watch_timeout),
        };
        let (sender, mut taken) = mpsc::channel(1);
        let (keep, reports) = mpsc::channel(1024);
        let mut running = JoinSet::new();
        let reader = Arc::new(Reads::default()).reader();
        running.spawn(run(source, client, metrics, reader, sender));
        // As an operation does: a source whose reports nobody takes stands still.
        running.spawn(async move {
            while let Some(report) = taken.recv().await {
                if keep.send(report).await.is_err() {
                    return;
                }
            }
        });
        Self { reports, newest: None, lost: 0, _running: running }
    }

    /// Waits for a report that `pick` takes; the ones before it are looked at and dropped.
    async fn until<T>(&mut self, what: &str, pick: impl Fn(&Report) -> Option<T>) -> T {
        let start = Instant::now();
        let mut before = Vec::new();
        loop {
            let left = DEADLINE.saturating_sub(start.elapsed());
            let report = timeout(left, self.reports.recv()).await;
            assert!(report.is_ok(), "no report of {what} within {DEADLINE:?}; before: {before:#?}");
            let report = report.ok().flatten().expect("the source runs");
            self.look(&report);
            if let Some(found) = pick(&report) {
                return found;
            }
            before.push(report);
        }
    }

    fn look(&mut self, report: &Report) {
        match report {
            Report::Holds(draft) => {
                let backwards = self.newest.filter(|(epoch, newest)| *epoch == draft.epoch && draft.version <= *newest);
                if draft.provenance == Provenance::Stream {
                    assert!(backwards.is_none(), "{draft:?} after {:?}", self.newest);
                }
                self.newest = Some((draft.epoch, draft.version));
            }
            Report::Lost { .. } => self.lost += 1,
            Report::Confirmed | Report::ReadCompleted(_) | Report::Relayed(_) | Report::Unusable(_) => {}
        }
    }

    /// Waits until it holds this content.
    async fn holds(&mut self, content: &str) -> Draft {
        self.until(content, |report| match report {
            Report::Holds(draft) if draft.content.bytes() == content => Some(draft.clone()),
            Report::Holds(_)
            | Report::Confirmed
            | Report::ReadCompleted(_)
            | Report::Relayed(_)
            | Report::Unusable(_)
            | Report::Lost { .. } => None,
        })
        .await
    }

    /// Waits until it cannot be served for this reason; returns the detail.
    async fn unusable(&mut self, kind: UnusableKind) -> String {
        self.until(kind.as_str(), |report| match report {
            Report::Unusable(unusable) if unusable.kind == kind => Some(unusable.detail.clone()),
            Report::Holds(_)
            | Report::Confirmed
            | Report::ReadCompleted(_)
            | Report::Relayed(_)
            | Report::Unusable(_)
            | Report::Lost { .. } => None,
        })
        .await
    }

    async fn lost(&mut self) -> String {
        self.until("a loss", |report| match report {
            Report::Lost { reason } => Some(reason.clone()),
            Report::Holds(_)
            | Report::Confirmed
            | Report::ReadCompleted(_)
            | Report::Relayed(_)
            | Report::Unusable(_) => None,
        })
        .await
    }
}

/// Writes the `ConfigMap` model with kubectl, whole: `replace --force` would make a new object.
async fn write(plane: &ControlPlane, namespace: &str, verb: &str, data: &Value, binary: &Value) {
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "model" }, "data": data, "binaryData": binary,
    });
    plane.kubectl_ok(&[verb, "--namespace", namespace, "--filename", "-"], Some(&map.to_string())).await;
}

async fn create(plane: &ControlPlane, namespace: &str, json: &str) {
    write(plane, namespace, "create", &json!({ "m": json }), &json!({})).await;
}

async fn replace(plane: &ControlPlane, namespace: &str, json: &str) {
    write(plane, namespace, "replace", &json!({ "m": json }), &json!({})).await;
}

fn is_list(seen: &Seen) -> bool {
    seen.is(Matches::List)
}

/// A source behind a proxy that holds `[1]` and watches.
async fn behind_proxy(plane: &ControlPlane, watch_timeout: u64) -> (Source, ApiProxy, Namespace) {
    let namespace = plane.namespace("configmap").await;
    create(plane, &namespace, "[1]").await;
    let proxy = ApiProxy::start(plane).await;
    let mut source = Source::start(proxy.kubeconfig(), &namespace, Some("m"), watch_timeout).await;
    let draft = source.holds("[1]").await;
    assert_eq!(draft.provenance, Provenance::Read);
    proxy.wait_for_watches(1).await;
    (source, proxy, namespace)
}

#[tokio::test]
async fn create_change_delete_and_re_create_are_reported() {
    let plane = ControlPlane::shared().await;
    let namespace = plane.namespace("configmap").await;
    let mut source = Source::start(plane.kubeconfig(), &namespace, Some("m"), 200).await;
    let missing = source.unusable(UnusableKind::Missing).await;
    assert!(missing.starts_with(&format!("ConfigMap {namespace}/model does not exist")), "{missing}");
    create(plane, &namespace, r#"{"b":1.0, "a":2}"#).await;
    let created = source.holds(r#"{"a":2,"b":1.0}"#).await;
    assert!(created.version > 0 && created.provenance == Provenance::Stream, "{created:?}");
    replace(plane, &namespace, "[2]").await;
    let changed = source.holds("[2]").await;
    assert!(changed.epoch == created.epoch && changed.version > created.version, "{changed:?}");
    plane.kubectl_ok(&["delete", "configmap/model", "--namespace", &namespace], None).await;
    source.unusable(UnusableKind::Missing).await;
    create(plane, &namespace, "[2]").await;
    let anew = source.holds("[2]").await;
    assert!(anew.epoch != created.epoch && anew.version > changed.version, "{anew:?}");
    assert_eq!(source.lost, 0);
}

#[tokio::test]
async fn all_keys_are_one_object_with_binary_data_in_base64() {
    let plane = ControlPlane::shared().await;
    let namespace = plane.namespace("configmap").await;
    let data = json!({ "a.json": "{\"x\": 1.50}", "b.yaml": "y: [no]", "c": "text" });
    write(plane, &namespace, "create", &data, &json!({ "d.json": "AP8=" })).await;
    let mut source = Source::start(plane.kubeconfig(), &namespace, None, 200).await;
    source.holds(r#"{"a.json":{"x":1.50},"b.yaml":{"y":["no"]},"c":"text","d.json":"AP8="}"#).await;
    write(plane, &namespace, "replace", &json!({ "a.json": "{" }), &json!({})).await;
    let invalid = source.unusable(UnusableKind::Invalid).await;
    assert!(invalid.contains("key \"a.json\""), "{invalid}");
    write(plane, &namespace, "replace", &json!({}), &json!({})).await;
    source.unusable(UnusableKind::Empty).await;
    write(plane, &namespace, "replace", &json!({ "c": "" }), &json!({})).await;
    source.holds(r#"{"c":""}"#).await;
}

/// Row (b) 39.
#[tokio::test]
async fn what_cannot_be_served_is_told_and_then_good_again() {
    let plane = ControlPlane::shared().await;
    let namespace = plane.namespace("configmap").await;
    create(plane, &namespace, "[1]").await;
    let mut source = Source::start(plane.kubeconfig(), &namespace, Some("m"), 200).await;
    source.holds("[1]").await;
    for (number, (data, binary, kind, message)) in [
        (json!({ "m": r#"{"k":1,"k":2}"# }), json!({}), UnusableKind::Invalid, "\"k\" stands twice"),
        (json!({ "m": "" }), json!({}), UnusableKind::Empty, "key \"m\""),
        (json!({}), json!({ "m": "eyJhIjoi/yJ9" }), UnusableKind::Invalid, "not UTF-8"),
        (json!({ "other": "[1]" }), json!({}), UnusableKind::Missing, "only \"other\""),
        (json!({}), json!({}), UnusableKind::Missing, "no key \"m\""),
    ]
    .into_iter()
    .enumerate()
    {
        write(plane, &namespace, "replace", &data, &binary).await;
        let detail = source.unusable(kind).await;
        assert!(detail.contains(message) && detail.contains(&*namespace), "{detail}");
        // As large as a ConfigMap can be, every time.
        let good = format!("[{number},\"{}\"]", "x".repeat(1024 * 1024 - 64));
        replace(plane, &namespace, &good).await;
        source.holds(&good).await;
    }
    assert_eq!(source.lost, 0);
}

/// Rows (a) 24 and (c) 3: the history is gone when the watch comes back, and it shows what there is.
#[tokio::test]
async fn a_forgotten_history_is_a_watch_that_shows_all_and_no_list() {
    let plane = ControlPlane::start().await;
    let (mut source, proxy, namespace) = behind_proxy(&plane, 200).await;
    proxy.set(Fault::Refuse).await;
    replace(&plane, &namespace, "[2]").await;
    plane.forget_history().await;
    let lists = proxy.count(is_list);
    proxy.set(Fault::Pass).await;
    let draft = source.holds("[2]").await;
    assert_eq!(draft.provenance, Provenance::Read, "it was read");
    proxy.wait_for_watches(1).await;
    replace(&plane, &namespace, "[3]").await;
    source.holds("[3]").await;
    assert_eq!(proxy.count(is_list), lists, "{:#?}", proxy.requests());
}

/// The same, as the first and only answer: a cut watch, 410 as an event, one list, unnoticed.
#[tokio::test]
async fn gone_is_invisible() {
    let plane = ControlPlane::shared().await;
    let (mut source, proxy, namespace) = behind_proxy(plane, 5).await;
    // The watch that runs ends by itself, within 5 s.
    for as_event in [true, false] {
        let (lists, status) = (proxy.count(is_list), StatusCode::GONE);
        let gone = Answer { matches: Matches::Watch, status, retry_after: None, times: 1, as_event };
        proxy.set(Fault::Answer(gone)).await;
        proxy.wait_for("a list", |all| all.iter().filter(|seen| is_list(seen)).count() > lists).await;
        let content = format!("[\"{as_event}\"]");
        replace(plane, &namespace, &content).await;
        source.holds(&content).await;
        assert_eq!(proxy.count(is_list), lists + 1, "{:#?}", proxy.requests());
    }
    assert_eq!(source.lost, 0);
}

/// Rows (a) 28 and (c) 4: 20 refusals, shared by 20 sources since the pauses of one would last
/// for minutes: no list, and each sees the change.
#[tokio::test]
async fn refused_watches_ask_for_no_list() {
    let plane = ControlPlane::shared().await;
    let (first, proxy, namespace) = behind_proxy(plane, 200).await;
    let mut sources = vec![first];
    for _ in 1..20 {
        let mut source = Source::start(proxy.kubeconfig(), &namespace, Some("m"), 200).await;
        source.holds("[1]").await;
        sources.push(source);
    }
    proxy.wait_for_watches(20).await;
    let (lists, watches) = (proxy.count(is_list), proxy.count(Seen::is_watch));
    let status = StatusCode::TOO_MANY_REQUESTS;
    let refusal = Answer { matches: Matches::Watch, status, retry_after: Some(1), times: 20, as_event: false };
    proxy.set(Fault::Answer(refusal)).await;
    assert_eq!(proxy.cut_watches(), 20);
    replace(plane, &namespace, "[2]").await;
    for source in &mut sources {
        let draft = source.holds("[2]").await;
        assert_eq!(
            draft.provenance,
            Provenance::Read,
            "the watch shows that there is something new, a read what it is"
        );
        assert_eq!(source.lost, 1);
    }
    assert_eq!(proxy.count(is_list), lists, "{:#?}", proxy.requests());
    assert_eq!(proxy.count(Seen::is_watch), watches + 40);
}

/// Rows (a) 30 and (c) 2: the real server killed and started.
#[tokio::test]
async fn a_stopped_server_is_one_loss_and_then_the_change() {
    let plane = ControlPlane::start().await;
    let namespace = plane.namespace("configmap").await;
    create(&plane, &namespace, "[1]").await;
    let mut source = Source::start(plane.kubeconfig(), &namespace, Some("m"), 200).await;
    source.holds("[1]").await;
    plane.stop_api_server();
    let reason = source.lost().await;
    assert!(reason.contains("cannot watch configmaps \"model\""), "{reason}");
    plane.start_api_server().await;
    replace(&plane, &namespace, "[2]").await;
    source.holds("[2]").await;
    assert_eq!(source.lost, 1);
}

/// Rows (a) 25, (c) 1 and (c) 5: silence is noticed by the time of the watch and 5 s.
#[tokio::test]
async fn a_blackhole_is_noticed_and_the_change_comes_after_it() {
    let plane = ControlPlane::shared().await;
    let (mut source, proxy, namespace) = behind_proxy(plane, 5).await;
    let lists = proxy.count(is_list);
    proxy.set(Fault::Blackhole).await;
    let start = Instant::now();
    replace(plane, &namespace, "[2]").await;
    proxy.wait_for("a list", |all| all.iter().filter(|seen| is_list(seen)).count() > lists).await;
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    proxy.set(Fault::Pass).await;
    let healed = Instant::now();
    assert_eq!(source.holds("[2]").await.provenance, Provenance::Read);
    assert!(healed.elapsed() < Duration::from_secs(5), "{:?}", healed.elapsed());
    replace(plane, &namespace, "[3]").await;
    source.holds("[3]").await;
    assert_eq!(source.lost, 0, "nothing failed, it was only late");
}

/// Rows (a) 27 and (c) 2: refused connections, from the start and later.
#[tokio::test]
async fn refused_connections_are_tried_again() {
    let plane = ControlPlane::shared().await;
    let namespace = plane.namespace("configmap").await;
    create(plane, &namespace, "[1]").await;
    let proxy = ApiProxy::start(plane).await;
    proxy.set(Fault::Refuse).await;
    let mut source = Source::start(proxy.kubeconfig(), &namespace, Some("m"), 200).await;
    let reason = source.lost().await;
    assert!(reason.contains("cannot list") && reason.contains("onnection refused"), "{reason}");
    proxy.set(Fault::Pass).await;
    source.holds("[1]").await;
    proxy.wait_for_watches(1).await;
    proxy.set(Fault::Refuse).await;
    let reason = source.lost().await;
    assert!(reason.contains("cannot watch"), "{reason}");
    replace(plane, &namespace, "[2]").await;
    let lists = proxy.count(is_list);
    proxy.set(Fault::Pass).await;
    source.holds("[2]").await;
    assert_eq!((source.lost, proxy.count(is_list)), (2, lists));
}

/// Finding: a Role with `resourceNames` suffices, and without one the remedy is named.
#[tokio::test]
async fn a_denial_names_the_role_that_then_suffices() {
    let plane = ControlPlane::shared().await;
    let namespace = plane.namespace("configmap").await;
    create(plane, &namespace, "[1]").await;
    let in_namespace = ["--namespace", &namespace];
    let kubectl = async |args: &[&str]| plane.kubectl_ok(&[args, &in_namespace[..]].concat(), None).await;
    kubectl(&["create", "serviceaccount", "reader"]).await;
    let token = kubectl(&["create", "token", "reader"]).await;
    let text = std::fs::read_to_string(plane.kubeconfig()).expect("the fixture's kubeconfig can be read");
    let mut file: Value = serde_json::from_str(&text).expect("the fixture's kubeconfig is JSON");
    file["users"][0]["user"] = json!({ "token": token.trim() });
    let dir = WorkDir::new().expect("a temporary folder");
    let kubeconfig = dir.write("kubeconfig", &file.to_string()).expect("a file can be written");
    let mut source = Source::start(&kubeconfig, &namespace, Some("m"), 200).await;
    let denied = source.unusable(UnusableKind::Forbidden).await;
    for part in
        ["cannot list configmaps \"model\"", &namespace, "resourceNames [\"model\"]", "\"get\", \"list\", \"watch\""]
    {
        assert!(denied.contains(part), "{denied}");
    }
    let verbs = ["--verb=get,list,watch", "--resource=configmaps", "--resource-name=model"];
    kubectl(&[&["create", "role", "reader"], &verbs[..]].concat()).await;
    let account = format!("--serviceaccount={namespace}:reader");
    kubectl(&["create", "rolebinding", "reader", "--role=reader", &account]).await;
    source.holds("[1]").await;
    replace(plane, &namespace, "[2]").await;
    assert_eq!(source.holds("[2]").await.provenance, Provenance::Stream);
}
