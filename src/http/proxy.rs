//! The transparent reverse proxy: everything that is not a describe request goes to the app and
//! comes back as it is, streaming both ways.
//!
//! ```text
//! client -- forward --> Upload (its body) --> pooled HTTP/1.1 connection --> app
//!        <- ProxyBody <---------------------- head, within a time -----------
//! ```
//!
//! - An answer that comes before its request has been read leaves an upload behind; it is cut
//!   once it stops moving ([`UPLOAD_LINGER`](crate::bounds::UPLOAD_LINGER)), so that neither the
//!   client's connection nor the app's stays for ever (hyper#4176). See [`body`].
//! - A pooled connection that the app closed while it was idle is replaced without the client
//!   noticing, where the request may be repeated: idempotent (RFC 9110, section 9.2.2), without a body.
//! - `Expect: 100-continue` works end to end: the body is asked for when the app says 100. Other
//!   1xx answers end here, since hyper's server cannot send them.
//! - Trailers pass where `Trailer` announces them and, on the way back, the client said
//!   `TE: trailers`; hyper drops others, as RFC 9110, section 6.5.1, allows.

use std::sync::Arc;
use std::time::Duration;

use http::header::{EXPECT, HeaderValue, TRANSFER_ENCODING};
use http::request::Parts;
use http::uri::{Authority, PathAndQuery, Scheme, Uri};
use http::{Request, Response, StatusCode, Version};
use hyper::body::{Body as _, Incoming};
use hyper_util::client::legacy::{Client, ResponseFuture};
use ipnet::IpNet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::body::{Link, Upload};
use self::connect::{Connector, Handle, Pending};
use self::metrics::{Outcome, Tally};
use self::tasks::Tasks;
use self::upload::Progress;
use crate::access::Connection;
use crate::config::Upstream;
use crate::http::forwarded::{self, Peer};

pub mod body;
mod connect;
mod error;
mod metrics;
mod tasks;
mod tunnel;
mod upload;

pub use self::body::{BodyError, ProxyBody};
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
    head_timeout: Duration,
    idle_timeout: Option<Duration>,
    client: Client<Connector, Upload>,
    metrics: Metrics,
    tasks: Tasks,
}

/// A request on its way: what is needed to send it, perhaps again.
struct Outbound {
    parts: Parts,
    body: Option<Incoming>,
    /// Whether sending it twice is as good as once.
    repeatable: bool,
}

/// What one attempt came to.
struct Attempt {
    response: Response<Incoming>,
    connection: Option<Handle>,
    upload: Option<Arc<Progress>>,
}

impl Proxy {
    /// A proxy to the app at `upstream`. Peers within `trusted` are believed about who asked
    /// before them.
    ///
    /// Tunnels and the rest of unfinished uploads run on `tasks`; connections to the app are not
    /// counted there, so that waiting for `tasks` does not wait for idle ones. All of them end at
    /// once when `stop` is cancelled: cancel it when the time for draining is over.
    #[must_use]
    pub fn new(
        upstream: &Upstream,
        trusted: &[IpNet],
        metrics: Metrics,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        let tasks = Tasks::new(tasks, stop);
        let shared = Shared {
            app: upstream.authority.clone(),
            trusted: trusted.into(),
            head_timeout: upstream.response_head_timeout,
            idle_timeout: upstream.body_idle_timeout,
            client: connect::client(upstream.connect_timeout, metrics.clone(), &tasks),
            metrics,
            tasks,
        };
        Self { shared: Arc::new(shared) }
    }

