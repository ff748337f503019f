//! The decisions of the loop; rows are those of the reliability table.

use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// A driver with a clock of its own.
struct Loop {
    driver: Driver,
    random: fastrand::Rng,
    now: Instant,
    lists: usize,
    slept: Duration,
}

impl Loop {
    fn new(watch_timeout: u64) -> Self {
        let driver = Driver::new(Duration::from_secs(watch_timeout));
        Self { driver, random: fastrand::Rng::with_seed(1), now: now(), lists: 0, slept: Duration::ZERO }
    }

    /// Listed at `version`, with a watch open from there.
    fn watching(watch_timeout: u64, version: &str) -> Self {
        let mut this = Self::new(watch_timeout);
        assert_eq!(this.list(version), None);
        this.open(version);
        this
    }

    fn on(&mut self, input: Input) -> Option<Notice> {
        self.driver.on(input, self.now, self.random.f64())
    }

    /// The next list or watch; sleeps before it.
    fn next_action(&mut self) -> Action {
        let mut step = self.driver.next_action(self.random.f64());
        if let Action::Sleep(pause) = step {
            self.slept += pause;
            self.now += pause;
            step = self.driver.next_action(self.random.f64());
            assert!(!matches!(step, Action::Sleep(_)), "one pause is enough");
        }
        step
    }

    #[track_caller]
    fn list(&mut self, version: &str) -> Option<Notice> {
        assert_eq!(self.next_action(), Action::List);
        self.lists += 1;
        self.on(Input::Listed { version: version.to_owned() })
    }

    #[track_caller]
    fn must_watch(&mut self, from: &str) {
        let step = self.next_action();
        assert!(matches!(&step, Action::Watch { version, .. } if version == from), "{step:?}, not a watch from {from}");
    }

    #[track_caller]
    fn open(&mut self, from: &str) {
        self.must_watch(from);
        assert_eq!(self.on(Input::Opened), None);
        if self.driver.next == Next::Resync {
            self.synced(from);
        }
    }

    fn synced(&mut self, version: &str) {
        assert_eq!(self.on(Input::Synced { version: version.to_owned() }), None);
    }

    /// The next watch is from here; whether it is asked to show the whole set first.
    #[track_caller]
    fn resyncs(&mut self, from: &str) -> bool {
        match self.next_action() {
            Action::Watch { version, initial, .. } if version == from => initial,
            step @ (Action::List | Action::Watch { .. } | Action::Sleep(_)) => {
                panic!("{step:?}, not a watch from {from}")
            }
        }
    }

    fn moved(&mut self, version: &str) {
        assert_eq!(self.on(Input::Moved { version: version.to_owned() }), None);
    }

    fn fail(&mut self, kind: FailureKind) -> Option<Notice> {
        self.on(Input::Failed(Failure::new(kind, "words")))
    }

    /// Nothing comes until the driver has something to say.
    fn wait(&mut self) -> Option<Notice> {
        while let Some(due) = self.driver.due() {
            self.now = self.now.max(due);
            let notice = self.on(Input::Due);
            if notice.is_some() {
                return notice;
            }
        }
        None
    }
}

#[test]
fn a_watch_follows_the_list_and_the_next_watch_the_position_without_a_list() {
    let mut all = Loop::watching(200, "10");
    all.moved("12");
    all.moved("15");
    all.now += 200 * SECOND;
    assert_eq!(all.on(Input::Ended), None);
    assert!(!all.resyncs("15"), "it ended on time");
    assert_eq!((all.lists, all.slept), (1, Duration::ZERO));
}

#[test]
fn versions_that_go_back_on_a_stream_do_not_move_the_position_back() {
    let mut all = Loop::watching(200, "10");
    for (version, position) in [("12", "12"), ("11", "12"), ("12", "12"), ("9", "12"), ("100", "100"), ("odd", "odd")] {
        all.moved(version);
        assert_eq!(all.driver.position.as_deref(), Some(position), "after {version}");
    }
}

