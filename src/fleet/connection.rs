//! What is known of a connection that agents poll on. Its owner says when it ends, here and
//! nowhere else: the fleet sees that at its next look.

use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::Instant;

/// A connection of clients. Several agents may share one: behind a proxy, or on HTTP/2.
#[derive(Debug)]
pub struct Connection {
    /// The other end: the client, or the proxy in between.
    pub peer: SocketAddr,
    ended: OnceLock<Instant>,
}

impl Connection {
    /// A connection that has begun.
    #[must_use]
    pub fn new(peer: SocketAddr) -> Self {
        Self { peer, ended: OnceLock::new() }
    }

    /// It has ended at `now`. Only the first end counts.
    pub fn end(&self, now: Instant) {
        let _ = self.ended.set(now);
    }

    /// When it ended; absent: it has not.
    #[must_use]
    pub fn ended(&self) -> Option<Instant> {
        self.ended.get().copied()
    }
}
