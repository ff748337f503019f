//! The port that clients and the app's users share.
//!
//! | request | goes to |
//! |---|---|
//! | one whose head could be read in two ways, or is too large | [`head`]: 400, 405, 417, 431, 501, and on HTTP/1.1 the connection closes |
//! | the path of an operation, byte for byte | [`describe`]: 200, 204, 304 or a problem |
//! | the same, from a relay that reports | [`report`]: 204 or a problem |
//! | the path of an exchange, or below its endpoint | [`exchange`]: what a worker answers, or 303, 202 or a problem |
//! | any other path, with an app behind | [`proxy`]: whatever the app answers, or 502, 504 |
//! | any other path | 404 |

use std::sync::Arc;

use http::request::Parts;
use http::{HeaderValue, Request, Response, StatusCode, Version, header};
use tokio::time::{Duration, Instant};

use crate::access::Connection;
use crate::authentication::Peer;
use crate::describe::problem::{self, Kind};
use crate::describe::{Answer, Problem};
use crate::lifecycle::stop;
use crate::operation::{Operation, OperationRegistry};

pub mod access;
pub mod access_log;
pub mod connection;
pub mod date;
pub mod describe;
pub mod exchange;
pub mod forwarded;
pub mod front;
pub mod head;
pub mod http1;
pub mod http2;
mod linger;
pub mod listen;
pub mod metrics;
pub mod polls;
pub mod proxy;
mod report;
pub mod request_body;
pub mod response;
pub mod stream;
pub mod trace;
mod unwanted;
mod writing;

use access::Target;
use connection::ConnectionState;
use head::Head;
use metrics::Route;
use request_body::RequestBody;
use response::{Body, response};

/// Everything that a request may be routed to.
#[derive(Debug)]
pub struct Router {
    operations: Arc<OperationRegistry>,
    access: Arc<access::Access>,
    proxy: Option<proxy::Proxy>,
    stop: stop::Watch,
    metrics: metrics::Metrics,
    access_log: bool,
    polls_by_hyper: bool,
    exchanges: Arc<exchange::Exchanges>,
}

/// What a request came to.
#[derive(Debug, Clone, Copy)]
pub struct Outcome {
    /// Where it went.
    pub route: Route,
    /// The status of its answer.
    pub status: StatusCode,
    /// The length of the body; absent: not known yet.
    pub bytes: Option<u64>,
    /// How long it was held, or the app took.
    pub held: Duration,
}

/// What is recorded of a request beside its outcome, for those who ask for it.
#[derive(Debug, Default)]
pub struct Record {
    log: Option<access_log::Entry>,
    trace: Option<Box<trace::Trace>>,
}

/// A request to an exchange with which an event loop has begun.
#[derive(Debug)]
struct Begun {
    progress: Progress,
    record: Record,
}

/// How far a request to an exchange has come.
#[derive(Debug)]
enum Progress {
    /// Who sends it is known, or will be.
    Judged(exchange::Asked, access::Judged),
    /// It was parked.
    Parked(exchange::ParkedRequest),
}

impl Outcome {
    /// [`Self::held`] in milliseconds.
    #[must_use]
    pub fn held_ms(&self) -> u64 {
        u64::try_from(self.held.as_millis()).unwrap_or(u64::MAX)
    }
}

impl Router {
    /// A router for these operations, for those who may poll them, and this app behind.
    #[must_use]
    pub fn new(
        operations: Arc<OperationRegistry>,
        access: Arc<access::Access>,
        proxy: Option<proxy::Proxy>,
        stop: stop::Watch,
        metrics: metrics::Metrics,
        access_log: bool,
    ) -> Self {
        let exchanges = Arc::default();
        Self { operations, access, proxy, stop, metrics, access_log, polls_by_hyper: false, exchanges }
    }

    /// The same, with exchanges.
    #[must_use]
    pub fn with_exchanges(self, exchanges: Arc<exchange::Exchanges>) -> Self {
        Self { exchanges, ..self }
    }

    /// The same, of which hyper serves plain polls too: for tests that compare both ways.
    #[must_use]
    pub fn with_polls_by_hyper(self) -> Self {
        Self { polls_by_hyper: true, ..self }
    }

    /// Answers a request that came on `connection`. That of HTTP/1.1 has passed [`head`].
    pub async fn handle(&self, request: Request<RequestBody>, connection: &ConnectionState) -> Response<Body> {
        self.handle_begun(request, connection, None).await
    }

