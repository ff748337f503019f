//! The one writer of an operation's state, and the one place that decides whether it changed.
//!
//! A change is published at once when the last one is `min_interval` ago, else when it is; of
//! several in between only the newest. What is published and then taken back within the interval
//! was never seen by anyone.

use std::time::{Duration, Instant};

use super::{Content, Epoch, Snapshot};

/// What is published and what waits for its turn.
#[derive(Debug)]
pub struct Store {
    min_interval: Duration,
    published: Option<Snapshot>,
    last: Option<Instant>,
    next: Option<Next>,
}

/// The newest state, not yet published.
#[derive(Debug)]
struct Next {
    snapshot: Snapshot,
    seen: Instant,
}

/// What became of a state that was offered.
#[derive(Debug, PartialEq, Eq)]
pub enum Offer {
    /// It differs from the newest one: it is published when [`Store::due`].
    Changed {
        /// Its version lies below the one before it, and it is the truth: a store was restored from a backup.
        restored: bool,
    },
    /// It is the published state at a newer version: serve this one; nobody is released.
    Moved,
    /// It is the newest state already.
    Same,
    /// It is older than the newest one, and its version may not be believed: dropped.
    Older,
}

/// A state to publish.
#[derive(Debug, Clone)]
pub struct Publication {
    /// What to serve.
    pub snapshot: Snapshot,
    /// When the change was first seen.
    pub seen: Instant,
}

impl Store {
    /// An empty store: the first offer is published at once.
    #[must_use]
    pub fn new(min_interval: Duration) -> Self {
        Self { min_interval, published: None, last: None, next: None }
    }

    /// The store of a restarted process, which goes on serving `snapshot`.
    #[must_use]
    pub fn restored(min_interval: Duration, snapshot: Snapshot) -> Self {
        Self { published: Some(snapshot), ..Self::new(min_interval) }
    }

    /// Least time between two publications from now on, also for what waits already.
    pub fn set_min_interval(&mut self, min_interval: Duration) {
        self.min_interval = min_interval;
    }

    /// Takes a state that the source holds. `truth`: it comes from a consistent read, so that a
    /// lower version is believed; otherwise a lower version is a late or repeated event.
    pub fn offer(&mut self, epoch: Epoch, version: u64, content: &Content, truth: bool, seen: Instant) -> Offer {
        let digest = content.digest();
        let newest = self.next.as_ref().map(|next| &next.snapshot).or(self.published.as_ref());
        let lower = newest.is_some_and(|newest| newest.id.epoch == epoch && version < newest.id.version);
        if lower && !truth {
            return Offer::Older;
        }
        if let Some(published) = &mut self.published
            && published.id.epoch == epoch
            && published.id.digest == digest
        {
            // Also what was on its way is taken back: A-B-A within the interval releases nobody.
            let back = self.next.take().is_some();
            if !back && published.id.version == version {
                return Offer::Same;
            }
            *published = published.at_version(version);
            return Offer::Moved;
        }
        if let Some(next) = &mut self.next
            && next.snapshot.id.epoch == epoch
            && next.snapshot.id.digest == digest
        {
            next.snapshot = next.snapshot.at_version(version);
            return Offer::Same;
        }
        let seen = self.next.as_ref().map_or(seen, |next| next.seen);
        self.next = Some(Next { snapshot: Snapshot::of(epoch, version, content), seen });
        Offer::Changed { restored: lower }
    }

    /// When the next state may be published; absent: nothing waits.
    #[must_use]
    pub fn due(&self, now: Instant) -> Option<Instant> {
        self.next.as_ref()?;
        Some(self.last.map_or(now, |last| last + self.min_interval))
    }

    /// The version that waits for its turn; 0: none, or one without order.
    #[must_use]
    pub fn waiting_version(&self) -> u64 {
        self.next.as_ref().map_or(0, |next| next.snapshot.id.version)
    }

    /// What would be published; [`Store::publish`] follows once it is safe on disk.
    #[must_use]
    pub fn waiting(&self) -> Option<&Snapshot> {
        self.next.as_ref().map(|next| &next.snapshot)
    }

    /// Publishes what waits.
    pub fn publish(&mut self, now: Instant) -> Option<Publication> {
        let Next { snapshot, seen } = self.next.take()?;
        self.last = Some(now);
        self.published = Some(snapshot.clone());
        Some(Publication { snapshot, seen })
    }

