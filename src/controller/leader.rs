//! Keeps or waits for the Lease of the namespace, and says whether this replica holds it.

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff;
use kube::Api;
use kube::api::PostParams;
use kube::core::ApiResource;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use super::Ground;
use super::lease::{Act, Observed};
use crate::bounds::{KUBERNETES_READ, LEASE, LEASE_RETRY, LEAVE};
use crate::sources::kubernetes::failure::{Failure, FailureKind};
use crate::sources::kubernetes::{ListWatch, Object, Seen, Selector, Target};
use crate::sources::reads::Reads;
use crate::sources::wall_clock;

/// The name of the Lease.
const NAME: &str = "tidewait";

/// The lease and what is known of it.
pub(super) struct Leader {
    api: Api<Lease>,
    target: Target,
    ground: Ground,
    observed: Observed,
    /// As it was seen last, for the version that a write builds on.
    lease: Option<Lease>,
    /// Not before then, after a write that failed.
    retry: Instant,
    failed: bool,
    leads: watch::Sender<bool>,
}

/// Gives the lease of a replica that ends back, so that another need not wait until it has run out.
pub(super) async fn give_up(ground: &Ground) {
    let settings = &ground.settings;
    let api: Api<Lease> = Api::namespaced(ground.client.clone(), &settings.namespace);
    let give_up = async {
        let lease = api.get(NAME).await?;
        let spec = lease.spec.clone().unwrap_or_default();
        if spec.holder_identity.as_deref() != Some(&*settings.replica) {
            return Ok(());
        }
        // Its version guards it: who has taken it since keeps it.
        let spec = LeaseSpec { holder_identity: None, ..spec };
        ground.metrics.lease_writes.inc();
        api.replace(NAME, &PostParams::default(), &Lease { spec: Some(spec), ..lease }).await.map(drop)
    };
    match timeout(LEAVE, give_up).await {
        Ok(Ok(())) => {}
        Ok(Err::<(), kube::Error>(error)) => tracing::debug!(%error, "the Lease was not given up"),
        Err(_) => tracing::debug!("the Lease was not given up in time"),
    }
}

impl Leader {
    /// Says to `leads` whether this replica holds the lease.
    pub(super) fn new(ground: Ground, leads: watch::Sender<bool>) -> Self {
        let settings = &ground.settings;
        let target = Target {
            resource: ApiResource::erase::<Lease>(&()),
            namespace: Some(settings.namespace.clone()),
            selector: Selector::Name(NAME.to_owned()),
        };
        let api = Api::namespaced(ground.client.clone(), &settings.namespace);
        let observed = Observed::new(&settings.replica);
        Self { api, target, ground, observed, lease: None, retry: Instant::now(), failed: false, leads }
    }

    /// Keeps it or waits for it, for ever.
    pub(super) async fn run(mut self) {
        let reads = Arc::new(Reads::default());
        let (client, requests) = (self.ground.client.clone(), self.ground.requests.clone());
        let timeout = self.ground.watch_timeout;
        let mut watching = ListWatch::new(client, self.target.clone(), timeout, requests, reads.reader());
        // Nothing is known before the first look.
        let mut known = false;
        loop {
            let now = Instant::now();
            self.say(now);
            let act = self.observed.act(now);
            let wakes = match act {
                Act::Wait(until) => until,
                Act::Create | Act::Renew | Act::Take => self.retry,
            };
            let wakes = self.observed.until(now).map_or(wakes, |ends| wakes.min(ends));
            tokio::select! {
                seen = watching.next() => match seen {
                    Seen::Listed { objects, .. } => {
                        known = true;
                        self.see(objects.first());
                    }
                    Seen::Applied(object) => self.see(Some(&object)),
                    Seen::Deleted(_) => self.see(None),
                    Seen::Settled(number) => reads.settle(number, true),
                    Seen::Malformed(_) | Seen::Live => {}
                    Seen::Lost { reason } | Seen::Denied { reason } => {
                        tracing::warn!(%reason, "the Lease cannot be watched");
                    }
                },
                () = sleep_until(wakes), if known => self.act(act).await,
            }
        }
    }

    fn see(&mut self, object: Option<&Object>) {
        let lease = object.and_then(|object| serde_json::from_slice::<Lease>(&object.body).ok());
        match lease.as_ref().and_then(|lease| lease.spec.as_ref()) {
            Some(spec) => self.observed.is(spec, Instant::now()),
            None => self.observed.gone(),
        }
        self.lease = lease;
    }

    fn say(&self, now: Instant) {
        let holds = self.observed.is_held(now);
        let changed = self.leads.send_if_modified(|leads| std::mem::replace(leads, holds) != holds);
        if changed {
            tracing::info!(replica = %self.ground.settings.replica, leads = holds, "the Lease changed hands");
            self.ground.metrics.leads.set(i64::from(holds));
        }
    }

    async fn act(&mut self, act: Act) {
        if matches!(act, Act::Wait(_)) || Instant::now() < self.retry {
            return;
        }
        let (verb, lease) = match (&self.lease, act) {
            (Some(lease), Act::Renew | Act::Take) => ("update", lease.clone()),
            (_, _) => ("create", Lease { metadata: self.metadata(), spec: None }),
        };
        let lease = Lease { spec: Some(self.spec(lease.spec.unwrap_or_default())), ..lease };
        let params = PostParams::default();
        let written = timeout(KUBERNETES_READ, async {
            if verb == "update" {
                self.api.replace(NAME, &params, &lease).await
            } else {
                self.api.create(&params, &lease).await
            }
        });
        self.ground.metrics.lease_writes.inc();
        let failure = match written.await {
            Ok(Ok(lease)) => {
                if let Some(spec) = &lease.spec {
                    self.observed.is(spec, Instant::now());
                }
                self.lease = Some(lease);
                self.failed = false;
                return;
            }
            Ok(Err(error)) => Failure::from(error),
            Err(_) => Failure::new(FailureKind::Timeout, "no answer in time"),
        };
        self.retry = Instant::now() + failure.pause(LEASE_RETRY);
        // 409: another was faster, which the watch tells.
        let raced = failure.kind == FailureKind::Conflict;
        if !raced && !std::mem::replace(&mut self.failed, true) {
            let reason = failure.sentence(verb, &self.target);
            tracing::warn!(%reason, "the Lease cannot be written");
        }
    }

    fn metadata(&self) -> ObjectMeta {
        let namespace = Some(self.ground.settings.namespace.clone());
        ObjectMeta { name: Some(NAME.to_owned()), namespace, ..ObjectMeta::default() }
    }

    /// The lease when this replica has just written it.
    fn spec(&self, old: LeaseSpec) -> LeaseSpec {
        let now = jiff::Timestamp::try_from(wall_clock()).ok().map(MicroTime);
        let mine = old.holder_identity.as_deref() == Some(&*self.ground.settings.replica);
        LeaseSpec {
            lease_transitions: Some(self.observed.transitions(&old)),
            acquire_time: if mine { old.acquire_time } else { now.clone() },
            renew_time: now,
            holder_identity: Some(self.ground.settings.replica.clone()),
            lease_duration_seconds: i32::try_from(LEASE.as_secs()).ok(),
            ..old
        }
    }
}
