//! Where the body goes: to standard output as it comes, or to a file that stands in its place once it is whole. What is said beside
//! it goes to standard error.

use std::io::{self, Write as _};
use std::path::Path;

use tokio::io::{AsyncWriteExt as _, stdout};

use super::{Ended, failed};
use crate::escape::escape;
use crate::files::FileError;
use crate::files::whole::Whole;

/// Where a result goes.
#[derive(Debug)]
pub(super) enum Output {
    /// Standard output.
    Standard,
    /// A file.
    File(Whole),
}

impl Output {
    /// A file that can be written, which is seen before anything is asked.
    pub(super) fn file(path: &Path) -> Result<Self, Ended> {
        Whole::begin(path, fastrand::u64(..)).map(Self::File).map_err(|error| unwritten(&error))
    }

    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<(), Ended> {
        match self {
            Self::Standard => print(bytes).await.map_err(failed),
            Self::File(whole) => whole.write(bytes).map_err(|error| unwritten(&error)),
        }
    }

    /// All of it was written.
    pub(super) fn finish(self) -> Result<(), Ended> {
        match self {
            Self::Standard => Ok(()),
            Self::File(whole) => whole.finish().map_err(|error| unwritten(&error)),
        }
    }
}

/// A line on standard error, unless nobody reads there.
pub(crate) fn say(text: &str) {
    // Where it fails it cannot be reported.
    let _ = io::stderr().write_all(format!("tidewait: {}\n", escape(text)).as_bytes());
}

/// Writes to standard output, where it can be read at once. While nobody reads there, signals still count. An error: why it cannot
/// be written.
pub(crate) async fn print(bytes: &[u8]) -> Result<(), String> {
    let mut output = stdout();
    let written = async {
        output.write_all(bytes).await?;
        output.flush().await
    };
    written.await.map_err(|error: io::Error| format!("standard output cannot be written: {error}"))
}

fn unwritten(error: &FileError) -> Ended {
    failed(format!("--output: {error}: {}", error.source))
}
