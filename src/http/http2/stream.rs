//! A stream whose poll is not answered: an entry of its connection, and no task.

use std::sync::Arc;
use std::task::{Context, Poll};

use h2::server::SendResponse;
use h2::{Reason, SendStream};

use super::respond::{Piece, Progress, Unsent};
use crate::describe::origin::Listed;
use crate::http::Record;
use crate::http::connection;
use crate::http::metrics::SlowReader;
use crate::http::polls::Waits;
use crate::http::polls::streams::Stream as Events;

/// A stream that waits for its answer.
pub(super) struct Stream {
    pub(super) respond: SendResponse<Piece>,
    /// What it waits for; none: it is being looked at.
    pub(super) waits: Option<Waits>,
    /// Whether only the fields of an answer are sent.
    pub(super) head: bool,
    /// The origin of the page that has sent it, where it is listed.
    pub(super) page: Option<Listed>,
    /// Boxed: few ask for logs or traces of each request.
    pub(super) record: Option<Box<Record>>,
    pub(super) answering: connection::Answering,
    /// The event stream that its client reads. Boxed: most clients poll.
    pub(super) events: Option<Box<Events>>,
    /// Where that is sent, once its head is. Boxed as well.
    pub(super) sent: Option<Box<Sent>>,
}

/// An event stream whose head is sent.
pub(super) struct Sent {
    pub(super) stream: SendStream<Piece>,
    /// The part that the client has not made room for.
    pub(super) waits: Option<(Arc<Progress>, SlowReader)>,
}

/// A stream whose answer waits for the client to make room.
pub(super) struct Writing {
    pub(super) unsent: Unsent,
    pub(super) _slow: SlowReader,
    pub(super) _answering: connection::Answering,
}

impl Stream {
    /// Whether the client has given it up. If not, the waker is woken once it does.
    pub(super) fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<Result<Reason, h2::Error>> {
        // h2 knows two ways to ask, before the head is sent and after it.
        match &mut self.sent {
            Some(sent) => sent.stream.poll_reset(cx),
            None => self.respond.poll_reset(cx),
        }
    }

    /// The key of its parked poll; none: it waits for something else.
    pub(super) fn parked(&self) -> Option<u32> {
        if let Some(Waits::Parked(key)) = self.waits { Some(key) } else { None }
    }
}
