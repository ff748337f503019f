//! The loop over a scripted client, in paused time; rows are those of the reliability table.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::core::ApiResource;
use prometheus::Registry;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::script::{Script, map};
use super::*;
use crate::sources::reads::Reads;

mod reads;
mod sets;

/// A loop that runs, with what it sees and what it asks.
struct Setup {
    script: Script,
    seen: mpsc::Receiver<WatchEvent>,
    /// What it was seen to hold last: a confirming read that shows the same is left out.
    held: String,
    reads: Arc<Reads>,
    registry: Registry,
    _running: JoinSet<()>,
}

impl Setup {
    fn of(selector: Selector) -> Self {
        let (client, script) = Script::new();
        let registry = Registry::new();
        let metrics = Metrics::register(&registry).expect("an empty registry");
        let resource = ApiResource::erase::<ConfigMap>(&());
        let target = Target { resource, namespace: Some("apps".to_owned()), selector };
        let reads = Arc::new(Reads::default());
        let mut watching = ListWatch::new(client, target, Duration::from_secs(200), metrics, reads.reader());
        let (sender, seen) = mpsc::channel(64);
        let mut running = JoinSet::new();
        running.spawn(async move { while sender.send(watching.next().await).await.is_ok() {} });
        Self { script, seen, held: String::new(), reads, registry, _running: running }
    }

    fn new() -> Self {
        Self::of(Selector::Name("model".to_owned()))
    }

    /// What is seen next, in short.
    async fn seen(&mut self) -> String {
        loop {
            let seen = timeout(Duration::from_mins(10), self.seen.recv()).await.expect("something before the deadline");
            if let Some(short) = self.short(seen.expect("the loop runs")) {
                return short;
            }
        }
    }

    fn short(&mut self, seen: WatchEvent) -> Option<String> {
        let short = match seen {
            WatchEvent::Listed { objects, malformed, version } => {
                assert!(malformed.is_empty(), "{malformed:?}");
                let short = format!("{} listed at {version}", objects.len());
                if short == self.held {
                    return None;
                }
                self.held.clone_from(&short);
                return Some(short);
            }
            WatchEvent::Applied(object) => {
                self.held = format!("1 listed at {}", object.version);
                return Some(format!("applied {}", object.version));
            }
            WatchEvent::Deleted(object) => {
                "0 listed at 0".clone_into(&mut self.held);
                return Some(format!("deleted {}", object.version));
            }
            WatchEvent::ReadCompleted(number) => {
                self.reads.complete(number, true);
                return None;
            }
            WatchEvent::Malformed(malformed) => format!("malformed {:?}", malformed.name),
            WatchEvent::Live => "live".to_owned(),
            WatchEvent::Lost { reason, .. } => format!("lost: {reason}"),
            WatchEvent::Denied { reason, .. } => format!("denied: {reason}"),
        };
        if short != "live" {
            self.held.clear();
        }
        Some(short)
    }

    fn nothing_more(&mut self) {
        while let Ok(seen) = self.seen.try_recv() {
            assert_eq!(self.short(seen), None, "nothing more was to be seen");
        }
    }

    fn count(&self, name: &str) -> String {
        let families = self.registry.gather();
        let family = families.iter().find(|family| family.name() == name).expect("a registered metric");
        family.get_metric().iter().map(|metric| metric.get_counter().get_value()).sum::<f64>().to_string()
    }
}

/// Rows (a) 26 and 29: no pages to lose, no stale replica: neither limit nor version at the list.
#[tokio::test(start_paused = true)]
async fn asks_for_one_object_by_field_and_from_the_position() {
    let mut all = Setup::new();
    let list = all.script.list().await;
    assert!(list.uri.starts_with("/api/v1/namespaces/apps/configmaps?"), "{}", list.uri);
    assert_eq!(list.param("fieldSelector"), Some("metadata.name%3Dmodel"));
    for absent in ["limit", "continue", "resourceVersion", "resourceVersionMatch"] {
        assert_eq!(list.param(absent), None, "{absent}");
    }
    all.script.hold_gets();
    list.listed(10, &[map("u", 7, &json!({}))]);
    let get = all.script.get().await;
    assert_eq!(get.uri.trim_end_matches('?'), "/api/v1/namespaces/apps/configmaps/model");
    get.got(Some(&map("u", 8, &json!({}))));
    assert_eq!(all.seen().await, "1 listed at 8", "by name the list gives the position and the read the object");
    let watch = all.script.watch().await;
    assert_eq!(watch.param("sendInitialEvents"), None);
    assert_eq!(watch.param("fieldSelector"), Some("metadata.name%3Dmodel"));
    assert_eq!((watch.param("resourceVersion"), watch.param("allowWatchBookmarks")), (Some("10"), Some("true")));
    let seconds: u64 = watch.param("timeoutSeconds").and_then(|text| text.parse().ok()).expect("a number");
    assert!((180..=200).contains(&seconds), "{seconds}");
    let mut others = Setup::of(Selector::Labels("app=a".to_owned()));
    let list = others.script.list().await;
    assert_eq!((list.param("labelSelector"), list.param("fieldSelector")), (Some("app%3Da"), None));
    assert_eq!((list.param("limit"), list.param("resourceVersion")), (Some("100"), None));
    list.listed(1, &[]);
    assert_eq!(others.script.watch().await.param("labelSelector"), Some("app%3Da"));
}

