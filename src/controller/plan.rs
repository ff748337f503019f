//! PURE. From the `DescribeOperation`s that there are to the operations that run, and what is to be
//! reported of each.
//!
//! The oldest object wins a path or a name, the same on every replica and after every restart;
//! operations of the process's own configuration come before all objects. One whose spec cannot be
//! used goes on with its last good one.

use std::collections::BTreeMap;

use crate::config;

/// One `DescribeOperation`, as it was read.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Tells it from another one that had its name before.
    pub uid: String,
    /// Seconds since the epoch; objects of the same second are in the order of their names.
    pub created: i64,
    /// Which spec it is.
    pub generation: i64,
    /// What it asks for, or all that is wrong with it.
    pub config: Result<config::Operation, String>,
}

/// The verdict on a `DescribeOperation`.
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

/// Why a `DescribeOperation` is not used as it is.
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
    /// Names and paths are distinct.
    pub wanted: Vec<config::Operation>,
    /// By name.
    pub verdicts: BTreeMap<String, Verdict>,
}

/// Plans, and remembers the last good specs.
#[derive(Debug, Default)]
pub struct Planner {
    fixed: Vec<config::Operation>,
    /// By name: whose it is, and the spec.
    good: BTreeMap<String, (String, config::Operation)>,
}

impl Planner {
    /// A planner for a process whose own configuration has these operations.
    #[must_use]
    pub fn new(fixed: &[config::Operation]) -> Self {
        Self { fixed: fixed.to_vec(), good: BTreeMap::new() }
    }

    /// What is to run when these are all there are.
    pub fn plan(&mut self, asked: &BTreeMap<String, Asked>) -> Plan {
        self.good.retain(|name, (uid, _)| asked.get(name).is_some_and(|asked| asked.uid == *uid));
        let mut plan = Plan { wanted: self.fixed.clone(), verdicts: BTreeMap::new() };
        let mut order: Vec<_> = asked.iter().collect();
        order.sort_by_key(|(name, asked)| (asked.created, *name));
        for (name, asked) in order {
            let (config, refused) = self.choose(name, asked, &plan.wanted);
            let verdict =
                Verdict { uid: asked.uid.clone(), generation: asked.generation, refused, runs: config.is_some() };
            plan.verdicts.insert(name.clone(), verdict);
            plan.wanted.extend(config);
        }
        plan
    }

    fn choose(
        &mut self,
        name: &str,
        asked: &Asked,
        taken: &[config::Operation],
    ) -> (Option<config::Operation>, Option<Refused>) {
        let refused = match &asked.config {
            Ok(config) => match conflict(config, taken) {
                None => {
                    self.good.insert(name.to_owned(), (asked.uid.clone(), config.clone()));
                    return (Some(config.clone()), None);
                }
                Some(refused) => refused,
            },
            Err(message) => Refused { reason: "InvalidSpec", message: message.clone() },
        };
        let good = self.good.get(name).map(|(_, config)| config).filter(|config| conflict(config, taken).is_none());
        let message = match good {
            Some(good) => format!("{}; it goes on at {} as it was", refused.message, good.path),
            None => refused.message,
        };
        (good.cloned(), Some(Refused { message, ..refused }))
    }
}

