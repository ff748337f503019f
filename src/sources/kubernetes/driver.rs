//! PURE. What the list-and-watch loop does next, and what it has to say; told what happened and when.
//!
//! First a consistent list, then watches, each from the position where the last one ended. Only
//! what makes the position useless leads to another list: 410, a watch that fell silent, or an
//! answer that the position may have caused. Everything else is tried again from the position, so
//! that an overloaded API server is not asked for lists too.

use std::time::Duration;

use tokio::time::Instant;

use super::failure::{Failure, FailureKind};
use crate::bounds::KUBERNETES_SILENCE;
use crate::sources::backoff::Backoff;

/// A watch that stays open for this long has succeeded, also when it brings nothing. One that ends
/// sooner is not opened again at once.
const STANDS: Duration = Duration::from_secs(5);
/// How much longer than asked a watch may last without a sign of life.
const OVERTIME: Duration = Duration::from_secs(5);

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A list without a resourceVersion: a consistent read.
    List,
    /// A watch from a position.
    Watch {
        /// The position.
        version: String,
        /// Ask the server to end it after this long: whole seconds, at least one.
        timeout: Duration,
    },
    /// Nothing, for so long.
    Sleep(Duration),
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// A list was answered.
    Listed {
        /// The version of the list, not of an object in it.
        version: String,
    },
    /// The head of a watch was answered.
    Opened,
    /// A watch brought an event or a bookmark.
    Moved {
        /// Its version.
        version: String,
    },
    /// Nothing came until [`Driver::due`].
    Due,
    /// A watch ended as it should.
    Ended,
    /// A list or watch failed; an ERROR event is a failure too.
    Failed(Failure),
}

/// What is to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// The server is in contact, and there is nothing new.
    Live,
    /// Contact was lost, or a denial took the place of another failure; not told again on each retry.
    Lost(Failure),
    /// A watch was given up for its silence.
    Silent,
    /// A list is older than what was known: the store went back in time. The list is the truth.
    Restored {
        /// The position that was held.
        held: u64,
        /// The version that the list showed.
        listed: u64,
    },
}

/// The state of the loop.
#[derive(Debug)]
pub struct Driver {
    random: fastrand::Rng,
    watch_timeout: Duration,
    /// Where the next watch starts.
    position: Option<String>,
    /// Whether a list must come before the next watch.
    list: bool,
    pause: Option<Duration>,
    lists: Backoff,
    watches: Backoff,
    /// Whether a 410 came since the last watch that stood.
    expired: bool,
    contact: Contact,
    watch: Option<Watch>,
    /// The last sign of life; it outlasts a watch that ended as it should. A watch from a version
    /// that the store has not reached (it was restored from a backup) is answered 200 and brings
    /// nothing, not even bookmarks: renewed in silence it would go on for ever.
    sign: Option<Instant>,
    /// What the last watch was asked to last.
    asked: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Contact {
    None,
    Live,
    Lost,
    Denied,
}

/// An open watch.
#[derive(Debug, Clone, Copy)]
struct Watch {
    opened: Instant,
    stood: bool,
}

impl Driver {
    /// A loop that starts with a list; `watch_timeout` is the longest that a watch is asked to last.
    #[must_use]
    pub fn new(watch_timeout: Duration, random: fastrand::Rng) -> Self {
        Self {
            random,
            watch_timeout,
            position: None,
            list: true,
            pause: None,
            lists: Backoff::default(),
            watches: Backoff::default(),
            expired: false,
            contact: Contact::None,
            watch: None,
            sign: None,
            asked: watch_timeout,
        }
    }

    /// What to do next; called once for each step, and not while a watch is open.
    pub fn step(&mut self) -> Step {
        if let Some(pause) = self.pause.take() {
            return Step::Sleep(pause);
        }
        match &self.position {
            Some(version) if !self.list => {
                // Downward only: the limit has a reason (load balancers that drop what is idle).
                let seconds = self.watch_timeout.mul_f64(1.0 - self.random.f64() / 10.0).as_secs().max(1);
                self.asked = Duration::from_secs(seconds);
                Step::Watch { version: version.clone(), timeout: self.asked }
            }
            Some(_) | None => Step::List,
        }
    }

    /// Whether a watch is open and to be read. Where this is false after an outcome, the watch is to be dropped.
    #[must_use]
    pub fn is_watching(&self) -> bool {
        self.watch.is_some()
    }

