//! Requests to exchanges that an event loop parks, until hyper is to serve their connections.

use std::sync::Arc;
use std::task::{Context, Wake, Waker};

use http::request::Parts;

use super::client::{Client, Phase};
use super::event_loop::EventLoop;
use super::inbox::{Inbox, Message};
use super::poller::Poller;
use super::written::Written;
use crate::describe::Answer;
use crate::http::access::{Admitted, Judged};
use crate::http::exchange::{Asked, ParkedRequest, park};
use crate::http::head::{self, Framing, Passed};
use crate::http::metrics::Route;
use crate::http::polls::{ClientRef, Sending};
use crate::http::{Begun, Progress, Router};
use crate::lifecycle::stop;

/// A request that is parked, and what hyper needs to serve it.
#[derive(Debug)]
pub(super) struct Parked {
    request: ParkedRequest,
    /// As it came.
    head: Box<[u8]>,
    passed: Passed,
    waker: Waker,
}

/// Tells an event loop that there may be something to do for a client.
struct Changed<P: Poller> {
    inbox: Arc<Inbox<P>>,
    client: ClientRef,
}

impl<P: Poller> Wake for Changed<P> {
    fn wake(self: Arc<Self>) {
        self.inbox.send(Message::Changed(self.client));
    }
}

impl Parked {
    /// Whether bytes of its body may come.
    pub(super) fn has_body(&self) -> bool {
        self.request.has_body()
    }

    fn is_ready(&mut self) -> bool {
        self.request.poll_ready(&mut Context::from_waker(&self.waker)).is_ready()
    }
}

impl Router {
    /// What a request with this head asks of an exchange, if it is one that is parked; and its head.
    pub(in crate::http) fn exchange_that_parks(&self, bytes: &[u8], passed: &Passed) -> Option<(Asked, Parts)> {
        if self.stop.phase() != stop::Phase::default() {
            return None;
        }
        let asked = self.exchange_at(passed.path(bytes)?)?;
        let parts = head::parts(passed.head(bytes))?;
        asked.parks(&parts, passed.body).then_some((asked, parts))
    }
}

impl<P: Poller> EventLoop<P> {
    /// Parks the request that `bytes` begin with, if it is one to an exchange that waits; lends the connection otherwise, with
    /// all bytes. Gives how many of them were used.
    pub(super) fn park(&mut self, key: u32, bytes: &[u8], passed: Passed) -> usize {
        let progress = self.begin_exchange(key, bytes, &passed);
        let Some(client) = self.clients.get_mut(key as usize) else { return bytes.len() };
        let request = match progress {
            Some(Progress::Parked(request)) => request,
            judged @ (None | Some(Progress::Judged(..))) => {
                let record = client.record.take().map(|record| *record).unwrap_or_default();
                let begun = judged.map(|progress| Begun { progress, record });
                self.lend(key, bytes.to_vec(), passed, begun);
                return bytes.len();
            }
        };
        let waker = Changed { inbox: Arc::clone(&self.inbox), client: ClientRef { key, serial: client.serial } };
        let (head, length) = (bytes[..passed.length].into(), passed.length);
        let mut parked = Box::new(Parked { request, head, passed, waker: Arc::new(waker).into() });
        let (deadline, is_ready) = (parked.request.deadline(), parked.is_ready());
        client.phase = Phase::Exchange(parked);
        if is_ready {
            let rest = bytes[length..].to_vec();
            self.resume_with(key, &rest);
            return bytes.len();
        }
        self.timers.set(key, Some(deadline));
        length
    }

