//! Where a shortest script costs too much: the items that stand once on either side, as many of them as are in the same
//! order, and what is found between those ("patience" of Bram Cohen's diff).

use std::collections::HashMap;
use std::hash::{Hash, Hasher};

use super::{Budget, Match, between_equal_ends, shortest};
use crate::bounds::PATCH_ARRAY_ANCHORS;
use crate::model::tree::Node;

/// Equal items in order; not all that could be found.
pub(super) fn matches(old: &[&Node], new: &[&Node], budget: &mut Budget) -> Vec<Match> {
    let anchors = anchors(old, new);
    if anchors.is_empty() {
        return by_place(old, new);
    }
    let mut matches = Vec::new();
    let (mut in_old, mut in_new) = (0, 0);
    for (at_old, at_new) in anchors.into_iter().chain([(old.len(), new.len())]) {
        let between = between_equal_ends(&old[in_old..at_old], &new[in_new..at_new], |old, new| {
            shortest::matches(old, new, budget).unwrap_or_else(|| by_place(old, new))
        });
        matches.extend(between.into_iter().map(|equal| equal.moved(in_old, in_new)));
        // The anchor itself begins what is between it and the next one.
        (in_old, in_new) = (at_old, at_new);
    }
    matches
}

/// Places on both sides of items that stand once on either, both rising.
fn anchors(old: &[&Node], new: &[&Node]) -> Vec<(usize, usize)> {
    if old.len() + new.len() > PATCH_ARRAY_ANCHORS {
        return Vec::new();
    }
    // Where each item stands, if once.
    let mut places: HashMap<Content, (Place, Place)> = HashMap::new();
    for (at, node) in old.iter().enumerate() {
        places.entry(Content(node)).or_default().0.stands(at);
    }
    for (at, node) in new.iter().enumerate() {
        if let Some((_, place)) = places.get_mut(&Content(node)) {
            place.stands(at);
        }
    }
    let mut once: Vec<(usize, usize)> = places
        .into_values()
        .filter_map(|places| match places {
            (Place::Once(old), Place::Once(new)) => Some((old, new)),
            _ => None,
        })
        .collect();
    once.sort_unstable();
    longest_rising(&once)
}

/// The longest part of `pairs`, which rise by the first, in which the second rises too.
fn longest_rising(pairs: &[(usize, usize)]) -> Vec<(usize, usize)> {
    // For each length the place among `pairs` where a part of it ends lowest; for each pair the one before it.
    let mut ends: Vec<usize> = Vec::new();
    let mut before: Vec<Option<usize>> = Vec::with_capacity(pairs.len());
    for (at, (_, second)) in pairs.iter().enumerate() {
        let length = ends.partition_point(|end| pairs[*end].1 < *second);
        before.push(length.checked_sub(1).map(|shorter| ends[shorter]));
        match ends.get_mut(length) {
            Some(end) => *end = at,
            None => ends.push(at),
        }
    }
    let back = std::iter::successors(ends.last().copied(), |at| before[*at]);
    let mut rising: Vec<_> = back.map(|at| pairs[at]).collect();
    rising.reverse();
    rising
}

/// What is equal at the same place.
fn by_place(old: &[&Node], new: &[&Node]) -> Vec<Match> {
    let mut matches: Vec<Match> = Vec::new();
    for (at, _) in old.iter().zip(new).enumerate().filter(|(_, (old, new))| old.same(new)) {
        match matches.last_mut() {
            Some(last) if last.old + last.len == at => last.len += 1,
            _ => matches.push(Match { old: at, new: at, len: 1 }),
        }
    }
    matches
}

/// Where an item stands.
#[derive(Debug, Clone, Copy, Default)]
enum Place {
    #[default]
    Nowhere,
    Once(usize),
    Often,
}

impl Place {
    fn stands(&mut self, at: usize) {
        *self = match self {
            Self::Nowhere => Self::Once(at),
            Self::Once(_) | Self::Often => Self::Often,
        };
    }
}

/// A node by what it says.
#[derive(Debug, Clone, Copy)]
struct Content<'a>(&'a Node);

impl PartialEq for Content<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.0.same(other.0)
    }
}

impl Eq for Content<'_> {}

impl Hash for Content<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self.0 {
            Node::Scalar(text) => text.hash(state),
            Node::Array(_) | Node::Object(_) => self.0.hash().as_bytes().hash(state),
        }
    }
}
