//! The bytes of a state, in a file that is named by their digest.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use super::StoreError;
use super::record::{StateName, hex};
use crate::bounds::DOCUMENT_BYTES;
use crate::files::{self, FileError, failed};

const PREFIX: &str = "body-";

/// A state: its id, media type and bytes. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    id: Arc<str>,
    media_type: Arc<str>,
    bytes: Bytes,
    sha256: Arc<str>,
}

impl Body {
    /// A state that was received.
    #[must_use]
    pub fn new(id: &str, media_type: &str, bytes: Bytes) -> Self {
        Self { id: id.into(), media_type: media_type.into(), sha256: hex(&bytes).into(), bytes }
    }

    /// The same by another id.
    pub(super) fn with_id(&self, id: &str) -> Self {
        Self { id: id.into(), ..self.clone() }
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its media type.
    #[must_use]
    pub fn media_type(&self) -> &str {
        &self.media_type
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The sha256 of its bytes, in hexadecimal digits.
    #[must_use]
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    pub(super) fn file_name(&self) -> String {
        Self::file_name_of(&self.sha256)
    }

    pub(super) fn file_name_of(sha256: &str) -> String {
        format!("{PREFIX}{sha256}")
    }

    pub(super) fn is_file_name(name: &str) -> bool {
        name.strip_prefix(PREFIX).is_some_and(is_digest)
    }

    /// Writes the file, unless it is there with these bytes.
    pub(super) fn keep(&self, directory: &Path) -> Result<(), StoreError> {
        if self.bytes.len() > DOCUMENT_BYTES {
            return Err(StoreError::TooLarge(self.bytes.len()));
        }
        let path = directory.join(self.file_name());
        if read(&path, self.bytes.len() as u64).is_ok_and(|bytes| bytes == self.bytes) {
            return Ok(());
        }
        Ok(files::replace(&path, &path.with_added_extension("tmp"), &[&self.bytes])?)
    }

    /// Reads what a record names, or says what is wrong with it.
    pub(super) fn load(directory: &Path, name: &StateName) -> Result<Result<Self, &'static str>, FileError> {
        if !is_digest(&name.sha256) || name.length > DOCUMENT_BYTES as u64 {
            return Ok(Err("it names no bytes of a state"));
        }
        let path = directory.join(Self::file_name_of(&name.sha256));
        let bytes = match read(&path, name.length) {
            Ok(bytes) => Bytes::from(bytes),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData) => {
                return Ok(Err("the bytes of its state are not there"));
            }
            Err(error) => return Err(failed("read", &path)(error)),
        };
        let body = Self::new(&name.id, &name.media_type, bytes);
        Ok(if body.name() == *name { Ok(body) } else { Err("the bytes of its state are damaged") })
    }
}

fn is_digest(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// At most one byte more than there should be.
fn read(path: &Path, length: u64) -> io::Result<Vec<u8>> {
    // Before it is opened: a pipe would be waited for.
    if !path.symlink_metadata()?.is_file() {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(length + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
