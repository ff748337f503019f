//! Looking at a file and reading it. Everything here blocks, and is bounded in bytes.

use std::fs::{self, File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::debounce::{Identity, Met};
use crate::bounds::{DOCUMENT_BYTES, FILE_QUIET};
use crate::config::Format;
use crate::model::Content;
use crate::sources::{Unusable, UnusableKind, format, wall_clock};

/// What a read found.
#[derive(Debug)]
pub(super) enum Found {
    /// A model, from bytes with this hash.
    Good(Content, blake3::Hash),
    /// The bytes that the caller knows already.
    Known,
    /// What cannot be served, and the hash of the bytes if there were any.
    Bad(Unusable, Option<blake3::Hash>),
    /// The file system does not give it.
    Lost(String),
}

/// What the metadata of a file say of it.
pub(super) fn identity_of(metadata: &Metadata) -> Identity {
    Identity {
        inode: (metadata.dev(), metadata.ino()),
        length: metadata.len(),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
        changed: (metadata.ctime(), metadata.ctime_nsec()),
    }
}

/// The file as it is now; `None`: it is not there, or cannot be looked at (a read then says why).
pub(super) fn look(path: &Path) -> Option<Identity> {
    fs::metadata(path).ok().map(|metadata| identity_of(&metadata))
}

/// Whether nobody can be writing the file just now, by the clock of the file system: at the start,
/// where nothing was seen before, that saves the wait.
pub(super) fn is_at_rest(path: &Path) -> bool {
    let Ok(metadata) = fs::metadata(path) else { return true };
    let touched = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
    let age = wall_clock().duration_since(touched).unwrap_or(Duration::ZERO);
    age >= FILE_QUIET
}

/// Reads the file. Bytes whose hash is `known` are not parsed again; `below`: links may not lead out of there.
pub(super) fn read(path: &Path, below: Option<&Path>, format: &Format, known: Option<blake3::Hash>) -> (Met, Found) {
    let what = format!("file {}", path.display());
    match read_bytes(path, below, &what) {
        Ok((met, Ok(bytes))) => {
            let hash = blake3::hash(&bytes);
            if known == Some(hash) {
                return (met, Found::Known);
            }
            match format::read(&bytes, format, &what) {
                Ok(content) => (met, Found::Good(content, hash)),
                Err(unusable) => (met, Found::Bad(unusable, Some(hash))),
            }
        }
        Ok((met, Err(unusable))) => (met, Found::Bad(unusable, None)),
        Err(error) => refused(&error, &what),
    }
}

fn read_bytes(path: &Path, below: Option<&Path>, what: &str) -> io::Result<(Met, Result<Bytes, Unusable>)> {
    // Looked at before it is opened, since opening a device may do something; and not waited for,
    // since it may have become a FIFO since.
    let metadata = fs::metadata(path)?;
    let identity = identity_of(&metadata);
    if let Some(unusable) = refusal(&metadata, what) {
        return Ok((Met::File(identity, identity), Err(unusable)));
    }
    let file = match below {
        None => File::options().read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(path)?,
        Some(root) => match open_below(root, path)? {
            Some(file) => file,
            None => return Ok((Met::File(identity, identity), Err(leads_out(root, what)))),
        },
    };
    let metadata = file.metadata()?;
    let before = identity_of(&metadata);
    if let Some(unusable) = refusal(&metadata, what) {
        return Ok((Met::File(before, before), Err(unusable)));
    }
    // It may grow while it is read: one byte over the bound is enough to refuse it.
    let bound = DOCUMENT_BYTES as u64 + 1;
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len() + 1).unwrap_or_default());
    (&file).take(bound).read_to_end(&mut bytes)?;
    let after = identity_of(&file.metadata()?);
    Ok((Met::File(before, after), Ok(Bytes::from(bytes))))
}

