//! The members of an object, sorted by key, in [`Runs`].

use std::sync::Arc;

use smol_str::SmolStr;

use super::runs::{Run, Runs, Splice};
use super::tree::Node;

/// A member: its key and its value.
pub(super) type Member = (SmolStr, Node);

/// A member that is to be set, or removed.
pub(super) type Edit = (SmolStr, Option<Node>);

/// Sorted by key, keys distinct.
#[derive(Debug, Clone, Default)]
pub(super) struct Members(Runs<Member>);

/// The values that two objects have under one key; at least one of them has one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pair<'a> {
    /// The key.
    pub(super) key: &'a SmolStr,
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
    runs: &'a [Run<Member>],
    at: usize,
}

impl Members {
    /// `members` are sorted by key and distinct.
    pub(super) fn new(members: Vec<Member>) -> Self {
        debug_assert!(members.is_sorted_by(|(a, _), (b, _)| a < b), "the caller sorts");
        Self(Runs::new(members))
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Member> {
        self.0.iter()
    }

    /// `member` alone.
    pub(super) fn one(member: Member) -> Self {
        Self(Runs::one(member))
    }

    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        self.member(key).map(|(_, value)| value)
    }

    pub(super) fn member(&self, key: &str) -> Option<&Member> {
        let (run, at) = self.find(key).ok()?;
        Some(&self.0.runs()[run][at])
    }

    /// In which run and where in it a key is, or would be.
    fn find(&self, key: &str) -> Result<(usize, usize), (usize, usize)> {
        let runs = self.0.runs();
        let run = runs.partition_point(|run| run.last().is_some_and(|(last, _)| last.as_str() < key));
        let Some(members) = runs.get(run) else { return Err((run, 0)) };
        members.binary_search_by(|(other, _)| other.as_str().cmp(key)).map(|at| (run, at)).map_err(|at| (run, at))
    }

    /// These members after `edits`, which are sorted by key and distinct. Runs without an edit are
    /// shared.
    pub(super) fn edited(&self, edits: impl IntoIterator<Item = Edit>) -> Self {
        // Where each run begins, and the last one ends.
        let mut begins = vec![0];
        for run in self.0.runs() {
            begins.push(begins[begins.len() - 1] + run.len());
        }
        Self(self.0.spliced(edits.into_iter().map(|(key, value)| {
            let old = match self.find(&key) {
                Ok((run, at)) => begins[run] + at..begins[run] + at + 1,
                Err((run, at)) => begins[run] + at..begins[run] + at,
            };
            Splice { old, new: value.map(|value| (key, value)).into_iter().collect() }
        })))
    }
}

impl<'a> Pairs<'a> {
    /// The members of both; `None` has none.
    pub(super) fn of(old: Option<&'a Members>, new: Option<&'a Members>) -> Self {
        let cursor =
            |members: Option<&'a Members>| Cursor { runs: members.map_or(&[], |members| members.0.runs()), at: 0 };
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
    fn whole_run(&mut self) -> Option<&'a Run<Member>> {
        self.peek()?;
        if self.at == 0 { self.runs.first() } else { None }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::model::runs::RUN;

    type Reference = BTreeMap<u16, u16>;

    fn key(number: u16) -> SmolStr {
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
            let after = before.edited([edit]);
            let (old, new) = (before.0.runs(), after.0.runs());
            let shared = new.iter().filter(|run| old.iter().any(|old| Arc::ptr_eq(old, run)));
            assert_eq!(shared.count(), old.len() - 1);
            assert!(Pairs::of(Some(&before), Some(&after)).count() <= RUN + 1, "shared runs are passed over");
        }
    }

    #[test]
    fn all_may_be_removed_and_set_again() {
        let all: Reference = (0..10_000).map(|at| (at, at)).collect();
        let none = members(&all).edited(all.keys().map(|at| (key(*at), None)));
        assert!(none.is_empty() && none.get("00001").is_none());
        assert_eq!(none.edited([(key(1), Some(value(1)))]).len(), 1);
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
            let after = before.edited(edits.iter().map(|(at, number)| (key(*at), number.map(value))));
            let listed: Vec<_> = after.iter().map(|(key, value)| (key.to_string(), text(value))).collect();
            let expected: Vec<_> = new.iter().map(|(at, number)| (key(*at).to_string(), number.to_string())).collect();
            prop_assert_eq!(listed, expected);
            prop_assert_eq!(after.len(), new.len());
            for at in 0..600 {
                prop_assert_eq!(after.get(&key(at)).map(text), new.get(&at).map(ToString::to_string));
            }
            let mut seen = BTreeMap::new();
            for pair in Pairs::of(Some(&before), Some(&after)) {
                seen.insert(pair.key.clone(), (pair.old.map(text), pair.new.map(text)));
            }
            for at in 0..600 {
                let sides = (old.get(&at).map(ToString::to_string), new.get(&at).map(ToString::to_string));
                if let Some(pair) = seen.get(&key(at)) {
                    prop_assert_eq!(pair, &sides);
                } else {
                    prop_assert_eq!(&sides.0, &sides.1, "only what both hold may be left out");
                }
            }
        }
    }
}
