//! The last good snapshot of an operation on disk (`--state-dir`): what a process that starts
//! while its source is away can serve.
//!
//! One file: a header line of JSON, then the body. It is replaced whole (a temporary file, fsync,
//! rename, fsync of the directory), so that a crash or a full disk leaves the old one. Its
//! modification time says when the source last confirmed it. Everything here blocks.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};

use super::wall_clock;
use crate::model::{Snapshot, StateId};

/// The version of the file's form.
const FORM: u32 = 2;
/// Bytes of the header line; ours are below 400 but for a long media type.
const HEADER_BYTES: u64 = 16 * 1024;
/// What stands for itself in a file name. Not the point, so that no name is `..`.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_');

/// Where an operation's last good snapshot is kept. It is this process's alone as long as this lives.
#[derive(Debug)]
pub struct Disk {
    /// Whose state it is: that of another source is none of this one's history.
    source: String,
    directory: PathBuf,
    file: PathBuf,
    #[expect(dead_code, reason = "dropping it gives the lock up")]
    lock: File,
}

/// A snapshot that was kept.
#[derive(Debug, Clone)]
pub struct Kept {
    /// The snapshot.
    pub snapshot: Snapshot,
    /// When its source last confirmed it, by the clock on the wall: it may lie in the future.
    pub confirmed: SystemTime,
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
    #[error("cannot {action} {}", .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// At what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// The first line of the file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Header {
    tidewait: u32,
    source: String,
    id: String,
    media_type: String,
    length: u64,
    checksum: String,
}

impl Disk {
    /// Opens the state of an operation and its source in a directory, which is created where it is
    /// missing, and locks it.
    pub fn open(directory: &Path, operation: &str, source: &str) -> Result<Self, DiskError> {
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(io_error("create", directory))?;
        let name = utf8_percent_encode(operation, PLAIN).to_string();
        let path = directory.join(format!("{name}.lock"));
        // Never removed: a process that holds a removed one would not exclude the next.
        let opened = File::options().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let lock = opened.map_err(io_error("open", &path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(DiskError::Locked { directory: directory.to_owned(), operation: operation.to_owned() });
            }
            Err(TryLockError::Error(source)) => return Err(DiskError::Io { action: "lock", path, source }),
        }
        let file = directory.join(format!("{name}.snapshot"));
        Ok(Self { source: source.to_owned(), directory: directory.to_owned(), file, lock })
    }

    /// What is kept of this source. A file that cannot be used is renamed to `….corrupt`, in place of an earlier one.
    pub fn load(&self) -> Result<Option<Kept>, DiskError> {
        match read(&self.file) {
            Ok((kept, source)) => Ok((source == self.source).then_some(kept)),
            Err(Refused::Io(error)) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(Refused::Io(error)) => Err(io_error("read", &self.file)(error)),
            Err(Refused::Corrupt(why)) => {
                let aside = self.beside("corrupt");
                let remedy = match fs::rename(&self.file, &aside) {
                    Ok(()) => format!("It is now {}: look what damaged it, then delete it", aside.display()),
                    Err(error) => format!("It cannot be renamed ({error}): delete it"),
                };
                Err(DiskError::Corrupt { file: self.file.clone(), why, remedy })
            }
        }
    }

    /// Keeps a snapshot in place of the last one, confirmed now.
    pub fn store(&self, snapshot: &Snapshot) -> Result<(), DiskError> {
        self.store_through(snapshot, |temporary| {
            File::options().write(true).create_new(true).mode(0o600).open(temporary)
        })
    }

    /// Marks what is kept as confirmed now. Without a file it is an error, which a `store` mends.
    pub fn confirm(&self) -> Result<(), DiskError> {
        let confirmed = File::open(&self.file).and_then(|file| file.set_modified(wall_clock()));
        confirmed.map_err(io_error("set the time of", &self.file))
    }

