//! Metrics of topics.

use prometheus::core::{MetricVec, MetricVecBuilder};
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

use super::core::Extent;
use crate::describe::problem::Kind;
use crate::describe::stream::Form;

/// Why messages are not published.
const REASONS: [(Kind, &str); 8] = [
    (Kind::KeyReused, "key-reused"),
    (Kind::KeyUnderWay, "key-under-way"),
    (Kind::NotStored, "not-stored"),
    (Kind::PublishRate, "rate"),
    (Kind::ForeignOrigin, "origin"),
    (Kind::UnsupportedMediaType, "media-type"),
    (Kind::BodyTooLarge, "too-large"),
    // All else that is wrong with a request.
    (Kind::MalformedRequest, "malformed"),
];
/// The forms of streams.
const FORMS: [Form; 3] = [Form::Events, Form::Lines, Form::WebSocket];

/// Seconds of the buckets: a disk takes from tenths of a millisecond to seconds.
const BUCKETS: [f64; 12] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

/// The metrics of all topics.
#[derive(Debug, Clone)]
pub struct Families {
    published: IntCounterVec,
    bytes: IntCounterVec,
    repeated: IntCounterVec,
    refused: IntCounterVec,
    kept: IntGaugeVec,
    kept_bytes: IntGaugeVec,
    readers: IntGaugeVec,
    present: IntGaugeVec,
    streams: IntGaugeVec,
    gaps: IntCounterVec,
    disk_bytes: IntGaugeVec,
    disk_errors: IntCounterVec,
    disk_seconds: HistogramVec,
    pending: IntGaugeVec,
    backend_up: IntGaugeVec,
}

/// The metrics of one topic.
#[derive(Debug)]
pub struct Metrics {
    pub(super) published: IntCounter,
    pub(super) bytes: IntCounter,
    pub(super) repeated: IntCounter,
    refused: [IntCounter; REASONS.len()],
    pub(super) kept: IntGauge,
    pub(super) kept_bytes: IntGauge,
    pub(super) readers: IntGauge,
    pub(super) present: IntGauge,
    streams: [IntGauge; FORMS.len()],
    pub(super) gaps: IntCounter,
    pub(super) disk: Disk,
    backend_up: IntGaugeVec,
    name: String,
}

/// Those of the files of a topic.
#[derive(Debug, Clone)]
pub(super) struct Disk {
    pub(super) bytes: IntGauge,
    pub(super) errors: IntCounter,
    pub(super) seconds: Histogram,
    pub(super) pending: IntGauge,
}

/// Counts a stream for as long as it is there.
#[derive(Debug)]
pub(super) struct StreamGuard(IntGauge);

