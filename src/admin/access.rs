//! Who may ask what from another host: where `--admin-access` is given, what rules for paths or the API server allow to the
//! owners of the same credentials as on the port for clients. Whoever asks from the same host may do everything, and probes
//! are answered to all.

use std::sync::Arc;

use http::HeaderMap;
use http::request::Parts;
use prometheus::{IntCounterVec, Opts, Registry};

use super::route::{Need, Route};
use crate::access::credential::{Invalid, Refusal};
use crate::access::policy::Verb;
use crate::access::{Caller, Connection};
use crate::authentication::Authentication;
use crate::authorization::{Authorization, Denied};
use crate::describe::Problem;
use crate::describe::origin::Origins;
use crate::describe::problem::Kind;
use crate::refusals::Asks;

/// What requests from other hosts may.
#[derive(Debug)]
pub enum Others {
    /// Read everything, and change nothing.
    Read,
    /// The same, and only with a client certificate.
    ReadCertified,
    /// What the owners of their credentials are allowed.
    Judged(Check),
}

/// Whose credentials are good, and what their owners may.
#[derive(Debug)]
pub struct Check {
    authentication: Arc<Authentication>,
    authorization: Arc<Authorization>,
    asks: Asks,
}

/// Who may ask what, and how many were refused.
#[derive(Debug)]
pub struct Access {
    others: Others,
    refused: IntCounterVec,
}

/// Why a request is refused: for operators, and for who has sent it.
struct Refused(&'static str, Problem);

const REASONS: [&str; 9] =
    ["origin", "missing", "invalid", "clear", "withdrawn", "forbidden", "unknown", "crowded", "limited"];

impl Access {
    /// Other hosts may this.
    pub fn new(others: Others, registry: &Registry) -> prometheus::Result<Self> {
        let help = "Requests from other hosts that the admin port refused: without a credential, with one that is not good, over \
                    a connection that others can read, or withdrawn (401), not allowed (403), since who judges did not \
                    answer or too many are judged (503), or after too many bad credentials (429); and from any host, what a page of \
                    another origin would have changed (403).";
        let refused = IntCounterVec::new(Opts::new("tidewait_admin_refused_total", help), &["reason"])?;
        registry.register(Box::new(refused.clone()))?;
        for reason in REASONS {
            refused.with_label_values(&[reason]);
        }
        Ok(Self { others, refused })
    }

    /// Refuses what would change something and was sent by a page of another origin: a browser on this host sends it as if its user
    /// did.
    pub(super) fn own_page(&self, head: &Parts, route: Option<Route>) -> Result<(), Problem> {
        if !matches!(route.map(Route::need), Some(Need::Verb(Verb::Admin, _))) {
            return Ok(());
        }
        Origins::default().check(head).map_err(|_| {
            self.refused.with_label_values(&["origin"]).inc();
            let detail =
                "a page of another origin may not change anything here: send the request without Origin, as curl does";
            Problem::new(Kind::ForeignOrigin, detail)
        })
    }

    /// Who asks for this, if it may. Absent: the same host, or a probe.
    pub(super) async fn admit(
        &self,
        headers: &HeaderMap,
        peer: &Connection,
        route: Option<Route>,
    ) -> Result<Option<Caller>, Problem> {
        let need = route.map_or(Need::Known, Route::need);
        if need == Need::Nothing || peer.peer.ip().to_canonical().is_loopback() {
            return Ok(None);
        }
        let admitted = match (&self.others, need) {
            (Others::Judged(check), need) => check.judge(headers, peer, need).await,
            (Others::ReadCertified, _) if peer.certificate.is_none() => Err(Refused(
                "missing",
                Problem::new(
                    Kind::LoopbackOnly,
                    "this is for who shows a client certificate (--admin-tls-client-ca), or asks from the same host",
                ),
            )),
            (Others::Read | Others::ReadCertified, Need::Verb(Verb::Admin, path)) => {
                let detail = format!(
                    "{path} changes something: ask from the same host or pod, not from {}, or let other hosts show who they are \
                     (--admin-access)",
                    peer.peer
                );
                Err(Refused("forbidden", Problem::new(Kind::LoopbackOnly, detail)))
            }
            (Others::Read | Others::ReadCertified, Need::Nothing | Need::Known | Need::Verb(Verb::Get, _)) => {
                Ok(Caller::Anonymous)
            }
        };
        admitted.map(Some).map_err(|Refused(reason, problem)| {
            self.refused.with_label_values(&[reason]).inc();
            problem
        })
    }
}

impl Check {
    /// By these.
    #[must_use]
    pub fn new(authentication: Arc<Authentication>, authorization: Arc<Authorization>) -> Self {
        let [bearer, basic] = authentication.asks();
        Self { authentication, authorization, asks: Asks::of(bearer, basic) }
    }

    async fn judge(&self, headers: &HeaderMap, peer: &Connection, need: Need) -> Result<Caller, Refused> {
        let authenticated = self.authentication.authenticate(headers, peer.into()).known().await;
        let caller = authenticated.map_err(|refusal| self.refuse(refusal))?;
        let is_anonymous = caller == Caller::Anonymous;
        let Need::Verb(verb, path) = need else {
            // Nothing is there, which is no secret: the paths are in the documentation.
            return if is_anonymous { Err(self.refuse(Refusal::Missing)) } else { Ok(caller) };
        };
        match self.authorization.decide_path(caller, verb, path).known().await {
            Ok(allowed) => Ok(allowed.caller),
            Err(Denied::Unavailable) => Err(self.refuse(Refusal::Unavailable)),
            Err(Denied::Limited) => Err(self.refuse(Refusal::TooManyForbidden)),
            Err(Denied::Crowded) => Err(self.refuse(Refusal::Crowded)),
            // Another one might, who has a credential.
            Err(Denied::Forbidden) if is_anonymous => Err(self.refuse(Refusal::Missing)),
            Err(Denied::Forbidden) => {
                let detail = format!(
                    "you may not {verb} {path}: ask the operator for a rule that names you, with verbs: [{verb}] and paths: \
                     [{path}], or where Kubernetes decides for a ClusterRole with these verbs and nonResourceURLs",
                    verb = verb.as_str()
                );
                Err(Refused("forbidden", Problem::new(Kind::Forbidden, detail)))
            }
        }
    }

    fn refuse(&self, refusal: Refusal) -> Refused {
        let reason = match refusal {
            Refusal::Missing => "missing",
            Refusal::Invalid(Invalid::Clear) => "clear",
            Refusal::Invalid(Invalid::Several | Invalid::Scheme | Invalid::Form | Invalid::Judged(_)) => "invalid",
            Refusal::Withdrawn => "withdrawn",
            Refusal::Unavailable | Refusal::TooManyForbidden => "unknown",
            Refusal::Crowded => "crowded",
            Refusal::TooManyBad => "limited",
        };
        Refused(reason, self.asks.problem(refusal))
    }
}
