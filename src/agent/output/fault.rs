//! Why an output is not written, told apart by who is at fault.

use std::io;
use std::path::PathBuf;

use rustix::io::Errno;

use super::format::Unfit;
use crate::escape::escape;
use crate::files::FileError;

/// Why a state was not put out. What was there before stays.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The state is at fault: it is to be rejected, and the next one may be fine.
    #[error("{}: {why}", escape(&.file.to_string_lossy()))]
    State {
        /// The file that it cannot be written to.
        file: PathBuf,
        /// What is wrong with the state, and the remedy.
        why: String,
    },
    /// The machine is at fault: the same state is to be tried again.
    #[error("cannot {action} {}: {source}: {}", escape(&.path.to_string_lossy()), remedy(.source))]
    Machine {
        /// What was tried.
        action: &'static str,
        /// At what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl Fault {
    /// A value that cannot be written in the format of a file.
    pub(super) fn unfit(file: PathBuf, pointer: &str, unfit: &Unfit) -> Self {
        let at = if pointer.is_empty() { "the model".to_owned() } else { escape(pointer).into_owned() };
        Self::State {
            file,
            why: format!("{at} cannot be written: {unfit}; change the format, the pointer or the model"),
        }
    }
}

impl From<FileError> for Fault {
    fn from(FileError { action, path, source }: FileError) -> Self {
        Self::Machine { action, path, source }
    }
}

/// What makes the machine able to.
fn remedy(error: &io::Error) -> &'static str {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::NOSPC) => "free space (or inodes) on its file system",
        Some(Errno::DQUOT) => "raise the quota of the agent's user there, or free space",
        Some(Errno::ROFS) => "mount its file system for writing, or choose another folder",
        Some(Errno::ACCESS | Errno::PERM) => {
            "let the agent's user write the folder and own the file, or set --owner and --group to that user's"
        }
        Some(Errno::NOENT | Errno::NOTDIR) => "create the folder",
        Some(Errno::BUSY) => "it is a mount point, which cannot be replaced: mount the folder that it is in",
        Some(Errno::NAMETOOLONG) => "choose a shorter name",
        Some(Errno::LOOP) => "its symbolic links lead in a circle: correct them",
        Some(_) | None => "look at its file system",
    }
}

/// Why what was asked for cannot be an output: the command line is at fault.
#[derive(Debug, thiserror::Error)]
pub enum InvalidOutput {
    /// Neither a file nor a folder.
    #[error("there is nowhere to put the model: give --out FILE or --out-dir DIR")]
    Nowhere,
    /// More files than are allowed.
    #[error("{count} times --out: give at most {most}")]
    TooMany {
        /// How many were given.
        count: usize,
        /// How many may be.
        most: usize,
    },
    /// An option that cannot be used as it is.
    #[error("{option} {value:?}: {why}")]
    Option {
        /// The option.
        option: &'static str,
        /// What it was given.
        value: String,
        /// What is wrong, and the remedy.
        why: String,
    },
    /// A path that cannot be replaced.
    #[error("{}: {why}", escape(&.path.to_string_lossy()))]
    Path {
        /// The path.
        path: PathBuf,
        /// What is wrong, and the remedy.
        why: &'static str,
    },
}
