//! Who may: the one check that every request for an operation passes before anything else of it is looked at.
//!
//! Who sends it is found out first ([`Authentication`]), then what of the operation it may poll ([`Authorization`]). Both are
//! known at once for most requests; otherwise the request waits for the answer. Who has been let in and may no longer is lost
//! ([`Loss`]): no request of it is given a state any more, and [`Access::withdrawals`] tells those who hold parked ones.

use std::sync::Arc;

use futures::future::BoxFuture;
use http::{HeaderMap, header};

use crate::access::policy::{Allowance, ExchangeVerb, TopicVerb};
use crate::access::{Caller, Credential, Loss, Policy, Refusal, Tokens};
use crate::authentication::{Answer, Authentication, Peer, Schemes, Withdrawals};
use crate::authorization::{Allowed, Authorization, Decision, Denied};
use crate::config;
use crate::describe::Problem;
use crate::describe::problem::Kind;
use crate::model::Selection;
use crate::refusals::Asks;

mod metrics;

pub use metrics::Metrics;

/// Whose credentials are good, and what their owners may.
#[derive(Debug)]
pub struct Access {
    authentication: Arc<Authentication>,
    authorization: Arc<Authorization>,
    asks: Asks,
    /// Credentials are passed on to the app.
    forwards: bool,
    /// The app is told who sends a request.
    names: bool,
    metrics: Metrics,
}

/// What a request is for.
#[derive(Debug, Clone)]
pub(in crate::http) enum Target {
    /// An operation.
    Operation(Arc<config::Operation>),
    /// An exchange with this name, to which it does this.
    Exchange(ExchangeVerb, Arc<str>),
    /// A topic with this name, to which it does this.
    Topic(TopicVerb, Arc<str>),
    /// Nothing is at its path, which is this.
    Nothing(Box<str>),
    /// Not all operations are known yet, and none of those that are has its path.
    NotKnownYet,
}

/// A caller that may poll.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admitted {
    /// The caller, as its requests hold it.
    pub caller: Caller,
    /// The part of the model that it may see; absent: all of it.
    pub part: Option<Selection>,
}

/// What the check comes to.
pub(in crate::http) enum Judged {
    /// At once.
    Now(Result<Admitted, Problem>),
    /// Later; to be awaited on a runtime.
    Later(BoxFuture<'static, Result<Admitted, Problem>>),
}

impl Access {
    /// Whose credentials are good, and what their owners may.
    #[must_use]
    pub fn new(authentication: Arc<Authentication>, authorization: Arc<Authorization>, metrics: Metrics) -> Self {
        let [bearer, basic] = authentication.asks();
        let asks = Asks::of(bearer, basic);
        Self { authentication, authorization, asks, forwards: false, names: false, metrics }
    }

    /// No request is asked for a credential, and one that it brings means nothing.
    #[must_use]
    pub fn open(metrics: Metrics) -> Self {
        let policy = Policy { anonymous: true, ..Policy::default() };
        Self::by(Schemes::default(), policy, metrics)
    }

    /// Requests are asked for one of these tokens. `clear`: also over connections that others can read.
    #[must_use]
    pub fn with_tokens(tokens: Tokens, policy: Policy, clear: bool, metrics: Metrics) -> Self {
        Self::by(Schemes { tokens: Some(tokens), clear, ..Schemes::default() }, policy, metrics)
    }

    /// By these schemes, and by rules alone.
    #[must_use]
    pub fn by(schemes: Schemes, policy: Policy, metrics: Metrics) -> Self {
        let authentication = Authentication::new(schemes, metrics.credentials.clone(), Arc::default());
        Self::new(Arc::new(authentication), Arc::new(Authorization::by_rules(policy)), metrics)
    }

    /// The same, that passes credentials on to the app, or takes them out of its requests.
    #[must_use]
    pub fn forwarding(self, forwards: bool) -> Self {
        Self { forwards, ..self }
    }

    /// The same, that finds out who sends requests to the app, which is told so.
    #[must_use]
    pub fn naming(self, names: bool) -> Self {
        Self { names, ..self }
    }

