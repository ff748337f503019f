//! What the list-and-watch loops count, all sources together.

use prometheus::{IntCounter, IntCounterVec, Opts, Registry};

use super::failure::FailureKind;

/// The counters of the list-and-watch loops.
#[derive(Debug, Clone)]
pub struct Metrics {
    lists: IntCounter,
    watches: IntCounter,
    errors: IntCounterVec,
    restores: IntCounter,
}

impl Metrics {
    /// Registers the counters; each kind of error is there from the start, at 0.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = Self {
            lists: IntCounter::new("tidewait_kubernetes_lists_total", "Lists asked of the API server.")?,
            watches: IntCounter::new("tidewait_kubernetes_watches_total", "Watches asked of the API server.")?,
            errors: IntCounterVec::new(
                Opts::new("tidewait_kubernetes_errors_total", "Lists and watches that failed, by kind."),
                &["kind"],
            )?,
            restores: IntCounter::new(
                "tidewait_kubernetes_restores_total",
                "Lists older than what was known: the API server's store was restored from a backup.",
            )?,
        };
        for kind in FailureKind::ALL {
            metrics.errors.with_label_values(&[kind.as_str()]);
        }
        registry.register(Box::new(metrics.lists.clone()))?;
        registry.register(Box::new(metrics.watches.clone()))?;
        registry.register(Box::new(metrics.errors.clone()))?;
        registry.register(Box::new(metrics.restores.clone()))?;
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
}
