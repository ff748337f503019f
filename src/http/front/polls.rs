//! Plain polls: from their head to the answer, or to being parked.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Method;

use super::answers::{AnswerKey, Written};
use super::client::{Answering, Confirming, Phase};
use super::event_loop::EventLoop;
use super::inbox::{ClientRef, Message};
use super::known::KnownHead;
use super::parked::Released;
use super::poller::Poller;
use crate::access::Identity;
use crate::describe::request::Report;
use crate::describe::{Answer, Consistency, Decision, Problem};
use crate::http::Outcome;
use crate::http::describe::{Arrived, Asked, Asking, nothing, parse};
use crate::http::head::{self, Passed};
use crate::http::metrics::Route;
use crate::hub::{FanOutGuard, Missing, Payload, Served, Wanted};
use crate::model::Since;
use crate::operation::Operation;

/// Bytes of a body that is copied behind the head.
const SHORT_BODY: usize = 16 * 1024;

/// Names a body that is being made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BodyKey {
    /// Where the state is in memory: it is kept there by those who wait.
    served: usize,
    wanted: Wanted,
}

impl BodyKey {
    /// That of a state.
    pub(in crate::http) fn new(served: &Arc<Served>, wanted: Wanted) -> Self {
        Self { served: Arc::as_ptr(served) as usize, wanted }
    }
}

impl<P: Poller> EventLoop<P> {
    /// A plain request for the path of `operation`, with this head.
    pub(super) fn poll(&mut self, key: u32, head: &[u8], passed: &Passed, operation: Arc<Operation>) {
        let Some(client) = self.clients.get_mut(key as usize) else { return };
        client.flags.closes = passed.plain.as_ref().is_some_and(|plain| plain.closes);
        let Some(parts) = head::parts(passed.rewritten.as_deref().unwrap_or(head)) else {
            // It was read already, so this is a defect of ours, and not a request that anyone can send.
            debug_assert!(false, "a head that has passed is read again");
            return self.close(key);
        };
        client.flags.head = parts.method == Method::HEAD;
        if self.router.records() {
            let connection = client.place.connection();
            client.record = Some(Box::new(self.router.record(&parts, &connection)));
        }
        let closes = client.flags.closes;
        // Before the settings are read: if they change meanwhile, the head is read again.
        let settings = operation.settings_generation();
        let begun = match parse(&operation, &parts) {
            Ok(Asked::Poll(mut request)) => {
                let report = request.take_report();
                let request = Arc::new(request);
                if report.agent.is_none() && !self.router.records() {
                    self.known.keep(head, &operation, settings, &request, closes);
                }
                Asking::new(operation, request).map(|asking| (asking, report))
            }
            Ok(Asked::Options) => return self.problem(key, Answer::options(), Route::Describe, Duration::ZERO),
            Err(problem) => Err(problem),
        };
        match begun {
            Ok((asking, report)) => self.compare(key, asking, report),
            Err(problem) => self.refuse(key, &problem, Duration::ZERO),
        }
    }

    /// A plain poll, of which the head was read before.
    pub(super) fn poll_again(&mut self, key: u32, known: KnownHead) {
        let Some(client) = self.clients.get_mut(key as usize) else { return };
        client.flags.closes = known.closes;
        client.flags.head = known.request.head;
        match Asking::new(known.operation, known.request) {
            Ok(asking) => self.compare(key, asking, Report::default()),
            Err(problem) => self.refuse(key, &problem, Duration::ZERO),
        }
    }

    /// Compares a poll with the current state, once that is known to be confirmed, or not to be.
    fn compare(&mut self, key: u32, asking: Asking, report: Report) {
        // First, so that no change falls between the comparison and being parked.
        self.parked.follow(&asking.subscription);
        let current = asking.subscription.current();
        let Some(claimed) = asking.claims(&current) else {
            return self.arrive(key, &asking, current, report, Consistency::Confirmed);
        };
        if let Some(consistency) = asking.operation.known_consistency(claimed) {
            let current = asking.subscription.current();
            self.arrive(key, &asking, current, report, consistency);
        } else {
            let claimed = *claimed;
            self.confirm(key, asking, report, claimed);
        }
    }

