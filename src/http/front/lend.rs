//! Connections that are lent: to hyper, for requests that are no plain polls, and to HTTP/2.

use std::sync::Arc;

use super::client::{Client, Input, Phase};
use super::event_loop::EventLoop;
use super::inbox::Message;
use super::place::Place;
use super::poller::Poller;
use crate::http::head::{Passed, Reader};
use crate::http::http1::{self, Lent};
use crate::http::http2;
use crate::http::stream::Back;

impl<P: Poller> EventLoop<P> {
    /// Lends a connection of HTTP/1.1, of which `held` was read: it begins with a head that has passed.
    pub(super) fn lend(&mut self, key: u32, held: Vec<u8>, passed: Passed) {
        let Some((stream, mut place, half_closed)) = self.take_out(key) else { return };
        let lent = Lent { stream, held, passed, half_closed, connection: place.connection() };
        let served = http1::serve(lent, Arc::clone(&self.router), self.stop.clone());
        let inbox = Arc::clone(&self.inbox);
        self.lent += 1;
        self.tasks.spawn(async move {
            let back = served.await.unwrap_or_else(|error| {
                tracing::debug!(%error, peer = %place.peer(), "connection ended");
                None
            });
            inbox.send(Message::Returned(back.map(|back| Box::new((back, place)))));
        });
    }

    /// Lends a connection of HTTP/2, of which `held` was read, to its end.
    pub(super) fn lend_http2(&mut self, key: u32, held: Vec<u8>) {
        let Some((stream, mut place, _)) = self.take_out(key) else { return };
        let (router, stop, inbox) = (Arc::clone(&self.router), self.stop.clone(), Arc::clone(&self.inbox));
        self.lent += 1;
        self.tasks.spawn(async move {
            let served = http2::serve(stream, held, place.connection(), router, stop);
            if let Err(error) = served.await {
                tracing::debug!(%error, peer = %place.peer(), "connection ended");
            }
            inbox.send(Message::Returned(None));
        });
    }

    /// A connection has come back, or has ended.
    pub(super) fn returned(&mut self, back: Option<Box<(Back<P::Stream>, Place)>>) {
        self.lent -= 1;
        let Some((Back { stream, held, half_closed, idle_since }, place)) = back.map(|back| *back) else { return };
        let Ok(socket) = P::socket(stream) else { return };
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
    fn take_out(&mut self, key: u32) -> Option<(P::Stream, Place, bool)> {
        let Client { socket, place, flags, phase, .. } = self.clients.try_remove(key as usize)?;
        debug_assert!(matches!(phase, Phase::Head), "a request that is being answered keeps its connection");
        self.timers.set(key, None);
        match self.poller.remove(&socket).and_then(|()| P::stream(socket)) {
            Ok(stream) => Some((stream, place, flags.half_closed)),
            Err(error) => {
                tracing::warn!(%error, peer = %place.peer(), "a connection cannot be served");
                None
            }
        }
    }
}
