//! PURE. What a caller may: rules, each of which allows some callers some operations, or parts of their models. Without a rule
//! whoever has a credential may poll everything. A caller without a credential may poll what a rule for `anonymous` names, or
//! everything where that is allowed.
//!
//! Rules of another kind are about paths of the admin port. Without one of these nobody may ask there.

use std::fmt;
use std::str::FromStr;

use super::caller::{Caller, Known};
use super::template::Template;
use crate::bounds::ACCESS_NAME_BYTES;

/// What callers may.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    /// Any of them may allow a request; empty: all that have a credential may poll everything.
    pub rules: Vec<Rule>,
    /// Any of them may allow a request to an exchange; empty, and no rule for operations: all that have a credential may do all.
    pub exchanges: Vec<ExchangeRule>,
    /// Any of them may allow a request to the admin port; empty: none is.
    pub paths: Vec<PathRule>,
    /// Callers without a credential may poll everything.
    pub anonymous: bool,
}

/// What a caller does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verb {
    /// It reads: the state of an operation, or what is at a path of the admin port.
    Get,
    /// It changes something at the admin port.
    Admin,
}

/// What a caller does with an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ExchangeVerb {
    /// It sends requests that wait for workers.
    Submit,
    /// It takes them, as a worker.
    Work,
}

/// Allows these callers to poll these operations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The callers.
    pub subjects: Vec<Subject>,
    /// The operations, by their names.
    pub operations: Vec<Pattern>,
    /// The parts of their models; empty: all of each.
    pub restrict: Vec<Template>,
}

/// Allows these callers to do this to these exchanges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExchangeRule {
    /// The callers.
    pub subjects: Vec<Subject>,
    /// What they may do.
    pub verbs: Vec<ExchangeVerb>,
    /// The exchanges, by their names.
    pub exchanges: Vec<Pattern>,
}

/// Allows these callers to do this at these paths of the admin port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathRule {
    /// The callers.
    pub subjects: Vec<Subject>,
    /// What they may do.
    pub verbs: Vec<Verb>,
    /// The paths.
    pub paths: Vec<PathPattern>,
}

/// What of an operation a caller may poll.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Allowance {
    /// Nothing.
    Nothing,
    /// What these JSON Pointers lead to: at least one.
    Parts(Vec<String>),
    /// All.
    Whole,
}

/// Callers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// Who has a credential.
    Authenticated,
    /// Who has none.
    Anonymous,
    /// Those with such a name.
    User(Pattern),
    /// Those in such a group.
    Group(Pattern),
}

/// A name in which each `*` stands for any text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(Box<str>);

/// A path in which each `*` stands for any text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathPattern(Pattern);

/// The rest of a sentence that begins with the text: what is wrong, a colon, what to write instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRule {
    /// It is no pattern.
    #[error("is no name: write 1 to {ACCESS_NAME_BYTES} letters, digits and -._:/@, and * for any text")]
    Pattern,
    /// It is no subject.
    #[error("names no caller: write user:NAME, group:NAME, authenticated or anonymous")]
    Subject,
    /// It is no verb.
    #[error("is no verb: write get, or admin for what changes something at the admin port")]
    Verb,
    /// It is no verb of exchanges.
    #[error("is no verb of exchanges: write submit for who sends requests, work for workers")]
    ExchangeVerb,
    /// It is no path.
    #[error("is no path: write one such as /metrics, with * for any text")]
    Path,
}

impl Policy {
    /// What `caller` may poll of the operation with this name, whose own rules are `own`.
    #[must_use]
    pub fn allows(&self, own: &[Rule], caller: &Caller, operation: &str) -> Allowance {
        let is_open = match caller {
            Caller::Anonymous => self.anonymous,
            Caller::Known(_) => !self.has_rules() && own.is_empty(),
        };
        if is_open {
            return Allowance::Whole;
        }
        let mut parts = None;
        for rule in self.rules.iter().filter(|rule| rule.names(operation)).chain(own) {
            if !are_about(&rule.subjects, caller) {
                continue;
            }
            if rule.restrict.is_empty() {
                return Allowance::Whole;
            }
            let parts: &mut Vec<String> = parts.get_or_insert_default();
            parts.extend(rule.restrict.iter().filter_map(|template| template.fill(caller)));
        }
        // A rule whose parts are all of what a caller is not bound to allows it nothing.
        parts.filter(|parts| !parts.is_empty()).map_or(Allowance::Nothing, Allowance::Parts)
    }

    /// The rules for an operation, with those of its own, in an order that does not depend on how they were written: for
    /// each its subjects and its parts.
    #[must_use]
    pub fn of_operation(&self, own: &[Rule], operation: &str) -> Vec<(Vec<String>, Vec<String>)> {
        let sorted = |mut words: Vec<String>| {
            words.sort();
            words.dedup();
            words
        };
        let rules = self.rules.iter().filter(|rule| rule.names(operation)).chain(own);
        let mut rules: Vec<_> = rules
            .map(|rule| {
                let subjects = rule.subjects.iter().map(ToString::to_string).collect();
                (sorted(subjects), sorted(rule.restrict.iter().map(ToString::to_string).collect()))
            })
            .collect();
        rules.sort();
        rules.dedup();
        rules
    }

    /// Whether there is a rule for operations or exchanges: without any, whoever has a credential may do all with them.
    fn has_rules(&self) -> bool {
        !self.rules.is_empty() || !self.exchanges.is_empty()
    }

