//! Who may: the one check that every request for an operation passes before anything else of it is looked at.
//!
//! The tokens may be replaced at any time. A token that is gone is withdrawn: from then on no request of its owner is given a
//! state, and [`Access::withdrawals`] tells those who hold parked ones.

use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use http::HeaderMap;
use prometheus::{IntCounter, IntCounterVec, Opts, Registry};
use tokio::sync::watch;

use crate::access::credential::{Invalid, bearer};
use crate::access::{Caller, Policy, Refusal, Scheme, Tokens};
use crate::describe::Problem;
use crate::describe::problem::Kind;

/// What requests are asked for, and whose credentials are good.
#[derive(Debug)]
pub struct Access {
    /// The tokens; absent: no request is asked for a credential.
    tokens: Option<ArcSwap<Tokens>>,
    policy: Policy,
    /// Credentials are taken over connections that others can read.
    clear_credentials: bool,
    /// How often credentials were withdrawn.
    withdrawals: watch::Sender<u64>,
    metrics: Metrics,
}

/// What a request is for.
#[derive(Debug, Clone, Copy)]
pub(in crate::http) enum Target<'a> {
    /// The operation with this name.
    Operation(&'a str),
    /// Nothing is at its path.
    Nothing,
    /// Not all operations are known yet, and none of those that are has its path.
    NotKnownYet,
}

/// How often credentials were withdrawn.
#[derive(Debug, Clone)]
pub struct Withdrawals(watch::Receiver<u64>);

impl Withdrawals {
    /// So far.
    #[must_use]
    pub fn count(&self) -> u64 {
        *self.0.borrow()
    }

    /// Waits until it was more often than `seen`, and gives how often.
    pub async fn more_than(&mut self, seen: u64) -> u64 {
        if let Ok(count) = self.0.wait_for(|count| *count > seen).await {
            return *count;
        }
        // Nobody withdraws any more.
        std::future::pending().await
    }

    /// Waits until the credential of a caller is withdrawn.
    pub async fn of(&mut self, caller: &Caller) {
        if self.0.wait_for(|_| caller.is_withdrawn()).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Refusals, by reason.
#[derive(Debug, Clone)]
pub struct Metrics {
    missing: IntCounter,
    invalid: IntCounter,
    clear: IntCounter,
    withdrawn: IntCounter,
    forbidden: IntCounter,
}

impl Metrics {
    /// Registers them.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let metrics = Self::unregistered()?;
        registry.register(Box::new(metrics.1))?;
        registry.register(Box::new(metrics.0.forbidden.clone()))?;
        Ok(metrics.0)
    }

    fn unregistered() -> prometheus::Result<(Self, IntCounterVec)> {
        let help = "Requests answered 401: without a credential, with one that is not good, with one over a connection that \
                    others can read, or with one that was withdrawn while the request waited.";
        let family = IntCounterVec::new(Opts::new("tidewait_http_unauthorized_total", help), &["reason"])?;
        let of = |reason: &str| family.with_label_values(&[reason]);
        let metrics = Self {
            missing: of("missing"),
            invalid: of("invalid"),
            clear: of("clear"),
            withdrawn: of("withdrawn"),
            forbidden: IntCounter::new(
                "tidewait_http_forbidden_total",
                "Requests answered 403: no rule allows them to the owner of their credential.",
            )?,
        };
        Ok((metrics, family))
    }

    fn of(&self, refusal: Refusal) -> &IntCounter {
        match refusal {
            Refusal::Missing => &self.missing,
            Refusal::Invalid(Invalid::Clear) => &self.clear,
            Refusal::Invalid(Invalid::Several | Invalid::Scheme | Invalid::Form | Invalid::Unknown) => &self.invalid,
            Refusal::Withdrawn => &self.withdrawn,
        }
    }
}

impl Access {
    /// No request is asked for a credential, and one that it brings means nothing.
    #[must_use]
    pub fn open(metrics: Metrics) -> Self {
        let policy = Policy { rules: Vec::new(), anonymous: true };
        Self { tokens: None, policy, clear_credentials: false, withdrawals: watch::Sender::default(), metrics }
    }

