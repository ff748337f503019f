//! Answers as they are sent over HTTP/1.1.

use std::io::Write as _;

use bytes::Bytes;
use http::StatusCode;

use crate::describe::Answer;
use crate::http::date::Date;

/// Bytes of a body that is copied behind the head.
const SHORT_BODY: usize = 16 * 1024;

/// An answer that is ready to be sent.
#[derive(Debug)]
pub struct Written {
    pub(super) status: StatusCode,
    /// From the status line to the empty line, and a short body.
    pub(super) head: Bytes,
    /// The body, where it is not short.
    pub(super) body: Bytes,
    /// How long the body is.
    pub(super) length: usize,
}

impl Written {
    /// Writes an answer. `ends`: the connection ends with it.
    pub(super) fn new(answer: &Answer, ends: bool, date: &Date) -> Self {
        let status = answer.status;
        let mut head = Vec::with_capacity(512);
        // Writing into memory does not fail.
        let _ = write!(head, "HTTP/1.1 {} {}\r\n", status.as_str(), status.canonical_reason().unwrap_or(""));
        for (name, value) in answer.fields() {
            head.extend_from_slice(name.as_str().as_bytes());
            head.extend_from_slice(b": ");
            head.extend_from_slice(value.as_bytes());
            head.extend_from_slice(b"\r\n");
        }
        if ends {
            head.extend_from_slice(b"connection: close\r\n");
        }
        head.extend_from_slice(b"date: ");
        head.extend_from_slice(date.value().as_bytes());
        head.extend_from_slice(b"\r\n\r\n");
        let mut body = answer.body().cloned().unwrap_or_default();
        let length = body.len();
        if length <= SHORT_BODY {
            // A copy costs less than to write from two places.
            head.extend_from_slice(&body);
            body = Bytes::new();
        }
        Self { status, head: head.into(), body, length }
    }
}
