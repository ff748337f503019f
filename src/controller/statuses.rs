//! What the holder of the Lease writes: the statuses of operations and models, from what all replicas report.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff;
use kube::core::ApiResource;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::metrics::Written;
use super::plan::Verdict;
use super::report::state;
use super::status::{self, Mine, Serving, Withheld};
use super::totals::{Agents, Held, Report, Worst};
use super::{Ground, Known, Knows, patch};
use crate::bounds::{KUBERNETES_READ, STATUS_INTERVAL, STATUS_RETRY};
use crate::crd::describe_operation::DescribeOperationStatus;
use crate::crd::describe_replica::{DescribeReplica, DescribeReplicaStatus, Reported};
use crate::crd::network_model::NetworkModelStatus;
use crate::crd::{CONFIRM_REMOVAL, DescribeOperation, NetworkModel};
use crate::operation::{Operation, Table};
use crate::sources::kubernetes::failure::Failure;
use crate::sources::kubernetes::set::{Change, Entry, Set};
use crate::sources::kubernetes::settling::Settling;
use crate::sources::kubernetes::{ListWatch, Object, Seen, Selector, Target};
use crate::sources::reads::Reads;
use crate::sources::wall_clock;
use crate::sources::{Part, Parts};

/// Writes statuses while this replica leads.
pub(super) struct Statuses {
    ground: Ground,
    table: Arc<Table>,
    knows: Knows,
    leads: watch::Receiver<bool>,
    recorder: Recorder,
    /// What stands in the models' statuses, by uid, once it was written or seen here.
    models: BTreeMap<String, NetworkModelStatus>,
    /// Not before then, after a write that failed.
    retry: BTreeMap<String, Instant>,
}

/// What is to be written.
struct Write<'a> {
    written: Written,
    resource: ApiResource,
    name: &'a str,
    uid: &'a str,
}

impl Statuses {
    /// Writes while `leads` is true, of the operations in `table` and of what `knows` says of them.
    pub(super) fn new(ground: Ground, table: Arc<Table>, knows: Knows, leads: watch::Receiver<bool>) -> Self {
        let reporter = Reporter { controller: "tidewait".to_owned(), instance: Some(ground.settings.replica.clone()) };
        let recorder = Recorder::new(ground.client.clone(), reporter);
        Self { ground, table, knows, leads, recorder, models: BTreeMap::new(), retry: BTreeMap::new() }
    }

    /// Waits to lead, leads, for ever.
    pub(super) async fn run(mut self) {
        loop {
            let leads = self.leads.wait_for(|leads| *leads).await.is_ok();
            if !leads {
                std::future::pending::<()>().await;
            }
            self.lead().await;
        }
    }

    async fn lead(&mut self) {
        let settings = &self.ground.settings;
        let target = Target {
            resource: ApiResource::erase::<DescribeReplica>(&()),
            namespace: Some(settings.namespace.clone()),
            selector: Selector::Labels(String::new()),
        };
        let reads = Arc::new(Reads::default());
        let (client, requests) = (self.ground.client.clone(), self.ground.requests.clone());
        let mut watching = ListWatch::new(client, target, self.ground.watch_timeout, requests, reads.reader());
        let mut replicas: Set<DescribeReplicaStatus> = Set::default();
        let mut settling = Settling::default();
        let mut listed = false;
        let mut leads = self.leads.clone();
        let mut turn = interval(STATUS_INTERVAL);
        turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // Written anew by whoever led meanwhile.
        self.models.clear();
        loop {
            tokio::select! {
                () = lost(&mut leads) => return,
                seen = watching.next() => {
                    listed |= matches!(seen, Seen::Listed { .. });
                    if let Seen::Settled(number) = seen {
                        reads.settle(number, true);
                    }
                    see(&mut replicas, seen);
                }
                () = settling.due(replicas.due(), &reads) => if replicas.settle(Instant::now()) == Change::AskList {
                    settling.ask(&reads);
                },
                _ = turn.tick(), if listed => self.write_all(&replicas).await,
            }
        }
    }

