//! What a head must be like before anyone looks at what it asks for: the same on HTTP/1.1 and HTTP/2.

use http::uri::Authority;
use http::{Method, Version, header, request::Parts};

use super::malformed;
use crate::bounds::HEAD_FIELDS;
use crate::describe::Problem;
use crate::describe::problem::Kind;

/// A head, whichever protocol it came by.
#[derive(Debug)]
pub struct Head<'a> {
    /// HTTP/1.0, HTTP/1.1 or HTTP/2.
    pub version: Version,
    /// The method.
    pub method: &'a str,
    /// The host that the target names, if it does.
    pub authority: Option<&'a Authority>,
    /// Names, in any case, and values.
    pub fields: Vec<(&'a str, &'a [u8])>,
}

impl<'a> Head<'a> {
    /// What h2 has made of a head.
    #[must_use]
    pub fn of(parts: &'a Parts) -> Self {
        Self {
            version: parts.version,
            method: parts.method.as_str(),
            authority: parts.uri.authority(),
            fields: parts.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect(),
        }
    }

    /// The values of a field.
    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.fields.iter().filter(move |(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
    }
}

/// Whether a head may pass; otherwise what is wrong with it.
pub fn check(head: &Head<'_>) -> Result<(), Problem> {
    if head.fields.len() > HEAD_FIELDS {
        return Err(too_many_fields());
    }
    if head.method == Method::CONNECT.as_str() || head.method == Method::TRACE.as_str() {
        let detail = format!("{} is not passed on: send GET", head.method);
        return Err(Problem::new(Kind::MethodNotAllowed, detail));
    }
    host(head)?;
    transfer_coding(head)?;
    look_alikes(head)?;
    expectation(head)
}

pub(super) fn too_many_fields() -> Problem {
    Problem::new(Kind::HeadTooLarge, format!("the head has over {HEAD_FIELDS} fields: send fewer"))
}

/// A value as it is shown and compared.
pub(super) fn text(value: &[u8]) -> &str {
    std::str::from_utf8(value).unwrap_or("").trim_matches([' ', '\t'])
}

/// One host, the same in the target and in `Host`.
fn host(head: &Head<'_>) -> Result<(), Problem> {
    let mut hosts = head.all(header::HOST.as_str());
    let (host, another) = (hosts.next(), hosts.next());
    if another.is_some() {
        return Err(malformed("Host stands twice: send it once"));
    }
    let host = match host {
        None => None,
        Some(value) if !value.is_ascii() => return Err(malformed("Host is not ASCII")),
        Some(value) => {
            let text = text(value);
            let parsed = text.parse::<Authority>().ok().filter(is_host_and_port);
            Some(parsed.ok_or_else(|| malformed(format!("Host is {text:.64?}: send host or host:port")))?)
        }
    };
    let authority = head.authority;
    if let Some(wrong) = authority.filter(|authority| !is_host_and_port(authority)) {
        return Err(malformed(format!("the target is for {:?}: send host or host:port", wrong.host())));
    }
    match (host, authority) {
        (Some(host), Some(authority)) if !host.as_str().eq_ignore_ascii_case(authority.as_str()) => {
            Err(malformed(format!("Host is {host} and the target says {authority}: send the same")))
        }
        (None, None) if head.version > Version::HTTP_10 => Err(malformed("Host is missing: send it")),
        (None, Some(_)) if head.version == Version::HTTP_11 => Err(malformed("Host is missing: send it")),
        _ => Ok(()),
    }
}

/// A host and perhaps a port, without user information. `Authority` takes any text for a port,
/// which others would read as part of the name, or drop.
fn is_host_and_port(authority: &Authority) -> bool {
    let port = authority.as_str().strip_prefix(authority.host());
    let port = port.map(|port| port.strip_prefix(':').unwrap_or(port));
    !authority.host().is_empty()
        && port.is_some_and(|port| {
            port.bytes().all(|c| c.is_ascii_digit()) && (port.is_empty() || port.parse::<u16>().is_ok())
        })
}

/// Chunked alone, once.
fn transfer_coding(head: &Head<'_>) -> Result<(), Problem> {
    let mut values = head.all(header::TRANSFER_ENCODING.as_str());
    let Some(value) = values.next() else { return Ok(()) };
    if values.next().is_some() {
        return Err(malformed("Transfer-Encoding stands twice: send it once"));
    }
    let text = text(value);
    if text.eq_ignore_ascii_case("chunked") {
        return Ok(());
    }
    let is_chunked = |coding: &str| coding.trim_matches([' ', '\t']).eq_ignore_ascii_case("chunked");
    if !text.rsplit(',').next().is_some_and(is_chunked) {
        // The end of such a body is not known (RFC 9112, section 6.3).
        return Err(malformed(format!(
            "Transfer-Encoding is {text:.64?}: chunked must be the last, and only it is offered"
        )));
    }
    if text.split(',').filter(|coding| is_chunked(coding)).count() > 1 {
        return Err(malformed("chunked stands twice in Transfer-Encoding: send it once"));
    }
    let detail = format!("Transfer-Encoding is {text:.64?}: only chunked is offered");
    Err(Problem::new(Kind::TransferCodingNotOffered, detail))
}

/// Names that some servers take for framing fields.
fn look_alikes(head: &Head<'_>) -> Result<(), Problem> {
    for (name, _) in head.fields.iter().filter(|(name, _)| name.contains('_')) {
        let hyphened = name.replace('_', "-").to_ascii_lowercase();
        if matches!(&*hyphened, "content-length" | "transfer-encoding" | "host" | "connection") {
            return Err(malformed(format!(
                "field {} looks like a framing field: send it with a hyphen or not at all",
                name.to_ascii_lowercase()
            )));
        }
    }
    Ok(())
}

fn expectation(head: &Head<'_>) -> Result<(), Problem> {
    let mut values = head.all(header::EXPECT.as_str());
    match values.find(|value| !value.eq_ignore_ascii_case(b"100-continue")) {
        Some(value) => {
            let shown = String::from_utf8_lossy(value);
            let detail = format!("Expect is {shown:.64?}: only 100-continue is met");
            Err(Problem::new(Kind::ExpectationFailed, detail))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    fn status(version: Version, method: &str, authority: &str, fields: &[(&str, &str)]) -> StatusCode {
        let authority: Option<Authority> = (!authority.is_empty()).then(|| authority.parse().expect("an authority"));
        let fields = fields.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
        let head = Head { version, method, authority: authority.as_ref(), fields };
        check(&head).map_or_else(|problem| problem.kind.status(), |()| StatusCode::OK)
    }

    #[test]
    fn the_table_of_refusals() {
        let (one, two) = (Version::HTTP_11, Version::HTTP_2);
        let host = ("host", "a");
        for (version, method, authority, fields, expected) in [
            (one, "GET", "", &[host][..], 200),
            (Version::HTTP_10, "GET", "", &[], 200),
            (one, "GET", "", &[], 400),
            (one, "GET", "", &[host, host], 400),
            (one, "GET", "", &[host, ("HOST", "b")], 400),
            (one, "GET", "", &[("host", "u@a")], 400),
            (one, "GET", "", &[("host", "a b")], 400),
            (one, "GET", "", &[("host", "")], 400),
            (one, "GET", "", &[("host", "\u{e9}")], 400),
            (one, "GET", "", &[("host", "a:80")], 200),
            (one, "GET", "", &[("host", "[::1]:80")], 200),
            (one, "GET", "", &[("host", "a:")], 200),
            (one, "GET", "", &[("host", "a:http")], 400),
            (one, "GET", "", &[("host", "a:-1")], 400),
            (one, "GET", "", &[("host", "a:65536")], 400),
            (one, "GET", "", &[("host", ":80")], 400),
            (two, "GET", "a:x", &[], 400),
            (one, "GET", "a", &[host], 200),
            (one, "GET", "A", &[host], 200),
            (one, "GET", "b", &[host], 400),
            (one, "GET", "a", &[], 400),
            (one, "GET", "u@a", &[host], 400),
            (two, "GET", "a", &[], 200),
            (two, "GET", "a", &[host], 200),
            (two, "GET", "a", &[("host", "b")], 400),
            (two, "GET", "", &[], 400),
            (two, "GET", "a", &[("x", "y"); 100], 200),
            (two, "GET", "a", &[("x", "y"); 101], 431),
            (one, "CONNECT", "", &[host], 405),
            (one, "TRACE", "", &[host], 405),
            (one, "trace", "", &[host], 200),
            (one, "POST", "", &[host, ("transfer-encoding", "Chunked")], 200),
            (one, "POST", "", &[host, ("transfer-encoding", "gzip, chunked")], 501),
            (one, "POST", "", &[host, ("transfer-encoding", "chunked, gzip")], 400),
            (one, "POST", "", &[host, ("transfer-encoding", "")], 400),
            (one, "POST", "", &[host, ("transfer-encoding", "chunked\u{a0}")], 400),
            (one, "POST", "", &[host, ("transfer-encoding", "chunked, chunked")], 400),
            (one, "POST", "", &[host, ("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")], 400),
            (one, "POST", "", &[host, ("content_length", "5")], 400),
            (one, "POST", "", &[host, ("Transfer_Encoding", "chunked")], 400),
            (one, "GET", "", &[host, ("x_y", "fine")], 200),
            (one, "POST", "", &[host, ("expect", "100-Continue")], 200),
            (one, "POST", "", &[host, ("expect", "200-maybe")], 417),
            (one, "POST", "", &[host, ("expect", "100-continue"), ("expect", "200-maybe")], 417),
        ] {
            let got = status(version, method, authority, fields);
            assert_eq!(got.as_u16(), expected, "{version:?} {method} {authority} {fields:?}");
        }
    }
}
