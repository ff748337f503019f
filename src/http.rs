//! The port that clients and the app's users share.
//!
//! | request | goes to |
//! |---|---|
//! | one whose head could be read in two ways, or is too large | [`head`]: 400, 405, 417, 431, 501, and on HTTP/1.1 the connection closes |
//! | the path of an operation, byte for byte | [`describe`]: 200, 204, 304 or a problem |
//! | the same, from a relay that reports | [`report`]: 204 or a problem |
//! | the path of a topic | [`topic`]: messages, 201, 204 or a problem |
//! | the path of an exchange, or below its endpoint | [`exchange`]: what a worker answers, or 303, 202 or a problem |
//! | any other path, with an app behind | [`proxy`]: whatever the app answers, or 502, 504 |
//! | any other path | 404 |

use std::sync::Arc;

use http::request::Parts;
use http::{HeaderValue, Request, Response, StatusCode, Version, header};
use tokio::time::Duration;

use crate::access::Connection;
use crate::describe::origin::Origins;
use crate::lifecycle::stop;
use crate::operation::{Operation, OperationRegistry};
use crate::topic::Topic;

pub mod access;
pub mod access_log;
mod client_address;
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
mod routing;
pub mod stream;
pub mod topic;
pub mod trace;
mod unwanted;
pub mod websocket;
mod writing;

use access::Target;
use connection::ConnectionState;
use metrics::Route;
use request_body::RequestBody;
use response::Body;

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
    topics: Arc<topic::Topics>,
    websockets: websocket::WebSockets,
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
        let (exchanges, topics, websockets) = (Arc::default(), Arc::default(), websocket::WebSockets::default());
        Self {
            operations,
            access,
            proxy,
            stop,
            metrics,
            access_log,
            polls_by_hyper: false,
            exchanges,
            topics,
            websockets,
        }
    }

    /// The same, with exchanges.
    #[must_use]
    pub fn with_exchanges(self, exchanges: Arc<exchange::Exchanges>) -> Self {
        Self { exchanges, ..self }
    }

    /// The same, with topics.
    #[must_use]
    pub fn with_topics(self, topics: Arc<topic::Topics>) -> Self {
        Self { topics, ..self }
    }

    /// The same, whose connections of WebSocket are among others' tasks.
    #[must_use]
    pub fn with_websockets(self, websockets: websocket::WebSockets) -> Self {
        Self { websockets, ..self }
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
        let page = self.origins().listed(&parts.headers);
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
        // What the app and workers let pages read is theirs to say.
        if matches!(route, Route::Describe | Route::Topic) {
            for (name, value) in self.origins().fields(page) {
                response.headers_mut().append(name, value.clone());
            }
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
            || self.topic_read(bytes, passed).is_some()
            || self.exchange_that_parks(bytes, passed).is_some_and(|(asked, _)| !asked.is_served_at_once())
    }

    /// The topic that a plain request reads; none: it is for another path.
    fn topic_read(&self, bytes: &[u8], passed: &head::Passed) -> Option<Arc<Topic>> {
        self.topics.get(passed.plain_path(bytes)?)
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
        let others = || self.exchanges.registry().unknown().or_else(|| self.topics.registry().unknown());
        self.operations.unknown().or_else(others)
    }

    /// The origins whose pages may read what they are answered.
    fn origins(&self) -> &Origins {
        &self.topics.origins
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
}

/// Whether a connection of HTTP/1.1 is to end with an answer. Requests that have come behind this one are answered first.
fn closes_after(phase: stop::Phase, route: Route, is_half_closed: bool, is_last: bool) -> bool {
    let waits = matches!(route, Route::Describe | Route::Topic);
    let ends = phase.closing || is_half_closed || (waits && phase.drain.is_some());
    ends && is_last
}
