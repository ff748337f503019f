//! A sequence in runs of some dozens that successive states share: to change one of 10,000 items copies one run and the
//! list of runs, and comparing two states passes over the runs that both hold. Both the members of an object and the
//! items of an array are held so.
//!
//! How a sequence is cut into runs is not part of what it says: digests and equality know nothing of it.

use std::ops::Range;
use std::sync::Arc;

/// Neighbours in a sequence.
pub(super) type Run<T> = Arc<[T]>;

/// A sequence.
#[derive(Debug, Clone)]
pub(super) enum Runs<T> {
    /// A short one: one run, empty for none.
    One(Run<T>),
    /// A long one: several runs, none empty. One pointer, which keeps nodes small.
    Many(Arc<Vec<Run<T>>>),
}

/// Neighbours that give way to others; either may be none.
#[derive(Debug)]
pub(super) struct Splice<T> {
    /// Places in the sequence.
    pub(super) old: Range<usize>,
    /// What stands there afterwards.
    pub(super) new: Vec<T>,
}

/// A sequence that is being made.
#[derive(Debug)]
pub(super) struct Builder<T> {
    runs: Vec<Run<T>>,
    open: Vec<T>,
}

/// Items of a run that is made anew. A run that splices let grow to twice as many is cut.
pub(super) const RUN: usize = 64;

impl<T> Default for Runs<T> {
    fn default() -> Self {
        Self::One(Run::default())
    }
}

impl<T> Runs<T> {
    pub(super) fn new(items: Vec<T>) -> Self {
        if items.len() <= 2 * RUN { Self::One(items.into()) } else { Self::of_runs(cut(items)) }
    }

    /// `item` alone.
    pub(super) fn one(item: T) -> Self {
        Self::One(Arc::new([item]))
    }

    fn of_runs(runs: Vec<Run<T>>) -> Self {
        match <[Run<T>; 1]>::try_from(runs) {
            Ok([run]) => Self::One(run),
            Err(none) if none.is_empty() => Self::default(),
            Err(runs) => Self::Many(Arc::new(runs)),
        }
    }

    /// All runs in order.
    pub(super) fn runs(&self) -> &[Run<T>] {
        match self {
            Self::One(run) => std::slice::from_ref(run),
            Self::Many(runs) => runs,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.runs().iter().map(|run| run.len()).sum()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.runs().iter().all(|run| run.is_empty())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.runs().iter().flat_map(|run| run.iter())
    }

    /// Whether both are of one run of as many items.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        matches!((self, other), (Self::One(run), Self::One(other)) if run.len() == other.len())
    }

    pub(super) fn get(&self, at: usize) -> Option<&T> {
        let mut at = at;
        for run in self.runs() {
            match run.get(at) {
                Some(item) => return Some(item),
                None => at -= run.len(),
            }
        }
        None
    }
}

impl<'a, T> Runs<T> {
    /// The items of both from the first run on that they do not share. They have the same place in both till then.
    pub(super) fn past_shared_beginning(
        &'a self,
        other: &'a Self,
    ) -> (impl Iterator<Item = &'a T>, impl Iterator<Item = &'a T>) {
        let (runs, others) = (self.runs(), other.runs());
        let shared = runs.iter().zip(others).take_while(|(run, other)| Arc::ptr_eq(run, other)).count();
        (runs[shared..].iter().flat_map(|run| run.iter()), others[shared..].iter().flat_map(|run| run.iter()))
    }
}

impl<T: Clone> Runs<T> {
    /// This sequence after `splices`, which are sorted by place and do not overlap. Runs without one are shared.
    pub(super) fn spliced(&self, splices: impl IntoIterator<Item = Splice<T>>) -> Self {
        let mut splices = splices.into_iter().peekable();
        let mut made = Vec::with_capacity(self.runs().len() + 1);
        // Where the run begins, and before which place all is removed already.
        let (mut start, mut removed) = (0, 0);
        for run in self.runs() {
            let end = start + run.len();
            // What is put between two runs becomes part of the first.
            let within = |splice: &Splice<T>| splice.old.start < end || splice.old == (end..end);
            if removed > start || splices.peek().is_some_and(within) {
                let mut items = Vec::with_capacity(run.len() + 1);
                let mut at = removed.clamp(start, end);
                while let Some(splice) = splices.next_if(within) {
                    items.extend_from_slice(&run[at - start..splice.old.start - start]);
                    items.extend(splice.new);
                    removed = splice.old.end;
                    at = removed.clamp(start, end);
                }
                items.extend_from_slice(&run[at - start..]);
                made.extend(cut(items));
            } else if !run.is_empty() {
                made.push(Arc::clone(run));
            }
            start = end;
        }
        debug_assert!(splices.next().is_none(), "all places are within the sequence");
        Self::of_pieces(made)
    }

