//! Watches the `DescribeOperation`s of a namespace and says which operations are wanted.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::ApiResource;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::watch;
use tokio::time::Instant;

use super::plan::{Asked, Plan, Planner};
use super::{Dependencies, KnownOperations};
use crate::config::{self, Grants};
use crate::crd::describe_operation::DescribeOperationStatus;
use crate::crd::{CONFIRM_REMOVAL, DescribeOperation};
use crate::operation::OperationRegistry;
use crate::operations::Wanted;
use crate::sources::kubernetes::debounce::Debounce;
use crate::sources::kubernetes::set::{Change, ObjectEntry, Set};
use crate::sources::kubernetes::{ListWatch, Malformed, Object, Selector, Target, WatchEvent};
use crate::sources::reads::Reads;

/// What `/readyz` and unknown paths wait for until the objects were listed once.
const UNLISTED: &str = "the list of DescribeOperations";

/// One object, as far as it matters here.
#[derive(Debug, Clone)]
struct Read {
    asked: Asked,
    status: Option<DescribeOperationStatus>,
}

/// The parts of an object, each read alone, so that an unreadable status does not affect a good spec.
#[derive(Deserialize)]
struct ObjectFields<'a> {
    metadata: ObjectMeta,
    #[serde(borrow)]
    spec: Option<&'a RawValue>,
    #[serde(borrow)]
    status: Option<&'a RawValue>,
}

/// Watches the objects; ends with the process.
pub(super) struct OperationWatch {
    dependencies: Dependencies,
    config: Arc<config::Config>,
    planner: Planner,
    set: Set<Read>,
    wanted: watch::Sender<Wanted>,
    known: watch::Sender<Arc<KnownOperations>>,
}

impl OperationWatch {
    /// Sends to `wanted` what is to run beside the operations of `config`, and to `known` the verdict on each.
    pub(super) fn new(
        dependencies: Dependencies,
        config: Arc<config::Config>,
        table: &OperationRegistry,
        wanted: watch::Sender<Wanted>,
        known: watch::Sender<Arc<KnownOperations>>,
    ) -> Self {
        // At once for the requests that come first, and for what is made of `wanted` until the list is here.
        table.wait_for(Some(UNLISTED));
        wanted.send_modify(|wanted| wanted.unknown = Some(UNLISTED));
        let planner = Planner::new(&config.operations);
        Self { dependencies, config, planner, set: Set::default(), wanted, known }
    }

    /// Watches for ever.
    pub(super) async fn run(mut self) {
        let settings = &self.dependencies.settings;
        let target = Target {
            resource: ApiResource::erase::<DescribeOperation>(&()),
            namespace: Some(settings.namespace.clone()),
            selector: Selector::Labels(settings.labels.clone()),
        };
        let reads = Arc::new(Reads::default());
        let (client, requests) = (self.dependencies.client.clone(), self.dependencies.requests.clone());
        let mut watching = ListWatch::new(client, target, self.dependencies.watch_timeout, requests, reads.reader());
        let mut debounce = Debounce::default();
        loop {
            let due = self.set.due();
            let change = tokio::select! {
                seen = watching.next() => {
                    if let WatchEvent::ReadCompleted(number) = seen {
                        reads.complete(number, true);
                    }
                    self.see(seen)
                }
                () = debounce.due(due, &reads) => self.set.apply_due(Instant::now().into_std()),
            };
            match change {
                Change::Changed => self.plan(),
                Change::Same => {}
                Change::AskList => debounce.ask(&reads),
            }
        }
    }

    fn see(&mut self, seen: WatchEvent) -> Change {
        let now = Instant::now().into_std();
        match seen {
            WatchEvent::Listed { objects, malformed, version } => {
                malformed.iter().for_each(complain);
                let mut entries: BTreeMap<_, _> =
                    objects.into_iter().map(|object| (object.name.clone(), self.entry(&object))).collect();
                // A running operation keeps the last spec that could be read.
                entries.extend(malformed.iter().filter_map(|malformed| self.set.kept(malformed)));
                let change = self.set.listed(entries, version, now);
                // The first list is news even if it is empty: now it is known that nothing else runs.
                if self.wanted.borrow().unknown.is_some() { Change::Changed } else { change }
            }
            WatchEvent::Applied(object) => {
                let entry = self.entry(&object);
                self.set.applied(object.name, entry, now)
            }
            WatchEvent::Deleted(object) => {
                self.set.deleted(&object.name, object.version, now);
                Change::Same
            }
            WatchEvent::Malformed(malformed) => {
                complain(&malformed);
                Change::Same
            }
            WatchEvent::Live | WatchEvent::ReadCompleted(_) => Change::Same,
            WatchEvent::Lost { reason } | WatchEvent::Denied { reason } => {
                tracing::warn!(%reason, "DescribeOperations cannot be watched, what runs goes on");
                Change::Same
            }
        }
    }

