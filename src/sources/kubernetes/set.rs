//! PURE. The objects of one selector, by name, with the changes that count.
//!
//! What is new or changed counts at once. A deletion counts when no other followed it for
//! [`DELETION_SETTLES`]: objects that go together are one change. A change that would leave none
//! does not count before a list confirms it that began [`EMPTIED_HOLD`] after the first sign: when a
//! `CustomResourceDefinition` is removed, all its objects are deleted one after the other, and then
//! the list itself is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use super::object::Malformed;
use crate::bounds::{DELETION_SETTLES, DELETION_SETTLES_AT_MOST, EMPTIED_HOLD};

/// One object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectEntry<P> {
    /// Tells it from another one that had its name before.
    pub uid: String,
    /// Its resourceVersion; 0: no order.
    pub version: u64,
    /// Its generation, where its kind has one.
    pub generation: Option<i64>,
    /// What was read of it.
    pub payload: P,
}

/// The objects.
#[derive(Debug)]
pub struct Set<P> {
    entries: BTreeMap<String, ObjectEntry<P>>,
    /// How far they are known; 0: no order.
    version: u64,
    /// Those whose deletion does not count yet.
    leaving: BTreeSet<String>,
    /// When the first and the last of these went.
    left: Option<(Instant, Instant)>,
    /// Since when they seem to be none.
    empty: Option<Empty>,
}

/// There seem to be no objects.
#[derive(Debug, Clone, Copy)]
struct Empty {
    since: Instant,
    /// When a list is to be asked for, again if none has come.
    ask: Instant,
}

impl Empty {
    fn since(since: Instant) -> Self {
        Self { since, ask: since + EMPTIED_HOLD }
    }
}

/// What has become true.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The objects differ from before.
    Changed,
    /// They are the same as before.
    Same,
    /// There seem to be none: ask for a list.
    AskList,
}

impl<P> Default for Set<P> {
    fn default() -> Self {
        Self { entries: BTreeMap::new(), version: 0, leaving: BTreeSet::new(), left: None, empty: None }
    }
}

impl<P> Set<P> {
    /// The objects, by name.
    #[must_use]
    pub fn entries(&self) -> &BTreeMap<String, ObjectEntry<P>> {
        &self.entries
    }

    /// How far they are known: the position of list and watch.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// An object whose metadata cannot be read, as it was before. Which version it has now is not known, and is not
    /// that one: whatever it shows next is new.
    #[must_use]
    pub fn kept(&self, malformed: &Malformed) -> Option<(String, ObjectEntry<P>)>
    where
        P: Clone,
    {
        let name = malformed.name.clone()?;
        let entry = ObjectEntry { version: 0, ..self.entries.get(&name)?.clone() };
        Some((name, entry))
    }

    /// A consistent list shows these and no other.
    pub fn listed(&mut self, objects: BTreeMap<String, ObjectEntry<P>>, version: u64, now: Instant) -> Change {
        self.version = version;
        if objects.is_empty() && !self.entries.is_empty() {
            let since = self.empty.get_or_insert(Empty::since(now)).since;
            if now < since + EMPTIED_HOLD {
                self.leaving = self.entries.keys().cloned().collect();
                return Change::Same;
            }
        }
        self.empty = None;
        self.left = None;
        self.leaving.clear();
        let differ = self.entries.len() != objects.len()
            || self.entries.iter().zip(&objects).any(|((a, old), (b, new))| {
                (a, &old.uid, old.version, old.generation) != (b, &new.uid, new.version, new.generation)
            });
        self.entries = objects;
        if differ { Change::Changed } else { Change::Same }
    }

    /// An object is new or changed.
    pub fn applied(&mut self, name: String, object: ObjectEntry<P>, now: Instant) -> Change {
        if !self.advance(object.version) {
            return Change::Same;
        }
        self.leaving.remove(&name);
        if self.leaving.is_empty() {
            self.left = None;
        } else if self.empty.is_some() {
            // Not all are gone, so the others may be.
            self.left = Some((now, now));
        }
        self.empty = None;
        self.entries.insert(name, object);
        Change::Changed
    }

