//! A file that is written piece by piece, and stands in its place only when it is whole.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

#[cfg(test)]
use super::faults;
use super::{FileError, failed, folder_of, remove, rename, sync_folder_of};

/// A file that is being written. Dropped before it is whole, it leaves what was there.
#[derive(Debug)]
pub struct Whole {
    file: File,
    target: PathBuf,
    /// Beside the target; none: the target is a device or a pipe, and takes what comes.
    temporary: Option<PathBuf>,
}

/// Whether a path leads to a device, a pipe or a folder: something that no file takes the place of.
#[must_use]
pub fn is_special(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|there| !there.is_file())
}

impl Whole {
    /// Begins one at a path, which follows links. It has the permissions of the file before, or else those that the process
    /// gives its files. `mark` makes the name of the temporary file one that nobody else has.
    pub fn begin(path: &Path, mark: u64) -> Result<Self, FileError> {
        // One that is not there has no links to follow.
        let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let mode = match fs::metadata(&target) {
            Ok(there) if there.is_dir() => {
                return Err(failed("write", path)(io::Error::from(io::ErrorKind::IsADirectory)));
            }
            Ok(there) if !there.is_file() => {
                let file = OpenOptions::new().write(true).open(&target).map_err(failed("open", path))?;
                return Ok(Self { file, target, temporary: None });
            }
            Ok(there) => Some(there.permissions().mode() & 0o7777),
            Err(_) => None,
        };
        let temporary = folder_of(&target).join(format!(".tidewait-{mark:016x}"));
        let file = create(&temporary).map_err(failed("create a file beside", path))?;
        let whole = Self { file, target, temporary: Some(temporary) };
        if let Some(mode) = mode {
            whole.file.set_permissions(Permissions::from_mode(mode)).map_err(failed("write beside", path))?;
        }
        Ok(whole)
    }

    /// Writes what comes next.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        let path = self.temporary.as_ref().unwrap_or(&self.target);
        write(path, &mut self.file, bytes).map_err(failed("write", &self.target))
    }

    /// It is whole: it takes its place.
    pub fn finish(mut self) -> Result<(), FileError> {
        let Some(temporary) = self.temporary.clone() else { return Ok(()) };
        sync(&temporary, &self.file).map_err(failed("write", &self.target))?;
        rename(&temporary, &self.target).map_err(failed("replace", &self.target))?;
        self.temporary = None;
        sync_folder_of(&self.target)
    }
}

impl Drop for Whole {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            // Half a file is of no use; if it cannot be removed, nobody is there to be told.
            let _ = remove(temporary);
        }
    }
}

fn create(path: &Path) -> io::Result<File> {
    step!("create", path);
    OpenOptions::new().write(true).create_new(true).mode(0o666).open(path)
}

#[cfg_attr(not(test), expect(unused_variables, reason = "faults are told of it"))]
fn write(path: &Path, file: &mut File, bytes: &[u8]) -> io::Result<()> {
    #[cfg(test)]
    faults::write(path, file, bytes)?;
    file.write_all(bytes)
}

#[cfg_attr(not(test), expect(unused_variables, reason = "faults are told of it"))]
fn sync(path: &Path, file: &File) -> io::Result<()> {
    step!("sync", path);
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn text(path: &Path) -> String {
        fs::read_to_string(path).expect("a file")
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").file_name());
        let mut names: Vec<_> = entries.map(|name| name.into_string().expect("UTF-8")).collect();
        names.sort();
        names
    }

    fn fill(path: &Path) -> Result<(), FileError> {
        let mut whole = Whole::begin(path, 7)?;
        whole.write(b"new ")?;
        whole.write(b"text")?;
        whole.finish()
    }

    #[test]
    fn it_stands_in_its_place_when_it_is_whole_and_not_before() {
        let folder = faults::folder();
        let target = folder.path().join("file");
        let mut whole = Whole::begin(&target, 7).expect("there is room");
        whole.write(b"part").expect("there is room");
        assert_eq!(names(folder.path()), [".tidewait-0000000000000007"]);
        drop(whole);
        assert_eq!(names(folder.path()), [""; 0], "what is not whole is removed");
        fill(&target).expect("there is room");
        assert_eq!((text(&target).as_str(), names(folder.path())), ("new text", vec!["file".to_owned()]));
    }

    #[test]
    fn an_error_at_any_step_leaves_what_was_there() {
        let folder = faults::folder();
        let target = folder.path().join("file");
        let steps = faults::steps(|| fill(&target).expect("there is room"));
        let synced = format!("sync {}", folder.path().file_name().expect("a name").display());
        let beside = |step: &str| format!("{step} .tidewait-0000000000000007");
        let first = ["create", "write", "write", "sync"].map(beside);
        assert_eq!(steps[..4], first);
        assert_eq!(steps[4..], ["rename file".to_owned(), synced]);
        for failing in 0..5 {
            fs::write(&target, "old").expect("a file");
            let fault = faults::fail_at(failing, rustix::io::Errno::NOSPC);
            let error = fill(&target).expect_err("no room");
            assert!(fault.end());
            assert_eq!((text(&target).as_str(), error.source.raw_os_error()), ("old", Some(28)), "at {failing}");
            assert_eq!(names(folder.path()), ["file"], "at {failing}");
        }
    }

    #[test]
    fn links_are_followed_permissions_stay_and_devices_take_what_comes() {
        let folder = faults::folder();
        let (target, link) = (folder.path().join("file"), folder.path().join("link"));
        fs::write(&target, "old").expect("a file");
        fs::set_permissions(&target, Permissions::from_mode(0o640)).expect("it is ours");
        symlink("file", &link).expect("a link");
        fill(&link).expect("there is room");
        assert!(fs::symlink_metadata(&link).expect("there").is_symlink());
        assert_eq!(text(&target), "new text");
        assert_eq!(fs::metadata(&target).expect("there").permissions().mode() & 0o7777, 0o640);
        fill(Path::new("/dev/null")).expect("it takes all");
        assert!(!fs::metadata("/dev/null").expect("there").is_file());
        let refused = fill(folder.path()).expect_err("a folder");
        assert_eq!(refused.source.kind(), io::ErrorKind::IsADirectory);
        assert!(fill(&folder.path().join("none/file")).is_err());
    }
}
