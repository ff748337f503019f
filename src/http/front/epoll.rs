//! Connections of the kernel: an epoll for each event loop.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::task::Wake;
use std::time::Duration;

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::event::{EventfdFlags, eventfd};
use rustix::time::Timespec;

use super::poller::{Poller, Ready};
use super::socket::{Socket, Stream};

/// Events that are taken at once.
const EVENTS: usize = 512;

/// In place of a key: another thread has something for the loop.
const WOKEN: u64 = u64::MAX;

/// The connections of an event loop.
#[derive(Debug)]
pub struct Epoll {
    descriptor: OwnedFd,
    alarm: Arc<Alarm>,
}

/// Ends a wait from another thread.
#[derive(Debug)]
pub struct Alarm(OwnedFd);

impl Epoll {
    /// Without a connection.
    pub fn new() -> io::Result<Self> {
        let descriptor = epoll::create(CreateFlags::CLOEXEC)?;
        let alarm = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        epoll::add(&descriptor, &alarm, EventData::new_u64(WOKEN), EventFlags::IN | EventFlags::ET)?;
        Ok(Self { descriptor, alarm: Arc::new(Alarm(alarm)) })
    }

    /// What wakes the loop.
    #[must_use]
    pub fn alarm(&self) -> Arc<Alarm> {
        Arc::clone(&self.alarm)
    }

    /// Waits until there is something to report, at most for `limit`; none: for ever.
    pub fn wait(&self, limit: Option<Duration>, ready: &mut Vec<Ready>) -> io::Result<()> {
        // A longer wait than the kernel takes ends for nothing.
        let limit = limit.map(|limit| Timespec::try_from(limit).unwrap_or(Timespec { tv_sec: 3600, tv_nsec: 0 }));
        let mut events = [const { MaybeUninit::<Event>::uninit() }; EVENTS];
        let (events, _) = match epoll::wait(&self.descriptor, &mut events[..], limit.as_ref()) {
            Err(rustix::io::Errno::INTR) => return Ok(()),
            waited => waited?,
        };
        let ended = EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR;
        ready.extend(events.iter().filter_map(|event| {
            let (data, flags) = (event.data, event.flags);
            let key = u32::try_from(data.u64()).ok()?;
            Some(Ready { key, ended: flags.intersects(ended) })
        }));
        Ok(())
    }
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        // Edge-triggered, so nobody has to read it. It fails only where it counts 2^64 of these.
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }
}

impl Poller for Epoll {
    type Socket = Socket;
    type Stream = Stream;

    fn add(&mut self, key: u32, socket: &mut Socket) -> io::Result<()> {
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        Ok(epoll::add(&self.descriptor, socket.tcp(), EventData::new_u64(key.into()), flags)?)
    }

    fn remove(&mut self, socket: &Socket) -> io::Result<()> {
        Ok(epoll::delete(&self.descriptor, socket.tcp())?)
    }

    fn stream(socket: Socket) -> io::Result<Stream> {
        socket.into_stream()
    }

    fn socket(stream: Stream) -> io::Result<Socket> {
        stream.into_socket()
    }

    fn read(socket: &mut Socket, room: &mut [u8]) -> io::Result<usize> {
        socket.read(room)
    }

    fn short_read_is_last(socket: &Socket) -> bool {
        socket.short_read_is_last()
    }

    fn write(socket: &mut Socket, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
        socket.write(bytes)
    }

    fn shutdown(socket: &mut Socket) -> io::Result<()> {
        socket.shutdown()
    }
}
