//! The plain polls of an event loop: how they come, and how they are answered, over HTTP/1.1.

use std::sync::Arc;
use std::time::Instant;

use http::Method;
use http::request::Parts;

use super::client::Phase;
use super::event_loop::EventLoop;
use super::inbox::Message;
use super::known::KnownHead;
use super::poller::Poller;
use super::written::Written;
use crate::access::{Caller, Connection};
use crate::describe::request::Report;
use crate::describe::{Answer, PollRequest};
use crate::http::access::{Access, Admitted, Judged, Target};
use crate::http::describe::{Asked, parse};
use crate::http::head::{self, Passed};
use crate::http::metrics::Route;
use crate::http::polls::streams::{PartPlace, Stream};
use crate::http::polls::{ClientRef, Found, Owner, Polls, Sending, Waits};
use crate::operation::Operation;

impl<P: Poller> EventLoop<P> {
    /// A plain request for the path of `operation`, with this head.
    pub(super) fn poll(&mut self, key: u32, head: &[u8], passed: &Passed, operation: Arc<Operation>) {
        let Some(parts) = self.plain_parts(key, head, passed) else { return };
        let Some(client) = self.clients.get(key as usize) else { return };
        let (closes, page) = (client.flags.closes, client.flags.page);
        let peer = client.place.as_peer();
        // Before the settings are read: if they change meanwhile, the head is read again.
        let settings = operation.settings_generation();
        let judged = self.router.access.judge(&parts.headers, peer, &Target::Operation(operation.config()));
        if let Judged::Now(Ok(Admitted { caller, part: None })) = &judged
            && !self.router.records()
            && let Ok(Asked::Poll(mut request)) = parse(&operation, &parts)
        {
            let report = request.take_report();
            let request = Arc::new(request);
            if report.agent.is_none()
                && request.stream.is_none()
                && let Some(known) = KnownHead::new(head, &operation, &request, (closes, page), settings)
            {
                self.known.keep(known);
            }
            let caller = caller.clone();
            return self.asked(key, caller, operation, request, report);
        }
        self.judged(key, &parts, operation, judged);
    }

    /// Begins with a plain request: gives its head; none: its connection is closed.
    pub(super) fn plain_parts(&mut self, key: u32, head: &[u8], passed: &Passed) -> Option<Parts> {
        let Some(parts) = head::parts(passed.head(head)) else {
            // It was read already, so this is a defect of ours, and not a request that anyone can send.
            debug_assert!(false, "a head that has passed is read again");
            self.close(key);
            return None;
        };
        self.begin_plain(key, passed, &parts)?;
        Some(parts)
    }

    /// Notes what a plain request says of its connection and its answer; none: its client is gone.
    fn begin_plain(&mut self, key: u32, passed: &Passed, parts: &Parts) -> Option<()> {
        let client = self.clients.get_mut(key as usize)?;
        client.flags.closes = passed.closes;
        client.flags.head = parts.method == Method::HEAD;
        client.flags.page = self.router.origins().listed(&parts.headers);
        if self.router.records() {
            let connection = client.place.connection();
            client.record = Some(Box::new(self.router.record(parts, &connection)));
        }
        Some(())
    }

    /// Answers a plain request, with this head, for a path where nothing is and no app is behind, if its client may not know
    /// that. This is done here, as for a path of an operation, so that the time tells nothing either.
    pub(super) fn is_refused_nothing(&mut self, key: u32, head: &[u8], passed: &Passed) -> bool {
        let Some(client) = self.clients.get(key as usize) else { return false };
        if passed.plain_path(head).is_none() || self.router.has_app() {
            return false;
        }
        let Some(parts) = head::parts(passed.head(head)) else { return false };
        let target = self.router.nothing_at(parts.uri.path());
        let Judged::Now(Err(problem)) = self.router.access.judge(&parts.headers, client.place.as_peer(), &target)
        else {
            return false;
        };
        let Some(()) = self.begin_plain(key, passed, &parts) else { return false };
        let ends = self.ends_with(key, Route::None);
        let answer = Answer::problem(&problem, fastrand::f64());
        let answer = if self.is_head(key) { answer.to_head() } else { answer };
        let written = self.write(answer, ends);
        let sending = Sending { held: std::time::Duration::ZERO, ends, fan_out: None };
        self.send_by(Route::None, key, &written, sending);
        true
    }

