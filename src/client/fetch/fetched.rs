//! The last answer: its head, and its body as it comes.

use std::fmt;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode, Version};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::upgrade::{OnUpgrade, Upgraded};
use tokio::time::{Instant, timeout_at};

use super::error::FetchError;
use crate::client::connection::Connection;
use crate::client::credentials::chain;

/// The last answer. Its body comes piece by piece.
pub struct Fetched {
    /// Any but those after which a fetch comes back.
    pub status: StatusCode,
    /// HTTP/1.1, or 1.0.
    pub version: Version,
    /// Its fields.
    pub fields: HeaderMap,
    /// Where it came from, after all that led there.
    pub url: String,
    pub(super) body: Incoming,
    /// What the connection becomes after a 101.
    pub(super) upgrade: Option<OnUpgrade>,
    /// Moves the bytes of the body.
    pub(super) _connection: Connection,
    pub(super) deadline: Instant,
    /// Bytes of the body so far.
    pub(super) received: u64,
}

/// Without its fields, which may hold a secret.
impl fmt::Debug for Fetched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fetched").field("status", &self.status).field("url", &self.url).finish_non_exhaustive()
    }
}

impl Fetched {
    /// The next bytes of the body; none: it has come to its end. After an error what came before is a part of it.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, FetchError> {
        loop {
            let (url, received) = (&self.url, self.received);
            let Ok(frame) = timeout_at(self.deadline, self.body.frame()).await else {
                let text =
                    format!("{url}: the deadline was over after {received} bytes of the body: give it more time");
                return Err(FetchError::Deadline(text));
            };
            let Some(frame) = frame else { return Ok(None) };
            let frame = frame.map_err(|error| {
                let text = format!("{url}: the body broke off after {received} bytes ({})", chain(&error));
                FetchError::BrokenOff(text)
            })?;
            if let Ok(bytes) = frame.into_data() {
                self.received += bytes.len() as u64;
                return Ok(Some(bytes));
            }
        }
    }

    /// What the connection has become after a 101.
    pub async fn upgraded(self) -> Result<Upgraded, FetchError> {
        let Self { url, upgrade, _connection: _moves, deadline, .. } = self;
        let failed =
            |why: &str| FetchError::Malformed(format!("{url}: the connection has not become another one: {why}"));
        let upgrade = upgrade.ok_or_else(|| failed("the answer is no 101"))?;
        match timeout_at(deadline, upgrade).await {
            Ok(upgraded) => upgraded.map_err(|error| failed(&chain(&error))),
            Err(_) => Err(FetchError::Deadline(format!("{url}: the deadline was over: give it more time"))),
        }
    }

    /// The whole body, of at most so many bytes.
    pub async fn bytes(mut self, most: usize) -> Result<Bytes, FetchError> {
        let mut all = BytesMut::new();
        while let Some(bytes) = self.chunk().await? {
            if all.len() + bytes.len() > most {
                let text = format!("{}: the body is over the limit of {most} bytes: raise it", self.url);
                return Err(FetchError::TooLarge(text));
            }
            all.extend_from_slice(&bytes);
        }
        Ok(all.freeze())
    }
}
