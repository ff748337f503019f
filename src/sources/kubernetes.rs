//! The list-and-watch loop over the API server, for any resource. Ours and not kube's `watcher`,
//! since the position and the bookmarks say how fresh a state is, and since who retries, and when
//! a list is asked for, is part of what we promise. Beside it the loop reads consistently: when
//! somebody asks ([`Reader`]), and once in a while on its own.
//!
//! [`driver`] decides on lists and watches, [`schedule`] on reads, [`order`] what of all that is
//! shown is new; [`ListWatch`] carries the decisions out and returns each [`WatchEvent`]. Objects come raw
//! ([`Object`]): one that cannot be read affects no other.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use tokio::time::Instant;

use super::reads::{Number, Reader};

mod api;
pub mod client;
pub mod connect_error;
pub mod debounce;
mod decode;
pub mod discover;
pub mod driver;
pub mod failure;
mod kubeconfig;
mod loop_state;
pub mod metrics;
pub mod object;
mod order;
mod reading;
mod schedule;
pub mod set;
pub mod target;
mod token;

use api::{Api, Set};
use decode::RawEvent;
use driver::{Action, Driver, Input, Notice, number};
use failure::{Failure, FailureKind};
use loop_state::{LoopEvent, LoopState};
pub use metrics::Metrics;
pub use object::{Malformed, Object};
use order::Order;
use reading::{Reading, Unconfirmed, answered, read_is_due};
use schedule::Schedule;
pub use target::{Selector, Target};

/// What was seen of the objects.
#[derive(Debug, Clone)]
pub enum WatchEvent {
    /// These, and no other, by a consistent read, or by a watch that shows the set not older than
    /// what was known. It is authoritative, also where a version is lower. By name at most one, always of a read.
    Listed {
        /// All of them.
        objects: Vec<Object>,
        /// Those whose metadata cannot be read.
        malformed: Vec<Malformed>,
        /// The version of the list; by name that of the object. 0: none, or no order.
        version: u64,
    },
    /// This one is new or changed. Repetitions and what is out of order are left out.
    Applied(Object),
    /// This one is gone.
    Deleted(Object),
    /// This one changed somehow.
    Malformed(Malformed),
    /// Nothing new, and the API server is in contact.
    Live,
    /// A consistent read has been answered; what it showed was returned before this.
    ReadCompleted(Number),
    /// The API server cannot be asked. Returned once; any other event ends it.
    Lost {
        /// Why.
        reason: String,
        /// The API server knows no such kind.
        is_unknown: bool,
    },
    /// The API server refuses to be asked. Returned once; any other event ends it.
    Denied {
        /// Why, and the remedy.
        reason: String,
        /// Whoever asks is known, and has no right to this.
        is_forbidden: bool,
    },
}

/// A running loop.
pub struct ListWatch {
    api: Arc<Api>,
    target: Target,
    driver: Driver,
    order: Order,
    schedule: Schedule,
    reader: Reader,
    metrics: Metrics,
    state: LoopState,
    reading: Option<Reading>,
    /// Events to return next: never more than a few.
    pending: VecDeque<WatchEvent>,
    /// By name: list or watch have shown that there may be something new, and no read has confirmed it yet.
    unconfirmed: Option<Unconfirmed>,
    /// The event by which a failure of the watch was returned. A read that succeeds meanwhile does not end the failure.
    lost: Option<WatchEvent>,
}

impl fmt::Debug for ListWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListWatch").field("target", &self.target).field("driver", &self.driver).finish_non_exhaustive()
    }
}

impl ListWatch {
    /// A loop that has not begun. `watch_timeout` is the longest that one watch is asked to last.
    #[must_use]
    pub fn new(client: Client, target: Target, watch_timeout: Duration, metrics: Metrics, reader: Reader) -> Self {
        Self {
            api: Arc::new(Api::new(client, &target)),
            driver: Driver::new(watch_timeout),
            order: Order::new(matches!(target.selector, Selector::Name(_))),
            schedule: Schedule::new(Instant::now().into_std()),
            target,
            reader,
            metrics,
            state: LoopState::Nothing,
            reading: None,
            pending: VecDeque::new(),
            unconfirmed: None,
            lost: None,
        }
    }