    fn store_through(&self, snapshot: &Snapshot, create: impl Fn(&Path) -> io::Result<File>) -> Result<(), DiskError> {
        let temporary = self.beside("tmp");
        // One that a crash left; if it cannot be removed, creating it says why.
        let _ = fs::remove_file(&temporary);
        let body = &snapshot.body().identity;
        let header = header(&snapshot.id, snapshot.content.media_type(), body, &self.source);
        let written = create(&temporary).and_then(|mut file| {
            file.write_all(header.as_bytes())?;
            file.write_all(body)?;
            file.sync_all()
        });
        let kept = match written {
            Ok(()) => fs::rename(&temporary, &self.file).map_err(io_error("replace", &self.file)),
            Err(error) => Err(io_error("write", &temporary)(error)),
        };
        if kept.is_err() {
            // Half a file is of no use, and its room may be what is missing.
            let _ = fs::remove_file(&temporary);
            return kept;
        }
        let directory = File::open(&self.directory).and_then(|directory| directory.sync_all());
        directory.map_err(io_error("write", &self.directory))
    }

    fn beside(&self, extension: &str) -> PathBuf {
        self.file.with_added_extension(extension)
    }
}

fn io_error(action: &'static str, path: &Path) -> impl Fn(io::Error) -> DiskError {
    move |source| DiskError::Io { action, path: path.to_owned(), source }
}

enum Refused {
    Io(io::Error),
    Corrupt(String),
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<&str> for Refused {
    fn from(why: &str) -> Self {
        Self::Corrupt(why.to_owned())
    }
}

fn header(id: &StateId, media_type: &str, body: &[u8], source: &str) -> String {
    let id = id.to_string();
    let mut hasher = blake3::Hasher::new_derive_key("tidewait.dev v1 state on disk");
    hasher.update(&FORM.to_le_bytes());
    for part in [source.as_bytes(), id.as_bytes(), media_type.as_bytes(), body] {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    let header = Header {
        tidewait: FORM,
        source: source.to_owned(),
        id,
        media_type: media_type.to_owned(),
        length: body.len() as u64,
        checksum: hasher.finalize().to_hex().to_string(),
    };
    serde_json::to_string(&header).expect("strings and numbers have a JSON form") + "\n"
}

/// What is kept, and of which source.
fn read(path: &Path) -> Result<(Kept, String), Refused> {
    // Before it is opened: a FIFO would be waited for.
    if !fs::symlink_metadata(path)?.is_file() {
        return Err("it is not a regular file".into());
    }
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    let mut file = BufReader::new(file);
    let mut line = Vec::new();
    (&mut file).take(HEADER_BYTES).read_until(b'\n', &mut line)?;
    let Ok(Header { tidewait, source, id, media_type, length, .. }) = serde_json::from_slice(&line) else {
        return Err("its first line is not a header".into());
    };
    if tidewait != FORM {
        return Err(Refused::Corrupt(format!("it has form {tidewait}, this version of tidewait writes form {FORM}")));
    }
    if metadata.len().checked_sub(line.len() as u64) != Some(length) {
        return Err(Refused::Corrupt(format!("its body has not the {length} bytes of its header")));
    }
    let id = StateId::parse(&id).ok_or("its id is none of ours")?;
    let mut body = Vec::new();
    // Not more than there was, should it grow.
    file.take(length).read_to_end(&mut body)?;
    let body = Bytes::from(body);
    // The one header of this state, byte for byte: the checksum and everything else at once.
    if header(&id, &media_type, &body, &source).as_bytes() != line {
        return Err("its checksum is wrong".into());
    }
    // The checksum only tells that the file is as it was written, this that what was written is a state
    // of ours: the digest of an older or newer version of tidewait may mean something else.
    let snapshot = Snapshot::from_parts(id, &media_type, &body).ok_or("its id is not that of its content")?;
    Ok((Kept { snapshot, confirmed: metadata.modified()? }, source))
}

#[cfg(test)]
mod tests;
