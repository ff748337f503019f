//! The port for operators and the kubelet.
//!
//! | request | answer |
//! |---|---|
//! | `GET /livez` | 200 while the process runs |
//! | `GET /readyz` | 200 when ready, else 503 that names what is missing |
//! | `GET /metrics` | Prometheus text format |
//! | `GET /state` | operations, ids, sizes, parked requests, agents in numbers, health of sources, of files that are followed and of issuers, as JSON |
//! | `GET /agents` | which agent holds, lacks or rejects which state, as JSON: [`agents`] |
//! | `GET /` | the [`page`] for people, with `/page.css` and `/page.js` |
//! | `GET /events` | what `/state` and `/agents` say, as it changes, as server-sent events: [`events`] |
//! | `GET /log-level` | the level of logs |
//! | `PUT /log-level` | changes it |
//! | `POST /drain` | answers parked requests over the grace period, and then this one |
//! | `GET /openapi.json` | the protocol as an OpenAPI 3.1 document |
//!
//! [`access`] says who may. A page of another origin changes nothing.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Either, Full, Limited};
use hyper::body::Incoming;
use prometheus::{IntCounter, Registry};

use self::access::Access;
use self::events::{Asking, EventBody, Events};
use self::listen::{Answers, Limit};
use self::response::{json, neither, refusal, text};
use self::route::{PATHS, Route};
use self::state::Shown;
use crate::access::{Caller, Connection};
use crate::bounds::ADMIN_BODY_BYTES;
use crate::describe::Problem;
use crate::describe::problem::Kind;
use crate::exchange::Exchange;
use crate::lifecycle::ready::{Missing, Readiness, ReadinessCheck};
use crate::lifecycle::stop::Stop;
use crate::telemetry::Level;

pub mod access;
mod agents;
pub mod ask;
pub mod events;
pub mod followed;
pub mod listen;
mod page;
pub mod response;
mod route;
pub mod state;

/// The protocol of the describe port.
pub const OPENAPI: &str = include_str!("admin/openapi.json");

/// How often it is looked whether somebody waits at an exchange still, as it drains.
const DRAIN_LOOK: Duration = Duration::from_millis(50);

/// What the admin port knows.
#[derive(Debug)]
pub struct Admin {
    /// Everything that is shown.
    pub shown: Arc<Shown>,
    /// Streams of events.
    pub events: Arc<Events>,
    /// Whether the process is ready.
    pub readiness: ReadinessCheck,
    /// Begins a drain.
    pub stop: Arc<Stop>,
    /// Who may ask from another host.
    pub access: Arc<Access>,
    /// Changes the level of logs.
    pub level: Level,
    /// All metrics.
    pub registry: Registry,
    /// Counts connections that had to make room: [`closed_connections`].
    pub closed: IntCounter,
}

/// Connections closed for want of room.
pub fn closed_connections(registry: &Registry) -> prometheus::Result<IntCounter> {
    let closed = IntCounter::new(
        "tidewait_admin_connections_closed_total",
        "Connections to the admin port that were closed to make room for newer ones.",
    )?;
    registry.register(Box::new(closed.clone()))?;
    Ok(closed)
}

/// What an answer carries: all at once, or events.
type Answer = Either<Full<Bytes>, EventBody>;

impl Answers for Admin {
    type Body = Answer;

    async fn answer(&self, request: Request<Incoming>, peer: &Connection, limit: &Limit) -> Response<Answer> {
        let (head, body) = request.into_parts();
        // Read in any case: a connection that is closed with bytes unread is reset, and its answer may be lost.
        let Ok(body) = Limited::new(body, ADMIN_BODY_BYTES).collect().await else {
            let detail = format!("send at most {ADMIN_BODY_BYTES} bytes");
            return refusal(&Problem::new(Kind::BodyTooLarge, detail)).map(Either::Left);
        };
        let route = Route::of(&head.method, head.uri.path());
        let admitted = match self.access.own_page(&head, route) {
            Ok(()) => self.access.admit(&head.headers, peer, route).await,
            Err(problem) => Err(problem),
        };
        let caller = match admitted {
            Ok(caller) => caller,
            Err(problem) => return refusal(&problem).map(Either::Left),
        };
        if route == Some(Route::Events) {
            let asking = Asking {
                shown: Arc::clone(&self.shown),
                events: Arc::clone(&self.events),
                access: Arc::clone(&self.access),
                headers: head.headers,
                connection: peer.again(),
                limit: limit.clone(),
                stop: self.stop.watch(),
            };
            return events::answer(asking, &head.method);
        }
        self.whole(&head, route, (&body.to_bytes(), caller.as_ref()), limit).await.map(Either::Left)
    }

    fn made_room(&self) {
        self.closed.inc();
    }
}

