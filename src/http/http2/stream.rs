//! A stream whose poll is not answered: an entry of its connection, and no task.

use h2::StreamId;
use h2::server::SendResponse;

use super::respond::{Piece, Unsent};
use crate::describe::Consistency;
use crate::http::Record;
use crate::http::connection;
use crate::http::front::client::{Answering, Confirming};
use crate::http::front::polls::BodyKey;
use crate::http::metrics::SlowReader;
use crate::hub::Payload;

/// A stream that waits for its answer.
pub(super) struct Stream {
    pub(super) respond: SendResponse<Piece>,
    pub(super) phase: Phase,
    /// Whether only the fields of an answer are sent.
    pub(super) head: bool,
    /// Boxed: few ask for logs or traces of each request.
    pub(super) record: Option<Box<Record>>,
    pub(super) answering: connection::Answering,
}

/// What it waits for.
pub(super) enum Phase {
    /// Nothing: it is being looked at.
    Arrived,
    /// Until it is known whether its client is ahead.
    Confirming(Box<Confirming>),
    /// A change, or its time: its poll is parked under this key.
    Parked(u32),
    /// The body of its answer is being made.
    Making(Box<Answering>),
}

/// Names a stream, and no other that gets its key after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StreamRef {
    pub(super) key: u32,
    pub(super) id: StreamId,
}

/// A stream whose answer waits for the client to make room.
pub(super) struct Writing {
    pub(super) unsent: Unsent,
    pub(super) _slow: SlowReader,
    pub(super) _answering: connection::Answering,
}

/// What a task that works for a connection has found.
pub(super) enum Found {
    /// It has answered a request itself.
    Nothing,
    /// What is known of the current state by now.
    Confirmed(StreamRef, Consistency),
    /// A body that was made.
    Made(BodyKey, Box<Payload>),
}

impl Stream {
    /// The key of its parked poll; none: it waits for something else.
    pub(super) fn parked(&self) -> Option<u32> {
        match self.phase {
            Phase::Parked(key) => Some(key),
            Phase::Arrived | Phase::Confirming(_) | Phase::Making(_) => None,
        }
    }
}
