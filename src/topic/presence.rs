//! PURE. Who reads a topic now: streams, polls that wait, and clients whose last poll was answered a moment ago, since those come back.
//! Other replicas say the same of theirs, and all is added up.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::bounds::{TOPIC_AWAY, TOPIC_PRESENCE_HEARD, TOPIC_PRESENCE_NAMES, TOPIC_PRESENCE_REPLICAS};

/// How many read, and who: of one replica, or of all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// How many.
    pub readers: u64,
    /// Those that have a name, where names are told.
    #[serde(default)]
    pub names: BTreeSet<Arc<str>>,
}

/// How a reader reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// It has come back, or may have been answered before.
    Poll {
        has_read: bool,
    },
    Stream,
}

/// The readers of this replica. What every reader touches needs no lock.
#[derive(Debug)]
pub(super) struct Local {
    streams: AtomicUsize,
    polls: AtomicUsize,
    away: Away,
    /// By name, where names are told.
    named: Mutex<HashMap<Arc<str>, Named>>,
}

#[derive(Debug)]
struct Named {
    /// Streams and polls that wait.
    here: usize,
    /// Until when it is expected back.
    until: Instant,
}

/// What other replicas have said last.
#[derive(Debug, Default)]
pub(super) struct Others(HashMap<u64, (Instant, Summary)>);

impl Local {
    pub(super) fn new(now: Instant) -> Self {
        let (streams, polls) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Self { streams, polls, away: Away::new(now), named: Mutex::default() }
    }

    /// A reader has come.
    pub(super) fn comes(&self, kind: Kind, name: Option<&Arc<str>>, now: Instant) {
        match kind {
            Kind::Stream => _ = self.streams.fetch_add(1, Ordering::Relaxed),
            Kind::Poll { has_read } => {
                self.polls.fetch_add(1, Ordering::Relaxed);
                if has_read {
                    self.away.comes_back(now);
                }
            }
        }
        let Some(name) = name else { return };
        let mut named = self.named();
        if let Some(known) = named.get_mut(name) {
            known.here += 1;
        } else if named.len() < TOPIC_PRESENCE_NAMES {
            named.insert(Arc::clone(name), Named { here: 1, until: now });
        }
    }

    /// A reader is gone. `answered`: it is a poll, and was answered then.
    pub(super) fn goes(&self, kind: Kind, name: Option<&Arc<str>>, answered: Option<Instant>) {
        match kind {
            Kind::Stream => _ = self.streams.fetch_sub(1, Ordering::Relaxed),
            Kind::Poll { .. } => {
                self.polls.fetch_sub(1, Ordering::Relaxed);
                // One that has read nothing says who it is by what it reads next.
                if let (Kind::Poll { has_read: true }, Some(now)) = (kind, answered) {
                    self.away.goes(now);
                }
            }
        }
        let Some(name) = name else { return };
        let mut named = self.named();
        let Some(known) = named.get_mut(name) else { return };
        known.here = known.here.saturating_sub(1);
        if let (Kind::Poll { has_read: true }, Some(now)) = (kind, answered) {
            known.until = now + TOPIC_AWAY;
        } else if known.here == 0 {
            named.remove(name);
        }
    }

    /// Who reads now.
    pub(super) fn summary(&self, with_names: bool, now: Instant) -> Summary {
        let here = self.streams.load(Ordering::Relaxed) + self.polls.load(Ordering::Relaxed);
        let mut known = self.named();
        known.retain(|_, named| named.here > 0 || named.until > now);
        let names = if with_names { known.keys().cloned().collect() } else { BTreeSet::new() };
        Summary { readers: here as u64 + self.away.count(now), names }
    }

    fn named(&self) -> MutexGuard<'_, HashMap<Arc<str>, Named>> {
        // No step leaves it half done.
        self.named.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Others {
    /// Another replica has said this.
    pub(super) fn said(&mut self, replica: u64, mut summary: Summary, now: Instant) {
        // Whatever stands in a message of NATS.
        if let Some(beyond) = summary.names.iter().nth(TOPIC_PRESENCE_NAMES).cloned() {
            summary.names.split_off(&beyond);
        }
        if self.0.contains_key(&replica) || self.0.len() < TOPIC_PRESENCE_REPLICAS {
            self.0.insert(replica, (now, summary));
        }
    }

    /// Adds what those say that are not silent.
    pub(super) fn add_to(&mut self, summary: &mut Summary, with_names: bool, now: Instant) {
        self.0.retain(|_, (heard, _)| now.saturating_duration_since(*heard) < TOPIC_PRESENCE_HEARD);
        for (_, said) in self.0.values() {
            summary.readers = summary.readers.saturating_add(said.readers);
            if with_names {
                summary.names.extend(said.names.iter().cloned());
            }
        }
    }
}

/// Seconds that are told apart: more than a client may be away.
const SECONDS: usize = 16;

/// How many clients were answered in each of the last seconds and have not come back. Which one comes back is not known, and need not
/// be: one of them does.
#[derive(Debug)]
struct Away {
    began: Instant,
    /// At each second's place that second, and in the lower half how many.
    seconds: [AtomicU64; SECONDS],
}

impl Away {
    fn new(began: Instant) -> Self {
        Self { began, seconds: std::array::from_fn(|_| AtomicU64::new(0)) }
    }

    /// From one on, so that a place which was never used is of no second.
    fn second(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.began).as_secs() + 1
    }

    fn place(&self, second: u64) -> &AtomicU64 {
        &self.seconds[usize::try_from(second % SECONDS as u64).unwrap_or(0)]
    }

