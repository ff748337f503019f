//! A running describe operation: its source's reports become states, and states are published.
//!
//! One task ([`Run`]) owns the [`Store`](crate::model::Store). Everyone else sees the hub, the freshness and the
//! status, never the store.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::bounds::{AGENT_SKEW, AGENTS};
use crate::config;
use crate::hub::{Hub, Subscription};
use crate::model::{SourceRevisions, StateId};
use crate::registry::AgentRegistry;
use crate::sources::reads::Reads;
use crate::sources::{SourceObjects, Unusable};

mod acknowledge;
mod catch_up;
mod ended;
mod freshness;
mod keeper;
mod metrics;
mod registry;
mod run;
mod settings;
mod suppressed;

use ended::EndedEpochs;
pub use freshness::Freshness;
pub use metrics::{Families, Metrics};
pub use registry::OperationRegistry;
pub use run::{Feed, Run};
use settings::Settings;
use suppressed::Suppressed;

/// What is known of an agent.
pub type Agent = crate::registry::Agent<Subscription>;

/// What requests and operators see of an operation.
#[derive(Debug)]
pub struct Operation {
    /// Names it in metrics, logs and, for some sources, in its epoch; fixed.
    pub name: String,
    /// The path that clients poll; another path is another operation.
    pub path: String,
    /// Its state, and the requests that wait for the next.
    pub hub: Hub,
    /// How fresh its state is.
    pub freshness: Freshness,
    /// The consistent reads of its source.
    pub reads: Arc<Reads>,
    /// Read by every request, followed by [`Run`].
    settings: watch::Sender<Settings>,
    /// Of the settings, in nanoseconds: on the way of a change there is no lock.
    wake_spread: AtomicU64,
    registry: Mutex<AgentRegistry<Subscription>>,
    status: Mutex<Status>,
    /// The state that waits for its turn to be published.
    waiting: watch::Sender<Option<StateId>>,
    suppressed: Mutex<Suppressed>,
    hurry: Notify,
    revisions: Mutex<Option<SourceRevisions>>,
    applied: Mutex<Option<Applied>>,
    ended: Mutex<EndedEpochs>,
    metrics: Metrics,
}

/// The newest state that the source gave, be it published or not.
#[derive(Debug, Clone)]
pub struct Applied {
    /// Its id.
    pub id: StateId,
    /// What it was made from.
    pub revisions: SourceRevisions,
    /// The objects among these whose statuses are ours to write.
    pub source_objects: SourceObjects,
}

/// The health of the source, for operators.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Status {
    /// It has not reported anything yet.
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
            wake_spread: AtomicU64::new(settings::nanos(config.wake_spread)),
            settings: watch::Sender::new(Settings::of(config)),
            hub,
            freshness: Freshness::new(now),
            registry: Mutex::new(AgentRegistry::new(AGENTS, expiry, now.into_std())),
            reads: Arc::default(),
            status: Mutex::default(),
            waiting: watch::Sender::default(),
            suppressed: Mutex::default(),
            hurry: Notify::new(),
            revisions: Mutex::default(),
            applied: Mutex::default(),
            ended: Mutex::default(),
            metrics,
        }
    }

    /// The health of its source.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Updates the metrics that are computed only on a scrape.
    pub fn scrape(&self) {
        self.metrics.age.set(self.freshness.age().as_secs_f64());
        self.count_agents();
    }

    /// Which versions of which objects the published state was made from, or is confirmed by;
    /// absent until the source has reported that.
    #[must_use]
    pub fn revisions(&self) -> Option<SourceRevisions> {
        *self.revisions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest state that the source reported; absent until it has reported one.
    #[must_use]
    pub fn applied(&self) -> Option<Applied> {
        self.applied.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_revisions(&self, revisions: Option<SourceRevisions>) {
        *self.revisions.lock().unwrap_or_else(PoisonError::into_inner) = revisions;
    }

    fn set_status(&self, status: Status) {
        self.metrics.status(&status);
        let mut now = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        if *now == status {
            return;
        }
        let name = &self.name;
        let meanwhile = if self.hub.current().is_some() {
            "serving the last good state"
        } else {
            "there is no state to serve: requests are answered 503"
        };
        match &status {
            Status::Starting => {}
            Status::Live => tracing::info!(operation = %name, "source is live"),
            Status::Lost(reason) => tracing::warn!(operation = %name, %reason, "source lost, {meanwhile}"),
            Status::Unusable(unusable) => {
                let (kind, detail) = (unusable.kind.as_str(), &unusable.detail);
                tracing::warn!(operation = %name, kind, %detail, "source unusable, {meanwhile}");
            }
        }
        *now = status;
    }
}

/// How long a silent agent is remembered.
fn expiry(config: &config::Operation) -> Duration {
    (2 * config.wait.max).max(AGENT_SKEW)
}
