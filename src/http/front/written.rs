//! Answers as they are sent over HTTP/1.1.

use std::io::Write as _;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, header};

use crate::describe::Answer;
use crate::http::date::Date;
use crate::http::writing;

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
        let mut head = head(answer, ends, date);
        head.extend_from_slice(b"\r\n");
        let mut body = answer.body().cloned().unwrap_or_default();
        let length = body.len();
        if length <= SHORT_BODY {
            // A copy costs less than to write from two places.
            head.extend_from_slice(&body);
            body = Bytes::new();
        }
        Self { status, head: head.into(), body, length }
    }

    /// Writes a part of a stream, as a chunk (RFC 9112, section 7.1).
    pub(super) fn part(part: &[u8], is_last: bool) -> Self {
        let mut head = Vec::with_capacity(part.len() + 32);
        writing::chunk(part, &mut head);
        if is_last {
            head.extend_from_slice(writing::LAST_CHUNK);
        }
        Self { status: StatusCode::OK, head: head.into(), body: Bytes::new(), length: part.len() }
    }

    /// Writes the head of a stream and what comes first, with a part behind it.
    pub(super) fn start(answer: &Answer, ends: bool, date: &Date, first: &[u8], part: &Self) -> Self {
        let mut head = head(answer, ends, date);
        head.extend_from_slice(b"transfer-encoding: chunked\r\n\r\n");
        writing::chunk(first, &mut head);
        Self { status: answer.status, head: head.into(), body: part.head.clone(), length: first.len() + part.length }
    }

    /// The same answer with more fields.
    pub(super) fn with_fields(&self, fields: &[(HeaderName, HeaderValue)]) -> Self {
        // Behind the status line.
        let at = self.head.iter().position(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let (line, rest) = self.head.split_at(at);
        let mut head = Vec::with_capacity(self.head.len() + 512);
        head.extend_from_slice(line);
        for (name, value) in fields {
            writing::field(name, value, &mut head);
        }
        head.extend_from_slice(rest);
        Self { head: head.into(), body: self.body.clone(), ..*self }
    }
}

/// The head of an answer without the empty line.
fn head(answer: &Answer, ends: bool, date: &Date) -> Vec<u8> {
    let status = answer.status;
    let mut head = Vec::with_capacity(512);
    // Writing into memory does not fail.
    let _ = write!(head, "HTTP/1.1 {} {}\r\n", status.as_str(), status.canonical_reason().unwrap_or(""));
    for (name, value) in answer.fields() {
        writing::field(&name, &value, &mut head);
    }
    if ends {
        head.extend_from_slice(b"connection: close\r\n");
    }
    writing::field(&header::DATE, date.value(), &mut head);
    head
}