    /// A task finds out what is known of the current state.
    fn confirm(&mut self, key: u32, asking: Asking, report: Report, claimed: Since) {
        let Some(client) = self.clients.get_mut(key as usize) else { return };
        let (name, inbox) = (ClientRef { key, serial: client.serial }, Arc::clone(&self.inbox));
        let operation = Arc::clone(&asking.operation);
        client.phase = Phase::Confirming(Box::new(Confirming { asking, report }));
        self.spawn(async move {
            let consistency = operation.catch_up(&claimed).await;
            inbox.send(Message::Confirmed(name, consistency));
        });
    }

    /// What is known of the current state is known now.
    pub(super) fn confirmed(&mut self, ClientRef { key, serial }: ClientRef, consistency: Consistency) {
        let Some(client) = self.clients.get_mut(key as usize).filter(|client| client.serial == serial) else { return };
        if !matches!(client.phase, Phase::Confirming(_)) {
            return;
        }
        if let Phase::Confirming(confirming) = std::mem::replace(&mut client.phase, Phase::Head) {
            let Confirming { asking, report } = *confirming;
            let current = asking.subscription.current();
            self.arrive(key, &asking, current, report, consistency);
        }
    }

    /// Answers a poll or parks it.
    fn arrive(
        &mut self,
        key: u32,
        asking: &Asking,
        current: Result<Arc<Served>, Missing>,
        report: Report,
        consistency: Consistency,
    ) {
        let Some(client) = self.clients.get_mut(key as usize) else { return };
        let place = &mut client.place;
        match asking.arrive(current, consistency, report, &Identity::Anonymous, || place.connection()) {
            Ok(Arrived::Answer(decision, served, live)) => {
                let answering =
                    Answering { asking: asking.clone(), served, decision, live, held: Duration::ZERO, fan_out: None };
                self.answer(key, answering);
            }
            Ok(Arrived::Park(parking)) => {
                let parked = self.parked.park(asking, parking, key, self.now);
                client.phase = Phase::Parked(parked);
                if client.flags.half_closed
                    && let Some(released) = self.parked.half_closed(parked, self.now)
                {
                    self.released(released);
                }
            }
            Err(problem) => self.refuse(key, &problem, Duration::ZERO),
        }
    }

    /// Answers a poll that is over.
    pub(super) fn released(&mut self, released: Released<u32>) {
        let Released { client: key, asking, live, release, current, held, put_off } = released;
        let ended = match current {
            Ok(served) => release.decision.map(|decision| (served, decision)).ok_or(Missing::NoParts),
            Err(missing) => Err(missing),
        };
        match ended {
            Ok((served, decision)) => {
                self.answer(key, Answering { asking, served, decision, live, held, fan_out: put_off });
            }
            Err(missing) => self.refuse(key, &nothing(&asking.operation, missing), held),
        }
    }

    /// Answers a poll: with bytes that are there, or once they are made.
    fn answer(&mut self, key: u32, answering: Answering) {
        let ends = self.ends(key, Route::Describe);
        let Answering { asking, served, decision, live, held, .. } = &answering;
        // The same state at a version that only this client has seen.
        let is_common = asking.request.version_of(&served.snapshot.id) == served.snapshot.id.version;
        let answer_key = AnswerKey::new(asking, *decision, ends);
        if let Some(written) = self.answers.kept(&asking.request, served, answer_key).filter(|_| is_common) {
            if let (Decision::State, Some(live)) = (decision, live) {
                live.sent(&served.snapshot.id);
            }
            if let Some(payload) = &written.payload {
                asking.subscription.count(served, payload);
            }
            let (written, held) = (Arc::clone(written), *held);
            return self.send(key, &written, ends, held, answering.fan_out);
        }
        let payload = match asking.wanted(*decision) {
            None => None,
            Some(wanted) => match asking.subscription.made_payload(served, wanted) {
                Some(payload) => Some(payload),
                None => return self.make(key, wanted, answering),
            },
        };
        self.answer_with(key, answering, payload, is_common.then_some(answer_key));
    }

