//! PURE. An exchange, as it is configured.

use std::net::SocketAddr;
use std::time::Duration;

use http::Method;
use percent_encoding::percent_decode_str;

use crate::bounds::EXCHANGE_KEY_BYTES;

mod conflict;

pub use conflict::{Conflict, ConflictField};

/// An exchange: requests of consumers that wait for workers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange {
    /// Names it in metrics, logs, rules of access and in its endpoint.
    pub name: String,
    /// The paths of consumers' requests.
    pub path: PathPattern,
    /// Their methods; empty: all but CONNECT and TRACE.
    pub methods: Vec<Method>,
    /// Where work resources, claims and reverse connections are: a path without a slash at its end.
    pub endpoint: String,
    /// Queued requests.
    pub queue: QueueLimits,
    /// How long a consumer's request is held: by default, and at most.
    pub hold: Hold,
    /// From a claim to the head of the answer.
    pub deadline: Duration,
    /// How long a worker that polls keeps its claim: until it touches it first, and from then on.
    pub lease: Lease,
    /// How often a request is given to a worker that may begin it.
    pub attempts: u32,
    /// Which requests are given to another worker after one may have begun.
    pub repeat: Repeat,
    /// Identical GETs share an item.
    pub share: bool,
    /// Answers of workers.
    pub result: ResultLimits,
    /// Bodies of requests.
    pub body: BodyLimits,
    /// How workers may come.
    pub transports: Transports,
    /// Where workers that speak HTTP/1.1 from the first byte dial in.
    pub raw: Option<SocketAddr>,
    /// Requests are refused once there was no worker for so long; absent: they wait.
    pub refuse_after: Option<Duration>,
    /// The redirects of a consumer that comes back.
    pub chain: Chain,
    /// Where its requests are.
    pub backend: Backend,
}

/// Where the requests of an exchange are, or the messages of a topic.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Backend {
    /// In the memory of each replica: its workers alone are given requests, and its readers messages.
    #[default]
    Memory,
    /// In a stream of NATS JetStream: workers and readers of all replicas are given them, and they outlive a replica.
    Nats,
}

impl Backend {
    /// As settings and operators name it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Nats => "nats",
        }
    }
}

/// The NATS servers of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nats {
    /// Their URLs, such as `nats://nats:4222` or `tls://nats:4222`: at least one.
    pub servers: Vec<String>,
    /// A file of credentials, as `nsc` makes it.
    pub credentials: Option<std::path::PathBuf>,
    /// A file with the authorities of their certificates (PEM).
    pub ca: Option<std::path::PathBuf>,
    /// On how many of them each request and each message is kept.
    pub replicas: usize,
}

/// Bounds of the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueLimits {
    /// Queued requests.
    pub length: usize,
    /// Of one client.
    pub per_client: usize,
    /// How long one may be queued.
    pub age: Duration,
    /// The same, where its consumer does not wait.
    pub async_age: Duration,
}

/// How long a request is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hold {
    /// One that asks for no time.
    pub default: Duration,
    /// At most.
    pub max: Duration,
}

/// How long a claim lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// Until it is touched.
    pub first: Duration,
    /// From each touch on.
    pub length: Duration,
}

/// Which requests are given to another worker after one may have begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// Those of idempotent methods (RFC 9110, section 9.2.2), and those with an `Idempotency-Key`.
    Idempotent,
    /// All.
    Always,
    /// None.
    Never,
}

/// Bounds of answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResultLimits {
    /// How long an answer is kept for who comes for it.
    pub keep: Duration,
    /// Bytes of its body; a longer one is not kept.
    pub bytes: usize,
    /// Bytes that are read from a worker before a consumer has taken them.
    pub window: usize,
}

/// Bounds of request bodies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyLimits {
    /// Bytes of one that is stored before a worker takes it.
    pub bytes: usize,
    /// Bytes of one that is streamed, which are kept to send them again.
    pub replay: usize,
}

/// How workers may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transports {
    /// By long polls.
    pub claims: bool,
    /// By reverse HTTP/1.1.
    pub http1: bool,
    /// By reverse HTTP/2.
    pub http2: bool,
}

