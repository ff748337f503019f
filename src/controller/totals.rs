//! PURE. The reports of all replicas on one operation become one answer: how many hold what, and
//! whether every live agent holds the state that was applied.
//!
//! Decided by ids and by the objects that a state was made from, never by counting generations: a
//! model that goes from A to B and back to A has A's id twice, and only a replica that reports to
//! have read the newest objects counts as past B.

use std::time::Duration;

use k8s_openapi::jiff;

use crate::bounds::WORST_AGENTS;
use crate::crd::condition::{Agent, Reason};
use crate::registry::AgentCounts;

/// The report of one replica on one operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Its name.
    pub replica: String,
    /// What it serves; none: nothing yet.
    pub held: Option<ServedState>,
    /// Why its source cannot be asked or used; none: it is live.
    pub source_error: Option<String>,
    /// For how long it has not renewed its report, where that is too long; none: it is heard of.
    pub silent: Option<Duration>,
    /// Requests parked.
    pub parked: u64,
    /// Its agents.
    pub agents: AgentCounts,
    /// Those that are worst off, worst first.
    pub worst: Vec<Worst>,
}

/// A state, and what it was made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServedState {
    /// Epoch and digest: the version does not tell states apart.
    pub state: String,
    /// A hash of the objects that it was made from.
    pub inputs: String,
}

/// An agent that does not hold the current state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worst(pub Agent);

impl Worst {
    /// Those that reject come first, then those that lag for longest.
    fn rank(&self) -> (Reason, jiff::Timestamp, &str) {
        (self.0.reason, self.0.since.0, &self.0.name)
    }
}

/// The numbers of all replicas together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    /// Replicas that report.
    pub replicas: u64,
    /// Requests parked.
    pub parked: u64,
    /// Their agents.
    pub agents: AgentCounts,
    /// The worst of all.
    pub worst: Vec<Worst>,
}

/// A condition's status, reason and message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Yes, no, or not known.
    pub status: Option<bool>,
    /// One word for programs.
    pub reason: &'static str,
    /// For people.
    pub message: String,
}

impl Report {
    /// A replica of which nothing is known, for this reason.
    #[must_use]
    pub fn unknown(replica: &str, why: &str) -> Self {
        let (replica, source_error) = (replica.to_owned(), Some(why.to_owned()));
        Self {
            replica,
            held: None,
            source_error,
            silent: None,
            parked: 0,
            agents: AgentCounts::default(),
            worst: Vec::new(),
        }
    }
}

impl Finding {
    /// It is so.
    #[must_use]
    pub fn yes(reason: &'static str, message: String) -> Self {
        Self { status: Some(true), reason, message }
    }

    /// It is not so.
    #[must_use]
    pub fn no(reason: &'static str, message: String) -> Self {
        Self { status: Some(false), reason, message }
    }

    /// It is not known.
    #[must_use]
    pub fn unknown(reason: &'static str, message: String) -> Self {
        Self { status: None, reason, message }
    }

    /// The worse of both: no before not known, not known before yes.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let badness = |finding: &Self| match finding.status {
            Some(false) => 2,
            None => 1,
            Some(true) => 0,
        };
        if badness(&other) > badness(&self) { other } else { self }
    }
}

/// Adds up what the replicas say.
#[must_use]
pub fn sum(reports: &[Report]) -> Totals {
    let mut totals = Totals {
        replicas: reports.len() as u64,
        parked: reports.iter().fold(0, |sum, report| sum.saturating_add(report.parked)),
        agents: reports.iter().map(|report| report.agents).sum(),
        worst: reports.iter().flat_map(|report| &report.worst).cloned().collect(),
    };
    totals.worst.sort_by(|a, b| a.rank().cmp(&b.rank()));
    totals.worst.truncate(WORST_AGENTS);
    totals
}

/// Whether every replica serves something.
#[must_use]
pub fn ready(reports: &[Report]) -> Finding {
    let without: Vec<_> = reports.iter().filter(|report| report.held.is_none()).map(|it| &*it.replica).collect();
    let source_error = reports.iter().find_map(|report| Some((&report.replica, report.source_error.as_ref()?)));
    match (reports.is_empty(), without.is_empty(), source_error) {
        (true, _, _) => Finding::unknown("NoReplica", "no replica reports this operation yet".to_owned()),
        (false, false, Some((replica, why))) => {
            Finding::no("NoState", format!("{} without a state; {replica}: {why}", some(&without)))
        }
        (false, false, None) => Finding::no("NoState", format!("{} without a state", some(&without))),
        (false, true, Some((replica, why))) => {
            Finding::yes("LastGood", format!("served, but {replica} cannot follow its source: {why}"))
        }
        (false, true, None) => Finding::yes("Live", "every replica serves the state of its source".to_owned()),
    }
}

