//! A reader of a topic: a poll, or a stream. It is a place in the history and some moments; what is between its place and the end
//! is shared with all other readers. Whoever owns it asks it for the next step, when the topic has changed and when its time has
//! come.
//!
//! ```text
//! poll:    nothing new -> parked ---- the topic changed ---> answered with what has come
//!                            \--- its time, a drain ------> 204
//! stream:  head, first part -> part -> part -> nothing new: waits ---- the topic changed ---> part ...
//!                                                  \--- 15 s -> ping      \--- drain, end of its life -> the end
//! ```

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderValue, StatusCode};

use super::Topic;
use super::core::{Gap, Place};
use super::event::{self, Shape};
use super::kept::Kept;
use super::metrics::StreamGuard;
use super::presence::Kind as ReaderKind;
use super::present::Present;
use super::request::{How, Poll, ReadRequest};
use crate::bounds::{STREAM_LIFE_MAX, STREAM_SILENCE, TOPIC_READERS};
use crate::config;
use crate::describe::problem::Kind;
use crate::describe::request::preference_applied;
use crate::describe::stream::event::{Event, RETRY, retry, written};
use crate::describe::stream::{Form, StreamRequest, frame};
use crate::describe::{Answer, Problem};
use crate::hub::ParkPermit;
use crate::protocol::answer::time_to_reconnect;
use crate::protocol::fields::{PREFERENCE_APPLIED, TOPIC_FIRST, TOPIC_LAST};
use crate::protocol::query::PRESENCE;
use crate::protocol::websocket::CloseCode;

/// A reader.
#[derive(Debug)]
pub struct Reader {
    topic: Arc<Topic>,
    request: ReadRequest,
    /// What it has read, and what it has missed and was not told of yet.
    place: Place,
    /// When its wait ends, or its life.
    until: Instant,
    /// When it is answered, or told to move, as the process stops.
    drains_at: Option<Instant>,
    /// When a stream was told something last, and how long it may be silent.
    told: Instant,
    silence: Duration,
    /// It has waited.
    is_parked: bool,
    /// The head of the stream is sent.
    has_begun: bool,
    /// The number of what it was told last of who reads.
    told_who_reads: u64,
    present: Option<Present>,
    _permit: Option<ParkPermit>,
    _stream: Option<StreamGuard>,
}

/// What is to be done for a reader.
#[derive(Debug)]
pub enum Step {
    /// Nothing before this moment, unless the topic changes.
    Wait(Instant),
    /// It is told this.
    Tell(Told),
}

/// What a reader is told.
#[derive(Debug)]
pub enum Told {
    /// It is a poll, and over.
    Answer(Box<Answer>),
    /// It is a stream.
    Part(Part),
}

/// A part of a stream.
#[derive(Debug)]
pub struct Part {
    /// What comes behind the head; none: the head is sent already.
    pub first: Option<Vec<u8>>,
    /// The rest.
    pub bytes: Bytes,
    /// Whether the stream ends with it.
    pub is_last: bool,
}

impl Told {
    fn answer(answer: Answer) -> Self {
        Self::Answer(Box::new(answer))
    }
}

impl Reader {
    /// A reader that has come now. An error: what it is told that is refused. `drains`: the process does, or closes.
    pub fn begin(topic: &Arc<Topic>, request: ReadRequest, drains: bool, now: Instant) -> Result<Self, Told> {
        let by_event = request.refused_by_event();
        Self::new(topic, request, drains, now).map_err(|problem| refused(by_event, &problem))
    }

    /// A reader that has come now. An error: why it is refused.
    pub fn new(topic: &Arc<Topic>, request: ReadRequest, drains: bool, now: Instant) -> Result<Self, Problem> {
        if drains && matches!(request.how, How::Stream { .. }) {
            let detail = "this replica stops: come back, to another one";
            return Err(Problem::retry(Kind::Overloaded, 1, detail));
        }
        if request.asks_who_reads && topic.config().presence == config::Presence::Off {
            let remedy = "this topic does not tell who reads it (presence: off): leave it out";
            return Err(Problem::parameter(PRESENCE, "1", remedy));
        }
        let place = topic.start(&request.start, now);
        if let (true, Some(gap)) = (request.closes_on_gap, &place.gap) {
            return Err(history_gone(gap));
        }
        let (until, waits, stream) = match &request.how {
            How::Poll(poll) => (now + poll.wait, !poll.wait.is_zero() && !topic.has_news(&place), None),
            How::Stream { asked, .. } => {
                let stream = (!request.head).then(|| topic.metrics().stream(asked.form));
                (now + asked.shortened(fastrand::f64()), !request.head, stream)
            }
        };
        let permit = if waits { Some(topic.park().map_err(|()| full(topic))?) } else { None };
        let present = (!request.head).then(|| present(topic, &request, now));
        Ok(Self {
            topic: Arc::clone(topic),
            place,
            until,
            drains_at: None,
            told: now,
            silence: silence(&request),
            is_parked: false,
            has_begun: false,
            told_who_reads: 0,
            present,
            request,
            _permit: permit,
            _stream: stream,
        })
    }

