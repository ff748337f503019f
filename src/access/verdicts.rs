//! PURE. Verdicts that took time to find out, kept until they end: on a credential, by its digest, or on what a caller may, by
//! the caller and what it asks for. `K` is that key, `B` what the verdict rests on, and what it takes to find it out again.
//!
//! A good verdict is an owner that requests hold. When the verdict ends, the owner is lost to all of them; a verdict that is in
//! use is found out again before that. Bad verdicts are kept apart, so that a flood of them pushes no good one out.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::caller::{Known, Loss};
use crate::bounds::{ACCESS_REFUSED, ACCESS_REFUSED_FOR, ACCESS_VERDICTS};

/// Before a verdict in use ends, it is found out again.
const AHEAD: Duration = Duration::from_secs(30);
/// After an attempt that found nothing out.
const AGAIN: Duration = Duration::from_secs(5);
/// One that does not end is forgotten after this, if nobody uses it then.
const UNUSED: Duration = Duration::from_secs(600);
/// Verdicts that are looked at for one that nobody uses, where there is room for no more.
const LOOKED_AT: usize = 64;

/// The verdicts.
#[derive(Debug)]
pub struct Verdicts<K, B> {
    good: HashMap<K, Good<B>>,
    /// The good ones by when they are to be looked at.
    agenda: BTreeMap<(Instant, u64), K>,
    bad: HashMap<K, Bad>,
    /// The bad ones, by age.
    aging: BTreeMap<u64, K>,
    serial: u64,
}

#[derive(Debug)]
struct Good<B> {
    known: Arc<Known>,
    lasts: Lasts,
    /// Where in the agenda it stands.
    at: (Instant, u64),
    basis: B,
}

#[derive(Debug)]
struct Bad {
    why: &'static str,
    until: Instant,
    serial: u64,
}

/// How long a good verdict lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lasts {
    /// When it ends; absent: never.
    pub until: Option<Instant>,
    /// When the credential itself ends, which no other look can prolong; absent: never.
    pub credential: Option<Instant>,
    /// Whether it is found out again before that, where requests use it.
    pub again: bool,
}

/// A verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is good, and whose it is.
    Good(Arc<Known>),
    /// It is not, and why.
    Bad(&'static str),
}

/// There is room for no more good verdicts, and all are in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

/// What has become due.
#[derive(Debug, PartialEq, Eq)]
pub struct Due<K, B> {
    /// Verdicts to find out again.
    pub again: Vec<(K, B)>,
    /// Whether somebody who was known is lost.
    pub any_lost: bool,
}

impl<K, B> Default for Verdicts<K, B> {
    fn default() -> Self {
        let (good, agenda, bad, aging) = (HashMap::new(), BTreeMap::new(), HashMap::new(), BTreeMap::new());
        Self { good, agenda, bad, aging, serial: 0 }
    }
}

impl<K: Clone + Eq + Hash, B: Clone> Verdicts<K, B> {
    /// The verdict that was found out before, if it holds now.
    #[must_use]
    pub fn find(&self, key: &K, now: Instant) -> Option<Verdict> {
        if let Some(good) = self.good.get(key) {
            let holds = good.lasts.end().is_none_or(|end| now < end) && good.known.lost().is_none();
            return holds.then(|| Verdict::Good(Arc::clone(&good.known)));
        }
        let bad = self.bad.get(key).filter(|bad| now < bad.until)?;
        Some(Verdict::Bad(bad.why))
    }