    /// Waits for the next event; goes on for ever. It is cancel-safe.
    pub async fn next(&mut self) -> WatchEvent {
        loop {
            if let Some(seen) = self.pending.pop_front() {
                return seen;
            }
            self.proceed();
            let may_read = self.reading.is_none() && (self.is_by_name() || !self.driver.is_listing());
            tokio::select! {
                // A read first: it shows a moment that has passed.
                biased;
                answer = answered(&mut self.reading) => self.has_read(answer),
                () = read_is_due(&self.schedule, &mut self.reader), if may_read => self.read(),
                done = self.state.next(self.driver.due().map(Instant::from_std)) => self.did(done),
            }
        }
    }

    /// How far the objects are known: the position of list and watch, bookmarks included. 0: not yet, or no order.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.order.known()
    }

    fn is_by_name(&self) -> bool {
        matches!(self.target.selector, Selector::Name(_))
    }

    /// Begins what the driver wants next, unless something is under way.
    fn proceed(&mut self) {
        if !matches!(self.state, LoopState::Nothing) {
            return;
        }
        let api = Arc::clone(&self.api);
        self.state = match self.driver.next_action(fastrand::f64()) {
            Action::Sleep(pause) => LoopState::pausing(pause),
            Action::List => {
                self.metrics.list();
                let read = (!self.is_by_name()).then(|| {
                    // The list is a read of its own.
                    self.reading = None;
                    self.schedule.begins(Instant::now().into_std(), fastrand::f64());
                    self.reader.begin()
                });
                LoopState::Listing(Box::pin(async move { api.list().await }), read)
            }
            Action::Watch { version, timeout, initial } => {
                self.metrics.watch();
                LoopState::Opening(Box::pin(async move { api.watch(&version, timeout, initial).await }), initial)
            }
        };
    }

    fn did(&mut self, done: LoopEvent) {
        match done {
            LoopEvent::Paused => self.state = LoopState::Nothing,
            LoopEvent::Listed(answer, read) => {
                self.state = LoopState::Nothing;
                match answer {
                    Ok(set) => self.listed(set, read),
                    Err(failure) => self.fail(failure, "list"),
                }
            }
            LoopEvent::Opened(Ok(events), initial) => {
                self.state = LoopState::watching(events, initial);
                self.drive(Input::Opened, "watch");
            }
            LoopEvent::Opened(Err(failure), _) | LoopEvent::Event(Some(Err(failure))) => {
                self.state = LoopState::Nothing;
                self.fail(failure, "watch");
            }
            LoopEvent::Event(Some(Ok(event))) => self.event(event),
            LoopEvent::Synced(set) => self.synced(set),
            LoopEvent::Event(None) => self.drive(Input::Ended, "watch"),
            LoopEvent::Due => self.drive(Input::Due, "watch"),
        }
    }

    fn listed(&mut self, set: Set, read: Option<Number>) {
        let version = number(&set.version).unwrap_or(0);
        self.drive(Input::Listed { version: set.version.clone() }, "list");
        self.order.listed(version);
        match read {
            Some(number) => {
                self.schedule.answered(false);
                self.pending.push_back(listing(set));
                self.pending.push_back(WatchEvent::ReadCompleted(number));
            }
            None => self.becomes_unconfirmed(),
        }
    }

    fn synced(&mut self, set: Set) {
        let version = number(&set.version).unwrap_or(0);
        self.drive(Input::Synced { version: set.version.clone() }, "watch");
        let is_new = self.order.synced(version);
        if self.is_by_name() {
            self.becomes_unconfirmed();
        } else if is_new {
            self.pending.push_back(listing(set));
        } else {
            // A read has shown more already; the stream goes on from what it shows.
            self.pending.push_back(WatchEvent::Live);
        }
    }

    /// What list and watch show of one object may come from a cache: a read confirms it.
    fn becomes_unconfirmed(&mut self) {
        self.unconfirmed.get_or_insert_default();
        // One that is under way may hang on a connection that died in an outage before this.
        self.reading = None;
        self.schedule.schedule_read();
    }

    fn event(&mut self, event: RawEvent) {
        let event = match self.state.keep(event) {
            Ok(Some(event)) => event,
            // A sign of life, and no more until the set is whole.
            Ok(None) => return self.drive(Input::Moved { version: "0".to_owned() }, "watch"),
            Err(failure) => {
                self.state = LoopState::Nothing;
                return self.fail(failure, "watch");
            }
        };
        match event {
            RawEvent::Applied(object) => self.moved(object.version, WatchEvent::Applied(object)),
            RawEvent::Deleted(object) => self.moved(object.version, WatchEvent::Deleted(object)),
            RawEvent::Malformed(malformed) => self.moved(0, WatchEvent::Malformed(malformed)),
            RawEvent::Bookmark { version, .. } => {
                if let Some(version) = number(&version) {
                    self.order.bookmark(version);
                }
                self.drive(Input::Moved { version }, "watch");
                self.live();
            }
            RawEvent::Error(status) => {
                self.state = LoopState::Nothing;
                self.fail(Failure::of_status(&status), "watch");
            }
        }
    }

    fn moved(&mut self, version: u64, seen: WatchEvent) {
        self.drive(Input::Moved { version: version.to_string() }, "watch");
        if self.order.event(version) {
            self.unconfirmed = None;
            self.pending.push_back(seen);
        } else {
            self.live();
        }
    }

    fn live(&mut self) {
        if self.unconfirmed.is_none() && !matches!(self.pending.back(), Some(WatchEvent::Live)) {
            self.pending.push_back(WatchEvent::Live);
        }
    }

    fn fail(&mut self, failure: Failure, verb: &'static str) {
        self.metrics.error(failure.kind);
        tracing::debug!(target = %self.target, kind = failure.kind.as_str(), "{verb} failed: {}", failure.message);
        self.drive(Input::Failed(failure), verb);
    }

    /// Gives the driver what happened, and acts on its notice.
    fn drive(&mut self, input: Input, verb: &'static str) {
        let notice = self.driver.on(input, Instant::now().into_std(), fastrand::f64());
        let given_up = match self.state {
            LoopState::Watching(..) => !self.driver.is_watching(),
            LoopState::Opening(..) => self.driver.is_listing(),
            LoopState::Nothing | LoopState::Pausing(_) | LoopState::Listing(..) => false,
        };
        if given_up {
            self.state = LoopState::Nothing;
        }
        if self.driver.is_live() {
            self.lost = None;
        }
        match notice {
            None => {}
            Some(Notice::Live) => self.live(),
            Some(Notice::Lost(failure)) => {
                let lost = self.lost_by(&failure, verb);
                self.lost = Some(lost.clone());
                self.pending.push_back(lost);
            }
            Some(Notice::Silent) => {
                self.metrics.error(FailureKind::Silent);
                tracing::info!(target = %self.target, "the watch fell silent; listing");
            }
            Some(Notice::NoStreaming) => {
                tracing::info!(
                    target = %self.target,
                    "the API server does not offer sendInitialEvents: a watch that broke goes on from its position"
                );
            }
            Some(Notice::Restored { held, listed }) => {
                self.metrics.restore();
                tracing::warn!(
                    target = %self.target, held, listed,
                    "the list is older than what was known: the API server's store was restored from a backup"
                );
            }
        }
    }

    fn lost_by(&self, failure: &Failure, verb: &str) -> WatchEvent {
        let reason = failure.sentence(verb, &self.target);
        if failure.kind.is_denial() {
            return WatchEvent::Denied { reason, is_forbidden: failure.kind == FailureKind::Forbidden };
        }
        // By name it may be the object that is not there.
        let is_list = matches!(self.target.selector, Selector::Labels(_));
        WatchEvent::Lost { reason, is_unknown: is_list && failure.kind == FailureKind::NotFound }
    }
}

fn listing(Set { objects, malformed, version }: Set) -> WatchEvent {
    WatchEvent::Listed { objects, malformed, version: number(&version).unwrap_or(0) }
}

#[cfg(test)]
pub(crate) mod script;
#[cfg(test)]
mod tests;
