//! The models that candidates serve, in the canonical form that Tidewait gives them, so that an answer can be compared byte
//! for byte; and the file that holds one.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Bytes that fill a model up to about a kilobyte.
const PADDING: usize = 950;

/// A model of about a kilobyte.
pub(crate) fn small(generation: u64) -> Vec<u8> {
    format!(r#"{{"generation":{generation},"text":"{}"}}"#, "x".repeat(PADDING)).into_bytes()
}

/// A model file that is replaced as a whole, by a rename.
#[derive(Debug)]
pub(crate) struct ModelFile {
    path: PathBuf,
}

impl ModelFile {
    /// A file in a folder, with this model.
    pub(crate) fn new(folder: &Path, model: &[u8]) -> io::Result<Self> {
        let file = Self { path: folder.join("model.json") };
        file.replace(model)?;
        Ok(file)
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Replaces it.
    pub(crate) fn replace(&self, model: &[u8]) -> io::Result<()> {
        let next = self.path.with_extension("next");
        fs::write(&next, model)?;
        fs::rename(next, &self.path)
    }
}

/// What a node holds.
fn node(generation: u64) -> String {
    format!(
        r#"{{"address":"10.0.0.1/20","description":"kept by the team of its zone","generation":{generation},"mtu":1450}}"#
    )
}

/// A model of so many nodes of a generation, of which the first may have one of its own.
pub(crate) fn nodes(count: usize, generation: u64, of_first: u64) -> Vec<u8> {
    let all = (0..count).map(|at| format!(r#""{at:05}":{}"#, node(if at == 0 { of_first } else { generation })));
    format!(r#"{{"nodes":{{{}}}}}"#, all.collect::<Vec<_>>().join(",")).into_bytes()
}

/// What a client that selects a node is given.
pub(crate) fn node_alone(at: usize, generation: u64) -> Vec<u8> {
    format!(r#"{{"nodes":{{"{at:05}":{}}}}}"#, node(generation)).into_bytes()
}

/// The patch that brings a node to this generation.
pub(crate) fn node_patch(at: usize, generation: u64) -> Vec<u8> {
    format!(r#"[{{"op":"replace","path":"/nodes/{at:05}/generation","value":{generation}}}]"#).into_bytes()
}
