//! How much of a model a change removes, for the guard that holds what removes too much.
//!
//! Counted are the leaves of the published document (scalars and empty containers): one is
//! removed if its path leads to nothing in the new one. A leaf with another value is not removed,
//! nor is one that became a container. Items of arrays are counted by their index, so that of a
//! list that becomes shorter its length counts. An object that becomes an array, or the other way
//! round, is removed with all that is in it.
//!
//! An opaque model has no leaves: its bytes are counted, and what it shrinks by is removed. A
//! document that gives way to an opaque model is removed whole: that is how an app looks that
//! serves a page with an error.

use super::members::{Pair, Pairs};
use super::tree::Node;
use super::{Content, Digest, Epoch, Since, StateId};

/// What is published, to compare with.
#[derive(Debug)]
pub struct Baseline {
    content: Content,
    /// Leaves, or bytes.
    whole: u64,
}

/// What a change removes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Removal {
    /// Leaves, or bytes, that are gone.
    pub removed: u64,
    /// Out of as many that are published.
    pub whole: u64,
}

/// A change that waits to be confirmed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BlockedChange {
    /// The state.
    pub id: StateId,
    /// The percentage of the published model that it removes.
    pub removed_percent: f64,
    /// As much as may be removed without a confirmation, in percent.
    pub limit_percent: u8,
}

/// Names the one state that may be published although it removes so much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RemovalApproval {
    /// Absent: of whatever history.
    epoch: Option<Epoch>,
    digest: Digest,
}

impl Baseline {
    /// What is published. Costs nothing: a tree knows how many leaves it has.
    #[must_use]
    pub fn of(content: Content) -> Self {
        let whole = match &content {
            Content::Json(document) => u64::from(document.root.leaves()),
            Content::Opaque { body, .. } => body.len() as u64,
        };
        Self { content, whole }
    }

    /// What is removed where `next` follows. Costs the difference: equal digests are equal subtrees.
    #[must_use]
    pub fn removal(&self, next: &Content) -> Removal {
        let removed = match (&self.content, next) {
            (Content::Json(published), Content::Json(next)) => removed(&published.root, &next.root),
            (Content::Json(_), Content::Opaque { .. }) => self.whole,
            (Content::Opaque { .. }, next) => self.whole.saturating_sub(next.len() as u64),
        };
        Removal { removed, whole: self.whole }
    }
}

impl Removal {
    /// Whether it is more than this percentage.
    #[must_use]
    pub fn exceeds(&self, percent: u8) -> bool {
        u128::from(self.removed) * 100 > u128::from(self.whole) * u128::from(percent)
    }

    /// The percentage.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "for people; the comparison is exact")]
    pub fn percent(&self) -> f64 {
        if self.whole == 0 { 0.0 } else { 100.0 * self.removed as f64 / self.whole as f64 }
    }
}

impl RemovalApproval {
    /// Reads an id (or an `ETag`) or a digest alone, as people copy it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(Since { epoch, digest, .. }) = Since::parse(text) {
            return Some(Self { epoch: Some(epoch), digest });
        }
        Digest::parse(text.trim()).map(|digest| Self { epoch: None, digest })
    }

    /// Whether it names this state, whatever its version: that moves with writes that change nothing.
    #[must_use]
    pub fn names(&self, id: &StateId) -> bool {
        self.digest == id.digest && self.epoch.is_none_or(|epoch| epoch == id.epoch)
    }
}

