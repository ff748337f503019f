//! A connection of HTTP/2: one task, which owns all that belongs to its streams.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use h2::server::{self, SendResponse};
use h2::{Reason, RecvStream};
use http::Request;
use slab::Slab;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;
use tokio::time::Sleep;

use super::exchange;
use super::notice::Notice;
use super::ping::Pings;
use super::polls::is_read;
use super::respond::{Piece, Written};
use super::socket::{Socket, Turn};
use super::stream::{Stream, Writing};
use crate::bounds::{HTTP2_GIVEN_UP, IDLE_CONNECTION, LINGER, SLOW_READER};
use crate::describe::PollRequest;
use crate::http::Router;
use crate::http::connection::ConnectionState;
use crate::http::head::{self, Head};
use crate::http::polls::parked::Parked;
use crate::http::polls::timers::Timers;
use crate::http::polls::{Found, Owner as _, Polls};
use crate::http::request_body::{RequestBody, StreamBody};
use crate::hub::{Change, Mailbox};
use crate::lifecycle::stop;

/// Requests that are taken, and polls that are answered, before h2 is given its turn: as many frames it has room for, and
/// it never gives that room back.
const AT_ONCE: usize = 8;

/// A connection, and the streams on it.
pub(super) struct Connection<S> {
    h2: server::Connection<Socket<S>, Piece>,
    /// What h2 may do with its socket.
    turn: Arc<Turn>,
    /// There may be more to read, and the last bytes were no requests.
    reads_on: bool,
    pub(super) router: Arc<Router>,
    pub(super) state: Arc<ConnectionState>,
    stop: stop::Watch,
    phase: stop::Phase,
    pings: Option<Pings>,
    /// Polls that are not answered.
    pub(super) streams: Slab<Stream>,
    pub(super) polls: Polls<Written>,
    mailbox: Arc<Mailbox>,
    /// Answers that the client has no room for, and until when it must have made some.
    pub(super) writing: Slab<Writing>,
    pub(super) timers: Timers,
    /// Until when the clients of event streams must have made room.
    pub(super) stalls: Timers,
    pub(super) notice: Arc<Notice>,
    /// Gives the notice.
    pub(super) waker: Waker,
    pub(super) last_request: Option<Arc<PollRequest>>,
    /// Those that work for this connection, and end with it.
    pub(super) tasks: JoinSet<Option<Found>>,
    /// Requests that were reset before they were looked at, of those that have come together. h2 counts them as well, but is
    /// not let read so many.
    given_up: usize,
    /// The client has closed its sending side, and its parked polls are answered.
    half_closed: bool,
    /// When it is looked whether there was no request for long.
    idle: Instant,
    /// When it ends at the latest, since its peer is dead.
    dead: Option<Instant>,
    pub(super) now: Instant,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    pub(super) fn new(
        mut h2: server::Connection<Socket<S>, Piece>,
        turn: Arc<Turn>,
        router: Arc<Router>,
        state: Arc<ConnectionState>,
        stop: stop::Watch,
    ) -> Self {
        let now = now();
        let pings = h2.ping_pong().map(|pings| Pings::new(pings, now));
        let (mailbox, notice) = (Arc::<Mailbox>::default(), Arc::<Notice>::default());
        let phase = stop::Phase::default();
        Self {
            h2,
            turn,
            reads_on: false,
            router,
            state,
            stop,
            phase,
            pings,
            streams: Slab::new(),
            polls: Polls::new(Parked::new(Arc::clone(&mailbox), phase, now)),
            mailbox,
            writing: Slab::new(),
            timers: Timers::new(now),
            stalls: Timers::new(now),
            waker: Waker::from(Arc::clone(&notice)),
            notice,
            last_request: None,
            tasks: JoinSet::new(),
            given_up: 0,
            half_closed: false,
            idle: now + IDLE_CONNECTION,
            dead: None,
            now,
        }
    }

    /// Serves it to its end.
    pub(super) async fn run(mut self) -> Result<(), h2::Error> {
        let mut timer = Box::pin(tokio::time::sleep(std::time::Duration::ZERO));
        let mut stop = self.stop.clone();
        let mut withdrawals = self.router.access.withdrawals();
        let mut withdrawn = withdrawals.count();
        loop {
            let phase = self.phase;
            tokio::select! {
                // A stop that has begun is known before requests are looked at.
                biased;
                next = stop.left(phase) => self.on_phase(next),
                count = withdrawals.more_than(withdrawn) => {
                    withdrawn = count;
                    self.polls.on_withdrawal(&self.router.access);
                }
                ended = poll_fn(|cx| self.poll(cx, timer.as_mut())) => return ended,
            }
        }
    }

