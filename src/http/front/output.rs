//! What is sent to a client, and how a connection ends.

use std::io::{self, IoSlice};

use super::client::{Client, Phase, Unsent};
use super::event_loop::EventLoop;
use super::poller::Poller;
use super::written::Written;
use crate::bounds::{LINGER, SLOW_READER, STREAM_STALLED};
use crate::http::metrics::{Route, SlowReader};
use crate::http::polls::streams::Streams as _;
use crate::http::polls::{Sending, Waits};
use crate::http::{Outcome, closes_after};

impl<P: Poller> EventLoop<P> {
    /// Whether the connection ends with the next answer.
    pub(super) fn ends_with(&self, key: u32, route: Route) -> bool {
        let Some(client) = self.clients.get(key as usize) else { return true };
        let flags = client.flags;
        flags.closes || closes_after(self.phase, route, flags.half_closed, !flags.more)
    }

    /// Counts an answer and sends it.
    pub(super) fn send_by(&mut self, route: Route, key: u32, written: &Written, sending: Sending) {
        self.count(route, key, written, &sending);
        self.send_head(key, written, sending);
    }

    /// Sends an answer, or the first part of a stream. A page of a listed origin gets one that says it may read it.
    pub(super) fn send_head(&mut self, key: u32, written: &Written, sending: Sending) {
        match self.clients.get(key as usize).and_then(|client| client.flags.page) {
            None => self.send_bytes(key, written, sending),
            page @ Some(_) => {
                let written = written.with_fields(self.router.origins().fields(page));
                self.send_bytes(key, &written, sending);
            }
        }
    }

    /// Counts an answer, or the first part of a stream.
    pub(super) fn count(&mut self, route: Route, key: u32, written: &Written, sending: &Sending) {
        let Some(client) = self.clients.get_mut(key as usize) else { return };
        let bytes = Some(written.length as u64);
        let outcome = Outcome { route, status: written.status, bytes, held: sending.held };
        let record = client.record.take();
        self.router.answered(record.map(|record| *record).unwrap_or_default(), &outcome);
    }

    /// Sends what is written.
    pub(super) fn send_bytes(&mut self, key: u32, written: &Written, sending: Sending) {
        let Some(client) = self.clients.get_mut(key as usize) else { return };
        let sent = if written.body.is_empty() {
            P::write(&mut client.socket, &[IoSlice::new(&written.head)])
        } else {
            P::write(&mut client.socket, &[IoSlice::new(&written.head), IoSlice::new(&written.body)])
        };
        let all = written.head.len() + written.body.len();
        match sent {
            Ok(sent) if sent == all => self.is_written(key, sending.ends),
            Ok(sent) => self.write_later(key, written, sent, sending),
            Err(error) if is_later(&error) => self.write_later(key, written, 0, sending),
            Err(_) => self.close(key),
        }
    }

    /// The client takes the rest when it has read some.
    fn write_later(&mut self, key: u32, written: &Written, sent: usize, sending: Sending) {
        let Sending { held, ends, fan_out } = sending;
        let fan_out = self.polls.fan_out(fan_out, held);
        let Some(client) = self.clients.get_mut(key as usize) else { return };
        let (head, body) = (written.head.clone(), written.body.clone());
        let slow = SlowReader::new(&self.router.metrics.slow_readers);
        client.phase =
            Phase::Writing(Box::new(Unsent { head, body, sent, ends, reading: None, _fan_out: fan_out, _slow: slow }));
        self.await_room(key);
        // Only a write that was refused is followed by an event.
        self.write_on(key);
    }

    /// There may be room for more of an answer.
    pub(super) fn write_on(&mut self, key: u32) {
        loop {
            let Some(client) = self.clients.get_mut(key as usize) else { return };
            let Phase::Writing(unsent) = &mut client.phase else { return };
            match P::write(&mut client.socket, &unsent.rest()) {
                Ok(sent) => {
                    unsent.sent += sent;
                    if unsent.is_sent() {
                        let (ends, reading) = (unsent.ends, unsent.reading.take());
                        client.phase = Phase::Head;
                        self.is_written(key, ends);
                        if let Some(reading) = reading {
                            self.reader_written(key, reading);
                        }
                        return;
                    }
                    self.await_room(key);
                }
                Err(error) if is_later(&error) => return,
                Err(_) => return self.close(key),
            }
        }
    }

    /// Sets how long the client may take nothing.
    pub(super) fn await_room(&mut self, key: u32) {
        let is_stream = self.clients.get(key as usize).is_some_and(Client::reads_stream);
        let patience = if is_stream { STREAM_STALLED } else { SLOW_READER };
        self.timers.set(key, Some(self.now + patience));
    }

    /// An answer is sent, as far as the kernel has taken it.
    fn is_written(&mut self, key: u32, ends: bool) {
        if ends {
            return self.end(key);
        }
        let Some(client) = self.clients.get_mut(key as usize) else { return };
        client.phase = Phase::Head;
        client.idle_since = self.now;
        if client.stream.is_some() {
            self.timers.set(key, None);
            return self.goes_on(key);
        }
        if client.flags.more || client.flags.unread {
            self.look_again(key);
        } else {
            self.await_head(key);
        }
    }

    /// Sends a FIN, and drops what the client still sends for a moment: to close while bytes arrive would be a reset, which
    /// can take the answer from it.
    pub(super) fn end(&mut self, key: u32) {
        let Some(client) = self.clients.get_mut(key as usize) else { return };
        let ended = P::shutdown(&mut client.socket);
        client.phase = Phase::Lingering;
        client.input = None;
        if ended.is_err() || client.flags.half_closed {
            return self.close(key);
        }
        self.timers.set(key, Some(self.now + LINGER));
        self.look_again(key);
    }

    /// Reads and drops what comes after the last answer.
    pub(super) fn drop_input(&mut self, key: u32) {
        let Some(client) = self.clients.get_mut(key as usize) else { return };
        match P::read(&mut client.socket, &mut self.buffer) {
            Ok(0) => self.close(key),
            // The next one after others: a client may send without end.
            Ok(_) => self.look_again(key),
            Err(error) if is_later(&error) => {}
            Err(_) => self.close(key),
        }
    }

    /// Closes a connection, whatever it is doing.
    pub(super) fn close(&mut self, key: u32) {
        self.reader_closes(key);
        let Some(client) = self.clients.try_remove(key as usize) else { return };
        self.timers.set(key, None);
        if let Phase::Poll(Waits::Parked(parked)) = client.phase {
            self.polls.parked.abandon(parked);
        }
    }
}

impl Unsent {
    /// What is to be sent.
    fn rest(&self) -> [IoSlice<'_>; 2] {
        let head = self.sent.min(self.head.len());
        let body = self.sent - head;
        [IoSlice::new(&self.head[head..]), IoSlice::new(&self.body[body..])]
    }

    fn is_sent(&self) -> bool {
        self.sent == self.head.len() + self.body.len()
    }
}

fn is_later(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
