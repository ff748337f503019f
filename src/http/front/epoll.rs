//! Connections of the kernel. An event loop has an epoll of its own, which tokio watches as one descriptor: so a connection
//! costs nothing in tokio's tables, and a storm of them leaves nothing there.

use std::io::{self, IoSlice, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::net::{Shutdown, TcpStream};
use std::os::fd::OwnedFd;
use std::task::{Context, Poll, ready};

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::time::Timespec;
use tokio::io::unix::AsyncFd;

use super::poller::{Poller, Ready};
use crate::sockets;

/// Events that are taken at once.
const EVENTS: usize = 512;

/// The connections of an event loop.
#[derive(Debug)]
pub struct Epoll(AsyncFd<OwnedFd>);

impl Epoll {
    /// Without a connection.
    pub fn new() -> io::Result<Self> {
        sockets::watched(epoll::create(CreateFlags::CLOEXEC)?).map(Self)
    }
}

impl Poller for Epoll {
    type Socket = TcpStream;
    type Stream = tokio::net::TcpStream;

    const SHORT_READ_IS_LAST: bool = true;

    fn add(&mut self, key: u32, socket: &mut TcpStream) -> io::Result<()> {
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        Ok(epoll::add(self.0.get_ref(), socket, EventData::new_u64(key.into()), flags)?)
    }

    fn remove(&mut self, socket: &TcpStream) -> io::Result<()> {
        Ok(epoll::delete(self.0.get_ref(), socket)?)
    }

    fn stream(socket: TcpStream) -> io::Result<tokio::net::TcpStream> {
        tokio::net::TcpStream::from_std(socket)
    }

    fn socket(stream: tokio::net::TcpStream) -> io::Result<TcpStream> {
        stream.into_std()
    }

    fn read(socket: &mut TcpStream, room: &mut [u8]) -> io::Result<usize> {
        socket.read(room)
    }

    fn write(socket: &mut TcpStream, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
        match bytes {
            [bytes] => socket.write(bytes),
            _ => socket.write_vectored(bytes),
        }
    }

    fn shutdown(socket: &mut TcpStream) -> io::Result<()> {
        TcpStream::shutdown(socket, Shutdown::Write)
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>, ready: &mut Vec<Ready>) -> Poll<io::Result<()>> {
        let mut events = [const { MaybeUninit::<Event>::uninit() }; EVENTS];
        loop {
            let mut guard = ready!(self.0.poll_read_ready(cx))?;
            let (events, _) = epoll::wait(guard.get_inner(), &mut events[..], Some(&Timespec::default()))?;
            if events.len() < EVENTS {
                // All are taken, so the next one makes the epoll ready anew.
                guard.clear_ready();
            }
            if events.is_empty() {
                continue;
            }
            let ended = EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR;
            ready.extend(events.iter().filter_map(|event| {
                let data = event.data;
                let key = u32::try_from(data.u64()).ok()?;
                let flags = event.flags;
                Some(Ready { key, ended: flags.intersects(ended) })
            }));
            return Poll::Ready(Ok(()));
        }
    }
}
