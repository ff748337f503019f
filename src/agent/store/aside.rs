//! What cannot be used is kept, up to a number of each kind: for people to look at, and for the agent that it belongs to.

use std::path::{Path, PathBuf};

use super::record::{Of, read_any};
use super::{Aside, Body};
use crate::bounds::AGENT_SET_ASIDE;
use crate::files::{self, FileError, failed};

/// Why a file is not used.
#[derive(Debug, Clone, Copy)]
pub(super) enum Why {
    /// It is damaged.
    Broken(&'static str),
    /// Nothing is wrong with it, but it is not of this agent.
    Other(&'static str),
}

const OTHER: &str = "other";

fn numbered<'p>(directory: &'p Path, name: &'p str, kind: &'p str) -> impl Iterator<Item = PathBuf> + 'p {
    (1..=AGENT_SET_ASIDE).map(move |number| directory.join(format!("{name}.{kind}-{number}")))
}

/// Takes back a record that was set aside by an agent of another operation or selection, in place of none. Whether there
/// was one.
pub(super) fn take_back(directory: &Path, name: &str, of: &Of) -> Result<bool, FileError> {
    let is_ours = |path: &PathBuf| read_any(path).is_some_and(|record| record.of == *of);
    let Some(ours) = numbered(directory, name, OTHER).find(is_ours) else { return Ok(false) };
    files::rename(&ours, &directory.join(name)).map_err(failed("rename", &ours))?;
    files::sync_folder(directory)?;
    Ok(true)
}

/// The files of bodies that are named by what was set aside.
pub(super) fn bodies(directory: &Path) -> Vec<String> {
    let records = ["held", "pending"].into_iter().flat_map(|name| numbered(directory, name, OTHER));
    let states = records.filter_map(|path| read_any(&path)?.state);
    states.map(|state| Body::file_name_of(&state.sha256)).collect()
}

impl Aside {
    /// Renames a file to the first number that is free, or to the last one.
    pub(super) fn set(&mut self, directory: &Path, name: &str, why: Why) -> Result<(), FileError> {
        let (kind, why, list) = match why {
            Why::Broken(why) => ("broken", why, &mut self.broken),
            Why::Other(why) => (OTHER, why, &mut self.other),
        };
        let path = directory.join(name);
        let free = numbered(directory, name, kind).find(|path| path.symlink_metadata().is_err());
        let Some(to) = free.or_else(|| numbered(directory, name, kind).last()) else { return Ok(()) };
        files::rename(&path, &to).map_err(failed("rename", &path))?;
        files::sync_folder(directory)?;
        list.push(format!("{} (it was {name}): {why}", to.display()));
        Ok(())
    }
}
