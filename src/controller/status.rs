//! What is written into the statuses of a `DescribeOperation` and of the models that it serves: from
//! what the replicas say, and what this one, which holds the Lease, has read. `now` is an argument.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::plan::Verdict;
use super::totals::{self, Finding, Report, ServedState};
use crate::bounds::STATUS_TEXT;
use crate::crd::condition::{self, ACCEPTED, CONVERGED, HELD, READY, SERVED, Truth};
use crate::crd::describe_operation::{DescribeOperationStatus, Totals};
use crate::crd::network_model::NetworkModelStatus;

/// The reason of what is as it is since another condition, Accepted, is false.
pub(super) const NOT_ACCEPTED: &str = "NotAccepted";

/// What this replica knows of an operation itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mine {
    /// Where the model comes from, in words.
    pub source: Option<String>,
    /// The id that it serves.
    pub state_id: Option<String>,
    /// The newest state that its source gave, be it published or not.
    pub applied: Option<ServedState>,
    /// Why its source cannot be followed; none: it is. Known here before it is reported.
    pub source_error: Option<String>,
    /// Why the newest state is not published; none: it is, or is about to be.
    pub suppressed: Option<Suppressed>,
}

/// Why the newest state is not published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suppressed {
    /// One word for programs.
    pub reason: &'static str,
    /// For people, with the remedy.
    pub message: String,
}

/// The status of an operation. `old` is what stands there: what did not change keeps its time.
#[must_use]
pub fn of_operation(
    old: Option<&DescribeOperationStatus>,
    verdict: &Verdict,
    mine: &Mine,
    reports: &[Report],
    now: &Time,
) -> DescribeOperationStatus {
    let sums = totals::sum(reports);
    let mut status = DescribeOperationStatus {
        observed_generation: Some(verdict.generation),
        source: mine.source.as_deref().map(|source| condition::cut(source, STATUS_TEXT)),
        state_id: mine.state_id.clone(),
        totals: Some(Totals {
            replicas: sums.replicas,
            parked: sums.parked,
            agents: sums.agents.total(),
            converged: sums.agents.converged,
            lagging: sums.agents.lagging,
            rejecting: sums.agents.rejecting,
        }),
        worst_agents: sums.worst.iter().map(|worst| worst.0.clone()).collect(),
        conditions: old.map(|old| old.conditions.clone()).unwrap_or_default(),
    };
    let accepted = match &verdict.refused {
        None => Finding::yes("Valid", "the spec is used".to_owned()),
        Some(refused) => Finding::no(refused.reason, refused.message.clone()),
    };
    let (ready, converged) = if verdict.runs {
        (totals::ready(reports), converged(verdict, mine, reports))
    } else {
        let nothing = || "it does not run, see the condition Accepted".to_owned();
        (Finding::no(NOT_ACCEPTED, nothing()), Finding::unknown(NOT_ACCEPTED, nothing()))
    };
    let held = match &mine.suppressed {
        None => Finding::no("Published", "the newest state of the source is published".to_owned()),
        Some(Suppressed { reason, message }) => Finding::yes(reason, message.clone()),
    };
    for (kind, finding) in [(ACCEPTED, accepted), (READY, ready), (CONVERGED, converged), (HELD, held)] {
        set(&mut status.conditions, kind, &finding, verdict.generation, now);
    }
    status
}

/// Of an operation that runs: True only of what its spec of this generation asks for, as its source is now.
fn converged(verdict: &Verdict, mine: &Mine, reports: &[Report]) -> Finding {
    let accepted = match &verdict.refused {
        None => Finding::yes("Valid", String::new()),
        Some(_) => Finding::unknown(NOT_ACCEPTED, "an earlier spec runs, see the condition Accepted".to_owned()),
    };
    let mine_follows = match &mine.source_error {
        None => Finding::yes("Live", String::new()),
        Some(why) => Finding::unknown("SourceLost", format!("its source cannot be followed: {why}")),
    };
    let follow = mine_follows.and(totals::followed(reports));
    totals::converged(mine.applied.as_ref(), reports).and(accepted).and(follow)
}

/// One operation that serves a model, for that model's status.
#[derive(Debug, Clone, Copy)]
pub struct Serving<'a> {
    /// The operation's name.
    pub operation: &'a str,
    /// What this replica knows of it.
    pub mine: &'a Mine,
    /// What the replicas say of it.
    pub reports: &'a [Report],
}

