//! The edits that make one array of another. Runs that both hold are passed over. Of what is between them, the shortest
//! script is looked for while that costs little; where it does not, the items that stand once on either side are, and
//! what is between those is compared again, at last place by place. The cost is that of the items that are not in shared
//! runs, whatever they are.

mod anchors;
mod shortest;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use super::runs::{Run, Runs};
use super::tree::Node;
use crate::bounds::{PATCH_ARRAY_EDITS, PATCH_ARRAY_PASSES};

/// The edits from left to right.
#[derive(Debug)]
pub(super) struct Script<'a> {
    gaps: Vec<Gap<'a>>,
    /// Whether no script between the shared runs has fewer edits.
    pub(super) is_shortest: bool,
}

/// What is between runs that both arrays hold.
#[derive(Debug)]
struct Gap<'a> {
    old: Side<'a>,
    new: Side<'a>,
    matches: Vec<Match>,
}

/// Neighbouring items of an array.
#[derive(Debug)]
struct Side<'a> {
    /// Place of the first one.
    at: usize,
    items: Vec<&'a Node>,
}

/// Equal neighbours on both sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Match {
    old: usize,
    new: usize,
    len: usize,
}

/// Neighbouring items of the old array that give way to items of the new one; either may be none. None of the old ones
/// equals the new one at its place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hunk<'s, 'a> {
    /// Place in the old array.
    pub(super) old_at: usize,
    /// Place in the new array.
    pub(super) new_at: usize,
    /// What is removed.
    pub(super) old: &'s [&'a Node],
    /// What is added.
    pub(super) new: &'s [&'a Node],
}

/// How many steps are left for the search for a script.
#[derive(Debug)]
struct Budget(usize);

/// Runs of an array that are yet to be compared.
#[derive(Debug)]
struct Rest<'a> {
    runs: &'a [Run<Node>],
    /// How many runs are before them.
    passed: usize,
    /// How many items are before them.
    at: usize,
}

/// The edits that make `new` of `old`.
pub(super) fn between<'a>(old: &'a Runs<Node>, new: &'a Runs<Node>) -> Script<'a> {
    let mut gaps = gaps(old.runs(), new.runs());
    let items: usize = gaps.iter().map(|gap| gap.old.items.len() + gap.new.items.len()).sum();
    let mut budget = Budget(PATCH_ARRAY_EDITS * PATCH_ARRAY_EDITS + PATCH_ARRAY_PASSES * items);
    let mut is_shortest = true;
    for gap in &mut gaps {
        gap.matches = between_equal_ends(&gap.old.items, &gap.new.items, |old, new| {
            shortest::matches(old, new, &mut budget).unwrap_or_else(|| {
                is_shortest = false;
                anchors::matches(old, new, &mut budget)
            })
        });
    }
    Script { gaps, is_shortest }
}

/// What is between the runs that both hold, in the same order.
fn gaps<'a>(old: &'a [Run<Node>], new: &'a [Run<Node>]) -> Vec<Gap<'a>> {
    // Most arrays have one run: looked up in a table only where there are more.
    let places: HashMap<_, _> = match (old, new) {
        ([one], [other]) if !Arc::ptr_eq(one, other) => HashMap::new(),
        _ => old.iter().map(|run| run.as_ptr()).zip(0..).collect(),
    };
    let mut gaps = Vec::new();
    let (mut old, mut new) = (Rest { runs: old, passed: 0, at: 0 }, Rest { runs: new, passed: 0, at: 0 });
    let mut alone = 0;
    for run in new.runs {
        match places.get(&run.as_ptr()).and_then(|place: &usize| place.checked_sub(old.passed)) {
            Some(others) => {
                gaps.extend(Gap::of(old.take(others), new.take(alone)));
                old.pass();
                new.pass();
                alone = 0;
            }
            None => alone += 1,
        }
    }
    gaps.extend(Gap::of(old.take(old.runs.len()), new.take(alone)));
    gaps
}

