//! The port for operators and the kubelet.
//!
//! | request | answer |
//! |---|---|
//! | `GET /livez` | 200 while the process runs |
//! | `GET /readyz` | 200 when ready, else 503 that names what is missing |
//! | `GET /metrics` | Prometheus text format |
//! | `GET /state` | operations, ids, sizes, parked requests, agents in numbers, health of sources, of files that are followed and of issuers, as JSON |
//! | `GET /agents` | which agent holds, lacks or rejects which state, as JSON: [`agents`] |
//! | `GET /log-level` | the level of logs |
//! | `PUT /log-level` | changes it |
//! | `POST /drain` | answers parked requests over the grace period, and then this one |
//! | `GET /openapi.json` | the protocol as an OpenAPI 3.1 document |
//!
//! [`access`] says who may.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use prometheus::{IntCounter, Registry};

use self::access::Access;
use self::followed::Followed;
use self::listen::{Answers, Limit};
use self::response::{json, neither, refusal, text};
use self::route::{PATHS, Route};
use crate::access::{Caller, Connection};
use crate::bounds::ADMIN_BODY_BYTES;
use crate::describe::Problem;
use crate::describe::problem::Kind;
use crate::exchange::Exchange;
use crate::exchange::registry::ExchangeRegistry;
use crate::lifecycle::ready::{Missing, Readiness, ReadinessCheck};
use crate::lifecycle::stop::Stop;
use crate::operation::OperationRegistry;
use crate::telemetry::Level;
use crate::topic::registry::TopicRegistry;

pub mod access;
mod agents;
pub mod ask;
pub mod followed;
pub mod listen;
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
    /// All operations.
    pub operations: Arc<OperationRegistry>,
    /// All exchanges.
    pub exchanges: Arc<ExchangeRegistry>,
    /// All topics.
    pub topics: Arc<TopicRegistry>,
    /// Whether the process is ready.
    pub readiness: ReadinessCheck,
    /// Files and issuers that say who may poll, and certificates.
    pub followed: Followed,
    /// Begins a drain.
    pub stop: Arc<Stop>,
    /// Who may ask from another host.
    pub access: Access,
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

impl Answers for Admin {
    async fn answer(&self, request: Request<Incoming>, peer: &Connection, limit: &Limit) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let path = head.uri.path();
        // Read in any case: a connection that is closed with bytes unread is reset, and its answer may be lost.
        let Ok(body) = Limited::new(body, ADMIN_BODY_BYTES).collect().await else {
            let detail = format!("send at most {ADMIN_BODY_BYTES} bytes");
            return refusal(&Problem::new(Kind::BodyTooLarge, detail));
        };
        let route = Route::of(&head.method, path);
        let caller = match self.access.admit(&head.headers, peer, route).await {
            Ok(caller) => caller,
            Err(problem) => return refusal(&problem),
        };
        match route {
            Some(Route::Livez) => text(StatusCode::OK, "ok\n"),
            Some(Route::Readyz) => self.ready(),
            Some(Route::Metrics) => self.metrics(),
            Some(Route::State) => {
                let (operations, exchanges) = (self.operations.all(), self.exchanges.all());
                json(state::of(&operations, &exchanges, &self.topics.all(), &self.followed).to_string())
            }
            Some(Route::Agents) => match agents::of(&self.operations.all(), head.uri.query().unwrap_or("")) {
                Ok(page) => json(page.to_string()),
                Err(problem) => refusal(&problem),
            },
            Some(Route::OpenApi) => json(OPENAPI),
            Some(Route::Level) => text(StatusCode::OK, self.level.get() + "\n"),
            Some(Route::SetLevel) => self.set_level(&body.to_bytes(), by(caller.as_ref())),
            Some(Route::Drain) => self.drain(limit, by(caller.as_ref())).await,
            None => neither(&PATHS, head.method.as_str(), path),
        }
    }

    fn made_room(&self) {
        self.closed.inc();
    }
}

impl Admin {
    fn ready(&self) -> Response<Full<Bytes>> {
        let (mut snapshots, servers) = (self.operations.missing(), self.operations.cut_off());
        // Operations, exchanges and topics mostly wait for the same.
        for unknown in [self.exchanges.unknown(), self.topics.unknown()].into_iter().flatten() {
            if !snapshots.iter().any(|known| known == unknown) {
                snapshots.push(unknown.to_owned());
            }
        }
        let missing = Missing { snapshots, keys: self.followed.without_keys(), servers };
        match self.readiness.check(missing) {
            Readiness::Ready(missing) if missing.is_empty() => text(StatusCode::OK, "ok\n"),
            Readiness::Ready(missing) => text(StatusCode::OK, format!("ok, but without {missing}\n")),
            Readiness::Waiting(missing) => text(StatusCode::SERVICE_UNAVAILABLE, format!("waiting for {missing}\n")),
            Readiness::Draining => text(StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
        }
    }

    fn metrics(&self) -> Response<Full<Bytes>> {
        for operation in self.operations.all() {
            operation.scrape();
        }
        self.exchanges.all().iter().for_each(|exchange| exchange.scrape());
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
        self.exchanges.withhold();
        let drain = self.stop.drain();
        limit.extend(drain.deadline());
        tracing::info!(by, "draining, asked for at the admin port");
        let of_exchanges =
            |count: fn(&Exchange) -> u64| self.exchanges.all().iter().map(|exchange| count(exchange)).sum::<u64>();
        let left = || (of_exchanges(Exchange::waiting), of_exchanges(Exchange::in_flight));
        let emptied = async {
            for operation in self.operations.all() {
                operation.hub.emptied().await;
            }
            for topic in self.topics.all() {
                topic.emptied().await;
            }
            // What workers have may end, too.
            while left() != (0, 0) {
                tokio::time::sleep(DRAIN_LOOK).await;
            }
        };
        let parked = || {
            let readers = self.topics.all().iter().map(|topic| topic.readers()).sum::<usize>();
            readers + self.operations.all().iter().map(|operation| operation.hub.parked()).sum::<usize>()
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
