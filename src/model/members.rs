//! The members of an object, sorted by key, in runs of some dozens that successive states share:
//! to change one of 10,000 members copies one run and the list of runs, and comparing two states
//! passes over the runs that both hold.
//!
//! How members are cut into runs is not part of what they say: digests and equality know nothing
//! of it.

use std::iter::Peekable;
use std::sync::Arc;

use super::tree::Node;

/// A member: its key and its value.
pub(super) type Member = (Box<str>, Node);

/// A member that is to be set, or removed.
pub(super) type Edit = (Box<str>, Option<Node>);

/// Sorted by key, keys distinct.
#[derive(Debug, Clone)]
pub(super) enum Members {
    /// Few: one run, empty for none.
    One(Run),
    /// Many: several runs, none empty.
    Many(Arc<[Run]>),
}

/// Neighbouring members.
pub(super) type Run = Arc<[Member]>;

/// The values that two objects have under one key; at least one of them has one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pair<'a> {
    /// The key.
    pub(super) key: &'a str,
    /// Its value in the old object.
    pub(super) old: Option<&'a Node>,
    /// Its value in the new object.
    pub(super) new: Option<&'a Node>,
}

/// The members of two objects side by side, by key; runs that both hold are left out.
#[derive(Debug)]
pub(super) struct Pairs<'a> {
    old: Cursor<'a>,
    new: Cursor<'a>,
}

/// A place among members: `at` in the first of `runs`.
#[derive(Debug)]
struct Cursor<'a> {
    runs: &'a [Run],
    at: usize,
}

/// Members of a run that is made anew. A run that edits let grow to twice as many is cut.
const RUN: usize = 64;

impl Members {
    /// `members` are sorted by key and distinct.
    pub(super) fn new(members: Vec<Member>) -> Self {
        debug_assert!(members.is_sorted_by(|(a, _), (b, _)| a < b), "the caller sorts");
        Self::of_runs(cut(members))
    }

    fn of_runs(runs: Vec<Run>) -> Self {
        match <[Run; 1]>::try_from(runs) {
            Ok([run]) => Self::One(run),
            Err(none) if none.is_empty() => Self::One(Run::default()),
            Err(runs) => Self::Many(runs.into()),
        }
    }

    /// All runs in order.
    pub(super) fn runs(&self) -> &[Run] {
        match self {
            Self::One(run) => std::slice::from_ref(run),
            Self::Many(runs) => runs,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.runs().iter().map(|run| run.len()).sum()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Member> {
        self.runs().iter().flat_map(|run| run.iter())
    }

    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        let runs = self.runs();
        let run = runs.partition_point(|run| run.last().is_some_and(|(last, _)| **last < *key));
        let run = runs.get(run)?;
        let at = run.binary_search_by(|(other, _)| (**other).cmp(key)).ok()?;
        Some(&run[at].1)
    }

    /// These members after `edits`, which are sorted by key and distinct. Runs without an edit are
    /// shared.
    pub(super) fn edited(&self, edits: Vec<Edit>) -> Self {
        let runs = self.runs();
        let mut edits = edits.into_iter().peekable();
        let mut edited = Vec::with_capacity(runs.len() + 1);
        for (index, run) in runs.iter().enumerate() {
            let next = runs.get(index + 1).and_then(|next| next.first());
            let within = |edit: &Edit| next.is_none_or(|(next, _)| edit.0 < *next);
            if edits.peek().is_some_and(within) {
                edited.extend(cut(merged(run, &mut edits, within)));
            } else if !run.is_empty() {
                edited.push(Arc::clone(run));
            }
        }
        let len: usize = edited.iter().map(|run| run.len()).sum();
        // Many removals leave many thin runs.
        if edited.len() > 1 && len < edited.len() * RUN / 4 {
            return Self::new(edited.iter().flat_map(|run| run.iter().cloned()).collect());
        }
        Self::of_runs(edited)
    }
}

/// A run after those of the edits that are `within` it.
fn merged(run: &Run, edits: &mut Peekable<std::vec::IntoIter<Edit>>, within: impl Fn(&Edit) -> bool) -> Vec<Member> {
    let mut merged = Vec::with_capacity(run.len() + 1);
    let mut old = run.iter().peekable();
    while let Some((key, value)) = edits.next_if(&within) {
        while let Some(member) = old.next_if(|(other, _)| *other < key) {
            merged.push(member.clone());
        }
        old.next_if(|(other, _)| *other == key);
        merged.extend(value.map(|value| (key, value)));
    }
    merged.extend(old.cloned());
    merged
}

fn cut(members: Vec<Member>) -> Vec<Run> {
    if members.is_empty() {
        return Vec::new();
    }
    if members.len() <= 2 * RUN {
        return vec![members.into()];
    }
    let mut runs = Vec::with_capacity(members.len().div_ceil(RUN));
    let mut members = members.into_iter();
    while members.len() > 0 {
        runs.push(members.by_ref().take(RUN).collect());
    }
    runs
}

impl<'a> Pairs<'a> {
    /// The members of both; `None` has none.
    pub(super) fn of(old: Option<&'a Members>, new: Option<&'a Members>) -> Self {
        let cursor = |members: Option<&'a Members>| Cursor { runs: members.map_or(&[], Members::runs), at: 0 };
        Self { old: cursor(old), new: cursor(new) }
    }