    /// Requests are asked for one of these tokens. `clear_credentials`: also over connections that others can read.
    #[must_use]
    pub fn with_tokens(tokens: Tokens, policy: Policy, clear_credentials: bool, metrics: Metrics) -> Self {
        let tokens = Some(ArcSwap::from_pointee(tokens));
        Self { tokens, policy, clear_credentials, withdrawals: watch::Sender::default(), metrics }
    }

    /// From now on these tokens are good and no others.
    pub fn replace(&self, mut tokens: Tokens) {
        let Some(current) = &self.tokens else { return };
        let before = current.load_full();
        tokens.continue_from(&before);
        let tokens = Arc::new(tokens);
        current.store(Arc::clone(&tokens));
        // Behind the store: who is judged meanwhile has a token of the one or the other, and is told below.
        if before.withdraw_all_but(&tokens) {
            self.withdrawals.send_modify(|count| *count += 1);
        }
    }

    /// Tells when credentials are withdrawn.
    #[must_use]
    pub fn withdrawals(&self) -> Withdrawals {
        Withdrawals(self.withdrawals.subscribe())
    }

    /// Who sends a request with these header fields, over a connection of this kind, if it may. That nothing is at a path is
    /// told to those alone who may poll everything.
    pub(in crate::http) fn judge(
        &self,
        headers: &HeaderMap,
        peer: SocketAddr,
        scheme: Scheme,
        target: Target<'_>,
    ) -> Result<Caller, Problem> {
        let caller = self.caller(headers, peer, scheme).map_err(|refusal| self.refuse(refusal))?;
        let may = match target {
            Target::Operation(operation) => self.policy.allows(&caller, operation),
            Target::Nothing => self.policy.allows_all(&caller),
            // Its operation may come, and who is told 403 meanwhile would not try again.
            Target::NotKnownYet => true,
        };
        match caller {
            caller if may => Ok(caller),
            // Another one might, who has a credential.
            Caller::Anonymous => Err(self.refuse(Refusal::Missing)),
            Caller::Known(_) => {
                self.metrics.forbidden.inc();
                Err(Problem::new(Kind::Forbidden, FORBIDDEN))
            }
        }
    }

    fn caller(&self, headers: &HeaderMap, peer: SocketAddr, scheme: Scheme) -> Result<Caller, Refusal> {
        let Some(tokens) = &self.tokens else { return Ok(Caller::Anonymous) };
        let token = match bearer(headers).map_err(Refusal::Invalid)? {
            Some(token) => token,
            None if self.policy.lets_anonymous_in() => return Ok(Caller::Anonymous),
            None => return Err(Refusal::Missing),
        };
        if !self.takes_credentials(peer, scheme) {
            return Err(Refusal::Invalid(Invalid::Clear));
        }
        let tokens = tokens.load();
        tokens.find(token).map(|known| Caller::Known(Arc::clone(known))).ok_or(Refusal::Invalid(Invalid::Unknown))
    }

    /// Whether a credential may come over a connection of this kind.
    pub(in crate::http) fn takes_credentials(&self, peer: SocketAddr, scheme: Scheme) -> bool {
        self.clear_credentials || scheme == Scheme::Https || peer.ip().to_canonical().is_loopback()
    }

    /// The credential of a request was withdrawn while it waited.
    pub(in crate::http) fn withdrawn(&self) -> Problem {
        self.refuse(Refusal::Withdrawn)
    }

