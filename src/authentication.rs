//! Who sends a request: the first credential that it brings is judged, and a bad one never counts as none.
//!
//! ```text
//!  Authorization: Bearer --> access::Tokens (a file) ------------------> Caller, or a Refusal, at once
//!                    |--> a verdict that is kept (inquiries) ----------> the same
//!                    |--> none: the first Authenticator that judges it -> the same, later; the verdict is kept
//!  none, but a client certificate --> its owner ------------------------> at once
//!  none at all --> anonymous
//! ```
//! An [`Authenticator`] is asked where it takes time: an API server, an issuer, a costly hash. Each is a module of its own, which
//! turns a credential into a [`Verified`](crate::access::Verified) or says why not. Verdicts are kept by a digest of the credential under a key of this
//! process. A verdict that ends or is withdrawn is lost to the requests that hold its owner, and [`Withdrawals`] tells of it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use http::HeaderMap;
use ipnet::IpNet;
use prometheus::IntGauge;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::access::caller::{Caller, Loss};
use crate::access::credential::{self, Credential, Invalid, Refusal, UNKNOWN};
use crate::access::verdicts::Verdict;
use crate::access::{Certificate, Connection, Scheme, Tokens};
use crate::bounds::PEER_CREDENTIALS_PENDING;

mod asks;
mod authenticator;
pub mod budgets;
mod ends;
pub mod form;
pub mod inquiries;
pub mod issuer;
pub mod kubernetes;
mod origin;
pub mod peers;
pub mod pending;
pub mod users;
mod withdrawals;

use asks::{Asks, Basis, Digest};
pub use authenticator::{Authenticator, Challenge, Checked, Mark};
use ends::Ends;
use inquiries::{Inquiries, Outcome};
use peers::{Network, Peers};
use pending::Pending;
pub use withdrawals::Withdrawals;

/// A connection that a request comes by, as far as its credential is concerned.
#[derive(Debug, Clone, Copy)]
pub struct Peer<'a> {
    /// The other end.
    pub address: SocketAddr,
    /// How the connection is protected.
    pub scheme: Scheme,
    /// The client's certificate.
    pub certificate: Option<&'a Certificate>,
}

impl<'a> From<&'a Connection> for Peer<'a> {
    fn from(connection: &'a Connection) -> Self {
        let Connection { peer, scheme, certificate, .. } = connection;
        Self { address: *peer, scheme: *scheme, certificate: certificate.as_ref() }
    }
}

/// Who sends a request.
#[expect(missing_debug_implementations, reason = "a future has none")]
pub enum Answer {
    /// It is known at once.
    Now(Result<Caller, Refusal>),
    /// It has to be found out, on a runtime.
    Later(BoxFuture<'static, Result<Caller, Refusal>>),
}

/// Which credentials are taken.
#[derive(Debug, Default)]
pub struct Schemes {
    /// Static tokens.
    pub tokens: Option<Tokens>,
    /// Who else judges credentials.
    pub authenticators: Vec<Arc<dyn Authenticator>>,
    /// Client certificates.
    pub certificates: bool,
    /// Also over connections that others can read.
    pub clear: bool,
    /// Proxies that are believed where a request comes from.
    pub trusted: Vec<IpNet>,
}

/// Who sends requests.
#[derive(Debug)]
pub struct Authentication {
    tokens: Option<ArcSwap<Tokens>>,
    authenticators: Arc<[Arc<dyn Authenticator>]>,
    certificates: bool,
    clear: bool,
    trusted: Vec<IpNet>,
    /// A digest that is seen, in a dump of memory say, says nothing of a password.
    key: [u8; 32],
    inquiries: Arc<Inquiries<Digest, Basis>>,
    ends: Ends,
    peers: Arc<Mutex<Peers>>,
    /// Unknown credentials of peers that are being found out.
    pending: Arc<Pending<Network>>,
    withdrawals: Arc<watch::Sender<u64>>,
}

impl Answer {
    /// Waits until it is known.
    pub async fn known(self) -> Result<Caller, Refusal> {
        match self {
            Self::Now(answer) => answer,
            Self::Later(answer) => answer.await,
        }
    }
}

impl Authentication {
    /// By these schemes. `kept` shows the verdicts that are kept; `withdrawals` counts up when somebody is lost.
    #[must_use]
    pub fn new(schemes: Schemes, kept: IntGauge, withdrawals: Arc<watch::Sender<u64>>) -> Self {
        let Schemes { tokens, authenticators, certificates, clear, trusted } = schemes;
        let authenticators: Arc<[_]> = authenticators.into();
        let peers = Arc::<Mutex<Peers>>::default();
        let asks = Asks { authenticators: Arc::clone(&authenticators), peers: Arc::clone(&peers) };
        Self {
            tokens: tokens.map(ArcSwap::from_pointee),
            inquiries: Inquiries::new(Box::new(asks), Loss::Withdrawn, Arc::clone(&withdrawals), kept),
            ends: Ends::new(Arc::clone(&withdrawals)),
            authenticators,
            certificates,
            clear,
            trusted,
            key: secret(),
            peers,
            pending: Pending::new(PEER_CREDENTIALS_PENDING),
            withdrawals,
        }
    }

