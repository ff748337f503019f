//! How many connections of clients are open, and how many may be.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use prometheus::IntGauge;
use tokio::time::Instant;

use crate::access::caller::Known;
use crate::access::{Certificate, Connection, Scheme};
use crate::authentication::Peer;

/// The places for connections.
#[derive(Debug)]
pub struct Places {
    limit: usize,
    taken: AtomicUsize,
    gauge: IntGauge,
}

/// The place of one, from its begin to its end.
#[derive(Debug)]
pub struct Place {
    places: Arc<Places>,
    peer: SocketAddr,
    scheme: Scheme,
    /// Made for who asks: most clients are no agents.
    connection: Option<Arc<Connection>>,
}

impl Places {
    /// So many, and a gauge of those that are taken.
    #[must_use]
    pub fn new(limit: usize, gauge: IntGauge) -> Arc<Self> {
        Arc::new(Self { limit, taken: AtomicUsize::new(0), gauge })
    }

    /// How many there are.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Takes one for a connection from `peer`; none: all are taken.
    #[must_use]
    pub fn take(self: &Arc<Self>, peer: SocketAddr) -> Option<Place> {
        let take = |taken: usize| (taken < self.limit).then_some(taken + 1);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).ok()?;
        self.gauge.inc();
        Some(Place { places: Arc::clone(self), peer, scheme: Scheme::Http, connection: None })
    }
}

impl Place {
    /// The other end.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// As who judges its requests looks at it.
    #[must_use]
    pub fn as_peer(&self) -> Peer<'_> {
        let certificate = self.connection.as_ref().and_then(|connection| connection.certificate.as_ref());
        Peer { address: self.peer, scheme: self.scheme, certificate }
    }

    /// How its requests are protected.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// It is over TLS. `client`: whose certificate the client has shown, and when that ends.
    #[must_use]
    pub fn secured(mut self, client: Option<(Arc<Known>, std::time::Instant)>) -> Self {
        self.scheme = Scheme::Https;
        let certificate = client.map(|(owner, ends)| Certificate { owner, ends });
        self.connection = certificate.map(|certificate| Arc::new(Connection::certified(self.peer, certificate)));
        self
    }

    /// The connection, for who judges its requests, and for the agents that poll on it.
    pub fn connection(&mut self) -> Arc<Connection> {
        let connection = || Arc::new(Connection::new(self.peer, self.scheme));
        Arc::clone(self.connection.get_or_insert_with(connection))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(connection) = &self.connection {
            connection.end(Instant::now().into_std());
        }
        self.places.taken.fetch_sub(1, Ordering::Relaxed);
        self.places.gauge.dec();
    }
}
