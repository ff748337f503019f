//! A connection of a client, as its event loop keeps it.

use std::time::Instant;

use bytes::Bytes;

use super::exchange::Parked;
use super::place::Place;
use super::topics::{Reading, TopicRequest};
use crate::describe::origin::Listed;
use crate::http::Record;
use crate::http::head::Reader;
use crate::http::metrics::SlowReader;
use crate::http::polls::Waits;
use crate::http::polls::streams::Stream;
use crate::hub::FanOutGuard;

/// A connection.
#[derive(Debug)]
pub struct Client<S> {
    pub(super) socket: S,
    pub(super) place: Place,
    pub(super) serial: u64,
    pub(super) phase: Phase,
    /// Bytes that belong to no request so far. Boxed: mostly there are none.
    pub(super) input: Option<Box<Input>>,
    /// Of the request that is being answered. Boxed: few ask for logs or traces of each request.
    pub(super) record: Option<Box<Record>>,
    /// What it reads, if that is a stream. Boxed: most clients poll.
    pub(super) stream: Option<Box<Stream>>,
    /// Since when there is no request.
    pub(super) idle_since: Instant,
    pub(super) flags: Flags,
}

/// What is true of a connection.
#[derive(Debug, Clone, Copy, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own, and thousands of connections keep them")]
pub(super) struct Flags {
    /// A head has been read: HTTP/2 cannot begin any more.
    pub(super) has_begun: bool,
    /// There may be bytes that were not read, for which no event comes any more.
    pub(super) unread: bool,
    /// An event has told that the peer has closed its sending side, or is gone; a read is yet to show it.
    pub(super) ended: bool,
    /// The client has closed its sending side.
    pub(super) half_closed: bool,
    /// The client closes the connection after the answer to the request that is being answered.
    pub(super) closes: bool,
    /// The request that is being answered is HEAD.
    pub(super) head: bool,
    /// Bytes of another request are here.
    pub(super) more: bool,
    /// The deadline is that of the rest of a head.
    pub(super) awaits_rest: bool,
    /// It is to be looked at again without an event.
    pub(super) again: bool,
    /// The origin of the page that has sent the request which is being answered, where it is listed.
    pub(super) page: Option<Listed>,
}

/// Bytes, and how far they are read.
#[derive(Debug, Default)]
pub(super) struct Input {
    pub(super) bytes: Vec<u8>,
    pub(super) reader: Reader,
}

/// What a connection is doing.
#[derive(Debug)]
pub(super) enum Phase {
    /// A head is awaited, or arrives.
    Head,
    /// A poll waits.
    Poll(Waits),
    /// A request to an exchange is parked.
    Exchange(Box<Parked>),
    /// A request to read a topic waits.
    Topic(TopicRequest),
    /// The client takes an answer slowly.
    Writing(Box<Unsent>),
    /// The last answer and a FIN are sent: what still comes is dropped.
    Lingering,
}

/// What is left of an answer.
#[derive(Debug)]
pub(super) struct Unsent {
    pub(super) head: Bytes,
    pub(super) body: Bytes,
    /// How many bytes of both are sent.
    pub(super) sent: usize,
    /// Whether the connection ends with it.
    pub(super) ends: bool,
    /// The reader of a topic, which goes on once all is sent.
    pub(super) reading: Option<Box<Reading>>,
    /// Kept until all is sent.
    pub(super) _fan_out: Option<FanOutGuard>,
    pub(super) _slow: SlowReader,
}

impl<S> Client<S> {
    pub(super) fn new(socket: S, place: Place, serial: u64, now: Instant) -> Self {
        Self {
            socket,
            place,
            serial,
            phase: Phase::Head,
            input: None,
            record: None,
            stream: None,
            idle_since: now,
            flags: Flags::default(),
        }
    }

    /// Whether what it is sent is a part of a stream.
    pub(super) fn reads_stream(&self) -> bool {
        self.stream.is_some() || matches!(&self.phase, Phase::Writing(unsent) if unsent.reading.is_some())
    }

    /// How many bytes belong to no request so far.
    pub(super) fn pending(&self) -> usize {
        self.input.as_ref().map_or(0, |input| input.bytes.len())
    }
}