    fn entry(&self, object: &Object) -> ObjectEntry<Read> {
        let (uid, version, generation) = (object.uid.clone(), object.version, object.generation);
        ObjectEntry { payload: read(object, self.config.grants()), uid, version, generation }
    }

    fn plan(&mut self) {
        let entries = self.set.entries();
        let asked: BTreeMap<_, _> =
            entries.iter().map(|(name, entry)| (name.clone(), entry.payload.asked.clone())).collect();
        let Plan { wanted, verdicts } = self.planner.plan(&asked);
        let stands = entries.iter().map(|(name, entry)| (name.clone(), (entry.version, entry.payload.status.clone())));
        let known = KnownOperations { verdicts, stands: stands.collect() };
        for (name, verdict) in &known.verdicts {
            let before = self.known.borrow().verdicts.get(name).cloned();
            if let Some(refused) = &verdict.refused
                && before.is_none_or(|before| before != *verdict)
            {
                let (reason, message) = (refused.reason, &refused.message);
                tracing::warn!(operation = %name, reason, %message, "DescribeOperation is not accepted");
            }
        }
        self.known.send_replace(Arc::new(known));
        // Writes to statuses come here too, and change nothing that runs.
        self.wanted.send_if_modified(|now| {
            let differs = *now.operations != wanted || now.unknown.is_some();
            if differs {
                *now = Wanted::all(wanted);
            }
            differs
        });
    }
}

fn complain(malformed: &Malformed) {
    let (name, why) = (malformed.name.as_deref().unwrap_or("of an unknown name"), &malformed.why);
    tracing::warn!(operation = %name, %why, "a DescribeOperation cannot be read, it is left as it was");
}

/// Reads an object. Whatever is wrong with it concerns this one alone.
fn read(object: &Object, grants: Grants<'_>) -> Read {
    let broken = |message: String| Read {
        asked: Asked {
            uid: object.uid.clone(),
            created: 0,
            generation: object.generation.unwrap_or(0),
            config: Err(message),
        },
        status: None,
    };
    let parts: ObjectFields<'_> = match serde_json::from_slice(&object.body) {
        Ok(parts) => parts,
        Err(error) => return broken(format!("the object cannot be read: {error}")),
    };
    let confirmed = parts.metadata.annotations.iter().flatten().find(|(key, _)| *key == CONFIRM_REMOVAL);
    let confirmed = confirmed.map(|(_, value)| value.clone());
    let created = parts.metadata.creation_timestamp.as_ref().map_or(0, |time| time.0.as_second());
    let config = match serde_json::from_str(parts.spec.map_or("null", RawValue::get)) {
        Ok(spec) => {
            let operation = DescribeOperation { metadata: parts.metadata, spec, status: None };
            let config = operation.operation(grants).map_err(|problems| problems.to_string());
            config.map(|config| config::Operation { confirmed, ..config })
        }
        Err(error) => Err(format!("spec cannot be read: {error}")),
    };
    let mut read = broken(String::new());
    read.asked = Asked { created, config, ..read.asked };
    read.status = parts.status.and_then(|status| serde_json::from_str(status.get()).ok());
    read
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An object with this spec and this status, as it was read.
    fn of(spec: &str, status: &str) -> Read {
        let metadata = r#"{"name":"zone-a","namespace":"net","creationTimestamp":"2026-01-01T00:00:00Z"}"#;
        let object = Object {
            name: "zone-a".to_owned(),
            namespace: Some("net".to_owned()),
            uid: "u".to_owned(),
            version: 7,
            generation: Some(2),
            body: format!(r#"{{"metadata":{metadata},"spec":{spec},"status":{status}}}"#).into(),
        };
        read(&object, Grants { file_roots: &[], app: false })
    }

    #[test]
    fn a_strange_status_spoils_no_spec_and_a_strange_spec_no_status() {
        const SPEC: &str = r#"{"path":"/a","source":{"configMap":{"name":"m"}}}"#;
        const STATUS: &str = r#"{"observedGeneration":2}"#;
        let good = of(SPEC, STATUS);
        assert_eq!(good.asked.config.as_ref().map(|config| &*config.path), Ok("/a"));
        assert_eq!(good.status.and_then(|status| status.observed_generation), Some(2));
        let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
        for strange in ["7", "null", &deep, r#"{"conditions":7}"#] {
            let read = of(SPEC, strange);
            assert_eq!((read.asked.config, read.status), (good.asked.config.clone(), None), "{strange}");
        }
        for (strange, expected) in [
            ("null", "spec cannot be read: invalid type: null, expected struct DescribeOperationSpec"),
            (r#"{"path":"/a"}"#, "spec cannot be read: missing field `source`"),
            (&deep, "spec cannot be read: "),
            (r#"{"path":"/a","source":{}}"#, "spec.source: "),
        ] {
            let read = of(strange, STATUS);
            let message = read.asked.config.expect_err("it is no spec");
            assert!(message.starts_with(expected), "{message}");
            assert!(read.status.is_some() && read.asked.created > 0, "{strange}");
        }
    }
}