/// Whether every replica serves what was applied.
#[must_use]
pub fn served(applied: Option<&ServedState>, reports: &[Report]) -> Finding {
    let Some(applied) = applied else {
        return Finding::unknown("NoState", "the source has not given a state yet".to_owned());
    };
    let behind: Vec<_> =
        reports.iter().filter(|report| report.held.as_ref() != Some(applied)).map(|it| &*it.replica).collect();
    if reports.is_empty() {
        Finding::unknown("NoReplica", "no replica reports this operation yet".to_owned())
    } else if behind.is_empty() {
        Finding::yes("Served", format!("{} of {0} replicas serve {}", reports.len(), applied.state))
    } else {
        let message = format!("{} of {} replicas do not serve it yet: {}", behind.len(), reports.len(), some(&behind));
        Finding::no("ReplicasBehind", message)
    }
}

/// Whether every live agent holds what was applied.
#[must_use]
pub fn converged(applied: Option<&ServedState>, reports: &[Report]) -> Finding {
    let served = served(applied, reports);
    let Some(applied) = applied.filter(|_| served.status == Some(true)) else { return served };
    let totals = sum(reports);
    let agents = totals.agents;
    let first = totals.worst.first();
    if agents.rejecting > 0 {
        let why = first.map(|Worst(worst)| {
            format!("; {}: {}", worst.name, worst.message.as_deref().unwrap_or("it gave no reason"))
        });
        let why = why.unwrap_or_default();
        let message = format!("{} of {} agents could not apply it{why}", agents.rejecting, agents.total());
        Finding::no("Rejected", message)
    } else if agents.lagging > 0 {
        let who = first.map(|Worst(worst)| format!("; {} for longest", worst.name)).unwrap_or_default();
        Finding::no("AgentsBehind", format!("{} of {} agents do not hold it yet{who}", agents.lagging, agents.total()))
    } else if agents.evicted > 0 {
        let message = format!("{} agents were forgotten, there are too many to follow each", agents.evicted);
        Finding::unknown("AgentsForgotten", message)
    } else if let Some((replica, silent)) = reports.iter().find_map(|it| Some((&it.replica, it.silent?))) {
        // Its last report may be out of date: which agents poll it, and what they hold, no other replica knows.
        let message = format!("{replica} has not renewed its report for {} s", silent.as_secs());
        Finding::unknown("ReplicaSilent", message)
    } else if agents.total() == 0 {
        let message = "no agent has polled: agents are clients that send Agent-Id".to_owned();
        Finding::unknown("NoAgents", message)
    } else {
        Finding::yes("AllAgentsHold", format!("{} of {0} agents hold {}", agents.total(), applied.state))
    }
}

/// Whether every replica follows its source: else there may be a newer state that nobody has seen, by an operation whose
/// source has no generation to say so.
#[must_use]
pub fn followed(reports: &[Report]) -> Finding {
    match reports.iter().find_map(|report| Some((&report.replica, report.source_error.as_ref()?))) {
        Some((replica, why)) => Finding::unknown("SourceLost", format!("{replica} cannot follow its source: {why}")),
        None => Finding::yes("Live", "every replica follows its source".to_owned()),
    }
}

