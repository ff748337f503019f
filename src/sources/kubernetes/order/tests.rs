//! What is new, and what is authoritative; at the end against a store of which every moment is known.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

fn contradicts(how: Contradiction, known: u64) -> ReadVerdict {
    ReadVerdict::Contradicts { how, known }
}

/// Row (c) 6: duplicate and reordered events; each once, ascending. Row (c) 8: the deletion of an
/// object that has been created anew since.
#[test]
fn what_a_stream_repeats_or_reorders_is_dropped() {
    for by_name in [true, false] {
        let mut order = Order::new(by_name);
        order.listed(9);
        let events = [(5, false), (9, false), (11, true), (10, false), (11, false), (12, true), (0, true), (12, false)];
        for (version, is_new) in events {
            assert_eq!(order.event(version), is_new, "{version}");
        }
    }
}

/// What happens before and while a read is under way, and what it then shows.
#[track_caller]
fn read(by_name: bool, before: &[u64], during: &[u64], shown: Option<u64>) -> ReadVerdict {
    let mut order = Order::new(by_name);
    order.listed(10);
    if by_name {
        // The object is older than the list.
        order.read_begins();
        order.read(Some(7));
    }
    assert!(before.iter().all(|version| order.event(*version)));
    order.read_begins();
    assert!(during.iter().all(|version| order.event(*version)));
    order.read(shown)
}

#[test]
fn a_read_by_name_is_the_truth_unless_the_stream_is_ahead_of_it() {
    for (before, during, shown, expected) in [
        (&[][..], &[][..], Some(7), ReadVerdict::Same),
        (&[], &[], Some(11), ReadVerdict::Newer),
        (&[], &[], Some(6), contradicts(Contradiction::Older, 7)),
        (&[], &[], Some(9), contradicts(Contradiction::Missed, 7)),
        (&[], &[], None, ReadVerdict::Same),
        (&[20], &[], Some(20), ReadVerdict::Same),
        (&[20], &[], Some(21), ReadVerdict::Newer),
        (&[20], &[], Some(19), contradicts(Contradiction::Older, 20)),
        (&[20], &[], None, ReadVerdict::Same),
        // The read is late.
        (&[20], &[22], Some(20), ReadVerdict::Superseded),
        (&[20], &[22], Some(21), ReadVerdict::Superseded),
        (&[20], &[22], Some(22), ReadVerdict::Same),
        (&[20], &[22], Some(23), ReadVerdict::Newer),
        // Or the store went back, before the stream brought this or after.
        (&[20], &[22], Some(19), ReadVerdict::Ambiguous),
        (&[20], &[22], None, ReadVerdict::Ambiguous),
    ] {
        assert_eq!(read(true, before, during, shown), expected, "{before:?} {during:?} {shown:?}");
    }
}

#[test]
fn a_read_by_labels_is_compared_with_the_position() {
    for (before, during, shown, expected) in [
        (&[][..], &[][..], Some(10), ReadVerdict::Same),
        (&[], &[], Some(11), ReadVerdict::Newer),
        (&[20], &[], Some(19), contradicts(Contradiction::Older, 20)),
        (&[20], &[22], Some(20), ReadVerdict::Superseded),
        (&[20], &[22], Some(25), ReadVerdict::Newer),
        (&[20], &[22], Some(19), ReadVerdict::Ambiguous),
    ] {
        assert_eq!(read(false, before, during, shown), expected, "{before:?} {during:?} {shown:?}");
    }
    let mut order = Order::new(false);
    order.listed(10);
    order.bookmark(15);
    order.read_begins();
    assert_eq!(order.read(Some(12)), contradicts(Contradiction::Older, 15), "also bookmarks are positions");
}

/// What was written while nobody watched is shown by list or watch as a position, and by a read.
#[test]
fn after_a_list_or_a_whole_set_a_read_is_newer_and_contradicts_nothing() {
    for synced in [true, false] {
        let mut order = Order::new(true);
        order.listed(10);
        order.read_begins();
        order.read(Some(7));
        if synced {
            order.synced(20);
        } else {
            order.listed(20);
        }
        order.read_begins();
        assert_eq!(order.read(Some(15)), ReadVerdict::Newer);
        order.read_begins();
        assert_eq!(order.read(Some(18)), contradicts(Contradiction::Missed, 15), "the stream showed nothing of this");
    }
}

/// The first read after a start, and after a list that itself shows the restored store, does not count as another restore.
#[test]
fn one_restore_is_told_once() {
    let mut order = Order::new(true);
    order.listed(1018);
    order.read_begins();
    assert_eq!(order.read(Some(1002)), ReadVerdict::Newer, "the first");
    assert!(order.event(1020));
    order.listed(1003);
    order.read_begins();
    assert_eq!(order.read(Some(1001)), ReadVerdict::Newer);
    // An API server that was kept running: the list stays in the past, each read is authoritative.
    let mut order = Order::new(true);
    order.listed(1018);
    order.read_begins();
    order.read(Some(1015));
    for (listed, shown, expected) in [
        (true, 1003, contradicts(Contradiction::Older, 1015)),
        (true, 1003, ReadVerdict::Same),
        (true, 1004, ReadVerdict::Newer),
        (false, 1004, ReadVerdict::Same),
        (false, 1005, contradicts(Contradiction::Missed, 1004)),
        (true, 1005, ReadVerdict::Same),
    ] {
        if listed {
            order.listed(1018);
        }
        order.read_begins();
        assert_eq!(order.read(Some(shown)), expected, "{shown}");
    }
    assert!(!order.event(1016) && order.event(1019), "of the watch only what is beyond its position");
}

