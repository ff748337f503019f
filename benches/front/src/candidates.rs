//! The servers that are measured, each a process of its own.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::ask;
use crate::model::ModelFile;
use crate::outcome::{Outcome, because};
use crate::process::Process;

pub(crate) mod floor;
mod watched;

/// The servers that park.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Floor,
    Tidewait,
}

impl Kind {
    /// What tables call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::Tidewait => "tidewait",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Where programs are and files go.
#[derive(Debug)]
pub(crate) struct Place {
    /// The program that is measured.
    pub(crate) tidewait: PathBuf,
    /// A folder for models, configurations and logs.
    pub(crate) folder: PathBuf,
}

/// A server that runs and serves a model.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) kind: Kind,
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
    /// Where it says how many are parked.
    admin: SocketAddr,
    model: ModelFile,
}

impl Running {
    /// Starts it, and waits until it answers.
    pub(crate) fn start(kind: Kind, place: &Place, model: &[u8]) -> Outcome<Self> {
        let model = ModelFile::new(&place.folder, model)?;
        let (address, admin) = (ask::free()?, ask::free()?);
        let mut command = match kind {
            Kind::Floor => own("serve-floor", address, model.path())?,
            Kind::Tidewait => tidewait(&place.tidewait, address, admin, model.path()),
        };
        let admin = if kind == Kind::Tidewait { admin } else { address };
        let mut process = Process::start(&mut command, &place.folder.join(format!("{kind}.log")))?;
        ask::until_answered(address, "/describe", || process.must_run())?;
        Ok(Self { kind, process, address, admin, model })
    }

    /// Changes the model.
    pub(crate) fn change(&self, model: &[u8]) -> Outcome<()> {
        Ok(self.model.replace(model)?)
    }

    /// How many clients it holds parked.
    pub(crate) fn parked(&self) -> Outcome<usize> {
        let (path, before) = match self.kind {
            Kind::Floor => ("/parked", ""),
            Kind::Tidewait => ("/metrics", "tidewait_parked_requests{operation=\"describe\"} "),
        };
        let text = String::from_utf8(ask::get(self.admin, path)?)?;
        let number = text.lines().find_map(|line| line.strip_prefix(before)?.trim().parse().ok());
        number.ok_or_else(|| because(format!("{}: no number of parked clients in {path}", self.kind)))
    }
}

/// A candidate that is part of this program.
fn own(command: &str, address: SocketAddr, model: &Path) -> Outcome<Command> {
    let mut own = Command::new(std::env::current_exe()?);
    own.arg(command).arg(address.to_string()).arg(model);
    Ok(own)
}

fn tidewait(program: &Path, address: SocketAddr, admin: SocketAddr, model: &Path) -> Command {
    let mut command = Command::new(program);
    command.args(["serve", "--listen", &address.to_string(), "--admin", &admin.to_string()]);
    // Nobody's wait ends while it is measured.
    command.args(["--wait-max", "1h", "--wait-default", "1h"]).arg("--file").arg(model);
    command
}
