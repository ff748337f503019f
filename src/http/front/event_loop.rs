//! An event loop: what it owns, and what it looks at in turn.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use slab::Slab;
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

use super::client::{Client, Phase};
use super::inbox::{Inbox, Message};
use super::known::KnownHeads;
use super::place::Place;
use super::poller::{Poller, Ready};
use super::topics::Readers;
use super::written::Written;
use crate::bounds::{HEAD_BYTES, SLICE};
use crate::http::Router;
use crate::http::polls::parked::Parked;
use crate::http::polls::timers::Timers;
use crate::http::polls::{Owner as _, Polls};
use crate::hub::{Change, Mailbox};
use crate::lifecycle::stop;

/// An event loop, and the connections of clients that it owns.
#[derive(Debug)]
pub struct EventLoop<P: Poller> {
    pub(super) router: Arc<Router>,
    pub(super) poller: P,
    pub(super) inbox: Arc<Inbox<P>>,
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) stop: stop::Watch,
    pub(super) phase: stop::Phase,
    /// Where tasks run that work for a connection.
    tasks: TaskTracker,
    runtime: Handle,
    pub(super) clients: Slab<Client<P::Socket>>,
    pub(super) timers: Timers,
    pub(super) polls: Polls<Written>,
    pub(super) readers: Readers,
    pub(super) known: KnownHeads,
    /// Connections to look at without an event.
    again: VecDeque<u32>,
    /// Into which is read.
    pub(super) buffer: Vec<u8>,
    /// The time when the loop looked at it last.
    pub(super) now: Instant,
    /// Connections that may come back.
    pub(super) lent: usize,
    accepts: bool,
    serial: u64,
    messages: Vec<Message<P>>,
    changes: Vec<Arc<Change>>,
    /// The phase that the process is in by now.
    new_phase: Option<stop::Phase>,
    next_phase: NextPhase,
    /// Credentials were withdrawn, and parked polls are not looked at yet.
    has_withdrawn: bool,
    next_withdrawal: NextWithdrawal,
}

/// Waits for the next phase of the process.
struct NextPhase(Pin<Box<dyn Future<Output = stop::Phase> + Send>>);

/// Waits until credentials are withdrawn.
struct NextWithdrawal(Pin<Box<dyn Future<Output = u64> + Send>>);

impl NextWithdrawal {
    /// More often than this.
    fn after(count: u64, router: &Router) -> Self {
        let mut withdrawals = router.access.withdrawals();
        Self(Box::pin(async move { withdrawals.more_than(count).await }))
    }
}

impl std::fmt::Debug for NextWithdrawal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NextWithdrawal").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for NextPhase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NextPhase").finish_non_exhaustive()
    }
}

/// Waits until the process has left a phase. It is polled often, so it is not made anew for each event.
async fn left(mut stop: stop::Watch, phase: stop::Phase) -> stop::Phase {
    stop.left(phase).await
}

impl<P: Poller> EventLoop<P> {
    /// A loop without connections; they come by `inbox`. Its driver calls [`Self::take_messages`] and [`Self::step`]; tasks that
    /// work for a connection run on `runtime`.
    #[must_use]
    pub fn new(
        router: Arc<Router>,
        poller: P,
        inbox: Arc<Inbox<P>>,
        stop: stop::Watch,
        tasks: TaskTracker,
        runtime: Handle,
    ) -> Self {
        let mailbox = Arc::<Mailbox>::default();
        let phase = stop.phase();
        let now = tokio::time::Instant::now().into_std();
        let next_phase = NextPhase(Box::pin(left(stop.clone(), phase)));
        let next_withdrawal = NextWithdrawal::after(router.access.withdrawals().count(), &router);
        Self {
            router,
            poller,
            inbox,
            polls: Polls::new(Parked::new(Arc::clone(&mailbox), phase, now)),
            readers: Readers::default(),
            mailbox,
            stop,
            phase,
            tasks,
            runtime,
            clients: Slab::new(),
            timers: Timers::new(now),
            known: KnownHeads::default(),
            again: VecDeque::new(),
            buffer: vec![0; HEAD_BYTES],
            now,
            lent: 0,
            accepts: true,
            serial: 0,
            messages: Vec::new(),
            changes: Vec::new(),
            new_phase: None,
            next_phase,
            has_withdrawn: false,
            next_withdrawal,
        }
    }

    /// Whether the process closes and the last connection has ended.
    #[must_use]
    pub fn is_over(&self) -> bool {
        !self.accepts && self.lent == 0 && self.clients.is_empty()
    }

