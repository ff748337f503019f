//! The worker's port for operators and the kubelet. It changes nothing.
//!
//! | request | answer |
//! |---|---|
//! | `GET /healthz` | 200 while the process runs |
//! | `GET /readyz` | 200 with a connection to an exchange, or while all that is missing is a free slot, else 503 that says why |
//! | `GET /metrics` | Prometheus text format |

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::task::TaskTracker;

use super::context::Context;
use crate::access::Connection;
use crate::admin::listen::{self, Answers, Limit};
use crate::admin::response::{metrics, neither, refusal, text};
use crate::bounds::ADMIN_BODY_BYTES;
use crate::describe::Problem;
use crate::describe::problem::Kind;

/// Every path, with the methods it has.
const PATHS: [(&str, &str); 3] = [("/healthz", "GET, HEAD"), ("/readyz", "GET, HEAD"), ("/metrics", "GET, HEAD")];

struct Answerer(Arc<Context>);

/// Serves the port until what this gives is dropped.
pub(super) fn serve(listener: TcpListener, context: Arc<Context>) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    tasks.spawn(listen::serve(listener, Arc::new(Answerer(context)), None, TaskTracker::new()));
    tasks
}

impl Answers for Answerer {
    type Body = Full<Bytes>;

    async fn answer(&self, request: Request<Incoming>, _peer: &Connection, _limit: &Limit) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        // Read in any case: a connection that is closed with bytes unread is reset, and its answer may be lost.
        if Limited::new(body, ADMIN_BODY_BYTES).collect().await.is_err() {
            let detail = format!("send at most {ADMIN_BODY_BYTES} bytes");
            return refusal(&Problem::new(Kind::BodyTooLarge, detail));
        }
        match (head.method.as_str(), head.uri.path()) {
            ("GET" | "HEAD", "/healthz") => text(StatusCode::OK, "ok\n"),
            ("GET" | "HEAD", "/readyz") => match missing(&self.0) {
                None => text(StatusCode::OK, "ok\n"),
                Some(why) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
            },
            ("GET" | "HEAD", "/metrics") => metrics(&self.0.metrics.families(self.0.slots.busy())),
            (method, path) => neither(&PATHS, method, path),
        }
    }

    fn made_room(&self) {
        self.0.metrics.closed.inc();
    }
}

/// Why no request can come.
fn missing(context: &Context) -> Option<&'static str> {
    if context.stop.is_cancelled() {
        return Some("the worker ends");
    }
    if !*context.server.up().borrow() {
        return Some("the server cannot be reached (--to)");
    }
    let is_connected = *context.connections.borrow() > 0;
    // Between two connections of one slot each there may be none.
    let is_well = is_connected || (context.has_one_slot_each() && *context.reached.borrow());
    (!is_well).then_some("no exchange is connected (--exchange): see the log")
}