#[test]
fn watches_are_asked_to_end_a_little_early_and_differently() {
    let mut driver = Loop::new(200);
    driver.list("1");
    let timeouts: Vec<_> = (0..40)
        .map(|_| match driver.driver.next_action(driver.random.f64()) {
            Action::Watch { timeout, .. } => timeout,
            step @ (Action::List | Action::Sleep(_)) => unreachable!("{step:?}"),
        })
        .collect();
    assert!(timeouts.iter().all(|timeout| (180 * SECOND..=200 * SECOND).contains(timeout)), "{timeouts:?}");
    assert!(timeouts.iter().any(|timeout| timeout != &timeouts[0]), "{timeouts:?}");
    let mut short = Loop::new(1);
    short.list("1");
    assert_eq!(short.next_action(), Action::Watch { version: "1".to_owned(), timeout: SECOND, initial: false });
}

/// Rows (a) 24, (c) 3: 410, as the answer to a watch or as an event: one list, at once, unnoticed.
#[test]
fn gone_leads_to_exactly_one_list() {
    for opened in [false, true] {
        let mut all = Loop::watching(200, "10");
        all.now += 100 * SECOND;
        assert_eq!(all.on(Input::Ended), None);
        if opened {
            all.open("10");
        } else {
            all.must_watch("10");
        }
        assert_eq!(all.fail(FailureKind::Expired), None, "nobody needs to know");
        assert_eq!(all.list("30"), None);
        all.open("30");
        assert_eq!((all.lists, all.slept), (2, Duration::ZERO));
    }
}

#[test]
fn gone_again_and_again_is_asked_with_growing_pauses() {
    let mut all = Loop::watching(200, "10");
    for round in 0..10 {
        assert_eq!(all.fail(FailureKind::Expired), None);
        let before = all.slept;
        all.list("30");
        assert_eq!(all.slept > before, round > 0, "round {round}");
        all.must_watch("30");
    }
    assert!(all.slept > 60 * SECOND, "{:?}", all.slept);
}

/// Row (a) 25, (c) 5: a watch that is half open is given up, and a list follows.
#[test]
fn a_silent_watch_is_given_up_for_a_list() {
    for (watch_timeout, at_most) in [(200, 90), (60, 65), (5, 10)] {
        let mut all = Loop::watching(watch_timeout, "10");
        let opened = all.now;
        assert_eq!(all.wait(), Some(Notice::Live), "it stood");
        assert!(all.driver.is_watching());
        assert_eq!(all.wait(), Some(Notice::Silent));
        assert!(!all.driver.is_watching());
        assert!(all.now - opened <= at_most * SECOND, "{watch_timeout}: {:?}", all.now - opened);
        all.list("10");
        assert_eq!(all.slept, Duration::ZERO);
    }
}

#[test]
fn events_and_bookmarks_keep_a_watch_from_being_silent() {
    let mut all = Loop::watching(200, "10");
    assert_eq!(all.wait(), Some(Notice::Live));
    for version in ["10", "11", "12"] {
        all.now += 60 * SECOND;
        all.moved(version);
        assert!(all.driver.due().expect("a watch is open") >= all.now + 25 * SECOND, "{version}");
    }
}

/// A watch from the future stays silent (a store restored from a backup): also where watches are
/// shorter than the silence, a list finds it out.
#[test]
fn short_watches_that_never_bring_anything_are_silent_together() {
    let mut all = Loop::watching(5, "10");
    let opened = all.now;
    loop {
        all.now += 4 * SECOND;
        if all.now >= all.driver.due().expect("a watch is open") && all.on(Input::Due) == Some(Notice::Silent) {
            break;
        }
        assert_eq!(all.on(Input::Ended), None);
        all.open("10");
    }
    assert!((85 * SECOND..=95 * SECOND).contains(&(all.now - opened)), "{:?}", all.now - opened);
    all.list("3");
}

/// Row (a) 27: 50 failures, still trying, and the pauses differ.
#[test]
fn fifty_failures_do_not_end_it() {
    let mut all = Loop::new(200);
    let mut pauses = std::collections::BTreeSet::new();
    for _ in 0..50 {
        let before = all.slept;
        assert_eq!(all.next_action(), Action::List);
        pauses.insert(all.slept.saturating_sub(before));
        all.fail(FailureKind::Transport);
    }
    assert_eq!(pauses.len(), 50, "{pauses:?}");
    assert_eq!(all.list("1"), None);
}

