//! Tokens of OpenID Connect issuers: JWTs (RFC 7519), verified with the keys that their issuer publishes, so that nobody need
//! be asked about a token.
//!
//! ```text
//!  a token --> Issuer::judges (is it of this one?) --> Issuer::check: token -> claims -> key -> signature --> Checked, or why not
//!                                                                          ^
//!                  follow::run --> fetch (discovery, then the JWK Set) --> Keys     or Issuer::replace_keys, from a file
//! ```
//! Signatures are aws-lc's. All else that a token must be is checked here, since libraries for JWTs leave much of it to who
//! calls them, and take of a claim that is there twice the last.
//!
//! Whoever keeps a verdict keeps the [`KeyId`] of its [`Checked`] with it, and gives it up once [`Issuer::keys`] shows
//! [`Keys`] without it: an issuer withdraws a key by not publishing it any more. Keys may change while a token is checked, so
//! this is looked at once more after the verdict is kept.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use async_trait::async_trait;
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use tokio::sync::watch;

use self::claims::Claimed;
use self::follow::Follower;
use self::keys::Found;
use self::token::Token;
use crate::access::{Credential, Unverified, Verified};
use crate::authentication::{self, Authenticator, Challenge, Mark};
use crate::sources::wall_clock;

mod claims;
mod fetch;
mod follow;
mod keys;
mod members;
mod metrics;
mod token;

pub use crate::access::issuer::{Algorithm, IssuerConfig, IssuerUrl, KeySource};
pub use follow::Health;
pub use keys::{InvalidKeys, KeyId, Keys};
pub use metrics::Metrics;

/// An issuer, with the keys that it has now.
#[derive(Debug)]
pub struct Issuer {
    config: IssuerConfig,
    follower: Follower,
}

/// A token that is good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// Whose it is.
    pub verified: Verified,
    /// The key that has shown it: the verdict holds as long as its issuer has this key.
    pub key: KeyId,
}

impl Issuer {
    /// An issuer without keys yet.
    #[must_use]
    pub fn new(config: IssuerConfig, metrics: &Metrics) -> Self {
        let follower = Follower::new(config.keys == KeySource::Discovery, metrics.of(config.url.as_str()));
        Self { config, follower }
    }

    /// What it was made of.
    #[must_use]
    pub fn config(&self) -> &IssuerConfig {
        &self.config
    }

    /// Fetches its keys again and again, where they are fetched; never ends.
    pub async fn run(&self) {
        match self.config.keys {
            KeySource::Discovery => self.follower.run(|| fetch::keys(&self.config), self.name()).await,
            KeySource::File(_) => std::future::pending().await,
        }
    }

    /// From now on these are its keys, as a file has them. Where they are none, those of before stay.
    pub fn replace_keys(&self, bytes: &[u8]) -> Result<(), InvalidKeys> {
        Keys::parse(bytes).map(|keys| self.follower.publish(keys, self.name()))
    }

    /// The keys that it has; none: not yet.
    #[must_use]
    pub fn keys(&self) -> watch::Receiver<Option<Arc<Keys>>> {
        self.follower.keys()
    }

    /// How it is with its keys.
    #[must_use]
    pub fn health(&self) -> Health {
        self.follower.health()
    }

    /// Whose token this is.
    pub async fn check(&self, text: &str) -> Result<Checked, Unverified> {
        let token = Token::read(text).map_err(Unverified::Invalid)?;
        // What needs no key comes first, so that nothing is fetched for a token that is of no use.
        let (algorithm, name, claimed) = self.read(&token, now()).map_err(Unverified::Invalid)?;
        let judge = |keys: &Keys| judge(keys, name, algorithm, &token);
        let keys = self.follower.keys_that(|keys| !matches!(judge(keys), Err(Wrong::Unless(_)))).await?;
        match judge(&keys) {
            Ok(key) => Ok(Checked { verified: claimed.verified(now()), key }),
            Err(Wrong::Always(why) | Wrong::Unless(why)) => Err(Unverified::Invalid(why)),
        }
    }

    /// What a token says, as far as it can be checked without a key.
    fn read<'a>(
        &self,
        token: &'a Token<'_>,
        now: Duration,
    ) -> Result<(Algorithm, Option<&'a str>, Claimed), &'static str> {
        let algorithm = token.algorithm()?.parse().ok().filter(|algorithm| self.config.algorithms.contains(algorithm));
        let algorithm =
            algorithm.ok_or("is signed in a way that is not allowed: have the issuer sign with another alg")?;
        let name = token.key()?;
        Ok((algorithm, name, Claimed::read(&token.claims, &self.config, now)?))
    }

    fn name(&self) -> &str {
        self.config.url.as_str()
    }
}

/// What is wrong with the signature of a token.
enum Wrong {
    /// With these keys it is.
    Always(&'static str),
    /// It is, unless its issuer has published another key meanwhile.
    Unless(&'static str),
}

/// The key that a token is signed with.
fn judge(keys: &Keys, name: Option<&str>, algorithm: Algorithm, token: &Token<'_>) -> Result<KeyId, Wrong> {
    match keys.find(name, algorithm) {
        Found::One(key) if key.verifies(algorithm, token.signed.as_bytes(), &token.signature) => Ok(key.id),
        // An issuer may have another key under the same name.
        Found::One(_) => Err(Wrong::Unless("has a wrong signature: send it as the issuer has made it")),
        Found::None => {
            Err(Wrong::Unless("is signed with a key that its issuer does not publish: ask the issuer for a new one"))
        }
        Found::Unfit => {
            Err(Wrong::Always("is signed with another algorithm than its key is for: ask the issuer for a new one"))
        }
        Found::Several => {
            Err(Wrong::Always("does not name its key (kid), and its issuer has several: have the issuer name it"))
        }
    }
}

#[async_trait]
impl Authenticator for Issuer {
    /// What a token says of its issuer is verified by nobody yet.
    fn judges(&self, credential: Credential<'_>) -> bool {
        matches!(credential, Credential::Bearer(token) if token::issuer(token).is_some_and(|issuer| issuer == self.name()))
    }

    fn challenge(&self) -> Challenge {
        Challenge::Bearer
    }

    async fn verify(&self, credential: Credential<'_>) -> Result<authentication::Checked, Unverified> {
        let (_, token) = credential.parts();
        let checked = self.check(token).await?;
        Ok(authentication::Checked { verified: checked.verified, mark: Some(Mark::Key(checked.key)) })
    }

    fn rests_on(&self, mark: &Mark) -> bool {
        matches!(mark, Mark::Key(key) if self.keys().borrow().as_ref().is_some_and(|keys| keys.has(key)))
    }

    fn changes(&self) -> BoxStream<'static, ()> {
        let changes = stream::unfold((self.keys(), None), async |(mut keys, seen): (_, Option<Arc<Keys>>)| {
            let is_other = |keys: &Option<Arc<Keys>>| match (keys, &seen) {
                (Some(keys), Some(seen)) => !Arc::ptr_eq(keys, seen),
                (keys, seen) => keys.is_some() != seen.is_some(),
            };
            let now = keys.wait_for(is_other).await.ok()?.clone();
            Some(((), (keys, now)))
        });
        changes.boxed()
    }
}

/// The time of day, since 1970.
fn now() -> Duration {
    wall_clock().duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests;