    /// Whatever the runs before, what both hold begins in both with a run's first member.
    fn pass_shared(&mut self) {
        while let (Some(old), Some(new)) = (self.old.whole_run(), self.new.whole_run())
            && Arc::ptr_eq(old, new)
        {
            self.old.runs = &self.old.runs[1..];
            self.new.runs = &self.new.runs[1..];
        }
    }
}

impl<'a> Iterator for Pairs<'a> {
    type Item = Pair<'a>;

    fn next(&mut self) -> Option<Pair<'a>> {
        self.pass_shared();
        let (old, new) = match (self.old.peek(), self.new.peek()) {
            (Some(old), Some(new)) => ((old.0 <= new.0).then_some(old), (new.0 <= old.0).then_some(new)),
            one => one,
        };
        self.old.at += usize::from(old.is_some());
        self.new.at += usize::from(new.is_some());
        let (key, _) = old.or(new)?;
        Some(Pair { key, old: old.map(|(_, value)| value), new: new.map(|(_, value)| value) })
    }
}

impl<'a> Cursor<'a> {
    fn peek(&mut self) -> Option<&'a Member> {
        loop {
            if let Some(member) = self.runs.first()?.get(self.at) {
                return Some(member);
            }
            self.runs = &self.runs[1..];
            self.at = 0;
        }
    }

    /// The run that is yet to be read wholly.
    fn whole_run(&mut self) -> Option<&'a Run> {
        self.peek()?;
        if self.at == 0 { self.runs.first() } else { None }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    type Reference = BTreeMap<u16, u16>;

    fn key(number: u16) -> Box<str> {
        format!("{number:05}").into()
    }

    fn value(number: u16) -> Node {
        Node::Scalar(number.to_string().into())
    }

    fn members(reference: &Reference) -> Members {
        Members::new(reference.iter().map(|(at, number)| (key(*at), value(*number))).collect())
    }

    fn text(node: &Node) -> String {
        let mut out = String::new();
        node.write(&mut out);
        out
    }

    #[test]
    fn one_edit_of_many_members_copies_one_run() {
        let before = members(&(0..10_000).map(|at| (at, at)).collect());
        for edit in [(key(5_000), Some(value(1))), (key(5_000), None), ("05000x".into(), Some(value(1)))] {
            let after = before.edited(vec![edit]);
            let shared = after.runs().iter().filter(|run| before.runs().iter().any(|old| Arc::ptr_eq(old, run)));
            assert_eq!(shared.count(), before.runs().len() - 1);
            assert!(Pairs::of(Some(&before), Some(&after)).count() <= RUN + 1, "shared runs are passed over");
        }
    }

    #[test]
    fn thin_runs_are_put_together() {
        let all: Reference = (0..10_000).map(|at| (at, at)).collect();
        let removed = all.keys().filter(|at| *at % 100 != 0).map(|at| (key(*at), None)).collect();
        let after = members(&all).edited(removed);
        assert_eq!((after.len(), after.runs().len()), (100, 1));
        let none = after.edited(all.keys().map(|at| (key(*at), None)).collect());
        assert_eq!((none.len(), none.runs().len()), (0, 1));
        assert_eq!(none.edited(vec![(key(1), Some(value(1)))]).len(), 1);
    }

    proptest! {
        #[test]
        fn edits_and_pairs_are_those_of_a_map(
            old in prop::collection::btree_map(0_u16..600, 0_u16..3, 0..500),
            edits in prop::collection::btree_map(0_u16..600, prop::option::of(0_u16..3), 0..200),
        ) {
            let mut new = old.clone();
            for (at, number) in &edits {
                match number {
                    Some(number) => new.insert(*at, *number),
                    None => new.remove(at),
                };
            }
            let before = members(&old);
            let after = before.edited(edits.iter().map(|(at, number)| (key(*at), number.map(value))).collect());
            let listed: Vec<_> = after.iter().map(|(key, value)| (key.to_string(), text(value))).collect();
            let expected: Vec<_> = new.iter().map(|(at, number)| (key(*at).to_string(), number.to_string())).collect();
            prop_assert_eq!(listed, expected);
            prop_assert_eq!(after.len(), new.len());
            for at in 0..600 {
                prop_assert_eq!(after.get(&key(at)).map(text), new.get(&at).map(ToString::to_string));
            }
            let mut seen = BTreeMap::new();
            for pair in Pairs::of(Some(&before), Some(&after)) {
                seen.insert(pair.key.to_owned(), (pair.old.map(text), pair.new.map(text)));
            }
            for at in 0..600 {
                let sides = (old.get(&at).map(ToString::to_string), new.get(&at).map(ToString::to_string));
                if let Some(pair) = seen.get(&*key(at)) {
                    prop_assert_eq!(pair, &sides);
                } else {
                    prop_assert_eq!(&sides.0, &sides.1, "only what both hold may be left out");
                }
            }
        }
    }
}
