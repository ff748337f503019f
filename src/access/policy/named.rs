//! Rules about exchanges and topics, which are known by their names.

use std::str::FromStr;

use super::{InvalidRule, Pattern, Subject, are_about};
use crate::access::caller::Caller;

/// What a caller does with an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ExchangeVerb {
    /// It sends requests that wait for workers.
    Submit,
    /// It takes them, as a worker.
    Work,
}

/// What a caller does with a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TopicVerb {
    /// It reads messages.
    Get,
    /// It publishes them.
    Publish,
}

/// Allows these callers to do this to these exchanges, or topics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedRule<V> {
    /// The callers.
    pub subjects: Vec<Subject>,
    /// What they may do.
    pub verbs: Vec<V>,
    /// The exchanges or topics, by their names.
    pub names: Vec<Pattern>,
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

impl TopicVerb {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Get, Self::Publish];

    /// The word for it in rules, and for the API server.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Publish => "publish",
        }
    }
}

impl FromStr for TopicVerb {
    type Err = InvalidRule;

    fn from_str(text: &str) -> Result<Self, InvalidRule> {
        Self::ALL.into_iter().find(|verb| verb.as_str() == text).ok_or(InvalidRule::TopicVerb)
    }
}

impl<V: PartialEq> NamedRule<V> {
    pub(super) fn allows(&self, caller: &Caller, verb: &V, name: &str) -> bool {
        self.verbs.contains(verb)
            && self.names.iter().any(|pattern| pattern.matches(name))
            && are_about(&self.subjects, caller)
    }
}

impl FromStr for ExchangeVerb {
    type Err = InvalidRule;

    fn from_str(text: &str) -> Result<Self, InvalidRule> {
        Self::ALL.into_iter().find(|verb| verb.as_str() == text).ok_or(InvalidRule::ExchangeVerb)
    }
}
