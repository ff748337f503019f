//! The ports of exchanges: consumers' requests, and what is below the endpoint of an exchange.
//!
//! | request | goes to |
//! |---|---|
//! | a consumer's, on the path of an exchange | [`consumer`]: the answer of a worker, or 303, 202, or a problem |
//! | `<endpoint>/work/<item>` | [`work`]: the same for who comes back; `DELETE` |
//! | `POST <endpoint>/claims`, `/claims/<claim>`, `/claims/<claim>/beat`, `/push` | [`claims`]: workers that poll |
//! | `GET <endpoint>/reverse` | [`reverse`]: workers that dial in and are then asked by HTTP |

use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use ipnet::IpNet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::access::Access;
use super::client_address;
use super::connection::ConnectionState;
use super::describe::slot;
use super::head::Framing;
use super::request_body::RequestBody;
use super::response::{Body, response};
use super::unwanted;
use crate::access::policy::ExchangeVerb;
use crate::access::{Caller, IdentityFields, Scheme};
use crate::config;
use crate::describe::problem::Kind;
use crate::describe::{Answer, Problem};
use crate::exchange::Exchange;
use crate::exchange::core::{Client, Key};
use crate::exchange::metrics::Transport;
use crate::exchange::registry::{ExchangeRegistry, Found};
use crate::exchange::workers::WorkerDetails;
use crate::lifecycle::stop;
use crate::protocol::fields::IDEMPOTENCY_KEY;

mod bodies;
mod claims;
mod consumer;
mod handed;
mod message;
mod outcome;
mod parked;
mod plain;
mod prefer;
pub mod raw;
mod request;
mod reverse;
mod work;

pub use bodies::WorkerBody;
pub(super) use parked::{ParkedRequest, park, resume};
use prefer::Preferences;

/// All exchanges, and what their requests need.
#[derive(Debug, Default)]
pub struct Exchanges {
    registry: Arc<ExchangeRegistry>,
    trusted: Box<[IpNet]>,
    identity: Arc<IdentityFields>,
    /// Where connections of workers run.
    tasks: TaskTracker,
    /// Ends them at once.
    cut: CancellationToken,
}

/// What a request to an exchange is.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) exchange: Arc<Exchange>,
    at: At,
}

/// Where it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
enum At {
    /// The path of consumers.
    Path(Option<Key>),
    /// Below the endpoint.
    Endpoint(Box<str>),
}

/// The head of a request, and who sends it.
struct Received<'a> {
    exchange: &'a Arc<Exchange>,
    /// How it was configured when the request came.
    config: Arc<config::Exchange>,
    exchanges: &'a Exchanges,
    caller: Caller,
    peer: SocketAddr,
    scheme: Scheme,
    parts: Parts,
}

/// A request on the connection that its answer goes to.
struct Arrived<'a> {
    received: Received<'a>,
    access: &'a Access,
    connection: &'a ConnectionState,
    stop: &'a stop::Watch,
}

impl<'a> Deref for Arrived<'a> {
    type Target = Received<'a>;

    fn deref(&self) -> &Received<'a> {
        &self.received
    }
}

/// An answer, and whether all of the request was read.
pub(super) struct Answered {
    pub(super) response: Response<Body>,
    pub(super) is_read: bool,
    pub(super) held: Duration,
}

impl Exchanges {
    /// These exchanges. Forwarding fields of peers within `trusted` count; workers learn who sends a request by the fields in
    /// `identity`. Connections of workers run on `tasks`, and end at once when `cut` is cancelled.
    #[must_use]
    pub fn new(
        registry: Arc<ExchangeRegistry>,
        trusted: &[IpNet],
        identity: IdentityFields,
        tasks: TaskTracker,
        cut: CancellationToken,
    ) -> Self {
        Self { registry, trusted: trusted.into(), identity: Arc::new(identity), tasks, cut }
    }

    /// Which there are.
    #[must_use]
    pub fn registry(&self) -> &ExchangeRegistry {
        &self.registry
    }

