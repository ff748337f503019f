//! PURE. A topic's messages: what may be published, what is kept, and what a reader has missed. It knows no clock.
//!
//! - Offsets count from 1 without a gap, and no offset is used twice in an epoch.
//! - What was published by a key is published once for as long as the key is known.
//! - A reader is given every message after the one that it has read, in order, or told how many it has missed.

use std::sync::Arc;
use std::time::Instant;

use super::id::{Epoch, MessageId};
use super::message::{Draft, Message};
use crate::config;

mod history;
mod keys;
mod rates;
#[cfg(test)]
mod tests;

use history::History;
pub use keys::{Digest, Key};
use keys::{Keys, Use};
use rates::Rates;

/// Who publishes: its identity, without one its address.
pub type Client = Arc<str>;

/// The messages of a topic.
#[derive(Debug)]
pub struct Core {
    epoch: Epoch,
    history: History,
    keys: Keys,
    rates: Rates,
}

/// What is to be published.
#[derive(Debug)]
pub struct Publication {
    /// By whom.
    pub client: Client,
    /// What it calls it, and what it is; none: it is another message each time.
    pub once: Option<(Box<str>, Digest)>,
    /// What it is.
    pub draft: Draft,
    /// Bytes of its body.
    pub bytes: usize,
}

/// A message that may be published, for the backend to store.
#[derive(Debug)]
pub struct Entry {
    /// The key that it is known by, and what it is; none: it has no key.
    pub once: Option<(Key, Digest)>,
    /// What it is.
    pub draft: Draft,
    /// Bytes of its body; none: it was published at another replica, or before this process.
    pub bytes: Option<usize>,
    /// When it was published.
    pub published: Instant,
    /// The same for people: RFC 3339.
    pub at: Arc<str>,
}

/// What becomes of a publication.
#[derive(Debug)]
pub enum Taken {
    /// It was published before, by the same key.
    Known(Receipt),
    /// It is to be stored. From now on its key is under way.
    New(Entry),
}

/// What the publisher is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// Names the message.
    pub id: MessageId,
    /// When it was published: RFC 3339.
    pub at: Arc<str>,
}

/// A message is published, or was before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// What the publisher is told.
    pub receipt: Receipt,
    /// It was published before, by the same key.
    pub is_repeated: bool,
}

/// Why a message is not published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The key names another message.
    #[error("this Idempotency-Key was used for another message")]
    KeyReused,
    /// The message that the key names is being stored.
    #[error("the first message with this Idempotency-Key is being stored")]
    KeyUnderWay,
    /// The topic has ended.
    #[error("the topic has ended")]
    Ended,
    /// Where messages are stored none may be so long.
    #[error("the message has {bytes} bytes with what stands around it, and NATS takes {most} (max_payload)")]
    TooLong {
        /// Its bytes.
        bytes: usize,
        /// How many there may be.
        most: usize,
    },
    /// The client has published as much as it may.
    #[error("this client has published as fast as it may")]
    TooFast {
        /// When it may publish again.
        after: std::time::Duration,
    },
}

/// Where a reader begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// After the message that it has read last, as it names it.
    Since(Box<str>),
    /// With so many of the last messages.
    Tail(usize),
    /// With the first that is kept.
    Earliest,
    /// After the last.
    Latest,
}

/// Messages that a reader has missed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// The message that it has read last, as it names it.
    pub since: Box<str>,
    /// The first that is kept.
    pub first: MessageId,
    /// How many are between; none: that cannot be known, since it has read another history.
    pub missed: Option<u64>,
}

/// Where a reader is, and what it has missed before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The message that it is taken to have read last, in the history that there is.
    pub read: MessageId,
    /// What it has missed; none: nothing.
    pub gap: Option<Gap>,
}

/// How much there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// The first message that is kept; where none is, the next one.
    pub first: MessageId,
    /// The newest that there ever was.
    pub last: MessageId,
    /// How many are kept.
    pub messages: usize,
    /// Bytes of them.
    pub bytes: usize,
}

impl Core {
    /// Without messages; the first one follows this offset.
    #[must_use]
    pub fn new(config: &config::Topic, epoch: Epoch, after: u64) -> Self {
        let (history, keys) = (History::new(config.history, after), Keys::new(config.dedupe));
        Self { epoch, history, keys, rates: Rates::new(config.rate) }
    }

    /// Changes how it is configured: what is kept stays, as far as that allows.
    pub fn change(&mut self, config: &config::Topic) {
        self.history.change(config.history);
        self.keys.change(config.dedupe);
        self.rates.change(config.rate);
    }

