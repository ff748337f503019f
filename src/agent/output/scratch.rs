//! A state in a temporary place: for `--check` to look at, without the output being touched.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use super::Output;
use super::attributes::Attributes;
use super::fault::Fault;
use super::render::Rendered;
use crate::files::{self, failed};

/// The files of a state. Dropping it removes them.
#[derive(Debug)]
#[must_use]
pub struct Scratch {
    folder: PathBuf,
    path: PathBuf,
}

impl Output {
    /// Writes the files of a state below a folder for temporary files. Their owner is the agent's user.
    pub fn scratch(&self, temporary: &Path, rendered: &[Rendered]) -> Result<Scratch, Fault> {
        let folder = temporary.join(format!("tidewait-dry-run-{:016x}", fastrand::u64(..)));
        DirBuilder::new().mode(0o700).create(&folder).map_err(failed("create", &folder))?;
        // From here on, dropping it removes what there is of it.
        let mut scratch = Scratch { path: folder.clone(), folder };
        let attributes = Attributes::asked(self.settings.mode);
        for (number, Rendered { file, bytes }) in rendered.iter().enumerate() {
            let path = if self.settings.tree.is_some() {
                scratch.folder.join(file)
            } else {
                // Several may have the same name in folders of their own.
                scratch.folder.join(number.to_string()).join(file.file_name().unwrap_or_default())
            };
            let inner = files::folder_of(&path);
            files::make_folder(inner, 0o700).map_err(failed("create", inner))?;
            files::write(&path, &[bytes], |file| attributes.set(file)).map_err(failed("write", &path))?;
            if number == 0 && self.settings.tree.is_none() {
                scratch.path = path;
            }
        }
        Ok(scratch)
    }
}

impl Scratch {
    /// The first file, or the folder of the tree: `{}`, and `TIDEWAIT_FILE` of a check.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left of it lies in a folder that is for temporary files.
        let _ = files::remove_folder(&self.folder);
    }
}
