//! Connections: accept them, bound them, notice dead peers, and pass them on to the event loops.
//!
//! HTTP/1.1 and cleartext HTTP/2 (with prior knowledge, RFC 9113, section 3.3) share the port. With a certificate both come over
//! TLS alone; each handshake is a task, and its connection goes to an event loop when it is over.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::sync::Arc;

use rustix::net::{SocketFlags, acceptfrom_with};
use socket2::{SockFilter, SockRef};
use tokio::io::AsyncWriteExt as _;
use tokio::io::unix::AsyncFd;
use tokio::sync::Semaphore;
use tokio::time::{Duration, Instant};
use tokio_util::task::TaskTracker;

use super::Router;
use super::front::epoll::Epoll;
use super::front::inbox::Message;
use super::front::socket::Socket;
use super::front::threads::Threads;
use super::front::{Inbox, Place, Places};
use crate::bounds::{CLOSING_HANDSHAKES, CLOSING_IDLE, LINGER, REFUSED_CONNECTIONS};
use crate::describe::problem::{self, Kind};
use crate::describe::{Problem, answer};
use crate::lifecycle::stop;
use crate::sockets;
use crate::tls::{self, Accepted, Acceptor, Failure};

/// After a failed accept (out of descriptors, mostly): long enough not to spin, short enough to
/// be back when one is free.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Connections that are accepted at once, before other tasks have their turn.
const ACCEPTED_AT_ONCE: usize = 128;

/// Where connections follow each other within this, they are gathered for as long: a wake-up for each costs more than to
/// accept it.
const GATHER: Duration = Duration::from_millis(1);

/// After how long one connection too many may try again, before jitter.
const REFUSED_RETRY: u32 = 2;

/// Where connections go.
struct Port {
    router: Arc<Router>,
    places: Arc<Places>,
    /// Of the event loops, one for each core.
    inboxes: Vec<Arc<Inbox<Epoll>>>,
    /// The loop that gets the next connection.
    next: usize,
    /// Of connections that are refused with an answer.
    refusals: Arc<Semaphore>,
    connections: TaskTracker,
    /// Absent: HTTP is spoken in the clear.
    tls: Option<Arc<Acceptor>>,
    /// TLS handshakes.
    handshakes: TaskTracker,
    stop: stop::Watch,
}

/// Serves the connections of a port until the process closes them, at most `limit` at once; over TLS, where there is what makes
/// such connections.
pub async fn serve(
    listener: tokio::net::TcpListener,
    limit: usize,
    tls: Option<Arc<Acceptor>>,
    router: Arc<Router>,
    stop: stop::Watch,
    connections: TaskTracker,
) -> io::Result<()> {
    // Inherited by every connection.
    sockets::tune(&listener)?;
    let listener = OwnedFd::from(listener.into_std()?);
    let mut threads = Threads::start(&router, &stop, &connections)?;
    let mut port = Port {
        places: Places::new(limit, router.metrics.connections.clone()),
        inboxes: threads.inboxes.clone(),
        next: 0,
        refusals: Arc::new(Semaphore::new(REFUSED_CONNECTIONS)),
        router,
        connections,
        tls,
        handshakes: TaskTracker::new(),
        stop: stop.clone(),
    };
    tokio::select! {
        accepted = accept(listener, &mut port, stop) => accepted?,
        error = threads.ended() => return Err(error),
    }
    threads.finished().await
}

/// Accepts connections until the process closes them.
async fn accept(listener: OwnedFd, port: &mut Port, mut stop: stop::Watch) -> io::Result<()> {
    let listener = sockets::watched(listener)?;
    let mut closing = pin!(stop.closing());
    let mut last = Instant::now();
    loop {
        tokio::select! {
            () = &mut closing => break,
            accepted = port.accept_some(&listener) => if let Err(error) = accepted {
                port.router.metrics.accept_errors.inc();
                tracing::warn!(%error, "could not accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            },
        }
        let now = Instant::now();
        if now - std::mem::replace(&mut last, now) < GATHER {
            tokio::time::sleep(GATHER).await;
        }
    }
    refuse_handshakes(&listener);
    let under_way = async { while port.accept_some(&listener).await.is_ok() {} };
    // The time for them, or an error, after which the kernel is asked as well.
    let _ = tokio::time::timeout(CLOSING_HANDSHAKES, under_way).await;
    // To close the port resets the connections that the kernel has completed.
    while let Ok((stream, peer)) = accept_one(listener.get_ref()) {
        port.take(stream, peer);
    }
    // Each has a moment yet, and then its connection is in an inbox.
    port.handshakes.close();
    port.handshakes.wait().await;
    for inbox in &port.inboxes {
        inbox.send(Message::Closed);
    }
    Ok(())
}

/// Accepts one connection; it never blocks.
fn accept_one(listener: &OwnedFd) -> io::Result<(std::net::TcpStream, SocketAddr)> {
    let (socket, peer) = acceptfrom_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC)?;
    let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok());
    let peer = peer.ok_or_else(|| io::Error::other("a connection of no IP address"))?;
    Ok((socket.into(), peer))
}