    /// Takes a message that may be published. Nobody is shown it before it is [stored](Self::append). `at`: `now` for people, RFC
    /// 3339.
    pub fn take(&mut self, publication: Publication, now: Instant, at: &Arc<str>) -> Result<Taken, Refused> {
        let Publication { client, once, draft, bytes } = publication;
        let once = once.map(|(text, digest)| (Key::of(&client, &text), digest));
        if let Some((key, digest)) = &once {
            match self.keys.find(key, now) {
                Some(Use::Stored(known, receipt)) if known == *digest => return Ok(Taken::Known(receipt)),
                Some(Use::UnderWay(known)) if known == *digest => return Err(Refused::KeyUnderWay),
                Some(Use::Stored(..) | Use::UnderWay(_)) => return Err(Refused::KeyReused),
                None => {}
            }
        }
        self.rates.take(&client, now).map_err(|after| Refused::TooFast { after })?;
        if let Some((key, digest)) = &once {
            self.keys.begin(*key, *digest);
        }
        Ok(Taken::New(Entry { once, draft, bytes: Some(bytes), published: now, at: Arc::clone(at) }))
    }

    /// A message is stored at the offset after the last one, whoever has taken it: readers are shown it.
    pub fn append(&mut self, offset: u64, entry: Entry, now: Instant) -> Receipt {
        let Entry { once, draft, published, at, .. } = entry;
        let id = self.epoch.at(offset);
        self.history.trim(now);
        self.history.push(Arc::new(Message::new(id, (published, &at), &draft)));
        let receipt = Receipt { id, at };
        if let Some((key, digest)) = once {
            self.keys.keep(key, digest, receipt.clone(), published);
        }
        receipt
    }

    /// A message that was taken is not stored.
    pub fn give_up(&mut self, entry: &Entry) {
        if let Some((key, _)) = &entry.once {
            self.keys.give_up(key);
        }
    }

    /// The offset of the newest message that there ever was; 0: there was none.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.history.last()
    }

    /// How much there is.
    pub fn extent(&mut self, now: Instant) -> Extent {
        self.history.trim(now);
        let (first, last) = (self.epoch.at(self.history.first()), self.epoch.at(self.history.last()));
        Extent { first, last, messages: self.history.len(), bytes: self.history.bytes() }
    }

    /// Where a reader begins.
    pub fn start(&mut self, start: &Start, now: Instant) -> Place {
        self.history.trim(now);
        let (first, last) = (self.history.first(), self.history.last());
        let offset = match start {
            Start::Since(text) => return self.since(text),
            Start::Tail(count) => last.saturating_sub(*count as u64).max(first - 1),
            Start::Earliest => first - 1,
            Start::Latest => last,
        };
        Place { read: self.epoch.at(offset), gap: None }
    }

    fn since(&self, text: &str) -> Place {
        let (first, last) = (self.history.first(), self.history.last());
        let gap = |missed| Some(Gap { since: text.into(), first: self.epoch.at(first), missed });
        match MessageId::parse(text).filter(|id| id.epoch == self.epoch) {
            // There is no such message: nobody was given its id.
            Some(id) if id.offset > last => Place { read: self.epoch.at(last), gap: gap(Some(0)) },
            Some(id) if id.offset + 1 < first => {
                Place { read: self.epoch.at(first - 1), gap: gap(Some(first - 1 - id.offset)) }
            }
            Some(read) => Place { read, gap: None },
            None => Place { read: self.epoch.at(first - 1), gap: gap(None) },
        }
    }

    /// Where a reader is that was at this place: further on, if it has missed some since.
    pub fn resume(&mut self, place: Place, now: Instant) -> Place {
        self.history.trim(now);
        let Place { read, gap } = &place;
        if read.epoch == self.epoch && read.offset + 1 >= self.history.first() {
            return place;
        }
        match gap {
            Some(gap) => self.since(&gap.since),
            None => self.since(&read.to_string()),
        }
    }

    /// What follows is of another history, or some before it were never here: readers that are not there yet have a gap.
    pub fn begin(&mut self, after: MessageId) {
        if after.epoch != self.epoch {
            self.keys.forget_stored();
        }
        self.epoch = after.epoch;
        self.history.begin(after.offset);
    }

    /// What was published by a key, as far as it is known here.
    pub fn known(&mut self, key: &Key, now: Instant) -> Option<(Digest, Receipt)> {
        match self.keys.find(key, now) {
            Some(Use::Stored(digest, receipt)) => Some((digest, receipt)),
            Some(Use::UnderWay(_)) | None => None,
        }
    }

    /// The messages after this offset, of which the next one is kept.
    pub fn after(&self, offset: u64) -> impl Iterator<Item = &Arc<Message>> {
        self.history.after(offset)
    }
}
