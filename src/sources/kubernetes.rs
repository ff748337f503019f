//! The list-and-watch loop over the API server, for any resource. Ours and not kube's `watcher`,
//! since the position and the bookmarks say how fresh a state is, and since who retries, and when
//! a list is asked for, is part of what we promise.
//!
//! [`driver`] decides, [`ListWatch`] does it and says what it has [`Seen`], [`fold`] keeps the order.

use std::fmt;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::BoxStream;
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::{Api, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::bounds::KUBERNETES_REQUEST;

pub mod client;
pub mod driver;
pub mod failure;
pub mod fold;
pub mod metrics;

use driver::{Driver, Notice, Outcome, Step};
use failure::{Failure, FailureKind};
pub use failure::{Selector, Target};
pub use metrics::Metrics;

/// What was seen of the objects.
#[derive(Debug, Clone)]
pub enum Seen<K> {
    /// These, and no other, by a consistent read.
    Listed {
        /// All of them.
        objects: Vec<K>,
        /// The version of the list.
        version: String,
    },
    /// This one is new or changed. Events may come twice and in another order.
    Applied(K),
    /// This one is gone.
    Deleted(K),
    /// Nothing new, and the API server is in contact.
    Live,
    /// The API server cannot be asked. Told once; any other thing seen ends it.
    Lost {
        /// Why.
        reason: String,
    },
    /// The API server refuses to be asked. Told once; any other thing seen ends it.
    Denied {
        /// Why, and the remedy.
        reason: String,
    },
}

/// A running loop.
pub struct ListWatch<K> {
    api: Api<K>,
    target: Target,
    driver: Driver,
    metrics: Metrics,
    watch: Option<BoxStream<'static, kube::Result<WatchEvent<K>>>>,
}

impl<K> fmt::Debug for ListWatch<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListWatch").field("target", &self.target).field("driver", &self.driver).finish_non_exhaustive()
    }
}

