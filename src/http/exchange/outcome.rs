//! What consumers are told: the answer of a worker, that they are to come back, or why there is no answer.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use tokio_util::sync::CancellationToken;

use super::bodies::{Waits, WorkerBody};
use super::{Answered, empty, insert, problem_response};
use crate::bounds::{EXCHANGE_GRACE, EXCHANGE_JITTER, EXCHANGE_SILENT};
use crate::describe::Problem;
use crate::describe::problem::Kind;
use crate::exchange::Consumer;
use crate::exchange::core::{Failure, Pending};
use crate::exchange::entry::Outcome;
use crate::http::response::Body;
use crate::protocol::fields::{EXCHANGE_ITEM, OPERATION_LOCATION, PREFERENCE_APPLIED};

/// What of an outcome a consumer gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wants {
    All,
    /// Its head, and it is answered with that.
    Head,
    /// Its head, to see how it is: the answer stays for who comes next.
    Look,
}

/// The answer to a consumer whose item has an outcome.
pub(super) fn ended(mut consumer: Consumer, outcome: Outcome, wants: Wants, end: &CancellationToken) -> Response<Body> {
    let answer = match outcome {
        Outcome::Answer(answer) => answer,
        Outcome::Failed(failure) => return problem_response(&problem(failure)),
        Outcome::Pending => return problem_response(&gone()),
    };
    let body = match wants {
        Wants::Head => {
            consumer.served();
            Body::Empty
        }
        Wants::Look => {
            consumer.stays(EXCHANGE_GRACE);
            Body::Empty
        }
        Wants::All => match consumer.read(&answer) {
            Some(reader) => {
                let reading = Waits::new(consumer, end, length(answer.status, &answer.headers));
                Body::Exchange(WorkerBody::Answer(reader, Box::new(reading)))
            }
            None => return problem_response(&gone()),
        },
    };
    let mut response = Response::new(body);
    *response.status_mut() = answer.status;
    *response.headers_mut() = answer.headers.clone();
    if answer.status == StatusCode::NO_CONTENT {
        // It has no body (RFC 9110, section 8.6), whatever the worker says.
        response.headers_mut().remove(header::CONTENT_LENGTH);
    }
    response
}

/// How long the body of an answer is, where that is known (RFC 9112, section 6.3).
fn length(status: StatusCode, headers: &HeaderMap) -> Option<u64> {
    if matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        return Some(0);
    }
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// An answer that is not here any more.
pub(super) fn gone() -> Problem {
    let detail =
        "the answer is not here any more: it was read, was kept for its time, or the request was deleted; ask anew";
    Problem::new(Kind::ResultGone, detail)
}

/// The request is not whole.
pub(super) fn broken() -> Problem {
    let seconds = EXCHANGE_SILENT.as_secs();
    let detail = format!("the body broke off, or nothing of it came for {seconds} s: send all of it at once");
    Problem::new(Kind::MalformedRequest, detail)
}

/// Why there is no answer.
fn problem(failure: Failure) -> Problem {
    match failure {
        Failure::NotClaimed => Problem::retry(
            Kind::NotClaimed,
            5,
            "no worker took the request in time (queue.age): nothing was done, send it again",
        ),
        Failure::NoWorker => {
            Problem::retry(Kind::NoWorker, 5, "no worker has been here for long (noWorker.after): send it again")
        }
        Failure::Removed => Problem::retry(
            Kind::NotClaimed,
            5,
            "the exchange was removed before a worker took the request: nothing was done, it may be sent elsewhere",
        ),
        Failure::TooSlow => Problem::new(
            Kind::WorkerTooSlow,
            "a worker took the request, and its answer did not begin in time (deadline): the work may have been done",
        ),
        Failure::Broke => Problem::new(
            Kind::WorkerBroke,
            "a worker that may have begun is gone, and no other has finished the request: the work may have been done; another \
             worker is given it, up to attempts, where its method is idempotent, it has an Idempotency-Key, or the exchange \
             says repeat: always",
        ),
        Failure::GraceOver => Problem::new(
            Kind::WorkerBroke,
            "a worker has the request, and has not answered within the grace period (--grace), with which the exchange or this server \
             ends: the work may have been done",
        ),
        Failure::Malformed => {
            Problem::new(Kind::WorkerMalformed, "what the worker answered is not HTTP: look at its log")
        }
        Failure::Cut => {
            Problem::new(Kind::WorkerBroke, "the worker broke off within its answer: the work may have been done")
        }
        Failure::BodyBroke => broken(),
        Failure::Deleted => gone(),
        // Of one that waits others can think so alone.
        Failure::Abandoned => Problem::new(
            Kind::WorkerBroke,
            "this server was silent for long, and others took it for gone: the work may have been done, or begun",
        ),
    }
}

/// How a consumer is told to come back.
pub(super) struct Back {
    /// The URL to come back to.
    pub(super) location: String,
    /// 202 and not 303.
    pub(super) accepted: bool,
    /// It does not wait.
    pub(super) is_async: bool,
}

/// Tells a consumer to come back.
pub(super) fn come_back(
    consumer: Consumer,
    pending: Pending,
    Back { location, accepted, is_async }: Back,
) -> Response<Body> {
    let retry_after =
        Duration::from_secs(pending.retry_after.into()).mul_f64(fastrand::f64().mul_add(EXCHANGE_JITTER, 1.0));
    let retry_after = Duration::from_secs((retry_after + Duration::from_millis(500)).as_secs());
    let body = serde_json::json!({
        "state": pending.state,
        "position": pending.position,
        "retryAfter": retry_after.as_secs(),
    });
    let mut response = empty(if accepted { StatusCode::ACCEPTED } else { StatusCode::SEE_OTHER });
    let headers = response.headers_mut();
    insert(headers, header::LOCATION, &location);
    insert(headers, header::RETRY_AFTER, &retry_after.as_secs().to_string());
    insert(headers, EXCHANGE_ITEM, &consumer.entry().id.to_string());
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if is_async {
        insert(headers, OPERATION_LOCATION, &location);
    }
    *response.body_mut() = Body::Whole { bytes: Some(format!("{body}\n").into()), fan_out: None };
    consumer.told(retry_after);
    response
}

/// Says which preferences were followed.
pub(super) fn applied(mut answered: Answered, wait: Option<u64>, is_async: bool) -> Answered {
    let words = [is_async.then(|| "respond-async".to_owned()), wait.map(|seconds| format!("wait={seconds}"))];
    let words: Vec<_> = words.into_iter().flatten().collect();
    if !words.is_empty() {
        insert(answered.response.headers_mut(), PREFERENCE_APPLIED, &words.join(", "));
    }
    answered
}