    /// Whether there is work to do at once.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        !self.again.is_empty() || self.polls.parked.is_due() || self.readers.are_due()
    }

    /// When there is work, if nothing happens before.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        [self.timers.next(), self.polls.parked.deadline()].into_iter().flatten().min()
    }

    /// Takes what other threads have left, and says whether there was something. Otherwise the waker is woken once there is.
    pub fn take_messages(&mut self, cx: &mut Context<'_>) -> bool {
        let mut some = self.inbox.poll_take(cx, &mut self.messages).is_ready();
        some |= self.mailbox.poll_take(cx, &mut self.changes).is_ready();
        while let Poll::Ready(phase) = self.next_phase.0.as_mut().poll(cx) {
            self.next_phase = NextPhase(Box::pin(left(self.stop.clone(), phase)));
            self.new_phase = Some(phase);
            some = true;
        }
        while let Poll::Ready(count) = self.next_withdrawal.0.as_mut().poll(cx) {
            self.next_withdrawal = NextWithdrawal::after(count, &self.router);
            self.has_withdrawn = true;
            some = true;
        }
        some
    }

    /// Looks at everything in turn: at what was taken, at the connections that are `ready`, and at what is due `now`.
    pub fn step(&mut self, ready: &mut Vec<Ready>, now: Instant) {
        self.now = now;
        self.polls.answers.tick();
        if let Some(phase) = self.new_phase.take() {
            self.on_phase(phase);
        }
        if std::mem::take(&mut self.has_withdrawn) {
            self.polls.on_withdrawal(&self.router.access);
            self.exchanges_withdrawn();
            self.readers_withdrawn();
        }
        for change in std::mem::take(&mut self.changes) {
            self.polls.on_change(&change);
            self.readers.on_change(&change);
        }
        for message in std::mem::take(&mut self.messages) {
            self.on_message(message);
        }
        for Ready { key, ended } in ready.drain(..) {
            self.look(key, ended);
        }
        for _ in 0..self.again.len() {
            if let Some(key) = self.again.pop_front() {
                self.look_now(key);
            }
        }
        while let Some(key) = self.timers.expired(self.now) {
            self.on_deadline(key);
        }
        self.release(SLICE);
        self.release_readers(SLICE);
    }

    /// Runs a task that works for a connection.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn_on(task, &self.runtime);
    }

    fn on_message(&mut self, message: Message<P>) {
        match message {
            Message::Accepted(socket, place) => {
                if let Some(key) = self.add(socket, place) {
                    self.await_head(key);
                }
            }
            Message::Closed => self.accepts = false,
            Message::Returned(back) => self.returned(back),
            Message::Found(found) => self.found(found),
            Message::Changed(client) => self.exchange_changed(client),
            Message::Judged(client, found) => self.reader_found(client, *found),
        }
    }

    /// Takes a connection.
    pub(super) fn add(&mut self, socket: P::Socket, place: Place) -> Option<u32> {
        self.serial += 1;
        let key = self.clients.insert(Client::new(socket, place, self.serial, self.now));
        let short = u32::try_from(key).ok()?;
        match self.poller.add(short, &mut self.clients[key].socket) {
            Ok(()) => Some(short),
            Err(error) => {
                let client = self.clients.remove(key);
                tracing::warn!(%error, peer = %client.place.peer(), "a connection cannot be served");
                None
            }
        }
    }

    fn on_phase(&mut self, phase: stop::Phase) {
        self.phase = phase;
        self.polls.on_phase(phase);
        let keys: Vec<_> = self.clients.iter().filter_map(|(key, _)| u32::try_from(key).ok()).collect();
        for key in keys {
            self.await_head(key);
            self.exchange_drains(key);
            self.reader_drains(key);
        }
    }

    /// A connection has done nothing for as long as it may.
    fn on_deadline(&mut self, key: u32) {
        let Some(client) = self.clients.get_mut(key as usize) else { return };
        match &client.phase {
            Phase::Head if client.flags.awaits_rest && !self.phase.closing => self.close(key),
            Phase::Head => self.end(key),
            Phase::Writing(_) => {
                self.router.metrics.slow_readers_cut.inc();
                self.close(key);
            }
            Phase::Lingering => self.close(key),
            Phase::Exchange(_) => self.exchange_over(key),
            Phase::Topic(_) => self.reader_due(key),
            // It has a deadline of its own, if any.
            Phase::Poll(_) => {}
        }
    }

    /// Looks at a connection again, after others.
    pub(super) fn look_again(&mut self, key: u32) {
        let Some(client) = self.clients.get_mut(key as usize) else { return };
        if !std::mem::replace(&mut client.flags.again, true) {
            self.again.push_back(key);
        }
    }

    fn look_now(&mut self, key: u32) {
        let Some(client) = self.clients.get_mut(key as usize) else { return };
        if std::mem::take(&mut client.flags.again) {
            match client.phase {
                Phase::Lingering => return self.drop_input(key),
                Phase::Head => self.go_on(key),
                Phase::Poll(_) | Phase::Exchange(_) | Phase::Topic(_) | Phase::Writing(_) => {}
            }
            self.read(key);
        }
    }
}