    fn on_phase(&mut self, phase: stop::Phase) {
        if phase.closing && !self.phase.closing {
            self.h2.graceful_shutdown();
        }
        self.phase = phase;
        self.polls.on_phase(phase);
    }

    /// Looks at everything in turn, until there is nothing to do.
    fn poll(&mut self, cx: &mut Context<'_>, mut timer: Pin<&mut Sleep>) -> Poll<Result<(), h2::Error>> {
        loop {
            self.now = now();
            self.polls.answers.tick();
            self.look_at_peer(cx);
            if self.dead.is_some_and(|dead| dead <= self.now) {
                return Poll::Ready(Ok(()));
            }
            self.look_at_changes(cx);
            if self.notice.take(cx) {
                self.look_at_streams();
            }
            let mut is_busy = self.release(AT_ONCE);
            self.reset_slow();
            // Behind all that begins a task, or its end would not be noticed.
            self.look_at_tasks(cx);
            self.turn.begin(!self.reads_on);
            let Some(has_any) = self.requests(cx)? else { return Poll::Ready(Ok(())) };
            self.reads_on = !has_any && self.turn.was_cut();
            if !self.turn.was_cut() {
                self.given_up = 0;
            }
            is_busy |= has_any | self.is_to_go_on();
            if !is_busy && self.turn.uncork() {
                let Some(has_any) = self.requests(cx)? else { return Poll::Ready(Ok(())) };
                is_busy = has_any | self.is_to_go_on();
            }
            if is_busy {
                continue;
            }
            if timer.deadline().into_std() != self.deadline() {
                timer.as_mut().reset(self.deadline().into());
            }
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }

    /// Lets h2 read and write, and looks at the requests that it has read. Whether there were any; none: the connection has
    /// ended.
    fn requests(&mut self, cx: &mut Context<'_>) -> Result<Option<bool>, h2::Error> {
        let mut taken = Vec::new();
        while taken.len() < AT_ONCE {
            match self.h2.poll_accept(cx) {
                Poll::Ready(Some(request)) => taken.push(request?),
                Poll::Ready(None) => return Ok(None),
                Poll::Pending => break,
            }
        }
        let has_any = !taken.is_empty();
        for (request, respond) in taken {
            self.request(request, respond);
        }
        Ok(Some(has_any))
    }

    fn look_at_tasks(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready(Some(found)) = self.tasks.poll_join_next(cx) {
            // Else a defect of ours has ended it, which the log says; its stream is reset.
            if let Ok(Some(found)) = found {
                self.found(found);
            }
        }
    }

    /// Whether the peer lives, and wants something.
    fn look_at_peer(&mut self, cx: &mut Context<'_>) {
        if let Some(pings) = &mut self.pings
            && pings.poll(cx, self.now).is_ready()
        {
            tracing::debug!(peer = %self.state.client.peer, "a connection whose peer is dead ends");
            self.pings = None;
            self.dead = Some(self.now + LINGER);
            self.h2.abrupt_shutdown(Reason::NO_ERROR);
        }
        if self.idle <= self.now {
            let since = self.state.unasked_since().map_or(self.now, tokio::time::Instant::into_std);
            self.idle = since + IDLE_CONNECTION;
            if self.idle <= self.now {
                self.h2.graceful_shutdown();
                self.idle = self.now + IDLE_CONNECTION;
            }
        }
    }

    fn look_at_changes(&mut self, cx: &Context<'_>) {
        let mut changes: Vec<Arc<Change>> = Vec::new();
        if self.mailbox.poll_take(cx, &mut changes).is_ready() {
            for change in changes {
                self.polls.on_change(&change);
            }
        }
    }

    /// Something has happened to some of the streams: there are few enough to look at each.
    fn look_at_streams(&mut self) {
        let mut cx = Context::from_waker(&self.waker);
        let is_gone = |stream: &mut Stream| stream.poll_reset(&mut cx).is_ready();
        let gone: Vec<_> = keys(&mut self.streams, is_gone);
        for key in gone {
            self.gone(key);
        }
        let sent: Vec<_> = keys(&mut self.writing, |writing| writing.unsent.has_ended());
        for key in sent {
            self.writing.remove(key as usize);
            self.timers.set(key, None);
        }
        self.events_sent();
    }

    /// The client has given a stream up.
    pub(super) fn gone(&mut self, key: u32) {
        self.stalls.set(key, None);
        if let Some(parked) = self.streams.try_remove(key as usize).and_then(|stream| stream.parked()) {
            self.polls.parked.abandon(parked);
        }
    }

    /// Resets what is not taken.
    fn reset_slow(&mut self) {
        while let Some(key) = self.timers.expired(self.now) {
            let Some(writing) = self.writing.get(key as usize) else { continue };
            let deadline = writing.unsent.moved() + SLOW_READER;
            if deadline > self.now {
                self.timers.set(key, Some(deadline));
            } else {
                self.router.metrics.slow_readers_cut.inc();
                self.writing.remove(key as usize).unsent.reset();
            }
        }
        self.cut_stalled();
    }

    /// Whether something has happened while h2 had its turn.
    fn is_to_go_on(&mut self) -> bool {
        self.look_at_end() | self.notice.is_given() | self.turn.was_cut()
    }

    /// Whether the client has closed its sending side meanwhile.
    fn look_at_end(&mut self) -> bool {
        let has_ended = self.state.is_half_closed() && !std::mem::replace(&mut self.half_closed, true);
        if has_ended {
            let parked: Vec<_> = self.streams.iter().filter_map(|(_, stream)| stream.parked()).collect();
            for parked in parked {
                self.half_closes(parked);
            }
        }
        has_ended
    }

    /// When there is something to do, if nothing happens before.
    fn deadline(&self) -> Instant {
        let pings = self.pings.as_ref().map(Pings::deadline);
        let others = [pings, self.dead, self.polls.parked.deadline(), self.timers.next(), self.stalls.next()];
        others.into_iter().flatten().fold(self.idle, Instant::min)
    }

    fn request(&mut self, request: Request<RecvStream>, mut respond: SendResponse<Piece>) {
        if let Some(pings) = &mut self.pings {
            pings.heard(self.now);
        }
        // From now on it is noticed if it is reset.
        if respond.poll_reset(&mut Context::from_waker(&self.waker)).is_ready() {
            self.given_up += 1;
            if self.given_up == HTTP2_GIVEN_UP + 1 {
                self.h2.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
            }
            return;
        }
        let answering = self.state.begin();
        let (parts, body) = request.into_parts();
        let is_plain = is_read(&parts.method) && body.is_end_stream() && !self.router.polls_by_hyper;
        let operation = if is_plain { self.router.operations.get(parts.uri.path()) } else { None };
        if let Some(operation) = operation.filter(|_| head::check(&Head::of(&parts)).is_ok()) {
            drop(body);
            let head = parts.method == http::Method::HEAD;
            let page = self.router.origins().listed(&parts.headers);
            let stream = Stream { respond, waits: None, head, page, record: None, answering, events: None, sent: None };
            let key = self.streams.insert(stream);
            let short = u32::try_from(key).unwrap_or(u32::MAX);
            self.poll_arrives(short, &parts, operation);
            return;
        }
        let body = RequestBody::Http2(StreamBody::new(body, &parts.headers));
        let (router, state) = (Arc::clone(&self.router), Arc::clone(&self.state));
        let exchange = exchange::run(router, state, Request::from_parts(parts, body), respond, answering);
        self.tasks.spawn(async move {
            exchange.await;
            None
        });
    }
}

impl<S> Drop for Connection<S> {
    fn drop(&mut self) {
        for stream in self.streams.drain() {
            if let Some(parked) = stream.parked() {
                self.polls.parked.abandon(parked);
            }
        }
    }
}

/// The keys of those that are chosen.
pub(super) fn keys<T>(slab: &mut Slab<T>, mut is_chosen: impl FnMut(&mut T) -> bool) -> Vec<u32> {
    let chosen = slab.iter_mut().filter_map(|(key, item)| is_chosen(item).then_some(key));
    chosen.filter_map(|key| u32::try_from(key).ok()).collect()
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
