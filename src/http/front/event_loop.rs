//! An event loop: what it owns, and what it looks at in turn.

use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use slab::Slab;
use tokio::time::Sleep;
use tokio_util::task::TaskTracker;

use super::answers::Answers;
use super::client::{Client, Phase};
use super::inbox::{ClientRef, Inbox, Message};
use super::known::KnownHeads;
use super::parked::Parked;
use super::place::Place;
use super::poller::{Poller, Ready};
use super::polls::BodyKey;
use super::timers::Timers;
use crate::bounds::{HEAD_BYTES, SLICE};
use crate::http::Router;
use crate::hub::{Change, Mailbox};
use crate::lifecycle::stop;

/// An event loop, and the connections of clients that it owns.
#[derive(Debug)]
pub struct EventLoop<P: Poller> {
    pub(super) router: Arc<Router>,
    pub(super) poller: P,
    pub(super) inbox: Arc<Inbox<P>>,
    mailbox: Arc<Mailbox>,
    pub(super) stop: stop::Watch,
    pub(super) phase: stop::Phase,
    /// Where tasks run that work for a connection.
    pub(super) tasks: TaskTracker,
    pub(super) clients: Slab<Client<P::Socket>>,
    pub(super) timers: Timers,
    pub(super) parked: Parked<u32>,
    pub(super) answers: Answers,
    pub(super) known: KnownHeads,
    /// Who waits for bodies that are being made.
    pub(super) making: HashMap<BodyKey, Vec<ClientRef>>,
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
    work: Work<P>,
}

/// What has come, and is not looked at yet.
#[derive(Debug)]
struct Work<P: Poller> {
    ready: Vec<Ready>,
    messages: Vec<Message<P>>,
    changes: Vec<Arc<Change>>,
}

/// Waits until the process has left a phase. It is polled often, so it is not made anew for each event.
async fn left(mut stop: stop::Watch, phase: stop::Phase) -> (stop::Watch, stop::Phase) {
    let next = stop.left(phase).await;
    (stop, next)
}

impl<P: Poller> EventLoop<P> {
    /// A loop without connections; they come by `inbox`.
    #[must_use]
    pub fn new(router: Arc<Router>, poller: P, inbox: Arc<Inbox<P>>, stop: stop::Watch, tasks: TaskTracker) -> Self {
        let mailbox = Arc::<Mailbox>::default();
        let phase = stop.phase();
        let now = tokio::time::Instant::now().into_std();
        Self {
            router,
            poller,
            inbox,
            parked: Parked::new(Arc::clone(&mailbox), phase, now),
            mailbox,
            stop,
            phase,
            tasks,
            clients: Slab::new(),
            timers: Timers::new(now),
            answers: Answers::default(),
            known: KnownHeads::default(),
            making: HashMap::new(),
            again: VecDeque::new(),
            buffer: vec![0; HEAD_BYTES],
            now,
            lent: 0,
            accepts: true,
            serial: 0,
            work: Work { ready: Vec::new(), messages: Vec::new(), changes: Vec::new() },
        }
    }

    /// Serves connections, until the process closes and the last one has ended.
    pub async fn run(mut self) {
        let mut timer = Box::pin(tokio::time::sleep(std::time::Duration::ZERO));
        let mut next_phase = Box::pin(left(self.stop.clone(), self.phase));
        while self.accepts || self.lent > 0 || !self.clients.is_empty() {
            let is_busy = !self.again.is_empty() || self.parked.is_due();
            if is_busy {
                // Other tasks of the thread have their turn too.
                tokio::task::yield_now().await;
            }
            tokio::select! {
                biased;
                (stop, next) = &mut next_phase => {
                    self.on_phase(next);
                    next_phase.set(left(stop, next));
                }
                () = poll_fn(|cx| self.poll_work(cx, timer.as_mut(), is_busy)) => {}
            }
            self.now = tokio::time::Instant::now().into_std();
            self.answers.tick();
            self.step();
        }
    }

    /// Waits until there is work; `is_busy`: there is some already.
    fn poll_work(&mut self, cx: &mut Context<'_>, mut timer: Pin<&mut Sleep>, is_busy: bool) -> Poll<()> {
        let mut has_work = is_busy;
        if let Poll::Ready(Err(error)) = self.poller.poll_ready(cx, &mut self.work.ready) {
            // The kernel refuses only what is no descriptor of ours.
            tracing::error!(%error, "events of connections cannot be read");
        }
        has_work |= !self.work.ready.is_empty();
        has_work |= self.inbox.poll_take(cx, &mut self.work.messages).is_ready();
        has_work |= self.mailbox.poll_take(cx, &mut self.work.changes).is_ready();
        if let Some(deadline) = self.deadline() {
            if timer.deadline().into_std() != deadline {
                timer.as_mut().reset(deadline.into());
            }
            has_work |= timer.poll(cx).is_ready();
        }
        if has_work { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Takes the changes that have been left.
    #[cfg(test)]
    pub(super) fn take_changes(&mut self) {
        let _ = self.mailbox.poll_take(&Context::from_waker(std::task::Waker::noop()), &mut self.work.changes);
    }

    /// Looks at everything in turn.
    pub(super) fn step(&mut self) {
        for change in std::mem::take(&mut self.work.changes) {
            // Their states are not the current ones any more.
            self.answers.forget();
            self.parked.on_change(&change);
        }
        for message in std::mem::take(&mut self.work.messages) {
            self.on_message(message);
        }
        let mut ready = std::mem::take(&mut self.work.ready);
        for Ready { key, ended } in ready.drain(..) {
            self.look(key, ended);
        }
        self.work.ready = ready;
        for _ in 0..self.again.len() {
            if let Some(key) = self.again.pop_front() {
                self.look_now(key);
            }
        }
        while let Some(key) = self.timers.expired(self.now) {
            self.on_deadline(key);
        }
        self.parked.refresh();
        for _ in 0..SLICE {
            match self.parked.next_released(self.now) {
                Some(released) => self.released(released),
                None => break,
            }
        }
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
            Message::Confirmed(client, consistency) => self.confirmed(client, consistency),
            Message::Made(body, payload) => self.made(body, &payload),
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
        self.now = tokio::time::Instant::now().into_std();
        self.parked.on_phase(phase);
        let keys: Vec<_> = self.clients.iter().filter_map(|(key, _)| u32::try_from(key).ok()).collect();
        for key in keys {
            self.await_head(key);
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
            // These have none.
            Phase::Confirming(_) | Phase::Parked(_) | Phase::Making(_) => {}
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
                Phase::Confirming(_) | Phase::Parked(_) | Phase::Making(_) | Phase::Writing(_) => {}
            }
            self.read(key, false);
        }
    }

    /// When there is work, if nothing happens before.
    fn deadline(&self) -> Option<Instant> {
        [self.timers.next(), self.parked.deadline()].into_iter().flatten().min()
    }
}
