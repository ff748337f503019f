//! Plain hyper on two threads: a task for each client that waits on `tokio::sync::watch`, as one would write it first. Also
//! the app behind the proxies.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::TcpSocket;
use tokio::sync::watch;

use super::floor::BACKLOG;
use super::watched;
use crate::outcome::Outcome;

const WORKERS: usize = 2;
/// Bodies of the app: a kilobyte, and 256.
pub(crate) const PAGES: [(&str, usize); 2] = [("/1", 1024), ("/256", 256 * 1024)];

#[derive(Clone)]
struct State {
    id: u64,
    body: Bytes,
}

/// Counts a parked request until it is dropped.
struct Parked(Arc<AtomicUsize>);

impl Parked {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Parked {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Serves a model file until the process is ended.
pub(crate) fn serve(address: SocketAddr, model: &Path) -> Outcome<()> {
    let (sender, receiver) = watch::channel(State { id: 1, body: std::fs::read(model)?.into() });
    let model = model.to_owned();
    std::thread::spawn(move || follow(&model, &sender));
    let parked = Arc::new(AtomicUsize::new(0));
    listen(address, WORKERS, move |request| answer(request, receiver.clone(), Arc::clone(&parked)))
}

/// Publishes the file when it is replaced.
fn follow(model: &PathBuf, sender: &watch::Sender<State>) -> Outcome<()> {
    let notices = watched::watch(model)?;
    loop {
        watched::wait(&notices)?;
        if watched::drain(&notices, model)? {
            let body = std::fs::read(model)?.into();
            sender.send_modify(|state| *state = State { id: state.id + 1, body });
        }
    }
}

async fn answer(
    request: Request<Incoming>,
    mut states: watch::Receiver<State>,
    parked: Arc<AtomicUsize>,
) -> Response<Full<Bytes>> {
    if request.uri().path() == "/parked" {
        return Response::new(Full::from(parked.load(Ordering::Relaxed).to_string()));
    }
    let since = request.uri().query().and_then(|query| query.strip_prefix("since=")?.parse::<u64>().ok());
    let state = {
        let _parked = (since == Some(states.borrow().id)).then(|| Parked::new(&parked));
        match states.wait_for(|state| since != Some(state.id)).await {
            Ok(state) => state.clone(),
            Err(_) => return Response::new(Full::default()),
        }
    };
    let mut response = Response::new(Full::from(state.body));
    let fields = response.headers_mut();
    fields.insert("content-type", http::HeaderValue::from_static("application/json"));
    fields.insert("cache-control", http::HeaderValue::from_static("no-store"));
    fields.insert("state-id", state.id.into());
    response
}

/// The app: serves [`PAGES`].
pub(crate) fn serve_app(address: SocketAddr) -> Outcome<()> {
    let pages = PAGES.map(|(path, length)| (path, Bytes::from(page(length))));
    listen(address, WORKERS, move |request| {
        let found = pages.iter().find(|(path, _)| *path == request.uri().path());
        let body = found.map(|(_, body)| body.clone()).unwrap_or_default();
        async move { Response::new(Full::from(body)) }
    })
}

/// What a page of the app holds.
pub(crate) fn page(length: usize) -> Vec<u8> {
    b"0123456789abcdef".iter().copied().cycle().take(length).collect()
}

fn listen<F>(
    address: SocketAddr,
    workers: usize,
    answer: impl Fn(Request<Incoming>) -> F + Clone + Send + 'static,
) -> Outcome<()>
where
    F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build()?;
    runtime.block_on(async move {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let listener = socket.listen(BACKLOG.into())?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let answer = answer.clone();
            tokio::spawn(async move {
                let service = service_fn(move |request| {
                    let answer = answer(request);
                    async move { Ok::<_, Infallible>(answer.await) }
                });
                // A client that leaves is no fault.
                let mut builder = auto::Builder::new(TokioExecutor::new());
                builder.http2().max_concurrent_streams(256);
                let _ = builder.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    })
}
