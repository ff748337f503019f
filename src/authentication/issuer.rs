//! Tokens of OpenID Connect issuers: JWTs (RFC 7519), verified with the keys that their issuer publishes, so that nobody need
//! be asked about a token.
//!
//! ```text
//!  a token --> Issuers::of (which issuer?) --> Issuer::check: token -> claims -> key -> signature --> Checked, or why not
//!                                                                          ^
//!                  follow::run --> fetch (discovery, then the JWK Set) --> Keys     or Issuer::replace_keys, from a file
//! ```
//! Signatures are aws-lc's. All else that a token must be is checked here, since libraries for JWTs leave much of it to who
//! calls them, and take of a claim that is there twice the last.
//!
//! Whoever keeps a verdict keeps the [`KeyId`] of its [`Checked`] with it, and gives it up once [`Issuer::keys`] shows
//! [`Keys`] without it: an issuer withdraws a key by not publishing it any more. Keys may change while a token is checked, so
//! this is looked at once more after the verdict is kept.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use tokio::sync::watch;

use self::claims::Claimed;
use self::follow::Follower;
use self::keys::Found;
use self::token::Token;
use crate::access::{Unverified, Verified};
use crate::sources::wall_clock;

mod algorithm;
mod claims;
mod fetch;
mod follow;
mod keys;
mod location;
mod members;
mod metrics;
mod token;

pub use algorithm::{Algorithm, InvalidAlgorithm};
pub use keys::{InvalidKeys, KeyId, Keys};
pub use location::{InvalidUrl, IssuerUrl};
pub use metrics::Metrics;

/// An issuer whose tokens are good, and what is asked of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuerConfig {
    /// Its URL, as its tokens have it in `iss`.
    pub url: IssuerUrl,
    /// What its tokens must have in `aud`.
    pub audience: String,
    /// The claim that is the name.
    pub name: String,
    /// The claim that has the groups.
    pub groups: Option<String>,
    /// Put before the name and before each group, so that two issuers, or an issuer and a file, never name the same.
    pub prefix: String,
    /// Where its keys are.
    pub keys: KeySource,
    /// Certificates in PEM that may vouch for it, beside those of the system.
    pub ca: Option<PathBuf>,
    /// How its tokens may be signed.
    pub algorithms: Vec<Algorithm>,
}

/// Where the keys of an issuer are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// Where it says (OpenID Connect Discovery 1.0).
    Discovery,
    /// In this file, which whoever owns the issuer follows ([`Issuer::replace_keys`]).
    File(PathBuf),
}

/// An issuer, with the keys that it has now.
#[derive(Debug)]
pub struct Issuer {
    config: IssuerConfig,
    follower: Follower,
}

/// The issuers whose tokens are good.
#[derive(Debug, Clone, Default)]
pub struct Issuers(Vec<Arc<Issuer>>);

/// A token that is good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// Whose it is.
    pub verified: Verified,
    /// The key that has shown it: the verdict holds as long as its issuer has this key.
    pub key: KeyId,
}

impl IssuerConfig {
    /// The defaults for an issuer with this URL.
    #[must_use]
    pub fn new(url: IssuerUrl, audience: String) -> Self {
        Self {
            url,
            audience,
            name: "sub".to_owned(),
            groups: None,
            prefix: String::new(),
            keys: KeySource::Discovery,
            ca: None,
            algorithms: vec![Algorithm::Rs256, Algorithm::Es256],
        }
    }
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

    /// Whose token this is.
    pub async fn check(&self, text: &str) -> Result<Checked, Unverified> {
        let token = Token::read(text).map_err(Unverified::Invalid)?;
        // What needs no key comes first, so that nothing is fetched for a token that is of no use.
        let (algorithm, name, claimed) = self.read(&token, now()).map_err(Unverified::Invalid)?;
        let is_known = |keys: &Keys| !matches!(keys.find(name, algorithm), Found::None);
        let keys = self.follower.keys_with(is_known).await?;
        let key = match keys.find(name, algorithm) {
            Found::One(key) => Ok(key),
            Found::Unfit => Err("is signed with another algorithm than its key is for: ask the issuer for a new one"),
            Found::Several => Err("does not name its key (kid), and its issuer has several: have the issuer name it"),
            Found::None => Err("is signed with a key that its issuer does not publish: ask the issuer for a new one"),
        };
        let key = key.map_err(Unverified::Invalid)?;
        if !key.verifies(algorithm, token.signed.as_bytes(), &token.signature) {
            return Err(Unverified::Invalid("has a wrong signature: send it as the issuer has made it"));
        }
        Ok(Checked { verified: claimed.verified(now()), key: key.id })
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

impl Issuers {
    /// These issuers.
    #[must_use]
    pub fn new(issuers: Vec<Arc<Issuer>>) -> Self {
        Self(issuers)
    }

    /// The issuer that a token names, verified by nobody; none: it is no token of these.
    #[must_use]
    pub fn of(&self, text: &str) -> Option<&Arc<Issuer>> {
        if self.0.is_empty() {
            return None;
        }
        let issuer = token::issuer(text)?;
        self.iter().find(|known| known.config.url.as_str() == issuer)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Issuer>> {
        self.0.iter()
    }
}

/// The time of day, since 1970.
fn now() -> Duration {
    wall_clock().duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests;
