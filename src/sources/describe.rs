//! A model that another Tidewait serves: this process is a relay. Its states are taken with their ids, and never named anew.
//!
//! One poll is parked server, by the client that agents use. What requests of clients ask for beside it, because they may
//! hold a newer state, goes on a connection of its own: [`Confirmer`].
//!
//! ```text
//!  upstream -> client -> Report::Relayed -> operation -> clients
//!     ^                       ^                 |  a client is ahead: a read, which names what it holds
//!     +------ Confirmer ------+-----------------+
//! ```

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::reads::{Number, Reader};
use super::{Draft, Report, Reports};
use crate::client::{self, Client, Confirmer, FailureKind, InvalidSetting, State, States, Status, is_same};
use crate::model::{Provenance, SourceRevisions, StateId};
use crate::protocol::relay::Unfit;
use crate::protocol::{RelayPolicy, StatePath};

mod reads;

use reads::answer_reads;

/// Waits until a state of this id is served, or what it was replaced by.
pub type Served = Box<dyn Fn(StateId) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// A source that is an operation of another Tidewait.
#[derive(Debug)]
pub struct DescribeSource {
    holder: Holder,
    status: watch::Receiver<Status>,
    confirmer: Confirmer,
    /// What is served already.
    held: Option<State>,
}

/// What an agent of this process holds, and how its client is doing: what it serves.
#[derive(Debug, Clone)]
pub struct Holdings {
    /// The state that it holds.
    pub held: watch::Receiver<Option<State>>,
    /// How its client is doing.
    pub status: watch::Receiver<Status>,
}

/// Whose states are served.
#[derive(Debug)]
enum Holder {
    /// A client of its own: what is served is held.
    Client(States, client::Reports),
    /// An agent: what it holds is served.
    Agent(watch::Receiver<Option<State>>),
}

/// What the server of a relay is to it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Server {
    /// `State-Path` of its last answer, once one came in this run; within: none, it sent none.
    pub path: Option<Option<StatePath>>,
    /// `Relay-Policy` of that answer; none: it sent none.
    pub policy: Option<RelayPolicy>,
    /// It lets this relay serve nobody.
    pub refusal: Option<Unfit>,
    /// Its endpoint, for people and for reports.
    pub endpoint: String,
}

/// What another Tidewait says of what it serves.
#[derive(Debug, Clone)]
pub enum Relayed {
    /// It holds this state.
    Holds {
        /// The state, with the id that it has there.
        draft: Draft,
        /// `State-Age` of the answer; none: no answer of this moment says that it is the newest.
        age: Option<Duration>,
        /// The read that the answer was for, which is completed by it.
        read: Option<Number>,
    },
    /// It still holds what it last gave.
    StillHolds {
        /// `State-Age` of the answer.
        age: Duration,
    },
    /// It holds something else, which is not held here yet.
    Behind {
        /// What, for logs and `/state`.
        reason: String,
    },
    /// A read was not answered.
    ReadFailed(Number),
}

/// What the last answer said of the age of the state.
#[derive(Debug, Clone, PartialEq)]
enum LastAnswer {
    /// None came yet, and none failed.
    None,
    /// One came, at this time, and the state was so old.
    Answered(std::time::Instant, Duration),
    /// None came.
    Failed(String),
}

impl DescribeSource {
    /// Starts to poll. `held`: the state that is served already.
    pub fn start(settings: &client::Settings, held: Option<State>) -> Result<Self, InvalidSetting> {
        let (given, reports) = Client::start(settings, held.clone())?;
        let status = reports.status();
        Ok(Self { holder: Holder::Client(given, reports), status, confirmer: Confirmer::new(settings)?, held })
    }

    /// How the client is doing.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// Serves what an agent holds that has these settings.
    pub fn of_agent(settings: &client::Settings, holdings: Holdings) -> Result<Self, InvalidSetting> {
        let Holdings { held, status } = holdings;
        Ok(Self { holder: Holder::Agent(held), status, confirmer: Confirmer::new(settings)?, held: None })
    }
}

/// Follows the server until its reports are no longer received. `server` is kept current.
pub async fn run(
    source: DescribeSource,
    reader: Reader,
    until_served: Served,
    server: watch::Sender<Server>,
    reports: Reports,
) {
    let DescribeSource { holder, status, confirmer, held } = source;
    let only = match &holder {
        Holder::Client(..) => None,
        Holder::Agent(held) => Some(held.clone()),
    };
    let reads = answer_reads(confirmer, reader, (status.clone(), only), reports.clone());
    let follows = Follower { until_served, server, newest: held, contact: LastAnswer::None };
    tokio::select! {
        () = follows.run(holder, status, reports) => {}
        () = reads => {}
    }
}

impl Holder {
    /// The next state, if `known` is the last one; none: there will be no more.
    async fn next(&mut self, known: Option<&str>) -> Option<State> {
        match self {
            Self::Client(states, _) => states.next().await,
            Self::Agent(held) => {
                let other = |held: &Option<State>| held.as_ref().is_some_and(|state| Some(state.id()) != known);
                match held.wait_for(other).await.map(|held| held.clone()) {
                    Ok(held) => held,
                    // The agent has ended; what it held is served until the port has drained.
                    Err(_) => std::future::pending().await,
                }
            }
        }
    }

    /// How long ago a state that has come was confirmed; none: this does not say that it is.
    fn age(state: &State, status: &Status) -> Option<Duration> {
        // The server may be gone by now; and an agent may have taken long until it held it, or have held it since before the
        // start.
        let is_newest = status.newest.as_deref().is_some_and(|id| is_same(id, state.id()));
        match contact(status) {
            LastAnswer::Answered(_, age) if is_newest => Some(age),
            LastAnswer::Answered(..) | LastAnswer::Failed(_) | LastAnswer::None => None,
        }
    }

