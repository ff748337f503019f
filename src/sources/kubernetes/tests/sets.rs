//! Many objects by labels: pages, and what a watch shows at its start.

use super::*;

fn named(name: &str, version: u64) -> Value {
    let mut object = map(name, version, &json!({}));
    object["metadata"]["name"] = json!(name);
    object
}

fn labelled() -> Setup {
    Setup::of(Selector::Labels("app=a".to_owned()))
}

impl Setup {
    /// The names and versions of the next set that is seen.
    async fn set(&mut self) -> (Vec<(String, u64)>, u64) {
        loop {
            let seen = timeout(Duration::from_mins(10), self.seen.recv()).await.expect("a set before the deadline");
            if let Some(WatchEvent::Listed { objects, version, .. }) = seen {
                return (objects.into_iter().map(|object| (object.name, object.version)).collect(), version);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn all_pages_are_one_set() {
    let mut all = labelled();
    all.script.list().await.page(10, &[named("a", 1), named("b", 2)], "more/1");
    let second = all.script.list().await;
    assert_eq!((second.param("continue"), second.param("limit")), (Some("more%2F1"), Some("100")));
    assert_eq!((second.param("labelSelector"), second.param("resourceVersion")), (Some("app%3Da"), None));
    second.page(10, &[named("c", 3)], "");
    let (objects, version) = all.set().await;
    assert_eq!((objects.len(), version), (3, 10));
    assert_eq!(all.script.watch().await.param("resourceVersion"), Some("10"));
}

/// Broken in the middle: the next one begins anew, and nothing of the first is reported.
#[tokio::test(start_paused = true)]
async fn a_list_that_breaks_or_expires_between_its_pages_begins_anew() {
    for expired in [false, true] {
        let mut all = labelled();
        all.script.list().await.page(10, &[named("a", 1), named("b", 2)], "more");
        let second = all.script.list().await;
        if expired {
            second.refused(410, 0);
        } else {
            drop(second);
        }
        let first = all.script.list().await;
        assert_eq!(first.param("continue"), None);
        first.page(20, &[named("b", 15)], "more");
        all.script.list().await.page(20, &[named("c", 3)], "");
        let seen = if expired { None } else { Some(all.seen().await) };
        assert!(seen.is_none_or(|seen| seen.starts_with("lost: cannot list")));
        let expected = (vec![("b".to_owned(), 15), ("c".to_owned(), 3)], 20);
        assert_eq!(all.set().await, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_watch_that_broke_the_set_is_what_the_next_one_shows() {
    let mut all = labelled();
    all.script.list().await.listed(10, &[named("a", 1), named("b", 2)]);
    all.script.watch().await.opened().cut();
    let watch = all.script.watch().await;
    assert_eq!(watch.param("sendInitialEvents"), Some("true"));
    let watch = watch.opened();
    watch.event("ADDED", &named("b", 2));
    watch.event("ADDED", &named("c", 12));
    watch.bookmark(5);
    // What happens meanwhile comes in between.
    watch.event("MODIFIED", &named("b", 14));
    watch.event("DELETED", &named("c", 15));
    watch.synced(15);
    watch.event("MODIFIED", &named("b", 14));
    watch.event("MODIFIED", &named("b", 16));
    assert_eq!(all.seen().await, "2 listed at 10");
    assert!(all.seen().await.starts_with("lost: cannot watch"));
    let (objects, version) = all.set().await;
    assert_eq!((objects, version), (vec![("b".to_owned(), 14)], 15));
    assert_eq!(all.seen().await, "live", "a repetition");
    assert_eq!(all.seen().await, "applied 16");
    assert_eq!(all.count("tidewait_kubernetes_lists_total"), "1");
}

/// A store restored from a backup: the version has not come so far again.
#[tokio::test(start_paused = true)]
async fn a_watch_from_the_future_leads_to_a_list_at_once() {
    for as_event in [true, false] {
        let mut all = labelled();
        all.script.list().await.listed(1018, &[named("a", 1010)]);
        all.script.watch().await.opened().cut();
        let watch = all.script.watch().await;
        let asked = watch.at;
        if as_event {
            watch.opened().unreached();
        } else {
            watch.refused_as_unreached();
        }
        let list = all.script.list().await;
        assert_eq!(list.at, asked);
        list.listed(1003, &[named("a", 1001)]);
        assert_eq!(all.seen().await, "1 listed at 1018");
        assert!(all.seen().await.starts_with("lost: cannot watch"));
        assert_eq!(all.set().await, (vec![("a".to_owned(), 1001)], 1003));
        assert_eq!(all.script.watch().await.param("resourceVersion"), Some("1003"));
        assert_eq!(all.count("tidewait_kubernetes_restores_total"), "1");
    }
}
