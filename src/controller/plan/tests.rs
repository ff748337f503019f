//! What is planned of objects of all kinds.

use proptest::prelude::*;

use super::*;

const NO_TOPICS: BTreeMap<String, Asked<config::Topic>> = BTreeMap::new();

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

fn topic(name: &str, created: i64, path: &str) -> (String, Asked<config::Topic>) {
    let config = Ok(config::Topic { path: path.to_owned(), ..config::Topic::example(name) });
    (name.to_owned(), Asked { uid: format!("uid of {name}"), created, generation: 1, config })
}

fn broken<C>((name, asked): (String, Asked<C>)) -> (String, Asked<C>) {
    (name, Asked { config: Err("spec.path is wrong".to_owned()), generation: 2, ..asked })
}

/// What runs, as `name at path`, and who is refused for what.
fn short(plan: &Plan) -> (Vec<String>, Vec<(&str, &str)>) {
    let runs = plan.operations.iter().map(|config| format!("{} at {}", config.name, config.path)).collect();
    let refused = plan.operation_verdicts.iter().filter_map(|(name, it)| Some((&**name, it.refused.as_ref()?.reason)));
    (runs, refused.collect())
}

#[test]
fn the_oldest_wins_a_path() {
    let mut planner = Planner::new(&[operation("fixed", "/fixed")], &[], &[]);
    let plan = planner.plan(
        &BTreeMap::from([
            asked("b", 1, "/x"),
            asked("a", 2, "/x"),
            asked("c", 1, "/x"),
            asked("d", 0, "/fixed"),
            asked("fixed", 0, "/y"),
        ]),
        &BTreeMap::new(),
        &NO_TOPICS,
    );
    let refused = vec![("a", "PathConflict"), ("c", "PathConflict"), ("d", "PathConflict"), ("fixed", "NameConflict")];
    assert_eq!(short(&plan), (vec!["fixed at /fixed".to_owned(), "b at /x".to_owned()], refused));
    let message = &plan.operation_verdicts["a"].refused.as_ref().expect("refused").message;
    assert_eq!(message, "spec.path /x belongs to operation b, which is older: choose another path");
}

#[test]
fn a_bad_spec_goes_on_with_the_last_good_one_of_the_same_object() {
    let mut planner = Planner::new(&[], &[], &[]);
    let good = asked("a", 1, "/x");
    planner.plan(&BTreeMap::from([good.clone()]), &BTreeMap::new(), &NO_TOPICS);
    let plan = planner.plan(&BTreeMap::from([broken(good.clone())]), &BTreeMap::new(), &NO_TOPICS);
    assert_eq!(short(&plan), (vec!["a at /x".to_owned()], vec![("a", "InvalidSpec")]));
    let verdict = &plan.operation_verdicts["a"];
    assert!(verdict.runs && verdict.generation == 2);
    assert_eq!(verdict.refused.as_ref().expect("refused").message, "spec.path is wrong; it goes on at /x as it was");
    let (name, anew) = broken(good.clone());
    let plan = planner.plan(
        &BTreeMap::from([(name, Asked { uid: "another".to_owned(), ..anew })]),
        &BTreeMap::new(),
        &NO_TOPICS,
    );
    assert!(plan.operations.is_empty() && !plan.operation_verdicts["a"].runs, "another object of the same name");
    planner.plan(&BTreeMap::from([good.clone()]), &BTreeMap::new(), &NO_TOPICS);
    planner.plan(&BTreeMap::new(), &BTreeMap::new(), &NO_TOPICS);
    assert!(
        planner.plan(&BTreeMap::from([broken(good)]), &BTreeMap::new(), &NO_TOPICS).operations.is_empty(),
        "nothing is remembered of what is gone"
    );
}

