//! A server that forwards all it gets, apps behind it, and clients that write bytes.

#![expect(clippy::panic, clippy::match_wild_err_arm, reason = "this is how a test fails, with what it waited for")]

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Either, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use prometheus::Registry;
use tidewait::access::{Caller, Connection, IdentityFields, Scheme};
use tidewait::config::{Protocol, Upstream};
use tidewait::http::access::{self, Access};
use tidewait::http::proxy::{Metrics, Proxy, ProxyBody, ProxyError};
use tidewait::http::request_body::RequestBody;
use tidewait::http::{Router, http2, metrics};
use tidewait::lifecycle::stop::Stop;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Longer than anything but a stuck program takes.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

pub(crate) type AppBody = UnsyncBoxBody<Bytes, std::io::Error>;

/// The proxy, serving.
pub(crate) struct Front {
    pub(crate) address: SocketAddr,
    pub(crate) tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
    registry: Registry,
    _accepting: JoinSet<()>,
}

/// What a [`Front`] is told; the defaults are those of the program.
pub(crate) struct Settings {
    pub(crate) connect: Duration,
    pub(crate) head: Duration,
    pub(crate) idle: Option<Duration>,
    pub(crate) trusted: &'static str,
    pub(crate) protocol: Protocol,
    /// Whether a client of HTTP/1.1 may end its sending before its answer.
    pub(crate) half_close: bool,
}

impl Default for Settings {
    fn default() -> Self {
        let (connect, head) = (Duration::from_secs(1), Duration::from_mins(1));
        Self { connect, head, idle: None, trusted: "192.0.2.0/24", protocol: Protocol::Http1, half_close: false }
    }
}

impl Front {
    pub(crate) async fn before(app: SocketAddr) -> Self {
        Self::with(app, Settings::default()).await
    }

