//! PURE. A topic, as it is configured.

use std::time::Duration;

use super::{Backend, Exchange};

/// A topic: messages that are appended, kept for a while, and read by whoever comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// Names it in metrics, logs and rules of access.
    pub name: String,
    /// Where messages are published and read, compared byte for byte with the request's.
    pub path: String,
    /// Which messages are kept: as many as all three allow, the newest.
    pub history: TopicHistory,
    /// Bytes of the body of a message.
    pub message_bytes: usize,
    /// How long it is known which keys were used.
    pub dedupe: Duration,
    /// How fast one client may publish.
    pub rate: PublishRate,
    /// Where its messages are.
    pub backend: Backend,
    /// Whether readers are told who reads.
    pub presence: Presence,
}

/// Whether readers are told who reads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Presence {
    /// They are not.
    Off,
    /// How many do.
    #[default]
    Count,
    /// That, and the names of those that have one.
    Named,
}

impl Presence {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Off, Self::Count, Self::Named];

    /// As settings name it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Count => "count",
            Self::Named => "named",
        }
    }
}

/// Bounds of the messages that are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicHistory {
    /// How many.
    pub messages: usize,
    /// Bytes of them all, as they are sent.
    pub bytes: usize,
    /// How long each is kept.
    pub age: Duration,
}

/// How fast one client may publish: its identity, without one its address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublishRate {
    /// Messages in a second, on the long run.
    pub per_second: u32,
    /// Messages at once.
    pub burst: u32,
}

#[cfg(test)]
impl Topic {
    /// A topic of this name, with the defaults.
    pub(crate) fn example(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            path: format!("/{name}"),
            history: TopicHistory { messages: 1000, bytes: 4 << 20, age: Duration::from_hours(1) },
            message_bytes: 16 << 10,
            dedupe: Duration::from_mins(2),
            rate: PublishRate { per_second: 20, burst: 50 },
            backend: Backend::Memory,
            presence: Presence::Count,
        }
    }
}

impl Topic {
    /// Why it cannot stand beside `other`, which messages call `whose`: the field, and the rest of the sentence.
    #[must_use]
    pub fn conflict(&self, other: &Self, whose: &str) -> Option<(&'static str, String)> {
        if self.path == other.path {
            Some(("path", format!("{:?} is also the path of {whose}: give each topic its own", self.path)))
        } else if self.name == other.name {
            Some(("name", format!("{:?} is also the name of {whose}: give each topic its own", self.name)))
        } else {
            None
        }
    }

    /// Whether requests for its path would be an exchange's.
    #[must_use]
    pub fn is_within(&self, exchange: &Exchange) -> bool {
        exchange.takes(&self.path)
    }
}