    /// The topic.
    #[must_use]
    pub fn topic(&self) -> &Arc<Topic> {
        &self.topic
    }

    /// The form of the stream; none: it is a poll.
    #[must_use]
    pub fn form(&self) -> Option<Form> {
        self.asked().map(|asked| asked.form)
    }

    /// The process drains, or closes: it is answered then.
    pub fn on_drain(&mut self, at: Instant) {
        self.drains_at = Some(at);
    }

    /// Its client has closed its sending side: most that do so are gone.
    pub fn on_half_closed(&mut self, now: Instant) {
        self.until = now;
    }

    /// What is to be done for it now.
    pub fn step(&mut self, now: Instant, kept: &mut Kept) -> Step {
        match &self.request.how {
            How::Poll(poll) => {
                let poll = *poll;
                let step = self.poll(&poll, now, kept);
                if let (Step::Tell(_), Some(present)) = (&step, &mut self.present) {
                    present.answered(now);
                }
                step
            }
            How::Stream { asked, .. } if self.request.head => {
                let answer = Answer::stream(asked.form);
                Step::Tell(Told::answer(Answer { further: self.topic.extent_fields(now), ..answer }))
            }
            How::Stream { asked, shape } => {
                let (asked, shape) = (asked.clone(), *shape);
                self.stream(&asked, shape, now, kept)
            }
        }
    }

    /// The last words to a reader whose caller may no longer.
    pub fn lost(&mut self, problem: &Problem) -> Told {
        match self.asked().filter(|_| self.has_begun) {
            Some(asked) => last(written(&Event::Auth(problem), asked.form, asked.pings, fastrand::f64())),
            None => refused(self.request.refused_by_event(), problem),
        }
    }

    /// The last words to a reader that has read all of a topic that has ended.
    fn ended(&self) -> Told {
        let problem = self.topic.ended();
        match self.asked() {
            Some(asked) => last(written(&Event::End(&problem), asked.form, asked.pings, fastrand::f64())),
            None => refused(None, &problem),
        }
    }

    fn asked(&self) -> Option<&StreamRequest> {
        match &self.request.how {
            How::Stream { asked, .. } if !self.request.head => Some(asked),
            How::Stream { .. } | How::Poll(_) => None,
        }
    }

    fn is_over(&self, now: Instant) -> bool {
        self.until <= now || self.drains_at.is_some_and(|at| at <= now)
    }

    /// When there is something to do, if the topic does not change.
    fn end(&self) -> Instant {
        self.drains_at.map_or(self.until, |at| at.min(self.until))
    }

    fn poll(&mut self, poll: &Poll, now: Instant, kept: &mut Kept) -> Step {
        // Before the look for news, so that the last message is seen.
        let has_ended = self.topic.has_ended();
        if !self.topic.has_news(&self.place) {
            let has_read = matches!(self.request.start, super::core::Start::Since(_));
            if !self.is_over(now) {
                self.is_parked = true;
                return if has_ended { Step::Tell(self.ended()) } else { Step::Wait(self.end()) };
            }
            if has_read && !self.request.head {
                let answer = Answer::other(StatusCode::NO_CONTENT, self.topic.extent_fields(now), None);
                return Step::Tell(Told::answer(applied(answer, poll)));
            }
        } else if self.is_parked && !self.is_over(now) && !has_ended {
            let due = self.topic.polls_due();
            if due > now {
                return Step::Wait(due.min(self.end()));
            }
        }
        let page = match self.place.gap {
            None => kept.page(&self.topic, self.place.read, poll, now),
            Some(_) => self.topic.page(self.place.clone(), poll, now),
        };
        if let Some(gap) = &page.gap {
            self.topic.metrics().gaps.inc();
            if self.request.closes_on_gap {
                return Step::Tell(refused(None, &history_gone(gap)));
            }
        }
        let fields = vec![(TOPIC_FIRST, page.first), (TOPIC_LAST, page.last)];
        let answer = applied(Answer::other(StatusCode::OK, fields, Some(page.json)), poll);
        Step::Tell(Told::answer(if self.request.head { answer.to_head() } else { answer }))
    }

