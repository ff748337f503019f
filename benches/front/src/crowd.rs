//! Thousands of HTTP/1.1 clients on one thread: each polls, compares what it is told with what it should be told, and
//! polls again. Every answer of every client is counted.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::Timespec;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, connect, recv, send, socket_with, sockopt,
};

use crate::answer::Answer;
use crate::clients::{Again, Clients, Expected, PATIENCE, Request};
use crate::counts::Counts;
use crate::outcome::{Outcome, because};

#[cfg(test)]
mod tests;

/// Connections from one address: less than the ports that the kernel gives out.
const ON_AN_ADDRESS: usize = 4000;
/// Connections that are opened and not yet answered, where they need not be opened at once.
const OPENING: usize = 256;
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doing {
    Connecting,
    Polling,
    /// It was told, and does not poll yet.
    Told,
    Gone,
}

struct Client {
    socket: Option<OwnedFd>,
    /// What names the state that it has, as the next poll says it.
    since: Box<str>,
    /// The start of an answer whose rest is on its way.
    partial: Vec<u8>,
    doing: Doing,
}

/// The clients.
pub(crate) struct Crowd {
    epoll: OwnedFd,
    address: SocketAddr,
    request: Request,
    expected: Expected,
    again: Again,
    clients: Vec<Client>,
    counts: Counts,
    last_told: Instant,
    received: Vec<u8>,
    sent: String,
}

impl Crowd {
    /// No client yet.
    pub(crate) fn new(address: SocketAddr, request: Request, expected: Expected) -> Outcome<Self> {
        Ok(Self {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            address,
            request,
            expected,
            again: Again::AtOnce,
            clients: Vec::new(),
            counts: Counts::default(),
            last_told: Instant::now(),
            received: vec![0; 256 * 1024],
            sent: String::new(),
        })
    }

    /// Ends all connections abruptly.
    pub(crate) fn leave(&mut self) {
        for client in &mut self.clients {
            client.socket = None;
            client.partial = Vec::new();
            client.doing = Doing::Gone;
        }
    }

    /// All clients connect at once and poll with what they had; until all have sent their request.
    pub(crate) fn storm(&mut self) -> Outcome<()> {
        self.counts = Counts::default();
        for at in 0..self.clients.len() {
            self.open(at)?;
            if at % 64 == 0 {
                self.turn(Duration::ZERO)?;
            }
        }
        while self.clients.iter().any(|client| client.doing == Doing::Connecting) {
            self.step(PATIENCE)?;
            self.counts.must_be_clean()?;
        }
        Ok(())
    }

    /// Handles the next events; that there is none for so long is a failure.
    fn step(&mut self, patience: Duration) -> Outcome<()> {
        if self.turn(patience)? {
            return Ok(());
        }
        Err(because(format!("nothing came from {} for {patience:?}: {}", self.address, self.counts)))
    }