#[tokio::test(start_paused = true)]
async fn events_and_bookmarks_move_the_position_of_the_next_watch() {
    let mut all = Setup::new();
    all.script.list().await.listed(10, &[]);
    let watch = all.script.watch().await.opened();
    watch.event("ADDED", &map("u", 11, &json!({})));
    watch.event("MODIFIED", &map("u", 12, &json!({})));
    watch.event("DELETED", &map("u", 13, &json!({})));
    watch.bookmark(20);
    for expected in ["0 listed at 0", "applied 11", "applied 12", "deleted 13", "live"] {
        assert_eq!(all.seen().await, expected);
    }
    // Its own pause follows, since it ended so early; a list does not.
    drop(watch);
    let watch = all.script.watch().await;
    assert_eq!(watch.param("resourceVersion"), Some("20"));
    assert_eq!(watch.param("sendInitialEvents"), Some("true"));
    assert_eq!(watch.param("resourceVersionMatch"), Some("NotOlderThan"));
    all.nothing_more();
    assert_eq!(all.count("tidewait_kubernetes_lists_total"), "1");
    assert_eq!(all.count("tidewait_kubernetes_watches_total"), "2");
    assert_eq!(all.count("tidewait_kubernetes_errors_total"), "0");
}

/// Rows (a) 24 and (c) 3: 410 as an answer and as an event.
#[tokio::test(start_paused = true)]
async fn gone_is_one_list() {
    let mut all = Setup::new();
    all.script.list().await.listed(10, &[]);
    all.script.watch().await.refused(410, 0);
    all.script.list().await.listed(20, &[]);
    let watch = all.script.watch().await.opened();
    watch.event("ADDED", &map("u", 21, &json!({})));
    watch.error(410);
    all.script.list().await.listed(30, &[map("u", 21, &json!({}))]);
    assert_eq!(all.script.watch().await.param("resourceVersion"), Some("30"));
    for expected in ["0 listed at 0", "applied 21"] {
        assert_eq!(all.seen().await, expected);
    }
    all.nothing_more();
    assert_eq!(all.count("tidewait_kubernetes_errors_total"), "2");
}

/// Rows (a) 28 and (c) 4: 20 refusals at the watch: no list, and the pause that was asked for is kept.
#[tokio::test(start_paused = true)]
async fn overload_is_no_list() {
    let mut all = Setup::new();
    all.script.list().await.listed(10, &[]);
    let watch = all.script.watch().await;
    all.script.hold_gets();
    watch.refused(429, 20);
    let mut before = None;
    for round in 0..20 {
        let watch = all.script.watch().await;
        let pause = before.map(|before| watch.at - before);
        assert!(pause.is_none_or(|pause| pause >= Duration::from_secs(20)), "round {round}: {pause:?}");
        before = Some(watch.at);
        watch.refused(if round % 2 == 0 { 429 } else { 503 }, 20);
    }
    let watch = all.script.watch().await;
    assert_eq!(watch.param("resourceVersion"), Some("10"));
    let watch = watch.opened();
    watch.synced(10);
    watch.event("ADDED", &map("u", 11, &json!({})));
    let lost = "lost: cannot watch configmaps \"model\" in namespace \"apps\": scripted (429)";
    for expected in ["0 listed at 0", lost, "applied 11"] {
        assert_eq!(all.seen().await, expected);
    }
    assert_eq!(all.count("tidewait_kubernetes_lists_total"), "1");
}

/// Rows (a) 27, (a) 30 and (c) 2: an hour of refused connections, then all is well.
#[tokio::test(start_paused = true)]
async fn an_outage_of_an_hour_is_told_once_and_survived() {
    let mut all = Setup::new();
    all.script.hold_gets();
    let start = Instant::now();
    let mut pauses = std::collections::BTreeSet::new();
    let mut before = start;
    while start.elapsed() < Duration::from_hours(1) {
        let list = all.script.list().await;
        pauses.insert(list.at - before);
        before = list.at;
        drop(list);
    }
    assert!(pauses.len() > 50 && pauses.last() <= Some(&Duration::from_mins(1)), "{pauses:?}");
    let asked = all.script.list().await;
    all.script.answer_gets();
    asked.listed(10, &[]);
    let lost = all.seen().await;
    assert!(lost.starts_with("lost: cannot list") && lost.ends_with("connection refused"), "{lost}");
    assert_eq!(all.seen().await, "0 listed at 0");
    all.nothing_more();
}

