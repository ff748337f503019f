//! A model in a file of its own folder, changed the ways that people and tools change files.

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

/// The model file of one server; its folder goes with it.
pub(crate) struct ModelFile {
    folder: TempDir,
    pub(crate) path: PathBuf,
}

impl ModelFile {
    /// A file that holds `text`.
    pub(crate) fn new(text: &str) -> Self {
        let absent = Self::absent();
        absent.replace(text);
        absent
    }

    /// No file yet.
    pub(crate) fn absent() -> Self {
        let folder = TempDir::new().expect("a folder for temporary files");
        let path = folder.path().join("model.json");
        Self { folder, path }
    }

    /// The path, for a command line.
    pub(crate) fn arg(&self) -> &str {
        self.path.to_str().expect("UTF-8")
    }

    /// A path beside the model, for a command line.
    pub(crate) fn beside(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().expect("UTF-8").to_owned()
    }

    /// Writes another file and renames it over this one: readers see the old or the new one whole.
    pub(crate) fn replace(&self, text: &str) {
        let next = self.folder.path().join("next");
        fs::write(&next, text).expect("the folder can be written");
        fs::rename(&next, &self.path).expect("in the same folder");
    }

    /// Writes over it in place, as an editor or `>` does.
    pub(crate) fn write(&self, text: &str) {
        fs::write(&self.path, text).expect("the folder can be written");
    }

    /// Removes it.
    pub(crate) fn remove(&self) {
        fs::remove_file(&self.path).expect("it is there");
    }
}
