//! What a server and the relays below it say to each other, beside a poll: who a relay is (`Relay`), which way a state has
//! come (`State-Path`), and who may be served below (`Relay-Policy`).

use std::fmt;

use http::{HeaderMap, HeaderName};

use super::fields::{RELAY_POLICY, STATE_PATH};
use crate::bounds::{RELAY_INSTANCE_BYTES, STATE_PATH_INSTANCES};

/// Names a process for as long as it runs: 1 to 64 characters of `A-Z a-z 0-9 . _ -`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Instance(Box<str>);

/// The processes that a state has come through, from the one whose source it is to the one that answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatePath {
    /// Whether the first one has a source of its own. Else nobody knows yet where the states come from.
    is_rooted: bool,
    instances: Vec<Instance>,
}

/// Who may be served by a relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RelayPolicy {
    /// Whoever the relay lets in.
    Open,
    /// Whoever the relay lets in, if its rules for the operation have this digest.
    Same {
        /// SHA-256 of the rules as canonical JSON, in hexadecimal digits.
        rules: String,
    },
    /// Nobody.
    None,
}

/// What an answer says to a relay.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Terms {
    /// `State-Path`; none: the server is older, and counts as a root.
    pub path: Option<StatePath>,
    /// `Relay-Policy`; none: the server is older, and knows none.
    pub policy: Option<RelayPolicy>,
}

/// A relay, as far as it matters what it may take from a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relay {
    /// Which one.
    pub instance: Instance,
    /// SHA-256 of its own rules for the operation as canonical JSON, in hexadecimal digits.
    pub rules: String,
}

/// Why a relay does not take states from a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// The states of the server come from this relay.
    #[error(
        "its states come through this relay itself, so both would wait for each other: let one of them ask a server with a source of its own"
    )]
    Circle,
    /// The server is a relay that has reached no server yet.
    #[error("it is a relay that no server has confirmed since it began: see why it reaches none")]
    Unrooted,
    /// It is too far from the source.
    #[error(
        "its states come through {0} processes, and {STATE_PATH_INSTANCES} are the most: ask one that is nearer to the source"
    )]
    TooLong(usize),
    /// What it says cannot be read.
    #[error("its {0} cannot be read: see what stands in between")]
    Malformed(&'static str),
    /// It lets no relay serve its states.
    #[error(
        "its Relay-Policy is none: no relay may serve its states, so poll it directly, or change relays of that operation"
    )]
    Forbidden,
    /// Its rules are others.
    #[error(
        "its Relay-Policy is same, and the rules of access for this operation are others here: give both the same rules"
    )]
    OtherRules,
}

/// The word before the instance of a relay whose states have no root.
const UNROOTED: &str = "unrooted";

impl Instance {
    /// A process that starts now.
    #[must_use]
    pub fn random(number: u64) -> Self {
        Self(format!("{number:016x}").into())
    }

    /// Reads one; none: it is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_of_one = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let is_one =
            !text.is_empty() && text.len() <= RELAY_INSTANCE_BYTES && text != UNROOTED && text.bytes().all(is_of_one);
        is_one.then(|| Self(text.into()))
    }

    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl StatePath {
    /// That of a process with a source of its own.
    #[must_use]
    pub fn root(instance: Instance) -> Self {
        Self { is_rooted: true, instances: vec![instance] }
    }

    /// That of a relay that no server has confirmed yet.
    #[must_use]
    pub fn unrooted(instance: Instance) -> Self {
        Self { is_rooted: false, instances: vec![instance] }
    }

    /// That of a relay whose server answered with `above`; none: the server is older and sends no path, so it counts as a
    /// root.
    #[must_use]
    pub fn below(above: Option<&Self>, instance: Instance) -> Self {
        let mut instances = above.map(|above| above.instances.clone()).unwrap_or_default();
        instances.push(instance);
        Self { is_rooted: above.is_none_or(|above| above.is_rooted), instances }
    }

    /// Reads `State-Path`; none: it is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(',').map(str::trim).peekable();
        let is_rooted = words.next_if_eq(&UNROOTED).is_none();
        let instances: Vec<_> = words.map(Instance::parse).collect::<Option<_>>()?;
        // What is longer than any that is served is not kept.
        (!instances.is_empty() && instances.len() <= 4 * STATE_PATH_INSTANCES).then_some(Self { is_rooted, instances })
    }

    /// Whether the first process has a source of its own.
    #[must_use]
    pub fn is_rooted(&self) -> bool {
        self.is_rooted
    }

    /// How many processes lie between the source and who asks the last of them.
    #[must_use]
    pub fn hops(&self) -> usize {
        self.instances.len()
    }

    /// Whether the states come through this process.
    #[must_use]
    pub fn contains(&self, instance: &Instance) -> bool {
        self.instances.contains(instance)
    }

    /// Whether the relay `instance` may take states that came this way.
    pub fn fits(&self, instance: &Instance) -> Result<(), Unfit> {
        if self.contains(instance) {
            Err(Unfit::Circle)
        } else if !self.is_rooted {
            Err(Unfit::Unrooted)
        } else if self.hops() > STATE_PATH_INSTANCES {
            Err(Unfit::TooLong(self.hops()))
        } else {
            Ok(())
        }
    }
}

impl fmt::Display for StatePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.is_rooted {
            write!(f, "{UNROOTED}, ")?;
        }
        for (index, instance) in self.instances.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{instance}")?;
        }
        Ok(())
    }
}

