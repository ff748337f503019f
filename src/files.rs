//! Changes to files that a crash or a full disk leaves whole or undone. What is written is private until its owner says
//! otherwise, and is on the disk before another name leads to it. Everything here blocks, for as long as the file system
//! likes.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags};

#[cfg(test)]
pub(crate) mod faults;

/// Why a change to a file was not made.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}", .path.display())]
pub struct FileError {
    /// What was tried.
    pub action: &'static str,
    /// At what.
    pub path: PathBuf,
    /// Why not.
    pub source: io::Error,
}

/// Why a lock cannot be had.
#[derive(Debug)]
pub enum LockError {
    /// Another process, or another holder in this one, has it.
    Held,
    /// The file system refuses.
    Io(FileError),
}

/// What a step of a change is, in tests: there each can fail, or be the last one before the process is killed.
macro_rules! step {
    ($name:literal, $path:expr) => {
        #[cfg(test)]
        faults::step($name, $path)?;
    };
}

pub mod appended;
pub mod whole;

/// What was tried and where, to a cause.
pub fn failed<'p>(action: &'static str, path: &'p Path) -> impl Fn(io::Error) -> FileError + 'p {
    move |source| FileError { action, path: path.to_owned(), source }
}

/// Writes a new file that nobody else may read; `finish` is given it before it is on the disk. There must be none.
pub fn write(path: &Path, parts: &[&[u8]], finish: impl FnOnce(&File) -> io::Result<()>) -> io::Result<()> {
    step!("create", path);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    for part in parts {
        #[cfg(test)]
        faults::write(path, &mut file, part)?;
        file.write_all(part)?;
    }
    finish(&file)?;
    step!("sync", path);
    file.sync_all()
}

/// Writes over a file that is there; `fill` is given it when it is empty, and it is on the disk afterwards. A reader, a crash or a
/// full disk may see a part of it.
pub fn write_over(path: &Path, fill: impl FnOnce(&File) -> io::Result<()>) -> io::Result<()> {
    step!("write over", path);
    let opened = OpenOptions::new().write(true).truncate(true).open(path)?;
    fill(&opened)?;
    step!("sync", path);
    opened.sync_all()
}

/// Replaces a file whole: writes it beside, then renames it. A file that is left at `temporary` is removed first.
pub fn replace(target: &Path, temporary: &Path, parts: &[&[u8]]) -> Result<(), FileError> {
    // If it cannot be removed, creating it says why.
    let _ = remove(temporary);
    let written = write(temporary, parts, |_| Ok(())).map_err(failed("write", temporary));
    let replaced = written.and_then(|()| rename(temporary, target).map_err(failed("replace", target)));
    if replaced.is_err() {
        // Half a file is of no use, and its room may be what is missing.
        let _ = remove(temporary);
        return replaced;
    }
    sync_folder_of(target)
}

/// Renames a file, in place of the one that is there.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    step!("rename", to);
    fs::rename(from, to)
}

/// Gives two files each other's name at once.
pub fn exchange(one: &Path, other: &Path) -> io::Result<()> {
    step!("exchange", other);
    Ok(rustix::fs::renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE)?)
}

/// Gives a file a second name.
pub fn link(file: &Path, name: &Path) -> io::Result<()> {
    step!("link", name);
    fs::hard_link(file, name)
}

/// Makes a symbolic link.
pub fn symlink(to: &Path, name: &Path) -> io::Result<()> {
    step!("symlink", name);
    std::os::unix::fs::symlink(to, name)
}

/// Removes a file, where there is one.
pub fn remove(path: &Path) -> io::Result<()> {
    step!("remove", path);
    absent_is_fine(fs::remove_file(path))
}

/// Removes a folder with all that is in it, where there is one.
pub fn remove_folder(path: &Path) -> io::Result<()> {
    step!("remove", path);
    absent_is_fine(fs::remove_dir_all(path))
}

