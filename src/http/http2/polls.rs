//! The plain polls of a connection of HTTP/2: how they come, and how they are answered.

use std::sync::Arc;
use std::time::Instant;

use http::Method;
use http::request::Parts;
use tokio::io::{AsyncRead, AsyncWrite};

use super::connection::Connection;
use super::respond::{Unsent, Written};
use super::stream::Writing;
use crate::access;
use crate::bounds::SLOW_READER;
use crate::describe::{Answer, PollRequest};
use crate::http::Outcome;
use crate::http::access::{Access, Target};
use crate::http::metrics::{Route, SlowReader};
use crate::http::polls::streams::{PartPlace, Stream};
use crate::http::polls::{ClientRef, Found, Owner, Polls, Sending, Waits};
use crate::operation::Operation;

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// A plain request for the path of `operation` has come.
    pub(super) fn poll_arrives(&mut self, key: u32, parts: &Parts, operation: Arc<Operation>) {
        if self.router.records() {
            let record = self.router.record(parts, &self.state.client);
            if let Some(stream) = self.streams.get_mut(key as usize) {
                stream.record = Some(Box::new(record));
            }
        }
        let target = Target::Operation(operation.config());
        let judged = self.router.access.judge(&parts.headers, (&*self.state.client).into(), &target);
        self.judged(key, parts, operation, judged);
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Owner for Connection<S> {
    type Written = Written;

    fn polls(&mut self) -> &mut Polls<Written> {
        &mut self.polls
    }

    fn access(&self) -> &Arc<Access> {
        &self.router.access
    }

    /// Clients on one connection ask for the same, mostly: those that are parked share it.
    fn share(&mut self, request: PollRequest) -> Arc<PollRequest> {
        match &self.last_request {
            Some(last) if **last == request => Arc::clone(last),
            _ => {
                let request = Arc::new(request);
                // A selection is in use for as long as somebody has it.
                let is_plain = request.select.is_none() && request.rejected.is_none() && request.applying.is_none();
                self.last_request = is_plain.then(|| Arc::clone(&request));
                request
            }
        }
    }

    fn now(&self) -> Instant {
        self.now
    }

    fn client(&self, key: u32) -> Option<ClientRef> {
        let stream = self.streams.get(key as usize)?;
        Some(ClientRef { key, serial: u32::from(stream.respond.stream_id()).into() })
    }

    fn connection(&mut self, _key: u32) -> Arc<access::Connection> {
        Arc::clone(&self.state.client)
    }

    fn is_half_closed(&self, _key: u32) -> bool {
        self.state.is_half_closed()
    }

    fn is_head(&self, key: u32) -> bool {
        self.streams.get(key as usize).is_some_and(|stream| stream.head)
    }

    /// HTTP/2 has GOAWAY for that.
    fn ends(&self, _key: u32) -> bool {
        false
    }

    fn wait(&mut self, key: u32, waits: Waits) {
        if let Some(stream) = self.streams.get_mut(key as usize) {
            stream.waits = Some(waits);
        }
    }

    fn take_waits(&mut self, key: u32) -> Option<Waits> {
        self.streams.get_mut(key as usize)?.waits.take()
    }

    fn write(&self, answer: Answer, _ends: bool) -> Written {
        Written::new(answer, self.polls.answers.date())
    }

    fn send(&mut self, key: u32, written: &Written, Sending { held, fan_out, .. }: Sending) {
        let Some(mut stream) = self.streams.try_remove(key as usize) else { return };
        let bytes = Some(written.body.len() as u64);
        let outcome = Outcome { route: Route::Describe, status: written.status, bytes, held };
        self.router.answered(stream.record.map(|record| *record).unwrap_or_default(), &outcome);
        let unsent = written.send(&mut stream.respond, self.router.origins().fields(stream.page)).and_then(|left| {
            let Some(left) = left else { return Ok(None) };
            let fan_out = self.polls.fan_out(fan_out, held);
            Unsent::send(left, written.body.clone(), Arc::clone(&self.notice), fan_out).map(Some)
        });
        match unsent {
            Ok(None) => {}
            Ok(Some(unsent)) => {
                stream.answering.answered();
                let slow = SlowReader::new(&self.router.metrics.slow_readers);
                let writing = Writing { unsent, _slow: slow, _answering: stream.answering };
                let key = u32::try_from(self.writing.insert(writing)).unwrap_or(u32::MAX);
                self.timers.set(key, Some(self.now + SLOW_READER));
            }
            // The client has given it up, and that was not looked at yet.
            Err(error) => tracing::trace!(%error, "a stream has ended before its answer"),
        }
    }

    fn stream_slot(&mut self, key: u32) -> Option<&mut Option<Box<Stream>>> {
        self.streams.get_mut(key as usize).map(|stream| &mut stream.events)
    }

    fn write_part(&self, part: Vec<u8>, _is_last: bool) -> Written {
        Written::part(part)
    }

    fn write_start(&self, head: &Answer, _ends: bool, first: &[u8], part: &Written) -> Written {
        Written::start(head, self.polls.answers.date(), first, part)
    }

    fn send_part(&mut self, key: u32, written: &Written, sending: Sending, place: PartPlace) {
        self.send_event(key, written, sending, place);
    }

    fn find_out(&mut self, task: impl Future<Output = Found> + Send + 'static) {
        self.tasks.spawn(async move { Some(task.await) });
    }
}

/// Whether a request may be a plain poll, as far as its method says.
pub(super) fn is_read(method: &Method) -> bool {
    *method == Method::GET || *method == Method::HEAD
}