    /// Keeps a good verdict, and gives the owner that requests are to hold: the one of before, where it is the same.
    /// The second: whether another one is lost, or in other groups now.
    pub fn keep(
        &mut self,
        key: K,
        known: Arc<Known>,
        lasts: Lasts,
        basis: B,
        now: Instant,
    ) -> Result<(Arc<Known>, bool), Full> {
        let (mut known, mut any_lost) = (known, false);
        if let Some(before) = self.take(&key) {
            if before.known.lost().is_none() && before.known.is_same(&known) {
                known = before.known;
            } else {
                before.known.give_way(&known);
                any_lost = true;
            }
        } else if self.good.len() >= ACCESS_VERDICTS {
            self.make_room()?;
        }
        if let Some(bad) = self.bad.remove(&key) {
            self.aging.remove(&bad.serial);
        }
        let at = match lasts.end() {
            Some(end) if lasts.again => end.checked_sub(AHEAD).unwrap_or(end),
            Some(end) => end,
            None => now + UNUSED,
        };
        let at = self.plan(at, key.clone());
        self.good.insert(key, Good { known: Arc::clone(&known), lasts, at, basis });
        Ok((known, any_lost))
    }

    /// Keeps a bad verdict; a good one of before ends. Whether there was one.
    pub fn refuse(&mut self, key: K, why: &'static str, loss: Loss, now: Instant) -> bool {
        let before = self.take(&key);
        if let Some(before) = &before {
            before.known.lose(loss);
        }
        self.serial += 1;
        let serial = self.serial;
        let until = now + ACCESS_REFUSED_FOR;
        if let Some(bad) = self.bad.insert(key.clone(), Bad { why, until, serial }) {
            self.aging.remove(&bad.serial);
        }
        self.aging.insert(serial, key);
        if self.bad.len() > ACCESS_REFUSED
            && let Some((_, oldest)) = self.aging.pop_first()
        {
            self.bad.remove(&oldest);
        }
        before.is_some()
    }

    /// Ends the good verdicts whose basis does not stay. Whether there was one.
    pub fn withdraw(&mut self, stays: impl Fn(&B) -> bool) -> bool {
        let gone: Vec<K> =
            self.good.iter().filter(|(_, good)| !stays(&good.basis)).map(|(key, _)| key.clone()).collect();
        for key in &gone {
            if let Some(good) = self.take(key) {
                good.known.lose(Loss::Withdrawn);
            }
        }
        !gone.is_empty()
    }

    /// Forgets the bad verdicts: what they rest on has changed.
    pub fn forget_bad(&mut self) {
        self.bad.clear();
        self.aging.clear();
    }

    /// When there is something to look at; none: nothing is planned.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        self.agenda.first_key_value().map(|((at, _), _)| *at)
    }

    /// Ends the verdicts that are over at `now`, and gives those that are to be found out again.
    pub fn due(&mut self, now: Instant) -> Due<K, B> {
        let mut due = Due { again: Vec::new(), any_lost: false };
        while let Some(entry) = self.agenda.first_entry().filter(|entry| entry.key().0 <= now) {
            let key = entry.remove();
            let Some(good) = self.good.get(&key) else { continue };
            let is_used = Arc::strong_count(&good.known) > 1;
            let next = match good.lasts.end() {
                _ if good.known.lost().is_some() => None,
                Some(end) if end <= now => None,
                Some(end) if is_used && good.lasts.again => {
                    due.again.push((key.clone(), good.basis.clone()));
                    Some(end.min(now + AGAIN))
                }
                // One that nobody uses is of use until its end, and is not found out again.
                Some(end) => Some(end),
                None => is_used.then(|| now + UNUSED),
            };
            if let Some(next) = next {
                let at = self.plan(next, key.clone());
                if let Some(good) = self.good.get_mut(&key) {
                    good.at = at;
                }
            } else if let Some(good) = self.good.remove(&key) {
                let is_over = good.lasts.credential.is_some_and(|end| end <= now);
                good.known.lose(if is_over { Loss::Withdrawn } else { Loss::Unconfirmed });
                due.any_lost |= is_used;
            }
        }
        due
    }

    /// How many good verdicts are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.good.len()
    }

    /// Whether no good verdict is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.good.is_empty()
    }

    fn plan(&mut self, at: Instant, key: K) -> (Instant, u64) {
        self.serial += 1;
        let at = (at, self.serial);
        self.agenda.insert(at, key);
        at
    }

    fn take(&mut self, key: &K) -> Option<Good<B>> {
        let good = self.good.remove(key)?;
        self.agenda.remove(&good.at);
        Some(good)
    }

    /// Forgets a good verdict that nobody uses.
    fn make_room(&mut self) -> Result<(), Full> {
        let is_unused = |good: &Good<B>| Arc::strong_count(&good.known) == 1;
        let mut first = self.agenda.values().take(LOOKED_AT);
        let unused = first.find(|key| self.good.get(key).is_some_and(is_unused)).cloned();
        self.take(&unused.ok_or(Full)?);
        Ok(())
    }
}

