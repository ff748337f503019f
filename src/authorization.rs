//! What a caller may: rules decide at once ([`Policy`]); a [`Judge`] such as an API server is asked, and its verdicts are kept,
//! found out again while requests use them, and withdrawn ([`Inquiries`]).

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use futures::future::BoxFuture;
use prometheus::IntGauge;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::access::caller::{Caller, Known, Loss};
use crate::access::policy::{Allowance, ExchangeVerb, Policy, Rule, TopicVerb, Verb};
use crate::access::verdicts::{Lasts, Verdict};
use crate::authentication::budgets::Budgets;
use crate::authentication::inquiries::{Finding, Inquirer, Inquiries, Outcome};
use crate::authentication::pending::Pending;
use crate::bounds::{ACCESS_ALLOWED_FOR, CALLER_QUESTIONS_PENDING};

pub mod kubernetes;

/// Decides what the owners of credentials may, where that takes time.
#[async_trait]
pub trait Judge: fmt::Debug + Send + Sync {
    /// Whether `caller` may do this; an error: it cannot be found out now, and why, for operators. It has a deadline of its own.
    async fn allows(&self, caller: &Known, action: &Action) -> Result<bool, String>;
}

/// What a caller wants to do.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Action {
    /// Poll the operation with this name.
    Poll(Arc<str>),
    /// Do this to the exchange with this name.
    Exchange(ExchangeVerb, Arc<str>),
    /// Do this to the topic with this name.
    Topic(TopicVerb, Arc<str>),
    /// Do this at this path of the admin port.
    AtPath(Verb, &'static str),
}

/// A caller that may, and what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowed {
    /// The caller, as requests hold it: it is lost once it may no longer.
    pub caller: Caller,
    /// The parts of the model, as JSON Pointers; absent: all of it.
    pub parts: Option<Vec<String>>,
}

/// Why a caller may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denied {
    /// It is not allowed.
    Forbidden,
    /// It cannot be found out now.
    Unavailable,
    /// It is not found out now: too much was asked lately that is not allowed.
    Limited,
    /// It is not found out now: too much that it has asked for is being found out.
    Crowded,
}

/// Whether a caller may.
#[expect(missing_debug_implementations, reason = "a future has none")]
pub enum Decision {
    /// It is known at once.
    Now(Result<Allowed, Denied>),
    /// It has to be found out, on a runtime.
    Later(BoxFuture<'static, Result<Allowed, Denied>>),
}

/// What callers may.
#[derive(Debug)]
pub struct Authorization {
    policy: Policy,
    /// Whether the rules decide; otherwise the judge does, alone.
    by_rules: bool,
    judge: Option<Judged>,
}

/// Where a judge is asked.
#[derive(Debug)]
struct Judged {
    inquiries: Arc<Inquiries<Asked, ()>>,
    refused: Arc<Mutex<Refused>>,
    /// By caller, as well.
    pending: Arc<Pending<Box<str>>>,
}

/// How much each caller has asked for that it may not have. Questions about what is not there count as well: so what there is
/// can be told neither from the answers nor from the time that they take, and callers cannot make the judge do much.
type Refused = Budgets<Box<str>>;

/// A question to the judge.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Asked {
    known: Arc<Known>,
    action: Action,
}

/// As it is compared: by the owner as such, not by its name.
impl Hash for Asked {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (Arc::as_ptr(&self.known).addr(), &self.action).hash(state);
    }
}

impl Authorization {
    /// By rules alone.
    #[must_use]
    pub fn by_rules(policy: Policy) -> Self {
        Self { policy, by_rules: true, judge: None }
    }

    /// By a judge; `with_rules`: what they allow is what both allow. Anonymous callers are for the policy to decide.
    #[must_use]
    pub fn by_judge(
        policy: Policy,
        with_rules: bool,
        judge: Arc<dyn Judge>,
        kept: IntGauge,
        withdrawals: Arc<watch::Sender<u64>>,
    ) -> Self {
        let refused = Arc::<Mutex<Refused>>::default();
        let asks = Asks { judge, refused: Arc::clone(&refused) };
        let inquiries = Inquiries::new(Box::new(asks), Loss::Forbidden, withdrawals, kept);
        let pending = Pending::new(CALLER_QUESTIONS_PENDING);
        Self { policy, by_rules: with_rules, judge: Some(Judged { inquiries, refused, pending }) }
    }

    /// Ends verdicts of the judge when their time is over; without end.
    pub async fn maintain(&self) {
        match &self.judge {
            Some(judge) => Arc::clone(&judge.inquiries).maintain().await,
            None => std::future::pending().await,
        }
    }

    /// Whether `caller` may poll the operation with this name and these rules of its own.
    #[must_use]
    pub fn decide(&self, caller: Caller, operation: &str, own: &[Rule]) -> Decision {
        let allowance = match &caller {
            Caller::Known(_) if !self.by_rules => Allowance::Whole,
            Caller::Known(_) | Caller::Anonymous => self.policy.allows(own, &caller, operation),
        };
        let parts = match allowance {
            Allowance::Nothing => return Decision::Now(Err(Denied::Forbidden)),
            Allowance::Parts(parts) => Some(parts),
            Allowance::Whole => None,
        };
        self.ask_judge(caller, || Action::Poll(operation.into()), parts)
    }