    /// Counts a refusal, and says what to do.
    fn refuse(&self, refusal: Refusal) -> Problem {
        self.metrics.of(refusal).inc();
        let (challenge, detail) = match refusal {
            Refusal::Missing => (MISSING, "send Authorization: Bearer and a token"),
            Refusal::Withdrawn => (INVALID, "the token was withdrawn: ask for another one"),
            Refusal::Invalid(invalid) => (INVALID, why(invalid)),
        };
        Problem::challenge(Kind::Unauthorized, challenge, detail)
    }
}

const FORBIDDEN: &str = "you may not poll this, or there is nothing here: ask the operator for a rule that names you and the \
                         operation";

// RFC 6750, section 3.
const MISSING: &str = "Bearer realm=\"tidewait\"";
const INVALID: &str = "Bearer realm=\"tidewait\", error=\"invalid_token\"";

fn why(invalid: Invalid) -> &'static str {
    match invalid {
        Invalid::Several => "there are several Authorization fields: send one",
        Invalid::Scheme => "Authorization is of another scheme: send Bearer and a token",
        Invalid::Form => "Authorization has not the form of a token: send Bearer, a space and the token",
        Invalid::Clear => {
            "others can read this connection, so no credential is taken over it, and this one should be replaced: use \
             https, or allow it (--allow-clear-credentials)"
        }
        Invalid::Unknown => "the token is not known: ask for another one",
    }
}

#[cfg(test)]
mod tests {
    use http::header::AUTHORIZATION;

    use super::*;
    use crate::access::policy::Rule;
    use crate::access::tokens::line;

    fn metrics() -> Metrics {
        Metrics::unregistered().expect("good names").0
    }

    fn with(anonymous: bool, clear_credentials: bool) -> Access {
        let tokens = Tokens::parse(line("good", "n", &[]).as_bytes()).expect("tokens");
        Access::with_tokens(tokens, Policy { rules: Vec::new(), anonymous }, clear_credentials, metrics())
    }

