//! What the list-and-watch loops count, all sources together.

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use super::failure::FailureKind;

/// The counters of the list-and-watch loops.
#[derive(Debug, Clone)]
pub struct Metrics {
    lists: IntCounter,
    watches: IntCounter,
    errors: IntCounterVec,
    restores: IntCounter,
    reads: IntCounterVec,
    reading: IntGauge,
}

/// Why a consistent read began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// A request may be ahead of what is held.
    Requested,
    /// What list or watch showed is to be confirmed, or a read failed or decided nothing.
    Scheduled,
    /// The regular read of once a minute.
    Due,
}

/// Counts a read as under way while it lives.
#[derive(Debug)]
pub(super) struct InFlight(IntGauge);

impl Metrics {
    /// Registers the counters; each kind of error is there from the start, at 0.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = Self {
            lists: IntCounter::new("tidewait_kubernetes_lists_total", "Lists asked of the API server.")?,
            watches: IntCounter::new("tidewait_kubernetes_watches_total", "Watches asked of the API server.")?,
            errors: IntCounterVec::new(
                Opts::new(
                    "tidewait_kubernetes_errors_total",
                    "Lists, watches and consistent reads that failed, by kind.",
                ),
                &["kind"],
            )?,
            restores: IntCounter::new(
                "tidewait_kubernetes_restores_total",
                "Lists and reads older than what was known: the API server's store was restored from a backup.",
            )?,
            reads: IntCounterVec::new(
                Opts::new(
                    "tidewait_kubernetes_reads_total",
                    "Consistent reads by cause (asked by a request, owed after a list or failure, due once a minute) and result.",
                ),
                &["cause", "result"],
            )?,
            reading: IntGauge::new("tidewait_kubernetes_reads_in_flight", "Consistent reads that are under way.")?,
        };
        for kind in FailureKind::ALL {
            metrics.errors.with_label_values(&[kind.as_str()]);
        }
        registry.register(Box::new(metrics.lists.clone()))?;
        registry.register(Box::new(metrics.watches.clone()))?;
        registry.register(Box::new(metrics.errors.clone()))?;
        registry.register(Box::new(metrics.restores.clone()))?;
        registry.register(Box::new(metrics.reads.clone()))?;
        registry.register(Box::new(metrics.reading.clone()))?;
        Ok(metrics)
    }

    pub(super) fn list(&self) {
        self.lists.inc();
    }

    pub(super) fn watch(&self) {
        self.watches.inc();
    }

    pub(super) fn error(&self, kind: FailureKind) {
        self.errors.with_label_values(&[kind.as_str()]).inc();
    }

    pub(super) fn restore(&self) {
        self.restores.inc();
    }

    /// A consistent read ended.
    pub(super) fn read(&self, cause: Cause, result: &str) {
        self.reads.with_label_values(&[cause.as_str(), result]).inc();
    }

    /// A consistent read is under way until what is given is dropped.
    pub(super) fn reading(&self) -> InFlight {
        self.reading.inc();
        InFlight(self.reading.clone())
    }
}

impl Cause {
    fn as_str(self) -> &'static str {
        match self {
            Self::Requested => "asked",
            Self::Scheduled => "owed",
            Self::Due => "due",
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}