#[test]
fn the_last_good_spec_yields_to_an_older_object() {
    let mut planner = Planner::new(&[], &[], &[]);
    let (older, younger) = (asked("older", 1, "/y"), asked("younger", 2, "/x"));
    planner.plan(&BTreeMap::from([older, younger.clone()]), &BTreeMap::new(), &NO_TOPICS);
    let plan = planner.plan(&BTreeMap::from([asked("older", 1, "/x"), broken(younger)]), &BTreeMap::new(), &NO_TOPICS);
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
    let plan = Planner::new(&[], &[], &[]).with_nats(true).plan(&BTreeMap::new(), &of_nats, &NO_TOPICS);
    assert_eq!((refused(&plan), plan.exchanges.len()), (Vec::new(), 1));
    let mut without = Planner::new(&[], &[], &[]);
    let plan = without.plan(&BTreeMap::new(), &of_nats, &NO_TOPICS);
    let told = "spec.backend: \"nats\" needs NATS servers, and the sidecar was started without: start it with --nats \
                (nats.servers of the chart), or write memory";
    assert_eq!((refused(&plan), plan.exchanges.len()), (vec![("a", "NoNats", told)], 0));
    without.plan(&BTreeMap::new(), &of_memory, &NO_TOPICS);
    let plan = without.plan(&BTreeMap::new(), &of_nats, &NO_TOPICS);
    assert_eq!((refused(&plan)[0].1, plan.exchanges[0].backend), ("NoNats", Backend::Memory), "it goes on as it was");
}

#[test]
fn the_oldest_wins_a_path_of_whichever_kind() {
    let mut planner = Planner::new(&[operation("fixed", "/fixed")], &[config::Exchange::example("own")], &[]);
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
    let plan = planner.plan(&operations, &exchanges, &NO_TOPICS);
    assert_eq!(
        short(&plan),
        (vec!["fixed at /fixed".to_owned(), "a at /a".to_owned()], vec![("b", "PathConflict"), ("c", "PathConflict")])
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
        (4, "y", "PathConflict", "the path of exchange own of the sidecar's own configuration have paths in common"),
    ] {
        assert_eq!((told[at].0, told[at].1), (name, reason));
        assert!(told[at].2.contains(expected), "{expected}: {}", told[at].2);
    }
    // Once the older one is gone.
    let plan = planner.plan(&operations, &BTreeMap::from([exchange("v", 4, "/work/{key}")]), &NO_TOPICS);
    assert_eq!(plan.operations.len(), 4);
    assert!(refused(&plan)[0].2.contains("takes the path \"/work/1\" of operation b"), "{:?}", refused(&plan));
}

#[test]
fn the_path_of_a_topic_is_taken() {
    let mut planner = Planner::new(&[], &[], &[config::Topic::example("chat")]);
    let plan = planner.plan(
        &BTreeMap::from([asked("a", 1, "/chat"), asked("b", 1, "/chats/b")]),
        &BTreeMap::from([exchange("c", 1, "/{key}")]),
        &NO_TOPICS,
    );
    assert_eq!((plan.operations.len(), plan.exchanges.len()), (1, 0));
    let message = &plan.operation_verdicts["a"].refused.as_ref().expect("it is refused").message;
    let topic = "topic chat of the sidecar's own configuration";
    assert_eq!(*message, format!("spec.path /chat belongs to {topic}: choose another path"));
    let message = &plan.exchange_verdicts["c"].refused.as_ref().expect("it is refused").message;
    assert_eq!(*message, format!("spec.path: /{{key}} takes the path /chat of {topic}"));
}

