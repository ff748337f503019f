//! What operators see of issuers.

use prometheus::{Gauge, GaugeVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use super::keys::Keys;

const ISSUER: &[&str] = &["issuer"];

/// The metrics of all issuers, by their URLs.
#[derive(Debug, Clone)]
pub struct Metrics {
    fetches: IntCounterVec,
    keys: IntGaugeVec,
    read: GaugeVec,
}

/// Those of one.
#[derive(Debug)]
pub(super) struct OfIssuer {
    fetched: IntCounter,
    failed: IntCounter,
    keys: IntGauge,
    read: Gauge,
}

impl Metrics {
    /// Registers the metrics.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let metrics = Self {
            fetches: IntCounterVec::new(
                Opts::new("tidewait_access_issuer_fetches_total", "Fetches of the keys of an issuer, by result."),
                &["issuer", "result"],
            )?,
            keys: IntGaugeVec::new(
                Opts::new("tidewait_access_issuer_keys", "Keys of an issuer that its tokens are verified with."),
                ISSUER,
            )?,
            read: GaugeVec::new(
                Opts::new(
                    "tidewait_access_issuer_keys_read_timestamp_seconds",
                    "When the keys of an issuer were last fetched or read with success; 0: never.",
                ),
                ISSUER,
            )?,
        };
        registry.register(Box::new(metrics.fetches.clone()))?;
        registry.register(Box::new(metrics.keys.clone()))?;
        registry.register(Box::new(metrics.read.clone()))?;
        Ok(metrics)
    }

    /// Those of the issuer with this URL.
    pub(super) fn of(&self, issuer: &str) -> OfIssuer {
        OfIssuer {
            fetched: self.fetches.with_label_values(&[issuer, "ok"]),
            failed: self.fetches.with_label_values(&[issuer, "failed"]),
            keys: self.keys.with_label_values(&[issuer]),
            read: self.read.with_label_values(&[issuer]),
        }
    }
}

impl OfIssuer {
    /// A fetch has ended.
    pub(super) fn fetched(&self, with_success: bool) {
        if with_success { &self.fetched } else { &self.failed }.inc();
    }

    /// These are the keys now.
    pub(super) fn holds(&self, keys: &Keys) {
        self.keys.set(i64::try_from(keys.len()).unwrap_or(i64::MAX));
        self.read.set(super::now().as_secs_f64());
    }
}
