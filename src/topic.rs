//! Topics: messages that are appended, kept for a while, and read by whoever comes, each from where it has read to. A topic is not
//! a state: latest does not win, and no message is skipped without a word.
//!
//! [`core`] has the messages (PURE), a [`Topic`] is its one owner, a [`reader::Reader`] is a place in it, and a [`backend`] stores them.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use http::{HeaderName, HeaderValue};
use tokio::sync::watch;

use crate::bounds::{TOPIC_INTERVAL, TOPIC_PART, TOPIC_READERS};
use crate::config;
use crate::describe::Problem;
use crate::describe::problem::Kind;
use crate::hub::{Announcer, Mailbox, ParkPermit, Parking, ViewId};
use crate::protocol::fields::{TOPIC_FIRST, TOPIC_LAST};

pub mod backend;
pub mod core;
pub mod event;
pub mod file;
pub mod id;
pub mod kept;
pub mod message;
pub mod metrics;
pub mod nats;
mod pace;
pub mod presence;
mod present;
pub mod reader;
pub mod registry;
pub mod request;
mod standing;

use self::core::{Core, Digest, Entry, Extent, Key, Place, Publication, Published, Receipt, Refused, Start, Taken};
use backend::{Backend, PublishError};
use event::Shape;
use id::{Epoch, MessageId};
use kept::{Page, Part};
use metrics::Metrics;
use pace::Pace;
use present::Presence;
use request::Poll;

/// A topic: the one owner of its messages.
#[derive(Debug)]
pub struct Topic {
    config: ArcSwap<config::Topic>,
    name: Arc<str>,
    core: Mutex<Core>,
    backend: Backend,
    /// Nothing more is published.
    has_ended: AtomicBool,
    pace: Mutex<Pace>,
    /// The newest message, for who looks whether there is one: the bits of its epoch, and its offset.
    newest: (AtomicU64, AtomicU64),
    began: Instant,
    /// Milliseconds from then until parked polls are answered with the newest message, and one; 0: there was none.
    due: AtomicU64,
    /// Tells those who own many readers.
    announcer: Announcer,
    /// Tells tasks that read.
    changed: watch::Sender<u64>,
    parking: Arc<Parking>,
    presence: Presence,
    metrics: Metrics,
}