    /// These runs one after the other, none empty but where it is the only one.
    pub(super) fn of_pieces(made: Vec<Run<T>>) -> Self {
        let len: usize = made.iter().map(|run| run.len()).sum();
        // Many removals leave many thin runs.
        if made.len() > 1 && len < made.len() * RUN / 4 {
            return Self::new(made.iter().flat_map(|run| run.iter().cloned()).collect());
        }
        Self::of_runs(made)
    }
}

impl<T> Default for Builder<T> {
    fn default() -> Self {
        Self { runs: Vec::new(), open: Vec::new() }
    }
}

impl<T> Builder<T> {
    pub(super) fn push(&mut self, item: T) {
        if self.open.len() == 2 * RUN {
            self.runs.push(self.open.drain(..RUN).collect());
        }
        self.open.push(item);
    }

    pub(super) fn finish(mut self) -> Runs<T> {
        self.runs.extend(cut(self.open));
        Runs::of_runs(self.runs)
    }
}

/// Runs of about as many each.
fn cut<T>(items: Vec<T>) -> Vec<Run<T>> {
    if items.is_empty() {
        return Vec::new();
    }
    if items.len() <= 2 * RUN {
        return vec![items.into()];
    }
    let count = items.len().div_ceil(RUN);
    let (each, longer) = (items.len() / count, items.len() % count);
    let mut items = items.into_iter();
    (0..count).map(|at| items.by_ref().take(each + usize::from(at < longer)).collect()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shared<T>(one: &Runs<T>, other: &Runs<T>) -> usize {
        one.runs().iter().filter(|run| other.runs().iter().any(|old| Arc::ptr_eq(old, run))).count()
    }

    #[test]
    fn one_splice_of_many_items_copies_one_run() {
        let before = Runs::new((0..10_000).collect());
        for (old, new) in [(5_000..5_001, vec![1]), (5_000..5_001, vec![]), (0..0, vec![1]), (10_000..10_000, vec![1])]
        {
            let after = before.spliced([Splice { old, new }]);
            assert_eq!(shared(&after, &before), before.runs().len() - 1);
        }
    }

    #[test]
    fn runs_stay_of_some_dozens_whatever_is_done() {
        let mut items = Runs::new(Vec::new());
        for at in 0..5_000 {
            items = items.spliced([Splice { old: at / 2..at / 2, new: vec![at] }]);
        }
        assert!(items.runs().iter().all(|run| (RUN / 2..=2 * RUN).contains(&run.len())), "grown item by item");
        let thin = items.spliced((0..50).map(|at| Splice { old: at * 100..at * 100 + 99, new: Vec::new() }));
        assert_eq!((thin.len(), thin.runs().len()), (50, 1), "thin runs are put together");
        let none = thin.spliced([Splice { old: 0..50, new: Vec::new() }]);
        assert!(none.is_empty() && none.runs().len() == 1);
        assert_eq!(none.spliced([Splice { old: 0..0, new: vec![1] }]).len(), 1);
        for len in [0, 1, 128, 129, 1_000] {
            let mut builder = Builder::default();
            (0..len).for_each(|at| builder.push(at));
            let built = builder.finish();
            assert!(built.iter().copied().eq(0..len), "{len} items one by one");
            assert!(built.runs().len() == 1 || built.runs().iter().all(|run| (RUN..=2 * RUN).contains(&run.len())));
        }
        let pieces = Runs::new((0..129).collect());
        assert_eq!(pieces.runs().iter().map(|run| run.len()).collect::<Vec<_>>(), [43, 43, 43]);
    }

    proptest! {
        #[test]
        fn splices_are_those_of_a_vec(
            len in 0_usize..600,
            splices in prop::collection::vec((0_usize..100, 0_usize..150, 0_usize..150), 0..20),
        ) {
            let old: Vec<usize> = (0..len).collect();
            let (mut at, mut new, mut edits) = (0, Vec::new(), Vec::new());
            for (kept, removed, added) in splices {
                // Between two splices something stays, as between two edits of a script.
                let start = at + kept + usize::from(at > 0);
                if start > len {
                    break;
                }
                new.extend(at..start);
                new.extend(1_000..1_000 + added);
                let end = (start + removed).min(len);
                edits.push(Splice { old: start..end, new: (1_000..1_000 + added).collect() });
                at = end;
            }
            new.extend(at..len);
            let after = Runs::new(old).spliced(edits);
            prop_assert_eq!(after.iter().copied().collect::<Vec<_>>(), new.clone());
            prop_assert_eq!((after.len(), after.is_empty()), (new.len(), new.is_empty()));
            for at in 0..=new.len() {
                prop_assert_eq!(after.get(at), new.get(at));
            }
            prop_assert!(after.runs().len() == 1 || after.runs().iter().all(|run| !run.is_empty()));
        }
    }
}