impl<K> ListWatch<K>
where
    K: Resource + Clone + fmt::Debug + DeserializeOwned + Send + 'static,
{
    /// A loop that has not begun. `api` is of the target's namespace; `watch_timeout` is the
    /// longest that one watch is asked to last.
    #[must_use]
    pub fn new(api: Api<K>, target: Target, watch_timeout: Duration, metrics: Metrics) -> Self {
        let driver = Driver::new(watch_timeout, fastrand::Rng::new());
        Self { api, target, driver, metrics, watch: None }
    }

    /// Waits for the next thing seen; goes on for ever. To be awaited to its end or dropped with
    /// the loop: a call that is dropped midway loses the pause that it was in.
    pub async fn next(&mut self) -> Seen<K> {
        loop {
            let seen = if self.watch.is_some() {
                self.read().await
            } else {
                match self.driver.step() {
                    Step::List => self.list().await,
                    Step::Watch { version, timeout } => self.open(&version, timeout).await,
                    Step::Sleep(pause) => {
                        sleep(pause).await;
                        None
                    }
                }
            };
            if let Some(seen) = seen {
                return seen;
            }
        }
    }

    async fn list(&mut self) -> Option<Seen<K>> {
        self.metrics.list();
        // Neither limit nor version: all pages at once, and a consistent read.
        let params = match &self.target.selector {
            Selector::Name(name) => ListParams::default().fields(&format!("metadata.name={name}")),
            Selector::Labels(labels) => ListParams::default().labels(labels),
        };
        let answer = match timeout(KUBERNETES_REQUEST, self.api.list(&params)).await {
            Ok(Ok(list)) => list.metadata.resource_version.clone().filter(|version| !version.is_empty()).map_or_else(
                || Err(Failure::new(FailureKind::Malformed, "the list has no resourceVersion")),
                |version| Ok((list.items, version)),
            ),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(no_answer()),
        };
        match answer {
            Ok((objects, version)) => {
                // A restore is logged; the list itself is what counts.
                let _ = self.tell(Outcome::Listed { version: version.clone() }, "list");
                Some(Seen::Listed { objects, version })
            }
            Err(failure) => self.fail(failure, "list"),
        }
    }

    async fn open(&mut self, version: &str, lasting: Duration) -> Option<Seen<K>> {
        self.metrics.watch();
        let seconds = u32::try_from(lasting.as_secs()).unwrap_or(u32::MAX);
        let params = WatchParams::default().timeout(seconds);
        let params = match &self.target.selector {
            Selector::Name(name) => params.fields(&format!("metadata.name={name}")),
            Selector::Labels(labels) => params.labels(labels),
        };
        match timeout(KUBERNETES_REQUEST, self.api.watch(&params, version)).await {
            Ok(Ok(events)) => {
                self.watch = Some(events.boxed());
                self.tell(Outcome::Opened, "watch")
            }
            Ok(Err(error)) => self.fail(error.into(), "watch"),
            Err(_) => self.fail(no_answer(), "watch"),
        }
    }

    async fn read(&mut self) -> Option<Seen<K>> {
        let (Some(watch), Some(due)) = (&mut self.watch, self.driver.due()) else {
            self.watch = None;
            return None;
        };
        // What lies ready is read first, also where this loop itself was held up beyond `due`.
        let Ok(event) = timeout_at(due, watch.next()).await else {
            return self.tell(Outcome::Due, "watch");
        };
        match event {
            Some(Ok(WatchEvent::Added(object) | WatchEvent::Modified(object))) => {
                self.moved(&object);
                Some(Seen::Applied(object))
            }
            Some(Ok(WatchEvent::Deleted(object))) => {
                self.moved(&object);
                Some(Seen::Deleted(object))
            }
            Some(Ok(WatchEvent::Bookmark(bookmark))) => {
                let version = bookmark.metadata.resource_version;
                self.tell(Outcome::Moved { version }, "watch").or(Some(Seen::Live))
            }
            Some(Ok(WatchEvent::Error(status))) => self.fail(Failure::of_status(&status), "watch"),
            Some(Err(error)) => self.fail(error.into(), "watch"),
            None => self.tell(Outcome::Ended, "watch"),
        }
    }

    fn moved(&mut self, object: &K) {
        if let Some(version) = object.resource_version() {
            // Says nothing by itself: the object does.
            let _ = self.tell(Outcome::Moved { version }, "watch");
        }
    }

    fn fail(&mut self, failure: Failure, verb: &'static str) -> Option<Seen<K>> {
        self.metrics.error(failure.kind);
        tracing::debug!(target = %self.target, kind = failure.kind.as_str(), "{verb} failed: {}", failure.message);
        self.tell(Outcome::Failed(failure), verb)
    }

    /// Tells the driver what happened, and the world what the driver has to say.
    fn tell(&mut self, outcome: Outcome, verb: &'static str) -> Option<Seen<K>> {
        let notice = self.driver.on(outcome, Instant::now());
        if !self.driver.is_watching() {
            self.watch = None;
        }
        match notice? {
            Notice::Live => Some(Seen::Live),
            Notice::Lost(failure) => {
                let reason = failure.sentence(verb, &self.target);
                Some(if failure.kind.is_denial() { Seen::Denied { reason } } else { Seen::Lost { reason } })
            }
            Notice::Silent => {
                self.metrics.error(FailureKind::Silent);
                tracing::info!(target = %self.target, "the watch fell silent; listing");
                None
            }
            Notice::Restored { held, listed } => {
                self.metrics.restore();
                tracing::warn!(
                    target = %self.target, held, listed,
                    "the list is older than what was known: the API server's store was restored from a backup"
                );
                None
            }
        }
    }
}

fn no_answer() -> Failure {
    Failure::new(FailureKind::Timeout, format!("no answer within {} s", KUBERNETES_REQUEST.as_secs()))
}

#[cfg(test)]
pub(crate) mod script;
#[cfg(test)]
mod tests;
