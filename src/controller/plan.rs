//! PURE. From the `DescribeOperation`s, `Exchange`s and `Topic`s that there are to the operations, exchanges and topics that run, and
//! what is to be reported of each.
//!
//! The oldest object wins a path or a name, of whichever kind, the same on every replica and after every restart; what the process's
//! own configuration has comes before all objects. One whose spec cannot be used goes on with its last good one.

use std::collections::BTreeMap;

use crate::bounds::{EXCHANGES, TOPICS};
use crate::config::{self, Backend, ConflictField};

/// One object, as it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked<C> {
    /// Tells it from another one that had its name before.
    pub uid: String,
    /// Seconds since the epoch; objects of the same second are in the order of their names.
    pub created: i64,
    /// Which spec it is.
    pub generation: i64,
    /// What it asks for, or all that is wrong with it.
    pub config: Result<C, String>,
}

/// The verdict on an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Of which object.
    pub uid: String,
    /// Of which spec.
    pub generation: i64,
    /// Why it is not used as it is; none: it is.
    pub refused: Option<Refused>,
    /// Whether it runs, be it with an earlier spec.
    pub runs: bool,
}

/// Why an object is not used as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// One word for programs, the reason of the condition.
    pub reason: &'static str,
    /// Names the field, the value and the remedy.
    pub message: String,
}

/// What is to run, and why the rest does not.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// No two have a name or a path in common.
    pub operations: Vec<config::Operation>,
    /// The same, and none has a path of an operation.
    pub exchanges: Vec<config::Exchange>,
    /// The same, and none has a path of an operation or an exchange.
    pub topics: Vec<config::Topic>,
    /// On the `DescribeOperation`s, by name.
    pub operation_verdicts: BTreeMap<String, Verdict>,
    /// On the `Exchange`s, by name.
    pub exchange_verdicts: BTreeMap<String, Verdict>,
    /// On the `Topic`s, by name.
    pub topic_verdicts: BTreeMap<String, Verdict>,
}

/// Plans, and remembers the last good specs.
#[derive(Debug, Default)]
pub struct Planner {
    operations: Vec<config::Operation>,
    exchanges: Vec<config::Exchange>,
    topics: Vec<config::Topic>,
    has_nats: bool,
    good_operations: Good<config::Operation>,
    good_exchanges: Good<config::Exchange>,
    good_topics: Good<config::Topic>,
}

/// By name: whose it is, and the spec.
type Good<C> = BTreeMap<String, (String, C)>;

/// What has its place already.
#[derive(Debug)]
struct Taken {
    operations: Vec<config::Operation>,
    exchanges: Vec<config::Exchange>,
    /// How many of the exchanges are of the process's own configuration: the first ones.
    own_exchanges: usize,
    topics: Vec<config::Topic>,
    /// The same of the topics.
    own_topics: usize,
    /// Whether the process knows NATS servers.
    has_nats: bool,
}

/// What an object asks for.
trait Place: Clone {
    /// Why it cannot run beside what has its place already.
    fn conflict(&self, taken: &Taken) -> Option<Refused>;
    /// Where it is.
    fn path(&self) -> &str;
}