/// The redirects of a consumer that comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chain {
    /// So many are 303; from then on it is 202.
    pub hops: u32,
    /// How long each is held.
    pub hold: Duration,
}

/// Paths, of which one segment may be a key: `/cameras/{key}/logs`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathPattern {
    text: String,
    /// Where the key stands.
    key: Option<(usize, usize)>,
}

/// What stands in a pattern for the key.
const KEY: &str = "{key}";

impl PathPattern {
    /// Reads a pattern; an error is the rest of a sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/%".contains(&byte);
        let rest = text.replacen(KEY, "", 1);
        let is_path = text.starts_with('/') && rest.bytes().all(is_plain);
        let whole = text.split('/').filter(|segment| segment.contains('{')).all(|segment| segment == KEY);
        if !is_path || !whole || text.contains("//") {
            return Err(
                "is no path: write one such as /start_work or /cameras/{key}/logs, with {key} at most once and as \
                        a whole segment"
                    .to_owned(),
            );
        }
        let key = text.find(KEY).map(|at| (at, at + KEY.len()));
        Ok(Self { text: text.to_owned(), key })
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether a segment of it is a key.
    #[must_use]
    pub fn has_key(&self) -> bool {
        self.key.is_some()
    }

    /// The last word that is no key.
    #[must_use]
    pub fn last_word(&self) -> &str {
        self.text.rsplit('/').find(|word| !word.is_empty() && *word != KEY).unwrap_or("root")
    }

    /// Whether a path is one of these, and its key, decoded; none: it is not.
    #[must_use]
    pub fn matches(&self, path: &str) -> Option<Option<String>> {
        let Some((from, to)) = self.key else { return (path == self.text).then_some(None) };
        let key = path.strip_prefix(&self.text[..from])?.strip_suffix(&self.text[to..])?;
        if key.is_empty() || key.contains('/') || key.len() > EXCHANGE_KEY_BYTES {
            return None;
        }
        let key = percent_decode_str(key).decode_utf8().ok()?;
        Some(Some(key.into_owned()))
    }

    /// Whether some path is one of these and of the others.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        let (ours, theirs): (Vec<_>, Vec<_>) = (self.text.split('/').collect(), other.text.split('/').collect());
        ours.len() == theirs.len()
            && ours.iter().zip(&theirs).all(|(one, other)| *one == KEY || *other == KEY || one == other)
    }
}

#[cfg(test)]
impl Exchange {
    /// An exchange of this name, with the defaults.
    pub(crate) fn example(name: &str) -> Self {
        let spec = serde_json::json!({ "path": format!("/{name}") });
        crate::config::custom_exchange(name, &spec).expect("a good spec")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_has_one_key_at_most_and_it_is_a_whole_segment() {
        for (text, last) in
            [("/start_work", "start_work"), ("/cameras/{key}/logs", "logs"), ("/{key}", "root"), ("/a/{key}", "a")]
        {
            assert_eq!(PathPattern::parse(text).expect(text).last_word(), last);
        }
        for text in
            ["", "a", "/a/{key}/{key}", "/a{key}", "/{key}b", "/{other}", "/a b", "/a?b", "//a", "/a/{key", "/a#"]
        {
            assert!(PathPattern::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_key_is_what_stands_in_its_segment_decoded() {
        let pattern = PathPattern::parse("/cameras/{key}/logs").expect("a pattern");
        for (path, expected) in [
            ("/cameras/cam-7/logs", Some(Some("cam-7"))),
            ("/cameras/cam%207/logs", Some(Some("cam 7"))),
            ("/cameras//logs", None),
            ("/cameras/a/b/logs", None),
            ("/cameras/%ff/logs", None),
            ("/cameras/a/log", None),
            ("/cameras/logs", None),
        ] {
            assert_eq!(pattern.matches(path), expected.map(|key| key.map(str::to_owned)), "{path}");
        }
        let plain = PathPattern::parse("/start_work").expect("a pattern");
        assert_eq!((plain.matches("/start_work"), plain.matches("/start_work/")), (Some(None), None));
        for (other, expected) in [("/cameras/x/logs", true), ("/{key}/x/logs", true), ("/cameras/x", false)] {
            assert_eq!(pattern.overlaps(&PathPattern::parse(other).expect(other)), expected, "{other}");
        }
    }
}
