//! PURE. What a client does next: events go in with their times, actions come out, never a poll while another is under way.

use std::time::{Duration, Instant};

use super::endpoints::{Choice, Endpoints, Place};
use super::failure::{Failure, FailureKind};
use super::holdings::{Holdings, Names, News};
use super::pace::Pace;
use super::poll::{Ended, Outcome, Poll};
use super::random::Random;
use super::state::State;
use super::status::Counters;
use crate::bounds::{CLIENT_ASKED, CLIENT_BACKOFF_LEAST, CLIENT_FAILURES, CLIENT_VERDICT};
use crate::protocol::relay::Terms;

mod told;

#[cfg(test)]
mod tests;

/// What to do next.
#[derive(Debug)]
pub(super) enum Action {
    /// Look up the host of this URL, and say so by [`Machine::resolved`].
    LookUp(usize),
    /// Send this poll, and say what became of it by [`Machine::ended`].
    Poll(Box<Poll>),
    /// Give up the poll that is under way, with its connection.
    Abandon,
    /// Wait for an event, or until then.
    Wait(Option<Instant>),
}

/// A poll as it was sent.
#[derive(Debug)]
struct Sent {
    at: Instant,
    names: Names,
    /// The connection stands.
    is_with_server: bool,
}

#[derive(Debug)]
enum Phase {
    Idle,
    LookingUp(usize),
    Polling(Sent),
}

/// What a client knows.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own, that any of the others may go with")]
pub(super) struct Machine {
    endpoints: Endpoints,
    pace: Pace,
    random: Random,
    deltas: bool,
    phase: Phase,
    /// No poll before.
    due: Instant,
    holdings: Holdings,
    /// When the newest state was given.
    given_at: Instant,
    /// The next poll names nothing.
    asks_for_whole: bool,
    /// The server does not know `applying`: no poll until there is a verdict.
    awaits_verdict: bool,
    abandons: bool,
    /// The last answer of 401 or 403, since one was as it should be; the first was followed by an attempt at once.
    denied: Option<(Failure, Place)>,
    /// There was another answer since one was as it should be.
    is_answered: bool,
    /// What the last poll named that was answered as it should be.
    told: Option<Names>,
    /// Other addresses of a name that were tried without a pause, since the last answer.
    at_once: u32,
    asked_at: Option<Instant>,
    /// Where the connection that is kept leads.
    connected: Option<Place>,
    within: Option<Duration>,
    failure: Option<(Failure, Place, Instant)>,
    newest: Option<String>,
    confirmed: Option<(Duration, Instant)>,
    terms: Option<Terms>,
    counters: Counters,
}

impl Machine {
    /// A client of so many URLs that holds this.
    pub(super) fn new(urls: usize, held: Option<State>, deltas: bool, seed: u64, now: Instant) -> Self {
        let mut random = Random::new(seed);
        Self {
            endpoints: Endpoints::new(urls, &mut random),
            pace: Pace::default(),
            random,
            deltas,
            phase: Phase::Idle,
            due: now,
            holdings: Holdings::new(held),
            given_at: now,
            asks_for_whole: false,
            awaits_verdict: false,
            abandons: false,
            denied: None,
            is_answered: false,
            told: None,
            at_once: 0,
            asked_at: None,
            connected: None,
            within: None,
            failure: None,
            newest: None,
            confirmed: None,
            terms: None,
            counters: Counters::default(),
        }
    }

    /// What to do at `now`. After an action the next event is waited for.
    pub(super) fn step(&mut self, now: Instant) -> Action {
        match &self.phase {
            Phase::Polling(_) if std::mem::take(&mut self.abandons) => {
                (self.phase, self.connected) = (Phase::Idle, None);
                return Action::Abandon;
            }
            Phase::Polling(_) | Phase::LookingUp(_) => return Action::Wait(None),
            Phase::Idle => {}
        }
        if self.awaits_verdict {
            return Action::Wait(None);
        }
        let verdict_due = if self.holdings.awaits_verdict() { self.given_at + CLIENT_VERDICT } else { now };
        let due = self.due.max(verdict_due);
        if due > now {
            return Action::Wait(Some(due));
        }
        let place = match self.endpoints.choose(now) {
            Choice::At(at) => return Action::Wait(Some(at)),
            Choice::Now(place) => place,
        };
        if self.connected != Some(place) && self.endpoints.wants_lookup(place, now) {
            self.phase = Phase::LookingUp(place.url);
            return Action::LookUp(place.url);
        }
        self.poll(place, now)
    }