    /// Whether any scheme is on: otherwise credentials mean nothing.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.takes_bearer() || self.certificates
    }

    /// Whether tokens or passwords are taken.
    fn takes_bearer(&self) -> bool {
        self.tokens.is_some() || !self.authenticators.is_empty()
    }

    /// Whether tokens are taken, and whether names with passwords are.
    #[must_use]
    pub fn asks(&self) -> [bool; 2] {
        [Challenge::Bearer, Challenge::Basic].map(|challenge| self.asks_for(challenge))
    }

    /// Whether credentials of a scheme are taken.
    #[must_use]
    pub fn asks_for(&self, challenge: Challenge) -> bool {
        let has_tokens = challenge == Challenge::Bearer && self.tokens.is_some();
        has_tokens || self.authenticators.iter().any(|one| one.challenge() == challenge)
    }

    /// Tells when credentials are withdrawn.
    #[must_use]
    pub fn withdrawals(&self) -> Withdrawals {
        Withdrawals::of(&self.withdrawals)
    }

    /// Tells those who hold parked requests to judge them again.
    pub fn withdraw(&self) {
        self.withdrawals.send_modify(|count| *count += 1);
    }

    /// From now on these static tokens are good and no others.
    pub fn replace_tokens(&self, mut tokens: Tokens) {
        let Some(current) = &self.tokens else { return };
        let before = current.load_full();
        tokens.continue_from(&before);
        let tokens = Arc::new(tokens);
        current.store(Arc::clone(&tokens));
        // Behind the store: who is judged meanwhile has a token of the one or the other, and is told below.
        if before.withdraw_all_but(&tokens) {
            self.withdraw();
        }
    }

    /// Ends verdicts when their time is over or what they rest on is gone; without end.
    pub async fn maintain(&self) {
        let follow = self.authenticators.iter().enumerate().map(|(by, one)| self.follow(by, one.changes()));
        tokio::join!(Arc::clone(&self.inquiries).maintain(), self.ends.maintain(), futures::future::join_all(follow));
    }

    async fn follow(&self, by: usize, mut changes: BoxStream<'static, ()>) {
        while changes.next().await.is_some() {
            let one = &self.authenticators[by];
            self.inquiries
                .withdraw(|basis| basis.by != by || basis.mark.as_ref().is_none_or(|mark| one.rests_on(mark)));
        }
    }

    /// Who sends a request with these header fields.
    #[must_use]
    pub fn authenticate(&self, headers: &HeaderMap, peer: Peer<'_>) -> Answer {
        match self.known_at_once(headers, peer) {
            Ok(caller) => Answer::Now(Ok(caller)),
            Err(Unknown::Refused(refusal)) => Answer::Now(Err(refusal)),
            Err(Unknown::Ask(digest, basis)) => {
                let (inquiries, pending) = (Arc::clone(&self.inquiries), Arc::clone(&self.pending));
                let network = Network::of(basis.peer);
                Answer::Later(Box::pin(async move {
                    match inquiries.ask(digest, *basis, || pending.begin(network)).await {
                        Outcome::Verdict(verdict) => of(verdict),
                        Outcome::Unavailable | Outcome::Full => Err(Refusal::Unavailable),
                        Outcome::NotBegun => Err(Refusal::Crowded),
                    }
                }))
            }
        }
    }

