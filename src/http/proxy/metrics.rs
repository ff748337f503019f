//! What the proxy counts.

use std::sync::Arc;

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

/// The proxy's metrics. Clones count together.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// By outcome, each resolved once.
    requests: Arc<[IntCounter; ProxyOutcome::ALL.len()]>,
    retries: IntCounter,
    connections: IntGauge,
    upgraded: IntGauge,
    sent: IntCounter,
    received: IntCounter,
}

/// How a request ended; a closed set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ProxyOutcome {
    /// Its answer was passed on to the last byte.
    Answered,
    /// It became a tunnel.
    Upgraded,
    /// No connection to the app.
    Unreachable,
    /// No head in time, or the app stopped reading.
    Timeout,
    /// The app broke off before the head of an answer.
    Broken,
    /// The app broke off within the body of an answer, or sent nothing there for too long.
    Cut,
    /// The client's body broke off or did not come in time.
    ClientBroke,
    /// The client went away, or the proxy was stopped.
    ClientGone,
}

impl ProxyOutcome {
    const ALL: [Self; 8] = [
        Self::Answered,
        Self::Upgraded,
        Self::Unreachable,
        Self::Timeout,
        Self::Broken,
        Self::Cut,
        Self::ClientBroke,
        Self::ClientGone,
    ];

    fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Upgraded => "upgraded",
            Self::Unreachable => "unreachable",
            Self::Timeout => "timeout",
            Self::Broken => "broken",
            Self::Cut => "cut",
            Self::ClientBroke => "client_broke",
            Self::ClientGone => "client_gone",
        }
    }
}

impl Metrics {
    /// Registers the metrics, all series at 0. Fails if they are registered there already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let bytes = IntCounterVec::new(
            Opts::new(
                "tidewait_proxy_app_bytes_total",
                "Bytes on the wire to (sent) and from (received) the app, heads and tunnels included.",
            ),
            &["direction"],
        )?;
        let requests = IntCounterVec::new(
            Opts::new(
                "tidewait_proxy_requests_total",
                "Requests for the app, by how they ended; counted at their end.",
            ),
            &["outcome"],
        )?;
        let metrics = Self {
            requests: Arc::new(ProxyOutcome::ALL.map(|outcome| requests.with_label_values(&[outcome.as_str()]))),
            retries: IntCounter::new(
                "tidewait_proxy_retries_total",
                "Requests sent again since the app had closed the idle connection they were sent on.",
            )?,
            connections: IntGauge::new(
                "tidewait_proxy_app_connections",
                "Connections to the app, idle ones included.",
            )?,
            upgraded: IntGauge::new(
                "tidewait_proxy_upgraded_connections",
                "Tunnels open after a 101, such as WebSocket.",
            )?,
            sent: bytes.with_label_values(&["sent"]),
            received: bytes.with_label_values(&["received"]),
        };
        registry.register(Box::new(bytes))?;
        registry.register(Box::new(requests))?;
        registry.register(Box::new(metrics.retries.clone()))?;
        registry.register(Box::new(metrics.connections.clone()))?;
        registry.register(Box::new(metrics.upgraded.clone()))?;
        Ok(metrics)
    }

    pub(super) fn retried(&self) {
        self.retries.inc();
    }

    pub(super) fn sent(&self, bytes: usize) {
        self.sent.inc_by(bytes as u64);
    }

    pub(super) fn received(&self, bytes: usize) {
        self.received.inc_by(bytes as u64);
    }

    /// Counts a connection to the app for as long as the guard lives.
    pub(super) fn connection(&self) -> InFlight {
        InFlight::new(&self.connections)
    }

    /// Counts a tunnel for as long as the guard lives.
    pub(super) fn tunnel(&self) -> InFlight {
        InFlight::new(&self.upgraded)
    }
}

/// One in a gauge.
#[derive(Debug)]
pub(super) struct InFlight(IntGauge);

impl InFlight {
    fn new(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Counts one request when it ends. Unless another outcome is set, the client is gone: then
/// futures and bodies are dropped, and nothing else would count it.
#[derive(Debug)]
pub(super) struct Tally {
    requests: Arc<[IntCounter; ProxyOutcome::ALL.len()]>,
    outcome: ProxyOutcome,
}

impl Tally {
    pub(super) fn new(metrics: &Metrics) -> Self {
        Self { requests: Arc::clone(&metrics.requests), outcome: ProxyOutcome::ClientGone }
    }

    /// The first outcome stays.
    pub(super) fn set(&mut self, outcome: ProxyOutcome) {
        if self.outcome == ProxyOutcome::ClientGone {
            self.outcome = outcome;
        }
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        self.requests[self.outcome as usize].inc();
    }
}