/// The status of a model at `generation`, which every operation in `serving` uses; `wrong`: why it cannot be used.
#[must_use]
pub fn of_model(
    old: Option<&NetworkModelStatus>,
    generation: i64,
    wrong: Option<&str>,
    serving: &[Serving<'_>],
    now: &Time,
) -> NetworkModelStatus {
    let mut status = NetworkModelStatus {
        observed_generation: Some(generation),
        state_id: serving.first().and_then(|first| first.mine.state_id.clone()),
        conditions: old.map(|old| old.conditions.clone()).unwrap_or_default(),
    };
    let (accepted, served, converged) = if let Some(wrong) = wrong {
        let nothing = || "its spec cannot be used, see the condition Accepted".to_owned();
        let not = || Finding::no(NOT_ACCEPTED, nothing());
        (Finding::no("Invalid", wrong.to_owned()), not(), not())
    } else {
        let all = |finding: fn(Option<&ServedState>, &[Report]) -> Finding| {
            let of_one = |one: &Serving<'_>| {
                let found = match &one.mine.suppressed {
                    Some(Suppressed { reason, message }) => Finding::no(reason, message.clone()),
                    None => finding(one.mine.applied.as_ref(), one.reports),
                };
                Finding { message: format!("operation {}: {}", one.operation, found.message), ..found }
            };
            let none = || Finding::unknown("NotServed", "no operation serves it".to_owned());
            serving.iter().map(of_one).reduce(Finding::and).unwrap_or_else(none)
        };
        (Finding::yes("Valid", "its spec is used".to_owned()), all(totals::served), all(totals::converged))
    };
    for (kind, finding) in [(ACCEPTED, accepted), (SERVED, served), (CONVERGED, converged)] {
        set(&mut status.conditions, kind, &finding, generation, now);
    }
    status
}

/// Whether a model's status is to be written: when the generation or a condition's answer changed. Numbers in
/// messages and the id alone are no reason: every write sends the whole model to all who watch it.
#[must_use]
pub fn is_news(old: Option<&NetworkModelStatus>, new: &NetworkModelStatus) -> bool {
    let answers = |status: &NetworkModelStatus| {
        let answer = |it: &Condition| (it.type_.clone(), it.status.clone(), it.reason.clone(), it.observed_generation);
        (status.observed_generation, status.conditions.iter().map(answer).collect::<Vec<_>>())
    };
    old.is_none_or(|old| answers(old) != answers(new))
}

/// What became bad since the old conditions, for an Event: reason and message.
#[must_use]
pub fn newly_failing<'a>(old: &[Condition], new: &'a [Condition]) -> Vec<&'a Condition> {
    // Where it does not run since it is not accepted, another condition reports that already.
    let follows = |it: &Condition| it.reason == NOT_ACCEPTED;
    let is_bad =
        |it: &Condition| matches!(&*it.type_, ACCEPTED | READY) && it.status == Truth::False.as_str() && !follows(it);
    let was = |now: &Condition| old.iter().any(|old| old.type_ == now.type_ && is_bad(old) && old.reason == now.reason);
    new.iter().filter(|now| is_bad(now) && !was(now)).collect()
}

/// Says a finding of an object of this generation.
pub(super) fn set(conditions: &mut Vec<Condition>, kind: &'static str, finding: &Finding, generation: i64, now: &Time) {
    let truth = match finding.status {
        Some(true) => Truth::True,
        Some(false) => Truth::False,
        None => Truth::Unknown,
    };
    let Finding { reason, message, .. } = finding;
    let found = condition::Finding { condition: kind, truth, reason, message, generation: Some(generation) };
    condition::say(conditions, &found, now);
}

#[cfg(test)]
pub(super) mod tests {
    use k8s_openapi::jiff;

    use super::*;
    use crate::controller::plan::Refused;
    use crate::registry::AgentCounts;

    pub(in crate::controller) fn at(second: i64) -> Time {
        Time(jiff::Timestamp::from_second(second).expect("in range"))
    }

    pub(in crate::controller) fn verdict(refused: Option<Refused>) -> Verdict {
        Verdict { uid: "u".to_owned(), generation: 3, runs: refused.is_none(), refused }
    }

    fn held(inputs: &str) -> ServedState {
        ServedState { state: "e.d".to_owned(), inputs: inputs.to_owned() }
    }

    fn mine(inputs: &str) -> Mine {
        Mine { state_id: Some("e.7.d".to_owned()), applied: Some(held(inputs)), ..Mine::default() }
    }

    fn report(inputs: &str, agents: u64) -> Report {
        let agents = AgentCounts { converged: agents, ..AgentCounts::default() };
        Report {
            replica: "a".to_owned(),
            held: Some(held(inputs)),
            source_error: None,
            silent: None,
            parked: 1,
            agents,
            worst: Vec::new(),
        }
    }

    /// Type, status and reason of each condition.
    fn short(conditions: &[Condition]) -> Vec<String> {
        conditions.iter().map(|it| format!("{} {} {}", it.type_, it.status, it.reason)).collect()
    }

