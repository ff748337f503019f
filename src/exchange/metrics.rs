//! Metrics of exchanges: also what workers are scaled by.

use std::collections::HashMap;
use std::time::Duration;

use prometheus::core::{Collector as _, MetricVec, MetricVecBuilder};
use prometheus::{
    GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

use super::core::{Failed, Failure, Lost, Refused};

/// Seconds of the buckets: work takes from milliseconds to minutes.
const BUCKETS: [f64; 14] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];

/// Why requests were queued again.
const REDELIVERED: [&str; 5] = ["unwritten", "given-back", "broke", "untouched", "lease-over"];
/// Who has cancelled requests.
const CANCELLED: [&str; 2] = ["delete", "consumer"];
/// How requests have ended.
const ENDED: [&str; 4] = ["done", "expired", "failed", "cancelled"];
/// Why requests were not queued.
const REFUSED: [&str; 4] = ["full", "client", "no-worker", "key-reused"];

/// The metrics of all exchanges.
#[derive(Debug, Clone)]
pub struct Families {
    queued: IntGaugeVec,
    oldest: GaugeVec,
    in_flight: IntGaugeVec,
    slots: IntGaugeVec,
    workers: IntGaugeVec,
    polls: IntGaugeVec,
    kept: IntGaugeVec,
    kept_bytes: IntGaugeVec,
    queue_seconds: HistogramVec,
    service_seconds: HistogramVec,
    immediate: IntCounterVec,
    redelivered: IntCounterVec,
    cancelled: IntCounterVec,
    ended: IntCounterVec,
    refused: IntCounterVec,
    dead: IntCounterVec,
    superseded: IntCounterVec,
    backend_up: IntGaugeVec,
    replicas: IntGaugeVec,
    conflicts: IntCounterVec,
    write_failures: IntCounterVec,
}

/// The metrics of one exchange.
#[derive(Debug, Clone)]
pub struct Metrics {
    name: String,
    families: Families,
    pub(super) queued: IntGauge,
    pub(super) in_flight: IntGauge,
    pub(super) queue_seconds: Histogram,
    pub(super) service_seconds: Histogram,
    pub(super) immediate: IntCounter,
    pub(super) dead: IntCounter,
    pub(super) superseded: IntCounter,
}

/// Something that is counted until this is dropped.
#[derive(Debug)]
pub struct Counted(IntGauge);

impl Counted {
    fn new(gauge: IntGauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// How a worker comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    /// By long polls.
    Claims,
    /// By reverse HTTP/1.1.
    Http1,
    /// By reverse HTTP/2.
    Http2,
    /// At the raw port.
    Raw,
}

impl Transport {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Claims => "claims",
            Self::Http1 => "http1",
            Self::Http2 => "http2",
            Self::Raw => "raw",
        }
    }
}

