//! PINGs (RFC 9113, section 6.7): a peer that was not heard of for long is asked whether it still lives.

use std::task::{Context, Poll};
use std::time::Instant;

use h2::{Ping, PingPong};

use crate::bounds::DEAD_PEER;

/// Asks the peer of a connection.
pub(super) struct Pings {
    channel: PingPong,
    /// When it is asked, or was asked for so long that it is dead.
    deadline: Instant,
    is_asked: bool,
}

impl Pings {
    /// Nothing is asked yet.
    pub(super) fn new(pings: PingPong, now: Instant) -> Self {
        Self { channel: pings, deadline: now + DEAD_PEER / 2, is_asked: false }
    }

    /// The peer has sent a request.
    pub(super) fn heard(&mut self, now: Instant) {
        if !self.is_asked {
            self.deadline = now + DEAD_PEER / 2;
        }
    }

    /// When [`Self::poll`] has something to do, if nothing happens before.
    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Asks, or takes the answer. Ready: the peer is dead.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<()> {
        // An error is that of the connection, which says so itself.
        if self.is_asked && self.channel.poll_pong(cx).is_ready() {
            self.is_asked = false;
            self.deadline = now + DEAD_PEER / 2;
        }
        if now < self.deadline {
            return Poll::Pending;
        }
        if self.is_asked {
            return Poll::Ready(());
        }
        self.is_asked = self.channel.send_ping(Ping::opaque()).is_ok();
        self.deadline = now + DEAD_PEER / 2;
        // To be woken for the answer.
        if self.is_asked && self.channel.poll_pong(cx).is_ready() {
            self.is_asked = false;
        }
        Poll::Pending
    }
}
