//! The commands of the operator, and how they are run for a state.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::age::Stale;
use super::hooks::{
    self, Action, Call, Command, Ended, Ends, Environment, InvalidCommand, InvalidEnvironment, Limits, Note, Outcome,
};
use super::tally::Tally;
use crate::bounds::AGENT_VERIFY_AGAIN;
use crate::config::agent::AgentHooks;

/// The commands.
#[derive(Debug)]
pub struct Commands {
    check: Option<Command>,
    exec: Option<Command>,
    verify: Option<Command>,
    settings: AgentHooks,
    environment: Environment,
    limits: Limits,
    /// Those that run are to end now, or are killed.
    ends: Ends,
    /// No further one is started.
    stopping: CancellationToken,
    stale: Stale,
    /// How they have ended.
    tally: Arc<Tally>,
}

/// Why commands cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InvalidHooks {
    /// One of them is none.
    #[error("--{option} {text:?}: {why}")]
    Command {
        /// Its option.
        option: &'static str,
        /// It.
        text: String,
        /// What is wrong with it, and the remedy.
        why: InvalidCommand,
    },
    /// A variable cannot be handed on.
    #[error("--env: {0}")]
    Environment(InvalidEnvironment),
    /// There is nothing to verify.
    #[error(
        "--verify is of no use without --exec: give that too, or --check, which looks at a state before it is put out"
    )]
    Verify,
}

impl Commands {
    /// Reads them. `inherited` gives the agent's own variables.
    pub fn new(
        settings: &AgentHooks,
        inherited: impl Fn(&str) -> Option<std::ffi::OsString>,
    ) -> Result<Self, InvalidHooks> {
        let read = |option, text: &Option<String>| {
            let Some(text) = text else { return Ok(None) };
            let command = Command::parse(text, settings.shell);
            command.map(Some).map_err(|why| InvalidHooks::Command { option, text: text.clone(), why })
        };
        let (check, exec, verify) =
            (read("check", &settings.check)?, read("exec", &settings.exec)?, read("verify", &settings.verify)?);
        if verify.is_some() && exec.is_none() {
            return Err(InvalidHooks::Verify);
        }
        Ok(Self {
            check,
            exec,
            verify,
            environment: Environment::new(&settings.env, inherited).map_err(InvalidHooks::Environment)?,
            limits: Limits { timeout: settings.timeout, kill_after: settings.kill_after, note: Note::NONE },
            settings: settings.clone(),
            ends: Ends::default(),
            stopping: CancellationToken::new(),
            stale: Stale::default(),
            tally: Arc::default(),
        })
    }

    /// It is noted there which one runs.
    #[must_use]
    pub fn noted_in(mut self, note: Note) -> Self {
        self.limits.note = note;
        self
    }

    /// How they are run.
    #[must_use]
    pub fn settings(&self) -> &AgentHooks {
        &self.settings
    }

    /// Cancelled when no further command is to be started, and when those that run are to end.
    #[must_use]
    pub fn ends(&self) -> (CancellationToken, Ends) {
        (self.stopping.clone(), self.ends.clone())
    }

    /// Whether what is held is too old, as commands are told.
    #[must_use]
    pub fn stale(&self) -> &Stale {
        &self.stale
    }

    /// Whether there is any.
    #[must_use]
    pub fn are_any(&self) -> bool {
        self.check.is_some() || self.exec.is_some()
    }

    /// Whether there is one that looks at what is staged.
    #[must_use]
    pub fn checks(&self) -> bool {
        self.check.is_some()
    }

    /// What has happened since the start.
    #[must_use]
    pub fn tally(&self) -> &Arc<Tally> {
        &self.tally
    }

    /// Whether there is one that applies a state.
    #[must_use]
    pub fn applies(&self) -> bool {
        self.exec.is_some()
    }

    /// Whether what is staged is good.
    pub async fn check(&self, call: Call<'_>, bytes: &Bytes) -> Outcome {
        self.run("check", self.check.as_ref(), call, bytes).await
    }

    /// Applies what is put out.
    pub async fn exec(&self, call: Call<'_>, bytes: &Bytes) -> Outcome {
        if self.exec.is_some() && call.action == Action::Apply && !self.settings.splay.is_zero() {
            tokio::select! {
                () = sleep(self.settings.splay.mul_f64(fastrand::f64())) => {}
                () = self.stopping.cancelled() => {}
            }
        }
        self.run("exec", self.exec.as_ref(), call, bytes).await
    }

    /// Whether it works: asked again and again, for as long as that may take.
    pub async fn verify(&self, call: Call<'_>, bytes: &Bytes) -> Outcome {
        let start = Instant::now();
        loop {
            let outcome = self.run("verify", self.verify.as_ref(), call, bytes).await;
            let (Outcome::TryAgain(why) | Outcome::TimedOut(why) | Outcome::NotStarted(why) | Outcome::Rejected(why)) =
                outcome
            else {
                return outcome;
            };
            let left = self.settings.verify_for.saturating_sub(start.elapsed());
            if left.is_zero() {
                return Outcome::Rejected(why);
            }
            tokio::select! {
                // Once more at the end.
                () = sleep(left.min(AGENT_VERIFY_AGAIN)) => {}
                () = self.stopping.cancelled() => return Outcome::Stopped,
            }
        }
    }

    async fn run(&self, name: &'static str, command: Option<&Command>, call: Call<'_>, bytes: &Bytes) -> Outcome {
        let Some(command) = command else { return Outcome::Done };
        if self.stopping.is_cancelled() {
            return Outcome::Stopped;
        }
        let stdin = self.settings.stdin.then(|| bytes.clone());
        let call = Call { is_stale: self.stale.is_stale(), ..call };
        let ended = hooks::run(command, &self.environment, &call, stdin, &self.limits, &self.ends).await;
        tell(name, call.id, &ended);
        self.tally.ran(name, &ended);
        ended.outcome
    }
}

/// One line for each command that has run.
fn tell(command: &'static str, id: &str, ended: &Ended) {
    let took = millis(ended.took);
    match &ended.outcome {
        Outcome::Done => tracing::info!(command, id, milliseconds = took, "the command succeeded"),
        Outcome::Stopped => tracing::warn!(command, id, "the command was ended, since the agent ends"),
        Outcome::TryAgain(why) | Outcome::TimedOut(why) | Outcome::NotStarted(why) | Outcome::Rejected(why) => {
            tracing::warn!(command, id, milliseconds = took, why, "the command failed");
        }
    }
    if ended.is_outlived {
        tracing::info!(command, id, "something that the command has started goes on in the background");
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
