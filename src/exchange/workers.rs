//! Who comes for work: shown to operators, and told to the log when they come and go. Nothing of it decides who is given what.

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::Exchange;
use super::metrics::{Counted, Transport};
use crate::bounds::{AGENT_ID_BYTES, EXCHANGE_LOG, EXCHANGE_WORKER_GONE, EXCHANGE_WORKERS};
use crate::telemetry::seldom::Seldom;

/// Looks in a row at which nothing is there of a worker that has gone.
const LOOKS: u32 = 4;

/// What is known of a worker when it dials in or polls.
#[derive(Debug, Clone)]
pub struct WorkerDetails {
    transport: Transport,
    identity: Option<Arc<str>>,
    agent: Option<Arc<str>>,
    peer: SocketAddr,
    slots: usize,
}

/// A worker: all connections and polls of one transport, address, identity and `Agent-Id`.
#[derive(Debug)]
pub struct Worker {
    /// How it comes.
    pub transport: Transport,
    /// Who it is, where somebody is asked that.
    pub identity: Option<Arc<str>>,
    /// `Agent-Id`.
    pub agent: Option<Arc<str>>,
    /// The other end of its first connection.
    pub peer: SocketAddr,
    /// When it came.
    pub since: Instant,
}

/// The workers of an exchange.
#[derive(Debug)]
pub(super) struct Workers {
    exchange: String,
    table: Mutex<Table>,
    lines: Seldom,
}

#[derive(Debug, Default)]
struct Table {
    known: HashMap<Name, Known>,
    /// When it was looked last who is gone; absent: there is nobody.
    looked: Option<Instant>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Name {
    transport: Transport,
    address: IpAddr,
    identity: Option<Arc<str>>,
    agent: Option<Arc<str>>,
}

#[derive(Debug)]
struct Known {
    worker: Arc<Worker>,
    connections: usize,
    /// How often in a row nothing of it was there.
    absent: u32,
    /// Why its last connection ended.
    went: Option<Cow<'static, str>>,
}

/// Why a connection of a worker ends.
#[derive(Debug)]
pub struct Went {
    why: Cow<'static, str>,
    /// The worker is expected to dial in again at once, so that nobody is told unless it does not.
    is_brief: bool,
}

/// A connection of a worker. Dropped without a word, this server has cut it.
#[derive(Debug)]
pub struct Dialled {
    exchange: Arc<Exchange>,
    name: Option<Name>,
    worker: Option<Arc<Worker>>,
    went: Option<Went>,
    _counted: Counted,
}

impl WorkerDetails {
    /// A worker that comes so, with so many slots.
    #[must_use]
    pub fn new(
        transport: Transport,
        (identity, agent): (Option<&Arc<str>>, Option<&Arc<str>>),
        peer: SocketAddr,
        slots: usize,
    ) -> Self {
        let agent = agent.map(|agent| {
            if agent.len() > AGENT_ID_BYTES {
                agent[..agent.floor_char_boundary(AGENT_ID_BYTES)].into()
            } else {
                Arc::clone(agent)
            }
        });
        Self { transport, identity: identity.cloned(), agent, peer, slots }
    }

    /// How it comes.
    #[must_use]
    pub fn transport(&self) -> Transport {
        self.transport
    }

    fn name(&self) -> Name {
        let (identity, agent) = (self.identity.clone(), self.agent.clone());
        Name { transport: self.transport, address: self.peer.ip(), identity, agent }
    }
}

impl Went {
    /// The connection ends for this reason.
    #[must_use]
    pub fn because(why: impl Into<Cow<'static, str>>) -> Self {
        Self { why: why.into(), is_brief: false }
    }

    /// The same, of a worker that is expected to dial in again at once.
    #[must_use]
    pub fn briefly(why: impl Into<Cow<'static, str>>) -> Self {
        Self { why: why.into(), is_brief: true }
    }
}

impl Workers {
    pub(super) fn of(exchange: &str) -> Self {
        Self { exchange: exchange.to_owned(), table: Mutex::default(), lines: Seldom::new(EXCHANGE_LOG) }
    }