    /// The same; some: an event loop has begun with it.
    async fn handle_begun(
        &self,
        request: Request<RequestBody>,
        connection: &ConnectionState,
        begun: Option<Begun>,
    ) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let (progress, record) = begun.map(|begun| (begun.progress, begun.record)).unzip();
        let record = record.unwrap_or_else(|| self.record(&parts, &connection.client));
        let http2 = parts.version == Version::HTTP_2;
        let (route, mut response, held) = match progress {
            Some(progress) => self.exchange(progress, parts, body, connection).await,
            None => self.route(parts, body, connection).await,
        };
        // HTTP/2 has GOAWAY for this; it has no Connection field (RFC 9113, section 8.2.2).
        let switches = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        if !http2
            && !switches
            && closes_after(self.stop.phase(), route, connection.is_half_closed(), connection.is_last())
        {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        let outcome = Outcome { route, status: response.status(), bytes: response.body().length(), held };
        self.answered(record, &outcome);
        response
    }

    /// The operation that a plain request polls; none: it is for another path.
    fn operation(&self, bytes: &[u8], passed: &head::Passed) -> Option<Arc<Operation>> {
        self.operations.get(passed.plain_path(bytes).filter(|_| !self.polls_by_hyper)?)
    }

    /// Whether a request with this head is for an event loop, since it may wait for long.
    fn parks(&self, bytes: &[u8], passed: &head::Passed) -> bool {
        self.operation(bytes, passed).is_some()
            || self.exchange_that_parks(bytes, passed).is_some_and(|(asked, _)| !asked.is_served_at_once())
    }

    /// Whether something may be at a path that no operation has.
    fn has_app(&self) -> bool {
        self.proxy.is_some() || self.polls_by_hyper || !self.exchanges.registry().is_empty()
    }

    /// What a request for a path is for that no operation has, where no app is behind.
    fn nothing_at(&self, path: &str) -> Target {
        if self.unknown().is_some() { Target::NotKnownYet } else { Target::Nothing(path.into()) }
    }

