//! PURE. What becomes of an answer: it is the last one, or there is another request, when and where. Nothing here knows a clock
//! or a socket: times and random numbers are given.

use std::time::Duration;

use http::{HeaderMap, HeaderName, Method, StatusCode, header};

use super::asked::retry_after;
use super::error::FetchError;
use super::target::{Origin, Target, shown};
use crate::bounds::{CLIENT_BACKOFF_LEAST, FETCH_LOOK, FETCH_PAUSE_LEAST, FETCH_REDIRECTS};
use crate::client::pace::{Pace, doubled};

#[cfg(test)]
mod tests;

/// What the `Operation-Location` of an answer is called.
const OPERATION_LOCATION: HeaderName = HeaderName::from_static("operation-location");

/// A request of a fetch.
#[derive(Debug, Clone)]
pub(super) struct Step {
    pub(super) target: Target,
    pub(super) method: Method,
    /// It is the one that was asked for, with its body and its key, if elsewhere; else it looks for what that came to.
    pub(super) is_original: bool,
    /// It may carry credentials: it goes to the origin that was given, and no other one has led there.
    pub(super) is_home: bool,
}

/// The head of an answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head<'a> {
    pub(super) status: StatusCode,
    pub(super) fields: &'a HeaderMap,
}

/// Times and chances at which something came.
#[derive(Debug, Clone, Copy)]
pub(super) struct At {
    /// Since 1970.
    pub(super) now: Duration,
    /// Until the deadline.
    pub(super) left: Duration,
    /// In 0..1.
    pub(super) random: f64,
}

/// What becomes of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// It is the last one.
    Last,
    /// The chain has its next request, which is sent after this.
    After(Duration),
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Broken {
    pub(super) how: How,
    /// Who was asked, the cause and the remedy.
    pub(super) text: String,
}

/// How far a request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// Nothing of it was written.
    Unsent,
    /// It may have reached whom it was for.
    Sent,
    /// What came is no answer.
    Malformed,
}

/// The requests of a fetch, one after the other.
#[derive(Debug)]
pub(super) struct Chain {
    step: Step,
    home: Origin,
    /// A request that is sent again is done once.
    has_key: bool,
    /// Somebody was there.
    has_met: bool,
    /// Redirects in a row without `Retry-After`.
    straight: u32,
    /// Looks in a row at work whose answers do not say when.
    looks: u32,
    pace: Pace,
}

impl Chain {
    pub(super) fn new(target: Target, method: Method, has_key: bool) -> Self {
        let home = target.origin();
        let step = Step { target, method, is_original: true, is_home: true };
        Self { step, home, has_key, has_met: false, straight: 0, looks: 0, pace: Pace::default() }
    }

    /// The request to send now.
    pub(super) fn step(&self) -> &Step {
        &self.step
    }

    /// An answer came.
    pub(super) fn answered(&mut self, head: &Head<'_>, at: At) -> Result<Next, FetchError> {
        self.has_met = true;
        self.pace.succeeded();
        let asked = retry_after(head.fields, at.now);
        match head.status.as_u16() {
            301 | 302 | 303 | 307 | 308 => self.redirected(head, asked, at),
            202 => self.accepted(head, asked, at),
            // They say that nothing was done (RFC 9110, 15.6.4; RFC 6585, 4): the same request is safe to send again.
            429 | 503 => match asked {
                // Not all at the same moment, should a proxy have written it.
                Some(asked) => self.pause(head, asked, at.random / 10.0, at),
                None => Ok(Next::Last),
            },
            _ => Ok(Next::Last),
        }
    }

    fn redirected(&mut self, head: &Head<'_>, asked: Option<Duration>, at: At) -> Result<Next, FetchError> {
        let Some(there) = self.leads_to(head, &[header::LOCATION])? else { return Ok(Next::Last) };
        let next = match asked {
            Some(asked) => {
                self.straight = 0;
                self.pause(head, asked, 0.0, at)?
            }
            None if self.straight == FETCH_REDIRECTS => {
                let text = format!(
                    "{there}: it is the end of {FETCH_REDIRECTS} redirects in a row of which none has Retry-After: see that they are no loop"
                );
                return Err(FetchError::Redirects(text));
            }
            None => {
                self.straight += 1;
                Next::After(Duration::ZERO)
            }
        };
        // A POST becomes a GET by 301 and 302, as all clients have it.
        let is_post = self.step.method == Method::POST;
        self.goes_to(there, head.status == StatusCode::SEE_OTHER || (head.status.as_u16() < 303 && is_post));
        Ok(next)
    }