/// Row (c) 1: a network that swallows everything. Found out within the silence and one request,
/// and asked again soon after each request that ran out of time.
#[tokio::test(start_paused = true)]
async fn a_blackhole_is_found_out() {
    let mut all = Setup::new();
    all.script.list().await.listed(10, &[]);
    let watch = all.script.watch().await.opened();
    let silent_from = Instant::now();
    all.script.hold_gets();
    let mut hung = vec![all.script.list().await];
    assert!(silent_from.elapsed() <= Duration::from_secs(90), "{:?}", silent_from.elapsed());
    for _ in 0..10 {
        let (list, before) = (all.script.list().await, hung[hung.len() - 1].at);
        assert!((30_800..=31_600).contains(&(list.at - before).as_millis()), "{:?}", list.at - before);
        hung.push(list);
    }
    let healed = all.script.list().await;
    all.script.answer_gets();
    healed.listed(12, &[map("u", 11, &json!({}))]);
    let lost = "lost: cannot list configmaps \"model\" in namespace \"apps\": no answer within 30 s";
    for expected in ["0 listed at 0", "live", lost, "1 listed at 11"] {
        assert_eq!(all.seen().await, expected);
    }
    drop(watch);
}

/// Row (c) 5: a watch that is half open, while the rest works.
#[tokio::test(start_paused = true)]
async fn a_half_open_watch_is_late_and_loses_nothing() {
    let mut all = Setup::new();
    all.script.list().await.listed(10, &[]);
    let watch = all.script.watch().await.opened();
    let opened = Instant::now();
    all.script.list().await.listed(15, &[map("u", 14, &json!({}))]);
    assert!(opened.elapsed() <= Duration::from_secs(205), "{:?}", opened.elapsed());
    all.script.watch().await;
    for expected in ["0 listed at 0", "live", "1 listed at 14"] {
        assert_eq!(all.seen().await, expected);
    }
    drop(watch);
}

/// The head of a watch that never comes counts as no answer, and needs no list.
#[tokio::test(start_paused = true)]
async fn a_watch_without_an_answer_is_asked_for_again() {
    let mut all = Setup::new();
    all.script.list().await.listed(10, &[]);
    let hung = all.script.watch().await;
    let again = all.script.watch().await;
    assert!((again.at - hung.at).as_secs() == 30 || (again.at - hung.at).as_secs() == 31, "{:?}", again.at - hung.at);
    assert_eq!(again.param("resourceVersion"), Some("10"));
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_is_cut_goes_on_from_its_position() {
    let mut all = Setup::new();
    all.script.list().await.listed(10, &[]);
    let watch = all.script.watch().await.opened();
    watch.event("ADDED", &map("u", 11, &json!({})));
    watch.cut();
    let watch = all.script.watch().await;
    assert_eq!(watch.param("resourceVersion"), Some("11"));
    let watch = watch.opened();
    watch.event("ADDED", &map("u", 14, &json!({})));
    watch.synced(15);
    watch.event("MODIFIED", &map("u", 16, &json!({})));
    assert_eq!(all.seen().await, "0 listed at 0");
    assert_eq!(all.seen().await, "applied 11");
    assert!(all.seen().await.starts_with("lost: cannot watch"));
    assert_eq!(all.seen().await, "applied 16");
    drop(watch);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_is_listed_anew() {
    let mut all = Setup::new();
    all.script.list().await.listed(10, &[]);
    let watch = all.script.watch().await.opened();
    watch.raw(r#"{"type":"ADDED","object":{"metadata":{"name":"odd"}}}"#);
    watch.raw(r#"{"type":"ADDED"}"#);
    all.script.list().await.listed(12, &[]);
    assert_eq!(all.seen().await, "0 listed at 0");
    assert_eq!(all.seen().await, "malformed Some(\"odd\")", "it concerns only itself");
    assert!(all.seen().await.contains("an event cannot be read"));
    assert_eq!(all.seen().await, "0 listed at 0");
}

#[tokio::test(start_paused = true)]
async fn denials_name_the_remedy_and_are_asked_again() {
    for (code, remedy) in [(401, "check the token"), (403, "bind a Role"), (404, "check that the cluster serves")] {
        let mut all = Setup::new();
        all.script.list().await.refused(code, 0);
        let seen = all.seen().await;
        assert_eq!(seen.starts_with("denied: "), code != 404, "{seen}");
        assert!(
            seen.contains("cannot list configmaps \"model\" in namespace \"apps\"") && seen.contains(remedy),
            "{seen}"
        );
        all.script.list().await.listed(10, &[]);
        assert_eq!(all.seen().await, "0 listed at 0");
    }
}

/// Row (c) 7.
#[tokio::test(start_paused = true)]
async fn a_restored_store_is_counted() {
    let mut all = Setup::new();
    all.script.list().await.listed(1018, &[]);
    all.script.watch().await.refused(410, 0);
    all.script.list().await.listed(1003, &[]);
    assert_eq!(all.script.watch().await.param("resourceVersion"), Some("1003"));
    assert_eq!(all.count("tidewait_kubernetes_restores_total"), "1");
}
