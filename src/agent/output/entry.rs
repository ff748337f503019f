//! A name that leads to one file after another: the output itself, or the symbolic link to a tree.
//!
//! Beside the name `NAME` are, each only for as long as it is needed:
//! - `.NAME.tidewait-new`: what is staged.
//! - `.NAME.tidewait-previous`: what the name led to when an output was last settled, or
//!   `.NAME.tidewait-absent`: it led to nothing then. Either is there from before the first change until the output is
//!   settled or rolled back, also when the process is killed meanwhile.
//!
//! What was there has a second name instead of a copy where that can be: going back then needs no room on a full disk.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::attributes::Attributes;
use crate::files::{self, FileError, failed};

/// Symbolic links that lead one to the other.
const LINKS: usize = 40;
/// What stands between the name of an output and what a file beside it is for.
const MARK: &str = ".tidewait-";

/// The name.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// The name, behind symbolic links where it is a file.
    pub(super) target: PathBuf,
    /// The file is written over, since its name cannot be given to another one (`--in-place`).
    pub(super) is_in_place: bool,
}

impl Entry {
    /// The file that a path leads to: behind a symbolic link, so that the link stays.
    pub(super) fn file(path: &Path, is_in_place: bool) -> Result<Self, FileError> {
        let mut target = path.to_owned();
        for _ in 0..LINKS {
            match target.symlink_metadata() {
                Ok(metadata) if metadata.is_symlink() => {
                    let behind = fs::read_link(&target).map_err(failed("read the link", &target))?;
                    target = files::folder_of(&target).join(behind);
                }
                Ok(metadata) if metadata.is_file() => return Ok(Self { target, is_in_place }),
                Ok(_) => return Err(failed("replace", &target)(io::Error::other(NO_FILE))),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self { target, is_in_place }),
                Err(error) => return Err(failed("look at", &target)(error)),
            }
        }
        Err(failed("follow", path)(Errno::LOOP.into()))
    }

    /// What is beside the name for a purpose.
    pub(super) fn beside(&self, purpose: &str) -> PathBuf {
        let mut name = std::ffi::OsString::from(".");
        name.push(self.target.file_name().unwrap_or_default());
        name.push(MARK);
        name.push(purpose);
        self.target.with_file_name(name)
    }

    /// What is staged.
    pub(super) fn staged(&self) -> PathBuf {
        self.beside("new")
    }

    /// What it led to when it was last settled, where it is not now and there was something.
    pub(super) fn previous(&self) -> Option<PathBuf> {
        Some(self.beside("previous")).filter(|path| exists(path))
    }

    /// Whether it is neither settled nor rolled back.
    pub(super) fn is_unsettled(&self) -> bool {
        exists(&self.beside("previous")) || exists(&self.beside("absent"))
    }

    /// Removes what a killed process has left, except for what leads back.
    pub(super) fn remove_leftovers(&self) {
        let [start, previous, absent] = ["", "previous", "absent"].map(|purpose| self.beside(purpose));
        let Ok(entries) = fs::read_dir(files::folder_of(&self.target)) else { return };
        for path in entries.flatten().map(|entry| self.target.with_file_name(entry.file_name())) {
            let name = path.as_os_str().as_encoded_bytes();
            if name.starts_with(start.as_os_str().as_encoded_bytes()) && path != previous && path != absent {
                // Best effort: what is in the way of a new one is told then.
                let _ = files::remove(&path).or_else(|_| files::remove_folder(&path));
            }
        }
    }

    /// Keeps what leads back, unless that of an earlier change is still there: only what was settled is worth going
    /// back to.
    pub(super) fn keep_previous(&self) -> Result<(), FileError> {
        if self.is_unsettled() {
            return Ok(());
        }
        let previous = self.beside("previous");
        let kept = match self.target.symlink_metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                files::write(&self.beside("absent"), &[], |_| Ok(()))
            }
            Err(error) => Err(error),
            Ok(metadata) if metadata.is_symlink() => {
                fs::read_link(&self.target).and_then(|to| files::symlink(&to, &previous))
            }
            Ok(_) if self.is_in_place => self.copy_to(&previous),
            // Not every file system has second names, and not every user may give them (fs.protected_hardlinks).
            Ok(_) => files::link(&self.target, &previous).or_else(|_| self.copy_to(&previous)),
        };
        kept.map_err(failed("keep what is in", &self.target))
    }

    fn copy_to(&self, previous: &Path) -> io::Result<()> {
        let copy = self.beside("copy");
        files::remove(&copy)?;
        let mut old = open(&self.target)?;
        let attributes = Attributes::has(&old.metadata()?, &self.target)?;
        files::write(&copy, &[], |mut file: &File| {
            io::copy(&mut old, &mut file)?;
            attributes.set(file)
        })?;
        files::rename(&copy, previous)
    }

    /// The name leads to what is staged from here on.
    pub(super) fn swap(&self) -> Result<(), FileError> {
        if self.is_written_over() {
            return self.write_over(&self.staged()).map_err(failed("write over", &self.target));
        }
        files::rename(&self.staged(), &self.target).map_err(failed("replace", &self.target))
    }

    /// What is not there can be given its name by a rename.
    fn is_written_over(&self) -> bool {
        self.is_in_place && exists(&self.target)
    }

    /// Gives the file the bytes and attributes of another one, which is removed. Until it is done, readers see a part of it.
    fn write_over(&self, from: &Path) -> io::Result<()> {
        let mut new = open(from)?;
        let attributes = Attributes::has(&new.metadata()?, from)?;
        files::write_over(&self.target, |mut file: &File| {
            io::copy(&mut new, &mut file)?;
            attributes.set(file)
        })?;
        files::remove(from)
    }

    /// The name leads to what it led to when it was last settled; nothing changes where it is.
    pub(super) fn roll_back(&self) -> Result<(), FileError> {
        let (previous, absent) = (self.beside("previous"), self.beside("absent"));
        if exists(&previous) && self.is_written_over() {
            self.write_over(&previous).map_err(failed("roll back", &self.target))?;
        } else if exists(&previous) {
            files::rename(&previous, &self.target).map_err(failed("roll back", &self.target))?;
            // Two names of one file are left as they are (rename(2)).
            files::remove(&previous).map_err(failed("remove", &previous))?;
        } else if exists(&absent) {
            files::remove(&self.target).map_err(failed("remove", &self.target))?;
            files::sync_folder_of(&self.target)?;
            files::remove(&absent).map_err(failed("remove", &absent))?;
        } else {
            return Ok(());
        }
        files::sync_folder_of(&self.target)
    }

    /// There is no way back from here on.
    pub(super) fn settle(&self) -> Result<(), FileError> {
        for path in [self.beside("previous"), self.beside("absent")] {
            files::remove(&path).map_err(failed("remove", &path))?;
        }
        Ok(())
    }
}