    async fn write_all(&mut self, replicas: &Set<DescribeReplicaStatus>) {
        let known: Arc<Known> = Arc::clone(&self.knows.borrow());
        let reports = by_operation(replicas, &known);
        let none = Vec::new();
        let now = now();
        let mut models: BTreeMap<String, Model> = BTreeMap::new();
        let all: BTreeMap<_, _> = self.table.all().into_iter().map(|it| (it.name.clone(), mine(&it))).collect();
        for (name, (mine, parts)) in &all {
            for part in parts.iter().filter(|part| part.is_model) {
                models
                    .entry(part.uid.clone())
                    .or_insert_with(|| Model { part: part.clone(), serving: Vec::new() })
                    .serving
                    .push(Serving { operation: name, mine, reports: reports.get(name).unwrap_or(&none) });
            }
        }
        for (name, verdict) in &known.verdicts {
            let nothing = Mine::default();
            let mine = all.get(name).filter(|_| verdict.runs).map_or(&nothing, |(mine, _)| mine);
            let old = known.statuses.get(name);
            let new = status::of_operation(old, verdict, mine, reports.get(name).unwrap_or(&none), &now);
            if old != Some(&new) {
                self.write_operation(name, verdict, old, &new).await;
            }
        }
        for (uid, Model { part, serving }) in &models {
            let seen = part.status.as_deref().and_then(|text| serde_json::from_str(text).ok());
            let old = self.models.get(uid).cloned().or(seen);
            let generation = part.generation.unwrap_or(0);
            let new = status::of_model(old.as_ref(), generation, part.wrong.as_deref(), serving, &now);
            if status::is_news(old.as_ref(), &new) {
                self.write_model(part, new).await;
            }
        }
        self.models.retain(|uid, _| models.contains_key(uid));
    }

    async fn write_operation(
        &mut self,
        name: &str,
        verdict: &Verdict,
        old: Option<&DescribeOperationStatus>,
        new: &DescribeOperationStatus,
    ) {
        let resource = ApiResource::erase::<DescribeOperation>(&());
        let write = Write { written: Written::Operation, resource, name, uid: &verdict.uid };
        if self.write(&write, new).await {
            let old = old.map(|old| &*old.conditions).unwrap_or_default();
            for bad in status::turned_bad(old, &new.conditions) {
                self.tell(&write, bad).await;
            }
        }
    }

    async fn write_model(&mut self, part: &Part, new: NetworkModelStatus) {
        let resource = ApiResource::erase::<NetworkModel>(&());
        let write = Write { written: Written::Model, resource, name: &part.name, uid: &part.uid };
        if self.write(&write, &new).await {
            let old = self.models.get(&part.uid).map(|old| &*old.conditions).unwrap_or_default();
            for bad in status::turned_bad(old, &new.conditions) {
                self.tell(&write, bad).await;
            }
            self.models.insert(part.uid.clone(), new);
        }
    }

    async fn write(&mut self, write: &Write<'_>, status: &impl serde::Serialize) -> bool {
        let Write { written, resource, name, uid } = write;
        if self.retry.get(*uid).is_some_and(|retry| Instant::now() < *retry) {
            return false;
        }
        let namespace = &self.ground.settings.namespace;
        let patched = patch::status(&self.ground.client, resource, (namespace, name), uid, status).await;
        self.ground.metrics.wrote(*written, patched.is_ok());
        let Err(failure) = patched else {
            self.retry.remove(*uid);
            return true;
        };
        if self.retry.insert((*uid).to_owned(), Instant::now() + failure.pause(STATUS_RETRY)).is_none() {
            let target = Target {
                resource: resource.clone(),
                namespace: Some(namespace.clone()),
                selector: Selector::Name((*name).to_owned()),
            };
            let reason = failure.sentence("patch", &target);
            tracing::warn!(%reason, "a status cannot be written");
        }
        false
    }

    /// One Event, which counts itself up while the same goes on.
    async fn tell(&self, write: &Write<'_>, condition: &Condition) {
        let Write { resource, name, uid, .. } = write;
        let object = k8s_openapi::api::core::v1::ObjectReference {
            api_version: Some(resource.api_version.clone()),
            kind: Some(resource.kind.clone()),
            name: Some((*name).to_owned()),
            namespace: Some(self.ground.settings.namespace.clone()),
            uid: Some((*uid).to_owned()),
            ..Default::default()
        };
        let event = Event {
            type_: EventType::Warning,
            reason: condition.reason.clone(),
            note: Some(condition.message.clone()),
            action: condition.type_.clone(),
            secondary: None,
        };
        if let Ok(Err(error)) = timeout(KUBERNETES_READ, self.recorder.publish(&event, &object)).await {
            let target = Target {
                resource: ApiResource::erase::<k8s_openapi::api::events::v1::Event>(&()),
                namespace: Some(self.ground.settings.namespace.clone()),
                selector: Selector::Labels(String::new()),
            };
            let reason = Failure::from(error).sentence("create", &target);
            tracing::warn!(%reason, "an Event cannot be written");
        }
    }
}

/// Waits until this replica does not lead.
async fn lost(leads: &mut watch::Receiver<bool>) {
    // Whoever says so is gone: then nobody leads.
    let _ = leads.wait_for(|leads| !*leads).await;
}