    fn answer_with(&mut self, key: u32, answering: Answering, payload: Option<Payload>, keep: Option<AnswerKey>) {
        let Answering { asking, served, decision, live, held, fan_out } = answering;
        let counted = payload.clone().filter(|_| decision == Decision::State);
        match asking.answer_with(&served, decision, live.as_ref(), payload) {
            Ok(answer) => {
                let ends = self.ends(key, Route::Describe);
                let written = Written { payload: counted, ..self.written(&answer, ends) };
                let written = Arc::new(written);
                if let Some(keep) = keep {
                    self.answers.keep(&asking.request, &served, keep, &written);
                }
                self.send(key, &written, ends, held, fan_out);
            }
            Err(problem) => self.refuse(key, &problem, held),
        }
    }

    /// A task makes a body, for all who wait for the same.
    fn make(&mut self, key: u32, wanted: Wanted, mut answering: Answering) {
        let Some(serial) = self.clients.get(key as usize).map(|client| client.serial) else { return };
        let body = BodyKey::new(&answering.served, wanted);
        let waiting = self.making.entry(body).or_default();
        waiting.push(ClientRef { key, serial });
        if waiting.len() == 1 {
            let (subscription, served) = (Arc::clone(&answering.asking.subscription), Arc::clone(&answering.served));
            let inbox = Arc::clone(&self.inbox);
            self.spawn(async move {
                let payload = subscription.payload(&served, wanted).await;
                inbox.send(Message::Made(body, Box::new(payload)));
            });
        }
        if answering.fan_out.is_none() && !answering.held.is_zero() {
            answering.fan_out = self.parked.fan_out();
        }
        if let Some(client) = self.clients.get_mut(key as usize) {
            client.phase = Phase::Making(Box::new(answering));
        }
    }

    /// A body has been made.
    pub(super) fn made(&mut self, body: BodyKey, payload: &Payload) {
        for ClientRef { key, serial } in self.making.remove(&body).unwrap_or_default() {
            let client = self.clients.get_mut(key as usize).filter(|client| client.serial == serial);
            let Some(client) = client else { continue };
            if !matches!(client.phase, Phase::Making(_)) {
                continue;
            }
            if let Phase::Making(answering) = std::mem::replace(&mut client.phase, Phase::Head) {
                self.answer_with(key, *answering, Some(payload.clone()), None);
            }
        }
    }

    /// Answers a poll with a problem.
    pub(super) fn refuse(&mut self, key: u32, problem: &Problem, held: Duration) {
        self.problem(key, Answer::problem(problem, fastrand::f64()), Route::Describe, held);
    }

    fn problem(&mut self, key: u32, answer: Answer, route: Route, held: Duration) {
        let ends = self.ends(key, route);
        let is_head = self.clients.get(key as usize).is_some_and(|client| client.flags.head);
        let answer = if is_head { answer.to_head() } else { answer };
        let written = self.written(&answer, ends);
        self.send_as(key, &written, ends, held, route, None);
    }

    pub(super) fn written(&mut self, answer: &Answer, ends: bool) -> Written {
        let mut head = Vec::with_capacity(512);
        self.answers.write(answer, ends, &mut head);
        let mut body = answer.body().cloned().unwrap_or_default();
        let length = body.len();
        if length <= SHORT_BODY {
            // A copy costs less than to write from two places.
            head.extend_from_slice(&body);
            body = Bytes::new();
        }
        Written { status: answer.status, head: head.into(), body, length, payload: None }
    }

    fn send(&mut self, key: u32, written: &Written, ends: bool, held: Duration, fan_out: Option<FanOutGuard>) {
        self.send_as(key, written, ends, held, Route::Describe, fan_out);
    }

    /// Counts an answer and sends it.
    pub(super) fn send_as(
        &mut self,
        key: u32,
        written: &Written,
        ends: bool,
        held: Duration,
        route: Route,
        fan_out: Option<FanOutGuard>,
    ) {
        let Some(client) = self.clients.get_mut(key as usize) else { return };
        let outcome = Outcome { route, status: written.status, bytes: Some(written.length as u64), held };
        let record = client.record.take();
        self.router.answered(record.map(|record| *record).unwrap_or_default(), &outcome);
        self.write(key, written, ends, fan_out);
    }
}