impl Topic {
    /// A topic without messages, which begins now; its first message follows this place.
    #[must_use]
    pub fn new(config: config::Topic, after: MessageId, backend: Backend, metrics: Metrics, now: Instant) -> Arc<Self> {
        let MessageId { epoch, offset } = after;
        Arc::new(Self {
            name: config.name.as_str().into(),
            core: Mutex::new(Core::new(&config, epoch, offset)),
            backend,
            has_ended: AtomicBool::new(false),
            pace: Mutex::new(Pace::new(now)),
            config: ArcSwap::from_pointee(config),
            newest: (AtomicU64::new(epoch.bits()), AtomicU64::new(offset)),
            began: now,
            due: AtomicU64::new(0),
            announcer: Announcer::new(),
            changed: watch::Sender::new(0),
            parking: Arc::new(Parking::new(TOPIC_READERS, metrics.readers.clone())),
            presence: Presence::new(now),
            metrics,
        })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// How it is configured now.
    #[must_use]
    pub fn config(&self) -> Arc<config::Topic> {
        self.config.load_full()
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

    /// For a task that reads: it is another number once there is something new.
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

    /// How many messages were published within the last minute.
    #[must_use]
    pub fn within_minute(&self, now: Instant) -> u64 {
        self.pace().within_minute(now)
    }

    /// Publishes a message; who waits knows then that it is stored as the backend promises. `at`: `now` for people.
    pub async fn publish(
        self: &Arc<Self>,
        publication: Publication,
        now: Instant,
        at: &Arc<str>,
    ) -> Result<Published, PublishError> {
        let (entry, store) = {
            let mut core = self.core();
            if self.has_ended() {
                return Err(Refused::Ended.into());
            }
            match (core.take(publication, now, at)?, &self.backend) {
                (Taken::Known(receipt), _) => {
                    self.metrics.repeated.inc();
                    return Ok(Published { receipt, is_repeated: true });
                }
                (Taken::New(entry), Backend::Memory) => {
                    let next = core.last() + 1;
                    let receipt = self.append_one(&mut core, next, entry, now);
                    self.show(core, now);
                    return Ok(Published { receipt, is_repeated: false });
                }
                (Taken::New(entry), Backend::Stored(store)) => (entry, store),
            }
        };
        let published = store.store(self, entry).await?;
        if published.is_repeated {
            self.metrics.repeated.inc();
        }
        Ok(published)
    }

    /// Messages are stored, the first at the offset after the last one, and so on: readers are shown them.
    pub fn append(&self, entries: Vec<(u64, Entry)>, now: Instant) -> Vec<Receipt> {
        let mut core = self.core();
        let receipts =
            entries.into_iter().map(|(offset, entry)| self.append_one(&mut core, offset, entry, now)).collect();
        self.show(core, now);
        receipts
    }

    /// Messages that were taken are not stored.
    pub fn give_up<'e>(&self, entries: impl IntoIterator<Item = &'e Entry>) {
        let mut core = self.core();
        entries.into_iter().for_each(|entry| core.give_up(entry));
    }

    fn append_one(&self, core: &mut Core, offset: u64, entry: Entry, now: Instant) -> Receipt {
        if let Some(bytes) = entry.bytes {
            self.pace().count(now);
            self.metrics.published.inc();
            self.metrics.bytes.inc_by(bytes as u64);
        }
        core.append(offset, entry, now)
    }

    /// Tells readers of what was appended.
    fn show(&self, mut core: MutexGuard<'_, Core>, now: Instant) {
        let extent = core.extent(now);
        self.metrics.show_kept(&extent);
        self.put_off(now);
        // Within the lock, so that it never goes back.
        self.newest.0.store(extent.last.epoch.bits(), Ordering::Release);
        self.newest.1.store(extent.last.offset, Ordering::Release);
        drop(core);
        self.tell();
    }

    /// Tells all who wait that something has changed.
    fn tell(&self) {
        self.announcer.tell();
        self.changed.send_modify(|changes| *changes = changes.wrapping_add(1));
    }

    /// What follows is of another history, or some before it were never here: readers that are not there yet are told of a gap.
    fn begin(&self, after: MessageId, now: Instant) {
        let mut core = self.core();
        core.begin(after);
        self.show(core, now);
    }

    /// What was published by a key, as far as it is known here.
    fn known(&self, key: &Key, now: Instant) -> Option<(Digest, Receipt)> {
        self.core().known(key, now)
    }

    /// Whether the backend can be reached.
    fn backend_is(&self, is_up: bool) {
        self.metrics.backend(is_up);
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

    /// The newest message. Who is between two histories is told of the newer one soon.
    fn last(&self) -> MessageId {
        let (epoch, offset) = &self.newest;
        Epoch::of(epoch.load(Ordering::Acquire)).at(offset.load(Ordering::Acquire))
    }

    /// Whether there is something to tell a reader at this place.
    fn has_news(&self, place: &Place) -> bool {
        let last = self.last();
        place.gap.is_some() || place.read.epoch != last.epoch || place.read.offset < last.offset
    }

    /// Whether a reader has to [wait](Self::catch_up) before it begins so: it may have read at another replica what is not here yet.
    #[must_use]
    pub fn lacks(&self, start: &Start) -> bool {
        match &self.backend {
            Backend::Memory => false,
            Backend::Stored(store) => store.lacks(self, start),
        }
    }

    /// Waits until all is here that such a reader may have read.
    pub async fn catch_up(&self, start: &Start) -> Result<(), Problem> {
        let Backend::Stored(store) = &self.backend else { return Ok(()) };
        store.catch_up(self, start).await.map_err(|error| {
            let detail = format!("{error}, since NATS does not answer: come back, with the same since");
            Problem::retry(Kind::NotConfirmed, 2, detail)
        })
    }

    /// Whether replicas share its messages.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.config().backend == config::Backend::Nats
    }

    /// Whether what is published can be stored, as far as is known.
    #[must_use]
    pub fn is_up(&self) -> bool {
        match &self.backend {
            Backend::Memory => true,
            Backend::Stored(store) => store.is_up(),
        }
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

    /// The next part for streams that have read this message.
    fn part(&self, from: MessageId, shape: Shape, now: Instant) -> Part {
        let mut core = self.core();
        let Place { read, gap } = core.resume(Place { read: from, gap: None }, now);
        let mut bytes = Vec::new();
        if let Some(gap) = &gap {
            event::gap(shape.form, gap, &mut bytes);
        }
        let mut last = read;
        for message in core.after(read.offset) {
            event::message(shape, message, &mut bytes);
            last = message.id;
            if bytes.len() >= TOPIC_PART {
                break;
            }
        }
        Part { bytes: bytes.into(), last, gap }
    }

    /// What a poll is given that is at this place.
    fn page(&self, place: Place, poll: &Poll, now: Instant) -> Page {
        let mut core = self.core();
        let place = core.resume(place, now);
        let Extent { first, last, .. } = core.extent(now);
        let (mut json, mut next, mut left) = (b"{\"messages\":[".to_vec(), place.read, poll.max_bytes);
        for (at, message) in core.after(place.read.offset).take(poll.limit).enumerate() {
            let length = message.json().len();
            if at > 0 && length > left {
                break;
            }
            left = left.saturating_sub(length);
            if at > 0 {
                json.push(b',');
            }
            json.extend_from_slice(message.json());
            next = message.id;
        }
        let gap = place.gap.as_ref().map_or_else(|| "null".to_owned(), event::gap_json);
        json.extend_from_slice(format!("],\"next\":\"{next}\",\"first\":\"{first}\",\"gap\":{gap}}}\n").as_bytes());
        Page { json: json.into(), first: value(first), last: value(last), gap: place.gap }
    }

    /// `Topic-First` and `Topic-Last`.
    fn extent_fields(&self, now: Instant) -> Vec<(HeaderName, HeaderValue)> {
        let Extent { first, last, .. } = self.extent(now);
        vec![(TOPIC_FIRST, value(first)), (TOPIC_LAST, value(last))]
    }

    fn pace(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
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
