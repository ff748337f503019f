//! The file with static tokens: read before anybody is served, then followed as models are.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use prometheus::{IntGauge, Registry};
use tokio::sync::mpsc;

use crate::access::Tokens;
use crate::access::tokens::InvalidTokens;
use crate::bounds::DOCUMENT_BYTES;
use crate::config::Format;
use crate::http::access::Access;
use crate::model::Content;
use crate::sources::Report;
use crate::sources::file::{self, FileSource};

/// Why there are no tokens to begin with.
#[derive(Debug, thiserror::Error)]
pub enum TokenFileError {
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
    #[error("{}: it is larger than {DOCUMENT_BYTES} bytes: name a file of tokens", .0.display())]
    TooLarge(PathBuf),
    /// The file has another form.
    #[error("{}: it is no file of tokens", .path.display())]
    Invalid {
        /// Its path.
        path: PathBuf,
        /// Why.
        #[source]
        source: InvalidTokens,
    },
}

/// What operators see of the file.
#[derive(Debug, Clone)]
pub(super) struct Metrics {
    tokens: IntGauge,
    good: IntGauge,
}

impl Metrics {
    pub(super) fn register(registry: &Registry, tokens: &Tokens) -> prometheus::Result<Self> {
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone())).map(|()| gauge)
        };
        let metrics = Self {
            tokens: gauge("tidewait_access_tokens", "Static tokens that are good.")?,
            good: gauge(
                "tidewait_access_tokens_file_good",
                "Whether the file with static tokens could be read last time (1) or those of before stay good (0).",
            )?,
        };
        metrics.tokens.set(count(tokens));
        metrics.good.set(1);
        Ok(metrics)
    }
}

/// The tokens to begin with.
pub(super) fn read(path: &Path) -> Result<Tokens, TokenFileError> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(DOCUMENT_BYTES).unwrap_or(u64::MAX);
    File::open(path)
        .and_then(|file| file.take(limit.saturating_add(1)).read_to_end(&mut bytes))
        .map_err(|source| TokenFileError::Read { path: path.into(), source })?;
    if bytes.len() > DOCUMENT_BYTES {
        return Err(TokenFileError::TooLarge(path.into()));
    }
    Tokens::parse(&bytes).map_err(|source| TokenFileError::Invalid { path: path.into(), source })
}

/// Replaces the tokens whenever the file changes. Where it is not good, those that were read before stay.
pub(super) async fn follow(path: PathBuf, access: Arc<Access>, metrics: Metrics) {
    let (sender, mut reports) = mpsc::channel(1);
    let format = Format::Opaque("text/plain".to_owned());
    let file = FileSource { operation: "access-tokens".to_owned(), path, format, below: None };
    let followed = file::run(file, sender);
    let taken = async {
        while let Some(report) = reports.recv().await {
            match report {
                Report::Holds(draft) => take(&draft.content, &access, &metrics),
                Report::Unusable(unusable) => keep(&unusable.detail, &metrics),
                Report::Lost { reason } => keep(&reason, &metrics),
                Report::Confirmed => metrics.good.set(1),
                Report::ReadCompleted(_) => {}
            }
        }
    };
    tokio::join!(followed, taken);
}

fn take(content: &Content, access: &Access, metrics: &Metrics) {
    let Content::Opaque { body, .. } = content else { return };
    match Tokens::parse(body) {
        Ok(tokens) => {
            let count = count(&tokens);
            access.authentication().replace_tokens(tokens);
            metrics.tokens.set(count);
            metrics.good.set(1);
            tracing::info!(tokens = count, "the file with tokens was read");
        }
        Err(error) => keep(&error.to_string(), metrics),
    }
}

fn keep(why: &str, metrics: &Metrics) {
    metrics.good.set(0);
    tracing::error!(error = why, "the file with tokens is not good: those that were read before stay good");
}

fn count(tokens: &Tokens) -> i64 {
    i64::try_from(tokens.len()).unwrap_or(i64::MAX)
}