    /// A worker comes, with connections of its own or without; none: there are too many to know them all. `first`: nobody was
    /// there before.
    fn come(
        &self,
        details: &WorkerDetails,
        name: Name,
        connections: usize,
        first: impl FnOnce(),
    ) -> Option<Arc<Worker>> {
        let mut table = self.table();
        if let Some(known) = table.known.get_mut(&name) {
            known.connections += connections;
            known.absent = 0;
            return Some(Arc::clone(&known.worker));
        }
        if table.known.len() >= EXCHANGE_WORKERS {
            return None;
        }
        let is_first = table.known.is_empty();
        let WorkerDetails { transport, identity, agent, peer, .. } = details.clone();
        let worker = Arc::new(Worker { transport, identity, agent, peer, since: Instant::now() });
        let known = Known { worker: Arc::clone(&worker), connections, absent: 0, went: None };
        table.known.insert(name, known);
        table.looked.get_or_insert_with(Instant::now);
        drop(table);
        if is_first {
            first();
        }
        if let Some(before) = self.lines.next() {
            tracing::info!(
                exchange = self.exchange,
                transport = worker.transport.as_str(),
                agent = worker.agent.as_deref(),
                identity = worker.identity.as_deref(),
                peer = %worker.peer,
                slots = details.slots,
                before,
                "a worker has come"
            );
        }
        Some(worker)
    }

    /// A connection has ended.
    fn went(&self, name: &Name, went: Went) {
        let mut table = self.table();
        let Some(known) = table.known.get_mut(name) else { return };
        known.connections = known.connections.saturating_sub(1);
        known.went = Some(went.why);
        if known.connections > 0 || went.is_brief {
            return;
        }
        let gone = table.known.remove(name);
        drop(table);
        self.tell(gone);
    }

    /// When it is looked next who is gone.
    pub(super) fn next_look(&self) -> Option<Instant> {
        self.table().looked.map(|looked| looked + EXCHANGE_WORKER_GONE / LOOKS)
    }

    /// Forgets those of whom nothing was there for a while.
    pub(super) fn look(&self) {
        let mut table = self.table();
        let is_gone = |known: &mut Known| {
            // A poll that waits, and a claim, have the worker too.
            let is_there = known.connections > 0 || Arc::strong_count(&known.worker) > 1;
            known.absent = if is_there { 0 } else { known.absent + 1 };
            known.absent >= LOOKS
        };
        let gone: Vec<_> = table.known.extract_if(|_, known| is_gone(known)).map(|(_, known)| known).collect();
        table.looked = (!table.known.is_empty()).then(Instant::now);
        drop(table);
        self.tell(gone);
    }

    /// How many are known.
    pub(super) fn count(&self) -> usize {
        self.table().known.len()
    }

    /// Those that are known, the longest known first.
    pub(super) fn all(&self) -> Vec<Arc<Worker>> {
        let mut all: Vec<_> = self.table().known.values().map(|known| Arc::clone(&known.worker)).collect();
        all.sort_by_key(|worker| worker.since);
        all
    }

