//! PURE. What the replicas report, and how long ago each was last renewed.
//!
//! Every replica writes its report anew every [`REPORT_RENEW`](crate::bounds::REPORT_RENEW), whether or not it has
//! something new to say. How old one is, is counted by this replica's own clock from when it saw that version of it
//! first: the time written in it is another machine's, and only for people.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::exchange_status::ExchangeReport;
use super::report::state;
use super::topic_status::TopicReport;
use super::totals::{Report, ServedState, Worst};
use crate::bounds::{REPORT_LOST, REPORT_SILENT};
use crate::crd::DescribeReplica;
use crate::crd::describe_replica::{AgentTotals, DescribeReplicaStatus, Reported};
use crate::registry::AgentCounts;
use crate::sources::kubernetes::set::{Change, ObjectEntry, Set};
use crate::sources::kubernetes::{Object, WatchEvent};

/// The reports of all replicas.
#[derive(Debug, Default)]
pub(super) struct Reports {
    set: Set<LastReport>,
    /// Whether it is known which there are.
    pub(super) listed: bool,
}

/// The last report of one replica.
#[derive(Debug, Clone, PartialEq)]
struct LastReport {
    /// None: nothing yet, or nothing that can be read.
    status: Option<DescribeReplicaStatus>,
    /// Whether a Pod owns it, with whose end it goes.
    owned: bool,
    /// When this version of it was seen first.
    seen: Instant,
}

/// A report that nobody renews, of a replica without a Pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lost {
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) version: u64,
}

impl Reports {
    /// Takes in what was seen of the objects.
    pub(super) fn see(&mut self, seen: WatchEvent, now: Instant) {
        match seen {
            WatchEvent::Listed { objects, version, .. } => {
                let objects = objects.into_iter().map(|object| (object.name.clone(), self.entry(&object, now)));
                let objects = objects.collect();
                self.set.listed(objects, version, now);
                self.listed = true;
            }
            WatchEvent::Applied(object) => {
                let entry = self.entry(&object, now);
                self.set.applied(object.name, entry, now);
            }
            WatchEvent::Deleted(object) => self.set.deleted(&object.name, object.version, now),
            WatchEvent::Malformed(_) | WatchEvent::Live | WatchEvent::ReadCompleted(_) => {}
            WatchEvent::Lost { reason, .. } | WatchEvent::Denied { reason, .. } => {
                tracing::warn!(%reason, "the reports of the replicas cannot be watched");
            }
        }
    }

    /// When [`Reports::apply_due`] has something to do.
    pub(super) fn due(&self) -> Option<Instant> {
        self.set.due()
    }

    /// Applies the deletions that are due.
    pub(super) fn apply_due(&mut self, now: Instant) -> Change {
        self.set.apply_due(now)
    }

    fn entry(&self, object: &Object, now: Instant) -> ObjectEntry<LastReport> {
        let known = self.set.entries().get(&object.name);
        if let Some(known) = known.filter(|known| (&known.uid, known.version) == (&object.uid, object.version)) {
            return known.clone();
        }
        let replica = serde_json::from_slice::<DescribeReplica>(&object.body).ok();
        let owners = replica.as_ref().and_then(|replica| replica.metadata.owner_references.as_deref());
        let owned = owners.is_some_and(|owners| owners.iter().any(|owner| owner.kind == "Pod"));
        let status = replica.and_then(|replica| replica.status);
        let (uid, version, generation) = (object.uid.clone(), object.version, object.generation);
        ObjectEntry { uid, version, generation, payload: LastReport { status, owned, seen: now } }
    }

