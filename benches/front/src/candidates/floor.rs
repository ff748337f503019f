//! The floor: one thread, one raw epoll loop, one send for each parked client, and of HTTP only what the measurement needs.
//! What it costs is what the kernel asks for, so the others are given as multiples of it.

use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, accept_with, bind, listen, recv, send, socket_with,
    sockopt,
};

use super::watched;
use crate::outcome::{Outcome, because};

/// As Tidewait asks for.
pub(crate) const BACKLOG: u16 = 4096;
const LISTENER: u64 = u64::MAX;
const NOTICES: u64 = u64::MAX - 1;
/// A connection that is not parked.
const NOWHERE: u32 = u32::MAX;

/// A connection: where it stands in the list of those that are parked.
struct Slot {
    socket: OwnedFd,
    seat: u32,
}

struct Floor {
    epoll: OwnedFd,
    slots: Vec<Option<Slot>>,
    free: Vec<u32>,
    parked: Vec<u32>,
    states: u64,
    /// The answer with the current state, head and body.
    answer: Vec<u8>,
}

/// Serves a model file until the process is ended.
pub(crate) fn serve(address: SocketAddr, model: &Path) -> Outcome<()> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let listener = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    sockopt::set_socket_reuseaddr(&listener, true)?;
    // Accepted sockets inherit it.
    sockopt::set_tcp_nodelay(&listener, true)?;
    bind(&listener, &address)?;
    let notices = watched::watch(model)?;
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
    epoll::add(&epoll, &notices, EventData::new_u64(NOTICES), EventFlags::IN)?;
    let mut floor =
        Floor { epoll, slots: Vec::new(), free: Vec::new(), parked: Vec::new(), states: 0, answer: Vec::new() };
    floor.change(model)?;
    listen(&listener, BACKLOG.into())?;
    let mut buffer = vec![0; 64 * 1024];
    let mut events = Vec::with_capacity(512);
    loop {
        events.clear();
        epoll::wait(&floor.epoll, rustix::buffer::spare_capacity(&mut events), None)?;
        for event in &events {
            match event.data.u64() {
                LISTENER => floor.accept(&listener)?,
                NOTICES => {
                    if watched::drain(&notices, model)? {
                        floor.change(model)?;
                    }
                }
                at => floor.read(usize::try_from(at)?, &mut buffer)?,
            }
        }
    }
}

impl Floor {
    fn accept(&mut self, listener: &OwnedFd) -> Outcome<()> {
        loop {
            let socket = match accept_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
                Ok(socket) => socket,
                Err(Errno::AGAIN) => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            let at = self.free.pop().map_or(self.slots.len(), |at| at as usize);
            epoll::add(&self.epoll, &socket, EventData::new_u64(at as u64), EventFlags::IN)?;
            let slot = Some(Slot { socket, seat: NOWHERE });
            if let Some(free) = self.slots.get_mut(at) {
                *free = slot;
            } else {
                self.slots.push(slot);
            }
        }
    }

    fn read(&mut self, at: usize, buffer: &mut [u8]) -> Outcome<()> {
        let Some(slot) = self.slots.get_mut(at).and_then(Option::as_mut) else { return Ok(()) };
        let received = match recv(&slot.socket, &mut *buffer, RecvFlags::empty()) {
            Ok((received, _)) => received,
            Err(Errno::AGAIN) => return Ok(()),
            Err(_) => 0,
        };
        let head = &buffer[..received];
        let mut fields = [MaybeUninit::uninit(); 32];
        let mut request = httparse::Request::new(&mut []);
        let complete = request.parse_with_uninit_headers(head, &mut fields).is_ok_and(|status| status.is_complete());
        match request.path.filter(|_| complete) {
            Some("/parked") => {
                let count = self.parked.len().to_string();
                let text =
                    format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{count}", count.len());
                let _ = send(&slot.socket, text.as_bytes(), SendFlags::NOSIGNAL);
                self.close(at)
            }
            Some(path) if is_current(path, self.states) => {
                slot.seat = u32::try_from(self.parked.len())?;
                self.parked.push(u32::try_from(at)?);
                Ok(())
            }
            Some(_) if sent(&slot.socket, &self.answer) => Ok(()),
            _ => self.close(at),
        }
    }

    fn close(&mut self, at: usize) -> Outcome<()> {
        let Some(slot) = self.slots.get_mut(at).and_then(Option::take) else { return Ok(()) };
        self.free.push(u32::try_from(at)?);
        if slot.seat != NOWHERE {
            self.parked.swap_remove(slot.seat as usize);
            let moved = self.parked.get(slot.seat as usize).copied();
            if let Some(moved) = moved.and_then(|moved| self.slots.get_mut(moved as usize)?.as_mut()) {
                moved.seat = slot.seat;
            }
        }
        Ok(())
    }

    fn change(&mut self, model: &Path) -> Outcome<()> {
        let body = std::fs::read(model)?;
        self.states += 1;
        self.answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nCache-Control: no-store\r\nState-Id: {}\r\n\
             Content-Length: {}\r\n\r\n",
            self.states,
            body.len()
        )
        .into_bytes();
        self.answer.extend_from_slice(&body);
        for at in std::mem::take(&mut self.parked) {
            let slot = self.slots.get_mut(at as usize).and_then(Option::as_mut);
            let slot = slot.ok_or_else(|| because("a seat without a connection"))?;
            slot.seat = NOWHERE;
            if !sent(&slot.socket, &self.answer) {
                self.close(at as usize)?;
            }
        }
        Ok(())
    }
}

fn is_current(path: &str, state: u64) -> bool {
    let since = path.split_once("since=").map(|(_, rest)| rest.split('&').next().unwrap_or_default());
    since.and_then(|since| since.parse().ok()) == Some(state)
}

/// Sends it as a whole; what does not fit is an error, which the loader finds.
fn sent(socket: &OwnedFd, answer: &[u8]) -> bool {
    send(socket, answer, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) == Ok(answer.len())
}