/// A model, and who serves it.
struct Model<'a> {
    part: Arc<Part>,
    serving: Vec<Serving<'a>>,
}

fn see(replicas: &mut Set<DescribeReplicaStatus>, seen: Seen) {
    let now = Instant::now();
    match seen {
        Seen::Listed { objects, version, .. } => {
            let objects = objects.into_iter().map(|object| (object.name.clone(), entry(&object)));
            replicas.listed(objects.collect(), version, now);
        }
        Seen::Applied(object) => {
            let entry = entry(&object);
            replicas.applied(object.name, entry, now);
        }
        Seen::Deleted(object) => replicas.deleted(&object.name, object.version, now),
        Seen::Malformed(_) | Seen::Live | Seen::Settled(_) => {}
        Seen::Lost { reason } | Seen::Denied { reason } => {
            tracing::warn!(%reason, "the reports of the replicas cannot be watched");
        }
    }
}

fn entry(object: &Object) -> Entry<DescribeReplicaStatus> {
    let status = serde_json::from_slice::<DescribeReplica>(&object.body).ok().and_then(|replica| replica.status);
    let (uid, version, generation) = (object.uid.clone(), object.version, object.generation);
    // One that cannot be read holds nothing that is known: it keeps everything from being converged.
    Entry { uid, version, generation, payload: status.unwrap_or_default() }
}

fn by_operation(replicas: &Set<DescribeReplicaStatus>, known: &Known) -> BTreeMap<String, Vec<Report>> {
    let mut reports: BTreeMap<String, Vec<Report>> = BTreeMap::new();
    for (replica, entry) in replicas.entries() {
        let status = &entry.payload;
        for reported in &status.operations {
            reports.entry(reported.name.clone()).or_default().push(report(replica, reported));
        }
        // What did not fit into its report is not known, and must not pass for good.
        let cut = status.totals.is_some_and(|totals| totals.operations > status.operations.len() as u64);
        let is_left_out = |name: &str| cut && !status.operations.iter().any(|reported| reported.name == name);
        for name in known.verdicts.keys().filter(|name| is_left_out(name)) {
            reports.entry(name.clone()).or_default().push(Report::unknown(replica));
        }
    }
    reports
}

fn report(replica: &str, reported: &Reported) -> Report {
    let Reported { state_id, inputs, source, agents, parked, worst_agents, .. } = reported;
    let held = state(state_id.as_deref()).map(|state| Held { state, inputs: inputs.clone().unwrap_or_default() });
    let ailing = (source.status != "live").then(|| source.detail.clone().unwrap_or_else(|| source.status.clone()));
    Report {
        replica: replica.to_owned(),
        held,
        ailing,
        parked: *parked,
        agents: Agents {
            total: agents.total,
            converged: agents.converged,
            lagging: agents.lagging,
            rejecting: agents.rejecting,
            forgotten: agents.evicted,
        },
        worst: worst_agents.iter().cloned().map(Worst).collect(),
    }
}

/// What this replica knows of an operation, and the objects that its newest state was made from.
fn mine(operation: &Operation) -> (Mine, Parts) {
    let config = operation.config();
    let applied = operation.applied();
    let served = operation.hub.current().map(|served| served.snapshot.id);
    let withheld = match operation.held() {
        Some(held) => Some(Withheld { reason: "RemovesTooMuch", message: explain(&held) }),
        None if config.paused => Some(Withheld {
            reason: "Paused",
            message: "spec.paused is true: clients keep the last published state until it is false".to_owned(),
        }),
        None => None,
    };
    let mine = Mine {
        source: Some(config.source.to_string()),
        state_id: served.map(|id| id.to_string()),
        applied: applied.as_ref().map(|applied| Held {
            state: format!("{}.{}", applied.id.epoch, applied.id.digest),
            inputs: applied.inputs.to_string(),
        }),
        withheld,
    };
    (mine, applied.map(|applied| applied.parts).unwrap_or_default())
}

/// A change that the guard holds, with the remedy.
fn explain(held: &crate::model::Held) -> String {
    let crate::model::Held { id, removed_percent, limit_percent } = held;
    format!(
        "the newest state removes {removed_percent:.1} % of the published model, more than the {limit_percent} % of \
         spec.guard.maxRemovedPercent: correct the source, or publish it by the annotation {CONFIRM_REMOVAL}: {}",
        id.digest
    )
}

fn now() -> Time {
    let now = jiff::Timestamp::try_from(wall_clock()).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    // To the second: what Kubernetes keeps of a time.
    Time(jiff::Timestamp::from_second(now.as_second()).unwrap_or(now))
}
