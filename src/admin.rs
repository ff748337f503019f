//! The port for operators and the kubelet.
//!
//! | request | answer |
//! |---|---|
//! | `GET /livez` | 200 while the process runs |
//! | `GET /readyz` | 200 when ready, else 503 that names what is missing |
//! | `GET /metrics` | Prometheus text format |
//! | `GET /state` | operations, ids, sizes, parked requests, agents in numbers, health of sources, as JSON |
//! | `GET /agents` | which agent holds, lacks or rejects which state, as JSON: [`agents`] |
//! | `GET /log-level` | the level of logs |
//! | `PUT /log-level` | changes it; same host only |
//! | `POST /drain` | answers parked requests over the grace period, and then this one; same host only |
//! | `GET /openapi.json` | the protocol as an OpenAPI 3.1 document |

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus::{Registry, TextEncoder};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use crate::bounds::{ADMIN_BODY_BYTES, ADMIN_CONNECTIONS, HEAD_READ};
use crate::describe::Problem;
use crate::describe::problem::{self, Kind};
use crate::lifecycle::ready::{Gate, Readiness};
use crate::lifecycle::stop::Stop;
use crate::operation::Table;
use crate::telemetry::Level;

mod agents;
pub mod ask;
pub mod state;

/// The protocol of the describe port.
pub const OPENAPI: &str = include_str!("admin/openapi.json");

/// What the admin port knows.
#[derive(Debug)]
pub struct Admin {
    /// All operations.
    pub operations: Arc<Table>,
    /// Whether the process is ready.
    pub gate: Gate,
    /// Begins a drain.
    pub stop: Arc<Stop>,
    /// Changes the level of logs.
    pub level: Level,
    /// All metrics.
    pub registry: Registry,
}

/// Serves the port. Answers also while the process drains; ends with the process.
pub async fn serve(listener: TcpListener, admin: Arc<Admin>, connections: TaskTracker) {
    let places = Arc::new(Semaphore::new(ADMIN_CONNECTIONS));
    loop {
        let place = Arc::clone(&places).acquire_owned().await.ok();
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "could not accept a connection to the admin port");
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                continue;
            }
        };
        let admin = Arc::clone(&admin);
        connections.spawn(async move {
            let service = service_fn(|request| {
                let admin = Arc::clone(&admin);
                async move { Ok::<_, Infallible>(admin.answer(request, peer).await) }
            });
            let mut builder = http1::Builder::new();
            builder.timer(TokioTimer::new()).header_read_timeout(HEAD_READ);
            if let Err(error) = builder.serve_connection(TokioIo::new(stream), service).await {
                tracing::debug!(%error, %peer, "admin connection ended");
            }
            drop(place);
        });
    }
}

impl Admin {
    async fn answer(&self, request: Request<Incoming>, peer: SocketAddr) -> Response<Full<Bytes>> {
        let changes = matches!(request.uri().path(), "/log-level" | "/drain")
            && !matches!(*request.method(), Method::GET | Method::HEAD);
        if changes && !peer.ip().to_canonical().is_loopback() {
            let detail =
                format!("{} changes something: ask from the same host or pod, not from {peer}", request.uri().path());
            return refusal(&Problem::new(Kind::LoopbackOnly, detail));
        }
        match (request.method().as_str(), request.uri().path()) {
            ("GET" | "HEAD", "/livez") => text(StatusCode::OK, "ok\n"),
            ("GET" | "HEAD", "/readyz") => self.ready(),
            ("GET" | "HEAD", "/metrics") => self.metrics(),
            ("GET" | "HEAD", "/state") => json(state::of(&self.operations.all()).to_string()),
            ("GET" | "HEAD", "/agents") => {
                match agents::of(&self.operations.all(), request.uri().query().unwrap_or("")) {
                    Ok(page) => json(page.to_string()),
                    Err(problem) => refusal(&problem),
                }
            }
            ("GET" | "HEAD", "/openapi.json") => json(OPENAPI),
            ("GET" | "HEAD", "/log-level") => text(StatusCode::OK, self.level.get() + "\n"),
            ("PUT", "/log-level") => self.set_level(request).await,
            ("POST", "/drain") => self.drain().await,
            (
                method,
                "/livez" | "/readyz" | "/metrics" | "/state" | "/agents" | "/openapi.json" | "/log-level" | "/drain",
            ) => {
                refusal(&Problem::new(Kind::MethodNotAllowed, format!("{method} is not for {}", request.uri().path())))
            }
            (_, path) => {
                let detail = format!(
                    "{path} is not here: try /livez /readyz /metrics /state /agents /log-level /drain /openapi.json"
                );
                refusal(&Problem::new(Kind::NotFound, detail))
            }
        }
    }

    fn ready(&self) -> Response<Full<Bytes>> {
        match self.gate.check(self.operations.missing()) {
            Readiness::Ready { missing } if missing.is_empty() => text(StatusCode::OK, "ok\n"),
            Readiness::Ready { missing } => {
                text(StatusCode::OK, format!("ok, but without a snapshot of: {}\n", missing.join(", ")))
            }
            Readiness::Waiting { missing } => {
                text(StatusCode::SERVICE_UNAVAILABLE, format!("waiting for a snapshot of: {}\n", missing.join(", ")))
            }
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

    async fn set_level(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let Ok(body) = Limited::new(request.into_body(), ADMIN_BODY_BYTES).collect().await else {
            let detail = format!("send a level in at most {ADMIN_BODY_BYTES} bytes");
            return refusal(&Problem::new(Kind::BodyTooLarge, detail));
        };
        let body = body.to_bytes();
        let level = String::from_utf8_lossy(&body);
        match self.level.set(level.trim()) {
            Ok(()) => {
                tracing::info!(level = level.trim(), "log level changed");
                text(StatusCode::OK, self.level.get() + "\n")
            }
            Err(error) => refusal(&Problem::new(Kind::BadParameter, crate::telemetry::chain(&error))),
        }
    }

    async fn drain(&self) -> Response<Full<Bytes>> {
        let drain = self.stop.drain();
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

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    typed(status, body, "text/plain; charset=utf-8")
}

fn json(body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    typed(StatusCode::OK, body, "application/json")
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