    fn fields(all: &[&'static str]) -> HeaderMap {
        let values = all.iter().map(|value| (AUTHORIZATION, http::HeaderValue::from_static(value)));
        values.collect()
    }

    /// Who is let in: anonymous or known; and why another one is not.
    #[test]
    fn who_gets_in_depends_on_credential_settings_and_connection() {
        let (near, far) = ("127.0.0.1:1", "192.0.2.1:1");
        let mapped = "[::ffff:127.0.0.1]:1";
        let none = &[][..];
        let (good, bad) = (&["Bearer good"][..], &["Bearer bad"][..]);
        let (basic, twice) = (&["Basic Z29vZA=="][..], &["Bearer good", "Bearer good"][..]);
        let (anonymous, missing) = ("anonymous", "missing");
        for (allows, peer, scheme, field, expected) in [
            // anonymous, clear
            ((false, false), near, Scheme::Http, none, missing),
            ((false, false), near, Scheme::Http, good, "known"),
            ((false, false), mapped, Scheme::Http, good, "known"),
            ((false, false), near, Scheme::Http, bad, "Unknown"),
            ((false, false), near, Scheme::Http, basic, "Scheme"),
            ((false, false), near, Scheme::Http, twice, "Several"),
            ((false, false), far, Scheme::Http, none, missing),
            ((false, false), far, Scheme::Http, good, "Clear"),
            ((false, false), far, Scheme::Http, bad, "Clear"),
            ((false, false), far, Scheme::Https, good, "known"),
            ((false, false), far, Scheme::Https, bad, "Unknown"),
            ((false, true), far, Scheme::Http, good, "known"),
            ((false, true), far, Scheme::Http, bad, "Unknown"),
            ((false, true), far, Scheme::Http, none, missing),
            ((true, false), far, Scheme::Http, none, anonymous),
            ((true, false), far, Scheme::Http, good, "Clear"),
            ((true, false), near, Scheme::Http, bad, "Unknown"),
            ((true, false), near, Scheme::Http, basic, "Scheme"),
            ((true, false), near, Scheme::Http, good, "known"),
            ((true, true), far, Scheme::Http, bad, "Unknown"),
        ] {
            let access = with(allows.0, allows.1);
            let met = match access.caller(&fields(field), peer.parse().expect("an address"), scheme) {
                Ok(Caller::Anonymous) => "anonymous".to_owned(),
                Ok(Caller::Known(_)) => "known".to_owned(),
                Err(Refusal::Missing) => "missing".to_owned(),
                Err(Refusal::Invalid(invalid)) => format!("{invalid:?}"),
                Err(Refusal::Withdrawn) => "withdrawn".to_owned(),
            };
            assert_eq!(met, expected, "{allows:?} {peer} {scheme:?} {field:?}");
        }
    }

    #[test]
    fn where_nothing_is_asked_a_credential_means_nothing() {
        let access = Access::open(metrics());
        let judged =
            access.judge(&fields(&["Bearer a", "b"]), ([192, 0, 2, 1], 1).into(), Scheme::Http, Target::Operation("x"));
        assert_eq!(judged, Ok(Caller::Anonymous));
    }

    #[test]
    fn what_is_not_known_yet_is_forbidden_to_nobody_with_a_credential() {
        let rules = vec![Rule {
            subjects: vec!["user:n".parse().expect("a subject")],
            operations: vec!["a".parse().expect("a pattern")],
        }];
        let tokens = Tokens::parse(line("good", "n", &[]).as_bytes()).expect("tokens");
        let access = Access::with_tokens(tokens, Policy { rules, anonymous: false }, false, metrics());
        let kind = |field: &[&'static str], target| {
            let judged = access.judge(&fields(field), ([127, 0, 0, 1], 1).into(), Scheme::Http, target);
            judged.err().map(|problem| problem.kind)
        };
        let good = &["Bearer good"][..];
        for (target, with, without) in [
            (Target::Operation("a"), None, Some(Kind::Unauthorized)),
            (Target::Operation("b"), Some(Kind::Forbidden), Some(Kind::Unauthorized)),
            (Target::Nothing, Some(Kind::Forbidden), Some(Kind::Unauthorized)),
            (Target::NotKnownYet, None, Some(Kind::Unauthorized)),
        ] {
            assert_eq!((kind(good, target), kind(&[], target)), (with, without), "{target:?}");
        }
    }

    #[test]
    fn a_refusal_tells_the_scheme_and_the_remedy_and_repeats_nothing() {
        let access = with(false, false);
        let refused = |field| {
            access
                .judge(&fields(field), ([127, 0, 0, 1], 1).into(), Scheme::Http, Target::Operation("x"))
                .expect_err("refused")
        };
        let missing = refused(&[]);
        assert_eq!(missing.challenge, Some("Bearer realm=\"tidewait\""));
        let unknown = refused(&["Bearer s3cr3t"]);
        assert_eq!(unknown.challenge, Some("Bearer realm=\"tidewait\", error=\"invalid_token\""));
        assert!(!unknown.detail.contains("s3cr3t"), "{}", unknown.detail);
        let counted = [&access.metrics.missing, &access.metrics.invalid].map(IntCounter::get);
        assert_eq!(counted, [1, 1]);
    }

    #[test]
    fn a_token_that_is_gone_is_withdrawn_and_told_of() {
        let access = with(false, false);
        let withdrawals = access.withdrawals();
        let judge =
            |token| access.judge(&fields(&[token]), ([127, 0, 0, 1], 1).into(), Scheme::Http, Target::Operation("x"));
        let caller = judge("Bearer good").expect("it is good");
        let lines = [line("good", "n", &[]), line("new", "m", &[])].join("\n");
        access.replace(Tokens::parse(lines.as_bytes()).expect("tokens"));
        assert_eq!((caller.is_withdrawn(), withdrawals.count()), (false, 0), "it is still good");
        assert_eq!(judge("Bearer good"), Ok(caller.clone()));
        access.replace(Tokens::parse(line("new", "m", &[]).as_bytes()).expect("tokens"));
        assert_eq!((caller.is_withdrawn(), withdrawals.count()), (true, 1));
        assert!(judge("Bearer good").is_err() && judge("Bearer new").is_ok());
    }
}