/// Rows (a) 28, (c) 4: 429 and 5xx at the watch ask for no list, whatever their number.
#[test]
fn overload_at_the_watch_asks_for_no_list() {
    for kind in [FailureKind::Throttled, FailureKind::Server, FailureKind::Transport] {
        let mut all = Loop::watching(200, "10");
        all.moved("11");
        let reported = (0..20).filter(|_| {
            let notice = all.fail(kind);
            all.must_watch("11");
            notice.is_some()
        });
        assert_eq!(reported.count(), 1, "{kind:?} is reported once");
        assert_eq!(all.on(Input::Opened), None);
        all.synced("11");
        assert_eq!(all.wait(), Some(Notice::Live), "{kind:?}: a watch that stands is contact");
        assert_eq!(all.lists, 1, "{kind:?}");
        assert!(all.slept > 200 * SECOND, "{:?}", all.slept);
    }
}

#[test]
fn what_the_position_may_have_caused_and_a_denial_are_listed_after_a_pause() {
    let kinds = [FailureKind::Refused, FailureKind::NotFound, FailureKind::Malformed];
    for kind in kinds.into_iter().chain([FailureKind::Unauthorized, FailureKind::Forbidden]) {
        let mut all = Loop::watching(200, "10");
        assert!(matches!(all.fail(kind), Some(Notice::Lost(_))));
        all.list("10");
        assert!(all.slept >= SECOND * 4 / 5, "{kind:?}: {:?}", all.slept);
    }
}

/// Row (a) 30, (c) 1, (c) 2: an outage is reported once, goes on for ever, and its end is reported.
#[test]
fn an_outage_is_reported_once_and_so_is_its_end() {
    let mut all = Loop::watching(200, "10");
    let failure = Failure::new(FailureKind::Transport, "words");
    assert_eq!(all.fail(FailureKind::Transport), Some(Notice::Lost(failure)));
    for _ in 0..30 {
        all.must_watch("10");
        assert_eq!(all.fail(FailureKind::Transport), None);
    }
    assert!(all.slept > 600 * SECOND, "{:?}", all.slept);
    all.open("10");
    all.moved("20");
    assert!(matches!(all.fail(FailureKind::Transport), Some(Notice::Lost(_))), "contact was there in between");
}

/// (c) 1: behind a network that swallows everything, the waiting was the pause.
#[test]
fn timeouts_do_not_make_the_pauses_grow() {
    let mut all = Loop::watching(200, "10");
    for _ in 0..20 {
        all.fail(FailureKind::Timeout);
        let before = all.slept;
        all.must_watch("10");
        assert!(all.slept.saturating_sub(before) <= SECOND * 8 / 5);
    }
}

#[test]
fn a_denial_is_reported_also_in_an_outage() {
    let mut all = Loop::new(200);
    let reported: Vec<_> =
        [FailureKind::Transport, FailureKind::Server, FailureKind::Forbidden, FailureKind::Forbidden]
            .into_iter()
            .map(|kind| {
                assert_eq!(all.next_action(), Action::List);
                all.fail(kind).is_some()
            })
            .collect();
    assert_eq!(reported, [true, false, true, false]);
}

/// (c) 7: a store restored from a backup. The list is authoritative, and the next watch starts there.
#[test]
fn an_older_list_is_a_restore_and_authoritative() {
    let mut all = Loop::watching(200, "1018");
    all.fail(FailureKind::Expired);
    assert_eq!(all.list("1003"), Some(Notice::Restored { held: 1018, listed: 1003 }));
    all.open("1003");
}

/// One that broke, or ended before its time, as those of a server that stops: the store may be another one since.
#[test]
fn after_a_watch_that_broke_the_whole_set_is_shown_from_the_position() {
    for broken in [true, false] {
        let mut all = Loop::watching(200, "10");
        all.moved("15");
        all.now += 100 * SECOND;
        if broken {
            assert!(all.fail(FailureKind::Transport).is_some());
        } else {
            assert_eq!(all.on(Input::Ended), None);
        }
        assert!(all.resyncs("15"));
        assert_eq!(all.on(Input::Opened), None);
        // The set is in no order, and no position until it is whole.
        for version in ["3", "40", "12"] {
            all.moved(version);
        }
        assert_eq!(all.fail(FailureKind::Transport).is_some(), !broken, "reported once");
        assert!(all.resyncs("15"));
        assert_eq!(all.on(Input::Opened), None);
        all.synced("41");
        all.moved("42");
        all.now += 200 * SECOND;
        assert_eq!(all.on(Input::Ended), None);
        assert!(!all.resyncs("42"), "this one ended on time");
        assert_eq!(all.lists, 1);
    }
}

