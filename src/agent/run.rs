//! The agent's loop: a state comes, it is applied, the server is told. One state at a time, and the newest wins: what comes while
//! one is applied is kept by the client, which goes on polling and says what it is busy with.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

pub(super) use self::tell::failure;
use super::admin::{self, Port, Seen};
use super::apply::{Applier, is_renamed};
use super::around::{Around, Interrupt, every};
use super::exit::Exit;
use super::hooks::Action;
use super::settle::Settling;
use super::setup::{SetupError, setup};
use super::status::Journal;
use super::wording::in_options;
use crate::bounds::{AGENT_ENFORCE, AGENT_NEWER, CLIENT_FAILURES};
use crate::client::{Client, Reports, State, Status, is_same};
use crate::config::agent::{Agent, OnStale, OnStart};
use crate::sources::describe::Holdings;
use crate::systemd::Notify;

mod held;
mod take;
mod tell;

/// An agent that runs.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a setting or a fact of its own, that any of the others may go with"
)]
struct Running {
    applier: Applier,
    states: Settling,
    reports: Reports,
    status: watch::Receiver<Status>,
    around: Around,
    on_start: OnStart,
    on_stale: OnStale,
    enforces: bool,
    is_once: bool,
    /// The only state has come to its end, and the server has not heard of it yet.
    has_verdict: bool,
    /// Why the last poll brought no state, as the log says it.
    told: Option<String>,
    journal: Journal,
    operation: String,
    /// The id of the state that is being applied.
    applies: Option<String>,
    /// The newest state, if it was rejected, and why.
    rejected: Option<(String, String)>,
    /// The output was looked at since the start, or what is under way sees to it.
    is_looked_at: bool,
    /// Why the output was not what is held, when it was looked at last.
    broken: Option<String>,
    /// Why the commands failed for what is held, when they ran last.
    failed: Option<String>,
    /// What is held, for who serves it.
    held: watch::Sender<Option<State>>,
}

/// An agent that polls, and has done nothing with it yet.
#[expect(missing_debug_implementations, reason = "its parts have none")]
pub struct Started {
    running: Running,
    /// Open while it runs.
    port: Option<Port>,
}

/// Starts an agent. `inherited` gives the variables of the environment.
pub fn start(
    config: &Agent,
    notify: Notify,
    inherited: impl Fn(&str) -> Option<std::ffi::OsString>,
) -> Result<Started, SetupError> {
    let applier = setup(config, inherited)?;
    let (states, reports) = Client::start(&config.source, applier.held()).map_err(SetupError::Client)?;
    let journal = Journal::new(&config.state_dir);
    let tally = Arc::clone(applier.commands().tally());
    let stale = config.max_age.map(|_| applier.commands().stale().clone());
    let seen = Seen { report: journal.last(), status: reports.status(), tally, stale };
    let (port, heart) = admin::open(config.admin, seen)?;
    let around = Around::new(config, notify, reports.clone(), heart, applier.commands())?;
    let running = Running {
        applier,
        states: Settling::new(states, config.settle.filter(|_| config.once.is_none())),
        status: reports.status(),
        reports,
        around,
        on_start: config.hooks.on_start,
        on_stale: config.on_stale,
        enforces: config.output.enforce,
        is_once: config.once.is_some(),
        has_verdict: false,
        told: None,
        journal,
        operation: config.source.operation.clone(),
        applies: None,
        rejected: None,
        is_looked_at: false,
        broken: None,
        failed: None,
        held: watch::Sender::new(None),
    };
    Ok(Started { running, port })
}

impl Started {
    /// What it holds, as that changes.
    #[must_use]
    pub fn holdings(&self) -> Holdings {
        Holdings { held: self.running.held.subscribe(), status: self.running.status.clone() }
    }

    /// Runs it until it ends.
    pub async fn run(self) -> Exit {
        let Self { running, port } = self;
        let exit = running.run().await;
        drop(port);
        exit
    }
}

impl Running {
    async fn run(mut self) -> Exit {
        let mut exit = self.start().await;
        let mut enforce = every(AGENT_ENFORCE);
        enforce.reset();
        while exit.is_none() {
            exit = self.asked().await;
            if exit.is_none() && std::mem::take(&mut self.around.has_turned) {
                exit = self.turned().await;
            }
            if exit.is_some() {
                break;
            }
            self.report(None);
            if self.holds_newest() {
                self.states.begin();
            }
            let held = self.applier.held_id();
            let (mut status, newest) = (self.status.clone(), self.status.borrow().newest.clone());
            let mut confirmed = self.status.clone();
            let (mut contact, told) = (self.status.clone(), self.told.clone());
            exit = tokio::select! {
                interrupt = self.around.attend() => match interrupt {
                    Interrupt::Stop | Interrupt::Deadline => Some(self.end(interrupt)),
                    Interrupt::Asked | Interrupt::Turned => None,
                },
                state = self.states.next() => match state {
                    Some(state) => {
                        let exit = self.take(state).await;
                        self.states.begin();
                        exit
                    }
                    None => Some(Exit::Failed),
                },
                _ = enforce.tick(), if self.enforces || self.failed.is_some() => {
                    self.enforce_again().await
                }
                changed = status.wait_for(|status| status.newest != newest || is_renamed(held.as_deref(), status.held.as_deref())) => {
                    let id = changed.ok().and_then(|status| status.held.clone());
                    self.applier.renamed(id.as_deref());
                    self.withdraw();
                    // The server has gone back to what is held, and what failed meanwhile may still be out.
                    if self.holds_newest() && self.applier.output().is_unsettled() { self.enforce().await } else { None }
                }
                contact = contact.wait_for(|status| failure(status) != told.as_deref()) => {
                    let why = contact.ok().and_then(|status| failure(&status).map(str::to_owned));
                    self.tell_of_contact(why);
                    None
                }
                // The server has nothing newer than what is held or rejected.
                confirmed = confirmed.wait_for(|status| status.counters.unchanged > 0), if self.is_once => {
                    let is_rejected = confirmed.is_ok_and(|status| status.rejected.is_some());
                    Some(if is_rejected { Exit::Rejected } else { self.finished() })
                }
            };
        }
        if self.has_verdict {
            self.acknowledge().await;
        }
        let exit = exit.unwrap_or(Exit::Stopped);
        self.report(None);
        self.around.notify.stopping(Duration::ZERO);
        tracing::info!(code = exit.code(), "the agent ends");
        exit
    }