/// The first few names, and how many more there are.
pub(super) fn some(names: &[&str]) -> String {
    const NAMED: usize = 3;
    let first = names[..names.len().min(NAMED)].join(", ");
    match names.len().saturating_sub(NAMED) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    fn held(state: &str, inputs: &str) -> ServedState {
        ServedState { state: state.to_owned(), inputs: inputs.to_owned() }
    }

    fn report(replica: &str, held: Option<ServedState>, converged: u64, lagging: u64, rejecting: u64) -> Report {
        let agents = AgentCounts { converged, lagging, rejecting, evicted: 0 };
        let worst = |number: u64| {
            let since = jiff::Timestamp::from_second(100 - i64::try_from(number).expect("small")).expect("in range");
            let reason = if number < rejecting { Reason::Rejecting } else { Reason::Lagging };
            let message = (number < rejecting).then(|| "no such interface".to_owned());
            Worst(Agent { name: format!("{replica}-{number}"), state_id: None, reason, message, since: Time(since) })
        };
        let worst = (0..(lagging + rejecting).min(10)).map(worst).collect();
        Report {
            replica: replica.to_owned(),
            held,
            source_error: None,
            silent: None,
            parked: agents.total(),
            agents,
            worst,
        }
    }

    #[track_caller]
    fn assert_converged(
        applied: Option<&ServedState>,
        reports: &[Report],
        status: Option<bool>,
        reason: &str,
        text: &str,
    ) {
        let finding = converged(applied, reports);
        assert_eq!((finding.status, finding.reason), (status, reason), "{}", finding.message);
        assert!(finding.message.contains(text), "{}", finding.message);
    }

    #[test]
    fn converged_is_what_every_live_agent_holds_and_nothing_less() {
        let (now, before, again) = (held("e.2", "g2"), held("e.1", "g1"), held("e.2", "g0"));
        let good = |name: &str, agents| report(name, Some(now.clone()), agents, 0, 0);
        let applied = Some(&now);
        assert_converged(None, &[good("a", 3)], None, "NoState", "has not given a state");
        assert_converged(applied, &[], None, "NoReplica", "no replica");
        assert_converged(applied, &[good("a", 0)], None, "NoAgents", "Agent-Id");
        assert_converged(applied, &[good("a", 3), good("b", 0)], Some(true), "AllAgentsHold", "3 of 3 agents hold e.2");
        let late = |held| report("b", held, 1, 0, 0);
        for behind in [None, Some(before), Some(again)] {
            assert_converged(
                applied,
                &[good("a", 3), late(behind)],
                Some(false),
                "ReplicasBehind",
                "1 of 2 replicas do not serve it yet: b",
            );
        }
        let lagging = report("b", Some(now.clone()), 1, 2, 0);
        assert_converged(
            applied,
            &[good("a", 3), lagging],
            Some(false),
            "AgentsBehind",
            "2 of 6 agents do not hold it yet; b-1",
        );
        let rejecting = report("b", Some(now.clone()), 1, 2, 1);
        assert_converged(
            applied,
            &[good("a", 3), rejecting],
            Some(false),
            "Rejected",
            "1 of 7 agents could not apply it; b-0: no such",
        );
        let mut forgetful = good("b", 1);
        forgetful.agents.evicted = 1;
        assert_converged(applied, &[good("a", 3), forgetful], None, "AgentsForgotten", "1 agents were forgotten");
        let silent = |replica| Report { silent: Some(Duration::from_secs(120)), ..replica };
        let message = "b has not renewed its report for 120 s";
        assert_converged(applied, &[good("a", 3), silent(good("b", 0))], None, "ReplicaSilent", message);
        let behind = silent(late(None));
        assert_converged(applied, &[good("a", 3), behind], Some(false), "ReplicasBehind", "1 of 2 replicas");
    }

    #[test]
    fn sums_keep_the_worst_of_all() {
        let now = held("e.2", "g2");
        let totals = sum(&[report("a", Some(now.clone()), 1, 12, 0), report("b", Some(now), 5, 3, 1)]);
        assert_eq!((totals.replicas, totals.parked, totals.agents.lagging), (2, 22, 15));
        assert_eq!(totals.worst.len(), WORST_AGENTS);
        assert_eq!(totals.worst[0].0.name, "b-0", "those that reject come first");
        assert!(totals.worst[1..].is_sorted_by_key(|worst| worst.0.since.0), "then the longest");
    }

    #[test]
    fn sums_of_reports_that_say_too_much_end_at_the_most() {
        let totals = sum(&[report("a", None, u64::MAX, 0, 0), report("b", None, 1, 0, 1)]);
        assert_eq!((totals.parked, totals.agents.total()), (u64::MAX, u64::MAX));
        assert_eq!((totals.agents.converged, totals.agents.rejecting), (u64::MAX, 1));
    }

    #[test]
    fn ready_says_who_has_no_state_and_why() {
        let now = held("e.2", "g2");
        let mut reports = [report("a", Some(now), 1, 0, 0), report("b", None, 0, 0, 0)];
        let finding = ready(&reports);
        assert_eq!((finding.status, &*finding.message), (Some(false), "b without a state"));
        reports[1].source_error = Some("ConfigMap x does not exist".to_owned());
        assert_eq!(ready(&reports).message, "b without a state; b: ConfigMap x does not exist");
        reports[1].held = reports[0].held.clone();
        let finding = ready(&reports);
        assert_eq!((finding.status, finding.reason), (Some(true), "LastGood"));
        assert_eq!(ready(&reports[..1]).reason, "Live");
        assert_eq!(ready(&[]).status, None);
        assert_eq!(some(&["a", "b", "c", "d", "e"]), "a, b, c and 2 more");
    }

    #[test]
    fn the_worse_finding_counts() {
        let (yes, no, unknown) =
            (Finding::yes("y", String::new()), Finding::no("n", String::new()), Finding::unknown("u", String::new()));
        assert_eq!(yes.clone().and(unknown.clone()), unknown);
        assert_eq!(unknown.clone().and(no.clone()), no);
        assert_eq!(no.clone().and(yes.clone()), no);
        assert_eq!(yes.clone().and(Finding::yes("z", String::new())), yes);
    }
}