    /// Whether `caller` may learn that no operation is at this path: whoever may poll all of them. A judge is asked as it is about
    /// one that is there.
    #[must_use]
    pub fn decide_nothing(&self, caller: Caller, path: &str) -> Decision {
        // No operation has such a name. Of one length, whatever a client has sent.
        let name = || format!("nothing/{}", blake3::hash(path.as_bytes()).to_hex()).into();
        self.decide_action(caller, Policy::allows_all, || Action::Poll(name()))
    }

    /// Whether `caller` may do this at this path of the admin port.
    #[must_use]
    pub fn decide_path(&self, caller: Caller, verb: Verb, path: &'static str) -> Decision {
        self.decide_action(
            caller,
            |policy, caller| policy.allows_path(caller, verb, path),
            || Action::AtPath(verb, path),
        )
    }

    /// Whether `caller` may do this to the exchange with this name.
    #[must_use]
    pub fn decide_exchange(&self, caller: Caller, verb: ExchangeVerb, name: &Arc<str>) -> Decision {
        self.decide_action(
            caller,
            |policy, caller| policy.allows_exchange(caller, verb, name),
            || Action::Exchange(verb, Arc::clone(name)),
        )
    }

    /// Whether `caller` may do this to the topic with this name.
    #[must_use]
    pub fn decide_topic(&self, caller: Caller, verb: TopicVerb, name: &Arc<str>) -> Decision {
        self.decide_action(
            caller,
            |policy, caller| policy.allows_topic(caller, verb, name),
            || Action::Topic(verb, Arc::clone(name)),
        )
    }

    /// Whether `caller` may do what is done whole or not at all. `allows`: whether the rules say so.
    fn decide_action(
        &self,
        caller: Caller,
        allows: impl FnOnce(&Policy, &Caller) -> bool,
        action: impl FnOnce() -> Action,
    ) -> Decision {
        let may = match &caller {
            Caller::Known(_) if !self.by_rules => true,
            Caller::Known(_) | Caller::Anonymous => allows(&self.policy, &caller),
        };
        if may { self.ask_judge(caller, action, None) } else { Decision::Now(Err(Denied::Forbidden)) }
    }

    /// What the judge says of what the rules allow, where there is one.
    fn ask_judge(&self, caller: Caller, action: impl FnOnce() -> Action, parts: Option<Vec<String>>) -> Decision {
        let (Caller::Known(known), Some(judge)) = (&caller, &self.judge) else {
            return Decision::Now(Ok(Allowed { caller, parts }));
        };
        let asked = Asked { known: Arc::clone(known), action: action() };
        if let Some(verdict) = judge.inquiries.find(&asked) {
            return Decision::Now(of(verdict, parts));
        }
        let refused = judge.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let name = Box::from(known.name());
        if !refused.may(&name, Instant::now().into_std()) {
            return Decision::Now(Err(Denied::Limited));
        }
        let (inquiries, pending) = (Arc::clone(&judge.inquiries), Arc::clone(&judge.pending));
        Decision::Later(Box::pin(async move {
            match inquiries.ask(asked, (), || pending.begin(name)).await {
                Outcome::Verdict(verdict) => of(verdict, parts),
                Outcome::Unavailable | Outcome::Full => Err(Denied::Unavailable),
                Outcome::NotBegun => Err(Denied::Crowded),
            }
        }))
    }

    /// What the rules allow of an operation now to a caller that was allowed to poll it.
    #[must_use]
    pub fn still_allows(&self, caller: &Caller, operation: &str, own: &[Rule]) -> Allowance {
        match caller {
            Caller::Known(_) if !self.by_rules => Allowance::Whole,
            Caller::Known(_) | Caller::Anonymous => self.policy.allows(own, caller, operation),
        }
    }

    /// Whether a caller without a credential may poll every operation, whatever there will be.
    #[must_use]
    pub fn allows_anonymous(&self) -> bool {
        self.policy.allows_all(&Caller::Anonymous)
    }
}

impl Decision {
    /// Waits until it is known.
    pub async fn known(self) -> Result<Allowed, Denied> {
        match self {
            Self::Now(decision) => decision,
            Self::Later(decision) => decision.await,
        }
    }
}

fn of(verdict: Verdict, parts: Option<Vec<String>>) -> Result<Allowed, Denied> {
    match verdict {
        Verdict::Good(permission) => Ok(Allowed { caller: Caller::Known(permission), parts }),
        Verdict::Bad(_) => Err(Denied::Forbidden),
    }
}

/// Asks the judge.
#[derive(Debug)]
struct Asks {
    judge: Arc<dyn Judge>,
    refused: Arc<Mutex<Refused>>,
}

#[async_trait]
impl Inquirer<Asked, ()> for Asks {
    async fn inquire(&self, asked: &Asked, (): ()) -> Finding<()> {
        match self.judge.allows(&asked.known, &asked.action).await {
            Ok(true) => {
                let until = Instant::now().into_std().checked_add(ACCESS_ALLOWED_FOR);
                Finding::Good(asked.known.with_permission(), Lasts { until, credential: None, again: true }, ())
            }
            Ok(false) => {
                let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
                refused.failed(asked.known.name().into(), Instant::now().into_std());
                Finding::Bad("is not allowed this")
            }
            Err(why) => {
                tracing::debug!(why, "it cannot be found out now what a caller may");
                Finding::Unavailable
            }
        }
    }
}

#[cfg(test)]
mod tests;
