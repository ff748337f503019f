//! What the holder of the Lease writes: the statuses of operations, exchanges, topics and models, from what all replicas report.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff;
use kube::api::GetParams;
use kube::core::{ApiResource, DynamicObject, Request, Resource as _};
use serde::Deserialize;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::metrics::Written;
use super::plan::Verdict;
use super::reports::Reports;
use super::status::{self, Mine, Serving, Suppressed};
use super::term::Term;
use super::totals::{Report, ServedState};
use super::writer::{Write, WriteOutcome, Writer};
use super::{Dependencies, KnownObjects, Knows};
use crate::bounds::{KUBERNETES_READ, STATUS_INTERVAL, STATUS_TURN};
use crate::config;
use crate::crd::describe_operation::DescribeOperationStatus;
use crate::crd::describe_replica::DescribeReplica;
use crate::crd::exchange::ExchangeStatus;
use crate::crd::network_model::NetworkModelStatus;
use crate::crd::topic::TopicStatus;
use crate::crd::{CONFIRM_REMOVAL, DescribeOperation, NetworkModel};
use crate::operation::{Operation, OperationRegistry, Status};
use crate::sources::kubernetes::debounce::Debounce;
use crate::sources::kubernetes::set::Change;
use crate::sources::kubernetes::{ListWatch, Selector, Target, WatchEvent};
use crate::sources::reads::Reads;
use crate::sources::wall_clock;
use crate::sources::{SourceObject, SourceObjects};

mod exchanges;
mod topics;

/// Writes statuses while this replica leads.
pub(super) struct Statuses {
    dependencies: Dependencies,
    table: Arc<OperationRegistry>,
    knows: Knows,
    term: Term,
    writer: Writer,
    operations: Newest<DescribeOperationStatus>,
    models: Newest<NetworkModelStatus>,
    exchanges: Newest<ExchangeStatus>,
    topics: Newest<TopicStatus>,
    /// Until when an exchange or a topic is not written for other numbers alone, by its uid.
    paces: BTreeMap<String, Instant>,
}

/// What objects say that were written or read here, by uid, until they are seen at that version or a newer one.
#[derive(Debug)]
struct Newest<S>(BTreeMap<String, (u64, Option<S>)>);

impl<S> Default for Newest<S> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<S: Clone> Newest<S> {
    /// The newer one of what is seen of an object and what is known here.
    fn of(&mut self, uid: &str, seen: (u64, Option<S>)) -> (u64, Option<S>) {
        match self.0.get(uid) {
            Some(known) if known.0 > seen.0 => known.clone(),
            Some(_) => {
                self.0.remove(uid);
                seen
            }
            None => seen,
        }
    }

    fn keep(&mut self, uids: &BTreeSet<&str>) {
        self.0.retain(|uid, _| uids.contains(&**uid));
    }
}

/// What is read of a model whose status was changed by somebody else: its spec may be deeper than a reader goes.
#[derive(Deserialize)]
struct SeenModel {
    metadata: ObjectMeta,
    status: Option<NetworkModelStatus>,
}

impl Statuses {
    /// Writes within `term`, of the operations in `table` and of what `knows` says of them.
    pub(super) fn new(dependencies: Dependencies, table: Arc<OperationRegistry>, knows: Knows, term: Term) -> Self {
        let writer = Writer::new(dependencies.clone(), term.clone());
        let (operations, models) = (Newest::default(), Newest::default());
        let (exchanges, topics, paces) = (Newest::default(), Newest::default(), BTreeMap::new());
        Self { dependencies, table, knows, term, writer, operations, models, exchanges, topics, paces }
    }

    /// Waits to lead, leads, for ever.
    pub(super) async fn run(mut self) {
        loop {
            self.term.begins().await;
            let term = self.term.clone();
            // Whatever is under way when the term ends is dropped with it.
            term.within(self.lead()).await;
        }
    }

