//! PURE. What a core is told, and what it tells.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::claims::Lost;
use super::ends::Failure;
use crate::config::Repeat;
use crate::exchange::id::{ClaimId, ItemId};

/// Whose items take turns: an identity, or an address.
pub type Client = Arc<str>;

/// What a path has in the place of `{key}`.
pub type Key = Arc<str>;

/// What an exchange does with items.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// Queued items at most.
    pub queue_length: usize,
    /// Queued items of one client at most.
    pub per_client: usize,
    /// How long an item may be queued.
    pub queue_age: Duration,
    /// The same, of one whose consumer does not wait.
    pub async_age: Duration,
    /// From a claim to the head of the answer.
    pub deadline: Duration,
    /// How long a claim may be untouched.
    pub first_touch: Duration,
    /// How long a touch keeps a claim.
    pub lease: Duration,
    /// How often an item is given to a worker that may begin it.
    pub attempts: u32,
    /// Which items are given to another worker after one may have begun.
    pub repeat: Repeat,
    /// How long an ended item is known.
    pub keep: Duration,
    /// Absent: items wait where no worker is there. Else they are refused once none was there for so long.
    pub refuse_after: Option<Duration>,
}

/// A request that becomes an item.
#[derive(Debug, Clone)]
pub struct Submission {
    /// The id that the item gets.
    pub item: ItemId,
    /// Whose it is.
    pub client: Client,
    /// The key in its path.
    pub key: Option<Key>,
    /// Its urgency, 0 to 7.
    pub urgency: u8,
    /// Its consumer does not wait.
    pub is_async: bool,
    /// Its method is idempotent (RFC 9110, section 9.2.2).
    pub is_idempotent: bool,
    /// What makes a repeated request the same.
    pub once: Option<Once>,
    /// Requests with the same text share an item.
    pub share: Option<Arc<str>>,
}

/// An `Idempotency-Key`, and a digest of the request that it stands for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Once {
    /// The key, among those of one client.
    pub key: Arc<str>,
    /// What the request asks for.
    pub digest: [u8; 32],
}

/// What a submission came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Submitted {
    /// A new item.
    New,
    /// The consumer waits for this one, which is there already.
    Attached(ItemId),
}

/// Why a request becomes no item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// As many are queued as are allowed.
    #[error("{0} requests are queued, as many as are allowed")]
    Full(usize),
    /// As many of this client are queued as are allowed.
    #[error("{0} requests of this client are queued, as many as are allowed")]
    OfClient(usize),
    /// There is no worker.
    #[error("there has been no worker for {} s", .0.as_secs())]
    NoWorker(Duration),
    /// The key stands for another request.
    #[error("the Idempotency-Key stands for another request")]
    KeyReused,
}

/// How a consumer leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leave {
    /// It is gone, or was told that there is no answer.
    Gone,
    /// It has all of the answer, whose end may still be to come.
    Served,
    /// It was told to come back after so long.
    Told(Duration),
}

/// An item that has ended without a whole answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failed {
    /// The item.
    pub item: ItemId,
    /// Why there is none.
    pub failure: Failure,
    /// How the last worker was lost to it; absent: the item did not end with a worker.
    pub lost: Option<Lost>,
    /// How often a worker may have begun it.
    pub attempts: u32,
    /// The claim on it that was live.
    pub claim: Option<ClaimId>,
    /// It has failed after all attempts.
    pub is_dead: bool,
    /// Another replica has ended it, and tells of it.
    pub is_told: bool,
}

/// What the owner does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Give an item to the worker of this offer.
    Assign {
        /// The offer, from now on a claim.
        claim: ClaimId,
        /// The item.
        item: ItemId,
        /// Which attempt it is, from 1.
        attempt: u32,
        /// How long the item was queued.
        queued: Duration,
    },
    /// An offer is taken back, since a newer one of the same seat has come.
    Superseded(ClaimId),
    /// A worker is to end its work on a claim.
    Cancel(ClaimId),
    /// An item is in the queue again.
    PutBack(ItemId, Lost),
    /// An item has ended without an answer, or its answer is broken.
    End(Failed),
    /// Nothing is known of an item any more.
    Forget(ItemId),
    /// Another replica has gone on with an item that was answered here: the answer does not count.
    Overruled(ItemId),
}
