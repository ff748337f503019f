//! What the user of the library has: the states that come, and the reports that go.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use super::driver::{Driver, Network as _, ToUser};
use super::line::Line;
use super::machine::Machine;
use super::settings::{InvalidSetting, Settings};
use super::state::State;
use super::status::Status;
use crate::bounds::CLIENT_VERDICTS;

/// Starts clients.
#[derive(Debug, Clone, Copy)]
pub struct Client;

/// The states of a client, the newest wins. The client ends when this is dropped.
#[derive(Debug)]
pub struct States {
    shared: Arc<Shared>,
    driver: JoinSet<()>,
}

/// Where the user says what became of states. Clones report to the same client.
#[derive(Debug, Clone)]
pub struct Reports {
    shared: Arc<Shared>,
    status: watch::Receiver<Status>,
}

/// What a user says.
#[derive(Debug)]
pub(super) enum Report {
    Held(String),
    Keeps(Box<State>),
    Rejected { id: String, reason: String },
    PollNow,
}

/// What the client and its user share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    inside: Mutex<Inside>,
    given: Notify,
    reported: Notify,
}

#[derive(Debug, Default)]
struct Inside {
    state: Option<State>,
    reports: VecDeque<Report>,
}

impl Client {
    /// Starts a client that holds `held` already, which is what it acknowledged last; on the runtime of tokio that this is
    /// called in, with its timers and its sockets.
    pub fn start(settings: &Settings, held: Option<State>) -> Result<(States, Reports), InvalidSetting> {
        let endpoints = settings.check()?;
        let now = tokio::time::Instant::now().into_std();
        let machine = Machine::new(endpoints.len(), held, settings.patches, fastrand::u64(..), now);
        let line = Line::new(settings, endpoints);
        let shared = Arc::<Shared>::default();
        let (status, statuses) = watch::channel(machine.status(|place| line.name(place)));
        let to_user = ToUser { shared: Arc::clone(&shared), status };
        let mut driver = JoinSet::new();
        driver.spawn(Driver { machine, line, to_user }.run());
        Ok(of(shared, driver, statuses))
    }
}

/// Both ends for a user, of a driver that runs.
pub(super) fn of(shared: Arc<Shared>, driver: JoinSet<()>, status: watch::Receiver<Status>) -> (States, Reports) {
    (States { shared: Arc::clone(&shared), driver }, Reports { shared, status })
}

impl States {
    /// The next state: the newest one, once there is one that was not taken before. Say by [`Reports::held`] or
    /// [`Reports::rejected`] what became of it; a newer state comes whether or not that was said. None: the client has
    /// ended, which it does only where its runtime ends it. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<State> {
        loop {
            if let Some(state) = self.shared.lock().state.take() {
                return Some(state);
            }
            tokio::select! {
                () = self.shared.given.notified() => {}
                _ = self.driver.join_next() => return self.shared.lock().state.take(),
            }
        }
    }
}

impl Reports {
    /// The state of this id is applied and kept: the next poll acknowledges it.
    pub fn held(&self, id: &str) {
        self.shared.report(Report::Held(id.to_owned()));
    }

    /// This state is applied and kept, although the client may not have given it, such as one that the process before has begun
    /// with: the next poll acknowledges it.
    pub fn keeps(&self, state: State) {
        self.shared.report(Report::Keeps(Box::new(state)));
    }

    /// The state of this id could not be applied: the next poll says so. It is not given again, unless
    /// [`Reports::poll_now`] is called, or another one comes before. Of the reason 256 characters are sent, those that are
    /// not printable ASCII as `?`.
    pub fn rejected(&self, id: &str, reason: impl Into<String>) {
        self.shared.report(Report::Rejected { id: id.to_owned(), reason: reason.into() });
    }

    /// Polls now, whatever it would have waited for, at most once a second. What was rejected may come again.
    pub fn poll_now(&self) {
        self.shared.report(Report::PollNow);
    }

    /// How the client is doing.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inside> {
        // Nothing in it is half done when a thread panics.
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a state, and tells which one it takes the place of.
    pub(super) fn give(&self, state: State) -> Option<String> {
        let before = self.lock().state.replace(state);
        self.given.notify_one();
        before.map(|state| state.id)
    }

    fn report(&self, report: Report) {
        let mut inside = self.lock();
        if inside.reports.len() >= CLIENT_VERDICTS {
            inside.reports.pop_front();
        }
        inside.reports.push_back(report);
        drop(inside);
        self.reported.notify_one();
    }

    /// What was reported since the last time.
    pub(super) fn reports(&self) -> VecDeque<Report> {
        std::mem::take(&mut self.lock().reports)
    }

    /// Waits until something was reported.
    pub(super) async fn reported(&self) {
        self.reported.notified().await;
    }
}
