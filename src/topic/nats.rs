//! A topic that replicas share, by a stream of NATS JetStream. Each replica has the history in its memory, as the stream tells it, and
//! gives readers that; only what is published, and what this replica may not have heard yet, is asked of NATS.
//!
//! ```text
//! publisher -> send -> the stream -> run: follow -> the topic -> readers, of all replicas
//!      ^                 |                            |
//!      +--- duplicate ---+                            +---> the publisher, once its own message has come back
//! ```
//! The epoch is that of the stream ([`stream::History`]): one that is made anew, or that shows an older state, is another history.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::connection::State as ConnectionState;
use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::publish::PublishAck;
use futures::future::BoxFuture;
use tokio::sync::{Notify, oneshot, watch};
use tokio::time::{Instant, timeout_at};

use super::Topic;
use super::backend::{NotCaughtUp, NotStored, PublishError, Store};
use super::core::{Entry, Published, Receipt, Refused, Start};
use super::presence::Summary;
use crate::bounds::{TOPIC_NATS, TOPIC_NATS_LOG, TOPIC_NATS_PUBLISHES};
use crate::config;
use crate::nats::{Connection, NatsFailure, room};
use crate::telemetry::seldom::Seldom;

mod catch_up;
mod presence;
mod record;
mod run;
mod stream;

use record::Record;
use stream::{History, Log, LogError, Standing};

/// When to send again what could not be stored.
const AGAIN: Duration = Duration::from_secs(1);

/// The stream of a topic.
#[derive(Debug, Clone)]
pub struct Shared(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    log: Log,
    connection: Connection,
    /// Names this replica in what it publishes.
    replica: u64,
    numbers: AtomicU64,
    state: Mutex<State>,
    /// The stream is followed, and answers.
    is_up: AtomicBool,
    /// All that there was when the stream was opened is here.
    is_whole: AtomicBool,
    /// The stream is to be looked at now.
    wants_look: Notify,
    /// How many looks have begun.
    looks: AtomicU64,
    /// The look that was over last, and what it has shown; none: NATS did not answer.
    looked: watch::Sender<(u64, Option<Standing>)>,
    /// Who reads here; none: that is not told.
    here: watch::Sender<Option<Summary>>,
    lines: Seldom,
}

#[derive(Debug, Default)]
struct State {
    seen: Option<Seen>,
    /// Publishers that wait until their message has come back.
    waits: HashMap<u64, Wait>,
}

/// What was read of the stream.
#[derive(Debug, Clone, Copy)]
struct Seen {
    history: History,
    /// Of the message that was read last, or that was passed over.
    last: u64,
    /// When that was stored, which tells it from another one at its offset; none: it was passed over.
    time: Option<i128>,
}

#[derive(Debug)]
struct Wait {
    bytes: Option<usize>,
    tell: oneshot::Sender<Receipt>,
}

impl Shared {
    /// A topic at these servers; [`run`](Self::run) follows it.
    #[must_use]
    pub fn new(topic: &config::Topic, connection: Connection) -> Self {
        let log = Log::new(connection.client.clone(), Arc::new(topic.clone()), connection.copies);
        Self(Arc::new(Inner {
            log,
            connection,
            replica: fastrand::u64(..),
            numbers: AtomicU64::new(0),
            state: Mutex::default(),
            is_up: AtomicBool::new(false),
            is_whole: AtomicBool::new(false),
            wants_look: Notify::new(),
            looks: AtomicU64::new(0),
            looked: watch::Sender::new((0, None)),
            here: watch::Sender::new(None),
            lines: Seldom::new(TOPIC_NATS_LOG),
        }))
    }

    /// Follows the stream, without end.
    pub async fn run(self, topic: Arc<Topic>) {
        tokio::join!(run::run(&self.0, &topic), presence::run(&self.0, &topic));
    }
}

/// On how many servers of NATS the messages of a topic are stored, as its stream is configured; none: there is no stream yet.
pub async fn copies(topic: &config::Topic, connection: &Connection) -> Result<Option<usize>, NatsFailure> {
    match Log::new(connection.client.clone(), Arc::new(topic.clone()), connection.copies).copies().await {
        Ok(copies) => Ok(Some(copies)),
        Err(LogError::Gone) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

impl Store for Shared {
    fn store<'a>(&'a self, topic: &'a Arc<Topic>, entry: Entry) -> BoxFuture<'a, Result<Published, PublishError>> {
        let taken = Taken { topic, entry };
        Box::pin(async move { self.0.publish(topic, &taken.entry).await })
    }

    fn lacks(&self, topic: &Topic, start: &Start) -> bool {
        self.0.lacks(topic, start)
    }

    fn catch_up<'a>(&'a self, topic: &'a Topic, start: &'a Start) -> BoxFuture<'a, Result<(), NotCaughtUp>> {
        Box::pin(self.0.catch_up(topic, start))
    }

    fn say_who_reads(&self, here: Summary) {
        self.0.here.send_if_modified(|said| {
            let is_new = said.as_ref() != Some(&here);
            if is_new {
                *said = Some(here);
            }
            is_new
        });
    }

    fn is_up(&self) -> bool {
        self.0.is_up()
    }
}

/// A message that was taken. Once its publisher waits no more its key is free: what is stored is known by it then, here or at NATS.
struct Taken<'a> {
    topic: &'a Topic,
    entry: Entry,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.topic.give_up([&self.entry]);
    }
}

