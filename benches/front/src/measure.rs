//! The measurements. Each starts the servers that it compares in turn, and fails where a client was told something else
//! than it should have been.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::candidates::Running;
use crate::clients::{Again, Clients, Expected, PATIENCE};
use crate::figures::{Figures, What};
use crate::model;
use crate::outcome::{Outcome, because};

pub(crate) mod agents;
pub(crate) mod cluster;
pub(crate) mod curve;
pub(crate) mod http2;
pub(crate) mod nodes;
pub(crate) mod pothead;
pub(crate) mod proxy;
pub(crate) mod reverse;
pub(crate) mod start;
pub(crate) mod topics;

/// Clients that come and go before anything is measured, so that code and tables are in memory.
const FIRST_CLIENTS: usize = 10;
/// Longer than Tidewait keeps between two states (`--min-interval`).
const BETWEEN_CHANGES: Duration = Duration::from_millis(120);

/// How much is measured.
#[derive(Debug, Clone)]
pub(crate) struct Extent {
    /// Clients, ascending; at the last number everything is measured.
    pub(crate) clients: Vec<usize>,
    /// Clients that select a node each.
    pub(crate) nodes: usize,
    /// Requests of a kilobyte through a proxy; a twentieth as many are of 256 kB.
    pub(crate) proxied: usize,
    /// Requests for a job of 100 ms.
    pub(crate) jobs: usize,
    /// Requests through workers over reverse HTTP/2.
    pub(crate) exchanged: usize,
    /// Requests that wait for a worker; half as many polls of workers.
    pub(crate) queued: usize,
    /// Messages a second that are published at a topic, and its readers.
    pub(crate) rates: Vec<usize>,
    pub(crate) readers: usize,
    /// For how many seconds, at a rate of a few messages and at one of many.
    pub(crate) published: (usize, usize),
}

impl Extent {
    /// The most clients.
    pub(crate) fn most(&self) -> usize {
        self.clients.last().copied().unwrap_or_default()
    }
}

/// What a server serves while it is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Subject {
    /// A model of a kilobyte, for everyone.
    Small,
    /// A model of so many nodes, of which each client selects one.
    Nodes(usize),
    /// The same, where each is told by a patch.
    Patches(usize),
}

impl Subject {
    fn model(self, generation: u64) -> Vec<u8> {
        match self {
            Self::Small => model::small(generation),
            Self::Nodes(count) | Self::Patches(count) => model::nodes(count, generation, generation),
        }
    }

    fn expected(self, generation: u64) -> Expected {
        match self {
            Self::Small => Expected::Whole(model::small(generation)),
            Self::Nodes(_) => Expected::Nodes(generation),
            Self::Patches(_) => Expected::Patches(generation),
        }
    }

    /// What a client is told that has nothing yet.
    fn first(self, generation: u64) -> Expected {
        if let Self::Patches(_) = self { Expected::Nodes(generation) } else { self.expected(generation) }
    }
}

/// Bytes of a server.
#[derive(Debug, Clone, Copy)]
struct Memory {
    resident: u64,
    charged: Option<u64>,
}

/// A server and its clients while they are measured.
struct Stage<'a, C> {
    running: &'a mut Running,
    clients: C,
    subject: Subject,
    generation: u64,
    changed: Instant,
    idle: Memory,
}

/// What one change cost.
#[derive(Debug, Clone, Copy)]
struct Cycle {
    /// The CPU time of the server until all were parked again.
    cpu: Duration,
    /// From the change to the last client that was told.
    last_told: Duration,
    /// From there until the change was accepted, where somebody else accepts it.
    written: Duration,
}

impl<'a, C: Clients> Stage<'a, C> {
    /// A server that serves generation 1, after its first clients have left.
    fn new(
        running: &'a mut Running,
        subject: Subject,
        make: impl Fn(SocketAddr, Expected) -> Outcome<C>,
    ) -> Outcome<Self> {
        let address = running.address;
        let idle = Memory { resident: 0, charged: None };
        let clients = make(address, subject.first(1))?;
        let mut stage = Self { running, clients, subject, generation: 1, changed: Instant::now(), idle };
        stage.grow(FIRST_CLIENTS)?;
        for _ in 0..3 {
            stage.cycle(Again::WhenAsked)?;
        }
        stage.clients = make(address, subject.first(stage.generation))?;
        stage.until_parked(0)?;
        stage.idle = stage.memory();
        Ok(stage)
    }

    fn memory(&self) -> Memory {
        Memory { resident: self.running.process.resident(), charged: self.running.process.charged() }
    }

    /// Adds what each client takes more than the idle server, in kB.
    fn add_memory(&self, figures: &mut Figures, who: &'static str, resident: What, charged: Option<What>) {
        let (now, clients) = (self.memory(), self.clients.len());
        let each = |now: u64, idle: u64| number(now.saturating_sub(idle)) / number(clients as u64) / 1000.0;
        figures.add(resident, who, clients, each(now.resident, self.idle.resident));
        if let (Some(what), Some(now), Some(idle)) = (charged, now.charged, self.idle.charged) {
            figures.add(what, who, clients, each(now, idle));
        }
    }

    /// Adds clients until this many are parked.
    fn grow(&mut self, clients: usize) -> Outcome<()> {
        self.clients.grow(clients)?;
        self.until_parked(clients)
    }

    /// Waits until the server has so many parked.
    fn until_parked(&mut self, clients: usize) -> Outcome<()> {
        let start = Instant::now();
        loop {
            let parked = self.running.parked()?;
            if parked == clients {
                return Ok(());
            }
            if start.elapsed() > PATIENCE {
                return Err(because(format!("{parked} are parked, where {clients} should be")));
            }
            self.clients.rest(Duration::from_millis(10))?;
        }
    }

    /// Changes the model: everyone is told and polls again.
    fn cycle(&mut self, again: Again) -> Outcome<Cycle> {
        self.generation += 1;
        let model = self.subject.model(self.generation);
        self.change(&model, self.subject.expected(self.generation), self.clients.len(), again)
    }

    /// Changes the model: so many are told and poll again.
    fn change(&mut self, model: &[u8], expected: Expected, told: usize, again: Again) -> Outcome<Cycle> {
        self.clients.rest(BETWEEN_CHANGES.saturating_sub(self.changed.elapsed()))?;
        self.clients.expect(expected, again);
        let before = self.running.process.cpu();
        self.changed = Instant::now();
        self.running.change(model)?;
        let written = self.changed.elapsed();
        let last_told = self.clients.until_told(told)? - self.changed;
        self.clients.poll_again()?;
        self.until_parked(self.clients.len())?;
        self.clients.verdict(told)?;
        Ok(Cycle { cpu: self.running.process.cpu().saturating_sub(before), last_told, written })
    }

    /// Several changes, of which each adds to the figures.
    fn cycles(
        &mut self,
        count: usize,
        again: Again,
        figures: &mut Figures,
        who: &'static str,
        whats: (What, What),
    ) -> Outcome<()> {
        for _ in 0..count {
            let cycle = self.cycle(again)?;
            figures.add(whats.0, who, self.clients.len(), micros_each(cycle.cpu, self.clients.len()));
            figures.add(whats.1, who, self.clients.len(), millis(cycle.last_told));
        }
        Ok(())
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn micros_each(time: Duration, count: usize) -> f64 {
    time.as_secs_f64() * 1e6 / number(count as u64)
}

#[expect(clippy::cast_precision_loss, reason = "far less than 2^52")]
fn number(count: u64) -> f64 {
    count as f64
}