    #[test]
    fn an_operation_says_what_it_is_and_since_when() {
        let first = of_operation(None, &verdict(None), &mine("g1"), &[report("g1", 2)], &at(10));
        assert_eq!(
            short(&first.conditions),
            ["Accepted True Valid", "Ready True Live", "Converged True AllAgentsHold", "Held False Published"]
        );
        assert_eq!((first.observed_generation, first.totals.map(|it| it.agents)), (Some(3), Some(2)));
        let again = of_operation(Some(&first), &verdict(None), &mine("g1"), &[report("g1", 2)], &at(20));
        assert_eq!(again, first, "nothing changed, so nothing is written");
        let behind = of_operation(Some(&first), &verdict(None), &mine("g2"), &[report("g1", 2)], &at(30));
        assert_eq!(short(&behind.conditions)[2], "Converged False ReplicasBehind", "the same state of other objects");
        assert_eq!(behind.conditions[2].last_transition_time, at(30));
        assert_eq!(behind.conditions[1].last_transition_time, at(10));
        assert!(newly_failing(&first.conditions, &behind.conditions).is_empty(), "to be behind is no Event");
        let blind = Report { source_error: Some("no route to host".to_owned()), ..report("g1", 2) };
        let blind = of_operation(None, &verdict(None), &mine("g1"), &[report("g1", 2), blind], &at(10));
        assert_eq!(short(&blind.conditions)[1..3], ["Ready True LastGood", "Converged Unknown SourceLost"]);
        let changed = Mine { source_error: Some("its source was changed".to_owned()), ..mine("g1") };
        let changed = of_operation(None, &verdict(None), &changed, &[report("g1", 2)], &at(10));
        assert_eq!(short(&changed.conditions)[2], "Converged Unknown SourceLost", "before it is reported");
        let refused = Refused { reason: "InvalidSpec", message: "why".to_owned() };
        let earlier = Verdict { runs: true, ..verdict(Some(refused)) };
        let earlier = of_operation(Some(&first), &earlier, &mine("g1"), &[report("g1", 2)], &at(30));
        assert_eq!(short(&earlier.conditions)[2], "Converged Unknown NotAccepted", "of a spec that is not used");
    }

    #[test]
    fn what_is_refused_is_one_event_until_another_reason() {
        let refused = |reason| Refused { reason, message: "why".to_owned() };
        let bad = of_operation(None, &verdict(Some(refused("PathConflict"))), &Mine::default(), &[], &at(10));
        assert_eq!(short(&bad.conditions)[..2], ["Accepted False PathConflict", "Ready False NotAccepted"]);
        let reasons = |old: &[Condition], new: &[Condition]| -> Vec<String> {
            newly_failing(old, new).iter().map(|it| it.reason.clone()).collect()
        };
        assert_eq!(reasons(&[], &bad.conditions), ["PathConflict"]);
        assert_eq!(reasons(&bad.conditions, &bad.conditions), [""; 0]);
        let worse = of_operation(Some(&bad), &verdict(Some(refused("InvalidSpec"))), &Mine::default(), &[], &at(20));
        assert_eq!(reasons(&bad.conditions, &worse.conditions), ["InvalidSpec"]);
    }

    #[test]
    fn a_model_is_what_every_operation_that_serves_it_says() {
        let (now, late) = (mine("g1"), Mine { applied: Some(held("g2")), ..mine("g1") });
        let reports = [report("g1", 2)];
        let serving = |operation, mine| Serving { operation, mine, reports: &reports };
        let both = |other| of_model(None, 4, None, &[serving("one", &now), serving("two", other)], &at(10));
        let good = both(&now);
        assert_eq!(
            short(&good.conditions),
            ["Accepted True Valid", "Served True Served", "Converged True AllAgentsHold"]
        );
        assert!(good.conditions.iter().all(|it| it.observed_generation == Some(4)));
        let behind = both(&late);
        assert_eq!(short(&behind.conditions)[2], "Converged False ReplicasBehind");
        assert!(behind.conditions[2].message.starts_with("operation two: "), "{}", behind.conditions[2].message);
        let paused =
            Mine { suppressed: Some(Suppressed { reason: "Paused", message: "paused".to_owned() }), ..mine("g1") };
        assert_eq!(short(&both(&paused).conditions)[1], "Served False Paused");
        assert_eq!(short(&of_model(None, 4, None, &[], &at(10)).conditions)[2], "Converged Unknown NotServed");
        let wrong = of_model(None, 4, Some("too deep"), &[serving("one", &now)], &at(10));
        assert_eq!(short(&wrong.conditions)[..2], ["Accepted False Invalid", "Served False NotAccepted"]);
    }

    #[test]
    fn a_model_is_written_for_another_answer_and_not_for_another_number() {
        let now = mine("g1");
        let model = |agents, generation| {
            let reports = [report("g1", agents)];
            of_model(None, generation, None, &[Serving { operation: "one", mine: &now, reports: &reports }], &at(10))
        };
        let old = model(2, 4);
        assert!(is_news(None, &old));
        assert!(!is_news(Some(&old), &model(3, 4)), "one agent more");
        assert!(is_news(Some(&old), &model(0, 4)), "none is left");
        assert!(is_news(Some(&old), &model(2, 5)), "applied anew");
    }
}