impl RelayPolicy {
    /// Reads `Relay-Policy`; none: it is none that is known, and then nobody may be served.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (word, parameter) = text.split_once(';').unwrap_or((text, ""));
        match (word.trim(), parameter.trim().strip_prefix("rules=")) {
            ("open", None) => Some(Self::Open),
            ("none", None) => Some(Self::None),
            ("same", Some(rules)) => Some(Self::Same { rules: rules.trim().to_owned() }),
            _ => None,
        }
    }

    /// That of a relay whose server has this one, and whose own is `own`.
    #[must_use]
    pub fn stricter(&self, own: &Self) -> Self {
        match (self, own) {
            (Self::None, _) | (_, Self::None) => Self::None,
            (Self::Same { .. }, _) => self.clone(),
            (Self::Open, own) => own.clone(),
        }
    }

    /// Whether a relay whose rules have the digest `rules` may serve.
    pub fn allows(&self, rules: &str) -> Result<(), Unfit> {
        match self {
            Self::Open => Ok(()),
            Self::Same { rules: wanted } if wanted == rules => Ok(()),
            Self::Same { .. } => Err(Unfit::OtherRules),
            Self::None => Err(Unfit::Forbidden),
        }
    }
}

impl Terms {
    /// Reads the header fields of an answer.
    pub fn read(fields: &HeaderMap) -> Result<Self, Unfit> {
        let text = |name: &HeaderName| fields.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()));
        let path = text(&STATE_PATH).map(|text| StatePath::parse(&text).ok_or(Unfit::Malformed("State-Path")));
        let policy = text(&RELAY_POLICY).map(|text| RelayPolicy::parse(&text).ok_or(Unfit::Malformed("Relay-Policy")));
        Ok(Self { path: path.transpose()?, policy: policy.transpose()? })
    }

    /// Whether this relay may take the state of the answer, and serve it.
    pub fn suit(&self, relay: &Relay) -> Result<(), Unfit> {
        if let Some(path) = &self.path {
            path.fits(&relay.instance)?;
        }
        self.policy.as_ref().map_or(Ok(()), |policy| policy.allows(&relay.rules))
    }
}

impl Unfit {
    /// Whether the server lets this relay serve nobody.
    #[must_use]
    pub fn is_policy(&self) -> bool {
        matches!(self, Self::Forbidden | Self::OtherRules)
    }
}

impl fmt::Display for RelayPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open => f.write_str("open"),
            Self::Same { rules } => write!(f, "same; rules={rules}"),
            Self::None => f.write_str("none"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance(name: &str) -> Instance {
        Instance::parse(name).expect("an instance")
    }

    #[test]
    fn a_path_grows_by_each_relay_and_is_read_as_it_is_written() {
        let root = StatePath::root(instance("a"));
        let relay = StatePath::below(Some(&root), instance("b"));
        let cold = StatePath::unrooted(instance("c"));
        let below_cold = StatePath::below(Some(&cold), instance("d"));
        for (path, text) in [(&root, "a"), (&relay, "a, b"), (&cold, "unrooted, c"), (&below_cold, "unrooted, c, d")] {
            assert_eq!(path.to_string(), text);
            assert_eq!(StatePath::parse(text).as_ref(), Some(path));
        }
        assert_eq!(StatePath::below(None, instance("b")).to_string(), "b", "an older server counts as a root");
        for text in ["", "unrooted", "a,", "a b", "a, unrooted", &"a,".repeat(40), "\u{e9}", &"x".repeat(65)] {
            assert_eq!(StatePath::parse(text), None, "{text}");
        }
        assert_eq!(instance(Instance::random(7).as_str()).as_str(), "0000000000000007");
    }

    #[test]
    fn a_relay_refuses_a_circle_a_path_without_a_root_and_one_that_is_too_long() {
        let fits = |text: &str| StatePath::parse(text).expect("a path").fits(&instance("me"));
        assert_eq!(fits("a, b"), Ok(()));
        assert_eq!(fits("a, b, c, d, e, f, g, h"), Ok(()));
        assert_eq!(fits("a, b, c, d, e, f, g, h, i"), Err(Unfit::TooLong(9)));
        assert_eq!(fits("a, me, b"), Err(Unfit::Circle));
        assert_eq!(fits("unrooted, me"), Err(Unfit::Circle));
        assert_eq!(fits("unrooted, b"), Err(Unfit::Unrooted));
    }

    #[test]
    fn a_policy_says_whether_a_relay_may_serve() {
        for (text, allows) in [
            ("open", Ok(())),
            ("same; rules=1f", Ok(())),
            ("same;rules=2e", Err(Unfit::OtherRules)),
            ("none", Err(Unfit::Forbidden)),
        ] {
            let policy = RelayPolicy::parse(text).expect("a policy");
            assert_eq!(policy.allows("1f"), allows, "{text}");
            assert_eq!(RelayPolicy::parse(&policy.to_string()), Some(policy));
        }
        let same = RelayPolicy::Same { rules: "1f".to_owned() };
        for (above, own, expected) in [
            (&RelayPolicy::Open, &RelayPolicy::Open, &RelayPolicy::Open),
            (&RelayPolicy::Open, &same, &same),
            (&same, &RelayPolicy::Open, &same),
            (&same, &RelayPolicy::None, &RelayPolicy::None),
            (&RelayPolicy::None, &same, &RelayPolicy::None),
        ] {
            assert_eq!(&above.stricter(own), expected, "{above} {own}");
        }
        for text in ["", "all", "same", "open; rules=1", "same; digest=1"] {
            assert_eq!(RelayPolicy::parse(text), None, "{text}");
        }
    }
}
