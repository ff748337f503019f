//! PURE. A describe request that is held, from the decision to hold it to the decision how to answer it: a state machine
//! that any wire can drive.
//!
//! The driver passes it what happens, with the state that is current then and the time, and does what the [`Action`] says.
//! It calls again when the current state changes ([`Poll::on_state`]), at [`Poll::deadline`] ([`Poll::on_deadline`]), and
//! when the process drains, the operation ends or the client stops sending.
//!
//! ```text
//!              begin
//!    answered <------ request ------> Waiting ---- a state that releases it ----> answered
//!                        |             ^   |                                        ^
//!                        |    put back |   | wakeSpread                             | the pause is over
//!                        |             |   v                                        |
//!                        |            PutOff ---- its turn has come ----> answered  |
//!                        +------------------- pace ----------------------> Paced ---+
//! ```

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::decision::{self, Arrival, Decision};
use super::request::PollRequest;
use crate::bounds::PACE_HOLD;
use crate::model::StateId;

/// A hold is shortened by up to this share of it, so that clients that were parked together do not
/// come back together.
const WAIT_JITTER: f64 = 0.1;

/// A request that is held.
#[derive(Debug)]
pub struct Poll {
    request: Arc<PollRequest>,
    phase: Phase,
    /// When the hold ends at the latest.
    expires: Instant,
    /// When its turn comes in a drain, or to be told of another freshness.
    slot: Option<Slot>,
}

/// When it is answered at the latest, and why.
#[derive(Debug, Clone, Copy)]
struct Slot {
    at: Instant,
    reason: Reason,
}

/// What it is held for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Another state.
    Waiting,
    /// The pause of an agent that repeats itself: no state shortens it.
    Paced,
    /// Its turn in a release that is spread over time (`wakeSpread`).
    PutOff { released: Instant, until: Instant },
}

/// What becomes of a request when it arrives.
#[derive(Debug)]
pub enum Begin {
    /// It is answered.
    Answer(Decision),
    /// It is held.
    Hold(Poll),
}

/// What the driver does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It goes on waiting, until [`Poll::deadline`] at the latest.
    Wait,
    /// It answers.
    Answer(Release),
}

/// A hold that is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Release {
    /// How the request is answered; none: with a problem, since its client may not, or
    /// the model has no parts any more.
    pub decision: Option<Decision>,
    /// Why the hold is over.
    pub reason: Reason,
    /// How long the answer was put off on purpose.
    pub put_off: Duration,
}

/// Why a hold is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The state changed.
    Changed,
    /// The wait, or the pause, has passed.
    Expired,
    /// The process drains.
    Drained,
    /// The operation has ended.
    Ended,
    /// The client has closed its sending side: it may be gone.
    HalfClosed,
    /// The credential of the client was withdrawn.
    Withdrawn,
    /// The state is fresh or stale, as it was not before.
    Told,
}

impl Poll {
    /// Holds a request, or says how it is answered at once. `is_paced`: its agent repeats itself, and waits before it is given
    /// the same state again. `chance` is in 0..1: it shortens the hold.
    #[must_use]
    pub fn begin(request: Arc<PollRequest>, arrival: Arrival, is_paced: bool, now: Instant, chance: f64) -> Begin {
        let (phase, hold) = match arrival {
            Arrival::Answer(Decision::State) if is_paced => (Phase::Paced, PACE_HOLD),
            Arrival::Answer(decision) => return Begin::Answer(decision),
            Arrival::Park(longest) => (Phase::Waiting, longest.mul_f64(1.0 - WAIT_JITTER * chance)),
        };
        Begin::Hold(Self { request, phase, expires: now + hold, slot: None })
    }

    /// What the client asks for.
    #[must_use]
    pub fn request(&self) -> &Arc<PollRequest> {
        &self.request
    }

