//! Which agents hold the state, counted on a scrape.

use prometheus::{Gauge, GaugeVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use crate::registry::{AGES, AgentCounts, SyncStatus, Totals};

/// What became of a report, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReportResult {
    /// It took the place of the one before.
    Taken,
    /// A newer one was known.
    Older,
    /// It came too soon after the one before.
    TooSoon,
    /// It was none that could be taken.
    Refused,
}

/// The metrics of all operations.
#[derive(Debug, Clone)]
pub(super) struct Families {
    agents: IntGaugeVec,
    lagging: IntGaugeVec,
    oldest_lag: GaugeVec,
    duplicates: IntGaugeVec,
    evicted: IntGaugeVec,
    relays: IntGaugeVec,
    reports: IntCounterVec,
    evictions: IntCounterVec,
    rejections: IntCounterVec,
}

/// The metrics of one operation.
#[derive(Debug, Clone)]
pub struct Metrics {
    converged: IntGauge,
    lagging: IntGauge,
    rejecting: IntGauge,
    by_age: [IntGauge; AGES.len()],
    oldest_lag: Gauge,
    duplicates: IntGauge,
    evicted: IntGauge,
    relays: IntGauge,
    reports: [IntCounter; ReportResult::ALL.len()],
    evictions: IntCounter,
    rejections: IntCounter,
}

impl Families {
    /// Registers them.
    pub(super) fn register(registry: &Registry) -> prometheus::Result<Self> {
        let gauge = |name: &str, help: &str, labels: &[&str]| super::gauges(registry, name, help, labels);
        let counter = |name: &str, help: &str| -> prometheus::Result<IntCounterVec> {
            let counter = IntCounterVec::new(Opts::new(name, help), &["operation"])?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        let help = "How long the agent lags or rejects that has done so for longest.";
        let oldest_lag = GaugeVec::new(Opts::new("tidewait_agents_oldest_lag_seconds", help), &["operation"])?;
        registry.register(Box::new(oldest_lag.clone()))?;
        let help = "Reports of relays by what became of them.";
        let reports = IntCounterVec::new(Opts::new("tidewait_relay_reports_total", help), &["operation", "result"])?;
        registry.register(Box::new(reports.clone()))?;
        Ok(Self {
            reports,
            agents: gauge(
                "tidewait_agents",
                "Agents by how they stand to the current state, those below relays included.",
                &["operation", "state"],
            )?,
            lagging: gauge(
                "tidewait_lagging_agents",
                "Lagging agents by how long they lag: less than this, and not less than the age before.",
                &["operation", "age"],
            )?,
            oldest_lag,
            duplicates: gauge("tidewait_duplicate_agents", "Agents with two polls or more under way.", &["operation"])?,
            evicted: gauge(
                "tidewait_evicted_agents",
                "Agents forgotten for want of room that may be out there.",
                &["operation"],
            )?,
            relays: gauge("tidewait_relays", "Relays whose reports are known.", &["operation"])?,
            evictions: counter("tidewait_agent_evictions_total", "Agents forgotten for want of room.")?,
            rejections: counter("tidewait_agent_rejections_total", "States that agents could not apply.")?,
        })
    }

    /// Those of one operation.
    #[must_use]
    pub(super) fn of(&self, operation: &str) -> Metrics {
        let agents = |sync_status: SyncStatus| self.agents.with_label_values(&[operation, sync_status.as_str()]);
        Metrics {
            converged: agents(SyncStatus::Converged),
            lagging: agents(SyncStatus::Lagging),
            rejecting: agents(SyncStatus::Rejecting),
            by_age: AGES.map(|(age, _)| self.lagging.with_label_values(&[operation, age])),
            oldest_lag: self.oldest_lag.with_label_values(&[operation]),
            duplicates: self.duplicates.with_label_values(&[operation]),
            evicted: self.evicted.with_label_values(&[operation]),
            relays: self.relays.with_label_values(&[operation]),
            reports: ReportResult::ALL.map(|result| self.reports.with_label_values(&[operation, result.as_str()])),
            evictions: self.evictions.with_label_values(&[operation]),
            rejections: self.rejections.with_label_values(&[operation]),
        }
    }

    /// Forgets those of an operation that has ended.
    pub(super) fn forget(&self, operation: &str) {
        // What was never counted is not there, which is as wanted.
        for sync_status in [SyncStatus::Converged, SyncStatus::Lagging, SyncStatus::Rejecting] {
            let _ = self.agents.remove_label_values(&[operation, sync_status.as_str()]);
        }
        for (age, _) in AGES {
            let _ = self.lagging.remove_label_values(&[operation, age]);
        }
        let _ = self.oldest_lag.remove_label_values(&[operation]);
        for gauges in [&self.duplicates, &self.evicted, &self.relays] {
            let _ = gauges.remove_label_values(&[operation]);
        }
        for result in ReportResult::ALL {
            let _ = self.reports.remove_label_values(&[operation, result.as_str()]);
        }
        for counters in [&self.evictions, &self.rejections] {
            let _ = counters.remove_label_values(&[operation]);
        }
    }
}

impl ReportResult {
    const ALL: [Self; 4] = [Self::Taken, Self::Older, Self::TooSoon, Self::Refused];

    fn as_str(self) -> &'static str {
        match self {
            Self::Taken => "taken",
            Self::Older => "older",
            Self::TooSoon => "too_soon",
            Self::Refused => "refused",
        }
    }
}

impl Metrics {
    /// Counts a report.
    pub(in crate::operation) fn reported(&self, result: ReportResult) {
        self.reports[result as usize].inc();
    }

    /// Says what was counted. Not by two at once: counters follow those of the registry by the difference.
    pub fn set(&self, totals: &Totals) {
        let set = |gauge: &IntGauge, count: u64| gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        let AgentCounts { converged, lagging, rejecting, evicted } = totals.agents;
        set(&self.converged, converged);
        set(&self.lagging, lagging);
        set(&self.rejecting, rejecting);
        set(&self.evicted, evicted);
        for (gauge, count) in self.by_age.iter().zip(totals.lagging_by_age) {
            set(gauge, count);
        }
        self.oldest_lag.set(totals.oldest_lag.unwrap_or_default().as_secs_f64());
        set(&self.duplicates, totals.duplicates as u64);
        set(&self.relays, totals.relays as u64);
        self.evictions.inc_by(totals.evictions.saturating_sub(self.evictions.get()));
        self.rejections.inc_by(totals.rejections.saturating_sub(self.rejections.get()));
    }
}
