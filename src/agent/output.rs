//! Puts a state out as files that nobody ever sees half done: one file, several, or a tree with a symbolic link to it.
//!
//! ```text
//! open -> stage -> (--check looks at what is staged) -> publish -> (--exec, --verify) -> settle
//!                                                              \-> roll_back
//! ```
//! What is staged has its owner, group, mode and label, and is on the disk, before it has its name. A name leads to the old
//! file until it leads to the new one (rename(2)). A process that is killed leaves the way back: the next one opens the
//! output as [`Start::Unsettled`], and goes on or rolls back.
//!
//! **Several files** are staged before the first one is renamed, but they are renamed one after the other, in the order of
//! the options: in between, for some microseconds and across a power cut, a reader can see new files beside old ones. Who
//! needs them to agree takes a tree (`--out-dir`), whose files all change when one link does.
//!
//! Everything here blocks, for as long as the file system likes. One [`Output`] at a time may write to a place: the lock
//! of the agent's state directory sees to it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use self::compare::Difference;
use self::entry::Entry;
use self::fault::{Fault, InvalidOutput};
pub use self::patch::PatchFile;
use self::render::{Rendered, State};
use self::settings::Settings;
use self::tree::Tree;
use crate::files::{self, failed};

mod attributes;
pub mod compare;
mod entry;
pub mod fault;
pub mod format;
mod patch;
mod preview;
pub mod render;
mod scratch;
pub mod settings;
mod tree;

#[cfg(test)]
mod tests;

/// Where the model goes. A clone is the same output, for another thread.
#[derive(Debug, Clone)]
pub struct Output {
    settings: Arc<Settings>,
    /// The first output; of a tree the link to it.
    path: Arc<Path>,
}

/// What the process before has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Nothing was published, or what was is held: there is no way back.
    Settled,
    /// A state was, or was about to be, published, and is not held: the way back stays.
    Unsettled,
}

/// A state beside the output. Dropping it removes it.
#[derive(Debug)]
#[must_use]
pub struct Staged {
    output: Output,
    entries: Vec<Entry>,
    rendered: Vec<Rendered>,
    /// The name of the tree.
    name: String,
    path: PathBuf,
}

impl Output {
    /// Looks whether the output can be replaced at all, and removes what a killed process has left beside it.
    pub fn open(settings: Settings, start: Start) -> Result<Self, InvalidOutput> {
        let output = Self::look(settings)?;
        output.clean(start);
        Ok(output)
    }

    /// Looks whether the output can be replaced at all, and changes nothing.
    pub fn look(mut settings: Settings) -> Result<Self, InvalidOutput> {
        settings.make_absolute();
        let invalid = |path: &Path, why| InvalidOutput::Path { path: path.to_owned(), why };
        if let Some(folder) = &settings.tree {
            let current = Tree::new(folder, &settings).current().target;
            match current.symlink_metadata() {
                Ok(found) if !found.is_symlink() => {
                    return Err(invalid(&current, "it is no symbolic link, and is not replaced: remove it"));
                }
                Ok(_) | Err(_) => {}
            }
            if folder.metadata().is_ok_and(|found| !found.is_dir()) {
                return Err(invalid(folder, "it is no folder: give --out-dir one"));
            }
        } else {
            let mut targets = Vec::new();
            for out in &settings.outs {
                if out.file.metadata().is_ok_and(|found| !found.is_file()) {
                    return Err(invalid(&out.file, entry::NO_FILE));
                }
                if !settings.in_place && entry::is_mount_point(&out.file) {
                    return Err(invalid(&out.file, MOUNTED));
                }
                targets.extend(Entry::file(&out.file, settings.in_place).ok().map(|entry| absolute(&entry.target)));
            }
            Settings::are_distinct(&targets)?;
        }
        let path = match (&settings.tree, settings.outs.first()) {
            (Some(folder), _) => Tree::new(folder, &settings).current().target,
            (None, Some(out)) => out.file.clone(),
            (None, None) => return Err(InvalidOutput::Nowhere),
        };
        Ok(Self { settings: Arc::new(settings), path: path.into() })
    }

    /// Best effort: a file system that does not let it will not let anything be staged, which is told then.
    fn clean(&self, start: Start) {
        if let Some(tree) = self.tree() {
            tree.remove_leftovers();
            if start == Start::Settled {
                let _ = tree.prune();
            }
        }
        for entry in self.entries().unwrap_or_default() {
            entry.remove_leftovers();
            if start == Start::Settled {
                let _ = entry.settle();
            }
        }
    }

    /// The output: the first `--out`, or the link to the tree. `TIDEWAIT_TARGET` of hooks.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the output before is, while the one that is published is not settled. `TIDEWAIT_PREVIOUS_FILE` of hooks.
    #[must_use]
    pub fn previous(&self) -> Option<PathBuf> {
        self.entries().ok()?.first()?.previous()
    }

    /// Where the output before is, whether or not one was published meanwhile.
    #[must_use]
    pub fn before(&self) -> Option<PathBuf> {
        if self.is_unsettled() { self.previous() } else { Some(self.path.to_path_buf()).filter(|path| path.exists()) }
    }

    /// Whether something was published that is neither settled nor rolled back.
    #[must_use]
    pub fn is_unsettled(&self) -> bool {
        self.entries().is_ok_and(|entries| entries.iter().any(Entry::is_unsettled))
    }

    /// The files of a state, without writing any.
    pub fn render(&self, state: State<'_>) -> Result<Vec<Rendered>, Fault> {
        render::render(&self.settings.outs, state)
    }

