//! What the list-and-watch loop is at, so that it can wait for that and for a read at the same
//! time, and is cancel-safe.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::time::{Instant, sleep, timeout_at};

use super::api::{Events, Set};
use super::decode::RawEvent;
use super::failure::{Failure, FailureKind};
use super::object::{Malformed, Object};
use crate::bounds::KUBERNETES_LIST_BYTES;
use crate::sources::reads::Number;

/// What the loop is at.
pub(super) enum LoopState {
    Nothing,
    Pausing(BoxFuture<'static, ()>),
    /// A list is under way; it has a number where it also counts as a consistent read.
    Listing(BoxFuture<'static, Result<Set, Failure>>, Option<Number>),
    /// A watch is being opened; `true`: with `sendInitialEvents`.
    Opening(BoxFuture<'static, Result<Events, Failure>>, bool),
    Watching(Events, Option<Initial>),
}

/// What came of it.
pub(super) enum LoopEvent {
    Paused,
    Listed(Result<Set, Failure>, Option<Number>),
    Opened(Result<Events, Failure>, bool),
    Event(Option<Result<RawEvent, Failure>>),
    /// The whole set was shown.
    Synced(Set),
    /// Nothing came in time.
    Due,
}

/// The whole set as a watch shows it, until it is complete.
#[derive(Default)]
pub(super) struct Initial {
    objects: BTreeMap<(Option<String>, String), Object>,
    malformed: Vec<Malformed>,
    bytes: usize,
}

impl LoopState {
    pub(super) fn pausing(pause: Duration) -> Self {
        Self::Pausing(Box::pin(sleep(pause)))
    }

    pub(super) fn watching(events: Events, initial: bool) -> Self {
        Self::Watching(events, initial.then(Initial::default))
    }

    /// Waits for what comes of it; for an event until `due`. Nothing is lost when this is dropped midway.
    pub(super) async fn next(&mut self, due: Option<Instant>) -> LoopEvent {
        match self {
            Self::Nothing => std::future::pending().await,
            Self::Pausing(pause) => {
                pause.as_mut().await;
                LoopEvent::Paused
            }
            Self::Listing(answer, read) => LoopEvent::Listed(answer.as_mut().await, *read),
            Self::Opening(answer, initial) => LoopEvent::Opened(answer.as_mut().await, *initial),
            Self::Watching(events, initial) => {
                let due = due.unwrap_or_else(Instant::now);
                // What lies ready is read first, also where this loop itself was held up beyond `due`.
                let Ok(event) = timeout_at(due, events.next()).await else { return LoopEvent::Due };
                match (event, initial.as_mut()) {
                    (Some(Ok(RawEvent::Bookmark { version, initial_events_end: true })), Some(all)) => {
                        let set = std::mem::take(all).complete(version);
                        *initial = None;
                        LoopEvent::Synced(set)
                    }
                    (event, _) => LoopEvent::Event(event),
                }
            }
        }
    }

    /// Keeps what is part of the whole set, until that is complete; returns what is to be reported now.
    pub(super) fn keep(&mut self, event: RawEvent) -> Result<Option<RawEvent>, Failure> {
        let Self::Watching(_, Some(initial)) = self else { return Ok(Some(event)) };
        match event {
            RawEvent::Applied(object) => initial.add(object)?,
            RawEvent::Deleted(object) => initial.remove(object),
            RawEvent::Malformed(malformed) => initial.malformed.push(malformed),
            RawEvent::Bookmark { .. } => {}
            RawEvent::Error(_) => return Ok(Some(event)),
        }
        Ok(None)
    }
}

impl Initial {
    fn add(&mut self, object: Object) -> Result<(), Failure> {
        self.bytes += object.body.len();
        if self.bytes > KUBERNETES_LIST_BYTES {
            let message = format!("the objects have more than {KUBERNETES_LIST_BYTES} bytes");
            return Err(Failure::new(FailureKind::Malformed, message));
        }
        self.objects.insert((object.namespace.clone(), object.name.clone()), object);
        Ok(())
    }

    fn remove(&mut self, object: Object) {
        self.objects.remove(&(object.namespace, object.name));
    }

    fn complete(self, version: String) -> Set {
        Set { objects: self.objects.into_values().collect(), malformed: self.malformed, version }
    }
}