    async fn lead(&mut self) {
        let settings = &self.dependencies.settings;
        let target = Target {
            resource: ApiResource::erase::<DescribeReplica>(&()),
            namespace: Some(settings.namespace.clone()),
            selector: Selector::Labels(String::new()),
        };
        let reads = Arc::new(Reads::default());
        let (client, requests) = (self.dependencies.client.clone(), self.dependencies.requests.clone());
        let mut watching = ListWatch::new(client, target, self.dependencies.watch_timeout, requests, reads.reader());
        let mut reports = Reports::default();
        let mut debounce = Debounce::default();
        let mut turn = interval(STATUS_INTERVAL);
        turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                seen = watching.next() => {
                    if let WatchEvent::ReadCompleted(number) = seen {
                        reads.complete(number, true);
                    }
                    reports.see(seen, Instant::now().into_std());
                }
                () = debounce.due(reports.due(), &reads) => if reports.apply_due(Instant::now().into_std()) == Change::AskList {
                    debounce.ask(&reads);
                },
                _ = turn.tick(), if reports.listed => self.turn(&reports).await,
            }
        }
    }

    /// Writes the statuses that differ from those on the API server.
    async fn turn(&mut self, reports: &Reports) {
        let began = Instant::now();
        let is_over = || began.elapsed() >= STATUS_TURN;
        let lost = reports.lost(&self.dependencies.settings.replica, began.into_std());
        let known: Arc<KnownObjects> = Arc::clone(&self.knows.borrow());
        let namespace = &self.dependencies.settings.namespace;
        let all: Vec<_> = self.table.all().into_iter().map(|it| (it.name.clone(), mine(&it, namespace))).collect();
        let all: BTreeMap<_, _> = all.iter().map(|(name, mine)| (&**name, mine)).collect();
        let names: BTreeSet<&str> =
            known.operations.verdicts.keys().map(String::as_str).chain(all.keys().copied()).collect();
        let reported = reports.by_operation(names.into_iter(), began.into_std());
        let models = models(&all, &reported);
        let mut uids: BTreeSet<&str> = models.keys().copied().collect();
        uids.extend(known.operations.verdicts.values().map(|verdict| &*verdict.uid));
        uids.extend(known.exchanges.verdicts.values().map(|verdict| &*verdict.uid));
        uids.extend(known.topics.verdicts.values().map(|verdict| &*verdict.uid));
        uids.extend(lost.iter().map(|lost| &*lost.uid));
        self.writer.keep(&uids);
        self.operations.keep(&uids);
        self.models.keep(&uids);
        self.exchanges.keep(&uids);
        self.topics.keep(&uids);
        self.paces.retain(|uid, _| uids.contains(&**uid));

        let now = now();
        for lost in lost.iter().take_while(|_| !is_over()) {
            self.writer.remove(lost).await;
        }
        for (name, verdict) in known.operations.verdicts.iter().take_while(|_| !is_over()) {
            let nothing = Mine::default();
            let mine = all.get(&**name).filter(|_| verdict.runs).map_or(&nothing, |(mine, _)| mine);
            let (version, old) = self.operations.of(&verdict.uid, known.operations.status(name));
            let new = status::of_operation(old.as_ref(), verdict, mine, &reported[&**name], &now);
            if old.as_ref() != Some(&new) {
                self.write_operation(name, verdict, (version, old), new).await;
            }
        }
        for (name, verdict) in known.exchanges.verdicts.iter().take_while(|_| !is_over()) {
            let reports = reports.of_exchange(name, began.into_std());
            self.exchange(name, verdict, known.exchanges.status(name), &reports).await;
        }
        for (name, verdict) in known.topics.verdicts.iter().take_while(|_| !is_over()) {
            let reports = reports.of_topic(name, began.into_std());
            self.topic(name, verdict, known.topics.status(name), &reports).await;
        }
        for Model { part, serving } in models.values().take_while(|_| !is_over()) {
            let seen = part.status.as_deref().and_then(|text| serde_json::from_str(text).ok());
            let (version, old) = self.models.of(&part.uid, (part.version, seen));
            let generation = part.generation.unwrap_or(0);
            let new = status::of_model(old.as_ref(), generation, part.wrong.as_deref(), serving, &now);
            if status::is_news(old.as_ref(), &new) {
                self.write_model(part, (version, old), new).await;
            }
        }
    }

    async fn write_operation(
        &mut self,
        name: &str,
        verdict: &Verdict,
        (version, old): (u64, Option<DescribeOperationStatus>),
        new: DescribeOperationStatus,
    ) {
        let resource = ApiResource::erase::<DescribeOperation>(&());
        let write = Write { written: Written::Operation, resource, name, uid: &verdict.uid, version };
        match self.writer.write(&write, &new).await {
            WriteOutcome::Written(version) => {
                let old = old.map(|old| old.conditions).unwrap_or_default();
                let bad = status::newly_failing(&old, &new.conditions);
                for bad in bad {
                    self.writer.record_event(&write, bad).await;
                }
                self.operations.0.insert(verdict.uid.clone(), (version, Some(new)));
            }
            // What it says now is watched.
            WriteOutcome::Conflict => drop(self.operations.0.remove(&verdict.uid)),
            WriteOutcome::Not => {}
        }
    }

    async fn write_model(
        &mut self,
        part: &SourceObject,
        (version, old): (u64, Option<NetworkModelStatus>),
        new: NetworkModelStatus,
    ) {
        let resource = ApiResource::erase::<NetworkModel>(&());
        let write = Write { written: Written::Model, resource, name: &part.name, uid: &part.uid, version };
        match self.writer.write(&write, &new).await {
            WriteOutcome::Written(version) => {
                let old = old.map(|old| old.conditions).unwrap_or_default();
                for bad in status::newly_failing(&old, &new.conditions) {
                    self.writer.record_event(&write, bad).await;
                }
                self.models.0.insert(part.uid.clone(), (version, Some(new)));
            }
            // Its source may not have shown it yet, or not show it while it cannot be used.
            WriteOutcome::Conflict => {
                self.models.0.remove(&part.uid);
                if let Some(seen) = self.look(&write).await {
                    self.models.0.insert(part.uid.clone(), seen);
                }
            }
            WriteOutcome::Not => {}
        }
    }

    /// What a model's status says now; none: that is not known, and found out at the next attempt.
    async fn look(&self, write: &Write<'_>) -> Option<(u64, Option<NetworkModelStatus>)> {
        let path = DynamicObject::url_path(&write.resource, Some(&self.dependencies.settings.namespace));
        let request = Request::new(path).get(write.name, &GetParams::default()).ok()?;
        let read = timeout(KUBERNETES_READ, self.dependencies.client.request::<SeenModel>(request)).await;
        let SeenModel { metadata, status } = read.ok()?.ok()?;
        let version = metadata.resource_version?.parse().ok()?;
        (metadata.uid.as_deref() == Some(write.uid)).then_some((version, status))
    }
}

