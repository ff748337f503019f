//! What judges credentials where that takes time.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};

use super::{issuer, users};
use crate::access::{Credential, Unverified, Verified};

/// Judges credentials, where that takes time.
#[async_trait]
pub trait Authenticator: fmt::Debug + Send + Sync {
    /// Whether credentials like this one are for it to judge.
    fn judges(&self, credential: Credential<'_>) -> bool;

    /// By which scheme clients bring them.
    fn challenge(&self) -> Challenge;

    /// Judges one. It has a deadline of its own.
    async fn verify(&self, credential: Credential<'_>) -> Result<Checked, Unverified>;

    /// How long a good verdict holds until it is found out again; absent: as long as its credential.
    fn holds_for(&self) -> Option<Duration> {
        None
    }

    /// Whether what a good verdict rests on is still there.
    fn rests_on(&self, _mark: &Mark) -> bool {
        true
    }

    /// Tells when what verdicts rest on may have changed.
    fn changes(&self) -> BoxStream<'static, ()> {
        stream::pending().boxed()
    }
}

/// A scheme of the field `Authorization`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Challenge {
    /// A token (RFC 6750).
    Bearer,
    /// A name and a password (RFC 7617).
    Basic,
}

/// A credential that is good.
#[derive(Debug)]
pub struct Checked {
    /// Whose it is.
    pub verified: Verified,
    /// What the verdict rests on; absent: nothing that could be gone.
    pub mark: Option<Mark>,
}

/// What a verdict rests on.
#[derive(Debug, Clone)]
pub enum Mark {
    /// The key of an issuer.
    Key(issuer::KeyId),
    /// The password of a user.
    Password(users::Checked),
}
