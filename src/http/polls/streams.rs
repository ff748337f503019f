//! Describe operations as streams: a stream is one poll after the other of a client that is told by events what they come to, and
//! stays. So the state of an event is chosen when the one before it is sent, nothing is queued, and the newest state wins.
//!
//! ```text
//!  asked for -> compared -> head and first event -> parked --- changed ----> event -> parked ...
//!                   |                                  |  \--- 15 s ------> comment -> parked ...
//!                   | refused for the moment           | drain, end of the operation, credential withdrawn, life over
//!                   v                                  v
//!               head and `busy`, and the end        an event that says so, and the end
//! ```

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Method;
use http::request::Parts;

use super::waits::{Answering, Sending};
use super::{Owner, Released};
use crate::access::Caller;
use crate::bounds::{STREAM_AGE, STREAM_SAME};
use crate::describe::poll::Reason;
use crate::describe::problem::Kind;
use crate::describe::request::Report;
use crate::describe::stream::event::{self, Event, RETRY, written};
use crate::describe::stream::{Form, StreamRequest};
use crate::describe::{Answer, Decision, PollRequest, Problem};
use crate::http::describe::{Asking, loss, not_confirmed, nothing};
use crate::hub::{FanOutGuard, Missing, Payload, Served, StreamGuard, Wanted};
use crate::model::{Content, StateId};
use crate::operation::Operation;

mod events;

pub use events::Events;
use events::Kept;

/// A stream that a client reads.
#[derive(Debug)]
pub struct Stream {
    operation: Arc<Operation>,
    caller: Caller,
    /// What it waits for now: the state that its client was told of last is the one that it has.
    request: Arc<PollRequest>,
    /// When it ends at the latest.
    ends: Instant,
    /// When its client was told of a state last, and how old that is.
    told: Instant,
    aged: Instant,
    /// Its head is sent.
    has_begun: bool,
    _guard: StreamGuard,
}

/// Where a part stands in its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartPlace {
    /// The head is before it.
    pub is_first: bool,
    /// The stream ends with it.
    pub is_last: bool,
}

impl Stream {
    /// What it waits for now.
    pub(in crate::http) fn request(&self) -> Arc<PollRequest> {
        Arc::clone(&self.request)
    }

    /// When it ends at the latest.
    pub(super) fn ends(&self) -> Instant {
        self.ends
    }
}

/// Who owns clients that read streams: every owner of clients that poll.
pub(in crate::http) trait Streams: Owner {
    /// The stream that a client reads; none: it polls, or is gone.
    fn stream(&mut self, key: u32) -> Option<&mut Stream> {
        self.stream_slot(key)?.as_deref_mut()
    }

    /// A request has come, whose caller may: a stream begins with it, if it asks for one, and the process goes on.
    fn begins(
        &mut self,
        key: u32,
        caller: &Caller,
        operation: &Arc<Operation>,
        request: &Arc<PollRequest>,
    ) -> Result<(), Problem> {
        let Some(asked) = &request.stream else { return Ok(()) };
        let (now, drains) = (self.now(), self.polls().parked.drains());
        let Some(slot @ None) = self.stream_slot(key) else { return Ok(()) };
        *slot = Some(Box::new(Stream {
            operation: Arc::clone(operation),
            caller: caller.clone(),
            request: Arc::clone(request),
            ends: now + asked.shortened(fastrand::f64()),
            told: now,
            aged: now,
            has_begun: false,
            _guard: operation.hub.metrics().stream(asked.form),
        }));
        let detail = "this replica stops: come back, to another one";
        if drains { Err(Problem::retry(Kind::Overloaded, 1, detail)) } else { Ok(()) }
    }

    /// All is sent: the stream waits for what comes next.
    fn goes_on(&mut self, key: u32) {
        let Some(stream) = self.stream(key) else { return };
        let (caller, operation) = (stream.caller.clone(), Arc::clone(&stream.operation));
        let request = Arc::clone(&stream.request);
        self.asked(key, caller, operation, request, Report::default());
    }

