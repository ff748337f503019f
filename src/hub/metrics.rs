//! What an operation's hub counts. Each series is resolved once, so that a release costs an atomic.

use std::sync::Arc;

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

use super::crowd::Crowd;
use crate::describe::poll::Reason;
use crate::describe::stream::Form;

/// The metrics of all operations.
#[derive(Debug, Clone)]
pub struct Families {
    parked: IntGaugeVec,
    releases: IntCounterVec,
    fan_out: HistogramVec,
    changes: IntCounterVec,
    no_ops: IntCounterVec,
    selections: IntGaugeVec,
    visited: IntCounterVec,
    touched: IntCounterVec,
    history_states: IntGaugeVec,
    history_bytes: IntGaugeVec,
    history: IntCounterVec,
    delta_bytes: IntCounterVec,
    delta_full_bytes: IntCounterVec,
    streams: IntGaugeVec,
    crowd: Arc<Crowd>,
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
    /// Parked requests whose credential was withdrawn.
    pub withdrawn: IntCounter,
    /// Parked requests answered because the freshness of the state turned.
    pub told: IntCounter,
    /// Selections that someone looks at.
    pub selections: IntGauge,
    /// Changed paths that were looked at to find the selections that a change touches.
    pub selections_visited: IntCounter,
    /// Selections that changes touched.
    pub selections_changed: IntCounter,
    /// Past states that are held.
    pub history_states: IntGauge,
    /// Bytes of memory that they hold beside the current one.
    pub history_bytes: IntGauge,
    /// Deltas asked for from a state in history.
    pub history_hits: IntCounter,
    /// Deltas asked for from a state that is not.
    pub history_misses: IntCounter,
    /// Bytes of the patches that were sent, before content coding.
    pub delta_bytes: IntCounter,
    /// Bytes of the full states in whose place they were sent.
    pub delta_full_bytes: IntCounter,
    /// Streams that clients read, by their form.
    streams: [IntGauge; FORMS.len()],
    /// All who are parked, at whichever operation.
    pub(super) crowd: Arc<Crowd>,
}

/// The forms of streams.
const FORMS: [Form; 3] = [Form::Events, Form::Lines, Form::WebSocket];

/// Counts a stream for as long as it is there.
#[derive(Debug)]
pub struct StreamGuard(IntGauge);

