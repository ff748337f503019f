//! PURE. From the `DescribeOperation`s and `Exchange`s that there are to the operations and exchanges that run, and what is to be
//! reported of each.
//!
//! The oldest object wins a path or a name, of whichever kind, the same on every replica and after every restart; what the process's
//! own configuration has comes before all objects. One whose spec cannot be used goes on with its last good one.

use std::collections::BTreeMap;

use crate::bounds::EXCHANGES;
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
    /// On the `DescribeOperation`s, by name.
    pub operation_verdicts: BTreeMap<String, Verdict>,
    /// On the `Exchange`s, by name.
    pub exchange_verdicts: BTreeMap<String, Verdict>,
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
    /// The topics of the process's own configuration: there are no others.
    topics: Vec<config::Topic>,
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
}

impl Planner {
    /// A planner for a process whose own configuration has these.
    #[must_use]
    pub fn new(operations: &[config::Operation], exchanges: &[config::Exchange]) -> Self {
        Self { operations: operations.to_vec(), exchanges: exchanges.to_vec(), ..Self::default() }
    }

    /// Whether the process knows NATS servers, which some exchanges need.
    #[must_use]
    pub fn with_nats(self, has_nats: bool) -> Self {
        Self { has_nats, ..self }
    }

    /// The topics of the process's own configuration, whose paths are taken.
    #[must_use]
    pub fn with_topics(self, topics: &[config::Topic]) -> Self {
        Self { topics: topics.to_vec(), ..self }
    }

    /// What is to run when these are all there are.
    pub fn plan<'a>(
        &mut self,
        operations: impl IntoIterator<Item = (&'a String, &'a Asked<config::Operation>)>,
        exchanges: impl IntoIterator<Item = (&'a String, &'a Asked<config::Exchange>)>,
    ) -> Plan {
        let (operations, exchanges): (BTreeMap<_, _>, BTreeMap<_, _>) =
            (operations.into_iter().collect(), exchanges.into_iter().collect());
        forget(&mut self.good_operations, &operations);
        forget(&mut self.good_exchanges, &exchanges);
        let mut taken = Taken {
            operations: self.operations.clone(),
            exchanges: self.exchanges.clone(),
            own_exchanges: self.exchanges.len(),
            topics: self.topics.clone(),
            has_nats: self.has_nats,
        };
        let mut plan = Plan::default();
        let of_operations = operations.into_iter().map(|(name, asked)| (asked.created, name, Object::Operation(asked)));
        let of_exchanges = exchanges.into_iter().map(|(name, asked)| (asked.created, name, Object::Exchange(asked)));
        // Those of one second and name stay in this order, operations first.
        let mut order: Vec<_> = of_operations.chain(of_exchanges).collect();
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
            }
        }
        Plan { operations: taken.operations, exchanges: taken.exchanges, ..plan }
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
}

fn whose_topic(topic: &config::Topic) -> String {
    format!("topic {} of the sidecar's own configuration", topic.name)
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
        let topic = taken.topics.iter().find(|topic| topic.path == self.path).map(whose_topic);
        let whose = operation.or(exchange).or(topic)?;
        let message = format!("spec.path {} belongs to {whose}: choose another path", self.path);
        Some(Refused { reason: "PathConflict", message })
    }

    fn path(&self) -> &str {
        &self.path
    }
}

