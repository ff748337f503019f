//! A consumer's request on the path of an exchange: it is held until a worker answers, for a time, and is then told to come
//! back. Nothing of its body is read before a worker has it, unless it has to be stored.

use std::sync::Arc;

use http::{HeaderValue, Method, Response, header};
use http_body::Body as _;
use tokio::time::{Duration, Instant, sleep_until, timeout};

use super::outcome::{Back, Wants, applied, broken, come_back, ended, gone};
use super::prefer::Preferences;
use super::{Answered, Arrived, Received, problem_response, request};
use crate::bounds::EXCHANGE_BODY;
use crate::config;
use crate::describe::Problem;
use crate::describe::problem::Kind;
use crate::exchange::body::{self, NotStored};
use crate::exchange::core::{Key, Refused, Submission};
use crate::exchange::entry::Entry;
use crate::exchange::id::ItemId;
use crate::exchange::{Consumer, random};
use crate::http::request_body::RequestBody;
use crate::http::response::Body;
use crate::protocol::fields::IDEMPOTENCY_KEY;

/// How often it is looked again whether a worker has read a body, without which the hold cannot end.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// A consumer whose request is held.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) consumer: Consumer,
    begun: Instant,
    /// The end of the hold.
    pub(super) until: Instant,
    /// The seconds that it prefers, as far as they are followed.
    wait: Option<u64>,
    is_async: bool,
}

/// Answers it.
pub(super) async fn answer(arrived: Arrived<'_>, key: Option<Key>, body: RequestBody) -> Answered {
    let config = &arrived.config;
    if !is_listed(&arrived.config, &arrived.parts.method) {
        return not_listed(&arrived, body).await;
    }
    let preferences = Preferences::of(&arrived.parts.headers);
    let has_body = !body.is_end_stream();
    let coming = body::RequestBody::coming(request::incoming(body), config.body.replay);
    if (preferences.respond_async || arrived.parts.headers.contains_key(IDEMPOTENCY_KEY))
        && let Err(problem) = store(&coming, config.body.bytes).await
    {
        return Answered { is_read: false, ..Answered::of(problem_response(&problem)) };
    }
    match submit(&arrived, key, coming, preferences) {
        Ok(held) => answer_held(&arrived, held, None).await,
        Err(problem) => Answered { is_read: !has_body, ..Answered::of(problem_response(&problem)) },
    }
}

/// Whether the method of a request is one of the exchange.
pub(super) fn is_listed(config: &config::Exchange, method: &Method) -> bool {
    config.methods.is_empty() || config.methods.contains(method)
}

/// Puts a request into the queue, or gives it to a worker.
pub(super) fn submit(
    received: &Received<'_>,
    key: Option<Key>,
    body: body::RequestBody,
    preferences: Preferences,
) -> Result<Held, Problem> {
    let (config, parts) = (&received.config, &received.parts);
    let (item, is_async) = (ItemId::of(random()), preferences.respond_async);
    let submission = Submission {
        key,
        once: request::once(parts, || body.bytes()),
        share: (config.share && request::may_share(parts, body.length() != Some(0)) && !is_async)
            .then(|| request::share(parts)),
        ..request::submission(received, item, is_async)
    };
    let begun = Instant::now();
    let request = request::request(received, item, body);
    let consumer = received.exchange.submit(submission, request).map_err(|refused| problem(&config.name, refused))?;
    let wait = preferences.wait.map(|wait| wait.min(config.hold.max.as_secs()));
    let time = match (wait, is_async) {
        (Some(wait), _) => Duration::from_secs(wait),
        (None, true) => Duration::ZERO,
        (None, false) => config.hold.default,
    };
    Ok(Held { consumer, begun, until: begun + time, wait, is_async })
}

/// Answers a consumer that was held until now, or is held from now on. `drains_at`: when it is answered as the process stops.
pub(super) async fn answer_held(arrived: &Arrived<'_>, held: Held, drains_at: Option<Instant>) -> Answered {
    let Held { consumer, begun, until, wait, is_async } = held;
    let entry = Arc::clone(consumer.entry());
    let response = hold(arrived, consumer, (begun, until), drains_at, is_async).await;
    let answered = Answered { response, is_read: !entry.request.body.is_coming(), held: begun.elapsed() };
    applied(answered, wait, is_async)
}

