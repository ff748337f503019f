//! The transparent reverse proxy: everything that is not a describe request goes to the app and
//! comes back as it is, streaming both ways.
//!
//! ```text
//! client -- forward --> Upload (its body) --> connection of HTTP/1.1, pooled ----------> app
//!                                         or  stream of HTTP/2 on a shared one (http2) -->
//!        <- ProxyBody <---------------------- head, within a time -----------------------
//! ```
//!
//! - An answer that comes before its request has been read leaves an upload behind; it is cut
//!   once it stops moving ([`UPLOAD_LINGER`](crate::bounds::UPLOAD_LINGER)), so that neither the
//!   client's connection nor the app's stays for ever (hyper#4176). See [`body`].
//! - A pooled connection that the app closed while it was idle is replaced without the client
//!   noticing, where the request may be repeated: idempotent (RFC 9110, section 9.2.2), without a
//!   body. One that an app of HTTP/2 says it has not looked at is repeated once, if it has no body.
//! - `Expect: 100-continue` works end to end: the body is asked for when the app says 100. Other
//!   1xx answers, such as 103, end here, since hyper's server cannot send them.
//! - Trailers pass where `Trailer` announces them and, on the way back, the client sent
//!   `TE: trailers`; hyper drops others, as RFC 9110, section 6.5.1, allows.

use std::sync::Arc;
use std::time::Duration;

use http::header::EXPECT;
use http::request::Parts;
use http::uri::Authority;
use http::{Request, Response, StatusCode, Version};
use hyper::body::Body as _;
use ipnet::IpNet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::answer::{Link, UpstreamBody};
use self::connect::{Connector, Cut};
use self::metrics::{ProxyOutcome, Tally};
use self::outbound::Outbound;
use self::tasks::Tasks;
use self::upload::{Progress, Upload};
use crate::access::{Caller, Connection, IdentityFields};
use crate::config::{Protocol, Upstream};
use crate::http::forwarded::{self, CallerFields, Peer};
use crate::http::request_body::RequestBody;

pub mod answer;
mod body;
mod connect;
mod error;
mod http1;
mod http2;
mod metrics;
mod outbound;
mod tasks;
mod tunnel;

pub(in crate::http) use body::Idle;
mod upload;

pub use self::answer::ProxyBody;
pub use self::body::BodyError;
pub use self::error::ProxyError;
pub use self::metrics::Metrics;

/// Forwards requests to one app. Cheap to clone; clones share connections.
#[derive(Debug, Clone)]
pub struct Proxy {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    app: Authority,
    trusted: Box<[IpNet]>,
    identity: Arc<IdentityFields>,
    head_timeout: Duration,
    idle_timeout: Option<Duration>,
    way: Way,
    /// Where what belongs to connections to the app runs.
    connections: Tasks,
    metrics: Metrics,
    tasks: Tasks,
}

/// How the app is spoken to.
#[derive(Debug)]
enum Way {
    Http1(http1::Pool),
    Http2(http2::Pool),
}

/// What one attempt came to.
struct Attempt {
    response: Response<UpstreamBody>,
    /// Ends the connection, or the stream, if that goes on beside the answer.
    connection: Option<Cut>,
    upload: Option<Arc<Progress>>,
}

/// Why one attempt came to nothing.
struct Failure {
    error: ProxyError,
    sent: Sent,
}

/// What the app may have seen of a request that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sent {
    /// Perhaps all of it.
    Perhaps,
    /// Probably nothing: it went to a connection that the app may have closed before.
    Stale,
    /// The app reports that it has not processed the request.
    Refused,
}

impl Proxy {
    /// A proxy to the app at `upstream`. The forwarding fields of peers within `trusted` count
    /// before them. The app learns who sends a request by the fields in `identity`.
    ///
    /// Tunnels and the rest of unfinished uploads run on `tasks`; connections to the app are not
    /// counted there, so that waiting for `tasks` does not wait for idle ones. All of them end at
    /// once when `stop` is cancelled, but those on which an answer comes, which end with it or with
    /// their client: cancel it when the time for draining is over.
    #[must_use]
    pub fn new(
        upstream: &Upstream,
        trusted: &[IpNet],
        identity: IdentityFields,
        metrics: Metrics,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        let tasks = Tasks::new(tasks, stop);
        let connections = tasks.apart();
        let connector = Connector::new(upstream.connect_timeout, upstream.protocol, metrics.clone());
        let way = match upstream.protocol {
            Protocol::Http1 => Way::Http1(http1::Pool::new(upstream.authority.clone(), connector, connections.clone())),
            Protocol::Http2 => {
                let limit = upstream.connect_timeout;
                Way::Http2(http2::Pool::new(upstream.authority.clone(), connector, limit, connections.clone()))
            }
        };
        let shared = Shared {
            app: upstream.authority.clone(),
            trusted: trusted.into(),
            identity: Arc::new(identity),
            head_timeout: upstream.response_head_timeout,
            idle_timeout: upstream.body_idle_timeout,
            way,
            connections,
            metrics,
            tasks,
        };
        Self { shared: Arc::new(shared) }
    }