    /// What the replicas report of each of these operations.
    pub(super) fn by_operation<'a>(
        &self,
        operations: impl Iterator<Item = &'a str>,
        now: Instant,
    ) -> BTreeMap<&'a str, Vec<Report>> {
        operations.map(|operation| (operation, self.of(operation, now))).collect()
    }

    /// What the replicas that serve an exchange report of it.
    pub(super) fn of_exchange(&self, exchange: &str, now: Instant) -> Vec<ExchangeReport> {
        let of_one = |(replica, entry): (&String, &ObjectEntry<LastReport>)| {
            let LastReport { status, seen, .. } = &entry.payload;
            let says = status.as_ref()?.exchanges.iter().find(|says| says.name == exchange)?.clone();
            Some(ExchangeReport { replica: replica.clone(), says, silent: silent(*seen, now) })
        };
        self.set.entries().iter().filter_map(of_one).collect()
    }

    /// What the replicas that serve a topic report of it.
    pub(super) fn of_topic(&self, topic: &str, now: Instant) -> Vec<TopicReport> {
        let of_one = |(replica, entry): (&String, &ObjectEntry<LastReport>)| {
            let LastReport { status, seen, .. } = &entry.payload;
            let says = status.as_ref()?.topics.iter().find(|says| says.name == topic)?.clone();
            Some(TopicReport { replica: replica.clone(), says, silent: silent(*seen, now) })
        };
        self.set.entries().iter().filter_map(of_one).collect()
    }

    fn of(&self, operation: &str, now: Instant) -> Vec<Report> {
        let of_one = |(replica, entry): (&String, &ObjectEntry<LastReport>)| {
            let LastReport { status, seen, .. } = &entry.payload;
            let silent = silent(*seen, now);
            let Some(status) = status else {
                let why = "it has not reported yet, or its report cannot be read";
                return Some(Report { silent, ..Report::unknown(replica, why) });
            };
            if let Some(reported) = status.operations.iter().find(|reported| reported.name == operation) {
                return Some(report(replica, reported, silent));
            }
            // What did not fit into its report is not known, and must not pass for good.
            let cut = status.totals.is_some_and(|totals| totals.operations > status.operations.len() as u64);
            cut.then(|| Report { silent, ..Report::unknown(replica, "its report is too short to say") })
        };
        self.set.entries().iter().filter_map(of_one).collect()
    }

    /// Those that nobody renews, of replicas without a Pod, whose end would remove them; `me` lives.
    pub(super) fn lost(&self, me: &str, now: Instant) -> Vec<Lost> {
        let is_lost = |last: &LastReport| !last.owned && now.saturating_duration_since(last.seen) >= REPORT_LOST;
        let lost = self.set.entries().iter().filter(|(name, entry)| *name != me && is_lost(&entry.payload));
        lost.map(|(name, entry)| Lost { name: name.clone(), uid: entry.uid.clone(), version: entry.version }).collect()
    }
}

/// For how long a report that was seen last then was not renewed, where that is too long.
fn silent(seen: Instant, now: Instant) -> Option<Duration> {
    Some(now.saturating_duration_since(seen)).filter(|silent| *silent >= REPORT_SILENT)
}

