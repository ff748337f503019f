//! The port that clients and the app's users share.
//!
//! | request | goes to |
//! |---|---|
//! | one whose head could be read in two ways, or is too large | [`head`]: 400, 405, 417, 431, 501, and on HTTP/1.1 the connection closes |
//! | the path of an operation, byte for byte | [`describe`]: 200, 204, 304 or a problem |
//! | any other path, with an app behind | [`proxy`]: whatever the app answers, or 502, 504 |
//! | any other path | 404 |

use std::sync::Arc;

use http::{HeaderValue, Request, Response, StatusCode, Version, header};
use hyper::body::Incoming;
use tokio::time::{Duration, Instant};

use crate::describe::problem::{self, Kind};
use crate::describe::{Answer, Problem};
use crate::lifecycle::stop;
use crate::operation::OperationRegistry;

pub mod access_log;
pub mod connection;
pub mod describe;
pub mod forwarded;
pub mod head;
pub mod listen;
pub mod metrics;
pub mod proxy;
pub mod response;
pub mod stream;
pub mod trace;

use connection::ConnectionState;
use head::{Head, Refused};
use metrics::Route;
use response::{Body, response};

/// Everything that a request may be routed to.
#[derive(Debug)]
pub struct Front {
    operations: Arc<OperationRegistry>,
    proxy: Option<proxy::Proxy>,
    stop: stop::Watch,
    metrics: metrics::Metrics,
    access_log: bool,
}

impl Front {
    /// A front for these operations, and this app behind.
    #[must_use]
    pub fn new(
        operations: Arc<OperationRegistry>,
        proxy: Option<proxy::Proxy>,
        stop: stop::Watch,
        metrics: metrics::Metrics,
        access_log: bool,
    ) -> Self {
        Self { operations, proxy, stop, metrics, access_log }
    }

    /// Answers a request that came on `connection`, or (`refused`) that comes in place of a head that is refused.
    pub async fn handle(
        &self,
        request: Request<Incoming>,
        connection: &ConnectionState,
        refused: Option<Refused>,
    ) -> Response<Body> {
        let peer = connection.client.peer;
        if let Some(refused) = refused {
            let entry = self.access_log.then(|| access_log::Entry::refused(refused.line, peer));
            let mut response = response(Answer::problem(&refused.problem, fastrand::f64()), None);
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            self.record(entry, None, Route::Refused, &response, Duration::ZERO);
            return response;
        }
        let entry = self.access_log.then(|| access_log::Entry::of(&request, peer));
        let trace = trace::Trace::of(&request, &connection.client);
        let http2 = request.version() == Version::HTTP_2;
        let (route, mut response, held) = self.route(request, connection).await;
        // HTTP/2 has GOAWAY for this; it has no Connection field (RFC 9113, section 8.2.2).
        if !http2 && self.closes_after(route, &response, connection) {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        self.record(entry, trace, route, &response, held);
        response
    }

    /// Whether a connection of HTTP/1.1 is to end with this answer. Requests that have come behind this
    /// one are answered first.
    fn closes_after(&self, route: Route, response: &Response<Body>, connection: &ConnectionState) -> bool {
        let phase = self.stop.phase();
        let ends = phase.closing || connection.is_half_closed() || (route == Route::Describe && phase.drain.is_some());
        ends && connection.is_last() && response.status() != StatusCode::SWITCHING_PROTOCOLS
    }

    /// Records an answer in the metrics, the access log and the trace, where there is one.
    fn record(
        &self,
        entry: Option<access_log::Entry>,
        trace: Option<Box<trace::Trace>>,
        route: Route,
        response: &Response<Body>,
        held: Duration,
    ) {
        self.metrics.answered(route, response);
        if let Some(entry) = entry {
            entry.log(route, response, held);
        }
        if let Some(trace) = trace {
            trace.end(route, response, held);
        }
    }

    async fn route(
        &self,
        request: Request<Incoming>,
        connection: &ConnectionState,
    ) -> (Route, Response<Body>, Duration) {
        let http2 = request.version() == Version::HTTP_2;
        let (parts, body) = request.into_parts();
        // That of HTTP/1.1 was judged before hyper saw it.
        if http2 && let Err(refused) = head::check(&Head::of(&parts)) {
            return (Route::Refused, response(Answer::problem(&refused, fastrand::f64()), None), Duration::ZERO);
        }
        if let Some(operation) = self.operations.get(parts.uri.path()) {
            let asked = describe::parse(&operation, &parts);
            // A parked request keeps nothing of its head: each field is a slice of the connection's read
            // buffer, 8 KiB. A body has no meaning here; hyper drains it or closes.
            drop((parts, body));
            let outcome = describe::answer(&operation, &self.stop, connection, asked).await;
            return (Route::Describe, response(outcome.answer, outcome.fan_out), outcome.held);
        }
        let Some(proxy) = &self.proxy else {
            let answer = Answer::problem(&self.nothing_here(), fastrand::f64());
            return (Route::None, response(answer, None), Duration::ZERO);
        };
        let sent = Instant::now();
        // Boxed: a parked request is the same future, and would hold the room that only a proxied one needs.
        let answer = Box::pin(proxy.forward(Request::from_parts(parts, body), &connection.client));
        let response = match answer.await {
            Ok(response) => response.map(Body::App),
            Err(error) => {
                tracing::warn!(error = %crate::telemetry::chain(&error), "the app did not answer");
                let json = problem::json(error.slug(), error.title(), error.status(), &error.detail());
                let mut response = response(Answer::problem_of(error.status(), json), None);
                if let Some(reason) = error.reset().filter(|_| http2) {
                    response.extensions_mut().insert(listen::Reset(reason));
                }
                response
            }
        };
        (Route::App, response, sent.elapsed())
    }

    /// No operation has the path of a request, and no app is behind.
    fn nothing_here(&self) -> Problem {
        // A client that comes to a replica which has just started is not to take its endpoint for removed.
        if let Some(unknown) = self.operations.unknown() {
            let detail = format!("whether an operation has this path is not known yet: {unknown} has not been read");
            return Problem::retry(Kind::NoState, 1, detail);
        }
        let paths = self.operations.paths().join(", ");
        let detail = format!("no operation has this path, and no app is behind (--upstream): paths here are {paths}");
        Problem::new(Kind::NotFound, detail)
    }
}