    /// The exchange that a path belongs to.
    pub(super) fn find(&self, path: &str) -> Option<Asked> {
        Some(match self.registry.find(path)? {
            Found::Path(exchange, key) => Asked { exchange, at: At::Path(key) },
            Found::Endpoint(exchange, rest) => Asked { exchange, at: At::Endpoint(rest) },
        })
    }
}

impl Asked {
    /// Whether a request with this head is parked where it waits: not one whose body is read first, or that is answered at once.
    pub(super) fn parks(&self, parts: &Parts, framing: Framing) -> bool {
        let (config, method, headers) = (self.exchange.config(), &parts.method, &parts.headers);
        match &self.at {
            At::Path(_) => {
                let is_stored = headers.contains_key(IDEMPOTENCY_KEY) || Preferences::of(headers).respond_async;
                !is_stored && consumer::is_listed(&config, method)
            }
            At::Endpoint(_) if framing != Framing::Length(0) => false,
            At::Endpoint(rest) if **rest == *"claims" => method == Method::POST && config.transports.claims,
            At::Endpoint(rest) => method == Method::GET && rest.starts_with("work/"),
        }
    }

    /// Whether a worker waits for a consumer's request, so that it does not wait itself.
    pub(super) fn is_served_at_once(&self) -> bool {
        matches!(&self.at, At::Path(key) if self.exchange.has_free_slot(key.as_ref()))
    }

    /// The exchange's name.
    pub(super) fn name(&self) -> &str {
        self.exchange.name()
    }

    /// What its sender does.
    pub(super) fn verb(&self) -> ExchangeVerb {
        match &self.at {
            At::Path(_) => ExchangeVerb::Submit,
            At::Endpoint(rest) if rest.starts_with("work/") => ExchangeVerb::Submit,
            At::Endpoint(_) => ExchangeVerb::Work,
        }
    }
}

/// Answers a request whose caller may do this.
pub(super) async fn answer(
    exchanges: &Exchanges,
    Asked { exchange, at }: Asked,
    (access, caller): (&Access, Caller),
    (connection, stop): (&ConnectionState, &stop::Watch),
    (parts, body): (Parts, RequestBody),
) -> Answered {
    let arrived = Arrived::new((exchanges, &exchange), (access, caller), (connection, stop), parts);
    let rest = match at {
        At::Path(key) => return consumer::answer(arrived, key, body).await,
        At::Endpoint(rest) => rest,
    };
    let steps: Vec<_> = rest.split('/').collect();
    let transports = exchange.config().transports;
    // Who has a claim may answer it, also where nobody is to poll any more.
    let has_claims = transports.claims || exchange.is_busy();
    match &steps[..] {
        ["work", item] => work::answer(arrived, item, body).await,
        ["claims"] if transports.claims => claims::poll(arrived, body).await,
        ["claims", claim] if has_claims => claims::result(arrived, claim, body).await,
        ["claims", claim, "beat"] if has_claims => claims::beat(arrived, claim, body).await,
        ["push"] if transports.claims => claims::push(arrived, body).await,
        ["reverse"] if transports.http1 || transports.http2 => reverse::answer(arrived, body).await,
        _ => {
            let detail = format!(
                "nothing of exchange {} is here: below {} there are work/ITEM, claims, push and reverse, as far as its \
                 transports allow it",
                exchange.config().name,
                exchange.config().endpoint
            );
            arrived.refuse(Problem::new(Kind::NotFound, detail), body).await
        }
    }
}

impl Received<'_> {
    /// Whose turn it is: its identity, or its address.
    fn client(&self) -> Client {
        if let Some(identity) = self.caller.identity() {
            return Arc::clone(identity);
        }
        client_address::of_client(&self.parts.headers, self.peer.ip(), &self.exchanges.trusted).to_string().into()
    }

    /// The worker that sends it, with so many slots.
    fn worker(&self, transport: Transport, agent: Option<&Arc<str>>, slots: usize) -> WorkerDetails {
        WorkerDetails::new(transport, (self.caller.identity(), agent), self.peer, slots)
    }
}

