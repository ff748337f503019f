//! Keeps or waits for the Lease of the namespace, and publishes until when this replica may act on it.

use futures::future::BoxFuture;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff;
use kube::Api;
use kube::api::PostParams;
use kube::core::ApiResource;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use super::lease::{Act, Observed};
use super::{Dependencies, patch};
use crate::bounds::{LEASE, LEASE_RETRY, LEASE_WRITE, LEAVE};
use crate::sources::kubernetes::failure::{Failure, FailureKind};
use crate::sources::kubernetes::{ListWatch, Object, Selector, Target, WatchEvent};
use crate::sources::reads::Reads;
use crate::sources::wall_clock;

/// The name of the Lease.
const NAME: &str = "tidewait";

/// The lease and what is known of it.
pub(super) struct Leader {
    api: Api<Lease>,
    target: Target,
    dependencies: Dependencies,
    observed: Observed,
    /// As it was seen last, for the version that a write builds on.
    lease: Option<Lease>,
    /// The version of that; 0: whatever is seen next is newer.
    version: u64,
    /// Not before then, after a write that failed.
    retry: Instant,
    failed: bool,
    until: watch::Sender<Option<Instant>>,
}

/// A write under way; the loop goes on meanwhile.
type Writing = BoxFuture<'static, LeaseWrite>;

/// How a write ended.
struct LeaseWrite {
    verb: &'static str,
    began: Instant,
    /// None: no answer in time.
    answer: Option<Result<Lease, kube::Error>>,
}

/// Releases the Lease when this replica ends, so that another need not wait until it has expired.
pub(super) async fn give_up(dependencies: &Dependencies) {
    let settings = &dependencies.settings;
    let api: Api<Lease> = Api::namespaced(dependencies.client.clone(), &settings.namespace);
    let give_up = async {
        let lease = api.get(NAME).await?;
        let spec = lease.spec.clone().unwrap_or_default();
        if spec.holder_identity.as_deref() != Some(&*settings.replica) {
            return Ok(());
        }
        // Its version guards it: a replica that has taken it since keeps it.
        let spec = LeaseSpec { holder_identity: None, ..spec };
        dependencies.metrics.lease_writes.inc();
        api.replace(NAME, &PostParams::default(), &Lease { spec: Some(spec), ..lease }).await.map(drop)
    };
    match timeout(LEAVE, give_up).await {
        Ok(Ok(())) => {}
        Ok(Err::<(), kube::Error>(error)) => tracing::debug!(%error, "the Lease was not given up"),
        Err(_) => tracing::debug!("the Lease was not given up in time"),
    }
}

impl Leader {
    /// Publishes in `until` for how long this replica may act as the lease's holder.
    pub(super) fn new(dependencies: Dependencies, until: watch::Sender<Option<Instant>>) -> Self {
        let settings = &dependencies.settings;
        let target = Target {
            resource: ApiResource::erase::<Lease>(&()),
            namespace: Some(settings.namespace.clone()),
            selector: Selector::Name(NAME.to_owned()),
        };
        let api = Api::namespaced(dependencies.client.clone(), &settings.namespace);
        let observed = Observed::new(&settings.replica);
        let retry = Instant::now();
        Self { api, target, dependencies, observed, lease: None, version: 0, retry, failed: false, until }
    }

    /// Keeps it or waits for it, for ever.
    pub(super) async fn run(mut self) {
        let reads = Arc::new(Reads::default());
        let (client, requests) = (self.dependencies.client.clone(), self.dependencies.requests.clone());
        let timeout = self.dependencies.watch_timeout;
        let mut watching = ListWatch::new(client, self.target.clone(), timeout, requests, reads.reader());
        // Nothing is known before the first look.
        let mut known = false;
        let mut writing: Option<Writing> = None;
        loop {
            let now = Instant::now();
            let until = self.say(now);
            let act = self.observed.act(now.into_std());
            let due = match act {
                Act::Wait(until) => until.into(),
                Act::Create | Act::Renew | Act::Take => self.retry,
            };
            tokio::select! {
                seen = watching.next() => match seen {
                    WatchEvent::Listed { objects, .. } => {
                        known = true;
                        self.see(objects.first());
                    }
                    WatchEvent::Applied(object) => self.see(Some(&object)),
                    WatchEvent::Deleted(_) => self.see(None),
                    WatchEvent::ReadCompleted(number) => reads.complete(number, true),
                    WatchEvent::Malformed(_) | WatchEvent::Live => {}
                    WatchEvent::Lost { reason, .. } | WatchEvent::Denied { reason, .. } => {
                        tracing::warn!(%reason, "the Lease cannot be watched");
                    }
                },
                written = ended(&mut writing) => self.wrote(written),
                () = sleep_until(due), if known && writing.is_none() => writing = self.act(act),
                // The term ends, which is published at once.
                () = sleep_until(until.unwrap_or(now)), if until.is_some() => {}
            }
        }
    }

