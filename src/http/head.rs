//! The one reader of request heads: bytes in, verdict out. It knows no sockets.
//!
//! What could be read in two ways is refused, wherever a head stands (RFC 9112, sections 2.2, 3.2,
//! 5, 6.1; RFC 9113, section 8.3.1). On HTTP/1.1 a head is judged on its own bytes before hyper
//! sees any of them; HTTP/2 is read by h2, and the head that it returns is checked by the same rules.
//!
//! ```text
//! bytes -> scan: the first byte that is wrong, or the end of the head
//!       -> httparse -> rules: hosts, framing, sizes          -> Verdict: passes, or Refused
//!       -> target: bytes that a URI must encode are encoded
//!       -> body: where the body ends, and so the next head begins
//! ```

use std::ops::Range;

use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request, Uri, Version, header};

use crate::bounds::{HEAD_BYTES, HEAD_FIELDS};
use crate::describe::Problem;
use crate::describe::problem::Kind;

mod body;
mod rules;
mod scan;
mod target;

pub use body::{Body, BrokenChunks, Framing};
pub use rules::{Head, check};
use scan::{Fault, Scan, Scanned};

/// Reads one head after the other.
#[derive(Debug, Default)]
pub struct Reader {
    scan: Scan,
    /// How many of the bytes that were given have been looked at.
    seen: usize,
}

/// The verdict on the bytes so far.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The head has not ended.
    Partial,
    /// It passes.
    Passes(Passed),
    /// It does not: nothing after it is read.
    Refused(Refused),
}

/// A head that may be passed on.
#[derive(Debug, PartialEq, Eq)]
pub struct Passed {
    /// How many bytes it took, those of empty lines before it included.
    pub length: usize,
    /// What is passed on instead, where its target holds bytes that no URI may hold.
    pub rewritten: Option<Vec<u8>>,
    /// How long its body is.
    pub body: Framing,
    /// Where the path stands in the head, as it is passed on; none: it has no path that stands anywhere.
    path: Option<Range<usize>>,
    /// Whether the client closes the connection after the answer (RFC 9112, section 9.3).
    pub closes: bool,
    /// Whether it is a GET or HEAD of HTTP/1.1 without a body, that asks for no other protocol and expects nothing: a poll, if its
    /// path is that of an operation.
    is_plain: bool,
}

impl Passed {
    /// The head that `bytes` begin with, as it is passed on.
    #[must_use]
    pub fn head<'a>(&'a self, bytes: &'a [u8]) -> &'a [u8] {
        self.rewritten.as_deref().unwrap_or(&bytes[..self.length])
    }

    /// Its path.
    #[must_use]
    pub fn path<'a>(&'a self, bytes: &'a [u8]) -> Option<&'a str> {
        std::str::from_utf8(self.head(bytes).get(self.path.clone()?)?).ok()
    }

    /// Its path, if it is a plain request for that.
    #[must_use]
    pub fn plain_path<'a>(&'a self, bytes: &'a [u8]) -> Option<&'a str> {
        if self.is_plain { self.path(bytes) } else { None }
    }
}

/// A head that is answered with a problem, after which the connection closes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// What is wrong with it.
    pub problem: Problem,
    /// Its method and target, as far as they could be read.
    pub line: Option<(String, String)>,
}

impl Reader {
    /// Judges the bytes since the last head, or its body, ended: each time all of them.
    pub fn judge(&mut self, bytes: &[u8]) -> Verdict {
        let most = bytes.len().min(HEAD_BYTES);
        match self.scan.feed(&bytes[self.seen.min(most)..most]) {
            Scanned::Partial if most == HEAD_BYTES => self.refuse(bytes, too_large()),
            Scanned::Partial => {
                self.seen = most;
                Verdict::Partial
            }
            Scanned::Fault(fault) => self.refuse(bytes, malformed(fault.detail())),
            Scanned::End(at) => {
                let length = self.seen + at;
                match whole(&bytes[..length]) {
                    Ok(passed) => {
                        *self = Self::default();
                        Verdict::Passes(passed)
                    }
                    Err(problem) => self.refuse(bytes, problem),
                }
            }
        }
    }

    fn refuse(&mut self, bytes: &[u8], problem: Problem) -> Verdict {
        *self = Self::default();
        Verdict::Refused(Refused { problem, line: target::request_line(bytes) })
    }
}