    /// What a stream has waited for is here.
    fn stream_answered(&mut self, key: u32, answering: Answering) {
        let Answering { asking, served, decision, held, .. } = &answering;
        let Some(form) = asking.request.stream.as_ref().map(|asked| asked.form) else { return };
        let held = *held;
        if asking.request.head {
            self.leaves(key);
            return self.own_answer(key, Answer::stream(form), held);
        }
        match decision {
            Decision::State => {
                let wanted = Wanted::by(&asking.request);
                if let Some((written, payload)) = self.polls().events.kept(form, served, wanted) {
                    return self.state_event(key, answering, &payload, &written);
                }
                match asking.subscription.made_payload(served, wanted) {
                    Some(payload) => self.state_made(key, answering, payload),
                    None => self.make(key, wanted, answering),
                }
            }
            Decision::Unchanged | Decision::NotModified => {
                let (asking, served) = (asking.clone(), Arc::clone(served));
                self.nothing_new(key, &asking, &served, None);
            }
            Decision::Behind => self.refuse(key, &not_confirmed(), held),
        }
    }

    /// A body has been made.
    fn made(&mut self, key: u32, answering: Answering, payload: Payload) {
        match answering.asking.request.stream {
            Some(_) => self.state_made(key, answering, payload),
            None => self.answer_with(key, answering, Some(payload), None),
        }
    }

    /// The body of an event is here.
    fn state_made(&mut self, key: u32, answering: Answering, payload: Payload) {
        let Answering { asking, served, held, .. } = &answering;
        if let Some(loss) = loss(self.access(), asking) {
            let held = *held;
            return self.lost(key, loss, held);
        }
        let Some(form) = asking.request.stream.as_ref().map(|asked| asked.form) else { return };
        let id = &served.snapshot.id;
        let digest = payload.digest.to_str().unwrap_or_default();
        let event = match (&served.snapshot.content, &asking.request.since) {
            (_, Some(base)) if payload.is_delta() => Event::Patch { id, base, digest, patch: &payload.bytes },
            (Content::Json(_), _) => Event::State(id, &payload.bytes),
            (Content::Opaque { media_type, .. }, _) => Event::Opaque(id, media_type, &payload.bytes),
        };
        let written = Arc::new(self.write_state(&event, form, &payload.bytes));
        let wanted = Wanted::by(&asking.request);
        let kept = Kept { form, served: Arc::clone(served), wanted, written: Arc::clone(&written), payload };
        self.state_event(key, answering, &kept.payload, &written);
        self.polls().events.keep(kept);
    }

    /// Sends the event of a state.
    fn state_event(&mut self, key: u32, answering: Answering, payload: &Payload, written: &Self::Written) {
        let Answering { asking, served, held, fan_out, .. } = answering;
        asking.subscription.count(&served, payload);
        self.told(key, &served.snapshot.id);
        self.part(key, written, (held, fan_out), false);
    }

    /// Its client has this state from now on.
    fn told(&mut self, key: u32, id: &StateId) {
        let now = self.now();
        let Some(before) = self.stream(key).map(|stream| Arc::clone(&stream.request)) else { return };
        let request = self.polls().events.after(&before, id);
        if let Some(stream) = self.stream(key) {
            (stream.request, stream.told) = (request, now);
        }
    }

    /// A poll of a stream is over.
    fn stream_released(&mut self, key: u32, released: Released<u32>) {
        let Released { asking, live, release, current, held, put_off, .. } = released;
        let now = self.now();
        let served = match (release.reason, current) {
            (Reason::Drained, _) => {
                let within = asking.operation.hub.reconnect_within(now);
                return self.event(key, &Event::Move(within), true);
            }
            (Reason::HalfClosed, _) => return self.end(key),
            (Reason::Ended, _) => {
                let detail = format!("operation {} has ended: ask whoever runs the service", asking.operation.name);
                return self.event(key, &Event::End(&Problem::new(Kind::NotFound, detail)), true);
            }
            (_, Err(missing)) => return self.refuse(key, &nothing(&asking.operation, missing), held),
            (Reason::Changed | Reason::Expired | Reason::Told | Reason::Withdrawn, Ok(served)) => served,
        };
        match release.decision {
            None => self.refuse(key, &nothing(&asking.operation, Missing::NoParts), held),
            Some(Decision::Unchanged | Decision::NotModified) => {
                if self.stream(key).is_some_and(|stream| stream.ends <= now) {
                    return self.end(key);
                }
                self.nothing_new(key, &asking, &served, Some(release.reason));
            }
            Some(decision @ (Decision::State | Decision::Behind)) => {
                self.stream_answered(key, Answering { asking, served, decision, live, held, fan_out: put_off });
            }
        }
    }

