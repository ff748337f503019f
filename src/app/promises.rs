//! What `tidewait check` says of topics at NATS: how their messages are stored, as their streams are configured.

use tokio::runtime::Builder;
use tokio::time::timeout;

use crate::bounds::TOPIC_NATS;
use crate::config::{self, Backend, Config, Nats};
use crate::nats::{self, NatsFailure};
use crate::telemetry::chain;
use crate::topic::nats::copies;

/// A note on each topic at NATS, which is asked for that. It is no mistake that it does not answer where a configuration is checked.
#[must_use]
pub fn promises(config: &Config) -> String {
    let shared = config.topics.iter().filter(|topic| topic.backend == Backend::Nats);
    let (Some(nats), Ok(runtime)) = (&config.nats, Builder::new_current_thread().enable_all().build()) else {
        return String::new();
    };
    // It fails only where one is installed.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    runtime.block_on(async {
        let mut notes = String::new();
        for topic in shared {
            let name = &topic.name;
            let note = match timeout(TOPIC_NATS, asked(topic, nats)).await {
                Ok(Ok(found)) => stored(name, found, nats.replicas),
                Ok(Err(error)) => format!("it is not known how topic {name} is stored: {}", chain(&*error)),
                Err(_) => format!("it is not known how topic {name} is stored: NATS does not answer (--nats)"),
            };
            notes.extend(["note: ", &note, "\n"]);
        }
        notes
    })
}

async fn asked(topic: &config::Topic, nats: &Nats) -> Result<Option<usize>, NatsFailure> {
    let connection = nats::connect(nats).await?;
    // Its sender is the connection's.
    let _ = connection.made.clone().wait_for(|made| *made > 0).await;
    copies(topic, &connection).await
}

fn stored(name: &str, found: Option<usize>, wanted: usize) -> String {
    let outlives = |copies: usize| match (copies.saturating_sub(1)) / 2 {
        0 if copies == 2 => "while one of them is away nothing is published".to_owned(),
        0 => "what is published is lost with it".to_owned(),
        1 => "what is published outlives one of them".to_owned(),
        lost => format!("what is published outlives {lost} of them"),
    };
    let servers = |copies: usize| format!("{copies} {}", if copies == 1 { "server" } else { "servers" });
    match found {
        None => format!("NATS has no stream of topic {name} yet: a start makes it, on {}", servers(wanted)),
        Some(copies) if copies == wanted => {
            format!("NATS stores topic {name} on {}: {}", servers(copies), outlives(copies))
        }
        Some(copies) => {
            format!("NATS stores topic {name} on {}, and on {wanted} after a start", servers(copies))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::stored;

    #[test]
    fn what_is_promised_is_said_in_a_line() {
        for (found, wanted, expected) in [
            (None, 3, "NATS has no stream of topic chat yet: a start makes it, on 3 servers"),
            (Some(1), 1, "NATS stores topic chat on 1 server: what is published is lost with it"),
            (Some(2), 2, "NATS stores topic chat on 2 servers: while one of them is away nothing is published"),
            (Some(3), 3, "NATS stores topic chat on 3 servers: what is published outlives one of them"),
            (Some(5), 5, "NATS stores topic chat on 5 servers: what is published outlives 2 of them"),
            (Some(1), 3, "NATS stores topic chat on 1 server, and on 3 after a start"),
        ] {
            assert_eq!(stored("chat", found, wanted), expected);
        }
    }
}