/// Leaves of `from` whose path leads to nothing in `to`.
fn removed(from: &Node, to: &Node) -> u64 {
    match (from, to) {
        (Node::Scalar(_), _) => 0,
        _ if from.same(to) => 0,
        (Node::Array(array), _) if array.children.is_empty() => 0,
        (Node::Object(object), _) if object.children.is_empty() => 0,
        (Node::Array(from), Node::Array(to)) => {
            let (from, mut to) = from.children.past_shared_beginning(&to.children);
            from.map(|item| to.next().map_or(u64::from(item.leaves()), |next| removed(item, next))).sum()
        }
        (Node::Object(from), Node::Object(to)) => {
            let gone = |pair: Pair<'_>| match (pair.old, pair.new) {
                (Some(value), Some(next)) => removed(value, next),
                (Some(value), None) => u64::from(value.leaves()),
                (None, _) => 0,
            };
            Pairs::of(Some(&from.children), Some(&to.children)).map(gone).sum()
        }
        (Node::Array(_) | Node::Object(_), _) => u64::from(from.leaves()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use bytes::Bytes;
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::model::Document;

    fn json(text: &str) -> Content {
        Content::Json(Document::from_json(text.as_bytes()).expect("a document"))
    }

    fn opaque(length: usize) -> Content {
        Content::Opaque { media_type: "text/plain".to_owned(), body: Bytes::from(vec![b'x'; length]) }
    }

    fn between(published: &Content, next: &Content) -> (u64, u64) {
        let Removal { removed, whole } = Baseline::of(published.clone()).removal(next);
        (removed, whole)
    }

    #[test]
    fn what_leads_to_nothing_is_removed() {
        for (published, next, expected) in [
            (r#"{"a":1,"b":2}"#, r#"{"a":1,"b":2}"#, (0, 2)),
            (r#"{"a":1,"b":2}"#, r#"{"a":9,"c":3}"#, (1, 2)),
            (r#"{"a":1,"b":2}"#, "{}", (2, 2)),
            (r#"{"z":{"a":[1,2],"b":{}}}"#, r#"{"z":{"b":{}}}"#, (2, 3)),
            (r#"{"z":{"a":[1,2],"b":{}}}"#, r#"{"z":null}"#, (3, 3)),
            (r#"{"z":{"a":[1,2],"b":{}}}"#, r#"{"z":{}}"#, (3, 3)),
            // Grown: nothing is removed.
            (r#"{"z":[],"y":1}"#, r#"{"z":[1,2],"y":{"a":1}}"#, (0, 2)),
            ("{}", r#"{"a":1}"#, (0, 1)),
            ("1", "[]", (0, 1)),
            // An array is counted by its length.
            ("[1,2,3,4]", "[2,3,4]", (1, 4)),
            (r#"[{"a":1,"b":2},{"a":3,"b":4}]"#, r#"[{"a":3,"b":4}]"#, (2, 4)),
            // Another kind of container is another thing.
            ("[1,2]", r#"{"0":1,"1":2}"#, (2, 2)),
            ("[]", "{}", (0, 1)),
        ] {
            assert_eq!(between(&json(published), &json(next)), expected, "{published} to {next}");
        }
    }

    #[test]
    fn of_an_opaque_model_the_bytes_count() {
        for (published, next, expected) in [
            (opaque(100), opaque(40), (60, 100)),
            (opaque(100), opaque(140), (0, 100)),
            (opaque(4), json("{}"), (2, 4)),
            (json(r#"{"a":1,"b":2}"#), opaque(1000), (2, 2)),
            (opaque(0), opaque(0), (0, 0)),
        ] {
            assert_eq!(between(&published, &next), expected, "{published:?} to {next:?}");
        }
    }

    #[test]
    fn a_limit_is_the_most_that_may_go() {
        let removal = |removed, whole| Removal { removed, whole };
        for (removed, whole, limit, exceeds) in [
            (1, 2, 50, false),
            (51, 100, 50, true),
            (5001, 10_000, 50, true),
            (1, u64::MAX, 0, true),
            (0, 5, 0, false),
            (0, 0, 0, false),
            (u64::MAX, u64::MAX, 100, false),
            (u64::MAX, u64::MAX, 99, true),
        ] {
            assert_eq!(removal(removed, whole).exceeds(limit), exceeds, "{removed} of {whole} over {limit} %");
        }
        assert!((removal(1, 3).percent() - 33.333).abs() < 0.001);
        assert!(removal(0, 0).percent().abs() < f64::EPSILON);
    }

    #[test]
    fn a_confirmation_names_a_state_by_its_id_or_its_digest() {
        let id = |epoch: &str, version, text: &str| StateId {
            epoch: Epoch::of(&[epoch]),
            version,
            digest: json(text).digest(),
        };
        let held = id("e", 5, "1");
        for (text, names) in [
            (id("e", 5, "1").to_string(), true),
            (id("e", 4, "1").to_string(), true),
            (format!("\"{}.{}\"", held.epoch, held.digest), true),
            (format!(" {} ", held.digest), true),
            (id("f", 5, "1").to_string(), false),
            (id("e", 5, "2").to_string(), false),
            (json("2").digest().to_string(), false),
        ] {
            let confirmed = RemovalApproval::parse(&text).expect("a confirmation");
            assert_eq!(confirmed.names(&held), names, "{text}");
        }
        for text in ["", "yes", "true", &held.digest.to_string()[1..], &held.digest.to_string().to_uppercase()] {
            assert_eq!(RemovalApproval::parse(text), None, "{text}");
        }
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![Just(Value::from(1)), Just(Value::from("x")), Just(Value::Bool(true))];
        leaf.prop_recursive(4, 40, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
                prop::collection::btree_map("[a-d0-2]", inner, 0..5).prop_map(|map| map.into_iter().collect()),
            ]
        })
    }

    /// Steps on a path, with the kind of container in which each is taken.
    type Way = Vec<(bool, String)>;

    /// All paths of a document, and those of its leaves.
    fn ways(value: &Value, here: Way, all: &mut BTreeSet<Way>, leaves: &mut BTreeSet<Way>) {
        let children: Vec<((bool, String), &Value)> = match value {
            Value::Array(items) => {
                items.iter().enumerate().map(|(index, item)| ((false, index.to_string()), item)).collect()
            }
            Value::Object(members) => members.iter().map(|(key, value)| ((true, key.clone()), value)).collect(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
        };
        if children.is_empty() {
            leaves.insert(here.clone());
        }
        for (step, child) in children {
            let way = here.iter().cloned().chain([step]).collect();
            ways(child, way, all, leaves);
        }
        all.insert(here);
    }

    proptest! {
        /// Against the obvious reference: sets of paths.
        #[test]
        fn removal_is_a_difference_of_sets(published in any_json(), next in any_json(), edit in any::<prop::sample::Index>()) {
            // Two documents have little in common: the other one is the first with some part of the second.
            let mut edited = published.clone();
            if let Value::Object(members) = &mut edited && !members.is_empty() {
                let key = members.keys().nth(edit.index(members.len())).expect("in range").clone();
                members.insert(key, next.clone());
            }
            for next in [next, edited] {
                let sets = |value: &Value| {
                    let (mut all, mut leaves) = (BTreeSet::new(), BTreeSet::new());
                    ways(value, Vec::new(), &mut all, &mut leaves);
                    (all, leaves)
                };
                let ((_, leaves), (all, _)) = (sets(&published), sets(&next));
                let expected = (leaves.difference(&all).count() as u64, leaves.len() as u64);
                prop_assert_eq!(between(&json(&published.to_string()), &json(&next.to_string())), expected);
            }
        }
    }
}
