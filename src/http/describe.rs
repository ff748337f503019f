//! A describe request, from its query to its answer: refuse, answer, or park and then answer.
//!
//! Dropping the future at any await gives everything back: seat, place, poll and gauge are guards.

use std::sync::Arc;

use http::request::Parts;
use http::{Method, Response};
use tokio::time::{Duration, Instant};

use super::connection::Connection;
use super::reply::{self, About, Body};
use crate::bounds::PACE_HOLD;
use crate::describe::problem::Kind;
use crate::describe::{Arrival, Choice, Problem, Standing, Want, answer};
use crate::fleet::{LivePoll, Place};
use crate::hub::{Hold, Missing, Seat, Served, Viewer};
use crate::lifecycle::stop;
use crate::operation::Operation;

/// A hold is shortened by up to this share of it, so that clients that parked together do not
/// come back together.
const WAIT_JITTER: f64 = 0.1;

/// What a describe request came to.
#[derive(Debug)]
pub struct Outcome {
    /// The answer.
    pub response: Response<Body>,
    /// How long it was held; zero if it was not.
    pub held: Duration,
}

/// Why a hold ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Released,
    Expired,
    Drained,
    /// The operation has ended.
    Ended,
    /// The client has sent all that it will send, and is probably gone.
    HalfClosed,
}

/// A hold that ended.
struct Held<'a> {
    watchdog: Watchdog<'a>,
    seat: Seat,
    /// The state that released it.
    released_by: Option<Arc<Served>>,
    /// How long it was put off after that, on purpose.
    spread: Duration,
}

/// Counts how holds end, also those whose client went away.
struct Watchdog<'a> {
    operation: &'a Operation,
    end: Option<End>,
}

/// What a request asks of `operation`; none: `OPTIONS`. The head is not needed after this.
pub fn asked(operation: &Operation, Parts { method, uri, headers, .. }: &Parts) -> Result<Option<Want>, Problem> {
    match *method {
        Method::GET | Method::HEAD => {
            let config = operation.config();
            Want::parse(method, uri.query(), headers, config.wait, config.limits.pointers).map(Some)
        }
        Method::OPTIONS => Ok(None),
        _ => {
            let detail = format!("{method} is not for {}: send GET, HEAD or OPTIONS", operation.path);
            Err(Problem::new(Kind::MethodNotAllowed, detail))
        }
    }
}

/// Answers a request to `operation` that asks for this and came on `connection`.
pub async fn answer(
    operation: &Operation,
    stop: &stop::Watch,
    connection: &Connection,
    asked: Result<Option<Want>, Problem>,
) -> Outcome {
    let arrived = Instant::now();
    let answered = match asked {
        Ok(Some(want)) => try_answer(operation, stop, connection, want).await,
        Ok(None) => Ok((reply::options(), None)),
        Err(problem) => Err(problem),
    };
    match answered {
        Ok((response, end)) => {
            let held = if end.is_some() { arrived.elapsed() } else { Duration::ZERO };
            Outcome { response, held }
        }
        Err(problem) => Outcome { response: reply::problem(&problem, fastrand::f64()), held: Duration::ZERO },
    }
}

async fn try_answer(
    operation: &Operation,
    stop: &stop::Watch,
    connection: &Connection,
    mut want: Want,
) -> Result<(Response<Body>, Option<End>), Problem> {
    let viewer = viewer(operation, &want)?;
    let is_done = viewer.current().is_ok_and(|served| want.is_done_with(&served.snapshot.id));
    let standing = match want.newest() {
        Some(newest) if !is_done => operation.catch_up(newest).await,
        Some(_) | None => Standing::Confirmed,
    };
    let served = viewer.current().map_err(|missing| nothing(operation, missing))?;
    let arrival = answer::at_arrival(&want, &served.snapshot.id, standing);
    let gives = arrival == Arrival::Answer(Choice::State);
    let poll = operation.acknowledge(&mut want, &connection.agents, &viewer, &served, gives);
    let poll = poll.as_ref();
    match arrival {
        Arrival::Answer(Choice::State) if poll.is_some_and(LivePoll::is_paced) => {
            let held = hold(operation, stop, connection, poll, &viewer, PACE_HOLD, |_| false).await?;
            finish(operation, &want, poll, &viewer, held).await
        }
        Arrival::Answer(choice) => Ok((respond(operation, &want, poll, &viewer, &served, choice, None).await?, None)),
        Arrival::Park(longest) => {
            let longest = longest.mul_f64(1.0 - WAIT_JITTER * fastrand::f64());
            // Not kept by those who wait for the next.
            drop(served);
            let releases = |served: &Served| answer::releases(&want, &served.snapshot.id);
            let held = hold(operation, stop, connection, poll, &viewer, longest, releases).await?;
            finish(operation, &want, poll, &viewer, held).await
        }
    }
}