    /// Takes the credential out of a request to the app, which is not to learn it: it could poll with it. Where no credential
    /// is asked for it is the app's.
    pub(in crate::http) fn keep_back(&self, headers: &mut HeaderMap) {
        if !self.forwards && self.asks != Asks::No {
            headers.remove(header::AUTHORIZATION);
        }
    }

    /// Credentials, as they are judged.
    #[must_use]
    pub fn authentication(&self) -> &Authentication {
        &self.authentication
    }

    /// Ends verdicts when their time is over; without end.
    pub async fn maintain(&self) {
        tokio::join!(self.authentication.maintain(), self.authorization.maintain());
    }

    /// Tells when somebody who was let in may no longer.
    #[must_use]
    pub fn withdrawals(&self) -> Withdrawals {
        self.authentication.withdrawals()
    }

    /// Who sends a request with these header fields over a connection, if it may.
    pub(in crate::http) fn judge(self: &Arc<Self>, headers: &HeaderMap, peer: Peer<'_>, target: &Target) -> Judged {
        match self.authentication.authenticate(headers, peer) {
            Answer::Now(answer) => match answer.map_err(|refusal| self.refuse(refusal)) {
                Ok(caller) => self.decide(caller, target),
                Err(problem) => Judged::Now(Err(problem)),
            },
            Answer::Later(answer) => {
                let (access, target) = (Arc::clone(self), target.clone());
                Judged::Later(Box::pin(async move {
                    let caller = answer.await.map_err(|refusal| access.refuse(refusal))?;
                    access.decide(caller, &target).await
                }))
            }
        }
    }

    /// Who sends a request for the app with these header fields over a connection, where the app is told so. It may be
    /// anybody, but a credential that is not good never makes it anonymous.
    pub(in crate::http) fn identify(self: &Arc<Self>, headers: &HeaderMap, peer: Peer<'_>) -> Judged {
        if !self.names {
            return Judged::Now(Ok(Admitted { caller: Caller::Anonymous, part: None }));
        }
        let admitted = |caller| Admitted { caller, part: None };
        match self.authentication.authenticate(headers, peer) {
            Answer::Now(answer) => Judged::Now(answer.map(admitted).map_err(|refusal| self.refuse(refusal))),
            Answer::Later(answer) => {
                let access = Arc::clone(self);
                Judged::Later(Box::pin(
                    async move { answer.await.map(admitted).map_err(|refusal| access.refuse(refusal)) },
                ))
            }
        }
    }

    /// Who polls an operation with this credential, if that is known at once, and it may see all of the model.
    pub(in crate::http) fn admitted(
        self: &Arc<Self>,
        credential: Option<Credential<'_>>,
        peer: Peer<'_>,
        operation: &Arc<config::Operation>,
    ) -> Option<Caller> {
        let caller = self.authentication.known(credential, peer)?;
        match self.authorization.decide(caller, &operation.name, &operation.access) {
            Decision::Now(Ok(Allowed { caller, parts: None })) => Some(caller),
            Decision::Now(_) | Decision::Later(_) => None,
        }
    }

    /// Whether a caller that was let in may do something else as well.
    pub(in crate::http) fn may(self: &Arc<Self>, caller: &Caller, target: &Target) -> Judged {
        match caller.lost() {
            Some(loss) => Judged::Now(Err(self.lost(loss))),
            None => self.decide(caller.clone(), target),
        }
    }

    /// That nothing is at a path is told to those alone who may poll everything, and finding that out takes as long as elsewhere.
    fn decide(self: &Arc<Self>, caller: Caller, target: &Target) -> Judged {
        let known = caller.clone();
        let decision = match target {
            Target::Operation(operation) => self.authorization.decide(caller, &operation.name, &operation.access),
            Target::Exchange(verb, name) => self.authorization.decide_exchange(caller, *verb, name),
            Target::Topic(verb, name) => self.authorization.decide_topic(caller, *verb, name),
            Target::Nothing(path) => self.authorization.decide_nothing(caller, path),
            // Its operation may come, and who is told 403 meanwhile would not try again.
            Target::NotKnownYet if caller != Caller::Anonymous || self.authorization.allows_anonymous() => {
                return Judged::Now(Ok(Admitted { caller, part: None }));
            }
            Target::NotKnownYet => return Judged::Now(Err(self.denied(&known, Denied::Forbidden))),
        };
        match decision {
            Decision::Now(decision) => Judged::Now(self.admit(&known, decision)),
            Decision::Later(decision) => {
                let access = Arc::clone(self);
                Judged::Later(Box::pin(async move { access.admit(&known, decision.await) }))
            }
        }
    }