/// What a path is that cannot be replaced by a file.
pub(super) const NO_FILE: &str = "it is a folder, a device, a pipe or a socket, and only a file can be replaced";

/// Whether a name leads anywhere.
pub(super) fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

/// Opens what should be a file; a pipe is not waited for.
pub(super) fn open(path: &Path) -> io::Result<File> {
    #[expect(clippy::cast_possible_wrap, reason = "flags are bits")]
    let flags = (OFlags::NONBLOCK | OFlags::NOFOLLOW).bits() as i32;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other(NO_FILE)) }
}

/// Whether something is mounted right there: a rename onto it fails, and a change of it would not be seen below it.
pub(super) fn is_mount_point(path: &Path) -> bool {
    let Ok(path) = path.canonicalize() else { return false };
    let Ok(mounts) = fs::read("/proc/self/mountinfo") else { return false };
    mounts.split(|byte| *byte == b'\n').any(|line| {
        let point = line.split(|byte| *byte == b' ').nth(4).unwrap_or_default();
        unescaped(point) == path.as_os_str().as_encoded_bytes()
    })
}

/// A path of mountinfo, where white space and backslashes are written in octal (proc(5)).
fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((byte, after)) = rest.split_first() {
        let octal = (*byte == b'\\').then(|| after.get(..3)).flatten();
        let octal = octal.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        out.push(octal.unwrap_or(*byte));
        rest = if octal.is_some() { after.get(3..).unwrap_or_default() } else { after };
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_known_by_their_paths() {
        assert_eq!(unescaped(br"/a\040b\134\012\9"), b"/a b\\\n\\9");
        assert!(is_mount_point(Path::new("/proc")) && is_mount_point(Path::new("/proc/../proc/.")));
        assert!(!is_mount_point(Path::new("/proc/self")) && !is_mount_point(Path::new("/none")));
    }
}
