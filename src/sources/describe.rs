//! A model that another Tidewait serves: this process is a relay. Its states are taken with their ids, and never named anew.
//!
//! One poll is parked upstream, by the client that agents use. What requests of clients ask for beside it, because they may
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
use tokio::time::{Instant, sleep_until, timeout};

use super::reads::{Number, Reader};
use super::{Draft, Report, Reports};
use crate::bounds::{CATCH_UP, RELAY_READ_EVERY};
use crate::client::{self, Client, Confirmer, FailureKind, InvalidSetting, State, States, Status, is_same};
use crate::model::{Provenance, Since, SourceRevisions, StateId};
use crate::protocol::relay::Unfit;
use crate::protocol::{RelayPolicy, StatePath};

/// Waits until a state of this id is served, or what it was replaced by.
pub type Served = Box<dyn Fn(StateId) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// A source that is an operation of another Tidewait.
#[derive(Debug)]
pub struct DescribeSource {
    feed: Feed,
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

/// Where states come from.
#[derive(Debug)]
enum Feed {
    /// A client of its own: what is served is held.
    Client(States, client::Reports),
    /// An agent: what it holds is served.
    Agent(watch::Receiver<Option<State>>),
}

/// What the server of a relay is to it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Upstream {
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
    /// A read was not answered.
    ReadFailed(Number),
}

/// What the last answer said of the age of the state.
#[derive(Debug, Clone, PartialEq)]
enum Contact {
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
        Ok(Self { feed: Feed::Client(given, reports), status, confirmer: Confirmer::new(settings)?, held })
    }

    /// How the client is doing.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// Serves what an agent holds that has these settings.
    pub fn of_agent(settings: &client::Settings, holdings: Holdings) -> Result<Self, InvalidSetting> {
        let Holdings { held, status } = holdings;
        Ok(Self { feed: Feed::Agent(held), status, confirmer: Confirmer::new(settings)?, held: None })
    }
}

/// Follows the server until its reports are no longer received. `upstream` is kept current.
pub async fn run(
    source: DescribeSource,
    reader: Reader,
    served: Served,
    upstream: watch::Sender<Upstream>,
    reports: Reports,
) {
    let DescribeSource { feed, status, confirmer, held } = source;
    let only = match &feed {
        Feed::Client(..) => None,
        Feed::Agent(held) => Some(held.clone()),
    };
    let reads = answer_reads(confirmer, reader, (status.clone(), only), reports.clone());
    let follows = Follower { served, upstream, newest: held, contact: Contact::None };
    tokio::select! {
        () = follows.run(feed, status, reports) => {}
        () = reads => {}
    }
}

impl Feed {
    /// The next state, if `known` is the last one; none: there will be no more.
    async fn next(&mut self, known: Option<&str>) -> Option<State> {
        match self {
            Self::Client(states, _) => states.next().await,
            Self::Agent(held) => {
                let other = |held: &Option<State>| held.as_ref().is_some_and(|state| Some(state.id()) != known);
                held.wait_for(other).await.ok().and_then(|held| held.clone())
            }
        }
    }

    /// How long ago a state that has come was confirmed; none: this does not say that it is.
    fn age(&self, state: &State, status: &Status) -> Option<Duration> {
        let Self::Agent(_) = self else { return Some(state.age()) };
        // It may have taken long until it was held, or have been held since before the start.
        let is_newest = status.newest.as_deref().is_some_and(|id| is_same(id, state.id()));
        match contact(status) {
            Contact::Answered(_, age) if is_newest => Some(age),
            Contact::Answered(..) | Contact::Failed(_) | Contact::None => None,
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
            Self::Agent(_) => Some(Report::Lost { reason: format!("the server has {id}, which is not held here") }),
        }
    }
}

/// Takes what the parked poll brings.
struct Follower {
    served: Served,
    upstream: watch::Sender<Upstream>,
    /// The state that was reported last, with the newest id of it.
    newest: Option<State>,
    contact: Contact,
}