/// Holds a consumer that has come at `begun` until its item has an outcome, or until then.
async fn hold(
    arrived: &Arrived<'_>,
    consumer: Consumer,
    (begun, mut until): (Instant, Instant),
    mut drains_at: Option<Instant>,
    is_async: bool,
) -> Response<Body> {
    let (exchange, entry) = (arrived.exchange, Arc::clone(consumer.entry()));
    let latest = begun + arrived.config.hold.max;
    loop {
        tokio::select! {
            // An answer that is here is worth more than the end of the hold.
            biased;
            outcome = entry.ended() => return answer_of(arrived, consumer, outcome),
            // Most clients that send a FIN are gone.
            () = arrived.connection.half_closed(), if !is_async => return problem_response(&gone()),
            slot = arrived.drained(), if drains_at.is_none() => drains_at = Some(slot),
            () = at(drains_at) => {
                if exchange.is_shared() {
                    // Another replica goes on with it, once its body is stored.
                    (until, drains_at) = (Instant::now(), Some(latest + LOOK_AGAIN));
                    continue;
                }
                if !exchange.is_claimed(entry.id) {
                    return problem_response(&stops(arrived, entry.id));
                }
                // A worker has it, which ends within the grace period.
                drains_at = Some(Instant::now() + LOOK_AGAIN);
            }
            () = sleep_until(until) => {
                let end = tokio::select! {
                    biased;
                    // As above, which then sees the same.
                    _ = entry.ended() => continue,
                    () = arrived.connection.half_closed(), if !is_async => continue,
                    _ = arrived.drained(), if drains_at.is_none() => continue,
                    () = at(drains_at) => continue,
                    end = end_of_hold(arrived, &entry, latest) => end,
                };
                match end {
                    End::Told => break,
                    End::HoldOn(longer) => until = longer,
                    End::Expired => return problem_response(&not_claimed(arrived, entry.id, "its body is too long to be stored")),
                    End::Broken => return problem_response(&broken()),
                }
            }
        }
    }
    match exchange.tell(entry.id) {
        Some(pending) => {
            let is_recorded = exchange.recorded(entry.id).await.is_ok();
            if !is_recorded && !exchange.is_written(entry.id) {
                // To come back is of use only where other replicas can know of it.
                if !arrived.parts.headers.contains_key(IDEMPOTENCY_KEY) {
                    // Nobody is to do what nobody was told of. Perhaps it is done before the others know.
                    let _ = exchange.delete(entry.id);
                }
                return problem_response(&not_recorded());
            }
            let location = format!("{}/work/{}?n=1", arrived.config.endpoint, entry.id);
            come_back(consumer, pending, Back { location, accepted: is_async, is_async })
        }
        None => answer_of(arrived, consumer, entry.outcome()),
    }
}

/// The answer to a consumer, if it still may.
pub(super) fn answer_of(
    arrived: &Arrived<'_>,
    consumer: Consumer,
    outcome: crate::exchange::entry::Outcome,
) -> Response<Body> {
    if let Some(problem) = arrived.lost() {
        return problem_response(&problem);
    }
    let wants = if arrived.parts.method == Method::HEAD { Wants::Head } else { Wants::All };
    ended(consumer, outcome, wants, arrived.connection.end())
}

/// How a hold ends.
enum End {
    /// The consumer is told to come back.
    Told,
    /// A worker reads the body, or it is too long to be stored: the consumer is needed.
    HoldOn(Instant),
    /// Nobody took it in all the time that there is.
    Expired,
    /// The consumer broke off its body.
    Broken,
}

