//! What an operation's hub counts. Each series is resolved once, so that a release costs an atomic.

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

/// The metrics of all operations.
#[derive(Debug, Clone)]
pub struct Families {
    parked: IntGaugeVec,
    releases: IntCounterVec,
    fan_out: HistogramVec,
    changes: IntCounterVec,
    no_ops: IntCounterVec,
}

/// The metrics of one operation.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// Requests parked.
    pub parked: IntGauge,
    /// Seconds from a change seen to its last answer handed to its connection.
    pub fan_out: Histogram,
    /// States published.
    pub changes: IntCounter,
    /// Writes that moved only the version.
    pub no_ops: IntCounter,
    /// Parked requests answered because the state changed.
    pub changed: IntCounter,
    /// Parked requests whose wait ended.
    pub expired: IntCounter,
    /// Parked requests answered because the process drains.
    pub drained: IntCounter,
    /// Parked requests answered because their operation ended.
    pub ended: IntCounter,
    /// Parked requests whose client went away.
    pub abandoned: IntCounter,
}

/// Why parked requests end.
const REASONS: [&str; 5] = ["changed", "expired", "drained", "ended", "abandoned"];

impl Families {
    /// Registers them.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let operation = &["operation"];
        let families = Self {
            parked: IntGaugeVec::new(Opts::new("tidewait_parked_requests", "Requests parked now."), operation)?,
            releases: IntCounterVec::new(
                Opts::new("tidewait_released_requests_total", "Parked requests that ended, by reason."),
                &["operation", "reason"],
            )?,
            fan_out: HistogramVec::new(
                HistogramOpts::new(
                    "tidewait_fan_out_seconds",
                    "From a change seen to its last answer handed to its connection, for changes that released someone.",
                )
                .buckets(prometheus::exponential_buckets(0.001, 2.0, 16)?),
                operation,
            )?,
            changes: IntCounterVec::new(Opts::new("tidewait_state_changes_total", "States published."), operation)?,
            no_ops: IntCounterVec::new(
                Opts::new("tidewait_suppressed_changes_total", "Writes at the source that changed no content and released nobody."),
                operation,
            )?,
        };
        registry.register(Box::new(families.parked.clone()))?;
        registry.register(Box::new(families.releases.clone()))?;
        registry.register(Box::new(families.fan_out.clone()))?;
        registry.register(Box::new(families.changes.clone()))?;
        registry.register(Box::new(families.no_ops.clone()))?;
        Ok(families)
    }

    /// Those of one operation.
    #[must_use]
    pub fn of(&self, operation: &str) -> Metrics {
        let release = |reason| self.releases.with_label_values(&[operation, reason]);
        Metrics {
            parked: self.parked.with_label_values(&[operation]),
            fan_out: self.fan_out.with_label_values(&[operation]),
            changes: self.changes.with_label_values(&[operation]),
            no_ops: self.no_ops.with_label_values(&[operation]),
            changed: release("changed"),
            expired: release("expired"),
            drained: release("drained"),
            ended: release("ended"),
            abandoned: release("abandoned"),
        }
    }

    /// Forgets those of an operation that has ended.
    pub fn forget(&self, operation: &str) {
        let operation = &[operation];
        // What was never counted is not there, which is as wanted.
        let _ = self.parked.remove_label_values(operation);
        let _ = self.fan_out.remove_label_values(operation);
        let _ = self.changes.remove_label_values(operation);
        let _ = self.no_ops.remove_label_values(operation);
        for reason in REASONS {
            let _ = self.releases.remove_label_values(&[operation[0], reason]);
        }
    }
}