    /// Forwards `request`, which came on `connection`, and gives the head of the app's answer with
    /// a body that streams. Dropping the future or the body lets go of the app.
    ///
    /// The request has passed the gate: it is framed beyond doubt, and is neither CONNECT nor TRACE.
    pub async fn forward(
        &self,
        request: Request<Incoming>,
        connection: &Connection,
    ) -> Result<Response<ProxyBody>, ProxyError> {
        let mut tally = Tally::new(&self.shared.metrics);
        let result = self.shared.forward(request, connection, &mut tally).await;
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
        mut request: Request<Incoming>,
        connection: &Connection,
        tally: &mut Tally,
    ) -> Result<(Response<Incoming>, Option<Link>), ProxyError> {
        let http1 = request.version() == Version::HTTP_11;
        // With a body, bytes of the request could be taken for the first of the tunnel; a server
        // may ignore Upgrade (RFC 9110, section 7.8).
        let upgradable = http1 && request.body().is_end_stream();
        let wanted = if upgradable { forwarded::upgrade(request.headers()) } else { None };
        let client = wanted.is_some().then(|| hyper::upgrade::on(&mut request));

        let outbound = self.outbound(request, connection, wanted);
        let Attempt { mut response, connection, upload } = Box::pin(self.send(outbound)).await?;

        let switching = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        if switching {
            let Some(client) = client else {
                return Err(self.broken("the app answered 101 to a request that asked for no other protocol"));
            };
            tally.set(Outcome::Upgraded);
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

    /// The request as the app gets it.
    fn outbound(&self, request: Request<Incoming>, connection: &Connection, upgrade: Option<HeaderValue>) -> Outbound {
        let (mut parts, body) = request.into_parts();
        if parts.version == Version::HTTP_2 {
            let authority = parts.uri.authority().and_then(|found| HeaderValue::from_str(found.as_str()).ok());
            forwarded::from_http2(&mut parts.headers, authority);
        }
        let repeatable = parts.method.is_idempotent() && body.is_end_stream() && upgrade.is_none();
        forwarded::to_app(
            &mut parts.headers,
            &Peer::new(connection.peer.ip(), connection.scheme.as_str(), &self.trusted),
            upgrade,
        );
        parts.uri = self.target(&parts.uri);
        parts.version = Version::HTTP_11;
        let body = (!body.is_end_stream()).then_some(body);
        if body.as_ref().is_some_and(|body| body.size_hint().exact().is_none()) {
            // Said here, since hyper sends a GET of unknown length without its body.
            parts.headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        Outbound { parts, body, repeatable }
    }

    /// Where hyper's client sends a request; of this it writes path and query, byte for byte.
    fn target(&self, uri: &Uri) -> Uri {
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(Scheme::HTTP);
        parts.authority = Some(self.app.clone());
        parts.path_and_query = Some(uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/")));
        Uri::from_parts(parts).expect("scheme, authority and path make a URI")
    }

    /// Sends a request; again while connections turn out to have been closed by the app before
    /// it came. Each attempt takes one connection out of the pool, so this ends.
    async fn send(&self, mut outbound: Outbound) -> Result<Attempt, ProxyError> {
        loop {
            let again = outbound.repeatable.then(|| outbound.parts.clone());
            let (error, stale) = match self.attempt(outbound).await {
                Ok(attempt) => return Ok(attempt),
                Err(failed) => failed,
            };
            match again {
                Some(parts) if stale => {
                    self.metrics.retried();
                    outbound = Outbound { parts, body: None, repeatable: true };
                }
                Some(_) | None => return Err(error),
            }
        }
    }

    /// Sends a request once. A failure says whether it was on a connection that the app may have
    /// closed before.
    async fn attempt(&self, outbound: Outbound) -> Result<Attempt, (ProxyError, bool)> {
        let Outbound { parts, body, .. } = outbound;
        let expects =
            parts.headers.get(EXPECT).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
        let (body, upload) = match body {
            Some(body) => {
                let (body, progress) = Upload::new(body, expects, self.idle_timeout, &self.tasks);
                (body, Some(progress))
            }
            None => (Upload::empty(), None),
        };
        let mut request = Request::from_parts(parts, body);
        if let Some(progress) = upload.clone().filter(|_| expects) {
            hyper::ext::on_informational(&mut request, move |response| {
                if response.status() == StatusCode::CONTINUE {
                    progress.go_on();
                }
            });
        }
        let pending = Pending::new(&mut request);
        match self.head(self.client.request(request), upload.as_deref()).await {
            Ok(response) => Ok(Attempt { response, connection: pending.answered(), upload }),
            Err(error) => {
                let stale = matches!(error, ProxyError::Broken { .. }) && pending.was_used();
                Err((error, stale))
            }
        }
    }

    /// Waits for the head of the answer: without a limit while the upload moves, then for the
    /// configured time. An app that neither reads nor answers is given no more than that.
    async fn head(
        &self,
        response: ResponseFuture,
        upload: Option<&Progress>,
    ) -> Result<Response<Incoming>, ProxyError> {
        tokio::pin!(response);
        let patience = self.idle_timeout.map_or(self.head_timeout, |idle| idle.min(self.head_timeout));
        if let Some(upload) = upload {
            tokio::select! {
                biased;
                result = &mut response => return result.map_err(|error| ProxyError::of(&self.app, error)),
                () = upload.done() => {}
                () = upload.refused(patience) => {
                    return Err(ProxyError::Stalled { app: self.app.clone(), waited: patience });
                }
            }
        }
        match tokio::time::timeout(self.head_timeout, response).await {
            Ok(result) => result.map_err(|error| ProxyError::of(&self.app, error)),
            Err(_) => Err(ProxyError::Timeout { app: self.app.clone(), waited: self.head_timeout }),
        }
    }

    fn broken(&self, what: &'static str) -> ProxyError {
        ProxyError::Broken { app: self.app.clone(), source: what.into() }
    }
}
