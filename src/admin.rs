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
//! | `PUT /log-level` | changes it; same host only |
//! | `POST /drain` | answers parked requests over the grace period, and then this one; same host only |
//! | `GET /openapi.json` | the protocol as an OpenAPI 3.1 document |

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use prometheus::{IntCounter, Registry, TextEncoder};

use self::followed::Followed;
pub use self::listen::serve;
use self::listen::{Limit, Peer};
use crate::bounds::ADMIN_BODY_BYTES;
use crate::describe::Problem;
use crate::describe::problem::{self, Kind};
use crate::escape;
use crate::lifecycle::ready::{Missing, Readiness, ReadinessCheck};
use crate::lifecycle::stop::Stop;
use crate::operation::OperationRegistry;
use crate::telemetry::Level;

mod agents;
pub mod ask;
pub mod followed;
mod listen;
pub mod state;

/// The protocol of the describe port.
pub const OPENAPI: &str = include_str!("admin/openapi.json");

/// What the admin port knows.
#[derive(Debug)]
pub struct Admin {
    /// All operations.
    pub operations: Arc<OperationRegistry>,
    /// Whether the process is ready.
    pub readiness: ReadinessCheck,
    /// Files and issuers that say who may poll, and certificates.
    pub followed: Followed,
    /// Begins a drain.
    pub stop: Arc<Stop>,
    /// Other hosts have to show a certificate for all but the probes.
    pub asks_for_certificates: bool,
    /// Changes the level of logs.
    pub level: Level,
    /// All metrics.
    pub registry: Registry,
    /// Counts connections that had to make room: [`closed_connections`].
    pub closed: IntCounter,
}

/// Every path, with the methods it has.
const PATHS: [(&str, &str); 8] = [
    ("/livez", "GET, HEAD"),
    ("/readyz", "GET, HEAD"),
    ("/metrics", "GET, HEAD"),
    ("/state", "GET, HEAD"),
    ("/agents", "GET, HEAD"),
    ("/log-level", "GET, HEAD, PUT"),
    ("/drain", "POST"),
    ("/openapi.json", "GET, HEAD"),
];

/// Connections closed for want of room.
pub fn closed_connections(registry: &Registry) -> prometheus::Result<IntCounter> {
    let closed = IntCounter::new(
        "tidewait_admin_connections_closed_total",
        "Connections to the admin port that were closed to make room for newer ones.",
    )?;
    registry.register(Box::new(closed.clone()))?;
    Ok(closed)
}

impl Admin {
    async fn answer(&self, request: Request<Incoming>, peer: Peer, limit: &Limit) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let path = head.uri.path();
        // Read in any case: a connection that is closed with bytes unread is reset, and its answer may be lost.
        let Ok(body) = Limited::new(body, ADMIN_BODY_BYTES).collect().await else {
            let detail = format!("send at most {ADMIN_BODY_BYTES} bytes");
            return refusal(&Problem::new(Kind::BodyTooLarge, detail));
        };
        let is_near = peer.address.ip().to_canonical().is_loopback();
        if self.asks_for_certificates && !is_near && !peer.is_certified && !matches!(path, "/livez" | "/readyz") {
            let detail = format!(
                "{path} is for who shows a client certificate (--admin-tls-client-ca), or asks from the same host"
            );
            return refusal(&Problem::new(Kind::LoopbackOnly, detail));
        }
        let changes = matches!(path, "/log-level" | "/drain") && !matches!(head.method, Method::GET | Method::HEAD);
        if changes && !is_near {
            let detail = format!("{path} changes something: ask from the same host or pod, not from {}", peer.address);
            return refusal(&Problem::new(Kind::LoopbackOnly, detail));
        }
        match (head.method.as_str(), path) {
            ("GET" | "HEAD", "/livez") => text(StatusCode::OK, "ok\n"),
            ("GET" | "HEAD", "/readyz") => self.ready(),
            ("GET" | "HEAD", "/metrics") => self.metrics(),
            ("GET" | "HEAD", "/state") => json(state::of(&self.operations.all(), &self.followed).to_string()),
            ("GET" | "HEAD", "/agents") => match agents::of(&self.operations.all(), head.uri.query().unwrap_or("")) {
                Ok(page) => json(page.to_string()),
                Err(problem) => refusal(&problem),
            },
            ("GET" | "HEAD", "/openapi.json") => json(OPENAPI),
            ("GET" | "HEAD", "/log-level") => text(StatusCode::OK, self.level.get() + "\n"),
            ("PUT", "/log-level") => self.set_level(&body.to_bytes()),
            ("POST", "/drain") => self.drain(limit).await,
            (method, path) => neither(method, path),
        }
    }

    fn ready(&self) -> Response<Full<Bytes>> {
        let missing = Missing { snapshots: self.operations.missing(), keys: self.followed.without_keys() };
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
        match TextEncoder::new().encode_to_string(&self.registry.gather()) {
            Ok(metrics) => {
                let mut response = text(StatusCode::OK, metrics);
                let format = HeaderValue::from_static(prometheus::TEXT_FORMAT);
                response.headers_mut().insert(header::CONTENT_TYPE, format);
                response
            }
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        }
    }

    fn set_level(&self, body: &[u8]) -> Response<Full<Bytes>> {
        let level = String::from_utf8_lossy(body);
        match self.level.set(level.trim()) {
            Ok(()) => {
                tracing::info!(level = level.trim(), "log level changed");
                text(StatusCode::OK, self.level.get() + "\n")
            }
            Err(error) => refusal(&Problem::new(Kind::BadParameter, crate::telemetry::chain(&error))),
        }
    }

    async fn drain(&self, limit: &Limit) -> Response<Full<Bytes>> {
        let drain = self.stop.drain();
        limit.extend(drain.deadline());
        tracing::info!("draining, asked for at the admin port");
        let emptied = async {
            for operation in self.operations.all() {
                operation.hub.emptied().await;
            }
        };
        let parked = || self.operations.all().iter().map(|operation| operation.hub.parked()).sum::<usize>();
        // Whoever is in the last slots is answered within the rest of the grace period.
        let _ = tokio::time::timeout_at(drain.deadline(), emptied).await;
        text(StatusCode::OK, format!("drained, {} requests are parked\n", parked()))
    }
}

/// No such method at this path (RFC 9110, section 15.5.6, wants `Allow`), or no such path.
fn neither(method: &str, path: &str) -> Response<Full<Bytes>> {
    if let Some((_, methods)) = PATHS.iter().find(|(known, _)| *known == path) {
        let detail = format!("{method} is not for {path}: send {methods}");
        let mut response = refusal(&Problem::new(Kind::MethodNotAllowed, detail));
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(methods));
        return response;
    }
    let paths = PATHS.map(|(path, _)| path).join(" ");
    refusal(&Problem::new(Kind::NotFound, format!("{path} is not here: try {paths}")))
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    typed(status, body, "text/plain; charset=utf-8")
}

/// JSON, whose texts others may have written: shown on terminals.
fn json(body: impl Into<Cow<'static, str>>) -> Response<Full<Bytes>> {
    let body = body.into();
    typed(StatusCode::OK, escape::json(&body).into_owned(), "application/json")
}

fn refusal(refused: &Problem) -> Response<Full<Bytes>> {
    typed(refused.kind.status(), refused.to_json(), problem::MEDIA_TYPE)
}

fn typed(status: StatusCode, body: impl Into<Bytes>, media_type: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