enum Object<'a> {
    Operation(&'a Asked<config::Operation>),
    Exchange(&'a Asked<config::Exchange>),
    Topic(&'a Asked<config::Topic>),
}

impl Planner {
    /// A planner for a process whose own configuration has these.
    #[must_use]
    pub fn new(operations: &[config::Operation], exchanges: &[config::Exchange], topics: &[config::Topic]) -> Self {
        let (operations, exchanges, topics) = (operations.to_vec(), exchanges.to_vec(), topics.to_vec());
        Self { operations, exchanges, topics, ..Self::default() }
    }

    /// Whether the process knows NATS servers, which some exchanges need.
    #[must_use]
    pub fn with_nats(self, has_nats: bool) -> Self {
        Self { has_nats, ..self }
    }

    /// What is to run when these are all there are.
    pub fn plan<'a>(
        &mut self,
        operations: impl IntoIterator<Item = (&'a String, &'a Asked<config::Operation>)>,
        exchanges: impl IntoIterator<Item = (&'a String, &'a Asked<config::Exchange>)>,
        topics: impl IntoIterator<Item = (&'a String, &'a Asked<config::Topic>)>,
    ) -> Plan {
        let (operations, exchanges): (BTreeMap<_, _>, BTreeMap<_, _>) =
            (operations.into_iter().collect(), exchanges.into_iter().collect());
        let topics: BTreeMap<_, _> = topics.into_iter().collect();
        forget(&mut self.good_operations, &operations);
        forget(&mut self.good_exchanges, &exchanges);
        forget(&mut self.good_topics, &topics);
        let mut taken = Taken {
            operations: self.operations.clone(),
            exchanges: self.exchanges.clone(),
            own_exchanges: self.exchanges.len(),
            topics: self.topics.clone(),
            own_topics: self.topics.len(),
            has_nats: self.has_nats,
        };
        let mut plan = Plan::default();
        let of_operations = operations.into_iter().map(|(name, asked)| (asked.created, name, Object::Operation(asked)));
        let of_exchanges = exchanges.into_iter().map(|(name, asked)| (asked.created, name, Object::Exchange(asked)));
        let of_topics = topics.into_iter().map(|(name, asked)| (asked.created, name, Object::Topic(asked)));
        // Those of one second and name stay in this order, operations first.
        let mut order: Vec<_> = of_operations.chain(of_exchanges).chain(of_topics).collect();
        order.sort_by_key(|(created, name, _)| (*created, *name));
        for (_, name, object) in order {
            match object {
                Object::Operation(asked) => {
                    let (config, verdict) = choose(&mut self.good_operations, name, asked, &taken);
                    plan.operation_verdicts.insert(name.clone(), verdict);
                    taken.operations.extend(config);
                }
                Object::Exchange(asked) => {
                    let (config, verdict) = choose(&mut self.good_exchanges, name, asked, &taken);
                    plan.exchange_verdicts.insert(name.clone(), verdict);
                    taken.exchanges.extend(config);
                }
                Object::Topic(asked) => {
                    let (config, verdict) = choose(&mut self.good_topics, name, asked, &taken);
                    plan.topic_verdicts.insert(name.clone(), verdict);
                    taken.topics.extend(config);
                }
            }
        }
        Plan { operations: taken.operations, exchanges: taken.exchanges, topics: taken.topics, ..plan }
    }
}

/// Remembers nothing of objects that are gone.
fn forget<C>(good: &mut Good<C>, asked: &BTreeMap<&String, &Asked<C>>) {
    good.retain(|name, (uid, _)| asked.get(name).is_some_and(|asked| asked.uid == *uid));
}

/// What runs of an object, and the verdict on it.
fn choose<C: Place>(good: &mut Good<C>, name: &str, asked: &Asked<C>, taken: &Taken) -> (Option<C>, Verdict) {
    let verdict = |refused, runs| Verdict { uid: asked.uid.clone(), generation: asked.generation, refused, runs };
    let refused = match &asked.config {
        Ok(config) => match config.conflict(taken) {
            None => {
                good.insert(name.to_owned(), (asked.uid.clone(), config.clone()));
                return (Some(config.clone()), verdict(None, true));
            }
            Some(refused) => refused,
        },
        Err(message) => Refused { reason: "InvalidSpec", message: message.clone() },
    };
    let good = good.get(name).map(|(_, config)| config).filter(|config| config.conflict(taken).is_none());
    let message = match good {
        Some(good) => format!("{}; it goes on at {} as it was", refused.message, good.path()),
        None => refused.message,
    };
    (good.cloned(), verdict(Some(Refused { message, ..refused }), good.is_some()))
}

impl Taken {
    /// How messages call an exchange that has its place already.
    fn whose(&self, at: usize, exchange: &config::Exchange) -> String {
        if at < self.own_exchanges {
            format!("exchange {} of the sidecar's own configuration", exchange.name)
        } else {
            format!("exchange {}, which is older", exchange.name)
        }
    }

    /// The same of a topic.
    fn whose_topic(&self, at: usize, topic: &config::Topic) -> String {
        if at < self.own_topics {
            format!("topic {} of the sidecar's own configuration", topic.name)
        } else {
            format!("topic {}, which is older", topic.name)
        }
    }
}

impl Place for config::Operation {
    fn conflict(&self, taken: &Taken) -> Option<Refused> {
        let whose = |other: &Self| format!("operation {}, which is older", other.name);
        if let Some(other) = taken.operations.iter().find(|other| other.name == self.name) {
            let message = format!(
                "the name {} belongs to an operation of the sidecar's own configuration at {}: choose another",
                self.name, other.path
            );
            return Some(Refused { reason: "NameConflict", message });
        }
        let operation = taken.operations.iter().find(|other| other.path == self.path).map(whose);
        let mut exchanges = taken.exchanges.iter().enumerate();
        let exchange = exchanges.find(|(_, other)| other.takes(&self.path)).map(|(at, other)| taken.whose(at, other));
        let mut topics = taken.topics.iter().enumerate();
        let topic = topics.find(|(_, topic)| topic.path == self.path).map(|(at, topic)| taken.whose_topic(at, topic));
        let whose = operation.or(exchange).or(topic)?;
        let message = format!("spec.path {} belongs to {whose}: choose another path", self.path);
        Some(Refused { reason: "PathConflict", message })
    }

    fn path(&self) -> &str {
        &self.path
    }
}

/// That a backend is asked for which this process does not have.
fn no_nats(backend: Backend, taken: &Taken) -> Option<Refused> {
    let message = "spec.backend: \"nats\" needs NATS servers, and the sidecar was started without: start it with --nats (nats.servers of the \
                   chart), or write memory";
    let is_missing = backend == Backend::Nats && !taken.has_nats;
    is_missing.then(|| Refused { reason: "NoNats", message: message.to_owned() })
}

impl Place for config::Exchange {
    fn conflict(&self, taken: &Taken) -> Option<Refused> {
        if let Some(refused) = no_nats(self.backend, taken) {
            return Some(refused);
        }
        let mut exchanges = taken.exchanges.iter().enumerate();
        let exchange = exchanges.find_map(|(at, other)| self.conflict(other, &taken.whose(at, other)));
        let mut operations = taken.operations.iter();
        let operation = || operations.find_map(|other| self.conflict_with_operation(&other.name, &other.path));
        if let Some(conflict) = exchange.or_else(operation) {
            let (reason, of) = match conflict.field {
                ConflictField::Name => ("NameConflict", "metadata"),
                ConflictField::Path => ("PathConflict", "spec"),
                ConflictField::Endpoint => ("EndpointConflict", "spec"),
            };
            let message = format!("{of}.{}: {}", conflict.field.as_str(), conflict.message);
            return Some(Refused { reason, message });
        }
        if let Some((at, topic)) = taken.topics.iter().enumerate().find(|(_, topic)| topic.is_within(self)) {
            let whose = taken.whose_topic(at, topic);
            let message = format!("spec.path: {} takes the path {} of {whose}", self.path(), topic.path);
            return Some(Refused { reason: "PathConflict", message });
        }
        let message = || format!("{EXCHANGES} exchanges are served already, which is the most: delete one of them");
        (taken.exchanges.len() >= EXCHANGES).then(|| Refused { reason: "TooMany", message: message() })
    }

    fn path(&self) -> &str {
        self.path.as_str()
    }
}

impl Place for config::Topic {
    fn conflict(&self, taken: &Taken) -> Option<Refused> {
        if let Some(refused) = no_nats(self.backend, taken) {
            return Some(refused);
        }
        let mut topics = taken.topics.iter().enumerate();
        let topic = topics.find_map(|(at, other)| Self::conflict(self, other, &taken.whose_topic(at, other)));
        if let Some((field, message)) = topic {
            let (reason, of) = if field == "name" { ("NameConflict", "metadata") } else { ("PathConflict", "spec") };
            return Some(Refused { reason, message: format!("{of}.{field}: {message}") });
        }
        let operation = taken.operations.iter().find(|other| other.path == self.path);
        let operation = operation.map(|other| format!("operation {}", other.name));
        let mut exchanges = taken.exchanges.iter().enumerate();
        let exchange = || exchanges.find(|(_, other)| self.is_within(other)).map(|(at, other)| taken.whose(at, other));
        if let Some(whose) = operation.or_else(exchange) {
            let message = format!("spec.path: {:?} belongs to {whose}: choose another", self.path);
            return Some(Refused { reason: "PathConflict", message });
        }
        let message = || format!("{TOPICS} topics are served already, which is the most: delete one of them");
        (taken.topics.len() >= TOPICS).then(|| Refused { reason: "TooMany", message: message() })
    }

    fn path(&self) -> &str {
        &self.path
    }
}

#[cfg(test)]
mod tests;
