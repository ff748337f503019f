//! The topics of the configuration, and those that come later.

use std::path::PathBuf;
use std::sync::Arc;

use futures::future::BoxFuture;
use jiff::Timestamp;
use prometheus::Registry;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::AppError;
use crate::bounds::{STATE_ANSWER, TOPIC_PRESENCE_LOOK};
use crate::config::{self, Config};
use crate::exchange::random;
use crate::lifecycle::tasks::{TaskResult, Tasks};
use crate::lifecycle::wanted::Wanted;
use crate::nats::Connection;
use crate::topic::Topic;
use crate::topic::backend::Backend;
use crate::topic::file;
use crate::topic::id::Epoch;
use crate::topic::metrics::{Families, Metrics};
use crate::topic::nats::Shared;
use crate::topic::registry::TopicRegistry;
use crate::topics::{BeginError, Begun, Topics};

/// Starts those of the configuration; what is then sent to the sender runs in their place.
pub(super) async fn start(
    config: &Config,
    nats: Option<Connection>,
    (registry, tasks): (&Registry, &mut Tasks),
) -> Result<(Arc<TopicRegistry>, watch::Sender<Wanted<config::Topic>>), AppError> {
    let (wanted, wants) = watch::channel(Wanted::all(config.topics.clone()));
    if config.topics.is_empty() && config.controller.is_none() {
        return Ok((Arc::default(), wanted));
    }
    let begins = Begins { directory: config.state_dir.clone(), nats };
    let mut topics =
        Topics::new(Families::register(registry)?, Box::new(move |config, metrics| begins.begin(config, metrics)));
    topics.reconcile(&config.topics).await.map_err(AppError::Topic)?;
    let table = topics.registry();
    tasks.spawn("topics", topics.run(wants));
    tasks.spawn("presence", look_who_reads(Arc::clone(&table)));
    Ok((table, wanted))
}

/// Tells readers of topics who reads, without end.
async fn look_who_reads(topics: Arc<TopicRegistry>) -> TaskResult {
    let mut looks = interval(TOPIC_PRESENCE_LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let now = looks.tick().await.into_std();
        for topic in topics.all() {
            topic.look_who_reads(now);
        }
    }
}

/// Where topics have their messages.
struct Begins {
    /// In the streams of these servers, if they ask for it.
    nats: Option<Connection>,
    /// In files below this; none: in memory.
    directory: Option<PathBuf>,
}

impl Begins {
    /// A topic with the messages that a former process has left. Without any it begins a history of its own.
    fn begin(&self, config: config::Topic, metrics: Metrics) -> BoxFuture<'static, Result<Begun, BeginError>> {
        #[expect(clippy::cast_possible_truncation, reason = "any half of random bits is random")]
        let epoch = Epoch::of(random() as u64);
        let now = Instant::now().into_std();
        if let (config::Backend::Nats, Some(connection)) = (config.backend, &self.nats) {
            return Box::pin(std::future::ready(Ok(shared(config, epoch, metrics, connection))));
        }
        let directory = self.directory.clone();
        Box::pin(async move {
            let Some(directory) = directory else {
                return Ok(Topic::new(config, epoch.at(0), Backend::Memory, metrics, now).into());
            };
            let hangs = Hangs { topic: config.name.clone(), directory: directory.clone() };
            let open = move || file::open(&directory, config, epoch, metrics, (now, Timestamp::now()));
            // The thread is gone only while the runtime shuts down.
            let opened = timeout(STATE_ANSWER, spawn_blocking(open)).await.ok().and_then(Result::ok);
            Ok(opened.ok_or(hangs)??.into())
        })
    }
}

/// A topic of a stream at NATS, which is followed until the topic ends.
fn shared(config: config::Topic, epoch: Epoch, metrics: Metrics, connection: &Connection) -> Begun {
    let shared = Shared::new(&config, connection.clone());
    let backend = Backend::Stored(Box::new(shared.clone()));
    let topic = Topic::new(config, epoch.at(0), backend, metrics, Instant::now().into_std());
    let followed = Arc::clone(&topic);
    let follows = async move {
        let mut changes = followed.changes();
        tokio::select! {
            () = shared.run(Arc::clone(&followed)) => {}
            // The sender is the topic's, which is here.
            _ = changes.wait_for(|_| followed.has_ended()) => {}
        }
    };
    Begun { topic, follows: Some(Box::pin(follows)) }
}

/// The disk does not answer.
#[derive(Debug, thiserror::Error)]
#[error(
    "--state-dir {}: topic {topic} could not be read within {STATE_ANSWER:?}: look at its disk, or give another --state-dir",
    .directory.display()
)]
struct Hangs {
    topic: String,
    directory: PathBuf,
}
