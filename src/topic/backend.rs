//! Where the messages of a topic are stored.
//!
//! ```text
//! publisher: take (key, rate) -> store -> its answer
//!                                  \--- stored at an offset ---> append: readers are shown it, its key is known
//!                                   \-- not stored -----------> give_up: its key is free
//! ```
//! A backend gives the offsets. What it stores for others, such as replicas, is appended in the same way.

use std::fmt::Debug;
use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;

use super::Topic;
use super::core::{Entry, Published, Refused, Start};
use super::presence::Summary;

/// Where the messages of a topic are stored.
#[derive(Debug)]
pub enum Backend {
    /// In the memory of this process, at once.
    Memory,
    /// Elsewhere, which takes time and may fail.
    Stored(Box<dyn Store>),
}

/// Stores messages.
pub trait Store: Debug + Send + Sync {
    /// Stores a message that the topic has taken. The topic is told what became of it ([`Topic::append`], [`Topic::give_up`]) whether
    /// or not somebody still waits for what is returned.
    fn store<'a>(&'a self, topic: &'a Arc<Topic>, entry: Entry) -> BoxFuture<'a, Result<Published, PublishError>>;

    /// Whether a reader that begins so may have to be given what is not here yet, since others may have stored it.
    fn lacks(&self, _topic: &Topic, _start: &Start) -> bool {
        false
    }

    /// Waits until it is here, if it is anywhere.
    fn catch_up<'a>(&'a self, _topic: &'a Topic, _start: &'a Start) -> BoxFuture<'a, Result<(), NotCaughtUp>> {
        Box::pin(ready(Ok(())))
    }

    /// Says to other replicas who reads here.
    fn say_who_reads(&self, _here: Summary) {}

    /// Whether it can store anything, as far as is known.
    fn is_up(&self) -> bool {
        true
    }
}

/// It is not known what others have stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is not known which messages there are")]
pub struct NotCaughtUp;

/// Why a message is not known to be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotStored {
    /// Nothing can be stored for the moment.
    #[error("the message could not be stored")]
    Failed {
        /// When it is tried again.
        after: Duration,
    },
    /// As many messages wait to be stored as are allowed.
    #[error("too many messages wait to be stored")]
    Full {
        /// When there may be room.
        after: Duration,
    },
    /// It may be stored yet.
    #[error("the message was not stored in time, and may be later")]
    Late {
        /// When that may be known.
        after: Duration,
    },
}

/// Why a message is not published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// It may not be.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// It is not stored, as far as is known.
    #[error(transparent)]
    NotStored(#[from] NotStored),
}

impl NotStored {
    /// When to send the message again.
    #[must_use]
    pub fn after(self) -> Duration {
        match self {
            Self::Failed { after } | Self::Full { after } | Self::Late { after } => after,
        }
    }
}
