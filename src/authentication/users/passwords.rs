//! Passwords are hashed on threads that serve nobody, a few at once. A client that has gone away leaves the queue; a hash that
//! has begun ends.

use std::sync::Arc;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use prometheus::{IntCounter, IntGauge, Registry};
use tokio::sync::{Semaphore, watch};

use super::basic::{self, Credentials};
use super::{Checked, Users};
use crate::access::{Credential, Unverified};
use crate::authentication::{self, Authenticator, Challenge, Mark};
use crate::bounds::{PASSWORD_CHECKS, PASSWORD_WAITING};

/// The users of a file that may change, and the means to check their passwords.
#[derive(Debug)]
pub struct Passwords {
    users: ArcSwap<Users>,
    /// Who waits or is checked.
    places: Semaphore,
    pub(super) checks: Arc<Semaphore>,
    pub(super) metrics: Metrics,
    /// How often the users were replaced.
    replaced: watch::Sender<u64>,
}

/// What operators see of it.
#[derive(Debug, Clone)]
pub struct Metrics {
    pub(super) users: IntGauge,
    pub(super) hashed: IntCounter,
    pub(super) unchecked: IntCounter,
}

impl Metrics {
    /// Registers the metrics.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let metrics = Self {
            users: IntGauge::new("tidewait_access_users", "Users whose names and passwords are good.")?,
            hashed: IntCounter::new("tidewait_access_passwords_hashed_total", "Passwords that were hashed.")?,
            unchecked: IntCounter::new(
                "tidewait_access_passwords_unchecked_total",
                "Passwords that were not checked since too many were waiting.",
            )?,
        };
        registry.register(Box::new(metrics.users.clone()))?;
        registry.register(Box::new(metrics.hashed.clone()))?;
        registry.register(Box::new(metrics.unchecked.clone()))?;
        Ok(metrics)
    }
}

impl Passwords {
    /// Checks passwords of these users.
    #[must_use]
    pub fn new(users: Users, metrics: Metrics) -> Self {
        metrics.users.set(count(&users));
        Self {
            users: ArcSwap::from_pointee(users),
            places: Semaphore::new(PASSWORD_CHECKS + PASSWORD_WAITING),
            checks: Arc::new(Semaphore::new(PASSWORD_CHECKS)),
            metrics,
            replaced: watch::Sender::default(),
        }
    }

    /// From now on these are the users. One task alone may call this.
    pub fn replace(&self, mut users: Users) {
        users.continue_from(&self.users.load());
        self.metrics.users.set(count(&users));
        self.users.store(Arc::new(users));
        self.replaced.send_modify(|count| *count += 1);
    }

    /// Whether a verdict still holds.
    #[must_use]
    pub fn is_current(&self, checked: &Checked) -> bool {
        self.users.load().is_current(&checked.verified.name, &checked.entry)
    }

    /// Whose name and password these are.
    pub async fn check(&self, credentials: Credentials) -> Result<Checked, Unverified> {
        let Ok(_place) = self.places.try_acquire() else {
            self.metrics.unchecked.inc();
            return Err(unavailable("too many passwords wait to be checked"));
        };
        let turn = Arc::clone(&self.checks).acquire_owned().await;
        let turn = turn.map_err(|_| unavailable("passwords are not checked any more"))?;
        // Read when its turn has come, so that nobody is let in by a password that was withdrawn before.
        let (users, hashed) = (self.users.load_full(), self.metrics.hashed.clone());
        let check = move || {
            // The turn lasts as long as the hash, also where nobody waits for it any more.
            let _turn = turn;
            users.verify(&credentials.name, &credentials.password, || hashed.inc())
        };
        let checked = tokio::task::spawn_blocking(check).await;
        checked.unwrap_or_else(|_| Err(unavailable("the check of a password was given up")))
    }
}

#[async_trait]
impl Authenticator for Passwords {
    fn judges(&self, credential: Credential<'_>) -> bool {
        matches!(credential, Credential::Basic(_))
    }

    fn challenge(&self) -> Challenge {
        Challenge::Basic
    }

    async fn verify(&self, credential: Credential<'_>) -> Result<authentication::Checked, Unverified> {
        let (_, encoded) = credential.parts();
        let checked = self.check(basic::read(encoded)?).await?;
        Ok(authentication::Checked { verified: checked.verified.clone(), mark: Some(Mark::Password(checked)) })
    }

    fn rests_on(&self, mark: &Mark) -> bool {
        matches!(mark, Mark::Password(checked) if self.is_current(checked))
    }

    fn changes(&self) -> BoxStream<'static, ()> {
        let changes = stream::unfold((self.replaced.subscribe(), 0), async |(mut replaced, seen): (_, u64)| {
            let now = *replaced.wait_for(|count| *count > seen).await.ok()?;
            Some(((), (replaced, now)))
        });
        changes.boxed()
    }
}

fn unavailable(why: &str) -> Unverified {
    Unverified::Unavailable(why.to_owned())
}

fn count(users: &Users) -> i64 {
    i64::try_from(users.len()).unwrap_or(i64::MAX)
}
