//! `DescribeOperation`s, `Exchange`s and `Topic`s become what runs, and what the replicas hold becomes their statuses.
//!
//! ```text
//!  DescribeOperations --watch--> objects --+
//!  Exchanges ----------watch--> objects --+--> planning: plan (PURE) --wanted--> operations, exchanges, topics
//!  Topics -------------watch--> objects --+          |                            (start, change, end)
//!                                                    |
//!                                                    v KnownObjects
//!  what runs here --report--> DescribeReplica --watch--> totals, status (PURE) --patch--> statuses, Events
//!                             (each its own)             (the holder of the Lease alone, within a term)
//! ```

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use tokio::sync::watch;

use crate::config;
use crate::crd::describe_operation::DescribeOperationStatus;
use crate::crd::exchange::ExchangeStatus;
use crate::crd::topic::TopicStatus;
use crate::exchange::registry::ExchangeRegistry;
use crate::lifecycle::tasks::{TaskResult, Tasks};
use crate::lifecycle::wanted::Wanted;
use crate::operation::OperationRegistry;
use crate::sources::kubernetes::Metrics as Requests;
use crate::topic::registry::TopicRegistry;

mod exchange_report;
mod exchange_status;
mod kinds;
mod leader;
pub mod lease;
mod metrics;
mod objects;
mod patch;
pub mod plan;
mod planning;
pub mod report;
mod reports;
pub mod status;
mod statuses;
mod term;
mod topic_report;
mod topic_status;
pub mod totals;
mod writer;

pub use metrics::Metrics;

use objects::ObjectWatch;
use plan::Planner;
use planning::{Known, Planning};

/// Where the objects are, which of them, and who this replica is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Their namespace.
    pub namespace: String,
    /// Their labels; empty: all.
    pub labels: String,
    /// What this replica calls itself.
    pub replica: String,
    /// The uid of its pod; absent: it is in none.
    pub replica_uid: Option<String>,
}

impl Settings {
    /// Those of a configuration, and the host's name where that has none.
    #[must_use]
    pub fn of(config: &config::Controller) -> Self {
        let config::Controller { namespace, labels, replica, replica_uid } = config.clone();
        let host = || rustix::system::uname().nodename().to_string_lossy().to_ascii_lowercase();
        Self { namespace, labels, replica: replica.unwrap_or_else(host), replica_uid }
    }
}

/// What the tasks of the controller share.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "kube's client has none")]
pub struct Dependencies {
    /// The API server.
    pub client: Client,
    /// What it is to look at, and who it is.
    pub settings: Settings,
    /// Longest a watch runs before it is renewed.
    pub watch_timeout: Duration,
    /// What lists and watches count.
    pub requests: Requests,
    /// What the controller counts.
    pub metrics: Metrics,
}

/// All objects as they are known.
#[derive(Debug, Clone, Default)]
pub struct KnownObjects {
    operations: Known<config::Operation, DescribeOperationStatus>,
    exchanges: Known<config::Exchange, ExchangeStatus>,
    topics: Known<config::Topic, TopicStatus>,
}

/// A watch on what is known.
type Knows = watch::Receiver<Arc<KnownObjects>>;

/// Where what runs is found.
#[derive(Debug, Clone)]
pub struct Tables {
    /// The operations.
    pub operations: Arc<OperationRegistry>,
    /// The exchanges.
    pub exchanges: Arc<ExchangeRegistry>,
    /// The topics.
    pub topics: Arc<TopicRegistry>,
}

/// Who is told what is to run, beside what the process's own configuration has.
#[derive(Debug)]
pub struct Wants {
    /// Of the operations.
    pub operations: watch::Sender<Wanted<config::Operation>>,
    /// Of the exchanges.
    pub exchanges: watch::Sender<Wanted<config::Exchange>>,
    /// Of the topics.
    pub topics: watch::Sender<Wanted<config::Topic>>,
}

/// Starts the tasks: `wants` are told what is to run beside what `config` has; what `tables` hold is reported.
pub fn start(dependencies: &Dependencies, config: &config::Config, tables: &Tables, wants: Wants, tasks: &mut Tasks) {
    let (tells, knows) = watch::channel(Arc::default());
    let (until, term) = term::Term::new();
    let planner = Planner::new(&config.operations, &config.exchanges, &config.topics).with_nats(config.nats.is_some());
    let config = Arc::new(config.clone());
    let (says_operations, operations) = watch::channel(None);
    let (says_exchanges, exchanges) = watch::channel(None);
    let (says_topics, topics) = watch::channel(None);
    let planning = Planning { planner, operations, exchanges, topics, wants, known: tells };
    planning.wait(tables);
    let operations = ObjectWatch::<kinds::Operations>::new(dependencies.clone(), Arc::clone(&config), says_operations);
    let exchanges = ObjectWatch::<kinds::Exchanges>::new(dependencies.clone(), Arc::clone(&config), says_exchanges);
    let topics = ObjectWatch::<kinds::Topics>::new(dependencies.clone(), config, says_topics);
    let reporter = report::Reporter::new(dependencies.clone(), tables.clone(), knows.clone());
    let leader = leader::Leader::new(dependencies.clone(), until);
    let statuses = statuses::Statuses::new(dependencies.clone(), Arc::clone(&tables.operations), knows, term);
    tasks.spawn("DescribeOperations", for_ever(operations.run()));
    tasks.spawn("Exchanges", for_ever(exchanges.run()));
    tasks.spawn("Topics", for_ever(topics.run()));
    tasks.spawn("planning", for_ever(planning.run()));
    tasks.spawn("own report", for_ever(reporter.run()));
    tasks.spawn("Lease", for_ever(leader.run()));
    tasks.spawn("statuses", for_ever(statuses.run()));
}

/// Deletes the report of this replica and releases the Lease, if it holds that, as far as both are possible within a
/// moment. Otherwise the end of its Pod removes the report, and another replica takes the Lease once it has expired.
pub async fn leave(dependencies: &Dependencies) {
    tokio::join!(report::withdraw(dependencies), leader::give_up(dependencies));
}

async fn for_ever(task: impl Future<Output = ()>) -> TaskResult {
    task.await;
    Ok(())
}