async fn end_of_hold(arrived: &Arrived<'_>, entry: &Entry, latest: Instant) -> End {
    let body = &entry.request.body;
    if !body.is_coming() {
        return End::Told;
    }
    if !arrived.exchange.is_claimed(entry.id) {
        let most = arrived.config.body.bytes;
        match timeout(EXCHANGE_BODY, body.store(most)).await {
            Ok(Ok(())) => return End::Told,
            Ok(Err(NotStored::Broken(_))) => return End::Broken,
            Ok(Err(NotStored::TooLarge(_) | NotStored::BeingRead)) | Err(_) => {}
        }
    }
    let now = Instant::now();
    if arrived.exchange.is_claimed(entry.id) {
        End::HoldOn(now + LOOK_AGAIN)
    } else if now < latest {
        End::HoldOn(latest.min(now + LOOK_AGAIN))
    } else {
        End::Expired
    }
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// It is not known to be stored where replicas share their items.
fn not_recorded() -> Problem {
    let detail = "the request could not be stored in time, since NATS does not answer, and may still be done: send it again, with an \
                  Idempotency-Key both times to have it done once";
    Problem::retry(Kind::NotStored, 5, detail)
}

/// No worker has it, and the process stops.
pub(super) fn stops(arrived: &Arrived<'_>, item: ItemId) -> Problem {
    arrived.exchange.refused_by_stop();
    not_claimed(arrived, item, "this server stops")
}

/// No worker has it, and none will: nothing was done, unless one had it before.
fn not_claimed(arrived: &Arrived<'_>, item: ItemId, why: &str) -> Problem {
    if arrived.exchange.may_have_begun(item) {
        let detail = format!(
            "a worker that is gone may have begun the request, no other has taken it, and {why}: the work may have been done"
        );
        return Problem::new(Kind::WorkerBroke, detail);
    }
    Problem::retry(
        Kind::NotClaimed,
        1,
        format!("no worker has taken the request, and {why}: nothing was done, send it again"),
    )
}

async fn store(body: &body::RequestBody, most: usize) -> Result<(), Problem> {
    let malformed = |why: String| Problem::new(Kind::MalformedRequest, why);
    match timeout(EXCHANGE_BODY, body.store(most)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(NotStored::TooLarge(most))) => {
            let detail = format!(
                "the body is longer than {most} bytes (body.bytes), which is the most that is stored for respond-async or an \
                 Idempotency-Key: send a shorter one, or leave these out"
            );
            Err(Problem::new(Kind::BodyTooLarge, detail))
        }
        Ok(Err(NotStored::Broken(_) | NotStored::BeingRead)) => Err(broken()),
        Err(_) => {
            Err(malformed(format!("the body did not come within {} s: send it at once", EXCHANGE_BODY.as_secs())))
        }
    }
}

fn problem(name: &str, refused: Refused) -> Problem {
    match refused {
        Refused::Full(_) => {
            let detail = format!("{refused} (queue.length of exchange {name}): try again, or let more workers dial in");
            Problem::retry(Kind::ExchangeFull, 5, detail)
        }
        Refused::OfClient(_) => {
            let detail = format!("{refused} (queue.perClient of exchange {name}): wait for one of them to end");
            Problem::retry(Kind::TooManyQueued, 5, detail)
        }
        Refused::NoWorker(_) => {
            let detail = format!("{refused} (noWorker of exchange {name}): let one dial in, and try again");
            Problem::retry(Kind::NoWorker, 5, detail)
        }
        Refused::KeyReused => {
            Problem::new(Kind::KeyReused, format!("{refused}: send another key with another request"))
        }
    }
}

async fn not_listed(arrived: &Arrived<'_>, body: RequestBody) -> Answered {
    let config = &arrived.config;
    let methods: Vec<_> = config.methods.iter().map(Method::as_str).collect();
    let allow = methods.join(", ");
    let name = &config.name;
    let detail = format!("{} is no method of exchange {name}: send {allow}", arrived.parts.method);
    let mut answered = arrived.refuse(Problem::new(Kind::MethodNotAllowed, detail), body).await;
    if let Ok(allow) = HeaderValue::from_str(&allow) {
        answered.response.headers_mut().insert(header::ALLOW, allow);
    }
    answered
}