    fn poll(&mut self, place: Place, now: Instant) -> Action {
        let names = if self.asks_for_whole { Names::default() } else { self.holdings.names() };
        let poll = Poll {
            place,
            since: self.holdings.held().filter(|_| names.since.is_some()).cloned(),
            rejected: self.holdings.rejected().filter(|_| names.rejected.is_some()).cloned(),
            applying: names.applying.clone(),
            takes_patches: self.deltas && self.endpoints.gives_patches(),
            confirms: None,
        };
        let is_with_server = self.connected == Some(place);
        self.phase = Phase::Polling(Sent { at: now, names, is_with_server });
        self.counters.polls += 1;
        Action::Poll(Box::new(poll))
    }

    /// The host of the URL that was looked up has these addresses, or why none is known.
    pub(super) fn resolved(&mut self, found: Result<&[std::net::SocketAddr], Failure>, now: Instant) {
        let Phase::LookingUp(url) = std::mem::replace(&mut self.phase, Phase::Idle) else { return };
        match found {
            Ok(addresses) => self.endpoints.resolved(url, addresses, now, &mut self.random),
            Err(failure) => {
                if !self.endpoints.not_resolved(url, now) {
                    self.failed(failure, None, now);
                }
            }
        }
    }

    /// The poll under way has a connection.
    pub(super) fn is_with_server(&mut self) {
        if let Phase::Polling(sent) = &mut self.phase {
            sent.is_with_server = true;
        }
    }

    /// The poll under way has ended. Gives the state that is to be given to the user.
    pub(super) fn ended(&mut self, ended: Ended, now: Instant) -> Option<State> {
        let Phase::Polling(sent) = std::mem::replace(&mut self.phase, Phase::Idle) else { return None };
        self.abandons = false;
        self.counters.bytes += ended.bytes;
        self.connected = Some(self.endpoints.current()).filter(|_| ended.keeps);
        let within = ended.within.or(self.within);
        self.within = within;
        if !matches!(ended.outcome, Outcome::Failed(_)) {
            self.terms = ended.terms;
            self.told = Some(sent.names.clone());
        }
        match ended.outcome {
            Outcome::Failed(failure) => {
                self.failed(failure, within, now);
                None
            }
            Outcome::Same { .. } if sent.names.are_none() => {
                let text =
                    "the answer is that nothing has changed, to a poll that names no state: see what stands in between";
                self.failed(Failure::untrue(text), within, now);
                None
            }
            Outcome::Same { id, age } => {
                self.succeeded(age, now);
                self.newest = Some(id.clone());
                self.nothing_new(&id, &sent, now);
                None
            }
            Outcome::State(state) => self.came(*state, &sent, now),
        }
    }

    fn came(&mut self, mut state: State, sent: &Sent, now: Instant) -> Option<State> {
        let news = self.holdings.news(&state);
        self.asks_for_whole = false;
        if matches!(news, News::New { is_older: true, .. }) && sent.names.are_none() {
            self.counters.behind += 1;
            let text = "the endpoint has an older state than was given, and was not told which: it is asked again";
            self.failed(Failure::new(FailureKind::Busy(None), text), None, now);
            return None;
        }
        if state.patch.is_some() {
            self.endpoints.patched(true);
        }
        self.succeeded(state.age, now);
        self.newest = Some(state.id.clone());
        match news {
            News::BeingApplied => {
                self.awaits_verdict = true;
                self.counters.unchanged += 1;
                return None;
            }
            News::Known => {
                self.nothing_new(&state.id, sent, now);
                return None;
            }
            News::New { is_older, is_repeated } => {
                state.is_older = is_older;
                // Two endpoints that disagree, and versions that cannot say which is newer, would give one and the other for
                // ever.
                if is_repeated {
                    self.due = now + self.pace.nothing_new(now.saturating_duration_since(sent.at));
                } else {
                    self.pace.something_new();
                }
            }
        }
        self.counters.restored += u64::from(state.is_older);
        self.counters.patches += u64::from(state.patch.is_some());
        self.counters.states += 1;
        self.holdings.give(state.clone(), now);
        self.given_at = now;
        Some(state)
    }