    /// Begins with the request that `bytes` begin with; none: it is not for an exchange, or not one that is parked.
    fn begin_exchange(&mut self, key: u32, bytes: &[u8], passed: &Passed) -> Option<Progress> {
        let client = self.clients.get_mut(key as usize)?;
        // No event tells once more of an end that came with the head, and behind a body it is not read.
        if client.flags.half_closed || client.flags.ended && passed.body != Framing::Length(0) {
            return None;
        }
        let (asked, mut parts) = self.router.exchange_that_parks(bytes, passed)?;
        if self.router.records() {
            let connection = client.place.connection();
            client.record = Some(Box::new(self.router.record(&parts, &connection)));
        }
        client.flags.closes = passed.closes;
        let (peer, scheme) = (client.place.peer(), client.place.scheme());
        let judged = self.router.judge_exchange(&asked, &parts, client.place.as_peer());
        if let Judged::Now(Ok(Admitted { caller, .. })) = &judged {
            self.router.access.keep_back(&mut parts.headers);
            let sent = (parts, passed.body);
            let parked = park(&self.router.exchanges, &asked, caller.clone(), (peer, scheme), sent);
            if let Some(parked) = parked {
                return Some(Progress::Parked(parked));
            }
        }
        Some(Progress::Judged(asked, judged))
    }

    /// There may be something to do for a request that is parked.
    pub(super) fn exchange_changed(&mut self, ClientRef { key, serial }: ClientRef) {
        let client = self.clients.get_mut(key as usize).filter(|client| client.serial == serial);
        if let Some(Client { phase: Phase::Exchange(parked), .. }) = client
            && parked.is_ready()
        {
            self.resume(key);
        }
    }

    /// The client has closed its sending side, or is gone: most that do so wait for nothing any more.
    pub(super) fn exchange_ended(&mut self, key: u32) {
        let Some(client) = self.clients.get_mut(key as usize) else { return };
        let Phase::Exchange(parked) = &client.phase else { return };
        if parked.has_body() {
            client.flags.half_closed = true;
            self.resume(key);
        } else {
            self.read(key);
        }
    }

    /// The process drains, or closes.
    pub(super) fn exchange_drains(&mut self, key: u32) {
        let phase = self.phase;
        if let Some(Client { phase: Phase::Exchange(parked), .. }) = self.clients.get_mut(key as usize) {
            parked.request.on_phase(phase);
            let deadline = parked.request.deadline();
            self.timers.set(key, Some(deadline));
        }
    }

    /// Credentials were withdrawn: those who have lost theirs are told so.
    pub(super) fn exchanges_withdrawn(&mut self) {
        let is_lost =
            |client: &Client<P::Socket>| matches!(&client.phase, Phase::Exchange(parked) if parked.request.is_lost());
        let lost: Vec<_> = self.clients.iter().filter(|(_, client)| is_lost(client)).map(|(key, _)| key).collect();
        for key in lost.into_iter().filter_map(|key| u32::try_from(key).ok()) {
            self.resume(key);
        }
    }

    /// The time of a request that is parked is over: a worker that polls is told that there is no request, which needs no hyper.
    pub(super) fn exchange_over(&mut self, key: u32) {
        let Some(client) = self.clients.get_mut(key as usize) else { return };
        let Phase::Exchange(parked) = &mut client.phase else { return };
        let Some(held) = parked.request.ended_poll(self.now).filter(|_| !parked.is_ready()) else {
            return self.resume(key);
        };
        // Its slot is withdrawn.
        client.phase = Phase::Head;
        let ends = self.ends_with(key, Route::Exchange);
        let written = Written::new(&Answer::no_request(), ends, self.polls.answers.date());
        self.send_by(Route::Exchange, key, &written, Sending { held, ends, fan_out: None });
    }

    /// hyper serves a request that was parked.
    pub(super) fn resume(&mut self, key: u32) {
        let Some(client) = self.clients.get_mut(key as usize) else { return };
        let rest = client.input.take().map(|input| input.bytes).unwrap_or_default();
        self.resume_with(key, &rest);
    }

    fn resume_with(&mut self, key: u32, rest: &[u8]) {
        let Some(client) = self.clients.get_mut(key as usize) else { return };
        match std::mem::replace(&mut client.phase, Phase::Head) {
            Phase::Exchange(parked) => {
                let Parked { request, head, passed, .. } = *parked;
                let record = client.record.take().map(|record| *record).unwrap_or_default();
                let begun = Begun { progress: Progress::Parked(request), record };
                self.lend(key, [&head, rest].concat(), passed, Some(begun));
            }
            other @ (Phase::Head | Phase::Poll(_) | Phase::Topic(_) | Phase::Writing(_) | Phase::Lingering) => {
                client.phase = other;
            }
        }
    }
}
