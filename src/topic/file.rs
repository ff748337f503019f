//! Messages that survive a restart: in files below `--state-dir`, on the disk before their publisher is answered.
//!
//! ```text
//! publishers -> queue -> one job: all that waits -> one write, one sync -> append, their answers -> what waits meanwhile ...
//! ```
//! The job runs on a thread that may block, and ends when nothing waits. What a write that failed has left does not count
//! ([`segments`]), so its offsets are those of the next messages.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use jiff::Timestamp;
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout};

use super::Topic;
use super::backend::{Backend, NotStored, PublishError, Store};
use super::core::{Entry, Published, Receipt};
use super::id::Epoch;
use super::message::{Data, Draft};
use super::metrics::{Disk, Metrics};
use crate::bounds::{TOPIC_PENDING, TOPIC_STORED, TOPIC_WRITE_PAUSE};
use crate::config;
use crate::files::{FileError, LockError};

mod record;
mod restore;
mod segments;
#[cfg(test)]
mod tests;

use record::Record;
use segments::{Opened, Segments};

/// Why the files of a topic cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has them.
    #[error(
        "another process keeps the messages of topic {topic} in {}: give each process its own --state-dir",
        .directory.display()
    )]
    Locked {
        /// The topic.
        topic: String,
        /// The state directory.
        directory: PathBuf,
    },
    /// The file system refuses.
    #[error(
        "--state-dir {}: {error}: {cause}: topic {topic} would lose its messages with each restart: let this process write \
         there, free space, or give another --state-dir", .directory.display(), cause = .error.source
    )]
    File {
        /// The topic.
        topic: String,
        /// The state directory.
        directory: PathBuf,
        /// What it refuses.
        error: FileError,
    },
}

/// Opens a topic whose messages are kept in a state directory, with those that a former process has left. `fresh`: the epoch of a new
/// history. `now` and `wall` are the same moment. It blocks, for as long as the file system likes.
pub fn open(
    directory: &Path,
    config: config::Topic,
    fresh: Epoch,
    metrics: Metrics,
    (now, wall): (std::time::Instant, Timestamp),
) -> Result<Arc<Topic>, OpenError> {
    let (topic, name) = (config.name.clone(), directory.join("topics").join(&config.name));
    let opened = Segments::open(&name, fresh).map_err(|error| match error {
        LockError::Held => OpenError::Locked { topic: topic.clone(), directory: directory.to_owned() },
        LockError::Io(error) => OpenError::File { topic: topic.clone(), directory: directory.to_owned(), error },
    })?;
    let Opened { segments, records, lost, torn } = opened;
    if let Some(torn) = torn {
        tracing::info!(%topic, %torn, "a message whose publisher was not answered is cut off");
    }
    for lost in lost {
        tracing::error!(
            %topic, %lost, kept = records.len(),
            "messages of a topic are lost: what could be read begins another history, and the files are kept beside it as .aside \
             until the next such loss: look what damaged them"
        );
    }
    let before = records.first().map_or(segments.last(), |first| first.offset - 1);
    let (after, disk) = (segments.epoch().at(before), metrics.disk.clone());
    disk.bytes.set(i64::try_from(segments.bytes()).unwrap_or(i64::MAX));
    let files = Files {
        topic,
        queue: Mutex::default(),
        writer: Mutex::new(Writer { segments, is_failing: false, is_full_of_old: false }),
        metrics: disk,
    };
    let topic = Topic::new(config, after, Backend::Stored(Box::new(FileStore(Arc::new(files)))), metrics, now);
    let entries = records.into_iter().map(|record| entry(record, now, wall)).collect();
    topic.append(entries, now);
    Ok(topic)
}

/// A message that was published before this process. What the clock on the wall says is in the future was published now.
fn entry(record: Record, now: std::time::Instant, wall: Timestamp) -> (u64, Entry) {
    let Record { offset, at, once, draft } = record;
    let age = u64::try_from(wall.as_millisecond() - at.as_millisecond()).unwrap_or(0);
    let published = now.checked_sub(Duration::from_millis(age)).unwrap_or(now);
    (offset, Entry { once, draft, bytes: None, published, at: format!("{at:.3}").into() })
}

/// Stores messages in files.
#[derive(Debug)]
struct FileStore(Arc<Files>);

/// The files of a topic, and what waits to be written to them.
#[derive(Debug)]
struct Files {
    topic: String,
    queue: Mutex<Queue>,
    /// The job that runs has it.
    writer: Mutex<Writer>,
    metrics: Disk,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Vec<Waiting>,
    /// Of them all.
    bytes: usize,
    /// A job runs.
    runs: bool,
    /// A write has failed, and nothing is written before this moment.
    paused: Option<Instant>,
}

#[derive(Debug)]
struct Writer {
    segments: Segments,
    /// The last write has failed, which was logged.
    is_failing: bool,
    /// Old segments cannot be removed, which was logged.
    is_full_of_old: bool,
}

#[derive(Debug)]
struct Waiting {
    entry: Entry,
    publisher: oneshot::Sender<Result<Receipt, NotStored>>,
}

impl Store for FileStore {
    fn store<'a>(&'a self, topic: &'a Arc<Topic>, entry: Entry) -> BoxFuture<'a, Result<Published, PublishError>> {
        Box::pin(async move {
            let stored = self.0.push(topic, entry)?;
            let receipt = match timeout(TOPIC_STORED, stored).await {
                Ok(Ok(stored)) => stored,
                // Only while the runtime shuts down.
                Ok(Err(_)) => Err(NotStored::Failed { after: TOPIC_WRITE_PAUSE }),
                Err(_) => Err(NotStored::Late { after: TOPIC_WRITE_PAUSE }),
            }?;
            Ok(Published { receipt, is_repeated: false })
        })
    }