/// A model, and the operations that serve it.
struct Model<'a> {
    part: &'a SourceObject,
    serving: Vec<Serving<'a>>,
}

/// The models by uid.
fn models<'a>(
    all: &BTreeMap<&'a str, &'a (Mine, SourceObjects)>,
    reported: &'a BTreeMap<&str, Vec<Report>>,
) -> BTreeMap<&'a str, Model<'a>> {
    let mut models: BTreeMap<&str, Model<'_>> = BTreeMap::new();
    for (operation, (mine, source_objects)) in all {
        for part in source_objects.iter().filter(|part| part.is_model) {
            let model = models.entry(&part.uid).or_insert_with(|| Model { part, serving: Vec::new() });
            // Each operation has a watch of its own, and one may be ahead.
            if part.version > model.part.version {
                model.part = part;
            }
            model.serving.push(Serving { operation, mine, reports: &reported[operation] });
        }
    }
    models
}

/// What this replica knows of an operation, and the objects that its newest state was made from. Not those of another
/// namespace, whose writer is the holder of another Lease.
fn mine(operation: &Operation, namespace: &str) -> (Mine, SourceObjects) {
    let config = operation.config();
    let is_here = matches!(&config.source, config::Source::Resource { namespace: of, .. } if of == namespace);
    let facts = operation.facts();
    let applied = facts.applied.as_ref();
    let suppressed = match &facts.blocked_change {
        Some(held) => Some(Suppressed { reason: "RemovesTooMuch", message: explain(held) }),
        None if config.paused => Some(Suppressed {
            reason: "Paused",
            message: "spec.paused is true: clients keep the last published state until it is false".to_owned(),
        }),
        None => None,
    };
    let mine = Mine {
        source: Some(config.source.to_string()),
        state_id: facts.state_id().map(ToString::to_string),
        applied: applied.map(|applied| ServedState {
            state: format!("{}.{}", applied.id.epoch, applied.id.digest),
            inputs: applied.revisions.to_string(),
        }),
        source_error: match &facts.status {
            Status::Live => None,
            Status::Starting => Some("it has not reported anything yet".to_owned()),
            Status::Lost(reason) => Some(reason.clone()),
            Status::Unusable(unusable) => Some(unusable.detail.clone()),
        },
        suppressed,
    };
    (mine, applied.filter(|_| is_here).map(|it| Arc::clone(&it.source_objects)).unwrap_or_default())
}

/// A change that the guard holds, with the remedy.
fn explain(held: &crate::model::BlockedChange) -> String {
    let crate::model::BlockedChange { id, removed_percent, limit_percent } = held;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_counts_until_it_is_seen_and_no_longer() {
        let mut newest = Newest(BTreeMap::from([("a".to_owned(), (7, Some("written"))), ("b".to_owned(), (7, None))]));
        assert_eq!(newest.of("a", (6, Some("seen"))), (7, Some("written")), "the watch is late");
        assert_eq!(newest.of("a", (8, Some("by another"))), (8, Some("by another")));
        assert_eq!(newest.of("a", (6, Some("seen"))), (6, Some("seen")));
        newest.keep(&BTreeSet::new());
        assert!(newest.0.is_empty());
    }
}
