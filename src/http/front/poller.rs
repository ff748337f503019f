//! Where an event loop's bytes come from and go to: the kernel ([`super::epoll`]), or memory in tests.

use std::fmt;
use std::io::{self, IoSlice};

use tokio::io::{AsyncRead, AsyncWrite};

/// A connection that may have something to read, or room for what is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ready {
    /// Under which it was added.
    pub key: u32,
    /// The peer has closed its sending side, or is gone: a short read does not show it.
    pub ended: bool,
}

/// Reports on connections to who drives the event loop, once for each change (edge-triggered): the loop reads until nothing is
/// left.
pub trait Poller: fmt::Debug + Send + 'static {
    /// A connection of the event loop; never blocks.
    type Socket: fmt::Debug + Send + 'static;
    /// The same connection as hyper takes it.
    type Stream: AsyncRead + AsyncWrite + Unpin + fmt::Debug + Send + 'static;

    /// Begins to report on a connection.
    fn add(&mut self, key: u32, socket: &mut Self::Socket) -> io::Result<()>;
    /// Ends that.
    fn remove(&mut self, socket: &Self::Socket) -> io::Result<()>;
    /// Makes a stream of a connection.
    fn stream(socket: Self::Socket) -> io::Result<Self::Stream>;
    /// Makes a connection of a stream.
    fn socket(stream: Self::Stream) -> io::Result<Self::Socket>;
    /// Reads what has come; 0: the peer has closed its sending side.
    fn read(socket: &mut Self::Socket, room: &mut [u8]) -> io::Result<usize>;
    /// Whether a read that has just returned fewer bytes than there was room for has returned all.
    fn short_read_is_last(socket: &Self::Socket) -> bool;
    /// Writes as much as there is room for.
    fn write(socket: &mut Self::Socket, bytes: &[IoSlice<'_>]) -> io::Result<usize>;
    /// Closes the sending side.
    fn shutdown(socket: &mut Self::Socket) -> io::Result<()>;
}
