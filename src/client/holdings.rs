//! PURE. What the user of the library holds, was given and has rejected: what polls say of it, and what is news to it.

use std::collections::VecDeque;
use std::time::Instant;

use super::state::{State, is_before, is_same};
use crate::bounds::CLIENT_GIVEN;

/// What the user has.
#[derive(Debug, Default)]
pub(super) struct Holdings {
    held: Option<State>,
    /// Without a verdict, the newest last.
    given: VecDeque<Given>,
    rejected: Option<Rejected>,
    /// The last ids that were given.
    recent: VecDeque<String>,
    count: u64,
}

/// A state that was given.
#[derive(Debug)]
struct Given {
    state: State,
    /// Its place among all that were given.
    at: u64,
    /// When.
    since: Instant,
}

/// A state that could not be applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rejected {
    pub(super) id: String,
    pub(super) reason: String,
    /// Its place among the states that were given.
    at: u64,
    /// When it was given, or one that was rejected before it.
    since: Instant,
}

/// `since`, `rejected` and `applying` of a poll.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Names {
    pub(super) since: Option<String>,
    pub(super) rejected: Option<String>,
    pub(super) applying: Option<String>,
}

/// What a state is to a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum News {
    /// It is what is held, or what was rejected.
    Known,
    /// It is the newest that was given, and there is no verdict on it.
    BeingApplied,
    /// It is new.
    New {
        /// It is an older one of the history of the newest.
        is_older: bool,
        /// Exactly this one was given before, not long ago.
        is_repeated: bool,
    },
}

impl Names {
    pub(super) fn are_none(&self) -> bool {
        *self == Self::default()
    }
}

impl Holdings {
    pub(super) fn new(held: Option<State>) -> Self {
        Self { held, ..Self::default() }
    }

    pub(super) fn names(&self) -> Names {
        Names {
            since: self.held.as_ref().map(|state| state.id.clone()),
            rejected: self.rejected.as_ref().map(|rejected| rejected.id.clone()),
            applying: self.given.back().map(|given| given.state.id.clone()),
        }
    }

    pub(super) fn held(&self) -> Option<&State> {
        self.held.as_ref()
    }

    pub(super) fn rejected(&self) -> Option<&Rejected> {
        self.rejected.as_ref()
    }

    pub(super) fn awaits_verdict(&self) -> bool {
        !self.given.is_empty()
    }

    /// What a state is to the user.
    pub(super) fn news(&self, state: &State) -> News {
        let given = self.given.back().map(|given| &given.state);
        if given.is_some_and(|given| is_same(&given.id, &state.id)) {
            return News::BeingApplied;
        }
        let known = [self.held.as_ref().map(|held| &held.id), self.rejected.as_ref().map(|rejected| &rejected.id)];
        if known.into_iter().flatten().any(|id| is_same(id, &state.id)) {
            return News::Known;
        }
        let is_older = given.or(self.held.as_ref()).is_some_and(|newest| is_before(&state.id, &newest.id));
        News::New { is_older, is_repeated: self.recent.contains(&state.id) }
    }

    /// Since when the user has been given another state than the one that is held; none: the server has that one.
    pub(super) fn lacking(&self, newest: Option<&str>) -> Option<Instant> {
        let held = self.held.as_ref().map(|held| &*held.id);
        if held.zip(newest).is_some_and(|(held, newest)| is_same(held, newest)) {
            return None;
        }
        let rejected = self.rejected.as_ref().map(|rejected| rejected.since);
        self.given.front().map(|given| given.since).into_iter().chain(rejected).min()
    }

    /// A new state is given to the user.
    pub(super) fn give(&mut self, state: State, now: Instant) {
        self.count += 1;
        self.recent.push_back(state.id.clone());
        self.given.push_back(Given { state, at: self.count, since: now });
        if self.recent.len() > CLIENT_GIVEN {
            self.recent.pop_front();
        }
        if self.given.len() > CLIENT_GIVEN {
            self.given.pop_front();
        }
    }

    /// The newest version of what is held; what is rejected or being applied keeps the id that the server knows it by.
    pub(super) fn adopt(&mut self, id: &str) {
        if let Some(held) = self.held.as_mut().filter(|held| is_same(&held.id, id)) {
            id.clone_into(&mut held.id);
        }
    }

    /// The user holds the state of this id. Tells whether it was given.
    pub(super) fn hold(&mut self, id: &str) -> bool {
        let Some(place) = self.place(id) else { return false };
        let Some(Given { state, at, .. }) = self.given.drain(..=place).next_back() else { return false };
        self.held = Some(state);
        self.rejected = self.rejected.take().filter(|rejected| rejected.at > at);
        true
    }

    /// The user holds this state, whether or not it was given.
    pub(super) fn keep(&mut self, state: State) {
        if !self.hold(&state.id) {
            self.held = Some(state);
        }
    }

    /// The user cannot apply the state of this id. Tells whether it was given.
    pub(super) fn reject(&mut self, id: &str, reason: &str) -> bool {
        // There will be no verdict on those before it: the newest wins.
        let judged = self.place(id).and_then(|place| self.given.drain(..=place).next_back());
        let Some(Given { state, at, since }) = judged else { return false };
        let before = self.rejected.as_ref();
        if before.is_none_or(|rejected| rejected.at < at) {
            let since = before.map_or(since, |rejected| rejected.since.min(since));
            self.rejected = Some(Rejected { id: state.id, reason: reason.to_owned(), at, since });
        }
        true
    }

    /// There will be no verdict on the state of this id: nobody took it.
    pub(super) fn drop_given(&mut self, id: &str) {
        if let Some(place) = self.place(id) {
            self.given.remove(place);
        }
    }

    /// What was rejected may come again, and what was given is no repetition.
    pub(super) fn forget(&mut self) {
        self.rejected = None;
        self.recent.clear();
    }

    fn place(&self, id: &str) -> Option<usize> {
        self.given.iter().position(|given| given.state.id == id)
    }
}
