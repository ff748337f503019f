//! The serving side of the fault-injecting proxy: connections, forwarding, made-up answers.

use std::convert::Infallible;
use std::fmt;
use std::future::pending;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kube::client::ConfigExt as _;
use rustls::pki_types::ServerName;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

use super::flow::{self, Flow};
use super::{Answer, Fault, Seen, listen};

pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;
pub(crate) type Body = UnsyncBoxBody<Bytes, BoxError>;

/// The fault in effect and how many were set before it.
#[derive(Debug)]
pub(crate) struct Setting {
    pub(crate) number: u64,
    pub(crate) fault: Fault,
}

/// What the handle, the connections and the running streams share.
#[derive(Debug)]
pub(crate) struct Shared {
    upstream: Upstream,
    setting: watch::Sender<Setting>,
    seen: watch::Sender<Vec<Seen>>,
    /// Counts the orders to cut.
    cuts: watch::Sender<u64>,
    running: watch::Sender<usize>,
    /// Requests that reach the API server late.
    late: Mutex<JoinSet<()>>,
}

/// The real API server.
pub(crate) struct Upstream {
    host: String,
    port: u16,
    tls: TlsConnector,
    authorization: Option<HeaderValue>,
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Neither the key nor the token.
        write!(f, "Upstream({}:{})", self.host, self.port)
    }
}

impl Upstream {
    pub(crate) fn new(config: &kube::Config, token: Option<&str>) -> Self {
        let mut tls = config.rustls_client_config().expect("the kubeconfig's certificates are valid");
        // One protocol on both sides makes every chunk of a watch a chunk here.
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let authorization =
            token.map(|token| HeaderValue::try_from(format!("Bearer {token}")).expect("a token fits in a header"));
        Self {
            host: config.cluster_url.host().expect("the API server's address has a host").to_owned(),
            port: config.cluster_url.port_u16().unwrap_or(443),
            tls: TlsConnector::from(Arc::new(tls)),
            authorization,
        }
    }

    /// Forwards one request over a connection of its own, which lives as long as the returned tasks.
    async fn forward<B>(&self, mut request: Request<B>) -> Result<(Response<Incoming>, JoinSet<()>), BoxError>
    where
        B: hyper::body::Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
    {
        if let Some(token) = &self.authorization {
            request.headers_mut().entry(AUTHORIZATION).or_insert_with(|| token.clone());
        }
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
        let stream = self.tls.connect(ServerName::try_from(self.host.clone())?, stream).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            // Its error reaches whoever reads the response.
            let _ = connection.await;
        });
        Ok((sender.send_request(request).await?, tasks))
    }
}

impl Shared {
    pub(crate) fn new(upstream: Upstream) -> Self {
        Self {
            upstream,
            setting: watch::Sender::new(Setting { number: 0, fault: Fault::Pass }),
            seen: watch::Sender::default(),
            cuts: watch::Sender::new(0),
            running: watch::Sender::new(0),
            late: Mutex::default(),
        }
    }

    /// Replaces the fault and returns its number.
    pub(crate) fn set(&self, fault: Fault) -> u64 {
        self.setting.send_modify(|setting| *setting = Setting { number: setting.number + 1, fault });
        self.setting.borrow().number
    }

    pub(crate) fn setting(&self) -> watch::Receiver<Setting> {
        self.setting.subscribe()
    }

    pub(crate) fn seen(&self) -> watch::Receiver<Vec<Seen>> {
        self.seen.subscribe()
    }

    /// Notes a request, and gives its number.
    fn arrives(&self, seen: Seen) -> usize {
        let mut number = 0;
        self.seen.send_modify(|all| {
            number = all.len();
            all.push(seen);
        });
        number
    }

    fn answered(&self, number: usize, status: StatusCode) {
        self.seen.send_modify(|all| all[number].answered = Some(status));
    }

    pub(crate) fn running_watches(&self) -> watch::Receiver<usize> {
        self.running.subscribe()
    }

    pub(crate) fn count_watches(&self, change: isize) {
        self.running.send_modify(|running| *running = running.saturating_add_signed(change));
    }

    pub(crate) fn cut_watches(&self) -> usize {
        self.cuts.send_modify(|orders| *orders += 1);
        *self.running.borrow()
    }

    pub(crate) fn cuts(&self) -> watch::Receiver<u64> {
        self.cuts.subscribe()
    }

    /// The error that `seen` gets, if any; counts it.
    fn take_answer(&self, seen: &Seen) -> Option<Answer> {
        let mut taken = None;
        // Checked and counted in one step: two requests at the same time must not both take the last one.
        self.setting.send_if_modified(|setting| {
            let Fault::Answer(answer) = &mut setting.fault else {
                return false;
            };
            if answer.times == 0 || !seen.is(answer.matches) {
                return false;
            }
            answer.times -= 1;
            taken = Some(*answer);
            if answer.times == 0 {
                setting.fault = Fault::Pass;
            }
            true
        });
        taken
    }
}

