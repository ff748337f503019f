//! Documents for tests, as naive as can be, and the properties of selections, patches and sharing
//! against them. A [`Json`] prints in canonical form, numbers as spelt.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use proptest::prelude::*;

use super::invalid::Path;
use super::tree::Node;
use super::{Document, Index, Invalid, Selection, json, patch, sharing, yaml};

/// A document of an obvious shape.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Json {
    Leaf(String),
    Array(Vec<Json>),
    Object(BTreeMap<String, Json>),
}

/// A change somewhere in a document: where to go at each level, and what to do there.
#[derive(Debug, Clone)]
pub(super) struct Change {
    way: Vec<prop::sample::Index>,
    key: &'static str,
    value: Option<Json>,
}

/// Few, so that documents and pointers meet; and those that are escaped somewhere.
const KEYS: [&str; 9] = ["a", "b", "c", "", "a/b", "m~n", "a-b", "\"\u{1}", "é"];

const LEAVES: [&str; 9] = ["1", "1.0", "1e0", "-0", "null", "true", "\"\"", "\"~/\\\"\"", "12345678901234567890.5"];

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Leaf(text) => f.write_str(text),
            Self::Array(items) => {
                let items: Vec<_> = items.iter().map(ToString::to_string).collect();
                write!(f, "[{}]", items.join(","))
            }
            Self::Object(members) => {
                let member = |(key, value): (&String, &Json)| format!("{}:{value}", serde_json::json!(key));
                let members: Vec<_> = members.iter().map(member).collect();
                write!(f, "{{{}}}", members.join(","))
            }
        }
    }
}

impl From<&Node> for Json {
    fn from(node: &Node) -> Self {
        match node {
            Node::Scalar(text) => Self::Leaf(text.to_string()),
            Node::Array(array) => Self::Array(array.children.iter().map(Self::from).collect()),
            Node::Object(object) => {
                Self::Object(object.children.iter().map(|(key, value)| (key.to_string(), value.into())).collect())
            }
        }
    }
}

impl Json {
    pub(super) fn parse(text: &str) -> Self {
        Self::from(&document(text).root)
    }

    pub(crate) fn document(&self) -> Document {
        document(&self.to_string())
    }

    /// Values, and of these scalars and empty containers.
    fn counted(&self) -> (usize, usize) {
        let below: Vec<_> = match self {
            Self::Leaf(_) => Vec::new(),
            Self::Array(items) => items.iter().map(Self::counted).collect(),
            Self::Object(members) => members.values().map(Self::counted).collect(),
        };
        let leaves = usize::from(below.is_empty());
        below.iter().fold((1, leaves), |sum, of| (sum.0 + of.0, sum.1 + of.1))
    }

    fn changed(&mut self, change: &Change, level: usize) {
        let way = change.way.get(level).map_or(0, |way| way.index(1_000));
        match self {
            Self::Object(members) if level < change.way.len() && !members.is_empty() && !way.is_multiple_of(4) => {
                let at = way % members.len();
                members.values_mut().nth(at).expect("within").changed(change, level + 1);
            }
            Self::Array(items) if level < change.way.len() && !items.is_empty() && !way.is_multiple_of(4) => {
                let at = way % items.len();
                items[at].changed(change, level + 1);
            }
            Self::Object(members) => match &change.value {
                Some(value) => drop(members.insert(change.key.to_owned(), value.clone())),
                None => drop(members.remove(change.key)),
            },
            Self::Array(items) => match &change.value {
                Some(value) => items.insert(way % (items.len() + 1), value.clone()),
                None if items.is_empty() => {}
                None => drop(items.remove(way % items.len())),
            },
            Self::Leaf(_) => {
                if let Some(value) = &change.value {
                    *self = value.clone();
                }
            }
        }
    }

    /// What a pointer selects, by the letter of the protocol; `None`: not found.
    fn pruned_to(&self, pointer: &str) -> Option<Self> {
        let Some(rest) = pointer.strip_prefix('/') else { return Some(self.clone()) };
        let (token, rest) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        let key = token.replace("~1", "/").replace("~0", "~");
        let Self::Object(members) = self else { return None };
        let value = members.get(&key)?.pruned_to(rest)?;
        Some(Self::Object(BTreeMap::from([(key, value)])))
    }

