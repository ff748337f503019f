//! `/events`: what `/state` and `/agents` say, as server-sent events for the [page](super::page).
//!
//! | event | data |
//! |---|---|
//! | `state` | what `/state` gives |
//! | `agents` | of an operation, what who watches it is to see first: [`agents::watched`] |
//! | `gone` | `{"operation"}`: it is there no longer |
//! | `ping` | `{}`, where nothing has changed for [`ADMIN_EVENT_SILENCE`]: pages cannot see comments |
//! | `busy`, `move`, `auth` | as on streams of the port for clients; the stream ends |
//!
//! Each [`ADMIN_EVENT_INTERVAL`] a stream is given what has changed since its last event, chosen when its client takes it: nothing
//! is queued. All streams share one [`Round`], which is made by the first of them that asks, so nothing is made where nobody reads.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt as _};
use http::{HeaderMap, HeaderValue, Method, Response, header};
use http_body_util::{Full, StreamBody};
use hyper::body::Frame;
use prometheus::{IntCounter, IntGauge, Registry};
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

use super::access::Access;
use super::listen::Limit;
use super::route::Route;
use super::state::Shown;
use super::{Answer, agents};
use crate::access::Connection;
use crate::bounds::{
    ADMIN_EVENT_AGENTS, ADMIN_EVENT_INTERVAL, ADMIN_EVENT_JUDGED, ADMIN_EVENT_LIFE, ADMIN_EVENT_SILENCE,
    ADMIN_EVENT_STREAMS,
};
use crate::describe::stream::Form;
use crate::describe::stream::event::{self, Event, RETRY, written};
use crate::escape;
use crate::lifecycle::stop;

/// Seconds after which a page that found no place comes back at the earliest.
const BUSY: u32 = 5;

/// The body of a stream.
pub(super) type EventBody = StreamBody<BoxStream<'static, Result<Frame<Bytes>, Infallible>>>;

/// The places of streams, and what all of them are given.
#[derive(Debug)]
pub struct Events {
    places: Arc<Semaphore>,
    open: IntGauge,
    refused: IntCounter,
    last: Mutex<Option<(Instant, Arc<Round>)>>,
}

/// What there was to say at a time: whole events.
#[derive(Debug, Default, PartialEq, Eq)]
struct Round {
    state: String,
    agents: BTreeMap<String, String>,
}

/// Who reads, for as long as it may.
#[derive(Debug)]
pub(super) struct Asking {
    pub(super) shown: Arc<Shown>,
    pub(super) events: Arc<Events>,
    pub(super) access: Arc<Access>,
    pub(super) headers: HeaderMap,
    pub(super) connection: Connection,
    pub(super) limit: Limit,
    pub(super) stop: stop::Watch,
}

/// A stream.
struct Reader {
    asking: Asking,
    /// What its client was given last.
    given: Arc<Round>,
    /// What is to be written before anything else.
    first: Vec<u8>,
    ticks: Interval,
    ends: Instant,
    heard: Instant,
    judged: Instant,
    is_over: bool,
    _place: Place,
}

/// A place that is taken.
struct Place(#[expect(dead_code, reason = "it gives the place back")] OwnedSemaphorePermit, IntGauge);

impl Drop for Place {
    fn drop(&mut self) {
        self.1.dec();
    }
}

impl Events {
    /// No stream yet.
    pub fn register(registry: &Registry) -> prometheus::Result<Arc<Self>> {
        let open = IntGauge::new("tidewait_admin_event_streams", "Streams of /events that the admin port serves.")?;
        let refused = IntCounter::new(
            "tidewait_admin_event_streams_refused_total",
            "Streams of /events that the admin port refused, since there were too many or the process stops.",
        )?;
        registry.register(Box::new(open.clone()))?;
        registry.register(Box::new(refused.clone()))?;
        Ok(Arc::new(Self {
            places: Arc::new(Semaphore::new(ADMIN_EVENT_STREAMS)),
            open,
            refused,
            last: Mutex::default(),
        }))
    }

    fn place(&self) -> Option<Place> {
        let permit = Arc::clone(&self.places).try_acquire_owned().ok()?;
        self.open.inc();
        Some(Place(permit, self.open.clone()))
    }

    /// What there is to say by now: made anew unless another stream had it made within this interval.
    fn round(&self, shown: &Shown) -> Arc<Round> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        // Somewhat less, since the looks of one stream are not always as far from each other.
        if let Some((made, round)) = &*last
            && made.elapsed() < ADMIN_EVENT_INTERVAL.mul_f64(0.9)
        {
            return Arc::clone(round);
        }
        let round = Arc::new(Round::of(shown));
        *last = Some((Instant::now(), Arc::clone(&round)));
        round
    }
}

impl Round {
    fn of(shown: &Shown) -> Self {
        let mut left = ADMIN_EVENT_AGENTS;
        let mut of_operation = |operation: &Arc<crate::operation::Operation>| {
            let (page, count) = agents::watched(operation, left);
            left -= count.min(left);
            (operation.name.clone(), block("agents", &page))
        };
        let agents = shown.operations.all().iter().map(&mut of_operation).collect();
        Self { state: block("state", &shown.state()), agents }
    }

