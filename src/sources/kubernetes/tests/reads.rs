//! Consistent reads beside the watch.

use futures::FutureExt as _;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

impl Setup {
    /// One that holds the object at version 7, with a watch from 10 open.
    async fn watching() -> (Self, script::Running) {
        let mut all = Self::new();
        all.script.list().await.listed(10, &[object(7)]);
        let watch = all.script.watch().await.opened();
        assert_eq!(all.seen().await, "1 listed at 7");
        all.script.hold_gets();
        // Beyond the pause between two reads.
        tokio::time::advance(SECOND).await;
        (all, watch)
    }

    /// Asks for a read, on behalf of a request that has just arrived.
    fn asks(&self) -> JoinSet<bool> {
        let (reads, mut asking) = (Arc::clone(&self.reads), JoinSet::new());
        let number = reads.next().expect("the loop reads");
        asking.spawn(async move { reads.ask(number).await });
        asking
    }

    /// Takes what is seen, which is nothing new, until this holds.
    async fn nothing_seen_until(&mut self, holds: impl Fn(&Self) -> bool) {
        while !holds(self) || !self.seen.is_empty() {
            let seen = timeout(60 * SECOND, self.seen.recv()).await.expect("in time").expect("the loop runs");
            assert!(self.short(seen).is_none_or(|seen| seen == "live"));
        }
    }

    /// What is seen next that is no mere sign of life.
    async fn not_live(&mut self) -> String {
        loop {
            let seen = self.seen().await;
            if seen != "live" {
                return seen;
            }
        }
    }

    /// How many reads for this cause have come to this.
    fn reads(&self, cause: &str, result: &str) -> u64 {
        let families = self.registry.gather();
        let family = families.iter().find(|family| family.name() == "tidewait_kubernetes_reads_total");
        let metrics = family.map(prometheus::proto::MetricFamily::get_metric).unwrap_or_default();
        let of = |metric: &&prometheus::proto::Metric| {
            let labels: Vec<_> = metric.get_label().iter().map(prometheus::proto::LabelPair::value).collect();
            labels == [cause, result]
        };
        let value = metrics.iter().find(of).map_or(0.0, |metric| metric.get_counter().get_value());
        value.to_string().parse().expect("a whole number")
    }
}

fn object(version: u64) -> Value {
    map("u", version, &json!({}))
}

#[tokio::test(start_paused = true)]
async fn once_a_minute_a_read_confirms() {
    let (mut all, watch) = Setup::watching().await;
    let mut before = Instant::now();
    for _ in 0..5 {
        let get = all.script.get().await;
        let pause = get.at - before;
        assert!((53 * SECOND..=66 * SECOND).contains(&pause), "{pause:?}");
        before = get.at;
        get.got(Some(&object(7)));
        watch.bookmark(10);
    }
    all.nothing_seen_until(|all| all.reads("due", "same") == 5).await;
    assert_eq!(all.count("tidewait_kubernetes_lists_total"), "1");
    assert_eq!(all.count("tidewait_kubernetes_watches_total"), "1");
}

/// A watch that fell silent is found out.
#[tokio::test(start_paused = true)]
async fn a_read_shows_what_the_watch_does_not_bring() {
    let (mut all, _watch) = Setup::watching().await;
    all.script.get().await.got(Some(&object(40)));
    assert_eq!(all.seen().await, "live");
    assert_eq!(all.seen().await, "1 listed at 40");
    assert_eq!(all.reads("due", "newer"), 1);
}