fn report(replica: &str, reported: &Reported, silent: Option<Duration>) -> Report {
    let Reported { state_id, inputs, source, agents, parked, worst_agents, .. } = reported;
    let AgentTotals { total: _, converged, lagging, rejecting, evicted } = *agents;
    let held =
        state(state_id.as_deref()).map(|state| ServedState { state, inputs: inputs.clone().unwrap_or_default() });
    let source_error =
        (source.status != "live").then(|| source.detail.clone().unwrap_or_else(|| source.status.clone()));
    Report {
        replica: replica.to_owned(),
        held,
        source_error,
        silent,
        parked: *parked,
        agents: AgentCounts { converged, lagging, rejecting, evicted },
        worst: worst_agents.iter().cloned().map(Worst).collect(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::bounds::REPORT_RENEW;

    fn object(name: &str, version: u64, owner: Option<&str>, status: &Value) -> Object {
        let owners: Vec<_> = owner
            .iter()
            .map(|kind| json!({ "apiVersion": "v1", "kind": kind, "name": name, "uid": "of the owner" }))
            .collect();
        let body = json!({
            "apiVersion": "tidewait.dev/v1alpha1",
            "kind": "DescribeReplica",
            "metadata": { "name": name, "uid": format!("uid of {name}"), "ownerReferences": owners },
            "status": status,
        });
        Object {
            name: name.to_owned(),
            namespace: Some("n".to_owned()),
            uid: format!("uid of {name}"),
            version,
            generation: Some(1),
            body: body.to_string().into(),
        }
    }

    fn good() -> Value {
        let agents = json!({ "total": 1, "converged": 1, "lagging": 0, "rejecting": 0, "evicted": 0 });
        json!({ "operations": [{
            "name": "zone-a", "path": "/zone-a", "stateId": "e.1.d", "inputs": "i", "source": { "status": "live" },
            "parked": 1, "agents": agents,
        }] })
    }

    fn silent(reports: &Reports, now: Instant) -> Vec<(String, bool)> {
        let reports = reports.by_operation(["zone-a"].into_iter(), now).remove("zone-a").expect("asked for");
        reports.into_iter().map(|report| (report.replica, report.silent.is_some())).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_report_that_nobody_renews_falls_silent_and_one_without_a_pod_is_lost() {
        let t0 = tokio::time::Instant::now().into_std();
        let mut reports = Reports::default();
        let all = |version| {
            let owners = [("in-a-pod", Some("Pod")), ("of-a-node", Some("Node")), ("alone", None)];
            let objects = owners.map(|(name, owner)| object(name, version, owner, &good())).to_vec();
            WatchEvent::Listed { objects, malformed: Vec::new(), version }
        };
        reports.see(all(5), t0);
        let renewed = t0 + REPORT_RENEW;
        reports.see(WatchEvent::Applied(object("alone", 6, None, &good())), renewed);
        // The same again is no renewal: a list that is read once in a while shows what is known.
        reports.see(WatchEvent::Applied(object("alone", 6, None, &good())), t0 + REPORT_SILENT);
        let named = |yes: [bool; 3]| {
            let names = ["alone", "in-a-pod", "of-a-node"].map(str::to_owned);
            names.into_iter().zip(yes).collect::<Vec<_>>()
        };
        assert_eq!(silent(&reports, t0 + REPORT_SILENT), named([false, true, true]));
        assert_eq!(silent(&reports, renewed + REPORT_SILENT), named([true, true, true]));
        let lost = |reports: &Reports, at| -> Vec<(String, u64)> {
            reports.lost("me", at).into_iter().map(|lost| (lost.name, lost.version)).collect()
        };
        assert_eq!(lost(&reports, t0 + REPORT_LOST), [("of-a-node".to_owned(), 5)]);
        assert_eq!(lost(&reports, renewed + REPORT_LOST), [("alone".to_owned(), 6), ("of-a-node".to_owned(), 5)]);
        assert_eq!(reports.lost("alone", renewed + REPORT_LOST).len(), 1, "not of the replica that asks");
        reports.see(WatchEvent::Applied(object("alone", 9, None, &good())), renewed + REPORT_LOST);
        assert_eq!(silent(&reports, renewed + REPORT_LOST), named([false, true, true]), "it was slow");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_reported_or_cannot_be_read_is_unknown_and_not_absent() {
        let now = tokio::time::Instant::now().into_std();
        let mut reports = Reports::default();
        let cut = json!({ "totals": { "operations": 2, "parked": 0, "agents": 0, "lagging": 0, "rejecting": 0 },
            "operations": [] });
        let objects = [("cut", cut), ("good", good()), ("new", Value::Null), ("strange", json!({ "operations": 7 }))];
        let objects = objects.map(|(name, status)| object(name, 1, None, &status)).to_vec();
        let other = object("other", 1, None, &json!({ "operations": [] }));
        let objects = objects.into_iter().chain([other]).collect();
        reports.see(WatchEvent::Listed { objects, malformed: Vec::new(), version: 1 }, now);
        let reported = reports.by_operation(["zone-a"].into_iter(), now).remove("zone-a").expect("asked for");
        let reported: Vec<_> = reported.iter().map(|it| (&*it.replica, it.held.is_some())).collect();
        assert_eq!(reported, [("cut", false), ("good", true), ("new", false), ("strange", false)]);
    }
}
