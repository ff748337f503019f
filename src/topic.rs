//! Topics: messages that are appended, kept for a while, and read by whoever comes, each from where it has read to. A topic is not
//! a state: latest does not win, and no message is skipped without a word.
//!
//! [`core`] has the messages (PURE), a [`Topic`] is its one owner, and a [`reader::Reader`] is a place in it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::{HeaderName, HeaderValue};
use tokio::sync::watch;

use crate::bounds::{TOPIC_INTERVAL, TOPIC_PART, TOPIC_READERS};
use crate::config;
use crate::describe::problem::Kind;
use crate::hub::{Announcer, Mailbox, ParkPermit, Parking, ViewId};
use crate::protocol::fields::{TOPIC_FIRST, TOPIC_LAST};

pub mod core;
pub mod event;
pub mod id;
pub mod kept;
pub mod message;
pub mod metrics;
pub mod reader;
pub mod registry;
pub mod request;

use self::core::{Core, Extent, Place, Publication, Published, Refused, Start};
use event::Shape;
use id::{Epoch, MessageId};
use kept::{Page, Part};
use metrics::Metrics;
use request::Poll;

/// A topic: the one owner of its messages.
#[derive(Debug)]
pub struct Topic {
    config: config::Topic,
    name: Arc<str>,
    epoch: Epoch,
    core: Mutex<Core>,
    /// The offset of the newest message, for who looks whether there is one.
    last: AtomicU64,
    began: Instant,
    /// Milliseconds from then until parked polls are answered with the newest message, and one; 0: there was none.
    due: AtomicU64,
    /// Tells those who own many readers.
    announcer: Announcer,
    /// Tells tasks that read.
    changed: watch::Sender<u64>,
    parking: Arc<Parking>,
    metrics: Metrics,
}

impl Topic {
    /// A topic without messages, which begins now.
    #[must_use]
    pub fn new(config: config::Topic, epoch: Epoch, metrics: Metrics, now: Instant) -> Arc<Self> {
        Arc::new(Self {
            name: config.name.as_str().into(),
            epoch,
            core: Mutex::new(Core::new(&config, epoch)),
            config,
            last: AtomicU64::new(0),
            began: now,
            due: AtomicU64::new(0),
            announcer: Announcer::new(),
            changed: watch::Sender::new(0),
            parking: Arc::new(Parking::new(TOPIC_READERS, metrics.readers.clone())),
            metrics,
        })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.config.path
    }

    /// How it is configured.
    #[must_use]
    pub fn config(&self) -> &config::Topic {
        &self.config
    }

    /// Names it in changes.
    #[must_use]
    pub fn id(&self) -> ViewId {
        self.announcer.id()
    }

    /// From now on its changes are left in this mailbox.
    pub fn follow(&self, mailbox: &Arc<Mailbox>) {
        self.announcer.follow(mailbox);
    }

    /// For a task that reads: it changes with each message.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// How many readers wait.
    #[must_use]
    pub fn readers(&self) -> usize {
        self.parking.parked()
    }

    /// Waits until no reader does.
    pub async fn emptied(&self) {
        self.parking.emptied().await;
    }

    /// How much there is.
    #[must_use]
    pub fn extent(&self, now: Instant) -> Extent {
        self.core().extent(now)
    }

    /// Publishes a message of so many bytes. `at`: `now` for people.
    pub fn publish(
        &self,
        publication: Publication,
        bytes: usize,
        now: Instant,
        at: &Arc<str>,
    ) -> Result<Published, Refused> {
        let published = {
            let mut core = self.core();
            let published = core.publish(publication, now, at);
            if let Ok(Published { receipt, is_repeated: false }) = &published {
                let Extent { messages, bytes, .. } = core.extent(now);
                self.metrics.kept.set(i64::try_from(messages).unwrap_or(i64::MAX));
                self.metrics.kept_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
                self.put_off(now);
                // Within the lock, so that it never goes back.
                self.last.store(receipt.id.offset, Ordering::Release);
            }
            published
        };
        match &published {
            Ok(Published { is_repeated: true, .. }) => self.metrics.repeated.inc(),
            Ok(Published { receipt, .. }) => {
                self.metrics.published.inc();
                self.metrics.bytes.inc_by(bytes as u64);
                self.announcer.tell();
                self.changed.send_replace(receipt.id.offset);
            }
            // Whoever answers counts it, as all other refusals.
            Err(_) => {}
        }
        published
    }