    pub(crate) async fn with(app: SocketAddr, settings: Settings) -> Self {
        let upstream = Upstream {
            authority: app.to_string().parse().expect("an authority"),
            protocol: settings.protocol,
            connect_timeout: settings.connect,
            response_head_timeout: settings.head,
            body_idle_timeout: settings.idle,
        };
        let registry = Registry::new();
        let metrics = Metrics::register(&registry).expect("a fresh registry takes them");
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let trusted = [settings.trusted.parse().expect("a net")];
        let proxy = Proxy::new(&upstream, &trusted, IdentityFields::default(), metrics, tasks.clone(), stop.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let mut accepting = JoinSet::new();
        let over_http2 = metrics::Metrics::register(&registry).expect("a fresh registry takes them");
        let open = access::Metrics::register(&registry).expect("a fresh registry takes them");
        let open = Arc::new(Access::open(open));
        let stopping = Stop::new(Duration::ZERO).watch();
        let router = Arc::new(Router::new(Arc::default(), open, Some(proxy.clone()), stopping, over_http2, false));
        accepting.spawn(accept(listener, proxy, router, settings.half_close));
        Self { address, tasks, stop, registry, _accepting: accepting }
    }

    pub(crate) async fn client(&self) -> Raw {
        Raw(TcpStream::connect(self.address).await.expect("the front accepts"))
    }

    /// The sum of a metric over the series that have this label value; all series without one.
    pub(crate) fn metric(&self, name: &str, label: &str) -> f64 {
        let families = self.registry.gather();
        let family = families.iter().find(|family| family.name() == name).expect(name);
        let series = family.get_metric().iter();
        series
            .filter(|series| label.is_empty() || series.get_label().iter().any(|pair| pair.value() == label))
            .map(|series| series.get_counter().get_value() + series.get_gauge().get_value())
            .sum()
    }

    /// Waits until a metric has a value.
    pub(crate) async fn until(&self, name: &str, label: &str, value: f64) {
        until(&format!("{name} {label} is {value}"), || (self.metric(name, label) - value).abs() < 0.5).await;
    }
}

/// HTTP/2 is served as the program does it; HTTP/1.1 by hyper alone.
async fn accept(listener: TcpListener, proxy: Proxy, router: Arc<Router>, half_close: bool) {
    let mut connections = JoinSet::new();
    while let Ok((stream, peer)) = listener.accept().await {
        let (proxy, router) = (proxy.clone(), Arc::clone(&router));
        let connection = Arc::new(Connection::new(peer, Scheme::Http));
        connections.spawn(async move {
            let mut first = [0; 4];
            while stream.peek(&mut first).await.is_ok_and(|read| (1..first.len()).contains(&read)) {
                tokio::task::yield_now().await;
            }
            // How a connection ended is seen by its client.
            if http2::PREFACE.starts_with(&first) {
                let stop = Stop::new(Duration::ZERO).watch();
                let _ = http2::serve(stream, Vec::new(), connection, router, stop).await;
                return;
            }
            let service = service_fn(move |request: Request<Incoming>| {
                let (proxy, connection) = (proxy.clone(), Arc::clone(&connection));
                async move {
                    let result = proxy.forward(request.map(RequestBody::Http1), &connection, Caller::Anonymous).await;
                    Ok::<_, std::convert::Infallible>(answer(result))
                }
            });
            let mut server = hyper::server::conn::http1::Builder::new();
            server.preserve_header_case(true).auto_date_header(false).half_close(half_close);
            let _ = server.serve_connection(TokioIo::new(stream), service).with_upgrades().await;
        });
    }
}

/// What the router will make a problem document of.
fn answer(result: Result<Response<ProxyBody>, ProxyError>) -> Response<Either<ProxyBody, Full<Bytes>>> {
    match result {
        Ok(response) => response.map(Either::Left),
        Err(error) => {
            let text = format!("{}: {}", error.slug(), error.detail());
            let mut response = Response::new(Either::Right(Full::from(text)));
            *response.status_mut() = error.status();
            response
        }
    }
}

/// An app made with hyper. Dropping it kills it: every connection is closed where it stands.
pub(crate) struct App {
    pub(crate) address: SocketAddr,
    /// Connections open.
    pub(crate) open: Arc<AtomicUsize>,
    _accepting: JoinSet<()>,
}

impl App {
    pub(crate) async fn new<F, R>(service: F) -> Self
    where
        F: Fn(Request<Incoming>) -> R + Clone + Send + Sync + 'static,
        R: Future<Output = Response<AppBody>> + Send + 'static,
    {
        Self::at("127.0.0.1:0".parse().expect("an address"), service).await
    }

    pub(crate) async fn at<F, R>(address: SocketAddr, service: F) -> Self
    where
        F: Fn(Request<Incoming>) -> R + Clone + Send + Sync + 'static,
        R: Future<Output = Response<AppBody>> + Send + 'static,
    {
        let listener = TcpListener::bind(address).await.expect("a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let open = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&open);
        let mut accepting = JoinSet::new();
        accepting.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (service, count) = (service.clone(), Arc::clone(&count));
                count.fetch_add(1, Ordering::SeqCst);
                connections.spawn(async move {
                    let service = service_fn(move |request| {
                        let answer = service(request);
                        async move { Ok::<_, std::convert::Infallible>(answer.await) }
                    });
                    let server = hyper::server::conn::http1::Builder::new();
                    // How a connection ended is seen by the proxy.
                    let _ = server.serve_connection(TokioIo::new(stream), service).await;
                    count.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self { address, open, _accepting: accepting }
    }

    /// Sends back what it gets, as it comes, trailers included.
    pub(crate) async fn echo() -> Self {
        Self::new(|request: Request<Incoming>| async move {
            let mut response = Response::new(boxed(request.into_body()));
            response.headers_mut().insert("trailer", "x-sum, x-forwarded-for".parse().expect("a value"));
            response
        })
        .await
    }
}

pub(crate) fn boxed<B>(body: B) -> AppBody
where
    B: hyper::body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    body.map_err(std::io::Error::other).boxed_unsync()
}

pub(crate) fn full(text: &'static str) -> AppBody {
    boxed(Full::<Bytes>::from(text))
}

/// A body that is what is sent into the channel.
pub(crate) fn channel() -> (mpsc::Sender<Bytes>, AppBody) {
    let (sender, receiver) = mpsc::channel::<Bytes>(1);
    let frames = futures::stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|bytes| (Ok::<_, std::io::Error>(Frame::data(bytes)), receiver))
    });
    (sender, boxed(StreamBody::new(frames)))
}