    /// Forwards `request`, which `caller` has sent on `connection`, and gives the head of the app's answer with
    /// a body that streams. Dropping the future or the body lets go of the app.
    ///
    /// The request has passed the gate: it is framed beyond doubt, and is neither CONNECT nor TRACE.
    pub async fn forward(
        &self,
        request: Request<RequestBody>,
        connection: &Connection,
        caller: Caller,
    ) -> Result<Response<ProxyBody>, ProxyError> {
        let mut tally = Tally::new(&self.shared.metrics);
        let result = self.shared.forward(request, (connection, caller), &mut tally).await;
        match result {
            Ok((response, link)) => {
                let idle = self.shared.idle_timeout;
                Ok(response.map(|body| ProxyBody::new(body, idle, tally, link)))
            }
            Err(error) => {
                tally.set(error.outcome());
                Err(error)
            }
        }
    }
}

impl Shared {
    async fn forward(
        &self,
        mut request: Request<RequestBody>,
        (connection, caller): (&Connection, Caller),
        tally: &mut Tally,
    ) -> Result<(Response<UpstreamBody>, Option<Link>), ProxyError> {
        let http1 = request.version() == Version::HTTP_11;
        // With a body, bytes of the request could be taken for the first of the tunnel; a server
        // may ignore Upgrade (RFC 9110, section 7.8).
        let upgradable = http1 && request.body().is_end_stream() && matches!(self.way, Way::Http1(_));
        let wanted = if upgradable { forwarded::upgrade(request.headers()) } else { None };
        let client = wanted.is_some().then(|| hyper::upgrade::on(&mut request));

        let protocol = match self.way {
            Way::Http1(_) => Protocol::Http1,
            Way::Http2(_) => Protocol::Http2,
        };
        let identity = CallerFields { names: Arc::clone(&self.identity), caller };
        let peer = Peer::new(connection.peer.ip(), connection.scheme.as_str(), &self.trusted, identity);
        let outbound = Outbound::new(request, &peer, wanted, &self.app, protocol);
        let Attempt { mut response, connection, upload } = Box::pin(self.send(outbound)).await?;

        let switching = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        if switching {
            let Some(client) = client else {
                return Err(self.broken("the app answered 101 to a request that asked for no other protocol"));
            };
            tally.set(ProxyOutcome::Upgraded);
            let app = hyper::upgrade::on(&mut response);
            self.tasks.spawn(tunnel::run(client, app, self.metrics.clone()));
        }
        let tells_upgrade = switching || response.status() == StatusCode::UPGRADE_REQUIRED;
        forwarded::to_client(response.headers_mut(), tells_upgrade && http1);
        // The version of a hop is its own (RFC 9110, section 2.5), also where the app speaks 1.0.
        *response.version_mut() = Version::HTTP_11;
        let link = connection.zip(upload).map(|(connection, progress)| Link::new(&self.tasks, connection, progress));
        Ok((response, link))
    }

    /// Sends a request; again where the app has not seen it, or may have closed the connection
    /// before it came. Of the latter each takes one connection out of the pool, so this ends.
    async fn send(&self, mut outbound: Outbound) -> Result<Attempt, ProxyError> {
        let mut refused = false;
        loop {
            let upgrade = outbound.upgrade;
            let again = (outbound.body.is_none() && !upgrade).then(|| outbound.parts.clone());
            let Failure { error, sent } = match self.attempt(outbound).await {
                Ok(attempt) => return Ok(attempt),
                Err(failure) => failure,
            };
            let again = again.filter(|parts| match sent {
                Sent::Perhaps => false,
                Sent::Stale => parts.method.is_idempotent(),
                Sent::Refused => !std::mem::replace(&mut refused, true),
            });
            let Some(parts) = again else { return Err(error) };
            self.metrics.retried();
            outbound = Outbound { parts, body: None, upgrade };
        }
    }

    /// Sends a request once.
    async fn attempt(&self, outbound: Outbound) -> Result<Attempt, Failure> {
        let Outbound { parts, body, .. } = outbound;
        let expects =
            parts.headers.get(EXPECT).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
        let (body, upload) = match body {
            Some(body) => {
                let (body, progress) = Upload::new(body, expects, self.idle_timeout, &self.identity, &self.tasks);
                (body, Some(progress))
            }
            None => (Upload::empty(), None),
        };
        match &self.way {
            Way::Http1(pool) => {
                let expecting = upload.clone().filter(|_| expects);
                self.by_http1(pool, Request::from_parts(parts, body), upload, expecting).await
            }
            Way::Http2(pool) => self.by_http2(pool, parts, body, upload).await,
        }
    }

