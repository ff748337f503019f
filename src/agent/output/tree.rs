//! A folder with one tree of files for each state, and the symbolic link `current` to the newest: whoever opens files
//! through the link once it is resolved sees one state, which cannot be had from several files that are replaced.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rustix::io::Errno;

use super::attributes::{Attributes, set_on_folder};
use super::compare;
use super::entry::{Entry, exists};
use super::fault::Fault;
use super::render::Rendered;
use super::settings::Settings;
use crate::files::{self, FileError, failed};

/// The link.
const CURRENT: &str = "current";
/// What is staged.
const NEW: &str = ".tidewait-new";
/// What is being removed.
const OLD: &str = ".tidewait-old";
/// The names of the trees that were made here, oldest first, each on a line: nothing else is ever removed.
const MADE: &str = ".tidewait-trees";
/// Beside it, while it is written anew.
const MADE_NEW: &str = ".tidewait-trees.tmp";
/// Bytes of a tree's name.
const NAME_BYTES: usize = 200;
/// What an id of ours has, which is not escaped.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// The folder.
#[derive(Debug, Clone)]
pub(super) struct Tree<'s> {
    folder: &'s Path,
    settings: &'s Settings,
}

impl<'s> Tree<'s> {
    pub(super) fn new(folder: &'s Path, settings: &'s Settings) -> Self {
        Self { folder, settings }
    }

    /// The name of the tree of a state: its id, where that can be a name.
    pub(super) fn name(id: &str) -> String {
        let name = utf8_percent_encode(id, PLAIN).to_string();
        if name.len() > NAME_BYTES {
            return blake3::hash(id.as_bytes()).to_hex().to_string();
        }
        match name.strip_prefix('.') {
            Some(rest) => format!("%2E{rest}"),
            None if name.is_empty() || name == CURRENT => format!("%{name}"),
            None => name,
        }
    }

    pub(super) fn current(&self) -> Entry {
        Entry { target: self.folder.join(CURRENT), is_in_place: false }
    }

    pub(super) fn staged(&self) -> PathBuf {
        self.folder.join(NEW)
    }

    pub(super) fn remove_leftovers(&self) {
        // Best effort: what is in the way of a new one is told then.
        for name in [NEW, OLD] {
            let _ = files::remove_folder(&self.folder.join(name));
        }
        let _ = files::remove(&self.folder.join(MADE_NEW));
    }

    /// Creates the folder where it is missing.
    pub(super) fn make_folder(&self) -> Result<(), Fault> {
        if !exists(self.folder) {
            let mode = Attributes::folder_mode(self.settings);
            files::make_folder(self.folder, mode).map_err(failed("create", self.folder))?;
        }
        Ok(())
    }

    /// Writes the files of a tree, not yet by its name.
    pub(super) fn stage(&self, rendered: &[Rendered]) -> Result<(), Fault> {
        self.make_folder()?;
        let staged = self.staged();
        files::remove_folder(&staged).map_err(failed("remove", &staged))?;
        files::make_folder(&staged, 0o700).map_err(failed("create", &staged))?;
        let mut folders = BTreeSet::from([staged.clone()]);
        for Rendered { file, bytes } in rendered {
            let path = staged.join(file);
            let inner = files::folder_of(&path);
            files::make_folder(inner, 0o700).map_err(failed("create", inner))?;
            folders.extend(inner.ancestors().take_while(|above| *above != staged).map(Path::to_owned));
            let old = self.folder.join(CURRENT).join(file);
            let attributes = Attributes::of(self.settings, &old).map_err(failed("look at", &old))?;
            files::write(&path, &[bytes], |file| attributes.set(file)).map_err(failed("write", &path))?;
        }
        // Those below first: what is above them may shut the agent itself out.
        for folder in folders.iter().rev() {
            let set = File::open(folder).and_then(|folder| set_on_folder(self.settings, &folder));
            set.map_err(failed("set the mode of", folder))?;
            files::sync_folder(folder)?;
        }
        Ok(())
    }

