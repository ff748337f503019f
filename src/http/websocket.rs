//! Streams over WebSocket (RFC 6455): the same that others are told by server-sent events, one JSON object in each text message,
//! and messages of the client.
//!
//! ```text
//!  request -> handshake -> judged -> first words -> 101 -> session: source -> socket -> client
//!                  |          |           |                   source <- message <- socket <- client
//!                  v          v           v
//!               a status; to a page, which would not see it, 101 and a close that says why
//! ```
//! A connection is one task. The source is a [`topic`] or an operation; [`socket`] has the bytes, [`session`] the times.

use http::request::Parts;
use http::{Response, Version};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use prometheus::IntCounter;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection::ConnectionState;
use super::response::Body;
use crate::describe::Problem;
use crate::describe::origin::Origins;
use crate::describe::problem::Kind;
use crate::protocol::websocket::CloseCode;

pub mod describe;
mod handshake;
mod message;
mod session;
mod socket;
#[cfg(test)]
mod tests;
pub mod topic;

use handshake::Handshake;
pub(super) use handshake::{is_asked, take_bearer};
use session::Source;

/// What connections of WebSocket need, whatever they stream.
#[derive(Debug, Clone, Default)]
pub struct WebSockets {
    tasks: TaskTracker,
    cut: CancellationToken,
    origins: Origins,
}

impl WebSockets {
    /// Their tasks are among `tasks`, and end when `cut` is cancelled. Pages of `origins` may open them.
    #[must_use]
    pub fn new(tasks: TaskTracker, cut: CancellationToken, origins: Origins) -> Self {
        Self { tasks, cut, origins }
    }

    fn spawn(&self, serving: impl Future<Output = ()> + Send + 'static) {
        let cut = self.cut.clone();
        self.tasks.spawn(async move {
            cut.run_until_cancelled(serving).await;
        });
    }
}

/// A request that asks for a connection of WebSocket.
pub(super) struct Opening {
    handshake: Result<Handshake, Problem>,
    upgrade: Option<OnUpgrade>,
    is_page: bool,
    version: Version,
}

impl Opening {
    /// Of this head. `has_body`: a body follows it.
    pub(super) fn new(parts: &mut Parts, has_body: bool) -> Self {
        let handshake = match Handshake::read(parts) {
            Ok(_) if has_body => {
                Err(Problem::new(Kind::MalformedRequest, "a request for WebSocket has no body: send none"))
            }
            read => read,
        };
        let upgrade = parts.extensions.remove();
        Self { handshake, upgrade, is_page: handshake::is_page(&parts.headers), version: parts.version }
    }

    /// Why it is refused before it is looked at; none: it is well formed, and no page of another origin has sent it.
    pub(super) fn problem(&self, sockets: &WebSockets, parts: &Parts) -> Option<Problem> {
        self.handshake.as_ref().err().cloned().or_else(|| sockets.origins.check(parts).err())
    }

    /// Refuses it. A page sees no status, but the code with which the connection is closed.
    pub(super) fn refuse(self, sockets: &WebSockets, problem: &Problem) -> Response<Body> {
        match (self.handshake, self.upgrade) {
            (Ok(handshake), Some(upgrade)) if self.is_page && problem.kind != Kind::ForeignOrigin => {
                let (code, reason) = (CloseCode::of(problem.kind), problem.detail.clone());
                sockets.spawn(async move {
                    if let Ok(upgraded) = upgrade.await {
                        session::refuse(TokioIo::new(upgraded), code, &reason).await;
                    }
                });
                handshake.accepted()
            }
            _ => handshake::refused(problem, self.version),
        }
    }

    /// Accepts it: its client is told what the source says. Its messages may have so many bytes. `cut` counts those that take
    /// nothing.
    pub(super) fn accept(
        self,
        sockets: &WebSockets,
        source: impl Source + Send + 'static,
        most: usize,
        (connection, cut): (&ConnectionState, &IntCounter),
    ) -> Response<Body> {
        let (Ok(handshake), Some(upgrade)) = (self.handshake, self.upgrade) else {
            let detail = "this connection cannot become one of WebSocket: ask by HTTP/1.1";
            return handshake::refused(&Problem::new(Kind::UpgradeRequired, detail), self.version);
        };
        let (cut, place) = (cut.clone(), connection.take_place());
        // Boxed: what is passed on by value has its room in each future on the way.
        let source = Box::new(source);
        sockets.spawn(async move {
            match upgrade.await {
                Ok(upgraded) => Box::pin(session::serve(TokioIo::new(upgraded), source, most, cut)).await,
                Err(error) => tracing::debug!(%error, "a client left before its connection became one of WebSocket"),
            }
            drop(place);
        });
        handshake.accepted()
    }
}
