//! PURE. Which messages clients have published by which keys, so that a repeated one is not another one.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::Receipt;
use crate::bounds::TOPIC_KEYS;

/// Names a message for as long as its key is known: the client, and what it calls the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key(pub [u8; 32]);

/// Names what was published, whoever published it.
pub type Digest = [u8; 32];

impl Key {
    /// What a client calls a message.
    #[must_use]
    pub fn of(client: &str, text: &str) -> Self {
        let mut name = blake3::Hasher::new();
        name.update(&(client.len() as u64).to_be_bytes()).update(client.as_bytes()).update(text.as_bytes());
        Self(*name.finalize().as_bytes())
    }
}

/// What is known of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Use {
    /// The message is stored.
    Stored(Digest, Receipt),
    /// It is being stored.
    UnderWay(Digest),
}

/// The keys that are known.
#[derive(Debug)]
pub(super) struct Keys {
    /// How long each is known.
    life: Duration,
    known: HashMap<Key, (Instant, Digest, Receipt)>,
    /// The oldest first.
    order: VecDeque<(Instant, Key)>,
    /// Of messages that are being stored. The backend bounds how many these are.
    under_way: HashMap<Key, Digest>,
}

impl Keys {
    pub(super) fn new(life: Duration) -> Self {
        Self { life, known: HashMap::new(), order: VecDeque::new(), under_way: HashMap::new() }
    }

    /// Those that are known are known for this long, from when they were used.
    pub(super) fn change(&mut self, life: Duration) {
        self.life = life;
    }

    /// What was published by a key, or is being published.
    pub(super) fn find(&mut self, key: &Key, now: Instant) -> Option<Use> {
        while let Some((used, _)) = self.order.front()
            && now.saturating_duration_since(*used) >= self.life
        {
            self.forget_first();
        }
        if let Some((_, digest, receipt)) = self.known.get(key) {
            return Some(Use::Stored(*digest, receipt.clone()));
        }
        self.under_way.get(key).copied().map(Use::UnderWay)
    }

    /// The message of this key is being stored.
    pub(super) fn begin(&mut self, key: Key, digest: Digest) {
        self.under_way.insert(key, digest);
    }

    /// It is not stored.
    pub(super) fn give_up(&mut self, key: &Key) {
        self.under_way.remove(key);
    }

    /// It is stored.
    pub(super) fn keep(&mut self, key: Key, digest: Digest, receipt: Receipt, used: Instant) {
        self.under_way.remove(&key);
        while self.known.len() >= TOPIC_KEYS && !self.order.is_empty() {
            self.forget_first();
        }
        self.order.push_back((used, key));
        self.known.insert(key, (used, digest, receipt));
    }

    /// What is stored is gone.
    pub(super) fn forget_stored(&mut self) {
        self.known.clear();
        self.order.clear();
    }

    fn forget_first(&mut self) {
        if let Some((used, key)) = self.order.pop_front()
            // A key may have been used again since.
            && self.known.get(&key).is_some_and(|(since, ..)| *since == used)
        {
            self.known.remove(&key);
        }
    }
}
