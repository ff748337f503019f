//! TCP sockets, set up the same way on both ports.

use std::io;
use std::net::SocketAddr;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

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

/// Dead peers are noticed, also while parked, and small answers leave at once.
pub fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(
        &TcpKeepalive::new().with_time(DEAD_PEER / 2).with_interval(DEAD_PEER / 6).with_retries(3),
    )?;
    socket.set_tcp_user_timeout(Some(DEAD_PEER))
}