    /// Until when to wait for the open watch before [`Outcome::Due`].
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        let watch = self.watch?;
        let silent = self.silent(watch);
        Some(if watch.stood { silent } else { silent.min(self.stands(watch)) })
    }

    /// Takes what happened at `now`.
    pub fn on(&mut self, outcome: Outcome, now: Instant) -> Option<Notice> {
        match outcome {
            Outcome::Listed { version } => self.listed(version, now),
            Outcome::Opened => {
                self.watch = Some(Watch { opened: now, stood: false });
                self.sign.get_or_insert(now);
                None
            }
            Outcome::Moved { version } => {
                self.sign = Some(now);
                self.contact = Contact::Live;
                if self.advance(version) {
                    self.stood();
                }
                None
            }
            Outcome::Due => self.waited(now),
            Outcome::Ended => self.ended(now),
            Outcome::Failed(failure) => self.failed(failure),
        }
    }

    fn listed(&mut self, version: String, now: Instant) -> Option<Notice> {
        let held = self.position.as_deref().and_then(number);
        let listed = number(&version);
        self.position = Some(version);
        self.list = false;
        self.lists.succeeded();
        self.sign = Some(now);
        self.contact = Contact::Live;
        match (held, listed) {
            (Some(held), Some(listed)) if listed < held => Some(Notice::Restored { held, listed }),
            (_, _) => None,
        }
    }

    fn waited(&mut self, now: Instant) -> Option<Notice> {
        let watch = self.watch?;
        if now >= self.silent(watch) {
            self.watch = None;
            self.list = true;
            return Some(Notice::Silent);
        }
        if now >= self.stands(watch) && !watch.stood {
            self.stood();
            self.contact = Contact::Live;
            return Some(Notice::Live);
        }
        None
    }

    fn ended(&mut self, now: Instant) -> Option<Notice> {
        let watch = self.watch?;
        if now >= self.stands(watch) {
            self.watch = None;
            return None;
        }
        if watch.stood {
            // It brought something new, so nothing is wrong; yet a server that ends each watch so is not asked at once.
            self.watch = None;
            self.pause = Some(self.watches.failed(self.random.f64(), None));
            return None;
        }
        self.failed(Failure::new(FailureKind::Transport, "the watch ended at once"))
    }

    fn failed(&mut self, failure: Failure) -> Option<Notice> {
        let listing = self.list || self.position.is_none();
        self.watch = None;
        // What is silent from now on is the network, and the next watch has its full time.
        self.sign = None;
        let expired = failure.kind == FailureKind::Expired;
        if expired && !listing {
            self.list = true;
            // At once, unless the list before led here too.
            if !std::mem::replace(&mut self.expired, true) {
                return None;
            }
        }
        let random = self.random.f64();
        let backoff = if listing { &mut self.lists } else { &mut self.watches };
        self.pause = Some(if failure.kind == FailureKind::Timeout {
            Backoff::timed_out(random)
        } else {
            backoff.failed(random, failure.retry_after)
        });
        self.list |= failure.kind.needs_list();
        if expired && !listing { None } else { self.lose(failure) }
    }

    fn lose(&mut self, failure: Failure) -> Option<Notice> {
        let contact = if failure.kind.is_denial() { Contact::Denied } else { Contact::Lost };
        let before = std::mem::replace(&mut self.contact, contact);
        (before != contact).then_some(Notice::Lost(failure))
    }

    fn stood(&mut self) {
        self.watches.succeeded();
        self.expired = false;
        if let Some(watch) = &mut self.watch {
            watch.stood = true;
        }
    }

    /// Takes a version of the stream, which may repeat or reorder; says whether it is a new one.
    fn advance(&mut self, version: String) -> bool {
        let held = self.position.as_deref().and_then(number);
        let new = match (held, number(&version)) {
            (Some(held), Some(version)) => version > held,
            (_, _) => self.position.as_deref() != Some(&version),
        };
        if new {
            self.position = Some(version);
        }
        new
    }

    fn stands(&self, watch: Watch) -> Instant {
        watch.opened + STANDS.min(self.asked / 2)
    }

    fn silent(&self, watch: Watch) -> Instant {
        let sign = self.sign.unwrap_or(watch.opened);
        (sign + KUBERNETES_SILENCE).min(sign.max(watch.opened) + self.asked + OVERTIME)
    }
}

/// Versions of one resource type are numbers that can be compared (KEP-5504); what is none has no order.
pub(super) fn number(version: &str) -> Option<u64> {
    version.parse().ok()
}

#[cfg(test)]
mod tests;
