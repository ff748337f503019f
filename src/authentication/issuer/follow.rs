//! The keys of an issuer as they are now. They are fetched every few minutes, sooner after a failure, and sooner for a token
//! whose key is not among them, or has another signature there. Those that were fetched last stay as long as the issuer is away.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::keys::Keys;
use super::metrics::OfIssuer;
use crate::access::Unverified;
use crate::bounds::{ISSUER_FETCH_PAUSE, ISSUER_KEY_WAIT, ISSUER_REFRESH, ISSUER_WAITING};
use crate::sources::backoff::Backoff;

#[derive(Debug)]
pub(super) struct Follower {
    keys: watch::Sender<Option<Arc<Keys>>>,
    /// Whether they are fetched.
    fetched: bool,
    fetches: watch::Sender<Fetches>,
    wanted: Notify,
    places: Semaphore,
    metrics: OfIssuer,
}

/// The fetches so far. One is made at a time.
#[derive(Debug, Default)]
struct Fetches {
    begun: u64,
    ended: u64,
    /// Why the last one gave no keys.
    failed: Option<String>,
    /// When keys were last given.
    given: Option<Instant>,
}

/// How it is with the keys of an issuer.
#[derive(Debug)]
pub struct Health {
    /// How many there are; absent: they were never given.
    pub keys: Option<usize>,
    /// When they were last given.
    pub fetched: Option<Instant>,
    /// Why the last fetch gave none, for operators; absent: it did.
    pub failed: Option<String>,
}

impl Follower {
    pub(super) fn new(fetched: bool, metrics: OfIssuer) -> Self {
        Self {
            keys: watch::Sender::default(),
            fetched,
            fetches: watch::Sender::default(),
            wanted: Notify::new(),
            places: Semaphore::new(ISSUER_WAITING),
            metrics,
        }
    }

    pub(super) fn keys(&self) -> watch::Receiver<Option<Arc<Keys>>> {
        self.keys.subscribe()
    }

    pub(super) fn health(&self) -> Health {
        let keys = self.current().map(|keys| keys.len());
        let fetches = self.fetches.borrow();
        Health { keys, fetched: fetches.given, failed: fetches.failed.clone() }
    }

    /// From now on these are the keys of the issuer with this URL.
    pub(super) fn publish(&self, keys: Arc<Keys>, issuer: &str) {
        self.metrics.holds(&keys);
        self.fetches.send_modify(|fetches| fetches.given = Some(Instant::now()));
        self.keys.send_if_modified(|held| {
            let changed = held.as_ref() != Some(&keys);
            if changed {
                tracing::info!(issuer, keys = keys.len(), left_out = keys.left_out(), "the issuer has other keys");
                *held = Some(keys);
            }
            changed
        });
    }

    /// Fetches keys for ever.
    pub(super) async fn run<F>(&self, fetch: impl Fn() -> F, issuer: &str)
    where
        F: Future<Output = Result<Arc<Keys>, String>>,
    {
        let mut backoff = Backoff::default();
        loop {
            let begun = Instant::now();
            self.fetches.send_modify(|fetches| fetches.begun += 1);
            let fetched = fetch().await;
            let pause = match &fetched {
                Ok(keys) => {
                    backoff.succeeded();
                    self.publish(Arc::clone(keys), issuer);
                    ISSUER_REFRESH.mul_f64(0.9 + 0.2 * fastrand::f64())
                }
                Err(error) => {
                    let held = self.keys.borrow().as_ref().map_or(0, |keys| keys.len());
                    tracing::warn!(issuer, error, held, "the keys of the issuer cannot be fetched: those held stay");
                    backoff.failed(fastrand::f64(), None)
                }
            };
            self.metrics.fetched(fetched.is_ok());
            self.fetches.send_modify(|fetches| {
                fetches.ended = fetches.begun;
                fetches.failed = fetched.err();
            });
            self.pause(begun, pause).await;
        }
    }

    /// Until the next fetch: for this long, or until it is wanted, but not sooner after the last than it may be.
    async fn pause(&self, begun: Instant, pause: Duration) {
        let wanted = async {
            self.wanted.notified().await;
            sleep_until(begun + ISSUER_FETCH_PAUSE).await;
        };
        let _ = timeout(pause, wanted).await;
    }

    /// The keys that decide; if those that are held do not, the ones of a fetch that begins from now on, whether or not they do.
    pub(super) async fn keys_that(&self, decide: impl Fn(&Keys) -> bool) -> Result<Arc<Keys>, Unverified> {
        if let Some(keys) = self.current().filter(|keys| !self.fetched || decide(keys)) {
            return Ok(keys);
        }
        if !self.fetched {
            return Err(unavailable("the file with the keys of the issuer has not been read"));
        }
        let (begun, failed) = {
            let fetches = self.fetches.borrow();
            (fetches.begun, fetches.failed.clone())
        };
        // Without any key the next fetch comes by itself.
        if let Some(failed) = failed.filter(|_| self.keys.borrow().is_none()) {
            return Err(unavailable(&failed));
        }
        let Ok(_place) = self.places.try_acquire() else {
            return Err(unavailable(
                "too many tokens that are signed with unknown keys wait for the keys of the issuer",
            ));
        };
        self.wanted.notify_one();
        let mut fetches = self.fetches.subscribe();
        // A fetch that had begun before may have missed a key that was made meanwhile.
        let known = || self.current().filter(|keys| decide(keys));
        let waited =
            timeout(ISSUER_KEY_WAIT, fetches.wait_for(|fetches| fetches.ended > begun || known().is_some())).await;
        if let Some(keys) = known() {
            return Ok(keys);
        }
        // Of a fetch that has begun since: what it gave decides, also that there is no such key.
        let failed = match waited {
            Ok(Ok(fetches)) => fetches.failed.clone(),
            Ok(Err(_)) | Err(_) => Some(format!("the issuer has not given its keys within {ISSUER_KEY_WAIT:?}")),
        };
        let keys = self.current().ok_or_else(|| unavailable("the keys of the issuer have not been fetched"));
        failed.map_or(keys, |failed| Err(unavailable(&failed)))
    }

    fn current(&self) -> Option<Arc<Keys>> {
        self.keys.borrow().clone()
    }
}

fn unavailable(why: &str) -> Unverified {
    Unverified::Unavailable(why.to_owned())
}