/// Judges a head that has ended.
fn whole(bytes: &[u8]) -> Result<Passed, Problem> {
    let rewritten = target::rewritten(bytes);
    let read = rewritten.as_deref().unwrap_or(bytes);
    if read.len() > HEAD_BYTES {
        return Err(too_large());
    }
    let mut fields = [httparse::EMPTY_HEADER; HEAD_FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    match request.parse(read) {
        Ok(httparse::Status::Complete(length)) if length == read.len() => {}
        Err(httparse::Error::TooManyHeaders) => return Err(rules::too_many_fields()),
        Err(httparse::Error::Version) => return Err(malformed(Fault::Version.detail())),
        // A second opinion: the scan has found the same end already.
        Ok(_) | Err(_) => return Err(malformed("the head cannot be read")),
    }
    let (Some(method), Some(target), Some(version)) = (request.method, request.path, request.version) else {
        return Err(malformed(Fault::Line.detail()));
    };
    // The form of an authority alone is for CONNECT (RFC 9112, section 3.2.3).
    let is_form = |uri: &Uri| {
        target.starts_with('/') || target == "*" || uri.scheme().is_some() || method == Method::CONNECT.as_str()
    };
    let uri = target.parse::<Uri>().ok().filter(is_form);
    let uri = uri.ok_or_else(|| malformed(format!("the target is {target:.64?}: send a path, as /describe")))?;
    let head = Head {
        version: if version == 0 { Version::HTTP_10 } else { Version::HTTP_11 },
        method,
        authority: uri.authority(),
        fields: request.headers.iter().map(|field| (field.name, field.value)).collect(),
    };
    check(&head)?;
    let body = body::framing(&head)?;
    let path = path(read, target, &uri);
    let (closes, is_plain) = ends(&head, body);
    Ok(Passed { length: bytes.len(), rewritten, body, path, closes, is_plain })
}

/// Whether the client closes the connection after the answer, and whether it is a plain request.
fn ends(head: &Head<'_>, body: Framing) -> (bool, bool) {
    let is_read = head.method == Method::GET.as_str() || head.method == Method::HEAD.as_str();
    let mut closes = head.version == Version::HTTP_10;
    let mut is_plain = is_read && !closes && body == Framing::Length(0);
    for (name, value) in &head.fields {
        if name.eq_ignore_ascii_case(header::CONNECTION.as_str()) {
            for option in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                closes |= option.eq_ignore_ascii_case(b"close");
                is_plain &= option.eq_ignore_ascii_case(b"close") || option.eq_ignore_ascii_case(b"keep-alive");
            }
        } else if name.eq_ignore_ascii_case(header::UPGRADE.as_str())
            || name.eq_ignore_ascii_case(header::EXPECT.as_str())
        {
            is_plain = false;
        }
    }
    (closes, is_plain)
}

/// Where the path of `uri`, which is the `target`, stands in a head.
fn path(head: &[u8], target: &str, uri: &Uri) -> Option<Range<usize>> {
    let from = head.iter().position(|byte| *byte == b' ')? + 1;
    // The target ends with path and query; of one without a path, the path is "/", which stands nowhere.
    let path = target.len().checked_sub(uri.path_and_query()?.as_str().len())?;
    let range = from + path..from + path + uri.path().len();
    (head.get(range.clone())? == uri.path().as_bytes()).then_some(range)
}

/// Method, target and fields of a head that has passed, as they are passed on.
#[must_use]
pub fn parts(head: &[u8]) -> Option<Parts> {
    let mut fields = [httparse::EMPTY_HEADER; HEAD_FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    request.parse(head).ok()?;
    let (mut parts, ()) = Request::new(()).into_parts();
    parts.method = Method::from_bytes(request.method?.as_bytes()).ok()?;
    parts.uri = request.path?.parse().ok()?;
    parts.version = if request.version? == 0 { Version::HTTP_10 } else { Version::HTTP_11 };
    for field in request.headers {
        let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
        parts.headers.append(name, HeaderValue::from_bytes(field.value).ok()?);
    }
    Some(parts)
}

fn too_large() -> Problem {
    let detail = format!("the head is over {HEAD_BYTES} bytes: send a shorter target, or fewer and shorter fields");
    Problem::new(Kind::HeadTooLarge, detail)
}

fn malformed(detail: impl Into<String>) -> Problem {
    Problem::new(Kind::MalformedRequest, detail)
}

#[cfg(test)]
mod tests;