/// An app that the test plays byte by byte.
pub(crate) struct RawApp(TcpListener);

impl RawApp {
    pub(crate) fn new() -> Self {
        Self::with_backlog(64)
    }

    pub(crate) fn with_backlog(backlog: u32) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a free port");
        Self(socket.listen(backlog).expect("a listener"))
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.0.local_addr().expect("a bound listener has an address")
    }

    pub(crate) async fn accept(&self) -> Raw {
        Raw(within("a connection to the app", self.0.accept()).await.expect("accepts").0)
    }
}

/// One end of a connection, byte by byte.
pub(crate) struct Raw(pub(crate) TcpStream);

impl Raw {
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        within("sending", self.0.write_all(bytes.as_ref())).await.expect("the peer takes it");
    }

    /// Reads up to and including `end`, and not a byte more.
    pub(crate) async fn until(&mut self, end: &str) -> String {
        let mut got = Vec::new();
        while !got.ends_with(end.as_bytes()) {
            let text = String::from_utf8_lossy(&got);
            match timeout(DEADLINE, self.0.read_u8()).await {
                Ok(Ok(byte)) => got.push(byte),
                Ok(Err(error)) => panic!("{error} after {text:?}, without {end:?}"),
                Err(_) => panic!("{text:?} and no more, without {end:?}"),
            }
        }
        String::from_utf8(got).expect("the test writes text")
    }

    pub(crate) async fn head(&mut self) -> String {
        self.until("\r\n\r\n").await
    }

    /// Everything up to the end, orderly or not, and whether it was orderly.
    pub(crate) async fn rest(&mut self) -> (String, bool) {
        let mut got = Vec::new();
        let result = within("the end of the connection", self.0.read_to_end(&mut got)).await;
        (String::from_utf8_lossy(&got).into_owned(), result.is_ok())
    }

    /// Sends a request and reads an answer with `Content-Length`.
    pub(crate) async fn ask(&mut self, request: &str) -> String {
        self.send(request).await;
        self.answer().await
    }

    /// Reads an answer with `Content-Length`, head and body.
    pub(crate) async fn answer(&mut self) -> String {
        let head = self.head().await;
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("content-length").then(|| value.parse::<usize>().expect("a length"))
        });
        let mut body = vec![0; length.unwrap_or_else(|| panic!("no length in {head}"))];
        within("the body", self.0.read_exact(&mut body)).await.expect("the body is whole");
        head + std::str::from_utf8(&body).expect("the test writes text")
    }
}

pub(crate) const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
pub(crate) const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

pub(crate) async fn within<F: Future>(what: &str, future: F) -> F::Output {
    match timeout(DEADLINE, future).await {
        Ok(output) => output,
        Err(_) => panic!("{what}: not within {DEADLINE:?}"),
    }
}

/// Waits until something is so.
pub(crate) async fn until(what: &str, mut so: impl FnMut() -> bool) {
    let mut looks = interval(Duration::from_millis(5));
    let began = Instant::now();
    while !so() {
        assert!(began.elapsed() < DEADLINE, "not within {DEADLINE:?}: {what}");
        looks.tick().await;
    }
}

/// Waits until a count stays the same for a while, and returns it: for what must block.
pub(crate) async fn until_still(count: impl Fn() -> usize) -> usize {
    let mut looks = interval(Duration::from_millis(20));
    let (mut last, mut same) = (count(), 0);
    while same < 15 {
        looks.tick().await;
        let now = count();
        same = if now == last && now > 0 { same + 1 } else { 0 };
        last = now;
    }
    last
}

pub(crate) type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;
