//! An operation over WebSocket: a stream as all others are, whose one client this owns, and what its client says of states.

use std::collections::VecDeque;
use std::future::{pending, poll_fn};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::request::Parts;
use tokio::time::sleep_until;

use super::message::ClientMessage;
use super::session::{Said, Source, Taken};
use super::socket::Piece;
use crate::access::Connection;
use crate::authentication::Withdrawals;
use crate::bounds::{REJECTED_REASON_CHARACTERS, WEBSOCKET_FRAGMENT};
use crate::describe::request::{Rejected, Report};
use crate::describe::stream::event::Event;
use crate::describe::stream::{Form, frame};
use crate::describe::{Answer, Consistency, PollRequest, Problem};
use crate::http::access::{Access, Admitted};
use crate::http::describe::{Arrived, Asking};
use crate::http::polls::parked::Parked;
use crate::http::polls::streams::{PartPlace, Stream, Streams as _};
use crate::http::polls::{ClientRef, Found, Owner, Polls, Sending, Waits};
use crate::hub::{FanOutGuard, Mailbox};
use crate::lifecycle::stop;
use crate::model::Since;
use crate::operation::Operation;
use crate::protocol::websocket::CloseCode;
use crate::registry::LivePoll;

/// The key of the one client.
const CLIENT: u32 = 0;

/// A stream of an operation on a connection of WebSocket.
pub(in crate::http) struct OperationSource {
    access: Arc<Access>,
    connection: Arc<Connection>,
    stop: stop::Watch,
    phase: stop::Phase,
    withdrawals: Withdrawals,
    withdrawn: u64,
    polls: Polls<Pieces>,
    mailbox: Arc<Mailbox>,
    waits: Option<Waits>,
    stream: Option<Box<Stream>>,
    /// What finds out what the client waits for.
    finding: Option<BoxFuture<'static, Found>>,
    said: VecDeque<Said>,
    /// The stream goes on once what was said is sent.
    goes_on: bool,
    /// Kept until what was said is sent.
    fan_out: Option<FanOutGuard>,
    /// Why it was refused before anything was said.
    refused: Option<Problem>,
    acknowledges: Acknowledges,
    now: Instant,
}

/// What is needed to take what the client says of states.
struct Acknowledges {
    /// None: nobody knows whose words they are.
    asking: Option<Asking>,
    agent: Option<String>,
    /// What it has said last, as its agent's entry knows it.
    live: Option<LivePoll>,
}

/// A part of a stream, in frames.
#[derive(Debug, Clone, Default)]
pub(in crate::http) struct Pieces(Vec<Piece>);

impl OperationSource {
    /// A stream that is asked for with this head, by a caller that may.
    pub(in crate::http) fn new(
        (access, admitted): (&Arc<Access>, Admitted),
        connection: &Arc<Connection>,
        stop: &stop::Watch,
        operation: &Arc<Operation>,
        parts: &Parts,
    ) -> Self {
        let now = tokio::time::Instant::now().into_std();
        let (mailbox, phase) = (Arc::<Mailbox>::default(), stop::Phase::default());
        let withdrawals = access.withdrawals();
        let mut source = Self {
            access: Arc::clone(access),
            connection: Arc::clone(connection),
            stop: stop.clone(),
            phase,
            withdrawn: withdrawals.count(),
            withdrawals,
            polls: Polls::new(Parked::of_one(Arc::clone(&mailbox), phase, now)),
            mailbox,
            waits: None,
            stream: None,
            finding: None,
            said: VecDeque::new(),
            goes_on: false,
            fan_out: None,
            refused: None,
            acknowledges: Acknowledges { asking: None, agent: None, live: None },
            now,
        };
        // It is known before anything is looked at that the process stops.
        source.on_phase(stop.phase());
        source.acknowledges.agent = crate::describe::request::agent(&parts.headers).ok().flatten();
        let caller = admitted.caller.clone();
        source.admitted(CLIENT, parts, Arc::clone(operation), admitted);
        let is_known = source.acknowledges.agent.is_some() || caller.identity().is_some();
        let request = source.stream.as_ref().filter(|_| is_known).map(|stream| stream.request());
        source.acknowledges.asking = request.and_then(|request| {
            let request = PollRequest { stream: None, hold: std::time::Duration::ZERO, ..(*request).clone() };
            Asking::new(Arc::clone(operation), Arc::new(request), caller).ok()
        });
        source
    }

