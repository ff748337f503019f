//! What a client sends: heads, one after the other, each when its turn has come.

use std::io;

use super::client::{Input, Phase};
use super::event_loop::EventLoop;
use super::known::Found;
use super::poller::Poller;
use crate::bounds::{CLOSING_IDLE, HEAD_BYTES, HEAD_READ, IDLE_CONNECTION};
use crate::describe::Answer;
use crate::http::Record;
use crate::http::access_log;
use crate::http::head::{Reader, Refused, Verdict};
use crate::http::http2::PREFACE;
use crate::http::metrics::Route;
use crate::http::polls::{Owner as _, Sending, Waits};

/// What a read came to.
enum Read {
    /// So many bytes are in the buffer, and there may be more.
    Some(usize),
    /// So many bytes are in the buffer, and that is all for now.
    Last(usize),
    /// The client has closed its sending side.
    Ended,
    /// The connection is broken.
    Broken,
}

/// Why no more heads are read for now.
enum Stop {
    /// The bytes are used up, or the rest is no whole head.
    Partial(Option<Reader>),
    /// The one before is not answered yet, or the connection has gone.
    Busy,
}

impl<P: Poller> EventLoop<P> {
    /// Something has happened to a connection, or may have: `ended` says that its peer may be gone.
    pub(super) fn look(&mut self, key: u32, ended: bool) {
        let Some(client) = self.clients.get_mut(key as usize) else { return };
        client.flags.unread = true;
        client.flags.ended |= ended;
        match client.phase {
            Phase::Lingering => self.drop_input(key),
            Phase::Writing(_) => {
                self.write_on(key);
                self.read(key);
            }
            Phase::Exchange(_) if ended => self.exchange_ended(key),
            Phase::Head | Phase::Poll(_) | Phase::Exchange(_) | Phase::Topic(_) => self.read(key),
        }
    }

    /// Reads some of what has come, as far as it may be kept, and looks at the heads in it.
    pub(super) fn read(&mut self, key: u32) {
        let Some(client) = self.clients.get_mut(key as usize) else { return };
        let is_over = match &client.phase {
            Phase::Lingering => true,
            // Nothing of a body is read before somebody wants it.
            Phase::Exchange(parked) => client.flags.half_closed || parked.has_body(),
            Phase::Head | Phase::Poll(_) | Phase::Topic(_) | Phase::Writing(_) => client.flags.half_closed,
        };
        if is_over || !client.flags.unread || client.pending() >= HEAD_BYTES {
            return;
        }
        // Taken out, so that heads can be read from it while the loop works on them.
        let mut buffer = std::mem::take(&mut self.buffer);
        match read::<P>(&mut client.socket, &mut buffer, client.flags.ended) {
            Read::Some(read) => {
                // The rest after others: a client may send without end.
                self.look_again(key);
                self.take(key, &buffer[..read]);
            }
            Read::Last(read) => {
                client.flags.unread = false;
                self.take(key, &buffer[..read]);
            }
            Read::Ended => {
                client.flags.unread = false;
                client.flags.half_closed = true;
                self.half_closed(key);
            }
            Read::Broken => self.close(key),
        }
        self.buffer = buffer;
    }

    /// Bytes have come.
    fn take(&mut self, key: u32, bytes: &[u8]) {
        let Some(client) = self.clients.get_mut(key as usize).filter(|_| !bytes.is_empty()) else { return };
        if matches!(client.phase, Phase::Head) && client.input.is_none() {
            let (used, reader) = self.heads(key, bytes, Reader::default());
            self.keep(key, &bytes[used..], reader);
        } else {
            let is_head = matches!(client.phase, Phase::Head);
            client.flags.more |= !is_head;
            client.input.get_or_insert_default().bytes.extend_from_slice(bytes);
            if is_head {
                self.go_on(key);
            }
        }
    }

    /// Reads heads from the bytes that are kept.
    pub(super) fn go_on(&mut self, key: u32) {
        let Some(client) = self.clients.get_mut(key as usize) else { return };
        let Some(input) = client.input.take() else { return self.await_head(key) };
        let Input { mut bytes, reader } = *input;
        let (used, reader) = self.heads(key, &bytes, reader);
        bytes.drain(..used);
        let Some(client) = self.clients.get_mut(key as usize) else { return };
        client.input = (!bytes.is_empty()).then(|| Box::new(Input { bytes, reader: reader.unwrap_or_default() }));
        self.await_head(key);
    }

    /// Keeps bytes that belong to no request so far.
    fn keep(&mut self, key: u32, bytes: &[u8], reader: Option<Reader>) {
        let Some(client) = self.clients.get_mut(key as usize) else { return };
        if !bytes.is_empty() {
            let reader = reader.unwrap_or_default();
            client.input = Some(Box::new(Input { bytes: bytes.to_vec(), reader }));
        }
        self.await_head(key);
    }

    /// Sets how long the rest of a head, or the next one, may take; none of it comes where the client has sent all.
    pub(super) fn await_head(&mut self, key: u32) {
        let phase = self.phase;
        let Some(client) = self.clients.get_mut(key as usize) else { return };
        if !matches!(client.phase, Phase::Head) {
            return;
        }
        if client.flags.half_closed {
            return self.end(key);
        }
        let deadline = if phase.closing {
            client.idle_since + CLOSING_IDLE
        } else if client.input.is_some() || !client.flags.has_begun {
            // From the first byte: later ones do not prolong it.
            if std::mem::replace(&mut client.flags.awaits_rest, true) {
                return;
            }
            self.now + HEAD_READ
        } else {
            client.flags.awaits_rest = false;
            client.idle_since + IDLE_CONNECTION
        };
        self.timers.set(key, Some(deadline));
    }

