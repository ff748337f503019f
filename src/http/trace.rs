//! One span for each request, where an OTLP endpoint is set: named and described after
//! OpenTelemetry's semantic conventions for HTTP servers, and a child of the caller's span.

use http::request::Parts;
use http::{Method, Version};
use opentelemetry::Context;
use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry_http::HeaderExtractor;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing::field::Empty;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use super::Outcome;
use super::metrics::Route;
use crate::access::Connection;
use crate::telemetry::SPANS;

/// The span of a request that is being answered; one whose client leaves ends without a status.
#[derive(Debug)]
pub struct Trace {
    span: Span,
    method: &'static str,
    path: String,
}

impl Trace {
    /// The span of a request; none where none are made. Boxed, so that a parked request without
    /// one is the smaller.
    #[must_use]
    pub fn of(request: &Parts, connection: &Connection) -> Option<Box<Self>> {
        if !are_made() {
            return None;
        }
        let span = tracing::info_span!(
            target: SPANS,
            parent: None,
            "request",
            otel.name = known(&request.method),
            otel.kind = "server",
            http.request.method = known(&request.method),
            url.scheme = connection.scheme.as_str(),
            url.path = request.uri.path(),
            network.protocol.version = if request.version == Version::HTTP_2 { "2" } else { "1.1" },
            client.address = %connection.peer.ip(),
            http.route = Empty,
            http.response.status_code = Empty,
            error.type = Empty,
            otel.status_code = Empty,
            tidewait.route = Empty,
            tidewait.held_ms = Empty,
        );
        if span.is_disabled() {
            return None;
        }
        let caller = HeaderExtractor(&request.headers);
        let parent = TraceContextPropagator::new().extract_with_context(&Context::new(), &caller);
        // It fails only without the layer that exports, and then the span goes nowhere anyway.
        let _ = span.set_parent(parent);
        Some(Box::new(Self { span, method: known(&request.method), path: request.uri.path().to_owned() }))
    }

    /// The head of the answer is known: the span ends.
    pub fn end(self, outcome: &Outcome) {
        let (span, status) = (self.span, outcome.status);
        if outcome.route == Route::Describe {
            span.record("otel.name", format!("{} {}", self.method, self.path));
            span.record("http.route", self.path);
        }
        span.record("http.response.status_code", status.as_u16());
        if status.is_server_error() {
            span.record("error.type", status.as_str());
            span.record("otel.status_code", "ERROR");
        }
        span.record("tidewait.route", outcome.route.as_str());
        span.record("tidewait.held_ms", outcome.held_ms());
    }
}

/// Whether spans are made.
#[must_use]
pub fn are_made() -> bool {
    crate::telemetry::makes_spans()
}

/// The method, if it is a known one: names of spans are a closed set.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        Method::CONNECT => "CONNECT",
        Method::TRACE => "TRACE",
        _ => "_OTHER",
    }
}