    fn accepted(&mut self, head: &Head<'_>, asked: Option<Duration>, at: At) -> Result<Next, FetchError> {
        let there = self.leads_to(head, &[header::LOCATION, OPERATION_LOCATION])?;
        let is_safe = matches!(self.step.method, Method::GET | Method::HEAD);
        let there = match there {
            Some(there) => there,
            // This is the work, or one that asks to come back: to send anything else again would begin it once more.
            None if !self.step.is_original || (is_safe && asked.is_some()) => self.step.target.clone(),
            None => return Ok(Next::Last),
        };
        self.straight = 0;
        let next = if let Some(asked) = asked {
            self.looks = 0;
            self.pause(head, asked, 0.0, at)?
        } else {
            let pause = doubled(FETCH_LOOK, self.looks).min(at.left.saturating_sub(FETCH_PAUSE_LEAST));
            self.looks = self.looks.saturating_add(1);
            self.pause(head, pause, 0.0, at)?
        };
        self.goes_to(there, true);
        Ok(next)
    }

    /// Where the first of these fields leads.
    fn leads_to(&self, head: &Head<'_>, names: &[HeaderName]) -> Result<Option<Target>, FetchError> {
        let Some((name, value)) = names.iter().find_map(|name| Some((name, head.fields.get(name)?))) else {
            return Ok(None);
        };
        let text = String::from_utf8_lossy(value.as_bytes());
        self.step.target.join(&text).map(Some).map_err(|wrong| {
            let (here, status, text) = (&self.step.target, head.status.as_u16(), shown(&text));
            let name = if *name == header::LOCATION { "Location" } else { "Operation-Location" };
            FetchError::Location(format!("{here}: the {status} has the {name} \"{text}\", which {wrong}"))
        })
    }

    fn goes_to(&mut self, target: Target, looks: bool) {
        let step = &mut self.step;
        step.is_home = step.is_home && target.origin() == self.home;
        step.target = target;
        if looks {
            step.is_original = false;
            if step.method != Method::HEAD {
                step.method = Method::GET;
            }
        }
    }

    /// After what was asked for, and up to so large a part of it more where the deadline allows that.
    fn pause(&self, head: &Head<'_>, asked: Duration, more: f64, at: At) -> Result<Next, FetchError> {
        let asked = asked.max(FETCH_PAUSE_LEAST);
        if asked >= at.left {
            let (here, status, [asked, left]) = (&self.step.target, head.status, [asked, at.left].map(seconds));
            let text = format!(
                "{here}: {status}: it is to be asked again after {asked}, and {left} of the deadline are left: give it more time"
            );
            return Err(FetchError::Deadline(text));
        }
        let latest = asked.max(at.left.saturating_sub(FETCH_PAUSE_LEAST));
        Ok(Next::After(asked.mul_f64(1.0 + more).min(latest)))
    }

    /// No answer came: after how long the same request is sent again.
    pub(super) fn broke(&mut self, broken: &Broken, at: At) -> Result<Duration, FetchError> {
        let text = broken.text.clone();
        let is_repeatable = self.step.method.is_idempotent() || (self.step.is_original && self.has_key);
        match broken.how {
            How::Malformed if self.step.method.is_safe() => return Err(FetchError::Malformed(text)),
            How::Malformed => return Err(FetchError::Malformed(format!("{text}; the work may have begun"))),
            // At once, as people expect: it is a wrong name, more often than one that is away for a moment.
            How::Unsent if !self.has_met => return Err(FetchError::Unreachable(text)),
            How::Sent if !is_repeatable => {
                let text = format!(
                    "{text}: the work may have begun, so it is not asked for again (an Idempotency-Key would allow that)"
                );
                return Err(FetchError::MayHaveBegun(text));
            }
            How::Unsent | How::Sent => self.has_met = true,
        }
        let pause = self.pace.failed(at.random).min(at.left.mul_f64(at.random));
        if at.left <= CLIENT_BACKOFF_LEAST {
            return Err(FetchError::Deadline(format!("{text}; the deadline is over")));
        }
        Ok(pause.max(CLIENT_BACKOFF_LEAST))
    }
}

/// A length of time for people.
pub(super) fn seconds(time: Duration) -> String {
    if time >= Duration::from_secs(10) || time.subsec_millis() < 50 {
        return format!("{} s", time.as_secs());
    }
    format!("{:.1} s", time.as_secs_f64())
}
