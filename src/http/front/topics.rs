//! Readers of topics that an event loop owns: polls that are parked, and streams.
//!
//! Those that wait are in a list for each topic. A change makes the whole list due; each of its readers is then asked for its next
//! step. Most have read as far as the others, and get the same bytes.

use std::sync::Arc;
use std::time::Instant;

use http::Method;
use http::request::Parts;

use super::client::Phase;
use super::event_loop::EventLoop;
use super::inbox::Message;
use super::poller::Poller;
use super::written::Written;
use crate::access::Caller;
use crate::describe::stream::{Form, StreamRequest};
use crate::describe::{Answer, Problem};
use crate::http::access::{Admitted, Judged};
use crate::http::describe::slot;
use crate::http::head::Passed;
use crate::http::metrics::Route;
use crate::http::polls::{ClientRef, Owner as _, Sending};
use crate::http::topic::reader as topic_reader;
use crate::lifecycle::stop;
use crate::topic::Topic;
use crate::topic::reader::{Part, Reader, Step, Told, refused};
use crate::topic::request::ReadRequest;

mod readers;

pub(super) use readers::Readers;
use readers::{WrittenPage, is_same};

/// Parts that one reader is sent in a row.
const IN_A_ROW: usize = 4;

/// A request to read a topic.
#[derive(Debug)]
pub(super) enum TopicRequest {
    /// Until it is known who sends it, and whether that one may; or, `true`, what it may have read elsewhere.
    Judging(Box<(Parts, Arc<Topic>, bool)>),
    /// It waits for messages.
    Reading(Box<Reading>),
}

/// A reader that waits, or whose last part is being sent.
#[derive(Debug)]
pub(super) struct Reading {
    reader: Reader,
    caller: Caller,
    begun: Instant,
    /// Where it is in the list of those that wait.
    place: usize,
}

impl<P: Poller> EventLoop<P> {
    /// A plain request to read a topic, with this head.
    pub(super) fn read_topic(&mut self, key: u32, head: &[u8], passed: &Passed, topic: Arc<Topic>) {
        let Some(parts) = self.plain_parts(key, head, passed) else { return };
        let Some(client) = self.clients.get(key as usize) else { return };
        let judged = self.router.judge_topic(&topic, &parts, client.place.as_peer());
        self.reader_judged(key, parts, topic, (judged, false));
    }

    /// It is known who sends a request, or will be.
    fn reader_judged(&mut self, key: u32, parts: Parts, topic: Arc<Topic>, (judged, has_asked): (Judged, bool)) {
        match judged {
            Judged::Now(Ok(admitted)) => self.reader_begins(key, parts, topic, (admitted, has_asked)),
            Judged::Now(Err(problem)) => {
                let by_event = StreamRequest::refused_by_event(&parts.headers);
                let by_event = by_event.filter(|_| parts.method == Method::GET);
                self.reader_refused(key, by_event, refused(by_event, &problem));
            }
            Judged::Later(judged) => self.reader_found_later(key, (parts, topic, has_asked), judged),
        }
    }

    fn reader_found_later(
        &mut self,
        key: u32,
        judging: (Parts, Arc<Topic>, bool),
        found: impl Future<Output = Result<Admitted, Problem>> + Send + 'static,
    ) {
        let Some(client) = self.client(key) else { return };
        if let Some(waits) = self.clients.get_mut(key as usize) {
            waits.phase = Phase::Topic(TopicRequest::Judging(Box::new(judging)));
        }
        let inbox = Arc::clone(&self.inbox);
        self.spawn(async move { inbox.send(Message::Judged(client, Box::new(found.await))) });
    }

    /// It was found out who sends a request, and whether that one may.
    pub(super) fn reader_found(&mut self, client: ClientRef, found: Result<Admitted, Problem>) {
        if self.client(client.key) != Some(client) {
            return;
        }
        let Some(waits) = self.clients.get_mut(client.key as usize) else { return };
        match std::mem::replace(&mut waits.phase, Phase::Head) {
            Phase::Topic(TopicRequest::Judging(judging)) => {
                let (parts, topic, has_asked) = *judging;
                self.reader_judged(client.key, parts, topic, (Judged::Now(found), has_asked));
            }
            other @ (Phase::Head
            | Phase::Poll(_)
            | Phase::Exchange(_)
            | Phase::Topic(_)
            | Phase::Writing(_)
            | Phase::Lingering) => waits.phase = other,
        }
    }

