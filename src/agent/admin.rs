//! The agent's port for operators and the kubelet. It changes nothing, and asks nothing of the server.
//!
//! | request | answer |
//! |---|---|
//! | `GET /livez` | 200 while the agent's own loop goes round |
//! | `GET /readyz` | 200 when the output is whole, be it the last good one, else 503 that says why |
//! | `GET /metrics` | Prometheus text format |
//! | `GET /state` | what `tidewait agent status` reads |

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

pub(super) use self::pulse::Heart;
use self::pulse::Pulse;
use super::age::Stale;
use super::setup::SetupError;
use super::status::Report;
use super::tally::Tally;
use crate::access::Connection;
use crate::admin::listen::{self, Answers, Limit};
use crate::admin::response::{json, metrics, neither, refusal, text};
use crate::bounds::{ADMIN_BODY_BYTES, AGENT_PULSE};
use crate::client::Status;
use crate::describe::Problem;
use crate::describe::problem::Kind;
use crate::sockets;

mod families;
mod pulse;

/// Every path, with the methods it has.
const PATHS: [(&str, &str); 4] =
    [("/livez", "GET, HEAD"), ("/readyz", "GET, HEAD"), ("/metrics", "GET, HEAD"), ("/state", "GET, HEAD")];

/// What the port reads.
#[derive(Debug)]
pub(super) struct Seen {
    /// What the loop says of itself.
    pub(super) report: watch::Receiver<Report>,
    /// What the client does.
    pub(super) status: watch::Receiver<Status>,
    /// What has happened.
    pub(super) tally: Arc<Tally>,
    /// Whether what is held is too old; none: no age is.
    pub(super) stale: Option<Stale>,
}

/// A port that answers. It closes when this is dropped.
#[derive(Debug)]
pub(super) struct Port(#[expect(dead_code, reason = "it owns the task")] JoinSet<()>);

#[derive(Debug)]
struct Answerer {
    seen: Seen,
    pulse: Pulse,
}

/// Listens on an address, if one is wanted. What the loop answers by is there in any case.
pub(super) fn open(address: Option<SocketAddr>, seen: Seen) -> Result<(Option<Port>, Heart), SetupError> {
    let (pulse, heart) = pulse::pulse();
    let Some(address) = address else { return Ok((None, heart)) };
    let (listener, bound) = sockets::listen(address).map_err(|source| SetupError::Listen { address, source })?;
    tracing::info!(admin = %bound, "listening");
    Ok((Some(Port::new(listener, Answerer { seen, pulse })), heart))
}

impl Port {
    fn new(listener: TcpListener, answerer: Answerer) -> Self {
        let mut tasks = JoinSet::new();
        tasks.spawn(listen::serve(listener, Arc::new(answerer), None, TaskTracker::new()));
        Self(tasks)
    }
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
            ("GET" | "HEAD", "/livez") => self.live().await,
            ("GET" | "HEAD", "/readyz") => ready(&self.report()),
            ("GET" | "HEAD", "/metrics") => self.metrics(),
            ("GET" | "HEAD", "/state") => json(self.report().to_json()),
            (method, path) => neither(&PATHS, method, path),
        }
    }

    fn made_room(&self) {
        self.seen.tally.closed();
    }
}

impl Answerer {
    async fn live(&self) -> Response<Full<Bytes>> {
        if self.pulse.beats().await {
            return text(StatusCode::OK, "ok\n");
        }
        let seconds = AGENT_PULSE.as_secs();
        let why = format!("the agent's loop has not gone round for {seconds} s: see whether its disk answers\n");
        text(StatusCode::SERVICE_UNAVAILABLE, why)
    }

    /// What the loop says of itself, and what is known by now, also while a command runs.
    fn report(&self) -> Report {
        let report = self.seen.report.borrow().clone();
        let is_stale = self.seen.stale.as_ref().map(Stale::is_stale);
        Report { is_stale, ..report.with(&self.seen.status.borrow()) }
    }

    fn metrics(&self) -> Response<Full<Bytes>> {
        let now = Instant::now().into_std();
        let (report, counts) = (self.report(), self.seen.tally.counts());
        let families = families::of(&report, &self.seen.status.borrow(), &counts, now);
        metrics(&families)
    }
}

/// Whether who reads the output finds a good one.
fn ready(report: &Report) -> Response<Full<Bytes>> {
    let mut said: Vec<_> = report.faults().into_iter().map(|(_, sentence)| sentence).collect();
    if report.is_whole {
        said.insert(0, "ok".to_owned());
        return text(StatusCode::OK, said.join(", but ") + "\n");
    }
    if report.holds.is_some() && report.broken.is_none() {
        said.insert(0, "the output has not been looked at yet".to_owned());
    }
    text(StatusCode::SERVICE_UNAVAILABLE, said.join("; ") + "\n")
}