    /// What is published.
    #[must_use]
    pub fn published(&self) -> Option<&Snapshot> {
        self.published.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::Document;

    const INTERVAL: Duration = Duration::from_millis(100);

    fn content(value: u8) -> Content {
        Content::Json(Document::from_json(value.to_string().as_bytes()).expect("a number is a document"))
    }

    fn epoch() -> Epoch {
        Epoch::of(&["test"])
    }

    #[expect(clippy::disallowed_methods, reason = "a starting point; no test waits for real time")]
    fn start() -> Instant {
        Instant::now()
    }

    /// Offers a version and a value from a stream, `at` milliseconds after the start.
    #[track_caller]
    fn offer(store: &mut Store, t0: Instant, at: u64, version: u64, value: u8, expected: &Offer) {
        let seen = t0 + Duration::from_millis(at);
        assert_eq!(store.offer(epoch(), version, &content(value), false, seen), *expected);
    }

    const CHANGED: Offer = Offer::Changed { restored: false };

    #[test]
    fn the_first_change_is_due_at_once_and_later_ones_after_the_interval() {
        let t0 = start();
        let mut store = Store::new(INTERVAL);
        assert_eq!(store.due(t0), None);
        offer(&mut store, t0, 0, 1, 1, &CHANGED);
        assert_eq!(store.due(t0), Some(t0));
        let first = store.publish(t0).expect("due");
        assert_eq!((first.snapshot.id.version, first.seen), (1, t0));
        offer(&mut store, t0, 10, 2, 2, &CHANGED);
        offer(&mut store, t0, 20, 3, 3, &CHANGED);
        assert_eq!(store.due(t0), Some(t0 + INTERVAL));
        assert_eq!(store.waiting_version(), 3);
        let second = store.publish(t0 + INTERVAL).expect("due");
        assert_eq!(second.snapshot.id.version, 3, "the newest");
        assert_eq!(second.seen, t0 + Duration::from_millis(10), "counted from the first change");
        assert_eq!(store.due(t0 + INTERVAL), None);
        assert!(store.publish(t0 + INTERVAL).is_none());
    }

    #[test]
    fn a_change_taken_back_releases_nobody_and_moves_the_version() {
        let t0 = start();
        let mut store = Store::new(INTERVAL);
        offer(&mut store, t0, 0, 1, 1, &CHANGED);
        store.publish(t0).expect("due");
        offer(&mut store, t0, 1, 2, 2, &CHANGED);
        offer(&mut store, t0, 2, 3, 1, &Offer::Moved);
        assert_eq!(store.due(t0), None);
        assert_eq!(store.published().expect("published").id.version, 3);
    }

    #[test]
    fn a_write_without_a_change_moves_the_version_only() {
        let t0 = start();
        let mut store = Store::new(INTERVAL);
        offer(&mut store, t0, 0, 1, 1, &CHANGED);
        offer(&mut store, t0, 0, 2, 1, &Offer::Same);
        let body = store.publish(t0).expect("due").snapshot;
        assert_eq!(body.id.version, 2, "the newest version of what waited");
        offer(&mut store, t0, 1, 2, 1, &Offer::Same);
        offer(&mut store, t0, 1, 5, 1, &Offer::Moved);
        let moved = store.published().expect("published");
        assert_eq!(moved.id.version, 5);
        assert!(std::sync::Arc::ptr_eq(&moved.body, &body.body), "the bytes are shared");
    }

    #[test]
    fn a_lower_version_is_believed_only_from_a_read() {
        let t0 = start();
        let mut store = Store::new(INTERVAL);
        offer(&mut store, t0, 0, 9, 1, &CHANGED);
        store.publish(t0).expect("due");
        offer(&mut store, t0, 1, 8, 2, &Offer::Older);
        assert_eq!(store.offer(epoch(), 8, &content(2), true, t0), Offer::Changed { restored: true });
        assert_eq!(store.offer(Epoch::of(&["other"]), 1, &content(3), false, t0), CHANGED, "a new history");
    }

    proptest! {
        /// Against the obvious reference: a list of what was offered. Published states are a
        /// subsequence of it with no two equal in a row, at most one an interval, ending on the newest.
        #[test]
        fn published_is_a_thinned_out_subsequence(steps in prop::collection::vec((0_u64..60, 0_u8..4), 1..80)) {
            let t0 = start();
            let mut store = Store::new(INTERVAL);
            let (mut now, mut offered, mut published) = (t0, Vec::new(), Vec::<(Instant, u64, String)>::new());
            for (version, (pause, value)) in (1..).zip(steps) {
                let until = now + Duration::from_millis(pause);
                if let Some(due) = store.due(now).filter(|due| *due <= until) {
                    let at = due.max(now);
                    let snapshot = store.publish(at).expect("due").snapshot;
                    published.push((at, snapshot.id.version, snapshot.id.digest.to_string()));
                }
                now = until;
                store.offer(epoch(), version, &content(value), false, now);
                offered.push((version, content(value).digest().to_string()));
            }
            if let Some(due) = store.due(now) {
                let snapshot = store.publish(due.max(now)).expect("due").snapshot;
                published.push((due.max(now), snapshot.id.version, snapshot.id.digest.to_string()));
            }
            let last = offered.last().expect("at least one");
            let held = store.published().expect("published").id;
            prop_assert_eq!((held.version, held.digest.to_string()), last.clone());
            for pair in published.windows(2) {
                prop_assert!(pair[1].0 >= pair[0].0 + INTERVAL, "at most one an interval");
                prop_assert!(pair[1].1 > pair[0].1, "ascending");
                prop_assert!(pair[1].2 != pair[0].2, "no release without a change");
            }
            for (_, version, digest) in published {
                prop_assert!(offered.contains(&(version, digest)), "nothing is invented");
            }
        }
    }
}
