//! The way from one state to the next, in a file beside the output for as long as commands may read it.

use std::path::{Path, PathBuf};

use super::Output;
use super::fault::Fault;
use crate::files::{self, failed};

/// The file. Dropping it removes it.
#[derive(Debug)]
#[must_use]
pub struct PatchFile(PathBuf);

impl PatchFile {
    /// Where it is: `TIDEWAIT_PATCH_FILE` of hooks.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for PatchFile {
    fn drop(&mut self) {
        // What cannot be removed is removed at the next start.
        let _ = files::remove(&self.0);
    }
}

impl Output {
    /// Writes a patch beside the output.
    pub fn write_patch(&self, bytes: &[u8]) -> Result<PatchFile, Fault> {
        if let Some(tree) = self.tree() {
            tree.make_folder()?;
        }
        // There is always one.
        let path = self.entries()?.first().map(|entry| entry.beside("patch")).unwrap_or_default();
        files::remove(&path).map_err(failed("remove", &path))?;
        // From here on, dropping it removes what there is of it.
        let file = PatchFile(path);
        files::write(&file.0, &[bytes], |_| Ok(())).map_err(failed("write", &file.0))?;
        Ok(file)
    }
}