    /// When [`Poll::on_deadline`] is to be called, unless something else happens before.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.slot.map_or(self.own_deadline(), |slot| slot.at.min(self.own_deadline()))
    }

    /// The hold ends at this time at the latest.
    pub fn ends_at(&mut self, at: Instant) {
        self.expires = self.expires.min(at);
    }

    /// Whether the driver has to call [`Poll::on_state`] with this state, should it become current; none: the model has
    /// no parts any more.
    #[must_use]
    pub fn concerns(&self, current: Option<&StateId>) -> bool {
        self.phase == Phase::Waiting && current.is_none_or(|current| decision::releases(&self.request, current))
    }

    /// Whether a state has released it, and its answer is put off.
    #[must_use]
    pub fn is_put_off(&self) -> bool {
        matches!(self.phase, Phase::PutOff { .. })
    }

    /// Whether only the version of this state keeps the request from being answered with it: it is lower than one that
    /// the client has been given. The driver then calls [`Poll::on_state`] also when no more than the version rises.
    #[must_use]
    pub fn is_blocked_by(&self, current: &StateId) -> bool {
        self.phase == Phase::Waiting && self.request.is_ahead_of(current)
    }

    /// `current` is the state now. `spread`: over how long answers to a change are spread; `chance`, in 0..1, is the
    /// place of this one.
    pub fn on_state(&mut self, current: Option<&StateId>, spread: Duration, now: Instant, chance: f64) -> Action {
        if !self.concerns(current) {
            return Action::Wait;
        }
        if spread.is_zero() || current.is_none() {
            return self.answer(current, Reason::Changed, Duration::ZERO);
        }
        // Put off, at most to the end of the hold; then what is current by then is compared again.
        self.phase = Phase::PutOff { released: now, until: (now + spread.mul_f64(chance)).min(self.expires) };
        Action::Wait
    }

    /// [`Poll::deadline`] has come.
    pub fn on_deadline(&mut self, current: Option<&StateId>, now: Instant) -> Action {
        let slot = self.slot.filter(|slot| slot.at < self.own_deadline());
        match self.phase {
            Phase::PutOff { released, .. } if self.is_released_by(current) => {
                self.answer(current, Reason::Changed, now.saturating_duration_since(released))
            }
            Phase::PutOff { .. } if slot.is_none() => {
                // What released it was rolled back meanwhile: it stays parked for the rest of its hold.
                self.phase = Phase::Waiting;
                if now < self.expires { Action::Wait } else { self.answer(current, Reason::Expired, Duration::ZERO) }
            }
            Phase::Waiting | Phase::Paced | Phase::PutOff { .. } => {
                self.answer(current, slot.map_or(Reason::Expired, |slot| slot.reason), Duration::ZERO)
            }
        }
    }

    /// The process drains: the request is answered at `slot` at the latest.
    pub fn on_drain(&mut self, slot: Instant) {
        self.slot = Some(Slot { at: slot, reason: Reason::Drained });
    }

    /// The state is fresh or stale, as it was not before: the request is answered at `slot` at the latest.
    pub fn on_told(&mut self, slot: Instant) {
        if self.slot.is_none_or(|known| known.at > slot) {
            self.slot = Some(Slot { at: slot, reason: Reason::Told });
        }
    }

    /// The operation has ended.
    #[must_use]
    pub fn on_ended(&self, current: Option<&StateId>) -> Action {
        self.answer(current, Reason::Ended, Duration::ZERO)
    }

    /// The client has closed its sending side. It may be gone, or wait for the answer alone.
    #[must_use]
    pub fn on_half_closed(&self, current: Option<&StateId>) -> Action {
        self.answer(current, Reason::HalfClosed, Duration::ZERO)
    }

    /// The credential of the client was withdrawn: it is given no state.
    #[must_use]
    pub fn on_withdrawn(&self) -> Release {
        Release { decision: None, reason: Reason::Withdrawn, put_off: Duration::ZERO }
    }

    fn own_deadline(&self) -> Instant {
        match self.phase {
            Phase::Waiting | Phase::Paced => self.expires,
            Phase::PutOff { until, .. } => until,
        }
    }

    fn is_released_by(&self, current: Option<&StateId>) -> bool {
        current.is_none_or(|current| decision::releases(&self.request, current))
    }

    fn answer(&self, current: Option<&StateId>, reason: Reason, put_off: Duration) -> Action {
        let decision = current.map(|current| decision::at_end(&self.request, current));
        Action::Answer(Release { decision, reason, put_off })
    }
}

#[cfg(test)]
mod tests;