    /// A plain poll, of which the head was read before.
    pub(super) fn poll_again(&mut self, key: u32, caller: Caller, known: KnownHead) {
        let Some(client) = self.clients.get_mut(key as usize) else { return };
        client.flags.closes = known.closes;
        client.flags.head = known.request.head;
        client.flags.page = known.page;
        self.asked(key, caller, known.operation, known.request, Report::default());
    }
}

impl<P: Poller> Owner for EventLoop<P> {
    type Written = Written;

    fn polls(&mut self) -> &mut Polls<Written> {
        &mut self.polls
    }

    fn access(&self) -> &Arc<Access> {
        &self.router.access
    }

    fn share(&mut self, request: PollRequest) -> Arc<PollRequest> {
        Arc::new(request)
    }

    fn now(&self) -> Instant {
        self.now
    }

    fn client(&self, key: u32) -> Option<ClientRef> {
        self.clients.get(key as usize).map(|client| ClientRef { key, serial: client.serial })
    }

    fn connection(&mut self, key: u32) -> Arc<Connection> {
        self.clients[key as usize].place.connection()
    }

    fn is_half_closed(&self, key: u32) -> bool {
        self.clients.get(key as usize).is_some_and(|client| client.flags.half_closed)
    }

    fn is_head(&self, key: u32) -> bool {
        self.clients.get(key as usize).is_some_and(|client| client.flags.head)
    }

    fn ends(&self, key: u32) -> bool {
        self.ends_with(key, Route::Describe)
    }

    fn wait(&mut self, key: u32, waits: Waits) {
        if let Some(client) = self.clients.get_mut(key as usize) {
            client.phase = Phase::Poll(waits);
        }
    }

    fn take_waits(&mut self, key: u32) -> Option<Waits> {
        let client = self.clients.get_mut(key as usize)?;
        match std::mem::replace(&mut client.phase, Phase::Head) {
            Phase::Poll(waits) => Some(waits),
            other @ (Phase::Head | Phase::Exchange(_) | Phase::Topic(_) | Phase::Writing(_) | Phase::Lingering) => {
                client.phase = other;
                None
            }
        }
    }

    fn write(&self, answer: Answer, ends: bool) -> Written {
        Written::new(&answer, ends, self.polls.answers.date())
    }

    fn send(&mut self, key: u32, written: &Written, sending: Sending) {
        self.send_by(Route::Describe, key, written, sending);
    }

    fn stream_slot(&mut self, key: u32) -> Option<&mut Option<Box<Stream>>> {
        self.clients.get_mut(key as usize).map(|client| &mut client.stream)
    }

    fn write_part(&self, part: Vec<u8>, is_last: bool) -> Written {
        Written::part(&part, is_last)
    }

    fn write_start(&self, head: &Answer, ends: bool, first: &[u8], part: &Written) -> Written {
        Written::start(head, ends, self.polls.answers.date(), first, part)
    }

    fn send_part(&mut self, key: u32, written: &Written, sending: Sending, place: PartPlace) {
        let ends = sending.ends && place.is_last;
        if place.is_first {
            self.count(Route::Describe, key, written, &sending);
            return self.send_head(key, written, Sending { ends, ..sending });
        }
        self.send_bytes(key, written, Sending { ends, ..sending });
    }

    fn find_out(&mut self, task: impl Future<Output = Found> + Send + 'static) {
        let inbox = Arc::clone(&self.inbox);
        self.spawn(async move { inbox.send(Message::Found(task.await)) });
    }
}
