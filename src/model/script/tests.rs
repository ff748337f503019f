//! Scripts by tables, and against the table of all prefixes.

use proptest::prelude::*;

use super::*;
use crate::bounds::PATCH_ARRAY_ANCHORS;
use crate::model::sharing;

fn nodes(numbers: &[u32]) -> Vec<Node> {
    numbers.iter().map(|number| Node::Scalar(number.to_string().into())).collect()
}

fn items(numbers: &[u32]) -> Runs<Node> {
    Runs::new(nodes(numbers))
}

/// Items removed and added by the shortest script, by the table of all prefixes.
fn fewest_edits(old: &[u32], new: &[u32]) -> usize {
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

fn edits(script: &Script) -> usize {
    script.hunks().map(|hunk| hunk.old.len() + hunk.new.len()).sum()
}

/// The places of the hunks and how many items each removes and adds.
fn hunks(script: &Script) -> Vec<(usize, usize, usize, usize)> {
    script.hunks().map(|hunk| (hunk.old_at, hunk.old.len(), hunk.new_at, hunk.new.len())).collect()
}

fn children(node: &Node) -> &Runs<Node> {
    let Node::Array(array) = node else { panic!("no array: {node:?}") };
    &array.children
}

fn text(node: &Node) -> String {
    let mut out = String::new();
    node.write(&mut out);
    out
}

/// What the script makes of the old array.
fn applied(old: &Runs<Node>, script: &Script) -> Vec<String> {
    let old: Vec<_> = old.iter().map(text).collect();
    let (mut made, mut at) = (Vec::new(), 0);
    for hunk in script.hunks() {
        made.extend_from_slice(&old[at..hunk.old_at]);
        assert_eq!(made.len(), hunk.new_at, "places are those of the new array");
        assert!(!hunk.old.iter().zip(hunk.new).any(|(old, new)| old.same(new)), "what stayed is not edited");
        made.extend(hunk.new.iter().map(|node| text(node)));
        at = hunk.old_at + hunk.old.len();
    }
    made.extend_from_slice(&old[at..]);
    made
}

fn texts(numbers: &[u32]) -> Vec<String> {
    numbers.iter().map(ToString::to_string).collect()
}

#[test]
fn beyond_the_bound_the_middle_is_one_hunk() {
    let old: Vec<u32> = [vec![1], vec![2; PATCH_ARRAY_EDITS + 1], vec![3]].concat();
    let (before, after) = (items(&old), items(&[1, 4, 3]));
    let script = between(&before, &after);
    assert_eq!(hunks(&script), [(1, PATCH_ARRAY_EDITS + 1, 1, 1)]);
    assert!(!script.is_shortest);
    let (before, after) = (items(&old[..PATCH_ARRAY_EDITS]), items(&[1, 4]));
    let script = between(&before, &after);
    assert_eq!(edits(&script), PATCH_ARRAY_EDITS);
    assert!(script.is_shortest, "{PATCH_ARRAY_EDITS} edits are allowed");
}

#[test]
fn beyond_the_bound_items_that_stand_once_stay() {
    let old: Vec<u32> = (0..20_000).collect();
    let new: Vec<u32> =
        old.iter().flat_map(|at| if at % 40 == 0 { vec![100_000 + at, *at] } else { vec![*at] }).collect();
    let (before, after) = (items(&old), items(&new));
    let script = between(&before, &after);
    assert!(!script.is_shortest, "500 edits are more than are looked for");
    assert_eq!(edits(&script), 500, "but those that are found are the fewest");
    assert_eq!(applied(&before, &script), texts(&new));
    let script = between(&after, &before);
    assert_eq!((edits(&script), applied(&after, &script)), (500, texts(&old)));
}

/// Few items that differ among very many that are the same, and more edits than are looked for.
#[test]
fn what_costs_too_many_steps_goes_place_by_place() {
    let masks = |first: usize| (0..PATCH_ARRAY_ANCHORS).map(|at| u32::from(at % 1_024 == first)).collect::<Vec<_>>();
    let (old, new) = (masks(0), masks(512));
    let (before, after) = (items(&old), items(&new));
    let (one, other): (Vec<_>, Vec<_>) = (before.iter().collect(), after.iter().collect());
    let mut budget = Budget(10_000);
    assert!(shortest::matches(&one, &other, &mut budget).is_none() && budget.0 == 0, "it ends with its steps");
    let script = between(&before, &after);
    assert_eq!(edits(&script), 2 * 512);
    assert_eq!(applied(&before, &script), texts(&new));
}

#[test]
fn shared_runs_are_passed_over_wherever_they_are() {
    let old: Vec<u32> = (0..20_000).collect();
    let mut new = old.clone();
    new[0] = 100_000;
    new.remove(10_000);
    new.push(100_001);
    let before = Node::array(nodes(&old));
    let after = sharing::shared(&Node::array(nodes(&new)), &before);
    let (one, other) = (children(&before), children(&after));
    let script = between(one, other);
    assert_eq!(hunks(&script), [(0, 1, 0, 1), (10_000, 1, 10_000, 0), (20_000, 0, 19_999, 1)]);
    let looked_at: usize = script.gaps.iter().map(|gap| gap.old.items.len() + gap.new.items.len()).sum();
    assert!(looked_at < 3 * 2 * 2 * 64, "{looked_at} items are in no shared run");
    assert_eq!(applied(one, &script), texts(&new));
}

proptest! {
    #[test]
    fn scripts_lead_to_the_new_array_with_the_fewest_edits(
        old in prop::collection::vec(0_u32..4, 0..40),
        new in prop::collection::vec(0_u32..4, 0..40),
    ) {
        let (before, after) = (items(&old), items(&new));
        let script = between(&before, &after);
        prop_assert!(script.is_shortest);
        prop_assert_eq!(edits(&script), fewest_edits(&old, &new));
        prop_assert_eq!(applied(&before, &script), texts(&new));
    }

    /// Long arrays, with few items that stand once or with many, few edits or many, shared or not, with or without steps
    /// left for a shortest script.
    #[test]
    fn every_script_leads_to_the_new_array(
        distinct in prop::sample::select(&[3_u32, 300, 100_000][..]),
        old in prop::collection::vec(any::<u32>(), 0..900),
        splices in prop::collection::vec((any::<prop::sample::Index>(), 0_usize..60, prop::collection::vec(any::<u32>(), 0..60)), 0..12),
        steps in prop::sample::select(&[0_usize, 500, 1_000_000][..]),
    ) {
        let old: Vec<u32> = old.into_iter().map(|number| number % distinct).collect();
        let mut new = old.clone();
        for (at, removed, added) in splices {
            let start = at.index(new.len() + 1);
            let end = (start + removed).min(new.len());
            new.splice(start..end, added.into_iter().map(|number| number % distinct));
        }
        let (before, read) = (Node::array(nodes(&old)), Node::array(nodes(&new)));
        let after = sharing::shared(&read, &before);
        prop_assert_eq!(text(&after), text(&read));
        let (one, read, shared) = (children(&before), children(&read), children(&after));
        for other in [read, shared] {
            prop_assert_eq!(applied(one, &between(one, other)), texts(&new));
            let beside: Vec<_> = between(one, other).beside().map(|(item, _)| text(item)).collect();
            prop_assert!(beside.len() <= old.len());
        }
        let (one, other): (Vec<_>, Vec<_>) = (one.iter().collect(), read.iter().collect());
        let matches = between_equal_ends(&one, &other, |one, other| anchors::matches(one, other, &mut Budget(steps)));
        let gap = Gap { old: Side { at: 0, items: one }, new: Side { at: 0, items: other }, matches };
        let script = Script { gaps: vec![gap], is_shortest: false };
        prop_assert_eq!(applied(&items(&old), &script), texts(&new));
    }
}