#[test]
fn a_set_that_is_behind_what_a_read_showed_is_no_news() {
    let mut order = Order::new(false);
    order.listed(10);
    order.read_begins();
    assert_eq!(order.read(Some(14)), ReadVerdict::Newer);
    assert!(!order.synced(12));
    assert!(!order.event(13) && order.event(15));
    assert!(order.synced(16) && !order.event(16));
}

/// A store, a stream that is behind it, and reads that take their time.
#[derive(Debug, Clone)]
enum Step {
    /// The object is written.
    Write,
    /// The stream brings the next write.
    Deliver,
    /// The stream is complete, and says so.
    Bookmark,
    /// The watch broke; a list, or a watch that shows the whole set, gives the position.
    List,
    Sync,
    /// A read begins, is served, and is answered, unless one is at that already.
    Begin,
    Serve,
    Answer,
    /// The store goes back by so many writes; the stream stays where it is, in silence.
    Restore(usize),
}

fn steps(restores: bool) -> impl Strategy<Value = Vec<Step>> {
    let restore = u32::from(restores);
    let step = prop_oneof![
        6 => Just(Step::Write),
        6 => Just(Step::Deliver),
        2 => Just(Step::Bookmark),
        1 => Just(Step::List),
        1 => Just(Step::Sync),
        4 => Just(Step::Begin),
        4 => Just(Step::Serve),
        4 => Just(Step::Answer),
        restore => (1_usize..5).prop_map(Step::Restore),
    ];
    prop::collection::vec(step, 1..120)
}

/// The store and who watches it. Versions are unique over all histories (`content`), as what an
/// object says is; versions as the API server gives them go back with a restore.
struct World {
    order: Order,
    /// Versions of the object, the newest last.
    store: Vec<(u64, u64)>,
    /// What the stream has yet to bring.
    stream: VecDeque<(u64, u64)>,
    contents: u64,
    held: (u64, u64),
    /// What was in the store when the read began, and when it was served.
    begun: Option<(u64, u64)>,
    served: Option<(u64, u64)>,
}

impl World {
    fn new() -> Self {
        let mut order = Order::new(true);
        order.listed(1);
        order.read_begins();
        order.read(Some(1));
        let store = vec![(1, 0)];
        Self { order, store, stream: VecDeque::default(), contents: 0, held: (1, 0), begun: None, served: None }
    }

    fn now(&self) -> (u64, u64) {
        *self.store.last().expect("never empty")
    }

    /// As the loop does once it has the position anew: a read that was under way may hang on a dead connection.
    fn drop_read(&mut self) {
        (self.begun, self.served) = (None, None);
    }

    /// Says what a read came to.
    fn step(&mut self, step: &Step) -> Option<ReadVerdict> {
        match step {
            Step::Write => {
                self.contents += 1;
                self.store.push((self.now().0 + 1, self.contents));
                self.stream.push_back(self.now());
            }
            Step::Deliver => {
                if let Some(event) = self.stream.pop_front()
                    && self.order.event(event.0)
                {
                    self.held = event;
                }
            }
            Step::Bookmark if self.stream.is_empty() => self.order.bookmark(self.now().0),
            Step::List => {
                self.drop_read();
                self.stream.clear();
                self.order.listed(self.now().0);
            }
            // Not older than the position: a server that has not come so far refuses.
            Step::Sync if self.order.floor <= self.now().0 => {
                self.drop_read();
                self.stream.clear();
                self.order.synced(self.now().0);
            }
            Step::Begin if self.begun.is_none() => {
                self.begun = Some(self.now());
                self.order.read_begins();
            }
            Step::Serve if self.begun.is_some() && self.served.is_none() => self.served = Some(self.now()),
            Step::Answer if self.served.is_some() => {
                let shown = self.served.take().expect("served");
                self.begun = None;
                let verdict = self.order.read(Some(shown.0));
                if !matches!(verdict, ReadVerdict::Superseded | ReadVerdict::Ambiguous) {
                    self.held = shown;
                }
                return Some(verdict);
            }
            Step::Restore(by) => {
                let left = self.store.len().saturating_sub(*by).max(1);
                self.store.truncate(left);
                // The server is started anew, and the watch with it.
                self.stream.clear();
            }
            Step::Bookmark | Step::Sync | Step::Begin | Step::Serve | Step::Answer => {}
        }
        None
    }
}

proptest! {
    /// Without a restore nothing ever goes back, and a read confirms at least what was there when it began.
    #[test]
    fn never_backwards_and_never_older_than_confirmed(steps in steps(false)) {
        let mut world = World::new();
        for step in steps {
            let (before, begun) = (world.held, world.begun);
            let verdict = world.step(&step);
            prop_assert!(world.held.0 >= before.0, "{:?} after {before:?}", world.held);
            if let Some(verdict) = verdict {
                let confirmed = begun.expect("it began");
                prop_assert!(world.held.0 >= confirmed.0, "{verdict:?}: {:?}, not {confirmed:?}", world.held);
                let plain = matches!(verdict, ReadVerdict::Same | ReadVerdict::Newer | ReadVerdict::Superseded);
                prop_assert!(plain, "{:?}", verdict);
            }
        }
    }

    /// Whatever happened: with the stream at rest one read shows the current state, and the next one nothing new.
    #[test]
    fn after_a_restore_reads_lead_to_the_truth(steps in steps(true)) {
        let mut world = World::new();
        for step in steps {
            world.step(&step);
        }
        world.step(&Step::Serve);
        world.step(&Step::Answer);
        world.stream.clear();
        for round in 0..2 {
            world.step(&Step::Begin);
            world.step(&Step::Serve);
            let verdict = world.step(&Step::Answer).expect("a read");
            prop_assert_eq!(world.held, world.now());
            prop_assert!(round == 0 || verdict == ReadVerdict::Same, "{:?}", verdict);
        }
    }
}