    /// A state is served.
    fn held(&self, id: &str) {
        if let Self::Client(_, reports) = self {
            reports.held(id);
        }
    }

    /// A state cannot be served.
    fn rejected(&self, id: &str, why: &str) {
        if let Self::Client(_, reports) = self {
            reports.rejected(id, why);
        }
    }

    /// The server has a state that has not come here.
    fn without(&self, id: &str) -> Option<Report> {
        match self {
            // It is on its way, with its own age.
            Self::Client(..) => None,
            Self::Agent(_) => {
                Some(Relayed::Behind { reason: format!("the server has {id}, which is not held here") }.into())
            }
        }
    }
}

/// Takes what the parked poll brings.
struct Follower {
    until_served: Served,
    server: watch::Sender<Server>,
    /// The state that was reported last, with the newest id of it.
    newest: Option<State>,
    contact: LastAnswer,
}

impl Follower {
    async fn run(mut self, mut holder: Holder, mut client: watch::Receiver<Status>, reports: Reports) {
        let mut unserved: Option<(StateId, String)> = None;
        loop {
            let is_served = async {
                match &unserved {
                    Some((id, _)) => (self.until_served)(*id).await,
                    None => std::future::pending().await,
                }
            };
            let known = self.newest.as_ref().map(|state| state.id().to_owned());
            let report = tokio::select! {
                () = reports.closed() => return,
                () = is_served => {
                    // A relay holds what it serves.
                    if let Some((_, id)) = unserved.take() {
                        holder.held(&id);
                    }
                    None
                }
                state = holder.next(known.as_deref()) => {
                    let Some(state) = state else { return };
                    // By the id that it was given with: a newer version of it may be known until it is served.
                    unserved = StateId::parse(state.id()).map(|id| (id, state.id().to_owned()));
                    match draft(&state) {
                        Ok(draft) => {
                            let age = Holder::age(&state, &client.borrow());
                            self.newest = Some(state);
                            Some(Relayed::Holds { draft, age, read: None }.into())
                        }
                        Err(why) => {
                            holder.rejected(state.id(), &why);
                            Some(Report::Lost { reason: why })
                        }
                    }
                }
                () = has_changed(&mut client, &self.contact) => {
                    let now = client.borrow().clone();
                    self.said(&now, &holder)
                }
            };
            if let Some(report) = report
                && reports.send(report).await.is_err()
            {
                return;
            }
        }
    }

    /// What the status of the client says of the server, and of what it serves.
    fn said(&mut self, status: &Status, holder: &Holder) -> Option<Report> {
        self.contact = contact(status);
        let terms = status.terms.clone();
        let (path, policy) = terms.map(|terms| (terms.path, terms.policy)).unzip();
        let mut now = Server { path, policy: policy.flatten(), refusal: None, endpoint: status.endpoint.clone() };
        self.server.send_if_modified(|known| {
            if now.path == Some(None) && (&now.path, &now.endpoint) != (&known.path, &known.endpoint) {
                tracing::warn!(
                    endpoint = now.endpoint,
                    "the server sends no State-Path, as versions before relays do, so it counts as a root: update it, or a ring of relays through it is not noticed"
                );
            }
            now.refusal = refusal(status, known.refusal);
            let differs = *known != now;
            *known = now;
            differs
        });
        match &self.contact {
            LastAnswer::None => None,
            LastAnswer::Failed(why) => Some(Report::Lost { reason: why.clone() }),
            LastAnswer::Answered(_, age) => {
                let id = status.newest.as_deref()?;
                let Some(known) = self.newest.as_ref().filter(|known| is_same(known.id(), id)) else {
                    return holder.without(id);
                };
                if known.id() == id {
                    return Some(Relayed::StillHolds { age: *age }.into());
                }
                let anew = known.at(id);
                let report =
                    draft(&anew).ok().map(|draft| Relayed::Holds { draft, age: Some(*age), read: None }.into());
                self.newest = Some(anew);
                report
            }
        }
    }
}

impl From<Relayed> for Report {
    fn from(relayed: Relayed) -> Self {
        Self::Relayed(relayed)
    }
}

async fn has_changed(status: &mut watch::Receiver<Status>, known: &LastAnswer) {
    if status.wait_for(|status| contact(status) != *known).await.is_err() {
        std::future::pending::<()>().await;
    }
}

fn contact(status: &Status) -> LastAnswer {
    match (&status.failure, status.confirmed) {
        (Some((failure, _)), _) => LastAnswer::Failed(failure.text.clone()),
        (None, Some((age, at))) => LastAnswer::Answered(at, age),
        (None, None) => LastAnswer::None,
    }
}

/// Why the server lets this relay serve nobody: what it said last, until an answer says otherwise.
fn refusal(status: &Status, known: Option<Unfit>) -> Option<Unfit> {
    let Some((failure, _)) = &status.failure else { return known.filter(|_| status.confirmed.is_none()) };
    if let FailureKind::Unfit(unfit) = failure.kind
        && unfit.is_policy()
    {
        return Some(unfit);
    }
    known
}

/// A state as it came, with its own id.
fn draft(state: &State) -> Result<Draft, String> {
    let Some(id) = StateId::parse(state.id()) else {
        return Err(format!("{} is not an id of this version: update this relay", state.id()));
    };
    Ok(Draft {
        epoch: id.epoch,
        version: id.version,
        content: state.content().clone(),
        // The client names what it holds, so an older one is the truth of a source that was restored.
        provenance: if state.is_older() { Provenance::Read } else { Provenance::Stream },
        revisions: SourceRevisions::NONE,
        source_objects: std::sync::Arc::default(),
        seen: Instant::now(),
    })
}
