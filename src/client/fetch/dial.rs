//! Connections to where requests go.

use tokio::net::lookup_host;
use tokio::time::timeout;

use super::Fetch;
use super::target::Target;
use crate::bounds::{CLIENT_ADDRESSES, CLIENT_CONNECT};
use crate::client::connection::Connection;
use crate::client::credentials::Trust;
use crate::client::settings::Endpoint;

/// Makes connections. An error says why there is none.
pub(super) trait Dial: Send {
    /// One to a target; at home a client certificate is shown.
    fn dial(&mut self, target: &Target, is_home: bool) -> impl Future<Output = Result<Connection, String>> + Send;
}

/// Over TCP, and TLS.
#[derive(Debug)]
pub(super) struct Sockets {
    /// What is shown to the origin that was given, and to all others.
    home: Trust,
    away: Trust,
}

impl Sockets {
    pub(super) fn new(fetch: &Fetch) -> Self {
        let home = Trust::new(fetch.ca.clone(), fetch.certificate.clone());
        Self { home, away: Trust::new(fetch.ca.clone(), None) }
    }
}

impl Dial for Sockets {
    async fn dial(&mut self, target: &Target, is_home: bool) -> Result<Connection, String> {
        let endpoint = &target.endpoint;
        let Endpoint { host, port, .. } = endpoint;
        let unknown =
            |why: &str| format!("the name {host} is not known ({why}): see that it is right, and the resolver");
        let Ok(found) = timeout(CLIENT_CONNECT, lookup_host((&**host, *port))).await else {
            return Err(unknown("no answer"));
        };
        let found = found.map_err(|error| unknown(&error.to_string()))?;
        let trust = if is_home { &mut self.home } else { &mut self.away };
        let mut failed = unknown("it has no address");
        for address in found.take(CLIENT_ADDRESSES) {
            match Connection::open(endpoint, address, trust).await {
                Ok(connection) => return Ok(connection),
                Err(failure) if address.ip().to_string() == *host => failed = failure.text,
                Err(failure) => failed = format!("{address}: {}", failure.text),
            }
        }
        Err(failed)
    }
}
