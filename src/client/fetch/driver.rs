//! Sends what the chain says, when it says so, until there is a last answer.

use std::time::SystemTime;

use http::Response;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::asked::{Progress, progress};
use super::chain::{At, Broken, Chain, Head, How, Next, Step, seconds};
use super::dial::Dial;
use super::error::FetchError;
use super::fetched::Fetched;
use super::request::{has_key, request};
use super::target::{Origin, Target};
use super::{Cause, Fetch, Pause};
use crate::bounds::{CLIENT_PROBLEM_BYTES, FETCH_ASIDE};
use crate::client::connection::{Connection, Why};
use crate::client::credentials;
use crate::client::line::goes_on;
use crate::client::random::Random;
use crate::escape::escape;

#[cfg(test)]
mod tests;

/// Sends requests, one at a time.
struct Line<'f, D> {
    fetch: &'f Fetch,
    dial: D,
    deadline: Instant,
    random: Random,
    /// A connection that is kept, and where it leads.
    kept: Option<(Origin, bool, Connection)>,
}

pub(super) async fn run(
    fetch: &Fetch,
    target: Target,
    dial: impl Dial,
    random: Random,
    mut told: impl FnMut(&Pause) + Send,
) -> Result<Fetched, FetchError> {
    let deadline = Instant::now() + fetch.deadline;
    let mut line = Line { fetch, dial, deadline, random, kept: None };
    let mut chain = Chain::new(target, fetch.method.clone(), has_key(fetch));
    loop {
        let step = chain.step().clone();
        let Ok(answered) = timeout_at(line.deadline, line.ask(&step)).await else {
            return Err(line.too_late(&step));
        };
        let came = Instant::now();
        let at = line.at(came);
        let (cause, pause) = match answered {
            Err(broken) => {
                let pause = chain.broke(&broken, at)?;
                (Cause::Failed(broken.text), pause)
            }
            Ok((response, connection)) => {
                let head = Head { status: response.status(), fields: response.headers() };
                match chain.answered(&head, at)? {
                    Next::Last => return Ok(line.last(response, connection, &step)),
                    Next::After(pause) => {
                        let status = response.status();
                        let progress = line.aside(response, connection, &step).await;
                        (Cause::Asked(status, progress), pause)
                    }
                }
            }
        };
        if !pause.is_zero() {
            told(&Pause { cause, pause, left: at.left });
            sleep_until(came + pause).await;
        }
    }
}

impl<D: Dial> Line<'_, D> {
    fn at(&mut self, now: Instant) -> At {
        let left = self.deadline.saturating_duration_since(now);
        let since_1970 = wall_clock().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        At { now: since_1970, left, random: self.random.part() }
    }

    fn too_late(&self, step: &Step) -> FetchError {
        let begun = if step.method.is_safe() { "" } else { "; the work may have begun" };
        let deadline = seconds(self.fetch.deadline);
        FetchError::Deadline(format!("{}: no answer within the deadline of {deadline}{begun}", step.target))
    }

    async fn ask(&mut self, step: &Step) -> Result<(Response<Incoming>, Connection), Broken> {
        let broken = |how: How, text: &str| Broken { how, text: format!("{}: {text}", step.target) };
        let mut connection = self.connection(step).await.map_err(|text| broken(How::Unsent, &text))?;
        let authorization = match &self.fetch.token_file {
            Some(file) if step.is_home => {
                let read = credentials::authorization(file).await;
                Some(read.map_err(|failure| broken(How::Unsent, &failure.text))?)
            }
            Some(_) | None => None,
        };
        let response = connection.ask(request(self.fetch, step, authorization)).await.map_err(|unanswered| {
            let sent = if unanswered.is_unsent { How::Unsent } else { How::Sent };
            let text = escape(&unanswered.text).into_owned();
            match unanswered.why {
                Why::Malformed => {
                    broken(How::Malformed, &format!("the answer is no HTTP/1.1, or its head is too large ({text})"))
                }
                Why::Ended(Some(remedy)) => {
                    broken(sent, &format!("the connection ended before an answer ({text}): {remedy}"))
                }
                Why::Ended(None) => broken(sent, &format!("the connection ended before an answer ({text})")),
            }
        })?;
        Ok((response, connection))
    }

    /// The connection that is kept, or a new one. What may not be sent twice goes on a new one: the other side may be about to
    /// end one that was idle.
    async fn connection(&mut self, step: &Step) -> Result<Connection, String> {
        let origin = step.target.origin();
        if let Some((led, was_home, mut connection)) = self.kept.take()
            && (led, was_home) == (origin, step.is_home)
            && step.method.is_idempotent()
            && connection.is_usable().await
        {
            return Ok(connection);
        }
        self.dial.dial(&step.target, step.is_home).await
    }

    fn last(&self, response: Response<Incoming>, connection: Connection, step: &Step) -> Fetched {
        let (mut head, body) = response.into_parts();
        Fetched {
            upgrade: head.extensions.remove(),
            status: head.status,
            version: head.version,
            fields: head.headers,
            url: step.target.to_string(),
            body,
            _connection: connection,
            deadline: self.deadline,
            received: 0,
        }
    }

    /// What an answer that is not the last one says of the work. Its connection is kept if it is read to its end.
    async fn aside(&mut self, response: Response<Incoming>, connection: Connection, step: &Step) -> Progress {
        let goes_on = goes_on(&response);
        let mut bytes = Vec::new();
        let mut body = response.into_body();
        let reading = async {
            while let Some(frame) = body.frame().await {
                let Ok(frame) = frame else { return false };
                bytes.extend_from_slice(frame.data_ref().map_or(&[], |data| data));
                if bytes.len() > CLIENT_PROBLEM_BYTES {
                    return false;
                }
            }
            true
        };
        let until = (Instant::now() + FETCH_ASIDE).min(self.deadline);
        let is_whole = timeout_at(until, reading).await.unwrap_or(false);
        if !is_whole {
            return Progress::default();
        }
        if goes_on {
            self.kept = Some((step.target.origin(), step.is_home, connection));
        }
        progress(&bytes)
    }
}

#[expect(clippy::disallowed_methods, reason = "a Retry-After may be a time of day")]
fn wall_clock() -> SystemTime {
    SystemTime::now()
}
