//! The form of the records.

use std::fs;
use std::io::{self, Read as _};
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::aside::Why;
use super::body::Body;
use super::{Applied, Held, Pending};
use crate::bounds::{AGENT_RECORD_BYTES, AGENT_REFUSED};
use crate::files::{FileError, failed};

/// The first line of each: `tidewait-agent <form> <length> <sha256>`.
const MARK: &str = "tidewait-agent";
/// The version of the form.
const FORM: &str = "1";

/// What the states are of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Of {
    /// The path of the operation.
    pub operation: String,
    /// The pointers of the selection, sorted; none: the whole model.
    pub select: Vec<String>,
}

/// How far a state is that is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Phase {
    /// It is kept, and the output does not have it.
    Received,
    /// The output has it, or is about to: said before the first file is renamed.
    Published,
    /// Its command has succeeded, and what verifies it has not yet.
    Applied,
    /// It has failed, and the output before is being put back: it must not be tried again.
    RollingBack,
}

/// How the hooks ended for what is held.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum HookResult {
    /// They have not run, or not to their end.
    #[default]
    Unknown,
    /// They succeeded, or there are none.
    Done,
    /// They failed.
    Failed,
}

/// A state that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Its id.
    pub id: String,
    /// Why.
    pub reason: String,
    /// A digest of what outputs and hooks were configured.
    #[serde(default)]
    pub configuration: String,
}

/// Names a body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StateName {
    pub(super) id: String,
    pub(super) media_type: String,
    pub(super) sha256: String,
    pub(super) length: u64,
}

/// A file of the state directory.
pub(super) trait Record: Serialize + DeserializeOwned {
    /// Its name.
    const NAME: &'static str;

    /// What it is of.
    fn of(&self) -> &Of;

    /// The whole file.
    fn text(&self) -> String {
        let json = serde_json::to_string(self).unwrap_or_default() + "\n";
        head(json.as_bytes()) + &json
    }
}

fn head(json: &[u8]) -> String {
    format!("{MARK} {FORM} {} {}\n", json.len(), hex(json))
}

/// The sha256 of bytes.
pub(in crate::agent) fn hex(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

/// `held`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Kept {
    of: Of,
    pub(super) state: StateName,
    hooks: HookResult,
    boot: String,
    configuration: String,
    at: u64,
}

impl Kept {
    pub(super) fn new(of: &Of, Held { body, applied }: &Held) -> Self {
        let Applied { hooks, boot, configuration, at } = applied.clone();
        Self { of: of.clone(), state: body.name(), hooks, boot, configuration, at }
    }

    pub(super) fn applied(self) -> Applied {
        Applied { hooks: self.hooks, boot: self.boot, configuration: self.configuration, at: self.at }
    }
}

impl Record for Kept {
    const NAME: &'static str = "held";

    fn of(&self) -> &Of {
        &self.of
    }
}

/// `pending`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct PendingRecord {
    of: Of,
    pub(super) state: StateName,
    pub(super) phase: Phase,
    pub(super) attempts: u32,
    #[serde(default)]
    pub(super) tries: u32,
}

impl PendingRecord {
    pub(super) fn new(of: &Of, Pending { body, phase, attempts, tries }: &Pending) -> Self {
        Self { of: of.clone(), state: body.name(), phase: *phase, attempts: *attempts, tries: *tries }
    }
}

impl Record for PendingRecord {
    const NAME: &'static str = "pending";

    fn of(&self) -> &Of {
        &self.of
    }
}

/// `refused`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Refusals {
    of: Of,
    refused: Vec<Refusal>,
}

impl Refusals {
    pub(super) fn new(of: &Of, refused: &[Refusal]) -> Self {
        Self { of: of.clone(), refused: refused.to_vec() }
    }

    pub(super) fn refused(mut self) -> Vec<Refusal> {
        self.refused.truncate(AGENT_REFUSED);
        self.refused
    }
}

impl Record for Refusals {
    const NAME: &'static str = "refused";

    fn of(&self) -> &Of {
        &self.of
    }
}

/// What any record has.
#[derive(Debug, Deserialize)]
pub(super) struct Any {
    pub(super) of: Of,
    pub(super) state: Option<StateName>,
}

/// Reads a record of this operation and selection, where there is one.
pub(super) fn read<R: Record>(path: &Path, of: &Of) -> Result<Result<Option<R>, Why>, FileError> {
    let read = || {
        let Some(bytes) = bytes(path)? else { return Ok(Ok(None)) };
        Ok(parse::<R>(&bytes).and_then(|record| {
            if record.of() == of {
                Ok(Some(record))
            } else {
                Err(Why::Other("it is of another operation or selection"))
            }
        }))
    };
    read().map_err(failed("read", path))
}

/// The id of what is held in a state directory, which may be another agent's: nothing is locked or changed.
#[must_use]
pub fn held_id(directory: &Path, of: &Of) -> Option<String> {
    let kept = read::<Kept>(&directory.join(Kept::NAME), of).ok()?.ok()??;
    Some(kept.state.id)
}

/// What a file has that any record has; none if it is no record of this form.
pub(super) fn read_any(path: &Path) -> Option<Any> {
    parse(&bytes(path).ok()??).ok()
}

fn bytes(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    match fs::symlink_metadata(path) {
        // Nothing that it could be has bytes of a record; a pipe would be waited for.
        Ok(metadata) if !metadata.is_file() => return Ok(Some(bytes)),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    }
    fs::File::open(path)?.take(AGENT_RECORD_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

fn parse<R: DeserializeOwned>(bytes: &[u8]) -> Result<R, Why> {
    if bytes.len() > AGENT_RECORD_BYTES {
        return Err(Why::Broken("it is too long"));
    }
    let end = bytes.iter().position(|byte| *byte == b'\n').ok_or(Why::Broken("it has no head"))?;
    let (line, json) = bytes.split_at(end + 1);
    let mut words = std::str::from_utf8(line).unwrap_or_default().split(' ');
    if words.next() != Some(MARK) {
        return Err(Why::Broken("it has no head"));
    }
    if words.next() != Some(FORM) {
        return Err(Why::Other("it was written by another version of tidewait"));
    }
    if head(json).as_bytes() != line {
        return Err(Why::Broken("its length or digest is wrong"));
    }
    serde_json::from_slice(json).map_err(|_| Why::Broken("its fields are wrong"))
}

impl Body {
    /// What names it in a record.
    pub(super) fn name(&self) -> StateName {
        StateName {
            id: self.id().to_owned(),
            media_type: self.media_type().to_owned(),
            sha256: self.sha256().to_owned(),
            length: self.bytes().len() as u64,
        }
    }
}
