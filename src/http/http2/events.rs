//! The event streams of a connection: how their parts are sent, and that their clients make room for them.

use std::sync::Arc;
use std::task::Context;

use bytes::Bytes;
use h2::Reason;
use tokio::io::{AsyncRead, AsyncWrite};

use super::connection::{Connection, keys};
use super::respond::{Piece, Progress, Unsent, Written};
use super::stream::{Sent, Writing};
use crate::bounds::{SLOW_READER, STREAM_STALLED};
use crate::http::Outcome;
use crate::http::metrics::{Route, SlowReader};
use crate::http::polls::Sending;
use crate::http::polls::streams::{PartPlace, Streams as _};

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Sends a part of an event stream.
    pub(super) fn send_event(&mut self, key: u32, written: &Written, sending: Sending, place: PartPlace) {
        if place.is_first && !self.begin_events(key, written, &sending) {
            return self.gone(key);
        }
        let Some(sent) = self.streams.get_mut(key as usize).and_then(|stream| stream.sent.as_mut()) else { return };
        let (first, body) = (written.first.clone(), written.body.clone());
        let is_all_first = body.is_empty();
        sent.stream.reserve_capacity(first.len() + body.len());
        let has_room = sent.stream.capacity() >= first.len() + body.len();
        let mut result = Ok(());
        if !first.is_empty() {
            result = sent.stream.send_data(first.into(), place.is_last && is_all_first);
        }
        let result = match result {
            Ok(()) if has_room => sent.stream.send_data(body.into(), place.is_last),
            Ok(()) => return self.send_slowly(key, body, sending, place.is_last),
            Err(error) => Err(error),
        };
        if let Err(error) = result {
            // The client has given it up, and that was not looked at yet.
            tracing::trace!(%error, "an event stream has ended");
            return self.gone(key);
        }
        if place.is_last {
            self.gone(key);
        } else {
            self.goes_on(key);
        }
    }

    /// Sends the head of an event stream, and counts it; false: the client has given it up.
    fn begin_events(&mut self, key: u32, written: &Written, sending: &Sending) -> bool {
        let Some(stream) = self.streams.get_mut(key as usize) else { return false };
        let bytes = Some((written.first.len() + written.body.len()) as u64);
        let outcome = Outcome { route: Route::Describe, status: written.status, bytes, held: sending.held };
        let record = stream.record.take().map(|record| *record).unwrap_or_default();
        self.router.answered(record, &outcome);
        let begun = stream.respond.send_response(written.head(self.router.origins().fields(stream.page)), false);
        stream.sent = begun.ok().map(|stream| Box::new(Sent { stream, waits: None }));
        stream.sent.is_some() && stream.poll_reset(&mut Context::from_waker(&self.waker)).is_pending()
    }

    /// Hands a part to h2 for which there is not enough room.
    fn send_slowly(&mut self, key: u32, body: Bytes, sending: Sending, is_last: bool) {
        let fan_out = self.polls.fan_out(sending.fan_out, sending.held);
        let slow = SlowReader::new(&self.router.metrics.slow_readers);
        let notice = Arc::clone(&self.notice);
        if is_last {
            let Some(mut stream) = self.streams.try_remove(key as usize) else { return };
            let Some(sent) = stream.sent.take() else { return };
            if let Ok(unsent) = Unsent::send(sent.stream, body, notice, fan_out) {
                let writing = Writing { unsent, _slow: slow, _answering: stream.answering };
                let key = u32::try_from(self.writing.insert(writing)).unwrap_or(u32::MAX);
                self.timers.set(key, Some(self.now + SLOW_READER));
            }
            return;
        }
        let Some(sent) = self.streams.get_mut(key as usize).and_then(|stream| stream.sent.as_mut()) else { return };
        let progress = Arc::new(Progress::new(notice, fan_out));
        match sent.stream.send_data(Piece::followed(body, &progress), false) {
            Ok(()) => {
                sent.waits = Some((progress, slow));
                self.stalls.set(key, Some(self.now + STREAM_STALLED));
            }
            Err(error) => {
                tracing::trace!(%error, "an event stream has ended");
                self.gone(key);
            }
        }
    }

    /// Goes on with streams whose clients have made room.
    pub(super) fn events_sent(&mut self) {
        let has_room = |sent: &Sent| sent.waits.as_ref().is_some_and(|(progress, _)| progress.has_ended());
        let sent: Vec<_> = keys(&mut self.streams, |stream| stream.sent.as_deref().is_some_and(has_room));
        for key in sent {
            self.stalls.set(key, None);
            if let Some(sent) = self.streams.get_mut(key as usize).and_then(|stream| stream.sent.as_mut()) {
                sent.waits = None;
            }
            self.goes_on(key);
        }
    }

    /// Resets streams whose clients make no room.
    pub(super) fn cut_stalled(&mut self) {
        while let Some(key) = self.stalls.expired(self.now) {
            let Some(sent) = self.streams.get_mut(key as usize).and_then(|stream| stream.sent.as_mut()) else {
                continue;
            };
            let Some((progress, _)) = &sent.waits else { continue };
            let deadline = progress.moved() + STREAM_STALLED;
            if deadline > self.now {
                self.stalls.set(key, Some(deadline));
            } else {
                self.router.metrics.slow_readers_cut.inc();
                sent.stream.send_reset(Reason::CANCEL);
                self.gone(key);
            }
        }
    }
}