/// Parks: registers, compares, waits. Refusals for load come before.
async fn hold<'a>(
    operation: &'a Operation,
    stop: &stop::Watch,
    connection: &Connection,
    poll: Option<&LivePoll>,
    viewer: &Viewer,
    longest: Duration,
    releases: impl Fn(&Served) -> bool,
) -> Result<Held<'a>, Problem> {
    let _place = poll.map(|poll| place(operation, poll)).transpose()?;
    let mut seat = viewer.seat().map_err(|full| {
        let detail = format!("{full} (limits.parked of operation {}): try again, or another endpoint", operation.name);
        Problem::retry(Kind::Overloaded, 2, detail)
    })?;
    let mut watchdog = Watchdog { operation, end: None };
    let expires = Instant::now() + longest;
    let mut timer = std::pin::pin!(tokio::time::sleep_until(expires));
    let mut stop = stop.clone();
    // What ends a hold early, for good.
    let mut early = std::pin::pin!(async {
        let slot = async {
            let drain = stop.draining().await;
            tokio::time::sleep_until(drain.slot(Instant::now(), fastrand::f64())).await;
        };
        tokio::select! {
            () = slot => End::Drained,
            () = connection.half_closed() => End::HalfClosed,
        }
    });
    let (end, released_by, spread) = loop {
        let served = tokio::select! {
            // A change that is here is worth more than the end of the wait.
            biased;
            served = seat.released(&releases) => match served {
                Some(served) => served,
                None => break (End::Ended, None, Duration::ZERO),
            },
            () = &mut timer => break (End::Expired, None, Duration::ZERO),
            end = &mut early => break (end, None, Duration::ZERO),
        };
        let spread = operation.wake_spread();
        if spread.is_zero() {
            break (End::Released, Some(served), spread);
        }
        // Put off, at most to the end of the hold; then what is current by then is compared again.
        drop(served);
        let woken = Instant::now();
        timer.as_mut().reset((woken + spread.mul_f64(fastrand::f64())).min(expires));
        let end = tokio::select! {
            biased;
            () = &mut timer => End::Released,
            end = &mut early => end,
        };
        let current = seat.current().filter(|served| releases(served));
        match (current, end) {
            (Some(served), End::HalfClosed) => break (end, Some(served), woken.elapsed()),
            (Some(served), _) => break (End::Released, Some(served), woken.elapsed()),
            (None, End::Drained | End::HalfClosed) => break (end, None, Duration::ZERO),
            // Taken back meanwhile: it stays for the rest of its hold.
            (None, End::Released | End::Expired | End::Ended) => timer.as_mut().reset(expires),
        }
    };
    watchdog.end = Some(end);
    Ok(Held { watchdog, seat, released_by, spread })
}

/// One of the places that an agent has to be parked.
fn place(operation: &Operation, poll: &LivePoll) -> Result<Place, Problem> {
    poll.park(operation.config().parked_per_agent).map_err(|too_many| {
        let agent = poll.key().name();
        let detail = format!("{too_many} (Agent-Id {agent}): end one, or give each client its own Agent-Id");
        Problem::retry(Kind::TooManyParked, 1, detail)
    })
}

/// The answer after a hold: the state that released it, else what is current now, compared again.
async fn finish(
    operation: &Operation,
    want: &Want,
    poll: Option<&LivePoll>,
    viewer: &Viewer,
    Held { watchdog, seat, released_by, spread }: Held<'_>,
) -> Result<(Response<Body>, Option<End>), Problem> {
    let end = watchdog.end;
    let served = released_by.map_or_else(|| viewer.current(), Ok).map_err(|missing| nothing(operation, missing))?;
    let hold = seat.leave(spread);
    let choice = answer::at_end(want, &served.snapshot.id);
    Ok((respond(operation, want, poll, viewer, &served, choice, Some(hold)).await?, end))
}

async fn respond(
    operation: &Operation,
    want: &Want,
    poll: Option<&LivePoll>,
    viewer: &Viewer,
    served: &Served,
    choice: Choice,
    hold: Option<Hold>,
) -> Result<Response<Body>, Problem> {
    if let (Choice::State, Some(poll)) = (choice, poll) {
        poll.given(&served.snapshot.id);
    }
    let about = About { want, age: operation.freshness.age() };
    match choice {
        Choice::State => {
            if let (true, Some(since)) = (want.delta, &want.since)
                && let Some(patch) = viewer.delta(served, since, want.coding).await
            {
                return Ok(about.delta(served, since, patch, hold).await);
            }
            Ok(about.state(served, hold).await)
        }
        Choice::Unchanged | Choice::NotModified => {
            let ahead = served.at_least(want.version_of(&served.snapshot.id));
            let served = ahead.as_ref().unwrap_or(served);
            Ok(if choice == Choice::Unchanged { about.unchanged(served) } else { about.not_modified(served).await })
        }
        Choice::Behind => {
            let detail = "since names a newer state than this replica could confirm: try again, or another endpoint";
            Err(Problem::retry(Kind::NotConfirmed, 1, detail))
        }
    }
}

/// What the request looks at.
fn viewer(operation: &Operation, want: &Want) -> Result<Arc<Viewer>, Problem> {
    operation.hub.viewer(want.select.as_ref()).map_err(|too_many| {
        let name = &operation.name;
        let detail = format!("{too_many} (limits.selections of operation {name}): select what others do, or try again");
        Problem::retry(Kind::TooManySelections, 2, detail)
    })
}

fn nothing(operation: &Operation, missing: Missing) -> Problem {
    if missing == Missing::NoParts {
        let detail = format!("the model of operation {} is opaque: leave select out to get it whole", operation.name);
        return Problem::new(Kind::SelectionNotOffered, detail);
    }
    let detail = format!(
        "operation {} has no state yet: its source has not given one, see /readyz and /state of the admin port",
        operation.name
    );
    Problem::retry(Kind::NoState, 1, detail)
}

impl Drop for Watchdog<'_> {
    fn drop(&mut self) {
        let metrics = self.operation.hub.metrics();
        match self.end {
            Some(End::Released) => metrics.changed.inc(),
            Some(End::Expired) => metrics.expired.inc(),
            Some(End::Drained) => metrics.drained.inc(),
            Some(End::Ended) => metrics.ended.inc(),
            Some(End::HalfClosed) | None => metrics.abandoned.inc(),
        }
    }
}
