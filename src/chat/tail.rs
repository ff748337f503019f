//! Reads a topic by polls or by a stream, and prints each message. It knows which one it has read last, and goes on after it
//! whatever happens to the connection.

use std::io::IsTerminal as _;
use std::time::Duration;

use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::{Instant, sleep, timeout};

use super::line::Message;
use super::websocket::{Received, Said, WebSocket};
use super::{Exit, Failure, Own, Patience, ask, print, say};
use crate::bounds::{STREAM_LOST, TAIL_PAGE_BYTES};
use crate::client::events::{Event, Events};
use crate::client::fetch::Fetch;
use crate::config::chat::{Mode, Tail};

/// A server that ends streams, or answers long polls, at once is not asked without a pause.
const AT_LEAST: Duration = Duration::from_secs(1);
/// How long a long poll may take, and its answer.
const WAITS: Duration = Duration::from_secs(30);
/// How long a stream is read at most before it is asked for again.
const LIFE: Duration = Duration::from_hours(2);

/// What a poll is answered with.
#[derive(Debug, Deserialize)]
struct Page<'a> {
    #[serde(borrow)]
    messages: Vec<&'a RawValue>,
    next: String,
    gap: Option<Gap>,
}

/// Messages that were missed.
#[derive(Debug, Deserialize)]
struct Gap {
    missed: Option<u64>,
}

/// What comes next.
enum Next {
    /// It is asked again after this time.
    After(Duration),
    /// All is read.
    Done,
}

struct Reader<'t> {
    tail: &'t Tail,
    /// What is published beside it.
    own: &'t Own,
    is_coloured: bool,
    /// The message that was read last, or the place where it is to begin; none: the server has named none yet.
    since: Option<String>,
}

/// Reads until it is refused, the server is away for too long, or (`once`) all is read.
pub(super) async fn run(tail: &Tail, own: &Own) -> Exit {
    let is_coloured = tail.color.unwrap_or_else(|| std::io::stdout().is_terminal());
    let mut reader = Reader { tail, own, is_coloured, since: None };
    let mut patience = Patience::new(tail.give_up);
    loop {
        let asked = match tail.mode {
            Mode::Events if !tail.once => reader.stream(&mut patience).await,
            Mode::WebSocket if !tail.once => reader.websocket(&mut patience).await,
            Mode::Events | Mode::WebSocket | Mode::LongPoll | Mode::Poll(_) => reader.poll(&patience).await,
        };
        match asked {
            Ok(Next::Done) => return Exit::Good,
            Ok(Next::After(pause)) => {
                patience.seen();
                sleep(pause).await;
            }
            Err(Failure::Final(exit, text)) => {
                say(&text);
                return exit;
            }
            Err(Failure::Lost(text)) => {
                if !patience.wait(&text, tail.quiet).await {
                    return Exit::Failed;
                }
            }
        }
    }
}

