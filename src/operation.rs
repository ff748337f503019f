//! A running describe operation: its source's reports become states, and states are published.
//!
//! One task owns the [`Store`]: it takes a report, compares, waits for the turn of the newest
//! state, puts that on disk, and publishes it. Everyone else sees the hub, the freshness and the
//! status, never the store.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;

use crate::bounds::{AGENT_SKEW, AGENTS, CATCH_UP, STATE_CONFIRM};
use crate::config;
use crate::fleet::Fleet;
use crate::hub::Hub;
use crate::model::{Content, Offer, Since, Snapshot, Store};
use crate::sources::disk::Disk;
use crate::sources::{Authority, Draft, Report, Unusable, UnusableKind, wall_clock};

mod acknowledge;
mod freshness;
mod metrics;
mod table;

pub use freshness::Freshness;
pub use metrics::{Families, Metrics};
pub use table::Table;

/// What requests and operators see of an operation.
#[derive(Debug)]
pub struct Operation {
    /// Names it in metrics, logs and, for some sources, in its epoch; fixed.
    pub name: String,
    /// The path that clients poll; another path is another operation.
    pub path: String,
    /// Its state and who waits for the next.
    pub hub: Hub,
    /// How fresh its state is.
    pub freshness: Freshness,
    /// Read by every request, followed by [`Run`].
    config: watch::Sender<Arc<config::Operation>>,
    fleet: Mutex<Fleet>,
    status: Mutex<Status>,
    /// The version that waits for its turn to be published; 0: none.
    waiting: AtomicU64,
    hurry: Notify,
    metrics: Metrics,
}

/// The health of the source, for operators.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Status {
    /// It has not said anything yet.
    #[default]
    Starting,
    /// It holds what is served, now.
    Live,
    /// It cannot be asked.
    Lost(String),
    /// It holds nothing that can be served.
    Unusable(Unusable),
}

impl Operation {
    /// An operation without a state.
    #[must_use]
    pub fn new(config: config::Operation, hub: Hub, metrics: Metrics) -> Self {
        let now = Instant::now();
        let expiry = expiry(&config);
        Self {
            name: config.name.clone(),
            path: config.path.clone(),
            config: watch::Sender::new(Arc::new(config)),
            hub,
            freshness: Freshness::new(now),
            fleet: Mutex::new(Fleet::new(AGENTS, expiry, now.into_std())),
            status: Mutex::default(),
            waiting: AtomicU64::new(0),
            hurry: Notify::new(),
            metrics,
        }
    }

    /// How it is configured now.
    #[must_use]
    pub fn config(&self) -> Arc<config::Operation> {
        Arc::clone(&self.config.borrow())
    }

    /// Configures it anew, and releases nobody: who is parked keeps the place and the hold that
    /// it was given, all else is by the new configuration from now on; `versionFrom` from the
    /// next state of the source on. The path and the source are for the owner of the router and
    /// of the source's task to change; the name is that of the operation for good.
    pub fn change(&self, config: config::Operation) {
        debug_assert_eq!(config.name, self.name, "another name is another operation");
        self.hub.set_limit(config.parked);
        self.fleet().set_expiry(expiry(&config));
        self.config.send_replace(Arc::new(config));
    }

    /// The health of its source.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A client holds a newer state than what is published: if that state is here and only waits
    /// for its turn, it is published now.
    pub async fn catch_up(&self, since: &Since) {
        let Some(version) = since.version else { return };
        let ahead = self.hub.current().is_some_and(|served| served.snapshot.id.is_before(since));
        if ahead && self.waiting.load(Ordering::Acquire) >= version {
            self.hurry.notify_one();
            let caught_up = self.hub.wait_for(|served| !served.snapshot.id.is_before(since));
            // It may be replaced by an older one, where a store was restored just now: then the rules for
            // a client that is ahead decide.
            let _ = tokio::time::timeout(CATCH_UP, caught_up).await;
        }
    }

