//! PURE. The input and the output of the driver.

use std::time::Duration;

use crate::sources::kubernetes::failure::Failure;

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// A list without a resourceVersion: a consistent read.
    List,
    /// A watch from a position.
    Watch {
        /// The position.
        version: String,
        /// Ask the server to end it after this long: whole seconds, at least one.
        timeout: Duration,
        /// Ask for the whole set first, not older than the position.
        initial: bool,
    },
    /// Nothing, for so long.
    Sleep(Duration),
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A list was answered.
    Listed {
        /// The version of the list, not of an object in it.
        version: String,
    },
    /// The head of a watch was answered.
    Opened,
    /// A watch brought an event or a bookmark.
    Moved {
        /// Its version.
        version: String,
    },
    /// A watch has shown the whole set.
    Synced {
        /// Of which version it is.
        version: String,
    },
    /// A consistent read contradicts what list and stream have shown.
    Contradicted(Contradiction),
    /// Nothing came until [`super::Driver::due`].
    Due,
    /// A watch ended as it should.
    Ended,
    /// A list or watch failed; an ERROR event is a failure too.
    Failed(Failure),
}

/// How a consistent read contradicts list and stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contradiction {
    /// It is older than what was known: the store was restored from a backup.
    Older,
    /// The stream is beyond it and has not brought it.
    Missed,
}

/// What the loop is to report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// The server is in contact, and there is nothing new.
    Live,
    /// Contact was lost, or it fails in another way now: whoever asks is unknown or has no right, or there is no such resource;
    /// not repeated on each retry.
    Lost(Failure),
    /// A watch was closed, since it fell silent.
    Silent,
    /// The server does not show the whole set at the start of a watch; not asked again.
    NoStreaming,
    /// A list is older than what was known: the store was restored from a backup. The list is authoritative.
    Restored {
        /// The position that was held.
        held: u64,
        /// The version that the list showed.
        listed: u64,
    },
}
