//! Logs and traces: set-up only. Each module owns its metrics and registers them.
//!
//! Logs go to standard error by a [`writer`] that blocks no caller, filtered by a level that can be changed while the
//! process runs. What others wrote in them is escaped.
//! Spans are made only where an OTLP endpoint is set, and only by requests ([`SPANS`]).

use std::error::Error;
use std::fmt::Write as _;
use std::io::{self, IsTerminal as _};
use std::sync::atomic::{AtomicBool, Ordering};

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::trace::SdkTracerProvider;
use prometheus::IntCounter;
use tracing::field::Field;
use tracing::level_filters::LevelFilter;
use tracing::{Dispatch, Metadata};
use tracing_subscriber::field::MakeExt as _;
use tracing_subscriber::filter::FilterExt as _;
use tracing_subscriber::fmt::format;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry, filter, fmt, reload};

use self::writer::{Target, Writer};
use crate::bounds::LOG_END;
use crate::config::{self, Log, LogFormat};
use crate::escape::{self, Escaping};

mod otlp;
pub mod seldom;
pub mod writer;

/// The target of spans that are exported. Logs do not take them up, so they cost nothing without traces.
pub const SPANS: &str = "tidewait::span";

/// What keeps logs and traces going.
#[derive(Debug)]
pub struct Telemetry {
    level: Level,
    lines: Writer,
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
    /// The log's thread cannot be had.
    #[error("the log has no thread")]
    Thread(#[source] io::Error),
    /// A subscriber is there already, or gone.
    #[error("logs cannot be set up")]
    Subscriber(#[source] Box<dyn Error + Send + Sync>),
}

/// Whether spans are exported. Not asked of tracing: where filters of layers answer that a span is not enabled, the next line
/// of the same thread can be lost with it.
static MAKES_SPANS: AtomicBool = AtomicBool::new(false);

/// Whether spans are made.
#[must_use]
pub fn makes_spans() -> bool {
    MAKES_SPANS.load(Ordering::Relaxed)
}

/// Sets up logs and, with an endpoint, traces. Once a process, inside its runtime.
pub fn start(log: &Log, otlp_endpoint: Option<&str>) -> Result<Telemetry, TelemetryError> {
    let traces = otlp_endpoint.map(otlp::provider).transpose()?;
    let lines = Writer::start(Target::Error).map_err(TelemetryError::Thread)?;
    let (subscriber, level) = subscriber(log, &lines, traces.as_ref())?;
    subscriber.try_init().map_err(|error| TelemetryError::Subscriber(error.into()))?;
    MAKES_SPANS.store(traces.is_some(), Ordering::Relaxed);
    // The default writes to standard error itself, and would wait for its reader.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        let backtrace = std::backtrace::Backtrace::capture();
        let reason = panic.payload_as_str().unwrap_or("no reason given");
        tracing::error!(place, reason, %backtrace, "panicked");
    }));
    Ok(Telemetry { level, lines, traces })
}

fn subscriber(
    log: &Log,
    lines: &Writer,
    traces: Option<&SdkTracerProvider>,
) -> Result<(Dispatch, Level), TelemetryError> {
    let (filter, handle) = reload::Layer::new(parse(&log.level)?);
    let lines = match log.format {
        LogFormat::Text => {
            let colours = io::stderr().is_terminal();
            let layer = fmt::layer().with_ansi(colours).with_writer(lines.clone());
            layer.fmt_fields(format::debug_fn(field).delimited(" ")).boxed()
        }
        LogFormat::Json => {
            let lines = lines.clone();
            fmt::layer().json().flatten_event(true).with_writer(move || JsonLines(lines.clone())).boxed()
        }
    };
    let not_spans = filter::filter_fn(is_line).with_max_level_hint(LevelFilter::TRACE);
    // One filter, not one within another, and no layer that is absent: only then is the call site
    // of a span that is not exported switched off, instead of checked for each request.
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

/// What is a log line: no span for the collector, and none of the lines in which a library warns of what is normal
/// here: kube's client of each failed attempt (an outage is logged once, by its source), notify of a folder
/// that is gone (which is how a mounted ConfigMap changes), async-nats of each attempt to connect.
fn is_line(metadata: &Metadata<'_>) -> bool {
    let told_elsewhere =
        ["kube_client", "notify", "async_nats"].iter().any(|library| metadata.target().starts_with(library));
    metadata.target() != SPANS && (!told_elsewhere || *metadata.level() > tracing::Level::INFO)
}

/// Writes a field of a text line. Values that others wrote stay on that line.
fn field(line: &mut format::Writer<'_>, field: &Field, value: &dyn std::fmt::Debug) -> std::fmt::Result {
    match field.name() {
        // Where the line of a library was written; its target is in front.
        name if name.starts_with("log.") => Ok(()),
        "message" => write!(Escaping(line), "{value:?}"),
        name => write!(Escaping(line), "{}={value:?}", name.strip_prefix("r#").unwrap_or(name)),
    }
}

/// Takes lines of JSON, which leaves some characters in strings as they are that a terminal does not.
struct JsonLines(Writer);

impl io::Write for JsonLines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(escape::json(&String::from_utf8_lossy(line)).as_bytes());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
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

    /// Log lines that were dropped, since their reader was too slow.
    #[must_use]
    pub fn dropped_lines(&self) -> IntCounter {
        self.lines.dropped()
    }

    /// Sends the spans that are left. Blocks for as long as that takes, at most some seconds.
    pub fn send_spans(&self) {
        if let Some(Err(error)) = self.traces.as_ref().map(SdkTracerProvider::shutdown) {
            tracing::warn!(error = %chain(&error), "the last spans were not sent");
        }
    }

    /// Writes the log lines that are left, unless they are not read. Nothing is logged after that.
    pub fn finish(self) {
        self.lines.finish(LOG_END);
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
        let lines = Writer::start(Target::Error).expect("a thread");
        let span = tracing::info_span!(target: SPANS, "request");
        let callsite = span.metadata().expect("a disabled span has them too");
        let (quiet, level) = subscriber(&log, &lines, None).expect("a level");
        assert!(quiet.register_callsite(callsite).is_never(), "a request costs one comparison");
        level.set("tidewait=trace").expect("a filter");
        assert!(quiet.register_callsite(callsite).is_never());
        let traces = SdkTracerProvider::builder().build();
        let silent = Log { level: "off".to_owned(), ..log };
        let (exporting, _) = subscriber(&silent, &lines, Some(&traces)).expect("a level");
        assert!(!exporting.register_callsite(callsite).is_never(), "whatever the log's level");
    }
}
