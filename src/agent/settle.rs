//! Lets states settle (`--settle MIN[:MAX]`): a new one is given once no newer one has come for a while, and no later than
//! some time after the first of them.

use tokio::time::Instant;

use crate::agent::deadline::at;
use crate::client::{State, States};
use crate::config::agent::Settle;

/// The states of a client, each once it has settled. The newest wins.
#[derive(Debug)]
pub(super) struct Settling {
    states: States,
    settle: Option<Settle>,
    is_on: bool,
    waiting: Option<Waiting>,
}

/// A state that settles.
#[derive(Debug)]
struct Waiting {
    state: State,
    /// Since when states settle, and since when there is this one.
    span: Span,
}

#[derive(Debug, Clone, Copy)]
struct Span {
    first: Instant,
    last: Instant,
}

impl Span {
    fn due(self, settle: Settle) -> Instant {
        (self.last + settle.least).min(self.first + settle.most)
    }
}

impl Settling {
    /// States are given as they come until [`Settling::begin`]: the first one after a start is waited for.
    pub(super) fn new(states: States, settle: Option<Settle>) -> Self {
        Self { states, settle, is_on: false, waiting: None }
    }

    /// From here on they settle.
    pub(super) fn begin(&mut self) {
        self.is_on = true;
    }

    /// The next state; none: the client has ended. Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> Option<State> {
        loop {
            let settle = self.settle.filter(|_| self.is_on);
            let due = settle.zip(self.waiting.as_ref()).map(|(settle, waiting)| waiting.span.due(settle));
            tokio::select! {
                state = self.states.next() => {
                    let state = state?;
                    if settle.is_none() {
                        self.waiting = None;
                        return Some(state);
                    }
                    let now = Instant::now();
                    let first = self.waiting.as_ref().map_or(now, |waiting| waiting.span.first);
                    self.waiting = Some(Waiting { state, span: Span { first, last: now } });
                }
                () = at(due) => {
                    if let Some(waiting) = self.waiting.take() {
                        return Some(waiting.state);
                    }
                }
            }
        }
    }

    /// The state that settles is not to be given any more: its id.
    pub(super) fn withdraw(&mut self) -> Option<String> {
        self.waiting.take().map(|waiting| waiting.state.id().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_state_is_due_after_a_silence_or_once_the_longest_time_is_over() {
        let (second, start) = (Duration::from_secs(1), Instant::now());
        let settle = Settle { least: second, most: 3 * second };
        for (last, due) in [(0, 1000), (500, 1500), (1900, 2900), (2100, 3000), (2999, 3000)] {
            let last = start + Duration::from_millis(last);
            let span = Span { first: start, last };
            assert_eq!(span.due(settle), start + Duration::from_millis(due));
        }
    }
}
