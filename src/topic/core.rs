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
use keys::Keys;
pub use keys::{Digest, Key};
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
    /// The offset of the message that it is taken to have read last.
    pub offset: u64,
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
    /// Without messages.
    #[must_use]
    pub fn new(config: &config::Topic, epoch: Epoch) -> Self {
        let (history, keys) = (History::new(config.history), Keys::new(config.dedupe));
        Self { epoch, history, keys, rates: Rates::new(config.rate) }
    }

    /// Publishes a message. `at`: `now` for people, RFC 3339.
    pub fn publish(&mut self, publication: Publication, now: Instant, at: &Arc<str>) -> Result<Published, Refused> {
        let Publication { client, once, draft } = publication;
        let once = once.map(|(text, digest)| (Key { client: Client::clone(&client), text }, digest));
        if let Some((key, digest)) = &once
            && let Some((known, receipt)) = self.keys.find(key, now)
        {
            if known != digest {
                return Err(Refused::KeyReused);
            }
            return Ok(Published { receipt: receipt.clone(), is_repeated: true });
        }
        self.rates.take(&client, now).map_err(|after| Refused::TooFast { after })?;
        let id = self.epoch.at(self.history.last() + 1);
        self.history.trim(now);
        self.history.push(Arc::new(Message::new(id, (now, at), &draft)));
        let receipt = Receipt { id, at: Arc::clone(at) };
        if let Some((key, digest)) = once {
            self.keys.keep(key, digest, receipt.clone(), now);
        }
        Ok(Published { receipt, is_repeated: false })
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
        Place { offset, gap: None }
    }

    fn since(&self, text: &str) -> Place {
        let (first, last) = (self.history.first(), self.history.last());
        let gap = |missed| Some(Gap { since: text.into(), first: self.epoch.at(first), missed });
        match MessageId::parse(text).filter(|id| id.epoch == self.epoch) {
            // There is no such message: nobody was given its id.
            Some(id) if id.offset > last => Place { offset: last, gap: gap(Some(0)) },
            Some(id) if id.offset + 1 < first => Place { offset: first - 1, gap: gap(Some(first - 1 - id.offset)) },
            Some(id) => Place { offset: id.offset, gap: None },
            None => Place { offset: first - 1, gap: gap(None) },
        }
    }

    /// Where a reader is that has read the message at this offset: further on, if it has missed some since.
    pub fn resume(&mut self, offset: u64, now: Instant) -> Place {
        self.history.trim(now);
        if offset + 1 >= self.history.first() {
            Place { offset, gap: None }
        } else {
            self.since(&self.epoch.at(offset).to_string())
        }
    }

    /// The messages after this offset, of which the next one is kept.
    pub fn after(&self, offset: u64) -> impl Iterator<Item = &Arc<Message>> {
        self.history.after(offset)
    }
}
