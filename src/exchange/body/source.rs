//! What was read of a body, and what is still to come.

use std::task::Waker;

use bytes::Bytes;
use http::HeaderMap;
use http_body::Body as _;

use super::Incoming;

#[derive(Debug)]
pub(super) struct Source {
    /// What was read.
    pub(super) read: Vec<Bytes>,
    /// How much that is.
    pub(super) bytes: usize,
    pub(super) rest: Rest,
    pub(super) trailers: Option<Box<HeaderMap>>,
    /// The number of the newest reader, from 1: an older one gets nothing more.
    pub(super) reader: u64,
    /// The reader that waits.
    pub(super) waker: Option<Waker>,
}

/// What was not read yet.
pub(super) enum Rest {
    /// Nothing.
    None,
    /// It comes from the consumer.
    Coming(Incoming),
    /// It comes once the consumer's connection is read.
    Awaited,
    /// It is being stored.
    Storing,
    /// It broke off.
    Broken,
}

impl Rest {
    pub(super) fn of(body: Incoming) -> Self {
        if body.is_end_stream() { Self::None } else { Self::Coming(body) }
    }
}

impl Source {
    pub(super) fn keep(&mut self, data: &Bytes) {
        if !data.is_empty() {
            self.bytes += data.len();
            self.read.push(data.clone());
        }
    }

    pub(super) fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl std::fmt::Debug for Rest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Coming(_) => "Coming",
            Self::Awaited => "Awaited",
            Self::Storing => "Storing",
            Self::Broken => "Broken",
        })
    }
}
