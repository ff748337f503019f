//! A describe request that arrives: what it looks at, what is known of it, and whether it is answered or parked.

use std::sync::Arc;

use http::Method;
use http::request::Parts;
use tokio::time::Instant;

use crate::access::{Caller, Connection};
use crate::bounds::RELAY_POLICY_RETRY;
use crate::describe::poll::Begin;
use crate::describe::problem::Kind;
use crate::describe::request::Report;
use crate::describe::{Arrival, Consistency, Decision, Poll, PollRequest, Problem, decision};
use crate::hub::{Missing, ParkPermit, Served, Subscription};
use crate::model::{Selection, Since};
use crate::operation::Operation;
use crate::registry::{Acknowledgement, AgentKey, AgentParkPermit, LivePoll};

/// What a request of a describe path asks for.
#[derive(Debug)]
pub enum Asked {
    /// A state: GET or HEAD.
    Poll(PollRequest),
    /// The methods: `OPTIONS`.
    Options,
}

/// A poll, and what it looks at.
#[derive(Debug, Clone)]
pub struct Asking {
    /// The operation.
    pub operation: Arc<Operation>,
    /// The view.
    pub subscription: Arc<Subscription>,
    /// What it asks for.
    pub request: Arc<PollRequest>,
    /// Who asks.
    pub caller: Caller,
}

/// What becomes of a poll that has arrived.
#[derive(Debug)]
pub enum Arrived {
    /// It is answered.
    Answer(Decision, Arc<Served>, Option<LivePoll>),
    /// It is parked.
    Park(Parking),
}

/// A poll that is to be parked. All that may refuse it has been asked.
#[derive(Debug)]
pub struct Parking {
    /// The poll.
    pub poll: Poll,
    /// Its place at the operation.
    pub permit: ParkPermit,
    /// Its agent's poll, and its place among those; absent: its client is no agent.
    pub agent: Option<Box<ParkedAgent>>,
}

/// What a parked poll holds of its agent.
#[derive(Debug)]
pub struct ParkedAgent {
    /// The poll, as the agent's entry knows it.
    pub live: LivePoll,
    /// A place among the polls that the agent may have parked.
    pub place: AgentParkPermit,
}

/// A poll of the part of the model that its caller may see (absent: all); none: it selects something else. A relay that selects
/// nothing would take the part for the whole, and show it as that.
#[must_use]
pub fn narrow(request: PollRequest, part: Option<Selection>) -> Option<PollRequest> {
    match (part, &request.select) {
        (Some(part), None) if request.relay.is_some() && !part.is_whole() => None,
        (Some(part), Some(select)) => part.covers(select).then_some(request),
        (Some(part), None) => Some(PollRequest { select: Some(part), ..request }),
        (None, _) => Some(request),
    }
}

/// What a request asks of `operation`. The head is not needed after this.
pub fn parse(operation: &Operation, Parts { method, uri, headers, .. }: &Parts) -> Result<Asked, Problem> {
    match *method {
        Method::GET | Method::HEAD => {
            let config = operation.config();
            PollRequest::parse(method, uri.query(), headers, config.wait, config.limits.pointers).map(Asked::Poll)
        }
        Method::OPTIONS => Ok(Asked::Options),
        _ => {
            let detail = format!("{method} is not for {}: send GET, HEAD or OPTIONS", operation.path);
            Err(Problem::new(Kind::MethodNotAllowed, detail))
        }
    }
}

impl Asking {
    /// A poll of `operation` by a caller that may.
    pub fn new(operation: Arc<Operation>, request: Arc<PollRequest>, caller: Caller) -> Result<Self, Problem> {
        held(&operation, request.select.as_ref())?;
        let subscription = operation.hub.subscribe(request.select.as_ref()).map_err(|too_many| {
            let name = &operation.name;
            let detail =
                format!("{too_many} (limits.selections of operation {name}): select what others do, or try again");
            Problem::retry(Kind::TooManySelections, 2, detail)
        })?;
        Ok(Self { operation, subscription, request, caller })
    }

    /// The state that the client has been sent and that may be newer than `current`, which then has to be confirmed, and
    /// looked up again.
    #[must_use]
    pub fn claims(&self, current: &Result<Arc<Served>, Missing>) -> Option<&Since> {
        let newest = self.request.newest()?;
        let is_done = current.as_ref().is_ok_and(|served| self.request.is_done_with(&served.snapshot.id));
        (!is_done).then_some(newest)
    }