fn absent_is_fine(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Makes a folder and those above it, where they are missing.
pub fn make_folder(path: &Path, mode: u32) -> io::Result<()> {
    step!("make", path);
    DirBuilder::new().recursive(true).mode(mode).create(path)
}

/// Waits until what was changed in a folder is on the disk.
pub fn sync_folder(path: &Path) -> Result<(), FileError> {
    let sync = || {
        step!("sync", path);
        File::open(path)?.sync_all()
    };
    sync().map_err(failed("write", path))
}

/// The same of the folder that a file is in.
pub fn sync_folder_of(file: &Path) -> Result<(), FileError> {
    sync_folder(folder_of(file))
}

/// The folder that a file is in.
#[must_use]
pub fn folder_of(file: &Path) -> &Path {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        Some(_) | None => Path::new("."),
    }
}

/// Locks a file, which is created where it is missing, for as long as what is returned lives. The file is never removed:
/// a process that holds a removed one would not exclude the next.
pub fn lock(path: &Path) -> Result<File, LockError> {
    let opened = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
    let file = opened.map_err(failed("open", path)).map_err(LockError::Io)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(LockError::Held),
        Err(TryLockError::Error(source)) => Err(LockError::Io(failed("lock", path)(source))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(path: &Path) -> String {
        fs::read_to_string(path).expect("a file")
    }

    #[test]
    fn a_kill_at_any_step_leaves_the_old_file_or_the_new_one() {
        let folder = faults::folder();
        let (target, temporary) = (folder.path().join("file"), folder.path().join("file.tmp"));
        let mut seen = Vec::new();
        for killed_at in 0.. {
            fs::write(&target, "old").expect("a file");
            let kill = faults::kill_at(killed_at);
            let replaced = replace(&target, &temporary, &[b"new ", b"text"]);
            let was_killed = kill.end();
            seen.push(text(&target));
            assert_eq!(replaced.is_err(), was_killed);
            // What the kill has left is not in the way of the next one.
            replace(&target, &temporary, &[b"again"]).expect("there is room");
            assert_eq!(text(&target), "again");
            if !was_killed {
                break;
            }
        }
        let changes = seen.windows(2).filter(|pair| pair[0] != pair[1]).count();
        assert_eq!((changes, &*seen[0], &**seen.last().expect("many")), (1, "old", "new text"), "{seen:?}");
    }

    #[test]
    fn what_is_written_is_on_the_disk_before_its_name_leads_to_it() {
        let folder = faults::folder();
        let (target, temporary) = (folder.path().join("file"), folder.path().join("file.tmp"));
        let steps = faults::steps(|| replace(&target, &temporary, &[b"new"]).expect("there is room"));
        let synced = format!("sync {}", folder.path().file_name().expect("a name").display());
        let written = ["remove file.tmp", "create file.tmp", "write file.tmp", "sync file.tmp", "rename file", &synced];
        assert_eq!(steps, written);
    }

    #[test]
    fn an_error_at_any_step_is_told_and_leaves_nothing_behind() {
        let folder = faults::folder();
        let (target, temporary) = (folder.path().join("file"), folder.path().join("file.tmp"));
        for failing in 1..5 {
            fs::write(&target, "old").expect("a file");
            let fault = faults::fail_at(failing, rustix::io::Errno::NOSPC);
            let error = replace(&target, &temporary, &[b"new"]).expect_err("no room");
            assert!(fault.end());
            assert_eq!((text(&target), error.source.raw_os_error()), ("old".to_owned(), Some(28)), "at {failing}");
            assert!(!temporary.exists(), "its room is given back");
        }
    }

    #[test]
    fn a_lock_has_one_holder() {
        let folder = faults::folder();
        let path = folder.path().join("lock");
        let held = lock(&path).expect("free");
        assert!(matches!(lock(&path), Err(LockError::Held)));
        drop(held);
        lock(&path).expect("free again");
        assert!(matches!(lock(&folder.path().join("none/lock")), Err(LockError::Io(_))));
    }
}