    /// Handles the next events, if there are any within a time.
    fn turn(&mut self, within: Duration) -> Outcome<bool> {
        let within = Timespec { tv_sec: within.as_secs().cast_signed(), tv_nsec: within.subsec_nanos().into() };
        let mut events = Vec::with_capacity(512);
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), Some(&within)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in &events {
            let at = usize::try_from(event.data.u64())?;
            let flags = event.flags;
            if self.clients[at].doing == Doing::Connecting {
                self.connected(at)?;
            }
            if flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) {
                self.read(at)?;
            }
        }
        Ok(!events.is_empty())
    }

    fn open(&mut self, at: usize) -> Outcome<()> {
        let socket =
            socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC, None)?;
        sockopt::set_tcp_nodelay(&socket, true)?;
        // It ends with a reset, so that no port is left waiting.
        sockopt::set_socket_linger(&socket, Some(Duration::ZERO))?;
        if at >= ON_AN_ADDRESS {
            let last = u8::try_from(1 + at / ON_AN_ADDRESS)?;
            bind(&socket, &SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0)))?;
        }
        match connect(&socket, &self.address) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(error) => return Err(error.into()),
        }
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::ET;
        epoll::add(&self.epoll, &socket, EventData::new_u64(at as u64), flags)?;
        let client = &mut self.clients[at];
        client.socket = Some(socket);
        client.doing = Doing::Connecting;
        Ok(())
    }

    fn connected(&mut self, at: usize) -> Outcome<()> {
        let Some(socket) = &self.clients[at].socket else { return Ok(()) };
        if let Err(error) = sockopt::socket_error(socket)? {
            self.counts.lost(&format!("not connected: {error}"));
            self.clients[at].doing = Doing::Gone;
            return Ok(());
        }
        self.poll(at)
    }

    fn poll(&mut self, at: usize) -> Outcome<()> {
        let client = &mut self.clients[at];
        let Some(socket) = &client.socket else { return Err(because("a client without a connection polls")) };
        self.sent.clear();
        self.request.write(at, &client.since, &mut self.sent);
        match send(socket, self.sent.as_bytes(), SendFlags::NOSIGNAL) {
            Ok(sent) if sent == self.sent.len() => client.doing = Doing::Polling,
            other => {
                client.doing = Doing::Gone;
                self.counts.lost(&format!("not sent: {other:?}"));
            }
        }
        Ok(())
    }

    /// Reads until there is nothing more: the next notice is of new bytes alone.
    fn read(&mut self, at: usize) -> Outcome<()> {
        while let Some(received) = self.receive(at) {
            self.take(at, received)?;
            if received < self.received.len() {
                break;
            }
        }
        Ok(())
    }

    /// How many bytes came, if there were any.
    fn receive(&mut self, at: usize) -> Option<usize> {
        let client = &mut self.clients[at];
        let why = match recv(client.socket.as_ref()?, &mut self.received[..], RecvFlags::empty()) {
            Ok((0, _)) => "closed".to_owned(),
            Ok((received, _)) => return Some(received),
            Err(Errno::AGAIN) => return None,
            Err(error) => error.to_string(),
        };
        client.doing = Doing::Gone;
        client.socket = None;
        self.counts.lost(&why);
        None
    }

    /// Takes so many bytes that were received.
    fn take(&mut self, at: usize, received: usize) -> Outcome<()> {
        let client = &mut self.clients[at];
        let whole = client.partial.is_empty();
        client.partial.extend_from_slice(if whole { &[] } else { &self.received[..received] });
        let bytes = if whole { &self.received[..received] } else { &client.partial[..] };
        let Some(answer) = Answer::read(bytes)? else {
            if whole {
                client.partial = self.received[..received].to_vec();
            }
            return Ok(());
        };
        if client.doing != Doing::Polling || answer.length != bytes.len() {
            self.counts.wrong(&String::from_utf8_lossy(bytes));
        }
        match answer.status {
            200 if self.expected.is(at, answer.body) => {
                self.counts.count_told();
                self.last_told = Instant::now();
            }
            200 => self.counts.wrong(&String::from_utf8_lossy(answer.body)),
            204 | 304 => self.counts.unchanged(),
            status => self.counts.refused(status),
        }
        if let Some(name) = self.request.name_of(&answer)
            && *name != *client.since
        {
            client.since = name.into_boxed_str();
        }
        let no_news = matches!(answer.status, 204 | 304);
        client.partial = Vec::new();
        client.doing = Doing::Told;
        if self.again == Again::AtOnce || no_news { self.poll(at) } else { Ok(()) }
    }
}

impl Clients for Crowd {
    fn len(&self) -> usize {
        self.clients.len()
    }

    fn expect(&mut self, expected: Expected, again: Again) {
        self.expected = expected;
        self.again = again;
        self.counts = Counts::default();
    }

    fn grow(&mut self, clients: usize) -> Outcome<()> {
        self.counts = Counts::default();
        self.again = Again::AtOnce;
        let before = self.clients.len();
        while self.clients.len() < clients || self.counts.told() < clients - before {
            while self.clients.len() < clients && self.clients.len() - before - self.counts.told() < OPENING {
                let (since, partial) = (Box::default(), Vec::new());
                self.clients.push(Client { socket: None, since, partial, doing: Doing::Gone });
                self.open(self.clients.len() - 1)?;
            }
            self.step(PATIENCE)?;
            self.counts.must_be_clean()?;
        }
        Ok(())
    }

    fn until_told(&mut self, clients: usize) -> Outcome<Instant> {
        while self.counts.told() < clients {
            self.step(PATIENCE)?;
            self.counts.must_be_clean()?;
        }
        Ok(self.last_told)
    }

    fn poll_again(&mut self) -> Outcome<()> {
        for at in 0..self.clients.len() {
            if self.clients[at].doing == Doing::Told {
                self.poll(at)?;
            }
        }
        Ok(())
    }

    fn rest(&mut self, time: Duration) -> Outcome<()> {
        let until = Instant::now() + time;
        while let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            self.turn(left)?;
        }
        self.counts.must_be_clean()
    }

    fn verdict(&self, told: usize) -> Outcome<()> {
        self.counts.must_be(told)
    }
}