fn conflict(config: &config::Operation, taken: &[config::Operation]) -> Option<Refused> {
    let whose = |other: &config::Operation| format!("operation {}, which is older", other.name);
    if let Some(other) = taken.iter().find(|other| other.name == config.name) {
        let message = format!(
            "the name {} belongs to an operation of the sidecar's own configuration at {}: choose another",
            config.name, other.path
        );
        return Some(Refused { reason: "NameConflict", message });
    }
    let other = taken.iter().find(|other| other.path == config.path)?;
    let message = format!("spec.path {} belongs to {}: choose another path", config.path, whose(other));
    Some(Refused { reason: "PathConflict", message })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn operation(name: &str, path: &str) -> config::Operation {
        config::Operation::example(name, path)
    }

    fn asked(name: &str, created: i64, path: &str) -> (String, Asked) {
        let config = Ok(operation(name, path));
        (name.to_owned(), Asked { uid: format!("uid of {name}"), created, generation: 1, config })
    }

    fn broken((name, asked): (String, Asked)) -> (String, Asked) {
        (name, Asked { config: Err("spec.path is wrong".to_owned()), generation: 2, ..asked })
    }

    /// What runs, as `name at path`, and who is refused for what.
    fn short(plan: &Plan) -> (Vec<String>, Vec<(&str, &str)>) {
        let runs = plan.wanted.iter().map(|config| format!("{} at {}", config.name, config.path)).collect();
        let refused = plan.verdicts.iter().filter_map(|(name, it)| Some((&**name, it.refused.as_ref()?.reason)));
        (runs, refused.collect())
    }

    #[test]
    fn the_oldest_wins_a_path() {
        let mut planner = Planner::new(&[operation("fixed", "/fixed")]);
        let plan = planner.plan(&BTreeMap::from([
            asked("b", 1, "/x"),
            asked("a", 2, "/x"),
            asked("c", 1, "/x"),
            asked("d", 0, "/fixed"),
            asked("fixed", 0, "/y"),
        ]));
        let refused =
            vec![("a", "PathConflict"), ("c", "PathConflict"), ("d", "PathConflict"), ("fixed", "NameConflict")];
        assert_eq!(short(&plan), (vec!["fixed at /fixed".to_owned(), "b at /x".to_owned()], refused));
        let message = &plan.verdicts["a"].refused.as_ref().expect("refused").message;
        assert_eq!(message, "spec.path /x belongs to operation b, which is older: choose another path");
    }

    #[test]
    fn a_bad_spec_goes_on_with_the_last_good_one_of_the_same_object() {
        let mut planner = Planner::new(&[]);
        let good = asked("a", 1, "/x");
        planner.plan(&BTreeMap::from([good.clone()]));
        let plan = planner.plan(&BTreeMap::from([broken(good.clone())]));
        assert_eq!(short(&plan), (vec!["a at /x".to_owned()], vec![("a", "InvalidSpec")]));
        let verdict = &plan.verdicts["a"];
        assert!(verdict.runs && verdict.generation == 2);
        assert_eq!(
            verdict.refused.as_ref().expect("refused").message,
            "spec.path is wrong; it goes on at /x as it was"
        );
        let (name, anew) = broken(good.clone());
        let plan = planner.plan(&BTreeMap::from([(name, Asked { uid: "another".to_owned(), ..anew })]));
        assert!(plan.wanted.is_empty() && !plan.verdicts["a"].runs, "another object of the same name");
        planner.plan(&BTreeMap::from([good.clone()]));
        planner.plan(&BTreeMap::new());
        assert!(
            planner.plan(&BTreeMap::from([broken(good)])).wanted.is_empty(),
            "nothing is remembered of what is gone"
        );
    }

    #[test]
    fn the_last_good_spec_yields_to_an_older_object() {
        let mut planner = Planner::new(&[]);
        let (older, younger) = (asked("older", 1, "/y"), asked("younger", 2, "/x"));
        planner.plan(&BTreeMap::from([older, younger.clone()]));
        let plan = planner.plan(&BTreeMap::from([asked("older", 1, "/x"), broken(younger)]));
        assert_eq!(short(&plan), (vec!["older at /x".to_owned()], vec![("younger", "InvalidSpec")]));
    }

    proptest! {
        /// Names and paths never collide, whatever is asked in whatever order, and each object has its verdict.
        #[test]
        fn what_is_wanted_never_collides(rounds in prop::collection::vec(prop::collection::vec((0_u8..5, 0_u8..4, 0_i64..3, any::<bool>()), 0..6), 1..6)) {
            let mut planner = Planner::new(&[operation("n0", "/p0")]);
            for round in rounds {
                let objects: BTreeMap<_, _> = round.into_iter().map(|(name, path, created, good)| {
                    let object = asked(&format!("n{name}"), created, &format!("/p{path}"));
                    if good { object } else { broken(object) }
                }).collect();
                let plan = planner.plan(&objects);
                let names: std::collections::BTreeSet<_> = plan.wanted.iter().map(|config| &config.name).collect();
                let paths: std::collections::BTreeSet<_> = plan.wanted.iter().map(|config| &config.path).collect();
                prop_assert!(names.len() == plan.wanted.len() && paths.len() == plan.wanted.len());
                prop_assert!(plan.verdicts.keys().eq(objects.keys()));
                for (name, verdict) in &plan.verdicts {
                    let runs = plan.wanted.iter().skip(1).any(|config| config.name == *name);
                    prop_assert_eq!(verdict.runs, runs);
                }
            }
        }
    }
}