    fn see(&mut self, object: Option<&Object>) {
        let Some(object) = object else {
            self.lease = None;
            self.version = 0;
            return self.observed.gone();
        };
        // An event or a read from before a write of ours, whose answer came first.
        if object.version < self.version {
            return;
        }
        let lease = serde_json::from_slice::<Lease>(&object.body).ok();
        match lease.as_ref().and_then(|lease| lease.spec.as_ref()) {
            Some(spec) => self.observed.is(spec, Instant::now().into_std()),
            None => self.observed.gone(),
        }
        (self.lease, self.version) = (lease, object.version);
    }

    /// Publishes until when it is held, and returns that.
    fn say(&self, now: Instant) -> Option<Instant> {
        let until = self.observed.until(now.into_std()).map(Instant::from_std);
        let held = self.until.send_replace(until).is_some();
        if held != until.is_some() {
            tracing::info!(replica = %self.dependencies.settings.replica, leads = !held, "the Lease changed hands");
            self.dependencies.metrics.leads.set(i64::from(!held));
        }
        until
    }

    /// Begins what is to be done, unless a write has just failed.
    fn act(&mut self, act: Act) -> Option<Writing> {
        let began = Instant::now();
        if matches!(act, Act::Wait(_)) || began < self.retry {
            return None;
        }
        let (verb, lease) = match (&self.lease, act) {
            (Some(lease), Act::Renew | Act::Take) => ("update", lease.clone()),
            (_, _) => ("create", Lease { metadata: self.metadata(), spec: None }),
        };
        let spec = self.spec(lease.spec.unwrap_or_default());
        self.observed.sends(&spec, began.into_std());
        self.dependencies.metrics.lease_writes.inc();
        let (api, lease) = (self.api.clone(), Lease { spec: Some(spec), ..lease });
        Some(Box::pin(async move {
            let params = PostParams::default();
            let write = async {
                if verb == "update" {
                    api.replace(NAME, &params, &lease).await
                } else {
                    api.create(&params, &lease).await
                }
            };
            LeaseWrite { verb, began, answer: timeout(LEASE_WRITE, write).await.ok() }
        }))
    }

    fn wrote(&mut self, LeaseWrite { verb, began, answer }: LeaseWrite) {
        self.retry = began + LEASE_RETRY;
        let failure = match answer {
            Some(Ok(lease)) => {
                self.failed = false;
                let version = lease.metadata.resource_version.as_deref().and_then(|version| version.parse().ok());
                let version = version.unwrap_or(0);
                if version < self.version {
                    return;
                }
                if let Some(spec) = &lease.spec {
                    self.observed.is(spec, Instant::now().into_std());
                }
                (self.lease, self.version) = (Some(lease), version);
                return;
            }
            Some(Err(error)) if patch::is_conflict(&error) => {
                // Another was faster, or a write of ours without an answer: the watch shows which.
                self.version = 0;
                return;
            }
            Some(Err(error)) => Failure::from(error),
            None => Failure::new(FailureKind::Timeout, "no answer in time"),
        };
        self.retry = Instant::now() + failure.pause(LEASE_RETRY);
        if !std::mem::replace(&mut self.failed, true) {
            let reason = failure.sentence(verb, &self.target);
            tracing::warn!(%reason, "the Lease cannot be written");
        }
    }

    fn metadata(&self) -> ObjectMeta {
        let namespace = Some(self.dependencies.settings.namespace.clone());
        ObjectMeta { name: Some(NAME.to_owned()), namespace, ..ObjectMeta::default() }
    }

    /// The lease when this replica has just written it.
    fn spec(&self, old: LeaseSpec) -> LeaseSpec {
        let now = jiff::Timestamp::try_from(wall_clock()).ok().map(MicroTime);
        let mine = old.holder_identity.as_deref() == Some(&*self.dependencies.settings.replica);
        LeaseSpec {
            lease_transitions: Some(self.observed.transitions(&old)),
            acquire_time: if mine { old.acquire_time } else { now.clone() },
            renew_time: now,
            holder_identity: Some(self.dependencies.settings.replica.clone()),
            lease_duration_seconds: i32::try_from(LEASE.as_secs()).ok(),
            ..old
        }
    }
}

/// The end of the write under way; never, where there is none.
async fn ended(writing: &mut Option<Writing>) -> LeaseWrite {
    let Some(write) = writing else { return std::future::pending().await };
    let written = write.await;
    *writing = None;
    written
}
