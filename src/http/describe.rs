//! A describe request, from its query to its answer: the task that drives a [`Poll`]. It passes states, the
//! time and the end of the process to the poll, and does what the poll decides.
//!
//! The future is cancel-safe: waiter, permits, live poll and gauge are guards.

use std::sync::Arc;

use http::Method;
use http::request::Parts;
use tokio::time::{Duration, Instant};

use super::connection::ConnectionState;
use crate::access::Caller;
use crate::describe::answer::{Representation, State};
use crate::describe::poll::{Action, Begin, Reason, Release};
use crate::describe::problem::Kind;
use crate::describe::{Answer, Arrival, Consistency, Decision, Poll, PollRequest, Problem, decision};
use crate::hub::{Effect, FanOutGuard, Missing, News, ParkPermit, Served, Subscription, Waiter};
use crate::lifecycle::stop;
use crate::operation::Operation;
use crate::registry::{AgentParkPermit, LivePoll};

/// What a describe request came to.
#[derive(Debug)]
pub struct DescribeOutcome {
    /// The answer.
    pub answer: Answer,
    /// How long it was held; zero if it was not.
    pub held: Duration,
    /// Kept until the answer is written.
    pub fan_out: Option<FanOutGuard>,
}

impl From<Answer> for DescribeOutcome {
    fn from(answer: Answer) -> Self {
        Self { answer, held: Duration::ZERO, fan_out: None }
    }
}

/// What a request asks of `operation`; none: `OPTIONS`. The head is not needed after this.
pub fn parse(
    operation: &Operation,
    Parts { method, uri, headers, .. }: &Parts,
) -> Result<Option<PollRequest>, Problem> {
    match *method {
        Method::GET | Method::HEAD => {
            let config = operation.config();
            PollRequest::parse(method, uri.query(), headers, config.wait, config.limits.pointers).map(Some)
        }
        Method::OPTIONS => Ok(None),
        _ => {
            let detail = format!("{method} is not for {}: send GET, HEAD or OPTIONS", operation.path);
            Err(Problem::new(Kind::MethodNotAllowed, detail))
        }
    }
}

/// Answers a request to `operation` that came on `connection`.
pub async fn answer(
    operation: &Operation,
    stop: &stop::Watch,
    connection: &ConnectionState,
    request: Result<Option<PollRequest>, Problem>,
) -> DescribeOutcome {
    let answered = match request {
        Ok(Some(request)) => poll(operation, stop, connection, request).await,
        Ok(None) => Ok(Answer::options().into()),
        Err(problem) => Err(problem),
    };
    answered.unwrap_or_else(|problem| Answer::problem(&problem, fastrand::f64()).into())
}

async fn poll(
    operation: &Operation,
    stop: &stop::Watch,
    connection: &ConnectionState,
    mut request: PollRequest,
) -> Result<DescribeOutcome, Problem> {
    let subscription = subscribe(operation, &request)?;
    let consistency = consistency(operation, &subscription, &request).await;
    let served = subscription.current().map_err(|missing| nothing(operation, missing))?;
    let arrival = decision::at_arrival(&request, &served.snapshot.id, consistency);
    let gives = arrival == Arrival::Answer(Decision::State);
    let caller = Caller::anonymous(Arc::clone(&connection.client));
    let live = operation.acknowledge(&mut request, &caller, &subscription, &served, gives);
    let is_paced = live.as_ref().is_some_and(LivePoll::is_paced);
    match Poll::begin(request, arrival, is_paced, Instant::now().into_std(), fastrand::f64()) {
        Begin::Answer(request, decision) => {
            let answering =
                Answering { operation, request: &request, live: live.as_ref(), subscription: &subscription };
            Ok(answering.answer(&served, decision).await?.into())
        }
        Begin::Hold(poll) => {
            // Parked requests do not keep it in memory.
            drop(served);
            hold(operation, stop, connection, live.as_ref(), subscription, poll).await
        }
    }
}