    async fn by_http1(
        &self,
        pool: &http1::Pool,
        mut request: Request<Upload>,
        upload: Option<Arc<Progress>>,
        expecting: Option<Arc<Progress>>,
    ) -> Result<Attempt, Failure> {
        if let Some(progress) = expecting {
            hyper::ext::on_informational(&mut request, move |response| {
                if response.status() == StatusCode::CONTINUE {
                    progress.go_on();
                }
            });
        }
        let mut was_used = false;
        let answer = async {
            pool.send(request).await.map_err(|failed| {
                was_used = matches!(&failed, http1::Failed::Broken { was_used: true, .. });
                ProxyError::of_exchange(&self.app, failed)
            })
        };
        let result = self.head(answer, upload.as_deref()).await;
        match result {
            Ok(answer) => {
                if let Some(codings) = forwarded::codings(answer.headers()) {
                    return Err(Failure { error: ProxyError::coded(&self.app, &codings), sent: Sent::Perhaps });
                }
                let (response, connection) = pool.answered(answer, upload.as_deref());
                Ok(Attempt { response: response.map(UpstreamBody::Http1), connection, upload })
            }
            Err(error) => {
                let stale = matches!(error, ProxyError::Broken { .. }) && was_used;
                Err(Failure { error, sent: if stale { Sent::Stale } else { Sent::Perhaps } })
            }
        }
    }

    async fn by_http2(
        &self,
        pool: &http2::Pool,
        parts: Parts,
        mut body: Upload,
        upload: Option<Arc<Progress>>,
    ) -> Result<Attempt, Failure> {
        let perhaps = |error| Failure { error, sent: Sent::Perhaps };
        let mut odd = false;
        let mut exchange = loop {
            let place = pool.place().await.map_err(|error| perhaps(ProxyError::no_connection(&self.app, error)))?;
            let (fresh, request) = (!place.was_used(), Request::from_parts(parts.clone(), ()));
            match http2::open(place, request, body, upload.clone(), &self.connections) {
                Ok(exchange) => break exchange,
                // The connection closes, or has no number left for a stream: nothing was sent.
                Err(unsent) => {
                    let (unsent, error) = *unsent;
                    let closing = error.is_go_away() || error.is_io();
                    if (fresh || !closing) && std::mem::replace(&mut odd, true) {
                        return Err(perhaps(ProxyError::of_stream(&self.app, http2::Failed::Stream(error))));
                    }
                    body = unsent;
                }
            }
        };
        let (mut refused, was_used) = (false, exchange.was_used());
        let head = async {
            exchange.head().await.map_err(|failed| {
                refused = matches!(&failed, http2::Failed::Stream(error) if http2::was_refused(error));
                ProxyError::of_stream(&self.app, failed)
            })
        };
        let result = self.head(head, upload.as_deref()).await;
        match result {
            Ok(response) => {
                let response = response.map(UpstreamBody::Http2);
                Ok(Attempt { response, connection: Some(exchange.answered()), upload })
            }
            Err(error) => {
                if matches!(error, ProxyError::Timeout { .. }) {
                    exchange.timed_out();
                }
                let stale = matches!(error, ProxyError::Broken { .. }) && was_used;
                let sent = if refused {
                    Sent::Refused
                } else if stale {
                    Sent::Stale
                } else {
                    Sent::Perhaps
                };
                Err(Failure { error, sent })
            }
        }
    }

    /// Waits for the head of the answer: without a limit while the upload moves, then for the
    /// configured time. An app that neither reads nor answers is given no more than that.
    async fn head<T>(
        &self,
        response: impl Future<Output = Result<T, ProxyError>>,
        upload: Option<&Progress>,
    ) -> Result<T, ProxyError> {
        tokio::pin!(response);
        let patience = self.idle_timeout.map_or(self.head_timeout, |idle| idle.min(self.head_timeout));
        if let Some(upload) = upload {
            tokio::select! {
                biased;
                result = &mut response => return result,
                () = upload.done() => {}
                () = upload.refused(patience) => {
                    return Err(ProxyError::Stalled { app: self.app.clone(), waited: patience });
                }
            }
        }
        match tokio::time::timeout(self.head_timeout, response).await {
            Ok(result) => result,
            Err(_) => Err(ProxyError::Timeout { app: self.app.clone(), waited: self.head_timeout }),
        }
    }

    fn broken(&self, what: &'static str) -> ProxyError {
        ProxyError::Broken { app: self.app.clone(), source: what.into() }
    }
}
