//! Connections to the app: made when no other has room for one more stream, closed when idle.

use std::error::Error;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use h2::client::SendRequest;
use http::uri::Authority;
use tokio::sync::{oneshot, watch};
use tokio::time::{Duration, timeout};

use super::super::connect::{AppStream, Connector, Cut};
use super::super::tasks::Tasks;
use crate::bounds::{UPSTREAM_BUFFER, UPSTREAM_FRAMING, UPSTREAM_IDLE, UPSTREAM_STREAMS};

/// The connections to one app.
#[derive(Debug)]
pub(in crate::http::proxy) struct Pool {
    app: Authority,
    connector: Connector,
    /// For a connection to be made, and for the app to say what it allows.
    limit: Duration,
    tasks: Tasks,
    open: Arc<Mutex<Vec<Arc<Connection>>>>,
    /// All who find no place wait for the same new connection.
    opening: Mutex<Option<Opening>>,
}

type Opening = Shared<BoxFuture<'static, Result<(), NoConnection>>>;

/// Why a connection could not be made.
#[derive(Debug, Clone, thiserror::Error)]
pub(in crate::http::proxy) enum NoConnection {
    /// There is none.
    #[error("no connection")]
    Unreachable(#[source] Arc<dyn Error + Send + Sync>),
    /// The app closed it, or what it sent is no HTTP/2.
    #[error("no HTTP/2 connection")]
    NoHttp2 {
        /// What was wrong.
        #[source]
        source: Arc<dyn Error + Send + Sync>,
        /// Whether it sent an answer of HTTP/1.
        http1: bool,
    },
}

struct Connection {
    sender: SendRequest<Bytes>,
    /// Streams that are open.
    streams: watch::Sender<usize>,
    used: AtomicBool,
    pool: Weak<Mutex<Vec<Arc<Connection>>>>,
}

/// The permit for one stream; freed when dropped.
#[derive(Debug)]
pub(in crate::http::proxy) struct StreamPermit {
    connection: Arc<Connection>,
    was_used: bool,
}

impl Pool {
    pub(in crate::http::proxy) fn new(app: Authority, connector: Connector, limit: Duration, tasks: Tasks) -> Self {
        Self { app, connector, limit, tasks, open: Arc::default(), opening: Mutex::new(None) }
    }

    /// A place for a stream, on a new connection if need be.
    pub(in crate::http::proxy) async fn place(&self) -> Result<StreamPermit, NoConnection> {
        let found = async {
            loop {
                if let Some(place) = self.free() {
                    return Ok(place);
                }
                self.connect().await?;
            }
        };
        // Longer than a connection may take, for an app that closes each one at once.
        let found = timeout(self.limit * 3, found).await;
        found.unwrap_or_else(|_| {
            let source = Arc::new(io::Error::other("each connection was closed or full at once"));
            Err(NoConnection::NoHttp2 { source, http1: false })
        })
    }

    fn free(&self) -> Option<StreamPermit> {
        lock(&self.open).iter().find_map(Connection::place)
    }

    /// Waits for the connection that is being made.
    async fn connect(&self) -> Result<(), NoConnection> {
        let opening = lock(&self.opening).get_or_insert_with(|| self.opening()).clone();
        let result = opening.clone().await;
        let mut current = lock(&self.opening);
        if current.as_ref().is_some_and(|other| other.ptr_eq(&opening)) {
            *current = None;
        }
        result
    }