/// Accepts connections, and opens and closes the port as the fault demands. Ends when dropped.
pub(crate) async fn serve(shared: Arc<Shared>, listener: TcpListener, applied: watch::Sender<u64>) {
    let address = listener.local_addr().expect("a bound listener has an address");
    let mut listener = Some(listener);
    let mut settings = shared.setting();
    let mut connections = JoinSet::new();
    loop {
        let (number, refuse) = {
            let setting = settings.borrow();
            (setting.number, matches!(setting.fault, Fault::Refuse))
        };
        if refuse {
            listener = None;
            connections.shutdown().await;
        } else if listener.is_none() {
            listener = Some(listen(address.port()).await.expect("nobody took the proxy's port while it was closed"));
        }
        applied.send_replace(number);
        tokio::select! {
            () = flow::another(&mut settings, number) => {}
            accepted = accept(listener.as_ref()) => {
                connections.spawn(connection(Arc::clone(&shared), accepted));
            }
            // Only to forget those that ended.
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn accept(listener: Option<&TcpListener>) -> TcpStream {
    match listener {
        Some(listener) => listener.accept().await.expect("a loopback listener accepts").0,
        None => pending().await,
    }
}

async fn connection(shared: Arc<Shared>, stream: TcpStream) {
    let service = service_fn(move |request| respond(Arc::clone(&shared), request));
    // Errors are the point of this proxy; those of the program under test show in the test.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

/// Answers one request. An error closes the connection without an answer, as when the API server is gone.
async fn respond(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response<Body>, BoxError> {
    let seen = Seen {
        method: request.method().clone(),
        path: request.uri().path().to_owned(),
        query: request.uri().query().unwrap_or_default().to_owned(),
        at: Instant::now(),
        answered: None,
    };
    let number = shared.arrives(seen.clone());
    let mut settings = shared.setting();
    settings.wait_for(|setting| !matches!(setting.fault, Fault::Blackhole)).await?;
    if let Some(answer) = shared.take_answer(&seen) {
        return Ok(error_response(answer));
    }
    let fault = match *settings.borrow() {
        Setting { number, fault: Fault::Late(which) } if seen.is(which) => Some(number),
        _ => None,
    };
    let forwarded = match fault {
        Some(fault) => forward_late(&shared, request, number, fault).await,
        None => shared.upstream.forward(request).await,
    };
    let (response, tasks) = forwarded?;
    shared.answered(number, response.status());
    let arrived = Instant::now();
    let (head, body) = response.into_parts();
    // Reads from now on, so that the delay of the body runs at the same time as that of the head.
    let flow = Flow::start(body, tasks, seen.clone(), &shared);
    flow::let_through(&mut settings, &seen, arrived).await;
    Ok(Response::from_parts(head, flow.into_body()))
}

/// Forwards a request once another fault is set, whatever becomes of the connection that it came by.
async fn forward_late(
    shared: &Arc<Shared>,
    request: Request<Incoming>,
    number: usize,
    fault: u64,
) -> Result<(Response<Incoming>, JoinSet<()>), BoxError> {
    let (head, body) = request.into_parts();
    let request = Request::from_parts(head, Full::new(body.collect().await?.to_bytes()));
    let (answers, answer) = oneshot::channel();
    let (from, mut settings) = (Arc::clone(shared), shared.setting());
    shared.late.lock().unwrap_or_else(PoisonError::into_inner).spawn(async move {
        flow::another(&mut settings, fault).await;
        let forwarded = from.upstream.forward(request).await;
        if let Ok((response, _)) = &forwarded {
            from.answered(number, response.status());
        }
        // Who asked may be gone.
        drop(answers.send(forwarded));
    });
    answer.await?
}

fn error_response(answer: Answer) -> Response<Body> {
    let code = answer.status;
    let mut status = json!({
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": format!("{code}, made up by the test's proxy"),
        "reason": reason(code),
        "code": code.as_u16(),
    });
    if let Some(seconds) = answer.retry_after {
        status["details"] = json!({ "retryAfterSeconds": seconds });
    }
    let (code, text) = if answer.as_event {
        (StatusCode::OK, format!("{}\n", json!({ "type": "ERROR", "object": status })))
    } else {
        (code, status.to_string())
    };
    let mut response = Response::new(Full::from(text).map_err(|never: Infallible| match never {}).boxed_unsync());
    *response.status_mut() = code;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(seconds) = answer.retry_after {
        response.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    response
}

/// The reason that the API server gives with a status; clients look at either.
fn reason(status: StatusCode) -> &'static str {
    match status.as_u16() {
        400 => "BadRequest",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "NotFound",
        409 => "Conflict",
        410 => "Expired",
        422 => "Invalid",
        429 => "TooManyRequests",
        500 => "InternalError",
        503 => "ServiceUnavailable",
        504 => "Timeout",
        _ => "",
    }
}
