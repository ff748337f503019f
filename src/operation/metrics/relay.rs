//! How a relay stands with the server that it polls, found out on a scrape. An operation with a source of its own has none of it.

use std::sync::{Mutex, PoisonError};

use prometheus::{IntGaugeVec, Registry};

use crate::operation::lineage::Relayed;

/// The metrics of all operations.
#[derive(Debug, Clone)]
pub(super) struct Families {
    cut_off: IntGaugeVec,
    hops: IntGaugeVec,
    endpoint: IntGaugeVec,
}

/// The metrics of one operation.
#[derive(Debug)]
pub struct Metrics {
    families: Families,
    operation: String,
    /// The endpoint that was shown last.
    shown: Mutex<Option<String>>,
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
        })
    }

    pub(super) fn of(&self, operation: &str) -> Metrics {
        Metrics { families: self.clone(), operation: operation.to_owned(), shown: Mutex::default() }
    }

    pub(super) fn forget(&self, operation: &str) {
        let _ = self.cut_off.remove_label_values(&[operation]);
        let _ = self.hops.remove_label_values(&[operation]);
        let of_operation = std::collections::HashMap::from([("operation", operation)]);
        let _ = self.endpoint.remove(&of_operation);
    }
}

impl Metrics {
    /// Shows how it stands now; none: the operation is not relayed.
    pub(in crate::operation) fn show(&self, relayed: Option<&Relayed>) {
        let Self { families, operation, shown } = self;
        let mut shown = shown.lock().unwrap_or_else(PoisonError::into_inner);
        let endpoint = relayed.map(|relayed| relayed.endpoint.clone());
        if *shown != endpoint {
            if let Some(before) = shown.take() {
                let _ = families.endpoint.remove_label_values(&[operation, &before]);
            }
            if let Some(endpoint) = &endpoint {
                families.endpoint.with_label_values(&[operation, endpoint]).set(1);
            }
            *shown = endpoint;
        }
        let Some(relayed) = relayed else { return families.forget(operation) };
        families.cut_off.with_label_values(&[operation]).set(i64::from(relayed.cut_off.is_some()));
        families.hops.with_label_values(&[operation]).set(i64::try_from(relayed.hops).unwrap_or(i64::MAX));
    }
}
