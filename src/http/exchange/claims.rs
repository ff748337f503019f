//! Workers that poll: a poll becomes a claim, which is touched, given back or answered.

use http::{Method, Response, StatusCode};
use http_body_util::BodyExt as _;
use tokio::time::{Duration, Instant, sleep, sleep_until, timeout};

use super::plain::{self, Form};
use super::reverse;
use super::{Answered, Arrived, Received, empty, insert, only, parameter, problem_response, unwanted, wait};
use crate::bounds::{EXCHANGE_BEAT, EXCHANGE_POLL};
use crate::describe::Problem;
use crate::describe::problem::Kind;
use crate::exchange::core::{Cause, Key, Lost, Over, Seat};
use crate::exchange::id::ClaimId;
use crate::exchange::job::Job;
use crate::exchange::metrics::{Counted, Transport};
use crate::exchange::{Given, Seated, Slot};
use crate::http::request_body::RequestBody;
use crate::http::response::Body;
use crate::protocol::fields::{AGENT_ID, EXCHANGE_COMPLETED, EXCHANGE_LEASE};

/// How long a poll is held that asks for no time.
const WAIT: Duration = Duration::from_secs(25);

/// A poll that is held.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) slot: Slot,
    pub(super) begun: Instant,
    /// The end of the hold.
    pub(super) until: Instant,
    _waits: Counted,
}

/// Answers a poll.
pub(super) async fn poll(arrived: Arrived<'_>, body: RequestBody) -> Answered {
    if arrived.parts.method != Method::POST {
        let detail = format!("{} is not for claims: send POST", arrived.parts.method);
        return arrived.refuse_method("POST", detail, body).await;
    }
    let is_read = unwanted::read(body, &arrived.parts).await;
    let answered = match seat(&arrived) {
        Ok(Seated::Waits(held)) => answer_held(&arrived, held, None).await,
        Ok(Seated::Again(claim)) => Answered::of(again(&arrived, claim, Form::of(&arrived.parts.headers))),
        Err(problem) => Answered::of(problem_response(&problem)),
    };
    Answered { is_read, ..answered }
}

/// Offers the slot of a worker that polls.
pub(super) fn seat(received: &Received<'_>) -> Result<Seated<Held>, Problem> {
    let parts = &received.parts;
    only(parts, &["wait", "key", "slot"])?;
    let wait = wait(parts, WAIT, EXCHANGE_POLL)?;
    let key = key_of(received)?;
    let agent = parts.headers.get(AGENT_ID).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let slot = parameter(parts, "slot").unwrap_or_else(|| "0".to_owned());
    if slot.len() > 64 {
        return Err(Problem::parameter("slot", &slot, "give at most 64 characters, such as slot=0"));
    }
    let seat = agent.map(|agent| Seat { client: received.client(), agent: agent.into(), slot: slot.into() });
    let begun = Instant::now();
    let worker = received.worker(Transport::Claims, seat.as_ref().map(|seat| &seat.agent), 1);
    Ok(match received.exchange.poll(key, seat, &worker) {
        Seated::Waits(slot) => {
            Seated::Waits(Held { slot, begun, until: begun + wait, _waits: received.exchange.metrics().poll() })
        }
        Seated::Again(claim) => Seated::Again(claim),
    })
}

/// The key of a worker's request.
pub(super) fn key_of(received: &Received<'_>) -> Result<Option<Key>, Problem> {
    match parameter(&received.parts, "key") {
        Some(key) if !received.config.path.has_key() => {
            Err(Problem::parameter("key", &key, "the path of this exchange has no {key}: leave it out"))
        }
        key => Ok(key.map(Key::from)),
    }
}

/// Answers a poll that was held until now, or is held from now on. `drains_at`: when it is answered as the process stops.
pub(super) async fn answer_held(arrived: &Arrived<'_>, mut held: Held, drains_at: Option<Instant>) -> Answered {
    let response = tokio::select! {
        biased;
        given = held.slot.given() => match given {
            // Dropped, the job goes to another worker.
            Given::Job(job) => match arrived.lost() {
                Some(problem) => problem_response(&problem),
                None => plain::claim(arrived.exchange, job, Form::of(&arrived.parts.headers)),
            },
            Given::Unwelcome => empty(StatusCode::NO_CONTENT),
            Given::Superseded => {
                let detail = "a newer poll has come with the same Agent-Id and slot: let each slot send one at a time";
                problem_response(&Problem::new(Kind::Superseded, detail))
            }
        },
        // Its poller is gone.
        () = arrived.connection.half_closed() => empty(StatusCode::NO_CONTENT),
        () = arrived.drain_slot(drains_at) => empty(StatusCode::NO_CONTENT),
        () = sleep_until(held.until) => empty(StatusCode::NO_CONTENT),
    };
    Answered { held: held.begun.elapsed(), ..Answered::of(response) }
}

