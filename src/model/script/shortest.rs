//! Myers' greedy algorithm ("An O(ND) Difference Algorithm and Its Variations", 1986), up to a number of edits.

use super::{Budget, Match};
use crate::bounds::PATCH_ARRAY_EDITS;
use crate::model::tree::Node;

/// How far each diagonal (place in old less place in new) is reached with so many edits. Diagonals
/// go from -edits to edits; the place in old is kept.
type Reached = Vec<usize>;

/// The equal items of a shortest script; `None`: it takes more edits than allowed, or more steps than are left.
pub(super) fn matches(old: &[&Node], new: &[&Node], budget: &mut Budget) -> Option<Vec<Match>> {
    if old.len().abs_diff(new.len()) > PATCH_ARRAY_EDITS {
        return None;
    }
    let mut rounds: Vec<Reached> = Vec::new();
    for edits in 0..=PATCH_ARRAY_EDITS.min(old.len() + new.len()) {
        let mut reached = vec![0; 2 * edits + 1];
        // Diagonal `index - edits`; those of this round have the parity of `edits`.
        for index in (0..=2 * edits).step_by(2) {
            budget.step()?;
            let mut in_old = rounds.last().map_or(0, |before| start(before, index, edits).0);
            let mut in_new = in_old + edits - index;
            while let (Some(one), Some(other)) = (old.get(in_old), new.get(in_new))
                && one.same(other)
            {
                budget.step()?;
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