/// Lets the kernel begin no more handshakes at this port. Those under way go on: their clients may be connected already.
fn refuse_handshakes(listener: &AsyncFd<OwnedFd>) {
    // BPF, from the first byte of the TCP header (RFC 9293, section 3.1): a packet with the flag SYN is dropped.
    const NO_SYN: [SockFilter; 4] = [
        SockFilter::new(0x30, 0, 0, 13),       // load the byte of the flags
        SockFilter::new(0x45, 0, 1, 0x02),     // SYN: go on; else skip one
        SockFilter::new(0x06, 0, 0, 0),        // drop
        SockFilter::new(0x06, 0, 0, u32::MAX), // keep
    ];
    if let Err(error) = SockRef::from(listener.get_ref()).attach_filter(&NO_SYN) {
        tracing::debug!(%error, "the port is closed while connections may still come");
    }
}

impl Port {
    /// Accepts the connections that are there; at least one.
    async fn accept_some(&mut self, listener: &AsyncFd<OwnedFd>) -> io::Result<()> {
        let mut ready = listener.readable().await?;
        for _ in 0..ACCEPTED_AT_ONCE {
            match ready.try_io(|listener| accept_one(listener.get_ref())) {
                Ok(accepted) => {
                    let (stream, peer) = accepted?;
                    self.take(stream, peer);
                }
                Err(_) => break,
            }
        }
        Ok(())
    }

    /// Passes a connection on, where there is a place for it.
    fn take(&mut self, stream: std::net::TcpStream, peer: SocketAddr) {
        if let Some(place) = self.places.take(peer) {
            self.next = (self.next + 1) % self.inboxes.len();
            let inbox = &self.inboxes[self.next];
            match &self.tls {
                None => inbox.send(Message::Accepted(Socket::Clear(stream), place)),
                Some(acceptor) => {
                    let handshake =
                        shake_hands(Arc::clone(acceptor), stream, place, Arc::clone(inbox), self.stop.clone());
                    let lasts = self.handshakes.token();
                    self.connections.spawn(async move {
                        let failed = handshake.await;
                        drop(lasts);
                        if let Some((stream, last, place)) = failed {
                            tls::acceptor::end(stream, &last).await;
                            drop(place);
                        }
                    });
                }
            }
        } else {
            self.router.metrics.refused_connections.inc();
            self.refuse(stream);
        }
    }

    /// Answers one connection too many, whatever its request.
    fn refuse(&self, stream: std::net::TcpStream) {
        // Best effort: what does not fit into an empty send buffer is not worth waiting for.
        let last = match &self.tls {
            None => refusal(self.places.limit(), fastrand::f64()),
            // In the form that a client knows before any key: a fatal alert, internal_error (RFC 8446, section 6).
            Some(_) => [21, 3, 3, 0, 2, 2, 80].to_vec(),
        };
        let _ = (&stream).write(&last);
        let Ok(place) = Arc::clone(&self.refusals).try_acquire_owned() else { return };
        let Ok(mut stream) = tokio::net::TcpStream::from_std(stream) else { return };
        self.connections.spawn(async move {
            let heard = async {
                stream.shutdown().await?;
                tokio::io::copy(&mut stream, &mut tokio::io::sink()).await
            };
            // Its own end, or the time for it: either way it is closed.
            let _ = tokio::time::timeout(LINGER, heard).await;
            drop(place);
        });
    }
}

/// Makes a TLS connection, and passes it on. Where that fails, what is left of it, and what the client is told.
async fn shake_hands(
    acceptor: Arc<Acceptor>,
    stream: std::net::TcpStream,
    place: Place,
    inbox: Arc<Inbox<Epoll>>,
    mut stop: stop::Watch,
) -> Option<(tokio::net::TcpStream, Vec<u8>, Place)> {
    let peer = place.peer();
    let stream = tokio::net::TcpStream::from_std(stream).ok()?;
    let over = async {
        stop.closing().await;
        tokio::time::sleep(CLOSING_IDLE).await;
    };
    let (failure, stream) = match acceptor.accept(stream, over).await {
        Ok(Accepted { stream, client }) => {
            // It fails only where the descriptor is none any more.
            let socket = Socket::tls(stream).ok()?;
            inbox.send(Message::Accepted(socket, place.secured(client)));
            return None;
        }
        Err(failed) => failed,
    };
    let last = if matches!(failure, Failure::Clear) { problem::in_the_clear() } else { Vec::new() };
    tracing::debug!(error = crate::telemetry::chain(&failure), %peer, "a TLS handshake failed");
    Some((stream?, last, place))
}

/// The answer to one connection too many. It is HTTP/1.1: the version of the client is not known yet.
fn refusal(limit: usize, chance: f64) -> Vec<u8> {
    let detail = format!("{limit} connections are open (--max-connections): try again, or another endpoint");
    let problem = Problem::retry(Kind::TooManyConnections, REFUSED_RETRY, detail);
    let (status, json) = (problem.kind.status(), problem.to_json());
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {}\r\nContent-Length: {}\r\nCache-Control: no-store\r\n\
         Retry-After: {}\r\nConnection: close\r\n\r\n",
        problem::MEDIA_TYPE,
        json.len(),
        answer::retry_after(REFUSED_RETRY, chance),
    );
    [head.into_bytes(), json].concat()
}
