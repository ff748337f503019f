//! Runs the machine: tells it what happens, and does what it says.

use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::watch;

use super::handles::{Report, Shared};
use super::line::Line;
use super::machine::{Action, Ended, Machine, Outcome, Poll};
use super::status::Status;

/// A client that runs.
#[derive(Debug)]
pub(super) struct Driver {
    pub(super) machine: Machine,
    pub(super) line: Line,
    pub(super) to_user: ToUser,
}

/// The way to the user of the library.
#[derive(Debug)]
pub(super) struct ToUser {
    pub(super) shared: Arc<Shared>,
    pub(super) status: watch::Sender<Status>,
}

impl Driver {
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
            Some(Err(failure)) => Some(Ended { outcome: Outcome::Failed(failure), keeps: false, within: None }),
            Some(Ok(())) => {
                machine.is_with_server();
                to_user.status.send_replace(machine.status(|place| line.name(place)));
                to_user.unless_abandoned(machine, line.exchange(poll)).await
            }
        };
        let Some(ended) = ended else { return line.drop_connection() };
        if let Some(state) = machine.ended(ended, now())
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
