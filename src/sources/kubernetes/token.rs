//! A bearer token that lies in a file, as kubectl reads it: without the white space around it, and anew once in a
//! while, since it is replaced before it expires. Where that fails, the last one stays.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use http::header::{AUTHORIZATION, HeaderValue};
use http::{HeaderMap, Request};
use tokio::time::Instant;

use crate::bounds::KUBERNETES_TOKEN;

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file cannot be read.
    #[error("the token file {} cannot be read", .path.display())]
    Unreadable {
        /// Where it is.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// There is nothing in it, or only white space.
    #[error("the token file {} is empty: write a token into it, or name another file", .path.display())]
    Empty {
        /// Where it is.
        path: PathBuf,
    },
    /// What is in it cannot be sent.
    #[error("the token file {} holds characters that no token has: write one token into it, and nothing else", .path.display())]
    Invalid {
        /// Where it is.
        path: PathBuf,
    },
}

/// A token in a file.
#[derive(Debug, Clone)]
pub(super) struct TokenFile(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    /// The value of `Authorization`.
    value: ArcSwap<HeaderValue>,
    /// When it is read again; absent: it is being read.
    due: Mutex<Option<Instant>>,
}

impl TokenFile {
    /// Reads the token for the first time.
    pub(super) fn open(path: &Path) -> Result<Self, TokenError> {
        let (path, value, due) = (path.to_owned(), read(path)?, Instant::now() + KUBERNETES_TOKEN);
        Ok(Self(Arc::new(Shared { path, value: ArcSwap::from_pointee(value), due: Mutex::new(Some(due)) })))
    }

    /// The request with the token. Nothing waits for the file: the token that is read now is for later requests.
    pub(super) fn authorize<B>(&self, mut request: Request<B>) -> Request<B> {
        self.put(request.headers_mut());
        request
    }

    fn put(&self, fields: &mut HeaderMap) {
        fields.insert(AUTHORIZATION, HeaderValue::clone(&self.0.value.load()));
        let mut due = self.0.due.lock().unwrap_or_else(PoisonError::into_inner);
        if due.is_some_and(|due| due <= Instant::now()) {
            *due = None;
            let shared = Arc::clone(&self.0);
            drop(tokio::task::spawn_blocking(move || shared.read_again()));
        }
    }
}

impl Shared {
    fn read_again(&self) {
        match read(&self.path) {
            Ok(value) => self.value.store(Arc::new(value)),
            Err(error) => {
                let error = crate::telemetry::chain(&error);
                tracing::warn!(%error, "the token of the API server is not renewed");
            }
        }
        *self.due.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + KUBERNETES_TOKEN);
    }
}

fn read(path: &Path) -> Result<HeaderValue, TokenError> {
    let unreadable = |source| TokenError::Unreadable { path: path.to_owned(), source };
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    let token = text.trim();
    if token.is_empty() {
        return Err(TokenError::Empty { path: path.to_owned() });
    }
    let value = HeaderValue::from_str(&format!("Bearer {token}"));
    let mut value = value.map_err(|_| TokenError::Invalid { path: path.to_owned() })?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(file: &TokenFile) -> String {
        let request = file.authorize(Request::new(()));
        request.headers()[AUTHORIZATION].to_str().expect("text").to_owned()
    }

    /// Waits until a reading that was begun has ended.
    async fn rested(file: &TokenFile) {
        while file.0.due.lock().expect("no panic").is_none() {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_trimmed_read_anew_and_stays_while_the_file_is_of_no_use() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("token");
        for (text, words) in [(None, "cannot be read"), (Some(" \n"), "is empty"), (Some("a\nb"), "characters")] {
            if let Some(text) = text {
                std::fs::write(&path, text).expect("a file");
            }
            let error = TokenFile::open(&path).expect_err("no token").to_string();
            assert!(error.contains(words) && error.contains(&*path.to_string_lossy()), "{error}");
        }
        std::fs::write(&path, "\tone\r\n").expect("a file");
        let file = TokenFile::open(&path).expect("a token");
        for (text, before, after) in [("two\n", "one", "two"), ("\n", "two", "two"), ("three", "two", "three")] {
            std::fs::write(&path, text).expect("a file");
            assert_eq!(sent(&file), format!("Bearer {before}"));
            tokio::time::advance(KUBERNETES_TOKEN).await;
            let _begins = sent(&file);
            rested(&file).await;
            assert_eq!(sent(&file), format!("Bearer {after}"));
        }
        assert!(!format!("{file:?}").contains("three"), "it is not shown");
    }
}