impl Reader<'_> {
    /// A request that goes on after what was read, with further parameters.
    fn request(&self, further: &str, deadline: Duration) -> Fetch {
        let url = &self.tail.fetch.url;
        let begin = if url.contains('?') { '&' } else { '?' };
        let place = match (&self.since, &self.tail.start) {
            (Some(since), _) => format!("since={since}&"),
            (None, Some((name, value))) => format!("{name}={value}&"),
            (None, None) => String::new(),
        };
        Fetch { url: format!("{url}{begin}{place}{further}"), deadline, ..self.tail.fetch.clone() }
    }

    async fn poll(&mut self, patience: &Patience) -> Result<Next, Failure> {
        let waits = self.tail.mode == Mode::LongPoll && !self.tail.once;
        let further = if waits { "wait=25&limit=1000" } else { "wait=0&limit=1000" };
        let begun = Instant::now();
        let deadline = patience.left() + if waits { WAITS } else { AT_LEAST };
        let fetched = ask(&self.request(further, deadline), self.tail.quiet).await?;
        let pause = match self.tail.mode {
            Mode::Poll(interval) => interval,
            Mode::LongPoll | Mode::Events | Mode::WebSocket => AT_LEAST.saturating_sub(begun.elapsed()),
        };
        let nothing = if self.tail.once { Next::Done } else { Next::After(pause) };
        if fetched.status == StatusCode::NO_CONTENT {
            return Ok(nothing);
        }
        let url = fetched.url.clone();
        let body = fetched.bytes(TAIL_PAGE_BYTES).await.map_err(|error| Failure::Lost(error.to_string()))?;
        let page: Page<'_> = serde_json::from_slice(&body).map_err(|error| {
            let text = format!("{url}: the answer is no page of messages ({error}): is it the URL of a topic?");
            Failure::Final(Exit::Refused, text)
        })?;
        if let Some(gap) = &page.gap {
            missed(gap);
        }
        for message in &page.messages {
            self.print(message.get()).await?;
        }
        let is_empty = page.messages.is_empty();
        self.since = Some(page.next);
        Ok(match self.tail.mode {
            _ if is_empty => nothing,
            // A poller is given what has come since its last look, and looks again when its time has come.
            Mode::Poll(interval) if !self.tail.once => Next::After(interval),
            Mode::Poll(_) | Mode::LongPoll | Mode::Events | Mode::WebSocket => Next::After(Duration::ZERO),
        })
    }

    async fn stream(&mut self, patience: &mut Patience) -> Result<Next, Failure> {
        let mut request = self.request("envelope=1", LIFE);
        request.fields.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        let mut fetched = begin(patience, ask(&request, self.tail.quiet)).await?;
        let media_type = fetched.fields.get(CONTENT_TYPE).map(|value| String::from_utf8_lossy(value.as_bytes()));
        if !media_type.as_deref().is_some_and(|found| found.starts_with("text/event-stream")) {
            let text = format!(
                "{}: the answer is {}, and no stream of events: read with --mode long-poll",
                fetched.url,
                media_type.as_deref().unwrap_or("of no media type")
            );
            return Err(Failure::Final(Exit::Refused, text));
        }
        let (mut events, mut found) = (Events::default(), Vec::new());
        loop {
            let Ok(chunk) = timeout(STREAM_LOST, fetched.chunk()).await else {
                let text = format!("{}: nothing has come for {} s", fetched.url, STREAM_LOST.as_secs());
                return Err(Failure::Lost(text));
            };
            let Some(bytes) = chunk.map_err(|error| Failure::Lost(error.to_string()))? else { break };
            patience.seen();
            let too_long = |error: crate::client::events::TooLong| Failure::Final(Exit::Refused, error.to_string());
            events.feed(&bytes, &mut found).map_err(too_long)?;
            for event in found.drain(..) {
                self.event(event).await?;
            }
        }
        // The server has said when, with a jitter of its own.
        Ok(Next::After(events.retry().unwrap_or(AT_LEAST)))
    }

    async fn websocket(&mut self, patience: &mut Patience) -> Result<Next, Failure> {
        let mut socket = begin(patience, WebSocket::open(&self.request("", LIFE), self.tail.quiet)).await?;
        loop {
            let text = match socket.next().await? {
                Received::Text(text) => text,
                Received::Closed(pause) => return Ok(Next::After(pause.max(AT_LEAST))),
            };
            patience.seen();
            let said: Said<'_> = serde_json::from_str(&text).map_err(|error| {
                let text = format!("what was sent is no JSON of a topic ({error}): is it the URL of one?");
                Failure::Final(Exit::Refused, text)
            })?;
            match (&*said.kind, said.message) {
                ("message", Some(message)) => self.since = Some(self.print(message.get()).await?),
                ("gap", _) => missed(&Gap { missed: said.missed }),
                ("same", _) => self.since = said.id,
                ("move", _) if !self.tail.quiet => say("the server ends the stream: it stops"),
                _ => {}
            }
        }
    }

    async fn event(&mut self, event: Event) -> Result<(), Failure> {
        match &*event.name {
            "message" => {
                self.print(&event.data).await?;
            }
            "gap" => {
                if let Ok(gap) = serde_json::from_str(&event.data) {
                    missed(&gap);
                }
            }
            "busy" | "move" | "auth" | "end" if !self.tail.quiet => {
                say(&format!("the server ends the stream: {} {}", event.name, event.data));
            }
            _ => {}
        }
        if !event.id.is_empty() {
            self.since = Some(event.id);
        }
        Ok(())
    }

    /// Prints a message, which is given as its JSON; gives its id.
    async fn print(&self, json: &str) -> Result<String, Failure> {
        let message: Message = serde_json::from_str(json).map_err(|error| {
            Failure::Final(Exit::Refused, format!("what was sent is no message ({error}): is it the URL of a topic?"))
        })?;
        if message.text().is_some_and(|text| self.own.reads(&text)) {
            return Ok(message.id);
        }
        let line = if self.tail.json { format!("{json}\n") } else { message.line(self.is_coloured) };
        print(&line).await?;
        Ok(message.id)
    }
}

/// Waits until a stream begins, no longer than its server may be away.
async fn begin<T>(patience: &Patience, begins: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    timeout(patience.left() + AT_LEAST, begins)
        .await
        .unwrap_or_else(|_| Err(Failure::Lost("no stream has begun".to_owned())))
}

fn missed(gap: &Gap) {
    match gap.missed {
        Some(0) => {}
        Some(missed) => say(&format!("{missed} messages were missed: they are not kept any more")),
        None => say("messages may have been missed: this is another history than the one that was read"),
    }
}
