//! Plain polls of HTTP/2: from their head to the answer, or to being parked.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use http::request::Parts;
use tokio::io::{AsyncRead, AsyncWrite};

use super::connection::Connection;
use super::respond::{Unsent, Written};
use super::stream::{Found, Phase, StreamRef, Writing};
use crate::access::Identity;
use crate::bounds::SLOW_READER;
use crate::describe::request::Report;
use crate::describe::{Answer, Consistency, Decision, PollRequest, Problem};
use crate::http::Outcome;
use crate::http::describe::{Arrived, Asked, Asking, nothing, parse};
use crate::http::front::answers::AnswerKey;
use crate::http::front::client::{Answering, Confirming};
use crate::http::front::parked::Released;
use crate::http::front::polls::BodyKey;
use crate::http::metrics::{Route, SlowReader};
use crate::hub::{FanOutGuard, Missing, Payload, Served, Wanted};
use crate::model::Since;
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
        let begun = match parse(&operation, parts) {
            Ok(Asked::Poll(mut request)) => {
                let report = request.take_report();
                Asking::new(operation, self.shared(request)).map(|asking| (asking, report))
            }
            Ok(Asked::Options) => return self.problem(key, Answer::options(), Duration::ZERO),
            Err(problem) => Err(problem),
        };
        match begun {
            Ok((asking, report)) => self.compare(key, asking, report),
            Err(problem) => self.refuse(key, &problem, Duration::ZERO),
        }
    }

    /// Clients on one connection ask for the same, mostly: those that are parked share it.
    fn shared(&mut self, request: PollRequest) -> Arc<PollRequest> {
        match &self.last_request {
            Some(last) if **last == request => Arc::clone(last),
            _ => {
                let request = Arc::new(request);
                // A selection is in use for as long as somebody has it.
                let is_plain = request.select.is_none() && request.rejected.is_none();
                self.last_request = is_plain.then(|| Arc::clone(&request));
                request
            }
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
        let claimed = *claimed;
        let Some(consistency) = asking.operation.known_consistency(&claimed) else {
            return self.confirm(key, asking, report, claimed);
        };
        let current = asking.subscription.current();
        self.arrive(key, &asking, current, report, consistency);
    }

    /// A task finds out what is known of the current state.
    fn confirm(&mut self, key: u32, asking: Asking, report: Report, claimed: Since) {
        let Some(stream) = self.streams.get_mut(key as usize) else { return };
        let name = StreamRef { key, id: stream.respond.stream_id() };
        let operation = Arc::clone(&asking.operation);
        stream.phase = Phase::Confirming(Box::new(Confirming { asking, report }));
        self.tasks.spawn(async move { Found::Confirmed(name, operation.catch_up(&claimed).await) });
    }

    /// What is known of the current state is known now.
    pub(super) fn confirmed(&mut self, StreamRef { key, id }: StreamRef, consistency: Consistency) {
        let stream = self.streams.get_mut(key as usize).filter(|stream| stream.respond.stream_id() == id);
        let Some(stream) = stream else { return };
        match std::mem::replace(&mut stream.phase, Phase::Arrived) {
            Phase::Confirming(confirming) => {
                let Confirming { asking, report } = *confirming;
                let current = asking.subscription.current();
                self.arrive(key, &asking, current, report, consistency);
            }
            other @ (Phase::Arrived | Phase::Parked(_) | Phase::Making(_)) => stream.phase = other,
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
        match asking.arrive(current, consistency, report, &Identity::Anonymous, || Arc::clone(&self.state.client)) {
            Ok(Arrived::Answer(decision, served, live)) => {
                let answering =
                    Answering { asking: asking.clone(), served, decision, live, held: Duration::ZERO, fan_out: None };
                self.answer(key, answering);
            }
            Ok(Arrived::Park(parking)) => {
                let Some(stream) = self.streams.get_mut(key as usize) else { return };
                let parked = self.parked.park(asking, parking, key, self.now);
                stream.phase = Phase::Parked(parked);
                if self.state.is_half_closed() {
                    self.half_closed(parked);
                }
            }
            Err(problem) => self.refuse(key, &problem, Duration::ZERO),
        }
    }

    /// The client of a parked poll has closed its sending side: it is answered at once, since most that do so are gone.
    pub(super) fn half_closed(&mut self, parked: u32) {
        if let Some(released) = self.parked.half_closed(parked, self.now) {
            self.released(released);
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
        let Answering { asking, served, decision, live, held, .. } = &answering;
        // The same state at a version that only this client has seen.
        let is_common = asking.request.version_of(&served.snapshot.id) == served.snapshot.id.version;
        let answer_key = AnswerKey::new(asking, *decision, false);
        if let Some(written) = self.answers.kept(&asking.request, served, answer_key).filter(|_| is_common) {
            if let (Decision::State, Some(live)) = (decision, live) {
                live.sent(&served.snapshot.id);
            }
            if let Some(payload) = &written.payload {
                asking.subscription.count(served, payload);
            }
            let (written, held) = (Arc::clone(written), *held);
            return self.send(key, &written, held, answering.fan_out);
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
                let written = Arc::new(Written::new(answer, self.answers.date(), counted));
                if let Some(keep) = keep {
                    self.answers.keep(&asking.request, &served, keep, &written);
                }
                self.send(key, &written, held, fan_out);
            }
            Err(problem) => self.refuse(key, &problem, held),
        }
    }

    /// A task makes a body, for all who wait for the same.
    fn make(&mut self, key: u32, wanted: Wanted, mut answering: Answering) {
        let Some(stream) = self.streams.get_mut(key as usize) else { return };
        let body = BodyKey::new(&answering.served, wanted);
        let waiting = self.making.entry(body).or_default();
        waiting.push(StreamRef { key, id: stream.respond.stream_id() });
        if waiting.len() == 1 {
            let (subscription, served) = (Arc::clone(&answering.asking.subscription), Arc::clone(&answering.served));
            self.tasks.spawn(async move { Found::Made(body, Box::new(subscription.payload(&served, wanted).await)) });
        }
        if answering.fan_out.is_none() && !answering.held.is_zero() {
            answering.fan_out = self.parked.fan_out();
        }
        stream.phase = Phase::Making(Box::new(answering));
    }

    /// A body has been made.
    pub(super) fn made(&mut self, body: BodyKey, payload: &Payload) {
        for StreamRef { key, id } in self.making.remove(&body).unwrap_or_default() {
            let stream = self.streams.get_mut(key as usize).filter(|stream| stream.respond.stream_id() == id);
            let Some(stream) = stream else { continue };
            match std::mem::replace(&mut stream.phase, Phase::Arrived) {
                Phase::Making(answering) => self.answer_with(key, *answering, Some(payload.clone()), None),
                other @ (Phase::Arrived | Phase::Confirming(_) | Phase::Parked(_)) => stream.phase = other,
            }
        }
    }

    /// Answers a poll with a problem.
    fn refuse(&mut self, key: u32, problem: &Problem, held: Duration) {
        self.problem(key, Answer::problem(problem, fastrand::f64()), held);
    }

    fn problem(&mut self, key: u32, answer: Answer, held: Duration) {
        let is_head = self.streams.get(key as usize).is_some_and(|stream| stream.head);
        let answer = if is_head { answer.to_head() } else { answer };
        let written = Written::new(answer, self.answers.date(), None);
        self.send(key, &written, held, None);
    }

    /// Counts an answer and sends it.
    fn send(&mut self, key: u32, written: &Written, held: Duration, fan_out: Option<FanOutGuard>) {
        let Some(mut stream) = self.streams.try_remove(key as usize) else { return };
        let bytes = Some(written.body.len() as u64);
        let outcome = Outcome { route: Route::Describe, status: written.status, bytes, held };
        self.router.answered(stream.record.map(|record| *record).unwrap_or_default(), &outcome);
        let unsent = written.send(&mut stream.respond).and_then(|left| {
            let Some(left) = left else { return Ok(None) };
            // Of a change that releases it at this moment.
            let fan_out = fan_out.or_else(|| self.parked.fan_out());
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
}

/// Whether a request may be a plain poll, as far as its method says.
pub(super) fn is_read(method: &Method) -> bool {
    *method == Method::GET || *method == Method::HEAD
}
