//! Requests that their event loop parks: consumers that wait for a worker or its answer, and polls of workers. hyper serves
//! their connections once there is something to do: while it holds one, that takes many times as much memory.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::request::Parts;
use tokio::sync::futures::OwnedNotified;
use tokio::time::Instant;

use super::prefer::Preferences;
use super::{Answered, Arrived, Asked, At, Exchanges, Received, claims, consumer, problem_response, request, work};
use crate::access::{Caller, Scheme};
use crate::describe::Problem;
use crate::exchange::body::RequestBody as ItemBody;
use crate::exchange::core::Key;
use crate::exchange::entry::Entry;
use crate::exchange::id::ItemId;
use crate::exchange::{Exchange, Seated};
use crate::http::access::Access;
use crate::http::connection::ConnectionState;
use crate::http::describe::slot;
use crate::http::head::Framing;
use crate::http::request_body::RequestBody;
use crate::lifecycle::stop;

/// A request that is parked.
#[derive(Debug)]
pub(in crate::http) struct ParkedRequest {
    exchange: Arc<Exchange>,
    caller: Caller,
    /// It has a body, of which nothing is read before a worker has the request.
    has_body: bool,
    /// When it is answered, as the process stops.
    drains_at: Option<Instant>,
    /// An error: nothing, since it is refused.
    waits: Result<Waits, Problem>,
}

/// What it waits for.
#[derive(Debug)]
enum Waits {
    /// A consumer, for a worker that reads its body, or for its answer.
    Consumer(consumer::Held, Changes),
    /// A consumer that has come back, for its answer.
    Work(work::Held, Changes),
    /// A worker that polls, for a request.
    Poll(claims::Held),
}

/// Tells when an item has changed.
type Changes = Pin<Box<OwnedNotified>>;

/// Parks a request whose caller may do this, of those that [`Asked::parks`] says; none: it is answered at once.
pub(in crate::http) fn park(
    exchanges: &Exchanges,
    Asked { exchange, at }: &Asked,
    caller: Caller,
    (peer, scheme): (std::net::SocketAddr, Scheme),
    (parts, framing): (Parts, Framing),
) -> Option<ParkedRequest> {
    let has_body = framing != Framing::Length(0);
    let received = Received { exchange, config: exchange.config(), exchanges, caller, peer, scheme, parts };
    let waits = match at {
        At::Path(key) => for_worker(&received, key.as_ref(), framing),
        At::Endpoint(rest) => match rest.strip_prefix("work/") {
            Some(item) => for_answer(&received, item)?,
            None => for_request(&received)?,
        },
    };
    Some(ParkedRequest { exchange: Arc::clone(exchange), caller: received.caller, has_body, drains_at: None, waits })
}

fn for_worker(received: &Received<'_>, key: Option<&Key>, framing: Framing) -> Result<Waits, Problem> {
    let length = match framing {
        Framing::Length(length) => Some(length),
        Framing::Chunked => None,
    };
    let preferences = Preferences::of(&received.parts.headers);
    let body = ItemBody::awaited(length, received.config.body.replay);
    consumer::submit(received, key.cloned(), body, preferences).map(|held| {
        let changes = changes(held.consumer.entry());
        Waits::Consumer(held, changes)
    })
}

fn for_answer(received: &Received<'_>, item: &str) -> Option<Result<Waits, Problem>> {
    let item = ItemId::parse(item)?;
    if received.exchange.may_find(item) {
        return None;
    }
    let consumer = received.exchange.attach(item)?;
    Some(work::hold(received, consumer).map(|held| {
        let changes = changes(held.consumer.entry());
        Waits::Work(held, changes)
    }))
}

fn for_request(received: &Received<'_>) -> Option<Result<Waits, Problem>> {
    match claims::seat(received) {
        Ok(Seated::Waits(held)) => Some(Ok(Waits::Poll(held))),
        // The same again, once more.
        Ok(Seated::Again(_)) => None,
        Err(problem) => Some(Err(problem)),
    }
}

fn changes(entry: &Entry) -> Changes {
    Box::pin(Arc::clone(entry.changed()).notified_owned())
}

impl ParkedRequest {
    /// Ready once there is something to do for it; until then the waker is woken, perhaps for nothing.
    pub(in crate::http) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let has_body = self.has_body;
        let (entry, changed) = match &mut self.waits {
            Err(_) => return Poll::Ready(()),
            Ok(Waits::Poll(held)) => return held.slot.poll_given(cx),
            Ok(Waits::Consumer(held, changed)) => (held.consumer.entry(), changed),
            Ok(Waits::Work(held, changed)) => (held.consumer.entry(), changed),
        };
        while changed.as_mut().poll(cx).is_ready() {
            *changed = changes(entry);
        }
        // After that, so that nothing falls in between.
        if entry.has_ended() || has_body && entry.is_taken() { Poll::Ready(()) } else { Poll::Pending }
    }

    /// When there is something to do, if nothing happens before.
    pub(in crate::http) fn deadline(&self) -> std::time::Instant {
        let until = match &self.waits {
            Ok(Waits::Consumer(held, _)) => held.until,
            Ok(Waits::Work(held, _)) => held.until,
            Ok(Waits::Poll(held)) => held.until,
            Err(_) => Instant::now(),
        };
        self.drains_at.map_or(until, |at| at.min(until)).into_std()
    }

    /// How long a poll of a worker was held whose time is over without a request for it; none: it is not over, or no poll.
    pub(in crate::http) fn ended_poll(&self, now: std::time::Instant) -> Option<Duration> {
        let Ok(Waits::Poll(held)) = &self.waits else { return None };
        (self.deadline() <= now).then(|| held.begun.elapsed())
    }

    /// Whether bytes of its body may come.
    pub(in crate::http) fn has_body(&self) -> bool {
        self.has_body
    }

    /// The process drains, or closes.
    pub(in crate::http) fn on_phase(&mut self, phase: stop::Phase) {
        self.drains_at = Some(slot(phase).into());
    }

    /// Whether its caller was let in, and may no longer.
    pub(in crate::http) fn is_lost(&self) -> bool {
        self.caller.lost().is_some()
    }
}

/// Answers a request that was parked, on its connection, which is read from now on.
pub(in crate::http) async fn resume(
    exchanges: &Exchanges,
    parked: ParkedRequest,
    access: &Access,
    (connection, stop): (&ConnectionState, &stop::Watch),
    (parts, body): (Parts, RequestBody),
) -> Answered {
    let ParkedRequest { exchange, caller, waits, drains_at, has_body } = parked;
    let arrived = Arrived::new((exchanges, &exchange), (access, caller), (connection, stop), parts);
    let waits = match (waits, arrived.lost()) {
        (Ok(waits), None) => waits,
        (Err(problem), _) | (Ok(_), Some(problem)) => {
            return Answered { is_read: !has_body, ..Answered::of(problem_response(&problem)) };
        }
    };
    match waits {
        // Its loop has nothing more to do for it.
        Waits::Consumer(held, changes) => {
            drop(changes);
            held.consumer.entry().request.body.comes(request::incoming(body));
            consumer::answer_held(&arrived, held, drains_at).await
        }
        Waits::Work(held, changes) => {
            drop(changes);
            work::answer_held(&arrived, held, drains_at).await
        }
        Waits::Poll(held) => claims::answer_held(&arrived, held, drains_at).await,
    }
}
