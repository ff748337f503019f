//! Makes an agent of its configuration, or says what is wrong with it.

use std::collections::BTreeSet;
use std::ffi::OsString;

use sha2::{Digest as _, Sha256};

use super::apply::Applier;
use super::commands::{Commands, InvalidHooks};
use super::output::fault::InvalidOutput;
use super::output::settings::{Options, Settings};
use super::output::{Output, Start};
use super::store::{Of, Store, StoreError};
use crate::client::InvalidSetting;
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
    #[error("{flag} is {value:?}: {remedy}", flag = flag(.0.name), value = .0.value, remedy = .0.remedy)]
    Client(InvalidSetting),
    /// The state directory cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The system does not let the process have what it needs.
    #[error("{0}: {1}")]
    System(&'static str, std::io::Error),
}

impl SetupError {
    /// Whether another configuration, or the end of another agent, is all that it needs.
    #[must_use]
    pub fn is_misconfigured(&self) -> bool {
        match self {
            Self::Output(_) | Self::Hooks(_) | Self::Client(_) | Self::Store(StoreError::Locked { .. }) => true,
            Self::Store(StoreError::Io { .. } | StoreError::TooLarge(_)) | Self::System(..) => false,
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
    // Sorted, and each once: the order in which they are given says nothing.
    let select: BTreeSet<String> = config.source.select.iter().cloned().collect();
    let of = Of { operation: config.source.operation.clone(), select: select.into_iter().collect() };
    Ok(Parts { commands, places, of })
}

/// The applier of an agent. `inherited` gives the variables of the environment.
pub fn setup(config: &Agent, inherited: impl Fn(&str) -> Option<OsString>) -> Result<Applier, SetupError> {
    let Parts { commands, places, of } = parts(config, inherited)?;
    let (store, aside) = Store::open(&config.state_dir, of)?;
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
    let digest = Sha256::digest(format!("{:?} {:?}", config.output, config.hooks));
    digest.iter().take(16).fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// The name of this host.
#[must_use]
pub fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
