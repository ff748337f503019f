//! How a connection becomes one of WebSocket: by `Upgrade` in HTTP/1.1 (RFC 6455, section 4), by an extended CONNECT in
//! HTTP/2 (RFC 8441).

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Version, header};
use tungstenite::handshake::derive_accept_key;

use crate::describe::problem::Kind;
use crate::describe::stream::is_websocket;
use crate::describe::{Answer, Problem};
use crate::http::response::{Body, response};
use crate::protocol::websocket::{BEARER, SUBPROTOCOL};

/// The version that is spoken.
const VERSION: &str = "13";

/// A connection that may become one of WebSocket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::http) struct Handshake {
    /// `Sec-WebSocket-Accept`; HTTP/2 has none.
    accept: Option<HeaderValue>,
    /// Whether the client has offered the subprotocol.
    has_subprotocol: bool,
}

/// Whether a request asks for it, on a path that is ours.
pub(in crate::http) fn is_asked(parts: &Parts) -> bool {
    parts.method == Method::GET && is_websocket(&parts.headers)
}

/// Whether a page asks, which sees of a refusal that there was one, and no status.
pub(super) fn is_page(fields: &HeaderMap) -> bool {
    fields.contains_key(header::ORIGIN)
}

/// Puts the credential that a page offers as a subprotocol where others send theirs.
pub(in crate::http) fn take_bearer(fields: &mut HeaderMap) {
    if fields.contains_key(header::AUTHORIZATION) {
        return;
    }
    let found = offered(fields).find_map(|name| name.strip_prefix(BEARER).map(str::to_owned));
    // What is no token is refused as any other wrong one.
    let Some(encoded) = found else { return };
    let token = BASE64_URL_SAFE_NO_PAD.decode(encoded.trim_end_matches('=')).unwrap_or_default();
    let value = [b"Bearer ", token.as_slice()].concat();
    let value = HeaderValue::from_bytes(&value).unwrap_or(HeaderValue::from_static("Bearer !"));
    fields.insert(header::AUTHORIZATION, value);
}

impl Handshake {
    /// Reads what a client has sent; an error: the status with which it is refused.
    pub(super) fn read(parts: &Parts) -> Result<Self, Problem> {
        let fields = &parts.headers;
        let malformed = |detail: &str| Problem::new(Kind::MalformedRequest, detail);
        let field = |name: HeaderName| fields.get(name).and_then(|value| value.to_str().ok());
        if field(header::SEC_WEBSOCKET_VERSION) != Some(VERSION) {
            let detail = "Sec-WebSocket-Version has to be 13 (RFC 6455)";
            return Err(Problem::new(Kind::UpgradeRequired, detail));
        }
        let mut accept = None;
        if parts.version != Version::HTTP_2 {
            if parts.version != Version::HTTP_11 || !tokens(fields, &header::CONNECTION).any(is("upgrade")) {
                return Err(malformed(
                    "WebSocket needs HTTP/1.1 with Connection: upgrade; a proxy in between has to pass it on",
                ));
            }
            let mut keys = fields.get_all(header::SEC_WEBSOCKET_KEY).iter();
            let key = keys.next().filter(|_| keys.next().is_none());
            let key = key.filter(|key| BASE64_STANDARD.decode(key).is_ok_and(|key| key.len() == 16));
            let key = key.ok_or_else(|| malformed("Sec-WebSocket-Key has to be 16 bytes in base64, once"))?;
            accept = HeaderValue::try_from(derive_accept_key(key.as_bytes())).ok();
        }
        let has_subprotocol = offered(fields).any(|name| name == SUBPROTOCOL);
        if !has_subprotocol && offered(fields).next().is_some() {
            return Err(malformed(
                "Sec-WebSocket-Protocol names no subprotocol that is spoken here: offer tidewait.v1, or none",
            ));
        }
        Ok(Self { accept, has_subprotocol })
    }