impl Drop for StreamGuard {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Families {
    /// Registers them.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counters = |name: &str, help: &str, labels: &[&str]| {
            let made = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(made.clone()))?;
            Ok::<_, prometheus::Error>(made)
        };
        let gauges = |name: &str, help: &str, labels: &[&str]| {
            let made = IntGaugeVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(made.clone()))?;
            Ok::<_, prometheus::Error>(made)
        };
        let topic = &["topic"];
        let seconds = HistogramOpts::new(
            "tidewait_topic_disk_seconds",
            "Until messages that are stored together are on the disk",
        );
        let seconds = HistogramVec::new(seconds.buckets(BUCKETS.to_vec()), topic)?;
        registry.register(Box::new(seconds.clone()))?;
        Ok(Self {
            published: counters("tidewait_topic_published_total", "Messages published", topic)?,
            bytes: counters("tidewait_topic_published_bytes_total", "Bytes of their bodies", topic)?,
            repeated: counters(
                "tidewait_topic_repeated_total",
                "Messages that were published before, by the same Idempotency-Key",
                topic,
            )?,
            refused: counters("tidewait_topic_refused_total", "Messages not published", &["topic", "reason"])?,
            kept: gauges("tidewait_topic_messages", "Messages kept", topic)?,
            kept_bytes: gauges("tidewait_topic_bytes", "Bytes of the messages kept, as they are sent", topic)?,
            readers: gauges("tidewait_topic_readers", "Readers that wait: parked polls and streams", topic)?,
            present: gauges(
                "tidewait_topic_present",
                "Clients that read, at all replicas, those included whose last poll was answered a moment ago; 0 where presence is off",
                topic,
            )?,
            streams: gauges("tidewait_topic_streams", "Streams that clients read, by form", &["topic", "form"])?,
            backend_up: gauges(
                "tidewait_topic_backend_up",
                "Whether NATS answers, where replicas share the messages of the topic",
                topic,
            )?,
            gaps: counters(
                "tidewait_topic_gaps_total",
                "Times that a reader was told that it has missed messages",
                topic,
            )?,
            disk_bytes: gauges("tidewait_topic_disk_bytes", "Bytes of the files that messages are kept in", topic)?,
            disk_errors: counters("tidewait_topic_disk_errors_total", "Writes of messages to disk that failed", topic)?,
            disk_seconds: seconds,
            pending: gauges("tidewait_topic_pending", "Messages that wait to be stored", topic)?,
        })
    }

    /// Shows nothing any more of the topic with this name, which has ended. What still has its metrics counts unseen.
    pub fn forget(&self, name: &str) {
        let of = &[name];
        for vec in [&self.published, &self.bytes, &self.repeated, &self.gaps, &self.disk_errors] {
            remove(vec, of);
        }
        remove(&self.disk_seconds, of);
        for vec in [&self.kept, &self.kept_bytes, &self.readers, &self.present, &self.disk_bytes, &self.pending] {
            remove(vec, of);
        }
        for (_, reason) in REASONS {
            remove(&self.refused, &[name, reason]);
        }
        for form in FORMS {
            remove(&self.streams, &[name, form.as_str()]);
        }
    }

    /// Those of the topic with this name.
    #[must_use]
    pub fn of(&self, name: &str) -> Metrics {
        let of = &[name];
        Metrics {
            published: self.published.with_label_values(of),
            bytes: self.bytes.with_label_values(of),
            repeated: self.repeated.with_label_values(of),
            refused: REASONS.map(|(_, reason)| self.refused.with_label_values(&[name, reason])),
            kept: self.kept.with_label_values(of),
            kept_bytes: self.kept_bytes.with_label_values(of),
            readers: self.readers.with_label_values(of),
            present: self.present.with_label_values(of),
            streams: FORMS.map(|form| self.streams.with_label_values(&[name, form.as_str()])),
            gaps: self.gaps.with_label_values(of),
            disk: Disk {
                bytes: self.disk_bytes.with_label_values(of),
                errors: self.disk_errors.with_label_values(of),
                seconds: self.disk_seconds.with_label_values(of),
                pending: self.pending.with_label_values(of),
            },
            backend_up: self.backend_up.clone(),
            name: name.to_owned(),
        }
    }
}

fn remove<T: MetricVecBuilder>(vec: &MetricVec<T>, values: &[&str]) {
    // It fails only where it is gone already.
    let _ = vec.remove_label_values(values);
}

impl Metrics {
    pub(super) fn show_kept(&self, extent: &Extent) {
        self.kept.set(i64::try_from(extent.messages).unwrap_or(i64::MAX));
        self.kept_bytes.set(i64::try_from(extent.bytes).unwrap_or(i64::MAX));
    }

    /// The counter of messages that are refused with this kind of problem.
    pub(super) fn refused(&self, kind: Kind) -> &IntCounter {
        let at = REASONS.iter().position(|(known, _)| *known == kind).unwrap_or(REASONS.len() - 1);
        &self.refused[at]
    }

    /// Whether NATS answers, where replicas share messages.
    pub(super) fn backend(&self, is_up: bool) {
        self.backend_up.with_label_values(&[self.name.as_str()]).set(is_up.into());
    }

    pub(super) fn stream(&self, form: Form) -> StreamGuard {
        let gauge = &self.streams[FORMS.iter().position(|known| *known == form).unwrap_or(0)];
        gauge.inc();
        StreamGuard(gauge.clone())
    }
}