    /// Waits for the first words; an error: why it is refused.
    pub(in crate::http) async fn begun(mut self) -> Result<Self, Problem> {
        let first = self.next().await;
        if let Some(problem) = self.refused.take() {
            return Err(problem);
        }
        self.said.push_front(first);
        Ok(self)
    }

    fn on_phase(&mut self, phase: stop::Phase) {
        self.phase = phase;
        self.polls.on_phase(phase);
    }

    fn say(&mut self, pieces: Vec<Piece>, is_last: bool) {
        self.said.push_back(Said { pieces, is_last });
    }
}

impl Source for OperationSource {
    async fn next(&mut self) -> Said {
        loop {
            self.now = tokio::time::Instant::now().into_std();
            if let Some(said) = self.said.pop_front() {
                return said;
            }
            if self.refused.is_some() {
                return Said { pieces: Vec::new(), is_last: true };
            }
            self.fan_out = None;
            if std::mem::take(&mut self.goes_on) {
                self.goes_on(CLIENT);
                continue;
            }
            let is_busy = self.release(1);
            if is_busy || !self.said.is_empty() || self.goes_on {
                continue;
            }
            // The client waits, perhaps for long.
            self.polls.release_kept();
            self.said = VecDeque::new();
            let deadline = self.polls.parked.deadline();
            let mut changes = Vec::new();
            tokio::select! {
                biased;
                phase = self.stop.left(self.phase) => self.on_phase(phase),
                count = self.withdrawals.more_than(self.withdrawn) => {
                    self.withdrawn = count;
                    let access = Arc::clone(&self.access);
                    self.polls.on_withdrawal(&access);
                }
                () = poll_fn(|cx| self.mailbox.poll_take(cx, &mut changes)) => {
                    for change in changes {
                        self.polls.on_change(&change);
                    }
                }
                found = found(&mut self.finding) => {
                    self.finding = None;
                    self.found(found);
                }
                () = until(deadline) => {}
            }
        }
    }

    fn take(&mut self, message: ClientMessage) -> Taken {
        match self.acknowledges.take(message, &self.connection) {
            Ok(()) => Taken::Done,
            Err((code, reason)) => Taken::Wrong(code, reason),
        }
    }
}

async fn found(finding: &mut Option<BoxFuture<'static, Found>>) -> Found {
    match finding {
        Some(finding) => finding.await,
        None => pending().await,
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline.into()).await,
        None => pending().await,
    }
}

impl Acknowledges {
    /// What a client says of states counts as a poll with the same parameters that is answered at once.
    fn take(&mut self, message: ClientMessage, connection: &Arc<Connection>) -> Result<(), (CloseCode, String)> {
        let wrong = |reason: String| (CloseCode::Limits, reason);
        let state = |name: &str, text: &str| {
            Since::parse(text).ok_or_else(|| wrong(format!("{name} is {text:.128?}, which is no id of a state")))
        };
        let asking = self.asking.as_ref().ok_or_else(|| {
            wrong("who says this is not known: send an Agent-Id with the request, or a credential".to_owned())
        })?;
        let held = |held: Option<String>| held.map(|held| state("held", &held)).transpose();
        let (mut rejected, mut applying, mut reason) = (None, None, None);
        let since = match message {
            ClientMessage::Held { id } => Some(state("id", &id)?),
            ClientMessage::Rejected { id, held: before, reason: why } => {
                rejected = Some(Box::new(Rejected { state: state("id", &id)?, reason: None }));
                reason = why.map(|why| printable(&why));
                held(before)?
            }
            ClientMessage::Applying { id, held: before } => {
                applying = Some(Box::new(state("id", &id)?));
                held(before)?
            }
            ClientMessage::Publish { .. } => {
                return Err(wrong(
                    "nothing is published to an operation: messages of type publish are for topics".to_owned(),
                ));
            }
        };
        let request = PollRequest { since, rejected, applying, ..(*asking.request).clone() };
        let asking = Asking { request: Arc::new(request), ..asking.clone() };
        let report = Report { agent: self.agent.clone(), reason };
        let current = asking.subscription.current();
        let connection = || Arc::clone(connection);
        if let Ok(Arrived::Answer(_, _, live)) = asking.arrive(current, Consistency::Confirmed, report, connection) {
            self.live = live;
        }
        Ok(())
    }
}

/// A reason as `Rejected-Reason` has it.
fn printable(reason: &str) -> String {
    let shown = |c: char| if c == ' ' || c.is_ascii_graphic() { c } else { '?' };
    reason.chars().take(REJECTED_REASON_CHARACTERS).map(shown).collect()
}

