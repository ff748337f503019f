//! TCP sockets, set up the same way on both ports and by clients.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

use socket2::{SockRef, TcpKeepalive};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::{TcpListener, TcpSocket};

use crate::bounds::{BACKLOG, DEAD_PEER};

/// Listens, and returns the address with the port that was chosen.
pub fn listen(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // Or a restart would have to wait for the connections of the process before it to time out.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    let listener = socket.listen(BACKLOG)?;
    let bound = listener.local_addr()?;
    Ok((listener, bound))
}

/// Dead peers are noticed, also while parked, and small answers leave at once. Connections inherit it from the socket that
/// listens.
pub fn tune<S: AsFd>(socket: &S) -> io::Result<()> {
    let socket = SockRef::from(socket);
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(
        &TcpKeepalive::new().with_time(DEAD_PEER / 2).with_interval(DEAD_PEER / 6).with_retries(3),
    )?;
    socket.set_tcp_user_timeout(Some(DEAD_PEER))
}

/// A descriptor whose readiness tokio watches.
#[expect(
    deprecated,
    reason = "what replaces it is unsafe for the sake of types whose descriptor may change; an OwnedFd's does not"
)]
pub fn watched(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(descriptor, Interest::READABLE)
}
