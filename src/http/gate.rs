//! The gate: what a request must be like before anyone looks at what it asks for.
//!
//! hyper frames messages, and refuses most of what could be framed in two ways. What it lets
//! through, and another implementation could read differently, is refused here (RFC 9112,
//! sections 2.2, 3.2, 6.1; RFC 9113, section 8.3.1). Each refusal closes the connection.

use http::{HeaderMap, Method, Version, header, request::Parts, uri::Authority};

use super::wire::Marks;
use crate::describe::Problem;
use crate::describe::problem::Kind;

/// Whether a request may pass; otherwise what is wrong with it.
pub fn check(request: &Parts, marks: Marks) -> Result<(), Problem> {
    if matches!(request.method, Method::CONNECT | Method::TRACE) {
        let detail = format!("{} is not passed on: send GET", request.method);
        return Err(Problem::new(Kind::MethodNotAllowed, detail));
    }
    if marks.bare_lf() {
        return Err(malformed("a line of the head ends in LF alone: end lines in CR LF"));
    }
    if marks.fragment() {
        return Err(malformed("the target has a fragment: send it without # and what follows"));
    }
    host(request)?;
    transfer_coding(&request.headers)?;
    look_alikes(&request.headers)?;
    expectation(&request.headers)
}

fn malformed(detail: impl Into<String>) -> Problem {
    Problem::new(Kind::MalformedRequest, detail)
}

