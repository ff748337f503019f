//! Files that say whose credentials are good: each is read before anybody is served, then followed as models are.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::mpsc;

use crate::admin::followed::FollowedFile;
use crate::bounds::DOCUMENT_BYTES;
use crate::config::Format;
use crate::model::Content;
use crate::sources::file::{self, FileSource};
use crate::sources::{Report, UnusableKind};

/// Why there is nothing to begin with.
#[derive(Debug, thiserror::Error)]
pub enum AccessFileError {
    /// The file cannot be read.
    #[error("{}: it cannot be read: name a file that can be", .path.display())]
    Read {
        /// Its path.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file is too large.
    #[error("{}: it is larger than {DOCUMENT_BYTES} bytes: name a file of {what}", .path.display())]
    TooLarge {
        /// Its path.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
    },
    /// The file is empty.
    #[error("{}: it is empty: write {what} into it, or {nobody} where there are none", .path.display())]
    Empty {
        /// Its path.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
        /// What stands in one that holds none.
        nobody: &'static str,
    },
    /// The file has another form.
    #[error("{}: it is no file of {what}", .path.display())]
    Invalid {
        /// Its path.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
        /// Why it does not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// What a file of credentials holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kind {
    /// In the plural.
    pub(super) what: &'static str,
    /// What stands in one that holds none.
    pub(super) nobody: &'static str,
}

pub(super) const TOKENS: Kind = Kind { what: "tokens", nobody: "a line that begins with #" };
pub(super) const USERS: Kind = Kind { what: "users", nobody: "a line that begins with #" };
pub(super) const KEYS: Kind = Kind { what: "keys of an issuer", nobody: "{\"keys\":[]}" };

/// A file that is followed.
#[derive(Debug, Clone)]
pub(super) struct AccessFile {
    pub(super) path: PathBuf,
    pub(super) kind: Kind,
    /// What operators see of it.
    pub(super) shown: Arc<FollowedFile>,
}

/// What a file holds to begin with.
pub(super) fn read<T, E>(path: &Path, kind: Kind, parse: fn(&[u8]) -> Result<T, E>) -> Result<T, AccessFileError>
where
    E: std::error::Error + Send + Sync + 'static,
{
    let Kind { what, nobody } = kind;
    let mut bytes = Vec::new();
    let limit = u64::try_from(DOCUMENT_BYTES).unwrap_or(u64::MAX);
    File::open(path)
        .and_then(|file| file.take(limit.saturating_add(1)).read_to_end(&mut bytes))
        .map_err(|source| AccessFileError::Read { path: path.into(), source })?;
    if bytes.len() > DOCUMENT_BYTES {
        return Err(AccessFileError::TooLarge { path: path.into(), what });
    }
    if bytes.is_empty() {
        return Err(AccessFileError::Empty { path: path.into(), what, nobody });
    }
    parse(&bytes).map_err(|source| AccessFileError::Invalid { path: path.into(), what, source: source.into() })
}

impl AccessFile {
    /// Gives its bytes to `take` whenever it changes. Where they are not good, what was read before stays.
    pub(super) async fn follow(self, take: impl Fn(&[u8]) -> Result<usize, String>) {
        let (sender, mut reports) = mpsc::channel(1);
        let format = Format::Opaque("text/plain".to_owned());
        let operation = format!("access-{}", self.kind.what);
        let file = FileSource { operation, path: self.path.clone(), format, below: None };
        let followed = file::run(file, sender);
        let taken = async {
            // Why what it holds is not good; it may be away for a while and hold the same again.
            let mut fault = None;
            while let Some(report) = reports.recv().await {
                match report {
                    Report::Holds(draft) => {
                        fault = self.take(&draft.content, &take).err();
                        self.show(fault.as_deref());
                    }
                    Report::Unusable(unusable) if unusable.kind == UnusableKind::Empty => {
                        self.show(Some(&format!("it is empty: to withdraw all, write {} into it", self.kind.nobody)));
                    }
                    Report::Unusable(unusable) => self.show(Some(&unusable.detail)),
                    Report::Lost { reason } => self.show(Some(&reason)),
                    Report::Confirmed => self.show(fault.as_deref()),
                    Report::ReadCompleted(_) | Report::Relayed(_) => {}
                }
            }
        };
        tokio::join!(followed, taken);
    }

    fn take(&self, content: &Content, take: impl Fn(&[u8]) -> Result<usize, String>) -> Result<(), String> {
        let Content::Opaque { body, .. } = content else { return Ok(()) };
        let count = take(body)?;
        tracing::info!(count, what = self.kind.what, "a file of credentials was read");
        Ok(())
    }

    /// Says what is not good about it, once.
    fn show(&self, fault: Option<&str>) {
        let Some(why) = fault else { return self.shown.is_taken() };
        if self.shown.is_not_taken(why) {
            let (what, file) = (self.kind.what, self.path.display());
            tracing::error!(error = why, %file, "the file with {what} is not good: those that were read before stay good");
        }
    }
}