    /// Brings up to date what is counted only when somebody looks.
    pub fn scrape(&self) {
        self.metrics.age.set(self.freshness.age().as_secs_f64());
        self.count_agents();
    }

    fn set_status(&self, status: Status) {
        self.metrics.status(&status);
        let mut now = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        if *now == status {
            return;
        }
        let name = &self.name;
        match &status {
            Status::Starting => {}
            Status::Live => tracing::info!(operation = %name, "source is live"),
            Status::Lost(reason) => {
                tracing::warn!(operation = %name, %reason, "source lost, serving the last good state");
            }
            Status::Unusable(unusable) => {
                let (kind, detail) = (unusable.kind.as_str(), &unusable.detail);
                tracing::warn!(operation = %name, kind, %detail, "source unusable, serving the last good state");
            }
        }
        *now = status;
    }
}

/// How long a silent agent is remembered.
fn expiry(config: &config::Operation) -> Duration {
    (2 * config.wait.max).max(AGENT_SKEW)
}

/// The task of an operation: from reports to publications. Ends when its source does.
#[derive(Debug)]
pub struct Run {
    operation: Arc<Operation>,
    store: Store,
    /// What it goes on by; a newer one may wait in the operation.
    config: Arc<config::Operation>,
    disk: Option<Arc<Disk>>,
    confirm_due: Instant,
}

impl Run {
    /// A run that goes on with what is on disk, if anything is.
    #[must_use]
    pub fn new(operation: Arc<Operation>, disk: Option<Arc<Disk>>, kept: Option<(Snapshot, SystemTime)>) -> Self {
        let config = operation.config();
        let min_interval = config.min_interval;
        let store = match kept {
            None => Store::new(min_interval),
            Some((snapshot, confirmed)) => {
                let age = wall_clock().duration_since(confirmed).unwrap_or_default();
                operation.freshness.restored(age);
                let id = snapshot.id;
                tracing::info!(operation = %operation.name, %id, age_seconds = age.as_secs(), "serving the state kept on disk");
                operation.hub.restore(snapshot.clone());
                Store::restored(min_interval, snapshot)
            }
        };
        Self { operation, store, config, disk, confirm_due: Instant::now() }
    }

    /// Takes reports until the source ends.
    pub async fn run(mut self, mut reports: mpsc::Receiver<Report>) {
        let mut configs = self.operation.config.subscribe();
        loop {
            let due = self.store.due(Instant::now().into_std()).map(Instant::from_std);
            let turn = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            let changed = async {
                let seen = configs.wait_for(|config| !Arc::ptr_eq(config, &self.config)).await;
                debug_assert!(seen.is_ok(), "the operation holds the sender");
            };
            tokio::select! {
                // What is due goes out before more is taken in: a source that never stops talking
                // must not keep clients from the newest state.
                biased;
                () = turn => self.publish().await,
                () = self.operation.hurry.notified() => self.publish().await,
                () = changed => self.follow(),
                report = reports.recv() => match report {
                    Some(report) => self.take(report).await,
                    None => return,
                },
            }
        }
    }

    /// Goes on by the configuration that holds now.
    fn follow(&mut self) {
        self.config = self.operation.config();
        self.store.set_min_interval(self.config.min_interval);
    }

    async fn take(&mut self, report: Report) {
        let operation = Arc::clone(&self.operation);
        match report {
            Report::Holds(draft) => match self.version_of(&draft) {
                Ok(version) => {
                    self.offer(&draft, version);
                    operation.freshness.live();
                    operation.set_status(Status::Live);
                }
                Err(unusable) => self.unusable(unusable),
            },
            Report::Confirmed => {
                // It confirms what the source last said: which is worth something only if that was usable.
                if matches!(operation.status(), Status::Unusable(_)) {
                    return;
                }
                operation.freshness.live();
                operation.set_status(Status::Live);
                self.confirm_on_disk().await;
            }
            Report::Unusable(unusable) => self.unusable(unusable),
            Report::Lost { reason } => {
                operation.freshness.lost();
                // Out of contact with a source that had nothing usable: that is still what to mend first.
                if !matches!(operation.status(), Status::Unusable(_)) {
                    operation.set_status(Status::Lost(reason));
                }
            }
        }
    }