    /// Whether `caller` may do this to the exchange with this name.
    #[must_use]
    pub fn allows_exchange(&self, caller: &Caller, verb: ExchangeVerb, exchange: &str) -> bool {
        let is_open = match caller {
            Caller::Anonymous => self.anonymous,
            Caller::Known(_) => !self.has_rules(),
        };
        is_open
            || self.exchanges.iter().any(|rule| {
                rule.verbs.contains(&verb)
                    && rule.exchanges.iter().any(|pattern| pattern.matches(exchange))
                    && are_about(&rule.subjects, caller)
            })
    }

    /// Whether `caller` may do this at this path of the admin port.
    #[must_use]
    pub fn allows_path(&self, caller: &Caller, verb: Verb, path: &str) -> bool {
        self.paths.iter().any(|rule| {
            rule.verbs.contains(&verb)
                && rule.paths.iter().any(|pattern| pattern.0.matches(path))
                && are_about(&rule.subjects, caller)
        })
    }

    /// Whether `caller` may poll every operation, whatever there will be.
    #[must_use]
    pub fn allows_all(&self, caller: &Caller) -> bool {
        match caller {
            Caller::Anonymous if self.anonymous => true,
            Caller::Known(_) if !self.has_rules() => true,
            Caller::Anonymous | Caller::Known(_) => self.rules.iter().any(|rule| rule.is_of_all_for(caller)),
        }
    }
}

/// Whether a caller is one of these.
fn are_about(subjects: &[Subject], caller: &Caller) -> bool {
    subjects.iter().any(|subject| match caller {
        Caller::Anonymous => *subject == Subject::Anonymous,
        Caller::Known(known) => subject.is(known),
    })
}

impl Verb {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Get, Self::Admin];

    /// The word for it in rules, and for the API server.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Admin => "admin",
        }
    }
}

impl ExchangeVerb {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Submit, Self::Work];

    /// The word for it in rules, and for the API server.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Submit => "submit",
            Self::Work => "work",
        }
    }
}

impl FromStr for ExchangeVerb {
    type Err = InvalidRule;

    fn from_str(text: &str) -> Result<Self, InvalidRule> {
        Self::ALL.into_iter().find(|verb| verb.as_str() == text).ok_or(InvalidRule::ExchangeVerb)
    }
}

impl Rule {
    /// Whether it allows `caller` something of every operation.
    fn is_of_all_for(&self, caller: &Caller) -> bool {
        let gives = self.restrict.is_empty() || self.restrict.iter().any(|part| part.fill(caller).is_some());
        gives && are_about(&self.subjects, caller) && self.operations.iter().any(|pattern| &*pattern.0 == "*")
    }

    fn names(&self, operation: &str) -> bool {
        self.operations.iter().any(|pattern| pattern.matches(operation))
    }
}

impl Subject {
    fn is(&self, known: &Known) -> bool {
        match self {
            Self::Authenticated => true,
            Self::Anonymous => false,
            Self::User(pattern) => pattern.matches(known.name()),
            Self::Group(pattern) => known.groups().iter().any(|group| pattern.matches(group)),
        }
    }
}

impl Pattern {
    /// Whether a name is one of those that it stands for.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        let Some((first, rest)) = self.0.split_once('*') else { return *self.0 == *name };
        let Some(mut left) = name.strip_prefix(first) else { return false };
        let mut pieces: Vec<_> = rest.split('*').collect();
        let last = pieces.pop().unwrap_or_default();
        // The first place of each piece leaves the most for those after it.
        for piece in pieces {
            match left.find(piece) {
                Some(at) => left = &left[at + piece.len()..],
                None => return false,
            }
        }
        left.ends_with(last)
    }
}

impl FromStr for Pattern {
    type Err = InvalidRule;

    fn from_str(text: &str) -> Result<Self, InvalidRule> {
        let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:/@*".contains(&byte);
        let fits = (1..=ACCESS_NAME_BYTES).contains(&text.len());
        if fits && text.bytes().all(is_good) { Ok(Self(text.into())) } else { Err(InvalidRule::Pattern) }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Authenticated => f.write_str("authenticated"),
            Self::Anonymous => f.write_str("anonymous"),
            Self::User(name) => write!(f, "user:{name}"),
            Self::Group(name) => write!(f, "group:{name}"),
        }
    }
}

impl FromStr for Verb {
    type Err = InvalidRule;

    fn from_str(text: &str) -> Result<Self, InvalidRule> {
        Self::ALL.into_iter().find(|verb| verb.as_str() == text).ok_or(InvalidRule::Verb)
    }
}

impl FromStr for PathPattern {
    type Err = InvalidRule;

    fn from_str(text: &str) -> Result<Self, InvalidRule> {
        let is_path = text == "*" || text.starts_with('/');
        text.parse().ok().filter(|_| is_path).map(Self).ok_or(InvalidRule::Path)
    }
}

impl FromStr for Subject {
    type Err = InvalidRule;

    fn from_str(text: &str) -> Result<Self, InvalidRule> {
        match text.split_once(':') {
            Some(("user", name)) => Ok(Self::User(name.parse()?)),
            Some(("group", name)) => Ok(Self::Group(name.parse()?)),
            None if text == "authenticated" => Ok(Self::Authenticated),
            None if text == "anonymous" => Ok(Self::Anonymous),
            Some(_) | None => Err(InvalidRule::Subject),
        }
    }
}

#[cfg(test)]
mod reference;

#[cfg(test)]
mod tests {
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
                exchanges: Vec::new(),
            };
            let caller = if who == "nobody" { Caller::Anonymous } else { caller(who, groups) };
            assert_eq!(
                policy.allows_path(&caller, verb, path),
                expected,
                "{policy:?} {who} {groups:?} {verb:?} {path}"
            );
        }
        let policy = Policy { paths: all(), ..Policy::default() };
        assert_eq!(policy.allows(&[], &caller("x", &[]), "any"), Allowance::Whole, "there is no rule about operations");
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
}
