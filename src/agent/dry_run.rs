//! `--dry-run`: what an agent would change now, without changing anything. It asks as somebody without a name who holds
//! nothing, so that nobody takes it for the agent, and ends before a second poll could say what it does.

use std::ffi::OsString;
use std::path::Path;

use super::admin::Heart;
use super::apply::rendered;
use super::around::{Around, Interrupt};
use super::commands::Commands;
use super::exit::Exit;
use super::hooks::{Action, Call, Outcome};
use super::output::fault::Fault;
use super::output::{Output, render};
use super::run::failure;
use super::setup::{Parts, SetupError, parts};
use super::store::held_id;
use super::wording::in_options;
use crate::client::{self, Client, State};
use crate::config::agent::Agent;
use crate::systemd::Notify;

/// What comes of it: how it ends, and the difference, for standard output. `inherited` gives the variables of the environment.
pub async fn run(config: &Agent, inherited: impl Fn(&str) -> Option<OsString>) -> Result<(Exit, String), SetupError> {
    let temporary = inherited("TMPDIR").filter(|path| !path.is_empty()).unwrap_or_else(|| "/tmp".into());
    let Parts { commands, places, of } = parts(config, inherited)?;
    let output = Output::look(places)?;
    let held = held_id(&config.state_dir, &of);
    let source = client::Settings { agent_id: None, patches: false, ..config.source.clone() };
    let (mut states, reports) = Client::start(&source, None).map_err(SetupError::Client)?;
    let contact = reports.status();
    // The agent itself may be at `--admin`.
    let mut around = Around::new(config, Notify::default(), reports, Heart::unasked(), &commands)?;
    let state = loop {
        tokio::select! {
            state = states.next() => match state {
                Some(state) => break state,
                None => return Ok((Exit::Failed, String::new())),
            },
            interrupt = around.attend() => match interrupt {
                Interrupt::Stop => return Ok((Exit::Stopped, String::new())),
                Interrupt::Deadline => {
                    let contact = contact.borrow();
                    tracing::error!(why = failure(&contact).map(in_options), "no state came before --deadline");
                    let exit = Exit::without_answer(&contact, held.is_some());
                    return Ok((exit, String::new()));
                }
                Interrupt::Asked | Interrupt::Turned => {}
            },
        }
    };
    // The client ends: its next poll would say that the state is being applied.
    drop(states);
    let would = Would { commands: &commands, output: &output, operation: &of.operation, held: held.as_deref() };
    let ((exit, text), interrupt) = around.beside(would.apply(&state, Path::new(&temporary))).await;
    Ok((if interrupt == Some(Interrupt::Stop) { Exit::Stopped } else { exit }, text))
}

/// What is looked at.
struct Would<'a> {
    commands: &'a Commands,
    output: &'a Output,
    operation: &'a str,
    held: Option<&'a str>,
}

impl Would<'_> {
    async fn apply(&self, state: &State, temporary: &Path) -> (Exit, String) {
        let shown = rendered(state);
        let previewed = tokio::task::block_in_place(|| self.output.preview(shown));
        let text = match previewed {
            Ok(text) => text,
            Err(fault @ Fault::State { .. }) => {
                tracing::error!(id = state.id(), why = %fault, "the state would be rejected");
                return (Exit::Rejected, String::new());
            }
            Err(fault @ Fault::Machine { .. }) => {
                tracing::error!(id = state.id(), why = %fault, "what would change is not known");
                return (Exit::Failed, String::new());
            }
        };
        let exit = match self.check(state, shown, temporary).await {
            Outcome::Done if text.is_empty() => {
                tracing::info!(id = state.id(), "nothing would change");
                Exit::Stopped
            }
            Outcome::Done => {
                tracing::info!(id = state.id(), "the state would be applied");
                Exit::Stopped
            }
            Outcome::Rejected(why) => {
                tracing::error!(id = state.id(), why, "the state would be rejected");
                Exit::Rejected
            }
            Outcome::TryAgain(why) | Outcome::TimedOut(why) | Outcome::NotStarted(why) => {
                tracing::error!(id = state.id(), why, "the state would be tried again");
                Exit::Failed
            }
            Outcome::Stopped => {
                tracing::error!(id = state.id(), "its check has not ended before the deadline");
                Exit::Failed
            }
        };
        (exit, text)
    }

    /// What `--check` says to a copy.
    async fn check(&self, state: &State, shown: render::State<'_>, temporary: &Path) -> Outcome {
        if !self.commands.checks() {
            return Outcome::Done;
        }
        let staged = tokio::task::block_in_place(|| {
            let rendered = self.output.render(shown)?;
            self.output.scratch(temporary, &rendered)
        });
        let staged = match staged {
            Ok(staged) => staged,
            Err(fault) => {
                tracing::warn!(why = %fault, "--check is not run: there is no temporary place for the state (TMPDIR)");
                return Outcome::Done;
            }
        };
        let before = self.output.before();
        let call = Call {
            action: Action::Apply,
            operation: self.operation,
            id: state.id(),
            previous_id: self.held,
            file: staged.path(),
            target: self.output.path(),
            previous_file: before.as_deref(),
            patch_file: None,
            reason: None,
            is_stale: false,
            attempt: 1,
        };
        self.commands.check(call, state.bytes()).await
    }
}
