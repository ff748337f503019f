//! What the front counts. Status codes of our own are a closed set; the app's are counted by class.

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use super::Outcome;

/// What a request came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// An operation.
    Describe,
    /// An exchange.
    Exchange,
    /// A topic.
    Topic,
    /// The app behind.
    App,
    /// Neither: 404, or 503 while not all operations are known.
    None,
    /// Refused for its head.
    Refused,
}

impl Route {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Describe, Self::Exchange, Self::Topic, Self::App, Self::None, Self::Refused];

    /// The metric label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Describe => "describe",
            Self::Exchange => "exchange",
            Self::Topic => "topic",
            Self::App => "app",
            Self::None => "none",
            Self::Refused => "refused",
        }
    }
}

/// Codes that are counted one by one; others by class.
const CODES: [&str; EXACT + 4] = [
    "200", "201", "202", "204", "303", "304", "400", "401", "403", "404", "405", "409", "410", "413", "415", "417",
    "422", "426", "429", "431", "501", "502", "503", "504", "1xx", "2xx", "3xx", "4xx",
];
/// How many come before the classes.
const EXACT: usize = 24;

/// The counters of the front, each resolved once.
#[derive(Debug, Clone)]
pub struct Metrics {
    requests: [[IntCounter; CODES.len() + 1]; Route::ALL.len()],
    bytes: [IntCounter; Route::ALL.len()],
    /// Connections open.
    pub connections: IntGauge,
    /// Connections refused, since as many as are allowed are open.
    pub refused_connections: IntCounter,
    /// Connections, or streams of HTTP/2, that take an answer slowly: a part of it waits for room.
    pub slow_readers: IntGauge,
    /// Those that were cut, since they took nothing for too long.
    pub slow_readers_cut: IntCounter,
    /// Times that a connection could not be accepted, as when descriptors ran out.
    pub accept_errors: IntCounter,
}

/// A client that takes an answer slowly, counted until this is dropped.
#[derive(Debug)]
pub(super) struct SlowReader(IntGauge);

impl SlowReader {
    pub(super) fn new(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for SlowReader {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Metrics {
    /// Registers them.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let requests = IntCounterVec::new(
            Opts::new("tidewait_http_requests_total", "Requests answered, by route and status; the app's by class."),
            &["route", "code"],
        )?;
        let bytes = IntCounterVec::new(
            Opts::new(
                "tidewait_http_response_bytes_total",
                "Bytes of bodies whose length is known when they are answered, by route; streams of the app are counted by tidewait_proxy.",
            ),
            &["route"],
        )?;
        let connections = IntGauge::new("tidewait_http_connections", "Connections of clients open now.")?;
        let refused_connections = IntCounter::new(
            "tidewait_http_refused_connections_total",
            "Connections answered 503 since as many as are allowed were open.",
        )?;
        let accept_errors = IntCounter::new(
            "tidewait_http_accept_errors_total",
            "Times that a connection could not be accepted, as when descriptors ran out.",
        )?;
        let slow_readers = IntGauge::new(
            "tidewait_http_slow_readers",
            "Polls whose client takes the answer slowly: a part of it waits for room.",
        )?;
        let slow_readers_cut = IntCounter::new(
            "tidewait_http_slow_readers_cut_total",
            "Connections, and streams of HTTP/2, that were cut since their client took no byte of an answer for a minute.",
        )?;
        registry.register(Box::new(slow_readers.clone()))?;
        registry.register(Box::new(slow_readers_cut.clone()))?;
        registry.register(Box::new(requests.clone()))?;
        registry.register(Box::new(bytes.clone()))?;
        registry.register(Box::new(connections.clone()))?;
        registry.register(Box::new(refused_connections.clone()))?;
        registry.register(Box::new(accept_errors.clone()))?;
        Ok(Self {
            requests: Route::ALL.map(|route| {
                let counter = |code| requests.with_label_values(&[route.as_str(), code]);
                std::array::from_fn(|at| counter(CODES.get(at).copied().unwrap_or("5xx")))
            }),
            bytes: Route::ALL.map(|route| bytes.with_label_values(&[route.as_str()])),
            connections,
            refused_connections,
            slow_readers,
            slow_readers_cut,
            accept_errors,
        })
    }

    /// Counts an answer.
    pub fn answered(&self, &Outcome { route, status, bytes, .. }: &Outcome) {
        let class = match status.as_u16() / 100 {
            1 => EXACT,
            2 => EXACT + 1,
            3 => EXACT + 2,
            4 => EXACT + 3,
            _ => CODES.len(),
        };
        let exact = || CODES[..EXACT].iter().position(|code| *code == status.as_str());
        let code = if route == Route::App { class } else { exact().unwrap_or(class) };
        self.requests[route as usize][code].inc();
        self.bytes[route as usize].inc_by(bytes.unwrap_or(0));
    }
}