    fn unusable(&mut self, unusable: Unusable) {
        self.operation.freshness.lost();
        self.operation.set_status(Status::Unusable(unusable));
    }

    /// The version of a draft: the source's, or the integer in the model that `versionFrom` names.
    fn version_of(&self, draft: &Draft) -> Result<u64, Unusable> {
        let Some(pointer) = &self.config.version_from else { return Ok(draft.version) };
        let found = match &draft.content {
            Content::Json(document) => document.scalar_at(pointer),
            Content::Opaque { .. } => None,
        };
        found.and_then(|text| text.parse().ok()).ok_or_else(|| Unusable {
            kind: UnusableKind::Invalid,
            detail: format!(
                "versionFrom {pointer} finds {} in the model: it must be an integer from 0 to {}",
                found.unwrap_or("nothing"),
                u64::MAX
            ),
        })
    }

    fn offer(&mut self, draft: &Draft, version: u64) {
        let truth = draft.authority == Authority::Read;
        let offer = self.store.offer(draft.epoch, version, &draft.content, truth, draft.seen.into_std());
        let (name, epoch) = (&self.operation.name, draft.epoch);
        match offer {
            Offer::Changed { restored: true } => {
                tracing::warn!(operation = %name, %epoch, version, "the source went back to an older version: taken as the truth");
                self.operation.metrics.restored.inc();
            }
            Offer::Moved => {
                if let Some(published) = self.store.published() {
                    self.operation.hub.move_version(published.clone());
                }
            }
            Offer::Changed { restored: false } | Offer::Same => {}
            Offer::Older => {
                tracing::debug!(operation = %name, %epoch, version, "dropped an older version");
                self.operation.metrics.older.inc();
            }
        }
        self.operation.waiting.store(self.store.waiting_version(), Ordering::Release);
    }

    /// Publishes what waits, once it is on disk: a client never holds what a restart could not give back.
    async fn publish(&mut self) {
        let Some(snapshot) = self.store.waiting().cloned() else { return };
        self.keep(snapshot).await;
        if let Some(publication) = self.store.publish(Instant::now().into_std()) {
            let (id, bytes) = (publication.snapshot.id, publication.snapshot.body.identity.len());
            self.operation.metrics.bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
            self.operation.hub.publish(publication);
            let parked = self.operation.hub.parked();
            tracing::info!(operation = %self.operation.name, %id, bytes, parked, "published");
        }
        self.operation.waiting.store(0, Ordering::Release);
    }

    async fn keep(&mut self, snapshot: Snapshot) {
        let Some(disk) = self.disk.clone() else { return };
        let kept = tokio::task::spawn_blocking(move || disk.store(&snapshot)).await;
        if let Ok(Err(error)) = kept {
            // Serving goes on: a full disk must not keep a change from its clients.
            self.disk_failed(&error);
        }
        self.confirm_due = Instant::now() + STATE_CONFIRM;
    }

    async fn confirm_on_disk(&mut self) {
        let Some(disk) = self.disk.clone() else { return };
        if Instant::now() < self.confirm_due || self.store.published().is_none() {
            return;
        }
        self.confirm_due = Instant::now() + STATE_CONFIRM;
        if let Ok(Err(error)) = tokio::task::spawn_blocking(move || disk.confirm()).await {
            self.disk_failed(&error);
        }
    }

    fn disk_failed(&self, error: &crate::sources::disk::DiskError) {
        self.operation.metrics.disk_errors.inc();
        let error = crate::telemetry::chain(error);
        tracing::error!(operation = %self.operation.name, %error, "could not keep the state on disk");
    }
}
