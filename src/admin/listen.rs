//! Connections to an admin port, that of `serve` or that of an agent. The kubelet's probe comes here, so it is always answered: a connection carries one
//! request, has [`ADMIN_EXCHANGE`] from its first byte to its last, and where [`ADMIN_CONNECTIONS`] are open the next one
//! takes the place of the one whose time ends first. A drain may take longer, and so may a stream while its client reads.

use std::convert::Infallible;
use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Duration, Instant, sleep, sleep_until};
use tokio_util::task::TaskTracker;

use crate::access::{Certificate, Connection, Scheme};
use crate::bounds::{ADMIN_CONNECTIONS, ADMIN_EXCHANGE, HEAD_BYTES, HEAD_FIELDS, HEAD_READ};
use crate::describe::problem;
use crate::sockets;
use crate::tls::{self, Accepted, Acceptor, Failure};

/// After a failed accept (out of descriptors, mostly): long enough not to spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What answers the requests of a port.
pub trait Answers: Send + Sync + 'static {
    /// What its answers carry.
    type Body: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static;

    /// Answers a request of this peer. `limit` is the time of its connection.
    fn answer(
        &self,
        request: Request<Incoming>,
        peer: &Connection,
        limit: &Limit,
    ) -> impl Future<Output = Response<Self::Body>> + Send;

    /// A connection was closed to make room for a newer one.
    fn made_room(&self);
}

/// When a connection ends at the latest.
#[derive(Debug, Clone)]
pub struct Limit(watch::Sender<Instant>);

impl Limit {
    fn new() -> (Self, watch::Receiver<Instant>) {
        let (limit, ends) = watch::channel(Instant::now() + ADMIN_EXCHANGE);
        (Self(limit), ends)
    }

    /// What is asked for takes until `then`; the answer may take as long as any other from there.
    pub(super) fn extend(&self, then: Instant) {
        self.0.send_replace(then + ADMIN_EXCHANGE);
    }
}

/// A connection that is open.
struct Open {
    ends: watch::Receiver<Instant>,
    task: AbortHandle,
}

/// Serves the port, over TLS where there is what makes such connections. Answers also while the process drains; ends with the
/// process.
pub async fn serve<A: Answers>(
    listener: TcpListener,
    answers: Arc<A>,
    tls: Option<Arc<Acceptor>>,
    connections: TaskTracker,
) {
    let mut open: Vec<Open> = Vec::with_capacity(ADMIN_CONNECTIONS);
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "could not accept a connection to the admin port");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        open.retain(|connection| !connection.task.is_finished());
        if open.len() >= ADMIN_CONNECTIONS {
            answers.made_room();
            close_one(&mut open);
        }
        let (limit, ends) = Limit::new();
        let task = connections.spawn(connection(stream, peer, Arc::clone(&answers), tls.clone(), limit, ends.clone()));
        open.push(Open { ends, task: task.abort_handle() });
    }
}

/// Closes the connection whose time ends first: the oldest of those that wait for no drain.
fn close_one(open: &mut Vec<Open>) {
    let first = open.iter().enumerate().min_by_key(|(_, connection)| *connection.ends.borrow());
    if let Some((index, _)) = first {
        open.remove(index).task.abort();
    }
}

/// Serves one request, and closes.
async fn connection<A: Answers>(
    stream: TcpStream,
    address: SocketAddr,
    answers: Arc<A>,
    tls: Option<Arc<Acceptor>>,
    limit: Limit,
    mut ends: watch::Receiver<Instant>,
) {
    if let Err(error) = sockets::tune(&stream) {
        // The peer is gone already.
        tracing::debug!(%error, peer = %address, "could not tune an admin connection");
        return;
    }
    let served = async {
        match tls {
            None => answer(stream, &Connection::new(address, Scheme::Http), &*answers, &limit).await,
            Some(acceptor) => match acceptor.accept(stream, std::future::pending()).await {
                Ok(Accepted { stream, client }) => {
                    let peer = match client {
                        Some((owner, ends)) => Connection::certified(address, Certificate { owner, ends }),
                        None => Connection::new(address, Scheme::Https),
                    };
                    answer(stream, &peer, &*answers, &limit).await;
                }
                Err((failure, stream)) => {
                    tracing::debug!(error = crate::telemetry::chain(&failure), peer = %address, "a TLS handshake failed");
                    let last = if matches!(failure, Failure::Clear) { problem::in_the_clear() } else { Vec::new() };
                    if let Some(stream) = stream {
                        tls::acceptor::end(stream, &last).await;
                    }
                }
            },
        }
    };
    tokio::select! {
        () = served => {}
        () = over(&mut ends) => tracing::debug!(peer = %address, "admin connection closed, its time is over"),
    }
}

async fn answer<A: Answers, S>(stream: S, peer: &Connection, answers: &A, limit: &Limit)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(|request: Request<Incoming>| async move {
        Ok::<_, Infallible>(answers.answer(request, peer, limit).await)
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_READ);
    builder.max_buf_size(HEAD_BYTES).max_headers(HEAD_FIELDS);
    // Who asks with `nc -N` is answered too.
    builder.keep_alive(false).half_close(true);
    if let Err(error) = builder.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%error, peer = %peer.peer, "admin connection ended");
    }
}

/// Waits until the time is over, however often it is extended.
async fn over(ends: &mut watch::Receiver<Instant>) {
    loop {
        let end = *ends.borrow_and_update();
        sleep_until(end).await;
        if *ends.borrow() <= Instant::now() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_connection_has_its_time_and_a_drain_has_more() {
        let start = Instant::now();
        let (_limit, mut ends) = Limit::new();
        over(&mut ends).await;
        assert_eq!(start.elapsed(), ADMIN_EXCHANGE);
        let start = Instant::now();
        let (limit, mut ends) = Limit::new();
        limit.extend(start + Duration::from_secs(60));
        over(&mut ends).await;
        assert_eq!(start.elapsed(), Duration::from_secs(60) + ADMIN_EXCHANGE);
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_makes_room_and_a_drain_last() {
        let tasks = TaskTracker::new();
        let mut limits = Vec::new();
        let mut open = Vec::new();
        for _ in 0..3 {
            let (limit, ends) = Limit::new();
            open.push(Open { ends, task: tasks.spawn(std::future::pending::<()>()).abort_handle() });
            limits.push(limit);
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        limits[0].extend(Instant::now() + Duration::from_secs(20));
        let ids: Vec<_> = open.iter().map(|connection| connection.task.id()).collect();
        let left = |open: &[Open]| open.iter().map(|connection| connection.task.id()).collect::<Vec<_>>();
        close_one(&mut open);
        assert_eq!(left(&open), [ids[0], ids[2]]);
        close_one(&mut open);
        assert_eq!(left(&open), [ids[0]]);
        close_one(&mut open);
        assert!(open.is_empty());
    }
}
