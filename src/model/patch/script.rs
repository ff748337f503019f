//! The edits that make one array of another: Myers' greedy algorithm ("An O(ND) Difference
//! Algorithm and Its Variations", 1986) over what is left between equal ends, up to a bound.

use std::ops::Range;

use crate::bounds::PATCH_ARRAY_EDITS;
use crate::model::diff;
use crate::model::tree::Node;

/// Neighbouring items of the old array that give way to items of the new one; either may be none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hunk {
    /// Places in the old array.
    pub(super) old: Range<usize>,
    /// Places in the new array.
    pub(super) new: Range<usize>,
}

/// The hunks from left to right; what is between them is the same in both. And whether they are
/// exact: beyond the bound, all that is between equal ends is one hunk.
pub(super) fn between(old: &[Node], new: &[Node]) -> (Vec<Hunk>, bool) {
    let (begin, end) = diff::ends(old, new);
    let (old, new) = (&old[begin..old.len() - end], &new[begin..new.len() - end]);
    let (mut hunks, exact) = match matches(old, new) {
        Some(matches) => (hunks(&matches, old.len(), new.len()), true),
        None => (vec![Hunk { old: 0..old.len(), new: 0..new.len() }], false),
    };
    for Hunk { old, new } in &mut hunks {
        *old = old.start + begin..old.end + begin;
        *new = new.start + begin..new.end + begin;
    }
    (hunks, exact)
}

/// What is between runs of equal items.
fn hunks(matches: &[Match], old_len: usize, new_len: usize) -> Vec<Hunk> {
    let (mut old, mut new) = (0, 0);
    let mut hunks = Vec::new();
    let end = Match { old: old_len, new: new_len, len: 0 };
    for equal in matches.iter().chain([&end]) {
        if old < equal.old || new < equal.new {
            hunks.push(Hunk { old: old..equal.old, new: new..equal.new });
        }
        (old, new) = (equal.old + equal.len, equal.new + equal.len);
    }
    hunks
}

/// A run of equal items.
#[derive(Debug, Clone, Copy)]
struct Match {
    old: usize,
    new: usize,
    len: usize,
}

/// How far each diagonal (place in old less place in new) is reached with so many edits. Diagonals
/// go from -edits to edits; the place in old is kept.
type Reached = Vec<usize>;

/// The runs of equal items of a shortest script; `None`: it takes more edits than allowed.
fn matches(old: &[Node], new: &[Node]) -> Option<Vec<Match>> {
    let mut rounds: Vec<Reached> = Vec::new();
    for edits in 0..=PATCH_ARRAY_EDITS.min(old.len() + new.len()) {
        let mut reached = vec![0; 2 * edits + 1];
        // Diagonal `index - edits`; those of this round have the parity of `edits`.
        for index in (0..=2 * edits).step_by(2) {
            let mut in_old = rounds.last().map_or(0, |before| start(before, index, edits).0);
            let mut in_new = in_old + edits - index;
            while let (Some(one), Some(other)) = (old.get(in_old), new.get(in_new))
                && one.same(other)
            {
                in_old += 1;
                in_new += 1;
            }
            reached[index] = in_old;
            if in_old == old.len() && in_new == new.len() {
                rounds.push(reached);
                return Some(way_back(&rounds, in_old, in_new));
            }
        }
        rounds.push(reached);
    }
    None
}

/// Where a round begins on the diagonal at `index`, after one more edit than `before` has, and
/// whether that edit is an insertion (else a removal).
fn start(before: &[usize], index: usize, edits: usize) -> (usize, bool) {
    // The diagonal above is at `index` of the round before, the one below two places down.
    let above = if index < before.len() { Some(before[index]) } else { None };
    let below = index.checked_sub(2).map(|below| before[below]);
    debug_assert!(before.len() == 2 * edits - 1 && (above.is_some() || below.is_some()), "a neighbour was reached");
    match (above, below) {
        (Some(above), Some(below)) if below < above => (above, true),
        (Some(above), None) => (above, true),
        (_, below) => (below.unwrap_or_default() + 1, false),
    }
}

fn way_back(rounds: &[Reached], mut in_old: usize, mut in_new: usize) -> Vec<Match> {
    let mut matches = Vec::new();
    for edits in (0..rounds.len()).rev() {
        let index = in_old + edits - in_new;
        let (from_old, insertion) = if edits == 0 { (0, false) } else { start(&rounds[edits - 1], index, edits) };
        let len = in_old - from_old;
        if len > 0 {
            matches.push(Match { old: from_old, new: in_new - len, len });
        }
        in_old = from_old;
        in_new -= len;
        if edits > 0 {
            if insertion { in_new -= 1 } else { in_old -= 1 }
        }
    }
    matches.reverse();
    matches
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn items(numbers: &[u8]) -> Vec<Node> {
        numbers.iter().map(|number| Node::Scalar(number.to_string().into())).collect()
    }

    /// Items removed and added by the shortest script, by the table of all prefixes.
    fn fewest_edits(old: &[u8], new: &[u8]) -> usize {
        let mut row: Vec<usize> = (0..=new.len()).collect();
        for (above, one) in (1..).zip(old) {
            let mut diagonal = std::mem::replace(&mut row[0], above);
            for (at, other) in (1..).zip(new) {
                let edits = if one == other { diagonal } else { 1 + row[at].min(row[at - 1]) };
                diagonal = std::mem::replace(&mut row[at], edits);
            }
        }
        row[new.len()]
    }

    fn edits(hunks: &[Hunk]) -> usize {
        hunks.iter().map(|hunk| hunk.old.len() + hunk.new.len()).sum()
    }

    #[test]
    fn beyond_the_bound_the_middle_is_one_hunk() {
        let old: Vec<u8> = [vec![1], vec![2; PATCH_ARRAY_EDITS + 1], vec![3]].concat();
        let (hunks, exact) = between(&items(&old), &items(&[1, 4, 3]));
        assert_eq!(hunks, [Hunk { old: 1..PATCH_ARRAY_EDITS + 2, new: 1..2 }]);
        assert!(!exact);
        let (hunks, exact) = between(&items(&old[..PATCH_ARRAY_EDITS]), &items(&[1, 4]));
        assert_eq!(edits(&hunks), PATCH_ARRAY_EDITS);
        assert!(exact, "{PATCH_ARRAY_EDITS} edits are allowed");
    }

    proptest! {
        #[test]
        fn scripts_lead_to_the_new_array_with_the_fewest_edits(
            old in prop::collection::vec(0_u8..4, 0..40),
            new in prop::collection::vec(0_u8..4, 0..40),
        ) {
            let (hunks, exact) = between(&items(&old), &items(&new));
            prop_assert!(exact);
            prop_assert_eq!(edits(&hunks), fewest_edits(&old, &new));
            let mut made: Vec<u8> = Vec::new();
            let mut at = 0;
            for hunk in &hunks {
                prop_assert_eq!(made.len() + hunk.old.start - at, hunk.new.start);
                made.extend(&old[at..hunk.old.start]);
                made.extend(&new[hunk.new.clone()]);
                at = hunk.old.end;
            }
            made.extend(&old[at..]);
            prop_assert_eq!(made, new);
        }
    }
}