impl Drop for StreamGuard {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Whether a state from which a delta was asked for is in history.
const RESULTS: [&str; 2] = ["hit", "miss"];

/// Why parked requests end.
const REASONS: [&str; 7] = ["changed", "expired", "drained", "ended", "abandoned", "withdrawn", "told"];

impl Metrics {
    /// The counter of parked requests that ended for this reason; none: the client went away.
    #[must_use]
    pub fn released(&self, reason: Option<Reason>) -> &IntCounter {
        match reason {
            Some(Reason::Changed) => &self.changed,
            Some(Reason::Expired) => &self.expired,
            Some(Reason::Drained) => &self.drained,
            Some(Reason::Ended) => &self.ended,
            Some(Reason::Withdrawn) => &self.withdrawn,
            Some(Reason::Told) => &self.told,
            Some(Reason::HalfClosed) | None => &self.abandoned,
        }
    }
}

impl Metrics {
    /// A stream begins.
    #[must_use]
    pub fn stream(&self, form: Form) -> StreamGuard {
        let [events, lines, websocket] = &self.streams;
        let gauge = match form {
            Form::Events => events,
            Form::Lines => lines,
            Form::WebSocket => websocket,
        };
        gauge.inc();
        StreamGuard(gauge.clone())
    }
}

impl Families {
    /// Registers them.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let gauges = |name: &str, help: &str| {
            let gauges = IntGaugeVec::new(Opts::new(name, help), &["operation"])?;
            registry.register(Box::new(gauges.clone())).map(|()| gauges)
        };
        let counters = |name: &str, help: &str, labels: &[&str]| {
            let counters = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(counters.clone())).map(|()| counters)
        };
        let operation = &["operation"][..];
        let fan_out = HistogramVec::new(
            HistogramOpts::new(
                "tidewait_fan_out_seconds",
                "From a change seen to its last answer handed to its connection, for changes that released someone.",
            )
            .buckets(prometheus::exponential_buckets(0.001, 2.0, 16)?),
            operation,
        )?;
        registry.register(Box::new(fan_out.clone()))?;
        Ok(Self {
            crowd: Arc::new(Crowd::new(tokio::time::Instant::now().into_std())),
            fan_out,
            parked: gauges("tidewait_parked_requests", "Requests parked now.")?,
            releases: counters(
                "tidewait_released_requests_total",
                "Parked requests that ended, by reason.",
                &["operation", "reason"],
            )?,
            changes: counters("tidewait_state_changes_total", "States published.", operation)?,
            no_ops: counters(
                "tidewait_suppressed_changes_total",
                "Writes at the source that changed no content and released nobody.",
                operation,
            )?,
            selections: gauges(
                "tidewait_selections",
                "Different selections that clients wait for or are known to hold.",
            )?,
            visited: counters(
                "tidewait_visited_selection_paths_total",
                "Changed paths that were looked at to find the selections that a change touches.",
                operation,
            )?,
            touched: counters("tidewait_changed_selections_total", "Selections that changes touched.", operation)?,
            history_states: gauges("tidewait_history_states", "Past states from which deltas can lead.")?,
            history_bytes: gauges(
                "tidewait_history_bytes",
                "Memory that past states hold beside the current one, without what allocation costs.",
            )?,
            history: counters(
                "tidewait_history_lookups_total",
                "Deltas asked for, by whether the state that they begin at was in history.",
                &["operation", "result"],
            )?,
            delta_bytes: counters(
                "tidewait_delta_bytes_total",
                "Bytes of the patches that were given, before content coding.",
                operation,
            )?,
            delta_full_bytes: counters(
                "tidewait_delta_full_bytes_total",
                "Bytes of the full states in whose place patches were given.",
                operation,
            )?,
            streams: {
                let opts = Opts::new("tidewait_streams", "Streams that clients read now, by their form.");
                let streams = IntGaugeVec::new(opts, &["operation", "form"])?;
                registry.register(Box::new(streams.clone()))?;
                streams
            },
        })
    }

    /// Those of one operation.
    #[must_use]
    pub fn of(&self, operation: &str) -> Metrics {
        let release = |reason| self.releases.with_label_values(&[operation, reason]);
        Metrics {
            crowd: Arc::clone(&self.crowd),
            parked: self.parked.with_label_values(&[operation]),
            fan_out: self.fan_out.with_label_values(&[operation]),
            changes: self.changes.with_label_values(&[operation]),
            no_ops: self.no_ops.with_label_values(&[operation]),
            changed: release("changed"),
            expired: release("expired"),
            drained: release("drained"),
            ended: release("ended"),
            abandoned: release("abandoned"),
            withdrawn: release("withdrawn"),
            told: release("told"),
            selections: self.selections.with_label_values(&[operation]),
            selections_visited: self.visited.with_label_values(&[operation]),
            selections_changed: self.touched.with_label_values(&[operation]),
            history_states: self.history_states.with_label_values(&[operation]),
            history_bytes: self.history_bytes.with_label_values(&[operation]),
            history_hits: self.history.with_label_values(&[operation, "hit"]),
            history_misses: self.history.with_label_values(&[operation, "miss"]),
            delta_bytes: self.delta_bytes.with_label_values(&[operation]),
            delta_full_bytes: self.delta_full_bytes.with_label_values(&[operation]),
            streams: FORMS.map(|form| self.streams.with_label_values(&[operation, form.as_str()])),
        }
    }

    /// Forgets those of an operation that has ended.
    pub fn forget(&self, operation: &str) {
        // What was never counted is not there, which is as wanted.
        for gauges in [&self.parked, &self.selections, &self.history_states, &self.history_bytes] {
            let _ = gauges.remove_label_values(&[operation]);
        }
        for counters in
            [&self.changes, &self.no_ops, &self.visited, &self.touched, &self.delta_bytes, &self.delta_full_bytes]
        {
            let _ = counters.remove_label_values(&[operation]);
        }
        let _ = self.fan_out.remove_label_values(&[operation]);
        for result in RESULTS {
            let _ = self.history.remove_label_values(&[operation, result]);
        }
        for form in FORMS {
            let _ = self.streams.remove_label_values(&[operation, form.as_str()]);
        }
        for reason in REASONS {
            let _ = self.releases.remove_label_values(&[operation, reason]);
        }
    }
}