/// The equal items at both ends, and what `find` finds between them.
fn between_equal_ends(old: &[&Node], new: &[&Node], find: impl FnOnce(&[&Node], &[&Node]) -> Vec<Match>) -> Vec<Match> {
    let begin = old.iter().zip(new).take_while(|(old, new)| old.same(new)).count();
    let (old, new) = (&old[begin..], &new[begin..]);
    let end = old.iter().rev().zip(new.iter().rev()).take_while(|(old, new)| old.same(new)).count();
    let (old, new) = (&old[..old.len() - end], &new[..new.len() - end]);
    let mut matches = vec![Match { old: 0, new: 0, len: begin }];
    matches.extend(find(old, new).into_iter().map(|equal| equal.moved(begin, begin)));
    matches.push(Match { old: begin + old.len(), new: begin + new.len(), len: end });
    matches
}

impl<'a> Script<'a> {
    /// The edits, sorted by place.
    pub(super) fn hunks(&self) -> impl Iterator<Item = Hunk<'_, 'a>> {
        let hunks = self.gaps.iter().flat_map(|gap| gap.parts().map(|(hunk, _)| hunk));
        hunks.filter(|hunk| !hunk.old.is_empty() || !hunk.new.is_empty())
    }

    /// The items of the old array that are in no shared run, each with the one of the new array that has its place.
    pub(super) fn beside(&self) -> impl Iterator<Item = (&'a Node, Option<&'a Node>)> {
        let parts = self.gaps.iter().flat_map(Gap::parts);
        parts.flat_map(|(hunk, equal)| [hunk, equal]).flat_map(|hunk| {
            let others = hunk.new.iter().copied().map(Some).chain(std::iter::repeat(None));
            hunk.old.iter().copied().zip(others)
        })
    }
}

impl<'a> Gap<'a> {
    /// None where there is nothing on either side.
    fn of(old: Side<'a>, new: Side<'a>) -> Option<Self> {
        (!old.items.is_empty() || !new.items.is_empty()).then(|| Self { old, new, matches: Vec::new() })
    }

    /// What differs before each match, and the match. The last one is at the end.
    fn parts(&self) -> impl Iterator<Item = (Hunk<'_, 'a>, Hunk<'_, 'a>)> {
        let hunk = |old: Range<usize>, new: Range<usize>| Hunk {
            old_at: self.old.at + old.start,
            new_at: self.new.at + new.start,
            old: &self.old.items[old],
            new: &self.new.items[new],
        };
        self.matches.iter().scan((0, 0), move |(old, new), equal| {
            let ends = (equal.old + equal.len, equal.new + equal.len);
            let differs = hunk(*old..equal.old, *new..equal.new);
            (*old, *new) = ends;
            Some((differs, hunk(equal.old..ends.0, equal.new..ends.1)))
        })
    }
}

impl Match {
    fn moved(self, old: usize, new: usize) -> Self {
        Self { old: self.old + old, new: self.new + new, len: self.len }
    }
}

impl Budget {
    /// One step more; `None`: there is none left.
    fn step(&mut self) -> Option<()> {
        self.0 = self.0.checked_sub(1)?;
        Some(())
    }
}

impl<'a> Rest<'a> {
    /// The items of the next runs, so many.
    fn take(&mut self, runs: usize) -> Side<'a> {
        let (taken, rest) = self.runs.split_at(runs);
        let side = Side { at: self.at, items: taken.iter().flat_map(|run| run.iter()).collect() };
        *self = Self { runs: rest, passed: self.passed + runs, at: self.at + side.items.len() };
        side
    }

    /// The next run is shared.
    fn pass(&mut self) {
        if let Some((run, rest)) = self.runs.split_first() {
            *self = Self { runs: rest, passed: self.passed + 1, at: self.at + run.len() };
        }
    }
}

#[cfg(test)]
mod tests;