    fn united(self, other: Self) -> Self {
        match (self, other) {
            (Self::Object(mut one), Self::Object(other)) => {
                for (key, value) in other {
                    let value = match one.remove(&key) {
                        Some(first) => first.united(value),
                        None => value,
                    };
                    one.insert(key, value);
                }
                Self::Object(one)
            }
            (one, _) => one,
        }
    }

    pub(crate) fn pruned(&self, pointers: &[String]) -> Self {
        let found = pointers.iter().filter_map(|pointer| self.pruned_to(pointer));
        found.reduce(Self::united).unwrap_or(Self::Object(BTreeMap::new()))
    }
}

pub(crate) fn document(text: &str) -> Document {
    Document::from_json(text.as_bytes()).unwrap_or_else(|error| panic!("{error}: {text}"))
}

pub(super) fn text(document: &Document) -> String {
    String::from_utf8(document.canonical().to_vec()).expect("UTF-8")
}

pub(super) fn any_json() -> impl Strategy<Value = Json> {
    let leaf = prop::sample::select(&LEAVES[..]).prop_map(|leaf| Json::Leaf(leaf.to_owned()));
    leaf.prop_recursive(4, 64, 6, |inner| {
        let members =
            prop::collection::btree_map(prop::sample::select(&KEYS[..]).prop_map(str::to_owned), inner.clone(), 0..6);
        prop_oneof![1 => prop::collection::vec(inner, 0..8).prop_map(Json::Array), 3 => members.prop_map(Json::Object)]
    })
    .prop_filter("null is no document", |json| json.to_string() != "null")
}

/// A document, and what a few changes make of it.
pub(crate) fn any_step() -> impl Strategy<Value = (Json, Json)> {
    let change = (
        prop::collection::vec(any::<prop::sample::Index>(), 0..5),
        prop::sample::select(&KEYS[..]),
        prop::option::weighted(0.7, any_json()),
    );
    let change = change.prop_map(|(way, key, value)| Change { way, key, value });
    (any_json(), prop::collection::vec(change, 0..5)).prop_map(|(old, changes)| {
        let mut new = old.clone();
        for change in &changes {
            new.changed(change, 0);
        }
        (old, new)
    })
}

pub(crate) fn any_pointers() -> impl Strategy<Value = Vec<String>> {
    let token =
        prop::sample::select(&KEYS[..]).prop_map(|key| format!("/{}", key.replace('~', "~0").replace('/', "~1")));
    let pointer = prop::collection::vec(token, 0..4).prop_map(|tokens| tokens.concat());
    prop::collection::vec(pointer, 1..5)
}

fn selection(pointers: &[String]) -> Selection {
    Selection::parse(pointers, 64).unwrap_or_else(|error| panic!("{error}: {pointers:?}"))
}

