//! PURE. Which messages clients have published by which keys, so that a repeated one is not another one.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Client, Receipt};
use crate::bounds::TOPIC_KEYS;

/// What a client calls a message that it publishes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    /// Whose it is.
    pub client: Client,
    /// What it calls it.
    pub text: Box<str>,
}

/// Names what was published, whoever published it.
pub type Digest = [u8; 32];

/// The keys that are known.
#[derive(Debug)]
pub(super) struct Keys {
    /// How long each is known.
    life: Duration,
    known: HashMap<Arc<Key>, (Digest, Receipt)>,
    /// The oldest first.
    order: VecDeque<(Instant, Arc<Key>)>,
}

impl Keys {
    pub(super) fn new(life: Duration) -> Self {
        Self { life, known: HashMap::new(), order: VecDeque::new() }
    }

    /// What was published by a key.
    pub(super) fn find(&mut self, key: &Key, now: Instant) -> Option<&(Digest, Receipt)> {
        while let Some((used, _)) = self.order.front()
            && now.saturating_duration_since(*used) >= self.life
        {
            self.forget_first();
        }
        self.known.get(key)
    }

    /// Knows one more, which [`Self::find`] has not found.
    pub(super) fn keep(&mut self, key: Key, digest: Digest, receipt: Receipt, now: Instant) {
        if self.known.len() >= TOPIC_KEYS {
            self.forget_first();
        }
        let key = Arc::new(key);
        self.order.push_back((now, Arc::clone(&key)));
        self.known.insert(key, (digest, receipt));
    }

    fn forget_first(&mut self) {
        if let Some((_, key)) = self.order.pop_front() {
            self.known.remove(&key);
        }
    }
}
