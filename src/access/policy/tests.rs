//! Who may do what.

use proptest::prelude::*;

use super::*;
use crate::access::{Bound, Verified};

fn pattern(text: &str) -> Pattern {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// The same as [`Pattern::matches`], by trying everything.
fn reference(pattern: &[u8], name: &[u8]) -> bool {
    match pattern.split_first() {
        None => name.is_empty(),
        Some((b'*', rest)) => (0..=name.len()).any(|at| reference(rest, &name[at..])),
        Some((byte, rest)) => name.first() == Some(byte) && reference(rest, &name[1..]),
    }
}

proptest! {
    #[test]
    fn a_star_stands_for_any_text(text in "[ab*]{1,8}", name in "[ab]{0,10}") {
        prop_assert_eq!(pattern(&text).matches(&name), reference(text.as_bytes(), name.as_bytes()));
    }
}

fn caller(name: &str, groups: &[&str]) -> Caller {
    Caller::Known(Known::new(name, groups.iter().map(|group| Box::from(*group)).collect()))
}

fn rule(subjects: &str, operations: &str) -> Rule {
    Rule {
        subjects: subjects.split(' ').map(|subject| subject.parse().expect("a subject")).collect(),
        operations: operations.split(' ').map(pattern).collect(),
        restrict: Vec::new(),
    }
}

/// Who may poll which operation: "nobody" has no credential.
#[test]
fn the_table_of_who_may() {
    let nodes = || vec![rule("user:node-* group:edge", "zone-*"), rule("user:admin", "*")];
    let open = || vec![rule("anonymous", "public"), rule("authenticated", "public shared")];
    for (rules, anonymous, who, groups, operation, expected) in [
        (vec![], false, "a", &[][..], "x", true),
        (vec![], false, "nobody", &[], "x", false),
        (vec![], true, "nobody", &[], "x", true),
        (nodes(), false, "node-1", &[], "zone-a", true),
        (nodes(), false, "node-1", &[], "other", false),
        (nodes(), false, "node-1", &[], "zone", false),
        (nodes(), false, "node", &[], "zone-a", false),
        (nodes(), false, "anode-1", &[], "zone-a", false),
        (nodes(), false, "x", &["edge"], "zone-a", true),
        (nodes(), false, "x", &["a", "edge"], "zone-a", true),
        (nodes(), false, "x", &["edges", "Edge"], "zone-a", false),
        (nodes(), false, "edge", &[], "zone-a", false),
        (nodes(), false, "x", &["node-1"], "zone-a", false),
        (nodes(), false, "admin", &[], "anything", true),
        (nodes(), false, "x", &["admin"], "anything", false),
        (nodes(), false, "nobody", &[], "zone-a", false),
        (nodes(), true, "nobody", &[], "zone-a", true),
        (nodes(), true, "x", &[], "zone-a", false),
        (open(), false, "nobody", &[], "public", true),
        (open(), false, "nobody", &[], "shared", false),
        (open(), false, "x", &[], "public", true),
        (open(), false, "x", &[], "shared", true),
        (open(), false, "x", &[], "secret", false),
        (open(), true, "nobody", &[], "shared", true),
    ] {
        let policy = Policy { rules, anonymous, ..Policy::default() };
        let caller = if who == "nobody" { Caller::Anonymous } else { caller(who, groups) };
        let allowed = policy.allows(&[], &caller, operation) == Allowance::Whole;
        assert_eq!(allowed, expected, "{policy:?} {who} {groups:?} {operation}");
    }
}

/// What each may poll of an operation "x", as pointers; "whole" and "nothing".
#[test]
fn the_table_of_what_they_may() {
    let part = |subjects: &str, restrict: &str| Rule {
        restrict: restrict.split(' ').map(|text| text.parse().expect("a template")).collect(),
        ..rule(subjects, "x")
    };
    let shared = || part("authenticated", "/shared /nodes/{name}");
    let node = || part("group:agents", "/nodes/{node}");
    for (rules, own, who, expected) in [
        (vec![shared()], vec![], caller("a", &[]), "/shared /nodes/a"),
        (vec![shared()], vec![], caller("a/b~c", &[]), "/shared /nodes/a~1b~0c"),
        (vec![shared()], vec![], Caller::Anonymous, "nothing"),
        (vec![shared(), rule("user:admin", "*")], vec![], caller("admin", &[]), "whole"),
        (vec![shared(), rule("user:admin", "*")], vec![], caller("b", &[]), "/shared /nodes/b"),
        (vec![shared()], vec![rule("user:a", "ignored")], caller("a", &[]), "whole"),
        (vec![shared()], vec![part("user:a", "/more")], caller("a", &[]), "/shared /nodes/a /more"),
        (vec![node()], vec![], caller("a", &["agents"]), "nothing"),
        (vec![node()], vec![], bound("a", "agents", "n1", "ns/p"), "/nodes/n1"),
        (vec![part("authenticated", "/pods/{pod}")], vec![], bound("a", "b", "n1", "ns/p"), "/pods/ns~1p"),
        (vec![node(), shared()], vec![], bound("a", "agents", "n", "p"), "/nodes/n /shared /nodes/a"),
        (vec![], vec![rule("user:b", "x")], caller("a", &[]), "nothing"),
        (vec![], vec![rule("user:b", "x")], caller("b", &[]), "whole"),
        (vec![rule("user:a", "y")], vec![], caller("a", &[]), "nothing"),
        (vec![], vec![], caller("a", &[]), "whole"),
        (vec![], vec![rule("anonymous", "x")], Caller::Anonymous, "whole"),
    ] {
        let policy = Policy { rules, ..Policy::default() };
        let met = match policy.allows(&own, &who, "x") {
            Allowance::Nothing => "nothing".to_owned(),
            Allowance::Parts(parts) => parts.join(" "),
            Allowance::Whole => "whole".to_owned(),
        };
        assert_eq!(met, expected, "{policy:?} {own:?} {who:?}");
    }
}

/// Who may do what at the admin port: "nobody" has no credential.
#[test]
fn the_table_of_who_may_ask_there() {
    let rule = |subjects: &str, verbs: &str, paths: &str| PathRule {
        subjects: subjects.split(' ').map(|subject| subject.parse().expect("a subject")).collect(),
        verbs: verbs.split(' ').map(|verb| verb.parse().expect("a verb")).collect(),
        paths: paths.split(' ').map(|path| path.parse().expect("a path")).collect(),
    };
    let scrape = || vec![rule("user:prometheus group:scrapers", "get", "/metrics")];
    let all = || vec![rule("authenticated", "get", "/metrics /a*"), rule("user:root", "get admin", "*")];
    let change = || vec![rule("user:root", "admin", "/log-level")];
    let open = || vec![rule("anonymous", "get", "/metrics")];
    for (paths, who, groups, verb, path, expected) in [
        (vec![], "prometheus", &["scrapers"][..], Verb::Get, "/metrics", false),
        (vec![], "nobody", &[], Verb::Get, "/metrics", false),
        (scrape(), "prometheus", &[], Verb::Get, "/metrics", true),
        (scrape(), "x", &["scrapers"], Verb::Get, "/metrics", true),
        (scrape(), "x", &["prometheus"], Verb::Get, "/metrics", false),
        (scrape(), "scrapers", &[], Verb::Get, "/metrics", false),
        (scrape(), "prometheus", &[], Verb::Admin, "/metrics", false),
        (scrape(), "prometheus", &[], Verb::Get, "/metrics/", false),
        (scrape(), "prometheus", &[], Verb::Get, "/agents", false),
        (scrape(), "nobody", &[], Verb::Get, "/metrics", false),
        (all(), "x", &[], Verb::Get, "/agents", true),
        (all(), "x", &[], Verb::Get, "/state", false),
        (all(), "x", &[], Verb::Admin, "/agents", false),
        (all(), "root", &[], Verb::Get, "/state", true),
        (all(), "root", &[], Verb::Admin, "/drain", true),
        (all(), "nobody", &[], Verb::Get, "/agents", false),
        (change(), "root", &[], Verb::Admin, "/log-level", true),
        (change(), "root", &[], Verb::Get, "/log-level", false),
        (change(), "root", &[], Verb::Admin, "/drain", false),
        (open(), "nobody", &[], Verb::Get, "/metrics", true),
        (open(), "nobody", &[], Verb::Get, "/state", false),
        (open(), "x", &[], Verb::Get, "/metrics", false),
    ] {
        // What is open to poll says nothing of the admin port, and rules of one kind nothing of the other.
        let policy = Policy {
            paths,
            anonymous: true,
            rules: vec![self::rule("authenticated anonymous", "*")],
            ..Policy::default()
        };
        let caller = if who == "nobody" { Caller::Anonymous } else { caller(who, groups) };
        assert_eq!(policy.allows_path(&caller, verb, path), expected, "{policy:?} {who} {groups:?} {verb:?} {path}");
    }
    let policy = Policy { paths: all(), ..Policy::default() };
    assert_eq!(policy.allows(&[], &caller("x", &[]), "any"), Allowance::Whole, "there is no rule about operations");
}

/// Who may do what with topics and exchanges, whose rules are apart: "nobody" has no credential.
#[test]
fn the_table_of_who_may_publish_and_read() {
    fn named<V>(subject: &str, verbs: Vec<V>, name: &str) -> Vec<NamedRule<V>> {
        let rule = NamedRule {
            subjects: vec![subject.parse().expect("a subject")],
            verbs,
            names: vec![name.parse().expect("a name")],
        };
        vec![rule]
    }
    let topics = |topics| Policy { topics, ..Policy::default() };
    let exchanges = |exchanges| Policy { exchanges, ..Policy::default() };
    let (get, publish) = (TopicVerb::Get, TopicVerb::Publish);
    for (policy, who, verb, expected) in [
        (Policy::default(), "ann", publish, true),
        (Policy::default(), "nobody", get, false),
        (Policy { anonymous: true, ..Policy::default() }, "nobody", publish, true),
        (topics(named("user:ann", vec![get], "c*")), "ann", get, true),
        (topics(named("user:ann", vec![get], "c*")), "ann", publish, false),
        (topics(named("user:ann", vec![get], "d*")), "ann", get, false),
        (topics(named("user:ann", vec![get, publish], "chat")), "bob", get, false),
        (topics(named("anonymous", vec![get], "*")), "nobody", get, true),
        // As soon as there is a rule of any kind, nobody may do what none names.
        (exchanges(named("user:ann", vec![ExchangeVerb::Submit], "chat")), "ann", get, false),
    ] {
        let caller = if who == "nobody" { Caller::Anonymous } else { caller(who, &[]) };
        assert_eq!(policy.allows_topic(&caller, verb, "chat"), expected, "{policy:?} {who} {verb:?}");
    }
    let policy = topics(named("user:ann", vec![get, publish], "chat"));
    assert!(!policy.allows_exchange(&caller("ann", &[]), ExchangeVerb::Submit, "chat"));
    assert_eq!("submit".parse::<TopicVerb>(), Err(InvalidRule::TopicVerb));
}

#[test]
fn what_is_no_verb_or_path_is_told() {
    for text in ["", "Get", "put", "publish", "submit", "work", "*"] {
        assert_eq!(text.parse::<Verb>(), Err(InvalidRule::Verb), "{text}");
    }
    for text in ["", "metrics", "*/metrics", "/a b", "/é", &format!("/{}", "a".repeat(253))] {
        assert_eq!(text.parse::<PathPattern>(), Err(InvalidRule::Path), "{text}");
    }
}

fn bound(name: &str, group: &str, node: &str, pod: &str) -> Caller {
    Caller::Known(Known::of(Verified {
        name: name.to_owned(),
        groups: vec![group.to_owned()],
        bound: Bound { node: Some(node.to_owned()), pod: Some(pod.to_owned()) },
        ..Verified::default()
    }))
}

#[test]
fn what_is_no_subject_is_told() {
    for text in ["", "node-1", "users:a", "User:a", "authenticated:a", "Anonymous"] {
        assert_eq!(text.parse::<Subject>(), Err(InvalidRule::Subject), "{text}");
    }
    for text in ["user:", "user:a b", "group:é", &format!("user:{}", "a".repeat(254))] {
        assert_eq!(text.parse::<Subject>(), Err(InvalidRule::Pattern), "{text}");
    }
    assert_eq!("user:system:node:*".parse(), Ok(Subject::User(pattern("system:node:*"))));
}