impl Admin {
    /// An answer that is there at once, or once a drain is over.
    async fn whole(
        &self,
        head: &Parts,
        route: Option<Route>,
        (body, caller): (&[u8], Option<&Caller>),
        limit: &Limit,
    ) -> Response<Full<Bytes>> {
        match route {
            Some(Route::Livez) => text(StatusCode::OK, "ok\n"),
            Some(Route::Readyz) => self.ready(),
            Some(Route::Metrics) => self.metrics(),
            Some(Route::State) => json(self.shown.state().to_string()),
            Some(Route::Agents) => match agents::of(&self.shown.operations.all(), head.uri.query().unwrap_or("")) {
                Ok(page) => json(page.to_string()),
                Err(problem) => refusal(&problem),
            },
            Some(Route::Page(file)) => file.answer(),
            Some(Route::OpenApi) => json(OPENAPI),
            Some(Route::Level) => text(StatusCode::OK, self.level.get() + "\n"),
            Some(Route::SetLevel) => self.set_level(body, by(caller)),
            Some(Route::Drain) => self.drain(limit, by(caller)).await,
            Some(Route::Events) | None => neither(&PATHS, head.method.as_str(), head.uri.path()),
        }
    }

    fn ready(&self) -> Response<Full<Bytes>> {
        let (mut snapshots, servers) = (self.shown.operations.missing(), self.shown.operations.cut_off());
        // Operations, exchanges and topics mostly wait for the same.
        for unknown in [self.shown.exchanges.unknown(), self.shown.topics.unknown()].into_iter().flatten() {
            if !snapshots.iter().any(|known| known == unknown) {
                snapshots.push(unknown.to_owned());
            }
        }
        let missing = Missing { snapshots, keys: self.shown.followed.without_keys(), servers };
        match self.readiness.check(missing) {
            Readiness::Ready(missing) if missing.is_empty() => text(StatusCode::OK, "ok\n"),
            Readiness::Ready(missing) => text(StatusCode::OK, format!("ok, but without {missing}\n")),
            Readiness::Waiting(missing) => text(StatusCode::SERVICE_UNAVAILABLE, format!("waiting for {missing}\n")),
            Readiness::Draining => text(StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
        }
    }

    fn metrics(&self) -> Response<Full<Bytes>> {
        for operation in self.shown.operations.all() {
            operation.scrape();
        }
        self.shown.exchanges.all().iter().for_each(|exchange| exchange.scrape());
        response::metrics(&self.registry.gather())
    }

    fn set_level(&self, body: &[u8], by: &str) -> Response<Full<Bytes>> {
        let level = String::from_utf8_lossy(body);
        match self.level.set(level.trim()) {
            Ok(()) => {
                tracing::info!(level = level.trim(), by, "log level changed");
                text(StatusCode::OK, self.level.get() + "\n")
            }
            Err(error) => refusal(&Problem::new(Kind::BadParameter, crate::telemetry::chain(&error))),
        }
    }

    async fn drain(&self, limit: &Limit, by: &str) -> Response<Full<Bytes>> {
        self.shown.exchanges.withhold();
        let drain = self.stop.drain();
        limit.extend(drain.deadline());
        tracing::info!(by, "draining, asked for at the admin port");
        let of_exchanges = |count: fn(&Exchange) -> u64| {
            self.shown.exchanges.all().iter().map(|exchange| count(exchange)).sum::<u64>()
        };
        let left = || (of_exchanges(Exchange::waiting), of_exchanges(Exchange::in_flight));
        let emptied = async {
            for operation in self.shown.operations.all() {
                operation.hub.emptied().await;
            }
            for topic in self.shown.topics.all() {
                topic.emptied().await;
            }
            // What workers have may end, too.
            while left() != (0, 0) {
                tokio::time::sleep(DRAIN_LOOK).await;
            }
        };
        let parked = || {
            let readers = self.shown.topics.all().iter().map(|topic| topic.readers()).sum::<usize>();
            readers + self.shown.operations.all().iter().map(|operation| operation.hub.parked()).sum::<usize>()
        };
        // Whoever is in the last slots is answered within the rest of the grace period.
        let _ = tokio::time::timeout_at(drain.deadline(), emptied).await;
        let (waiting, in_flight) = left();
        let parked = parked();
        text(
            StatusCode::OK,
            format!(
                "drained, {parked} requests are parked, {waiting} wait at exchanges, and workers have {in_flight}\n"
            ),
        )
    }
}

/// Who has asked, for the log.
fn by(caller: Option<&Caller>) -> &str {
    match caller.map(Caller::identity) {
        None => "the same host",
        Some(None) => "anonymous",
        Some(Some(name)) => name,
    }
}
