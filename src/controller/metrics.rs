//! What the controller counts.

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

/// The metrics of the controller.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// 1 while this replica holds the Lease.
    pub leads: IntGauge,
    /// Writes of the Lease.
    pub lease_writes: IntCounter,
    writes: IntCounterVec,
}

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// This replica's own report.
    Report,
    /// The status of a `DescribeOperation`.
    Operation,
    /// The status of a `NetworkModel`.
    Model,
    /// The status of an `Exchange`.
    Exchange,
    /// The status of a `Topic`.
    Topic,
}

/// How a write ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteResult {
    /// It is written.
    Ok,
    /// The object was changed meanwhile: computed again.
    Conflict,
    /// It could not be written.
    Failed,
}

impl Metrics {
    /// Registers them.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let metrics = Self {
            leads: IntGauge::new("tidewait_lease_held", "1 while this replica writes the statuses of its namespace.")?,
            lease_writes: IntCounter::new("tidewait_lease_writes_total", "Attempts to take or renew the Lease.")?,
            writes: IntCounterVec::new(
                Opts::new("tidewait_status_writes_total", "Statuses written, by the kind of object and how it went."),
                &["kind", "result"],
            )?,
        };
        registry.register(Box::new(metrics.leads.clone()))?;
        registry.register(Box::new(metrics.lease_writes.clone()))?;
        registry.register(Box::new(metrics.writes.clone()))?;
        Ok(metrics)
    }

    /// Counts a write.
    pub fn wrote(&self, written: Written, result: WriteResult) {
        let kind = match written {
            Written::Report => "DescribeReplica",
            Written::Operation => "DescribeOperation",
            Written::Model => "NetworkModel",
            Written::Exchange => "Exchange",
            Written::Topic => "Topic",
        };
        let result = match result {
            WriteResult::Ok => "ok",
            WriteResult::Conflict => "conflict",
            WriteResult::Failed => "failed",
        };
        self.writes.with_label_values(&[kind, result]).inc();
    }
}