    /// A message was refused, with this kind of problem.
    pub fn has_refused(&self, kind: Kind) {
        self.metrics.refused(kind).inc();
    }

    /// The first message releases parked polls at once, and those that come within the interval after it all together.
    fn put_off(&self, now: Instant) {
        let elapsed = millis(now.saturating_duration_since(self.began));
        let next = match self.due.load(Ordering::Relaxed).checked_sub(1) {
            None => elapsed,
            Some(due) if due <= elapsed => elapsed.max(due + millis(TOPIC_INTERVAL)),
            // They are told of this one too then.
            Some(_) => return,
        };
        self.due.store(next + 1, Ordering::Release);
    }

    /// When parked polls are answered with the newest message.
    fn polls_due(&self) -> Instant {
        self.began + Duration::from_millis(self.due.load(Ordering::Acquire).saturating_sub(1))
    }

    /// The offset of the newest message.
    fn last(&self) -> u64 {
        self.last.load(Ordering::Acquire)
    }

    /// Whether there is something to tell a reader at this place.
    fn has_news(&self, place: &Place) -> bool {
        place.gap.is_some() || place.offset < self.last()
    }

    fn start(&self, start: &Start, now: Instant) -> Place {
        self.core().start(start, now)
    }

    fn park(&self) -> Result<ParkPermit, ()> {
        ParkPermit::take(&self.parking).map_err(|_| ())
    }

    fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The id of the message at this offset.
    fn id_at(&self, offset: u64) -> MessageId {
        self.epoch.at(offset)
    }

    /// The next part for streams that have read the message at this offset.
    fn part(&self, from: u64, shape: Shape, now: Instant) -> Part {
        let mut core = self.core();
        let Place { offset, gap } = core.resume(from, now);
        let mut bytes = Vec::new();
        if let Some(gap) = &gap {
            event::gap(shape.form, gap, &mut bytes);
        }
        let mut last = offset;
        for message in core.after(offset) {
            event::message(shape, message, &mut bytes);
            last = message.id.offset;
            if bytes.len() >= TOPIC_PART {
                break;
            }
        }
        Part { bytes: bytes.into(), last, gap }
    }

    /// What a poll is given that is at this place.
    fn page(&self, place: Place, poll: &Poll, now: Instant) -> Page {
        let mut core = self.core();
        let place = if place.gap.is_some() { place } else { core.resume(place.offset, now) };
        let Extent { first, last, .. } = core.extent(now);
        let (mut json, mut next, mut left) = (b"{\"messages\":[".to_vec(), place.offset, poll.max_bytes);
        for (at, message) in core.after(place.offset).take(poll.limit).enumerate() {
            let length = message.json().len();
            if at > 0 && length > left {
                break;
            }
            left = left.saturating_sub(length);
            if at > 0 {
                json.push(b',');
            }
            json.extend_from_slice(message.json());
            next = message.id.offset;
        }
        let gap = place.gap.as_ref().map_or_else(|| "null".to_owned(), event::gap_json);
        let next = self.id_at(next);
        json.extend_from_slice(format!("],\"next\":\"{next}\",\"first\":\"{first}\",\"gap\":{gap}}}\n").as_bytes());
        Page { json: json.into(), first: value(first), last: value(last), gap: place.gap }
    }

    /// `Topic-First` and `Topic-Last`.
    fn extent_fields(&self, now: Instant) -> Vec<(HeaderName, HeaderValue)> {
        let Extent { first, last, .. } = self.extent(now);
        vec![(TOPIC_FIRST, value(first)), (TOPIC_LAST, value(last))]
    }

    fn core(&self) -> MutexGuard<'_, Core> {
        // No step of the core leaves it half done.
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn value(id: MessageId) -> HeaderValue {
    HeaderValue::try_from(id.to_string()).expect("an id is a field value")
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
