//! A describe request, from its query to its answer: the task that drives a [`Poll`]. It passes states, the
//! time and the end of the process to the poll, and does what the poll decides.
//!
//! The future is cancel-safe: waiter, permits, live poll and gauge are guards.

use std::sync::Arc;

use tokio::time::{Duration, Instant};

use super::access::{Access, Admitted};
use super::connection::ConnectionState;
use crate::access::{Caller, Loss};
use crate::authentication::Withdrawals;
use crate::describe::poll::{Action, Reason, Release};
use crate::describe::{Answer, Consistency, Poll, PollRequest, Problem};
use crate::hub::{Effect, FanOutGuard, Missing, News, Served, Waiter, Who};
use crate::lifecycle::stop;
use crate::operation::Operation;

mod answering;
mod arrive;

pub(super) use answering::not_confirmed;
pub(super) use arrive::nothing;
pub use arrive::{Arrived, Asked, Asking, ParkedAgent, Parking, narrow, parse};

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

/// Answers a request to `operation` that came on `connection`, and may.
pub async fn answer(
    operation: &Arc<Operation>,
    (access, admitted): (&Access, Admitted),
    stop: &stop::Watch,
    connection: &ConnectionState,
    asked: Result<Asked, Problem>,
) -> DescribeOutcome {
    let Admitted { caller, part } = admitted;
    let answered = match asked {
        Ok(Asked::Poll(request)) => match narrow(request, part) {
            Some(request) => poll(operation, (access, caller), stop, connection, request).await,
            None => Err(access.forbid()),
        },
        Ok(Asked::Options) => Ok(Answer::options().into()),
        Err(problem) => Err(problem),
    };
    answered.unwrap_or_else(|problem| Answer::problem(&problem, fastrand::f64()).into())
}

async fn poll(
    operation: &Arc<Operation>,
    (access, caller): (&Access, Caller),
    stop: &stop::Watch,
    connection: &ConnectionState,
    mut request: PollRequest,
) -> Result<DescribeOutcome, Problem> {
    let report = request.take_report();
    let asking = Asking::new(Arc::clone(operation), Arc::new(request), caller)?;
    let mut current = asking.subscription.current();
    let consistency = match asking.claims(&current) {
        Some(claimed) => {
            let consistency = operation.catch_up(claimed).await;
            current = asking.subscription.current();
            consistency
        }
        None => Consistency::Confirmed,
    };
    if let Some(loss) = loss(access, &asking) {
        return Err(access.lost(loss));
    }
    match asking.arrive(current, consistency, report, || Arc::clone(&connection.client))? {
        Arrived::Answer(decision, served, live) => Ok(asking.answer(&served, decision, live.as_ref()).await?.into()),
        Arrived::Park(parking) => hold(&asking, access, stop, connection, parking).await,
    }
}

/// Why a poll whose caller was let in may be given nothing any more; none: it may. One whose groups have changed is judged by
/// those that it has now.
pub(super) fn loss(access: &Access, asking: &Asking) -> Option<Loss> {
    let Asking { operation, caller, request, .. } = asking;
    if !caller.has_changed() {
        return caller.lost();
    }
    access.still_allows(caller, &operation.config(), request.select.as_ref()).err()
}

/// Parks a request and answers it.
async fn hold(
    asking: &Asking,
    access: &Access,
    stop: &stop::Watch,
    connection: &ConnectionState,
    Parking { mut poll, permit, agent }: Parking,
) -> Result<DescribeOutcome, Problem> {
    let operation = &asking.operation;
    let (live, place) = agent.map(|agent| (agent.live, agent.place)).unzip();
    let mut waiter = asking.subscription.park(permit);
    let mut end = HoldEnd { operation, reason: None };
    let parked = Instant::now();
    let (release, current) = released(asking, access, stop, connection, &mut waiter, &mut poll).await;
    end.reason = Some(release.reason);
    let held = parked.elapsed();
    let fan_out = waiter.leave(release.put_off);
    drop(place);
    let operation_config = operation.config();
    if let Err(loss) = access.still_allows(&asking.caller, &operation_config, asking.request.select.as_ref()) {
        return Err(access.lost(loss));
    }
    let current = current.map_err(|missing| nothing(operation, missing))?;
    let decision = release.decision.ok_or_else(|| nothing(operation, Missing::NoParts))?;
    let answer = asking.answer(&current, decision, live.as_ref()).await?;
    Ok(DescribeOutcome { answer, held, fan_out: Some(fan_out) })
}