/// Takes a publisher out of those that wait.
struct Waits<'a> {
    inner: &'a Inner,
    number: u64,
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.inner.state().waits.remove(&self.number);
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        // No step leaves it half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_up(&self) -> bool {
        self.is_up.load(Ordering::Acquire) && self.is_connected()
    }

    fn is_connected(&self) -> bool {
        self.connection.client.connection_state() == ConnectionState::Connected
    }

    /// How a message of this replica says so.
    fn mark(&self, number: u64) -> Box<str> {
        format!("{:016x}.{number}", self.replica).into()
    }

    /// The number of a message that this replica has published.
    fn marked(&self, mark: &str) -> Option<u64> {
        let (replica, number) = mark.split_once('.')?;
        (u64::from_str_radix(replica, 16).ok()? == self.replica).then(|| number.parse().ok()).flatten()
    }

    async fn publish(&self, topic: &Topic, entry: &Entry) -> Result<Published, PublishError> {
        if !self.is_up() {
            return Err(NotStored::Failed { after: AGAIN }.into());
        }
        let deadline = Instant::now() + TOPIC_NATS;
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let (tell, mut told) = oneshot::channel();
        {
            let waits = &mut self.state().waits;
            if waits.len() >= TOPIC_NATS_PUBLISHES {
                return Err(NotStored::Full { after: AGAIN }.into());
            }
            waits.insert(number, Wait { bytes: entry.bytes, tell });
        }
        let _waits = Waits { inner: self, number };
        let record = Record { draft: entry.draft.clone(), once: entry.once, publish: Some(self.mark(number)) };
        let (bytes, most) = (record.bytes(), room(&self.connection.client));
        if bytes > most {
            return Err(Refused::TooLong { bytes, most }.into());
        }
        let sent = async {
            let acknowledged = self.log.send(&record).await?;
            acknowledged.await
        };
        let late = NotStored::Late { after: AGAIN };
        let acknowledged = timeout_at(deadline, sent).await;
        if let Ok(Ok(PublishAck { duplicate: true, sequence, .. })) = acknowledged {
            return self.repeated(topic, entry, sequence, deadline).await;
        }
        if let Ok(Ok(_)) = acknowledged {
            return match timeout_at(deadline, told).await {
                Ok(Ok(receipt)) => Ok(Published { receipt, is_repeated: false }),
                Ok(Err(_)) | Err(_) => Err(late.into()),
            };
        }
        if let Ok(receipt) = told.try_recv() {
            return Ok(Published { receipt, is_repeated: false });
        }
        match acknowledged {
            Ok(Err(error)) if !matches!(error.kind(), PublishErrorKind::TimedOut | PublishErrorKind::BrokenPipe) => {
                self.tell_of(topic, &error);
                Err(NotStored::Failed { after: AGAIN }.into())
            }
            Ok(_) | Err(_) => Err(late.into()),
        }
    }

    /// NATS has a message of this key, at this offset.
    async fn repeated(
        &self,
        topic: &Topic,
        entry: &Entry,
        offset: u64,
        deadline: Instant,
    ) -> Result<Published, PublishError> {
        let late = NotStored::Late { after: AGAIN };
        let Some((key, digest)) = &entry.once else { return Err(late.into()) };
        // Once it is here it is known by its key.
        let mut changes = topic.changes();
        let epoch = loop {
            let before = *changes.borrow();
            let last = topic.last();
            if last.offset >= offset {
                break last.epoch;
            }
            let waited = changes.wait_for(|changes| *changes != before);
            if timeout_at(deadline, waited).await.is_err() {
                return Err(late.into());
            }
        };
        let judge = |known: &super::core::Digest, receipt: Receipt| {
            if known == digest { Ok(Published { receipt, is_repeated: true }) } else { Err(Refused::KeyReused.into()) }
        };
        let known = topic.known(key, Instant::now().into_std());
        if let Some((known, receipt)) = known.filter(|(_, receipt)| receipt.id == epoch.at(offset)) {
            return judge(&known, receipt);
        }
        // It was stored before this replica came.
        match timeout_at(deadline, self.log.get(offset)).await {
            Ok(Ok(Some((Record { once: Some((found, known)), .. }, time)))) if found == *key => {
                judge(&known, Receipt { id: epoch.at(offset), at: run::at(time) })
            }
            // It is not kept any more, and so neither what it said nor when. It was published once, which is what counts.
            Ok(Ok(_)) => {
                let receipt = Receipt { id: epoch.at(offset), at: Arc::clone(&entry.at) };
                Ok(Published { receipt, is_repeated: true })
            }
            Ok(Err(_)) | Err(_) => Err(late.into()),
        }
    }

    /// Tells operators why the stream cannot be used.
    fn tell_of_stream(&self, topic: &Topic, error: &LogError) {
        if let Some(before) = self.lines.next() {
            tracing::warn!(
                topic = %topic.name(),
                %error,
                before,
                "the stream of the topic cannot be used at NATS: nothing is published until it can (is JetStream on, and are there as many \
                 servers as --nats-replicas?)"
            );
        }
    }

    /// Tells operators why a message is not stored.
    fn tell_of(&self, topic: &Topic, error: &dyn std::fmt::Display) {
        if let Some(before) = self.lines.next() {
            tracing::warn!(topic = %topic.name(), %error, before, "NATS has not stored a message: its publisher is told to come back");
        }
    }
}
