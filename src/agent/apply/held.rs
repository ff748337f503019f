//! What is done for the state that is held.

use tokio::task::block_in_place;

use super::{Applier, is_renamed, rendered};
use crate::agent::hooks::{Action, Outcome};
use crate::agent::output::fault::Fault;
use crate::agent::store::{HookResult, Refusal, boot};

impl Applier {
    /// Puts the output right where it is not what is held, and gives what was changed. What failed may be asked to stay out
    /// (`--rollback=false`), unless the server `has_held` again.
    pub fn enforce(&mut self, has_held: bool) -> Result<Vec<String>, Fault> {
        let Some(held) = self.held() else { return Ok(Vec::new()) };
        if !has_held && !self.commands.settings().rollback && self.output.is_unsettled() {
            return Ok(Vec::new());
        }
        let differences = block_in_place(|| self.output.compare(rendered(&held)))?;
        if differences.is_empty() {
            return Ok(Vec::new());
        }
        block_in_place(|| {
            self.output.stage(rendered(&held))?.publish()?;
            self.output.settle()
        })?;
        Ok(differences.iter().map(ToString::to_string).collect())
    }

    /// Runs the commands for what is held. Why they failed, if they did.
    pub async fn again(&mut self, action: Action) -> Result<(), String> {
        let Some(held) = self.held() else { return Ok(()) };
        let mut outcome = self.exec(action, &held, None).await;
        if outcome == Outcome::Done {
            outcome = self.verify(action, &held).await;
        }
        let (hooks, why) = match outcome {
            Outcome::Done => (HookResult::Done, None),
            Outcome::Stopped => (HookResult::Unknown, None),
            Outcome::TryAgain(why) | Outcome::TimedOut(why) | Outcome::NotStarted(why) | Outcome::Rejected(why) => {
                (HookResult::Failed, Some(why))
            }
        };
        let applied = self.applied(hooks);
        if let Err(error) = block_in_place(|| self.store.applied_again(applied)) {
            tracing::warn!(why = %error, "how the commands ended is not kept");
        }
        why.map_or(Ok(()), Err)
    }

    /// Says to the command that what is held is too old: what comes of it changes nothing here.
    pub async fn tell_stale(&self) {
        if let Some(held) = self.held() {
            self.exec(Action::Stale, &held, None).await;
        }
    }

    /// Why a state was rejected before, with what is configured now.
    #[must_use]
    pub fn refusal(&self, id: &str) -> Option<&Refusal> {
        self.store.refusal(id, &self.configuration)
    }

    /// Whether the commands have succeeded for what is held, as they are configured now, in this boot.
    #[must_use]
    pub fn is_applied(&self) -> bool {
        self.store.held().is_some_and(|held| held.is_applied(&self.configuration, &boot()))
    }

    /// What is held has got another id for the same bytes.
    pub fn renamed(&mut self, id: Option<&str>) {
        let Some(id) = id.filter(|_| is_renamed(self.held_id().as_deref(), id)) else { return };
        if let Err(error) = block_in_place(|| self.store.rename_held(id)) {
            tracing::warn!(why = %error, "the newest id of what is held is not kept");
        }
    }

    /// What was refused may be tried again.
    pub fn forget_refused(&mut self) {
        if let Err(error) = block_in_place(|| self.store.forget_refused()) {
            tracing::warn!(why = %error, "what was rejected is not forgotten on disk");
        }
    }
}
