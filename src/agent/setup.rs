//! Makes an agent of its configuration, or says what is wrong with it.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use rustix::fs::{Access, access};

use super::apply::Applier;
use super::commands::{Commands, InvalidHooks};
use super::hooks::Note;
use super::output::fault::InvalidOutput;
use super::output::settings::{Options, Settings};
use super::output::{Output, Start};
use super::store::{Of, Store, StoreError, hex};
use super::wording::in_options;
use crate::client::{self, InvalidSetting};
use crate::config::agent::Agent;

/// Why an agent does not start.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The output cannot be used.
    #[error(transparent)]
    Output(#[from] InvalidOutput),
    /// The commands cannot be used.
    #[error(transparent)]
    Hooks(#[from] InvalidHooks),
    /// The client cannot be made.
    #[error("{flag} is {value:?}: {remedy}", flag = flag(.0.name), value = .0.value, remedy = in_options(&.0.remedy))]
    Client(InvalidSetting),
    /// A file that it needs cannot be read.
    #[error("{0} {path}: {2}: name a file that is there, and that the agent's user may read", path = .1.display())]
    File(&'static str, PathBuf, std::io::Error),
    /// The state directory cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The admin port is not to be had.
    #[error("cannot listen on {address} (--admin)")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The system does not let the process have what it needs.
    #[error("{0}: {1}")]
    System(&'static str, std::io::Error),
}

impl SetupError {
    /// Whether another configuration, or the end of another agent, is all that it needs.
    #[must_use]
    pub fn is_misconfigured(&self) -> bool {
        match self {
            Self::Output(_)
            | Self::Hooks(_)
            | Self::Client(_)
            | Self::File(..)
            | Self::Store(StoreError::Locked { .. } | StoreError::NoFolder(_)) => true,
            Self::Store(StoreError::Io { .. } | StoreError::TooLarge(_)) | Self::Listen { .. } | Self::System(..) => {
                false
            }
        }
    }
}

/// What can be made of a configuration without the state directory and the output being touched.
pub(super) struct Parts {
    pub(super) commands: Commands,
    pub(super) places: Settings,
    pub(super) of: Of,
}

/// The parts of an agent. `inherited` gives the variables of the environment.
pub(super) fn parts(config: &Agent, inherited: impl Fn(&str) -> Option<OsString>) -> Result<Parts, SetupError> {
    let commands = Commands::new(&config.hooks, inherited)?;
    config.source.validate().map_err(SetupError::Client)?;
    readable(&config.source)?;
    let given = &config.output;
    let options = Options {
        out: &given.out,
        out_dir: given.out_dir.as_deref(),
        format: given.format.as_deref(),
        mode: given.mode.as_deref(),
        owner: given.owner.as_deref(),
        group: given.group.as_deref(),
        keep: given.keep,
        in_place: given.in_place,
    };
    let places = Settings::read(options)?;
    places.are_apart_from(&config.state_dir)?;
    // Sorted, and each once: the order in which they are given says nothing.
    let select: BTreeSet<String> = config.source.select.iter().cloned().collect();
    let of = Of { operation: config.source.operation.clone(), select: select.into_iter().collect() };
    Ok(Parts { commands, places, of })
}

/// The applier of an agent. `inherited` gives the variables of the environment.
pub fn setup(config: &Agent, inherited: impl Fn(&str) -> Option<OsString>) -> Result<Applier, SetupError> {
    let Parts { commands, places, of } = parts(config, inherited)?;
    let (store, aside) = Store::open(&config.state_dir, of)?;
    // Before anything else: no two commands run at once.
    let note = Note::new(&config.state_dir);
    if let Some(process) = note.end(config.hooks.kill_after) {
        tracing::warn!(process, "a command of an agent that was killed still ran, and is ended");
    }
    let commands = commands.noted_in(note);
    for what in aside.broken {
        tracing::warn!(what, "what was kept is damaged, and is set aside");
    }
    for what in aside.other {
        tracing::info!(what, "what was kept is of another operation or selection, and is set aside");
    }
    // Also where the one that is on its way was not put out: one before it may have been.
    let start = if store.pending().is_some() { Start::Unsettled } else { Start::Settled };
    let output = Output::open(places, start)?;
    Ok(Applier::new(store, output, commands, &config.source.operation, digest(config)))
}

/// That files are there with which a client shows who it is, and knows who others are. Their content may change until it is needed.
fn readable(source: &client::Settings) -> Result<(), SetupError> {
    let pair =
        source.certificate.iter().flat_map(|(certificate, key)| [("--certificate", certificate), ("--key", key)]);
    let files = source.ca.iter().map(|ca| ("--ca", ca)).chain(pair);
    for (option, path) in files.chain(source.token_file.iter().map(|token| ("--token-file", token))) {
        access(path, Access::READ_OK).map_err(|error| SetupError::File(option, path.clone(), error.into()))?;
    }
    Ok(())
}

/// The option that a setting of the client is given by.
fn flag(name: &str) -> &'static str {
    match name {
        "endpoints" => "--endpoint",
        "operation" => "--operation",
        "select" => "--select",
        "agent_id" => "--agent-id",
        "wait" => "--wait",
        "max_bytes" => "--max-bytes",
        "ca" => "--ca",
        "certificate" => "--certificate",
        "token_file" => "--token-file",
        _ => "the client",
    }
}

/// What outputs and commands are configured: with others the commands are run again at a start.
fn digest(config: &Agent) -> String {
    hex(format!("{:?} {:?}", config.output, config.hooks).as_bytes())
}

/// The name of this host.
#[must_use]
pub fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
