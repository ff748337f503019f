//! The form of the file: a header line of JSON, then the body.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::Path;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::KeptState;
use crate::model::{Snapshot, StateId};

/// The version of the file's form.
pub(super) const FORM: u32 = 2;
/// Bytes of the header line; ours are below 400 but for a long media type.
const HEADER_BYTES: u64 = 16 * 1024;

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

/// What every form of that line has.
#[derive(Debug, Deserialize)]
struct Form {
    tidewait: u32,
}

/// Why no state can be read from a file.
pub(super) enum ReadError {
    Io(io::Error),
    OtherForm(u32),
    Corrupt(String),
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<&str> for ReadError {
    fn from(why: &str) -> Self {
        Self::Corrupt(why.to_owned())
    }
}

/// The one header of a state.
pub(super) fn header(id: &StateId, media_type: &str, body: &[u8], source: &str) -> String {
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
pub(super) fn read(path: &Path) -> Result<(KeptState, String), ReadError> {
    // Before it is opened: a FIFO would be waited for.
    if !fs::symlink_metadata(path)?.is_file() {
        return Err("it is not a regular file".into());
    }
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    let mut file = BufReader::new(file);
    let mut line = Vec::new();
    (&mut file).take(HEADER_BYTES).read_until(b'\n', &mut line)?;
    // Alone at first: what else there is depends on it.
    let Ok(Form { tidewait: form }) = serde_json::from_slice(&line) else {
        return Err("its first line is not a header".into());
    };
    if form != FORM {
        return Err(ReadError::OtherForm(form));
    }
    let Ok(Header { source, id, media_type, length, .. }) = serde_json::from_slice(&line) else {
        return Err("its first line is not a header".into());
    };
    if metadata.len().checked_sub(line.len() as u64) != Some(length) {
        return Err(ReadError::Corrupt(format!("its body has not the {length} bytes of its header")));
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
    // The checksum only shows that the file is as it was written, this that what was written is a state
    // of ours: the digest of an older or newer version of tidewait may mean something else.
    let snapshot = Snapshot::from_parts(id, &media_type, &body).ok_or("its id is not that of its content")?;
    Ok((KeptState { snapshot, confirmed: metadata.modified()? }, source))
}
