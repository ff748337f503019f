//! Connections that are lent: to hyper, for requests that are no plain polls, and to HTTP/2.

use std::error::Error;
use std::sync::Arc;

use super::client::{Client, Input, Phase};
use super::event_loop::EventLoop;
use super::inbox::{Inbox, Message};
use super::place::Place;
use super::poller::Poller;
use crate::http::Begun;
use crate::http::head::{Passed, Reader};
use crate::http::http1::{self, Lent};
use crate::http::http2;
use crate::http::stream::Back;

/// Why a connection has ended that was lent.
type Ended = Box<dyn Error + Send + Sync>;

/// A connection that is lent. Once this is dropped its loop does not wait for it any more, also if what served it panicked.
struct Loan<P: Poller> {
    inbox: Arc<Inbox<P>>,
    back: Option<Box<(Back<P::Socket>, Place)>>,
}

impl<P: Poller> Loan<P> {
    /// It ends, and the connection comes back, if it has not ended.
    fn end(mut self, back: Option<(Back<P::Socket>, Place)>) {
        self.back = back.map(Box::new);
    }
}

impl<P: Poller> Drop for Loan<P> {
    fn drop(&mut self) {
        self.inbox.send(Message::Returned(self.back.take()));
    }
}

impl<P: Poller> EventLoop<P> {
    fn loan(&mut self) -> Loan<P> {
        self.lent += 1;
        Loan { inbox: Arc::clone(&self.inbox), back: None }
    }

    /// Lends a connection of HTTP/1.1, of which `held` was read: it begins with a head that has passed, and with whose request
    /// this loop has perhaps begun.
    pub(super) fn lend(&mut self, key: u32, held: Vec<u8>, passed: Passed, begun: Option<Begun>) {
        let Some((socket, place, half_closed)) = self.take_out(key) else { return };
        let (router, stop) = (Arc::clone(&self.router), self.stop.clone());
        let (loan, peer) = (self.loan(), place.peer());
        self.spawn(async move {
            let served = async {
                let lent = Lent { stream: P::stream(socket)?, held, passed, half_closed, place, begun };
                let Some((back, place)) = http1::serve(lent, router, stop).await? else { return Ok::<_, Ended>(None) };
                let Back { stream, held, half_closed, idle_since } = back;
                Ok(Some((Back { stream: P::socket(stream)?, held, half_closed, idle_since }, place)))
            };
            let back = served.await.unwrap_or_else(|error| {
                tracing::debug!(error, %peer, "connection ended");
                None
            });
            loan.end(back);
        });
    }

    /// Lends a connection of HTTP/2, of which `held` was read, to its end.
    pub(super) fn lend_http2(&mut self, key: u32, held: Vec<u8>) {
        let Some((socket, mut place, _)) = self.take_out(key) else { return };
        let (router, stop, loan) = (Arc::clone(&self.router), self.stop.clone(), self.loan());
        self.spawn(async move {
            let connection = place.connection();
            let served = async {
                http2::serve(P::stream(socket)?, held, connection, router, stop).await?;
                Ok::<_, Ended>(())
            };
            if let Err(error) = served.await {
                tracing::debug!(error, peer = %place.peer(), "connection ended");
            }
            drop(place);
            loan.end(None);
        });
    }

    /// A connection has come back, or has ended.
    pub(super) fn returned(&mut self, back: Option<Box<(Back<P::Socket>, Place)>>) {
        self.lent -= 1;
        let Some((Back { stream: socket, held, half_closed, idle_since }, place)) = back.map(|back| *back) else {
            return;
        };
        let Some(key) = self.add(socket, place) else { return };
        let Some(client) = self.clients.get_mut(key as usize) else { return };
        client.idle_since = idle_since.into_std();
        client.flags.has_begun = true;
        client.flags.half_closed = half_closed;
        if !held.is_empty() {
            client.input = Some(Box::new(Input { bytes: held, reader: Reader::default() }));
        }
        self.go_on(key);
    }

    /// Takes a connection out of the loop.
    fn take_out(&mut self, key: u32) -> Option<(P::Socket, Place, bool)> {
        let Client { socket, place, flags, phase, .. } = self.clients.try_remove(key as usize)?;
        debug_assert!(matches!(phase, Phase::Head), "a request that is being answered keeps its connection");
        self.timers.set(key, None);
        match self.poller.remove(&socket) {
            Ok(()) => Some((socket, place, flags.half_closed)),
            Err(error) => {
                tracing::warn!(%error, peer = %place.peer(), "a connection cannot be served");
                None
            }
        }
    }
}