/// What is known of the current state, compared with what the client has been sent.
async fn consistency(operation: &Operation, subscription: &Subscription, request: &PollRequest) -> Consistency {
    let is_done = subscription.current().is_ok_and(|served| request.is_done_with(&served.snapshot.id));
    match request.newest() {
        Some(newest) if !is_done => operation.catch_up(newest).await,
        Some(_) | None => Consistency::Confirmed,
    }
}

/// Parks a request and answers it. Refusals for load come before.
async fn hold(
    operation: &Operation,
    stop: &stop::Watch,
    connection: &ConnectionState,
    live: Option<&LivePoll>,
    subscription: Arc<Subscription>,
    mut poll: Poll,
) -> Result<DescribeOutcome, Problem> {
    let place = live.map(|live| place(operation, live)).transpose()?;
    let mut waiter = subscription.park(permit(operation)?);
    let mut end = HoldEnd { operation, reason: None };
    let parked = Instant::now();
    let (release, current) = released(operation, stop, connection, &mut waiter, &mut poll).await;
    end.reason = Some(release.reason);
    let held = parked.elapsed();
    let fan_out = waiter.leave(release.put_off);
    drop(place);
    let current = current.map_err(|missing| nothing(operation, missing))?;
    let decision = release.decision.ok_or_else(|| nothing(operation, Missing::NoParts))?;
    let answering = Answering { operation, request: poll.request(), live, subscription: &subscription };
    let answer = answering.answer(&current, decision).await?;
    Ok(DescribeOutcome { answer, held, fan_out: Some(fan_out) })
}

/// Drives a poll until it is over. Also returns the state with which it ended.
async fn released(
    operation: &Operation,
    stop: &stop::Watch,
    connection: &ConnectionState,
    waiter: &mut Waiter,
    poll: &mut Poll,
) -> (Release, Result<Arc<Served>, Missing>) {
    let mut stop = stop.clone();
    let mut phase = stop::Phase::default();
    let mut half_closed = std::pin::pin!(connection.half_closed());
    let mut timer = std::pin::pin!(tokio::time::sleep_until(Instant::from_std(poll.deadline())));
    loop {
        let event = tokio::select! {
            // A change that is here is worth more than the end of the wait.
            biased;
            news = waiter.changed(|id| effect(poll, id)) => Event::News(news),
            () = &mut timer => Event::Deadline,
            () = &mut half_closed => Event::HalfClosed,
            next = stop.left(phase) => {
                phase = next;
                poll.on_drain(slot(next));
                timer.as_mut().reset(Instant::from_std(poll.deadline()));
                continue;
            }
        };
        let now = Instant::now().into_std();
        let current = match &event {
            Event::News(News::State(Some(served))) => Ok(Arc::clone(served)),
            Event::News(News::State(None)) => Err(Missing::NoParts),
            Event::News(News::Ended) | Event::Deadline | Event::HalfClosed => waiter.subscription().current(),
        };
        let id = current.as_ref().ok().map(|served| &served.snapshot.id);
        let action = match event {
            Event::News(News::State(_)) => poll.on_state(id, operation.wake_spread(), now, fastrand::f64()),
            Event::News(News::Ended) => poll.on_ended(id),
            Event::Deadline => poll.on_deadline(id, now),
            Event::HalfClosed => poll.on_half_closed(id),
        };
        match action {
            Action::Wait => timer.as_mut().reset(Instant::from_std(poll.deadline())),
            Action::Answer(release) => return (release, current),
        }
    }
}

/// What happens to a parked poll.
enum Event {
    News(News),
    Deadline,
    HalfClosed,
}

/// What a state means to a parked poll.
fn effect(poll: &Poll, id: Option<&crate::model::StateId>) -> Effect {
    if poll.concerns(id) {
        Effect::Wakes
    } else if id.is_some_and(|id| poll.is_blocked_by(id)) {
        Effect::Blocked
    } else {
        Effect::None
    }
}

/// When a request that is parked now is answered, as the process stops.
fn slot(phase: stop::Phase) -> std::time::Instant {
    let now = Instant::now();
    let slot = phase.drain.filter(|_| !phase.closing).map(|drain| drain.slot(now, fastrand::f64()));
    slot.unwrap_or(now).into_std()
}