#[test]
fn a_set_that_is_never_whole_is_no_contact_and_silent_in_the_end() {
    let mut all = Loop::watching(200, "10");
    all.fail(FailureKind::Server);
    all.must_watch("10");
    assert_eq!(all.on(Input::Opened), None);
    let opened = all.now;
    assert_eq!(all.wait(), Some(Notice::Silent));
    assert!(all.now - opened <= 90 * SECOND, "{:?}", all.now - opened);
    all.list("11");
    assert!(!all.resyncs("11"));
    // Or it ends early.
    let mut all = Loop::watching(200, "10");
    all.fail(FailureKind::Server);
    all.must_watch("10");
    all.on(Input::Opened);
    all.now += 200 * SECOND;
    assert_eq!(all.on(Input::Ended), None, "reported before");
    assert!(all.resyncs("10"));
}

/// A store restored from a backup, whose versions have not come so far again.
#[test]
fn a_version_that_the_server_has_not_reached_leads_to_one_list_at_once() {
    let mut all = Loop::watching(200, "1018");
    all.fail(FailureKind::Transport);
    all.must_watch("1018");
    let slept = all.slept;
    assert_eq!(all.on(Input::Opened), None);
    assert_eq!(all.fail(FailureKind::Unreached), None, "nothing is wrong but the position");
    assert_eq!(all.list("1003"), Some(Notice::Restored { held: 1018, listed: 1003 }));
    assert!(!all.resyncs("1003"));
    assert_eq!((all.lists, all.slept), (2, slept));
}

#[test]
fn a_server_without_streaming_lists_is_asked_once() {
    let refused = |kind| {
        let message = "sendInitialEvents: Forbidden: sendInitialEvents is forbidden for watch unless the WatchList \
                       feature gate is enabled (422)";
        Input::Failed(Failure::new(kind, message))
    };
    for kind in [FailureKind::Refused, FailureKind::Forbidden] {
        let mut all = Loop::watching(200, "10");
        all.fail(FailureKind::Transport);
        assert!(all.resyncs("10"));
        let slept = all.slept;
        assert_eq!(all.on(refused(kind)), Some(Notice::NoStreaming));
        assert!(!all.resyncs("10"));
        assert_eq!((all.lists, all.slept), (1, slept));
        all.on(Input::Opened);
        all.moved("11");
        all.fail(FailureKind::Transport);
        assert!(!all.resyncs("11"), "for good");
    }
    // The same words for another reason.
    let mut all = Loop::watching(200, "10");
    assert!(matches!(all.on(refused(FailureKind::Refused)), Some(Notice::Lost(_))));
}

/// An API server that was kept running while its etcd was restored lists the past, each time.
#[test]
fn a_read_that_contradicts_the_stream_leads_to_a_list_and_never_to_a_loop_of_them() {
    for how in [Contradiction::Older, Contradiction::Missed] {
        let mut all = Loop::watching(200, "1018");
        for round in 0..10 {
            assert_eq!(all.on(Input::Contradicted(how)), None);
            assert_eq!(all.driver.is_watching(), round > 0, "{how:?} {round}");
            if round == 0 {
                assert_eq!(all.list("1018"), None);
                all.open("1018");
            }
            all.now += 5 * SECOND;
        }
        assert_eq!((all.lists, all.slept), (2, Duration::ZERO));
        all.now += 60 * SECOND;
        all.on(Input::Contradicted(how));
        // Of the other history, where a notice has reported that there is one.
        assert_eq!(all.list("1003").is_some(), how == Contradiction::Missed);
    }
}

#[test]
fn a_watch_that_ends_at_once_is_not_opened_again_at_once() {
    let mut all = Loop::watching(200, "10");
    assert!(matches!(all.on(Input::Ended), Some(Notice::Lost(_))));
    for _ in 0..9 {
        all.must_watch("10");
        all.on(Input::Opened);
        assert_eq!(all.on(Input::Ended), None);
    }
    all.must_watch("10");
    assert!(all.slept > 120 * SECOND, "the pauses grow: {:?}", all.slept);
    // One that brings something first is fine, yet paced.
    let mut all = Loop::watching(200, "10");
    for version in 11..21 {
        all.moved(&version.to_string());
        assert_eq!(all.on(Input::Ended), None);
        all.open(&version.to_string());
    }
    assert!((8 * SECOND..=16 * SECOND).contains(&all.slept), "{:?}", all.slept);
}