    fn is_up(&self) -> bool {
        self.0.queue().paused.is_none()
    }
}

impl Files {
    /// From now on a message waits to be stored, and there is a job that does it.
    fn push(
        self: &Arc<Self>,
        topic: &Arc<Topic>,
        entry: Entry,
    ) -> Result<oneshot::Receiver<Result<Receipt, NotStored>>, NotStored> {
        let (mut queue, length) = (self.queue(), length(&entry.draft));
        let refused = if queue.paused.is_some_and(|until| Instant::now() < until) {
            Some(NotStored::Failed { after: TOPIC_WRITE_PAUSE })
        } else if queue.waiting.len() >= TOPIC_PENDING.0 || queue.bytes + length > TOPIC_PENDING.1 {
            Some(NotStored::Full { after: TOPIC_WRITE_PAUSE })
        } else {
            None
        };
        if let Some(refused) = refused {
            drop(queue);
            topic.give_up([&entry]);
            return Err(refused);
        }
        let (publisher, stored) = oneshot::channel();
        queue.waiting.push(Waiting { entry, publisher });
        queue.bytes += length;
        self.metrics.pending.inc();
        if !std::mem::replace(&mut queue.runs, true) {
            let (files, topic) = (Arc::clone(self), Arc::clone(topic));
            spawn_blocking(move || files.write_all(&topic));
        }
        Ok(stored)
    }

    /// Writes what waits until nothing does.
    fn write_all(&self, topic: &Topic) {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bytes = Vec::new();
        while let Some(batch) = self.next() {
            let count = batch.len();
            self.write(&mut writer, topic, batch, &mut bytes);
            self.metrics.pending.sub(i64::try_from(count).unwrap_or(i64::MAX));
            self.metrics.bytes.set(i64::try_from(writer.segments.bytes()).unwrap_or(i64::MAX));
        }
    }

    /// All that waits; none: nothing does, and the job is over.
    fn next(&self) -> Option<Vec<Waiting>> {
        let mut queue = self.queue();
        if queue.waiting.is_empty() {
            queue.runs = false;
            return None;
        }
        queue.bytes = 0;
        Some(std::mem::take(&mut queue.waiting))
    }

    fn write(&self, writer: &mut Writer, topic: &Topic, batch: Vec<Waiting>, bytes: &mut Vec<u8>) {
        let Writer { segments, .. } = writer;
        let (first, mut newest) = (segments.last() + 1, i64::MIN);
        bytes.clear();
        for (offset, Waiting { entry, .. }) in (first..).zip(&batch) {
            let at = entry.at.parse().unwrap_or_else(|_| Timestamp::now());
            newest = newest.max(at.as_millisecond());
            record::write(offset, at, entry.once.as_ref(), &entry.draft, bytes);
        }
        let began = Instant::now();
        if let Err(error) = segments.append(bytes, batch.len() as u64, newest) {
            self.has_failed(writer, &error);
            topic.give_up(batch.iter().map(|waiting| &waiting.entry));
            for Waiting { publisher, .. } in batch {
                let _ = publisher.send(Err(NotStored::Failed { after: TOPIC_WRITE_PAUSE }));
            }
            return;
        }
        let now = Instant::now();
        self.metrics.seconds.observe((now - began).as_secs_f64());
        let (entries, publishers): (Vec<_>, Vec<_>) =
            (first..).zip(batch).map(|(offset, waiting)| ((offset, waiting.entry), waiting.publisher)).unzip();
        for (publisher, receipt) in publishers.into_iter().zip(topic.append(entries, now.into_std())) {
            // Who has gone comes back with its key, or not.
            let _ = publisher.send(Ok(receipt));
        }
        if std::mem::take(&mut writer.is_failing) {
            self.queue().paused = None;
            tracing::info!(topic = %self.topic, "messages can be stored again");
        }
        let dedupe = i64::try_from(topic.config().dedupe.as_millis()).unwrap_or(i64::MAX);
        self.drop_old(writer, topic.extent(now.into_std()).first.offset, newest.saturating_sub(dedupe));
    }

    fn has_failed(&self, writer: &mut Writer, error: &FileError) {
        self.metrics.errors.inc();
        self.queue().paused = Some(Instant::now() + TOPIC_WRITE_PAUSE);
        if !std::mem::replace(&mut writer.is_failing, true) {
            tracing::error!(
                topic = %self.topic, %error, cause = %error.source,
                "messages cannot be stored: publishers get 503 and readers read on; free space, or let this process write there"
            );
        }
    }

    fn drop_old(&self, writer: &mut Writer, first_kept: u64, keys: i64) {
        match writer.segments.drop_old(first_kept, keys) {
            Ok(()) => writer.is_full_of_old = false,
            Err(error) => {
                self.metrics.errors.inc();
                if !std::mem::replace(&mut writer.is_full_of_old, true) {
                    tracing::warn!(topic = %self.topic, %error, cause = %error.source, "old messages cannot be removed");
                }
            }
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // No step leaves it half done.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes of a message, roughly.
fn length(Draft { media_type, by, data }: &Draft) -> usize {
    let data = match data {
        Data::Text(text) => text.len(),
        Data::Json(json) => json.len(),
    };
    data + media_type.len() + by.as_ref().map_or(0, |by| by.name.len())
}
