//! One field of objects of any kind as a source: of one object by name, or of all that a label
//! selector matches as one model keyed by name. Custom resources come in by this, without a type
//! of their own.
//!
//! Objects are read one by one: what is wrong with one concerns that one, whose last good content stays.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use kube::core::ApiResource;
use tokio::time::{Instant, sleep};

use super::backoff::Backoff;
use super::kubernetes::debounce::Debounce;
use super::kubernetes::discover::{self, Undiscovered};
use super::kubernetes::set::{Change, ObjectEntry, Set};
use super::kubernetes::{ListWatch, Malformed, Metrics, Object, Selector, Target, WatchEvent};
use super::last_report::LastReport;
use super::reads::Reads;
use super::{Draft, LARGE, Report, Reports, SourceObject, Unusable, UnusableKind, format};
use crate::bounds::DOCUMENT_BYTES;
use crate::config::Objects;
use crate::model::{Content, Epoch, Provenance};

pub mod aggregate;
pub mod content;
pub mod trigger;

use aggregate::{Aggregate, ModelPart};
use content::LastGood;

/// Which objects, and what of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceSource {
    /// Their namespace.
    pub namespace: String,
    /// Group and version, or the version alone for the core group.
    pub api_version: String,
    /// Their kind, as in a manifest.
    pub kind: String,
    /// Which of them.
    pub objects: Objects,
    /// The top-level field that holds the model.
    pub field: String,
    /// Longest a watch runs before it is renewed.
    pub watch_timeout: Duration,
}

/// Watches the objects, reads them when `reader` is asked to, and reports, until its reports are no longer received.
pub async fn run(source: ResourceSource, client: Client, metrics: Metrics, reads: Arc<Reads>, reports: Reports) {
    tokio::select! {
        () = reports.closed() => {}
        () = watch(source, client, metrics, reads, &reports) => {}
    }
}

async fn watch(source: ResourceSource, client: Client, metrics: Metrics, reads: Arc<Reads>, reports: &Reports) {
    let Some(resource) = resolve(&source, &client, reports).await else { return };
    Watched::new(source, resource, client, metrics, &reads).run(&reads, reports).await;
}

/// Finds the resource of a kind; the definition of a custom resource may come later. None: the reports are no longer received.
async fn resolve(source: &ResourceSource, client: &Client, reports: &Reports) -> Option<ApiResource> {
    let mut backoff = Backoff::default();
    let mut reported = None;
    loop {
        let Undiscovered { report, retry_after } =
            match discover::resource(client, &source.api_version, &source.kind).await {
                Ok(resource) => return Some(resource),
                Err(undiscovered) => undiscovered,
            };
        let text = format!("{report:?}");
        if reported.as_ref() != Some(&text) {
            reported = Some(text);
            reports.send(report).await.ok()?;
        }
        sleep(backoff.failed(fastrand::f64(), retry_after)).await;
    }
}

/// The objects under watch.
struct Watched {
    source: Arc<ResourceSource>,
    watching: ListWatch,
    set: Set<ModelPart>,
    /// What those of a selector are together.
    aggregate: Aggregate,
    last_report: LastReport,
    /// The version that was reported last; absent: nothing of the objects was reported yet.
    version: Option<u64>,
}

impl Watched {
    fn new(
        source: ResourceSource,
        resource: ApiResource,
        client: Client,
        metrics: Metrics,
        reads: &Arc<Reads>,
    ) -> Self {
        let selector = match &source.objects {
            Objects::Named(name) => Selector::Name(name.clone()),
            Objects::Labelled(labels) => Selector::Labels(labels.clone()),
        };
        let target = Target { resource, namespace: Some(source.namespace.clone()), selector };
        let watching = ListWatch::new(client, target, source.watch_timeout, metrics, reads.reader());
        let (source, aggregate) = (Arc::new(source), Aggregate::default());
        Self { source, watching, set: Set::default(), aggregate, last_report: LastReport::default(), version: None }
    }

    async fn run(mut self, reads: &Arc<Reads>, reports: &Reports) {
        let mut debounce = Debounce::default();
        loop {
            let due = self.set.due();
            let report = tokio::select! {
                seen = self.watching.next() => self.see(seen).await,
                () = debounce.due(due, reads) => match self.set.apply_due(Instant::now().into_std()) {
                    Change::Changed => {
                        self.aggregate.replace(self.set.entries());
                        Some(self.draft(Provenance::Stream))
                    }
                    Change::Same => None,
                    Change::AskList => {
                        debounce.ask(reads);
                        None
                    }
                },
            };
            if let Some(report) = report
                && reports.send(report).await.is_err()
            {
                return;
            }
        }
    }

