//! How a relay stands with the server that it polls, found out on a scrape. An operation with a source of its own has none of it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::{IntGaugeVec, Registry};

use crate::operation::lineage::RelayStatus;

/// The metrics of all operations.
#[derive(Debug, Clone)]
pub(super) struct Families {
    cut_off: IntGaugeVec,
    hops: IntGaugeVec,
    endpoint: IntGaugeVec,
    /// The endpoint of each operation that was shown last.
    shown: Arc<Mutex<HashMap<String, String>>>,
}

/// The metrics of one operation.
#[derive(Debug)]
pub struct Metrics {
    families: Families,
    operation: String,
}

impl Families {
    /// Registers them.
    pub(super) fn register(registry: &Registry) -> prometheus::Result<Self> {
        let gauge = |name: &str, help: &str, labels: &[&str]| super::gauges(registry, name, help, labels);
        Ok(Self {
            cut_off: gauge(
                "tidewait_relay_cut_off",
                "1 while a relay has no server, since its start or for half a minute.",
                &["operation"],
            )?,
            hops: gauge(
                "tidewait_relay_hops",
                "Processes between the source and this relay, by its server's last answer.",
                &["operation"],
            )?,
            endpoint: gauge(
                "tidewait_relay_endpoint_info",
                "1 for the URL that a relay polls.",
                &["operation", "endpoint"],
            )?,
            shown: Arc::default(),
        })
    }

    pub(super) fn of(&self, operation: &str) -> Metrics {
        Metrics { families: self.clone(), operation: operation.to_owned() }
    }

    pub(super) fn forget(&self, operation: &str) {
        for gauges in [&self.cut_off, &self.hops] {
            // What was never shown is not there, which is as wanted.
            let _ = gauges.remove_label_values(&[operation]);
        }
        self.polls(operation, None);
    }

    /// Shows the endpoint that is polled, and no longer the one before.
    fn polls(&self, operation: &str, endpoint: Option<&str>) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        if shown.get(operation).map(String::as_str) == endpoint {
            return;
        }
        if let Some(before) = shown.remove(operation) {
            let _ = self.endpoint.remove_label_values(&[operation, &before]);
        }
        if let Some(endpoint) = endpoint {
            self.endpoint.with_label_values(&[operation, endpoint]).set(1);
            shown.insert(operation.to_owned(), endpoint.to_owned());
        }
    }
}

impl Metrics {
    /// Shows how it stands now; none: the operation is not relayed.
    pub(in crate::operation) fn show(&self, relayed: Option<&RelayStatus>) {
        let Self { families, operation } = self;
        let Some(relayed) = relayed else { return families.forget(operation) };
        families.polls(operation, Some(&relayed.endpoint));
        families.cut_off.with_label_values(&[operation]).set(i64::from(relayed.cut_off.is_some()));
        families.hops.with_label_values(&[operation]).set(i64::try_from(relayed.hops).unwrap_or(i64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use prometheus::TextEncoder;

    use super::*;

    #[test]
    fn an_endpoint_is_shown_while_it_is_polled_and_nothing_after_the_end() {
        let registry = Registry::new();
        let families = Families::register(&registry).expect("new names");
        let metrics = families.of("net");
        let shown = || TextEncoder::new().encode_to_string(&registry.gather()).expect("text");
        let at = |endpoint: &str| RelayStatus {
            endpoint: endpoint.to_owned(),
            path: "a, b".to_owned(),
            policy: "open".to_owned(),
            hops: 1,
            cut_off: Some("cut off"),
            refusal: None,
        };
        metrics.show(Some(&at("http://one")));
        metrics.show(Some(&at("http://two")));
        let text = shown();
        assert!(text.contains("endpoint=\"http://two\"") && !text.contains("http://one"), "{text}");
        assert!(text.contains("tidewait_relay_cut_off{operation=\"net\"} 1"), "{text}");
        families.forget("net");
        assert!(!shown().contains("net"), "{}", shown());
        // A successor of the name, with a source of its own.
        families.of("net").show(None);
        assert!(!shown().contains("net"), "{}", shown());
    }
}
