//! A stream whose poll is not answered: an entry of its connection, and no task.

use h2::server::SendResponse;

use super::respond::{Piece, Unsent};
use crate::http::Record;
use crate::http::connection;
use crate::http::metrics::SlowReader;
use crate::http::polls::Waits;

/// A stream that waits for its answer.
pub(super) struct Stream {
    pub(super) respond: SendResponse<Piece>,
    /// What it waits for; none: it is being looked at.
    pub(super) waits: Option<Waits>,
    /// Whether only the fields of an answer are sent.
    pub(super) head: bool,
    /// Boxed: few ask for logs or traces of each request.
    pub(super) record: Option<Box<Record>>,
    pub(super) answering: connection::Answering,
}

/// A stream whose answer waits for the client to make room.
pub(super) struct Writing {
    pub(super) unsent: Unsent,
    pub(super) _slow: SlowReader,
    pub(super) _answering: connection::Answering,
}

impl Stream {
    /// The key of its parked poll; none: it waits for something else.
    pub(super) fn parked(&self) -> Option<u32> {
        if let Some(Waits::Parked(key)) = self.waits { Some(key) } else { None }
    }
}