impl Follower {
    async fn run(mut self, mut feed: Feed, mut client: watch::Receiver<Status>, reports: Reports) {
        let mut unserved = None;
        loop {
            let is_served = async {
                match unserved {
                    Some(id) => (self.served)(id).await,
                    None => std::future::pending().await,
                }
            };
            let known = self.newest.as_ref().map(|state| state.id().to_owned());
            let report = tokio::select! {
                () = reports.closed() => return,
                () = is_served => {
                    // A relay holds what it serves.
                    unserved = None;
                    if let Some(state) = &self.newest {
                        feed.held(state.id());
                    }
                    None
                }
                state = feed.next(known.as_deref()) => {
                    let Some(state) = state else { return };
                    unserved = StateId::parse(state.id());
                    match draft(&state) {
                        Ok(draft) => {
                            let age = feed.age(&state, &client.borrow());
                            self.newest = Some(state);
                            Some(Relayed::Holds { draft, age, read: None }.into())
                        }
                        Err(why) => {
                            feed.rejected(state.id(), &why);
                            Some(Report::Lost { reason: why })
                        }
                    }
                }
                () = has_changed(&mut client, &self.contact) => {
                    let now = client.borrow().clone();
                    self.said(&now, &feed)
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
    fn said(&mut self, status: &Status, feed: &Feed) -> Option<Report> {
        self.contact = contact(status);
        let terms = status.terms.clone();
        let (path, policy) = terms.map(|terms| (terms.path, terms.policy)).unzip();
        let mut now = Upstream { path, policy: policy.flatten(), refusal: None, endpoint: status.endpoint.clone() };
        self.upstream.send_if_modified(|known| {
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
            Contact::None => None,
            Contact::Failed(why) => Some(Report::Lost { reason: why.clone() }),
            Contact::Answered(_, age) => {
                let id = status.newest.as_deref()?;
                let Some(known) = self.newest.as_ref().filter(|known| is_same(known.id(), id)) else {
                    return feed.without(id);
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

/// Asks the server whenever a client may hold a newer state than is served here. `only`: what an agent holds, where nothing
/// else is served, however new it is.
async fn answer_reads(
    mut confirmer: Confirmer,
    mut reader: Reader,
    (status, only): (watch::Receiver<Status>, Option<watch::Receiver<Option<State>>>),
    reports: Reports,
) {
    loop {
        reader.requested().await;
        let next = Instant::now() + RELAY_READ_EVERY;
        let read = reader.begin_read();
        let url = status.borrow().url;
        let asked = timeout(CATCH_UP, ask(&mut confirmer, url, &read.held)).await;
        let report = match asked {
            Ok(Ok(Some(draft))) if may_serve(only.as_ref(), &draft) => {
                Relayed::Holds { draft, age: None, read: Some(read.number) }
            }
            Ok(Err(why)) => {
                tracing::info!(why, "a client may hold a newer state, and the server did not say whether");
                Relayed::ReadFailed(read.number)
            }
            Ok(Ok(Some(_) | None)) | Err(_) => Relayed::ReadFailed(read.number),
        };
        if reports.send(report.into()).await.is_err() {
            return;
        }
        sleep_until(next).await;
    }
}

impl From<Relayed> for Report {
    fn from(relayed: Relayed) -> Self {
        Self::Relayed(relayed)
    }
}

/// Whether a state may be served: an agent serves what it holds.
fn may_serve(only: Option<&watch::Receiver<Option<State>>>, draft: &Draft) -> bool {
    let Some(only) = only else { return true };
    let held = only.borrow().as_ref().and_then(|state| StateId::parse(state.id()));
    held.is_some_and(|held| held.epoch == draft.epoch && held.digest == draft.content.digest())
}

/// What the server has, while clients hold these states.
async fn ask(confirmer: &mut Confirmer, url: usize, held: &[Since]) -> Result<Option<Draft>, String> {
    let mut found = None;
    for since in held {
        let state = confirmer.newest(url, &since.to_string()).await.map_err(|failure| failure.text)?;
        let draft = draft(&state)?;
        found = Some(Draft { provenance: Provenance::Read, ..draft });
    }
    Ok(found)
}

async fn has_changed(status: &mut watch::Receiver<Status>, known: &Contact) {
    if status.wait_for(|status| contact(status) != *known).await.is_err() {
        std::future::pending::<()>().await;
    }
}

fn contact(status: &Status) -> Contact {
    match (&status.failure, status.confirmed) {
        (Some((failure, _)), _) => Contact::Failed(failure.text.clone()),
        (None, Some((age, at))) => Contact::Answered(at, age),
        (None, None) => Contact::None,
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