proptest! {
    #[test]
    fn pruning_is_what_the_protocol_says(json in any_json(), mut pointers in any_pointers()) {
        let document = json.document();
        let selection_of = selection(&pointers);
        let pruned = selection_of.prune(&document);
        prop_assert_eq!(text(&pruned), json.pruned(&pointers).to_string());
        prop_assert_eq!(pruned.digest(), json.pruned(&pointers).document().digest());
        prop_assert_eq!(selection_of.prune(&pruned).digest(), pruned.digest(), "pruned twice is pruned once");

        pointers.reverse();
        pointers.push(pointers[0].clone());
        prop_assert_eq!(&selection(&pointers), &selection_of);
        let written: Vec<_> = selection_of.pointers().iter().map(ToString::to_string).collect();
        prop_assert_eq!(&selection(&written), &selection_of);
        for (at, pointer) in written.iter().enumerate() {
            let covered = |other: &String| pointer == other || pointer.starts_with(&format!("{other}/"));
            prop_assert!(pointers.contains(pointer) && !written[..at].iter().chain(&written[at + 1..]).any(covered));
        }
    }

    #[test]
    fn released_are_exactly_those_whose_pruned_document_changed(
        (old, new) in any_step(),
        sets in prop::collection::vec(any_pointers(), 1..20),
    ) {
        let mut index = Index::new();
        for pointers in &sets {
            index.insert(selection(pointers), pointers.clone());
        }
        let (before, after) = (old.document(), new.document());
        let expected: BTreeSet<_> =
            sets.iter().filter(|set| old.pruned(set) != new.pruned(set)).map(|set| selection(set)).collect();
        for after in [after.sharing(&before), after] {
            let touched = index.touched(&before, &after);
            let released: Vec<_> = touched.changed.iter().map(|(selection, _)| (*selection).clone()).collect();
            prop_assert_eq!(&released, &expected.iter().cloned().collect::<Vec<_>>());
            for set in &sets {
                let same = selection(set).prune(&before).digest() == selection(set).prune(&after).digest();
                prop_assert_eq!(same, !expected.contains(&selection(set)), "equal ids, equal documents");
            }
        }
        for pointers in &sets {
            index.remove(&selection(pointers));
        }
        prop_assert!(index.is_empty() && index.touched(&before, &new.document()).visited <= 1);
    }

    #[test]
    fn every_route_leads_to_the_same_document((old, new) in any_step(), pointers in any_pointers()) {
        let selection = selection(&pointers);
        let (before, after) = (old.document(), new.document().sharing(&old.document()));
        for (before, after, expected) in [
            (before.clone(), after.clone(), new.clone()),
            (selection.prune(&before), selection.prune(&after), new.pruned(&pointers)),
        ] {
            prop_assert_eq!(text(&after), expected.to_string());
            if let Some(patch) = patch::between(&before, &after) {
                prop_assert!(patch.len() < after.canonical_len());
                let mut patched = Json::from(&before.root);
                patch::tests::apply(&mut patched, std::str::from_utf8(&patch).expect("UTF-8"));
                prop_assert_eq!(patched.to_string(), expected.to_string());
                prop_assert_eq!(patched.document().digest(), after.digest());
            }
        }
    }

    #[test]
    fn values_are_counted_before_they_are_held((old, new) in any_step()) {
        let (nodes, leaves) = new.counted();
        let shared = new.document().sharing(&old.document());
        prop_assert_eq!((shared.root.nodes() as usize, shared.root.leaves() as usize), (nodes, leaves));
        let text = new.to_string();
        prop_assert!(json::read(&text, Path::new(128, nodes)).is_ok() && yaml::read(&text, nodes).is_ok());
        let refused = json::read(&text, Path::new(128, nodes - 1)).map(|_| ());
        prop_assert_eq!(refused, Err(Invalid::TooManyNodes { most: nodes - 1 }));
        let refused = yaml::read(&text, nodes - 1).map(|_| ()).expect_err("one too many").to_string();
        prop_assert!(refused.contains("DOCUMENT_NODES"), "{}", refused);
    }

    #[test]
    fn sharing_changes_nothing_but_the_memory((old, new) in any_step()) {
        let (before, after) = (old.document(), new.document());
        let shared = after.sharing(&before);
        prop_assert_eq!(text(&shared), new.to_string());
        prop_assert_eq!(shared.digest(), after.digest());
        prop_assert_eq!(shared.canonical_len(), new.to_string().len());
        let alone = |document: &Document, other: &Document| sharing::alone(&document.root, Some(&other.root));
        prop_assert!(alone(&before, &shared) <= alone(&before, &after));
        if old == new && !matches!(new, Json::Leaf(_)) {
            prop_assert_eq!(alone(&shared, &before), 0);
        }
    }

    #[test]
    fn members_are_set_and_removed(json in any_json(), key in prop::sample::select(&KEYS[..]), value in any_json()) {
        let document = json.document();
        let mut members = if let Json::Object(members) = &json { members.clone() } else { BTreeMap::new() };
        members.insert(key.to_owned(), value.clone());
        let with = document.with_member(key, value.document());
        prop_assert_eq!(text(&with), Json::Object(members.clone()).to_string());
        prop_assert_eq!(with.digest(), Json::Object(members.clone()).document().digest());
        members.remove(key);
        let without = with.without_member(key);
        prop_assert_eq!(without.digest(), Json::Object(members).document().digest());
        prop_assert_eq!(without.without_member(key).digest(), without.digest());
    }
}
