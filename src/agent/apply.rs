//! Takes one state from the network to where it is held, or back.
//!
//! ```text
//! begin (kept on disk) -> stage -> check -> publish -> exec -> verify -> hold (kept on disk), settle
//!                           |        |         |         |        |
//!                           +--------+---------+         +--------+--> roll back, exec again, refuse
//!                       the output is as it was
//! ```
//! Each step is on disk before the next one begins, so a process that is killed is followed by one that goes on there. A state
//! is acknowledged after it is held, and never before. What the machine is at fault for is tried again with the same bytes.

use tokio::task::block_in_place;

use super::commands::Commands;
use super::hooks::{Action, Call, Outcome};
use super::output::fault::Fault;
use super::output::{Output, PatchFile, render};
use super::store::{Applied, Body, HookResult, Phase, Store, StoreError, boot};
use crate::client::{State, is_same};
use crate::sources::wall_clock;

mod held;
mod patch;

/// Applies states, one after the other.
#[derive(Debug)]
pub struct Applier {
    store: Store,
    output: Output,
    commands: Commands,
    operation: String,
    /// A digest of what outputs and commands are configured.
    configuration: String,
    /// The way from what is held to the state that is being applied, while it is.
    patch: Option<PatchFile>,
}

/// What became of a state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is held.
    Held,
    /// It is not, and will not be tried again by itself; why.
    Rejected(String),
    /// It is to be tried again.
    Later(Later),
    /// The agent ends.
    Stopped,
}

/// Why a state is to be tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Later {
    /// A command asks for it.
    Command(String),
    /// The machine is at fault, such as a full disk.
    Machine(String),
}

impl Later {
    /// The reason.
    #[must_use]
    pub fn text(&self) -> &str {
        let (Self::Command(why) | Self::Machine(why)) = self;
        why
    }
}

/// Why a state was not published: the output is as it was.
enum Unpublished {
    /// It is no good.
    Refused(String),
    /// What its check says.
    Command(Outcome),
    /// Another end.
    Verdict(Verdict),
}

/// How far an attempt comes: on, or to an end.
type Step = Result<(), Verdict>;

impl Applier {
    /// An applier with these, for states of this operation.
    #[must_use]
    pub fn new(store: Store, output: Output, commands: Commands, operation: &str, configuration: String) -> Self {
        Self { store, output, commands, operation: operation.to_owned(), configuration, patch: None }
    }

    /// What outlives the process.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The commands.
    #[must_use]
    pub fn commands(&self) -> &Commands {
        &self.commands
    }

    /// Where the model goes.
    #[must_use]
    pub fn output(&self) -> &Output {
        &self.output
    }

    /// The state that is held, if its bytes are what its id names.
    #[must_use]
    pub fn held(&self) -> Option<State> {
        self.store.held().and_then(|held| kept(&held.body))
    }

    /// The id of the state that is held.
    #[must_use]
    pub fn held_id(&self) -> Option<String> {
        self.store.held().map(|held| held.body.id().to_owned())
    }

    /// The state that is on its way.
    #[must_use]
    pub fn pending(&self) -> Option<State> {
        self.store.pending().and_then(|pending| kept(&pending.body))
    }

    /// Applies a state, from where it is; or, if the server has what is held again, leaves it and puts that back.
    pub async fn apply(&mut self, state: &State, is_withdrawn: bool) -> Verdict {
        match is_withdrawn {
            false => {
                let ended = self.steps(state).await;
                self.patch = None;
                ended.err().unwrap_or(Verdict::Held)
            }
            true if self.output.is_unsettled() => self.put_back(state, WITHDRAWN.to_owned()).await,
            true => self.refuse(WITHDRAWN),
        }
    }

    async fn steps(&mut self, state: &State) -> Step {
        let known = self.store.pending().filter(|pending| pending.body.id() == state.id());
        let phase = known.map(|pending| pending.phase);
        if phase.is_none() && self.store.held().is_some_and(|held| held.body.id() == state.id()) {
            return self.keep_held();
        }
        if phase == Some(Phase::RollingBack) {
            return Err(self.roll_back(state, "it failed before the agent was started anew".to_owned()).await);
        }
        if phase.is_none() {
            let body = Body::new(state.id(), state.media_type(), state.bytes().clone());
            self.keep(|store| store.begin(body))?;
        }
        self.patch = self.patch_to(state)?;
        // That it is put out is said before it is: it may have come no further, or have been changed since.
        let is_out = matches!(phase, Some(Phase::Published | Phase::Applied)) && self.is_out(state)?;
        if !is_out {
            self.put_out(state).await?;
        }
        if !is_out || phase != Some(Phase::Applied) {
            let outcome = self.exec(Action::Apply, state, None).await;
            self.judge(state, outcome).await?;
            self.advance(Phase::Applied)?;
        }
        let outcome = self.verify(Action::Apply, state).await;
        self.judge(state, outcome).await?;
        let applied = self.applied(HookResult::Done);
        self.keep(|store| store.hold(applied))?;
        // It is held, whatever becomes of the way back: a later start removes that.
        if let Err(fault) = block_in_place(|| self.output.settle()) {
            tracing::warn!(why = %fault, "the way back to the output before stays");
        }
        Ok(())
    }

