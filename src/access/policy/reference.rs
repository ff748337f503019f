//! The policy beside a naive one, which works on the text of rules.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::*;
use crate::access::{Bound, Verified};

/// A rule as it is written.
#[derive(Debug, Clone)]
struct Written {
    subjects: Vec<&'static str>,
    operations: Vec<&'static str>,
    restrict: Vec<&'static str>,
}

/// A caller: nobody without a name.
#[derive(Debug, Clone)]
struct Asks {
    name: Option<&'static str>,
    groups: Vec<&'static str>,
    node: Option<&'static str>,
}

/// What may be polled: everything, or these parts.
#[derive(Debug, PartialEq)]
enum May {
    All,
    Only(BTreeSet<String>),
}

fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_at_checked(1) {
        None => text.is_empty(),
        Some(("*", rest)) => (0..=text.len()).any(|at| matches(rest, &text[at..])),
        Some((one, rest)) => text.strip_prefix(one).is_some_and(|text| matches(rest, text)),
    }
}

fn reference(rules: &[Written], own: &[Written], anonymous: bool, asks: &Asks, operation: &str) -> May {
    if asks.name.is_none() && anonymous || asks.name.is_some() && rules.is_empty() && own.is_empty() {
        return May::All;
    }
    let about = |subject: &&str| match (asks.name, subject.split_once(':')) {
        (None, None) => **subject == *"anonymous",
        (Some(_), None) => **subject == *"authenticated",
        (Some(name), Some(("user", pattern))) => matches(pattern, name),
        (Some(_), Some((_, pattern))) => asks.groups.iter().any(|group| matches(pattern, group)),
        (None, Some(_)) => false,
    };
    let names = |rule: &&Written| rule.operations.iter().any(|pattern| matches(pattern, operation));
    let those = rules.iter().filter(names).chain(own).filter(|rule| rule.subjects.iter().any(about));
    let mut parts = BTreeSet::new();
    for rule in those {
        if rule.restrict.is_empty() {
            return May::All;
        }
        for part in &rule.restrict {
            let filled = [("{name}", asks.name), ("{node}", asks.node)].into_iter().try_fold(
                (*part).to_owned(),
                |part, (place, value)| {
                    if part.contains(place) { Some(part.replace(place, value?)) } else { Some(part) }
                },
            );
            parts.extend(filled);
        }
    }
    May::Only(parts)
}

fn written() -> impl Strategy<Value = Written> {
    const SUBJECTS: [&str; 9] =
        ["user:a", "user:a*", "user:*b", "user:*", "group:g", "group:*h*", "group:a", "authenticated", "anonymous"];
    const OPERATIONS: [&str; 5] = ["x", "x*", "*y", "*", "z"];
    const PARTS: [&str; 4] = ["/all", "/names/{name}", "/nodes/{node}", "/{node}/{name}"];
    let some = |all: &'static [&'static str], least| subsequence(all.to_vec(), least..=all.len().min(3));
    (some(&SUBJECTS, 1), some(&OPERATIONS, 1), some(&PARTS, 0)).prop_map(|(subjects, operations, restrict)| Written {
        subjects,
        operations,
        restrict,
    })
}

fn asks() -> impl Strategy<Value = Asks> {
    let name = select(vec![None, Some("a"), Some("ab"), Some("b"), Some("c")]);
    let groups = subsequence(vec!["g", "gh", "ghi", "a", "user"], 0..=2);
    (name, groups, select(vec![None, Some("n1")])).prop_map(|(name, groups, node)| {
        // Who has no credential is bound to nothing.
        Asks { name, groups, node: name.and(node) }
    })
}

fn rule(written: &Written) -> Rule {
    let list = |texts: &[&str]| texts.iter().map(|text| text.parse().expect("a pattern")).collect();
    Rule {
        subjects: written.subjects.iter().map(|text| text.parse().expect("a subject")).collect(),
        operations: list(&written.operations),
        restrict: written.restrict.iter().map(|text| text.parse().expect("a part")).collect(),
    }
}

fn caller(asks: &Asks) -> Caller {
    let Some(name) = asks.name else { return Caller::Anonymous };
    let bound = Bound { node: asks.node.map(str::to_owned), pod: None };
    let groups = asks.groups.iter().map(ToString::to_string).collect();
    Caller::Known(Known::of(Verified { name: name.to_owned(), groups, bound, ..Verified::default() }))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn the_policy_says_what_the_reference_says(
        rules in prop::collection::vec(written(), 0..4),
        own in prop::collection::vec(written(), 0..3),
        anonymous: bool,
        asks in asks(),
        operation in select(vec!["x", "xy", "y", "z", "w"]),
    ) {
        let policy = Policy { rules: rules.iter().map(rule).collect(), anonymous, ..Policy::default() };
        let of_operation: Vec<_> = own.iter().map(rule).collect();
        let may = match policy.allows(&of_operation, &caller(&asks), operation) {
            Allowance::Whole => May::All,
            Allowance::Parts(parts) => May::Only(parts.into_iter().collect()),
            Allowance::Nothing => May::Only(BTreeSet::new()),
        };
        prop_assert_eq!(may, reference(&rules, &own, anonymous, &asks, operation));
    }
}
