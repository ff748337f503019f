//! What operators see of TLS.

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use super::acceptor::Failure;

/// The families, which the ports share.
#[derive(Debug, Clone)]
pub struct Families {
    under_way: IntGaugeVec,
    done: IntCounterVec,
    failed: IntCounterVec,
    good: IntGaugeVec,
    not_after: IntGaugeVec,
}

/// Those of one port.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// Handshakes under way.
    pub(super) under_way: IntGauge,
    pub(super) full: IntCounter,
    pub(super) resumed: IntCounter,
    failed: [IntCounter; 5],
    /// Whether the files could be used last time.
    pub good: IntGauge,
    /// When the certificate that is in use ends.
    pub not_after: IntGauge,
}

/// Why handshakes fail, as a label.
const REASONS: [&str; 5] = ["timeout", "clear", "certificate", "protocol", "closed"];

impl Families {
    /// Registers them.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let gauge = |name: &str, help: &str| {
            let family = IntGaugeVec::new(Opts::new(name, help), &["port"])?;
            registry.register(Box::new(family.clone())).map(|()| family)
        };
        let counter = |name: &str, help: &str, label: &str| {
            let family = IntCounterVec::new(Opts::new(name, help), &["port", label])?;
            registry.register(Box::new(family.clone())).map(|()| family)
        };
        Ok(Self {
            under_way: gauge("tidewait_tls_handshakes_in_flight", "TLS handshakes under way, by port.")?,
            done: counter(
                "tidewait_tls_handshakes_total",
                "TLS handshakes that have come to a good end, by port and kind: full, or resumed.",
                "kind",
            )?,
            failed: counter(
                "tidewait_tls_handshake_failures_total",
                "TLS handshakes that have failed, by port and reason: the time was over, the client spoke HTTP in the clear, a certificate was not accepted, the two share no protocol or break it, or the client has gone.",
                "reason",
            )?,
            good: gauge(
                "tidewait_tls_certificate_good",
                "Whether the files for TLS could be used last time (1) or those of before stay in use (0), by port.",
            )?,
            not_after: gauge(
                "tidewait_tls_certificate_not_after_seconds",
                "When the certificate that is in use ends, in seconds of Unix time, by port.",
            )?,
        })
    }

    /// Those of the port with this name.
    #[must_use]
    pub fn of(&self, port: &str) -> Metrics {
        Metrics {
            under_way: self.under_way.with_label_values(&[port]),
            full: self.done.with_label_values(&[port, "full"]),
            resumed: self.done.with_label_values(&[port, "resumed"]),
            failed: REASONS.map(|reason| self.failed.with_label_values(&[port, reason])),
            good: self.good.with_label_values(&[port]),
            not_after: self.not_after.with_label_values(&[port]),
        }
    }
}

impl Metrics {
    pub(super) fn failed(&self, failure: &Failure) {
        let reason = match failure {
            Failure::Timeout => 0,
            Failure::Clear => 1,
            Failure::Certificate(_) => 2,
            Failure::Protocol(_) => 3,
            Failure::Closed(_) => 4,
        };
        self.failed[reason].inc();
    }
}
