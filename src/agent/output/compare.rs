//! What is on the disk, compared with what should be there.

use std::fmt;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::attributes::Attributes;
use super::entry;
use super::fault::Fault;
use super::render::Rendered;
use super::settings::Settings;
use crate::escape::escape;
use crate::files::failed;

/// Something that is not as the agent left it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Where.
    pub path: PathBuf,
    /// What.
    pub what: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", escape(&self.path.to_string_lossy()), self.what)
    }
}

/// What is different about a file, if anything is.
pub(super) fn file(path: &Path, bytes: &[u8], settings: &Settings) -> Result<Option<Difference>, Fault> {
    let different = |what: &str| Ok(Some(Difference { path: path.to_owned(), what: what.to_owned() }));
    let file = match entry::open(path) {
        Ok(file) => file,
        Err(error) => {
            return match (error.kind(), error.raw_os_error().map(Errno::from_raw_os_error)) {
                (io::ErrorKind::NotFound | io::ErrorKind::NotADirectory, _) => different("it is not there"),
                // Of ours are regular files: opening a link, a socket or a device that has no driver gives these.
                (io::ErrorKind::Other, None) | (_, Some(Errno::LOOP | Errno::NXIO)) => different("it is no file"),
                _ => Err(failed("read", path)(error).into()),
            };
        }
    };
    let metadata = file.metadata().map_err(failed("read", path))?;
    if metadata.len() != bytes.len() as u64 || !holds(file, bytes).map_err(failed("read", path))? {
        return different("its content is another one");
    }
    match Attributes::difference(settings, &metadata) {
        Some(what) => different(&what),
        None => Ok(None),
    }
}

fn holds(mut file: fs::File, mut expected: &[u8]) -> io::Result<bool> {
    let mut piece = vec![0; 64 * 1024];
    loop {
        let read = match file.read(&mut piece) {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        match expected.strip_prefix(piece.get(..read).unwrap_or_default()) {
            Some(rest) if read > 0 => expected = rest,
            Some(rest) => return Ok(rest.is_empty()),
            None => return Ok(false),
        }
    }
}

/// What is different about a folder and all that is in it.
pub(super) fn folder(root: &Path, rendered: &[Rendered], settings: &Settings) -> Result<Vec<Difference>, Fault> {
    let mut differences = Vec::new();
    for Rendered { file: name, bytes } in rendered {
        differences.extend(file(&root.join(name), bytes, settings)?);
    }
    let mut folders = vec![PathBuf::new()];
    while let Some(inner) = folders.pop() {
        let path = root.join(&inner);
        // Without the folder its files are missed already.
        let Some(entries) = entries(&path)? else { continue };
        for entry in entries {
            let name = inner.join(entry.map_err(failed("read", &path))?.file_name());
            if rendered.iter().any(|known| known.file != name && known.file.starts_with(&name)) {
                folders.push(name);
            } else if rendered.iter().all(|known| known.file != name) {
                differences.push(Difference { path: root.join(name), what: "it does not belong here".to_owned() });
                // One is enough to know.
                return Ok(differences);
            }
        }
    }
    Ok(differences)
}

/// What is in a folder; none: there is no such folder.
pub(super) fn entries(path: &Path) -> Result<Option<fs::ReadDir>, Fault> {
    match fs::read_dir(path) {
        Ok(entries) => Ok(Some(entries)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(failed("read", path)(error).into()),
    }
}
