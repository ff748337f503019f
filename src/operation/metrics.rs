//! What an operation counts about its source.

use prometheus::{Gauge, GaugeVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use super::Status;
use crate::sources::wall_clock;

mod agents;
mod relay;

pub use agents::ReportResult;

/// The metrics of all operations.
#[derive(Debug, Clone)]
pub struct Families {
    contact: GaugeVec,
    live: IntGaugeVec,
    failures: IntCounterVec,
    restored: IntCounterVec,
    older: IntCounterVec,
    disk_errors: IntCounterVec,
    bytes: IntGaugeVec,
    age: GaugeVec,
    agents: agents::Families,
    relay: relay::Families,
    held: IntGaugeVec,
}

/// The metrics of one operation.
#[derive(Debug)]
pub struct Metrics {
    contact: Gauge,
    live: IntGauge,
    lost: IntCounter,
    unusable: IntCounter,
    /// Times the source went back to an older version that is authoritative.
    pub restored: IntCounter,
    /// Older versions dropped.
    pub older: IntCounter,
    /// Times the state could not be kept on disk.
    pub disk_errors: IntCounter,
    /// Bytes of the state.
    pub bytes: IntGauge,
    /// `State-Age`.
    pub age: Gauge,
    /// Which agents hold the state.
    pub agents: agents::Metrics,
    /// How a relay stands with its server.
    pub relay: relay::Metrics,
    /// 1 while a change waits to be confirmed.
    pub held: IntGauge,
}

impl Families {
    /// Registers them.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let counter = |name: &str, help: &str, labels: &[&str]| -> prometheus::Result<IntCounterVec> {
            let counter = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        let gauge = |name: &str, help: &str| gauges(registry, name, help, &["operation"]);
        let seconds = |name: &str, help: &str| -> prometheus::Result<GaugeVec> {
            let gauge = GaugeVec::new(Opts::new(name, help), &["operation"])?;
            registry.register(Box::new(gauge.clone()))?;
            Ok(gauge)
        };
        let operation: &[&str] = &["operation"];
        Ok(Self {
            contact: seconds(
                "tidewait_source_last_contact_timestamp_seconds",
                "When the source last said what it holds.",
            )?,
            age: seconds("tidewait_state_age_seconds", "Since the source last confirmed the state that is served.")?,
            agents: agents::Families::register(registry)?,
            relay: relay::Families::register(registry)?,
            held: gauge(
                "tidewait_held_changes",
                "1 while a change is held since it removes more of the model than the guard allows.",
            )?,
            live: gauge("tidewait_source_live", "1 while the source confirms the state that is served.")?,
            bytes: gauge("tidewait_state_bytes", "Size of the state that is served, without an encoding.")?,
            failures: counter(
                "tidewait_source_failures_total",
                "Times the source was lost, or held nothing that can be served.",
                &["operation", "kind"],
            )?,
            restored: counter(
                "tidewait_source_restores_total",
                "Times the source went back to an older version, which was accepted.",
                operation,
            )?,
            older: counter(
                "tidewait_source_older_total",
                "Late or repeated older versions that were dropped.",
                operation,
            )?,
            disk_errors: counter(
                "tidewait_state_disk_errors_total",
                "Times the state could not be kept on disk.",
                operation,
            )?,
        })
    }

    /// Those of one operation.
    #[must_use]
    pub fn of(&self, operation: &str) -> Metrics {
        Metrics {
            contact: self.contact.with_label_values(&[operation]),
            live: self.live.with_label_values(&[operation]),
            lost: self.failures.with_label_values(&[operation, "lost"]),
            unusable: self.failures.with_label_values(&[operation, "unusable"]),
            restored: self.restored.with_label_values(&[operation]),
            older: self.older.with_label_values(&[operation]),
            disk_errors: self.disk_errors.with_label_values(&[operation]),
            bytes: self.bytes.with_label_values(&[operation]),
            age: self.age.with_label_values(&[operation]),
            agents: self.agents.of(operation),
            relay: self.relay.of(operation),
            held: self.held.with_label_values(&[operation]),
        }
    }

    /// Forgets those of an operation that has ended.
    pub fn forget(&self, operation: &str) {
        // What was never counted is not there, which is as wanted.
        for gauges in [&self.contact, &self.age] {
            let _ = gauges.remove_label_values(&[operation]);
        }
        for gauges in [&self.live, &self.bytes, &self.held] {
            let _ = gauges.remove_label_values(&[operation]);
        }
        for counters in [&self.restored, &self.older, &self.disk_errors] {
            let _ = counters.remove_label_values(&[operation]);
        }
        self.agents.forget(operation);
        self.relay.forget(operation);
        for kind in ["lost", "unusable"] {
            let _ = self.failures.remove_label_values(&[operation, kind]);
        }
    }
}

fn gauges(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntGaugeVec> {
    let gauges = IntGaugeVec::new(Opts::new(name, help), labels)?;
    registry.register(Box::new(gauges.clone()))?;
    Ok(gauges)
}

impl Metrics {
    pub(super) fn status(&self, status: &Status) {
        self.live.set(i64::from(*status == Status::Live));
        match status {
            Status::Starting => {}
            Status::Lost(_) => self.lost.inc(),
            Status::Live | Status::Unusable(_) => {
                let now = wall_clock().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
                self.contact.set(now.as_secs_f64());
                if *status != Status::Live {
                    self.unusable.inc();
                }
            }
        }
    }
}
