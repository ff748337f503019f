//! The connection of a process to its NATS servers: one for all that is kept there.

use std::sync::Arc;
use std::time::Duration;

use async_nats::{Client, ConnectOptions, Event, Subscriber};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::bounds::{EXCHANGE_NATS, EXCHANGE_NATS_LOG};
use crate::config::Nats;
use crate::telemetry::seldom::Seldom;

/// How often a server is asked whether it lives.
const PING: Duration = Duration::from_secs(5);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum NatsError {
    /// The credentials cannot be read.
    #[error("the credentials for NATS in {0} cannot be read (--nats-credentials)")]
    Credentials(std::path::PathBuf, #[source] std::io::Error),
    /// The servers cannot be spoken to as they are described.
    #[error("NATS cannot be reached as it is described (--nats, --nats-ca)")]
    Connect(#[from] async_nats::ConnectError),
}

/// The connection.
#[derive(Debug, Clone)]
pub struct Connection {
    /// What speaks to the servers.
    pub client: Client,
    /// How often it was made.
    pub made: watch::Receiver<u64>,
    /// On how many servers each request and each message is kept.
    pub copies: usize,
}

/// Connects, now or once a server is there: it is tried again without end.
pub async fn connect(nats: &Nats) -> Result<Connection, NatsError> {
    let (makes, made) = watch::channel(0);
    let makes = Arc::new(makes);
    let (lines, servers) = (Seldom::new(EXCHANGE_NATS_LOG), nats.servers.join(","));
    let mut options = ConnectOptions::new()
        .name("tidewait")
        .retry_on_initial_connect()
        .connection_timeout(EXCHANGE_NATS)
        .request_timeout(Some(EXCHANGE_NATS))
        .ping_interval(PING)
        .reconnect_delay_callback(|attempts| Duration::from_millis(100 << attempts.min(4)))
        .event_callback(move |event| {
            if matches!(event, Event::Connected) {
                makes.send_modify(|made| *made += 1);
            }
            tell(&event, &lines, &servers);
            std::future::ready(())
        });
    if let Some(ca) = &nats.ca {
        options = options.add_root_certificates(ca.clone());
    }
    if let Some(path) = &nats.credentials {
        let read = std::fs::read_to_string(path).and_then(|text| options.credentials(&text));
        options = read.map_err(|error| NatsError::Credentials(path.clone(), error))?;
    }
    Ok(Connection { client: options.connect(nats.servers.clone()).await?, made, copies: nats.replicas })
}

/// Tells operators of it: a server that is away is one line now and then, since it is tried again many times.
fn tell(event: &Event, lines: &Seldom, servers: &str) {
    match event {
        Event::Connected => tracing::info!(servers, "connected to NATS"),
        Event::Disconnected => tracing::warn!(servers, "the connection to NATS is lost: it is made anew"),
        Event::ServerError(error) => {
            if let Some(before) = lines.next() {
                tracing::warn!(servers, %error, before, "NATS refuses (see --nats-credentials where it is about authorization)");
            }
        }
        Event::ClientError(error) => {
            if let Some(before) = lines.next() {
                tracing::warn!(servers, %error, before, "NATS cannot be reached: see whether its servers run, and --nats, --nats-ca");
            }
        }
        Event::LameDuckMode | Event::Draining | Event::Closed | Event::SlowConsumer(_) => {
            tracing::debug!(%event, "NATS");
        }
    }
}

/// How long it takes until a subject is listened to again, after that has failed.
const AGAIN: Duration = Duration::from_secs(1);

/// Listens to a subject, as soon as that can be done.
pub async fn listen(client: &Client, subject: &str) -> Subscriber {
    loop {
        match client.subscribe(subject.to_owned()).await {
            Ok(heard) => return heard,
            Err(_) => sleep(AGAIN).await,
        }
    }
}

/// An error of NATS.
pub type NatsFailure = Box<dyn std::error::Error + Send + Sync>;

/// What a message has beside its payload.
const AROUND: usize = 4096;

/// How many bytes a message may have, as the server says.
#[must_use]
pub fn room(client: &Client) -> usize {
    client.server_info().max_payload.saturating_sub(AROUND).max(AROUND)
}

/// How an exchange or a topic is called in names of NATS: those of object stores have letters, digits, `-` and `_` alone.
#[must_use]
pub fn plain(name: &str) -> String {
    name.replace('_', "__").replace('.', "_d")
}

#[cfg(test)]
mod tests {
    #[test]
    fn two_exchanges_have_two_names() {
        let names = ["work", "a.b", "a_b", "a_.b", "a._b", "a_db"].map(super::plain);
        assert_eq!(names, ["work", "a_db", "a__b", "a___db", "a_d__b", "a__db"]);
    }
}
