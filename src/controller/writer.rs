//! Writes what is true of all replicas: within a term of the Lease, of the object that was meant, and built on what it
//! reported when that was computed.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Api;
use kube::api::{DeleteParams, Preconditions};
use kube::core::ApiResource;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use tokio::time::{Instant, timeout};

use super::Dependencies;
use super::metrics::{WriteResult, Written};
use super::patch::{self, Meant, Unwritten};
use super::reports::Lost;
use super::term::Term;
use crate::bounds::{KUBERNETES_READ, STATUS_RETRY};
use crate::crd::DescribeReplica;
use crate::sources::kubernetes::failure::Failure;
use crate::sources::kubernetes::{Selector, Target};

/// Writes while the term runs.
pub(super) struct Writer {
    dependencies: Dependencies,
    term: Term,
    recorder: Recorder,
    waits: Waits,
}

/// What is to be written.
pub(super) struct Write<'a> {
    pub(super) written: Written,
    pub(super) resource: ApiResource,
    pub(super) name: &'a str,
    pub(super) uid: &'a str,
    /// The version that it was computed from.
    pub(super) version: u64,
}

/// Until when a write that failed is not tried again, by the object's uid.
#[derive(Debug, Default)]
struct Waits(BTreeMap<String, Instant>);

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WriteOutcome {
    /// The object has this version now.
    Written(u64),
    /// It has changed meanwhile: its new version is to be seen first.
    Conflict,
    /// Not now, or not at all.
    Not,
}

impl Waits {
    fn has(&self, uid: &str, now: Instant) -> bool {
        self.0.get(uid).is_some_and(|until| now < *until)
    }

    /// Whether that is new.
    fn add(&mut self, uid: &str, until: Instant) -> bool {
        self.0.insert(uid.to_owned(), until).is_none()
    }

    fn keep(&mut self, uids: &BTreeSet<&str>) {
        self.0.retain(|uid, _| uids.contains(&**uid));
    }
}

impl Writer {
    pub(super) fn new(dependencies: Dependencies, term: Term) -> Self {
        let reporter =
            Reporter { controller: "tidewait".to_owned(), instance: Some(dependencies.settings.replica.clone()) };
        let recorder = Recorder::new(dependencies.client.clone(), reporter);
        Self { dependencies, term, recorder, waits: Waits::default() }
    }

    /// Forgets what failed of all objects but these.
    pub(super) fn keep(&mut self, uids: &BTreeSet<&str>) {
        self.waits.keep(uids);
    }

    /// Writes a status, if that may be done now.
    pub(super) async fn write(&mut self, write: &Write<'_>, status: &impl serde::Serialize) -> WriteOutcome {
        let Write { written, resource, name, uid, version } = write;
        if !self.term.runs() || self.waits.has(uid, Instant::now()) {
            return WriteOutcome::Not;
        }
        let namespace = &self.dependencies.settings.namespace;
        let meant = Meant { namespace, name, uid, version: *version };
        let failure = match patch::status(&self.dependencies.client, resource, meant, status).await {
            Ok(version) => {
                self.dependencies.metrics.wrote(*written, WriteResult::Ok);
                self.waits.0.remove(*uid);
                return WriteOutcome::Written(version);
            }
            Err(Unwritten::Conflict) => {
                self.dependencies.metrics.wrote(*written, WriteResult::Conflict);
                return WriteOutcome::Conflict;
            }
            Err(Unwritten::Failed(failure)) => failure,
        };
        self.dependencies.metrics.wrote(*written, WriteResult::Failed);
        if self.waits.add(uid, Instant::now() + failure.pause(STATUS_RETRY)) {
            let reason = failure.sentence("patch", &self.target(resource, name));
            tracing::warn!(%reason, "a status cannot be written");
        }
        WriteOutcome::Not
    }

    /// Removes the report of a replica that nobody renews, unless it has been renewed meanwhile.
    pub(super) async fn remove(&mut self, lost: &Lost) {
        let Lost { name, uid, version } = lost;
        if !self.term.runs() || self.waits.has(uid, Instant::now()) {
            return;
        }
        let api: Api<DescribeReplica> =
            Api::namespaced(self.dependencies.client.clone(), &self.dependencies.settings.namespace);
        let version = (*version != 0).then(|| version.to_string());
        let preconditions = Some(Preconditions { uid: Some(uid.clone()), resource_version: version });
        let params = DeleteParams { preconditions, ..DeleteParams::default() };
        // The watch shows the result; until then it is not asked for again.
        self.waits.add(uid, Instant::now() + STATUS_RETRY);
        match timeout(KUBERNETES_READ, api.delete(name, &params)).await {
            Ok(Ok(_)) => tracing::warn!(replica = %name, "a report that nobody renews was removed"),
            Ok(Err(error)) if patch::is_conflict(&error) => {}
            Ok(Err(error)) => {
                let target = self.target(&ApiResource::erase::<DescribeReplica>(&()), name);
                let reason = Failure::from(error).sentence("delete", &target);
                tracing::warn!(%reason, "a report that nobody renews cannot be removed");
            }
            Err(_) => tracing::warn!(replica = %name, "a report that nobody renews was not removed in time"),
        }
    }

    /// Writes one Event, whose count rises while the same condition lasts.
    pub(super) async fn record_event(&self, write: &Write<'_>, condition: &Condition) {
        let Write { resource, name, uid, .. } = write;
        if !self.term.runs() {
            return;
        }
        let object = k8s_openapi::api::core::v1::ObjectReference {
            api_version: Some(resource.api_version.clone()),
            kind: Some(resource.kind.clone()),
            name: Some((*name).to_owned()),
            namespace: Some(self.dependencies.settings.namespace.clone()),
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
                namespace: Some(self.dependencies.settings.namespace.clone()),
                selector: Selector::Labels(String::new()),
            };
            let reason = Failure::from(error).sentence("create", &target);
            tracing::warn!(%reason, "an Event cannot be written");
        }
    }

    fn target(&self, resource: &ApiResource, name: &str) -> Target {
        Target {
            resource: resource.clone(),
            namespace: Some(self.dependencies.settings.namespace.clone()),
            selector: Selector::Name(name.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn objects_that_are_gone_are_forgotten() {
        let now = Instant::now();
        let until = now + STATUS_RETRY;
        let mut waits = Waits::default();
        assert!(waits.add("a", until) && waits.add("b", until) && !waits.add("a", until));
        assert!(waits.has("a", now) && !waits.has("a", now + STATUS_RETRY));
        waits.keep(&BTreeSet::from(["b"]));
        assert_eq!(waits.0.len(), 1);
    }
}
