//! A connection of HTTP/2: one task.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use h2::server::{self, SendResponse};
use h2::{Reason, RecvStream};
use http::Request;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;
use tokio::time::Sleep;

use super::exchange;
use super::ping::Pings;
use super::respond::Piece;
use super::socket::Socket;
use crate::bounds::{IDLE_CONNECTION, LINGER};
use crate::http::Router;
use crate::http::connection::ConnectionState;
use crate::http::request_body::{RequestBody, StreamBody};
use crate::lifecycle::stop;

/// A connection, and the streams on it.
pub(super) struct Connection<S> {
    h2: server::Connection<Socket<S>, Piece>,
    router: Arc<Router>,
    state: Arc<ConnectionState>,
    stop: stop::Watch,
    phase: stop::Phase,
    pings: Option<Pings>,
    /// Of requests that are answered on tasks of their own. They end with the connection.
    tasks: JoinSet<()>,
    /// When it is looked whether there was no request for long.
    idle: Instant,
    /// When it ends at the latest, since its peer is dead.
    dead: Option<Instant>,
    now: Instant,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    pub(super) fn new(
        mut h2: server::Connection<Socket<S>, Piece>,
        router: Arc<Router>,
        state: Arc<ConnectionState>,
        stop: stop::Watch,
    ) -> Self {
        let now = now();
        let pings = h2.ping_pong().map(|pings| Pings::new(pings, now));
        Self {
            h2,
            router,
            state,
            stop,
            phase: stop::Phase::default(),
            pings,
            tasks: JoinSet::new(),
            idle: now + IDLE_CONNECTION,
            dead: None,
            now,
        }
    }

    /// Serves it to its end.
    pub(super) async fn run(mut self) -> Result<(), h2::Error> {
        let mut timer = Box::pin(tokio::time::sleep(std::time::Duration::ZERO));
        let mut stop = self.stop.clone();
        loop {
            let phase = self.phase;
            tokio::select! {
                // What has come is read before the end is looked at.
                biased;
                ended = poll_fn(|cx| self.poll(cx, timer.as_mut())) => return ended,
                next = stop.left(phase) => self.on_phase(next),
            }
        }
    }

    fn on_phase(&mut self, phase: stop::Phase) {
        if phase.closing && !self.phase.closing {
            self.h2.graceful_shutdown();
        }
        self.phase = phase;
    }

    /// Looks at everything in turn, until there is nothing to do.
    fn poll(&mut self, cx: &mut Context<'_>, mut timer: Pin<&mut Sleep>) -> Poll<Result<(), h2::Error>> {
        loop {
            self.now = now();
            self.look_at_peer(cx);
            if self.dead.is_some_and(|dead| dead <= self.now) {
                return Poll::Ready(Ok(()));
            }
            while let Poll::Ready(Some(_)) = self.tasks.poll_join_next(cx) {}
            match self.h2.poll_accept(cx) {
                Poll::Ready(Some(Ok((request, respond)))) => {
                    self.request(request, respond);
                    continue;
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error)),
                Poll::Ready(None) => return Poll::Ready(Ok(())),
                Poll::Pending => {}
            }
            if timer.deadline().into_std() != self.deadline() {
                timer.as_mut().reset(self.deadline().into());
            }
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
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

    /// When there is something to do, if nothing happens before.
    fn deadline(&self) -> Instant {
        let pings = self.pings.as_ref().map(Pings::deadline);
        [pings, self.dead].into_iter().flatten().fold(self.idle, Instant::min)
    }

    fn request(&mut self, request: Request<RecvStream>, respond: SendResponse<Piece>) {
        if let Some(pings) = &mut self.pings {
            pings.heard(self.now);
        }
        let (parts, body) = request.into_parts();
        let body = RequestBody::Http2(StreamBody::new(body, &parts.headers));
        let (router, state) = (Arc::clone(&self.router), Arc::clone(&self.state));
        let request = Request::from_parts(parts, body);
        self.tasks.spawn(exchange::run(router, state, request, respond, self.state.begin()));
    }
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
