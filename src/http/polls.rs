//! Plain polls, from their arrival to their answer, whatever they come by. Who owns the clients, an event loop of HTTP/1.1 or
//! a connection of HTTP/2, says how an answer is written and sent ([`Owner`]); what becomes of a poll is the same for both.
//!
//! ```text
//!  arrives -> compared with the current state -----------------------> answered
//!                 |                    |                                  ^
//!                 | its client may be  | it has the state:                |
//!                 v ahead: Confirming  v Parked ---- changed, expired ----+
//!                 +--- found out --->  (compared)                         |
//!                                         Making: its body is made -------+
//! ```

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::request::Parts;

use crate::access::{Caller, Connection, Loss};
use crate::describe::request::Report;
use crate::describe::stream::Form;
use crate::describe::stream::event::Event;
use crate::describe::{Answer, Consistency, Decision, PollRequest, Problem};
use crate::hub::{Missing, Payload, Served, Wanted};
use crate::model::Since;
use crate::operation::Operation;

use super::access::{Access, Admitted, Judged};
use super::describe::{Arrived, Asked, Asking, loss, narrow, nothing, parse};

pub mod answers;
pub mod parked;
pub mod streams;
mod table;
pub mod timers;
mod waits;

use answers::AnswerKey;
use parked::Released;
use streams::{PartPlace, Stream, Streams as _};
pub use table::Polls;
use waits::made;
pub(super) use waits::{Answering, Confirming, Sending, Unjudged, Waits};
pub use waits::{BodyKey, ClientRef, Found};

/// Who owns clients that poll.
pub(super) trait Owner {
    /// An answer as it is sent.
    type Written;

    fn polls(&mut self) -> &mut Polls<Self::Written>;
    fn now(&self) -> Instant;
    fn access(&self) -> &Arc<Access>;

    /// Names the client with this key; none: it is gone.
    fn client(&self, key: u32) -> Option<ClientRef>;
    /// The connection of a client that is there.
    fn connection(&mut self, key: u32) -> Arc<Connection>;
    /// Whether the client has closed its sending side.
    fn is_half_closed(&self, key: u32) -> bool;
    /// Whether the client has asked with HEAD.
    fn is_head(&self, key: u32) -> bool;
    /// Whether the connection ends with the next answer to it.
    fn ends(&self, key: u32) -> bool;

    /// The client waits.
    fn wait(&mut self, key: u32, waits: Waits);
    /// It waits no longer; gives what it waited for.
    fn take_waits(&mut self, key: u32) -> Option<Waits>;

    /// Writes an answer.
    fn write(&self, answer: Answer, ends: bool) -> Self::Written;
    /// Counts an answer and sends it.
    fn send(&mut self, key: u32, written: &Self::Written, sending: Sending);
    /// Where the stream of a client is; none: it is gone.
    fn stream_slot(&mut self, key: u32) -> Option<&mut Option<Box<Stream>>>;
    /// Writes a part of a stream.
    fn write_part(&self, part: Vec<u8>, is_last: bool) -> Self::Written;
    /// Writes the event of a state, whose bytes are these.
    fn write_state(&self, event: &Event<'_>, form: Form, body: &Bytes) -> Self::Written {
        let mut bytes = Vec::with_capacity(body.len() + 128);
        event.write(form, false, &mut bytes);
        self.write_part(bytes, false)
    }
    /// Writes the head of a stream, what comes first, and this part behind it.
    fn write_start(&self, head: &Answer, ends: bool, first: &[u8], part: &Self::Written) -> Self::Written;
    /// Sends a part of a stream. Once it is sent, and not the last one, [`streams::Streams::goes_on`] is called.
    fn send_part(&mut self, key: u32, written: &Self::Written, sending: Sending, place: PartPlace);