impl Families {
    /// Registers them.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let gauges = |name: &str, help: &str, labels: &[&str]| gauges(registry, (name, help), labels);
        let counters = |name: &str, help: &str, labels: &[&str]| counters(registry, (name, help), labels);
        let histograms = |name: &str, help: &str| histograms(registry, (name, help));
        let oldest =
            Opts::new("tidewait_exchange_queue_oldest_seconds", "How long the oldest queued request has waited");
        let oldest = GaugeVec::new(oldest, &["exchange"])?;
        registry.register(Box::new(oldest.clone()))?;
        Ok(Self {
            queued: gauges("tidewait_exchange_queued", "Requests that wait for a worker", &["exchange"])?,
            oldest,
            in_flight: gauges("tidewait_exchange_in_flight", "Requests that workers work on", &["exchange"])?,
            slots: gauges("tidewait_exchange_slots", "Slots of workers", &["exchange", "state"])?,
            workers: gauges("tidewait_exchange_workers", "Connections of workers", &["exchange", "transport"])?,
            polls: gauges("tidewait_exchange_polls", "Polls of workers that wait", &["exchange"])?,
            kept: gauges("tidewait_exchange_kept", "Requests that have ended and are still known", &["exchange"])?,
            kept_bytes: gauges("tidewait_exchange_kept_bytes", "Bytes of answers that are kept", &["exchange"])?,
            queue_seconds: histograms("tidewait_exchange_queue_seconds", "From a request to its claim")?,
            service_seconds: histograms("tidewait_exchange_service_seconds", "From a claim to the end of its answer")?,
            immediate: counters(
                "tidewait_exchange_immediate_total",
                "Requests that met a free slot at once",
                &["exchange"],
            )?,
            redelivered: counters(
                "tidewait_exchange_redelivered_total",
                "Requests that were queued again",
                &["exchange", "reason"],
            )?,
            cancelled: counters(
                "tidewait_exchange_cancelled_total",
                "Requests that were cancelled",
                &["exchange", "by"],
            )?,
            ended: counters("tidewait_exchange_ended_total", "Requests that have ended", &["exchange", "as"])?,
            refused: counters(
                "tidewait_exchange_refused_total",
                "Requests that were not queued",
                &["exchange", "reason"],
            )?,
            dead: counters("tidewait_exchange_dead_total", "Requests that failed after all attempts", &["exchange"])?,
            superseded: counters(
                "tidewait_exchange_superseded_total",
                "Polls of workers that a newer poll of the same slot has ended",
                &["exchange"],
            )?,
            backend_up: gauges(
                "tidewait_exchange_backend_up",
                "Whether NATS answers, where replicas share the requests of the exchange",
                &["exchange"],
            )?,
            replicas: gauges(
                "tidewait_exchange_replicas",
                "Replicas that share the exchange, as this one sees it",
                &["exchange"],
            )?,
            conflicts: counters(
                "tidewait_exchange_conflicts_total",
                "Writes of a request that did not count, since another replica was earlier",
                &["exchange"],
            )?,
            write_failures: counters(
                "tidewait_exchange_write_failures_total",
                "Writes of a request that failed, and were tried again",
                &["exchange"],
            )?,
        })
    }

    /// Removes those of the exchange with this name.
    pub fn forget(&self, name: &str) {
        for vec in
            [&self.queued, &self.in_flight, &self.slots, &self.workers, &self.polls, &self.kept, &self.kept_bytes]
        {
            remove(vec, name);
        }
        for vec in [&self.immediate, &self.redelivered, &self.cancelled, &self.ended, &self.refused, &self.dead] {
            remove(vec, name);
        }
        for vec in [&self.superseded, &self.conflicts, &self.write_failures] {
            remove(vec, name);
        }
        for vec in [&self.backend_up, &self.replicas] {
            remove(vec, name);
        }
        for vec in [&self.queue_seconds, &self.service_seconds] {
            remove(vec, name);
        }
        remove(&self.oldest, name);
    }

    /// Those of the exchange with this name.
    #[must_use]
    pub fn of(&self, name: &str) -> Metrics {
        let label = &[name];
        // Who counts what has happened has to see that nothing has.
        for (counters, values) in [
            (&self.redelivered, &REDELIVERED[..]),
            (&self.cancelled, &CANCELLED),
            (&self.ended, &ENDED),
            (&self.refused, &REFUSED),
        ] {
            for value in values {
                counters.with_label_values(&[name, value]);
            }
        }
        Metrics {
            name: name.to_owned(),
            families: self.clone(),
            queued: self.queued.with_label_values(label),
            in_flight: self.in_flight.with_label_values(label),
            queue_seconds: self.queue_seconds.with_label_values(label),
            service_seconds: self.service_seconds.with_label_values(label),
            immediate: self.immediate.with_label_values(label),
            dead: self.dead.with_label_values(label),
            superseded: self.superseded.with_label_values(label),
        }
    }
}

fn gauges(registry: &Registry, (name, help): (&str, &str), labels: &[&str]) -> Result<IntGaugeVec, prometheus::Error> {
    let vec = IntGaugeVec::new(Opts::new(name, help), labels)?;
    registry.register(Box::new(vec.clone()))?;
    Ok(vec)
}

fn counters(
    registry: &Registry,
    (name, help): (&str, &str),
    labels: &[&str],
) -> Result<IntCounterVec, prometheus::Error> {
    let vec = IntCounterVec::new(Opts::new(name, help), labels)?;
    registry.register(Box::new(vec.clone()))?;
    Ok(vec)
}

fn histograms(registry: &Registry, (name, help): (&str, &str)) -> Result<HistogramVec, prometheus::Error> {
    let options = HistogramOpts::new(name, help).buckets(BUCKETS.to_vec());
    let vec = HistogramVec::new(options, &["exchange"])?;
    registry.register(Box::new(vec.clone()))?;
    Ok(vec)
}

/// Removes all of a family that are of this exchange, whatever else tells them apart.
fn remove<T: MetricVecBuilder>(vec: &MetricVec<T>, name: &str) {
    for family in vec.collect() {
        for metric in family.get_metric() {
            let labels: HashMap<&str, &str> =
                metric.get_label().iter().map(|label| (label.name(), label.value())).collect();
            if labels.get("exchange") == Some(&name) {
                // It fails only where it is gone already.
                let _ = vec.remove(&labels);
            }
        }
    }
}

