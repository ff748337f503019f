//! The work resource of an item: its answer for who comes back, each time held for a while; `DELETE` ends it.

use std::sync::Arc;

use http::header::RETRY_AFTER;
use http::{Method, Response, StatusCode};
use tokio::time::{Duration, Instant, sleep_until};

use super::consumer::{answer_of, stops};
use super::outcome::{Back, Wants, come_back, ended, gone};
use super::prefer::Preferences;
use super::{Answered, Arrived, Received, empty, is_read_only, parameter, problem_response, unwanted, wait};
use crate::bounds::EXCHANGE_GRACE;
use crate::describe::Problem;
use crate::describe::problem::Kind;
use crate::exchange::Consumer;
use crate::exchange::core::Pending;
use crate::exchange::entry::Outcome;
use crate::exchange::id::ItemId;
use crate::http::request_body::RequestBody;
use crate::http::response::Body;

/// Answers a request for an item.
pub(super) async fn answer(arrived: Arrived<'_>, item: &str, body: RequestBody) -> Answered {
    let method = arrived.parts.method.clone();
    if !is_read_only(&method) && method != Method::DELETE {
        let detail = format!(
            "{method} is not for the work resource: send GET. A client that follows the redirect with {method} was told to, as \
             curl is by -X {method}: let it send the first request with -d alone"
        );
        return arrived.refuse_method("GET, HEAD, DELETE", detail, body).await;
    }
    let is_read = unwanted::read(body, &arrived.parts).await;
    let begun = Instant::now();
    let item = ItemId::parse(item);
    if let Some(item) = item
        && arrived.exchange.find(item).await.is_err()
    {
        return Answered { is_read, ..Answered::of(problem_response(&not_looked_up())) };
    }
    let response = match item {
        None => problem_response(&unknown(&arrived)),
        Some(item) if method == Method::DELETE => match arrived.exchange.delete(item) {
            Some(true) => empty(StatusCode::NO_CONTENT),
            Some(false) => problem_response(&gone()),
            None => problem_response(&unknown(&arrived)),
        },
        Some(item) => match arrived.exchange.attach(item) {
            None => problem_response(&unknown(&arrived)),
            Some(consumer) if method == Method::HEAD => answer_now(&arrived, consumer),
            Some(consumer) => match hold(&arrived, consumer) {
                Ok(held) => return Answered { is_read, ..answer_held(&arrived, held, None).await },
                Err(problem) => problem_response(&problem),
            },
        },
    };
    Answered { response, is_read, held: begun.elapsed() }
}

/// A consumer that has come back, and is held.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) consumer: Consumer,
    begun: Instant,
    /// The end of the hold.
    pub(super) until: Instant,
}

/// Holds a consumer that has come back.
pub(super) fn hold(received: &Received<'_>, mut consumer: Consumer) -> Result<Held, Problem> {
    let (config, begun) = (&received.config, Instant::now());
    // Where its connection breaks, the item stays for who comes back.
    consumer.stays(EXCHANGE_GRACE);
    let prefers = Preferences::of(&received.parts.headers).wait.map(Duration::from_secs);
    let default = if consumer.entry().is_async { Duration::ZERO } else { config.chain.hold };
    let time = wait(&received.parts, prefers.unwrap_or(default), config.hold.max)?;
    Ok(Held { consumer, begun, until: begun + time })
}

/// Answers a consumer that was held until now, or is held from now on. `drains_at`: when it is answered as the process stops.
pub(super) async fn answer_held(arrived: &Arrived<'_>, held: Held, drains_at: Option<Instant>) -> Answered {
    let Held { consumer, begun, until } = held;
    let entry = Arc::clone(consumer.entry());
    let ends = tokio::select! {
        biased;
        _ = entry.ended() => None,
        () = arrived.connection.half_closed() => Some(gone()),
        () = arrived.drain_slot(drains_at) => {
            // Of shared items other replicas tell.
            let is_lost = !arrived.exchange.is_claimed(entry.id) && !arrived.exchange.is_shared();
            is_lost.then(|| stops(arrived, entry.id))
        }
        () = sleep_until(until) => None,
    };
    let response = match ends {
        Some(problem) => problem_response(&problem),
        None => answer_now(arrived, consumer),
    };
    Answered { held: begun.elapsed(), ..Answered::of(response) }
}

/// Answers a consumer with what has come of its item so far.
fn answer_now(arrived: &Arrived<'_>, consumer: Consumer) -> Response<Body> {
    let entry = Arc::clone(consumer.entry());
    let mut outcome = entry.outcome();
    if matches!(outcome, Outcome::Pending) {
        match arrived.exchange.tell(entry.id) {
            Some(pending) => return told(arrived, consumer, pending),
            // It has just ended.
            None => outcome = entry.outcome(),
        }
    }
    let has_failed = matches!(outcome, Outcome::Failed(_));
    let mut response = if arrived.parts.method == Method::HEAD {
        ended(consumer, outcome, Wants::Look, arrived.connection.end())
    } else {
        answer_of(arrived, consumer, outcome)
    };
    if has_failed {
        // To ask here again does not help; to send the request anew may.
        response.headers_mut().remove(RETRY_AFTER);
    }
    response
}

/// Tells a consumer to come back: elsewhere, as long as clients follow that many redirects.
fn told(arrived: &Arrived<'_>, consumer: Consumer, pending: Pending) -> Response<Body> {
    let (config, entry) = (&arrived.config, Arc::clone(consumer.entry()));
    let hop = parameter(&arrived.parts, "n").and_then(|text| text.parse().ok()).unwrap_or(1);
    let accepted = entry.is_async || hop >= config.chain.hops;
    let next = if accepted { hop } else { hop + 1 };
    let location = format!("{}/work/{}?n={next}", config.endpoint, entry.id);
    come_back(consumer, pending, Back { location, accepted, is_async: entry.is_async })
}

/// Only other replicas may know the item.
fn not_looked_up() -> Problem {
    let detail = "this replica does not know the item, and cannot ask for it, since NATS does not answer: come back to the same URL";
    Problem::retry(Kind::NotStored, 2, detail)
}

fn unknown(arrived: &Arrived<'_>) -> Problem {
    let detail = format!(
        "exchange {} knows no such item: it was never here, has been forgotten, or is of another replica; send the request anew",
        arrived.config.name
    );
    Problem::new(Kind::NotFound, detail)
}