    /// Compares the poll with the current state, of which `consistency` was known before it was looked up. `connection` is
    /// asked for only if the client is an agent.
    pub fn arrive(
        &self,
        current: Result<Arc<Served>, Missing>,
        consistency: Consistency,
        report: Report,
        connection: impl FnOnce() -> Arc<Connection>,
    ) -> Result<Arrived, Problem> {
        let Self { operation, subscription, request, caller } = self;
        relayed(operation, request)?;
        let served = current.map_err(|missing| nothing(operation, missing))?;
        let arrival = match decision::at_arrival(request, &served.snapshot.id, consistency) {
            // It refuses what has no root, and is to learn that now.
            Arrival::Park(_) if request.relay.is_some() && !operation.lineage.way().is_rooted() => {
                Arrival::Answer(decision::at_end(request, &served.snapshot.id))
            }
            arrival @ (Arrival::Park(_) | Arrival::Answer(_)) => arrival,
        };
        let gives = arrival == Arrival::Answer(Decision::State);
        // What is only asked acknowledges nothing.
        let key = AgentKey::of(caller.identity(), report.agent.as_deref()).filter(|_| !request.is_a_question());
        let live = key.map(|key| {
            let acknowledgement = Acknowledgement {
                key,
                acknowledged: request.since,
                rejected: request.rejected.as_ref().map(|rejected| rejected.state),
                applying: request.applying.as_deref().copied(),
                reason: report.reason,
                connection: connection(),
            };
            operation.acknowledge(acknowledgement, subscription, &served, gives)
        });
        let is_paced = live.as_ref().is_some_and(LivePoll::is_paced);
        let now = Instant::now().into_std();
        match Poll::begin(Arc::clone(request), arrival, is_paced, now, fastrand::f64()) {
            Begin::Answer(decision) => Ok(Arrived::Answer(decision, served, live)),
            Begin::Hold(poll) => {
                // Parked requests do not keep it in memory.
                drop(served);
                let park = |live| place(operation, &live).map(|place| Box::new(ParkedAgent { live, place }));
                let agent = live.map(park).transpose()?;
                Ok(Arrived::Park(Parking { poll, permit: permit(operation)?, agent }))
            }
        }
    }
}

/// A relay that holds a part of a model answers for no other part: what it does not know is not nothing.
fn held(operation: &Operation, select: Option<&Selection>) -> Result<(), Problem> {
    let way = operation.lineage.way();
    let Some(part) = way.part().filter(|part| !select.is_some_and(|select| part.covers(select))) else { return Ok(()) };
    let names: Vec<_> = part.pointers().iter().map(ToString::to_string).collect();
    let detail = format!(
        "this relay holds {} alone: select that, or what is below it, or ask another endpoint for the rest",
        names.join(" and ")
    );
    Err(Problem::new(Kind::NotHeld, detail))
}

/// Whether the states of an operation may be served to who asks, as far as that is about relays.
fn relayed(operation: &Operation, request: &PollRequest) -> Result<(), Problem> {
    let way = operation.lineage.way();
    if let Some(unfit) = way.refusal() {
        let detail = format!("the server of this relay does not let it serve this operation: {unfit}");
        return Err(Problem::retry(Kind::RelayPolicy, RELAY_POLICY_RETRY, detail));
    }
    match &request.relay {
        Some(relay) if way.contains(relay) => {
            let detail = "the states of this operation come through the relay that asks: let it ask another endpoint";
            Err(Problem::new(Kind::Loop, detail))
        }
        Some(_) | None => Ok(()),
    }
}

/// One of the places that an agent has to be parked.
fn place(operation: &Operation, live: &LivePoll) -> Result<AgentParkPermit, Problem> {
    live.park(operation.config().parked_per_agent).map_err(|too_many| {
        let agent = live.key().name();
        let detail = format!("{too_many} (Agent-Id {agent}): end one, or give each client its own Agent-Id");
        Problem::retry(Kind::TooManyParked, 1, detail)
    })
}

/// One of the places that the operation has.
fn permit(operation: &Operation) -> Result<ParkPermit, Problem> {
    operation.hub.park().map_err(|full| {
        let detail = format!("{full} (limits.parked of operation {}): try again, or another endpoint", operation.name);
        Problem::retry(Kind::Overloaded, 2, detail)
    })
}

/// There is nothing to answer with.
pub(in crate::http) fn nothing(operation: &Operation, missing: Missing) -> Problem {
    if missing == Missing::NoParts {
        let detail = format!(
            "the model of operation {} is opaque: leave select out to get it whole; where a rule gives you a part of it alone, \
             there is none: ask the operator",
            operation.name
        );
        return Problem::new(Kind::SelectionNotOffered, detail);
    }
    let why = if operation.config().paused {
        "it is paused, and nothing was published since this process began: set paused to false until a state is served"
    } else {
        "its source has not given one, see /readyz and /state of the admin port"
    };
    Problem::retry(Kind::NoState, 1, format!("operation {} has no state yet: {why}", operation.name))
}