#[tokio::test(start_paused = true)]
async fn many_who_ask_share_reads_that_began_after_them() {
    let (mut all, watch) = Setup::watching().await;
    let (mut first, mut second) = (all.asks(), all.asks());
    let one = all.script.get().await;
    // Arrived while it is under way.
    let (mut third, mut fourth) = (all.asks(), all.asks());
    tokio::time::advance(SECOND / 10).await;
    assert!(all.script.no_get(), "one at a time");
    watch.event("MODIFIED", &object(12));
    assert_eq!(all.seen().await, "applied 12", "events are taken meanwhile");
    let begun = one.at;
    one.got(Some(&object(12)));
    all.nothing_seen_until(|all| all.reads("asked", "same") == 1).await;
    for asking in [&mut first, &mut second] {
        assert!(asking.join_next().await.expect("one").expect("no panic"));
    }
    assert!(third.join_next().now_or_never().is_none() && fourth.join_next().now_or_never().is_none());
    let two = all.script.get().await;
    assert_eq!(two.at - begun, SECOND / 2, "not sooner");
    two.got(Some(&object(12)));
    all.nothing_seen_until(|all| all.reads("asked", "same") == 2).await;
    for asking in [&mut third, &mut fourth] {
        assert!(asking.join_next().await.expect("one").expect("no panic"));
    }
    tokio::time::advance(SECOND * 30).await;
    assert!(all.script.no_get(), "nobody asks any more");
}

/// As whoever claims to hold something newer, and goes on claiming it.
#[tokio::test(start_paused = true)]
async fn who_asks_without_end_gets_few_reads_and_holds_up_nobody_for_long() {
    let (mut all, watch) = Setup::watching().await;
    let start = Instant::now();
    let (mut reads, mut longest) = (0, Duration::ZERO);
    while start.elapsed() < 120 * SECOND {
        let asked = Instant::now();
        let mut asking = all.asks();
        watch.bookmark(10);
        let get = all.script.get().await;
        get.got(Some(&object(7)));
        reads += 1;
        while asking.join_next().now_or_never().is_none() {
            assert_eq!(all.seen().now_or_never().as_deref().unwrap_or("live"), "live");
            tokio::task::yield_now().await;
        }
        longest = longest.max(asked.elapsed());
    }
    assert!((70..=77).contains(&reads), "one in two seconds, and fifteen before their time: {reads}");
    assert!(longest <= 2 * SECOND, "{longest:?}");
}

/// A read that is late never takes anyone back.
#[tokio::test(start_paused = true)]
async fn a_late_read_gives_way_to_what_the_stream_has_brought() {
    let (mut all, watch) = Setup::watching().await;
    let mut asking = all.asks();
    let get = all.script.get().await;
    tokio::time::advance(2 * SECOND).await;
    watch.event("MODIFIED", &object(12));
    assert_eq!(all.seen().await, "applied 12");
    get.got(Some(&object(7)));
    assert_eq!(all.seen().await, "live", "and confirms that there is nothing between");
    all.nothing_seen_until(|all| all.reads("asked", "superseded") == 1).await;
    assert!(asking.join_next().await.expect("one").expect("no panic"));
}

#[tokio::test(start_paused = true)]
async fn an_ambiguous_read_is_made_again() {
    let (mut all, watch) = Setup::watching().await;
    let mut asking = all.asks();
    let get = all.script.get().await;
    watch.event("MODIFIED", &object(12));
    assert_eq!(all.seen().await, "applied 12");
    // Older than what was known when it began: late it is not.
    get.got(Some(&object(5)));
    let again = all.script.get().await;
    assert!(asking.join_next().now_or_never().is_none());
    assert_eq!(all.count("tidewait_kubernetes_restores_total"), "0");
    again.got(Some(&object(5)));
    assert_eq!(all.seen().await, "1 listed at 5", "the store was restored");
    assert_eq!(all.count("tidewait_kubernetes_restores_total"), "1");
    all.nothing_seen_until(|all| all.reads("owed", "older") == 1).await;
    assert!(asking.join_next().await.expect("one").expect("no panic"));
}