    fn goes(&self, now: Instant) {
        let second = self.second(now);
        let add = |stored: u64| Some(if stored >> 32 == second { stored + 1 } else { second << 32 | 1 });
        let _ = self.place(second).fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }

    fn comes_back(&self, now: Instant) {
        let take = |second: u64| {
            let take = |stored: u64| (of(stored, second) > 0).then(|| stored - 1);
            self.place(second).fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
        };
        let _ = self.within(now).any(take);
    }

    fn count(&self, now: Instant) -> u64 {
        self.within(now).map(|second| of(self.place(second).load(Ordering::Relaxed), second)).sum()
    }

    /// The seconds that count, the oldest first: who was answered first is expected first.
    fn within(&self, now: Instant) -> impl Iterator<Item = u64> {
        let last = self.second(now);
        last.saturating_sub(TOPIC_AWAY.as_secs() - 1).max(1)..=last
    }
}

/// How many a place has of this second.
fn of(stored: u64, second: u64) -> u64 {
    if stored >> 32 == second { stored & u64::from(u32::MAX) } else { 0 }
}

const _: () = assert!(TOPIC_AWAY.as_secs() < SECONDS as u64, "a second is told apart from those that do not count");
const _: () = assert!(TOPIC_AWAY.as_secs() > 0 && TOPIC_AWAY.subsec_nanos() == 0, "it is whole seconds");

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const FIRST: Kind = Kind::Poll { has_read: false };
    const AGAIN: Kind = Kind::Poll { has_read: true };

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_polls_is_one_reader_between_two_polls_and_for_a_while_after_the_last() {
        let start = tokio::time::Instant::now().into_std();
        let local = Local::new(start);
        let count = |now| local.summary(false, now).readers;
        local.comes(FIRST, None, start);
        assert_eq!(count(start), 1);
        local.goes(FIRST, None, Some(start));
        assert_eq!(count(start), 0, "whoever reads on says what it has read");
        local.comes(AGAIN, None, start);
        local.goes(AGAIN, None, Some(start));
        assert_eq!(count(after(start, 2)), 1, "it is expected back");
        for second in [3, 6, 9, 18] {
            local.comes(AGAIN, None, after(start, second));
            assert_eq!(count(after(start, second)), 1);
            local.goes(AGAIN, None, Some(after(start, second)));
        }
        assert_eq!((count(after(start, 27)), count(after(start, 28))), (1, 0));
        // Long after: its place is of another second by then.
        assert_eq!(count(after(start, 18 + 16)), 0);
        // One that hangs up is not expected.
        local.comes(AGAIN, None, after(start, 40));
        local.goes(AGAIN, None, None);
        assert_eq!(count(after(start, 40)), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn streams_and_polls_are_counted_and_names_are_told_once() {
        let start = tokio::time::Instant::now().into_std();
        let local = Local::new(start);
        let [ann, bob]: [Arc<str>; 2] = ["ann".into(), "bob".into()];
        local.comes(Kind::Stream, Some(&ann), start);
        local.comes(Kind::Stream, Some(&ann), start);
        local.comes(AGAIN, Some(&bob), start);
        local.comes(Kind::Stream, None, start);
        let summary = |now| local.summary(true, now);
        assert_eq!(summary(start), Summary { readers: 4, names: [ann.clone(), bob.clone()].into() });
        assert!(local.summary(false, start).names.is_empty());
        local.goes(Kind::Stream, Some(&ann), None);
        local.goes(AGAIN, Some(&bob), Some(start));
        assert_eq!(summary(after(start, 9)), Summary { readers: 3, names: [ann.clone(), bob].into() });
        assert_eq!(summary(after(start, 10)), Summary { readers: 2, names: [ann.clone()].into() });
        local.goes(Kind::Stream, Some(&ann), None);
        assert_eq!(summary(after(start, 10)), Summary { readers: 1, names: BTreeSet::new() });
    }

    #[tokio::test(start_paused = true)]
    async fn what_others_say_is_added_until_they_are_silent() {
        let start = tokio::time::Instant::now().into_std();
        let mut others = Others::default();
        let said = |readers, name: &str| Summary { readers, names: [Arc::from(name)].into() };
        others.said(1, said(2, "a"), start);
        others.said(2, said(3, "b"), after(start, 20));
        others.said(2, said(4, "c"), after(start, 20));
        let mut sum = |now, with_names| {
            let mut sum = said(1, "me");
            others.add_to(&mut sum, with_names, now);
            (sum.readers, sum.names.len())
        };
        assert_eq!(sum(after(start, 20), true), (7, 3));
        assert_eq!(sum(after(start, 20), false), (7, 1));
        assert_eq!((sum(after(start, 30), true), sum(after(start, 50), true)), ((5, 2), (1, 1)));
        for replica in 0..TOPIC_PRESENCE_REPLICAS as u64 + 9 {
            others.said(replica, said(u64::MAX, "x"), start);
        }
        assert_eq!(others.0.len(), TOPIC_PRESENCE_REPLICAS);
        let names = (0..TOPIC_PRESENCE_NAMES + 9).map(|number| number.to_string().into()).collect();
        others.said(0, Summary { readers: u64::MAX, names }, start);
        let mut sum = said(1, "me");
        others.add_to(&mut sum, true, start);
        assert_eq!((sum.readers, sum.names.len()), (u64::MAX, TOPIC_PRESENCE_NAMES + 2));
    }
}