    fn known_at_once(&self, headers: &HeaderMap, peer: Peer<'_>) -> Result<Caller, Unknown> {
        let credential = if self.takes_bearer() { credential::read(headers).map_err(Refusal::Invalid)? } else { None };
        match self.look(credential, peer)? {
            Look::Known(caller) => Ok(caller),
            Look::Unknown { by, digest, credential } => {
                let peer = origin::origin(headers, peer.address.ip(), &self.trusted);
                let peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
                if !peers.may(peer, Instant::now().into_std()) {
                    return Err(Unknown::Refused(Refusal::TooManyBad));
                }
                let credential = (challenge(credential), credential.parts().1.into());
                Err(Unknown::Ask(digest, Box::new(Basis { by, peer, mark: None, credential })))
            }
        }
    }

    /// Who sends a request with this credential, if nobody has to be asked, and it is good.
    #[must_use]
    pub fn known(&self, credential: Option<Credential<'_>>, peer: Peer<'_>) -> Option<Caller> {
        match self.look(credential.filter(|_| self.takes_bearer()), peer) {
            Ok(Look::Known(caller)) => Some(caller),
            Ok(Look::Unknown { .. }) | Err(_) => None,
        }
    }

    /// What is known of a credential. It costs the same for all that are of one length and kind.
    fn look<'a>(&self, credential: Option<Credential<'a>>, peer: Peer<'_>) -> Result<Look<'a>, Refusal> {
        let Some(credential) = credential else {
            return match peer.certificate.filter(|_| self.certificates) {
                Some(certificate) => {
                    // Before the look, so that one that ends now is seen.
                    self.ends.watch(certificate, Instant::now().into_std());
                    match certificate.owner.lost() {
                        Some(_) => Err(Refusal::Withdrawn),
                        None => Ok(Look::Known(Caller::Known(Arc::clone(&certificate.owner)))),
                    }
                }
                None => Ok(Look::Known(Caller::Anonymous)),
            };
        };
        if !self.takes_credentials(peer.address, peer.scheme) {
            return Err(Refusal::Invalid(Invalid::Clear));
        }
        if let (Credential::Bearer(token), Some(tokens)) = (credential, &self.tokens)
            && let Some(known) = tokens.load().find(token)
        {
            return Ok(Look::Known(Caller::Known(Arc::clone(known))));
        }
        let Some(by) = self.authenticators.iter().position(|one| one.judges(credential)) else {
            return Err(Refusal::Invalid(match credential {
                Credential::Bearer(_) if self.asks_for(Challenge::Bearer) => UNKNOWN,
                Credential::Bearer(_) | Credential::Basic(_) => Invalid::Scheme,
            }));
        };
        let (scheme, text) = credential.parts();
        let digest = *blake3::Hasher::new_keyed(&self.key)
            .update(scheme.as_bytes())
            .update(text.as_bytes())
            .finalize()
            .as_bytes();
        match self.inquiries.find(&digest) {
            Some(verdict) => of(verdict).map(Look::Known),
            None => Ok(Look::Unknown { by, digest, credential }),
        }
    }

    /// Whether a credential may come over a connection of this kind.
    #[must_use]
    pub fn takes_credentials(&self, address: SocketAddr, scheme: Scheme) -> bool {
        self.clear || scheme == Scheme::Https || address.ip().to_canonical().is_loopback()
    }
}

/// Random bytes that nobody else knows.
fn secret() -> Digest {
    let mut secret = Digest::default();
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    // Without random bytes of the system TLS does not begin either.
    provider.secure_random.fill(&mut secret).expect("the system gives random bytes");
    secret
}

/// What is known of a credential.
enum Look<'a> {
    Known(Caller),
    /// One of the authenticators is to be asked about the credential with this digest.
    Unknown {
        by: usize,
        digest: Digest,
        credential: Credential<'a>,
    },
}

/// Why a caller is not known at once.
enum Unknown {
    Refused(Refusal),
    Ask(Digest, Box<Basis>),
}

impl From<Refusal> for Unknown {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

fn of(verdict: Verdict) -> Result<Caller, Refusal> {
    match verdict {
        Verdict::Good(known) => Ok(Caller::Known(known)),
        Verdict::Bad(why) => Err(Refusal::Invalid(Invalid::Judged(why))),
    }
}

fn challenge(credential: Credential<'_>) -> Challenge {
    match credential {
        Credential::Bearer(_) => Challenge::Bearer,
        Credential::Basic(_) => Challenge::Basic,
    }
}

#[cfg(test)]
mod tests;