/// One host, the same in the target and in `Host`.
fn host(request: &Parts) -> Result<(), Problem> {
    let mut hosts = request.headers.get_all(header::HOST).iter();
    let (host, another) = (hosts.next(), hosts.next());
    if another.is_some() {
        return Err(malformed("Host stands twice: send it once"));
    }
    let host = match host {
        None => None,
        Some(value) => {
            let text = value.to_str().map_err(|_| malformed("Host is not ASCII"))?;
            let parsed = text.parse::<Authority>().ok().filter(is_host_and_port);
            Some(parsed.ok_or_else(|| malformed(format!("Host is {text:?}: send host or host:port")))?)
        }
    };
    let authority = request.uri.authority();
    if let Some(wrong) = authority.filter(|authority| !is_host_and_port(authority)) {
        return Err(malformed(format!("the target is for {:?}: send host or host:port", wrong.host())));
    }
    match (host, authority) {
        (Some(host), Some(authority)) if !host.as_str().eq_ignore_ascii_case(authority.as_str()) => {
            Err(malformed(format!("Host is {host} and the target says {authority}: send the same")))
        }
        (None, None) if request.version > Version::HTTP_10 => Err(malformed("Host is missing: send it")),
        (None, Some(_)) if request.version == Version::HTTP_11 => Err(malformed("Host is missing: send it")),
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
fn transfer_coding(fields: &HeaderMap) -> Result<(), Problem> {
    let mut values = fields.get_all(header::TRANSFER_ENCODING).iter();
    let Some(value) = values.next() else { return Ok(()) };
    if values.next().is_some() {
        return Err(malformed("Transfer-Encoding stands twice: send it once"));
    }
    let text = value.to_str().unwrap_or("").trim();
    if text.eq_ignore_ascii_case("chunked") {
        return Ok(());
    }
    if text.split(',').filter(|coding| coding.trim().eq_ignore_ascii_case("chunked")).count() > 1 {
        return Err(malformed("chunked stands twice in Transfer-Encoding: send it once"));
    }
    let detail = format!("Transfer-Encoding is {text:?}: only chunked is offered");
    Err(Problem::new(Kind::TransferCodingNotOffered, detail))
}

/// Names that some servers take for framing fields.
fn look_alikes(fields: &HeaderMap) -> Result<(), Problem> {
    for name in fields.keys().map(header::HeaderName::as_str).filter(|name| name.contains('_')) {
        if matches!(&*name.replace('_', "-"), "content-length" | "transfer-encoding" | "host" | "connection") {
            return Err(malformed(format!(
                "field {name} looks like a framing field: send it with a hyphen or not at all"
            )));
        }
    }
    Ok(())
}

fn expectation(fields: &HeaderMap) -> Result<(), Problem> {
    match fields.get_all(header::EXPECT).iter().find(|value| !value.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
        Some(value) => {
            let detail = format!("Expect is {value:?}: only 100-continue is met");
            Err(Problem::new(Kind::ExpectationFailed, detail))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue, Request, StatusCode};

    use super::*;
    use crate::http::wire::Line;

    fn status(version: Version, method: &str, target: &str, fields: &[(&str, &str)]) -> StatusCode {
        let mut request = Request::builder().method(method).uri(target).version(version).body(()).expect("a request");
        for (name, value) in fields {
            let name = HeaderName::try_from(*name).expect("a name");
            request.headers_mut().append(name, HeaderValue::try_from(*value).expect("a value"));
        }
        let marks = Line::default().begin(false);
        check(&request.into_parts().0, marks).map_or_else(|problem| problem.kind.status(), |()| StatusCode::OK)
    }

    #[test]
    fn the_table_of_refusals() {
        let (one, two) = (Version::HTTP_11, Version::HTTP_2);
        let host = ("host", "a");
        for (version, method, target, fields, expected) in [
            (one, "GET", "/", &[host][..], 200),
            (Version::HTTP_10, "GET", "/", &[], 200),
            (one, "GET", "/", &[], 400),
            (one, "GET", "/", &[host, host], 400),
            (one, "GET", "/", &[("host", "u@a")], 400),
            (one, "GET", "/", &[("host", "a b")], 400),
            (one, "GET", "/", &[("host", "")], 400),
            (one, "GET", "/", &[("host", "a:80")], 200),
            (one, "GET", "/", &[("host", "[::1]:80")], 200),
            (one, "GET", "/", &[("host", "a:")], 200),
            (one, "GET", "/", &[("host", "a:http")], 400),
            (one, "GET", "/", &[("host", "a:-1")], 400),
            (one, "GET", "/", &[("host", "a:65536")], 400),
            (one, "GET", "/", &[("host", ":80")], 400),
            (two, "GET", "http://a:x/", &[], 400),
            (one, "GET", "http://a/x", &[host], 200),
            (one, "GET", "http://A/x", &[host], 200),
            (one, "GET", "http://b/x", &[host], 400),
            (one, "GET", "http://a/x", &[], 400),
            (one, "GET", "http://u@a/x", &[host], 400),
            (two, "GET", "http://a/x", &[], 200),
            (two, "GET", "http://a/x", &[host], 200),
            (two, "GET", "http://a/x", &[("host", "b")], 400),
            (two, "GET", "/x", &[], 400),
            (one, "CONNECT", "a:80", &[host], 405),
            (one, "TRACE", "/", &[host], 405),
            (one, "POST", "/", &[host, ("transfer-encoding", "Chunked")], 200),
            (one, "POST", "/", &[host, ("transfer-encoding", "gzip, chunked")], 501),
            (one, "POST", "/", &[host, ("transfer-encoding", "chunked, chunked")], 400),
            (one, "POST", "/", &[host, ("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")], 400),
            (one, "POST", "/", &[host, ("content_length", "5")], 400),
            (one, "POST", "/", &[host, ("Transfer_Encoding", "chunked")], 400),
            (one, "GET", "/", &[host, ("x_y", "fine")], 200),
            (one, "POST", "/", &[host, ("expect", "100-Continue")], 200),
            (one, "POST", "/", &[host, ("expect", "200-maybe")], 417),
            (one, "POST", "/", &[host, ("expect", "100-continue"), ("expect", "200-maybe")], 417),
        ] {
            let got = status(version, method, target, fields);
            assert_eq!(got.as_u16(), expected, "{version:?} {method} {target} {fields:?}");
        }
    }
}