/// Drives a poll until it is over. Also returns the state with which it ended.
async fn released(
    asking: &Asking,
    access: &Access,
    stop: &stop::Watch,
    connection: &ConnectionState,
    waiter: &mut Waiter,
    poll: &mut Poll,
) -> (Release, Result<Arc<Served>, Missing>) {
    let operation = &asking.operation;
    let mut stop = stop.clone();
    let mut withdrawals = access.withdrawals();
    let mut phase = stop::Phase::default();
    let mut half_closed = std::pin::pin!(connection.half_closed());
    let mut timer = std::pin::pin!(tokio::time::sleep_until(Instant::from_std(poll.deadline())));
    let mut told = waiter.subscription().told();
    let mut count = told.borrow_and_update().count;
    loop {
        let event = tokio::select! {
            // A change that is here is worth more than the end of the wait.
            biased;
            news = waiter.changed(|id| effect(poll, id)) => Event::News(news),
            () = lost(access, asking, &mut withdrawals) => {
                return (poll.on_withdrawn(), waiter.subscription().current());
            }
            () = &mut timer => Event::Deadline,
            () = &mut half_closed => Event::HalfClosed,
            // The sender lives in the hub.
            Ok(telling) = told.wait_for(|telling| telling.count != count) => {
                count = telling.count;
                if telling.who == Who::All || poll.request().relay.is_some() {
                    poll.on_told(told_slot(telling.within));
                    timer.as_mut().reset(Instant::from_std(poll.deadline()));
                }
                continue;
            }
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

/// Waits until the caller of a parked poll may no longer.
async fn lost(access: &Access, asking: &Asking, withdrawals: &mut Withdrawals) {
    let Asking { operation, caller, request, .. } = asking;
    loop {
        // Before the look, so that none falls in between.
        let seen = withdrawals.count();
        if access.still_allows(caller, &operation.config(), request.select.as_ref()).is_err() {
            return;
        }
        withdrawals.more_than(seen).await;
    }
}

/// What happens to a parked poll.
enum Event {
    News(News),
    Deadline,
    HalfClosed,
}

/// What a state means to a parked poll.
pub(super) fn effect(poll: &Poll, id: Option<&crate::model::StateId>) -> Effect {
    if poll.concerns(id) {
        Effect::Wakes
    } else if id.is_some_and(|id| poll.is_blocked_by(id)) {
        Effect::Blocked
    } else {
        Effect::None
    }
}

/// When a request that is parked now is answered, as the process stops.
pub(super) fn slot(phase: stop::Phase) -> std::time::Instant {
    let now = Instant::now();
    let slot = phase.drain.filter(|_| !phase.closing).map(|drain| drain.slot(now, fastrand::f64()));
    slot.unwrap_or(now).into_std()
}

/// When a request that is parked now is told of another freshness.
pub(super) fn told_slot(within: Duration) -> std::time::Instant {
    (Instant::now() + within.mul_f64(fastrand::f64())).into_std()
}

/// Counts how holds end, also those whose client went away.
struct HoldEnd<'a> {
    operation: &'a Operation,
    reason: Option<Reason>,
}

impl Drop for HoldEnd<'_> {
    fn drop(&mut self) {
        self.operation.hub.metrics().released(self.reason).inc();
    }
}
