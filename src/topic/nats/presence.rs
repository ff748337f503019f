//! Replicas say to each other who reads there, by messages that nobody keeps.

use std::sync::Arc;

use futures::StreamExt as _;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{Inner, Topic};
use crate::bounds::TOPIC_PRESENCE_SAID;
use crate::nats::{listen, plain};
use crate::topic::presence::Summary;

/// What a replica says.
#[derive(Debug, Serialize, Deserialize)]
struct Said {
    /// Which one.
    replica: u64,
    #[serde(flatten)]
    summary: Summary,
}

/// Says who reads here when that changes and now and then, and hears who reads at other replicas, without end.
pub(super) async fn run(inner: &Inner, topic: &Arc<Topic>) {
    let client = &inner.connection.client;
    let subject = format!("tw.p.{}", plain(topic.name()));
    let mut here = inner.here.subscribe();
    let mut said: Option<Summary> = None;
    let mut again = interval(TOPIC_PRESENCE_SAID);
    again.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let mut heard = listen(client, &subject).await;
        loop {
            tokio::select! {
                // The sender is the topic's.
                _ = here.wait_for(|here| *here != said) => {}
                _ = again.tick() => {}
                message = heard.next() => {
                    let Some(message) = message else { break };
                    if let Ok(said) = serde_json::from_slice::<Said>(&message.payload)
                        && said.replica != inner.replica
                    {
                        topic.others_said(said.replica, said.summary, Instant::now().into_std());
                    }
                    continue;
                }
            }
            said.clone_from(&here.borrow());
            let Some(summary) = said.clone() else { continue };
            let message = serde_json::to_vec(&Said { replica: inner.replica, summary }).unwrap_or_default();
            if let Err(error) = client.publish(subject.clone(), message.into()).await {
                tracing::debug!(topic = %topic.name(), %error, "other replicas were not told who reads here");
            }
        }
    }
}