    /// An object is gone; its version is that of the deletion.
    pub fn deleted(&mut self, name: &str, version: u64, now: Instant) {
        if self.advance(version) && self.entries.contains_key(name) && self.leaving.insert(name.to_owned()) {
            let first = self.left.map_or(now, |(first, _)| first);
            self.left = Some((first, now));
        }
    }

    /// A bookmark: nothing changed until this version.
    pub fn reached(&mut self, version: u64) {
        self.version = self.version.max(version);
    }

    /// When [`Set::apply_due`] has something to do; none: nothing is on its way.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        match (self.empty, self.left) {
            (Some(empty), _) => Some(empty.ask),
            (None, Some((first, last))) => Some((last + DELETION_SETTLES).min(first + DELETION_SETTLES_AT_MOST)),
            (None, None) => None,
        }
    }

    /// Applies the deletions that are due. After [`Change::AskList`] it is due again one hold later.
    pub fn apply_due(&mut self, now: Instant) -> Change {
        if self.due().is_none_or(|due| now < due) {
            return Change::Same;
        }
        if let Some(empty) = &mut self.empty {
            // It may not come for long: the list itself can be gone.
            empty.ask = now + EMPTIED_HOLD;
            return Change::AskList;
        }
        self.left = None;
        if self.leaving.len() == self.entries.len() {
            self.empty = Some(Empty::since(now));
            return Change::Same;
        }
        for name in std::mem::take(&mut self.leaving) {
            self.entries.remove(&name);
        }
        Change::Changed
    }

    fn advance(&mut self, version: u64) -> bool {
        let is_new = version == 0 || version > self.version;
        self.version = self.version.max(version);
        is_new
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn entry(version: u64) -> ObjectEntry<()> {
        ObjectEntry { uid: "u".to_owned(), version, generation: Some(1), payload: () }
    }

    fn list(names: &[(&str, u64)]) -> BTreeMap<String, ObjectEntry<()>> {
        names.iter().map(|(name, version)| ((*name).to_owned(), entry(*version))).collect()
    }

    fn names(set: &Set<()>) -> Vec<&str> {
        set.entries().keys().map(String::as_str).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn deletions_that_come_together_are_one_change() {
        let t0 = tokio::time::Instant::now().into_std();
        let mut set = Set::default();
        assert_eq!(set.listed(list(&[("a", 1), ("b", 2), ("c", 3)]), 5, t0), Change::Changed);
        set.deleted("a", 6, t0);
        set.deleted("b", 7, t0 + DELETION_SETTLES / 2);
        assert_eq!(set.apply_due(t0 + DELETION_SETTLES), Change::Same, "another followed");
        assert_eq!(names(&set), ["a", "b", "c"]);
        let due = set.due().expect("on their way");
        assert_eq!(due, t0 + DELETION_SETTLES * 3 / 2);
        assert_eq!(set.apply_due(due), Change::Changed);
        assert_eq!((names(&set), set.version(), set.due()), (vec!["c"], 7, None));
    }

    #[tokio::test(start_paused = true)]
    async fn an_object_that_comes_back_was_never_gone() {
        let t0 = tokio::time::Instant::now().into_std();
        let mut set = Set::default();
        set.listed(list(&[("a", 1), ("b", 1)]), 5, t0);
        set.deleted("a", 6, t0);
        assert_eq!(set.applied("a".to_owned(), entry(7), t0), Change::Changed);
        assert_eq!(set.due(), None);
        assert_eq!(set.applied("b".to_owned(), entry(4), t0), Change::Same, "history");
        set.deleted("b", 7, t0);
        assert_eq!(set.due(), None, "history too");
        set.reached(9);
        assert_eq!(set.version(), 9);
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_read_any_more_is_kept_and_what_it_shows_next_is_news() {
        let t0 = tokio::time::Instant::now().into_std();
        let malformed = |name: Option<&str>| Malformed { name: name.map(str::to_owned), why: "why".to_owned() };
        let mut set = Set::default();
        set.listed(list(&[("a", 1), ("b", 2)]), 5, t0);
        let (name, kept) = set.kept(&malformed(Some("a"))).expect("it was there");
        assert_eq!((&*name, kept.version), ("a", 0));
        assert_eq!(set.applied(name, kept, t0), Change::Changed, "though its version is not known");
        assert_eq!((set.version(), names(&set)), (5, vec!["a", "b"]));
        assert_eq!(set.listed(list(&[("a", 1), ("b", 2)]), 5, t0), Change::Changed, "the same again is a change");
        assert_eq!((set.kept(&malformed(None)), set.kept(&malformed(Some("c")))), (None, None));
    }

    #[tokio::test(start_paused = true)]
    async fn none_is_believed_only_of_a_list_after_the_hold() {
        let t0 = tokio::time::Instant::now().into_std();
        let mut set = Set::default();
        set.listed(list(&[("a", 1), ("b", 1)]), 5, t0);
        set.deleted("a", 6, t0);
        set.deleted("b", 7, t0);
        let later = t0 + DELETION_SETTLES;
        assert_eq!(set.apply_due(later), Change::Same);
        assert_eq!(names(&set), ["a", "b"], "the last good ones stay");
        assert_eq!(set.listed(BTreeMap::new(), 8, later), Change::Same, "a list within the hold proves nothing");
        assert_eq!(set.apply_due(later + EMPTIED_HOLD), Change::AskList);
        assert_eq!(set.due(), Some(later + 2 * EMPTIED_HOLD), "not again before that");
        assert_eq!(set.apply_due(later + EMPTIED_HOLD), Change::Same);
        assert_eq!(set.listed(BTreeMap::new(), 9, later + EMPTIED_HOLD), Change::Changed);
        assert!(set.entries().is_empty() && set.due().is_none());
        let mut set = Set::default();
        assert_eq!(set.listed(BTreeMap::<_, ObjectEntry<()>>::new(), 1, t0), Change::Same, "there never was any");
        set.listed(list(&[("a", 2)]), 2, t0);
        assert_eq!(set.listed(BTreeMap::new(), 3, t0), Change::Same);
        assert_eq!(set.applied("x".to_owned(), entry(4), t0), Change::Changed);
        assert_eq!(set.apply_due(t0 + DELETION_SETTLES), Change::Changed);
        assert_eq!(names(&set), ["x"], "not all are gone, so the others are");
    }

    proptest! {
        /// Whatever comes, once all deletions are due and a list has confirmed them, the set is what the list says.
        #[test]
        fn it_ends_on_what_a_list_says(steps in prop::collection::vec((0_u8..3, 0_u8..4, 0_u64..3000), 0..60)) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
            runtime.block_on(async {
                let (mut now, mut set, mut objects) = (tokio::time::Instant::now().into_std(), Set::default(), BTreeMap::new());
                for (version, (what, name, pause)) in (1..).zip(steps) {
                    now += Duration::from_millis(pause);
                    let name = name.to_string();
                    match what {
                        0 => { objects.insert(name.clone(), entry(version)); set.applied(name, entry(version), now); }
                        1 => { objects.remove(&name); set.deleted(&name, version, now); }
                        _ => { set.apply_due(now); }
                    }
                    for name in objects.keys() {
                        prop_assert!(set.entries().contains_key(name), "what is there is never missing");
                    }
                }
                for _ in 0..3 {
                    now = set.due().unwrap_or(now).max(now);
                    set.apply_due(now);
                    set.listed(objects.clone(), 1000, now);
                }
                prop_assert_eq!(set.entries(), &objects);
                Ok(())
            })?;
        }
    }
}