impl Lasts {
    /// When the verdict ends.
    fn end(self) -> Option<Instant> {
        [self.until, self.credential].into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn known(name: &str) -> Arc<Known> {
        Known::new(name, Box::default())
    }

    fn again(end: Instant) -> Lasts {
        Lasts { again: true, ..until(end) }
    }

    fn until(end: Instant) -> Lasts {
        Lasts { until: Some(end), ..Lasts::default() }
    }

    #[test]
    fn a_verdict_holds_until_its_end_and_its_owner_is_lost_then() {
        let now = tokio::time::Instant::now().into_std();
        let mut verdicts = Verdicts::<u32, ()>::default();
        let held = verdicts.keep(1, known("a"), until(now + 120 * SECOND), (), now).expect("room").0;
        assert_eq!(verdicts.find(&1, now + 119 * SECOND), Some(Verdict::Good(Arc::clone(&held))));
        assert_eq!(verdicts.find(&1, now + 120 * SECOND), None);
        assert_eq!(verdicts.next(), Some(now + 120 * SECOND));
        assert_eq!(verdicts.due(now + 119 * SECOND), Due { again: vec![], any_lost: false });
        assert_eq!(verdicts.due(now + 120 * SECOND), Due { again: vec![], any_lost: true });
        assert_eq!((held.lost(), verdicts.len()), (Some(Loss::Unconfirmed), 0));
        let held =
            verdicts.keep(1, known("a"), Lasts { credential: Some(now), ..Lasts::default() }, (), now).expect("room").0;
        assert!(verdicts.due(now).any_lost);
        assert_eq!(held.lost(), Some(Loss::Withdrawn), "the credential itself has ended");
        verdicts.keep(2, known("b"), Lasts::default(), (), now).expect("room");
        assert!(!verdicts.due(now + UNUSED).any_lost);
        assert_eq!(verdicts.len(), 0, "nobody has used it");
        let held = verdicts.keep(2, known("b"), Lasts::default(), (), now).expect("room").0;
        assert!(!verdicts.due(now + 9 * UNUSED).any_lost);
        assert_eq!((held.lost(), verdicts.len()), (None, 1), "it lasts");
    }

    #[test]
    fn a_verdict_in_use_is_found_out_again_before_its_end_and_one_that_nobody_uses_is_not() {
        let now = tokio::time::Instant::now().into_std();
        let mut verdicts = Verdicts::<u32, &str>::default();
        let held = verdicts.keep(1, known("a"), again(now + 120 * SECOND), "token", now).expect("room").0;
        drop(verdicts.keep(2, known("b"), again(now + 120 * SECOND), "other", now));
        let at = verdicts.next().expect("planned");
        assert_eq!(at + AHEAD, now + 120 * SECOND);
        assert_eq!(verdicts.due(at), Due { again: vec![(1, "token")], any_lost: false });
        // Nothing was found out: once more, later.
        assert_eq!(verdicts.due(at), Due { again: vec![], any_lost: false });
        assert_eq!(verdicts.due(at + AGAIN).again, [(1, "token")]);
        // It is still good: the owner stays who it is.
        let same = verdicts.keep(1, known("a"), again(now + 240 * SECOND), "token", now).expect("room").0;
        assert!(Arc::ptr_eq(&same, &held) && held.lost().is_none());
        assert_eq!(
            verdicts.due(now + 120 * SECOND),
            Due { again: vec![], any_lost: false },
            "the unused one has ended"
        );
        assert_eq!(verdicts.len(), 1);
        // In other groups it is the same owner, to be judged again.
        let groups = || Known::new("a", ["edge".into()].into());
        let (regrouped, is_told) = verdicts.keep(1, groups(), again(now + 240 * SECOND), "token", now).expect("room");
        assert_eq!((held.lost(), held.has_changed(), held.groups(), is_told), (None, true, regrouped.groups(), true));
        // Another name is another owner.
        let other = verdicts.keep(1, known("c"), again(now + 240 * SECOND), "", now).expect("room").0;
        assert_eq!((held.lost(), other.lost()), (Some(Loss::Withdrawn), None));
    }

    #[test]
    fn a_bad_verdict_ends_a_good_one_and_is_kept_for_its_time() {
        let now = tokio::time::Instant::now().into_std();
        let mut verdicts = Verdicts::<u32, ()>::default();
        let held = verdicts.keep(1, known("a"), Lasts::default(), (), now).expect("room").0;
        assert!(verdicts.refuse(1, "gone", Loss::Forbidden, now));
        assert_eq!(held.lost(), Some(Loss::Forbidden));
        assert_eq!(verdicts.find(&1, now), Some(Verdict::Bad("gone")));
        assert_eq!(verdicts.find(&1, now + ACCESS_REFUSED_FOR), None);
        verdicts.keep(1, known("a"), Lasts::default(), (), now).expect("room");
        assert!(matches!(verdicts.find(&1, now), Some(Verdict::Good(_))));
        verdicts.refuse(3, "bad", Loss::Withdrawn, now);
        verdicts.forget_bad();
        assert_eq!(verdicts.find(&3, now), None);
    }

    #[test]
    fn there_is_a_bound_for_each_kind_and_bad_ones_push_no_good_one_out() {
        let now = tokio::time::Instant::now().into_std();
        let mut verdicts = Verdicts::<usize, ()>::default();
        verdicts.keep(usize::MAX, known("good"), until(now + SECOND / 2), (), now).expect("room");
        for key in 0..=ACCESS_REFUSED {
            verdicts.refuse(key, "bad", Loss::Withdrawn, now);
        }
        assert_eq!((verdicts.bad.len(), verdicts.aging.len()), (ACCESS_REFUSED, ACCESS_REFUSED));
        assert_eq!(verdicts.find(&0, now), None, "the oldest made room");
        assert!(matches!(verdicts.find(&usize::MAX, now), Some(Verdict::Good(_))));
        let mut held = Vec::new();
        for key in 1..ACCESS_VERDICTS {
            held.push(verdicts.keep(key, known("a"), until(now + SECOND), (), now).expect("room").0);
        }
        // The good one is used by nobody.
        held.push(
            verdicts.keep(usize::MAX - 1, known("b"), until(now + SECOND), (), now).expect("it may be forgotten").0,
        );
        held.push(match verdicts.find(&1, now) {
            Some(Verdict::Good(known)) => known,
            other => panic!("{other:?}"),
        });
        let full = verdicts.keep(usize::MAX - 2, known("c"), Lasts::default(), (), now);
        assert_eq!((full.is_err(), verdicts.len()), (true, ACCESS_VERDICTS));
        assert!(held.iter().all(|known| known.lost().is_none()));
    }

    #[test]
    fn what_does_not_stay_is_withdrawn() {
        let now = tokio::time::Instant::now().into_std();
        let mut verdicts = Verdicts::<u32, &str>::default();
        let one = verdicts.keep(1, known("a"), until(now + SECOND), "a", now).expect("room").0;
        let other = verdicts.keep(2, known("b"), until(now + SECOND), "b", now).expect("room").0;
        assert!(verdicts.withdraw(|basis| *basis == "b"));
        assert!(!verdicts.withdraw(|basis| *basis == "b"));
        assert_eq!((one.lost(), other.lost()), (Some(Loss::Withdrawn), None));
        assert_eq!(verdicts.agenda.len(), 1);
    }
}