    async fn see(&mut self, seen: WatchEvent) -> Option<Report> {
        let now = Instant::now().into_std();
        match seen {
            WatchEvent::Listed { objects, malformed, version } => self.listed(objects, &malformed, version, now).await,
            WatchEvent::Applied(object) => {
                let before = self.before(&object);
                let (name, entry) = read(object, before, &self.source).await;
                match self.set.applied(name.clone(), entry, now) {
                    Change::Changed => {
                        self.aggregate.change(&name, self.set.entries());
                        Some(self.draft(Provenance::Stream))
                    }
                    Change::Same | Change::AskList => self.last_report.same(),
                }
            }
            WatchEvent::Malformed(malformed) if self.is_by_name() => Some(self.unreadable(&malformed)),
            WatchEvent::Malformed(malformed) => {
                let (name, entry) = self.keep(&malformed)?;
                self.set.applied(name, entry, now);
                Some(self.draft(Provenance::Stream))
            }
            WatchEvent::Deleted(object) => {
                self.set.deleted(&object.name, object.version, now);
                match &self.source.objects {
                    Objects::Named(_) => Some(self.last_report.answered(Err(self.source.missing()))),
                    Objects::Labelled(_) => self.last_report.same(),
                }
            }
            WatchEvent::Live => {
                self.set.reached(self.watching.position());
                let moved = self.version.is_some_and(|version| version != self.set.version());
                // A bookmark moves the version of many, as an event would.
                match &self.source.objects {
                    Objects::Labelled(_) if moved => Some(self.draft(Provenance::Stream)),
                    Objects::Labelled(_) | Objects::Named(_) => self.last_report.same(),
                }
            }
            WatchEvent::ReadCompleted(number) => Some(Report::ReadCompleted(number)),
            WatchEvent::Lost { reason, .. } => Some(self.last_report.lost(Report::Lost { reason })),
            WatchEvent::Denied { reason, .. } => {
                let unusable = Unusable { kind: UnusableKind::Forbidden, detail: reason };
                Some(self.last_report.lost(Report::Unusable(unusable)))
            }
        }
    }

    async fn listed(
        &mut self,
        objects: Vec<Object>,
        malformed: &[Malformed],
        version: u64,
        now: std::time::Instant,
    ) -> Option<Report> {
        if let (true, [], [malformed, ..]) = (self.is_by_name(), &*objects, malformed) {
            return Some(self.unreadable(malformed));
        }
        let mut entries = BTreeMap::new();
        for object in objects {
            let before = self.before(&object);
            let (name, entry) = read(object, before, &self.source).await;
            entries.insert(name, entry);
        }
        entries.extend(malformed.iter().filter_map(|malformed| self.keep(malformed)));
        let change = self.set.listed(entries, version, now);
        self.aggregate.replace(self.set.entries());
        // By name, gone is gone: the last good state stays by the rule for every source.
        let is_empty = self.is_by_name() && self.set.due().is_some();
        match change {
            _ if is_empty => Some(self.last_report.answered(Err(self.source.missing()))),
            Change::Same if !self.last_report.lost && self.version == Some(self.set.version()) => {
                self.last_report.same()
            }
            Change::Changed | Change::Same | Change::AskList => Some(self.draft(Provenance::Read)),
        }
    }

    fn is_by_name(&self) -> bool {
        matches!(self.source.objects, Objects::Named(_))
    }

    /// The one object is there, and cannot be read: whatever it shows next is new.
    fn unreadable(&mut self, malformed: &Malformed) -> Report {
        self.version = None;
        self.last_report.answered(Err(self.source.unreadable(&malformed.why)))
    }

    fn before(&self, object: &Object) -> Option<ObjectEntry<ModelPart>> {
        self.set.entries().get(&object.name).filter(|before| before.uid == object.uid).cloned()
    }

    /// An object whose metadata cannot be read keeps its last good content, if it has one.
    fn keep(&self, malformed: &Malformed) -> Option<(String, ObjectEntry<ModelPart>)> {
        let name = malformed.name.as_deref().unwrap_or("without a name");
        tracing::warn!(kind = %self.source.kind, %name, why = %malformed.why, "an object cannot be read");
        let (name, ObjectEntry { uid, version, generation, payload }) = self.set.kept(malformed)?;
        let held = LastGood { wrong: Some(malformed.why.clone()), ..payload.held };
        let payload = known(&self.source, &name, (&uid, version), generation, held);
        Some((name, ObjectEntry { uid, version, generation, payload }))
    }

