//! What is done with a state that has come: it is applied, as often as that takes.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::Running;
use super::tell::has_newest;
use crate::agent::apply::{Later, Verdict};
use crate::agent::around::Interrupt;
use crate::agent::exit::Exit;
use crate::bounds::{AGENT_AGAIN, AGENT_MACHINE};
use crate::client::{State, Status, doubled};

/// What ends a pause before a state is tried again.
enum Paused {
    /// Its time is over.
    Over,
    /// A newer state has come.
    Newer(State),
    /// The server has gone back to what is held.
    Withdrawn,
    /// What has failed is to be tried anew.
    Anew,
    /// The agent ends.
    End(Exit),
}

impl Running {
    /// Applies a state, or a newer one that comes while that has to be tried again.
    pub(super) async fn take(&mut self, state: State) -> Option<Exit> {
        let exit = self.take_newest(state).await;
        self.applies = None;
        exit
    }

    async fn take_newest(&mut self, state: State) -> Option<Exit> {
        let (mut wanted, mut failures, mut is_withdrawn) = (state, 0, false);
        loop {
            if let Some(refusal) = self.applier.refusal(wanted.id()).cloned() {
                let why = &refusal.reason;
                tracing::error!(id = wanted.id(), why, "the state was rejected before, and is not tried again");
                self.reports.rejected(wanted.id(), refusal.reason.clone());
                self.rejected = Some((refusal.id.clone(), refusal.reason.clone()));
                return self.after(None, Exit::Rejected);
            }
            tracing::info!(id = wanted.id(), bytes = wanted.bytes().len(), "a state has come");
            self.applies = Some(wanted.id().to_owned());
            self.report(None);
            let (verdict, interrupt) = self.around.beside(self.applier.apply(&wanted, is_withdrawn)).await;
            let why = match verdict {
                Verdict::Held => {
                    tracing::info!(id = wanted.id(), "the state is applied");
                    self.reports.keeps(wanted.clone());
                    (self.rejected, self.broken, self.failed) = (None, None, None);
                    self.around.notify.ready(&self.standing());
                    return self.after(interrupt, Exit::Stopped);
                }
                Verdict::Rejected(why) if is_withdrawn => {
                    tracing::info!(id = wanted.id(), why, "the state is left, and the one before is kept");
                    self.reports.rejected(wanted.id(), why);
                    self.rejected = None;
                    self.around.notify.ready(&self.standing());
                    return self.after(interrupt, Exit::Stopped);
                }
                Verdict::Rejected(why) => {
                    self.reject(wanted.id(), why);
                    return self.after(interrupt, Exit::Rejected);
                }
                Verdict::Stopped => {
                    let interrupt = interrupt.unwrap_or(Interrupt::Stop);
                    return Some(cut_short(interrupt, wanted.id(), "a command was still running"));
                }
                Verdict::Later(why) => match interrupt {
                    Some(interrupt) => return Some(cut_short(interrupt, wanted.id(), why.text())),
                    None => why,
                },
            };
            let pause = pause(&why, failures);
            let (Later::Command(why) | Later::Machine(why)) = why;
            tracing::warn!(id = wanted.id(), why, again_in = ?pause, "the state is tried again");
            self.around.notify.status(&format!("tries {} again: {why}", wanted.id()));
            failures += 1;
            self.applier.commands().tally().retries();
            match self.pause(pause, &why, &wanted, is_withdrawn).await {
                Paused::Over => {}
                Paused::Newer(newer) => (wanted, failures, is_withdrawn) = (newer, 0, false),
                Paused::Withdrawn => is_withdrawn = true,
                Paused::Anew => failures = 0,
                Paused::End(exit) => return Some(exit),
            }
        }
    }

    /// Waits before a state is tried again.
    async fn pause(&mut self, pause: Duration, why: &str, wanted: &State, is_withdrawn: bool) -> Paused {
        let over = Instant::now() + pause;
        loop {
            self.report(Some(why));
            let (mut status, held) = (self.status.clone(), self.applier.held_id());
            let is_held = |status: &Status| has_newest(status, held.as_deref());
            tokio::select! {
                newer = self.states.next() => return newer.map_or(Paused::End(Exit::Failed), Paused::Newer),
                interrupt = self.around.attend() => match interrupt {
                    Interrupt::Asked => {
                        // What they run again for is not what is put out.
                        self.around.is_asked_again = false;
                        return self.asked().await.map_or(Paused::Anew, Paused::End);
                    }
                    Interrupt::Turned => {}
                    Interrupt::Stop | Interrupt::Deadline => {
                        return Paused::End(cut_short(interrupt, wanted.id(), why));
                    }
                },
                _ = status.wait_for(is_held), if !is_withdrawn => return Paused::Withdrawn,
                () = sleep_until(over) => return Paused::Over,
            }
        }
    }
}

/// How an agent ends before a state was applied that a server has given.
fn cut_short(interrupt: Interrupt, id: &str, why: &str) -> Exit {
    match interrupt {
        Interrupt::Deadline => {
            tracing::error!(id, why, "the state was not applied before --deadline");
            Exit::Failed
        }
        Interrupt::Stop | Interrupt::Asked | Interrupt::Turned => Exit::Stopped,
    }
}

/// How long a state waits before it is tried again: a random part of a ceiling that doubles.
fn pause(why: &Later, failures: u32) -> Duration {
    let range = match why {
        Later::Command(_) => AGENT_AGAIN,
        Later::Machine(_) => AGENT_MACHINE,
    };
    let ceiling = doubled(range, failures);
    ceiling.mul_f64(fastrand::f64()).max(range.0)
}