    /// Gives what is staged its name, and makes the link to it, which is staged as well.
    pub(super) fn place(&self, name: &str, rendered: &[Rendered]) -> Result<(), Fault> {
        let (staged, placed) = (self.staged(), self.folder.join(name));
        self.note(name)?;
        if !exists(&placed) {
            files::rename(&staged, &placed).map_err(failed("create", &placed))?;
        } else if compare::folder(&placed, rendered, self.settings)?.is_empty() {
            files::remove_folder(&staged).map_err(failed("remove", &staged))?;
        } else {
            self.replace(&placed)?;
        }
        let link = self.current().staged();
        files::remove(&link).map_err(failed("remove", &link))?;
        files::symlink(Path::new(name), &link).map_err(failed("create", &link))?;
        Ok(files::sync_folder(self.folder)?)
    }

    /// Replaces a tree by what is staged: perhaps the current one, which somebody has changed.
    fn replace(&self, placed: &Path) -> Result<(), FileError> {
        let (staged, away) = (self.staged(), self.folder.join(OLD));
        match files::exchange(&staged, placed) {
            Ok(()) => files::remove_folder(&staged).map_err(failed("remove", &staged)),
            // Not every file system can: on those, the tree is missing between the two.
            Err(error) if matches!(Errno::from_io_error(&error), Some(Errno::INVAL | Errno::NOSYS)) => {
                files::remove_folder(&away).map_err(failed("remove", &away))?;
                files::rename(placed, &away).map_err(failed("replace", placed))?;
                files::rename(&staged, placed).map_err(failed("replace", placed))?;
                files::remove_folder(&away).map_err(failed("remove", &away))
            }
            Err(error) => Err(failed("replace", placed)(error)),
        }
    }

    /// The names of the trees that were made here.
    fn made(&self) -> Result<Vec<String>, FileError> {
        let path = self.folder.join(MADE);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(text.lines().filter(|name| is_name(name)).map(str::to_owned).collect()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            // Not ours: then nothing of it is removed.
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(Vec::new()),
            Err(error) => Err(failed("read", &path)(error)),
        }
    }

    fn write_made(&self, names: &[String]) -> Result<(), FileError> {
        let path = self.folder.join(MADE);
        let text: Vec<String> = names.iter().map(|name| name.clone() + "\n").collect();
        files::replace(&path, &self.folder.join(MADE_NEW), &[text.concat().as_bytes()])
    }

    fn note(&self, name: &str) -> Result<(), FileError> {
        let mut names = self.made()?;
        if names.last().is_some_and(|last| last == name) {
            return Ok(());
        }
        names.retain(|made| made != name);
        names.push(name.to_owned());
        self.write_made(&names)
    }

    /// Removes the oldest trees, but for the current one and as many as are to stay beside it.
    pub(super) fn prune(&self) -> Result<(), Fault> {
        let names = self.made()?;
        let current = fs::read_link(self.current().target).map(PathBuf::into_os_string).unwrap_or_default();
        let (kept, others): (Vec<_>, Vec<_>) = names.into_iter().partition(|name| current == OsString::from(name));
        let (old, young) = others.split_at(others.len().saturating_sub(self.settings.keep));
        if old.is_empty() {
            return Ok(());
        }
        let away = self.folder.join(OLD);
        for path in old.iter().map(|name| self.folder.join(name)).filter(|path| exists(path)) {
            files::remove_folder(&away).map_err(failed("remove", &away))?;
            // Renamed first, so that half a tree never has its name.
            files::rename(&path, &away).map_err(failed("remove", &path))?;
            files::remove_folder(&away).map_err(failed("remove", &away))?;
        }
        let left: Vec<String> = young.iter().chain(&kept).cloned().collect();
        Ok(self.write_made(&left)?)
    }
}

/// Whether a text is the name of a tree, and no path to elsewhere.
fn is_name(text: &str) -> bool {
    !text.is_empty() && !text.starts_with('.') && !text.contains('/') && text != CURRENT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_named_by_its_id_and_stays_in_its_folder() {
        for (id, name) in [
            ("ab.7.cd~x_-", "ab.7.cd~x_-"),
            ("..", "%2E."),
            (".tidewait-new", "%2Etidewait-new"),
            ("current", "%current"),
            ("", "%"),
            ("../a b", "%2E.%2Fa%20b"),
        ] {
            assert_eq!(Tree::name(id), name);
            assert!(is_name(name));
        }
        assert_eq!(Tree::name(&"/".repeat(128)).len(), 64);
        assert!(["", ".x", "a/b", "current"].iter().all(|text| !is_name(text)));
    }
}