    /// What a client has to be told that was given another round.
    fn since(&self, given: &Self) -> String {
        let mut news = String::new();
        if self.state != given.state {
            news += &self.state;
        }
        for (operation, agents) in &self.agents {
            if given.agents.get(operation) != Some(agents) {
                news += agents;
            }
        }
        for operation in given.agents.keys().filter(|operation| !self.agents.contains_key(*operation)) {
            news += &block("gone", &json!({ "operation": operation }));
        }
        news
    }
}

/// An event. JSON has no line break.
fn block(name: &str, data: &Value) -> String {
    format!("event: {name}\ndata: {}\n\n", escape::json(&data.to_string()))
}

/// Answers who asks for events.
pub(super) fn answer(asking: Asking, method: &Method) -> Response<Answer> {
    if *method == Method::HEAD {
        return head(Answer::Left(Full::default()));
    }
    let drain = asking.stop.phase().drain;
    let Some(place) = asking.events.place().filter(|_| drain.is_none()) else {
        asking.events.refused.inc();
        return head(Answer::Left(Full::from(say(&Event::Busy(BUSY)))));
    };
    let mut first = Vec::new();
    event::retry(Form::Events, RETRY, fastrand::f64(), &mut first);
    let mut ticks = interval(ADMIN_EVENT_INTERVAL);
    // Who did not read for long is not given several at once.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let now = Instant::now();
    let reader = Reader {
        asking,
        given: Arc::default(),
        first,
        ticks,
        ends: now + ADMIN_EVENT_LIFE,
        heard: now,
        judged: now,
        is_over: false,
        _place: place,
    };
    let blocks = stream::unfold(reader, |mut reader| async move {
        let block = reader.next().await?;
        Some((Ok(Frame::data(Bytes::from(block))), reader))
    });
    head(Answer::Right(StreamBody::new(blocks.boxed())))
}

impl Reader {
    /// What is to be written next; none: the stream ends.
    async fn next(&mut self) -> Option<Vec<u8>> {
        while !self.is_over {
            let drain = tokio::select! {
                biased;
                drain = self.asking.stop.draining() => Some(drain),
                _ = self.ticks.tick() => None,
            };
            let now = Instant::now();
            if now >= self.ends {
                break;
            }
            let mut bytes = std::mem::take(&mut self.first);
            if let Some(drain) = drain {
                self.is_over = true;
                let within = drain.deadline().saturating_duration_since(now).as_secs() + 1;
                bytes.extend(say(&Event::Move(within)));
            } else if let Some(refusal) = self.judge(now).await {
                self.is_over = true;
                bytes.extend(refusal);
            } else {
                let round = self.asking.events.round(&self.asking.shown);
                bytes.extend(round.since(&self.given).into_bytes());
                self.given = round;
            }
            if bytes.is_empty() && now - self.heard >= ADMIN_EVENT_SILENCE {
                bytes.extend(say(&Event::Ping));
            }
            if !bytes.is_empty() {
                // Its client has taken what came before, or there would be no room for this.
                self.asking.limit.extend(now);
                self.heard = now;
                return Some(bytes);
            }
        }
        None
    }

    /// What its client is told if it may not read on.
    async fn judge(&mut self, now: Instant) -> Option<Vec<u8>> {
        if now - self.judged < ADMIN_EVENT_JUDGED {
            return None;
        }
        self.judged = now;
        let Asking { access, headers, connection, .. } = &self.asking;
        let problem = access.admit(headers, connection, Some(Route::Events)).await.err()?;
        Some(say(&Event::Auth(&problem)))
    }
}

fn say(event: &Event<'_>) -> Vec<u8> {
    written(event, Form::Events, true, fastrand::f64())
}

fn head(body: Answer) -> Response<Answer> {
    let mut response = Response::new(body);
    for (name, value) in [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store, no-transform"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
        (header::HeaderName::from_static("incremental"), "?1"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(state: &str, agents: &[(&str, &str)]) -> Round {
        let agents = agents.iter().map(|(operation, page)| ((*operation).to_owned(), (*page).to_owned()));
        Round { state: state.to_owned(), agents: agents.collect() }
    }

    #[test]
    fn only_what_has_changed_is_said() {
        let first = round("s1", &[("a", "a1"), ("b", "b1")]);
        assert_eq!(first.since(&Round::default()), "s1a1b1");
        assert_eq!(first.since(&first), "");
        assert_eq!(round("s1", &[("a", "a1"), ("b", "b2")]).since(&first), "b2");
        assert_eq!(
            round("s2", &[("a", "a1")]).since(&first),
            "s2event: gone\ndata: {\"operation\":\"b\"}\n\n",
            "an operation that is gone"
        );
    }

    #[test]
    fn what_others_wrote_ends_no_line_and_turns_no_text() {
        let said = block("agents", &json!({ "reason": "a\r\n\ndata: x\u{202e}\u{2028}" }));
        assert_eq!(said, "event: agents\ndata: {\"reason\":\"a\\r\\n\\ndata: x\\u202e\\u2028\"}\n\n");
    }
}
