//! The port that clients and the app's users share.
//!
//! | request | goes to |
//! |---|---|
//! | one that the gate refuses | [`gate`]: 400, 405, 417, 501, and the connection closes |
//! | the path of an operation, byte for byte | [`describe`]: 200, 204, 304 or a problem |
//! | any other path, with an app behind | [`proxy`]: whatever the app answers, or 502, 504 |
//! | any other path | 404 |

use std::sync::Arc;

use http::{HeaderValue, Request, Response, Version, header};
use hyper::body::Incoming;
use tokio::time::{Duration, Instant};

use crate::describe::Problem;
use crate::describe::problem::{self, Kind};
use crate::fleet::Connection;
use crate::lifecycle::stop;
use crate::operation::Table;

pub mod access_log;
pub mod describe;
pub mod forwarded;
pub mod gate;
pub mod listen;
pub mod metrics;
pub mod proxy;
pub mod reply;
pub mod trace;
pub mod wire;

use metrics::Route;
use reply::Body;
use wire::Marks;

/// Everything that a request can come to.
#[derive(Debug)]
pub struct Front {
    operations: Arc<Table>,
    proxy: Option<proxy::Proxy>,
    stop: stop::Watch,
    metrics: metrics::Metrics,
    access_log: bool,
}

impl Front {
    /// A front for these operations, and this app behind.
    #[must_use]
    pub fn new(
        operations: Arc<Table>,
        proxy: Option<proxy::Proxy>,
        stop: stop::Watch,
        metrics: metrics::Metrics,
        access_log: bool,
    ) -> Self {
        Self { operations, proxy, stop, metrics, access_log }
    }

    /// Answers a request that came on `connection`.
    pub async fn handle(
        &self,
        request: Request<Incoming>,
        connection: &Arc<Connection>,
        marks: Marks,
    ) -> Response<Body> {
        let entry = self.access_log.then(|| access_log::Entry::of(&request, connection.peer));
        let trace = trace::Trace::of(&request, connection.peer);
        let http2 = request.version() == Version::HTTP_2;
        let (route, mut response, held) = self.route(request, connection, marks).await;
        let draining = self.stop.phase().drain.is_some();
        // HTTP/2 is told by GOAWAY; it has no Connection field (RFC 9113, section 8.2.2).
        if !http2 && (route == Route::Refused || (route == Route::Describe && draining)) {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        self.metrics.answered(route, &response);
        if let Some(entry) = entry {
            entry.log(route, &response, held);
        }
        if let Some(trace) = trace {
            trace.end(route, &response, held);
        }
        response
    }

    async fn route(
        &self,
        request: Request<Incoming>,
        connection: &Arc<Connection>,
        marks: Marks,
    ) -> (Route, Response<Body>, Duration) {
        let http2 = request.version() == Version::HTTP_2;
        let (parts, body) = request.into_parts();
        if let Err(refused) = gate::check(&parts, marks) {
            return (Route::Refused, reply::problem(&refused, 0.0), Duration::ZERO);
        }
        if let Some(operation) = self.operations.get(parts.uri.path()) {
            let asked = describe::asked(&operation, &parts);
            // A parked request keeps nothing of its head: each field is a slice of the connection's read
            // buffer, 8 KiB. A body has no meaning here; hyper drains it or closes.
            drop((parts, body));
            let outcome = describe::answer(&operation, &self.stop, connection, asked).await;
            return (Route::Describe, outcome.response, outcome.held);
        }
        let Some(proxy) = &self.proxy else {
            return (Route::None, reply::problem(&self.nothing_here(), fastrand::f64()), Duration::ZERO);
        };
        let sent = Instant::now();
        // Boxed: a parked request is the same future, and would hold the room that only a proxied one needs.
        let answer = Box::pin(proxy.forward(Request::from_parts(parts, body), connection.peer.ip()));
        let response = match answer.await {
            Ok(response) => response.map(Body::App),
            Err(error) => {
                tracing::warn!(error = %crate::telemetry::chain(&error), "the app did not answer");
                let json = problem::json(error.slug(), error.title(), error.status(), &error.detail());
                let mut response = reply::problem_of(error.status(), json);
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
