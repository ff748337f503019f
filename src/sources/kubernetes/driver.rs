//! PURE. What the list-and-watch loop does next, and which notices it gives; its input is what happened and when.
//!
//! First a consistent list, then watches, each from the position where the last one ended. After
//! one that broke the next shows the whole set first (`sendInitialEvents`), so that nothing is
//! missed in silence where the store is another one since: a plain watch from a version that a
//! restored store has not reached is answered 200 and stays silent. Only what makes the position
//! useless leads to another list: 410, a version that the server has not reached, a watch that
//! fell silent, an answer that the position may have caused, a consistent read that contradicts
//! the stream. Everything else is tried again from the position, so that an overloaded API server
//! is not asked for lists too.

use std::time::{Duration, Instant};

use super::failure::{Failure, FailureKind};
use crate::bounds::{KUBERNETES_CONFIRM, KUBERNETES_SILENCE};
use crate::sources::backoff::Backoff;

mod types;

pub use types::{Action, Contradiction, Input, Notice};

/// A watch that stays open for this long has succeeded, also when it brings nothing. One that ends
/// sooner is not opened again at once.
const STANDS: Duration = Duration::from_secs(5);
/// How much longer than asked a watch may last without a sign of life.
const OVERTIME: Duration = Duration::from_secs(5);
/// How much earlier than asked a watch may end and still have ended on time: the server's clock
/// starts before the head of its answer arrives.
const EARLY: Duration = Duration::from_secs(1);
/// Servers without it name it when they refuse it.
const STREAMING_LISTS: &str = "sendInitialEvents";

/// The state of the loop.
#[derive(Debug)]
pub struct Driver {
    watch_timeout: Duration,
    /// Where the next watch starts.
    position: Option<String>,
    next: Next,
    /// Whether the server can show the whole set at the start of a watch.
    streams: bool,
    /// When a contradiction last led to a list. It may be there to stay: an API server that was kept
    /// running while its etcd was restored lists the past until it is started anew.
    contradicted: Option<Instant>,
    pause: Option<Duration>,
    lists: Backoff,
    watches: Backoff,
    /// Whether the position was of no use since the last watch that stood.
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

/// What follows once nothing is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// By a list.
    List,
    /// By a watch that shows the whole set first: the last one broke.
    Resync,
    /// By a watch from the position.
    Resume,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Contact {
    None,
    Live,
    Lost,
    /// There is no such resource.
    Unknown,
    /// The API server does not know who asks.
    Denied,
    /// It knows, and whoever asks has no right to this.
    Forbidden,
}

/// An open watch.
#[derive(Debug, Clone, Copy)]
struct Watch {
    opened: Instant,
    stood: bool,
    /// It has not shown the whole set yet.
    syncing: bool,
}

impl Contact {
    fn after(failure: FailureKind) -> Self {
        if failure == FailureKind::Forbidden {
            Self::Forbidden
        } else if failure == FailureKind::NotFound {
            Self::Unknown
        } else if failure.is_denial() {
            Self::Denied
        } else {
            Self::Lost
        }
    }
}

impl Driver {
    /// A loop that starts with a list; `watch_timeout` is the longest that a watch is asked to last.
    #[must_use]
    pub fn new(watch_timeout: Duration) -> Self {
        Self {
            watch_timeout,
            position: None,
            next: Next::List,
            streams: true,
            contradicted: None,
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
    pub fn next_action(&mut self, random: f64) -> Action {
        if let Some(pause) = self.pause.take() {
            return Action::Sleep(pause);
        }
        match &self.position {
            Some(version) if self.next != Next::List => {
                // Downward only: the limit has a reason (load balancers that drop what is idle).
                let seconds = self.watch_timeout.mul_f64(1.0 - random / 10.0).as_secs().max(1);
                self.asked = Duration::from_secs(seconds);
                Action::Watch { version: version.clone(), timeout: self.asked, initial: self.next == Next::Resync }
            }
            Some(_) | None => Action::List,
        }
    }

    /// Whether a list is next, or under way.
    #[must_use]
    pub fn is_listing(&self) -> bool {
        self.next == Next::List || self.position.is_none()
    }

    /// Whether the server was in contact last.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.contact == Contact::Live
    }

    /// Whether a watch is open and to be read. Where this is false after an outcome, the watch is to be dropped.
    #[must_use]
    pub fn is_watching(&self) -> bool {
        self.watch.is_some()
    }

    /// Until when to wait for the open watch before [`Input::Due`].
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        let watch = self.watch?;
        let silent = self.silent(watch);
        Some(if watch.stood || watch.syncing { silent } else { silent.min(self.stands(watch)) })
    }