    /// Writes a state beside the output.
    pub fn stage(&self, state: State<'_>) -> Result<Staged, Fault> {
        let rendered = self.render(state)?;
        let entries = self.entries()?;
        let name = Tree::name(state.id);
        // From here on, dropping it removes what there is of it.
        let mut staged = Staged { output: self.clone(), entries, rendered, name, path: PathBuf::new() };
        if let Some(tree) = self.tree() {
            tree.stage(&staged.rendered)?;
            staged.path = tree.staged();
            return Ok(staged);
        }
        for (entry, Rendered { bytes, .. }) in staged.entries.iter().zip(&staged.rendered) {
            let (new, target) = (entry.staged(), &entry.target);
            let attributes = attributes::Attributes::of(&self.settings, target).map_err(failed("look at", target))?;
            files::remove(&new).map_err(failed("remove", &new))?;
            files::write(&new, &[bytes], |file| attributes.set(file)).map_err(failed("write", &new))?;
        }
        staged.path = staged.entries.first().map(Entry::staged).unwrap_or_default();
        Ok(staged)
    }

    /// Puts the output that was there before the last [`Staged::publish`] back: since the last [`Output::settle`] before
    /// that, should there have been several. What was not there is removed. Nothing changes if nothing was published, and
    /// it can be tried again.
    pub fn roll_back(&self) -> Result<(), Fault> {
        let mut result = Ok(());
        // One that fails is no reason to leave the others.
        for entry in self.entries()? {
            result = result.and(entry.roll_back());
        }
        Ok(result?)
    }

    /// What is published is good: there is no way back any more, and old trees are removed. Only once the store says that
    /// it is held: a process that is killed meanwhile is followed by one that opens the output as [`Start::Settled`].
    pub fn settle(&self) -> Result<(), Fault> {
        for entry in self.entries()? {
            entry.settle()?;
        }
        self.tree().map_or(Ok(()), |tree| tree.prune())
    }

    /// What of the output is not as this state has it. Owner, group and mode count where they are set.
    pub fn compare(&self, state: State<'_>) -> Result<Vec<Difference>, Fault> {
        let rendered = self.render(state)?;
        if let Some(tree) = self.tree() {
            let (current, name) = (tree.current().target, Tree::name(state.id));
            if fs::read_link(&current).ok().as_deref() != Some(Path::new(&name)) {
                let what = format!("it is no symbolic link to {name}");
                return Ok(vec![Difference { path: current, what }]);
            }
            return compare::folder(&current.with_file_name(name), &rendered, &self.settings);
        }
        let mut differences = Vec::new();
        for (out, Rendered { bytes, .. }) in self.settings.outs.iter().zip(&rendered) {
            let Ok(entry) = Entry::file(&out.file, self.settings.in_place) else {
                differences.push(Difference { path: out.file.clone(), what: "it is no file".to_owned() });
                continue;
            };
            differences.extend(compare::file(&entry.target, bytes, &self.settings)?);
        }
        Ok(differences)
    }

    fn tree(&self) -> Option<Tree<'_>> {
        self.settings.tree.as_deref().map(|folder| Tree::new(folder, &self.settings))
    }

    /// The names that lead to the output. Where they are is found anew each time: somebody may change a link.
    fn entries(&self) -> Result<Vec<Entry>, Fault> {
        if let Some(tree) = self.tree() {
            return Ok(vec![tree.current()]);
        }
        let files = self.settings.outs.iter().map(|out| Entry::file(&out.file, self.settings.in_place));
        Ok(files.collect::<Result<_, _>>()?)
    }
}

const MOUNTED: &str = "it is a mount point, which cannot be replaced by another file: mount the folder that it is in instead, or give --in-place";

fn absolute(path: &Path) -> PathBuf {
    let folder = files::folder_of(path);
    folder.canonicalize().unwrap_or_else(|_| folder.to_owned()).join(path.file_name().unwrap_or_default())
}

impl Staged {
    /// What is staged: the first file, or the folder of the tree. `{}`, and `TIDEWAIT_FILE` of a check.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Replaces the output, and keeps the way back. If it fails before the first name is changed, nothing has changed;
    /// after that, all is rolled back, or if that cannot be done either, [`Output::is_unsettled`] says so.
    pub fn publish(self) -> Result<(), Fault> {
        let was_unsettled = self.entries.iter().any(Entry::is_unsettled);
        let mut swapped = 0;
        let result = self.prepare().and_then(|()| self.swap(&mut swapped));
        if result.is_err() {
            for (number, entry) in self.entries.iter().enumerate() {
                // The reason for the failure may be one for this as well; what stays is looked at at the next start.
                let _ = match (swapped, was_unsettled) {
                    // It may be half written.
                    _ if entry.is_in_place => entry.roll_back(),
                    (0, true) => Ok(()),
                    (_, false) if number >= swapped => entry.settle(),
                    (_, _) => entry.roll_back(),
                };
            }
        }
        result
    }

    fn prepare(&self) -> Result<(), Fault> {
        if let Some(tree) = self.output.tree() {
            tree.place(&self.name, &self.rendered)?;
        }
        for entry in &self.entries {
            entry.keep_previous()?;
        }
        // The way back is on the disk before there is anything to come back from.
        self.sync()
    }

    fn swap(&self, swapped: &mut usize) -> Result<(), Fault> {
        for entry in &self.entries {
            entry.swap()?;
            *swapped += 1;
        }
        self.sync()
    }

    fn sync(&self) -> Result<(), Fault> {
        let mut folders: Vec<&Path> = self.entries.iter().map(|entry| files::folder_of(&entry.target)).collect();
        folders.dedup();
        Ok(folders.into_iter().try_for_each(files::sync_folder)?)
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // Nothing is left of it once it is published. What cannot be removed is removed at the next start.
        for entry in &self.entries {
            let _ = files::remove(&entry.staged());
        }
        if let Some(tree) = self.output.tree() {
            let _ = files::remove_folder(&tree.staged());
        }
    }
}