    fn tell(&self, gone: impl IntoIterator<Item = Known>) {
        for Known { worker, went, .. } in gone {
            let Some(before) = self.lines.next() else { continue };
            let why = went.as_deref().unwrap_or("it polls no more");
            tracing::info!(
                exchange = self.exchange,
                transport = worker.transport.as_str(),
                agent = worker.agent.as_deref(),
                identity = worker.identity.as_deref(),
                peer = %worker.peer,
                why,
                seconds = worker.since.elapsed().as_secs(),
                before,
                "a worker is gone"
            );
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Every step leaves a whole value.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Exchange {
    /// A worker has dialled in, on a connection of its own.
    #[must_use]
    pub fn dialled(self: &Arc<Self>, details: &WorkerDetails) -> Dialled {
        let name = details.name();
        let worker = self.workers.come(details, name.clone(), 1, || self.earlier.notify_one());
        let counted = self.metrics.worker(details.transport);
        let name = worker.is_some().then_some(name);
        Dialled { exchange: Arc::clone(self), name, worker, went: None, _counted: counted }
    }

    /// The worker that polls.
    pub(super) fn polling(&self, details: &WorkerDetails) -> Option<Arc<Worker>> {
        self.workers.come(details, details.name(), 0, || self.earlier.notify_one())
    }
}

impl Dialled {
    /// The worker, if it is known.
    #[must_use]
    pub fn worker(&self) -> Option<Arc<Worker>> {
        self.worker.clone()
    }

    /// Why the connection ends.
    pub fn ends(mut self, went: Went) {
        self.went = Some(went);
    }
}

impl Drop for Dialled {
    fn drop(&mut self) {
        let went = self.went.take().unwrap_or_else(|| Went::because("this server has ended it"));
        self.worker = None;
        if let Some(name) = &self.name {
            self.exchange.workers.went(name, went);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::advance;

    use super::*;

    fn details(transport: Transport, agent: &str, port: u16) -> WorkerDetails {
        WorkerDetails::new(transport, (None, Some(&agent.into())), ([127, 0, 0, 1], port).into(), 1)
    }

    fn come(workers: &Workers, details: &WorkerDetails, connections: usize) -> Option<Arc<Worker>> {
        workers.come(details, details.name(), connections, || ())
    }

    async fn look_for(workers: &Workers, time: Duration, looks: u32) {
        for _ in 0..looks {
            advance(time / LOOKS).await;
            workers.look();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_dials_in_again_at_once_or_polls_on_is_the_same_worker_and_who_does_not_is_gone() {
        let workers = Workers::of("x");
        assert!(workers.next_look().is_none());
        let (dials, polls) = (details(Transport::Http1, "a", 1), details(Transport::Claims, "b", 2));
        let first = come(&workers, &dials, 1).expect("there is room");
        let waits = come(&workers, &polls, 0).expect("there is room");
        assert!(workers.next_look().is_some());
        workers.went(&dials.name(), Went::briefly("it was idle for long"));
        let again = come(&workers, &details(Transport::Http1, "a", 3), 1).expect("it is known");
        assert!(Arc::ptr_eq(&first, &again), "whatever its port is");
        drop((first, again));
        look_for(&workers, EXCHANGE_WORKER_GONE, LOOKS).await;
        assert_eq!(workers.all().len(), 2, "one is connected, the other one waits");
        workers.went(&dials.name(), Went::briefly("it was idle for long"));
        drop(waits);
        look_for(&workers, EXCHANGE_WORKER_GONE, LOOKS - 1).await;
        assert_eq!(workers.all().len(), 2, "not at once");
        drop(come(&workers, &polls, 0));
        look_for(&workers, EXCHANGE_WORKER_GONE, 1).await;
        assert_eq!(workers.all().len(), 1, "who polls again has more time");
        look_for(&workers, EXCHANGE_WORKER_GONE, LOOKS - 1).await;
        assert!(workers.all().is_empty() && workers.next_look().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_worker_whose_connections_broke_is_gone_with_the_last_of_them() {
        let workers = Workers::of("x");
        let both = details(Transport::Http2, "a", 1);
        for _ in 0..2 {
            come(&workers, &both, 1).expect("there is room");
        }
        workers.went(&both.name(), Went::because("its connection broke"));
        assert_eq!(workers.all().len(), 1);
        workers.went(&both.name(), Went::because("its connection broke"));
        assert!(workers.all().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn so_many_are_known_and_their_names_are_short() {
        let workers = Workers::of("x");
        for number in 0..EXCHANGE_WORKERS {
            assert!(come(&workers, &details(Transport::Claims, &number.to_string(), 1), 0).is_some());
        }
        assert!(come(&workers, &details(Transport::Claims, "more", 1), 0).is_none());
        let long = details(Transport::Claims, &"a".repeat(10_000), 1);
        assert_eq!(long.agent.as_deref().map(str::len), Some(AGENT_ID_BYTES));
    }
}