    fn stream(&mut self, asked: &StreamRequest, shape: Shape, now: Instant, kept: &mut Kept) -> Step {
        if !self.has_begun {
            self.has_begun = true;
            let mut first = Vec::new();
            retry(shape.form, RETRY, fastrand::f64(), &mut first);
            if let Some(gap) = self.place.gap.take() {
                self.topic.metrics().gaps.inc();
                event::gap(shape.form, &gap, &mut first);
            }
            let next = self.next_part(shape, now, kept).unwrap_or_else(|| {
                event::same(shape.form, self.place.read, &mut first);
                Part { first: None, bytes: Bytes::new(), is_last: false }
            });
            self.told = now;
            return Step::Tell(Told::Part(Part { first: Some(first), ..next }));
        }
        if self.drains_at.is_some_and(|at| at <= now) {
            let within = time_to_reconnect(self.topic.readers() as u64).as_secs();
            return Step::Tell(last(written(&Event::Move(within), asked.form, asked.pings, fastrand::f64())));
        }
        if self.until <= now {
            return Step::Tell(last(Vec::new()));
        }
        if let Some(shown) = self.present.as_ref().and_then(|present| present.who_reads(self.told_who_reads)) {
            (self.told_who_reads, self.told) = (shown.number, now);
            return Step::Tell(Told::Part(Part { first: None, bytes: shown.event(shape.form), is_last: false }));
        }
        // Before the look for news, so that the last message is seen.
        let has_ended = self.topic.has_ended();
        if let Some(next) = self.next_part(shape, now, kept) {
            self.told = now;
            return Step::Tell(Told::Part(next));
        }
        if has_ended {
            return Step::Tell(self.ended());
        }
        let silent = self.told + self.silence;
        if silent <= now {
            self.told = now;
            let ping = written(&Event::Ping, asked.form, asked.pings, 0.0);
            return Step::Tell(Told::Part(Part { first: None, bytes: ping.into(), is_last: false }));
        }
        Step::Wait(silent.min(self.end()))
    }

    /// What has come since.
    fn next_part(&mut self, shape: Shape, now: Instant, kept: &mut Kept) -> Option<Part> {
        if !self.topic.has_news(&self.place) {
            return None;
        }
        let part = kept.part(&self.topic, self.place.read, shape, now);
        if let Some(gap) = &part.gap {
            self.topic.metrics().gaps.inc();
            if self.request.closes_on_gap {
                let mut bytes = Vec::new();
                event::gap(shape.form, gap, &mut bytes);
                if shape.form == Form::WebSocket {
                    frame::close(CloseCode::TooFarBehind, "messages are not kept any more", &mut bytes);
                }
                return Some(Part { first: None, bytes: bytes.into(), is_last: true });
            }
        }
        self.place.read = part.last;
        Some(Part { first: None, bytes: part.bytes, is_last: false })
    }
}

/// Counts a reader among those that read the topic.
fn present(topic: &Arc<Topic>, request: &ReadRequest, now: Instant) -> Present {
    let has_read = matches!(request.start, super::core::Start::Since(_));
    let is_stream = matches!(request.how, How::Stream { .. });
    let kind = if is_stream { ReaderKind::Stream } else { ReaderKind::Poll { has_read } };
    Present::new(topic, kind, request.name.clone(), is_stream && request.asks_who_reads, now)
}

/// For how long a stream may say nothing. A connection of WebSocket has pings of its own.
fn silence(request: &ReadRequest) -> Duration {
    match &request.how {
        How::Stream { asked: StreamRequest { form: Form::WebSocket, pings: false, .. }, .. } => STREAM_LIFE_MAX,
        How::Stream { .. } | How::Poll(_) => STREAM_SILENCE.mul_f64(1.0 - 0.1 * fastrand::f64()),
    }
}

/// The answer to a reader that is refused: an event in this form, where a browser would not come back otherwise.
#[must_use]
pub fn refused(by_event: Option<Form>, problem: &Problem) -> Told {
    match (by_event, problem.retry_after) {
        (Some(form), Some(seconds)) => {
            let busy = written(&Event::Busy(seconds), form, false, fastrand::f64());
            Told::Part(Part { first: Some(Vec::new()), bytes: busy.into(), is_last: true })
        }
        (_, _) => Told::answer(Answer::problem(problem, fastrand::f64())),
    }
}

fn last(bytes: Vec<u8>) -> Told {
    Told::Part(Part { first: None, bytes: bytes.into(), is_last: true })
}

fn applied(mut answer: Answer, poll: &Poll) -> Answer {
    let applied = poll.preferred.map(|seconds| (PREFERENCE_APPLIED, preference_applied(seconds)));
    answer.further.extend(applied);
    answer.further.push((http::header::VARY, HeaderValue::from_static("Accept, Prefer")));
    answer
}

fn history_gone(gap: &Gap) -> Problem {
    let since = crate::escape::escape(&gap.since);
    let detail = match gap.missed {
        Some(0) => {
            format!("since is {since}, which nobody was given: begin with from=latest or from=earliest in its place")
        }
        Some(missed) => format!(
            "since is {since}, and {missed} messages after it are not kept any more: begin with from=earliest in its place, or leave \
             on-gap=close out to be told of the gap and go on"
        ),
        None => format!(
            "since is {since}, which is of another history: begin with from=earliest in its place, or leave on-gap=close out to be \
             told of the gap and go on"
        ),
    };
    Problem::new(Kind::HistoryGone, detail)
}

fn full(topic: &Topic) -> Problem {
    let detail = format!("topic {} has {TOPIC_READERS} readers, as many as are allowed: come back", topic.name());
    Problem::retry(Kind::Overloaded, 2, detail)
}
