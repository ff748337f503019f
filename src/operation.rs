//! A running describe operation: its source's reports become states, and states are published.
//!
//! One task ([`Run`]) owns the [`Store`](crate::model::Store). Everyone else sees the hub, the freshness and the
//! [`Facts`], never the store.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::bounds::{AGENT_SKEW, AGENTS, RELAYS};
use crate::config;
use crate::hub::{Hub, Subscription};
use crate::registry::{AgentRegistry, Relays};
use crate::sources::reads::Reads;

mod acknowledge;
mod catch_up;
mod contact;
mod ended;
mod facts;
mod freshness;
mod keeper;
pub mod lineage;
mod metrics;
mod registry;
mod reports;
mod run;
mod settings;
mod tell;

use contact::Contacts;
use ended::EndedEpochs;
pub use facts::{Applied, Facts, Published, Status};
pub use freshness::Freshness;
use lineage::Lineage;
pub use metrics::{Families, Metrics, ReportResult};
pub use registry::OperationRegistry;
pub use reports::{NotTaken, Relay};
pub use run::{Feed, Run};
use settings::Settings;

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
    /// Which way its states come.
    pub lineage: Lineage,
    /// Whether the server that it relays answers.
    contact: Contacts,
    /// The consistent reads of its source.
    pub reads: Arc<Reads>,
    /// Read by every request, followed by [`Run`].
    settings: watch::Sender<Settings>,
    settings_generation: AtomicU64,
    /// Of the settings, in nanoseconds: on the way of a change there is no lock.
    wake_spread: AtomicU64,
    registry: Mutex<AgentRegistry<Subscription>>,
    /// Behind a lock of its own: no poll waits for a report.
    relays: Mutex<Relays<Subscription>>,
    /// Written by [`Run`] alone.
    facts: watch::Sender<Arc<Facts>>,
    hurry: Notify,
    ended: Mutex<EndedEpochs>,
    metrics: Metrics,
}

impl Operation {
    /// An operation without a state.
    #[must_use]
    pub fn new(config: config::Operation, hub: Hub, metrics: Metrics) -> Self {
        let now = Instant::now();
        let expiry = expiry(&config);
        let lineage = Lineage::new(&config);
        let relays = Relays::new(RELAYS, config.wait.max);
        Self {
            name: config.name.clone(),
            path: config.path.clone(),
            wake_spread: AtomicU64::new(settings::nanos(config.wake_spread)),
            settings: watch::Sender::new(Settings::of(config)),
            settings_generation: AtomicU64::new(0),
            hub,
            freshness: Freshness::new(now),
            lineage,
            contact: Contacts::default(),
            registry: Mutex::new(AgentRegistry::new(AGENTS, expiry, now.into_std())),
            relays: Mutex::new(relays),
            reads: Arc::default(),
            facts: watch::Sender::default(),
            hurry: Notify::new(),
            ended: Mutex::default(),
            metrics,
        }
    }

    /// Updates the metrics that are computed only on a scrape.
    pub fn scrape(&self) {
        self.metrics.age.set(self.freshness.age().as_secs_f64());
        self.count_agents();
        self.metrics.relay.show(self.relayed().as_ref());
    }
}

/// How long a silent agent is remembered.
fn expiry(config: &config::Operation) -> Duration {
    (2 * config.wait.max).max(AGENT_SKEW)
}