    /// Reads heads, until the bytes are used up or one of them cannot be answered at once. Gives how many bytes those took,
    /// and what has read the rest.
    fn heads(&mut self, key: u32, bytes: &[u8], reader: Reader) -> (usize, Option<Reader>) {
        let (mut used, mut reader) = (0, reader);
        loop {
            let rest = &bytes[used..];
            match self.head(key, rest, reader, &mut used) {
                None => reader = Reader::default(),
                Some(Stop::Partial(reader)) => return (used, reader),
                Some(Stop::Busy) => return (used, None),
            }
        }
    }

    /// Reads one head; none: it is answered, and the next one may be read.
    fn head(&mut self, key: u32, bytes: &[u8], mut reader: Reader, used: &mut usize) -> Option<Stop> {
        let Some(client) = self.clients.get_mut(key as usize) else { return Some(Stop::Busy) };
        if !matches!(client.phase, Phase::Head) {
            client.flags.more |= !bytes.is_empty();
            return Some(Stop::Busy);
        }
        if bytes.is_empty() {
            return Some(Stop::Partial(None));
        }
        if !client.flags.has_begun {
            let known = bytes.len().min(PREFACE.len());
            if bytes[..known] == PREFACE[..known] {
                if known < PREFACE.len() {
                    return Some(Stop::Partial(Some(reader)));
                }
                *used += bytes.len();
                self.lend_http2(key, bytes.to_vec());
                return Some(Stop::Busy);
            }
        }
        let generation = self.router.operations.generation();
        if let Some(Found { known, credential, length }) = self.known.find(bytes, generation) {
            let operation = known.operation.config();
            // Whom it is not known of at once, or who may not, is looked at with the whole head.
            if let Some(caller) = self.router.access.admitted(credential, client.place.as_peer(), &operation) {
                self.begins(key, bytes.len() > length);
                *used += length;
                self.poll_again(key, caller, known);
                return None;
            }
        }
        match reader.judge(bytes) {
            Verdict::Partial => return Some(Stop::Partial(Some(reader))),
            Verdict::Passes(passed) => {
                self.begins(key, bytes.len() > passed.length);
                if let Some(operation) = self.router.operation(bytes, &passed) {
                    *used += passed.length;
                    self.poll(key, &bytes[..passed.length], &passed, operation);
                } else if let Some(topic) = self.router.topic_read(bytes, &passed) {
                    *used += passed.length;
                    self.read_topic(key, &bytes[..passed.length], &passed, topic);
                } else if self.is_refused_nothing(key, &bytes[..passed.length], &passed) {
                    *used += passed.length;
                } else {
                    *used += self.park(key, bytes, passed);
                }
            }
            Verdict::Refused(refused) => {
                *used += bytes.len();
                self.begins(key, false);
                self.refuse_head(key, refused);
            }
        }
        None
    }

    /// A request begins. `more`: bytes of another one are here.
    fn begins(&mut self, key: u32, more: bool) {
        let Some(client) = self.clients.get_mut(key as usize) else { return };
        client.flags.has_begun = true;
        client.flags.awaits_rest = false;
        client.flags.more = more;
        client.flags.page = None;
        self.timers.set(key, None);
    }

    /// Answers a head that is refused; nothing after it is read.
    fn refuse_head(&mut self, key: u32, refused: Refused) {
        let Some(client) = self.clients.get_mut(key as usize) else { return };
        client.flags.closes = true;
        if self.router.logs() {
            let log = access_log::Entry::refused(refused.line.clone(), client.place.peer());
            client.record = Some(Box::new(Record { log: Some(log), trace: None }));
        }
        let mut answer = Answer::problem(&refused.problem, fastrand::f64());
        if refused.line.is_some_and(|(method, _)| method == "HEAD") {
            answer = answer.to_head();
        }
        let written = self.write(answer, true);
        let sending = Sending { held: std::time::Duration::ZERO, ends: true, fan_out: None };
        self.send_by(Route::Refused, key, &written, sending);
    }

    /// The client has closed its sending side: what is parked is answered at once, since most that do so are gone.
    fn half_closed(&mut self, key: u32) {
        let Some(client) = self.clients.get(key as usize) else { return };
        match client.phase {
            Phase::Poll(Waits::Parked(parked)) => self.half_closes(parked),
            Phase::Exchange(_) => self.resume(key),
            Phase::Topic(_) => self.reader_half_closed(key),
            Phase::Head => self.go_on(key),
            Phase::Lingering => self.close(key),
            Phase::Poll(Waits::Judging(_) | Waits::Confirming(_) | Waits::Making(_)) | Phase::Writing(_) => {}
        }
    }
}

/// Reads once. `ended`: the peer has ended, which only the next read shows.
fn read<P: Poller>(socket: &mut P::Socket, room: &mut [u8], ended: bool) -> Read {
    loop {
        return match P::read(socket, room) {
            Ok(0) => Read::Ended,
            Ok(read) if read < room.len() && !ended && P::short_read_is_last(socket) => Read::Last(read),
            Ok(read) => Read::Some(read),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Read::Last(0),
            Err(_) => Read::Broken,
        };
    }
}
