//! What a worker counts.

use prometheus::proto::MetricFamily;
use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use super::gate::Kind;

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// The server's answer was passed on, whole.
    Answered,
    /// Its answer was kept, and fetched.
    Fetched,
    /// Its answer was kept, and not fetched whole.
    Unfetched,
    /// The exchange took it back.
    Cancelled,
    /// The server could not be reached, and had no byte of it.
    Refused,
    /// The server went before its answer was whole.
    Broken,
    /// What the server sent is no answer.
    Malformed,
}

impl Ended {
    const ALL: [Self; 7] =
        [Self::Answered, Self::Fetched, Self::Unfetched, Self::Cancelled, Self::Refused, Self::Broken, Self::Malformed];

    fn label(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Fetched => "fetched",
            Self::Unfetched => "unfetched",
            Self::Cancelled => "cancelled",
            Self::Refused => "refused",
            Self::Broken => "broken",
            Self::Malformed => "malformed",
        }
    }
}

/// The metrics, and where they are registered.
#[derive(Debug)]
pub(super) struct Metrics {
    registry: Registry,
    pub(super) connections: IntGauge,
    /// Slots that are offered and wait.
    pub(super) open: IntGauge,
    busy: IntGauge,
    requests: IntCounterVec,
    server_up: IntGauge,
    gate_open: IntGaugeVec,
    /// Connections to the admin port that made room.
    pub(super) closed: IntCounter,
}

impl Metrics {
    pub(super) fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let slots = IntGaugeVec::new(
            Opts::new("tidewait_worker_slots", "Slots of this worker: offered to an exchange and idle, or busy."),
            &["state"],
        )?;
        let requests = IntCounterVec::new(
            Opts::new("tidewait_worker_requests_total", "Requests of exchanges, by how they ended."),
            &["result"],
        )?;
        let gate_open = IntGaugeVec::new(
            Opts::new("tidewait_worker_gate_open", "1 while the gate lets one more slot be offered, by its kind."),
            &["gate"],
        )?;
        let connections = IntGauge::new("tidewait_worker_connections", "Connections to exchanges that stand.")?;
        let server_up =
            IntGauge::new("tidewait_worker_server_up", "1 while connections to the server come about (--to).")?;
        let closed = IntCounter::new(
            "tidewait_admin_connections_closed_total",
            "Connections to the admin port that were closed to make room for newer ones.",
        )?;
        let all: [Box<dyn prometheus::core::Collector>; 6] = [
            Box::new(slots.clone()),
            Box::new(requests.clone()),
            Box::new(gate_open.clone()),
            Box::new(connections.clone()),
            Box::new(server_up.clone()),
            Box::new(closed.clone()),
        ];
        all.into_iter().try_for_each(|metric| registry.register(metric))?;
        // A series that begins with its first request would lose it in rates.
        for ended in Ended::ALL {
            requests.with_label_values(&[ended.label()]).inc_by(0);
        }
        let [open, busy] = ["open", "busy"].map(|state| slots.with_label_values(&[state]));
        Ok(Self { registry, connections, open, busy, requests, server_up, gate_open, closed })
    }

    /// A request has ended.
    pub(super) fn ended(&self, how: Ended) {
        self.requests.with_label_values(&[how.label()]).inc();
    }

    /// Connections to the server come about, or do not.
    pub(super) fn server(&self, is_up: bool) {
        self.server_up.set(i64::from(is_up));
    }

    /// A gate is open, or not.
    pub(super) fn gate(&self, kind: Kind, is_open: bool) {
        self.gate_open.with_label_values(&[kind.name()]).set(i64::from(is_open));
    }

    /// All of them, while so many requests run.
    pub(super) fn families(&self, running: usize) -> Vec<MetricFamily> {
        self.busy.set(i64::try_from(running).unwrap_or(i64::MAX));
        self.registry.gather()
    }
}