impl<'a> Arrived<'a> {
    fn new(
        (exchanges, exchange): (&'a Exchanges, &'a Arc<Exchange>),
        (access, caller): (&'a Access, Caller),
        (connection, stop): (&'a ConnectionState, &'a stop::Watch),
        parts: Parts,
    ) -> Self {
        let (peer, scheme) = (connection.client.peer, connection.client.scheme);
        let received = Received { exchange, config: exchange.config(), exchanges, caller, peer, scheme, parts };
        Self { received, access, connection, stop }
    }

    /// Why a request that has waited is given nothing: its caller was let in, and may no longer.
    fn lost(&self) -> Option<Problem> {
        self.caller.lost().map(|loss| self.access.lost(loss))
    }

    /// The answer to a request that is not looked at further.
    async fn refuse(&self, problem: Problem, body: RequestBody) -> Answered {
        let is_read = unwanted::read(body, &self.parts).await;
        Answered { response: problem_response(&problem), is_read, held: Duration::ZERO }
    }

    /// 405.
    async fn refuse_method(&self, allow: &'static str, detail: String, body: RequestBody) -> Answered {
        let mut answered = self.refuse(Problem::new(Kind::MethodNotAllowed, detail), body).await;
        answered.response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
        answered
    }

    /// Waits until the process drains, or closes: when it is answered then.
    async fn drained(&self) -> Instant {
        let mut stop = self.stop.clone();
        Instant::from_std(slot(stop.left(stop::Phase::default()).await))
    }

    /// Waits until it is answered as the process stops: then, if that is known.
    async fn drain_slot(&self, known: Option<Instant>) {
        let at = match known {
            Some(at) => at,
            None => self.drained().await,
        };
        sleep_until(at).await;
    }
}

impl Answered {
    /// An answer to a request of which nothing is left to be read.
    pub(super) fn of(response: Response<Body>) -> Self {
        Self { response, is_read: true, held: Duration::ZERO }
    }
}

fn problem_response(problem: &Problem) -> Response<Body> {
    response(Answer::problem(problem, fastrand::f64()), None)
}

/// An answer of our own without a body.
fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    // All of these come from a head that was checked, or are made of letters and digits.
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// A parameter of the query, decoded.
fn parameter(parts: &Parts, name: &str) -> Option<String> {
    let query = parts.uri.query()?;
    query.split('&').find_map(|pair| {
        let (found, value) = pair.split_once('=').unwrap_or((pair, ""));
        (found == name).then(|| percent_encoding::percent_decode_str(value).decode_utf8_lossy().into_owned())
    })
}

/// Whether the query has no parameters but these, each once and with a value.
fn only(parts: &Parts, known: &[&str]) -> Result<(), Problem> {
    let mut seen: Vec<&str> = Vec::new();
    for pair in parts.uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let Some(name) = known.iter().find(|known| **known == name) else {
            let name: String = name.chars().take(64).collect();
            let remedy = match known {
                [] => "there are no parameters here: leave it out, an answer is told by its header fields".to_owned(),
                known => format!("there is no such parameter here: give {}", known.join(", ")),
            };
            return Err(Problem::parameter(&name, value, &remedy));
        };
        if seen.contains(name) {
            return Err(Problem::parameter(name, value, "it stands twice or more: give it once"));
        }
        // How long to wait is read by who knows the form.
        if value.is_empty() && *name != "wait" {
            return Err(Problem::parameter(name, value, "it has no value: give one, or leave it out"));
        }
        seen.push(name);
    }
    Ok(())
}

/// The seconds of `wait`, at most `most`.
fn wait(parts: &Parts, default: Duration, most: Duration) -> Result<Duration, Problem> {
    match parameter(parts, "wait") {
        None => Ok(default.min(most)),
        Some(text) => match text.parse() {
            Ok(seconds) => Ok(Duration::from_secs(seconds).min(most)),
            Err(_) => Err(Problem::parameter("wait", &text, "give whole seconds, as wait=25")),
        },
    }
}

/// Whether a method is GET or HEAD.
fn is_read_only(method: &Method) -> bool {
    *method == Method::GET || *method == Method::HEAD
}