    fn nothing_new(&mut self, id: &str, sent: &Sent, now: Instant) {
        self.counters.unchanged += 1;
        self.holdings.adopt(id);
        self.due = now + self.pace.nothing_new(now.saturating_duration_since(sent.at));
    }

    fn succeeded(&mut self, age: Duration, now: Instant) {
        let answered = self.endpoints.current();
        self.endpoints.succeeded(now, &mut self.random);
        // Not of the first URL, if the way back to that was taken just now.
        if self.endpoints.current() == answered {
            self.endpoints.aged(age, now, &mut self.random);
        }
        self.pace.succeeded();
        (self.failure, self.denied, self.is_answered, self.at_once) = (None, None, false, 0);
        self.confirmed = Some((age, now));
        self.due = now;
    }

    fn failed(&mut self, failure: Failure, within: Option<Duration>, now: Instant) {
        self.counters.failed(failure.kind);
        let place = self.endpoints.current();
        let mut pause = self.pace.failed(self.random.part());
        match failure.kind {
            FailureKind::Unreachable if self.endpoints.unreachable(now) => {
                self.at_once += 1;
                if self.at_once <= CLIENT_FAILURES {
                    pause = Duration::ZERO;
                }
            }
            FailureKind::Unreachable => {}
            FailureKind::Lost => {
                self.endpoints.failed();
                if let Some(within) = within.filter(|_| self.within.take().is_some()) {
                    pause = within.mul_f64(self.random.part()).max(CLIENT_BACKOFF_LEAST);
                }
            }
            FailureKind::Busy(Some(asked)) if !asked.is_zero() => {
                self.endpoints.busy(asked, now, &mut self.random);
                // What it asks for is the pause; another one is asked no later than that.
                pause = pause.min(asked);
            }
            FailureKind::Busy(_) | FailureKind::Unfit(_) => self.endpoints.failed(),
            FailureKind::Denied if self.denied.is_none() => pause = Duration::ZERO,
            FailureKind::Denied | FailureKind::Refused => self.endpoints.refused(now, &mut self.random),
            FailureKind::Gone => self.endpoints.gone(now, &mut self.random),
            FailureKind::Untrue => self.endpoints.lied(now),
            FailureKind::Patch => {
                self.endpoints.patched(false);
                self.asks_for_whole = true;
            }
        }
        match failure.kind {
            FailureKind::Denied => self.denied = Some((failure.clone(), place)),
            FailureKind::Unreachable | FailureKind::Lost => {}
            FailureKind::Busy(_)
            | FailureKind::Refused
            | FailureKind::Gone
            | FailureKind::Untrue
            | FailureKind::Patch
            | FailureKind::Unfit(_) => self.is_answered = true,
        }
        self.endpoints.back_to_stale();
        self.failure = Some((failure, place, now));
        self.due = now + pause;
    }

    /// The user holds the state of this id, and acknowledges it by that.
    pub(super) fn holds(&mut self, id: &str) {
        if self.holdings.hold(id) {
            self.judged();
        }
    }

    /// The user holds this state, whether or not it was given here.
    pub(super) fn keeps(&mut self, state: State) {
        self.holdings.keep(state);
        self.judged();
    }

    /// The user cannot apply the state of this id.
    pub(super) fn rejects(&mut self, id: &str, reason: &str) {
        if self.holdings.reject(id, reason) {
            self.judged();
        }
    }

    /// A state that nobody has taken was replaced by a newer one: there will be no verdict on it.
    pub(super) fn replaced(&mut self, id: &str) {
        self.holdings.drop_given(id);
    }

    fn judged(&mut self) {
        self.awaits_verdict = false;
        if let Phase::Polling(sent) = &self.phase {
            self.abandons = sent.names != self.holdings.names();
        }
    }

    /// The user wants an answer now: pauses end, and what was rejected may come again.
    pub(super) fn asked(&mut self, now: Instant) {
        self.endpoints.forgive();
        self.pace = Pace::default();
        self.holdings.forget();
        self.awaits_verdict = false;
        self.due = self.asked_at.map_or(now, |at| now.max(at + CLIENT_ASKED));
        self.asked_at = Some(self.due);
        self.abandons = matches!(self.phase, Phase::Polling(_));
    }

    /// What is shown to servers is another one now: the pause after a refusal ends.
    pub(super) fn renewed(&mut self, now: Instant) {
        self.endpoints.forgive_refusals();
        self.due = now;
    }
}