    fn admit(&self, caller: &Caller, decision: Result<Allowed, Denied>) -> Result<Admitted, Problem> {
        let Allowed { caller, parts } = decision.map_err(|denied| self.denied(caller, denied))?;
        match parts.map(|parts| selection(&parts)).transpose() {
            Ok(part) => Ok(Admitted { caller, part: part.filter(|part| !part.is_whole()) }),
            Err(_) => Err(self.denied(&caller, Denied::Forbidden)),
        }
    }

    /// Whether a caller whose poll is parked may still be given what it looks at (absent: the whole).
    pub(in crate::http) fn still_allows(
        &self,
        caller: &Caller,
        operation: &config::Operation,
        selected: Option<&Selection>,
    ) -> Result<(), Loss> {
        if let Some(loss) = caller.lost() {
            return Err(loss);
        }
        let may = match self.authorization.still_allows(caller, &operation.name, &operation.access) {
            Allowance::Whole => true,
            Allowance::Nothing => false,
            Allowance::Parts(parts) => {
                selection(&parts).is_ok_and(|part| selected.is_some_and(|selected| part.covers(selected)))
            }
        };
        if may { Ok(()) } else { Err(Loss::Forbidden) }
    }

    /// Rules of an operation have changed: parked requests are judged again.
    pub fn rules_changed(&self) {
        self.authentication.withdraw();
    }

    /// The caller of a request that waited may no longer.
    pub(in crate::http) fn lost(&self, loss: Loss) -> Problem {
        match loss {
            Loss::Withdrawn => self.refuse(Refusal::Withdrawn),
            Loss::Unconfirmed => self.refuse(Refusal::Unavailable),
            Loss::Forbidden => self.forbid(),
        }
    }

    /// A request selects more than its caller may see.
    pub(in crate::http) fn forbid(&self) -> Problem {
        self.metrics.forbidden.inc();
        forbidden()
    }

    fn denied(&self, caller: &Caller, denied: Denied) -> Problem {
        match (caller, denied) {
            (_, Denied::Unavailable) => self.refuse(Refusal::Unavailable),
            (_, Denied::Limited) => self.refuse(Refusal::TooManyForbidden),
            (_, Denied::Crowded) => self.refuse(Refusal::Crowded),
            // Another one might, who has a credential.
            (Caller::Anonymous, Denied::Forbidden) => self.refuse(Refusal::Missing),
            (Caller::Known(_), Denied::Forbidden) => self.forbid(),
        }
    }

    /// Counts a refusal, and says what to do.
    fn refuse(&self, refusal: Refusal) -> Problem {
        self.metrics.of(refusal).inc();
        self.asks.problem(refusal)
    }
}

impl std::fmt::Debug for Judged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Now(judged) => f.debug_tuple("Now").field(judged).finish(),
            Self::Later(_) => f.debug_tuple("Later").finish(),
        }
    }
}

impl Future for Judged {
    type Output = Result<Admitted, Problem>;

    fn poll(self: std::pin::Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> std::task::Poll<Self::Output> {
        match self.get_mut() {
            Self::Now(judged) => std::task::Poll::Ready(judged.clone()),
            Self::Later(judged) => judged.as_mut().poll(cx),
        }
    }
}

/// It is not allowed, or nothing is there.
fn forbidden() -> Problem {
    Problem::new(
        Kind::Forbidden,
        "you may not do this, or there is nothing here: ask the operator for a rule that names you and the operation (get), the \
         exchange (submit, work) or the topic (get, publish)",
    )
}

/// Parts that rules allow.
fn selection(parts: &[String]) -> Result<Selection, crate::model::InvalidSelection> {
    Selection::parse(parts, parts.len())
}

#[cfg(test)]
mod tests;