/// etcd restored while its API server was kept running: lists, watches and their bookmarks stay in
/// the past, a read by name shows the current state.
#[tokio::test(start_paused = true)]
async fn a_server_that_lists_the_past_neither_wins_nor_is_asked_in_a_loop() {
    let (mut all, watch) = Setup::watching().await;
    watch.event("MODIFIED", &object(15));
    assert_eq!(all.seen().await, "applied 15");
    all.script.get().await.got(Some(&object(3)));
    assert_eq!(all.seen().await, "1 listed at 3");
    // The list is what leads out of it once the server is started anew; here it shows what it always did.
    let list = all.script.list().await;
    let past = [object(15)];
    list.listed(18, &past);
    all.script.get().await.got(Some(&object(4)));
    assert_eq!(all.not_live().await, "1 listed at 4", "written since, below the position");
    let watch = all.script.watch().await.opened();
    for _ in 0..2 {
        let get = all.script.get().await;
        watch.bookmark(18);
        get.got(Some(&object(4)));
    }
    all.script.get().await.got(Some(&object(5)));
    assert_eq!(all.not_live().await, "1 listed at 5");
    all.script.list().await.listed(18, &past);
    let get = all.script.get().await;
    let _watch = all.script.watch().await.opened();
    get.got(Some(&object(5)));
    let get = all.script.get().await;
    assert_eq!(all.count("tidewait_kubernetes_lists_total"), "3");
    get.got(Some(&object(6)));
    assert_eq!(all.not_live().await, "1 listed at 6", "and never 15 again");
    assert_eq!(all.count("tidewait_kubernetes_restores_total"), "1", "reported once");
}

/// The watch may be refused, or the network to it be gone, while reads are answered.
#[tokio::test(start_paused = true)]
async fn a_read_in_an_outage_of_the_watch_is_the_truth_and_does_not_end_the_outage() {
    let (mut all, watch) = Setup::watching().await;
    watch.cut();
    let lost = all.seen().await;
    assert!(lost.starts_with("lost: cannot watch"), "{lost}");
    let mut asking = all.asks();
    all.script.get().await.got(Some(&object(12)));
    assert_eq!(all.seen().await, "1 listed at 12");
    assert_eq!(all.seen().await, lost, "still");
    assert!(asking.join_next().await.expect("one").expect("no panic"));
}

#[tokio::test(start_paused = true)]
async fn a_read_that_fails_confirms_nothing_and_is_made_again() {
    let (mut all, _watch) = Setup::watching().await;
    let mut asking = all.asks();
    drop(all.script.get().await);
    let hung = all.script.get().await;
    let again = all.script.get().await;
    assert!(again.at - hung.at >= 10 * SECOND, "{:?}", again.at - hung.at);
    assert!(asking.join_next().now_or_never().is_none());
    again.got(Some(&object(7)));
    // The watch is there all the time.
    all.nothing_seen_until(|all| all.reads("owed", "same") == 1).await;
    assert!(asking.join_next().await.expect("one").expect("no panic"));
    assert_eq!((all.reads("asked", "failed"), all.reads("owed", "failed")), (1, 1));
    drop(hung);
}

/// A Role without the verb get: a list alone shows nothing.
#[tokio::test(start_paused = true)]
async fn a_denied_read_is_told_with_the_verb_and_ends_when_it_is_allowed() {
    let mut all = Setup::new();
    all.script.hold_gets();
    all.script.list().await.listed(10, &[object(7)]);
    all.script.get().await.refused(403, 0);
    let watch = all.script.watch().await.opened();
    let denied = all.seen().await;
    assert!(denied.starts_with("denied: cannot get configmaps \"model\"") && denied.contains("[\"get\""), "{denied}");
    watch.bookmark(12);
    all.script.get().await.got(Some(&object(7)));
    assert_eq!(all.seen().await, "1 listed at 7", "no sign of life before: it holds nothing that is confirmed");
}

/// By labels a read is a list.
#[tokio::test(start_paused = true)]
async fn a_set_is_read_by_a_list() {
    let mut all = Setup::of(Selector::Labels("app=a".to_owned()));
    let mut asking = all.asks();
    all.script.list().await.listed(10, &[object(7)]);
    let watch = all.script.watch().await.opened();
    assert_eq!(all.seen().await, "1 listed at 10");
    assert_eq!(all.seen.recv().await.map(|seen| all.short(seen)), Some(None), "nothing follows");
    assert!(asking.join_next().await.expect("one").expect("no panic"), "the first list is one");
    let asked = all.asks();
    let list = all.script.list().await;
    watch.event("MODIFIED", &object(12));
    assert_eq!(all.seen().await, "applied 12");
    list.listed(11, &[object(7)]);
    assert_eq!(all.seen().await, "live");
    drop(asked);
    let _asked = all.asks();
    all.script.list().await.listed(20, &[object(12)]);
    assert_eq!(all.seen().await, "1 listed at 20");
}