    /// Runs a task, whose result is passed to [`Self::found`].
    fn find_out(&mut self, task: impl Future<Output = Found> + Send + 'static);

    /// Takes a request of a poll; clients on one connection may share it.
    fn share(&mut self, request: PollRequest) -> Arc<PollRequest>;

    /// A request for the path of `operation` has come, whose caller is known, or will be.
    fn judged(&mut self, key: u32, parts: &Parts, operation: Arc<Operation>, judged: Judged) {
        match judged {
            Judged::Now(Ok(admitted)) => self.admitted(key, parts, operation, admitted),
            Judged::Now(Err(problem)) if self.refused_by_event(key, parts, &problem) => {}
            Judged::Now(Err(problem)) => self.refuse(key, &problem, Duration::ZERO),
            Judged::Later(judged) => {
                let Some(client) = self.client(key) else { return };
                self.wait(key, Waits::Judging(Box::new(Unjudged { parts: parts.clone(), operation })));
                self.find_out(async move { Found::Judged(client, Box::new(judged.await)) });
            }
        }
    }

    /// A request for the path of `operation`, whose caller may.
    fn admitted(&mut self, key: u32, parts: &Parts, operation: Arc<Operation>, admitted: Admitted) {
        let Admitted { caller, part } = admitted;
        match parse(&operation, parts) {
            Ok(Asked::Poll(request)) => {
                let Some(mut request) = narrow(request, part) else {
                    let problem = self.access().forbid();
                    return self.refuse(key, &problem, Duration::ZERO);
                };
                let report = request.take_report();
                let request = self.share(request);
                self.asked(key, caller, operation, request, report);
            }
            Ok(Asked::Options) => self.own_answer(key, Answer::options(), Duration::ZERO),
            Err(problem) => self.refuse(key, &problem, Duration::ZERO),
        }
    }

    /// A poll of `operation` has come, whose caller may.
    fn asked(
        &mut self,
        key: u32,
        caller: Caller,
        operation: Arc<Operation>,
        request: Arc<PollRequest>,
        report: Report,
    ) {
        if let Err(problem) = self.begins(key, &caller, &operation, &request) {
            return self.refuse(key, &problem, Duration::ZERO);
        }
        match Asking::new(operation, request, caller) {
            Ok(asking) => self.compare(key, asking, report),
            Err(problem) => self.refuse(key, &problem, Duration::ZERO),
        }
    }

    /// Compares a poll with the current state, once that is known to be confirmed, or not to be.
    fn compare(&mut self, key: u32, asking: Asking, report: Report) {
        // First, so that no change falls between the comparison and being parked.
        self.polls().parked.follow(&asking.subscription);
        let current = asking.subscription.current();
        let Some(claimed) = asking.claims(&current).copied() else {
            return self.arrive(key, &asking, current, report, Consistency::Confirmed);
        };
        if let Some(consistency) = asking.operation.known_consistency(&claimed) {
            let current = asking.subscription.current();
            self.arrive(key, &asking, current, report, consistency);
        } else {
            self.confirm(key, asking, report, claimed);
        }
    }

    /// A task finds out what is known of the current state.
    fn confirm(&mut self, key: u32, asking: Asking, report: Report, claimed: Since) {
        let Some(client) = self.client(key) else { return };
        let operation = Arc::clone(&asking.operation);
        self.wait(key, Waits::Confirming(Box::new(Confirming { asking, report })));
        self.find_out(async move { Found::Confirmed(client, operation.catch_up(&claimed).await) });
    }

    /// A task has found something out.
    fn found(&mut self, found: Found) {
        match found {
            Found::Judged(client, admitted) => {
                if let Some(Waits::Judging(unjudged)) = self.waited(client) {
                    let Unjudged { parts, operation } = *unjudged;
                    self.judged(client.key, &parts, operation, Judged::Now(*admitted));
                }
            }
            Found::Confirmed(client, consistency) => {
                if let Some(Waits::Confirming(confirming)) = self.waited(client) {
                    let Confirming { asking, report } = *confirming;
                    let current = asking.subscription.current();
                    self.arrive(client.key, &asking, current, report, consistency);
                }
            }
            Found::Made(body, payload) => {
                for client in self.polls().making.remove(&body).unwrap_or_default() {
                    if let Some(Waits::Making(answering)) = self.waited(client) {
                        self.made(client.key, *answering, (*payload).clone());
                    }
                }
            }
        }
    }

    /// What a client waited for to which something was found; none: it is gone. Each waits for one thing at a time.
    fn waited(&mut self, client: ClientRef) -> Option<Waits> {
        if self.client(client.key) == Some(client) { self.take_waits(client.key) } else { None }
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
        if self.client(key).is_none() {
            return;
        }
        if let Some(loss) = loss(self.access(), asking) {
            return self.lost(key, loss, Duration::ZERO);
        }
        match asking.arrive(current, consistency, report, || self.connection(key)) {
            Ok(Arrived::Answer(decision, served, live)) => {
                let asking = asking.clone();
                let held = Duration::ZERO;
                self.answer(key, Answering { asking, served, decision, live, held, fan_out: None });
            }
            Ok(Arrived::Park(mut parking)) => {
                if let Some(stream) = self.stream(key) {
                    parking.poll.ends_at(stream.ends());
                }
                let now = self.now();
                let parked = self.polls().parked.park(asking, parking, key, now);
                self.wait(key, Waits::Parked(parked));
                if self.is_half_closed(key) {
                    self.half_closes(parked);
                }
            }
            Err(problem) => self.refuse(key, &problem, Duration::ZERO),
        }
    }

    /// The client of a parked poll has closed its sending side: it is answered at once, since most that do so are gone.
    fn half_closes(&mut self, parked: u32) {
        let now = self.now();
        if let Some(released) = self.polls().parked.half_closed(parked, now) {
            self.released(released);
        }
    }

    /// Answers polls that are over, so many at most. Whether there may be more.
    fn release(&mut self, most: usize) -> bool {
        let now = self.now();
        self.polls().parked.refresh();
        for _ in 0..most {
            let Some(released) = self.polls().parked.next_released(now) else { return false };
            self.released(released);
        }
        true
    }

    /// Answers a poll that is over.
    fn released(&mut self, released: Released<u32>) {
        let key = released.client;
        self.take_waits(key);
        if let Some(loss) = released.lost.or_else(|| loss(self.access(), &released.asking)) {
            return self.lost(key, loss, released.held);
        }
        if released.asking.request.stream.is_some() {
            return self.stream_released(key, released);
        }
        let Released { asking, live, release, current, held, put_off, .. } = released;
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
        if answering.asking.request.stream.is_some() {
            return self.stream_answered(key, answering);
        }
        let ends = self.ends(key);
        let Answering { asking, served, decision, live, held, .. } = &answering;
        // The same state at a version that only this client has seen is not; nor what relays are told, which may turn.
        let is_common = asking.request.version_of(&served.snapshot.id) == served.snapshot.id.version
            && asking.request.relay.is_none();
        let answer_key = AnswerKey::new(asking, *decision, ends, self.now());
        if is_common && let Some(kept) = self.polls().answers.kept(&asking.request, served, answer_key) {
            if let (Decision::State, Some(live)) = (decision, live) {
                live.sent(&served.snapshot.id);
            }
            if let Some(payload) = &kept.payload {
                asking.subscription.count(served, payload);
            }
            let (written, held) = (Arc::clone(&kept.written), *held);
            return self.send(key, &written, Sending { held, ends, fan_out: answering.fan_out });
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
        if let Some(loss) = loss(self.access(), &asking) {
            return self.lost(key, loss, held);
        }
        let counted = payload.clone().filter(|_| decision == Decision::State);
        match asking.answer_with(&served, decision, live.as_ref(), payload) {
            Ok(answer) => {
                let ends = self.ends(key);
                let written = Arc::new(self.write(answer, ends));
                if let Some(keep) = keep {
                    self.polls().answers.keep(&asking.request, &served, keep, Arc::clone(&written), counted);
                }
                self.send(key, &written, Sending { held, ends, fan_out });
            }
            Err(problem) => self.refuse(key, &problem, held),
        }
    }

    /// A task makes a body, for all who wait for the same.
    fn make(&mut self, key: u32, wanted: Wanted, mut answering: Answering) {
        let Some(client) = self.client(key) else { return };
        let body = BodyKey { served: Arc::as_ptr(&answering.served) as usize, wanted };
        let waiting = self.polls().making.entry(body).or_default();
        waiting.push(client);
        let is_first = waiting.len() == 1;
        answering.fan_out = self.polls().fan_out(answering.fan_out.take(), answering.held);
        let (subscription, served) = (Arc::clone(&answering.asking.subscription), Arc::clone(&answering.served));
        self.wait(key, Waits::Making(Box::new(answering)));
        if is_first {
            self.find_out(made(body, wanted, subscription, served));
        }
    }

    /// Answers a poll whose caller may no longer.
    fn lost(&mut self, key: u32, loss: Loss, held: Duration) {
        let problem = self.access().lost(loss);
        self.refuse(key, &problem, held);
    }

    /// Answers a poll with a problem.
    fn refuse(&mut self, key: u32, problem: &Problem, held: Duration) {
        if self.stream_refused(key, problem) {
            return;
        }
        self.own_answer(key, Answer::problem(problem, fastrand::f64()), held);
    }

    /// Answers with something that is no state.
    fn own_answer(&mut self, key: u32, answer: Answer, held: Duration) {
        let ends = self.ends(key);
        let answer = if self.is_head(key) { answer.to_head() } else { answer };
        let written = self.write(answer, ends);
        self.send(key, &written, Sending { held, ends, fan_out: None });
    }
}