    /// Takes what happened at `now`.
    pub fn on(&mut self, input: Input, now: Instant, random: f64) -> Option<Notice> {
        match input {
            Input::Listed { version } => self.listed(version, now),
            Input::Opened => {
                self.watch = Some(Watch { opened: now, stood: false, syncing: self.next == Next::Resync });
                self.sign.get_or_insert(now);
                None
            }
            Input::Moved { version } => {
                self.sign = Some(now);
                // Within the whole set versions are in no order, and the set counts from its end.
                if !self.watch.is_some_and(|watch| watch.syncing) {
                    self.contact = Contact::Live;
                    if self.advance(version) {
                        self.stood();
                    }
                }
                None
            }
            Input::Synced { version } => {
                self.sign = Some(now);
                self.contact = Contact::Live;
                self.position = Some(version);
                self.next = Next::Resume;
                if let Some(watch) = &mut self.watch {
                    // It has yet to last: what breaks each time it has shown all is not asked at once.
                    watch.syncing = false;
                }
                None
            }
            Input::Contradicted(contradiction) => {
                self.contradicted(contradiction, now);
                None
            }
            Input::Due => self.waited(now),
            Input::Ended => self.ended(now, random),
            Input::Failed(failure) => self.failed(failure, random),
        }
    }

    fn listed(&mut self, version: String, now: Instant) -> Option<Notice> {
        let held = self.position.as_deref().and_then(number);
        let listed = number(&version);
        self.position = Some(version);
        self.next = Next::Resume;
        self.lists.succeeded();
        self.sign = Some(now);
        self.contact = Contact::Live;
        match (held, listed) {
            (Some(held), Some(listed)) if listed < held => Some(Notice::Restored { held, listed }),
            (_, _) => None,
        }
    }

    /// List anew, at once and then at most once in a while.
    fn contradicted(&mut self, contradiction: Contradiction, now: Instant) {
        if self.contradicted.is_some_and(|last| now < last + KUBERNETES_CONFIRM) {
            return;
        }
        self.contradicted = Some(now);
        if contradiction == Contradiction::Older {
            // It is of a history that has ended, which a notice has reported already.
            self.position = None;
        }
        self.watch = None;
        self.next = Next::List;
    }

    fn waited(&mut self, now: Instant) -> Option<Notice> {
        let watch = self.watch?;
        if now >= self.silent(watch) {
            self.watch = None;
            self.next = Next::List;
            return Some(Notice::Silent);
        }
        if now >= self.stands(watch) && !watch.stood && !watch.syncing {
            self.stood();
            self.contact = Contact::Live;
            return Some(Notice::Live);
        }
        None
    }

    fn ended(&mut self, now: Instant, random: f64) -> Option<Notice> {
        let watch = self.watch?;
        if watch.syncing {
            return self
                .failed(Failure::new(FailureKind::Transport, "the watch ended before it had shown all"), random);
        }
        // Else the server, or something on the way to it, stopped.
        let on_time = now + EARLY.min(self.asked / 2) >= watch.opened + self.asked;
        self.next = if on_time { Next::Resume } else { self.after_a_break() };
        if now >= self.stands(watch) {
            self.watch = None;
            return None;
        }
        if watch.stood {
            // It brought something new, so nothing is wrong; yet a server that ends each watch so is not asked at once.
            self.watch = None;
            self.pause = Some(self.watches.failed(random, None));
            return None;
        }
        self.failed(Failure::new(FailureKind::Transport, "the watch ended at once"), random)
    }

    fn failed(&mut self, failure: Failure, random: f64) -> Option<Notice> {
        let listing = self.is_listing();
        self.watch = None;
        // What is silent from now on is the network, and the next watch has its full time.
        self.sign = None;
        if self.next == Next::Resync && !listing && refuses_streaming(&failure) {
            self.streams = false;
            self.next = Next::Resume;
            return Some(Notice::NoStreaming);
        }
        if !listing {
            self.next = self.after_a_break();
        }
        // Both say that the position is of no use, and nothing else is wrong.
        let expired = matches!(failure.kind, FailureKind::Expired | FailureKind::Unreached);
        if expired && !listing {
            self.next = Next::List;
            // At once, unless the list before led here too.
            if !std::mem::replace(&mut self.expired, true) {
                return None;
            }
        }
        let backoff = if listing { &mut self.lists } else { &mut self.watches };
        self.pause = Some(if failure.kind == FailureKind::Timeout {
            Backoff::timed_out(random)
        } else {
            backoff.failed(random, failure.retry_after)
        });
        if failure.kind.needs_list() {
            self.next = Next::List;
        }
        if expired && !listing { None } else { self.lose(failure) }
    }

    fn after_a_break(&self) -> Next {
        if self.streams { Next::Resync } else { Next::Resume }
    }

    fn lose(&mut self, failure: Failure) -> Option<Notice> {
        let contact = Contact::after(failure.kind);
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

    /// Takes a version of the stream, which may repeat or reorder; returns whether it is a new one.
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

/// Whether it is `sendInitialEvents` that a server does not want.
fn refuses_streaming(failure: &Failure) -> bool {
    matches!(failure.kind, FailureKind::Refused | FailureKind::Forbidden) && failure.message.contains(STREAMING_LISTS)
}

/// Versions of one resource type are numbers that can be compared (KEP-5504); what is none has no order.
pub(super) fn number(version: &str) -> Option<u64> {
    version.parse().ok()
}

#[cfg(test)]
mod tests;