/// Counts how holds end, also those whose client went away.
struct HoldEnd<'a> {
    operation: &'a Operation,
    reason: Option<Reason>,
}

impl Drop for HoldEnd<'_> {
    fn drop(&mut self) {
        let metrics = self.operation.hub.metrics();
        let counter = match self.reason {
            Some(Reason::Changed) => &metrics.changed,
            Some(Reason::Expired) => &metrics.expired,
            Some(Reason::Drained) => &metrics.drained,
            Some(Reason::Ended) => &metrics.ended,
            Some(Reason::HalfClosed) | None => &metrics.abandoned,
        };
        counter.inc();
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

/// What the request looks at.
fn subscribe(operation: &Operation, request: &PollRequest) -> Result<Arc<Subscription>, Problem> {
    operation.hub.subscribe(request.select.as_ref()).map_err(|too_many| {
        let name = &operation.name;
        let detail = format!("{too_many} (limits.selections of operation {name}): select what others do, or try again");
        Problem::retry(Kind::TooManySelections, 2, detail)
    })
}

/// Makes answers to a request.
struct Answering<'a> {
    operation: &'a Operation,
    request: &'a PollRequest,
    live: Option<&'a LivePoll>,
    subscription: &'a Subscription,
}

impl Answering<'_> {
    async fn answer(&self, served: &Served, decision: Decision) -> Result<Answer, Problem> {
        match decision {
            Decision::State => Ok(self.state(served).await),
            Decision::Unchanged => {
                let ahead = self.at_client_version(served);
                Ok(Answer::unchanged(
                    self.about(ahead.as_ref().unwrap_or(served), Some(crate::describe::Coding::Identity)),
                ))
            }
            Decision::NotModified => {
                let ahead = self.at_client_version(served);
                let served = ahead.as_ref().unwrap_or(served);
                // The tag of what a 200 would have carried (RFC 9110, section 15.4.5).
                let (coding, _) = served.bytes(self.request.coding).await;
                Ok(Answer::not_modified(self.about(served, Some(coding))))
            }
            Decision::Behind => {
                let detail =
                    "since names a newer state than this replica could confirm: try again, or another endpoint";
                Err(Problem::retry(Kind::NotConfirmed, 1, detail))
            }
        }
    }

    /// The state, or what leads to it.
    async fn state(&self, served: &Served) -> Answer {
        if let Some(live) = self.live {
            live.sent(&served.snapshot.id);
        }
        if let (true, Some(since)) = (self.request.delta, &self.request.since)
            && let Some(patch) = self.subscription.delta(served, since, self.request.coding).await
        {
            let digest = served.digest().await;
            let representation = Representation::delta(self.request, since, patch, digest);
            return Answer::state(self.about(served, None), representation);
        }
        let body = served.bytes(self.request.coding).await;
        let state = self.about(served, Some(body.0));
        let digest = served.digest().await;
        Answer::state(state, Representation::whole(self.request, served.fields(), body, digest))
    }

    fn about(&self, served: &Served, coding: Option<crate::describe::Coding>) -> State {
        State::new(self.request, served.fields(), coding, self.operation.freshness.age())
    }

    /// The same state at the version that the client has it at, if that is newer.
    fn at_client_version(&self, served: &Served) -> Option<Served> {
        served.at_least(self.request.version_of(&served.snapshot.id))
    }
}

/// There is nothing to answer with.
fn nothing(operation: &Operation, missing: Missing) -> Problem {
    if missing == Missing::NoParts {
        let detail = format!("the model of operation {} is opaque: leave select out to get it whole", operation.name);
        return Problem::new(Kind::SelectionNotOffered, detail);
    }
    let why = if operation.config().paused {
        "it is paused, and nothing was published since this process began: set paused to false until a state is served"
    } else {
        "its source has not given one, see /readyz and /state of the admin port"
    };
    Problem::retry(Kind::NoState, 1, format!("operation {} has no state yet: {why}", operation.name))
}
