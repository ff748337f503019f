//! Watches the objects of one kind in a namespace, and says what they ask for.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::ApiResource;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use tokio::sync::watch;
use tokio::time::Instant;

use super::Dependencies;
use super::plan::Asked;
use crate::config::{self, Grants};
use crate::sources::kubernetes::debounce::Debounce;
use crate::sources::kubernetes::set::{Change, ObjectEntry, Set};
use crate::sources::kubernetes::{ListWatch, Malformed, Object, Selector, Target, WatchEvent};
use crate::sources::reads::Reads;

/// A kind of object that says what is to run.
pub(super) trait Kind: Send + Sync + 'static {
    /// The object, as the API server knows it.
    type Object: kube::Resource<DynamicType = ()>;
    /// Its spec.
    type Spec: DeserializeOwned;
    /// What it asks for.
    type Config: Clone + Debug + PartialEq + Send + Sync;
    /// What is written of it.
    type Status: Clone + Debug + PartialEq + DeserializeOwned + Send + Sync;
    /// Its name, as in a manifest.
    const NAME: &'static str;
    /// A process goes on without it where it has no right to see any (403), or the API server does not know the kind (404).
    const IS_OPTIONAL: bool;

    /// What an object with this spec asks for, or all that is wrong with it.
    fn config(metadata: ObjectMeta, spec: Self::Spec, grants: Grants<'_>) -> Result<Self::Config, String>;
}

/// One object, as far as it matters here.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Read<C, S> {
    pub(super) asked: Asked<C>,
    pub(super) status: Option<S>,
}

/// Objects by name.
pub(super) type Entries<C, S> = Arc<BTreeMap<String, ObjectEntry<Read<C, S>>>>;

/// The objects of one kind.
pub(super) type Objects<K> = Entries<<K as Kind>::Config, <K as Kind>::Status>;

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
pub(super) struct ObjectWatch<K: Kind> {
    dependencies: Dependencies,
    config: Arc<config::Config>,
    set: Set<Read<K::Config, K::Status>>,
    says: watch::Sender<Option<Objects<K>>>,
}

impl<K: Kind> ObjectWatch<K> {
    /// Sends to `says` which objects there are, once they are listed.
    pub(super) fn new(
        dependencies: Dependencies,
        config: Arc<config::Config>,
        says: watch::Sender<Option<Objects<K>>>,
    ) -> Self {
        Self { dependencies, config, set: Set::default(), says }
    }

    /// Watches for ever.
    pub(super) async fn run(mut self) {
        let settings = &self.dependencies.settings;
        let target = Target {
            resource: ApiResource::erase::<K::Object>(&()),
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
                Change::Changed => drop(self.says.send_replace(Some(Arc::new(self.set.entries().clone())))),
                Change::Same => {}
                Change::AskList => debounce.ask(&reads),
            }
        }
    }

    fn see(&mut self, seen: WatchEvent) -> Change {
        let now = Instant::now().into_std();
        let is_listed = self.says.borrow().is_some();
        match seen {
            WatchEvent::Listed { objects, malformed, version } => {
                malformed.iter().for_each(complain::<K>);
                let mut entries: BTreeMap<_, _> =
                    objects.into_iter().map(|object| (object.name.clone(), self.entry(&object))).collect();
                // What runs keeps the last spec that could be read.
                entries.extend(malformed.iter().filter_map(|malformed| self.set.kept(malformed)));
                let change = self.set.listed(entries, version, now);
                // The first list is news even if it is empty: now it is known that nothing else runs.
                if is_listed { change } else { Change::Changed }
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
                complain::<K>(&malformed);
                Change::Same
            }
            WatchEvent::Live | WatchEvent::ReadCompleted(_) => Change::Same,
            WatchEvent::Denied { reason, is_forbidden: true } | WatchEvent::Lost { reason, is_unknown: true }
                if K::IS_OPTIONAL && !is_listed =>
            {
                tracing::warn!(%reason, "{}s cannot be watched: there are none as long as that is so", K::NAME);
                Change::Changed
            }
            WatchEvent::Lost { reason, .. } | WatchEvent::Denied { reason, .. } => {
                tracing::warn!(%reason, "{}s cannot be watched, what runs goes on", K::NAME);
                Change::Same
            }
        }
    }

    fn entry(&self, object: &Object) -> ObjectEntry<Read<K::Config, K::Status>> {
        let (uid, version, generation) = (object.uid.clone(), object.version, object.generation);
        ObjectEntry { payload: read::<K>(object, self.config.grants()), uid, version, generation }
    }
}

fn complain<K: Kind>(malformed: &Malformed) {
    let (name, why) = (malformed.name.as_deref().unwrap_or("of an unknown name"), &malformed.why);
    tracing::warn!(object = %name, %why, "an object of kind {} cannot be read, it is left as it was", K::NAME);
}

/// Reads an object. Whatever is wrong with it concerns this one alone.
pub(super) fn read<K: Kind>(object: &Object, grants: Grants<'_>) -> Read<K::Config, K::Status> {
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
    let created = parts.metadata.creation_timestamp.as_ref().map_or(0, |time| time.0.as_second());
    let spec = serde_json::from_str(parts.spec.map_or("null", RawValue::get));
    let spec = spec.map_err(|error| format!("spec cannot be read: {error}"));
    let config = spec.and_then(|spec| K::config(parts.metadata, spec, grants));
    let mut read = broken(String::new());
    read.asked = Asked { created, config, ..read.asked };
    read.status = parts.status.and_then(|status| serde_json::from_str(status.get()).ok());
    read
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use prometheus::Registry;
    use tokio::task::JoinSet;

    use super::*;
    use crate::config::resolve::{Layers, resolve};
    use crate::controller::kinds::Exchanges;
    use crate::controller::{Metrics, Requests, Settings};
    use crate::sources::kubernetes::script::Script;

    #[tokio::test(start_paused = true)]
    async fn only_who_may_not_list_exchanges_or_knows_no_such_kind_goes_on_without_any() {
        let environment = vec![("TIDEWAIT_OPERATIONS".to_owned(), "net".into())];
        let config = resolve(&Layers { environment, ..Layers::default() }).expect("a configuration");
        let (settings, config) = (Settings::of(config.controller.as_ref().expect("given")), Arc::new(config));
        for (first, then, goes_on) in [
            (403, 403, true),
            (404, 404, true),
            (401, 401, false),
            (429, 429, false),
            (500, 500, false),
            (401, 403, true),
            (500, 404, true),
        ] {
            let (client, mut script) = Script::new();
            script.hold_gets();
            let registry = Registry::new();
            let dependencies = Dependencies {
                client,
                settings: settings.clone(),
                watch_timeout: Duration::from_secs(200),
                requests: Requests::register(&registry).expect("new names"),
                metrics: Metrics::register(&registry).expect("new names"),
            };
            let (says, listed) = watch::channel(None);
            let mut running = JoinSet::new();
            running.spawn(ObjectWatch::<Exchanges>::new(dependencies, Arc::clone(&config), says).run());
            script.get().await.refused(first, 0);
            script.get().await.refused(then, 0);
            // When it asks again, it has seen what became of the time before.
            script.get().await;
            let known = listed.borrow().as_ref().map(|objects| objects.len());
            assert_eq!(known, goes_on.then_some(0), "{first}, then {then}");
        }
    }
}
