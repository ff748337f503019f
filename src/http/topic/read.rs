//! Reads of topics that no event loop serves: those over HTTP/2, and those of HTTP/1.1 that are not plain. A task reads for each.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::stream::{BoxStream, Stream as _, StreamExt as _, unfold};
use http::request::Parts;
use http::{Method, Response, Version};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::by::reader;
use crate::access::Caller;
use crate::authentication::Withdrawals;
use crate::describe::stream::{Form, StreamRequest};
use crate::describe::{Answer, Problem};
use crate::http::access::Access;
use crate::http::connection::ConnectionState;
use crate::http::describe::slot;
use crate::http::exchange::Answered;
use crate::http::request_body::RequestBody;
use crate::http::response::{Body, response};
use crate::http::unwanted;
use crate::lifecycle::stop;
use crate::topic::Topic;
use crate::topic::kept::Kept;
use crate::topic::reader::{Part, Reader, Step, Told, refused};
use crate::topic::request::ReadRequest;

/// A reader, and what it listens to.
pub(in crate::http) struct Task {
    reader: Reader,
    kept: Kept,
    changes: watch::Receiver<u64>,
    access: Arc<Access>,
    caller: Caller,
    withdrawals: Withdrawals,
    stop: stop::Watch,
    phase: stop::Phase,
    half_closed: CancellationToken,
    is_half_closed: bool,
}

/// A stream, as it comes.
pub struct TopicBody(BoxStream<'static, Bytes>);

impl std::fmt::Debug for TopicBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TopicBody").finish_non_exhaustive()
    }
}

impl TopicBody {
    /// The next part.
    pub(in crate::http) fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        Pin::new(&mut self.0).poll_next(cx)
    }
}

/// Answers a GET or HEAD.
pub(super) async fn answer(
    topic: &Arc<Topic>,
    (access, caller): (&Arc<Access>, Caller),
    (connection, stop): (&ConnectionState, &stop::Watch),
    (parts, body): (Parts, RequestBody),
) -> Answered {
    let is_read = unwanted::read(body, &parts).await;
    let begun = Instant::now();
    // The connections of HTTP/1.1 whose streams are served are those of the event loops.
    let may_stream = parts.version == Version::HTTP_2;
    let has_no_body = parts.method == Method::HEAD;
    let request = ReadRequest::parse(&parts.method, parts.uri.query(), &parts.headers, may_stream);
    let request = request.and_then(|request| Ok(ReadRequest { name: reader(topic, &caller, &parts)?, ..request }));
    let request = match request {
        Ok(request) => request,
        Err(problem) => return Answered { is_read, ..Answered::of(refusal(&problem, has_no_body)) },
    };
    drop(parts);
    if topic.lacks(&request.start)
        && let Err(problem) = topic.catch_up(&request.start).await
    {
        let response = told(refused(request.refused_by_event(), &problem), request.form(), None, has_no_body);
        return Answered { response, is_read, held: begun.elapsed() };
    }
    let (phase, form) = (stop.phase(), request.form());
    let changes = topic.changes();
    let drains = phase != stop::Phase::default();
    let (first, task) = match Reader::begin(topic, request, drains, begun.into_std()) {
        Err(told) => (told, None),
        Ok(reader) => {
            let end = connection.end().clone();
            let mut task = Task::new(reader, changes, (access, caller), stop, end);
            (task.next().await, Some(task))
        }
    };
    let response = told(first, form, task, has_no_body);
    Answered { response, is_read, held: begun.elapsed() }
}

fn refusal(problem: &Problem, is_head: bool) -> Response<Body> {
    let answer = Answer::problem(problem, fastrand::f64());
    response(if is_head { answer.to_head() } else { answer }, None)
}

/// The answer to a request that is refused before it is looked at.
pub(in crate::http) fn refuse(parts: &Parts, problem: &Problem) -> Response<Body> {
    let by_event = StreamRequest::refused_by_event(&parts.headers);
    let by_event = by_event.filter(|_| parts.method == Method::GET && parts.version == Version::HTTP_2);
    told(refused(by_event, problem), by_event, None, false)
}

/// The answer that tells a reader this first, and then what the task reads.
fn told(first: Told, form: Option<Form>, task: Option<Task>, is_head: bool) -> Response<Body> {
    match first {
        Told::Answer(answer) => response(if is_head { answer.to_head() } else { *answer }, None),
        Told::Part(part) => streamed(form.unwrap_or(Form::Events), part, task),
    }
}

/// A stream that begins with this part, and goes on with what the task reads.
fn streamed(form: Form, part: Part, task: Option<Task>) -> Response<Body> {
    let parts = unfold(Some((Some(part), task)), |state| async move {
        let (part, mut task) = state?;
        let part = match (part, &mut task) {
            (Some(part), _) => part,
            (None, Some(task)) => match task.next().await {
                Told::Part(part) => part,
                // A stream ends with a part that says so.
                Told::Answer(_) => return None,
            },
            (None, None) => return None,
        };
        let bytes = match part.first {
            Some(first) if !first.is_empty() => [&first[..], &part.bytes].concat().into(),
            Some(_) | None => part.bytes,
        };
        Some((bytes, (!part.is_last).then_some((None, task))))
    });
    let parts = parts.filter(|bytes| std::future::ready(!bytes.is_empty()));
    response(Answer::stream(form), None).map(|_| Body::Topic(TopicBody(parts.boxed())))
}

impl Task {
    /// A task for a reader of a topic whose `changes` were followed before it began. `half_closed`: its client has closed its
    /// sending side.
    pub(in crate::http) fn new(
        reader: Reader,
        changes: watch::Receiver<u64>,
        (access, caller): (&Arc<Access>, Caller),
        stop: &stop::Watch,
        half_closed: CancellationToken,
    ) -> Self {
        Self {
            reader,
            kept: Kept::default(),
            changes,
            withdrawals: access.withdrawals(),
            access: Arc::clone(access),
            caller,
            stop: stop.clone(),
            phase: stop::Phase::default(),
            half_closed,
            is_half_closed: false,
        }
    }

    /// What the reader is told next. Nothing is lost where this is dropped.
    pub(in crate::http) async fn next(&mut self) -> Told {
        loop {
            // Before the look, so that no change falls in between.
            let seen = *self.changes.borrow();
            let withdrawn = self.withdrawals.count();
            if let Some(loss) = self.caller.lost() {
                return self.reader.lost(&self.access.lost(loss));
            }
            let until = match self.reader.step(Instant::now().into_std(), &mut self.kept) {
                Step::Wait(until) => Instant::from_std(until),
                Step::Tell(told) => return told,
            };
            tokio::select! {
                // The sender is the topic's, which the reader has.
                _ = self.changes.wait_for(|last| *last != seen) => {}
                () = sleep_until(until) => {}
                phase = self.stop.left(self.phase) => {
                    self.phase = phase;
                    self.reader.on_drain(slot(phase));
                }
                () = self.half_closed.cancelled(), if !self.is_half_closed => {
                    self.is_half_closed = true;
                    self.reader.on_half_closed(Instant::now().into_std());
                }
                _ = self.withdrawals.more_than(withdrawn) => {}
            }
        }
    }
}