    fn reader_begins(&mut self, key: u32, parts: Parts, topic: Arc<Topic>, (admitted, has_asked): (Admitted, bool)) {
        let request = ReadRequest::parse(&parts.method, parts.uri.query(), &parts.headers, true);
        let named = |request| Ok(ReadRequest { name: topic_reader(&topic, &admitted.caller, &parts)?, ..request });
        let request = match request.and_then(named) {
            Ok(request) => request,
            Err(problem) => return self.reader_refused(key, None, refused(None, &problem)),
        };
        if !has_asked && topic.lacks(&request.start) {
            let (asked, start) = (Arc::clone(&topic), request.start);
            let found = async move { asked.catch_up(&start).await.map(|()| admitted) };
            return self.reader_found_later(key, (parts, topic, true), found);
        }
        self.readers.follow(&topic, &self.mailbox);
        let (form, drains) = (request.form(), self.phase != stop::Phase::default());
        match Reader::begin(&topic, request, drains, self.now) {
            Ok(mut reader) => {
                if self.is_half_closed(key) {
                    reader.on_half_closed(self.now);
                }
                if drains {
                    reader.on_drain(slot(self.phase));
                }
                let caller = admitted.caller;
                let reading = Reading { reader, caller, begun: self.now, place: usize::MAX };
                self.reader_goes_on(key, Box::new(reading));
            }
            Err(told) => self.reader_refused(key, form, told),
        }
    }

    /// Tells a reader that it is refused, in this form where that is an event.
    fn reader_refused(&mut self, key: u32, form: Option<Form>, told: Told) {
        match told {
            Told::Answer(answer) => self.reader_answered(key, *answer, self.now),
            Told::Part(part) => {
                let written = self.write_first(key, form.unwrap_or(Form::Events), &part);
                self.send_reader(key, &written, self.now, (true, part.is_last));
            }
        }
    }

    /// Does what is to be done for a reader, until it waits.
    fn reader_goes_on(&mut self, key: u32, mut reading: Box<Reading>) {
        for _ in 0..IN_A_ROW {
            let step = match reading.caller.lost() {
                Some(loss) => Step::Tell(reading.reader.lost(&self.router.access.lost(loss))),
                None => reading.reader.step(self.now, &mut self.readers.kept),
            };
            let part = match step {
                Step::Wait(until) => return self.reader_waits(key, reading, until),
                Step::Tell(Told::Answer(answer)) => return self.reader_answered(key, *answer, reading.begun),
                Step::Tell(Told::Part(part)) => part,
            };
            // A client that has closed its sending side is told no more, but how it ends.
            let part = Part { is_last: part.is_last || self.is_half_closed(key), ..part };
            let is_first = part.first.is_some();
            let written = match reading.reader.form() {
                Some(form) if is_first => Arc::new(self.write_first(key, form, &part)),
                Some(_) | None => self.readers.written(&part.bytes, part.is_last),
            };
            self.send_reader(key, &written, reading.begun, (is_first, part.is_last));
            let Some(client) = self.clients.get_mut(key as usize) else { return };
            match &mut client.phase {
                _ if part.is_last => return,
                Phase::Head => {}
                Phase::Writing(unsent) => {
                    unsent.reading = Some(reading);
                    return self.await_room(key);
                }
                Phase::Poll(_) | Phase::Exchange(_) | Phase::Topic(_) | Phase::Lingering => return,
            }
        }
        // There is more: after others.
        let Some(client) = self.client(key) else { return };
        self.reader_waits(key, reading, self.now);
        self.readers.due.push_back(vec![client]);
    }

    fn reader_waits(&mut self, key: u32, mut reading: Box<Reading>, until: Instant) {
        let Some(client) = self.client(key) else { return };
        reading.place = self.readers.wait(reading.reader.topic(), client);
        if let Some(waits) = self.clients.get_mut(key as usize) {
            waits.phase = Phase::Topic(TopicRequest::Reading(reading));
        }
        self.timers.set(key, Some(until));
    }

    fn write_first(&self, key: u32, form: Form, part: &Part) -> Written {
        let behind = Written::part(&part.bytes, part.is_last);
        let first = part.first.as_deref().unwrap_or_default();
        let ends = self.ends_with(key, Route::Topic);
        Written::start(&Answer::stream(form), ends, self.polls.answers.date(), first, &behind)
    }

    fn send_reader(&mut self, key: u32, written: &Written, begun: Instant, (is_first, is_last): (bool, bool)) {
        let held = self.now.saturating_duration_since(begun);
        let ends = is_last && self.ends_with(key, Route::Topic);
        let sending = Sending { held, ends, fan_out: None };
        if is_first {
            return self.send_by(Route::Topic, key, written, sending);
        }
        self.send_bytes(key, written, sending);
    }

