//! What is done for the state that is held: its output is put right, and its commands run again.

use super::Running;
use crate::agent::around::Interrupt;
use crate::agent::exit::Exit;
use crate::agent::hooks::Action;
use crate::config::agent::OnStale;

impl Running {
    /// Puts the output right, and applies it again where that was needed.
    pub(super) async fn enforce(&mut self) -> Option<Exit> {
        if self.put_right() && self.applier.commands().applies() {
            return self.again(Action::Again).await;
        }
        None
    }

    /// Puts the output right. Whether that was needed.
    pub(super) fn put_right(&mut self) -> bool {
        let enforced = self.applier.enforce(self.holds_newest());
        self.broken = enforced.as_ref().err().map(ToString::to_string);
        self.is_looked_at = true;
        self.report(None);
        match enforced {
            Ok(changed) => {
                self.applier.commands().tally().corrected(changed.len());
                for what in &changed {
                    tracing::warn!(what, "the output was not what is held, and is put right");
                }
                if !changed.is_empty() {
                    // It may not have been possible at the start.
                    self.around.notify.ready(&self.standing());
                }
                !changed.is_empty()
            }
            Err(fault) => {
                tracing::error!(why = %fault, "the output cannot be put right");
                self.around.notify.status(&format!("the output cannot be put right: {fault}"));
                false
            }
        }
    }

    /// Looks at the output again, and runs the commands again where they failed for what is held.
    pub(super) async fn enforce_again(&mut self) -> Option<Exit> {
        if self.enforces
            && let Some(exit) = self.enforce().await
        {
            return Some(exit);
        }
        if self.failed.is_some() { self.again(Action::Again).await } else { None }
    }

    /// What follows once what is held has become too old, or is not any more: then what was done about it is undone.
    pub(super) async fn turned(&mut self) -> Option<Exit> {
        self.around.notify.status(&self.standing());
        if self.on_stale == OnStale::Keep || self.applier.store().held().is_none() {
            return None;
        }
        if !self.applier.commands().stale().is_stale() {
            return self.again(Action::Again).await;
        }
        let ((), interrupt) = self.around.beside(self.applier.tell_stale()).await;
        interrupt.map(|interrupt| self.end(interrupt))
    }

    /// How an agent ends that has the newest state.
    pub(super) fn finished(&self) -> Exit {
        if self.broken.is_some() || self.failed.is_some() { Exit::Failed } else { Exit::Stopped }
    }

    /// Runs the commands for what is held.
    pub(super) async fn again(&mut self, action: Action) -> Option<Exit> {
        let (result, interrupt) = self.around.beside(self.applier.again(action)).await;
        self.failed = result.err();
        if let Some(why) = &self.failed {
            tracing::error!(why, "the commands failed for the state that is held");
            self.around.notify.status(&format!("the commands failed: {why}"));
        }
        // It is the commands that have taken the time.
        interrupt.map(|interrupt| if interrupt == Interrupt::Deadline { Exit::Failed } else { self.end(interrupt) })
    }
}
