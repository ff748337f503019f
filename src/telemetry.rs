//! Logs and traces: set-up only. Each module owns its metrics and registers them.
//!
//! Logs go to standard error, filtered by a level that can be changed while the process runs.
//! Spans are made only where an OTLP endpoint is set, and only by requests ([`SPANS`]).

use std::error::Error;
use std::io::IsTerminal as _;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::level_filters::LevelFilter;
use tracing::{Dispatch, Metadata};
use tracing_subscriber::filter::FilterExt as _;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry, filter, fmt, reload};

use crate::config::{self, Log, LogFormat};

mod otlp;

/// The target of spans that are exported. Logs do not take them up, so they cost nothing without traces.
pub const SPANS: &str = "tidewait::span";

/// What keeps logs and traces going.
#[derive(Debug)]
pub struct Telemetry {
    level: Level,
    traces: Option<SdkTracerProvider>,
}

/// Changes the level of logs.
#[derive(Debug, Clone)]
pub struct Level(reload::Handle<EnvFilter, Registry>);

/// Why logs or traces could not be set up, or the level not changed.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// Not a level or filter.
    #[error("{text:?} {why}")]
    Level {
        /// What was given.
        text: String,
        /// What is wrong with it, and the remedy.
        why: String,
    },
    /// The exporter of spans could not be made.
    #[error("spans cannot be sent to {endpoint}")]
    Exporter {
        /// Where to.
        endpoint: String,
        /// Why.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// A subscriber is there already, or gone.
    #[error("logs cannot be set up")]
    Subscriber(#[source] Box<dyn Error + Send + Sync>),
}

/// Sets up logs and, with an endpoint, traces. Once a process, inside its runtime.
pub fn start(log: &Log, otlp_endpoint: Option<&str>) -> Result<Telemetry, TelemetryError> {
    let traces = otlp_endpoint.map(otlp::provider).transpose()?;
    let (subscriber, level) = subscriber(log, traces.as_ref())?;
    subscriber.try_init().map_err(|error| TelemetryError::Subscriber(error.into()))?;
    Ok(Telemetry { level, traces })
}

fn subscriber(log: &Log, traces: Option<&SdkTracerProvider>) -> Result<(Dispatch, Level), TelemetryError> {
    let (filter, handle) = reload::Layer::new(parse(&log.level)?);
    let lines = match log.format {
        LogFormat::Text => {
            let colours = std::io::stderr().is_terminal();
            fmt::layer().with_ansi(colours).with_writer(std::io::stderr).boxed()
        }
        LogFormat::Json => fmt::layer().json().flatten_event(true).with_writer(std::io::stderr).boxed(),
    };
    let not_spans = filter::filter_fn(is_line).with_max_level_hint(LevelFilter::TRACE);
    // One filter, not one within another, and no layer that is absent: only then is the call site
    // of a span that nobody wants switched off, instead of asked about for each request.
    let registry = Registry::default().with(lines.with_filter(not_spans.and(filter)));
    let Some(traces) = traces else { return Ok((registry.into(), Level(handle))) };
    let only_spans = filter::filter_fn(|metadata| metadata.is_span() && metadata.target() == SPANS);
    let spans = tracing_opentelemetry::layer()
        .with_tracer(traces.tracer("tidewait"))
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false);
    let only_spans = only_spans.with_max_level_hint(LevelFilter::INFO);
    Ok((registry.with(spans.with_filter(only_spans)).into(), Level(handle)))
}

/// What is a log line: no span for the collector, and none of the lines in which kube's client
/// tells each failed attempt as an error, or notify warns of each folder that is removed while it is watched, as those
/// of volumes are at each change. What an outage means is told once, by its source.
fn is_line(metadata: &Metadata<'_>) -> bool {
    let is_noise = ["kube_client", "notify::"].iter().any(|target| metadata.target().starts_with(target));
    metadata.target() != SPANS && (!is_noise || *metadata.level() > tracing::Level::INFO)
}

/// The filter of a text, by the same rules as `--log-level`.
fn parse(text: &str) -> Result<EnvFilter, TelemetryError> {
    let refused = |why| TelemetryError::Level { text: text.to_owned(), why };
    let level = config::log_level(text).map_err(refused)?;
    EnvFilter::builder().parse(level).map_err(|error| refused(format!("is not a log level: {error}")))
}

impl Telemetry {
    /// Changes the level of logs.
    #[must_use]
    pub fn level(&self) -> Level {
        self.level.clone()
    }

    /// Sends the spans that are left. Blocks for as long as that takes, at most some seconds.
    pub fn finish(self) {
        if let Some(Err(error)) = self.traces.map(|traces| traces.shutdown()) {
            tracing::warn!(error = %chain(&error), "the last spans were not sent");
        }
    }
}

impl Level {
    /// Logs at this level from now on.
    pub fn set(&self, text: &str) -> Result<(), TelemetryError> {
        let filter = parse(text)?;
        self.0.reload(filter).map_err(|error| TelemetryError::Subscriber(error.into()))
    }

    /// The level now.
    #[must_use]
    pub fn get(&self) -> String {
        self.0.with_current(ToString::to_string).unwrap_or_default()
    }
}

/// An error with its causes, in one line: each says only what the one before does not.
#[must_use]
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error: &&(dyn Error + 'static)| Error::source(*error));
    let mut texts: Vec<String> = causes.map(ToString::to_string).collect();
    texts.dedup();
    texts.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_switched_off_where_none_are_sent() {
        let log = Log { format: LogFormat::Json, level: "trace".to_owned(), access: true };
        let span = tracing::info_span!(target: SPANS, "request");
        let callsite = span.metadata().expect("a disabled span has them too");
        let (quiet, level) = subscriber(&log, None).expect("a level");
        assert!(quiet.register_callsite(callsite).is_never(), "a request costs one comparison");
        level.set("tidewait=trace").expect("a filter");
        assert!(quiet.register_callsite(callsite).is_never());
        let traces = SdkTracerProvider::builder().build();
        let silent = Log { level: "off".to_owned(), ..log };
        let (exporting, _) = subscriber(&silent, Some(&traces)).expect("a level");
        assert!(!exporting.register_callsite(callsite).is_never(), "whatever the log's level");
    }
}