    /// The client has the state. At first it is told so, and later that the connection lives.
    fn nothing_new(&mut self, key: u32, asking: &Asking, served: &Served, reason: Option<Reason>) {
        let now = self.now();
        let age = asking.operation.freshness.age().as_secs();
        let id = StateId { version: asking.request.version_of(&served.snapshot.id), ..served.snapshot.id };
        let Some(stream) = self.stream(key) else { return };
        let is_other = stream.request.since.is_none_or(|since| since.version != Some(id.version));
        if !stream.has_begun || is_other && now.saturating_duration_since(stream.told) >= STREAM_SAME {
            self.told(key, &id);
            return self.event(key, &Event::Same(&id), false);
        }
        let is_told = reason == Some(Reason::Told);
        if is_told || age > 0 && now.saturating_duration_since(stream.aged) >= STREAM_AGE {
            stream.aged = now;
            return self.event(key, &Event::Age(age), false);
        }
        self.event(key, &Event::Ping, false);
    }

    /// Ends a stream that is refused by an event that says so; false: its client is answered as one that polls.
    fn stream_refused(&mut self, key: u32, problem: &Problem) -> bool {
        let Some(stream) = self.stream(key) else { return false };
        let Some(asked) = stream.request.stream.as_deref() else { return false };
        let is_events = asked.form == Form::Events && !stream.request.head;
        let has_busy = is_events || asked.form == Form::WebSocket;
        let event = match (stream.has_begun, problem.kind, problem.retry_after) {
            (true, Kind::Unauthorized | Kind::Forbidden, _) => Event::Auth(problem),
            (true, _, Some(seconds)) if has_busy => Event::Busy(seconds),
            (true, ..) => Event::End(problem),
            (false, _, Some(seconds)) if is_events && !asked.wants_status => Event::Busy(seconds),
            (false, ..) => {
                self.leaves(key);
                return false;
            }
        };
        self.event(key, &event, true);
        true
    }

    /// Refuses a request by an event before it is known what it asks for; false: its client is answered as one that polls.
    fn refused_by_event(&mut self, key: u32, parts: &Parts, problem: &Problem) -> bool {
        let form = StreamRequest::refused_by_event(&parts.headers).filter(|_| parts.method == Method::GET);
        let (Some(form), Some(seconds)) = (form, problem.retry_after) else { return false };
        let written = self.write_part(written(&Event::Busy(seconds), form, false, fastrand::f64()), true);
        self.starts(key, form, &written, (Duration::ZERO, None), true);
        true
    }

    /// Sends an event that this client alone gets.
    fn event(&mut self, key: u32, event: &Event<'_>, is_last: bool) {
        let Some(asked) = self.stream(key).and_then(|stream| stream.request.stream.as_deref()) else { return };
        let bytes = written(event, asked.form, asked.pings, fastrand::f64());
        let written = self.write_part(bytes, is_last);
        self.part(key, &written, (Duration::ZERO, None), is_last);
    }

    /// Ends a stream without a word.
    fn end(&mut self, key: u32) {
        let written = self.write_part(Vec::new(), true);
        self.part(key, &written, (Duration::ZERO, None), true);
    }

    /// Sends a part, with the head if it is the first one. `held`: how long its client has waited for it, and what stays open until
    /// it is sent.
    fn part(&mut self, key: u32, written: &Self::Written, held: (Duration, Option<FanOutGuard>), is_last: bool) {
        let Some(stream) = self.stream(key) else { return };
        let is_first = !std::mem::replace(&mut stream.has_begun, true);
        let form = stream.request.stream.as_ref().map(|asked| asked.form);
        if is_last {
            self.leaves(key);
        }
        if let Some(form) = form.filter(|_| is_first) {
            return self.starts(key, form, written, held, is_last);
        }
        let sending = Sending { held: held.0, ends: self.ends(key), fan_out: held.1 };
        self.send_part(key, written, sending, PartPlace { is_first, is_last });
    }

    /// Sends the head of a stream, and the first part.
    fn starts(
        &mut self,
        key: u32,
        form: Form,
        part: &Self::Written,
        (held, fan_out): (Duration, Option<FanOutGuard>),
        is_last: bool,
    ) {
        let (ends, mut first) = (self.ends(key), Vec::new());
        event::retry(form, RETRY, fastrand::f64(), &mut first);
        let written = self.write_start(&Answer::stream(form), ends, &first, part);
        let sending = Sending { held, ends, fan_out };
        self.send_part(key, &written, sending, PartPlace { is_first: true, is_last });
    }

    /// What follows is no stream.
    fn leaves(&mut self, key: u32) {
        if let Some(slot) = self.stream_slot(key) {
            *slot = None;
        }
    }
}

impl<O: Owner + ?Sized> Streams for O {}