/// The claim that a slot has already and never touched.
fn again(arrived: &Arrived<'_>, claim: ClaimId, form: Form) -> Response<Body> {
    match arrived.exchange.take_job(claim) {
        Ok(job) => plain::claim(arrived.exchange, job, form),
        Err(over) => problem_response(&problem(over)),
    }
}

/// Renews a claim; with `wait`, also tells when it is over.
pub(super) async fn beat(arrived: Arrived<'_>, claim: &str, body: RequestBody) -> Answered {
    if arrived.parts.method != Method::POST {
        let detail = format!("{} is not for a beat: send POST", arrived.parts.method);
        return arrived.refuse_method("POST", detail, body).await;
    }
    let is_read = unwanted::read(body, &arrived.parts).await;
    let begun = Instant::now();
    let response = match held_beat(&arrived, claim).await {
        Ok(()) => {
            let mut response = empty(StatusCode::NO_CONTENT);
            let lease = arrived.config.lease.length.as_secs();
            insert(response.headers_mut(), EXCHANGE_LEASE, &lease.to_string());
            response
        }
        Err(problem) => problem_response(&problem),
    };
    Answered { response, is_read, held: begun.elapsed() }
}

async fn held_beat(arrived: &Arrived<'_>, claim: &str) -> Result<(), Problem> {
    let claim = ClaimId::parse(claim).ok_or_else(|| problem(Over::Gone(Cause::Unknown)))?;
    only(&arrived.parts, &["wait"])?;
    let wait = wait(&arrived.parts, Duration::ZERO, EXCHANGE_POLL)?;
    arrived.exchange.find_claim(claim).await.map_err(|_| not_looked_up())?;
    let lease = arrived.exchange.touch(claim).map_err(problem)?;
    // Answered before the lease is over, so that the next one comes in time.
    let wait = wait.min(lease.saturating_sub(EXCHANGE_BEAT));
    let over = || match arrived.exchange.over(claim) {
        // Its worker touches it there, and goes on.
        Over::Gone(Cause::Moved) => Ok(()),
        over @ (Over::Completed | Over::Gone(_)) => Err(problem(over)),
    };
    let Some(cancelled) = arrived.exchange.cancelled(claim) else { return over() };
    tokio::select! {
        biased;
        () = cancelled.cancelled() => over(),
        () = arrived.connection.half_closed() => Ok(()),
        () = arrived.drain_slot(None) => Ok(()),
        () = sleep(wait) => Ok(()),
    }
}

/// The answer of a claim, or its end.
pub(super) async fn result(arrived: Arrived<'_>, claim: &str, body: RequestBody) -> Answered {
    let method = arrived.parts.method.clone();
    if method != Method::POST && method != Method::DELETE {
        let detail = format!("{method} is not for a claim: send POST with the answer, or DELETE to give it back");
        return arrived.refuse_method("POST, DELETE", detail, body).await;
    }
    // What is not wanted is not read: a late answer may be long.
    if let Err(problem) = only(&arrived.parts, &[]) {
        return Answered { is_read: false, ..Answered::of(problem_response(&problem)) };
    }
    let claim = ClaimId::parse(claim).ok_or(Over::Gone(Cause::Unknown));
    if let Ok(claim) = claim
        && arrived.exchange.find_claim(claim).await.is_err()
    {
        return Answered { is_read: false, ..Answered::of(problem_response(&not_looked_up())) };
    }
    let job = match claim.and_then(|claim| arrived.exchange.take_job(claim)) {
        Ok(job) => job,
        Err(over) => return Answered { is_read: false, ..Answered::of(problem_response(&problem(over))) },
    };
    if method == Method::DELETE {
        job.lost(Lost::GivenBack);
        let is_read = unwanted::read(body, &arrived.parts).await;
        return Answered { is_read, ..Answered::of(empty(StatusCode::NO_CONTENT)) };
    }
    let begun = Instant::now();
    let (response, is_read) = match posted(&arrived, job, body).await {
        Ok(()) => (empty(StatusCode::NO_CONTENT), true),
        Err(problem) => (problem_response(&problem), false),
    };
    Answered { response, is_read, held: begun.elapsed() }
}

