//! What a judge is asked, in paused time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::*;
use crate::bounds::{ACCESS_REFUSED_FOR, BAD_CREDENTIALS, BAD_CREDENTIALS_PACE, CALLER_QUESTIONS_PENDING};

/// Takes a second, and allows what has "open" in its name.
#[derive(Debug, Default)]
struct Slow {
    asked: AtomicUsize,
}

#[async_trait]
impl Judge for Slow {
    async fn allows(&self, _: &Known, action: &Action) -> Result<bool, String> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_secs(1)).await;
        Ok(matches!(action, Action::Poll(operation) if operation.contains("open")))
    }
}

fn judged() -> (Authorization, Arc<Slow>) {
    let (slow, kept) = (Arc::<Slow>::default(), IntGauge::new("kept", "Kept.").expect("a gauge"));
    (Authorization::by_judge(Policy::default(), false, slow.clone(), kept, Arc::default()), slow)
}

fn caller(name: &str) -> Caller {
    Caller::Known(Known::new(name, Box::default()))
}

/// What it comes to, and how long that took.
async fn timed(decision: Decision) -> (Result<(), Denied>, Duration) {
    let start = Instant::now();
    let decision = decision.known().await.map(drop);
    (decision, start.elapsed())
}

#[tokio::test(start_paused = true)]
async fn an_operation_that_is_not_there_costs_what_one_costs_that_is_forbidden() {
    let (authorization, slow) = judged();
    let mallory = caller("mallory");
    let there = |name: &str| authorization.decide(mallory.clone(), name, &[]);
    let nothing = |path: &str| authorization.decide_nothing(mallory.clone(), path);
    let refused = (Err(Denied::Forbidden), Duration::from_secs(1));
    for round in 0..3 {
        // What was found out is kept for a while.
        let expected = if round == 1 { (refused.0, Duration::ZERO) } else { refused };
        assert_eq!((timed(there("secret")).await, timed(nothing("/none")).await), (expected, expected), "{round}");
        if round == 1 {
            tokio::time::sleep(ACCESS_REFUSED_FOR).await;
        }
    }
    assert_eq!(slow.asked.load(Ordering::Relaxed), 4);
    assert_eq!(timed(there("open")).await, (Ok(()), Duration::from_secs(1)));
}

#[tokio::test(start_paused = true)]
async fn who_asks_for_much_that_is_forbidden_finds_nothing_out_for_a_while() {
    let (authorization, slow) = judged();
    let (mallory, other) = (caller("mallory"), caller("other"));
    assert_eq!(timed(authorization.decide(mallory.clone(), "open-1", &[])).await.0, Ok(()));
    let questions = (0..BAD_CREDENTIALS)
        .map(|number| authorization.decide_nothing(mallory.clone(), &format!("/describe/{number}")).known());
    let guessed: Vec<_> = futures::future::join_all(questions).await;
    assert!(guessed.iter().all(|guess| *guess == Err(Denied::Forbidden)), "{guessed:?}");
    let asked = slow.asked.load(Ordering::Relaxed);
    let limited = (Err(Denied::Limited), Duration::ZERO);
    assert_eq!(timed(authorization.decide(mallory.clone(), "secret", &[])).await, limited);
    assert_eq!(timed(authorization.decide(mallory.clone(), "open-2", &[])).await, limited);
    assert_eq!(timed(authorization.decide_nothing(mallory.clone(), "/none")).await, limited);
    assert_eq!(slow.asked.load(Ordering::Relaxed), asked, "nobody was asked");
    // What is known already goes on, and so do others.
    assert_eq!(timed(authorization.decide(mallory.clone(), "open-1", &[])).await, (Ok(()), Duration::ZERO));
    assert_eq!(timed(authorization.decide(other, "open-2", &[])).await.0, Ok(()));
    tokio::time::sleep(BAD_CREDENTIALS_PACE).await;
    assert_eq!(timed(authorization.decide(mallory, "open-2", &[])).await.0, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn without_a_judge_whoever_may_poll_something_of_all_learns_that_nothing_is_there() {
    let rule = |subject: &str, operation: &str, part: &str| Rule {
        subjects: vec![subject.parse().expect("a subject")],
        operations: vec![operation.parse().expect("a pattern")],
        restrict: (!part.is_empty()).then(|| part.parse().expect("a part")).into_iter().collect(),
    };
    let rules = vec![
        rule("user:admin", "*", ""),
        rule("user:part", "*", "/nodes/{name}"),
        rule("user:unbound", "*", "/nodes/{node}"),
        rule("user:zone", "zone-*", ""),
    ];
    let authorization = Authorization::by_rules(Policy { rules, ..Policy::default() });
    for (name, expected) in [("admin", true), ("part", true), ("unbound", false), ("zone", false), ("other", false)] {
        let (decision, _) = timed(authorization.decide_nothing(caller(name), "/zone-x")).await;
        assert_eq!(decision.is_ok(), expected, "{name}");
    }
    assert!(!authorization.allows_anonymous());
}

#[tokio::test(start_paused = true)]
async fn a_caller_has_a_few_questions_asked_at_once_and_others_have_theirs() {
    let (authorization, slow) = judged();
    let (one, other) = (caller("one"), caller("other"));
    let poll = |number: usize| authorization.decide(one.clone(), &format!("open-{number}"), &[]).known();
    let decisions = futures::future::join_all((0..CALLER_QUESTIONS_PENDING + 3).map(poll));
    let others = authorization.decide(other, "open-0", &[]).known();
    let (decisions, others) = tokio::join!(decisions, others);
    let is = |expected: Option<Denied>| {
        move |decision: &&Result<Allowed, Denied>| decision.as_ref().err().copied() == expected
    };
    assert_eq!(decisions.iter().filter(is(None)).count(), CALLER_QUESTIONS_PENDING);
    assert_eq!(decisions.iter().filter(is(Some(Denied::Crowded))).count(), 3);
    assert!(others.is_ok(), "{others:?}");
    assert_eq!(slow.asked.load(Ordering::Relaxed), CALLER_QUESTIONS_PENDING + 1);
    assert!(poll(CALLER_QUESTIONS_PENDING + 2).await.is_ok(), "once there is room again");
}