    /// The state that the objects are.
    fn draft(&mut self, provenance: Provenance) -> Report {
        let seen = Instant::now();
        let entries = self.set.entries();
        let (source_objects, revisions) = (aggregate::source_objects(entries), aggregate::revisions(entries));
        let (document, epoch, version) = match &self.source.objects {
            Objects::Named(_) => match entries.values().next() {
                None => return self.last_report.answered(Err(self.source.missing())),
                Some(ObjectEntry { uid, version, payload: ModelPart { held, .. }, .. }) => match held {
                    LastGood { good: Some(good), wrong: None, .. } => {
                        (good.document.clone(), self.source.epoch_of_one(uid), *version)
                    }
                    LastGood { wrong, kind, .. } => {
                        let detail = wrong.clone().unwrap_or_default();
                        return self.last_report.answered(Err(Unusable { kind: *kind, detail }));
                    }
                },
            },
            Objects::Labelled(labels) => {
                let what = || format!("all {} with {labels} in {}", self.source.kind, self.source.namespace);
                let document = self.aggregate.document().clone();
                if document.canonical_len() > DOCUMENT_BYTES {
                    let unusable = format::too_large(document.canonical_len() as u64, &what());
                    return self.last_report.answered(Err(unusable));
                }
                match document.within_bounds() {
                    Ok(document) => (document, self.source.epoch_of_many(labels), self.set.version()),
                    Err(error) => return self.last_report.answered(Err(format::unusable(&error, &what()))),
                }
            }
        };
        self.version = Some(version);
        let content = Content::Json(document);
        self.last_report.answered(Ok(Draft { epoch, version, content, provenance, revisions, source_objects, seen }))
    }
}

/// Reads an object; what its last good content was stays where it is wrong now.
async fn read(
    object: Object,
    before: Option<ObjectEntry<ModelPart>>,
    source: &Arc<ResourceSource>,
) -> (String, ObjectEntry<ModelPart>) {
    let (name, uid, version, generation) = (object.name.clone(), object.uid.clone(), object.version, object.generation);
    let revision = generation.map_or(version, i64::unsigned_abs);
    if let Some(before) = before.as_ref().filter(|before| before.version == version) {
        return (name, before.clone());
    }
    let good = before.and_then(|before| before.payload.held.good);
    let reader = Arc::clone(source);
    let held = if object.body.len() <= LARGE {
        content::read(&object, revision, good, &reader)
    } else {
        let reading = tokio::task::spawn_blocking(move || content::read(&object, revision, good, &reader));
        reading.await.expect("reading content does not panic")
    };
    let payload = known(source, &name, (&uid, version), generation, held);
    (name, ObjectEntry { uid, version, generation, payload })
}

fn known(
    source: &ResourceSource,
    name: &str,
    (uid, version): (&str, u64),
    generation: Option<i64>,
    held: LastGood,
) -> ModelPart {
    let part = SourceObject {
        name: name.to_owned(),
        uid: uid.to_owned(),
        version,
        generation,
        wrong: held.wrong.clone(),
        status: held.status.clone(),
        is_model: source.is_of_models(),
    };
    ModelPart { held, part: Arc::new(part) }
}

impl ResourceSource {
    /// The epoch of the object with this uid.
    fn epoch_of_one(&self, uid: &str) -> Epoch {
        Epoch::of(&["resource", uid, &self.field])
    }

    /// The epoch of all objects with these labels.
    fn epoch_of_many(&self, labels: &str) -> Epoch {
        Epoch::of(&["resources", &self.api_version, &self.kind, &self.namespace, labels, &self.field])
    }

    fn missing(&self) -> Unusable {
        let Self { namespace, kind, objects, .. } = self;
        let detail = match objects {
            Objects::Named(name) => format!("{kind} {namespace}/{name} does not exist: create it, or correct its name"),
            Objects::Labelled(labels) => format!("no {kind} in {namespace} has the labels {labels:?}"),
        };
        Unusable { kind: UnusableKind::Missing, detail }
    }

    fn unreadable(&self, why: &str) -> Unusable {
        let Self { namespace, kind, objects, .. } = self;
        let (Objects::Named(which) | Objects::Labelled(which)) = objects;
        Unusable { kind: UnusableKind::Invalid, detail: format!("{kind} {namespace}/{which}: {why}") }
    }

    /// Whether statuses of the objects are written.
    fn is_of_models(&self) -> bool {
        self.kind == "NetworkModel" && self.api_version.starts_with("tidewait.dev/")
    }
}

#[cfg(test)]
mod tests;