impl Owner for OperationSource {
    type Written = Pieces;

    fn polls(&mut self) -> &mut Polls<Pieces> {
        &mut self.polls
    }

    fn access(&self) -> &Arc<Access> {
        &self.access
    }

    fn now(&self) -> Instant {
        self.now
    }

    fn client(&self, key: u32) -> Option<ClientRef> {
        Some(ClientRef { key, serial: 0 })
    }

    fn connection(&mut self, _key: u32) -> Arc<Connection> {
        Arc::clone(&self.connection)
    }

    /// A client of WebSocket says that it closes the connection.
    fn is_half_closed(&self, _key: u32) -> bool {
        false
    }

    fn is_head(&self, _key: u32) -> bool {
        false
    }

    fn ends(&self, _key: u32) -> bool {
        false
    }

    fn wait(&mut self, _key: u32, waits: Waits) {
        self.waits = Some(waits);
    }

    fn take_waits(&mut self, _key: u32) -> Option<Waits> {
        self.waits.take()
    }

    fn share(&mut self, request: PollRequest) -> Arc<PollRequest> {
        Arc::new(request)
    }

    /// What polls are answered with, which this is not.
    fn write(&self, _answer: Answer, _ends: bool) -> Pieces {
        Pieces::default()
    }

    fn send(&mut self, _key: u32, _written: &Pieces, _sending: Sending) {
        self.say(Vec::new(), true);
    }

    fn refuse(&mut self, key: u32, problem: &Problem, _held: std::time::Duration) {
        if !self.stream_refused(key, problem) {
            self.refused = Some(problem.clone());
        }
    }

    fn stream_slot(&mut self, _key: u32) -> Option<&mut Option<Box<Stream>>> {
        Some(&mut self.stream)
    }

    fn write_part(&self, part: Vec<u8>, _is_last: bool) -> Pieces {
        Pieces(vec![Piece { bytes: part.into(), ends_frame: true }])
    }

    /// The bytes of a long state are those of all who get it.
    fn write_state(&self, event: &Event<'_>, form: Form, body: &Bytes) -> Pieces {
        if let Event::State(id, _) = event
            && body.len() > WEBSOCKET_FRAGMENT
        {
            let begin = format!("{{\"type\":\"state\",\"id\":\"{id}\",\"model\":");
            return Pieces(fragments(begin.into(), body));
        }
        let mut bytes = Vec::new();
        event.write(form, false, &mut bytes);
        self.write_part(bytes, false)
    }

    fn write_start(&self, _head: &Answer, _ends: bool, _first: &[u8], part: &Pieces) -> Pieces {
        part.clone()
    }

    fn send_part(&mut self, _key: u32, written: &Pieces, sending: Sending, place: PartPlace) {
        self.fan_out = self.polls.fan_out(sending.fan_out, sending.held);
        self.goes_on = !place.is_last;
        self.say(written.0.clone(), place.is_last);
    }

    fn find_out(&mut self, task: impl Future<Output = Found> + Send + 'static) {
        self.finding = Some(Box::pin(task));
    }
}

impl Drop for OperationSource {
    fn drop(&mut self) {
        if let Some(Waits::Parked(parked)) = self.waits.take() {
            self.polls.parked.abandon(parked);
        }
    }
}

/// The frames of a message that begins so, has these bytes, and ends with a brace.
fn fragments(begin: Bytes, body: &Bytes) -> Vec<Piece> {
    let mut pieces = Vec::with_capacity(2 * body.len().div_ceil(WEBSOCKET_FRAGMENT) + 2);
    let (mut begin, mut at) = (Some(begin), 0);
    while at < body.len() {
        let next = body.len().min(at + WEBSOCKET_FRAGMENT);
        let is_final = next == body.len();
        let prefix = begin.take();
        let length = prefix.as_ref().map_or(0, Bytes::len) + (next - at) + usize::from(is_final);
        let mut header = Vec::new();
        frame::text_header((prefix.is_some(), is_final), length, &mut header);
        header.extend_from_slice(prefix.as_deref().unwrap_or_default());
        pieces.push(Piece { bytes: header.into(), ends_frame: false });
        pieces.push(Piece { bytes: body.slice(at..next), ends_frame: !is_final });
        at = next;
    }
    pieces.push(Piece { bytes: Bytes::from_static(b"}"), ends_frame: true });
    pieces
}