async fn posted(arrived: &Arrived<'_>, mut job: Job, mut body: RequestBody) -> Result<(), Problem> {
    if plain::is_message(&arrived.parts.headers) {
        // To post is to touch; the head is still to come.
        arrived.exchange.touch(job.claim()).map_err(problem)?;
        return reverse::message(arrived.exchange, job, body, &arrived.exchanges.tasks).await;
    }
    let (status, headers) = match plain::head(&arrived.parts.headers) {
        Ok(head) => head,
        Err(problem) => {
            // The worker may send a better one.
            arrived.exchange.hold_job(job);
            return Err(problem);
        }
    };
    job.answer(status, headers).map_err(problem)?;
    let (claim, cancelled) = (job.claim(), job.cancelled().clone());
    let over = || problem(arrived.exchange.over(claim));
    loop {
        let frame = tokio::select! {
            biased;
            () = cancelled.cancelled() => return Err(over()),
            frame = body.frame() => frame,
        };
        let Some(frame) = frame else { break };
        // Dropped, the claim is lost within its answer.
        let frame = frame.map_err(|_| Problem::new(Kind::MalformedRequest, "the answer broke off: send all of it"))?;
        if let Ok(data) = frame.into_data() {
            job.write(data).await.map_err(|_| over())?;
        }
    }
    job.finish(None).await.map_err(problem)
}

/// An answer without a claim, for all who share a request for its key.
pub(super) async fn push(arrived: Arrived<'_>, body: RequestBody) -> Answered {
    if arrived.parts.method != Method::POST {
        let detail = format!("{} is not for a push: send POST", arrived.parts.method);
        return arrived.refuse_method("POST", detail, body).await;
    }
    match pushed(&arrived, body).await {
        Ok(consumers) => {
            let mut response = empty(StatusCode::NO_CONTENT);
            insert(response.headers_mut(), EXCHANGE_COMPLETED, &consumers.to_string());
            Answered::of(response)
        }
        Err(problem) => Answered { is_read: false, ..Answered::of(problem_response(&problem)) },
    }
}

async fn pushed(arrived: &Arrived<'_>, body: RequestBody) -> Result<u32, Problem> {
    let config = &arrived.config;
    only(&arrived.parts, &["key"])?;
    let key = key_of(arrived)?;
    if key.is_none() && config.path.has_key() {
        return Err(Problem::parameter("key", "", "say whose answer this is, as key=cam-7"));
    }
    let (status, headers) = plain::head(&arrived.parts.headers)?;
    let most = config.result.bytes;
    let all = http_body_util::Limited::new(body, most).collect();
    let malformed = |why: &str| Problem::new(Kind::MalformedRequest, why);
    let bytes = match timeout(crate::bounds::EXCHANGE_BODY, all).await {
        Ok(Ok(all)) => all.to_bytes(),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            let detail = format!("the answer is longer than {most} bytes (result.bytes): push a shorter one");
            return Err(Problem::new(Kind::BodyTooLarge, detail));
        }
        Ok(Err(_)) => return Err(malformed("the answer broke off: send all of it")),
        Err(_) => return Err(malformed("the answer did not come in time: send it at once")),
    };
    Ok(arrived.exchange.push_to_all(key.as_ref(), &bytes, (status, &headers)).await)
}

/// The claim may be live at another replica.
fn not_looked_up() -> Problem {
    let detail = "the claim is not of this replica, and cannot be moved here, since NATS does not answer: go on with its work, and send \
                  this again";
    Problem::retry(Kind::NotStored, 2, detail)
}

/// Why a claim is of no use.
pub(super) fn problem(over: Over) -> Problem {
    match over {
        Over::Completed => {
            Problem::new(Kind::AlreadyCompleted, format!("{over}: a claim has one answer; poll for the next one"))
        }
        Over::Gone(_) => Problem::new(Kind::ClaimGone, format!("{over}: stop its work, and poll again")),
    }
}
