//! The consistent reads of the loop: when they begin, what they result in, and which events follow.

use std::sync::Arc;

use futures::future::BoxFuture;
use tokio::time::{Instant, sleep_until};

use super::api::Set;
use super::driver::{self, Contradiction, Input};
use super::failure::Failure;
use super::metrics::{Cause, InFlight};
use super::order::ReadVerdict;
use super::schedule::Schedule;
use super::{ListWatch, WatchEvent, listing};
use crate::sources::reads::{Number, Reader};

/// A consistent read that is under way.
pub(super) struct Reading {
    number: Number,
    cause: Cause,
    answer: BoxFuture<'static, Result<Set, Failure>>,
    _in_flight: InFlight,
}

#[derive(Debug, Default)]
pub(super) struct Unconfirmed {
    /// Whether an event has reported why.
    reported: bool,
}

impl ListWatch {
    /// Begins a consistent read.
    pub(super) fn read(&mut self) {
        let cause = if self.reader.is_requested() {
            Cause::Requested
        } else if self.schedule.is_scheduled() {
            Cause::Scheduled
        } else {
            Cause::Due
        };
        // Before anything of it is sent: only then did it begin after whoever is waiting for it arrived.
        let number = self.reader.begin();
        self.schedule.begins(Instant::now().into_std(), fastrand::f64());
        self.order.read_begins();
        let api = Arc::clone(&self.api);
        let answer = Box::pin(async move { api.read().await });
        self.reading = Some(Reading { number, cause, answer, _in_flight: self.metrics.reading() });
    }

    pub(super) fn has_read(&mut self, (number, cause, answer): (Number, Cause, Result<Set, Failure>)) {
        match answer {
            Ok(set) => {
                if cause == Cause::Requested {
                    self.schedule.spent(set.bytes(), Instant::now().into_std());
                }
                self.judge(number, cause, set);
            }
            Err(failure) => {
                let verb = if self.is_by_name() { "get" } else { "list" };
                self.metrics.error(failure.kind);
                self.metrics.read(cause, "failed");
                tracing::debug!(target = %self.target, kind = failure.kind.as_str(), "{verb} failed: {}", failure.message);
                self.schedule.failed(failure.retry_after, Instant::now().into_std(), fastrand::f64());
                // Otherwise the watch is still open, and what is held may well be current.
                if self.unconfirmed.as_ref().is_some_and(|unconfirmed| !unconfirmed.reported) {
                    self.unconfirmed = Some(Unconfirmed { reported: true });
                    let lost = self.lost_by(&failure, verb);
                    self.pending.push_back(lost);
                }
            }
        }
    }

    fn judge(&mut self, number: Number, cause: Cause, set: Set) {
        let shown = driver::number(&set.version).filter(|version| *version != 0);
        let verdict = self.order.read(shown);
        self.metrics.read(cause, verdict.as_str());
        self.schedule.answered(verdict == ReadVerdict::Ambiguous);
        match verdict {
            ReadVerdict::Ambiguous => return,
            ReadVerdict::Superseded => self.pending.push_back(WatchEvent::Live),
            ReadVerdict::Same | ReadVerdict::Newer => self.pending.push_back(listing(set)),
            ReadVerdict::Contradicts { how, known } => {
                self.pending.push_back(listing(set));
                self.contradicts(how, known, shown);
            }
        }
        self.unconfirmed = None;
        self.pending.push_back(WatchEvent::ReadCompleted(number));
        self.pending.extend(self.lost.clone());
    }

    fn contradicts(&mut self, how: Contradiction, known: u64, read: Option<u64>) {
        match how {
            Contradiction::Older => {
                self.metrics.restore();
                tracing::warn!(
                    target = %self.target, known, read,
                    "a consistent read is older than what was known: the API server's store was restored from a backup"
                );
            }
            Contradiction::Missed => {
                tracing::warn!(target = %self.target, known, read, "a consistent read shows what the watch has not brought");
            }
        }
        self.drive(Input::Contradicted(how), "watch");
    }
}

/// Waits for the answer to the read that is under way.
pub(super) async fn answered(reading: &mut Option<Reading>) -> (Number, Cause, Result<Set, Failure>) {
    let Some(under_way) = reading else { return std::future::pending().await };
    let answer = under_way.answer.as_mut().await;
    let (number, cause) = (under_way.number, under_way.cause);
    *reading = None;
    (number, cause, answer)
}

pub(super) async fn read_is_due(schedule: &Schedule, reader: &mut Reader) {
    if !reader.is_requested() {
        tokio::select! {
            () = sleep_until(schedule.due(false, Instant::now().into_std()).into()) => return,
            () = reader.requested() => {}
        }
    }
    sleep_until(schedule.due(true, Instant::now().into_std()).into()).await;
}
