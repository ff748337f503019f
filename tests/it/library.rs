//! The client library, as its user has it: against the built binary, and against servers that answer what cannot be true.

use std::time::Duration;

use tidewait::client::{Client, Doing, Failure, Reports, Settings, State, States, Status};

use crate::server::STEP;

mod follows;
mod lies;
mod reports;
mod shown;

/// A client that runs.
struct Follower {
    states: States,
    reports: Reports,
}

impl Follower {
    fn start(settings: &Settings) -> Self {
        Self::holding(settings, None)
    }

    fn holding(settings: &Settings, held: Option<State>) -> Self {
        let (states, reports) = Client::start(settings, held).expect("settings that can be used");
        Self { states, reports }
    }

    /// The next state; there is no verdict on it yet.
    async fn next(&mut self) -> State {
        let next = tokio::time::timeout(STEP * 2, self.states.next()).await;
        next.unwrap_or_else(|_| panic!("no state: {:?}", self.status())).expect("it runs")
    }

    /// The next state, which is held then.
    async fn take(&mut self) -> State {
        let state = self.next().await;
        self.reports.held(state.id());
        state
    }

    /// Takes states until one has this text.
    async fn reaches(&mut self, text: &str) -> State {
        loop {
            let state = self.take().await;
            if *state.bytes() == text {
                return state;
            }
        }
    }

    /// Waits until a poll is with the server that says that the state of this id is held, and nothing else.
    async fn parks_at(&self, id: &str) -> Status {
        let parks = |status: &Status| {
            let names = [&status.held, &status.applying].map(Option::as_deref);
            status.doing == Doing::Polling && names == [Some(id), None]
        };
        self.becomes("parked at it", parks).await
    }

    /// Waits until a poll has failed, and gives how.
    async fn fails(&self) -> Failure {
        let status = self.becomes("failed", |status| status.failure.is_some()).await;
        status.failure.expect("there is one").0
    }

    fn status(&self) -> Status {
        self.reports.status().borrow().clone()
    }

    /// Waits until the client is as wanted.
    async fn becomes(&self, what: &str, is_it: impl Fn(&Status) -> bool) -> Status {
        let mut status = self.reports.status();
        let waited = tokio::time::timeout(STEP * 2, status.wait_for(|status| is_it(status))).await;
        let found = waited.is_ok_and(|found| found.is_ok());
        let status = self.status();
        assert!(found, "not {what}: {status:?}");
        status
    }
}

/// A client of one endpoint that waits a few seconds.
fn settings(url: &str) -> Settings {
    Settings { wait: Duration::from_secs(3), ..Settings::new(url, "/describe") }
}
