//! The last good snapshot of an operation on disk (`--state-dir`): what a process that starts
//! while its source is away can serve.
//!
//! One file: a header line of JSON, then the body. It is replaced whole (a temporary file, fsync,
//! rename, fsync of the directory), so that a crash or a full disk leaves the old one. Its
//! modification time says when the source last confirmed it. Everything here blocks, for as long as the file system likes.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use self::form::{FORM, ReadError, header, read};
use super::wall_clock;
use crate::files::{self, FileError, LockError, failed};
use crate::model::Snapshot;

mod form;

/// What is not escaped in a file name. Not the point, so that no name is `..`.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_');

/// Where an operation's last good snapshot is kept. Clones and successors are the same place: what one of them does
/// waits for what another does, however long that takes.
#[derive(Debug, Clone)]
pub struct Disk {
    place: Arc<StatePath>,
    /// Which of the successors this one is: only the last one writes.
    turn: u64,
}

#[derive(Debug)]
struct StatePath {
    directory: PathBuf,
    operation: String,
    file: PathBuf,
    /// The turn of the last successor.
    last: AtomicU64,
    /// Keeps other processes out, once it was taken.
    lock: Mutex<Option<File>>,
}

/// A snapshot that was kept.
#[derive(Debug, Clone)]
pub struct KeptState {
    /// The snapshot.
    pub snapshot: Snapshot,
    /// When its source last confirmed it, by the clock on the wall: it may lie in the future.
    pub confirmed: SystemTime,
}

/// What a former process left.
#[derive(Debug, Clone, Default)]
pub struct Left {
    /// The state, where it belongs to the source that was asked for.
    pub kept: Option<KeptState>,
    /// A state that is there and cannot be used, though nothing is wrong with it.
    pub unused: Option<Unused>,
}

/// Why a state on disk with which nothing is wrong is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unused {
    /// Its form is another one.
    #[error(
        "{} was written by another version of tidewait (form {form}, this one writes form {FORM}): it is kept for that version as {}",
        .file.display(), .aside.display()
    )]
    OtherVersion {
        /// The file.
        file: PathBuf,
        /// Its form.
        form: u32,
        /// Where it is now.
        aside: PathBuf,
    },
    /// The operation had another source.
    #[error("{} holds a state of another source ({of}): it is replaced by the first state of this one", .file.display())]
    OtherSource {
        /// The file.
        file: PathBuf,
        /// The identity of that source.
        of: String,
    },
}

/// Why a snapshot cannot be kept or read back.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// Another process has it.
    #[error(
        "another process keeps the state of operation {operation} in {}: give each process its own --state-dir",
        .directory.display()
    )]
    Locked {
        /// The state directory.
        directory: PathBuf,
        /// The operation.
        operation: String,
    },
    /// What is kept is not what was written; it is out of the way now.
    #[error("the state kept in {} cannot be used: {why}. {remedy}", .file.display())]
    Corrupt {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        why: String,
        /// What was done, and what is left to do.
        remedy: String,
    },
    /// The file system refuses.
    #[error(transparent)]
    File(#[from] FileError),
}

impl Disk {
    /// The place of an operation's state in a directory. Nothing is done there yet.
    #[must_use]
    pub fn new(directory: &Path, operation: &str) -> Self {
        let name = file_name(operation);
        let place = StatePath {
            directory: directory.to_owned(),
            operation: operation.to_owned(),
            file: directory.join(format!("{name}.snapshot")),
            last: AtomicU64::new(0),
            lock: Mutex::default(),
        };
        Self { place: Arc::new(place), turn: 0 }
    }

    /// The same place for another writer; from now on this one writes nothing more, not even what it was given before.
    #[must_use]
    pub fn successor(&self) -> Self {
        let turn = self.place.last.fetch_add(1, Ordering::AcqRel) + 1;
        Self { place: Arc::clone(&self.place), turn }
    }