    /// The answer after which the connection is one of WebSocket.
    pub(super) fn accepted(&self) -> Response<Body> {
        let mut accepted = Response::new(Body::Empty);
        let fields = accepted.headers_mut();
        if self.has_subprotocol {
            fields.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
        }
        if let Some(accept) = &self.accept {
            fields.insert(header::SEC_WEBSOCKET_ACCEPT, accept.clone());
            fields.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            fields.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            *accepted.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        }
        accepted
    }
}

/// The answer to a request that is refused for its head.
pub(super) fn refused(problem: &Problem, version: Version) -> Response<Body> {
    let mut refused = response(Answer::problem(problem, fastrand::f64()), None);
    if problem.kind == Kind::UpgradeRequired {
        let fields = refused.headers_mut();
        fields.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static(VERSION));
        if version != Version::HTTP_2 {
            fields.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            fields.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        }
    }
    refused
}

/// The subprotocols that are offered.
fn offered(fields: &HeaderMap) -> impl Iterator<Item = &str> {
    tokens(fields, &header::SEC_WEBSOCKET_PROTOCOL)
}

fn tokens<'a>(fields: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = fields.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|token| !token.is_empty())
}

fn is(name: &str) -> impl FnMut(&str) -> bool {
    move |token| token.eq_ignore_ascii_case(name)
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

    fn parts(fields: &[(&str, &str)]) -> Parts {
        let given = [
            ("host", "a"),
            ("upgrade", "websocket"),
            ("connection", "keep-alive, Upgrade"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", KEY),
        ];
        let mut request = Request::get("/chat");
        for (name, value) in given.iter().filter(|(name, _)| fields.iter().all(|(other, _)| other != name)) {
            request = request.header(*name, *value);
        }
        for (name, value) in fields.iter().filter(|(_, value)| !value.is_empty()) {
            request = request.header(*name, *value);
        }
        request.body(()).expect("a request").into_parts().0
    }

    #[test]
    fn the_example_of_rfc_6455_is_accepted() {
        let offers = [("sec-websocket-protocol", "chat, tidewait.v1")];
        let accepted = Handshake::read(&parts(&offers)).expect("it is well formed").accepted();
        assert_eq!(accepted.status(), 101);
        assert_eq!(accepted.headers()["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(accepted.headers()["sec-websocket-protocol"], "tidewait.v1");
        let plain = Handshake::read(&parts(&[])).expect("it is well formed").accepted();
        assert_eq!(plain.headers().get("sec-websocket-protocol"), None, "none was offered");
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (fields, status, named) in [
            (("sec-websocket-version", "8"), 426, "13"),
            (("sec-websocket-version", ""), 426, "13"),
            (("sec-websocket-key", ""), 400, "Sec-WebSocket-Key"),
            (("sec-websocket-key", "c2hvcnQ="), 400, "16 bytes"),
            (("connection", "keep-alive"), 400, "Connection: upgrade"),
            (("sec-websocket-protocol", "bearer.YQ"), 400, "tidewait.v1"),
        ] {
            let problem = Handshake::read(&parts(&[fields])).expect_err("it is wrong");
            assert_eq!(problem.kind.status().as_u16(), status, "{fields:?}");
            assert!(problem.detail.contains(named), "{fields:?}: {}", problem.detail);
        }
    }

    #[test]
    fn a_page_brings_its_token_as_a_subprotocol() {
        let read = |fields: &[(&str, &str)]| {
            let mut fields = parts(fields).headers;
            take_bearer(&mut fields);
            fields.get("authorization").map(|value| value.to_str().expect("ASCII").to_owned())
        };
        // "t?o>ken" in base64url, without padding.
        assert_eq!(
            read(&[("sec-websocket-protocol", "tidewait.v1, bearer.dD9vPmtlbg")]).as_deref(),
            Some("Bearer t?o>ken")
        );
        let both = [("sec-websocket-protocol", "bearer.dD9vPmtlbg"), ("authorization", "Bearer x")];
        assert_eq!(read(&both).as_deref(), Some("Bearer x"));
        assert_eq!(read(&[("sec-websocket-protocol", "tidewait.v1")]), None);
        assert_eq!(
            read(&[("sec-websocket-protocol", "bearer.%%")]).as_deref(),
            Some("Bearer "),
            "it is refused as a wrong one"
        );
    }
}