/// Opens a file below a directory; none where a link on the way leads out of it. The kernel resolves the path, so
/// that no link can be swapped between a check and the use.
fn open_below(root: &Path, path: &Path) -> io::Result<Option<File>> {
    let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(root, directory, Mode::empty())?;
    let within = path.strip_prefix(root).unwrap_or(path);
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    match rustix::fs::openat2(directory, within, flags, Mode::empty(), ResolveFlags::BENEATH) {
        Ok(file) => Ok(Some(File::from(file))),
        Err(Errno::XDEV) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn leads_out(root: &Path, what: &str) -> Unusable {
    let root = root.display();
    let detail = format!("{what}: a link on the way leads out of {root}: put the file itself there");
    Unusable { kind: UnusableKind::Forbidden, detail }
}

/// Why what stands there is not even opened.
fn refusal(metadata: &fs::Metadata, what: &str) -> Option<Unusable> {
    let kind = metadata.file_type();
    let name = if kind.is_dir() {
        "a directory"
    } else if kind.is_fifo() {
        "a FIFO"
    } else if kind.is_socket() {
        "a socket"
    } else if kind.is_block_device() || kind.is_char_device() {
        "a device"
    } else if metadata.len() > DOCUMENT_BYTES as u64 {
        return Some(format::too_large(metadata.len(), what));
    } else {
        return None;
    };
    let detail = format!("{what}: it is {name}: put a regular file there, or name another path");
    Some(Unusable { kind: UnusableKind::Invalid, detail })
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the standard library may add kinds")]
fn refused(error: &io::Error, what: &str) -> (Met, Found) {
    let (met, kind, problem) = match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            (Met::Missing, UnusableKind::Missing, "it is not there: create it, or name another path")
        }
        io::ErrorKind::PermissionDenied => (
            Met::Failed,
            UnusableKind::Forbidden,
            "it may not be read: let this process's user read it and search the directories above it",
        ),
        _ => return (Met::Failed, Found::Lost(format!("{what}: {error}"))),
    };
    (met, Found::Bad(Unusable { kind, detail: format!("{what}: {problem}") }, None))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// As the kubelet mounts a `ConfigMap`: by links, all of them within.
    #[test]
    fn links_are_followed_only_below_the_root() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().join("root");
        fs::create_dir_all(root.join("..2024")).expect("a folder");
        fs::write(root.join("..2024/m.json"), "{}").expect("written");
        fs::write(folder.path().join("secret.json"), "{}").expect("written");
        let link = |target: &str, name: &str| symlink(target, root.join(name)).expect("a link");
        link("..2024", "..data");
        link("..data/m.json", "m.json");
        link("../secret.json", "relative.json");
        link(folder.path().join("secret.json").to_str().expect("UTF-8"), "absolute.json");
        link("..", "up");
        for (name, fits) in [
            ("m.json", true),
            ("..2024/m.json", true),
            ("relative.json", false),
            ("absolute.json", false),
            ("up/secret.json", false),
        ] {
            let (_, found) = read(&root.join(name), Some(&root), &Format::Json, None);
            let refused = matches!(&found, Found::Bad(unusable, None) if unusable.kind == UnusableKind::Forbidden
                && unusable.detail.contains("a link on the way leads out of "));
            assert_eq!((matches!(found, Found::Good(..)), refused), (fits, !fits), "{name}: {found:?}");
            let (_, found) = read(&root.join(name), None, &Format::Json, None);
            assert!(matches!(found, Found::Good(..)), "{name}: an operator's own file may be anywhere");
        }
        let (_, found) = read(&root.join("gone.json"), Some(&root), &Format::Json, None);
        assert!(matches!(found, Found::Bad(unusable, None) if unusable.kind == UnusableKind::Missing));
    }

    /// The system's own error numbers, since a test that runs as root is never denied anything.
    #[test]
    fn what_the_system_refuses_has_a_kind_of_its_own() {
        let refused = |errno: rustix::io::Errno| refused(&errno.into(), "file m");
        for (errno, kind) in [
            (rustix::io::Errno::NOENT, UnusableKind::Missing),
            (rustix::io::Errno::NOTDIR, UnusableKind::Missing),
            (rustix::io::Errno::ACCESS, UnusableKind::Forbidden),
            (rustix::io::Errno::PERM, UnusableKind::Forbidden),
        ] {
            let (_, Found::Bad(unusable, None)) = refused(errno) else { panic!("{errno} is not lost") };
            assert_eq!(unusable.kind, kind, "{errno}");
        }
        for errno in [rustix::io::Errno::IO, rustix::io::Errno::STALE, rustix::io::Errno::MFILE] {
            let (Met::Failed, Found::Lost(reason)) = refused(errno) else { panic!("{errno} is lost") };
            assert!(reason.starts_with("file m: "), "{reason}");
        }
    }
}
