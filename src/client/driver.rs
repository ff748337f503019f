//! Runs the machine: tells it what happens, and does what it says.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::watch;

use super::endpoints::Place;
use super::failure::Failure;
use super::handles::{Report, Shared};
use super::machine::{Action, Machine};
use super::poll::{Ended, Outcome, Poll};
use super::status::Status;

#[cfg(test)]
mod tests;

/// A client that runs.
#[derive(Debug)]
pub(super) struct Driver<N> {
    pub(super) machine: Machine,
    pub(super) line: N,
    pub(super) to_user: ToUser,
}

/// What sends polls. In tests it has no sockets, so that time can be paused.
pub(super) trait Network: Send + Sync {
    /// A place, for people.
    fn name(&self, place: Place) -> String;
    /// The addresses of the host of a URL.
    fn look_up(&self, url: usize) -> impl Future<Output = Result<Vec<SocketAddr>, Failure>> + Send;
    /// Sees to it that there is a connection to a place.
    fn open(&mut self, place: Place) -> impl Future<Output = Result<(), Failure>> + Send;
    /// Sends a poll on the connection that was opened for it, and gives what came of it.
    fn exchange(&mut self, poll: &Poll) -> impl Future<Output = Ended> + Send;
    /// Gives up the connection that is kept.
    fn drop_connection(&mut self);
    /// Waits until what is shown to servers has changed since the last poll.
    fn renewed(&self) -> impl Future<Output = ()> + Send;
}

/// The way to the user of the library.
#[derive(Debug)]
pub(super) struct ToUser {
    pub(super) shared: Arc<Shared>,
    pub(super) status: watch::Sender<Status>,
}

impl<N: Network> Driver<N> {
    /// Polls until it is dropped.
    pub(super) async fn run(mut self) {
        loop {
            self.to_user.listen(&mut self.machine);
            let action = self.machine.step(now());
            self.tell();
            match action {
                Action::LookUp(url) => {
                    let found = self.line.look_up(url).await;
                    self.machine.resolved(found.as_deref().map_err(Clone::clone), now());
                }
                Action::Poll(poll) => self.poll(&poll).await,
                Action::Abandon => self.line.drop_connection(),
                Action::Wait(until) => {
                    let over = async {
                        match until {
                            Some(at) => tokio::time::sleep_until(at.into()).await,
                            None => std::future::pending().await,
                        }
                    };
                    tokio::select! {
                        () = over => {}
                        () = self.to_user.shared.reported() => {}
                        () = self.line.renewed(), if self.machine.is_denied() => self.machine.renewed(now()),
                    }
                }
            }
        }
    }

    async fn poll(&mut self, poll: &Poll) {
        let Self { machine, line, to_user } = self;
        let opened = to_user.unless_abandoned(machine, line.open(poll.place)).await;
        let ended = match opened {
            None => None,
            Some(Err(failure)) => {
                Some(Ended { outcome: Outcome::Failed(failure), keeps: false, within: None, terms: None, bytes: 0 })
            }
            Some(Ok(())) => {
                machine.is_with_server();
                to_user.status.send_replace(machine.status(|place| line.name(place)));
                to_user.unless_abandoned(machine, line.exchange(poll)).await
            }
        };
        let Some(ended) = ended else { return line.drop_connection() };
        let state = machine.ended(ended, now());
        // Before the state is given: who takes it may look at what the server has.
        to_user.status.send_replace(machine.status(|place| line.name(place)));
        if let Some(state) = state
            && let Some(replaced) = to_user.shared.give(state)
        {
            machine.replaced(&replaced);
        }
    }

    fn tell(&self) {
        self.to_user.status.send_replace(self.machine.status(|place| self.line.name(place)));
    }
}

impl ToUser {
    /// Takes what the user has reported.
    fn listen(&self, machine: &mut Machine) {
        for report in self.shared.reports() {
            match report {
                Report::Held(id) => machine.holds(&id),
                Report::Keeps(state) => machine.keeps(*state),
                Report::Rejected { id, reason } => machine.rejects(&id, &reason),
                Report::PollNow => machine.asked(now()),
            }
        }
    }

    /// What `work` gives; none: the machine gave the poll up meanwhile.
    async fn unless_abandoned<T>(&self, machine: &mut Machine, work: impl Future<Output = T>) -> Option<T> {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return Some(done),
                () = self.shared.reported() => {
                    self.listen(machine);
                    if matches!(machine.step(now()), Action::Abandon) {
                        return None;
                    }
                }
            }
        }
    }
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
