//! PURE. Connections of clients.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use super::caller::Known;

/// A connection of clients. Several may share one: behind a proxy, or on HTTP/2.
#[derive(Debug)]
pub struct Connection {
    /// The other end: the client, or the proxy in between.
    pub peer: SocketAddr,
    /// How its requests are protected.
    pub scheme: Scheme,
    /// The client's certificate; absent: it has shown none.
    pub certificate: Option<Certificate>,
    ended: OnceLock<Instant>,
}

/// A certificate that a client has shown, and that was verified.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// Its owner.
    pub owner: Arc<Known>,
    /// When it ends.
    pub ends: Instant,
}

/// The scheme of the URLs that lead here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// In the clear.
    Http,
    /// Over TLS.
    Https,
}

impl Connection {
    /// A connection that has begun.
    #[must_use]
    pub fn new(peer: SocketAddr, scheme: Scheme) -> Self {
        Self { peer, scheme, certificate: None, ended: OnceLock::new() }
    }

    /// One over TLS, whose client has shown this certificate.
    #[must_use]
    pub fn certified(peer: SocketAddr, certificate: Certificate) -> Self {
        Self { certificate: Some(certificate), ..Self::new(peer, Scheme::Https) }
    }

    /// The same, for who goes on with it after its request was answered.
    #[must_use]
    pub fn again(&self) -> Self {
        Self { certificate: self.certificate.clone(), ..Self::new(self.peer, self.scheme) }
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

impl Scheme {
    /// As URLs and `X-Forwarded-Proto` spell it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}