    fn opening(&self) -> Opening {
        let (connector, app, limit) = (self.connector.clone(), self.app.clone(), self.limit);
        let (pool, tasks) = (Arc::downgrade(&self.open), self.tasks.clone());
        let (done, opened) = oneshot::channel();
        // On its own: who waits may leave, and others come.
        self.tasks.spawn(async move {
            // The receivers may be gone.
            let _ = done.send(open(connector, app, limit, pool, tasks).await);
        });
        let stopped = || NoConnection::Unreachable(Arc::new(io::Error::other("Tidewait stops")));
        opened.map(move |result| result.unwrap_or_else(|_| Err(stopped()))).boxed().shared()
    }
}

/// Makes a connection and adds it to the pool.
async fn open(
    connector: Connector,
    app: Authority,
    limit: Duration,
    pool: Weak<Mutex<Vec<Arc<Connection>>>>,
    tasks: Tasks,
) -> Result<(), NoConnection> {
    let tcp = connector.connect(&app).await.map_err(|error| NoConnection::Unreachable(Arc::new(error)))?;
    let (first, cut) = (tcp.first(), Cut::default());
    let failed = |source: Arc<dyn Error + Send + Sync>| NoConnection::NoHttp2 { source, http1: first.speaks_http1() };
    let (sender, mut connection) =
        builder().handshake::<_, Bytes>(tcp).await.map_err(|error| failed(Arc::new(error)))?;
    let ping = connection.ping_pong();
    let connection = Box::pin(connection);
    let (streams, watched) = watch::channel(0);
    let open = Arc::new(Connection { sender, streams, used: AtomicBool::new(false), pool: pool.clone() });
    let (ended, end) = oneshot::channel();
    let (driven, ends) = (drive(connection, Arc::downgrade(&open), watched, ended), cut.clone());
    tasks.spawn(async move {
        tokio::select! {
            () = driven => {}
            () = ends.is_cut() => {}
        }
    });
    // The answer comes after the app's settings: from here on it is known how many streams it allows.
    let answered = async {
        let Some(mut ping) = ping else { return Ok(()) };
        tokio::select! {
            biased;
            Ok(error) = end => Err(error),
            answer = ping.ping(h2::Ping::opaque()) => answer.map(|_| ()),
        }
    };
    match timeout(limit, answered).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return Err(failed(Arc::new(error))),
        Err(_) => {
            cut.cut();
            let text = format!("it sent nothing of HTTP/2 within {limit:?}");
            return Err(failed(Arc::new(io::Error::new(io::ErrorKind::TimedOut, text))));
        }
    }
    if let Some(pool) = pool.upgrade() {
        lock(&pool).push(open);
    }
    Ok(())
}

fn builder() -> h2::client::Builder {
    let window = u32::try_from(UPSTREAM_BUFFER).unwrap_or(u32::MAX);
    let mut builder = h2::client::Builder::new();
    builder
        .enable_push(false)
        .initial_window_size(window)
        .initial_connection_window_size(window.saturating_mul(UPSTREAM_STREAMS))
        .data_frame_budget(UPSTREAM_FRAMING)
        .max_header_list_size(window)
        .max_send_buffer_size(UPSTREAM_BUFFER);
    builder
}

/// Drives a connection to its end, which comes once it is idle for too long.
async fn drive(
    mut connection: Pin<Box<h2::client::Connection<AppStream, Bytes>>>,
    known: Weak<Connection>,
    streams: watch::Receiver<usize>,
    ended: oneshot::Sender<h2::Error>,
) {
    let result = tokio::select! {
        biased;
        result = connection.as_mut() => Some(result),
        () = idle(streams) => None,
    };
    retire(&known);
    let result = match result {
        Some(result) => result,
        // Streams that came at the last moment go on.
        None => connection.await,
    };
    if let Err(error) = result {
        tracing::debug!(%error, "a connection to the app ended");
        // Nobody waits for it but who has just made it.
        let _ = ended.send(error);
    }
}

/// Waits until there has been no stream for long enough.
async fn idle(mut streams: watch::Receiver<usize>) {
    loop {
        if streams.wait_for(|open| *open == 0).await.is_err() {
            return;
        }
        // One that opens and ends meanwhile may be missed: then it is closed early, and streams that it has go on.
        if !matches!(timeout(UPSTREAM_IDLE, streams.wait_for(|open| *open > 0)).await, Ok(Ok(_))) {
            return;
        }
    }
}

fn retire(connection: &Weak<Connection>) {
    if let Some(connection) = connection.upgrade() {
        connection.retire();
    }
}

impl Connection {
    fn place(self: &Arc<Self>) -> Option<StreamPermit> {
        let most = self.sender.current_max_send_streams().min(UPSTREAM_STREAMS as usize);
        let free = self.streams.send_if_modified(|open| {
            let free = *open < most;
            *open += usize::from(free);
            free
        });
        free.then(|| StreamPermit { connection: Arc::clone(self), was_used: self.used.load(Ordering::Relaxed) })
    }

    /// Gives it no further streams.
    fn retire(&self) {
        if let Some(pool) = self.pool.upgrade() {
            lock(&pool).retain(|other| !std::ptr::eq(Arc::as_ptr(other), self));
        }
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("streams", &*self.streams.borrow()).finish_non_exhaustive()
    }
}

impl StreamPermit {
    pub(super) fn sender(&self) -> SendRequest<Bytes> {
        self.connection.sender.clone()
    }

    pub(super) fn retire(&self) {
        self.connection.retire();
    }

    pub(super) fn answered(&self) {
        self.connection.used.store(true, Ordering::Relaxed);
    }

    /// Whether the app had answered on the connection before.
    pub(in crate::http::proxy) fn was_used(&self) -> bool {
        self.was_used
    }
}

impl Drop for StreamPermit {
    fn drop(&mut self) {
        self.connection.streams.send_modify(|open| *open -= 1);
    }
}

/// Nothing here panics while it holds a lock.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