    /// Whether the output is this state.
    fn is_out(&self, state: &State) -> Result<bool, Verdict> {
        let compared = block_in_place(|| self.output.compare(rendered(state)));
        Ok(compared.map_err(|fault| machine(&fault))?.is_empty())
    }

    /// A state that is held already: it was finished before the client knew of it.
    fn keep_held(&mut self) -> Step {
        self.keep(Store::drop_pending)?;
        self.enforce(true).map(drop).map_err(|fault| machine(&fault))
    }

    /// Stages it, has it checked, and replaces the output.
    async fn put_out(&mut self, state: &State) -> Step {
        match self.try_put_out(state).await {
            Ok(()) => Ok(()),
            // What was put out before it, and never held, does not stay either.
            Err(Unpublished::Refused(why)) if self.output.is_unsettled() => Err(self.roll_back(state, why).await),
            Err(Unpublished::Refused(why)) => Err(self.refuse(&why)),
            Err(Unpublished::Command(outcome)) => self.judge(state, outcome).await,
            Err(Unpublished::Verdict(verdict)) => Err(verdict),
        }
    }

    async fn try_put_out(&mut self, state: &State) -> Result<(), Unpublished> {
        let staged = match block_in_place(|| self.output.stage(rendered(state))) {
            Ok(staged) => staged,
            Err(Fault::State { file, why }) => {
                return Err(Unpublished::Refused(format!("{}: {why}", file.display())));
            }
            Err(fault @ Fault::Machine { .. }) => return Err(Unpublished::Verdict(machine(&fault))),
        };
        let attempts = self.attempts();
        let before = self.output.before();
        let call =
            Call { file: staged.path(), previous_file: before.as_deref(), ..self.call(Action::Apply, state, None) };
        match self.commands.check(call, state.bytes()).await {
            Outcome::Done => {}
            // Nothing is to be put back.
            Outcome::Rejected(why) => return Err(Unpublished::Refused(why)),
            outcome @ (Outcome::TryAgain(_) | Outcome::TimedOut(_) | Outcome::NotStarted(_) | Outcome::Stopped) => {
                return Err(Unpublished::Command(outcome));
            }
        }
        if self.commands.ends().0.is_cancelled() {
            return Err(Unpublished::Verdict(Verdict::Stopped));
        }
        // Said before the first file is renamed.
        keep(block_in_place(|| self.store.advance(Phase::Published, attempts))).map_err(Unpublished::Verdict)?;
        block_in_place(|| staged.publish()).map_err(|fault| Unpublished::Verdict(machine(&fault)))
    }

    /// What the outcome of a command comes to, once the state is put out.
    async fn judge(&mut self, state: &State, outcome: Outcome) -> Step {
        let attempts = self.attempts() + 1;
        let counts = matches!(outcome, Outcome::TimedOut(_) | Outcome::NotStarted(_));
        match outcome.after(attempts, self.commands.settings().attempts) {
            Outcome::Done => Ok(()),
            Outcome::Stopped => Err(Verdict::Stopped),
            Outcome::TryAgain(why) | Outcome::TimedOut(why) | Outcome::NotStarted(why) => {
                let attempts = if counts { attempts } else { self.attempts() };
                self.keep(|store| store.tried(attempts))?;
                Err(Verdict::Later(Later::Command(why)))
            }
            Outcome::Rejected(why) => match self.store.pending().map(|pending| pending.phase) {
                // The output is as it was.
                None | Some(Phase::Received) if !self.output.is_unsettled() => Err(self.refuse(&why)),
                None | Some(_) => Err(self.roll_back(state, why).await),
            },
        }
    }

