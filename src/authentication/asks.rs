//! Asks the authenticators about a credential that nobody knows yet, and counts a bad one against where it came from.

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use tokio::time::Instant;

use super::authenticator::{Authenticator, Challenge, Checked, Mark};
use super::inquiries::{Finding, Inquirer};
use super::peers::Peers;
use crate::access::Unverified;
use crate::access::caller::Known;
use crate::access::credential::Credential;
use crate::access::verdicts::Lasts;

pub(super) type Digest = [u8; 32];

/// What a verdict rests on.
#[derive(Clone)]
pub(super) struct Basis {
    /// Who has judged.
    pub(super) by: usize,
    /// From where it came first.
    pub(super) peer: IpAddr,
    pub(super) mark: Option<Mark>,
    /// To be judged again: its scheme, and what follows.
    pub(super) credential: (Challenge, Arc<str>),
}

/// Without the credential.
impl fmt::Debug for Basis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Basis").field("by", &self.by).field("mark", &self.mark).finish_non_exhaustive()
    }
}

/// Asks the authenticators.
#[derive(Debug)]
pub(super) struct Asks {
    pub(super) authenticators: Arc<[Arc<dyn Authenticator>]>,
    pub(super) peers: Arc<Mutex<Peers>>,
}

#[async_trait]
impl Inquirer<Digest, Basis> for Asks {
    fn stands(&self, basis: &Basis) -> bool {
        let authenticator = self.authenticators.get(basis.by);
        authenticator.is_some_and(|one| basis.mark.as_ref().is_none_or(|mark| one.rests_on(mark)))
    }

    async fn inquire(&self, _: &Digest, basis: Basis) -> Finding<Basis> {
        let (challenge, text) = &basis.credential;
        let credential = match challenge {
            Challenge::Bearer => Credential::Bearer(text),
            Challenge::Basic => Credential::Basic(text),
        };
        let Some(authenticator) = self.authenticators.get(basis.by) else { return Finding::Unavailable };
        match authenticator.verify(credential).await {
            Ok(Checked { verified, mark }) => {
                let now = Instant::now().into_std();
                let until = authenticator.holds_for();
                let lasts = Lasts {
                    until: until.and_then(|lasts| now.checked_add(lasts)),
                    credential: verified.lasts.and_then(|lasts| now.checked_add(lasts)),
                    again: until.is_some(),
                };
                Finding::Good(Known::of(verified), lasts, Basis { mark, ..basis })
            }
            Err(Unverified::Invalid(why)) => {
                let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
                peers.failed(basis.peer, Instant::now().into_std());
                Finding::Bad(why)
            }
            Err(Unverified::Unavailable(why)) => {
                tracing::debug!(why, "a credential cannot be judged now");
                Finding::Unavailable
            }
        }
    }
}
