//! Answers as they are sent over HTTP/2.

use bytes::{Buf, Bytes};
use http::header::Entry;
use http::{HeaderMap, Response, StatusCode, header};

use crate::http::date::Date;

/// Bytes of a body on their way to the client.
#[derive(Debug)]
pub(super) struct Piece {
    bytes: Bytes,
}

impl From<Bytes> for Piece {
    fn from(bytes: Bytes) -> Self {
        Self { bytes }
    }
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.bytes.len()
    }

    fn chunk(&self) -> &[u8] {
        &self.bytes
    }

    fn advance(&mut self, sent: usize) {
        self.bytes.advance(sent);
    }
}

/// The head of an answer as h2 takes it.
pub(super) fn head(status: StatusCode, mut fields: HeaderMap, date: &Date) -> Response<()> {
    if let Entry::Vacant(entry) = fields.entry(header::DATE) {
        entry.insert(date.value().clone());
    }
    let mut head = Response::new(());
    *head.status_mut() = status;
    *head.headers_mut() = fields;
    head
}
