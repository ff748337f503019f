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

mod named;
#[cfg(test)]
mod tests;

pub use named::{ExchangeVerb, NamedRule, TopicVerb};

/// What callers may.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    /// Any of them may allow a request; empty: all that have a credential may poll everything.
    pub rules: Vec<Rule>,
    /// Any of them may allow a request to an exchange; empty, and no other rule for clients: all that have a credential may do all.
    pub exchanges: Vec<NamedRule<ExchangeVerb>>,
    /// Any of them may allow a request to a topic; the same.
    pub topics: Vec<NamedRule<TopicVerb>>,
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
    /// It is no verb of topics.
    #[error("is no verb of topics: write get for who reads messages, publish for who sends them")]
    TopicVerb,
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

    /// Whether there is a rule for operations, exchanges or topics: without any, whoever has a credential may do all with them.
    fn has_rules(&self) -> bool {
        !self.rules.is_empty() || !self.exchanges.is_empty() || !self.topics.is_empty()
    }

    /// Whether `caller` may do this to the exchange with this name.
    #[must_use]
    pub fn allows_exchange(&self, caller: &Caller, verb: ExchangeVerb, exchange: &str) -> bool {
        self.is_open_to(caller) || self.exchanges.iter().any(|rule| rule.allows(caller, &verb, exchange))
    }

    /// Whether `caller` may do this to the topic with this name.
    #[must_use]
    pub fn allows_topic(&self, caller: &Caller, verb: TopicVerb, topic: &str) -> bool {
        self.is_open_to(caller) || self.topics.iter().any(|rule| rule.allows(caller, &verb, topic))
    }

    /// Whether `caller` may do everything, since no rule is needed.
    fn is_open_to(&self, caller: &Caller) -> bool {
        match caller {
            Caller::Anonymous => self.anonymous,
            Caller::Known(_) => !self.has_rules(),
        }
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