    /// Puts out what is held at once, since no server may be there, and goes on with what was under way.
    async fn start(&mut self) -> Option<Exit> {
        // What is there may be of the process before.
        self.report(None);
        let pending = self.applier.pending();
        // While a state is under way its own order of things says what the output is: whole at any moment.
        if pending.is_none() {
            let exit = self.enforce().await;
            if exit.is_some() {
                return exit;
            }
        }
        self.is_looked_at = true;
        self.report(None);
        match self.applier.store().held() {
            Some(held) if self.broken.is_none() => {
                tracing::info!(id = held.body.id(), "the state that was held before is put out");
                self.around.notify.ready(&self.standing());
            }
            Some(_) => {}
            None => self.around.notify.status(&self.standing()),
        }
        let runs = match self.on_start {
            OnStart::Always => true,
            OnStart::Auto => !self.applier.is_applied(),
            OnStart::Never => false,
        };
        let runs = runs && self.applier.commands().applies() && self.applier.store().held().is_some();
        if pending.is_none() && !runs {
            return None;
        }
        // A newer one takes its place, if there is a server that has one.
        let mut waited = pin!(sleep(AGENT_NEWER));
        let newer = loop {
            tokio::select! {
                state = self.states.next() => break state,
                () = &mut waited => break None,
                interrupt = self.around.attend() => match interrupt {
                    Interrupt::Stop | Interrupt::Deadline => return Some(self.end(interrupt)),
                    Interrupt::Asked | Interrupt::Turned => {}
                },
            }
        };
        match (newer, pending) {
            (Some(state), _) => self.take(state).await,
            // Whether it is the newest is for the server to say.
            (None, Some(state)) => {
                let exit = self.take(state).await;
                let exit =
                    exit.filter(|exit| !matches!(exit, Exit::Stopped | Exit::Rejected) || self.around.is_stopping());
                self.has_verdict &= exit.is_some();
                exit
            }
            (None, None) => self.again(Action::Start).await,
        }
    }

    /// What follows on the end of a state: `once` is the exit where there is only one.
    pub(super) fn after(&mut self, interrupt: Option<Interrupt>, once: Exit) -> Option<Exit> {
        match interrupt {
            Some(interrupt @ (Interrupt::Stop | Interrupt::Deadline)) if !self.is_once => Some(self.end(interrupt)),
            None if self.is_once => {
                self.has_verdict = true;
                Some(once)
            }
            Some(_) | None => self.is_once.then_some(once),
        }
    }

    /// Waits until a server has heard what is held and rejected. That it is away then changes nothing here.
    async fn acknowledge(&mut self) {
        let (held, rejected) = (self.applier.held_id(), self.rejected.as_ref().map(|(id, _)| id.clone()));
        let is = |one: Option<&str>, other: Option<&str>| match (one, other) {
            (Some(one), Some(other)) => is_same(one, other),
            (None, _) => true,
            (Some(_), None) => false,
        };
        let mut status = self.status.clone();
        let before = status.borrow().counters.failures;
        let is_over = |status: &Status| {
            let is_told = status.told.as_ref().is_some_and(|told| {
                is(held.as_deref(), told.held.as_deref()) && is(rejected.as_deref(), told.rejected.as_deref())
            });
            is_told || status.counters.failures >= before + u64::from(CLIENT_FAILURES)
        };
        loop {
            tokio::select! {
                _ = status.wait_for(is_over) => return,
                interrupt = self.around.attend() => match interrupt {
                    Interrupt::Stop | Interrupt::Deadline => return,
                    Interrupt::Asked | Interrupt::Turned => {}
                },
            }
        }
    }

    /// Does what was asked for, also meanwhile.
    pub(super) async fn asked(&mut self) -> Option<Exit> {
        if std::mem::take(&mut self.around.is_asked_anew) {
            self.applier.forget_refused();
            if self.enforces && self.applier.pending().is_none() {
                let exit = self.enforce().await;
                if exit.is_some() {
                    return exit;
                }
            }
        }
        if !std::mem::take(&mut self.around.is_asked_again) {
            return None;
        }
        if self.enforces {
            self.put_right();
            // The commands would apply what somebody else has written.
            if self.broken.is_some() {
                return None;
            }
        }
        self.again(Action::Again).await
    }

    /// Why the agent ends before its state was applied, or after it was asked to.
    fn end(&self, interrupt: Interrupt) -> Exit {
        if interrupt == Interrupt::Stop {
            return Exit::Stopped;
        }
        let status = self.status.borrow();
        tracing::error!(why = failure(&status).map(in_options), "no state came before --deadline");
        Exit::without_answer(&status, self.applier.store().held().is_some())
    }
}