#[test]
fn only_a_success_that_lasted_makes_the_pauses_short_again() {
    let fail_after = |open_for: Duration| {
        let mut all = Loop::watching(200, "10");
        for _ in 0..8 {
            all.fail(FailureKind::Transport);
            all.open("10");
        }
        all.now += open_for;
        all.on(Input::Due);
        all.fail(FailureKind::Transport);
        let before = all.slept;
        all.must_watch("10");
        all.slept.saturating_sub(before)
    };
    assert!(fail_after(Duration::ZERO) >= 30 * SECOND);
    assert!(fail_after(6 * SECOND) < 2 * SECOND);
}

/// What may happen to a list or a watch.
#[derive(Debug, Clone)]
enum Event {
    Works(u64),
    Fails(FailureKind),
    Moves(u64),
    Syncs(u64),
    Contradicts(bool),
    Ends,
    Waits,
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (1_u64..100).prop_map(Event::Works),
        3 => (0..FailureKind::ALL.len()).prop_map(|at| Event::Fails(FailureKind::ALL[at])),
        4 => (1_u64..100).prop_map(Event::Moves),
        2 => (1_u64..100).prop_map(Event::Syncs),
        1 => any::<bool>().prop_map(Event::Contradicts),
        2 => Just(Event::Ends),
        2 => Just(Event::Waits),
    ]
}

/// Runs the events against a driver, and counts lists and what may lead to one.
fn play(events: Vec<Event>, timeout: u64, seed: u64) -> (usize, usize) {
    let (mut driver, mut random) = (Driver::new(Duration::from_secs(timeout)), fastrand::Rng::with_seed(seed));
    let mut now = now();
    // The first list needs no reason.
    let (mut lists, mut reasons) = (0, 1);
    for event in events {
        if let Event::Contradicts(older) = event {
            let how = if older { Contradiction::Older } else { Contradiction::Missed };
            reasons += usize::from(driver.on(Input::Contradicted(how), now, random.f64()).is_none());
            continue;
        }
        let due = driver.due();
        let mut listing = false;
        if due.is_none() {
            let mut step = driver.next_action(random.f64());
            if let Action::Sleep(pause) = step {
                now += pause;
                step = driver.next_action(random.f64());
                assert!(!matches!(step, Action::Sleep(_)), "one pause is enough");
            }
            listing = step == Action::List;
            lists += usize::from(listing);
        }
        let outcome = match (event, due) {
            (Event::Fails(kind), _) => {
                reasons += usize::from(listing || relists(kind));
                Input::Failed(Failure::new(kind, "words"))
            }
            (Event::Works(version) | Event::Moves(version), Some(_)) => Input::Moved { version: version.to_string() },
            (Event::Works(version) | Event::Moves(version) | Event::Syncs(version), None) if listing => {
                Input::Listed { version: version.to_string() }
            }
            (Event::Works(_) | Event::Moves(_) | Event::Syncs(_), None) => Input::Opened,
            (Event::Syncs(version), Some(_)) if driver.watch.is_some_and(|watch| watch.syncing) => {
                Input::Synced { version: version.to_string() }
            }
            (Event::Syncs(_), Some(_)) | (Event::Contradicts(_), _) => continue,
            (Event::Ends, Some(_)) => Input::Ended,
            (Event::Waits, Some(due)) => {
                now = now.max(due);
                Input::Due
            }
            (Event::Ends | Event::Waits, None) => {
                reasons += usize::from(listing);
                Input::Failed(Failure::new(FailureKind::Timeout, "words"))
            }
        };
        let notice = driver.on(outcome, now, random.f64());
        reasons += usize::from(notice == Some(Notice::Silent));
        assert_eq!(driver.is_watching(), driver.due().is_some());
    }
    (lists, reasons)
}

fn relists(kind: FailureKind) -> bool {
    matches!(kind, FailureKind::Expired | FailureKind::Unreached) || kind.needs_list()
}

proptest! {
    /// Whatever happens there is a next step, and each list has a reason of its own: at most one for each 410.
    #[test]
    fn every_list_has_a_reason(events in prop::collection::vec(any_event(), 1..200), seed: u64, timeout in 1_u64..=200) {
        let (lists, reasons) = play(events, timeout, seed);
        prop_assert!(lists <= reasons, "{lists} lists for {reasons} reasons");
    }
}