#[test]
fn a_topic_yields_to_what_is_older_and_keeps_its_path_from_what_is_younger() {
    let own = config::Topic { path: "/own".to_owned(), ..config::Topic::example("own") };
    let mut planner = Planner::new(&[], &[], &[own]);
    let operations = BTreeMap::from([asked("a", 1, "/a"), asked("late", 3, "/t")]);
    let exchanges = BTreeMap::from([exchange("x", 1, "/x/{key}"), exchange("y", 3, "/own")]);
    let topics = BTreeMap::from([
        topic("t", 2, "/t"),
        topic("b", 2, "/a"),
        topic("c", 2, "/x/1"),
        topic("d", 3, "/t"),
        topic("own", 0, "/other"),
        topic("e", 0, "/own"),
    ]);
    let plan = planner.plan(&operations, &exchanges, &topics);
    let names: Vec<_> = plan.topics.iter().map(|topic| &*topic.name).collect();
    assert_eq!((names, plan.operations.len(), plan.exchanges.len()), (vec!["own", "t"], 1, 1));
    let told = |name: &str| plan.topic_verdicts[name].refused.as_ref().map(|it| (it.reason, &*it.message));
    for (name, reason, message) in [
        ("b", "PathConflict", "spec.path: \"/a\" belongs to operation a: choose another"),
        ("c", "PathConflict", "spec.path: \"/x/1\" belongs to exchange x, which is older: choose another"),
        ("d", "PathConflict", "spec.path: \"/t\" is also the path of topic t, which is older: give each topic its own"),
        (
            "e",
            "PathConflict",
            "spec.path: \"/own\" is also the path of topic own of the sidecar's own configuration: give each topic its own",
        ),
        (
            "own",
            "NameConflict",
            "metadata.name: \"own\" is also the name of topic own of the sidecar's own configuration: give each topic its own",
        ),
    ] {
        assert_eq!(told(name), Some((reason, message)));
    }
    assert_eq!(told("t"), None);
    let late = plan.operation_verdicts["late"].refused.as_ref().expect("it is refused");
    assert_eq!(late.message, "spec.path /t belongs to topic t, which is older: choose another path");
    assert_eq!(
        refused(&plan)[0].2,
        "spec.path: /own takes the path /own of topic own of the sidecar's own configuration"
    );
    // One whose spec turns bad goes on, and the younger one has its turn once it is gone.
    let bad = BTreeMap::from([broken(topic("t", 2, "/t")), topic("d", 3, "/t")]);
    let plan = planner.plan(&BTreeMap::new(), &BTreeMap::new(), &bad);
    assert!(plan.topic_verdicts["t"].runs && plan.topic_verdicts["d"].refused.is_some());
    let plan = planner.plan(&BTreeMap::new(), &BTreeMap::new(), &BTreeMap::from([topic("d", 3, "/t")]));
    assert_eq!((plan.topics.len(), &plan.topic_verdicts["d"].refused), (2, &None));
    let many: BTreeMap<_, _> = (0..TOPICS).map(|at| topic(&format!("n{at:03}"), 1, &format!("/p{at}"))).collect();
    let plan = planner.plan(&BTreeMap::new(), &BTreeMap::new(), &many);
    let last = &plan.topic_verdicts[&format!("n{:03}", TOPICS - 1)];
    assert_eq!((plan.topics.len(), last.refused.as_ref().map(|it| it.reason)), (TOPICS, Some("TooMany")));
}

#[test]
fn an_exchange_whose_spec_turns_bad_goes_on_and_there_are_only_so_many() {
    let mut planner = Planner::new(&[], &[], &[]);
    let none = BTreeMap::new();
    planner.plan(&none, &BTreeMap::from([exchange("a", 1, "/a")]), &NO_TOPICS);
    let plan = planner.plan(&none, &BTreeMap::from([broken(exchange("a", 1, "/a"))]), &NO_TOPICS);
    assert_eq!(refused(&plan), [("a", "InvalidSpec", "spec.path is wrong; it goes on at /a as it was")]);
    assert!(plan.exchange_verdicts["a"].runs && plan.exchanges.len() == 1);
    let many: BTreeMap<_, _> =
        (0..=EXCHANGES).map(|at| exchange(&format!("n{at:03}"), 1, &format!("/p{at}"))).collect();
    let plan = planner.plan(&none, &many, &NO_TOPICS);
    assert_eq!((plan.exchanges.len(), refused(&plan)[0].1), (EXCHANGES, "TooMany"));
}

proptest! {
    /// Names and paths never collide, whatever is asked in whatever order, and each object has its verdict.
    #[test]
    fn what_is_wanted_never_collides(rounds in prop::collection::vec(prop::collection::vec((0_u8..5, 0_u8..4, 0_i64..3, any::<bool>()), 0..6), 1..6)) {
        let mut planner = Planner::new(&[operation("n0", "/p0")], &[], &[]);
        for round in rounds {
            let objects: BTreeMap<_, _> = round.into_iter().map(|(name, path, created, good)| {
                let object = asked(&format!("n{name}"), created, &format!("/p{path}"));
                if good { object } else { broken(object) }
            }).collect();
            let plan = planner.plan(&objects, &BTreeMap::new(), &NO_TOPICS);
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
