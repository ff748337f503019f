//! Metrics of topics.

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use crate::describe::problem::Kind;
use crate::describe::stream::Form;

/// Why messages are not published.
const REASONS: [(Kind, &str); 6] = [
    (Kind::KeyReused, "key-reused"),
    (Kind::PublishRate, "rate"),
    (Kind::ForeignOrigin, "origin"),
    (Kind::UnsupportedMediaType, "media-type"),
    (Kind::BodyTooLarge, "too-large"),
    // All else that is wrong with a request.
    (Kind::MalformedRequest, "malformed"),
];
/// The forms of streams.
const FORMS: [Form; 2] = [Form::Events, Form::Lines];

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
    streams: IntGaugeVec,
    gaps: IntCounterVec,
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
    streams: [IntGauge; FORMS.len()],
    pub(super) gaps: IntCounter,
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
            streams: gauges("tidewait_topic_streams", "Streams that clients read, by form", &["topic", "form"])?,
            gaps: counters(
                "tidewait_topic_gaps_total",
                "Times that a reader was told that it has missed messages",
                topic,
            )?,
        })
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
            streams: FORMS.map(|form| self.streams.with_label_values(&[name, form.as_str()])),
            gaps: self.gaps.with_label_values(of),
        }
    }
}

impl Metrics {
    /// The counter of messages that are refused with this kind of problem.
    pub(super) fn refused(&self, kind: Kind) -> &IntCounter {
        let at = REASONS.iter().position(|(known, _)| *known == kind).unwrap_or(REASONS.len() - 1);
        &self.refused[at]
    }

    pub(super) fn stream(&self, form: Form) -> StreamGuard {
        let gauge = &self.streams[FORMS.iter().position(|known| *known == form).unwrap_or(0)];
        gauge.inc();
        StreamGuard(gauge.clone())
    }
}
