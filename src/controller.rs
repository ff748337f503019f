//! `DescribeOperation`s become running operations, and what the replicas hold becomes their statuses.
//!
//! ```text
//!  DescribeOperations --watch--> read -> plan (PURE) --wanted--> operations (start, change, end)
//!                                          |
//!                                          v KnownOperations
//!  own operations --report--> DescribeReplica --watch--> totals, status (PURE) --patch--> statuses, Events
//!                             (each its own)             (the holder of the Lease alone, within a term)
//! ```

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use tokio::sync::watch;

use crate::config;
use crate::crd::describe_operation::DescribeOperationStatus;
use crate::lifecycle::tasks::{TaskResult, Tasks};
use crate::operation::OperationRegistry;
use crate::operations::Wanted;
use crate::sources::kubernetes::Metrics as Requests;

mod leader;
pub mod lease;
mod metrics;
pub mod operations;
mod patch;
pub mod plan;
pub mod report;
mod reports;
pub mod status;
mod statuses;
mod term;
pub mod totals;
mod writer;

pub use metrics::Metrics;

use plan::Verdict;

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

/// The `DescribeOperation`s as they are known.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct KnownOperations {
    /// The verdict on each, by name.
    pub verdicts: BTreeMap<String, Verdict>,
    /// The version at which each was seen, and its status there.
    pub stands: BTreeMap<String, (u64, Option<DescribeOperationStatus>)>,
}

/// A watch on what is known.
pub type Knows = watch::Receiver<Arc<KnownOperations>>;

/// Starts the tasks: `wanted` receives what is to run beside the operations of `config`; what `table` holds is reported.
pub fn start(
    dependencies: &Dependencies,
    config: &config::Config,
    table: &Arc<OperationRegistry>,
    wanted: watch::Sender<Wanted>,
    tasks: &mut Tasks,
) {
    let (says, knows) = watch::channel(Arc::default());
    let (until, term) = term::Term::new();
    let operations =
        operations::OperationWatch::new(dependencies.clone(), Arc::new(config.clone()), table, wanted, says);
    let reporter = report::Reporter::new(dependencies.clone(), Arc::clone(table));
    let leader = leader::Leader::new(dependencies.clone(), until);
    let statuses = statuses::Statuses::new(dependencies.clone(), Arc::clone(table), knows, term);
    tasks.spawn("DescribeOperations", for_ever(operations.run()));
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