    /// Answers a poll.
    fn reader_answered(&mut self, key: u32, answer: Answer, begun: Instant) {
        let ends = self.ends_with(key, Route::Topic);
        let answer = if self.is_head(key) { answer.to_head() } else { answer };
        let second = self.polls.answers.date().second();
        let is_it = |page: &&WrittenPage| {
            answer.body().is_some_and(|body| is_same(body, &page.body))
                && (page.ends, page.second) == (ends, second)
                && page.further == answer.further
        };
        let written = if let Some(page) = self.readers.page.as_ref().filter(is_it) {
            Arc::clone(&page.written)
        } else {
            let written = Arc::new(Written::new(&answer, ends, self.polls.answers.date()));
            let Answer { representation, further, .. } = answer;
            if let Some(page) = representation.filter(|page| !page.is_head) {
                let written = Arc::clone(&written);
                self.readers.page = Some(WrittenPage { body: page.bytes, further, ends, second, written });
            }
            written
        };
        let held = self.now.saturating_duration_since(begun);
        self.send_by(Route::Topic, key, &written, Sending { held, ends, fan_out: None });
    }

    /// Takes out the reader that a client is; none: it is none.
    fn take_reading(&mut self, key: u32) -> Option<Box<Reading>> {
        let client = self.clients.get_mut(key as usize)?;
        match std::mem::replace(&mut client.phase, Phase::Head) {
            Phase::Topic(TopicRequest::Reading(reading)) => {
                self.reader_leaves(key, &reading);
                Some(reading)
            }
            other @ (Phase::Head
            | Phase::Poll(_)
            | Phase::Exchange(_)
            | Phase::Topic(_)
            | Phase::Writing(_)
            | Phase::Lingering) => {
                client.phase = other;
                None
            }
        }
    }

    /// A reader does not wait any more.
    fn reader_leaves(&mut self, key: u32, reading: &Reading) {
        let Some(client) = self.client(key) else { return };
        let moved = self.readers.leave(reading.reader.topic(), client, reading.place);
        let Some(moved) = moved.and_then(|moved| self.clients.get_mut(moved.key as usize)) else { return };
        if let Phase::Topic(TopicRequest::Reading(other)) = &mut moved.phase {
            other.place = reading.place;
        }
    }

    /// The connection of a reader is about to be closed.
    pub(super) fn reader_closes(&mut self, key: u32) {
        drop(self.take_reading(key));
    }

    /// A reader's time has come.
    pub(super) fn reader_due(&mut self, key: u32) {
        if let Some(reading) = self.take_reading(key) {
            self.reader_goes_on(key, reading);
        }
    }

    /// A part that a reader has taken slowly is sent.
    pub(super) fn reader_written(&mut self, key: u32, reading: Box<Reading>) {
        let Some(client) = self.clients.get_mut(key as usize) else { return };
        if matches!(client.phase, Phase::Head) {
            self.reader_goes_on(key, reading);
        }
    }

    /// The client of a reader has closed its sending side: most that do so are gone.
    pub(super) fn reader_half_closed(&mut self, key: u32) {
        if let Some(mut reading) = self.take_reading(key) {
            reading.reader.on_half_closed(self.now);
            self.reader_goes_on(key, reading);
        }
    }

    /// The process drains, or closes.
    pub(super) fn reader_drains(&mut self, key: u32) {
        let at = slot(self.phase);
        if let Some(mut reading) = self.take_reading(key) {
            reading.reader.on_drain(at);
            return self.reader_goes_on(key, reading);
        }
        let Some(client) = self.clients.get_mut(key as usize) else { return };
        if let Phase::Writing(unsent) = &mut client.phase
            && let Some(reading) = &mut unsent.reading
        {
            reading.reader.on_drain(at);
        }
    }

    /// Credentials were withdrawn: those who have lost theirs are told so.
    pub(super) fn readers_withdrawn(&mut self) {
        let is_lost = |phase: &Phase| matches!(phase, Phase::Topic(TopicRequest::Reading(reading)) if reading.caller.lost().is_some());
        let lost: Vec<_> =
            self.clients.iter().filter(|(_, client)| is_lost(&client.phase)).map(|(key, _)| key).collect();
        for key in lost.into_iter().filter_map(|key| u32::try_from(key).ok()) {
            self.reader_due(key);
        }
    }

    /// Looks at readers whose topic has changed, so many at most.
    pub(super) fn release_readers(&mut self, most: usize) {
        for _ in 0..most {
            let Some(list) = self.readers.due.front_mut() else { return };
            match list.pop() {
                Some(client) if self.client(client.key) == Some(client) => self.reader_due(client.key),
                Some(_) => {}
                None => {
                    self.readers.due.pop_front();
                }
            }
        }
    }
}