impl Place for config::Exchange {
    fn conflict(&self, taken: &Taken) -> Option<Refused> {
        if self.backend == Backend::Nats && !taken.has_nats {
            let message = "spec.backend: \"nats\" needs NATS servers, and the sidecar was started without: start it with --nats \
                           (nats.servers of the chart), or write memory";
            return Some(Refused { reason: "NoNats", message: message.to_owned() });
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
        if let Some(topic) = taken.topics.iter().find(|topic| topic.is_within(self)) {
            let message = format!("spec.path: {} takes the path {} of {}", self.path(), topic.path, whose_topic(topic));
            return Some(Refused { reason: "PathConflict", message });
        }
        let message = || format!("{EXCHANGES} exchanges are served already, which is the most: delete one of them");
        (taken.exchanges.len() >= EXCHANGES).then(|| Refused { reason: "TooMany", message: message() })
    }

    fn path(&self) -> &str {
        self.path.as_str()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn operation(name: &str, path: &str) -> config::Operation {
        config::Operation::example(name, path)
    }

    fn asked(name: &str, created: i64, path: &str) -> (String, Asked<config::Operation>) {
        let config = Ok(operation(name, path));
        (name.to_owned(), Asked { uid: format!("uid of {name}"), created, generation: 1, config })
    }

    fn exchange(name: &str, created: i64, path: &str) -> (String, Asked<config::Exchange>) {
        let path = config::PathPattern::parse(path).expect("a pattern");
        let config = Ok(config::Exchange { path, ..config::Exchange::example(name) });
        (name.to_owned(), Asked { uid: format!("uid of {name}"), created, generation: 1, config })
    }

    fn broken<C>((name, asked): (String, Asked<C>)) -> (String, Asked<C>) {
        (name, Asked { config: Err("spec.path is wrong".to_owned()), generation: 2, ..asked })
    }

    /// What runs, as `name at path`, and who is refused for what.
    fn short(plan: &Plan) -> (Vec<String>, Vec<(&str, &str)>) {
        let runs = plan.operations.iter().map(|config| format!("{} at {}", config.name, config.path)).collect();
        let refused =
            plan.operation_verdicts.iter().filter_map(|(name, it)| Some((&**name, it.refused.as_ref()?.reason)));
        (runs, refused.collect())
    }

    #[test]
    fn the_oldest_wins_a_path() {
        let mut planner = Planner::new(&[operation("fixed", "/fixed")], &[]);
        let plan = planner.plan(
            &BTreeMap::from([
                asked("b", 1, "/x"),
                asked("a", 2, "/x"),
                asked("c", 1, "/x"),
                asked("d", 0, "/fixed"),
                asked("fixed", 0, "/y"),
            ]),
            &BTreeMap::new(),
        );
        let refused =
            vec![("a", "PathConflict"), ("c", "PathConflict"), ("d", "PathConflict"), ("fixed", "NameConflict")];
        assert_eq!(short(&plan), (vec!["fixed at /fixed".to_owned(), "b at /x".to_owned()], refused));
        let message = &plan.operation_verdicts["a"].refused.as_ref().expect("refused").message;
        assert_eq!(message, "spec.path /x belongs to operation b, which is older: choose another path");
    }

    #[test]
    fn a_bad_spec_goes_on_with_the_last_good_one_of_the_same_object() {
        let mut planner = Planner::new(&[], &[]);
        let good = asked("a", 1, "/x");
        planner.plan(&BTreeMap::from([good.clone()]), &BTreeMap::new());
        let plan = planner.plan(&BTreeMap::from([broken(good.clone())]), &BTreeMap::new());
        assert_eq!(short(&plan), (vec!["a at /x".to_owned()], vec![("a", "InvalidSpec")]));
        let verdict = &plan.operation_verdicts["a"];
        assert!(verdict.runs && verdict.generation == 2);
        assert_eq!(
            verdict.refused.as_ref().expect("refused").message,
            "spec.path is wrong; it goes on at /x as it was"
        );
        let (name, anew) = broken(good.clone());
        let plan =
            planner.plan(&BTreeMap::from([(name, Asked { uid: "another".to_owned(), ..anew })]), &BTreeMap::new());
        assert!(plan.operations.is_empty() && !plan.operation_verdicts["a"].runs, "another object of the same name");
        planner.plan(&BTreeMap::from([good.clone()]), &BTreeMap::new());
        planner.plan(&BTreeMap::new(), &BTreeMap::new());
        assert!(
            planner.plan(&BTreeMap::from([broken(good)]), &BTreeMap::new()).operations.is_empty(),
            "nothing is remembered of what is gone"
        );
    }

    #[test]
    fn the_last_good_spec_yields_to_an_older_object() {
        let mut planner = Planner::new(&[], &[]);
        let (older, younger) = (asked("older", 1, "/y"), asked("younger", 2, "/x"));
        planner.plan(&BTreeMap::from([older, younger.clone()]), &BTreeMap::new());
        let plan = planner.plan(&BTreeMap::from([asked("older", 1, "/x"), broken(younger)]), &BTreeMap::new());
        assert_eq!(short(&plan), (vec!["older at /x".to_owned()], vec![("younger", "InvalidSpec")]));
    }

    /// Who is refused of the exchanges, and for what.
    fn refused(plan: &Plan) -> Vec<(&str, &str, &str)> {
        let refused = plan.exchange_verdicts.iter().filter_map(|(name, it)| Some((name, it.refused.as_ref()?)));
        refused.map(|(name, refused)| (&**name, refused.reason, &*refused.message)).collect()
    }

    #[test]
    fn an_exchange_at_nats_servers_is_accepted_where_some_are_known() {
        let (name, mut asked) = exchange("a", 1, "/a");
        let of_memory = BTreeMap::from([(name.clone(), asked.clone())]);
        asked.config = asked.config.map(|config| config::Exchange { backend: Backend::Nats, ..config });
        let of_nats = BTreeMap::from([(name, Asked { generation: 2, ..asked })]);
        let plan = Planner::new(&[], &[]).with_nats(true).plan(&BTreeMap::new(), &of_nats);
        assert_eq!((refused(&plan), plan.exchanges.len()), (Vec::new(), 1));
        let mut without = Planner::new(&[], &[]);
        let plan = without.plan(&BTreeMap::new(), &of_nats);
        let told = "spec.backend: \"nats\" needs NATS servers, and the sidecar was started without: start it with --nats \
                    (nats.servers of the chart), or write memory";
        assert_eq!((refused(&plan), plan.exchanges.len()), (vec![("a", "NoNats", told)], 0));
        without.plan(&BTreeMap::new(), &of_memory);
        let plan = without.plan(&BTreeMap::new(), &of_nats);
        assert_eq!(
            (refused(&plan)[0].1, plan.exchanges[0].backend),
            ("NoNats", Backend::Memory),
            "it goes on as it was"
        );
    }

    #[test]
    fn the_oldest_wins_a_path_of_whichever_kind() {
        let mut planner = Planner::new(&[operation("fixed", "/fixed")], &[config::Exchange::example("own")]);
        let operations = BTreeMap::from([asked("a", 1, "/a"), asked("b", 3, "/work/1"), asked("c", 3, "/exchange/x")]);
        let exchanges = BTreeMap::from([
            exchange("a", 2, "/a"),
            exchange("b", 0, "/fixed"),
            exchange("own", 0, "/x"),
            exchange("v", 4, "/work/{key}"),
            exchange("w", 2, "/work/{key}"),
            exchange("x", 2, "/b"),
            exchange("y", 0, "/own"),
        ]);
        let plan = planner.plan(&operations, &exchanges);
        assert_eq!(
            short(&plan),
            (
                vec!["fixed at /fixed".to_owned(), "a at /a".to_owned()],
                vec![("b", "PathConflict"), ("c", "PathConflict")]
            )
        );
        let message = &plan.operation_verdicts["b"].refused.as_ref().expect("refused").message;
        assert_eq!(message, "spec.path /work/1 belongs to exchange w, which is older: choose another path");
        let names: Vec<_> = plan.exchanges.iter().map(|exchange| &*exchange.name).collect();
        assert_eq!(names, ["own", "w", "x"]);
        let told = refused(&plan);
        for (at, name, reason, expected) in [
            (0, "a", "PathConflict", "spec.path: \"/a\" takes the path \"/a\" of operation a: choose another"),
            (1, "b", "PathConflict", "spec.path: \"/fixed\" takes the path \"/fixed\" of operation fixed: choose"),
            (2, "own", "NameConflict", "metadata.name: \"own\" is also the name of exchange own of the sidecar's own"),
            (3, "v", "PathConflict", "the path of exchange w, which is older have paths in common"),
            (
                4,
                "y",
                "PathConflict",
                "the path of exchange own of the sidecar's own configuration have paths in common",
            ),
        ] {
            assert_eq!((told[at].0, told[at].1), (name, reason));
            assert!(told[at].2.contains(expected), "{expected}: {}", told[at].2);
        }
        // Once the older one is gone.
        let plan = planner.plan(&operations, &BTreeMap::from([exchange("v", 4, "/work/{key}")]));
        assert_eq!(plan.operations.len(), 4);
        assert!(refused(&plan)[0].2.contains("takes the path \"/work/1\" of operation b"), "{:?}", refused(&plan));
    }

    #[test]
    fn the_path_of_a_topic_is_taken() {
        let mut planner = Planner::new(&[], &[]).with_topics(&[config::Topic::example("chat")]);
        let plan = planner.plan(
            &BTreeMap::from([asked("a", 1, "/chat"), asked("b", 1, "/chats/b")]),
            &BTreeMap::from([exchange("c", 1, "/{key}")]),
        );
        assert_eq!((plan.operations.len(), plan.exchanges.len()), (1, 0));
        let message = &plan.operation_verdicts["a"].refused.as_ref().expect("it is refused").message;
        let topic = "topic chat of the sidecar's own configuration";
        assert_eq!(*message, format!("spec.path /chat belongs to {topic}: choose another path"));
        let message = &plan.exchange_verdicts["c"].refused.as_ref().expect("it is refused").message;
        assert_eq!(*message, format!("spec.path: /{{key}} takes the path /chat of {topic}"));
    }

    #[test]
    fn an_exchange_whose_spec_turns_bad_goes_on_and_there_are_only_so_many() {
        let mut planner = Planner::new(&[], &[]);
        let none = BTreeMap::new();
        planner.plan(&none, &BTreeMap::from([exchange("a", 1, "/a")]));
        let plan = planner.plan(&none, &BTreeMap::from([broken(exchange("a", 1, "/a"))]));
        assert_eq!(refused(&plan), [("a", "InvalidSpec", "spec.path is wrong; it goes on at /a as it was")]);
        assert!(plan.exchange_verdicts["a"].runs && plan.exchanges.len() == 1);
        let many: BTreeMap<_, _> =
            (0..=EXCHANGES).map(|at| exchange(&format!("n{at:03}"), 1, &format!("/p{at}"))).collect();
        let plan = planner.plan(&none, &many);
        assert_eq!((plan.exchanges.len(), refused(&plan)[0].1), (EXCHANGES, "TooMany"));
    }

    proptest! {
        /// Names and paths never collide, whatever is asked in whatever order, and each object has its verdict.
        #[test]
        fn what_is_wanted_never_collides(rounds in prop::collection::vec(prop::collection::vec((0_u8..5, 0_u8..4, 0_i64..3, any::<bool>()), 0..6), 1..6)) {
            let mut planner = Planner::new(&[operation("n0", "/p0")], &[]);
            for round in rounds {
                let objects: BTreeMap<_, _> = round.into_iter().map(|(name, path, created, good)| {
                    let object = asked(&format!("n{name}"), created, &format!("/p{path}"));
                    if good { object } else { broken(object) }
                }).collect();
                let plan = planner.plan(&objects, &BTreeMap::new());
                let names: std::collections::BTreeSet<_> = plan.operations.iter().map(|config| &config.name).collect();
                let paths: std::collections::BTreeSet<_> = plan.operations.iter().map(|config| &config.path).collect();
                prop_assert!(names.len() == plan.operations.len() && paths.len() == plan.operations.len());
                prop_assert!(plan.operation_verdicts.keys().eq(objects.keys()));
                for (name, verdict) in &plan.operation_verdicts {
                    let runs = plan.operations.iter().skip(1).any(|config| config.name == *name);
                    prop_assert_eq!(verdict.runs, runs);
                }
            }
        }
    }
}
