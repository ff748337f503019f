//! A client's connection, as its stream, its requests and its owner know it: what it is doing, since
//! when, and whether the client has sent all that it will send.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Context;

use futures::task::AtomicWaker;
use tokio::time::{Duration, Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::front::Place;
use crate::access;

/// What a connection of a client is doing.
#[derive(Debug)]
pub struct ConnectionState {
    /// The same for who judges its requests, and for the agents that poll on it.
    pub client: Arc<access::Connection>,
    state: Mutex<State>,
    /// The task that serves it, where that waits for the last answer.
    task: AtomicWaker,
    half_closed: CancellationToken,
    /// Its place among the connections that may be open: whoever outlives the requests on it takes it.
    place: Mutex<Option<Place>>,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    /// Requests that are being answered: of HTTP/1.1 one at most.
    requests: u32,
    /// Those of them that have an answer, which is being written.
    writing: u32,
    /// Since when there is none.
    idle_since: Instant,
    /// Bytes of another request are here.
    more: bool,
}

/// What the bytes are, and whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The client's: a head is awaited, or arrives. Heads that come before their turn wait.
    Idle,
    /// A head is on its way to hyper.
    Passed,
    /// Ours: a request is being answered.
    Busy,
    /// The answer is there, and not yet written.
    Answered,
    /// No HTTP any more.
    Tunnel,
}

/// What there is to do before a connection may end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    /// Nothing.
    Nothing,
    /// Answers are being written.
    Writing,
    /// A request has no answer yet.
    Answering,
}

/// A request that is being answered, until this is dropped.
#[derive(Debug)]
pub struct Answering {
    connection: Arc<ConnectionState>,
    has_answer: bool,
}

impl ConnectionState {
    /// A connection whose first request is about to be passed on.
    #[must_use]
    pub fn new(client: Arc<access::Connection>) -> Self {
        let state = State { phase: Phase::Idle, requests: 0, writing: 0, idle_since: Instant::now(), more: false };
        Self {
            client,
            state: Mutex::new(state),
            task: AtomicWaker::new(),
            half_closed: CancellationToken::new(),
            place: Mutex::default(),
        }
    }

    /// The same, with its place.
    #[must_use]
    pub fn with_place(self, place: Place) -> Self {
        Self { place: Mutex::new(Some(place)), ..self }
    }

    /// Takes its place; none: it has none, or it was taken.
    pub fn take_place(&self) -> Option<Place> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// A request has come.
    pub fn begin(self: &Arc<Self>) -> Answering {
        let mut state = self.state();
        state.requests += 1;
        if state.phase == Phase::Passed {
            state.phase = Phase::Busy;
        }
        drop(state);
        Answering { connection: Arc::clone(self), has_answer: false }
    }

    /// Waits until the client has closed its sending side (a FIN). Its earlier requests are
    /// answered; a parked one at once, since most clients that send a FIN are gone.
    pub async fn half_closed(&self) {
        self.half_closed.cancelled().await;
    }

    /// Is cancelled then, for who outlives the request.
    #[must_use]
    pub fn end(&self) -> &CancellationToken {
        &self.half_closed
    }

    /// Whether it has.
    #[must_use]
    pub fn is_half_closed(&self) -> bool {
        self.half_closed.is_cancelled()
    }

    /// Whether the request that is being answered is the last one that the client has sent so far.
    #[must_use]
    pub fn is_last(&self) -> bool {
        !self.state().more
    }

    /// Waits until there has been no request for `time`.
    pub async fn idle_for(&self, time: Duration) {
        loop {
            let until = {
                let state = self.state();
                if state.requests == 0 { state.idle_since + time } else { Instant::now() + time }
            };
            sleep_until(until).await;
            let state = self.state();
            if state.requests == 0 && state.idle_since + time <= Instant::now() {
                return;
            }
        }
    }

    /// Waits until it may be closed: at once while a request is being answered, since that goes
    /// on; else until there has been none for `time`. Who has just been answered may have sent the next.
    pub async fn may_close(&self, time: Duration) {
        if self.state().requests == 0 {
            self.idle_for(time).await;
        }
    }

    pub(super) fn phase(&self) -> Phase {
        self.state().phase
    }

    /// A head has been passed on: no other is until it is answered. `more`: bytes are here that are
    /// not of its request.
    pub(super) fn head_passed(&self, more: bool) {
        let mut state = self.state();
        state.phase = Phase::Passed;
        state.more = more;
    }

    /// Since when there is no request.
    pub(super) fn idle_since(&self) -> Instant {
        self.state().idle_since
    }

    /// The same, unless there is one.
    pub(super) fn unasked_since(&self) -> Option<Instant> {
        let state = self.state();
        (state.requests == 0).then_some(state.idle_since)
    }

    /// All that there was to write is written. Whether that answered a request, so that the next may come.
    pub(super) fn written(&self) -> bool {
        let mut state = self.state();
        let answered = state.phase == Phase::Answered;
        if answered {
            state.phase = Phase::Idle;
        }
        answered
    }

    /// Bytes have come that are not of the request that is being answered.
    pub(super) fn has_more(&self) {
        self.state().more = true;
    }

    pub(super) fn has_half_closed(&self) {
        self.half_closed.cancel();
    }

    /// What is left to do; wakes the task that asks once that changes.
    pub(super) fn left(&self, cx: &Context<'_>) -> Left {
        self.task.register(cx.waker());
        let state = self.state();
        match state.requests {
            0 => Left::Nothing,
            requests if requests == state.writing => Left::Writing,
            _ => Left::Answering,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Answering {
    /// The answer is there, and is to be written.
    pub fn answered(&mut self) {
        if !std::mem::replace(&mut self.has_answer, true) {
            self.connection.state().writing += 1;
            self.connection.task.wake();
        }
    }

    /// What follows on the connection is no HTTP.
    pub fn becomes_tunnel(&self) {
        self.connection.state().phase = Phase::Tunnel;
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        {
            let mut state = self.connection.state();
            state.requests -= 1;
            state.writing -= u32::from(self.has_answer);
            state.idle_since = Instant::now();
            if state.phase == Phase::Busy {
                state.phase = Phase::Answered;
            }
        }
        self.connection.task.wake();
    }
}