    /// Puts the output before back, where that is wanted, and refuses the state.
    async fn roll_back(&mut self, state: &State, reason: String) -> Verdict {
        if !self.commands.settings().rollback {
            // It stays, unsettled, until there is a newer one.
            return self.refuse(&reason);
        }
        self.put_back(state, reason).await
    }

    async fn put_back(&mut self, state: &State, mut reason: String) -> Verdict {
        if let Err(verdict) = self.advance(Phase::RollingBack) {
            return verdict;
        }
        if let Err(fault) = block_in_place(|| self.output.roll_back()) {
            return machine(&fault);
        }
        // The way back may have been that of an older one, where it could not be removed.
        if let Err(fault) = self.enforce(true) {
            return machine(&fault);
        }
        if let Some(held) = self.held() {
            let outcome = self.exec(Action::Rollback, &held, Some((state, &reason))).await;
            match outcome {
                Outcome::Done => {}
                Outcome::Stopped => return Verdict::Stopped,
                Outcome::TryAgain(why) | Outcome::TimedOut(why) | Outcome::NotStarted(why) | Outcome::Rejected(why) => {
                    reason = format!("{reason}; and with the output before: {why}");
                }
            }
        }
        self.refuse(&reason)
    }

    fn refuse(&mut self, reason: &str) -> Verdict {
        let configuration = self.configuration.clone();
        match self.keep(|store| store.refuse(reason, &configuration)) {
            Ok(()) => Verdict::Rejected(reason.to_owned()),
            Err(verdict) => verdict,
        }
    }

    /// Runs the command that applies a state. `failed`: for what is put back, instead of which one, and why.
    async fn exec(&self, action: Action, state: &State, failed: Option<(&State, &str)>) -> Outcome {
        let previous = self.output.previous();
        let call = Call { previous_file: previous.as_deref(), ..self.call(action, state, failed) };
        self.commands.exec(call, state.bytes()).await
    }

    /// Runs the command that says whether a state works.
    async fn verify(&self, action: Action, state: &State) -> Outcome {
        let previous = self.output.previous();
        let call = Call { previous_file: previous.as_deref(), ..self.call(action, state, None) };
        self.commands.verify(call, state.bytes()).await
    }

    fn call<'s>(&'s self, action: Action, state: &'s State, failed: Option<(&'s State, &'s str)>) -> Call<'s> {
        let held = self.store.held().map(|held| held.body.id());
        Call {
            action,
            operation: &self.operation,
            id: state.id(),
            previous_id: failed.map_or(held, |(state, _)| Some(state.id())),
            file: self.output.path(),
            target: self.output.path(),
            previous_file: None,
            patch_file: self.patch.as_ref().filter(|_| action == Action::Apply).map(PatchFile::path),
            reason: failed.map(|(_, reason)| reason),
            is_stale: false,
            attempt: self.store.pending().filter(|_| action == Action::Apply).map_or(0, |pending| pending.tries) + 1,
        }
    }

    fn attempts(&self) -> u32 {
        self.store.pending().map_or(0, |pending| pending.attempts)
    }

    fn advance(&mut self, phase: Phase) -> Step {
        let attempts = self.attempts();
        self.keep(|store| store.advance(phase, attempts))
    }

    fn keep(&mut self, change: impl FnOnce(&mut Store) -> Result<(), StoreError>) -> Step {
        keep(block_in_place(|| change(&mut self.store)))
    }

    fn applied(&self, hooks: HookResult) -> Applied {
        Applied { hooks, boot: boot(), configuration: self.configuration.clone(), at: seconds() }
    }
}

/// Since 1970, for people: clocks jump.
fn seconds() -> u64 {
    wall_clock().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn keep(kept: Result<(), StoreError>) -> Step {
    kept.map_err(|error| Verdict::Later(Later::Machine(error.to_string())))
}

/// Why a state is left that was still to be applied.
pub(super) const WITHDRAWN: &str = "the server has the state before again";

/// Whether `id` is another one of the state that is held. The client learns of what is held later than the store.
pub(super) fn is_renamed(held: Option<&str>, id: Option<&str>) -> bool {
    held != id && held.zip(id).is_some_and(|(held, id)| is_same(held, id))
}

fn machine(fault: &Fault) -> Verdict {
    Verdict::Later(Later::Machine(fault.to_string()))
}

/// A state as the output takes it.
pub(super) fn rendered(state: &State) -> render::State<'_> {
    render::State { id: state.id(), bytes: state.bytes(), document: state.document() }
}

fn kept(body: &Body) -> Option<State> {
    State::kept(body.id(), body.media_type(), body.bytes().clone()).ok()
}