    /// Whether others have this place too.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        Arc::strong_count(&self.place) > 1
    }

    /// Creates the directory where it is missing, and locks the place against other processes, for as long as it is
    /// somebody's here. Whatever else is done does that first.
    pub fn open(&self) -> Result<(), DiskError> {
        self.locked().map(drop)
    }

    /// What is kept of this source. A damaged file is renamed to `….corrupt`, in place of an earlier one. One that
    /// another version of tidewait wrote is renamed to `….form-N`, and used again by that version.
    pub fn load(&self, source: &str) -> Result<Left, DiskError> {
        let _locked = self.locked()?;
        let file = &self.place.file;
        let mut unused = None;
        let mut found = read(file);
        if let Err(ReadError::OtherForm(form)) = found {
            let aside = self.beside(&format!("form-{form}"));
            fs::rename(file, &aside).map_err(failed("rename", file))?;
            unused = Some(Unused::OtherVersion { file: file.clone(), form, aside });
            found = Err(io::Error::from(io::ErrorKind::NotFound).into());
        }
        if let Err(ReadError::Io(error)) = &found
            && error.kind() == io::ErrorKind::NotFound
        {
            // Perhaps another version set aside what this one wrote.
            found = match fs::rename(self.beside(&format!("form-{FORM}")), file) {
                Ok(()) => read(file),
                Err(error) => Err(error.into()),
            };
        }
        match found {
            Ok((kept, of)) if of == source => Ok(Left { kept: Some(kept), unused }),
            Ok((_, of)) => {
                let other = Unused::OtherSource { file: file.clone(), of };
                Ok(Left { kept: None, unused: unused.or(Some(other)) })
            }
            Err(ReadError::Io(error)) if error.kind() == io::ErrorKind::NotFound => Ok(Left { kept: None, unused }),
            Err(ReadError::Io(error)) => Err(failed("read", file)(error).into()),
            Err(ReadError::OtherForm(form)) => {
                Err(self.corrupt(format!("it has form {form}, and its name says {FORM}")))
            }
            Err(ReadError::Corrupt(why)) => Err(self.corrupt(why)),
        }
    }

    /// Sets the file aside.
    fn corrupt(&self, why: String) -> DiskError {
        let (file, aside) = (self.place.file.clone(), self.beside("corrupt"));
        let remedy = match fs::rename(&file, &aside) {
            Ok(()) => format!("It is now {}: look what damaged it, then delete it", aside.display()),
            Err(error) => format!("It cannot be renamed ({error}): delete it"),
        };
        DiskError::Corrupt { file, why, remedy }
    }

    /// Keeps a snapshot of this source in place of the last one, confirmed now; nothing if there is a successor.
    pub fn store(&self, snapshot: &Snapshot, source: &str) -> Result<(), DiskError> {
        let _locked = self.locked()?;
        if self.is_succeeded() {
            return Ok(());
        }
        let body = &snapshot.body().identity;
        let header = header(&snapshot.id, snapshot.content.media_type(), body, source);
        Ok(files::replace(&self.place.file, &self.beside("tmp"), &[header.as_bytes(), body])?)
    }

    /// Marks what is kept as confirmed now. Without a file it is an error, which the next `store` repairs.
    pub fn confirm(&self) -> Result<(), DiskError> {
        let _locked = self.locked()?;
        if self.is_succeeded() {
            return Ok(());
        }
        let confirmed = File::open(&self.place.file).and_then(|file| file.set_modified(wall_clock()));
        Ok(confirmed.map_err(failed("set the time of", &self.place.file))?)
    }

    fn is_succeeded(&self) -> bool {
        self.place.last.load(Ordering::Acquire) != self.turn
    }

    /// The place, for this process and within it for one at a time.
    fn locked(&self) -> Result<MutexGuard<'_, Option<File>>, DiskError> {
        let mut lock = self.place.lock.lock().unwrap_or_else(PoisonError::into_inner);
        if lock.is_none() {
            *lock = Some(self.lock()?);
        }
        Ok(lock)
    }

    fn lock(&self) -> Result<File, DiskError> {
        let StatePath { directory, operation, .. } = &*self.place;
        files::make_folder(directory, 0o700).map_err(failed("create", directory))?;
        match files::lock(&directory.join(format!("{}.lock", file_name(operation)))) {
            Ok(lock) => Ok(lock),
            Err(LockError::Held) => {
                Err(DiskError::Locked { directory: directory.clone(), operation: operation.clone() })
            }
            Err(LockError::Io(error)) => Err(error.into()),
        }
    }

    fn beside(&self, extension: &str) -> PathBuf {
        self.place.file.with_added_extension(extension)
    }
}

/// The operation's name as it is spelt in file names.
fn file_name(operation: &str) -> String {
    utf8_percent_encode(operation, PLAIN).to_string()
}

#[cfg(test)]
impl Disk {
    /// Plays a file system that does not answer, until the sender is dropped.
    pub(crate) fn hang(&self) -> std::sync::mpsc::Sender<()> {
        let (disk, (hung, hangs)) = (self.clone(), std::sync::mpsc::channel());
        let (release, released) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let _locked = disk.place.lock.lock();
            drop(hung);
            let _: Result<(), _> = released.recv();
        });
        let _: Result<(), _> = hangs.recv();
        release
    }
}

#[cfg(test)]
mod tests;