impl Metrics {
    pub(super) fn put_back(&self, how: Lost) {
        let reason = match how {
            Lost::Unwritten => "unwritten",
            Lost::GivenBack => "given-back",
            Lost::Written => "broke",
            Lost::Untouched => "untouched",
            Lost::LeaseOver => "lease-over",
            Lost::AfterHead | Lost::Malformed => "answer",
        };
        self.families.redelivered.with_label_values(&[self.name.as_str(), reason]).inc();
    }

    pub(super) fn done(&self) {
        self.ended_as("done");
    }

    pub(super) fn failed(&self, failed: &Failed) {
        self.dead.inc_by(u64::from(failed.is_dead));
        self.ended_as(failed.failure.as_str());
        let by = match failed.failure {
            Failure::Deleted => "delete",
            Failure::Abandoned | Failure::BodyBroke => "consumer",
            Failure::NotClaimed
            | Failure::NoWorker
            | Failure::Removed
            | Failure::TooSlow
            | Failure::Broke
            | Failure::Malformed
            | Failure::Cut
            | Failure::GraceOver => return,
        };
        self.families.cancelled.with_label_values(&[self.name.as_str(), by]).inc();
    }

    /// Whether NATS answers, where replicas share requests.
    pub(super) fn backend(&self, is_up: bool) {
        let label = &[self.name.as_str()];
        // Who counts what has happened has to see that nothing has.
        let (conflicts, failures) = (&self.families.conflicts, &self.families.write_failures);
        conflicts.with_label_values(label);
        failures.with_label_values(label);
        self.families.backend_up.with_label_values(label).set(is_up.into());
    }

    /// How many replicas share the exchange.
    pub(super) fn replicas(&self, count: usize) {
        let gauge = self.families.replicas.with_label_values(&[self.name.as_str()]);
        gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// A write did not count.
    pub(super) fn conflict(&self) {
        self.families.conflicts.with_label_values(&[self.name.as_str()]).inc();
    }

    /// A write has failed.
    pub(super) fn write_failed(&self) {
        self.families.write_failures.with_label_values(&[self.name.as_str()]).inc();
    }

    fn ended_as(&self, end: &str) {
        self.families.ended.with_label_values(&[self.name.as_str(), end]).inc();
    }

    pub(super) fn refused(&self, refused: Refused) {
        let reason = match refused {
            Refused::Full(_) => "full",
            Refused::OfClient(_) => "client",
            Refused::NoWorker(_) => "no-worker",
            Refused::KeyReused => "key-reused",
        };
        self.families.refused.with_label_values(&[self.name.as_str(), reason]).inc();
    }

    /// Counts a connection of a worker that comes so, until this is dropped.
    #[must_use]
    pub fn worker(&self, transport: Transport) -> Counted {
        let gauge = self.families.workers.with_label_values(&[self.name.as_str(), transport.as_str()]);
        Counted::new(gauge)
    }

    /// Counts a poll that waits, until this is dropped.
    #[must_use]
    pub fn poll(&self) -> Counted {
        Counted::new(self.families.polls.with_label_values(&[self.name.as_str()]))
    }

    /// How many polls of workers wait.
    #[must_use]
    pub fn polls(&self) -> u64 {
        self.families.polls.with_label_values(&[self.name.as_str()]).get().try_into().unwrap_or(0)
    }

    pub(super) fn show_requests(&self, queued: usize, in_flight: usize) {
        self.queued.set(i64::try_from(queued).unwrap_or(i64::MAX));
        self.in_flight.set(i64::try_from(in_flight).unwrap_or(i64::MAX));
    }

    pub(super) fn show_slots(&self, free: usize, busy: usize) {
        for (state, count) in [("free", free), ("busy", busy)] {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            self.families.slots.with_label_values(&[self.name.as_str(), state]).set(count);
        }
    }

    pub(super) fn show_oldest(&self, waited: Duration) {
        self.families.oldest.with_label_values(&[self.name.as_str()]).set(waited.as_secs_f64());
    }

    pub(super) fn show_kept(&self, items: usize, bytes: usize) {
        let label = &[self.name.as_str()];
        self.families.kept.with_label_values(label).set(i64::try_from(items).unwrap_or(i64::MAX));
        self.families.kept_bytes.with_label_values(label).set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }
}