    /// What must be known before it is known which paths there are.
    fn unknown(&self) -> Option<&'static str> {
        self.operations.unknown().or_else(|| self.exchanges.registry().unknown())
    }

    /// Whether requests are logged.
    fn logs(&self) -> bool {
        self.access_log
    }

    /// Whether anything of a request is recorded beside metrics.
    fn records(&self) -> bool {
        self.access_log || trace::are_made()
    }

    /// Begins to record a request.
    fn record(&self, parts: &Parts, connection: &Connection) -> Record {
        Record {
            log: self.access_log.then(|| access_log::Entry::of(parts, connection.peer)),
            trace: trace::Trace::of(parts, connection),
        }
    }

    /// Records an answer in the metrics, the access log and the trace, where there is one.
    fn answered(&self, record: Record, outcome: &Outcome) {
        self.metrics.answered(outcome);
        if let Some(log) = record.log {
            log.log(outcome);
        }
        if let Some(trace) = record.trace {
            trace.end(outcome);
        }
    }

    async fn route(
        &self,
        parts: Parts,
        body: RequestBody,
        connection: &ConnectionState,
    ) -> (Route, Response<Body>, Duration) {
        let http2 = parts.version == Version::HTTP_2;
        if http2 && let Err(refused) = head::check(&Head::of(&parts)) {
            return (Route::Refused, response(Answer::problem(&refused, fastrand::f64()), None), Duration::ZERO);
        }
        if let Some(asked) = self.exchange_at(parts.uri.path()) {
            let judged = self.judge_exchange(&asked, &parts, (&*connection.client).into());
            return Box::pin(self.exchange(Progress::Judged(asked, judged), parts, body, connection)).await;
        }
        let operation = self.operations.get(parts.uri.path());
        self.serve(operation, parts, body, connection).await
    }

    /// Answers a request of an operation, or for the app.
    async fn serve(
        &self,
        operation: Option<Arc<Operation>>,
        parts: Parts,
        body: RequestBody,
        connection: &ConnectionState,
    ) -> (Route, Response<Body>, Duration) {
        let http2 = parts.version == Version::HTTP_2;
        // Who may not poll is not told which paths there are either.
        let may = if operation.is_some() || self.proxy.is_none() {
            let target = match &operation {
                Some(operation) => Target::Operation(operation.config()),
                None => self.nothing_at(parts.uri.path()),
            };
            self.access.judge(&parts.headers, (&*connection.client).into(), &target)
        } else {
            self.access.identify(&parts.headers, (&*connection.client).into())
        };
        let admitted = match may.await {
            Ok(admitted) => admitted,
            Err(problem) => {
                let route = match &operation {
                    Some(_) => Route::Describe,
                    None if self.proxy.is_some() => Route::App,
                    None => Route::None,
                };
                let is_read = Box::pin(unwanted::read(body, &parts)).await;
                let response = response(Answer::problem(&problem, fastrand::f64()), None);
                return (route, ending(response, http2 || is_read), Duration::ZERO);
            }
        };
        if let Some(operation) = operation {
            if let Some(brought) = report::Brought::by(&parts) {
                let by = (&*self.access, admitted);
                let answer = Box::pin(report::answer(brought, &operation, by, &connection.client, &parts, body)).await;
                return (Route::Describe, ending(response(answer.0, None), http2 || answer.1), Duration::ZERO);
            }
            let asked = describe::parse(&operation, &parts);
            let is_read = Box::pin(unwanted::read(body, &parts)).await;
            // A parked request keeps nothing of its head: each field is a slice of the connection's read
            // buffer, 8 KiB.
            drop(parts);
            let outcome = describe::answer(&operation, (&self.access, admitted), &self.stop, connection, asked).await;
            let response = response(outcome.answer, outcome.fan_out);
            return (Route::Describe, ending(response, http2 || is_read), outcome.held);
        }
        let Some(proxy) = &self.proxy else {
            let is_read = Box::pin(unwanted::read(body, &parts)).await;
            let response = response(Answer::problem(&self.nothing_here(), fastrand::f64()), None);
            return (Route::None, ending(response, http2 || is_read), Duration::ZERO);
        };
        let mut parts = parts;
        self.access.keep_back(&mut parts.headers);
        let sent = Instant::now();
        // Boxed: a parked request is the same future, and would hold the room that only a proxied one needs.
        let answer = Box::pin(proxy.forward(Request::from_parts(parts, body), &connection.client, admitted.caller));
        let response = match answer.await {
            Ok(response) => response.map(Body::App),
            Err(error) => {
                let why = crate::telemetry::chain(&error);
                if error.is_of_client() {
                    // Any client can do so, as often as it likes.
                    tracing::debug!(error = %why, "a client broke off its request to the app");
                } else {
                    tracing::warn!(error = %why, "the app did not answer");
                }
                let json = problem::json(error.slug(), error.title(), error.status(), &error.detail());
                let mut response = response(Answer::problem_of(error.status(), json), None);
                if let Some(reason) = error.reset().filter(|_| http2) {
                    response.extensions_mut().insert(http2::Reset(reason));
                }
                response
            }
        };
        (Route::App, response, sent.elapsed())
    }

    /// What a request for a path asks of an exchange; none: it is for something else.
    fn exchange_at(&self, path: &str) -> Option<exchange::Asked> {
        self.exchanges.find(path).filter(|_| self.operations.get(path).is_none())
    }

    fn judge_exchange(&self, asked: &exchange::Asked, parts: &Parts, peer: Peer<'_>) -> access::Judged {
        self.access.judge(&parts.headers, peer, &Target::Exchange(asked.verb(), asked.name().into()))
    }

    /// Answers a request to an exchange.
    async fn exchange(
        &self,
        progress: Progress,
        mut parts: Parts,
        body: RequestBody,
        connection: &ConnectionState,
    ) -> (Route, Response<Body>, Duration) {
        let http2 = parts.version == Version::HTTP_2;
        let around = (connection, &self.stop);
        let answered = match progress {
            Progress::Parked(parked) => {
                self.access.keep_back(&mut parts.headers);
                exchange::resume(&self.exchanges, parked, &self.access, around, (parts, body)).await
            }
            Progress::Judged(asked, judged) => match judged.await {
                Ok(admitted) => {
                    self.access.keep_back(&mut parts.headers);
                    let by = (&*self.access, admitted.caller);
                    exchange::answer(&self.exchanges, asked, by, around, (parts, body)).await
                }
                Err(problem) => {
                    let is_read = unwanted::read(body, &parts).await;
                    let response = response(Answer::problem(&problem, fastrand::f64()), None);
                    exchange::Answered { response, is_read, held: Duration::ZERO }
                }
            },
        };
        let exchange::Answered { response, is_read, held } = answered;
        let switches = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        (Route::Exchange, ending(response, http2 || is_read || switches), held)
    }

    /// Neither an operation nor an exchange has the path of a request, and no app is behind.
    fn nothing_here(&self) -> Problem {
        // A client that comes to a replica which has just started is not to take its endpoint for removed.
        if let Some(unknown) = self.unknown() {
            let detail = format!("this process has not read {unknown} yet: one of them may have this path");
            return Problem::retry(Kind::NoState, 1, detail);
        }
        let mut paths = self.operations.paths();
        for exchange in self.exchanges.registry().all() {
            let config = exchange.config();
            paths.push(format!("{} (whose workers go to {})", config.path.as_str(), config.endpoint));
        }
        let paths = paths.join(", ");
        let detail = format!("nothing has this path, and no app is behind (--upstream): paths here are {paths}");
        Problem::new(Kind::NotFound, detail)
    }
}

/// The answer to a request of HTTP/1.1, whose connection ends with it unless all of the request was read.
fn ending(mut response: Response<Body>, is_read: bool) -> Response<Body> {
    if !is_read {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Whether a connection of HTTP/1.1 is to end with an answer. Requests that have come behind this one are answered first.
fn closes_after(phase: stop::Phase, route: Route, is_half_closed: bool, is_last: bool) -> bool {
    let ends = phase.closing || is_half_closed || (route == Route::Describe && phase.drain.is_some());
    ends && is_last
}
